//! Sources that publish too rarely for the window.

use super::input::Source;
use super::scale::{SECOND, Scale};
use super::series::Series;
use super::words::span;
use std::collections::BTreeMap;

/// Intervals jitter: this much more than half a window is still half a window.
const JITTER: f64 = 1.2;

/// For each source that publishes more rarely than twice a window what is wrong, and the cure.
pub(crate) fn rare<'a>(series: impl Iterator<Item = &'a Series>, scale: &Scale) -> BTreeMap<Source, String> {
    let mut slowest: BTreeMap<Source, i64> = BTreeMap::new();
    for one in series {
        let interval = slowest.entry(one.subject.source).or_default();
        *interval = (*interval).max(one.clock.interval());
    }
    let too_rare = |interval: i64| interval as f64 > JITTER * scale.block as f64;
    slowest.retain(|_, interval| too_rare(*interval));
    slowest.into_iter().map(|(source, interval)| (source, sentence(source, interval, scale))).collect()
}

fn sentence(source: Source, interval: i64, scale: &Scale) -> String {
    let (receiver, also) = match source {
        Source::Events => ("grpc_connections", " and WEIR_SNAPSHOT_INTERVAL of the service"),
        Source::Sockets => ("socket_diag", ""),
        Source::Profile => ("pprof", ""),
    };
    format!(
        "{receiver} publishes every {}; the window of {} needs {} or less: shorten its collection_interval{also}, or \
         lengthen the window",
        span(interval as f64 / SECOND),
        span(scale.age),
        span(scale.block as f64 / SECOND)
    )
}
