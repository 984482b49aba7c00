//! Spans and data points with ids. Their requests have one resource and one scope.

use weir_pdata::otlp::common::v1::{InstrumentationScope, KeyValue};
use weir_pdata::otlp::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric::Data};
use weir_pdata::otlp::resource::v1::Resource;
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{MetricsRequest, TracesRequest, gauge, point};
use weir_pdata::{Payload, Signal};

use super::{SCHEMA, attributes, id_of, number, resource, scope};

/// Whose resource and scope all of them have.
const FIRST: i64 = 0;

pub(super) fn spans(ids: &[i64]) -> Payload {
    let spans = ids.iter().map(|id| span(*id)).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope(FIRST)), spans, schema_url: SCHEMA.to_owned() }];
    let resource = Some(resource(FIRST));
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
    TracesRequest { resource_spans }.into()
}

pub(super) fn points(ids: &[i64]) -> Payload {
    let metrics = ids.iter().map(|id| metric(*id)).collect();
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope(FIRST)), metrics, schema_url: SCHEMA.to_owned() }];
    let resource = Some(resource(FIRST));
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }];
    MetricsRequest { resource_metrics }.into()
}

/// The ids of all items of a request of spans or of data points; none for an item that is not as it was sent. No request
/// where it is not OTLP, or prost does not read all of it.
pub(super) fn found(signal: Signal, body: &[u8]) -> Option<Vec<Option<i64>>> {
    let payload = Payload::from_request(signal, body.to_vec().into()).ok()?;
    let ids: Vec<_> = match signal {
        Signal::Traces => found_spans(&payload.decode_traces()),
        _ => found_points(&payload.decode_metrics()),
    };
    (ids.len() == payload.items()).then_some(ids)
}

/// Whether that is the resource, the scope and their schemas under which all are sent.
fn is_placed(of: Option<&Resource>, by: Option<&InstrumentationScope>, schemas: (&str, &str)) -> bool {
    of == Some(&resource(FIRST)) && by == Some(&scope(FIRST)) && schemas == ("", SCHEMA)
}

fn found_spans(request: &TracesRequest) -> Vec<Option<i64>> {
    let mut ids = Vec::new();
    for spans in &request.resource_spans {
        for scopes in &spans.scope_spans {
            let schemas = (&*spans.schema_url, &*scopes.schema_url);
            let placed = is_placed(spans.resource.as_ref(), scopes.scope.as_ref(), schemas);
            ids.extend(
                scopes
                    .spans
                    .iter()
                    .map(|found| id_of(&found.attributes).filter(|id| placed && *found == span(*id))),
            );
        }
    }
    ids
}

fn found_points(request: &MetricsRequest) -> Vec<Option<i64>> {
    let mut ids = Vec::new();
    for metrics in &request.resource_metrics {
        for scopes in &metrics.scope_metrics {
            let schemas = (&*metrics.schema_url, &*scopes.schema_url);
            let placed = is_placed(metrics.resource.as_ref(), scopes.scope.as_ref(), schemas);
            ids.extend(
                scopes
                    .metrics
                    .iter()
                    .map(|found| id_of(attributes_of(found)?).filter(|id| placed && *found == metric(*id))),
            );
        }
    }
    ids
}

fn span(id: i64) -> Span {
    let number = number(id) as u64;
    let start = 1_767_225_600_000_000_000 + number * 1000;
    Span {
        name: format!("this is span {number}"),
        kind: 1 + (number % 5) as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1,
        attributes: attributes(id),
        // They must not be zero.
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        // What is empty is there, so that an agent that writes it changes nothing.
        status: Some(Default::default()),
        ..Default::default()
    }
}

/// A metric with one data point.
fn metric(id: i64) -> Metric {
    let number = number(id);
    let time = 1_767_225_600_000_000_000 + number as u64 * 1000;
    let point = point(time, time - 1, number as f64, attributes(id));
    gauge(&format!("metric.{}", number % 100), "1", "a gauge", vec![point])
}

fn attributes_of(metric: &Metric) -> Option<&[KeyValue]> {
    match metric.data.as_ref()? {
        Data::Gauge(gauge) => Some(&gauge.data_points.first()?.attributes),
        _ => None,
    }
}
