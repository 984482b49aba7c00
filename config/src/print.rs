//! Settings as YAML and JSON, for `print-config`.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::secret::has_pem;
use crate::tree::{Tree, marker};
use crate::yaml::resolve;
use crate::{DeError, NodeKind, REDACTED, Settings};

/// Whether secrets are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// As `[REDACTED]`.
    Redacted,
    /// As they are.
    Shown,
}

/// The two notations differ in durations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    Yaml,
    Json,
}

/// Settings as YAML; see [`Settings::to_yaml`].
///
/// # Errors
/// A value that YAML cannot express, such as a mapping whose keys are no words.
pub fn to_yaml<T: Serialize + ?Sized>(settings: &T, secrets: Secrets) -> Result<String, DeError> {
    Settings::of(settings)?.to_yaml(secrets)
}

/// Settings as JSON; see [`Settings::to_json`].
///
/// # Errors
/// A value that JSON cannot express, such as a mapping whose keys are no words.
pub fn to_json<T: Serialize + ?Sized>(settings: &T, secrets: Secrets) -> Result<String, DeError> {
    Settings::of(settings)?.to_json(secrets)
}

/// A tree as a value to print.
pub(crate) fn value(tree: &Tree, notation: Notation, secrets: Secrets) -> Value {
    match tree {
        Tree::Null => Value::Null,
        Tree::Bool(on) => Value::Bool(*on),
        Tree::Int(number) => integer(*number),
        Tree::Float(number) => {
            Number::from_f64(*number).map_or_else(|| number.to_string().into(), Value::Number)
        }
        Tree::String(text) if secrets == Secrets::Redacted => without_secrets(text).into(),
        Tree::String(text) => text.clone().into(),
        Tree::Secret(text) if text.is_empty() || secrets == Secrets::Shown => text.clone().into(),
        Tree::Secret(_) => REDACTED.into(),
        Tree::Duration(nanos) if notation == Notation::Json => (*nanos).into(),
        Tree::Duration(nanos) => crate::GoDuration::from_nanos(*nanos).to_string().into(),
        Tree::Seq(items) => items.iter().map(|item| value(item, notation, secrets)).collect(),
        Tree::Map(entries) => {
            let mut map = Map::new();
            collect(entries, notation, secrets, &mut map);
            map.sort_keys();
            Value::Object(map)
        }
        Tree::Optional(crate::tree::OptionalState::Some, Some(content)) => value(content, notation, secrets),
        Tree::Optional(..) => Value::Null,
    }
}

/// A text without what is secret in it if it is a URL, or a place with a user and no scheme: the password (without one the
/// user, which is a token then), and the values of the query. Nothing of the content of a file that stands in the place of its path,
/// such as a key.
fn without_secrets(text: &str) -> String {
    if has_pem(text) {
        return REDACTED.to_owned();
    }
    let is_scheme = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        let is_place = |user: &str, host: &str| {
            user.contains(':') && !host.is_empty() && !text.contains(char::is_whitespace)
        };
        return match text.rsplit_once('@') {
            Some((user, host)) if is_place(user, host) => format!("{}@{host}", user_alone(user)),
            _ => text.to_owned(),
        };
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user_alone(user)),
        None => authority.to_owned(),
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(hidden).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{authority}{path}{}", query.map_or(String::new(), |query| format!("?{query}")))
}

/// `user:password` without the password; nothing of a user without one.
fn user_alone(user: &str) -> String {
    user.split_once(':').map_or(REDACTED.to_owned(), |(name, _)| format!("{name}:{REDACTED}"))
}

/// The entries of a mapping, those of inlined structs among them.
fn collect(entries: &[(String, Tree)], notation: Notation, secrets: Secrets, map: &mut Map<String, Value>) {
    for (name, tree) in entries {
        match tree {
            Tree::Map(inner) if name.starts_with(marker::INLINE) => collect(inner, notation, secrets, map),
            _ => {
                map.insert(name.clone(), value(tree, notation, secrets));
            }
        }
    }
}

/// A value as the Collector's YAML printer writes it: levels four columns apart, lists too.
pub(crate) fn yaml(value: &Value) -> Result<String, DeError> {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, "", &mut text)?,
        Value::Array(items) if !items.is_empty() => block(value, "", &mut text)?,
        _ => text = scalar(value)? + "\n",
    }
    Ok(text)
}

/// A mapping or list that is not empty, each line behind `margin`.
fn block(value: &Value, margin: &str, text: &mut String) -> Result<(), DeError> {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                text.push_str(margin);
                entry(key, value, &format!("{margin}    "), text)?;
            }
        }
        Value::Array(items) => {
            for item in items {
                *text += &format!("{margin}- ");
                element(item, margin, text)?;
            }
        }
        other => *text += &scalar(other)?,
    }
    Ok(())
}

/// A key and its value; what stands below it is behind `margin`.
fn entry(key: &str, value: &Value, margin: &str, text: &mut String) -> Result<(), DeError> {
    *text += &scalar(&Value::from(key))?;
    if is_block(value) {
        text.push_str(":\n");
        return block(value, margin, text);
    }
    *text += &format!(": {}\n", scalar(value)?);
    Ok(())
}

/// What stands behind the dash of a list whose dashes are behind `margin`.
fn element(item: &Value, margin: &str, text: &mut String) -> Result<(), DeError> {
    match item {
        Value::Object(map) if !map.is_empty() => {
            for (number, (key, value)) in map.iter().enumerate() {
                if number > 0 {
                    *text += &format!("{margin}  ");
                }
                entry(key, value, &format!("{margin}    "), text)?;
            }
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(item, &format!("{margin}    "), text)?;
        }
        other => *text += &(scalar(other)? + "\n"),
    }
    Ok(())
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// A value of one line.
fn scalar(value: &Value) -> Result<String, DeError> {
    match value {
        // Bare, it would merge.
        Value::String(text) if text.is_empty() || text == "<<" => Ok(format!("\"{text}\"")),
        // In quotes, a text of several lines is one line. JSON leaves some control characters and ends of lines as they are.
        Value::String(text) if text.contains(is_unprintable) => {
            let escaped = |letter: char| match is_unprintable(letter) {
                true => format!("\\u{:04x}", u32::from(letter)),
                false => letter.to_string(),
            };
            Ok(value.to_string().chars().map(escaped).collect())
        }
        _ => {
            let text = serde_yaml_ng::to_string(value).map_err(|error| DeError::Custom(error.to_string()))?;
            let text = text.trim_end_matches('\n');
            // The library knows no numbers of YAML 1.1, `0B1` or `28_`, which readers take for such.
            let is_number = value.as_str().is_some_and(|plain| plain == text && !is_text(plain));
            Ok(if is_number { format!("'{text}'") } else { text.to_owned() })
        }
    }
}

/// A control character, or one of those that end a line or a paragraph, which readers of YAML take for an end of line.
fn is_unprintable(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Whether it is read as text without quotes.
fn is_text(plain: &str) -> bool {
    matches!(resolve(plain), NodeKind::String(_))
}

fn integer(number: i128) -> Value {
    let signed = i64::try_from(number).map(Value::from);
    signed.or_else(|_| u64::try_from(number).map(Value::from)).unwrap_or_else(|_| number.to_string().into())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{GoDuration, HeaderMap, Optional, Path, Secret, from_node, net, parse_body};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        #[serde(rename = "+timeout")]
        timeout: net::TimeoutConfig,
        retry_on_failure: net::RetryConfig,
        headers: HeaderMap,
        password: Secret,
        unset: Secret,
        on: Optional<net::KeepaliveClientConfig>,
        off: Optional<net::KeepaliveClientConfig>,
        compression: net::Compression,
    }

    impl Default for Config {
        fn default() -> Self {
            Self {
                timeout: net::TimeoutConfig { timeout: GoDuration::from_secs(90) },
                retry_on_failure: net::RetryConfig::default(),
                headers: [("b", Secret::new("hunter2"))].into_iter().collect(),
                password: Secret::new("hunter2"),
                unset: Secret::default(),
                on: Optional::Some(net::KeepaliveClientConfig::default()),
                off: Optional::Default(net::KeepaliveClientConfig::default()),
                compression: net::Compression::SnappyFramed,
            }
        }
    }

    const YAML: &str = "compression: x-snappy-framed
headers:
    - name: b
      value: '[REDACTED]'
off: null
on:
    permit_without_stream: false
    time: 10s
    timeout: 10s
password: '[REDACTED]'
retry_on_failure:
    enabled: true
    initial_interval: 5s
    max_elapsed_time: 5m0s
    max_interval: 30s
    multiplier: 1.5
    randomization_factor: 0.5
timeout: 1m30s
unset: \"\"
";

    #[test]
    fn settings_print_sorted_with_defaults_and_without_secrets() {
        assert_eq!(to_yaml(&Config::default(), Secrets::Redacted).unwrap(), YAML);
        let json = to_json(&Config::default(), Secrets::Redacted).unwrap();
        assert!(json.contains("  \"timeout\": 90000000000"), "{json}");
        assert!(!json.contains("hunter2"));
        assert!(to_json(&Config::default(), Secrets::Shown).unwrap().contains("hunter2"));
    }

    #[test]
    fn texts_that_look_like_something_else_are_printed_as_texts() {
        let texts = [
            "0123",
            "0x1F",
            "0o17",
            "0b11",
            "1e3",
            "1.",
            ".5",
            "08",
            "+1",
            "yes",
            "on",
            "true",
            "True",
            "null",
            "~",
            "",
            " a ",
            "a: b",
            "- a",
            "# a",
            "a #b",
            "'a'",
            "\"a\"",
            "*a",
            "&a",
            "!a",
            "[a",
            "{a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "a\nb",
            "a\n",
            "\ta",
            "2006-01-02",
            "<<",
            "=",
            ".inf",
            ".nan",
            "-",
            "?",
            "\u{feff}a",
            "\u{7f}",
            "\r",
            "_1",
            "\u{85} a",
            "a\u{2028} b ",
            "\u{2029}  ",
        ];
        for text in texts {
            let printed = to_yaml(&std::collections::BTreeMap::from([("k", text)]), Secrets::Shown).unwrap();
            let node = parse_body(&printed).expect(&printed);
            assert_eq!(node.get(&["k"]).and_then(crate::Node::as_str), Some(text), "{printed:?}");
        }
    }

    #[test]
    fn a_key_that_would_merge_is_printed_as_a_key() {
        for text in ["'<<': a", "{\"<<\": {b: c}}", "!!str <<: a"] {
            crate::check::yaml(text);
        }
    }

    #[test]
    fn lists_and_mappings_nest_in_each_other() {
        let value = serde_json::json!({"a": [[1, [2]], {"b": {"c": []}, "d": {}}, null], "e": {"f": [{"g": "x\ny"}]}});
        let text = yaml(&value).unwrap();
        assert_eq!(serde_yaml_ng::from_str::<Value>(&text).unwrap(), value, "{text}");
        assert!(text.contains("    - b:\n        c: []\n      d: {}\n"), "{text}");
    }

    #[test]
    fn a_text_that_bare_would_be_a_number_is_quoted() {
        let value = serde_json::json!({"0B1": "28_", "1_0": ["1_4.0_", "0b2", "a_1", "0x_"]});
        let text = yaml(&value).unwrap();
        assert_eq!(text, "'0B1': '28_'\n'1_0':\n    - '1_4.0_'\n    - 0b2\n    - a_1\n    - 0x_\n");
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = to_yaml(&Config::default(), Secrets::Shown).unwrap();
        let mut config: Config = from_node(&parse_body(&text).unwrap(), &Path::new()).unwrap();
        assert_eq!(
            config.off.into_option(),
            Some(net::KeepaliveClientConfig::default()),
            "null turns a section on"
        );
        config.off = Config::default().off;
        assert_eq!(config, Config::default());
    }

    #[test]
    fn of_a_url_neither_password_nor_token_nor_values_of_the_query_are_shown_and_no_key() {
        for (text, shown) in [
            ("http://user:pass@host:1/a", "http://user:[REDACTED]@host:1/a"),
            ("https://u:p@ss@host?token=x&flag&y=", "https://u:[REDACTED]@host?token=[REDACTED]&flag&y="),
            ("http://host/a@b:c?k=v#f", "http://host/a@b:c?k=[REDACTED]"),
            ("http://token@host", "http://[REDACTED]@host"),
            ("user:pass@host:1", "user:[REDACTED]@host:1"),
            ("a: b@c", "a: b@c"),
            ("me@example.com", "me@example.com"),
            ("localhost:4317", "localhost:4317"),
            ("a b://c:d@e", "a b://c:d@e"),
            ("", ""),
            ("secret\n-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n", "[REDACTED]"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
