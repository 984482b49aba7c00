//! The agent's own logs, metrics and traces, as `service::telemetry` configures them.
//!
//! Logs have the shape of the Collector's console and JSON encoders, so that what greps them goes on working. Metrics
//! and traces are opentelemetry's, read by Prometheus on :8888 and pushed over OTLP. What is not configured costs
//! nothing.

mod console;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
mod detectors;
mod file;
mod identity;
mod logs;
mod metrics;
mod otlp;
mod outlet;
mod process;
mod prometheus;
mod propagators;
mod pushes;
mod records;
mod traces;
mod views;
mod wildcard;

pub use file::look_again;
pub use identity::Identity;
pub use logs::{FormerLogs, Logs, NextLogs, UNSAMPLED, init_logs};
pub use metrics::{Metrics, init_metrics};
pub use outlet::{Flush, Outlet, Worth, eprint, stderr, stdout};
pub use prometheus::{Answer, Page};
#[cfg(feature = "fuzzing")]
pub use propagators::check::trace_context as check_trace_context;
pub use traces::{Traces, init_traces};

/// What the agent says of itself carries the real time, simulated or not.
#[expect(clippy::disallowed_methods, reason = "self-telemetry is outside of the pipelines")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
