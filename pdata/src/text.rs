//! Attribute values as text, in the form of the Go Collector: what patterns are matched against, what a conversion to
//! text gives, what people are shown; and numbers read from text.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write};

use crate::view::AnyValue;

/// A value as text alone: texts as they are, lists and maps as JSON, nothing for no value.
pub struct Plain<'a>(pub AnyValue<'a>);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            AnyValue::Empty => Ok(()),
            AnyValue::Str(text) => f.write_str(text),
            AnyValue::Bool(value) => write!(f, "{value}"),
            AnyValue::Int(value) => write!(f, "{value}"),
            AnyValue::Double(value) => JsonNumber(value).fmt(f),
            AnyValue::Bytes(bytes) => Base64(bytes).fmt(f),
            // JSON has no such numbers; the Collector then prints nothing at all of the value.
            nested if has_no_json(nested) => Ok(()),
            nested => json(nested, f),
        }
    }
}

fn has_no_json(value: AnyValue<'_>) -> bool {
    match value {
        AnyValue::Double(number) => !number.is_finite(),
        AnyValue::Map(_) => value.entries().any(|(_, v)| has_no_json(v)),
        AnyValue::Array(_) => value.items().any(has_no_json),
        _ => false,
    }
}

/// Maps have their keys in order, each once: the last of equal ones counts. Nesting was bounded where the value came in.
fn json(value: AnyValue<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    match value {
        AnyValue::Empty => f.write_str("null"),
        AnyValue::Str(text) => JsonText(text).fmt(f),
        AnyValue::Bool(value) => write!(f, "{value}"),
        AnyValue::Int(value) => write!(f, "{value}"),
        AnyValue::Double(number) => JsonNumber(number).fmt(f),
        AnyValue::Bytes(bytes) => write!(f, "\"{}\"", Base64(bytes)),
        AnyValue::Map(_) => {
            f.write_char('{')?;
            let sorted: BTreeMap<_, _> = value.entries().collect();
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                write!(f, "{}{}:", if i > 0 { "," } else { "" }, JsonText(key))?;
                json(value, f)?;
            }
            f.write_char('}')
        }
        AnyValue::Array(_) => {
            f.write_char('[')?;
            for (i, value) in value.items().enumerate() {
                f.write_str(if i > 0 { "," } else { "" })?;
                json(value, f)?;
            }
            f.write_char(']')
        }
    }
}

/// A number as in JSON, with an exponent below 1e-6 and from 1e21 on.
pub struct JsonNumber(pub f64);

impl Display for JsonNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            x if x.is_nan() => f.write_str("NaN"),
            x if x.is_infinite() => f.write_str(if x > 0.0 { "Infinity" } else { "-Infinity" }),
            x if x == 0.0 || (1e-6..1e21).contains(&x.abs()) => write!(f, "{x}"),
            x => {
                let text = format!("{x:e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let sign = if exponent.starts_with('-') { "" } else { "+" };
                write!(f, "{digits}e{sign}{exponent}")
            }
        }
    }
}

/// A number as Go reads it: what is too large is none.
pub fn parse_double(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() || text.bytes().any(|b| b.is_ascii_alphabetic() && !b.eq_ignore_ascii_case(&b'e')))
        .then_some(number)
}

/// A text in JSON, with its quotes.
pub struct JsonText<'a>(pub &'a str);

impl Display for JsonText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                c if c < ' ' || c == '\u{2028}' || c == '\u{2029}' => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Bytes in base64 (RFC 4648 section 4, with padding).
pub struct Base64<'a>(pub &'a [u8]);

impl Display for Base64<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        base64::display::Base64Display::new(self.0, &base64::engine::general_purpose::STANDARD).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::otlp::common::v1::any_value::Value;
    use crate::otlp::common::v1::{self, ArrayValue, KeyValueList};
    use crate::otlp::kv;

    fn text(value: Value) -> String {
        let encoded = v1::AnyValue { value: Some(value) }.encode_to_vec();
        Plain(AnyValue::read(&encoded)).to_string()
    }

    fn any(value: Value) -> v1::AnyValue {
        v1::AnyValue { value: Some(value) }
    }

    #[test]
    fn each_type_has_its_text() {
        assert_eq!(text(Value::StringValue("a \"b\"".into())), "a \"b\"");
        assert_eq!(text(Value::BoolValue(true)), "true");
        assert_eq!(text(Value::IntValue(-7)), "-7");
        assert_eq!(text(Value::BytesValue(b"foob".to_vec())), "Zm9vYg==");
        let list =
            ArrayValue { values: vec![any(Value::StringValue("\n<é>".into())), v1::AnyValue::default()] };
        assert_eq!(text(Value::ArrayValue(list)), r#"["\n<é>",null]"#);
        let map = KeyValueList { values: vec![kv("b", 1), kv("a", 1.5), kv("b", true)] };
        assert_eq!(text(Value::KvlistValue(map)), r#"{"a":1.5,"b":true}"#);
        let endless = ArrayValue { values: vec![any(Value::DoubleValue(f64::NAN))] };
        assert_eq!(text(Value::ArrayValue(endless)), "");
    }

    #[test]
    fn numbers_have_exponents_as_in_json() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1_234_567.5, "1234567.5"),
            (-1.5e21, "-1.5e+21"),
            (0.00002, "0.00002"),
            (3e-7, "3e-7"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, expected) in cases {
            assert_eq!(text(Value::DoubleValue(number)), expected);
        }
    }
}
