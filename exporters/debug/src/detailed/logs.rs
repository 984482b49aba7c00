//! Log records.

use weir_pdata::otlp::LogsRequest;
use weir_pdata::otlp::logs::v1::LogRecord;

use super::{NONE, attributes, resource, scope};
use crate::number::{Id, Time};
use crate::text::Text;

/// All log records.
pub(crate) fn logs(text: &mut Text, request: &LogsRequest) {
    for (i, r) in request.resource_logs.iter().enumerate() {
        text.line(format_args!("ResourceLog #{i}"));
        resource(text, &r.schema_url, r.resource.as_ref(), NONE);
        for (j, s) in r.scope_logs.iter().enumerate() {
            text.line(format_args!("ScopeLogs #{j}"));
            scope(text, "ScopeLogs", &s.schema_url, s.scope.as_ref(), NONE);
            for (k, item) in s.log_records.iter().enumerate() {
                text.line(format_args!("LogRecord #{k}"));
                record(text, item);
            }
        }
    }
}

fn record(text: &mut Text, record: &LogRecord) {
    text.line(format_args!("ObservedTimestamp: {}", Time(record.observed_time_unix_nano)));
    text.line(format_args!("Timestamp: {}", Time(record.time_unix_nano)));
    text.line(format_args!("SeverityText: {}", record.severity_text));
    text.line(format_args!(
        "SeverityNumber: {}({})",
        severity(record.severity_number),
        record.severity_number
    ));
    if !record.event_name.is_empty() {
        text.line(format_args!("EventName: {}", record.event_name));
    }
    text.line(format_args!("Body: {}", NONE.typed(record.body.as_ref())));
    attributes(text, "", "Attributes", &record.attributes, NONE);
    text.line(format_args!("Trace ID: {}", Id(&record.trace_id)));
    text.line(format_args!("Span ID: {}", Id(&record.span_id)));
    text.line(format_args!("Flags: {}", record.flags));
}

fn severity(number: i32) -> &'static str {
    const NAMES: [&str; 25] = [
        "Unspecified",
        "Trace",
        "Trace2",
        "Trace3",
        "Trace4",
        "Debug",
        "Debug2",
        "Debug3",
        "Debug4",
        "Info",
        "Info2",
        "Info3",
        "Info4",
        "Warn",
        "Warn2",
        "Warn3",
        "Warn4",
        "Error",
        "Error2",
        "Error3",
        "Error4",
        "Fatal",
        "Fatal2",
        "Fatal3",
        "Fatal4",
    ];
    usize::try_from(number).ok().and_then(|i| NAMES.get(i)).copied().unwrap_or_default()
}
