//! The verdicts of all detectors of an agent, where pages find them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::report::{Finding, Report, SCHEMA, Source, State};
use crate::terminal::units;

/// The board. The engine owns the one instance, so it is made by `Default`.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<String, Posted>>);

/// What one detector has put up.
#[derive(Debug, Default)]
struct Posted {
    findings: Vec<Finding>,
    complaints: Complaints,
}

/// What a detector has to complain of.
#[derive(Debug, Default)]
pub struct Complaints {
    /// Of sources, by their kind.
    pub sources: BTreeMap<&'static str, String>,
    /// Series for which it has no room.
    pub unwatched: usize,
}

impl Board {
    /// Replaces the findings of detector `id`, and what it has to complain of.
    pub fn put(&self, id: &str, findings: Vec<Finding>, complaints: Complaints) {
        let posted = Posted { findings, complaints };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), posted);
    }

    /// Drops what detectors have put up that `runs` does not know: one that a reload has removed has its last word when it ends.
    pub fn retain(&self, runs: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| runs(id));
    }

    /// Whether some detector has put up its findings, also none.
    pub fn has_detector(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Everything as a document. Times are Unix seconds.
    ///
    /// A source that delivers, but not as a detector needs it, is degraded.
    pub fn report(&self, time: f64, started: f64, version: &str, mut sources: Vec<Source>) -> Report {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut series: Vec<Finding> = board.values().flat_map(|posted| &posted.findings).cloned().collect();
        for source in &mut sources {
            let complaint =
                board.values().find_map(|posted| posted.complaints.sources.get(source.kind.as_str()));
            if let Some(complaint) = complaint {
                complain(source, complaint);
            }
        }
        series.sort_by_key(|f| std::cmp::Reverse(urgency(f.state)));
        let unwatched = board.values().map(|posted| posted.complaints.unwatched).sum();
        let summary = match board.is_empty() {
            true => "No leak_detection processor runs in this agent.".to_owned(),
            false => summary(&series, &sources, unwatched),
        };
        Report {
            schema: SCHEMA.to_owned(),
            time,
            started,
            version: version.to_owned(),
            summary,
            sources,
            series,
        }
    }
}

/// Adds a complaint to what a source says of itself; of one that does not deliver there is worse to say.
fn complain(source: &mut Source, complaint: &str) {
    if !matches!(source.state.as_str(), "ok" | "degraded") {
        return;
    }
    "degraded".clone_into(&mut source.state);
    if !source.message.is_empty() {
        source.message.push_str("; ");
    }
    source.message.push_str(complaint);
}

/// What a person should look at first; recovering is less urgent than suspect.
fn urgency(state: State) -> u8 {
    match state {
        State::Leaking => 3,
        State::Suspect => 2,
        State::Recovering => 1,
        State::Ok => 0,
    }
}

/// One sentence that says the state of the whole.
fn summary(series: &[Finding], sources: &[Source], unwatched: usize) -> String {
    let count = |state| series.iter().filter(|f| f.state == state).count();
    let mut parts = Vec::new();
    for (state, one, many) in [
        (State::Leaking, "leak", "leaks"),
        (State::Suspect, "suspect", "suspects"),
        (State::Recovering, "recovering", "recovering"),
    ] {
        match count(state) {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            n => parts.push(format!("{n} {many}")),
        }
    }
    let young = series.iter().filter(|f| f.state == State::Ok && f.verdict_in.is_some()).count();
    let ended = series.iter().filter(|f| f.ended.is_some()).count();
    match count(State::Ok) - young - ended {
        0 if parts.is_empty() && young > 0 => parts.push(no_verdict(series)),
        0 if parts.is_empty() && ended > 0 => {}
        0 if parts.is_empty() => parts.push("Nothing measured yet".to_owned()),
        0 => {}
        1 => parts.push("1 series fine".to_owned()),
        n => parts.push(format!("{n} series fine")),
    }
    if young > 0 && young < series.len() {
        parts.push(format!("{young} without a verdict yet"));
    }
    if ended > 0 {
        parts.push(format!("{ended} ended with {} process", if ended == 1 { "its" } else { "their" }));
    }
    if unwatched > 0 {
        parts.push(format!("{unwatched} series beyond max_series not watched"));
    }
    let troubled = sources.iter().filter(|s| matches!(s.state.as_str(), "degraded" | "failed")).count();
    let sources = match sources.len() {
        0 => "no source of its own".to_owned(),
        1 => "1 source".to_owned(),
        n => format!("{n} sources"),
    };
    let mut text = format!("{}; {sources}", parts.join(", "));
    if troubled > 0 {
        text += &format!(", {troubled} with trouble");
    }
    text + "."
}

/// `No verdict yet: 4 series watched for 7 m, first verdict in about 38 m`.
fn no_verdict(series: &[Finding]) -> String {
    let watched = series.iter().map(|f| f.watched).fold(0.0, f64::max);
    let left = series.iter().filter_map(|f| f.verdict_in).fold(f64::INFINITY, f64::min);
    format!(
        "No verdict yet: {} series watched for {}, first verdict in about {}",
        series.len(),
        units::duration(watched),
        units::duration(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_is_urgent_first() {
        let board = Board::default();
        assert!(board.report(0.0, 0.0, "1", vec![]).summary.contains("No leak_detection"));
        let finding = |state| Finding { state, ..Finding::default() };
        board.put(
            "leak_detection",
            vec![finding(State::Ok), finding(State::Leaking), finding(State::Suspect)],
            Complaints::default(),
        );
        let source = Source { state: "degraded".into(), ..Source::default() };
        let report = board.report(1.0, 0.0, "1", vec![source]);
        assert_eq!(report.summary, "1 leak, 1 suspect, 1 series fine; 1 source, 1 with trouble.");
        assert_eq!(report.series[0].state, State::Leaking);
        board.put("leak_detection", Vec::new(), Complaints::default());
        assert_eq!(
            board.report(1.0, 0.0, "1", vec![]).summary,
            "Nothing measured yet; no source of its own."
        );
    }

    #[test]
    fn what_a_detector_that_is_no_more_has_put_up_goes_with_it() {
        let board = Board::default();
        for id in ["leak_detection", "leak_detection/gone"] {
            let finding = Finding { id: id.to_owned(), state: State::Leaking, ..Finding::default() };
            board.put(id, vec![finding], Complaints { unwatched: 7, ..Complaints::default() });
        }
        board.retain(|id| id == "leak_detection");
        let report = board.report(1.0, 0.0, "1", vec![]);
        let ids: Vec<_> = report.series.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(ids, ["leak_detection"]);
        assert!(report.summary.contains("1 leak, 7 series"), "{}", report.summary);
        board.retain(|_| false);
        assert!(board.report(1.0, 0.0, "1", vec![]).summary.contains("No leak_detection"));
    }

    #[test]
    fn a_source_that_a_detector_complains_of_is_degraded_unless_it_is_worse() {
        let board = Board::default();
        let sources = BTreeMap::from([("sockets", "publishes every 30 s".to_owned())]);
        let complaints = Complaints { sources, unwatched: 7 };
        board.put("leak_detection", vec![Finding::default()], complaints);
        let source = |kind: &str, state: &str, message: &str| Source {
            kind: kind.into(),
            state: state.into(),
            message: message.into(),
            ..Source::default()
        };
        let sources = vec![
            source("sockets", "ok", ""),
            source("sockets", "degraded", "one is not seen"),
            source("sockets", "failed", "no netlink"),
            source("events", "ok", ""),
        ];
        let report = board.report(1.0, 0.0, "1", sources);
        let said: Vec<_> = report.sources.iter().map(|s| (s.state.as_str(), s.message.as_str())).collect();
        assert_eq!(
            said,
            [
                ("degraded", "publishes every 30 s"),
                ("degraded", "one is not seen; publishes every 30 s"),
                ("failed", "no netlink"),
                ("ok", "")
            ]
        );
        assert_eq!(
            report.summary,
            "1 series fine, 7 series beyond max_series not watched; 4 sources, 3 with trouble."
        );
    }

    #[test]
    fn series_that_are_too_young_for_a_verdict_are_not_called_fine() {
        let board = Board::default();
        let young = |watched, left| Finding { watched, verdict_in: Some(left), ..Finding::default() };
        board.put("leak_detection", vec![young(420.0, 2280.0), young(60.0, 2640.0)], Complaints::default());
        assert_eq!(
            board.report(1.0, 0.0, "1", vec![Source::default()]).summary,
            "No verdict yet: 2 series watched for 7 m, first verdict in about 38 m; 1 source."
        );
        board.put("leak_detection", vec![Finding::default(), young(60.0, 2640.0)], Complaints::default());
        assert_eq!(
            board.report(1.0, 0.0, "1", vec![Source::default()]).summary,
            "1 series fine, 1 without a verdict yet; 1 source."
        );
    }
}
