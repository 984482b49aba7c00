//! Places that text is written to, named as in the Collector.

use percent_encoding::percent_decode_str;

/// A place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPath {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, by its path.
    File(String),
}

impl OutputPath {
    /// `stderr`, `stdout`, the path of a file or its URL, such as `file:///var/log/weir.log`.
    ///
    /// # Errors
    /// What is wrong with the URL, in the Collector's words.
    pub fn parse(text: &str) -> Result<OutputPath, String> {
        let wrong = |why: String| Err(format!("open sink {text:?}: {why}"));
        let rest = match text {
            "stderr" => return Ok(OutputPath::Stderr),
            "stdout" => return Ok(OutputPath::Stdout),
            _ => match text.split_once(':') {
                Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => rest,
                Some((scheme, rest)) if rest.starts_with("//") => {
                    return wrong(format!("no sink found for scheme {scheme:?}"));
                }
                _ => return Ok(OutputPath::File(text.to_owned())),
            },
        };
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let decoded = percent_decode_str(path).decode_utf8();
        match decoded {
            _ if !host.is_empty() && host != "localhost" => {
                wrong(format!("file URLs must leave host empty or use localhost: got {text}"))
            }
            _ if path.contains('?') => {
                wrong(format!("query parameters not allowed with file URLs: got {text}"))
            }
            _ if path.contains('#') => wrong(format!("fragments not allowed with file URLs: got {text}")),
            Ok(path) if path.starts_with('/') => Ok(OutputPath::File(path.into_owned())),
            _ => wrong(format!("file URLs must hold the whole path of a file: got {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_paths_and_urls_of_files() {
        let files = [
            ("a/b.txt", "a/b.txt"),
            ("/a:b?c", "/a:b?c"),
            ("file:///tmp/x", "/tmp/x"),
            ("file:/tmp/x", "/tmp/x"),
            ("FILE://localhost/tmp/x%20y", "/tmp/x y"),
        ];
        for (text, path) in files {
            assert_eq!(OutputPath::parse(text), Ok(OutputPath::File(path.to_owned())), "{text}");
        }
        assert_eq!(OutputPath::parse("stdout"), Ok(OutputPath::Stdout));
        let wrong = [
            ("file://host/tmp/x", "file URLs must leave host empty or use localhost: got file://host/tmp/x"),
            ("file:///tmp/x?y", "query parameters not allowed with file URLs: got file:///tmp/x?y"),
            ("file:///tmp/x#y", "fragments not allowed with file URLs: got file:///tmp/x#y"),
            ("file:x", "file URLs must hold the whole path of a file: got file:x"),
            ("http://host/x", "no sink found for scheme \"http\""),
        ];
        for (text, why) in wrong {
            assert_eq!(OutputPath::parse(text), Err(format!("open sink {text:?}: {why}")));
        }
    }
}
