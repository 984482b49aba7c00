//! The protocol table: the same requests to a Go Collector and to Weir, statuses, headers and bodies compared. Where the
//! two differ on purpose, the difference stands here with its reason and in docs/compatibility.md.

mod cases;
mod grpc;
mod relay;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::backends::servers::{Fleet, free_ports, install, weir};
use cases::Case;

/// Headers that say nothing about the protocol, and two that Weir adds: `allow` (RFC 9110, 15.5.6) and `accept-encoding`
/// (RFC 7694) tell a sender what would have been right.
const IGNORED: [&str; 5] = ["date", "content-length", "connection", "allow", "accept-encoding"];

/// A program that was asked.
struct Asked {
    http: u16,
    grpc: u16,
}

/// Starts both programs with the same configuration but for ports, and with what `exporter` says of the backend.
fn both(fleet: &mut Fleet, exporter: &str) -> [Asked; 2] {
    let ports: [u16; 6] = free_ports();
    let of = |http, grpc, health| {
        format!(
            "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: 127.0.0.1:{grpc}, max_recv_msg_size_mib: 1}}\n      http:\n        endpoint: 127.0.0.1:{http}\n        max_request_body_size: 100000\n        response_headers: {{x-agent: same}}\n        cors: {{allowed_origins: ['https://*.shop.example'], allowed_headers: [x-a], exposed_headers: [X-E], max_age: 60}}\n\
             exporters:\n  {exporter}\nextensions: {{health_check: {{endpoint: 127.0.0.1:{health}}}}}\n\
             service:\n  extensions: [health_check]\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n{}",
            ["traces", "logs"]
                .map(|signal| format!(
                    "    {signal}: {{receivers: [otlp], exporters: [{}]}}\n",
                    exporter.split(':').next().unwrap()
                ))
                .concat()
        )
    };
    let [bin] = install(["otelcol"]);
    let config = fleet.write("collector.yaml", &of(ports[0], ports[1], ports[2]));
    fleet.start("collector", Command::new(bin.join("otelcol")).arg("--config").arg(config));
    let config = fleet.write("weir.yaml", &of(ports[3], ports[4], ports[5]));
    fleet.start("weir", &mut weir(&config));
    fleet.wait_page(ports[2], "/");
    fleet.wait_page(ports[5], "/");
    [Asked { http: ports[0], grpc: ports[1] }, Asked { http: ports[3], grpc: ports[4] }]
}

/// What came back over HTTP.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// One request over HTTP/1.1.
fn send(port: u16, case: &Case) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!("{} {} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n", case.method, case.path);
    for (name, value) in &case.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", case.body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    // A server may answer and close before it has read a body that it refuses.
    drop(stream.write_all(&case.body));
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all));
    let end =
        all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("{}: no answer", case.name));
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers = headers.filter(|(name, _)| !IGNORED.contains(&name.as_str())).collect::<BTreeMap<_, _>>();
    let kind = headers.get("content-type").cloned().unwrap_or_default();
    Answer { status, headers, body: meaning(&kind, &all[end + 4..]) }
}

/// A body as what it means: a status by its code, and by its message unless that is a parser's own.
fn meaning(kind: &str, body: &[u8]) -> String {
    let (code, message) = match kind {
        "application/json" => match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(value) if value["code"].is_number() => {
                (value["code"].to_string(), value["message"].as_str().unwrap_or_default().to_owned())
            }
            Ok(value) => return value.to_string(),
            Err(_) => return String::from_utf8_lossy(body).into_owned(),
        },
        "application/x-protobuf" => match body {
            // Long messages have longer lengths, but they are no common ones.
            [0x08, code, 0x12, _, message @ ..] => {
                (code.to_string(), String::from_utf8_lossy(message).into_owned())
            }
            _ => return format!("{body:?}"),
        },
        _ => return String::from_utf8_lossy(body).into_owned(),
    };
    let common = ["unsupported Content-Encoding", "http: request body too large"];
    let message = if common.iter().any(|text| message.starts_with(text)) { message } else { String::new() };
    format!("status {code} {message}")
}

/// Compares two answers; differences that are not expected are added to `wrong`, as are expected ones that are not there.
fn compare<T: PartialEq + std::fmt::Debug>(
    name: &str,
    [collector, weir]: [T; 2],
    expected: Option<(T, T)>,
    wrong: &mut Vec<String>,
) {
    let right = match &expected {
        None => collector == weir,
        Some((theirs, ours)) => (theirs, ours) == (&collector, &weir),
    };
    if !right {
        wrong.push(format!(
            "{name}\n  Collector {collector:?}\n  Weir      {weir:?}\n  expected  {expected:?}"
        ));
    }
}

#[test]
fn every_http_request_is_answered_as_by_a_collector_or_differs_as_listed() {
    let mut fleet = Fleet::new();
    let asked = both(&mut fleet, "nop: ");
    let (all, mut wrong) = (cases::all(), Vec::new());
    for case in &all {
        let [collector, weir] = [send(asked[0].http, case), send(asked[1].http, case)];
        match cases::DIFFERENT.iter().find(|(name, ..)| *name == case.name) {
            Some((_, theirs, ours, _)) => {
                compare(&case.name, [collector.status, weir.status], Some((*theirs, *ours)), &mut wrong);
            }
            None => compare(&case.name, [collector, weir], None, &mut wrong),
        }
    }
    for (name, ..) in cases::DIFFERENT {
        assert!(all.iter().any(|case| case.name == *name), "there is no case {name:?}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}
