//! The agent's own logs and metrics, as `service::telemetry` configures them.
//!
//! Logs have the shape of the Collector's console and JSON encoders, so that what greps them goes on working. Metrics
//! are opentelemetry instruments, read by Prometheus on :8888 and pushed over OTLP.

mod logs;
mod metrics;

pub use logs::{Identity, init_logs};
pub use metrics::{Metrics, init_metrics};
