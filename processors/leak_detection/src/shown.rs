//! What was shown last: what is told of a verdict is told of what was shown of it.
//!
//! The detector judges each finding for itself; what is shown is settled between them. So records of changes are made from what
//! was shown before and is shown now, and a finding that is shown no more under its name has a last point.

use std::collections::{BTreeMap, HashSet};

use weir_connection::report::{Finding, State};

use crate::detector::Change;

/// The findings that were shown last, without those that are ok.
#[derive(Default)]
pub(crate) struct Shown {
    states: BTreeMap<String, State>,
    /// Those whose metrics were sent, by what tells these apart, with nothing but what names them.
    sent: BTreeMap<[String; 2], Finding>,
}

impl Shown {
    /// What changed since the last time. `over` are the changes of subjects that the detector may have let go of.
    pub(crate) fn changes(&mut self, findings: &[Finding], over: Vec<Change>) -> Vec<Change> {
        let present: HashSet<&str> =
            if over.is_empty() { HashSet::new() } else { findings.iter().map(|f| f.id.as_str()).collect() };
        let gone = over.into_iter().filter(|change| !present.contains(change.finding.id.as_str()));
        let was = |id: &String| self.states.get(id).copied().unwrap_or_default();
        let gone = gone.map(|change| Change { from: was(&change.finding.id), ..change });
        let changed = findings.iter().filter(|f| was(&f.id) != f.state);
        let changed = changed.map(|f| Change { from: was(&f.id), to: f.state, finding: f.clone() });
        let changes = gone.filter(|change| change.from != change.to).chain(changed).collect();
        self.states = not_ok(findings).map(|f| (f.id.clone(), f.state)).collect();
        changes
    }

    /// Notes that metrics of these findings are sent. Returns those that had metrics and are shown no more under that name: as
    /// ok, with nothing open, to be sent for the last time.
    pub(crate) fn sent(&mut self, findings: &[Finding]) -> Vec<Finding> {
        let present: HashSet<[&str; 2]> = findings.iter().map(name).collect();
        let before = std::mem::take(&mut self.sent);
        let over = before.into_values().filter(|f| !present.contains(&name(f))).collect();
        self.sent = not_ok(findings).map(|f| (name(f).map(str::to_owned), named_only(f))).collect();
        over
    }
}

fn not_ok(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|f| f.state != State::Ok)
}

/// What tells the metrics of findings apart: a finding may go on about another resource.
fn name(finding: &Finding) -> [&str; 2] {
    [&finding.id, &finding.resource]
}

fn named_only(f: &Finding) -> Finding {
    Finding {
        id: f.id.clone(),
        service: f.service.clone(),
        instance: f.instance.clone(),
        process: f.process.clone(),
        resource: f.resource.clone(),
        side: f.side.clone(),
        target: f.target.clone(),
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, resource: &str, state: State) -> Finding {
        Finding { id: id.into(), resource: resource.into(), state, ..Finding::default() }
    }

    fn told(changes: &[Change]) -> Vec<(&str, State, State)> {
        changes.iter().map(|c| (c.finding.id.as_str(), c.from, c.to)).collect()
    }

    #[test]
    fn changes_are_those_of_what_is_shown() {
        let mut shown = Shown::default();
        let first = [finding("a", "socket", State::Suspect), finding("b", "goroutine", State::Ok)];
        assert_eq!(told(&shown.changes(&first, Vec::new())), [("a", State::Ok, State::Suspect)]);
        assert_eq!(told(&shown.changes(&first, Vec::new())), []);
        // The detector had called both leaking; of b that was never shown.
        let over = |id: &str| {
            let finding = finding(id, "socket", State::Ok);
            Change { from: State::Leaking, to: State::Ok, finding }
        };
        let changes = shown.changes(&first[1..], vec![over("a"), over("b")]);
        assert_eq!(told(&changes), [("a", State::Suspect, State::Ok)]);
        assert_eq!(told(&shown.changes(&[], vec![over("a")])), [], "once");
    }

    #[test]
    fn what_is_shown_no_more_under_its_name_is_sent_once_more_as_ok() {
        let mut shown = Shown::default();
        let fine = finding("c", "socket", State::Ok);
        let before = [finding("a", "socket", State::Leaking), finding("b", "socket", State::Leaking), fine];
        assert_eq!(shown.sent(&before), []);
        let now = [finding("a", "grpc_client", State::Leaking)];
        let expected = [finding("a", "socket", State::Ok), finding("b", "socket", State::Ok)];
        assert_eq!(shown.sent(&now), expected, "what was fine has told so");
        assert_eq!(shown.sent(&now), []);
        assert_eq!(shown.sent(&[finding("a", "grpc_client", State::Ok)]), [], "it is sent itself");
        assert_eq!(shown.sent(&[]), []);
    }
}
