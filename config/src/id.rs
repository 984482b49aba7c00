//! Names of components and pipelines.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::tree::marker;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 1024;
/// The longest type, in characters.
const LONGEST_TYPE: usize = 63;

/// The id of a component: `type` or `type/name`. Both parts are trimmed when read.
///
/// A type is a letter followed by up to 62 letters, digits and `_`; a name is up to 1024 bytes without white space,
/// control characters and symbols (`+ $ = < > | ^ ~` and the backtick; `/`, `-` and `.` are fine).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId {
    kind: String,
    name: String,
}

impl ComponentId {
    /// The type: what the component is.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name: which one of its type; empty for the one without.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a pipeline carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PipelineSignal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
    /// Samples.
    Profiles,
}

impl PipelineSignal {
    /// All of them, as written in pipeline ids.
    pub const NAMES: [&'static str; 4] = ["traces", "metrics", "logs", "profiles"];

    /// As written in pipeline ids.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Profiles => "profiles",
        }
    }
}

/// The id of a pipeline: `signal` or `signal/name`. The name follows the rules of [`ComponentId`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineId {
    signal: PipelineSignal,
    name: String,
}

impl PipelineId {
    /// What the pipeline carries.
    pub const fn signal(&self) -> PipelineSignal {
        self.signal
    }

    /// Which one of its signal; empty for the one without a name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Why a text is no id; the Collector's sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdError {
    /// The shape is wrong.
    Malformed(String),
    /// The part before `/` of a pipeline id is no signal.
    UnknownSignal {
        /// The whole id.
        id: String,
        /// The part before `/`.
        signal: String,
    },
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(sentence) => f.write_str(sentence),
            Self::UnknownSignal { id, signal } => {
                write!(f, "in {id:?} id: unknown pipeline signal: {signal:?}")
            }
        }
    }
}

impl std::error::Error for IdError {}

impl FromStr for ComponentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (kind, name) = split(text)?;
        if !is_type(kind) {
            return Err(IdError::Malformed(format!("in {text:?} id: invalid character(s) in type {kind:?}")));
        }
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

impl FromStr for PipelineId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (signal, name) = split(text)?;
        let signal = match signal {
            "traces" => PipelineSignal::Traces,
            "metrics" => PipelineSignal::Metrics,
            "logs" => PipelineSignal::Logs,
            "profiles" => PipelineSignal::Profiles,
            other => return Err(IdError::UnknownSignal { id: text.to_owned(), signal: other.to_owned() }),
        };
        Ok(Self { signal, name: name.to_owned() })
    }
}

/// The trimmed parts before and after the first `/`, the name checked.
fn split(text: &str) -> Result<(&str, &str), IdError> {
    let malformed = |sentence: String| Err(IdError::Malformed(sentence));
    let (first, name) = match text.split_once('/') {
        Some((first, name)) => (first.trim(), Some(name.trim())),
        None => (text.trim(), None),
    };
    if first.is_empty() {
        return match name {
            Some(_) => malformed(format!("in {text:?} id: the part before / should not be empty")),
            None => malformed("id must not be empty".to_owned()),
        };
    }
    let Some(name) = name else { return Ok((first, "")) };
    if name.is_empty() {
        return malformed(format!("in {text:?} id: the part after / should not be empty"));
    }
    if name.len() > LONGEST_NAME {
        let length = name.len();
        let start: String = name.chars().take(40).collect();
        return malformed(format!(
            "in \"{start}...\" id: name is longer than {LONGEST_NAME} characters ({length} characters)"
        ));
    }
    if !name.chars().all(is_name_character) {
        return malformed(format!("in {name:?} id: invalid character(s) in name {name:?}"));
    }
    Ok((first, name))
}

fn is_type(kind: &str) -> bool {
    kind.len() <= LONGEST_TYPE
        && kind.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && kind.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Neither a separator nor a control character nor a symbol, in Unicode's general categories.
fn is_name_character(letter: char) -> bool {
    use GeneralCategory as G;
    !matches!(
        get_general_category(letter),
        G::SpaceSeparator
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::Control
            | G::Format
            | G::Surrogate
            | G::PrivateUse
            | G::Unassigned
            | G::MathSymbol
            | G::CurrencySymbol
            | G::ModifierSymbol
            | G::OtherSymbol
    )
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signal.name())?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

impl Serialize for ComponentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComponentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(marker::COMPONENT_ID, IdVisitor)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = ComponentId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a component id such as otlp or otlp/2")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<ComponentId, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ComponentId, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_ids_are_a_type_and_a_name_both_trimmed() {
        let cases: &[(&str, &str, &str)] = &[
            ("otlp", "otlp", ""),
            ("otlp/2", "otlp", "2"),
            (" otlp / 2 ", "otlp", "2"),
            ("otlp_http/a/b-c.d:e", "otlp_http", "a/b-c.d:e"),
            ("A1_", "A1_", ""),
            ("otlp/übung", "otlp", "übung"),
        ];
        for (text, kind, name) in cases {
            let id: ComponentId = text.parse().unwrap();
            assert_eq!((id.kind(), id.name()), (*kind, *name), "{text}");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn malformed_ids_get_the_collectors_sentence() {
        let cases: &[(&str, &str)] = &[
            ("", "id must not be empty"),
            ("  ", "id must not be empty"),
            ("/x", "in \"/x\" id: the part before / should not be empty"),
            ("otlp/", "in \"otlp/\" id: the part after / should not be empty"),
            ("otlp/ ", "in \"otlp/ \" id: the part after / should not be empty"),
            ("1otlp", "in \"1otlp\" id: invalid character(s) in type \"1otlp\""),
            ("a-b", "in \"a-b\" id: invalid character(s) in type \"a-b\""),
            ("a b", "in \"a b\" id: invalid character(s) in type \"a b\""),
            ("otlp/a b", "in \"a b\" id: invalid character(s) in name \"a b\""),
            ("otlp/a+b", "in \"a+b\" id: invalid character(s) in name \"a+b\""),
            ("otlp/a$b", "in \"a$b\" id: invalid character(s) in name \"a$b\""),
            ("otlp/a€", "in \"a€\" id: invalid character(s) in name \"a€\""),
            ("otlp/a`", "in \"a`\" id: invalid character(s) in name \"a`\""),
        ];
        for (text, sentence) in cases {
            let error = text.parse::<ComponentId>().unwrap_err();
            assert_eq!(error.to_string(), *sentence, "{text:?}");
        }
        assert!("a".repeat(63).parse::<ComponentId>().is_ok());
        assert!("a".repeat(64).parse::<ComponentId>().is_err());
        assert!(format!("a/{}", "x".repeat(1024)).parse::<ComponentId>().is_ok());
        assert!(format!("a/{}", "x".repeat(1025)).parse::<ComponentId>().is_err());
    }

    #[test]
    fn pipeline_ids_begin_with_a_signal() {
        let id: PipelineId = "metrics/2".parse().unwrap();
        assert_eq!(
            (id.signal(), id.name(), id.to_string().as_str()),
            (PipelineSignal::Metrics, "2", "metrics/2")
        );
        let error = "metric/2".parse::<PipelineId>().unwrap_err();
        assert_eq!(error.to_string(), "in \"metric/2\" id: unknown pipeline signal: \"metric\"");
    }
}
