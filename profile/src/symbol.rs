//! Names of Go functions.

use std::borrow::Cow;

/// The length of the package path in a symbol name as the linker writes it: up to the first dot after the last slash.
///
/// Type arguments hold slashes and dots of their own, so only what stands before the first `[` counts.
fn package_len(symbol: &str) -> usize {
    let head = symbol.split('[').next().unwrap_or("");
    let last = head.rfind('/').map_or(0, |slash| slash + 1);
    let tail = head.get(last..).unwrap_or("");
    // A receiver's parenthesis always follows a dot; a name without any dot is a C symbol or an address.
    tail.find('.').map_or(0, |dot| last + dot)
}

/// A symbol name without escapes, and the length of its package path.
pub(crate) fn unescape(symbol: &str) -> (Cow<'_, str>, usize) {
    let length = package_len(symbol);
    let (package, rest) = symbol.split_at(length);
    if !package.contains('%') {
        return (Cow::Borrowed(symbol), length);
    }
    let package = unescape_all(package);
    let length = package.len();
    (Cow::Owned(package + rest), length)
}

/// Undoes the linker's `%xx` for dots in the last path element and for bytes that are not printable ASCII.
pub(crate) fn unescape_all(package: &str) -> String {
    let mut bytes = Vec::with_capacity(package.len());
    let mut rest = package.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path that a package has outside the module that vendored it.
pub(crate) fn unvendored(package: &str) -> &str {
    package.rsplit_once("/vendor/").map_or(package, |(_, vendored)| vendored)
}

/// True when `package`, which is [`unvendored`], is `path` or below it.
pub(crate) fn is_within(package: &str, path: &str) -> bool {
    package.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// True for packages of Go's standard library.
///
/// A module path may lack a dot (`shop/internal/dial`), so "no dot in the first element" does not tell; the list of
/// top-level names does, save for a module that is named like one of them.
pub(crate) fn is_standard(package: &str) -> bool {
    let first = package.split('/').next().unwrap_or("");
    STANDARD.binary_search(&first).is_ok()
}

/// Top-level names of the standard library up to Go 1.27, sorted.
const STANDARD: &[&str] = &[
    "archive",
    "bufio",
    "builtin",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
    "uuid",
    "vendor",
    "weak",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn split(symbol: &str) -> (String, String) {
        let (name, length) = unescape(symbol);
        (name[..length].to_owned(), name[length..].to_owned())
    }

    #[test]
    fn package_ends_at_the_first_dot_after_the_last_slash() {
        for (symbol, package, rest) in [
            ("main.main", "main", ".main"),
            ("net/http.(*persistConn).readLoop", "net/http", ".(*persistConn).readLoop"),
            (
                "github.com/nats-io/nats%2ego.(*Conn).readLoop",
                "github.com/nats-io/nats.go",
                ".(*Conn).readLoop",
            ),
            ("gopkg.in/yaml%2ev3.Unmarshal", "gopkg.in/yaml.v3", ".Unmarshal"),
            ("main.Keep[example.test/shop/a.B].Put", "main", ".Keep[example.test/shop/a.B].Put"),
            ("example.test/caf%c3%a9.Open", "example.test/café", ".Open"),
            ("a/b%zz.F", "a/b%zz", ".F"),
            ("a/b%2", "", "a/b%2"),
            ("_cgo_main", "", "_cgo_main"),
            ("", "", ""),
        ] {
            assert_eq!(split(symbol), (package.to_owned(), rest.to_owned()), "{symbol}");
        }
    }

    #[test]
    fn standard_packages_are_told_from_modules_without_a_dot() {
        assert!(STANDARD.is_sorted());
        assert!(is_standard("net/http") && is_standard("runtime") && is_standard("internal/poll"));
        assert!(!is_standard("main") && !is_standard("shop/net") && !is_standard("golang.org/x/net/http2"));
        assert!(!is_standard(""));
    }

    #[test]
    fn a_path_covers_itself_what_is_below_and_vendored_copies() {
        let grpc = "google.golang.org/grpc";
        assert!(is_within(grpc, grpc) && is_within("google.golang.org/grpc/internal/transport", grpc));
        assert!(is_within(unvendored("shop/vendor/google.golang.org/grpc"), grpc));
        assert!(!is_within("google.golang.org/grpcx", grpc));
    }
}
