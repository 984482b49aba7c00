//! Values that must not be shown.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tree::{self, marker};

/// What is printed in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

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
}
