//! Own traces.

use serde::{Deserialize, Serialize};

use super::{Empty, MetricsLevel, TelemetryProcessor};
use crate::{Issues, Validate};

/// `service::telemetry::traces`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// `none` turns traces off; all other levels are the same.
    pub level: MetricsLevel,
    /// How the context travels: `tracecontext`, `b3`. Other names are errors where there are processors.
    pub propagators: Vec<String>,
    /// Who gets them; nobody by default, and then there are no traces.
    pub processors: Vec<TelemetryProcessor>,
    /// Which traces are kept; all of them when not given.
    pub sampler: Option<Box<Sampler>>,
    /// Limits of a span.
    pub limits: Option<SpanLimits>,
}

impl Validate for TracesConfig {
    fn validate(&self, issues: &mut Issues) {
        // Without traces nothing travels, and the Collector does not look at the names either.
        if self.level == MetricsLevel::None || self.processors.is_empty() {
            return;
        }
        for name in &self.propagators {
            if !matches!(name.as_str(), "tracecontext" | "b3") {
                let help = "the propagators are tracecontext and b3";
                issues.at_with_help("propagators", "unsupported trace propagator", help);
            }
        }
    }
}

/// Which traces are kept; one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampler {
    /// All.
    pub always_on: Option<Empty>,
    /// None.
    pub always_off: Option<Empty>,
    /// This share, by trace id.
    pub trace_id_ratio_based: Option<RatioSampler>,
    /// As the parent span says.
    pub parent_based: Option<ParentBasedSampler>,
}

/// A share of traces.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RatioSampler {
    /// From 0 to 1.
    pub ratio: Option<f64>,
}

/// As the parent span says, and where there is none, as `root` says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ParentBasedSampler {
    pub root: Option<Box<Sampler>>,
    pub remote_parent_sampled: Option<Box<Sampler>>,
    pub remote_parent_not_sampled: Option<Box<Sampler>>,
    pub local_parent_sampled: Option<Box<Sampler>>,
    pub local_parent_not_sampled: Option<Box<Sampler>>,
}

/// Limits of a span.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct SpanLimits {
    pub attribute_count_limit: Option<i64>,
    pub attribute_value_length_limit: Option<i64>,
    pub event_attribute_count_limit: Option<i64>,
    pub event_count_limit: Option<i64>,
    pub link_attribute_count_limit: Option<i64>,
    pub link_count_limit: Option<i64>,
}
