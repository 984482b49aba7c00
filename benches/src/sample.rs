//! Requests to send: items of about 410 bytes, as instrumented services make them; a hundred samples of a profiler take 24 KB
//! with their dictionary.

mod profiles;

use weir_otlp::encoding::Encoding;
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::metrics::v1::{ResourceMetrics, ScopeMetrics};
use weir_pdata::otlp::resource::v1::Resource;
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{
    LogsRequest, MetricsRequest, TracesRequest, common, gauge, kv, point, resource, scope,
};
use weir_pdata::{Payload, Signal};

/// One encoded request.
pub(crate) struct Sample {
    pub(crate) signal: Signal,
    pub(crate) items: usize,
    pub(crate) request: Vec<u8>,
}

/// The start of the first span, in whose place the time of sending is written.
const STAMP: u64 = 0x17A1_B2C3_D4E5_F607;

impl Sample {
    /// A request of that many items.
    pub(crate) fn new(signal: Signal, items: usize) -> Sample {
        let payload: Payload = match signal {
            Signal::Traces => traces(items).into(),
            Signal::Metrics => metrics(items).into(),
            Signal::Logs => logs(items).into(),
            Signal::Profiles => profiles::profiles(items).into(),
        };
        Sample { signal: payload.signal(), items: payload.items(), request: payload.to_bytes().to_vec() }
    }

    /// The request in an encoding.
    pub(crate) fn encoded(&self, encoding: Encoding) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        encoding.compress(&self.request, None, &mut out)?;
        Ok(out)
    }

    /// Where the time of sending goes; only spans have one.
    pub(crate) fn stamp_at(&self) -> Option<usize> {
        self.request.windows(8).position(|bytes| bytes == STAMP.to_le_bytes())
    }
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
        kv("order.id", format!("ord-{i:012}")),
    ]
}

fn traces(n: usize) -> TracesRequest {
    let span = |i: usize| Span {
        trace_id: id(i, 16),
        span_id: id(i, 8),
        parent_span_id: vec![3; 8],
        name: format!("GET /api/orders/{{id}} {i}"),
        kind: 2,
        start_time_unix_nano: if i == 0 { STAMP } else { 1_767_225_600_000_000_000 + i as u64 },
        end_time_unix_nano: 1_767_225_600_012_000_000 + i as u64,
        attributes: request_attributes(i),
        flags: 0x101,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope("bench", "1")),
        spans: (0..n).map(span).collect(),
        ..ScopeSpans::default()
    }];
    TracesRequest {
        resource_spans: vec![ResourceSpans { resource: service(), scope_spans, ..ResourceSpans::default() }],
    }
}

fn logs(n: usize) -> LogsRequest {
    let record = |i: usize| LogRecord {
        time_unix_nano: 1_767_225_600_000_000_000 + i as u64,
        observed_time_unix_nano: 1_767_225_600_000_100_000 + i as u64,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: kv("", format!("order ord-{i:012} accepted for customer 4711 in 12 ms")).value,
        attributes: request_attributes(i),
        trace_id: id(i, 16),
        span_id: id(i, 8),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs {
        scope: Some(scope("bench", "1")),
        log_records: (0..n).map(record).collect(),
        ..ScopeLogs::default()
    }];
    LogsRequest {
        resource_logs: vec![ResourceLogs { resource: service(), scope_logs, ..ResourceLogs::default() }],
    }
}

/// Metrics of ten points each.
fn metrics(n: usize) -> MetricsRequest {
    let of = |first: usize| {
        let time = 1_767_225_600_000_000_000;
        let points =
            (first..n.min(first + 10)).map(|i| point(time, 0, i as f64 + 0.5, request_attributes(i)));
        gauge("http.server.request.duration", "s", "Duration of requests", points.collect())
    };
    let scope_metrics = vec![ScopeMetrics {
        scope: Some(scope("bench", "1")),
        metrics: (0..n).step_by(10).map(of).collect(),
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
    let mut state = i as u64 + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}
