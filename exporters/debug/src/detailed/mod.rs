//! Verbosity detailed: every field, indented.

mod logs;
mod metrics;
mod profiles;
mod traces;

use std::fmt;

use weir_pdata::otlp::common::v1::{InstrumentationScope, KeyValue};
use weir_pdata::otlp::resource::v1::Resource;

use crate::text::Text;
use crate::value::Strings;

pub(crate) use logs::logs;
pub(crate) use metrics::metrics;
pub(crate) use profiles::profiles;
pub(crate) use traces::traces;

/// Signals other than profiles have no string table.
const NONE: Strings<'static> = Strings(&[]);

/// A label in a column of its own, and a value.
fn labelled(text: &mut Text, label: &str, value: impl fmt::Display) {
    text.line(format_args!("    {label:<15}: {value}"));
}

/// A header and one line per attribute, indented as deep as the header says; nothing when there are none.
fn attributes(text: &mut Text, indent: &str, header: &str, attributes: &[KeyValue], strings: Strings<'_>) {
    if attributes.is_empty() {
        return;
    }
    text.line(format_args!("{indent}{header}:"));
    let deeper = if indent.is_empty() { "" } else { "     " };
    for attribute in attributes {
        let value = strings.typed(attribute.value.as_ref());
        text.line(format_args!("{deeper}     -> {}: {value}", strings.key(attribute)));
    }
}

/// How the lines of a descriptor, event, link or exemplar begin.
const ARROW: &str = "     -> ";

fn resource(text: &mut Text, schema: &str, resource: Option<&Resource>, strings: Strings<'_>) {
    text.line(format_args!("Resource SchemaURL: {schema}"));
    let Some(resource) = resource else { return };
    attributes(text, "", "Resource attributes", &resource.attributes, strings);
    if resource.entity_refs.is_empty() {
        return;
    }
    text.line(format_args!("Resource entity refs:"));
    for (i, entity) in resource.entity_refs.iter().enumerate() {
        text.line(format_args!("     -> Entity ref #{i}:"));
        text.line(format_args!("          -> Type: {}", entity.r#type));
        if !entity.schema_url.is_empty() {
            text.line(format_args!("          -> Schema URL: {}", entity.schema_url));
        }
        for (title, keys) in [("ID keys", &entity.id_keys), ("Description keys", &entity.description_keys)] {
            if !keys.is_empty() {
                text.line(format_args!("          -> {title}:"));
            }
            keys.iter().for_each(|key| text.line(format_args!("               -> {key}")));
        }
    }
}

fn scope(
    text: &mut Text,
    title: &str,
    schema: &str,
    scope: Option<&InstrumentationScope>,
    strings: Strings<'_>,
) {
    text.line(format_args!("{title} SchemaURL: {schema}"));
    let (name, version) = scope.map_or(("", ""), |s| (&s.name, &s.version));
    text.line(format_args!("InstrumentationScope {name} {version}"));
    let of_scope = scope.map_or(&[][..], |s| &s.attributes);
    attributes(text, "", "InstrumentationScope attributes", of_scope, strings);
}
