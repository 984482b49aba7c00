//! Names of attributes and metrics, in one place. Semantic conventions 1.44 where they have one; `connection.*` and
//! `leak.*` are ours and documented in docs/telemetry.md.

use weir_pdata::otlp;
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::{AggregationTemporality, Histogram, Metric, NumberDataPoint};

/// Bounds of age and idle time, in seconds: what `connection.open.older` and `connection.open.idle` are measured at.
pub const BOUNDS: [u64; 15] =
    [1, 5, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 21_600, 43_200, 86_400];

/// Instrumentation scope of everything that is made here.
pub const SCOPE: &str = "weir/connection";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value of now.
    Gauge,
    /// A cumulative sum that only grows.
    Counter,
    /// A cumulative histogram with the bounds of [`BOUNDS`].
    Histogram,
}

/// A metric as it describes itself, and as docs/telemetry.md lists it.
#[derive(Debug)]
pub struct Described {
    /// Name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Unit in UCUM, with annotations.
    pub unit: &'static str,
    /// Attributes of its points beside those of the series, for readers.
    pub attributes: &'static str,
    /// What it means.
    pub description: &'static str,
}

impl Described {
    /// The metric with these points; a histogram has points of another kind and begins empty.
    pub fn with(&self, points: Vec<NumberDataPoint>) -> Metric {
        match self.kind {
            Kind::Gauge => otlp::gauge(self.name, self.unit, self.description, points),
            Kind::Counter => otlp::counter(self.name, self.unit, self.description, points),
            Kind::Histogram => {
                let aggregation_temporality = AggregationTemporality::Cumulative as i32;
                let empty = Histogram { data_points: Vec::new(), aggregation_temporality };
                otlp::metric(self.name, self.unit, self.description, Data::Histogram(empty))
            }
        }
    }
}

macro_rules! metrics {
    ($module:ident, $what:literal: $($name:ident = $text:literal, $kind:ident, $unit:literal, [$attributes:literal], $description:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: &str = $text;
        )*
        #[doc = $what]
        pub mod $module {
            use super::{Described, Kind};
            $(
                #[doc = concat!("`", $text, "`")]
                pub const $name: &Described = &Described {
                    name: $text,
                    kind: Kind::$kind,
                    unit: $unit,
                    attributes: $attributes,
                    description: $description,
                };
            )*
            /// All of them, in the order of the documents.
            pub const ALL: &[&Described] = &[$($name),*];
        }
    };
}

metrics! { metric, "Metrics of the sources.":
    OPEN = "connection.open", Gauge, "{connection}", [""], "open now";
    OPENED = "connection.opened", Counter, "{connection}", [""], "opened since the process started, or was first seen";
    CLOSED = "connection.closed", Counter, "{connection}", [""], "closed since the process started, or was first seen";
    OLDER = "connection.open.older", Gauge, "{connection}", ["`connection.bound` (int, s), one point for each bound"],
        "open now and at least as old as the bound";
    IDLE = "connection.open.idle", Gauge, "{connection}", ["`connection.bound` (int, s), one point for each bound"],
        "open now and without payload for at least the bound; an age counts from begin when there was none";
    UNUSED = "connection.open.unused", Gauge, "{connection}", [""],
        "open now and idle since their first call: at most one RPC, and no activity for the smallest bound that is at least 1 s";
    LIFETIME = "connection.lifetime", Histogram, "s", [""], "lifetimes of those that ended";
    BY_SITE = "connection.open.by_site", Gauge, "{connection}",
        ["`code.file.path`, `code.line.number`, `code.function.name`, `connection.site.source` = `events`, `label`, `custom_profile`, `heap`, `allocs`, `created_by`; at most 20 sites"],
        "open now by the line that made them";
    LOAD = "connection.load", Counter, "{call}", ["`connection.source`, `connection.side`"], "calls made, where they are known";
    COLLECTED = "connection.collected", Counter, "{connection}", [""],
        "clients garbage collected without Close, as their process saw it";
    LOST = "connection.lost", Counter, "{event}", [""], "begin or end events that a snapshot showed were lost";
    ALIVE_AFTER_END = "connection.alive_after_end", Gauge, "{connection}", ["`connection.bound` (int, s)"],
        "sockets in ESTABLISHED although their connection ended at least the bound ago, by the process's own word";
    GOROUTINES = "connection.goroutines", Gauge, "{goroutine}", ["`goroutine.kind`"],
        "goroutines by stable anchor, whole process";
    LEAKED_GOROUTINES = "connection.goroutines.leaked", Gauge, "{goroutine}", ["`goroutine.kind`"],
        "goroutines that the runtime proved leaked (profile goroutineleak), where it is asked for";
    MUTEX_CONTENTIONS = "connection.mutex.contentions", Counter, "{contention}", [""],
        "contentions of mutexes, where the service samples them";
    MUTEX_DELAY = "connection.mutex.delay", Counter, "s", [""], "time waited for mutexes";
    SPANS_DROPPED = "connection.spans.dropped", Counter, "{span}", [""],
        "setup and lifetime spans of the process that spans_per_second held back";
    PROCESS_ENDED = "connection.process.ended", Gauge, "{process}",
        ["`connection.process.end` = `exited` (the kernel says so), `stopped` (its module said that it was stopped), `replaced` (it fell silent, and since then its service runs under the same pid of the same host)"],
        "1, once: the last that a source says of a process";
    FD_COUNT = "process.unix.file_descriptor.count", Gauge, "{file_descriptor}", [""], "open file descriptors";
    FD_LIMIT = "process.unix.file_descriptor.limit", Gauge, "{file_descriptor}", [""], "soft limit RLIMIT_NOFILE";
    MEMORY_USAGE = "process.memory.usage", Gauge, "By", [""], "resident memory";
    MEMORY_LIMIT = "process.memory.limit", Gauge, "By", [""], "memory limit of the cgroup, else the machine's memory";
    EPHEMERAL_PORTS = "process.network.ephemeral_ports", Gauge, "{port}", [""], "size of ip_local_port_range";
}

metrics! { leak_metric, "Metrics of the detector.":
    LEAK_STATE = "leak.state", Gauge, "{state}", [""], "0 ok, 1 suspect, 2 leaking, 3 recovering";
    LEAK_OPEN = "leak.open_connections", Gauge, "{connection}", [""], "open now";
    LEAK_RATE = "leak.rate", Gauge, "{connection}/s", [""], "growth since the onset";
    LEAK_EXHAUSTION = "leak.seconds_to_exhaustion", Gauge, "s",
        ["`leak.limit` = `memory`, `descriptors`, `ephemeral_ports`"],
        "until that limit is reached at this rate; no point for a limit that is never reached";
}

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {$(
        #[doc = concat!("`", $text, "`")]
        pub const $name: &str = $text;
    )*};
}

names! {
    LEAK_CLASS = "leak.class";
    LEAK_SITE = "leak.site";
    LEAK_CONFIDENCE = "leak.confidence";
    LEAK_LIMIT = "leak.limit";
    LEAK_EVENT = "leak.state.changed";

    ATTR_SOURCE = "connection.source";
    ATTR_RESOURCE = "connection.resource";
    ATTR_SIDE = "connection.side";
    ATTR_TARGET = "connection.target";
    ATTR_BOUND = "connection.bound";
    ATTR_SITE_SOURCE = "connection.site.source";
    ATTR_GOROUTINE_KIND = "goroutine.kind";
    ATTR_PROCESS_END = "connection.process.end";
    ATTR_FILE = "code.file.path";
    ATTR_LINE = "code.line.number";
    ATTR_FUNCTION = "code.function.name";

    SERVICE_NAME = "service.name";
    SERVICE_INSTANCE_ID = "service.instance.id";
    PROCESS_PID = "process.pid";
    PROCESS_START_TICKS = "process.start_ticks";
    PROCESS_CREATION_TIME = "process.creation.time";
    PROCESS_EXECUTABLE_NAME = "process.executable.name";
    HOST_NAME = "host.name";
}
