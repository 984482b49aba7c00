//! Mistakes in the configuration: file, line and column, the word, and what was probably meant.

use crate::support::{Agent, validate};

/// A configuration that is right but for these components and pipelines.
fn with(components: &str, pipelines: &str) -> String {
    format!("{components}\nexporters:\n  nop:\nservice:\n  pipelines:\n    {pipelines}\n")
}

const METRICS: &str = "metrics: {receivers: [socket_diag], exporters: [nop]}";

/// The configuration is refused, and the text says all of `says`.
fn refused(yaml: &str, says: &[&str]) {
    let (code, text) = validate(yaml);
    assert_eq!(code, 1, "{yaml}\n{text}");
    for part in says {
        assert!(text.contains(part), "{part:?} is not said:\n{text}");
    }
}

#[test]
fn a_right_configuration_is_silent() {
    let (code, text) = validate(&with("receivers:\n  socket_diag: {processes: [{name: checkout}]}", METRICS));
    assert_eq!((code, text.as_str()), (0, ""));
}

#[test]
fn a_misspelt_key_is_shown_with_the_right_one() {
    refused(
        &with("receivers:\n  socket_diag:\n    proceses: [{name: checkout}]", METRICS),
        &["weir.yaml:3:5", "unknown field `proceses`", "did you mean `processes`?"],
    );
}

#[test]
fn a_misspelt_component_type_is_shown_with_the_right_one() {
    refused(
        &with(
            "receivers:\n  sockt_diag: {processes: [{name: checkout}]}",
            "metrics: {receivers: [sockt_diag], exporters: [nop]}",
        ),
        &["weir.yaml:2:3", "unknown receiver type `sockt_diag`", "did you mean `socket_diag`?"],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_the_right_type() {
    refused(
        &with(
            "receivers:\n  socket_diag:\n    processes: [{name: checkout}]\n    max_sockets: many",
            METRICS,
        ),
        &["weir.yaml:4:18", "receivers::socket_diag::max_sockets", "must be a whole number", "\"many\""],
    );
}

#[test]
fn a_wrong_duration_is_shown_with_how_one_is_written() {
    refused(
        &with(
            "receivers:\n  socket_diag:\n    collection_interval: 5 secs\n    processes: [{name: checkout}]",
            METRICS,
        ),
        &["weir.yaml:3:26", "collection_interval", "5 secs", "duration"],
    );
}

#[test]
fn a_reference_to_nothing_is_shown_with_what_is_there() {
    refused(
        &with(
            "receivers:\n  socket_diag: {processes: [{name: checkout}]}\nprocessors:\n  batch:",
            "metrics: {receivers: [socket_diag], processors: [bach], exporters: [nop]}",
        ),
        &["weir.yaml:9:", "processor \"bach\" which is not configured", "did you mean `batch`?"],
    );
}

#[test]
fn a_key_that_is_written_twice_is_shown_with_its_first_place() {
    refused(
        &with(
            "receivers:\n  socket_diag: {processes: [{name: a}]}\n  socket_diag: {processes: [{name: b}]}",
            METRICS,
        ),
        &["weir.yaml:3:3", "`socket_diag` is written twice", "first written here: weir.yaml:2:3"],
    );
}

#[test]
fn a_mistake_of_yaml_is_shown_with_its_place() {
    refused(
        &with("receivers:\n  socket_diag: {processes: [{name: checkout}]", METRICS),
        &["weir.yaml:", "not valid YAML", "did not find expected"],
    );
}

#[test]
fn a_value_out_of_range_is_shown_with_the_range() {
    refused(
        &with(
            "receivers:\n  socket_diag: {processes: [{name: checkout}]}\nprocessors:\n  leak_detection:\n    window: 10ms",
            "metrics: {receivers: [socket_diag], processors: [leak_detection], exporters: [nop]}",
        ),
        &["weir.yaml:5:", "window must be at least 1s"],
    );
}

#[test]
fn a_misspelt_signal_is_shown_with_the_right_one() {
    refused(
        &with(
            "receivers:\n  socket_diag: {processes: [{name: checkout}]}",
            "metric: {receivers: [socket_diag], exporters: [nop]}",
        ),
        &["weir.yaml:7:5", "unknown signal `metric`", "did you mean `metrics`?"],
    );
}

#[test]
fn a_receiver_in_a_pipeline_of_a_signal_that_it_has_not_is_named() {
    let (code, text) = validate(&with(
        "receivers:\n  socket_diag: {processes: [{name: checkout}]}",
        "traces: {receivers: [socket_diag], exporters: [nop]}",
    ));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("\"socket_diag\"") && text.contains("\"traces\"") && text.contains("weir.yaml:"),
        "{text}"
    );
}

#[test]
fn each_kind_of_mistake_has_file_line_and_column_and_the_word() {
    let whole = "receivers:\n  otlp:\n    protocols: {http: {endpoint: \"localhost:0\"}}\nprocessors:\n  batch:\n    \
                 timeout: 1s\nexporters:\n  otlp_http:\n    endpoint: http://localhost:1\n    compression: gzip\n\
                 service:\n  pipelines:\n    traces: {receivers: [otlp], processors: [batch], exporters: [otlp_http]}\n";
    assert_eq!(validate(whole), (0, String::new()));
    let mistakes = [
        ("key", "timeout: 1s", "timeuot: 1s", "weir.yaml:6:5", "timeuot"),
        ("component", "  batch:\n", "  bacth:\n", "weir.yaml:5:3", "bacth"),
        ("type", "compression: gzip", "compression: [gzip]", "weir.yaml:10:18", "compression"),
        ("duration", "timeout: 1s", "timeout: 1 sec", "weir.yaml:6:14", "1 sec"),
        ("reference", "processors: [batch]", "processors: [bath]", "weir.yaml:13:46", "bath"),
        ("duplicate", "    timeout: 1s\n", "    timeout: 1s\n    timeout: 2s\n", "weir.yaml:7:5", "timeout"),
        ("syntax", "protocols: {http", "protocols: }{http", "weir.yaml:3:", "not valid YAML"),
        ("value", "compression: gzip", "compression: zip", "weir.yaml:10:18", "zip"),
        ("signal", "traces: {", "trace: {", "weir.yaml:13:5", "trace"),
    ];
    for (kind, right, wrong, place, word) in mistakes {
        assert_eq!(whole.matches(right).count(), 1, "{kind}");
        let (code, text) = validate(&whole.replace(right, wrong));
        assert!(code == 1 && text.contains(place) && text.contains(word), "{kind}: {place} {word}\n{text}");
    }
}

#[test]
fn what_cannot_work_is_named_at_its_place_before_the_start() {
    let whole = |server: &str, client: &str| {
        format!(
            "receivers:\n  otlp:\n    protocols:\n      http:\n        endpoint: localhost:0\n        {server}\nexporters:\n  \
             otlp_grpc:\n    endpoint: localhost:1\n    {client}\nservice:\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [otlp_grpc]}}\n"
        )
    };
    let (server, client) = ("max_request_body_size: 1", "timeout: 1s");
    assert_eq!(validate(&whole(server, client)), (0, String::new()));
    let of_both = [
        ("middlewares: [{id: x}]", "middleware not found"),
        ("tls: {cert_pem: a, key_pem: b, tpm: {enabled: true}}", "trusted platform module"),
        ("tls: {cert_pem: a, key_pem: b, min_version: '1.0', max_version: '1.1'}", "TLS 1.0 and 1.1"),
        ("tls: {cert_pem: a, key_pem: b, cipher_suites: [FOO]}", "invalid TLS cipher suite: \"FOO\""),
        ("tls: {cert_pem: a, key_pem: b, curve_preferences: [P521]}", "none of [\"P521\"]"),
    ];
    let of_servers = [("transport: udp", "cannot listen by the transport \"udp\"")];
    let of_clients = [
        ("keepalive: {timeout: -1s}", "'timeout' must be non-negative"),
        ("sending_queue: {sizer: bytes, queue_size: 1000000000000000}", "above the memory"),
    ];
    for (wrong, says) in of_both.iter().chain(&of_servers) {
        let place = ["weir.yaml:6:", "receivers::otlp::protocols::http", says];
        refused(&whole(wrong, client), &place);
    }
    for (wrong, says) in of_both.iter().chain(&of_clients) {
        let place = ["weir.yaml:10:", "exporters::otlp_grpc", says];
        refused(&whole(server, wrong), &place);
    }
    let on_disk = "sending_queue: {sizer: bytes, queue_size: 1000000000000000, storage: file_storage}";
    let storage = "extensions: {file_storage: {directory: .}}\nservice:\n  extensions: [file_storage]\n";
    let (code, text) = validate(&whole(server, on_disk).replace("service:\n", storage));
    assert_eq!((code, text.as_str()), (0, ""), "what is on disk has no bound in memory");
}

#[test]
fn a_file_without_anything_is_named_without_a_place_in_it() {
    let (code, text) = validate("# nothing\n");
    assert!(code == 1 && text.contains("--> weir.yaml\n") && !text.contains(":0"), "{text}");
}

#[test]
fn a_refused_configuration_ends_the_agent_with_code_1() {
    let mut agent = Agent::spawn(&with("receivers:\n  sockt_diag:", METRICS), 0);
    assert_eq!(agent.wait_for_exit().code(), Some(1), "{}", agent.log());
    assert!(agent.log().contains("weir.yaml:2:3"), "{}", agent.log());
}

#[test]
fn several_mistakes_are_told_at_once() {
    refused(
        &with("receivers:\n  socket_diag:\n    proceses: []\nprocessors:\n  bach:", METRICS),
        &["weir.yaml:3:5", "weir.yaml:5:3", "did you mean `batch`?"],
    );
}
