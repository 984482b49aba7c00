//! Series of all sources as OTLP metrics: one shape, whoever measured them.

use std::collections::BTreeMap;

use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::{HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics};
use weir_pdata::otlp::{kv, point, scope};

use crate::names::{self, BOUNDS, Described, Kind, metric};
use crate::process::ProcessInfo;

/// Series in a request at most: some thousand points, which is little memory, whoever reads or keeps the request.
pub const MAX_SERIES: usize = 100;

/// Who measured a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Events from inside the process.
    Events,
    /// The kernel's sockets.
    Sockets,
    /// Profiles.
    Profile,
}

impl Origin {
    /// Value of `connection.source`.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Events => "events",
            Origin::Sockets => "sockets",
            Origin::Profile => "profile",
        }
    }
}

/// How it is known that nothing more will be heard of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The kernel says that it has exited.
    Exited,
    /// The module in it was stopped and said so: the process ended, or it called `Stop`.
    Stopped,
    /// It fell silent, and since then a process of the same service has its pid on its host: it was killed and started again.
    Replaced,
}

impl Ending {
    /// Value of `connection.process.end`.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Exited => "exited",
            Ending::Stopped => "stopped",
            Ending::Replaced => "replaced",
        }
    }

    /// The ending with this value of `connection.process.end`; nothing for other values.
    pub fn from_name(name: &str) -> Option<Ending> {
        let all = [Ending::Exited, Ending::Stopped, Ending::Replaced];
        all.into_iter().find(|ending| ending.name() == name)
    }
}

/// A line of source code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CodeSite {
    /// File as compiled.
    pub file: String,
    /// Line, from 1.
    pub line: i64,
    /// Function.
    pub function: String,
}

/// One series at one time. What was not measured is `None` or empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesPoint {
    /// `connection.resource`.
    pub resource: String,
    /// `connection.side`, may be empty.
    pub side: String,
    /// `connection.target`, may be empty.
    pub target: String,
    /// Open now.
    pub open: u64,
    /// Opened in total.
    pub opened: Option<u64>,
    /// Closed in total.
    pub closed: Option<u64>,
    /// Open and at least as old as each of [`BOUNDS`].
    pub older: Option<[u64; BOUNDS.len()]>,
    /// Open and idle for at least each of [`BOUNDS`].
    pub idle: Option<[u64; BOUNDS.len()]>,
    /// Open and idle since their first call.
    pub unused: Option<u64>,
    /// Lifetimes of those that ended.
    pub lifetimes: Option<Lifetimes>,
    /// Clients that the garbage collector found unclosed, in total.
    pub collected: Option<u64>,
    /// Sockets that are ESTABLISHED although their connection ended at least each of [`BOUNDS`] ago.
    pub alive_after_end: Option<[u64; BOUNDS.len()]>,
    /// Open by site, with how the site is known.
    pub by_site: Vec<(CodeSite, u64, &'static str)>,
}

/// A histogram of lifetimes, cumulative over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lifetimes {
    /// Counts per bucket; the last is for everything above the last bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum in seconds.
    pub sum: f64,
}

impl Lifetimes {
    /// Adds one lifetime.
    pub fn record(&mut self, seconds: f64) {
        let bucket = BOUNDS.iter().position(|b| seconds <= *b as f64).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum += seconds.max(0.0);
    }
}

/// How many values (in seconds) reached each of [`BOUNDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached(pub [u64; BOUNDS.len()]);

impl Reached {
    /// Counts one value.
    pub fn add(&mut self, seconds: f64) {
        let reached = BOUNDS.partition_point(|bound| *bound as f64 <= seconds);
        self.0[..reached].iter_mut().for_each(|count| *count += 1);
    }
}

/// What is known of a process as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessPoint {
    /// Open descriptors.
    pub fd_count: Option<u64>,
    /// Soft limit of descriptors.
    pub fd_limit: Option<u64>,
    /// Resident memory, bytes.
    pub memory_usage: Option<u64>,
    /// Memory limit, bytes.
    pub memory_limit: Option<u64>,
    /// Size of the ephemeral port range.
    pub ephemeral_ports: Option<u64>,
    /// Calls made so far, by side.
    pub load: Vec<(&'static str, u64)>,
    /// Events that were lost on the way.
    pub lost: Option<u64>,
    /// Spans of connections that were not written because of the limit, in total.
    pub spans_dropped: Option<u64>,
    /// Goroutines by kind.
    pub goroutines: Vec<(String, u64)>,
    /// Goroutines that the runtime proved leaked, by kind.
    pub leaked_goroutines: Vec<(String, u64)>,
    /// Contentions of mutexes, and the seconds waited in them, in total.
    pub mutex: Option<(u64, f64)>,
    /// It has ended; this is the last that is said of it.
    pub ended: Option<Ending>,
}

/// All series of one process at one time as OTLP.
///
/// `time` and `start` are Unix ns; `start` is when the totals began to count.
pub fn metrics(
    info: &ProcessInfo,
    origin: Origin,
    time: u64,
    start: u64,
    series: &[SeriesPoint],
    process: &ProcessPoint,
) -> ResourceMetrics {
    let mut writer = Writer { time, start, metrics: BTreeMap::new() };
    for one in series {
        writer.series(origin, one);
    }
    writer.process(origin, process);
    let scope_metrics = vec![ScopeMetrics {
        scope: Some(scope(names::SCOPE, env!("CARGO_PKG_VERSION"))),
        metrics: writer.metrics.into_values().collect(),
        ..Default::default()
    }];
    ResourceMetrics { resource: Some(info.resource()), scope_metrics, ..Default::default() }
}

struct Writer {
    time: u64,
    start: u64,
    metrics: BTreeMap<&'static str, Metric>,
}

impl Writer {
    fn series(&mut self, origin: Origin, s: &SeriesPoint) {
        let base = base_attributes(origin, s);
        let with = |more: Vec<KeyValue>| base.iter().cloned().chain(more).collect::<Vec<_>>();
        self.add(metric::OPEN, s.open, with(vec![]));
        self.add_known(metric::OPENED, s.opened, with(vec![]));
        self.add_known(metric::CLOSED, s.closed, with(vec![]));
        self.add_known(metric::COLLECTED, s.collected.filter(|n| *n > 0), with(vec![]));
        for (metric, counts) in [
            (metric::OLDER, &s.older),
            (metric::IDLE, &s.idle),
            (metric::ALIVE_AFTER_END, &s.alive_after_end),
        ] {
            for (bound, count) in BOUNDS.iter().zip(counts.iter().flatten()) {
                let bound = kv(names::ATTR_BOUND, i64::try_from(*bound).unwrap_or(i64::MAX));
                self.add(metric, *count, with(vec![bound]));
            }
        }
        self.add_known(metric::UNUSED, s.unused, with(vec![]));
        if let Some(lifetimes) = &s.lifetimes {
            self.lifetimes(lifetimes, with(vec![]));
        }
        for (site, count, how) in &s.by_site {
            let more = vec![
                kv(names::ATTR_FILE, site.file.as_str()),
                kv(names::ATTR_LINE, site.line),
                kv(names::ATTR_FUNCTION, site.function.as_str()),
                kv(names::ATTR_SITE_SOURCE, *how),
            ];
            self.add(metric::BY_SITE, *count, with(more));
        }
    }

    fn process(&mut self, origin: Origin, p: &ProcessPoint) {
        for (metric, value) in [
            (metric::FD_COUNT, p.fd_count),
            (metric::FD_LIMIT, p.fd_limit),
            (metric::MEMORY_USAGE, p.memory_usage),
            (metric::MEMORY_LIMIT, p.memory_limit),
            (metric::EPHEMERAL_PORTS, p.ephemeral_ports),
            (metric::LOST, p.lost),
            (metric::SPANS_DROPPED, p.spans_dropped),
        ] {
            self.add_known(metric, value, vec![]);
        }
        for (side, calls) in &p.load {
            let side = vec![kv(names::ATTR_SOURCE, origin.name()), kv(names::ATTR_SIDE, *side)];
            self.add(metric::LOAD, *calls, side);
        }
        let goroutines =
            [(metric::GOROUTINES, &p.goroutines), (metric::LEAKED_GOROUTINES, &p.leaked_goroutines)];
        for (metric, counts) in goroutines {
            for (kind, count) in counts {
                self.add(metric, *count, vec![kv(names::ATTR_GOROUTINE_KIND, kind.as_str())]);
            }
        }
        if let Some(ending) = p.ended {
            self.add(metric::PROCESS_ENDED, 1, vec![kv(names::ATTR_PROCESS_END, ending.name())]);
        }
        if let Some((contentions, seconds)) = p.mutex {
            self.add(metric::MUTEX_CONTENTIONS, contentions, vec![]);
            self.push(metric::MUTEX_DELAY, seconds, vec![]);
        }
    }

    fn add_known(&mut self, metric: &'static Described, value: Option<u64>, attributes: Vec<KeyValue>) {
        if let Some(value) = value {
            self.add(metric, value, attributes);
        }
    }

    fn add(&mut self, metric: &'static Described, value: u64, attributes: Vec<KeyValue>) {
        self.push(metric, value as f64, attributes);
    }

    fn push(&mut self, metric: &'static Described, value: f64, attributes: Vec<KeyValue>) {
        let start = if metric.kind == Kind::Counter { self.start } else { 0 };
        let point = point(self.time, start, value, attributes);
        match &mut self.metric(metric).data {
            Some(Data::Gauge(g)) => g.data_points.push(point),
            Some(Data::Sum(s)) => s.data_points.push(point),
            _ => {}
        }
    }

    fn metric(&mut self, metric: &'static Described) -> &mut Metric {
        self.metrics.entry(metric.name).or_insert_with(|| metric.with(Vec::new()))
    }

    fn lifetimes(&mut self, lifetimes: &Lifetimes, attributes: Vec<KeyValue>) {
        let p = HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.time,
            count: lifetimes.buckets.iter().sum(),
            sum: Some(lifetimes.sum),
            bucket_counts: lifetimes.buckets.to_vec(),
            explicit_bounds: BOUNDS.iter().map(|b| *b as f64).collect(),
            ..Default::default()
        };
        if let Some(Data::Histogram(h)) = &mut self.metric(metric::LIFETIME).data {
            h.data_points.push(p);
        }
    }
}

/// The attributes that make a series.
fn base_attributes(origin: Origin, s: &SeriesPoint) -> Vec<KeyValue> {
    let pairs = [
        (names::ATTR_SOURCE, origin.name()),
        (names::ATTR_RESOURCE, s.resource.as_str()),
        (names::ATTR_SIDE, s.side.as_str()),
        (names::ATTR_TARGET, s.target.as_str()),
    ];
    pairs.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| kv(k, v)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_at_every_bound_they_reach() {
        let mut counts = Reached::default();
        [0.5, 1.0, 7.0, 100_000.0, f64::NAN].into_iter().for_each(|v| counts.add(v));
        assert_eq!(counts.0[..3], [3, 2, 1]);
        assert_eq!(counts.0[BOUNDS.len() - 1], 1);
    }

    #[test]
    fn a_lifetime_falls_into_the_bucket_of_its_upper_bound() {
        let mut lifetimes = Lifetimes::default();
        for s in [1.0, 1.1, 90_000.0] {
            lifetimes.record(s);
        }
        assert_eq!((lifetimes.buckets[0], lifetimes.buckets[1], lifetimes.buckets[BOUNDS.len()]), (1, 1, 1));
    }

    #[test]
    fn one_metric_holds_the_points_of_all_series() {
        let series = ["a", "b"].map(|target| SeriesPoint {
            resource: "grpc_client".into(),
            target: target.into(),
            open: 3,
            idle: Some([2; BOUNDS.len()]),
            ..Default::default()
        });
        let made = metrics(&ProcessInfo::default(), Origin::Events, 5, 1, &series, &ProcessPoint::default());
        let list = &made.scope_metrics[0].metrics;
        let points = |name: &str| match list.iter().find(|m| m.name == name).and_then(|m| m.data.as_ref()) {
            Some(Data::Gauge(g)) => g.data_points.len(),
            _ => 0,
        };
        assert_eq!(
            (points(names::OPEN), points(names::IDLE), points(names::OLDER)),
            (2, 2 * BOUNDS.len(), 0)
        );
    }
}
