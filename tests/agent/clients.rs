//! Real clients: the OpenTelemetry SDKs of four languages send all their signals over all their protocols to Weir, and
//! everything is found at its end.

#![expect(clippy::unwrap_used, reason = "functions that tests share")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use weir_pdata::{Payload, Signal};

use crate::backends::servers::{Fleet, free_ports, root, run, weir};
use crate::collector::sink::Sink;

/// What each client sends as each service: a span, a point of a counter and one of a histogram, a log record.
const SENT: [(Signal, usize); 3] = [(Signal::Traces, 1), (Signal::Metrics, 2), (Signal::Logs, 1)];

/// Whether the tools of a language are here. Where one is missing its test says so and checks nothing, except in CI, where
/// all have to be there: nothing of Weir needs them.
fn has(language: &str, tools: &[&str], packages: &str) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    let Some(missing) = missing else { return true };
    let message =
        format!("{missing} is missing, which the client of {language} needs: apt-get install {packages}");
    assert!(std::env::var_os("CI").is_none(), "{message}");
    // Past what `cargo test` captures of a test that passes.
    writeln!(std::io::stderr(), "skipped: {message}").expect("stderr takes a line");
    false
}

/// Runs the client of a language, which sends as one service for each protocol.
fn everything_arrives(language: &str, services: &[&str], client: impl FnOnce(&Path, &Path) -> Command) {
    let folder =
        PathBuf::from(run(Command::new(root().join("tests/clients/install.sh")).arg(language)).trim_end());
    let (sink, mut fleet) = (Sink::start(), Fleet::new());
    let [grpc, http, health] = free_ports();
    // Without a queue the client hears that it was accepted when the sink has it.
    let pipelines =
        SENT.map(|(signal, _)| format!("    {signal}: {{receivers: [otlp], exporters: [otlp_http]}}\n"));
    let config = fleet.write(
        "weir.yaml",
        &format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}, http: {{endpoint: 127.0.0.1:{http}}}}}}}}}\n\
             exporters: {{otlp_http: {{endpoint: 'http://127.0.0.1:{}/client', sending_queue: {{enabled: false}}}}}}\n\
             extensions: {{health_check: {{endpoint: 127.0.0.1:{health}}}}}\n\
             service:\n  extensions: [health_check]\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n{}",
            sink.port,
            pipelines.concat(),
        ),
    );
    fleet.start("weir", &mut weir(&config));
    fleet.wait_page(health, "/");
    let source = root().join("tests/clients").join(language);
    run(client(&source, &folder).args([grpc.to_string(), http.to_string()]));
    for service in services {
        for (signal, items) in SENT {
            let of = |payload: &Payload| payload.signal() == signal && names(payload, service);
            let arrived: usize =
                sink.of("client", |r| if of(&r.payload) { r.payload.items() } else { 0 }).iter().sum();
            assert_eq!(arrived, items, "{signal} of {language} as {service}");
        }
    }
}

/// Whether a payload is of that service: its name stands there as a string value.
fn names(payload: &Payload, service: &str) -> bool {
    let value = [&[0x0a, u8::try_from(service.len()).unwrap()], service.as_bytes()].concat();
    payload.to_bytes().windows(value.len()).any(|part| part == value)
}

#[test]
fn the_sdk_of_python_is_understood() {
    if !has("python", &["python3", "pip3"], "python3-pip") {
        return;
    }
    everything_arrives("python", &["grpc", "http", "http-gzip"], |source, folder| {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", folder.join("packages")).arg(source.join("client.py"));
        command
    });
}

#[test]
fn the_sdk_of_node_is_understood() {
    if !has("node", &["node", "npm"], "nodejs npm") {
        return;
    }
    everything_arrives("node", &["grpc", "grpc-gzip", "http", "http-json"], |source, folder| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", folder.join("node_modules")).arg(source.join("client.js"));
        command
    });
}

#[test]
fn the_sdk_of_go_is_understood() {
    everything_arrives("go", &["grpc", "grpc-gzip", "http"], |_, folder| Command::new(folder.join("client")));
}

#[test]
fn the_sdk_of_java_is_understood() {
    if !has("java", &["java", "javac", "mvn"], "maven default-jdk-headless") {
        return;
    }
    everything_arrives("java", &["grpc", "grpc-gzip", "http"], |_, folder| {
        let path = format!("{0}/classes:{0}/jars/*", folder.display());
        let mut command = Command::new("java");
        command.args(["-cp", &path, "Client"]);
        command
    });
}
