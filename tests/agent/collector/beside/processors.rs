//! Processors: what comes out for every option.

use weir_pdata::Signal;

use super::Pair;
use super::normal::ordered;
use super::sampled::sampled;
use crate::collector::same;
use crate::collector::sink::Sink;
use crate::collector::telemetry::{content, request};

/// A processor with its options, and the signals in whose pipelines it stands.
struct Case {
    name: &'static str,
    kind: &'static str,
    signals: &'static [Signal],
    body: &'static str,
}

const fn case(
    name: &'static str,
    kind: &'static str,
    signals: &'static [Signal],
    body: &'static str,
) -> Case {
    Case { name, kind, signals, body }
}

const ITEMS: &[Signal] = &[Signal::Traces, Signal::Metrics, Signal::Logs];
const SPANS: &[Signal] = &[Signal::Traces];
const LOGS: &[Signal] = &[Signal::Logs];
const METRICS: &[Signal] = &[Signal::Metrics];
const BOTH: &[Signal] = &[Signal::Traces, Signal::Logs];

/// What is done to items that are selected.
macro_rules! mark {
    ($selection:literal) => {
        concat!("{actions: [{key: marked, value: true, action: insert}], ", $selection, "}")
    };
}

const CASES: &[Case] = &[
    case(
        "insert",
        "attributes",
        ITEMS,
        "{actions: [{key: new, value: 1, action: insert}, {key: n, value: x, action: insert}, {key: list2, value: [1, a, {b: 0.5}], action: INSERT}]}",
    ),
    case(
        "update",
        "attributes",
        ITEMS,
        "{actions: [{key: n, value: 1.5, action: update}, {key: missing, value: 1, action: update}, {key: text, value: 'false', action: upsert}, {key: up, value: false, action: upsert}]}",
    ),
    case(
        "delete",
        "attributes",
        ITEMS,
        "{actions: [{key: list, action: delete}, {pattern: '^(no|yes)$', action: delete}, {key: missing, pattern: 'ext', action: delete}]}",
    ),
    case(
        "hash",
        "attributes",
        ITEMS,
        "{actions: [{key: text, action: hash}, {pattern: '^(n|d|l|w|y|m|b|e)', action: hash}]}",
    ),
    case(
        "rename",
        "attributes",
        ITEMS,
        "{actions: [{key: renamed, from_attribute: map, action: insert}, {key: map, action: delete}, {key: n, from_attribute: text, action: update}, {key: d, from_attribute: missing, default_value: 7, action: upsert}]}",
    ),
    case(
        "context",
        "attributes",
        ITEMS,
        "{actions: [{key: type, from_context: metadata.Content-Type, action: insert}, {key: peer, from_context: client.address, action: upsert}, {key: none, from_context: metadata.x, default_value: d, action: insert}, {key: who, from_context: auth.subject, action: insert}]}",
    ),
    case(
        "extract",
        "attributes",
        ITEMS,
        "{actions: [{key: text, pattern: '^(?P<first>\\w+)(?P<rest>.*?)(?P<end>\\W\\S*)?$', action: extract}, {key: n, pattern: '(?P<digits>\\d+)', action: extract}]}",
    ),
    case(
        "to_string",
        "attributes",
        ITEMS,
        "{actions: [{key: n, converted_type: string, action: convert}, {key: list, converted_type: string, action: convert}, {key: map, converted_type: string, action: convert}, {key: bytes, converted_type: string, action: convert}, {key: double, converted_type: string, action: convert}, {key: least, converted_type: string, action: convert}, {key: whole, converted_type: string, action: convert}, {key: yes, converted_type: string, action: convert}, {key: nothing, converted_type: string, action: convert}]}",
    ),
    case(
        "to_number",
        "attributes",
        ITEMS,
        "{actions: [{key: yes, converted_type: int, action: convert}, {key: double, converted_type: int, action: convert}, {key: text, converted_type: int, action: convert}, {key: empty, converted_type: double, action: convert}, {key: least, converted_type: double, action: convert}, {key: no, converted_type: double, action: convert}, {key: list, converted_type: int, action: convert}]}",
    ),
    case(
        "strict",
        "attributes",
        BOTH,
        mark!("include: {match_type: strict, attributes: [{key: n, value: 3}, {key: double}]}"),
    ),
    case(
        "regexp",
        "attributes",
        BOTH,
        mark!(
            "include: {match_type: regexp, attributes: [{key: n, value: '^1'}, {key: double, value: '^1\\d?\\.'}]}, exclude: {match_type: regexp, attributes: [{key: n, value: '2$'}]}"
        ),
    ),
    case(
        "typed",
        "attributes",
        BOTH,
        mark!(
            "include: {match_type: strict, attributes: [{key: n, value: '3'}]}, exclude: {match_type: strict, attributes: [{key: yes, value: false}]}"
        ),
    ),
    case(
        "resources",
        "attributes",
        ITEMS,
        mark!("include: {match_type: strict, resources: [{key: service.name, value: service 1}]}"),
    ),
    case(
        "not_resources",
        "attributes",
        BOTH,
        mark!("exclude: {match_type: regexp, resources: [{key: service.name, value: '[02]$'}]}"),
    ),
    case(
        "libraries",
        "attributes",
        BOTH,
        mark!("include: {match_type: strict, libraries: [{name: scope 1, version: 1.2.3}]}"),
    ),
    case(
        "services",
        "attributes",
        SPANS,
        mark!(
            "include: {match_type: regexp, services: ['1$', 'service 2']}, exclude: {match_type: strict, span_kinds: [SPAN_KIND_CLIENT, SPAN_KIND_SERVER]}"
        ),
    ),
    case(
        "names",
        "attributes",
        SPANS,
        mark!("include: {match_type: regexp, span_names: ['span 1\\d [135]'], span_kinds: ['E']}"),
    ),
    case(
        "severity",
        "attributes",
        LOGS,
        mark!("include: {match_type: strict, log_severity_number: {min: 9}}"),
    ),
    case(
        "undefined",
        "attributes",
        LOGS,
        mark!("exclude: {match_type: strict, log_severity_number: {min: 13, match_undefined: true}}"),
    ),
    case(
        "bodies",
        "attributes",
        LOGS,
        mark!("include: {match_type: regexp, log_bodies: ['1', '^\\{', 'x$'], log_severity_texts: ['.']}"),
    ),
    case(
        "metric_names",
        "attributes",
        METRICS,
        mark!(
            "include: {match_type: regexp, metric_names: ['[gs]']}, exclude: {match_type: regexp, metric_names: ['h.*1$']}"
        ),
    ),
    case(
        "resource",
        "resource",
        &Signal::ALL,
        "{attributes: [{key: service.name, from_attribute: n, action: update}, {key: env, value: prod, action: insert}, {key: bytes, action: delete}, {key: text, action: hash}]}",
    ),
    case(
        "from_attributes",
        "span",
        SPANS,
        "{name: {from_attributes: [text, n, double, yes, list], separator: '::'}}",
    ),
    case(
        "to_attributes",
        "span",
        SPANS,
        "{name: {to_attributes: {rules: ['^span (?P<number>\\d+) (?P<n>\\d)$', '(?P<word>\\w+) ']}}, status: {code: Error, description: bad}}",
    ),
    case(
        "keep_name",
        "span",
        SPANS,
        "{name: {from_attributes: [n], to_attributes: {rules: ['(?P<a>\\d)', '(?P<b>\\d+)'], break_after_match: true, keep_original_name: true}}, status: {code: Ok}, exclude: {match_type: regexp, span_names: ['0$']}}",
    ),
    case("hash_30", "probabilistic_sampler", BOTH, "{sampling_percentage: 30}"),
    case(
        "hash_seed",
        "probabilistic_sampler",
        BOTH,
        "{sampling_percentage: 55.5, hash_seed: 22, mode: hash_seed, fail_closed: false}",
    ),
    case("equalizing", "probabilistic_sampler", BOTH, "{sampling_percentage: 40, mode: equalizing}"),
    case(
        "equalizing_open",
        "probabilistic_sampler",
        BOTH,
        "{sampling_percentage: 1.7, mode: equalizing, fail_closed: false, sampling_precision: 2}",
    ),
    case("proportional", "probabilistic_sampler", BOTH, "{sampling_percentage: 33.3, mode: proportional}"),
    case(
        "proportional_open",
        "probabilistic_sampler",
        BOTH,
        "{sampling_percentage: 75, mode: proportional, fail_closed: false, sampling_precision: 14, sampling_priority: priority}",
    ),
    case("all", "probabilistic_sampler", BOTH, "{sampling_percentage: 100}"),
    case("none", "probabilistic_sampler", BOTH, "{sampling_percentage: 0, sampling_priority: priority}"),
    case(
        "record",
        "probabilistic_sampler",
        LOGS,
        "{sampling_percentage: 40, attribute_source: record, from_attribute: key, sampling_priority: priority}",
    ),
    case("fallback", "probabilistic_sampler", LOGS, "{sampling_percentage: 40, from_attribute: key}"),
];

#[test]
fn processors_make_the_same_of_the_same_telemetry() {
    let sink = Sink::start();
    let pair = Pair::start(|agent, _| {
        let port = sink.port;
        let exporter = |c: &Case| {
            let name = c.name;
            format!(
                "  otlp_http/{name}: {{endpoint: \"http://127.0.0.1:{port}/{agent}-{name}\", compression: none, sending_queue: {{enabled: false}}}}\n"
            )
        };
        let processor = |c: &Case| format!("  {}/{}: {}\n", c.kind, c.name, c.body);
        let pipeline = |c: &Case| -> String {
            let Case { name, kind, signals, .. } = c;
            let one = |s: &Signal| {
                format!(
                    "    {s}/{name}: {{receivers: [otlp], processors: [{kind}/{name}], exporters: [otlp_http/{name}]}}\n"
                )
            };
            signals.iter().map(one).collect()
        };
        let exporters: String = CASES.iter().map(exporter).collect();
        let processors: String = CASES.iter().map(processor).collect();
        (format!("{exporters}processors:\n{processors}"), CASES.iter().map(pipeline).collect())
    });
    for signal in Signal::ALL {
        let requests: &[u64] = if signal == Signal::Profiles { &[0] } else { &[0, 1, 2, 3, 12, 13] };
        requests.iter().for_each(|n| pair.send(&request(signal, *n)));
    }
    pair.send(&sampled(Signal::Traces));
    pair.send(&sampled(Signal::Logs));
    let of = |agent: &str, case: &Case| {
        let all = sink.of(&format!("{agent}-{}", case.name), |r| content(&ordered(&r.payload)));
        let mut all: Vec<String> = all.into_iter().flatten().collect();
        all.sort();
        all
    };
    for case in CASES {
        let wanted = of("collector", case);
        assert!(!wanted.is_empty() || case.name == "none", "{}: the Collector sent nothing", case.name);
        same(&of("weir", case), &wanted, case.name);
    }
}
