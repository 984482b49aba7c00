//! Values of any type in a configuration.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

/// A value whose type is that of what was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Any {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Double(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Any>),
    /// A mapping, in the order written.
    Map(Vec<(String, Any)>),
}

impl Any {
    /// The Collector's name of the type that an attribute of this value has.
    pub fn type_name(&self) -> &'static str {
        match self {
            Any::Null => "Empty",
            Any::Bool(_) => "Bool",
            Any::Int(_) => "Int",
            Any::Double(_) => "Double",
            Any::Text(_) => "Str",
            Any::List(_) => "Slice",
            Any::Map(_) => "Map",
        }
    }
}

impl From<&Any> for AnyValue {
    fn from(any: &Any) -> AnyValue {
        let value = match any {
            Any::Null => None,
            Any::Bool(value) => Some(Value::BoolValue(*value)),
            Any::Int(value) => Some(Value::IntValue(*value)),
            Any::Double(value) => Some(Value::DoubleValue(*value)),
            Any::Text(text) => Some(Value::StringValue(text.clone())),
            Any::List(list) => {
                Some(Value::ArrayValue(ArrayValue { values: list.iter().map(AnyValue::from).collect() }))
            }
            Any::Map(map) => {
                let pair = |(key, value): &(String, Any)| KeyValue {
                    key: key.clone(),
                    value: Some(AnyValue::from(value)),
                    ..Default::default()
                };
                Some(Value::KvlistValue(KeyValueList { values: map.iter().map(pair).collect() }))
            }
        };
        AnyValue { value }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Any, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }
    fn visit_none<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Any, D::Error> {
        Any::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Int(value))
    }
    /// Larger ones wrap, as in Go.
    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Int(value.cast_signed()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Double(value))
    }
    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Any::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Any::Map(map))
    }
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Any::Null => serializer.serialize_unit(),
            Any::Bool(value) => serializer.serialize_bool(*value),
            Any::Int(value) => serializer.serialize_i64(*value),
            Any::Double(value) => serializer.serialize_f64(*value),
            Any::Text(text) => serializer.serialize_str(text),
            Any::List(list) => {
                let mut items = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|item| items.serialize_element(item))?;
                items.end()
            }
            Any::Map(map) => {
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                map.iter().try_for_each(|(key, value)| entries.serialize_entry(key, value))?;
                entries.end()
            }
        }
    }
}
