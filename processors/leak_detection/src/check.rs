//! What must hold for any evidence that somebody sends; for tests and for fuzzing.

use std::sync::Arc;

use weir_connection::report::Finding;
use weir_connection::table::ConnectionTable;
use weir_connection::tracker::Tracker;
use weir_pdata::{Payload, Signal};

use crate::decode::{Decoded, decode};
use crate::detector::{Detector, Settings};

const SECOND: i64 = 1_000_000_000;
/// When the first piece of evidence arrives by the agent's clock, Unix ns.
const START: i64 = 1_700_000_000 * SECOND;
/// From one piece of evidence to the next.
const STEP: i64 = 60 * SECOND;
/// How often it comes again, each time with a few more open: enough for a verdict.
const ROUNDS: i64 = 40;
const MAX_SERIES: usize = 4;

/// Connection events become spans and metrics, metrics become verdicts, whatever times and numbers they tell: nothing is kept
/// beyond the limits, and every number in a verdict is one.
pub fn evidence(request: &[u8]) {
    let mut detector = Detector::new(Settings { max_series: MAX_SERIES, ..Settings::default() });
    if let Ok(metrics) = Payload::from_request(Signal::Metrics, request.to_vec().into()) {
        judge(&mut detector, &decode(&metrics));
    }
    let Ok(events) = Payload::from_request(Signal::Logs, request.to_vec().into()) else { return };
    let table = Arc::new(ConnectionTable::default());
    let mut tracker = Tracker::new(Arc::clone(&table), 10.0);
    let mut collected = Vec::new();
    for now in [START, START + STEP] {
        let spans = tracker.on_logs(&events, now.cast_unsigned()).spans;
        assert!(
            spans.is_none_or(|spans| spans.items() <= 2 * events.items()),
            "more spans than begins and ends"
        );
        let mut collection = tracker.collect(now.cast_unsigned());
        while let Some(part) = tracker.next_part(&mut collection) {
            collected.push(decode(&part.payload));
        }
    }
    assert!(table.processes() <= events.items());
    collected.iter().for_each(|decoded| judge(&mut detector, decoded));
}

fn judge(detector: &mut Detector, decoded: &Decoded) {
    for round in 0..ROUNDS {
        let now = START + round * 5 * STEP;
        detector.tick(now);
        for observation in &decoded.series {
            let mut observation = observation.clone();
            observation.time_ns = observation.time_ns.saturating_add(round * 5 * STEP);
            let more = |count: &mut f64| *count += round as f64;
            observation.sample.open.iter_mut().chain(&mut observation.sample.opened).for_each(more);
            observation
                .sample
                .older
                .iter_mut()
                .chain(&mut observation.sample.idle)
                .for_each(|(_, n)| more(n));
            detector.observe(observation);
        }
        decoded.processes.iter().for_each(|process| detector.observe_process(process.clone()));
        let changes = detector.tick(now + STEP);
        changes.iter().for_each(|change| finding(&change.finding));
        assert!(detector.counters().series <= MAX_SERIES as u64);
    }
    detector.report(START + ROUNDS * 5 * STEP).iter().for_each(finding);
}

fn finding(finding: &Finding) {
    let growth = &finding.growth;
    let numbers = [growth.rate, growth.rate_low, growth.rate_high, growth.open, growth.opened, growth.closed];
    assert!(numbers.iter().all(|number| number.is_finite()), "{growth:?}");
    assert!([finding.since, finding.watched].iter().all(|time| time.is_finite()));
    assert!(finding.site.iter().chain(&finding.other_sites).all(|site| (0.0..=1.0).contains(&site.share)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::corpus;

    #[test]
    fn evidence_of_the_corpus_is_judged_within_bounds() {
        corpus("evidence").iter().for_each(|request| evidence(request));
    }
}
