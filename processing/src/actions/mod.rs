//! Actions on attributes.

mod config;
mod hash;
mod source;

use regex::Regex;
use weir_component::Context;
use weir_pdata::edit::AttributeList;
use weir_pdata::text::{Plain, parse_double};
use weir_pdata::view::AnyValue;

pub use config::{ActionConfig, check};
use source::Source;

/// Checked actions, ready to be applied.
#[derive(Debug, Clone)]
pub struct Actions(Vec<Action>);

/// One action on the attribute `key`.
#[derive(Debug, Clone)]
struct Action {
    key: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Insert(Source),
    Update(Source),
    Upsert(Source),
    /// And all whose key matches.
    Delete(Option<Regex>),
    /// And all whose key matches.
    Hash(Option<Regex>),
    /// With the names of the groups from the first on.
    Extract(Regex, Vec<String>),
    Convert(Target),
}

/// What a value is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Str,
    Int,
    Double,
}

/// Actions with what the sender of a batch gives them.
#[derive(Debug)]
pub struct Prepared<'a> {
    actions: &'a [Action],
    /// For each action the value from the context.
    from_context: Vec<Option<String>>,
}

impl Actions {
    /// Looks up what the actions need of the sender, once for all items of a batch.
    pub fn prepare<'a>(&'a self, context: &Context) -> Prepared<'a> {
        let value = |action: &Action| match &action.what {
            What::Insert(source) | What::Update(source) | What::Upsert(source) => source.in_context(context),
            _ => None,
        };
        Prepared { actions: &self.0, from_context: self.0.iter().map(value).collect() }
    }
}

impl Prepared<'_> {
    /// Applies all actions to the attributes of one item, in order.
    pub fn apply(&self, list: &mut AttributeList<'_>) {
        for (Action { key, what }, from_context) in self.actions.iter().zip(&self.from_context) {
            match what {
                What::Insert(source) => {
                    if !list.contains(key)
                        && let Some(value) = source.value(list, from_context.as_deref())
                    {
                        list.push(key, value);
                    }
                }
                What::Update(source) => {
                    if list.contains(key)
                        && let Some(value) = source.value(list, from_context.as_deref())
                    {
                        list.replace(key, value);
                    }
                }
                What::Upsert(source) => {
                    if let Some(value) = source.value(list, from_context.as_deref()) {
                        list.set(key, value);
                    }
                }
                What::Delete(pattern) => {
                    list.remove(key);
                    if let Some(pattern) = pattern {
                        list.retain(|key| !pattern.is_match(key));
                    }
                }
                What::Hash(pattern) => {
                    hash(list, key);
                    if let Some(pattern) = pattern {
                        list.rewrite(|key| pattern.is_match(key), hash::hex);
                    }
                }
                What::Extract(regex, names) => extract(list, key, regex, names),
                What::Convert(target) => convert(list, key, *target),
            }
        }
    }
}

fn hash(list: &mut AttributeList<'_>, key: &str) {
    if let Some(value) = list.get(key) {
        let hashed = hash::hex(list.read_value(value));
        let value = list.text_value(&hashed);
        list.replace(key, value);
    }
}

/// Groups of the pattern become attributes; those that took no part become empty texts.
fn extract(list: &mut AttributeList<'_>, key: &str, regex: &Regex, names: &[String]) {
    let Some(text) = list.text(key).map(ToOwned::to_owned) else {
        return;
    };
    let Some(groups) = regex.captures(&text) else {
        return;
    };
    for (name, group) in names.iter().zip(groups.iter().skip(1)) {
        let value = list.text_value(group.map_or("", |g| g.as_str()));
        list.set(name, value);
    }
}

fn convert(list: &mut AttributeList<'_>, key: &str, target: Target) {
    let Some(old) = list.get(key) else {
        return;
    };
    let value = match (target, list.read_value(old)) {
        (Target::Str, AnyValue::Str(_))
        | (Target::Int, AnyValue::Int(_))
        | (Target::Double, AnyValue::Double(_)) => return,
        (Target::Str, value) => {
            let text = Plain(value).to_string();
            list.text_value(&text)
        }
        (Target::Int, value) => match to_int(value) {
            Some(int) => list.int_value(int),
            None => return not_converted(key, "int"),
        },
        (Target::Double, value) => match to_double(value) {
            Some(double) => list.double_value(double),
            None => return not_converted(key, "double"),
        },
    };
    list.replace(key, value);
}

fn not_converted(key: &str, to: &'static str) {
    tracing::debug!(key, to, "Unable to convert type");
}

fn to_int(value: AnyValue<'_>) -> Option<i64> {
    match value {
        AnyValue::Bool(value) => Some(i64::from(value)),
        // Go on amd64 gives the least integer for what does not fit.
        AnyValue::Double(value) if !(-9.3e18..9.223_372_036_854_775e18).contains(&value) => Some(i64::MIN),
        AnyValue::Double(value) => Some(value as i64),
        AnyValue::Str(text) => text.parse().ok(),
        _ => None,
    }
}

fn to_double(value: AnyValue<'_>) -> Option<f64> {
    match value {
        AnyValue::Bool(value) => Some(f64::from(u8::from(value))),
        AnyValue::Int(value) => Some(value as f64),
        AnyValue::Str(text) => parse_double(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
