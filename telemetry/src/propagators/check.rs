//! What must hold for whatever callers send as their trace; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use std::collections::HashMap;

use http::HeaderValue;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};

use super::{SAMPLED, SINGLE, SPAN, TRACE, named};

/// The lines of an input: values of headers.
const LINES: [&str; 7] = ["tracestate", "traceparent", SINGLE, TRACE, SPAN, SAMPLED, "x-b3-flags"];

/// What is read of a caller's headers is a trace whose numbers stand in them, and is the same when it is written for the
/// next peer, in headers that HTTP can carry, and read again. Of several propagators the last one counts, and B3 has no
/// trace state.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn trace_context(text: &str) {
    let is_header =
        |text: &&str| HeaderValue::from_str(text).is_ok_and(|value| value.to_str().is_ok_and(|v| v == *text));
    let headers: HashMap<String, String> = LINES
        .iter()
        .zip(text.split('\n'))
        .filter(|(_, value)| is_header(value))
        .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
        .collect();
    for names in [&["tracecontext"][..], &["b3"], &["tracecontext", "b3"], &["b3", "tracecontext"]] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let Some(read) = extracted(&names, &headers) else { continue };
        let lower = text.to_ascii_lowercase();
        for id in [read.trace_id().to_string(), read.span_id().to_string()] {
            assert!(lower.contains(id.trim_start_matches('0')), "{id} of {headers:?}");
        }
        let mut written = HashMap::new();
        named(&names).inject_context(&Context::new().with_remote_span_context(read.clone()), &mut written);
        for (name, value) in &written {
            assert!(is_header(&value.as_str()), "{name}: {value:?}");
        }
        let again = extracted(&names, &written).expect("what is written is read");
        let ids = |span: &SpanContext| (span.trace_id(), span.span_id(), span.is_sampled());
        assert_eq!(ids(&again), ids(&read), "{headers:?} became {written:?}");
        if names == ["tracecontext"] {
            assert_eq!(again.trace_state().header(), read.trace_state().header());
        }
        if names == ["b3"] {
            let id = |id: &str| id.bytes().all(|b| b.is_ascii_hexdigit());
            let single = headers.get(SINGLE).and_then(|b3| {
                let mut parts = b3.split('-');
                Some((parts.next()?, parts.next()?))
            });
            let several = headers.get(TRACE).zip(headers.get(SPAN)).map(|(t, s)| (t.as_str(), s.as_str()));
            let is_id = |(trace, span): (&str, &str)| id(trace) && id(span);
            assert!(single.is_some_and(is_id) || several.is_some_and(is_id), "{headers:?}");
        }
    }
}

fn extracted(names: &[String], headers: &HashMap<String, String>) -> Option<SpanContext> {
    let cx = named(names).extract_with_context(&Context::new(), headers);
    Some(cx.span().span_context().clone()).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_is_read() {
        for input in crate::corpus::corpus("trace_context") {
            super::trace_context(&String::from_utf8_lossy(&input));
        }
    }
}
