//! The gRPC port speaks HTTP/2 as RFC 9113 and RFC 7541 say: all cases of h2spec, the strict ones too.

use std::process::Command;

use crate::backends::servers::{Fleet, free_ports, install, weir};

/// Seconds that h2spec waits for what should come, on a busy machine too; one of its cases takes all of them.
const PATIENCE: &str = "20";

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
    let output = Command::new(folder.join("h2spec"))
        .args(["--strict", "--timeout", PATIENCE, "--port", &port])
        .output()
        .expect("h2spec runs");
    let report = String::from_utf8_lossy(&output.stdout);
    let sum = report.lines().rev().find(|line| line.contains("tests,")).unwrap_or_default();
    assert!(output.status.success() && sum.contains(" 0 failed"), "{report}");
    let tests = sum.split(' ').next().and_then(|n| n.parse::<u32>().ok());
    assert!(tests.is_some_and(|n| n > 140), "all of them ran: {sum:?}");
}
