//! The four kinds of telemetry.

use std::fmt;

/// A kind of telemetry. Ordered and indexable, so that per-signal tables are plain arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
    /// Log records.
    Logs,
    /// Profile samples (OTLP `v1development`).
    Profiles,
}

impl Signal {
    /// All signals, in the order of their indices.
    pub const ALL: [Signal; 4] = [Signal::Traces, Signal::Metrics, Signal::Logs, Signal::Profiles];

    /// Name as used in pipeline ids: `traces`, `metrics`, `logs`, `profiles`.
    pub fn name(self) -> &'static str {
        ["traces", "metrics", "logs", "profiles"][self.index()]
    }

    /// Position in [`Signal::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The signal of that name.
    pub fn parse(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|s| s.name() == name)
    }

    /// What one item is called in counters: `spans`, `metric_points`, `log_records`, `profile_samples`.
    pub fn items(self) -> &'static str {
        ["spans", "metric_points", "log_records", "profile_samples"][self.index()]
    }

    /// Full name of the OTLP gRPC service that exports this signal.
    pub fn service(self) -> &'static str {
        [
            "opentelemetry.proto.collector.trace.v1.TraceService",
            "opentelemetry.proto.collector.metrics.v1.MetricsService",
            "opentelemetry.proto.collector.logs.v1.LogsService",
            "opentelemetry.proto.collector.profiles.v1development.ProfilesService",
        ][self.index()]
    }

    /// Default path of OTLP/HTTP.
    pub fn path(self) -> &'static str {
        ["/v1/traces", "/v1/metrics", "/v1/logs", "/v1development/profiles"][self.index()]
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
