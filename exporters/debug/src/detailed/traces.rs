//! Spans.

use weir_pdata::otlp::TracesRequest;
use weir_pdata::otlp::trace::v1::Span;

use super::{ARROW, NONE, attributes, labelled, resource, scope};
use crate::number::{Id, Time};
use crate::text::Text;

/// All spans. Their flags are not printed, as in the Collector.
pub(crate) fn traces(text: &mut Text, request: &TracesRequest) {
    for (i, r) in request.resource_spans.iter().enumerate() {
        text.line(format_args!("ResourceSpans #{i}"));
        resource(text, &r.schema_url, r.resource.as_ref(), NONE);
        for (j, s) in r.scope_spans.iter().enumerate() {
            text.line(format_args!("ScopeSpans #{j}"));
            scope(text, "ScopeSpans", &s.schema_url, s.scope.as_ref(), NONE);
            for (k, item) in s.spans.iter().enumerate() {
                text.line(format_args!("Span #{k}"));
                span(text, item);
            }
        }
    }
}

fn span(text: &mut Text, span: &Span) {
    labelled(text, "Trace ID", Id(&span.trace_id));
    labelled(text, "Parent ID", Id(&span.parent_span_id));
    labelled(text, "ID", Id(&span.span_id));
    labelled(text, "Name", &span.name);
    labelled(text, "Kind", kind(span.kind));
    if !span.trace_state.is_empty() {
        labelled(text, "TraceState", &span.trace_state);
    }
    labelled(text, "Start time", Time(span.start_time_unix_nano));
    labelled(text, "End time", Time(span.end_time_unix_nano));
    let (code, message) = span.status.as_ref().map_or((0, ""), |s| (s.code, &s.message));
    labelled(text, "Status code", status(code));
    labelled(text, "Status message", message);
    labelled(text, "DroppedAttributesCount", span.dropped_attributes_count);
    labelled(text, "DroppedEventsCount", span.dropped_events_count);
    labelled(text, "DroppedLinksCount", span.dropped_links_count);
    attributes(text, "", "Attributes", &span.attributes, NONE);
    events(text, span);
    links(text, span);
}

// "Attributes::" below is how the Collector prints it.

fn events(text: &mut Text, span: &Span) {
    if !span.events.is_empty() {
        text.line(format_args!("Events:"));
    }
    for (i, event) in span.events.iter().enumerate() {
        text.line(format_args!("SpanEvent #{i}"));
        text.line(format_args!("     -> Name: {}", event.name));
        text.line(format_args!("     -> Timestamp: {}", Time(event.time_unix_nano)));
        text.line(format_args!("     -> DroppedAttributesCount: {}", event.dropped_attributes_count));
        attributes(text, ARROW, "Attributes:", &event.attributes, NONE);
    }
}

fn links(text: &mut Text, span: &Span) {
    if !span.links.is_empty() {
        text.line(format_args!("Links:"));
    }
    for (i, link) in span.links.iter().enumerate() {
        text.line(format_args!("SpanLink #{i}"));
        text.line(format_args!("     -> Trace ID: {}", Id(&link.trace_id)));
        text.line(format_args!("     -> ID: {}", Id(&link.span_id)));
        text.line(format_args!("     -> TraceState: {}", link.trace_state));
        text.line(format_args!("     -> DroppedAttributesCount: {}", link.dropped_attributes_count));
        attributes(text, ARROW, "Attributes:", &link.attributes, NONE);
    }
}

fn kind(number: i32) -> &'static str {
    match number {
        0 => "Unspecified",
        1 => "Internal",
        2 => "Server",
        3 => "Client",
        4 => "Producer",
        5 => "Consumer",
        _ => "",
    }
}

fn status(number: i32) -> &'static str {
    match number {
        0 => "Unset",
        1 => "Ok",
        2 => "Error",
        _ => "",
    }
}
