//! `weir components`: what this program can be configured with, as YAML in the Collector's shape.

use std::process::ExitCode;

use weir_component::{Maturity, Stability};
use weir_pdata::Signal;

use crate::components::COMPONENTS;
use crate::program::program;

/// The signals that the Collector lists, in its order.
const LISTED: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the list.
pub(super) fn list() -> ExitCode {
    super::print(&text());
    ExitCode::SUCCESS
}

fn text() -> String {
    let program = program();
    let mut out = format!(
        "buildinfo:\n    command: {}\n    description: {}\n    version: {VERSION}\n",
        program.name, program.description
    );
    let of = |signals: &[Signal], stability: Maturity| {
        let word = |s: &Signal| (s.to_string(), signals.contains(s).then_some(stability.of(*s)));
        LISTED.iter().map(word).collect::<Vec<_>>()
    };
    let receivers = COMPONENTS.receivers.iter().map(|f| (f.kind, of(f.signals, f.stability)));
    section(&mut out, "receiver", receivers.collect());
    let processors = COMPONENTS.processors.iter().map(|f| (f.kind, of(f.signals, f.stability)));
    section(&mut out, "processor", processors.collect());
    let exporters = COMPONENTS.exporters.iter().map(|f| (f.kind, of(f.signals, f.stability)));
    section(&mut out, "exporter", exporters.collect());
    let connectors = COMPONENTS.connectors.iter().map(|f| (f.kind, pairs(f.pairs, f.stability)));
    section(&mut out, "connector", connectors.collect());
    let extensions =
        COMPONENTS.extensions.iter().map(|f| (f.kind, vec![("extension".to_owned(), Some(f.stability))]));
    section(&mut out, "extension", extensions.collect());
    out += "providers:\n";
    for scheme in weir_config::SCHEMES {
        out += &format!("    - scheme: {scheme}\n      module: weir-config v{VERSION}\n");
    }
    out
}

/// From which signal to which.
fn pairs(known: &[(Signal, Signal)], stability: Maturity) -> Vec<(String, Option<Stability>)> {
    let all = LISTED.into_iter().flat_map(|from| LISTED.into_iter().map(move |to| (from, to)));
    all.map(|pair| {
        (format!("{}-to-{}", pair.0, pair.1), known.contains(&pair).then_some(stability.of(pair.0)))
    })
    .collect()
}

/// A type, and how mature it is for what; none for what it is not for.
type Line<'a> = (&'a str, Vec<(String, Option<Stability>)>);

fn section(out: &mut String, name: &str, mut list: Vec<Line<'_>>) {
    list.sort_by_key(|(kind, _)| *kind);
    *out += &format!("{name}s:\n");
    for (kind, stabilities) in list {
        let module = format!("weir-{name}-{} v{VERSION}", kind.replace('_', "-"));
        *out += &format!("    - name: {kind}\n      module: {module}\n      stability:\n");
        for (what, stability) in stabilities {
            let word = stability.map_or("Undefined".to_owned(), |stability| format!("{stability:?}"));
            *out += &format!("        {what}: {word}\n");
        }
    }
}
