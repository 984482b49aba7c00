use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::task::{self, Waker};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use weir_component::{Blocking, Telemetry};
use weir_pdata::json;
use weir_pdata::otlp::ProfilesRequest;
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, ArrayValue};
use weir_pdata::otlp::profiles::v1development as proto;
use weir_testkit::{Simulation, Threads};

use super::*;

fn path(name: &str) -> weir_config::Path {
    weir_config::Path::component("exporters", name)
}

fn build(simulation: &Simulation, body: &str) -> Result<ExporterParts, String> {
    let node = weir_config::parse_body(body).expect("YAML");
    let host = weir_testkit::host(simulation);
    let build =
        Build { id: "debug", node: &node, path: path("debug"), host: &host, clock: simulation.clock() };
    (FACTORY.create)(&build, Signal::Logs).map_err(|e| e.to_string())
}

fn refused(body: &str) -> String {
    build(&Simulation::new(1), body).err().expect("refused")
}

fn config(body: &str) -> Config {
    weir_config::load(&weir_config::parse_body(body).expect("YAML"), &path("debug")).expect("valid")
}

/// A file of this test, empty.
fn file(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("weir-exporter-debug-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(name);
    std::fs::write(&file, "").expect("writable");
    file
}

fn debug(simulation: &Simulation, body: &str) -> Arc<Debug> {
    Arc::new(Debug::new("debug", config(body), simulation.clock()))
}

fn export(simulation: &Simulation, debug: &Arc<Debug>, payloads: Vec<Payload>) {
    let (exporter, host) = (Arc::clone(debug), weir_testkit::host(simulation));
    let work = async move {
        exporter.start(&host).await.expect("started");
        for payload in payloads {
            assert_eq!(
                exporter.export(&payload, &Context::default()).await.expect("taken"),
                Accepted::default()
            );
        }
        exporter.stop().await;
    };
    simulation.run(work).expect("ended");
    settle(debug);
}

/// Waits until all is written, however long the disk takes.
fn settle(debug: &Debug) {
    let (_, sinks) = debug.started.get().expect("started");
    while !sinks.flush() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is printed of these payloads without the agent's log.
fn printed(name: &str, options: &str, payloads: Vec<Payload>) -> String {
    let (simulation, file) = (Simulation::new(1), file(name));
    let body = format!("{{use_internal_logger: false, output_paths: ['{}'], {options}}}", file.display());
    export(&simulation, &debug(&simulation, &body), payloads);
    std::fs::read_to_string(file).expect("readable")
}

fn testdata(name: &str) -> String {
    std::fs::read_to_string(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).expect("test data")
}

fn payload(signal: Signal, json: &str) -> Payload {
    let request = json::to_protobuf(signal, json.as_bytes()).expect("OTLP/JSON");
    Payload::from_request(signal, request).expect("well-formed")
}

fn log(body: &str) -> Payload {
    let record = format!(r#"{{"body": {{"stringValue": "{body}"}}}}"#);
    payload(
        Signal::Logs,
        &format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{record}]}}]}}]}}"#),
    )
}

#[test]
fn every_signal_is_printed_as_expected_at_both_verbosities() {
    for signal in Signal::ALL {
        for verbosity in ["normal", "detailed"] {
            let input = payload(signal, &testdata(&format!("{signal}.json")));
            let name = format!("{signal}.{verbosity}.txt");
            let text = printed(&name, &format!("verbosity: {verbosity}"), vec![input]);
            let expected = testdata(&name);
            for (n, (line, wanted)) in text.lines().zip(expected.lines()).enumerate() {
                assert_eq!(line, wanted, "line {} of {name}", n + 1);
            }
            assert_eq!(text, expected, "{name}");
        }
    }
}

#[test]
fn basic_prints_the_counts_alone() {
    let payloads = Signal::ALL.map(|s| payload(s, &testdata(&format!("{s}.json")))).to_vec();
    let expected = "Traces\t{\"resource spans\": 2, \"spans\": 8}\n\
                    Metrics\t{\"resource metrics\": 1, \"metrics\": 8, \"data points\": 22}\n\
                    Logs\t{\"resource logs\": 2, \"log records\": 6}\n\
                    Profiles\t{\"resource profiles\": 1, \"sample records\": 2}\n";
    assert_eq!(printed("basic", "verbosity: basic", payloads), expected);
}

#[test]
fn merged_payloads_are_printed_as_one() {
    let mut merged = log("a");
    merged.append(log("b")).expect("same signal");
    let expected = "Logs\t{\"resource logs\": 2, \"log records\": 2}\n\
                    ResourceLog #0\nScopeLog #0\na \nResourceLog #1\nScopeLog #0\nb \n\n";
    assert_eq!(printed("merged", "verbosity: normal", vec![merged]), expected);
}

#[test]
fn nothing_in_a_payload_is_still_a_line_and_an_empty_dump() {
    let expected = "Traces\t{\"resource spans\": 0, \"spans\": 0}\n\n";
    assert_eq!(printed("empty", "verbosity: detailed", vec![Payload::empty(Signal::Traces)]), expected);
}

#[test]
fn escape_sequences_of_telemetry_do_not_reach_the_terminal() {
    let text = printed("escapes", "verbosity: normal", vec![log("\\u001b[2Jgone\\u0007")]);
    assert!(text.contains("\u{fffd}[2Jgone\u{fffd} \n"), "{text}");
}

#[test]
fn sampling_counts_equal_messages_of_a_second() {
    let options = "verbosity: normal, sampling_initial: 1, sampling_thereafter: 2";
    let text = printed("sampling", options, vec![log("same"), log("same"), log("same"), log("other")]);
    let counts = "Logs\t{\"resource logs\": 1, \"log records\": 1}\n";
    let dump = |body: &str| format!("ResourceLog #0\nScopeLog #0\n{body} \n\n");
    // Of each kind of message the 1st, the 3rd and so on: the dumps of `other` are another kind.
    assert_eq!(text, [counts, &dump("same"), counts, &dump("same"), &dump("other")].concat());
}

#[test]
fn the_next_second_is_sampled_anew() {
    let (simulation, file) = (Simulation::new(1), file("seconds"));
    let options = "use_internal_logger: false, sampling_initial: 1, sampling_thereafter: 0";
    let body = format!("{{{options}, output_paths: ['{}']}}", file.display());
    let debug = debug(&simulation, &body);
    for _ in 0..3 {
        export(&simulation, &debug, vec![log("a"), log("b")]);
        let clock = simulation.clock();
        simulation.run(async move { clock.sleep(Duration::from_secs(1)).await }).expect("slept");
    }
    assert_eq!(std::fs::read_to_string(file).expect("readable").lines().count(), 3);
}

/// Entries of the agent's log at that level, and what went to the stream beside it.
fn logged(name: &str, level: LevelFilter, options: &str, payloads: Vec<Payload>) -> (Vec<String>, String) {
    let (simulation, file) = (Simulation::new(1), file(name));
    let debug = debug(&simulation, options);
    let sinks = Sinks::open(&[file.display().to_string()]).expect("opened");
    debug.start_with(&weir_testkit::host(&simulation), sinks);
    let exporter = Arc::clone(&debug);
    let work = async move {
        for payload in payloads {
            exporter.export(&payload, &Context::default()).await.expect("taken");
        }
    };
    let entries = weir_testkit::logged(level, || simulation.run(work).expect("ended"));
    settle(&debug);
    (entries, std::fs::read_to_string(file).expect("readable"))
}

#[test]
fn the_counts_are_entries_of_the_log_with_the_collectors_fields() {
    let payloads = Signal::ALL.map(|s| payload(s, &testdata(&format!("{s}.json")))).to_vec();
    let (entries, dump) = logged("entries", LevelFilter::TRACE, "", payloads);
    let expected = [
        ("Traces", "traces", "resource spans=2;spans=8;"),
        ("Metrics", "metrics", "resource metrics=1;metrics=8;data points=22;"),
        ("Logs", "logs", "resource logs=2;log records=6;"),
        ("Profiles", "profiles", "resource profiles=1;sample records=2;"),
    ]
    .map(|(message, signal, counts)| {
        format!(
            "INFO message={message};otelcol.component.id=\"debug\";otelcol.component.kind=\"exporter\";\
             otelcol.signal=\"{signal}\";{counts}"
        )
    });
    assert_eq!((entries, dump), (expected.to_vec(), String::new()));
}

#[test]
fn the_dump_goes_beside_the_log_unless_its_level_is_above_info() {
    let (entries, dump) = logged("beside", LevelFilter::TRACE, "verbosity: normal", vec![log("a")]);
    assert_eq!((entries.len(), dump.as_str()), (1, "ResourceLog #0\nScopeLog #0\na \n"));
    let (entries, dump) = logged("silent", LevelFilter::WARN, "verbosity: normal", vec![log("a")]);
    assert_eq!((entries.len(), dump.as_str()), (0, ""));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_does_not_trouble_the_senders() {
    let simulation = Simulation::new(1);
    let options = "{use_internal_logger: false, output_paths: [/dev/full]}";
    export(&simulation, &debug(&simulation, options), vec![log("a"), log("b")]);
}

#[test]
fn a_named_pipe_that_nobody_reads_holds_up_neither_the_start_nor_the_senders() {
    let pipe = file("pipe");
    std::fs::remove_file(&pipe).expect("removed");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let options = "verbosity: detailed, sampling_initial: 100, use_internal_logger: false";
    let body = format!("{{{options}, output_paths: ['{}']}}", pipe.display());
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || {
        let simulation = Simulation::new(1);
        let (debug, host) = (debug(&simulation, &body), weir_testkit::host(&simulation));
        let exporter = Arc::clone(&debug);
        let work = async move {
            exporter.start(&host).await.expect("started");
            // Several times what the pipe and the queue in front of it hold.
            let large = log(&"x".repeat(1 << 20));
            for _ in 0..8 {
                exporter.export(&large, &Context::default()).await.expect("taken");
            }
            exporter.stop().await;
        };
        simulation.run(work).expect("ended");
        tell.send(debug).expect("waited for");
    });
    let debug = told.recv_timeout(Duration::from_secs(60)).expect("it starts and takes all");
    let mut line = String::new();
    BufReader::new(std::fs::File::open(&pipe).expect("opened")).read_line(&mut line).expect("readable");
    assert_eq!(line, "Logs\t{\"resource logs\": 1, \"log records\": 1}\n");
    drop(debug);
}

#[test]
fn an_output_that_takes_nothing_keeps_few_threads_whoever_waits_or_leaves() {
    let (simulation, threads) = (Simulation::new(1), Arc::<Threads>::default());
    let host = Host::new("", 0, Telemetry::default(), Arc::clone(&threads) as Arc<dyn Blocking>);
    let options = "{use_internal_logger: false, sampling_initial: 1000, output_paths: [/dev/null]}";
    let debug = debug(&simulation, options);
    let exporter = Arc::clone(&debug);
    simulation.run(async move { exporter.start(&host).await }).expect("ended").expect("started");
    threads.hang();
    let (payload, context) = (log("a"), Context::default());
    let mut senders: Vec<_> = (0..100).map(|_| debug.export(&payload, &context)).collect();
    for _ in 0..2 {
        for sender in &mut senders {
            assert!(sender.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
        }
        let busy = threads.busy();
        assert!((1..10).contains(&busy), "{busy}");
        // Half of them leave, those whose printing hangs among them.
        senders.drain(..50);
    }
}

#[test]
fn an_index_into_the_dictionary_cannot_make_a_text_without_end() {
    let name = "x".repeat(10_000);
    let number = AnyValue { value: Some(Value::DoubleValue(f64::NAN)) };
    let list = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![number; 10_000] })) };
    let attribute =
        |value| proto::KeyValueAndUnit { key_strindex: 1, value: Some(value), ..Default::default() };
    let dictionary = proto::ProfilesDictionary {
        string_table: vec![String::new(), name],
        attribute_table: vec![attribute(list), attribute(AnyValue::default())],
        ..Default::default()
    };
    let samples = vec![proto::Sample { attribute_indices: vec![0, 1, -1], ..Default::default() }; 20_000];
    let profile = proto::Profile { samples, ..Default::default() };
    let scope = proto::ScopeProfiles { profiles: vec![profile], ..Default::default() };
    let resource = proto::ResourceProfiles { scope_profiles: vec![scope], ..Default::default() };
    let request = ProfilesRequest { resource_profiles: vec![resource], dictionary: Some(dictionary) };
    let mut text = Text::with_limit(1 << 20);
    detailed::profiles(&mut text, &request);
    let text = text.finish();
    assert!(text.contains(": Slice()\n"), "a list with a NaN has no JSON");
    assert!(text.contains("-> [Missing Dictionary AttributeTable Item #-1]\n"));
    assert!(text.ends_with("\n... cut after 1048576 bytes\n") && text.len() < (1 << 20) + 40);
}

#[test]
fn verbosity_is_read_in_any_case() {
    for (word, verbosity) in
        [("basic", Verbosity::Basic), ("Normal", Verbosity::Normal), ("DETAILED", Verbosity::Detailed)]
    {
        assert_eq!(config(&format!("verbosity: {word}")).verbosity, verbosity);
    }
    assert!(refused("verbosity: NONE").contains("verbosity level \"None\" is not supported"));
    assert!(refused("verbosity: loud").contains("unknown metrics level \"loud\""));
}

#[test]
fn output_paths_need_their_own_output() {
    let both = "output_paths is not supported when use_internal_logger is true";
    assert!(refused("output_paths: [stderr]").contains(both));
    let empty = "output_paths must not be empty when use_internal_logger is false";
    assert!(refused("{use_internal_logger: false, output_paths: []}").contains(empty));
    let scheme = refused("{use_internal_logger: false, output_paths: [stdout, 's3://bucket/x']}");
    assert!(scheme.contains("no sink found for scheme \"s3\""), "{scheme}");
    assert_eq!(config("use_internal_logger: false").paths(), ["stdout"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let simulation = Simulation::new(1);
    let options = "{use_internal_logger: false, output_paths: [/dev/null/x]}";
    let exporter = build(&simulation, options).expect("built").exporter;
    let host = weir_testkit::host(&simulation);
    let failure =
        simulation.run(async move { exporter.start(&host).await }).expect("ended").expect_err("refused");
    assert!(failure.to_string().contains("output_paths: cannot open \"/dev/null/x\""), "{failure}");
}

#[test]
fn the_defaults_are_those_of_the_collector() {
    let expected =
        "{verbosity: basic, sampling_initial: 2, sampling_thereafter: 1, use_internal_logger: true}";
    assert_eq!(config("{}"), config(expected));
    let delivery = |body| build(&Simulation::new(1), body).expect("built").delivery;
    let none = DeliverySettings { timeout: Duration::ZERO, retry: None, queue: None };
    assert_eq!(delivery("{}"), none);
    assert_eq!(delivery("sending_queue: {enabled: false}"), none);
    let queue = Some(weir_component::QueueSettings::default());
    assert_eq!(delivery("sending_queue:"), DeliverySettings { queue, ..none });
    assert!(refused("sending_queue: {num_consumers: 0}").contains("`num_consumers` must be positive"));
}

#[test]
fn the_example_in_the_readme_is_valid() {
    let readme = include_str!("../README.md");
    let example =
        readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let root = weir_config::parse_body(example).expect("YAML");
    let mut verbosities = Vec::new();
    for id in ["debug", "debug/items", "debug/file"] {
        let body = root.get(&["exporters", id]).expect("an exporter");
        verbosities.push(weir_config::load::<Config>(body, &path(id)).expect("valid").verbosity);
    }
    assert_eq!(verbosities, [Verbosity::Basic, Verbosity::Normal, Verbosity::Detailed]);
}
