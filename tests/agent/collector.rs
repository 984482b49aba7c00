//! A Go Collector before and behind Weir: what is sent in comes out, over every protocol, encoding and compression that
//! both have.

#![expect(clippy::unwrap_used, clippy::panic, reason = "functions that tests share")]

mod beside;
mod protocol;
mod proxies;
pub(crate) mod sink;
pub(crate) mod telemetry;

use std::process::Command;

use weir_pdata::Signal;

use crate::backends::servers::{Fleet, free_ports, install, post, weir};
use sink::Sink;
use telemetry::{content, request};

/// One way to send.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    exporter: &'static str,
    protocol: &'static str,
    options: &'static str,
}

const WAYS: [Way; 7] = [
    Way { name: "grpc-none", exporter: "otlp_grpc", protocol: "grpc", options: "compression: none" },
    Way { name: "grpc-gzip", exporter: "otlp_grpc", protocol: "grpc", options: "compression: gzip" },
    Way { name: "grpc-zstd", exporter: "otlp_grpc", protocol: "grpc", options: "compression: zstd" },
    Way { name: "http-none", exporter: "otlp_http", protocol: "http", options: "compression: none" },
    Way { name: "http-gzip", exporter: "otlp_http", protocol: "http", options: "compression: gzip" },
    Way { name: "http-zstd", exporter: "otlp_http", protocol: "http", options: "compression: zstd" },
    Way {
        name: "http-json",
        exporter: "otlp_http",
        protocol: "http",
        options: "compression: gzip, encoding: json",
    },
];

/// Requests of each signal; one of profiles, because what a request of profiles means does not survive being merged
/// as text.
const REQUESTS: u64 = 20;

#[test]
fn what_a_collector_before_weir_sends_comes_out_of_weir() {
    let (sink, mut fleet) = (Sink::start(), Fleet::new());
    let ports: [u16; WAYS.len()] = free_ports();
    let [entry, health, collector_health] = free_ports();
    start_collector(
        &mut fleet,
        &entries(&[("otlp", "http", entry)]),
        &senders(&ports),
        &one_pipeline(),
        collector_health,
    );
    let receivers: Vec<_> =
        WAYS.iter().zip(ports).map(|(w, p)| (format!("otlp/{}", w.name), w.protocol, p)).collect();
    let receivers: Vec<_> = receivers.iter().map(|(id, protocol, p)| (id.as_str(), *protocol, *p)).collect();
    let exporters = to_sink(&sink) + "processors: {batch: {timeout: 100ms}}\n";
    start_weir(&mut fleet, &entries(&receivers), &exporters, &pipeline_for_each_way("[batch]"), health);
    all_arrives(&mut fleet, &sink, entry);
}

#[test]
fn what_weir_sends_to_a_collector_comes_out_of_the_collector() {
    let (sink, mut fleet) = (Sink::start(), Fleet::new());
    let ports: [u16; WAYS.len()] = free_ports();
    let [entry, health, collector_health] = free_ports();
    let receivers: Vec<_> =
        WAYS.iter().zip(ports).map(|(w, p)| (format!("otlp/{}", w.name), w.protocol, p)).collect();
    let receivers: Vec<_> = receivers.iter().map(|(id, protocol, p)| (id.as_str(), *protocol, *p)).collect();
    start_collector(
        &mut fleet,
        &entries(&receivers),
        &to_sink(&sink),
        &pipeline_for_each_way("[]"),
        collector_health,
    );
    start_weir(&mut fleet, &entries(&[("otlp", "http", entry)]), &senders(&ports), &one_pipeline(), health);
    all_arrives(&mut fleet, &sink, entry);
}

/// Sends everything to `entry` and compares it with what came to the sink by each way.
fn all_arrives(fleet: &mut Fleet, sink: &Sink, entry: u16) {
    for signal in Signal::ALL {
        let sent: Vec<_> =
            (0..if signal == Signal::Profiles { 1 } else { REQUESTS }).map(|n| request(signal, n)).collect();
        let mut expected: Vec<String> = sent.iter().flat_map(content).collect();
        expected.sort();
        for payload in &sent {
            let answer = post(entry, signal.path(), "application/x-protobuf", &payload.to_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{signal}: {}", answer.text());
        }
        for way in WAYS {
            let arrived = || {
                let of_signal =
                    |all: Vec<Option<Vec<String>>>| all.into_iter().flatten().flatten().collect::<Vec<_>>();
                of_signal(sink.of(way.name, |r| (r.payload.signal() == signal).then(|| content(&r.payload))))
            };
            let what = format!("{} items of {signal} by {}", expected.len(), way.name);
            let mut found = fleet.wait(&what, 30, || Some(arrived()).filter(|a| a.len() >= expected.len()));
            found.sort();
            same(&found, &expected, &format!("{signal} by {}", way.name));
        }
    }
    for way in WAYS {
        let compressed = if way.options.contains("gzip") {
            "gzip"
        } else if way.options.contains("zstd") {
            "zstd"
        } else {
            ""
        };
        let encodings = sink.of(way.name, |r| r.encoding.clone());
        assert!(encodings.iter().all(|e| e == compressed), "{}: {encodings:?}", way.name);
    }
}

/// Fails with the first line that differs, not with megabytes.
fn same(found: &[String], expected: &[String], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        if let Some((i, (f, e))) = found.lines().zip(expected.lines()).enumerate().find(|(_, (f, e))| f != e)
        {
            panic!("{what}: line {i} is\n{f}\nand was sent as\n{e}\nin\n{found}");
        }
        assert_eq!(found.len(), expected.len(), "{what}: {found}\n{expected}");
    }
}

fn start_collector(fleet: &mut Fleet, receivers: &str, exporters: &str, pipelines: &str, health: u16) {
    let [bin] = install(["otelcol"]);
    let telemetry = "  telemetry: {metrics: {level: none}}\n";
    let config = fleet.write("collector.yaml", &config(receivers, exporters, pipelines, telemetry, health));
    let mut command = Command::new(bin.join("otelcol"));
    command.arg("--config").arg(config).arg("--feature-gates=+service.profilesSupport");
    fleet.start("collector", &mut command);
    fleet.wait_page(health, "/");
}

fn start_weir(fleet: &mut Fleet, receivers: &str, exporters: &str, pipelines: &str, health: u16) {
    let telemetry = "  telemetry: {metrics: {level: none}}\n";
    let path = fleet.write("weir.yaml", &config(receivers, exporters, pipelines, telemetry, health));
    fleet.start("weir", &mut weir(&path));
    fleet.wait_page(health, "/");
}

/// `exporters` may go on with other sections.
fn config(receivers: &str, exporters: &str, pipelines: &str, telemetry: &str, health: u16) -> String {
    format!(
        "receivers:\n{receivers}exporters:\n{exporters}\
         extensions: {{health_check: {{endpoint: 127.0.0.1:{health}}}}}\n\
         service:\n  extensions: [health_check]\n{telemetry}  pipelines:\n{pipelines}"
    )
}

/// Receivers, each with one protocol.
fn entries(all: &[(&str, &str, u16)]) -> String {
    all.iter()
        .map(|(id, protocol, port)| {
            format!("  {id}: {{protocols: {{{protocol}: {{endpoint: 127.0.0.1:{port}}}}}}}\n")
        })
        .collect()
}

/// An exporter for each way, to that way's port.
fn senders(ports: &[u16]) -> String {
    let all = WAYS.iter().zip(ports).map(|(way, port)| {
        let Way { name, exporter, protocol, options } = way;
        let scheme = if *protocol == "http" { "http://" } else { "" };
        format!("  {exporter}/{name}: {{endpoint: \"{scheme}127.0.0.1:{port}\", tls: {{insecure: true}}, {options}}}\n")
    });
    all.collect()
}

/// An exporter for each way to the sink, which tells them apart by path; compressed likewise.
fn to_sink(sink: &Sink) -> String {
    let all = WAYS.map(|Way { name, options, .. }| {
        let compression = options.split(',').next().unwrap();
        format!(
            "  otlp_http/{name}: {{endpoint: \"http://127.0.0.1:{}/{name}\", {compression}}}\n",
            sink.port
        )
    });
    all.concat()
}

/// From one receiver to all ways.
fn one_pipeline() -> String {
    let exporters = WAYS.map(|w| format!("{}/{}", w.exporter, w.name)).join(", ");
    Signal::ALL
        .map(|s| format!("    {s}: {{receivers: [otlp], processors: [], exporters: [{exporters}]}}\n"))
        .concat()
}

/// From each way's receiver to the sink.
fn pipeline_for_each_way(processors: &str) -> String {
    let all = WAYS.iter().flat_map(|Way { name, .. }| {
        Signal::ALL.map(|s| format!("    {s}/{name}: {{receivers: [otlp/{name}], processors: {processors}, exporters: [otlp_http/{name}]}}\n"))
    });
    all.collect()
}
