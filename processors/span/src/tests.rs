use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span as Owned};
use weir_pdata::otlp::{TracesRequest, kv};
use weir_testkit::Simulation;

use super::*;

fn build(body: &str) -> Result<Arc<dyn Transform>, BuildError> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let (host, path) = (weir_testkit::host(&simulation), weir_config::Path::component("processors", "span"));
    match create(&Build { id: "span", node: &node, path, host: &host, clock: simulation.clock() })? {
        Processor::Transform(transform) => Ok(transform),
        _ => unreachable!("it keeps nothing"),
    }
}

fn apply(body: &str, span: Owned) -> Owned {
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let mut payload = Payload::from(TracesRequest { resource_spans });
    build(body).expect("built").apply(&mut payload, &Context::default()).expect("applied");
    payload.decode_traces().resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn span(name: &str, attributes: Vec<KeyValue>) -> Owned {
    Owned { name: name.into(), attributes, trace_state: "a=b".into(), ..Default::default() }
}

#[test]
fn a_name_is_joined_of_attributes_of_every_simple_type() {
    let body = "name: {from_attributes: [db, op, n, d, ok], separator: '::'}";
    let attributes = vec![kv("op", "get"), kv("n", 7), kv("db", "pg"), kv("d", 1e21), kv("ok", true)];
    let expected = span("pg::get::7::1000000000000000000000::true", attributes.clone());
    assert_eq!(apply(body, span("old", attributes)), expected);
    let missing = vec![kv("op", "get")];
    assert_eq!(apply(body, span("old", missing.clone())), span("old", missing));
}

#[test]
fn parts_of_a_name_become_attributes_and_their_names_take_their_place() {
    let rule = r"^/api/v1/document/(?P<documentId>.*)/update$";
    let one = format!("name: {{to_attributes: {{rules: ['{rule}']}}}}");
    let out = apply(&one, span("/api/v1/document/12345678/update", vec![kv("documentId", 1)]));
    assert_eq!(out, span("/api/v1/document/{documentId}/update", vec![kv("documentId", "12345678")]));
    assert_eq!(apply(&one, span("/other", vec![])), span("/other", vec![]));
    let keep = format!("name: {{to_attributes: {{keep_original_name: true, rules: ['{rule}']}}}}");
    let out = apply(&keep, span("/api/v1/document/1/update", vec![]));
    assert_eq!(out, span("/api/v1/document/1/update", vec![kv("documentId", "1")]));
}

#[test]
fn each_rule_works_on_what_those_before_it_left() {
    let rules = r"rules: ['(?P<a>\d+)', '(?P<b>\d+)$', '\{(?P<c>b)\}']";
    let all = format!("name: {{to_attributes: {{{rules}}}}}");
    assert_eq!(
        apply(&all, span("1/2", vec![])),
        span("{a}/{{c}}", vec![kv("a", "1"), kv("b", "2"), kv("c", "b")])
    );
    let first = format!("name: {{to_attributes: {{break_after_match: true, {rules}}}}}");
    assert_eq!(apply(&first, span("1/2", vec![])), span("{a}/2", vec![kv("a", "1")]));
}

#[test]
fn groups_that_took_no_part_or_lie_in_others_give_their_attribute_only() {
    let body = r"name: {to_attributes: {rules: ['^(?P<all>x(?P<inner>y))(?P<none>z)?$']}}";
    let expected = vec![kv("all", "xy"), kv("inner", "y"), kv("none", "")];
    assert_eq!(apply(body, span("xy", vec![])), span("{all}", expected));
}

#[test]
fn a_status_is_set_as_a_whole() {
    let status = |code: i32, message: &str| Some(Status { code, message: message.into() });
    let before = Owned { status: status(2, "bad"), ..span("s", vec![]) };
    assert_eq!(
        apply("status: {code: Ok}", before.clone()),
        Owned { status: status(1, ""), ..span("s", vec![]) }
    );
    assert_eq!(apply("status: {code: Unset}", before), Owned { status: status(0, ""), ..span("s", vec![]) });
    let failed = apply("status: {code: Error, description: gone}", span("s", vec![]));
    assert_eq!(failed, Owned { status: status(2, "gone"), ..span("s", vec![]) });
}

#[test]
fn spans_that_are_not_selected_stay() {
    let body = "{status: {code: Ok}, exclude: {match_type: strict, span_names: [s]}}";
    assert_eq!(apply(body, span("s", vec![])), span("s", vec![]));
    assert!(apply(body, span("t", vec![])).status.is_some());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        (
            "{}",
            1,
            "error creating \"span\" processor: either \"from_attributes\" or \"to_attributes\" must be specified in \"name:\" or \"setStatus\" must be specified",
        ),
        (
            "status:\n  code: ok",
            2,
            "error creating \"span\" processor: \"status\" must have specified \"code\" as \"Ok\" or \"Error\" or \"Unset\"",
        ),
        (
            "status:\n  code: Ok\n  description: x",
            3,
            "error creating \"span\" processor: \"description\" can be specified only for \"code\" \"Error\"",
        ),
        (
            "name:\n  to_attributes:\n    rules:\n    - a\n    - '('",
            5,
            "invalid regexp pattern ( (error parsing regexp: unclosed group: `(`)",
        ),
    ];
    for (body, line, core) in cases {
        let error = build(body).err().expect(body).0.remove(0);
        assert_eq!((error.span.map(|s| s.line), error.core.as_str()), (Some(line), core));
    }
}
