//! New names for spans.

use std::borrow::Cow;

use regex::{Captures, Regex};
use weir_pdata::edit::AttributeList;
use weir_pdata::view::AnyValue;
use weir_processing::compile_regex;

use crate::config::NameConfig;

/// Checked options of `name`.
pub(crate) struct Rename {
    from_attributes: Vec<String>,
    separator: String,
    rules: Vec<Regex>,
    break_after_match: bool,
    keep_original_name: bool,
}

impl Rename {
    /// # Errors
    /// The first rule that is no regular expression, by its place.
    pub(crate) fn new(config: &NameConfig) -> Result<Rename, (usize, String)> {
        let to = config.to_attributes.clone().unwrap_or_default();
        let rule = |(i, pattern): (usize, &String)| {
            compile_regex(pattern).map_err(|why| (i, format!("invalid regexp pattern {pattern} ({why})")))
        };
        Ok(Rename {
            from_attributes: config.from_attributes.clone(),
            separator: config.separator.clone(),
            rules: to.rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?,
            break_after_match: to.break_after_match,
            keep_original_name: to.keep_original_name,
        })
    }

    /// Puts parts of the name into attributes and returns the new name, if it changes.
    pub(crate) fn apply(&self, name: &str, attributes: &mut AttributeList<'_>) -> Option<String> {
        let mut new = match self.of_attributes(attributes) {
            Some(joined) => Cow::Owned(joined),
            None => Cow::Borrowed(name),
        };
        for rule in &self.rules {
            // A name that is empty from the start has nothing to match.
            if new.is_empty() {
                break;
            }
            let Some(groups) = rule.captures(&new) else {
                continue;
            };
            let replaced = to_attributes(rule, &groups, &new, attributes);
            if !self.keep_original_name {
                new = Cow::Owned(replaced);
            }
            if self.break_after_match {
                break;
            }
        }
        (new != name).then(|| new.into_owned())
    }

    /// The values of all those attributes, joined; nothing when one is missing.
    fn of_attributes(&self, attributes: &AttributeList<'_>) -> Option<String> {
        if self.from_attributes.is_empty() {
            return None;
        }
        let mut joined = String::new();
        for (i, key) in self.from_attributes.iter().enumerate() {
            let value = attributes.get(key)?;
            if i > 0 {
                joined.push_str(&self.separator);
            }
            match attributes.read_value(value) {
                AnyValue::Str(text) => joined.push_str(text),
                AnyValue::Bool(value) => joined.push_str(&value.to_string()),
                AnyValue::Int(value) => joined.push_str(&value.to_string()),
                AnyValue::Double(value) if value.is_infinite() => {
                    joined.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
                }
                AnyValue::Double(value) => joined.push_str(&value.to_string()),
                _ => joined.push_str("<unknown-attribute-type>"),
            }
        }
        Some(joined)
    }
}

/// Makes attributes of the groups and returns the name with the groups' names in their places.
fn to_attributes(
    rule: &Regex,
    groups: &Captures<'_>,
    name: &str,
    attributes: &mut AttributeList<'_>,
) -> String {
    let (mut new, mut copied) = (String::with_capacity(name.len()), 0);
    for (group, key) in groups.iter().zip(rule.capture_names()).skip(1) {
        let key = key.unwrap_or_default();
        let value = attributes.text_value(group.map_or("", |g| g.as_str()));
        attributes.set(key, value);
        // The Go Collector panics when a group took no part or lies in another; here it only gives its attribute.
        if let Some(group) = group.filter(|g| g.start() >= copied) {
            new.push_str(&name[copied..group.start()]);
            new.push('{');
            new.push_str(key);
            new.push('}');
            copied = group.end();
        }
    }
    new.push_str(&name[copied..]);
    new
}
