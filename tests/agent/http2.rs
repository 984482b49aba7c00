//! The gRPC port speaks HTTP/2 as RFC 9113 and RFC 7541 say: all cases of h2spec, the strict ones too.

use std::process::Command;

use crate::backends::servers::{Fleet, free_ports, install, weir};

/// Seconds that h2spec waits for what should come, on a busy machine too; one of its cases takes all of them.
const PATIENCE: &str = "20";

/// Some cases send a wrong frame behind the head of a request that is no gRPC call, and expect that nothing was answered
/// before. Where the machine is busy the answer overtakes that frame, for which nothing has to be said then (RFC 9113, 5.1
/// "closed"). So a case that failed runs again, this often: what is wrong fails each time.
const TRIES: usize = 5;

#[test]
fn the_grpc_port_passes_h2spec() {
    let [folder] = install(["h2spec"]);
    let mut fleet = Fleet::new();
    let [grpc, health] = free_ports();
    let config = fleet.write(
        "weir.yaml",
        &format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}}}}}}}\n\
             exporters: {{nop: }}\n\
             extensions: {{health_check: {{endpoint: 127.0.0.1:{health}}}}}\n\
             service:\n  extensions: [health_check]\n  telemetry: {{metrics: {{level: none}}}}\n  \
               pipelines: {{traces: {{receivers: [otlp], exporters: [nop]}}}}\n"
        ),
    );
    fleet.start("weir", &mut weir(&config));
    fleet.wait_page(health, "/");
    let port = grpc.to_string();
    let run = |cases: &[&str]| {
        let output = Command::new(folder.join("h2spec"))
            .args(["--strict", "--timeout", PATIENCE, "--port", &port])
            .args(cases)
            .output()
            .expect("h2spec runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (passes, report) = run(&[]);
    let sum = report.lines().rev().find(|line| line.contains("tests,")).unwrap_or_default();
    let tests = sum.split(' ').next().and_then(|n| n.parse::<u32>().ok());
    assert!(tests.is_some_and(|n| n > 140), "all of them ran: {sum:?}");
    let failed = failed(&report);
    assert_eq!(passes, failed.is_empty(), "{report}");
    for case in failed {
        let again = (0..TRIES).map(|_| run(&[&case])).find(|(passes, _)| *passes);
        assert!(again.is_some_and(|(_, report)| report.contains(" 1 passed")), "{case} alone, too: {report}");
    }
}

/// The cases that a report lists as failed, as h2spec takes them for arguments.
fn failed(report: &str) -> Vec<String> {
    let mut cases = Vec::new();
    let (mut group, mut section) = ("", "");
    let list = report.split_once("\nFailures:").map_or("", |(_, list)| list);
    for line in list.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        match line.trim_start().strip_prefix("× ").and_then(|case| case.split_once(':')) {
            Some((number, _)) => cases.push(format!("{group}/{section}/{number}")),
            None if line.starts_with("Generic") => group = "generic",
            None if line.starts_with("Hypertext") => group = "http2",
            None if line.starts_with("HPACK") => group = "hpack",
            None if first.starts_with(|c: char| c.is_ascii_digit()) => section = first.trim_end_matches('.'),
            None => {}
        }
    }
    cases
}

#[test]
fn cases_that_failed_are_found_in_a_report() {
    let report = "  1. Starting\n    × 1: before the list\n\nFailures: \n\n\
        Generic tests for HTTP/2 server\n  2. Streams and Multiplexing\n    × 1: Sends a frame: idle\n    Error: Timeout\n\n\
        Hypertext Transfer Protocol Version 2 (HTTP/2)\n  6. Frame Definitions\n    6.9. WINDOW_UPDATE\n      \
        6.9.1. The Flow-Control Window\n        × 12: Sends SETTINGS\n          -> The endpoint MUST\n\n\
        HPACK: Header Compression for HTTP/2\n  4. Dynamic Table Management\n    4.2. Maximum Table Size\n      × 1: Sends\n\n\
        Finished in 4.0084 seconds\n4 tests, 0 passed, 0 skipped, 4 failed\n";
    assert_eq!(failed(report), ["generic/2/1", "http2/6.9.1/12", "hpack/4.2/1"]);
}
