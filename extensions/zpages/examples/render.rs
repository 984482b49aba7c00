//! Writes the pages of sample reports, and their policy, to a folder, to look at them:
//! `cargo run --example render -- <folder>`.

use std::path::PathBuf;

use weir_extension_zpages::page;

#[path = "../tests/samples/mod.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/pages"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let reports = [
        ("leaking", samples::leaking()),
        ("fine", samples::all_fine()),
        ("no_sources", samples::no_sources()),
        ("waiting", samples::waiting()),
        ("many", samples::many()),
        ("hostile", samples::hostile()),
    ];
    for (name, report) in &reports {
        std::fs::write(folder.join(format!("{name}.html")), page::leaks_html(report, samples::NOW + 1.0))?;
    }
    let (_, leaking) = &reports[0];
    std::fs::write(folder.join("stale.html"), page::leaks_html(leaking, samples::NOW + 240.0))?;
    let (service, pipelines) = pipelines();
    std::fs::write(folder.join("csp.txt"), page::content_security_policy())?;
    std::fs::write(folder.join("index.html"), page::index_html(&service))?;
    std::fs::write(folder.join("pipelines.html"), page::pipelines_html(&service, &pipelines))?;
    std::fs::write(folder.join("service.html"), page::service_html(&service))
}

fn pipelines() -> (page::ServiceView, Vec<page::PipelineView>) {
    let component = |id: &str, trouble: &str, counts: &[(&str, f64)]| page::ComponentView {
        id: id.into(),
        trouble: trouble.into(),
        counts: counts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    };
    let metrics = page::PipelineView {
        id: "metrics".into(),
        signal: "metrics".into(),
        receivers: vec![
            component("grpc_connections", "", &[("accepted points", 12_480.0), ("refused points", 0.0)]),
            component("socket_diag", "", &[("accepted points", 4_100.0)]),
        ],
        processors: vec![
            component("leak_detection", "", &[("series", 4.0), ("in", 16_580.0), ("out", 16_612.0)]),
            component("batch", "", &[("waiting items", 212.0)]),
        ],
        exporters: vec![component(
            "otlp_http/prometheus",
            "connection refused, retried in 4 s",
            &[("sent points", 16_400.0), ("queued requests", 3.0), ("queue capacity", 1_000.0)],
        )],
    };
    let traces = page::PipelineView {
        id: "traces".into(),
        signal: "traces".into(),
        receivers: vec![component("grpc_connections", "", &[("accepted spans", 282.0)])],
        processors: Vec::new(),
        exporters: vec![component("otlp_grpc/jaeger", "", &[("sent spans", 282.0)])],
    };
    let service = page::ServiceView {
        name: "weir".into(),
        version: "0.1.0".into(),
        started: samples::NOW - 205.0,
        uptime: 205.0,
        pid: 4_100,
        facts: vec![("configuration".into(), "examples/leaky/weir.yaml".into())],
    };
    (service, vec![metrics, traces])
}
