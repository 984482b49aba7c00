//! Errors for machines.

use serde::Serialize;

use crate::{ConfigError, Sources};

/// One error. Fields that do not apply are left out.
#[derive(Serialize)]
struct Report<'a> {
    severity: &'static str,
    kind: &'static str,
    message: &'a str,
    collector: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    allowed: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Location {
    source: String,
    line: u32,
    column: u32,
    length: u32,
}

#[derive(Serialize)]
struct Related<'a> {
    location: Option<Location>,
    message: &'a str,
}

/// One JSON object per error and line.
pub(super) fn to_json(errors: &[ConfigError], sources: &Sources) -> String {
    let lines = errors.iter().map(|error| {
        let report = report(error, sources);
        serde_json::to_string(&report).unwrap_or_default() + "\n"
    });
    lines.collect()
}

fn report<'a>(error: &'a ConfigError, sources: &Sources) -> Report<'a> {
    let location = |span| {
        let span = sources.visible(span);
        let source = sources.get(span.source)?.name();
        // A text as a whole begins where it begins.
        Some(Location { source, line: span.line.max(1), column: span.column.max(1), length: span.len })
    };
    let related = error.related.iter().map(|(span, message)| Related { location: location(*span), message });
    Report {
        severity: error.severity.name(),
        kind: error.kind.name(),
        message: &error.message,
        collector: error.collector_line(),
        path: error.path.to_string(),
        location: error.span.and_then(location),
        expected: error.expected.as_deref(),
        got: error.got.as_deref(),
        suggestion: error.suggestion.as_deref(),
        allowed: &error.allowed,
        help: error.help.as_deref(),
        related: related.collect(),
    }
}
