//! `service::telemetry`: what the program says about itself. The schema is that of the OpenTelemetry configuration
//! file format 0.3, as the Collector uses it; the forms of 0.2 that differ only in headers are taken as well.

mod export;
mod logs;
mod metrics;
mod output_path;
mod resource;
mod traces;

use serde::{Deserialize, Serialize};

pub use export::{
    BatchProcessor, Console, OtlpExporter, OtlpMetricExporter, PushExporter, SimpleProcessor,
    TelemetryProcessor,
};
pub use logs::{LogEncoding, LogLevel, LogSampling, LogsConfig};
pub use metrics::{
    ExplicitHistogram, ExponentialHistogram, IncludeExclude, MetricProducer, MetricReader, MetricsConfig,
    MetricsLevel, PeriodicExporter, PeriodicReader, PrometheusExporter, PullExporter, PullReader, View,
    ViewAggregation, ViewSelector, ViewStream,
};
pub use output_path::OutputPath;
pub use resource::{ResourceAttribute, ResourceConfig};
pub use traces::{ParentBasedSampler, RatioSampler, Sampler, SpanLimits, TracesConfig};

use crate::{Issues, Validate};

/// `service::telemetry`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Own log lines. On standard error at level `info` by default.
    pub logs: LogsConfig,
    /// Own metrics. On `localhost:8888` for Prometheus by default.
    pub metrics: MetricsConfig,
    /// Own traces. Off by default.
    pub traces: TracesConfig,
    /// What describes this process in all of them.
    pub resource: ResourceConfig,
}

impl Validate for TelemetryConfig {
    fn validate(&self, issues: &mut Issues) {
        let metrics = &self.metrics;
        if metrics.level != MetricsLevel::None && metrics.readers.is_empty() {
            let message = "collector telemetry metrics reader should exist when metric level is not none";
            issues.within("metrics", |issues| issues.at("readers", message));
        }
        if metrics.views.is_some() && metrics.level != MetricsLevel::Detailed {
            let message = "service::telemetry::metrics::views can only be set when \
                           service::telemetry::metrics::level is detailed";
            issues.within("metrics", |issues| issues.at("views", message));
        }
        issues.section("resource", &self.resource);
        issues.section("traces", &self.traces);
    }
}

/// An option that is a mapping without options of its own, such as `console: {}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Empty {}

#[cfg(test)]
mod tests;
