//! What the detector is told: observations of series and of processes, each with its collection time.
//!
//! Every number may be missing. Values that are negative, above 10^15 or not finite are treated as missing.

use std::fmt;
use weir_connection::publish::Ending;

/// Bounds, in seconds, at which ages and idle times are published.
pub const BOUNDS: [u32; 15] =
    [1, 5, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 21_600, 43_200, 86_400];

/// Sites kept per series; what goes beyond is ignored.
pub const MAX_SITES: usize = 20;

/// What is known of a process's identity; views of one process are joined by it.
///
/// Two keys mean the same process when host, pid and start ticks agree; else when the instances agree; else, for a key
/// that has neither, when there is exactly one process of that service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ProcessKey {
    /// `host.name`; empty when unknown.
    pub host: String,
    /// `process.pid`; 0 when unknown.
    pub pid: i64,
    /// `process.start_ticks`; 0 when unknown.
    pub start_ticks: u64,
    /// `service.instance.id`; empty when unknown.
    pub instance: String,
    /// `service.name`; empty when unknown.
    pub service: String,
}

/// Which view a series comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Source {
    /// From inside the process; also the metrics of anyone's instrumentation, which carry no source.
    #[default]
    Events,
    /// From the kernel.
    Sockets,
    /// From goroutine profiles.
    Profile,
}

impl Source {
    /// The source with this value of `connection.source`; anything else is read as events.
    pub fn from_name(name: &str) -> Self {
        match name {
            "sockets" => Source::Sockets,
            "profile" => Source::Profile,
            _ => Source::Events,
        }
    }

    /// The word used in evidence.
    pub fn name(self) -> &'static str {
        match self {
            Source::Events => "events",
            Source::Sockets => "sockets",
            Source::Profile => "goroutines",
        }
    }
}

/// Which end of the connection the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Side {
    /// Not said.
    #[default]
    Unknown,
    /// The process dialled.
    Client,
    /// The process accepted.
    Server,
}

impl Side {
    /// The side with this value of `connection.side`.
    pub fn from_name(name: &str) -> Self {
        match name {
            "client" => Side::Client,
            "server" => Side::Server,
            _ => Side::Unknown,
        }
    }

    /// `client`, `server` or empty.
    pub fn name(self) -> &'static str {
        match self {
            Side::Unknown => "",
            Side::Client => "client",
            Side::Server => "server",
        }
    }

    /// Whether both may speak of the same end.
    pub fn agrees(self, other: Side) -> bool {
        self == other || self == Side::Unknown || other == Side::Unknown
    }
}

/// What is counted. The order is the order of preference for the primary series of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// grpc-go ClientConns: they outlive their sockets, hence the first choice.
    GrpcClient,
    /// HTTP/2 transports of gRPC.
    GrpcConnection,
    /// net/http Transports.
    HttpTransport,
    /// net/http persistent connections.
    HttpConnection,
    /// TCP sockets in CLOSE_WAIT.
    CloseWait,
    /// TCP sockets.
    Socket,
    /// Open client streams.
    GrpcStream,
    /// Whatever else somebody counts, such as `http.client.open_connections`.
    Other(String),
    /// Goroutines, whole process.
    Goroutine,
}

impl Resource {
    /// The resource with this value of `connection.resource`.
    pub fn from_name(name: &str) -> Self {
        match name {
            "grpc_client" => Resource::GrpcClient,
            "grpc_connection" => Resource::GrpcConnection,
            "grpc_stream" => Resource::GrpcStream,
            "socket" => Resource::Socket,
            "close_wait" => Resource::CloseWait,
            "http_connection" => Resource::HttpConnection,
            "http_transport" => Resource::HttpTransport,
            "goroutine" => Resource::Goroutine,
            other => Resource::Other(other.to_owned()),
        }
    }

    /// The value of `connection.resource`.
    pub fn name(&self) -> &str {
        match self {
            Resource::GrpcClient => "grpc_client",
            Resource::GrpcConnection => "grpc_connection",
            Resource::GrpcStream => "grpc_stream",
            Resource::Socket => "socket",
            Resource::CloseWait => "close_wait",
            Resource::HttpConnection => "http_connection",
            Resource::HttpTransport => "http_transport",
            Resource::Goroutine => "goroutine",
            Resource::Other(name) => name,
        }
    }

    /// Names that say resource and side at once are taken apart: `grpc_server_connection`, `http_server_connection`; and
    /// `http2_connection` counts as `http_connection`.
    pub(crate) fn canonical(self, side: Side) -> (Self, Side) {
        match &self {
            Resource::Other(name) => match name.as_str() {
                "grpc_server_connection" => (Resource::GrpcConnection, Side::Server),
                "http_server_connection" => (Resource::HttpConnection, Side::Server),
                "http2_connection" => (Resource::HttpConnection, side),
                _ => (self, side),
            },
            _ => (self, side),
        }
    }

    /// Whether it is one of gRPC's.
    pub fn is_grpc(&self) -> bool {
        matches!(self, Resource::GrpcClient | Resource::GrpcConnection | Resource::GrpcStream)
    }
}

/// The subject of one detector: who, from which view, what, towards whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The process.
    pub process: ProcessKey,
    /// The view.
    pub source: Source,
    /// What is counted.
    pub resource: Resource,
    /// Which end.
    pub side: Side,
    /// `address:port` or gRPC target; empty for the whole process.
    pub target: String,
}

/// How the line of a site is known; the order is the order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SiteSource {
    /// Captured at the call; exact.
    Events,
    /// pprof label; exact.
    Label,
    /// Custom pprof profile; exact.
    CustomProfile,
    /// Sampled heap profile.
    Heap,
    /// Sampled allocations.
    Allocs,
    /// The line that started the goroutine.
    CreatedBy,
}

impl SiteSource {
    /// The source with this value of `connection.site.source`; nothing for other values.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "events" => SiteSource::Events,
            "label" => SiteSource::Label,
            "custom_profile" => SiteSource::CustomProfile,
            "heap" => SiteSource::Heap,
            "allocs" => SiteSource::Allocs,
            "created_by" => SiteSource::CreatedBy,
            _ => return None,
        })
    }

    /// The value of `connection.site.source`.
    pub fn name(self) -> &'static str {
        match self {
            SiteSource::Events => "events",
            SiteSource::Label => "label",
            SiteSource::CustomProfile => "custom_profile",
            SiteSource::Heap => "heap",
            SiteSource::Allocs => "allocs",
            SiteSource::CreatedBy => "created_by",
        }
    }
}

/// A source line and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteKey {
    /// How it is known.
    pub source: SiteSource,
    /// File as compiled.
    pub file: String,
    /// Line from 1; 0 when unknown.
    pub line: i64,
    /// Function.
    pub function: String,
}

impl fmt::Display for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 { write!(f, "{}:{}", self.file, self.line) } else { f.write_str(&self.file) }
    }
}

/// One series at one collection time.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The series.
    pub key: SeriesKey,
    /// Collection time, Unix ns, by the clock of whoever collected.
    pub time_ns: i64,
    /// The numbers.
    pub sample: Sample,
}

/// The numbers of one series at one time; `None` or an empty list means not known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Open now.
    pub open: Option<f64>,
    /// Opened since the process started, cumulative.
    pub opened: Option<f64>,
    /// Closed likewise.
    pub closed: Option<f64>,
    /// (bound in s, open now and at least that old).
    pub older: Vec<(u32, f64)>,
    /// (bound in s, open now and without payload for at least that long).
    pub idle: Vec<(u32, f64)>,
    /// Open now and idle since their first call.
    pub unused: Option<f64>,
    /// (bound in s, ended since the process started after a life of at least that long), cumulative; see [`outlived`].
    pub outlived: Vec<(u32, f64)>,
    /// Open now by the line that made them.
    pub by_site: Vec<(SiteKey, f64)>,
    /// Calls made, cumulative.
    pub load: Option<f64>,
    /// Begin and end events known to be lost, cumulative.
    pub lost: Option<f64>,
    /// Clients collected by the garbage collector without Close, cumulative.
    pub collected: Option<f64>,
    /// (bound in s, sockets still ESTABLISHED although their connection ended at least that long ago).
    pub alive_after_end: Vec<(u32, f64)>,
}

impl Sample {
    /// Takes over what this one does not have; true when that was anything.
    pub(crate) fn fill(&mut self, other: Sample) -> bool {
        let numbers = [
            (&mut self.open, other.open),
            (&mut self.opened, other.opened),
            (&mut self.closed, other.closed),
            (&mut self.unused, other.unused),
            (&mut self.load, other.load),
            (&mut self.lost, other.lost),
            (&mut self.collected, other.collected),
        ];
        let mut filled = false;
        for (mine, theirs) in numbers {
            if mine.is_none() && theirs.is_some() {
                *mine = theirs;
                filled = true;
            }
        }
        let lists = [
            (&mut self.older, other.older),
            (&mut self.idle, other.idle),
            (&mut self.outlived, other.outlived),
            (&mut self.alive_after_end, other.alive_after_end),
        ];
        for (mine, theirs) in lists {
            if mine.is_empty() && !theirs.is_empty() {
                *mine = theirs;
                filled = true;
            }
        }
        if self.by_site.is_empty() && !other.by_site.is_empty() {
            self.by_site = other.by_site;
            filled = true;
        }
        filled
    }

    /// Drops what cannot be: negative, absurd or non-finite numbers, and what goes beyond the bounds.
    pub(crate) fn sanitise(&mut self) {
        let sane = |value: &f64| possible(*value);
        for number in [
            &mut self.open,
            &mut self.opened,
            &mut self.closed,
            &mut self.unused,
            &mut self.load,
            &mut self.lost,
            &mut self.collected,
        ] {
            *number = number.filter(sane);
        }
        for list in [&mut self.older, &mut self.idle, &mut self.outlived, &mut self.alive_after_end] {
            list.retain(|(_, value)| sane(value));
            list.truncate(BOUNDS.len());
        }
        self.by_site.retain(|(_, value)| sane(value));
        self.by_site.truncate(MAX_SITES);
        if self.open.is_none()
            && let (Some(opened), Some(closed)) = (self.opened, self.closed)
        {
            self.open = Some((opened - closed).max(0.0));
        }
    }
}

/// Whether it can be a count, a number of seconds or of bytes.
fn possible(value: f64) -> bool {
    (0.0..=1e15).contains(&value)
}

/// The value at the smallest bound that is at least `seconds`.
pub(crate) fn at_bound(list: &[(u32, f64)], seconds: f64) -> Option<f64> {
    list.iter()
        .filter(|(bound, _)| f64::from(*bound) >= seconds)
        .min_by_key(|(bound, _)| *bound)
        .map(|(_, value)| *value)
}

/// [`Sample::outlived`] from the buckets of a cumulative histogram of lifetimes with these explicit bounds, in seconds.
///
/// `counts` has one element more than `bounds`, as in OTLP; other lengths give an empty list.
pub fn outlived(bounds: &[f64], counts: &[u64]) -> Vec<(u32, f64)> {
    if counts.len() != bounds.len() + 1 {
        return Vec::new();
    }
    let mut list = Vec::new();
    let mut beyond = 0.0;
    for (bound, count) in bounds.iter().zip(&counts[1..]).rev() {
        beyond += *count as f64;
        if *bound >= 1.0 && *bound <= f64::from(u32::MAX) {
            list.push((*bound as u32, beyond));
        }
    }
    list.reverse();
    list
}

/// What is known of a process at one time; all of it optional, later values replace earlier ones one by one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessObservation {
    /// The process.
    pub process: ProcessKey,
    /// Collection time, Unix ns.
    pub time_ns: i64,
    /// Goroutines by kind (see [`census`](crate::detector::census)); replaces the previous census when not empty.
    pub goroutines: Vec<(String, f64)>,
    /// Goroutines that the runtime proved leaked (profile goroutineleak), by kind; replaces the previous ones when not empty.
    pub leaked: Vec<(String, f64)>,
    /// Further facts.
    pub facts: Facts,
}

/// Facts of a process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// `process.executable.name`.
    pub executable: Option<String>,
    /// `process.creation.time`, Unix s.
    pub started: Option<f64>,
    /// Open file descriptors.
    pub descriptors: Option<f64>,
    /// Soft limit of descriptors.
    pub descriptor_limit: Option<f64>,
    /// Resident memory, bytes.
    pub memory: Option<f64>,
    /// Limit of the memory, bytes.
    pub memory_limit: Option<f64>,
    /// Size of the range of ephemeral ports.
    pub ephemeral_ports: Option<f64>,
    /// Contentions of mutexes since the process started; only for the optional thresholds.
    pub mutex_contentions: Option<f64>,
    /// Seconds that were waited in them; only for the optional thresholds.
    pub mutex_delay: Option<f64>,
    /// The process has ended: nothing more is told of it.
    pub ended: Option<Ending>,
}

impl Facts {
    /// Takes over what the other one knows.
    pub(crate) fn update(&mut self, other: Facts) {
        for (mine, theirs) in [
            (&mut self.started, other.started),
            (&mut self.descriptors, other.descriptors),
            (&mut self.descriptor_limit, other.descriptor_limit),
            (&mut self.memory, other.memory),
            (&mut self.memory_limit, other.memory_limit),
            (&mut self.ephemeral_ports, other.ephemeral_ports),
            (&mut self.mutex_contentions, other.mutex_contentions),
            (&mut self.mutex_delay, other.mutex_delay),
        ] {
            if let Some(value) = theirs.filter(|value| possible(*value)) {
                *mine = Some(value);
            }
        }
        if other.executable.is_some() {
            self.executable = other.executable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_of_lifetimes_tells_how_many_outlived_each_bound() {
        let list = outlived(&[1.0, 5.0, 10.0], &[7, 3, 2, 1]);
        assert_eq!(list, vec![(1, 6.0), (5, 3.0), (10, 1.0)]);
        assert!(outlived(&[1.0], &[7]).is_empty(), "counts without the last bucket are refused");
    }

    #[test]
    fn an_age_between_two_bounds_reads_the_next_one() {
        let list = [(1, 9.0), (5, 7.0), (10, 3.0)];
        assert_eq!(at_bound(&list, 5.0), Some(7.0));
        assert_eq!(at_bound(&list, 6.0), Some(3.0));
        assert_eq!(at_bound(&list, 11.0), None);
    }

    #[test]
    fn a_second_part_of_an_observation_only_fills_gaps() {
        let mut first = Sample { open: Some(3.0), ..Sample::default() };
        let second = Sample { open: Some(9.0), idle: vec![(5, 2.0)], ..Sample::default() };
        assert!(first.fill(second.clone()));
        assert_eq!(first.open, Some(3.0));
        assert_eq!(first.idle, vec![(5, 2.0)]);
        assert!(!first.fill(second), "a duplicate brings nothing");
    }

    #[test]
    fn impossible_numbers_are_treated_as_missing() {
        let mut sample = Sample {
            open: Some(f64::NAN),
            opened: Some(5.0),
            closed: Some(2.0),
            idle: vec![(5, -1.0)],
            ..Sample::default()
        };
        sample.sanitise();
        assert_eq!(sample.open, Some(3.0), "from begun and ended");
        assert!(sample.idle.is_empty());
    }
}
