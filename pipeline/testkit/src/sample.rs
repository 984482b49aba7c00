//! Telemetry with ids, so that a test can tell each item from all others.

use weir_pdata::otlp::{self, LogsRequest, MetricsRequest, TracesRequest, kv};
use weir_pdata::view::{self, AnyValue};
use weir_pdata::{Payload, Signal};

/// A payload of `signal` (not profiles) whose items carry the attribute `id`, from `first` up.
pub fn payload(signal: Signal, first: i64, items: usize) -> Payload {
    made(signal, first..first.saturating_add_unsigned(items as u64))
}

/// A payload of `signal` (not profiles) with one item for each of `ids`, otherwise as [`payload`] makes it.
pub fn with_ids(signal: Signal, ids: &[i64]) -> Payload {
    made(signal, ids.iter().copied())
}

fn made(signal: Signal, ids: impl Iterator<Item = i64>) -> Payload {
    let resource = Some(otlp::resource(vec![kv("service.name", "testkit")]));
    let scope = Some(otlp::scope("testkit", "1"));
    match signal {
        Signal::Traces => {
            let spans =
                ids.map(|id| otlp::trace::v1::Span { attributes: vec![kv("id", id)], ..Default::default() });
            let scope_spans =
                vec![otlp::trace::v1::ScopeSpans { scope, spans: spans.collect(), ..Default::default() }];
            let spans = otlp::trace::v1::ResourceSpans { resource, scope_spans, ..Default::default() };
            TracesRequest { resource_spans: vec![spans] }.into()
        }
        Signal::Metrics => {
            let points = ids.map(|id| otlp::point(1, 0, id as f64, vec![kv("id", id)])).collect();
            let metrics = vec![otlp::gauge("testkit.gauge", "1", "", points)];
            let scope_metrics =
                vec![otlp::metrics::v1::ScopeMetrics { scope, metrics, ..Default::default() }];
            let metrics =
                otlp::metrics::v1::ResourceMetrics { resource, scope_metrics, ..Default::default() };
            MetricsRequest { resource_metrics: vec![metrics] }.into()
        }
        Signal::Logs | Signal::Profiles => {
            let records = ids
                .map(|id| otlp::logs::v1::LogRecord { attributes: vec![kv("id", id)], ..Default::default() });
            let scope_logs = vec![otlp::logs::v1::ScopeLogs {
                scope,
                log_records: records.collect(),
                ..Default::default()
            }];
            let logs = otlp::logs::v1::ResourceLogs { resource, scope_logs, ..Default::default() };
            LogsRequest { resource_logs: vec![logs] }.into()
        }
    }
}

/// The ids in a payload made by [`payload`], in order.
pub fn ids(payload: &Payload) -> Vec<i64> {
    let mut out = Vec::with_capacity(payload.items());
    let mut push = |value: Option<AnyValue<'_>>| out.extend(value.and_then(|v| v.as_i64()));
    for scope in view::resources(payload).flat_map(|r| r.scopes()) {
        match payload.signal() {
            Signal::Traces => scope.spans().for_each(|s| push(s.attributes().get("id"))),
            Signal::Metrics => {
                (scope.metrics().flat_map(|m| m.number_points())).for_each(|p| push(p.attributes().get("id")))
            }
            Signal::Logs | Signal::Profiles => {
                scope.log_records().for_each(|l| push(l.attributes().get("id")))
            }
        }
    }
    out
}
