//! Values that must not be shown.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Path;
use crate::tree::{self, marker};

/// What is printed in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// What a sentence says of a secret in the place of the value.
pub(crate) const NOT_SHOWN: &str = "a value that is not shown";

/// A password, token or header value: shows as `[REDACTED]` in logs, errors and printed configurations.
///
/// Every serializer gets `[REDACTED]`; only [`crate::to_yaml`] and [`crate::to_json`] print the text, and only in
/// their unredacted mode. The empty secret prints as the empty string, so that one sees that none is set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for use on the wire.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if tree::building() {
            return serializer.serialize_newtype_struct(marker::SECRET, &self.0);
        }
        serializer.serialize_str(if self.0.is_empty() { "" } else { REDACTED })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(marker::SECRET, SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Secret, D::Error> {
        deserializer.deserialize_string(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret(text))
    }
}

/// Whether an option of this name usually holds a secret: its value is hidden in quoted lines.
pub(crate) fn is_sensitive(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "password",
        "passwd",
        "token",
        "secret",
        "authorization",
        "api_key",
        "apikey",
        "api-key",
        "access_key",
        "key_pem",
        "credential",
        "bearer",
        "cookie",
    ];
    // Names of files and other settings around a secret are no secrets, and hiding them would hide the mistake.
    const HARMLESS: &[&str] = &["_file", "_url", "filename", "_lifetime", "_key_name"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) && !HARMLESS.iter().any(|part| name.ends_with(part))
}

/// Whether the value of an option of this name, and all that is in it, is hidden.
pub(crate) fn is_place_name(name: &str) -> bool {
    is_sensitive(name)
        || matches!(name, "headers" | "headers_list" | "response_headers" | "auth" | "client_auth")
}

/// Whether a place is in an option of such a name.
pub(crate) fn is_place(path: &Path) -> bool {
    path.steps().any(|step| is_place_name(&step))
}

/// A name as a sentence may quote it: of a text in which a value is glued to the name, as where a blank was forgotten
/// (`token:hunter2`), no more than the name and the sign.
pub fn shown_name(name: &str) -> String {
    let ends = |(at, letter): &(usize, char)| {
        letter.is_whitespace() || matches!(letter, ':' | '=') && !is_between_names(name, *at)
    };
    match name.char_indices().find(ends) {
        Some((at, sign)) if at + sign.len_utf8() < name.len() => format!("{}{sign}{REDACTED}", &name[..at]),
        _ => name.to_owned(),
    }
}

/// Whether the sign at a place is one of a `::`.
fn is_between_names(text: &str, at: usize) -> bool {
    text[at..].starts_with("::") || text[..at].ends_with(':') && text[at..].starts_with(':')
}

/// A path as a sentence may quote it: not the content of a file, which was given in its place.
pub fn shown_path(path: &str) -> &str {
    if path.contains('\n') || has_pem(path) { REDACTED } else { path }
}

/// Whether there is something in a text that belongs into a file, such as a key.
pub(crate) fn has_pem(text: &str) -> bool {
    text.contains(PEM)
}

/// With this begins what belongs into a file, such as a key.
const PEM: &str = "-----BEGIN";

/// A text without what stands from the beginning of a PEM section to the end of the last one.
fn without_pem(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find(PEM) else { return text.into() };
    let last = text[start..].rfind("-----END ").map(|at| start + at + "-----END ".len());
    let end = last.and_then(|at| Some(at + text[at..].find("-----")? + "-----".len()));
    format!("{}{REDACTED}{}", &text[..start], &text[end.unwrap_or(text.len())..]).into()
}

/// Whether a text is one `${...}` that says where a value is and not what it is.
pub(crate) fn is_reference(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']) && shown_reference(inner) == inner)
}

/// A URI of a configuration, or what stands between the braces of `${...}`, without what may be a value: behind the name of
/// a variable, and behind a scheme that does not exist.
pub fn shown_reference(inner: &str) -> String {
    let (scheme, rest) = inner.split_once(':').unwrap_or_default();
    match scheme {
        "" => inner.to_owned(),
        "file" => format!("file:{}", shown_path(rest)),
        "http" | "https" => without_secrets(inner),
        "env" => format!("env:{}", shown_variable(rest)),
        _ => format!("{scheme}:{}", shown_default(rest)),
    }
}

/// The name of a variable, without what stands behind it.
pub(crate) fn shown_variable(reference: &str) -> String {
    match reference.split_once(':') {
        Some((name, value)) => format!("{name}:{}", shown_default(value)),
        None => reference.to_owned(),
    }
}

/// What stands behind the colon behind the name of a variable.
fn shown_default(value: &str) -> String {
    match value.strip_prefix('-') {
        Some(DEFAULT) => format!("-{DEFAULT}"),
        Some(_) => format!("-{REDACTED}"),
        None => REDACTED.to_owned(),
    }
}

/// What a help text writes where the default of a reference belongs.
const DEFAULT: &str = "default";

/// A value without what is secret in it if it is a URL, even one that is not well-formed, a reference, or the name of an
/// option that holds a secret with something behind it: user and password, query, default, value.
pub(crate) fn without_secrets(value: &str) -> String {
    if let Some(inner) = value.strip_prefix("${") {
        // What follows the brace is of the sentence.
        let (inner, rest) = inner.split_at(inner.rfind('}').unwrap_or(inner.len()));
        return format!("${{{}{rest}", shown_reference(inner));
    }
    if let Some((name, default)) = value.split_once(":-")
        && name.chars().all(|c| c.is_alphanumeric() || "_:-.+".contains(c))
    {
        return format!("{name}:{}", shown_default(&format!("-{default}")));
    }
    if let Some(at) = value_behind_name(value) {
        return format!("{}{REDACTED}", &value[..at]);
    }
    let (scheme, rest) = value.find("://").map_or(("", value), |at| value.split_at(at + 3));
    let (scheme, rest) = match rest.rsplit_once('@') {
        Some((user, host)) if !scheme.is_empty() || user.contains(':') => {
            (format!("{scheme}{REDACTED}@"), host)
        }
        _ => (scheme.to_owned(), rest),
    };
    let is_query = |query: &str| {
        let name = query.chars().take_while(|c| c.is_alphanumeric() || "-_.".contains(*c)).count();
        !scheme.is_empty() || name > 0 && query.chars().nth(name) == Some('=')
    };
    match rest.split_once(['?', '#']) {
        Some((place, query)) if is_query(query) => format!("{scheme}{place}?{REDACTED}"),
        _ => format!("{scheme}{rest}"),
    }
}

/// The signs in a text behind which a value is looked for.
const MOST_SIGNS: usize = 16;

/// Where the value begins that is glued with `:` or `=` to the name of an option that holds a secret. A port is no such
/// value, and a URL has rules of its own.
fn value_behind_name(text: &str) -> Option<usize> {
    if text.contains("://") {
        return None;
    }
    let signs = text.match_indices([':', '=']).map(|(at, _)| at).filter(|at| !is_between_names(text, *at));
    let name = |at: usize| text[..at].rsplit("::").next().unwrap_or_default();
    let at = signs.take(MOST_SIGNS).find(|at| is_sensitive(name(*at)))?;
    let value = &text[at + 1..];
    let is_port = value.len() <= 5 && value.chars().all(|c| c.is_ascii_digit());
    (!is_port).then_some(at + 1)
}

/// A sentence in which each word, and each text in quotes, is [`without_secrets`].
pub(crate) fn text_without_secrets(text: &str) -> String {
    let text = without_pem(text);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(letter) = rest.chars().next() {
        let opens = matches!(letter, '"' | '\'' | '`') && !shown.ends_with(char::is_alphanumeric);
        let length = match opens {
            true => quoted_length(rest, letter),
            false if letter.is_whitespace() => letter.len_utf8(),
            false => word_length(rest),
        };
        let (word, behind) = rest.split_at(length);
        let inner = word.strip_prefix(letter).and_then(|inner| inner.strip_suffix(letter)).filter(|_| opens);
        match inner {
            Some(inner) => shown.extend([letter.to_string(), without_secrets(inner), letter.to_string()]),
            None => shown.push_str(&without_secrets(word)),
        }
        rest = behind;
    }
    shown
}

/// Bytes of a text in quotes; of the quote alone when nothing closes it.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = true;
    for (at, letter) in text.char_indices() {
        if letter == quote && !escaped {
            return at + quote.len_utf8();
        }
        escaped = letter == '\\' && !escaped;
    }
    quote.len_utf8()
}

/// Bytes up to a blank or a quote; of a reference, up to its end and on from there.
fn word_length(text: &str) -> usize {
    let from = if text.starts_with("${") { text.find('}').unwrap_or(0) } else { 0 };
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '`');
    text[from..].find(ends).map_or(text.len(), |end| (from + end).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {secret}"), "[REDACTED] [REDACTED]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[REDACTED]\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn names_that_usually_hold_secrets_are_known() {
        for name in ["password", "Authorization", "token", "client_secret", "x-api-key", "bearer_token"] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["endpoint", "password_file", "token_url", "key_file"] {
            assert!(!is_sensitive(name), "{name}");
        }
    }

    #[test]
    fn what_is_secret_in_a_url_is_hidden_also_where_it_is_malformed() {
        for (text, shown) in [
            ("http://user:pass@host:1/a", "http://[REDACTED]@host:1/a"),
            ("ht!tp://u:p@ss/w@host?token=x#y", "ht!tp://[REDACTED]@host?[REDACTED]"),
            ("u:pass@host:1", "[REDACTED]@host:1"),
            ("host/p?key=x&y", "host/p?[REDACTED]"),
            ("http://host/?x", "http://host/?[REDACTED]"),
            ("${TOKEN:-hunter2}", "${TOKEN:-[REDACTED]}"),
            ("TOKEN:-hunter2", "TOKEN:-[REDACTED]"),
            ("${env:TOKEN:-default}", "${env:TOKEN:-default}"),
            ("${MY-TOKEN:-hunter2}", "${MY-TOKEN:-[REDACTED]}"),
            ("${TOKEN:hunter2}", "${TOKEN:[REDACTED]}"),
            ("${env:TOKEN:hunter2}", "${env:TOKEN:[REDACTED]}"),
            ("${envv:TOKEN:-hunter2}", "${envv:[REDACTED]}"),
            ("${env:TOKEN}", "${env:TOKEN}"),
            ("${file:a.yaml}", "${file:a.yaml}"),
            ("token:hunter2", "token:[REDACTED]"),
            ("a::authorization: Bearer hunter2", "a::authorization:[REDACTED]"),
            ("x-api-key=hunter2", "x-api-key=[REDACTED]"),
            ("a::bearertokenauth::token", "a::bearertokenauth::token"),
            ("token-server:4317", "token-server:4317"),
            ("(?P<name>a+)", "(?P<name>a+)"),
            ("me@example.com", "me@example.com"),
            ("localhost:4317", "localhost:4317"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn of_a_name_with_a_value_glued_to_it_the_name_is_shown() {
        for (name, shown) in [
            ("token:hunter2", "token:[REDACTED]"),
            ("authorization=hunter2", "authorization=[REDACTED]"),
            ("a b", "a [REDACTED]"),
            ("a\u{a0}b", "a\u{a0}[REDACTED]"),
            ("a::b", "a::b"),
            ("a::b:hunter2", "a::b:[REDACTED]"),
            ("endpont", "endpont"),
            ("endpont:", "endpont:"),
        ] {
            assert_eq!(shown_name(name), shown);
        }
        assert_eq!(shown_path("/etc/key.pem"), "/etc/key.pem");
        assert_eq!(shown_path("-----BEGIN PRIVATE KEY-----"), REDACTED);
    }

    #[test]
    fn a_sentence_is_shown_without_the_secrets_of_its_urls() {
        for (text, shown) in [
            (
                "found the string \"http://u:my pass@h\", not \"x\"",
                "found the string \"http://[REDACTED]@h\", not \"x\"",
            ),
            (
                "'a' isn't http://u:p@h:1/?k=v: it's not",
                "'a' isn't http://[REDACTED]@h:1/?[REDACTED] it's not",
            ),
            ("uri:\"a:b@c \\\" d@e\"", "uri:\"[REDACTED]@e\""),
            (
                "cannot resolve ${T:-my secret}: \"T:-my secret\"",
                "cannot resolve ${T:-[REDACTED]}: \"T:-[REDACTED]\"",
            ),
            (
                "open -----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----: no such file",
                "open [REDACTED]: no such file",
            ),
            ("open -----BEGIN PRIVATE KEY-----\nhunter2", "open [REDACTED]"),
            ("exporters::otlp: an \"open 'quote", "exporters::otlp: an \"open 'quote"),
            ("é\"", "é\""),
        ] {
            assert_eq!(text_without_secrets(text), shown);
        }
    }
}
