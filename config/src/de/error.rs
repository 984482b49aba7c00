//! The error type that travels through serde, before it gets its place.

use std::fmt;

/// What went wrong with one value. Only the reader turns it into a [`crate::ConfigError`], because only
/// there the place is known.
#[derive(Debug, Clone, PartialEq)]
pub enum DeError {
    /// Already recorded with its place; only unwinds.
    Reported,
    /// A list of something else than strings was given as one string.
    NotAList,
    /// A value of the wrong type; the names are Go's for the Collector's sentence and ours for people.
    Type {
        /// Go's name of the type, such as `uint32`.
        go: &'static str,
        /// In words: "a whole number".
        words: &'static str,
    },
    /// A scalar or list where a mapping was wanted.
    NotAMap,
    /// A number outside the range of its type; Go's sentence.
    Range(String),
    /// A value that a visitor did not expect; what it expects.
    Unexpected(String),
    /// A word that is none of those allowed.
    Variant(&'static [&'static str]),
    /// The same, with the Collector's sentence, in which `%q` stands for the word.
    Word(&'static str, &'static [&'static str]),
    /// The same option twice, which with serde means under two names.
    DuplicateField(&'static str),
    /// A required option that is not there.
    MissingField(&'static str),
    /// A text that is no duration; Go's sentence.
    Duration(String),
    /// A component id that is not well-formed; the Collector's sentence.
    Id(String),
    /// Anything else.
    Custom(String),
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported => f.write_str("see the errors recorded"),
            Self::NotAList => f.write_str("expected a list"),
            Self::Type { words, .. } => write!(f, "expected {words}"),
            Self::NotAMap => f.write_str("expected a mapping"),
            Self::Range(text) | Self::Duration(text) | Self::Id(text) | Self::Custom(text) => {
                f.write_str(text)
            }
            Self::Unexpected(expected) => write!(f, "expected {expected}"),
            Self::Variant(allowed) | Self::Word(_, allowed) => {
                write!(f, "expected one of {}", allowed.join(", "))
            }
            Self::DuplicateField(name) => write!(f, "`{name}` is given twice"),
            Self::MissingField(name) => write!(f, "`{name}` is missing"),
        }
    }
}

impl std::error::Error for DeError {}

impl serde::ser::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

impl serde::de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }

    fn invalid_type(_found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::Unexpected(expected.to_string())
    }

    fn invalid_value(_found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::Unexpected(expected.to_string())
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Variant(expected)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::DuplicateField(name)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::MissingField(name)
    }
}
