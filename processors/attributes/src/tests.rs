use weir_component::Kind;
use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{
    LogsRequest, MetricsRequest, TracesRequest, counter, gauge, kv, metrics, point, resource,
};
use weir_testkit::Simulation;

use super::*;

fn build(body: &str) -> Result<Arc<dyn Transform>, BuildError> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let (host, path) =
        (weir_testkit::host(&simulation), weir_config::Path::component("processors", "attributes"));
    match create(&Build { id: "attributes", node: &node, path, host: &host, clock: simulation.clock() })? {
        Processor::Transform(transform) => Ok(transform),
        _ => unreachable!("it keeps nothing"),
    }
}

fn apply(body: &str, payload: impl Into<Payload>) -> Payload {
    let mut payload = payload.into();
    let verdict = build(body).expect("built").apply(&mut payload, &Context::default());
    assert_eq!(verdict.expect("applied"), Verdict::Pass);
    payload
}

fn spans(spans: Vec<Span>) -> TracesRequest {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    TracesRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
}

fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span { name: name.into(), attributes, ..Default::default() }
}

const INSERT: &str = "actions: [{key: env, value: prod, action: insert}]";

#[test]
fn spans_that_are_selected_change_and_others_do_not() {
    let include = "include: {match_type: regexp, span_names: ['^get']}, exclude: {match_type: strict, attributes: [{key: skip}]}";
    let input = vec![span("get a", vec![]), span("put", vec![]), span("get b", vec![kv("skip", 1)])];
    let output = apply(&format!("{{{INSERT}, {include}}}"), spans(input)).decode_traces();
    let expected =
        vec![span("get a", vec![kv("env", "prod")]), span("put", vec![]), span("get b", vec![kv("skip", 1)])];
    assert_eq!(output, spans(expected));
}

#[test]
fn a_resource_that_comes_in_parts_is_selected_by_all_of_them() {
    let mut request = spans(vec![span("pay", vec![kv("card", "4111")])]);
    request.resource_spans[0].resource = Some(resource(vec![kv("service.name", "payments")]));
    // The `ResourceSpans` gets a second, empty `Resource`.
    let mut bytes = Payload::from(request).to_bytes().to_vec();
    bytes.extend([0x0a, 0]);
    bytes[1] += 2;
    let input = Payload::from_request(Signal::Traces, bytes.into()).expect("well formed");
    let redact = "actions: [{key: card, action: delete}]";
    let output =
        apply(&format!("{{{redact}, include: {{match_type: strict, services: [payments]}}}}"), input);
    let resource = &output.decode_traces().resource_spans[0];
    assert_eq!(resource.resource.as_ref().map(|r| r.attributes.len()), Some(1));
    assert_eq!(resource.scope_spans[0].spans, [span("pay", vec![])]);
}

#[test]
fn every_data_point_of_a_selected_metric_changes() {
    let request = |attributes: fn() -> Vec<KeyValue>| {
        let points = || vec![point(1, 0, 1.0, attributes()), point(2, 0, 2.0, attributes())];
        let metrics =
            vec![counter("cpu", "", "", points()), gauge("mem", "", "", vec![point(1, 0, 1.0, vec![])])];
        let scope_metrics = vec![metrics::v1::ScopeMetrics { metrics, ..Default::default() }];
        MetricsRequest {
            resource_metrics: vec![metrics::v1::ResourceMetrics { scope_metrics, ..Default::default() }],
        }
    };
    let body = format!("{{{INSERT}, include: {{match_type: strict, metric_names: [cpu]}}}}");
    assert_eq!(apply(&body, request(Vec::new)).decode_metrics(), request(|| vec![kv("env", "prod")]));
}

#[test]
fn log_records_change_too() {
    let request = |attributes| {
        let log_records = vec![LogRecord { attributes, ..Default::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
        LogsRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }
    };
    assert_eq!(
        apply(INSERT, request(vec![kv("a", 1)])).decode_logs(),
        request(vec![kv("a", 1), kv("env", "prod")])
    );
}

#[test]
fn properties_that_a_signal_does_not_have_are_refused_for_its_pipelines() {
    let transform =
        build(&format!("{{{INSERT}, include: {{match_type: strict, services: [a]}}}}")).expect("built");
    assert!(transform.accepts(Signal::Traces).is_ok());
    let error = transform.accepts(Signal::Logs).expect_err("logs have no services").0.remove(0);
    assert_eq!(error.core, "services, span_names, span_kinds and metric_names are not valid for log records");
    let mut logs = Payload::empty(Signal::Logs);
    let failure = transform.apply(&mut logs, &Context::default()).expect_err("refused");
    assert_eq!(failure.kind(), Kind::Permanent);
}

#[test]
fn what_is_wrong_for_every_signal_is_refused_at_once_with_its_place() {
    let body = format!(
        "{INSERT}\ninclude:\n  match_type: regexp\n  resources: [{{key: a, value: '('}}]\n  span_names: ['(']\n"
    );
    let error = build(&body).err().expect("refused").0.remove(0);
    assert!(
        error.core.starts_with("error creating resource filters: error parsing regexp: unclosed group"),
        "{}",
        error.core
    );
    assert_eq!(error.span.map(|s| s.line), Some(4));
    let error = build("{}").err().expect("refused").0.remove(0);
    assert_eq!(error.core, "missing required field \"actions\"");
}
