//! What runs, as the debug pages show it.

use weir_component::{Host, Sample};

use crate::page::{ComponentView, ExtensionView, PipelineView, ServiceView};

/// The agent. `now` is Unix ns.
pub(crate) fn service(host: &Host, now: u64) -> ServiceView {
    ServiceView {
        name: host.name().to_owned(),
        version: host.version().to_owned(),
        started: host.started() as f64 / 1e9,
        uptime: now.saturating_sub(host.started()) as f64 / 1e9,
        pid: std::process::id(),
        facts: Vec::new(),
    }
}

/// Its pipelines with live counts.
pub(crate) fn pipelines(host: &Host) -> Vec<PipelineView> {
    let samples = host.stats().samples();
    let view = |kind: &'static str, ids: &[String], signal: &str| {
        ids.iter().map(|id| component(&samples, kind, id, signal)).collect()
    };
    (host.topology().pipelines.into_iter())
        .map(|p| PipelineView {
            receivers: view("receiver", &p.receivers, &p.signal),
            processors: view("processor", &p.processors, &p.signal),
            exporters: view("exporter", &p.exporters, &p.signal),
            id: p.id,
            signal: p.signal,
        })
        .collect()
}

/// Its extensions.
pub(crate) fn extensions(host: &Host) -> Vec<ExtensionView> {
    let view = |id| ExtensionView { id, ..ExtensionView::default() };
    host.topology().extensions.into_iter().map(view).collect()
}

/// One component with the counts of its signal, transports added up.
fn component(samples: &[Sample], kind: &'static str, id: &str, signal: &str) -> ComponentView {
    let mut counts: Vec<(String, f64)> = Vec::new();
    for sample in samples {
        let Some(name) = sample.name.strip_prefix("otelcol_").and_then(|n| n.strip_prefix(kind)) else {
            continue;
        };
        let label = |key: &str| sample.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        if label(kind) != Some(id) || !concerns(name, label("otel_signal").or(label("data_type")), signal) {
            continue;
        }
        let name = name.trim_start_matches('_').replace('_', " ");
        match counts.iter_mut().find(|(n, _)| *n == name) {
            Some((_, total)) => *total += sample.value as f64,
            None => counts.push((name, sample.value as f64)),
        }
    }
    ComponentView { id: id.to_owned(), trouble: String::new(), counts }
}

/// Whether a count belongs to a signal: by its label, else by the name of the items in its own name.
fn concerns(name: &str, label: Option<&str>, signal: &str) -> bool {
    match label {
        Some(label) => label == signal,
        None => {
            let items = match signal {
                "traces" => "spans",
                "metrics" => "metric_points",
                "logs" => "log_records",
                _ => "profile_samples",
            };
            name.ends_with(items)
        }
    }
}
