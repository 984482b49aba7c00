//! `weir featuregate`: the table of gates, or one of them.

use std::process::ExitCode;

use crate::gates::{GATES, Gate, Gates, Stage};

/// Prints all gates, or the one of this id.
pub(super) fn show(id: Option<&str>) -> ExitCode {
    let Some(id) = id else {
        super::print(&table());
        return ExitCode::SUCCESS;
    };
    match GATES.iter().find(|gate| gate.id == id) {
        Some(gate) => {
            super::print(&one(gate));
            ExitCode::SUCCESS
        }
        None => super::failed(&format!("feature {id:?} not found")),
    }
}

fn one(gate: &Gate) -> String {
    format!(
        "Feature: {}\nEnabled: {}\nStage: {}\nDescription: {}\nFrom Version: {}\nTo Version: v<nil>\n",
        gate.id,
        is_on(gate),
        stage(gate),
        description(gate),
        gate.since
    )
}

/// Columns two spaces apart, each as wide as its widest word.
fn table() -> String {
    let head = ["ID", "Enabled", "Stage", "Description"].map(str::to_owned);
    let row = |gate: &Gate| {
        [gate.id.to_owned(), is_on(gate).to_string(), stage(gate).to_owned(), description(gate)]
    };
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(GATES.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default() + 2;
    let (id, on, stage) = (width(0), width(1), width(2));
    rows.iter().map(|row| format!("{:id$}{:on$}{:stage$}{}\n", row[0], row[1], row[2], row[3])).collect()
}

fn is_on(gate: &Gate) -> bool {
    Gates::default().is_on(gate.id)
}

fn stage(gate: &Gate) -> &'static str {
    match gate.stage {
        Stage::Alpha => "Alpha",
        Stage::Beta => "Beta",
    }
}

fn description(gate: &Gate) -> String {
    let note = if gate.works { "" } else { " (accepted, without effect)" };
    format!("{}{note}", gate.description)
}
