//! Reads typed settings from one node.

use std::cell::RefCell;

use serde::de::{Deserializer, Visitor};

use super::DeError;
use super::access::{Entries, Fields, Items, OptionalParts, Pieces, Variant};
use super::context::Context;
use super::tree::{TreeReader, visit_int};
use crate::optional::code;
use crate::tree::{self, OptionalState, Tree, marker};
use crate::{ConfigError, ErrorKind, Map, Node, NodeKind, Path, secret};

/// What a value is part of. A null that gets here is the zero value of its type; one that keeps the default never gets
/// here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A mapping, a list, or nothing.
    Whole,
    /// A part of a string that was split at commas: only a string will do.
    Piece,
}

/// Reads one node.
pub(super) struct ValueReader<'a> {
    pub(super) context: &'a Context,
    pub(super) node: &'a Node,
    /// What the component's defaults say here.
    pub(super) default: Option<&'a Tree>,
    pub(super) path: Path,
    pub(super) place: Place,
    /// A key that is not an option of the type read here (`enabled` of an optional section).
    pub(super) hidden_key: Option<&'static str>,
    /// When the options of this struct stand among those of the struct that holds it: where to say which they are.
    pub(super) inlined: Option<&'a RefCell<Vec<&'static str>>>,
}

impl<'a> ValueReader<'a> {
    pub(super) fn new(
        context: &'a Context,
        node: &'a Node,
        default: Option<&'a Tree>,
        path: Path,
        place: Place,
    ) -> Self {
        Self { context, node, default, path, place, hidden_key: None, inlined: None }
    }

    fn wrong<T>(&self, go: &'static str, words: &'static str) -> Result<T, DeError> {
        if self.place == Place::Piece {
            return Err(DeError::NotAList);
        }
        Err(DeError::Type { go, words })
    }

    /// An integer within a range, by Go's conversions.
    fn integer(&self, go: &'static str, lowest: i128, highest: i128) -> Result<i128, DeError> {
        if self.node.is_null() {
            return Ok(0);
        }
        let value = match self.node.kind {
            NodeKind::Int(value) => value,
            NodeKind::Float(value) if value.is_finite() => truncate(value),
            _ => return self.wrong(go, "a whole number"),
        };
        if value < 0 && lowest == 0 {
            return Err(DeError::Range(format!("cannot parse value as '{go}': {value} overflows uint")));
        }
        if !(lowest..=highest).contains(&value) {
            return Err(DeError::Range(format!("cannot parse value as '{go}': {value} overflows {go}")));
        }
        Ok(value)
    }

    fn float(&self, go: &'static str) -> Result<f64, DeError> {
        if self.node.is_null() {
            return Ok(0.0);
        }
        match self.node.kind {
            NodeKind::Float(value) => Ok(value),
            #[expect(
                clippy::cast_precision_loss,
                reason = "an integer for a float is rounded, as the Collector does"
            )]
            NodeKind::Int(value) => Ok(value as f64),
            _ => self.wrong(go, "a number"),
        }
    }

    fn text(&self) -> Result<&'a str, DeError> {
        if let Some(original) = &self.node.original {
            return Ok(original);
        }
        if self.node.is_null() {
            return Ok("");
        }
        match &self.node.kind {
            NodeKind::String(text) => Ok(text),
            _ => self.wrong("string", "a string"),
        }
    }

    /// The mapping at this place; `None` for a null that stands for an empty one.
    fn map(&self) -> Result<Option<&'a Map>, DeError> {
        if self.place == Place::Piece {
            return Err(DeError::NotAList);
        }
        match &self.node.kind {
            NodeKind::Map(map) => Ok(Some(map)),
            NodeKind::Null => Ok(None),
            _ => Err(DeError::NotAMap),
        }
    }

    fn items<'de, V: Visitor<'de>>(self, visitor: V, splits: bool) -> Result<V::Value, DeError> {
        match &self.node.kind {
            NodeKind::Seq(items) => visitor.visit_seq(Items::new(self.context, items, self.path)),
            NodeKind::Null => visitor.visit_seq(Items::new(self.context, &[], self.path)),
            NodeKind::String(text) if splits && self.place != Place::Piece => {
                visitor.visit_seq(Pieces::new(self.context, text, self.node.span, self.path))
            }
            _ => Err(DeError::NotAList),
        }
    }

    fn optional<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DeError> {
        let (state, content) = match self.default {
            Some(Tree::Optional(state, content)) => (*state, content.as_deref()),
            _ => (OptionalState::None, None),
        };
        // A reference to nothing (`tls: ${env:UNSET}`) was written to turn the section on.
        let referred = self.node.original.is_some() && state == OptionalState::None;
        if self.node.is_null() && !referred {
            let (code, content) = match (state, content) {
                (OptionalState::None, _) | (_, None) => (code::NONE, None),
                (_, Some(content)) => (code::SOME, Some(TreeReader(content))),
            };
            return tree::read_without_value(|| visitor.visit_seq(OptionalParts::new(code, content)));
        }
        let on = self.map()?.is_none_or(|map| self.enabled(map));
        self.default = content;
        self.hidden_key = Some("enabled");
        self.place = Place::Whole;
        let code = if on { code::SOME } else { code::DISABLED };
        visitor.visit_seq(OptionalParts::new(code, Some(self)))
    }

    /// What the key `enabled` of an optional section says.
    fn enabled(&self, map: &Map) -> bool {
        let Some((_, node)) = map.entry("enabled") else { return true };
        if let NodeKind::Bool(on) = node.kind {
            return on;
        }
        let path = self.path.field("enabled");
        let hidden = secret::is_place(&path);
        let (found_type, found) = match &node.kind {
            _ if hidden => (node.go_type(), secret::REDACTED.to_owned()),
            NodeKind::Null => ("<nil>", "<nil>".to_owned()),
            NodeKind::String(text) => ("string", text.to_string()),
            NodeKind::Int(value) => (node.go_type(), value.to_string()),
            NodeKind::Float(value) => (node.go_type(), value.to_string()),
            _ => (node.go_type(), node.describe()),
        };
        let core = format!(
            "unexpected type {found_type} for 'enabled': got '{found}' value expected 'true' or 'false'"
        );
        let found = if hidden { secret::NOT_SHOWN.to_owned() } else { node.describe() };
        let message = format!("`{path}` must be true or false, found {found}");
        let mut error = ConfigError::new(ErrorKind::Type, message);
        error.expected = Some("true or false".to_owned());
        error.got = Some(found).filter(|_| !hidden);
        self.context.note(error.core(core).at(node.span).on(&path));
        true
    }
}

/// A finite float without its fraction, as Go converts it.
#[expect(clippy::cast_possible_truncation, reason = "truncation is what the Collector does")]
fn truncate(value: f64) -> i128 {
    value.trunc() as i128
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident $go:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            let value = self.integer($go, $type::MIN.into(), $type::MAX.into())?;
            visitor.$visit($type::try_from(value).map_err(|_| DeError::Range(format!("{value} overflows {}", $go)))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueReader<'_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.kind {
            NodeKind::Null => visitor.visit_unit(),
            NodeKind::Bool(value) => visitor.visit_bool(*value),
            NodeKind::Int(value) => visit_int(*value, visitor),
            NodeKind::Float(value) => visitor.visit_f64(*value),
            NodeKind::String(text) => visitor.visit_str(text),
            NodeKind::Seq(items) => visitor.visit_seq(Items::new(self.context, items, self.path)),
            NodeKind::Map(map) => visitor.visit_map(Entries::new(self.context, Some(map), None, self.path)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.node.is_null() {
            return visitor.visit_bool(false);
        }
        match self.node.kind {
            NodeKind::Bool(value) => visitor.visit_bool(value),
            _ => self.wrong("bool", "true or false"),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8 "int8"
        deserialize_i16 visit_i16 i16 "int16"
        deserialize_i32 visit_i32 i32 "int32"
        deserialize_i64 visit_i64 i64 "int"
        deserialize_u8 visit_u8 u8 "uint8"
        deserialize_u16 visit_u16 u16 "uint16"
        deserialize_u32 visit_u32 u32 "uint32"
        deserialize_u64 visit_u64 u64 "uint64"
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_f64(self.float("float32")?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_f64(self.float("float64")?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_bytes(self.text()?.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_bytes(self.text()?.as_bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.node.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.node.is_null() {
            return visitor.visit_unit();
        }
        self.wrong("struct {}", "nothing")
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match name {
            marker::OPTIONAL => self.optional(visitor),
            marker::DURATION if self.node.is_null() => visitor.visit_i64(0),
            marker::DURATION | marker::COMPONENT_ID if self.place == Place::Piece => Err(DeError::NotAList),
            marker::SECRET => {
                self.context.mark_secret(&self.path);
                visitor.visit_newtype_struct(self)
            }
            _ => visitor.visit_newtype_struct(self).map_err(|error| match (name, error) {
                (marker::DURATION, DeError::Custom(sentence)) => DeError::Duration(sentence),
                (marker::COMPONENT_ID, DeError::Custom(sentence)) => DeError::Id(sentence),
                (_, error) => error,
            }),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.items(visitor, true)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DeError> {
        self.items(visitor, false)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.items(visitor, false)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_map(Entries::new(self.context, self.map()?, self.default, self.path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        Fields::read(self.map()?, fields, &self, visitor)
    }

    /// A type whose serde name contains `%q` gives with it the Collector's sentence for an unknown word.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        if self.place == Place::Piece {
            return Err(DeError::NotAList);
        }
        // Where no word is empty, the zero value has no name.
        if let Some(default) = self.default.filter(|_| self.node.is_null() && !variants.contains(&"")) {
            return TreeReader(default).deserialize_enum(name, variants, visitor);
        }
        if let NodeKind::Map(map) = &self.node.kind
            && let [(key, value)] = map.entries.as_slice()
        {
            return visitor.visit_enum(Variant::of_map(self.context, &key.name, value, &self.path));
        }
        visitor.visit_enum(Variant::of_word(self.context, self.text()?, &self.path)).map_err(|error| {
            match error {
                DeError::Variant(allowed) if name.contains("%q") || name.contains("%s") => {
                    DeError::Word(name, allowed)
                }
                other => other,
            }
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }
}
