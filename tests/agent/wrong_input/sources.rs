//! Mistakes in what a configuration is made of: variables, flags, includes, huge and endless texts.

use std::fs::File;

use crate::oracle::{BASE, Call, Program};

/// What `validate` says of a configuration laid over a good one.
fn said(change: impl FnOnce(&mut Call)) -> String {
    let mut call = Call { configs: vec![BASE.to_owned()], ..Call::default() };
    change(&mut call);
    let (accepted, printed, said) = call.run(&Program::weir(), &["validate"]);
    assert!(!accepted && printed.is_empty(), "{said}");
    said
}

fn holds(said: &str, all: &[&str]) {
    for words in all {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
}

#[test]
fn a_wrong_value_of_a_variable_is_shown_with_the_variable_and_where_it_is_used() {
    let said = said(|call| {
        call.configs.push("processors:\n  batch:\n    timeout: ${env:PAUSE}\n".to_owned());
        call.env.insert("PAUSE".to_owned(), "soon".to_owned());
    });
    holds(
        &said,
        &["1.yaml:3:14", "${env:PAUSE}", "^^^", "time: invalid duration", "environment variable PAUSE"],
    );
}

#[test]
fn a_mistake_in_an_included_file_is_shown_there_and_where_it_is_included() {
    let said = said(|call| {
        call.configs.push("processors:\n  batch: ${file:part.yaml}\n".to_owned());
        call.files.insert("part.yaml".to_owned(), "# settings\nsend_batch_sise: 5\n".to_owned());
    });
    holds(&said, &["part.yaml:2:1", "did you mean `send_batch_size`?", "included at 1.yaml:2:10"]);
}

#[test]
fn a_mistake_in_a_flag_is_shown_in_the_flag() {
    let said = said(|call| call.args.push("--set=processors.batch.timeout=soon".to_owned()));
    holds(&said, &["--set:1:26", "processors.batch.timeout=soon", "processors::batch::timeout"]);
}

#[test]
fn a_later_configuration_that_breaks_an_earlier_one_is_the_one_that_is_shown() {
    let said = said(|call| {
        call.configs.push("exporters: {debug: {verbosity: basic}}".to_owned());
        call.configs.push("exporters: {debug: {verbosity: loud}}".to_owned());
    });
    holds(&said, &["2.yaml:1:", "verbosity", "Detailed"]);
    assert!(!said.contains("1.yaml"), "{said}");
}

#[test]
fn files_that_include_each_other_are_refused_at_once() {
    let said = said(|call| {
        call.configs.push("processors: {batch: \"${file:a.yaml}\"}".to_owned());
        call.files.insert("a.yaml".to_owned(), "timeout: ${file:b.yaml}\n".to_owned());
        call.files.insert("b.yaml".to_owned(), "x: ${file:a.yaml}\n".to_owned());
    });
    holds(&said, &["leads back to itself", ".yaml:1:"]);
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{below}]\n");
    }
    holds(&said(|call| call.configs = vec![bomb]), &["0.yaml:", "excessive aliasing"]);
}

#[test]
fn nesting_over_64_levels_is_refused() {
    let deep = format!("a: {}{}\n", "[".repeat(80), "]".repeat(80));
    holds(&said(|call| call.configs = vec![deep]), &["nested deeper than 64 levels", "0.yaml:1:"]);
}

#[test]
fn a_file_of_a_hundred_megabytes_is_refused_without_being_read() {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let path = dir.path().join("huge.yaml");
    File::create(&path).and_then(|file| file.set_len(100 << 20)).expect("a file of holes is made");
    let said = said(|call| call.args.push(format!("--config={}", path.display())));
    holds(&said, &["huge.yaml", "over the limit of 16 MiB"]);
}

#[test]
fn a_secret_is_never_printed() {
    let secret = "hunter2hunter2";
    for config in [
        format!("exporters: {{otlp_grpc: {{headers: {{authorization: [{secret}]}}}}}}"),
        format!("exporters: {{otlp_grpc: {{headers: {{authorization: {secret}}}, endpont: x}}}}"),
        format!(
            "extensions: {{basicauth: {{client_auth: {{username: a, password: {secret}, passwrd: b}}}}}}"
        ),
        format!("extensions: {{bearertokenauth: {{token: {{a: {secret}}}}}}}"),
        format!("extensions: {{bearertokenauth: {{tokn: {secret}}}}}"),
        format!("extensions: {{basicauth: {{client_auth: {{username: a, pasword: {secret}}}}}}}"),
        format!("exporters: {{otlp_http: {{endpoint: \"http://u:{secret}@h/p?k={secret}\", timeuot: 3s}}}}"),
        format!("exporters: {{otlp_http: {{endpoint: \"ht!tp://u:{secret}@h/p?k={secret}\"}}}}"),
        format!("exporters: {{otlp_http: {{endpoint: \"http://h\", proxy_url: \"x://u:{secret}@h\"}}}}"),
        format!("exporters: {{otlp_grpc: {{endpoint: \"u:{secret}@h\", headers: \"{secret}\"}}}}"),
        format!("exporters:\n  otlp_http:\n    headers:\n      x-key: \"{secret}\n"),
        format!("exporters: {{otlp_grpc: {{headrs: {{x: {secret}}}, timeout: '${{T:-{secret}}}'}}}}"),
        secret.to_owned(),
    ] {
        let text = said(|call| call.configs.push(config.clone()));
        assert!(!text.contains(secret), "{config}\n{text}");
        let json = said(|call| {
            call.configs.push(config.clone());
            call.args.push("--error-format=json".to_owned());
        });
        assert!(!json.contains(secret), "{config}\n{json}");
    }
}

#[test]
fn what_went_away_is_told_with_what_to_write_instead() {
    for (config, words) in [
        ("exporters: {logging: }", "write `debug`"),
        ("exporters: {jaeger: {endpoint: \"a:1\"}}", "write `otlp_grpc`"),
        ("service: {telemetry: {metrics: {address: \"localhost:8888\"}}}", "readers: [{pull:"),
        ("exporters: {otlp_grpc: {sending_queue: {blocking: true}}}", "write `block_on_overflow`"),
        ("exporters: {otlp_grpc: {sending_queue: {batch: {min_size_items: 1}}}}", "write `min_size`"),
        ("exporters: {otlp_grpc: {batcher: {}}}", "write `sending_queue::batch`"),
        ("exporters: {debug: {loglevel: info}}", "write `verbosity`"),
        (
            "processors: {memory_limiter: {check_interval: 1s, limit_mib: 5, ballast_size_mib: 5}}",
            "memory ballast",
        ),
        ("extensions: {memory_ballast: {size_mib: 5}}", "memory ballast"),
        ("processors: {spanmetrics: }", "connector"),
    ] {
        holds(&said(|call| call.configs.push(config.to_owned())), &["1.yaml:1:", words]);
    }
}

#[test]
fn a_pattern_that_would_take_much_memory_is_shown_with_its_place() {
    for (processor, place) in [
        (
            "attributes:\n    actions:\n    - {key: a, action: extract, pattern: '(?P<b>(\\w{500}){500})'}",
            "1.yaml:4:",
        ),
        (
            "attributes:\n    actions: [{key: a, action: delete}]\n    include:\n      match_type: regexp\n      \
             services: ['(\\w{500}){500}']",
            "1.yaml:",
        ),
        ("span:\n    name:\n      to_attributes: {rules: ['(?P<b>(\\w{500}){500})']}", "1.yaml:"),
    ] {
        let said = said(|call| call.configs.push(format!("processors:\n  {processor}\n")));
        holds(&said, &[place, "compiled it would take more than 10 MiB"]);
    }
}

#[test]
fn options_that_contradict_each_other_are_shown_with_their_place() {
    let queue = |options: &str| format!("exporters:\n  otlp_grpc:\n    sending_queue: {{{options}}}\n");
    let used = "service: {pipelines: {traces: {exporters: [otlp_grpc]}}}";
    for (options, words) in [
        ("storage: disk, wait_for_result: true", "`wait_for_result` is not supported"),
        ("storage: disk", "the extension \"disk\" is not configured"),
        (
            "sizer: items, queue_size: 10, batch: {min_size: 20}",
            "`min_size` must be less than or equal to `queue_size`",
        ),
        (
            "sizer: items, queue_size: 10, batch: {min_size: 5, max_size: 20}",
            "`max_size` (20) must be less than or equal to `queue_size` (10)",
        ),
        ("num_consumers: 1000000000", "must be at most 65535"),
    ] {
        let said = said(|call| call.configs.extend([queue(options), used.to_owned()]));
        holds(&said, &["1.yaml:3:", "exporters::otlp_grpc", words]);
    }
    let no_retry = "exporters: {otlp_grpc: {retry_on_failure: {enabled: false}}}";
    let health = "extensions: {health_check: }\nservice: {extensions: [health_check]}";
    for (options, beside, words) in [
        ("wait_for_result: true", no_retry, "`wait_for_result` without `retry_on_failure`"),
        ("storage: health_check", health, "the extension \"health_check\" is not a storage"),
    ] {
        let configs = [queue(options), used.to_owned(), beside.to_owned()];
        let said = said(|call| call.configs.extend(configs));
        holds(&said, &["1.yaml:3:", "exporters::otlp_grpc", words]);
    }
    let limiter = "processors:\n  memory_limiter:\n    check_interval: 1s\n    limit_mib: 4000000000\n";
    let said = said(|call| call.configs.push(limiter.to_owned()));
    holds(&said, &["1.yaml:4:", "(4000000000 MiB) is above the memory that this process may use ("]);
}
