//! `weir components`: what this program can be configured with, as YAML in the Collector's shape.

use std::process::ExitCode;

use weir_component::Stability;
use weir_pdata::Signal;

use crate::components::COMPONENTS;

/// Prints the list.
pub(super) fn list() -> ExitCode {
    super::print(&text());
    ExitCode::SUCCESS
}

fn text() -> String {
    let mut out = format!(
        "buildinfo:\n    command: weir\n    description: {}\n    version: {}\n",
        env!("CARGO_PKG_DESCRIPTION"),
        env!("CARGO_PKG_VERSION")
    );
    let signals = |signals: &[Signal], s| signals.iter().map(|i| (i.to_string(), s)).collect::<Vec<_>>();
    let receivers = COMPONENTS.receivers.iter().map(|f| (f.kind, signals(f.signals, f.stability)));
    section(&mut out, "receivers", receivers.collect());
    let processors = COMPONENTS.processors.iter().map(|f| (f.kind, signals(f.signals, f.stability)));
    section(&mut out, "processors", processors.collect());
    let exporters = COMPONENTS.exporters.iter().map(|f| (f.kind, signals(f.signals, f.stability)));
    section(&mut out, "exporters", exporters.collect());
    let connectors = COMPONENTS.connectors.iter().map(|f| {
        (f.kind, f.pairs.iter().map(|(from, to)| (format!("{from}-to-{to}"), f.stability)).collect())
    });
    section(&mut out, "connectors", connectors.collect());
    let extensions =
        COMPONENTS.extensions.iter().map(|f| (f.kind, vec![("extension".to_owned(), f.stability)]));
    section(&mut out, "extensions", extensions.collect());
    out += "providers:\n";
    for scheme in ["env", "file", "http", "https", "yaml"] {
        out += &format!("    - scheme: {scheme}\n      module: weir\n");
    }
    out
}

fn section(out: &mut String, name: &str, list: Vec<(&str, Vec<(String, Stability)>)>) {
    *out += &format!("{name}:\n");
    for (kind, stabilities) in list {
        *out += &format!("    - name: {kind}\n      module: weir\n      stability:\n");
        for (what, stability) in stabilities {
            *out += &format!("        {what}: {stability:?}\n");
        }
    }
}
