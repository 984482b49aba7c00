//! Requests to send: items of about 400 bytes, as instrumented services make them; a hundred samples of a profiler take 24 KB
//! with their dictionary.

mod profiles;

use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::metrics::v1::{ResourceMetrics, ScopeMetrics};
use weir_pdata::otlp::resource::v1::Resource;
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{
    LogsRequest, MetricsRequest, TracesRequest, common, gauge, kv, point, resource, scope,
};
use weir_pdata::{Payload, Signal};

/// Requests of one kind, of which no two are the same: a compressor of batches finds no request twice.
pub(crate) struct Sample {
    pub(crate) signal: Signal,
    /// Of each request.
    pub(crate) items: usize,
    pub(crate) requests: Vec<Vec<u8>>,
}

/// Items in all requests together: more than two batches of the default size.
const ITEMS: usize = 20_000;

/// The least and the most requests.
const REQUESTS: std::ops::RangeInclusive<usize> = 8..=20_000;

/// The start of the first span of each request, in whose place the time of sending is written.
const STAMP: u64 = 0x17A1_B2C3_D4E5_F607;

/// When the first item began, Unix nanoseconds.
const BEGIN: u64 = 1_767_225_600_000_000_000;

impl Sample {
    /// Requests of that many items.
    pub(crate) fn new(signal: Signal, items: usize) -> Sample {
        let count = (ITEMS / items.max(1)).clamp(*REQUESTS.start(), *REQUESTS.end());
        let requests = (0..count).map(|i| request(signal, i * items, items)).collect();
        Sample { signal, items, requests }
    }
}

/// A request with the items from `first` on.
pub(crate) fn request(signal: Signal, first: usize, items: usize) -> Vec<u8> {
    let payload: Payload = match signal {
        Signal::Traces => traces(first, items).into(),
        Signal::Metrics => metrics(first, items).into(),
        Signal::Logs => logs(first, items).into(),
        Signal::Profiles => profiles::profiles(first, items).into(),
    };
    payload.to_bytes().to_vec()
}

/// Where the time of sending goes in a request; only spans have one.
pub(crate) fn stamp_at(request: &[u8]) -> Option<usize> {
    request.windows(8).position(|bytes| bytes == STAMP.to_le_bytes())
}

fn service() -> Option<Resource> {
    let pod = "orders-6d5f9c7b8-x2x4q";
    let attributes =
        vec![kv("service.name", "orders"), kv("service.version", "1.42.0"), kv("k8s.pod.name", pod)];
    Some(resource(attributes))
}

fn request_attributes(i: usize) -> Vec<common::v1::KeyValue> {
    vec![
        kv("http.request.method", "GET"),
        kv("http.route", "/api/orders/{id}"),
        kv("http.response.status_code", 200),
        kv("server.address", "orders.internal.example"),
        kv("server.port", 8443),
        kv("network.protocol.version", "1.1"),
        kv("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
        kv("order.id", order(i)),
    ]
}

/// What differs from item to item, as in real telemetry.
fn order(i: usize) -> String {
    format!("ord-{:012}", mixed(i) % 1_000_000_000_000)
}

/// When item `i` began, and how long it took, in nanoseconds.
fn times(i: usize) -> (u64, u64) {
    (BEGIN + 50_000 * i as u64 + mixed(i) % 40_000_000, 500_000 + mixed(!i) % 100_000_000)
}

/// splitmix64's finisher.
fn mixed(i: usize) -> u64 {
    let z = (i as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn traces(first: usize, n: usize) -> TracesRequest {
    let span = |i: usize| Span {
        trace_id: id(i, 16),
        span_id: id(i, 8),
        parent_span_id: vec![3; 8],
        name: format!("GET /api/orders/{{id}} {}", i % 100),
        kind: 2,
        start_time_unix_nano: if i == first { STAMP } else { times(i).0 },
        end_time_unix_nano: times(i).0 + times(i).1,
        attributes: request_attributes(i),
        flags: 0x101,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope("bench", "1")),
        spans: (first..first + n).map(span).collect(),
        ..ScopeSpans::default()
    }];
    TracesRequest {
        resource_spans: vec![ResourceSpans { resource: service(), scope_spans, ..ResourceSpans::default() }],
    }
}

fn logs(first: usize, n: usize) -> LogsRequest {
    let record = |i: usize| LogRecord {
        time_unix_nano: times(i).0,
        observed_time_unix_nano: times(i).0 + 100_000 + mixed(!i) % 10_000,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: kv("", format!("order {} accepted for customer 4711 in 12 ms", order(i))).value,
        attributes: request_attributes(i),
        trace_id: id(i, 16),
        span_id: id(i, 8),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs {
        scope: Some(scope("bench", "1")),
        log_records: (first..first + n).map(record).collect(),
        ..ScopeLogs::default()
    }];
    LogsRequest {
        resource_logs: vec![ResourceLogs { resource: service(), scope_logs, ..ResourceLogs::default() }],
    }
}

/// Metrics of ten points each.
fn metrics(first: usize, n: usize) -> MetricsRequest {
    let end = first + n;
    let of = |first: usize| {
        let time = times(first).0;
        let value = |i| mixed(i) as f64 / 1e16;
        let points = (first..end.min(first + 10)).map(|i| point(time, 0, value(i), request_attributes(i)));
        gauge("http.server.request.duration", "s", "Duration of requests", points.collect())
    };
    let scope_metrics = vec![ScopeMetrics {
        scope: Some(scope("bench", "1")),
        metrics: (first..end).step_by(10).map(of).collect(),
        ..ScopeMetrics::default()
    }];
    MetricsRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: service(),
            scope_metrics,
            ..ResourceMetrics::default()
        }],
    }
}

/// Bytes that look random, so that compression finds in ids what it finds in real ones.
fn id(i: usize, length: usize) -> Vec<u8> {
    let mut state = mixed(i);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

#[cfg(test)]
mod tests {
    use weir_otlp::encoding::Encoding;

    use super::*;

    /// As a compressor sees them in a batch.
    fn compressed(requests: &[Vec<u8>]) -> usize {
        let mut out = Vec::new();
        Encoding::Zstd.compress(&requests.concat(), None, &mut out).expect("compressed");
        out.len()
    }

    #[test]
    fn requests_of_a_batch_are_not_copies_of_one_another() {
        for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
            for items in [1, 100, 1000] {
                let sample = Sample::new(signal, items);
                let batch = &sample.requests[..8192_usize.div_ceil(items)];
                let (alone, together) = (compressed(&batch[..1]), compressed(batch));
                // What all have in common is written once: with one item per request that is most of it.
                let least = if items < 100 { 0.05 } else { 0.5 };
                let share = together as f64 / (alone * batch.len()) as f64;
                assert!(share > least, "{signal} by {items}: {together} bytes, one alone {alone}");
            }
        }
    }

    #[test]
    fn every_request_has_its_items_and_spans_their_place_for_the_time() {
        for signal in Signal::ALL {
            for items in [20, 100] {
                for request in Sample::new(signal, items).requests.iter().step_by(7) {
                    let payload = Payload::from_request(signal, request.clone().into()).expect("well-formed");
                    assert_eq!(payload.items(), items, "{signal}");
                    assert_eq!(stamp_at(request).is_some(), signal == Signal::Traces);
                }
            }
        }
    }
}
