//! `scheme:rest`, as `--config` and `${...}` take it.

/// The schemes there are.
pub const SCHEMES: [&str; 5] = ["env", "file", "http", "https", "yaml"];

/// A scheme and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uri<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) rest: &'a str,
}

impl<'a> Uri<'a> {
    /// From a reference: `[A-Za-z][A-Za-z0-9+.-]+:.*`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.chars();
        let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
        let others =
            letters.clone().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '.' | '-'));
        (first && others && scheme.len() > 1).then_some(Self { scheme, rest })
    }

    /// From the value of `--config`: what has no scheme, or the letter of a drive, is a file.
    pub(crate) fn of_flag(text: &'a str) -> Option<Self> {
        let drive = text.as_bytes().first().is_some_and(|letter| matches!(letter, b'A'..=b'z'))
            && text[1..].starts_with(':');
        if drive || !text.contains(':') {
            return Some(Self { scheme: "file", rest: text });
        }
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_without_a_scheme_is_a_file() {
        let cases: &[(&str, Option<(&str, &str)>)] = &[
            ("weir.yaml", Some(("file", "weir.yaml"))),
            ("/etc/weir.yaml", Some(("file", "/etc/weir.yaml"))),
            ("C:\\weir.yaml", Some(("file", "C:\\weir.yaml"))),
            ("file:weir.yaml", Some(("file", "weir.yaml"))),
            ("env:X", Some(("env", "X"))),
            ("yaml:a: b", Some(("yaml", "a: b"))),
            ("http://a/b", Some(("http", "//a/b"))),
            ("a+b.c-d:x", Some(("a+b.c-d", "x"))),
            ("./a:b", None),
            ("1a:b", None),
            ("", Some(("file", ""))),
            ("é:b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Uri::of_flag(text).map(|uri| (uri.scheme, uri.rest)), *expected, "{text}");
        }
        assert_eq!(Uri::parse("X:-default"), None, "one letter is no scheme");
        assert_eq!(Uri::parse("no_scheme:x"), None);
    }
}
