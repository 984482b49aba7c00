use weir_pdata::otlp::common::v1::KeyValue as Pair;
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span};
use weir_pdata::otlp::{LogsRequest, TracesRequest, kv};
use weir_testkit::Simulation;

use super::*;

fn build(body: &str) -> Result<Arc<dyn Transform>, BuildError> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let path = weir_config::Path::component("processors", "probabilistic_sampler");
    let host = weir_testkit::host(&simulation);
    match create(&Build {
        id: "probabilistic_sampler",
        node: &node,
        path,
        host: &host,
        clock: simulation.clock(),
    })? {
        Processor::Transform(transform) => Ok(transform),
        _ => unreachable!("it keeps nothing"),
    }
}

fn apply(body: &str, payload: impl Into<Payload>) -> (Verdict, Payload) {
    let mut payload = payload.into();
    let verdict = build(body).expect("built").apply(&mut payload, &Context::default());
    (verdict.expect("applied"), payload)
}

fn id(n: u64) -> Vec<u8> {
    // Any spread will do.
    let low = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [n.to_be_bytes(), low.to_be_bytes()].concat()
}

fn span(n: u64, trace_state: &str, attributes: Vec<Pair>) -> Span {
    Span { trace_id: id(n), trace_state: trace_state.into(), attributes, ..Default::default() }
}

fn traces(spans: Vec<Span>) -> TracesRequest {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    TracesRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
}

fn kept(body: &str, spans: Vec<Span>) -> Vec<Span> {
    let (_, payload) = apply(body, traces(spans));
    let resources = payload.decode_traces().resource_spans.into_iter();
    resources.flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

#[test]
fn every_mode_keeps_about_its_share_and_the_same_traces_each_time() {
    for mode in ["hash_seed", "equalizing", "proportional"] {
        let share = |percentage: u32| {
            let spans = (0..4000).map(|n| span(n, "", Vec::new())).collect();
            let body = format!("{{sampling_percentage: {percentage}, mode: {mode}}}");
            kept(&body, spans).into_iter().map(|s| s.trace_id).collect::<Vec<_>>()
        };
        let (quarter, half) = (share(25), share(50));
        assert!((800..1200).contains(&quarter.len()) && (1800..2200).contains(&half.len()), "{mode}");
        assert!(
            quarter.iter().all(|id| half.contains(id)),
            "{mode}: a higher share keeps the traces of a lower one"
        );
    }
}

#[test]
fn all_or_nothing_need_no_luck() {
    let spans = || (0..50).map(|n| span(n, "", Vec::new())).collect::<Vec<_>>();
    assert_eq!(kept("sampling_percentage: 100", spans()).len(), 50);
    let (verdict, payload) = apply("sampling_percentage: 0", traces(spans()));
    assert_eq!((verdict, payload.items(), payload.encoded_len()), (Verdict::Drop, 0, 0));
}

#[test]
fn the_threshold_is_noted_in_the_trace_state() {
    let body = "{sampling_percentage: 50, mode: equalizing}";
    let all_ones = Span { trace_id: vec![0xff; 16], ..span(0, "a=b", Vec::new()) };
    assert_eq!(kept(body, vec![all_ones.clone()])[0].trace_state, "ot=th:8,a=b");
    let already = Span { trace_state: "a=b,ot=th:c".into(), ..all_ones.clone() };
    assert_eq!(kept(body, vec![already])[0].trace_state, "ot=th:c,a=b");
    let explicit = Span { trace_state: "ot=rv:00000000000001".into(), ..all_ones.clone() };
    assert_eq!(kept(body, vec![explicit]), []);
    let hashed = kept("sampling_percentage: 100", vec![all_ones]);
    assert!(hashed[0].trace_state.starts_with("ot=rv:") && hashed[0].trace_state.ends_with(";th:0,a=b"));
}

#[test]
fn what_cannot_be_judged_fails_closed_or_open() {
    let bad = || vec![span(1, "not a trace state", Vec::new())];
    assert_eq!(kept("{sampling_percentage: 100, mode: equalizing}", bad()), []);
    assert_eq!(kept("{sampling_percentage: 1, mode: equalizing, fail_closed: false}", bad()), bad());
    let no_id = || vec![Span { name: "x".into(), ..Span::default() }];
    assert_eq!(kept("sampling_percentage: 100", no_id()), []);
}

#[test]
fn the_priority_of_a_span_wins() {
    let with = |value: Pair| vec![span(1, "", vec![value])];
    let key = "sampling.priority";
    for (value, expected) in
        [(kv(key, 1), 1), (kv(key, "2"), 1), (kv(key, 0.5), 1), (kv(key, -1), 0), (kv("other", 1), 0)]
    {
        assert_eq!(kept("sampling_percentage: 0", with(value)).len(), expected);
    }
    for value in [kv(key, 0), kv(key, 0.0), kv(key, "0")] {
        assert_eq!(kept("sampling_percentage: 100", with(value)), []);
    }
}

fn records(body: &str, log_records: Vec<LogRecord>) -> Vec<LogRecord> {
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let (_, payload) =
        apply(body, LogsRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] });
    let resources = payload.decode_logs().resource_logs.into_iter();
    resources.flat_map(|r| r.scope_logs).flat_map(|s| s.log_records).collect()
}

#[test]
fn log_records_without_a_trace_are_sampled_by_an_attribute_and_carry_what_was_decided() {
    let record = |n: i64| LogRecord { attributes: vec![kv("id", n)], ..Default::default() };
    let body = "{sampling_percentage: 30, attribute_source: record, from_attribute: id}";
    let out = records(body, (0..1000).map(record).collect());
    assert!((230..370).contains(&out.len()), "{}", out.len());
    let keys: Vec<&str> = out[0].attributes.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(keys, ["id", "sampling.randomness", "sampling.threshold"]);
    assert_eq!(records("sampling_percentage: 100", vec![record(1)]), []);
}

#[test]
fn a_log_record_may_ask_for_a_percentage_of_its_own() {
    let record = LogRecord { trace_id: id(1), attributes: vec![kv("p", 100)], ..Default::default() };
    let body = "{sampling_percentage: 0, sampling_priority: p}";
    let out = records(body, vec![record.clone(), LogRecord { attributes: Vec::new(), ..record }]);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].attributes, [kv("p", 100), kv("sampling.threshold", "0")]);
}

#[test]
fn what_is_wrong_is_said_in_the_collectors_words() {
    let cases = [
        ("sampling_percentage: -5", "sampling rate is negative: -5.000000%"),
        ("sampling_percentage: 1.0e-30", "sampling rate is too small: 1e-30%"),
        ("attribute_source: span", "invalid attribute source: span. Expected: traceID or record"),
        ("sampling_precision: 0", "invalid sampling precision: 0"),
        ("sampling_precision: 15", "sampling precision is too great, should be <= 14: 15"),
    ];
    for (body, core) in cases {
        assert_eq!(build(body).err().expect(body).0.remove(0).core, core);
    }
    let mode = build("mode: often").err().expect("refused").0.remove(0);
    assert!(mode.core.contains("unsupported sampler mode \"often\""), "{}", mode.core);
}
