//! How traces go on from peer to peer: `service::telemetry::traces::propagators`.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod check;

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// All of these names, which the configuration has checked; nothing for none.
pub(crate) fn named(names: &[String]) -> Arc<dyn TextMapPropagator + Send + Sync> {
    let one = |name: &String| -> Box<dyn TextMapPropagator + Send + Sync> {
        match name.as_str() {
            "b3" => Box::new(B3::new()),
            _ => Box::new(TraceContextPropagator::new()),
        }
    };
    Arc::new(TextMapCompositePropagator::new(names.iter().map(one).collect()))
}

/// B3 of Zipkin: reads its one header and its several ones, writes the several ones, as the Collector does.
///
/// Source: openzipkin/b3-propagation.
#[derive(Debug)]
struct B3 {
    fields: [String; 4],
}

const TRACE: &str = "x-b3-traceid";
const SPAN: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const SINGLE: &str = "b3";

impl B3 {
    fn new() -> B3 {
        B3 { fields: [SINGLE, TRACE, SPAN, SAMPLED].map(str::to_owned) }
    }
}

impl TextMapPropagator for B3 {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        if span.is_valid() {
            injector.set(TRACE, span.trace_id().to_string());
            injector.set(SPAN, span.span_id().to_string());
            injector.set(SAMPLED, u8::from(span.is_sampled()).to_string());
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let single = extractor.get(SINGLE).and_then(|header| {
            let mut parts = header.split('-');
            context(parts.next()?, parts.next()?, parts.next().unwrap_or_default())
        });
        let several = || {
            let sampled = extractor.get(SAMPLED).or_else(|| extractor.get("x-b3-flags")).unwrap_or_default();
            context(extractor.get(TRACE)?, extractor.get(SPAN)?, sampled)
        };
        match single.or_else(several) {
            Some(span) => cx.with_remote_span_context(span),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

/// Ids of 8 bytes are padded; anything but `1`, `true` and `d` (debug) is "not sampled".
fn context(trace: &str, span: &str, sampled: &str) -> Option<SpanContext> {
    // Rust's numbers may have a sign.
    let is_hex = |id: &str| id.bytes().all(|b| b.is_ascii_hexdigit());
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 || !is_hex(trace) || !is_hex(span) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let sampled = matches!(sampled, "1" | "true" | "d");
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    Some(SpanContext::new(trace, span, flags, true, TraceState::default())).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN_ID: &str = "b7ad6b7169203331";

    fn extracted(names: &[&str], headers: &[(&str, &str)]) -> Option<(String, String, bool)> {
        let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
        let headers: HashMap<_, _> =
            headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let cx = named(&names).extract_with_context(&Context::new(), &headers);
        let span = cx.span().span_context().clone();
        let parts = (span.trace_id().to_string(), span.span_id().to_string(), span.is_sampled());
        span.is_valid().then_some(parts)
    }

    #[test]
    fn each_propagator_reads_its_headers() {
        let traceparent = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let single = format!("{TRACE_ID}-{SPAN_ID}-1");
        let expected = Some((TRACE_ID.to_owned(), SPAN_ID.to_owned(), true));
        assert_eq!(extracted(&["tracecontext"], &[("traceparent", &traceparent)]), expected);
        assert_eq!(extracted(&["tracecontext", "b3"], &[("b3", &single)]), expected);
        let several = [("x-b3-traceid", TRACE_ID), ("x-b3-spanid", SPAN_ID), ("x-b3-sampled", "1")];
        assert_eq!(extracted(&["b3"], &several), expected);
        assert_eq!(extracted(&[], &[("traceparent", &traceparent)]), None);
        assert_eq!(extracted(&["b3"], &[("traceparent", &traceparent)]), None);
    }

    #[test]
    fn what_is_no_id_is_no_trace() {
        let zero = format!("{}-{SPAN_ID}-1", "0".repeat(32));
        let signed = format!("+{}-{SPAN_ID}-1", &TRACE_ID[1..]);
        for single in ["0", "zz", "-", "1-2-1", "é-é-é", &zero, &signed] {
            assert_eq!(extracted(&["b3"], &[("b3", single)]), None, "{single}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let span = context(TRACE_ID, SPAN_ID, "1").expect("ids");
        let mut headers = HashMap::new();
        let names = ["tracecontext".to_owned(), "b3".to_owned()];
        named(&names).inject_context(&Context::new().with_remote_span_context(span), &mut headers);
        assert_eq!(headers["traceparent"], format!("00-{TRACE_ID}-{SPAN_ID}-01"));
        assert_eq!((headers[TRACE].as_str(), headers[SAMPLED].as_str()), (TRACE_ID, "1"));
    }
}
