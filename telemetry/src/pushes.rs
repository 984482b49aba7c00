//! Whether metrics are pushed yet.
//!
//! The SDK pushes at each interval and, whatever happens, at the end. What a reload has set up and is refused must not: its counts
//! are all zero, and whoever gets them would take that for a restart of the agent that goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

/// Shared by what pushes the metrics of one agent; not begun yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pushes(Arc<AtomicBool>);

impl Pushes {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An exporter that pushes nothing before it has begun.
    pub(crate) fn by<E: PushMetricExporter>(&self, exporter: E) -> impl PushMetricExporter + use<E> {
        Pushing { exporter, pushes: self.clone() }
    }
}

struct Pushing<E> {
    exporter: E,
    pushes: Pushes,
}

impl<E: PushMetricExporter> PushMetricExporter for Pushing<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        match self.pushes.0.load(Ordering::Relaxed) {
            true => self.exporter.export(metrics).await,
            false => Ok(()),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
