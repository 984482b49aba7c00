//! Reads typed settings back from a tree of defaults.

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::DeError;
use super::access::OptionalParts;
use crate::optional::code;
use crate::tree::{OptionalState, Tree, marker};

/// Reads one value of a tree. Trees come from typed values, so that this fails only for a type that does not read
/// what it writes.
#[derive(Clone, Copy)]
pub(super) struct TreeReader<'a>(pub(super) &'a Tree);

impl<'a> TreeReader<'a> {
    /// An optional section as its state and its content.
    fn optional<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let (state, content) = match self.0 {
            Tree::Optional(state, content) => (*state, content.as_deref()),
            other => (OptionalState::Some, Some(other)),
        };
        let code = match state {
            OptionalState::None => code::NONE,
            OptionalState::Default => code::DEFAULT,
            OptionalState::Some => code::SOME,
        };
        visitor.visit_seq(OptionalParts::new(code, content.map(TreeReader)))
    }
}

impl<'de> Deserializer<'de> for TreeReader<'_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.0 {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Int(value) => visit_int(*value, visitor),
            Tree::Float(value) => visitor.visit_f64(*value),
            Tree::String(text) | Tree::Secret(text) => visitor.visit_str(text),
            Tree::Duration(nanos) => visitor.visit_i64(*nanos),
            Tree::Seq(items) => visitor.visit_seq(Items(items.iter())),
            Tree::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
            Tree::Optional(_, Some(content)) => TreeReader(content).deserialize_any(visitor),
            Tree::Optional(_, None) => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.0 {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match name {
            marker::OPTIONAL => self.optional(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match self.0 {
            Tree::Map(entries) => match entries.as_slice() {
                [(name, value)] => visitor.visit_enum(Variant { name, value }),
                _ => self.deserialize_any(visitor),
            },
            Tree::String(name) => visitor.visit_enum(Variant { name, value: &Tree::Null }),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// An integer in the narrowest of the two types that visitors know.
pub(super) fn visit_int<'de, V: Visitor<'de>>(value: i128, visitor: V) -> Result<V::Value, DeError> {
    if let Ok(value) = i64::try_from(value) {
        return visitor.visit_i64(value);
    }
    match u64::try_from(value) {
        Ok(value) => visitor.visit_u64(value),
        Err(_) => Err(DeError::Range(format!("{value} does not fit 64 bits"))),
    }
}

struct Items<'a>(std::slice::Iter<'a, Tree>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        self.0.next().map(|item| seed.deserialize(TreeReader(item))).transpose()
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, (String, Tree)>,
    value: Option<&'a Tree>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let key: StringDeserializer<DeError> = key.clone().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        seed.deserialize(TreeReader(self.value.take().unwrap_or(&Tree::Null)))
    }
}

struct Variant<'a> {
    name: &'a str,
    value: &'a Tree,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = DeError;
    type Variant = TreeReader<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, TreeReader<'a>), DeError> {
        let name: StringDeserializer<DeError> = self.name.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, TreeReader(self.value)))
    }
}

impl<'de> VariantAccess<'de> for TreeReader<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_any(visitor)
    }
}
