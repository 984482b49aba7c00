use weir_pdata::otlp::common::v1::AnyValue;
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{LogsRequest, MetricsRequest, TracesRequest, gauge, kv, metrics, resource, scope};
use weir_pdata::{Payload, view};

use super::*;

fn config(yaml: &str) -> MatchConfig {
    let body = weir_config::parse_body(yaml).expect("YAML");
    weir_config::from_node(&body, &weir_config::Path::component("processors", "attributes")).expect("valid")
}

fn spans() -> Payload {
    let span =
        |name: &str, kind, attributes| Span { name: name.into(), kind, attributes, ..Default::default() };
    let of = |service: &str, library: &str, version: &str, spans: Vec<Span>| ResourceSpans {
        resource: Some(resource(vec![kv("service.name", service), kv("port", 80)])),
        scope_spans: vec![ScopeSpans { scope: Some(scope(library, version)), spans, ..Default::default() }],
        ..Default::default()
    };
    let first = vec![
        span("get", 3, vec![kv("user", "ann"), kv("n", 1)]),
        span("put", 2, vec![kv("user", "bob"), kv("d", 0.5)]),
        span("idle", 1, Vec::new()),
    ];
    let second = vec![span("get", 5, vec![kv("user", "eve"), kv("ok", true)])];
    Payload::from(TracesRequest {
        resource_spans: vec![of("front", "http", "1", first), of("back", "sql", "", second)],
    })
}

/// Names of the spans that are worked on, each with its service.
fn selected(yaml: &str) -> Vec<String> {
    let selection = Selection::new(&config(yaml), Signal::Traces).expect("valid");
    let (mut selector, payload, mut out) = (selection.selector(), spans(), Vec::new());
    for r in view::resources(&payload) {
        let below = selector.enter_resource(r);
        for s in r.scopes() {
            let in_scope = selector.enter_scope(s);
            for span in s.spans() {
                let worked_on = selector.span(span);
                assert!(below && in_scope || !worked_on);
                if worked_on {
                    out.push(format!(
                        "{}.{}",
                        r.attributes().text("service.name").unwrap_or_default(),
                        span.name()
                    ));
                }
            }
        }
    }
    out
}

#[test]
fn without_properties_everything_is_worked_on() {
    assert_eq!(selected("{}"), ["front.get", "front.put", "front.idle", "back.get"]);
}

#[test]
fn each_property_of_spans_selects() {
    let strict = |rest: &str| selected(&format!("include: {{match_type: strict, {rest}}}"));
    let regexp = |rest: &str| selected(&format!("include: {{match_type: regexp, {rest}}}"));
    assert_eq!(strict("services: [back]"), ["back.get"]);
    assert_eq!(regexp("services: ['^f', x]"), ["front.get", "front.put", "front.idle"]);
    assert_eq!(strict("span_names: [put, idle]"), ["front.put", "front.idle"]);
    assert_eq!(strict("span_kinds: [SPAN_KIND_CLIENT, SPAN_KIND_CONSUMER]"), ["front.get", "back.get"]);
    assert_eq!(regexp("span_kinds: ['SERVER$']"), ["front.put"]);
    assert_eq!(strict("libraries: [{name: http}]"), ["front.get", "front.put", "front.idle"]);
    assert_eq!(strict("libraries: [{name: sql, version: ''}]"), ["back.get"]);
    assert_eq!(strict("libraries: [{name: sql, version: '1'}]"), Vec::<String>::new());
    assert_eq!(strict("resources: [{key: port, value: 80}]").len(), 4);
    assert_eq!(strict("resources: [{key: port, value: '80'}]").len(), 0);
    assert_eq!(regexp("resources: [{key: port, value: '^8'}]").len(), 4);
    assert_eq!(strict("attributes: [{key: user}]"), ["front.get", "front.put", "back.get"]);
    assert_eq!(strict("attributes: [{key: user, value: ann}, {key: n, value: 1}]"), ["front.get"]);
    assert_eq!(regexp("attributes: [{key: ok, value: 'tru'}]"), ["back.get"]);
    assert_eq!(regexp("attributes: [{key: d, value: '^0.5$'}]"), ["front.put"]);
}

#[test]
fn all_properties_must_match_and_exclude_takes_away() {
    let both = "{match_type: strict, services: [front], span_names: [get]}";
    assert_eq!(selected(&format!("include: {both}")), ["front.get"]);
    assert_eq!(selected(&format!("exclude: {both}")), ["front.put", "front.idle", "back.get"]);
    let and_not = "{include: {match_type: regexp, span_names: [get]}, \
                    exclude: {match_type: strict, libraries: [{name: sql}]}}";
    assert_eq!(selected(and_not), ["front.get"]);
}

#[test]
fn log_records_are_selected_by_body_and_severity() {
    let record = |body: &str, number, text: &str| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue(body.into())) }),
        severity_number: number,
        severity_text: text.into(),
        ..Default::default()
    };
    let log_records = vec![record("a", 9, "INFO"), record("b", 17, "ERROR"), record("c", 0, "")];
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let payload =
        Payload::from(LogsRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] });
    let selected = |yaml: &str| {
        let selection = Selection::new(&config(yaml), Signal::Logs).expect("valid");
        let (mut selector, mut out) = (selection.selector(), String::new());
        for r in view::resources(&payload) {
            selector.enter_resource(r);
            for s in r.scopes() {
                selector.enter_scope(s);
                let worked_on = s.log_records().filter(|record| selector.log_record(*record));
                worked_on.for_each(|record| out.push_str(record.body().as_str().unwrap_or_default()));
            }
        }
        out
    };
    assert_eq!(selected("include: {match_type: regexp, log_bodies: ['[ac]']}"), "ac");
    assert_eq!(selected("include: {match_type: strict, log_severity_texts: [ERROR]}"), "b");
    assert_eq!(selected("include: {match_type: strict, log_severity_number: {min: 13}}"), "b");
    assert_eq!(
        selected("exclude: {match_type: strict, log_severity_number: {min: 13, match_undefined: true}}"),
        "a"
    );
}

#[test]
fn metrics_are_selected_by_name() {
    let metrics = ["cpu.time", "cpu.load", "mem"].map(|name| gauge(name, "", "", Vec::new())).to_vec();
    let scope_metrics = vec![metrics::v1::ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics = vec![metrics::v1::ResourceMetrics { scope_metrics, ..Default::default() }];
    let payload = Payload::from(MetricsRequest { resource_metrics });
    let selected = |yaml: &str| {
        let selection = Selection::new(&config(yaml), Signal::Metrics).expect("valid");
        let mut selector = selection.selector();
        let mut count = 0;
        for r in view::resources(&payload) {
            selector.enter_resource(r);
            for s in r.scopes() {
                selector.enter_scope(s);
                count += s.metrics().filter(|m| selector.metric(*m)).count();
            }
        }
        count
    };
    assert_eq!(selected("include: {match_type: regexp, metric_names: ['^cpu']}"), 2);
    assert_eq!(selected("exclude: {match_type: strict, metric_names: [mem]}"), 2);
    assert_eq!(selected("include: {match_type: strict, resources: [{key: x, value: y}]}"), 3);
}

#[test]
fn what_is_wrong_is_said_in_the_collectors_words() {
    let cases = [
        (
            Signal::Traces,
            "{}",
            "at least one of \"attributes\", \"libraries\",  or \"resources\" field must be specified",
        ),
        (
            Signal::Traces,
            "{match_type: strict, log_bodies: [a]}",
            "log_bodies should not be specified for trace spans",
        ),
        (
            Signal::Traces,
            "{match_type: strict, span_kinds: [CLIENT]}",
            "span_kinds string must match one of the standard span kinds when match_type=strict: [SPAN_KIND_CLIENT SPAN_KIND_CONSUMER SPAN_KIND_INTERNAL SPAN_KIND_PRODUCER SPAN_KIND_SERVER]",
        ),
        (
            Signal::Traces,
            "{services: [a]}",
            "error creating service name filters: unrecognized match_type: '', valid types are: [regexp strict]",
        ),
        (
            Signal::Traces,
            "{match_type: regexp, span_names: ['(a|b))']}",
            "error creating span name filters: error parsing regexp: unopened group: `(a|b))`",
        ),
        (
            Signal::Traces,
            "{match_type: regexp, attributes: [{key: a, value: 1}]}",
            "error creating attribute filters: match_type=regexp for \"a\" only supports Str, but found Int",
        ),
        (
            Signal::Traces,
            "{match_type: strict, resources: [{value: 1}]}",
            "error creating resource filters: can't have empty key in the list of attributes",
        ),
        (
            Signal::Logs,
            "{match_type: strict, services: [a]}",
            "services, span_names, span_kinds and metric_names are not valid for log records",
        ),
        (
            Signal::Metrics,
            "{match_type: strict, attributes: [{key: a}]}",
            "\"span_names\", \"span_kinds\", \"log_bodies\", \"log_severity_texts\", \"log_severity_number\", \"services\", \"attributes\" and \"libraries\" are not valid for metrics",
        ),
        (
            Signal::Metrics,
            "{match_type: strict}",
            "at least one of \"metric_names\" or \"resources\" field must be specified",
        ),
    ];
    for (signal, yaml, message) in cases {
        let (section, problem) =
            Selection::new(&config(&format!("exclude: {yaml}")), signal).expect_err(yaml);
        assert_eq!((section, problem.message.as_str()), ("exclude", message));
    }
}
