//! Sources that publish too rarely for the window.

use super::input::Source;
use super::scale::{SECOND, Scale};
use super::series::Series;
use super::words::span;
use std::collections::BTreeMap;

/// Intervals jitter: this much more than half a window is still half a window.
const JITTER: f64 = 1.2;

/// For each source that publishes more rarely than twice a window what is wrong, and the cure. `series` come with their
/// processes.
///
/// How often a source publishes is told by the series of a process that comes most often: others may come and go. Of
/// several processes the slowest counts, as each may have a source of its own.
pub(crate) fn rare<'a, P: Ord>(
    series: impl Iterator<Item = (P, &'a Series)>,
    scale: &Scale,
) -> BTreeMap<Source, String> {
    let mut paces: BTreeMap<(Source, P), i64> = BTreeMap::new();
    for (process, one) in series.filter(|(_, one)| one.clock.interval() > 0) {
        let interval = one.clock.interval();
        let pace = paces.entry((one.subject.source, process)).or_insert(interval);
        *pace = interval.min(*pace);
    }
    let mut slowest: BTreeMap<Source, i64> = BTreeMap::new();
    for ((source, _), interval) in paces {
        let slow = slowest.entry(source).or_default();
        *slow = interval.max(*slow);
    }
    let too_rare = |interval: i64| interval as f64 > JITTER * scale.block as f64;
    slowest.retain(|_, interval| too_rare(*interval));
    slowest.into_iter().map(|(source, interval)| (source, sentence(source, interval, scale))).collect()
}

fn sentence(source: Source, interval: i64, scale: &Scale) -> String {
    let (publisher, also) = match source {
        // A receiver or a connector, in this agent or in another one.
        Source::Events => ("the source of connection events", " and WEIR_SNAPSHOT_INTERVAL of the service"),
        Source::Sockets => ("socket_diag", ""),
        Source::Profile => ("pprof", ""),
    };
    format!(
        "{publisher} publishes every {}; the window of {} needs {} or less: shorten its collection_interval{also}, or \
         lengthen the window",
        span(interval as f64 / SECOND),
        span(scale.age),
        span(scale.block as f64 / SECOND)
    )
}
