//! Attribute values as text.

use std::collections::BTreeMap;
use std::fmt;

use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue};
use weir_pdata::text::{Base64, JsonNumber, JsonText};

/// The string table of a profile's dictionary, in which keys and values may be given by index; empty for other signals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Strings<'a>(pub(crate) &'a [String]);

impl<'a> Strings<'a> {
    /// The string at that index, if there is one.
    pub(crate) fn get(&self, index: i32) -> Option<&'a str> {
        self.0.get(usize::try_from(index).ok()?).map(String::as_str)
    }

    /// Key of an attribute.
    pub(crate) fn key(&self, attribute: &'a KeyValue) -> &'a str {
        match attribute.key.as_str() {
            "" => self.get(attribute.key_strindex).unwrap_or_default(),
            key => key,
        }
    }

    /// A value as text alone.
    pub(crate) fn plain(self, value: Option<&'a AnyValue>) -> Plain<'a> {
        Plain(Read::new(value, self), self)
    }

    /// A value as its type with the text in parentheses: `Str(x)`.
    pub(crate) fn typed(self, value: Option<&'a AnyValue>) -> Typed<'a> {
        Typed(Plain(Read::new(value, self), self))
    }
}

/// A value with references to strings resolved.
#[derive(Debug, Clone, Copy)]
enum Read<'a> {
    Empty,
    Str(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Map(&'a [KeyValue]),
    Slice(&'a [AnyValue]),
}

impl<'a> Read<'a> {
    fn new(value: Option<&'a AnyValue>, strings: Strings<'a>) -> Read<'a> {
        match value.and_then(|v| v.value.as_ref()) {
            None => Read::Empty,
            Some(Value::StringValue(s)) => Read::Str(s),
            Some(Value::StringValueStrindex(i)) => strings.get(*i).map_or(Read::Empty, Read::Str),
            Some(Value::BoolValue(b)) => Read::Bool(*b),
            Some(Value::IntValue(i)) => Read::Int(*i),
            Some(Value::DoubleValue(d)) => Read::Double(*d),
            Some(Value::BytesValue(b)) => Read::Bytes(b),
            Some(Value::KvlistValue(list)) => Read::Map(&list.values),
            Some(Value::ArrayValue(list)) => Read::Slice(&list.values),
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Read::Empty => "Empty",
            Read::Str(_) => "Str",
            Read::Bool(_) => "Bool",
            Read::Int(_) => "Int",
            Read::Double(_) => "Double",
            Read::Bytes(_) => "Bytes",
            Read::Map(_) => "Map",
            Read::Slice(_) => "Slice",
        }
    }
}

/// See [`Strings::typed`].
pub(crate) struct Typed<'a>(Plain<'a>);

impl fmt::Display for Typed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.0.0.type_name(), self.0)
    }
}

/// See [`Strings::plain`].
pub(crate) struct Plain<'a>(Read<'a>, Strings<'a>);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Read::Empty => Ok(()),
            Read::Str(s) => f.write_str(s),
            Read::Bool(b) => write!(f, "{b}"),
            Read::Int(i) => write!(f, "{i}"),
            Read::Double(d) => write!(f, "{}", JsonNumber(d)),
            Read::Bytes(b) => write!(f, "{}", Base64(b)),
            // JSON has no such numbers; the Collector then prints nothing at all of the value.
            nested if has_no_json(nested, self.1) => Ok(()),
            nested => json(f, nested, self.1),
        }
    }
}

/// Attributes as `key=value`, with something between them.
pub(crate) struct Pairs<'a> {
    pub(crate) attributes: &'a [KeyValue],
    pub(crate) strings: Strings<'a>,
    pub(crate) between: &'static str,
}

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, attribute) in self.attributes.iter().enumerate() {
            if i > 0 {
                f.write_str(self.between)?;
            }
            let value = self.strings.plain(attribute.value.as_ref());
            write!(f, "{}={value}", self.strings.key(attribute))?;
        }
        Ok(())
    }
}

fn has_no_json(value: Read<'_>, strings: Strings<'_>) -> bool {
    let inside = |v| has_no_json(Read::new(v, strings), strings);
    match value {
        Read::Double(d) => !d.is_finite(),
        Read::Map(map) => map.iter().any(|kv| inside(kv.value.as_ref())),
        Read::Slice(list) => list.iter().any(|v| inside(Some(v))),
        _ => false,
    }
}

/// Maps have their keys in order, each once: the last of equal ones counts. Nesting is bounded, to 64 levels, where
/// telemetry comes in.
fn json(f: &mut fmt::Formatter<'_>, value: Read<'_>, strings: Strings<'_>) -> fmt::Result {
    match value {
        Read::Empty => f.write_str("null"),
        Read::Str(s) => write!(f, "{}", JsonText(s)),
        Read::Bool(b) => write!(f, "{b}"),
        Read::Int(i) => write!(f, "{i}"),
        Read::Double(d) => write!(f, "{}", JsonNumber(d)),
        Read::Bytes(b) => write!(f, "\"{}\"", Base64(b)),
        Read::Map(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|kv| (strings.key(kv), kv.value.as_ref())).collect();
            f.write_str("{")?;
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                write!(f, "{}{}:", if i > 0 { "," } else { "" }, JsonText(key))?;
                json(f, Read::new(value, strings), strings)?;
            }
            f.write_str("}")
        }
        Read::Slice(list) => {
            f.write_str("[")?;
            for (i, value) in list.iter().enumerate() {
                f.write_str(if i > 0 { "," } else { "" })?;
                json(f, Read::new(Some(value), strings), strings)?;
            }
            f.write_str("]")
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_pdata::otlp::common::v1::{ArrayValue, KeyValueList};

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn text(value: &AnyValue) -> String {
        Strings::default().typed(Some(value)).to_string()
    }

    #[test]
    fn bytes_are_base64_with_padding() {
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let value = any(Value::BytesValue(bytes.into()));
            assert_eq!(text(&value), format!("Bytes({expected})"));
        }
    }

    #[test]
    fn strings_in_lists_are_escaped_as_json_and_alone_they_are_not() {
        let tricky = "\"\\\n\r\t\u{8}\u{c}\u{1}\u{2028}<&>é";
        let list = ArrayValue { values: vec![any(Value::StringValue(tricky.to_owned()))] };
        assert_eq!(text(&any(Value::ArrayValue(list))), r#"Slice(["\"\\\n\r\t\b\f\u0001\u2028<&>é"])"#);
        assert_eq!(text(&any(Value::StringValue(tricky.to_owned()))), format!("Str({tricky})"));
    }

    #[test]
    fn strings_by_index_are_looked_up_at_every_depth() {
        let table = ["".to_owned(), "name".to_owned(), "main".to_owned()];
        let strings = Strings(&table);
        let by_index = |key, value| KeyValue {
            key_strindex: key,
            value: Some(any(Value::StringValueStrindex(value))),
            ..Default::default()
        };
        let map = any(Value::KvlistValue(KeyValueList { values: vec![by_index(1, 2), by_index(9, 9)] }));
        assert_eq!(strings.plain(Some(&map)).to_string(), r#"{"":null,"name":"main"}"#);
        let attributes = [by_index(1, 2), by_index(-1, -1)];
        let pairs = Pairs { attributes: &attributes, strings, between: " " };
        assert_eq!(pairs.to_string(), "name=main =");
    }
}
