//! A sample of the kernel as series, and as details of the connection table.

use std::net::SocketAddr;

use weir_connection::process::{ProcessInfo, ProcessKey, rfc3339};
use weir_connection::publish::{self, Ending, Lifetimes, MAX_SERIES, Origin, ProcessPoint, SeriesPoint};
use weir_connection::table::SocketFact;
use weir_kernel::{ProcessMetrics, ProcessSample, Resource, SeriesSample, Side, Target};
use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::metrics::v1::ResourceMetrics;

use crate::alive::{self, Alive};

/// The process of a sample.
pub(crate) fn info(sample: &ProcessSample, host: &str, service: String) -> ProcessInfo {
    let p = &sample.process;
    ProcessInfo {
        key: ProcessKey {
            host: host.to_owned(),
            pid: i64::from(p.pid),
            start_ticks: i64::try_from(p.start_ticks).unwrap_or(0),
            instance: String::new(),
        },
        service,
        executable: p.executable_name.clone(),
        creation_time: p.creation_unix_ns.map(rfc3339).unwrap_or_default(),
        ..ProcessInfo::default()
    }
}

/// Everything of one process as OTLP, in pieces of at most [`MAX_SERIES`] series; `now` is Unix ns.
pub(crate) fn metrics(
    sample: &ProcessSample,
    info: &ProcessInfo,
    alive: &[&Alive],
    now: u64,
) -> Vec<(ResourceMetrics, usize)> {
    let series: Vec<_> = sample.series.iter().map(|s| point(s, alive)).collect();
    let mut process =
        ProcessPoint { ended: sample.exited.then_some(Ending::Exited), ..process_point(&sample.metrics) };
    let (first, others) = series.split_at(series.len().min(MAX_SERIES));
    // What is known of the process as a whole is said with the first.
    let pieces = std::iter::once(first).chain(others.chunks(MAX_SERIES));
    let piece = |series: &[SeriesPoint]| {
        let process = std::mem::take(&mut process);
        (publish::metrics(info, Origin::Sockets, now, sample.since_ns, series, &process), series.len())
    };
    pieces.map(piece).collect()
}

/// Pieces of many processes on their way into requests of bounded size.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    pieces: Vec<ResourceMetrics>,
    series: usize,
}

impl Packer {
    /// Adds a piece with so many series; the request before it, when there is no room in that.
    pub(crate) fn add(&mut self, piece: ResourceMetrics, series: usize) -> Option<MetricsRequest> {
        // Processes without series need room, too.
        let series = series.max(1);
        let full = if self.series + series > MAX_SERIES { self.take() } else { None };
        self.series += series;
        self.pieces.push(piece);
        full
    }

    /// What is left.
    pub(crate) fn take(&mut self) -> Option<MetricsRequest> {
        let Packer { pieces, .. } = std::mem::take(self);
        (!pieces.is_empty()).then_some(MetricsRequest { resource_metrics: pieces })
    }
}

fn point(s: &SeriesSample, alive: &[&Alive]) -> SeriesPoint {
    let outlived = match (s.resource, s.side, s.target) {
        (Resource::Socket, Side::Client, Target::Address(target)) => alive::towards(alive, target),
        _ => None,
    };
    let (alive_after_end, by_site) = outlived.map_or((None, Vec::new()), |o| (Some(o.reached.0), o.by_site));
    SeriesPoint {
        resource: s.resource.name().to_owned(),
        side: s.side.name().to_owned(),
        target: s.target.to_string(),
        open: s.open,
        opened: Some(s.opened),
        closed: Some(s.closed),
        older: Some(s.older),
        idle: Some(s.idle),
        unused: Some(s.unused),
        lifetimes: Some(Lifetimes { buckets: s.lifetimes.counts, sum: s.lifetimes.sum_seconds }),
        alive_after_end,
        by_site,
        ..SeriesPoint::default()
    }
}

fn process_point(m: &ProcessMetrics) -> ProcessPoint {
    ProcessPoint {
        fd_count: m.descriptors,
        fd_limit: m.descriptor_limit,
        memory_usage: m.resident_bytes,
        memory_limit: m.memory_limit_bytes,
        ephemeral_ports: m.ephemeral_ports,
        ..ProcessPoint::default()
    }
}

/// What the kernel knows of single sockets, by local and peer address.
pub(crate) fn facts(sample: &ProcessSample) -> impl Iterator<Item = ((SocketAddr, SocketAddr), SocketFact)> {
    sample.series.iter().flat_map(|s| &s.exemplars).map(|e| {
        let fact = SocketFact {
            cookie: e.cookie,
            state: e.state.name().to_owned(),
            idle: e.idle_ns as f64 / 1e9,
            sent: e.sent_bytes,
            received: e.received_bytes,
        };
        ((e.local, e.peer), fact)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_a_bounded_number_of_series_and_nothing_is_left_out() {
        let mut packer = Packer::default();
        let sizes = [0, 60, 40, 100, 1, 99, 0];
        let full: Vec<_> = sizes.iter().filter_map(|n| packer.add(ResourceMetrics::default(), *n)).collect();
        let requests: Vec<_> =
            full.into_iter().chain(packer.take()).map(|r| r.resource_metrics.len()).collect();
        assert_eq!(requests, [2, 1, 1, 2, 1]);
        assert!(packer.take().is_none());
    }
}
