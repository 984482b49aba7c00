//! Attributes that must be there.

use weir_pdata::edit::Encoded;
use weir_pdata::otlp::common::v1::AnyValue;
use weir_pdata::view::{self, AnyValue as Value};

use super::config::AttributeConfig;
use super::names::{Names, unknown_type};
use crate::Any;

/// Attributes, all of which must be there and match.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<(String, Wanted)>);

#[derive(Debug, Clone)]
enum Wanted {
    Anything,
    Equal(Encoded),
    Matching(Names),
}

impl Attributes {
    /// # Errors
    /// The Collector's sentence.
    pub(super) fn new(match_type: &str, configs: &[AttributeConfig]) -> Result<Attributes, String> {
        let wanted = |AttributeConfig { key, value }: &AttributeConfig| {
            if key.is_empty() {
                return Err("can't have empty key in the list of attributes".to_owned());
            }
            let wanted = match (value, match_type) {
                (None, _) => Wanted::Anything,
                (Some(Any::Text(text)), "regexp") => {
                    Wanted::Matching(Names::new(match_type, std::slice::from_ref(text))?)
                }
                (Some(value), "regexp") => {
                    let found = value.type_name();
                    return Err(format!(
                        "match_type=regexp for \"{key}\" only supports Str, but found {found}"
                    ));
                }
                (Some(value), "strict") => Wanted::Equal(Encoded::from(&AnyValue::from(value))),
                (Some(_), other) => return Err(unknown_type(other)),
            };
            Ok((key.clone(), wanted))
        };
        configs.iter().map(wanted).collect::<Result<_, _>>().map(Attributes)
    }

    pub(super) fn match_all(&self, attributes: view::Attributes<'_>) -> bool {
        self.0.iter().all(|(key, wanted)| {
            let Some(value) = attributes.get(key) else {
                return false;
            };
            match wanted {
                Wanted::Anything => true,
                Wanted::Equal(other) => same(other.view(), value),
                Wanted::Matching(names) => simple_text(value).is_some_and(|text| names.matches(&text)),
            }
        })
    }
}

/// A simple value as Go prints it, numbers without an exponent; `None` for others.
fn simple_text(value: Value<'_>) -> Option<std::borrow::Cow<'_, str>> {
    Some(match value {
        Value::Str(text) => text.into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Double(value) if value.is_infinite() => (if value > 0.0 { "+Inf" } else { "-Inf" }).into(),
        Value::Double(value) => value.to_string().into(),
        _ => return None,
    })
}

/// Whether two values are the same; the order of keys does not count.
fn same(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::Empty, Value::Empty) => true,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Double(a), Value::Double(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Array(_), Value::Array(_)) => {
            a.items().count() == b.items().count() && a.items().zip(b.items()).all(|(a, b)| same(a, b))
        }
        (Value::Map(_), Value::Map(_)) => {
            a.entries().count() == b.entries().count()
                && a.entries().all(|(key, a)| b.entries().get(key).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}
