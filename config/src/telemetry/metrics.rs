//! Own metrics.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Console, Empty, OtlpMetricExporter};
use crate::caseless_word;

/// `service::telemetry::metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// How many metrics there are. `normal`.
    pub level: MetricsLevel,
    /// Who gets them. By default one page for Prometheus on `localhost:8888`; a list replaces it.
    pub readers: Vec<MetricReader>,
    /// Changes to single metrics; only at level `detailed`.
    pub views: Option<Vec<View>>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        let prometheus = PrometheusExporter {
            host: Some("localhost".to_owned()),
            port: Some(8888),
            ..PrometheusExporter::default()
        };
        let pull =
            PullReader { exporter: PullExporter { prometheus: Some(prometheus) }, producers: Vec::new() };
        Self {
            level: MetricsLevel::Normal,
            readers: vec![MetricReader { pull: Some(pull), periodic: None, producers: Vec::new() }],
            views: None,
        }
    }
}

/// How much the program measures of itself, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MetricsLevel {
    /// Nothing.
    None,
    /// What is needed to see whether it works.
    Basic,
    /// The usual. The default.
    #[default]
    Normal,
    /// Everything.
    Detailed,
}

impl Serialize for MetricsLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::None => "None",
            Self::Basic => "Basic",
            Self::Normal => "Normal",
            Self::Detailed => "Detailed",
        })
    }
}

impl<'de> Deserialize<'de> for MetricsLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const NAMES: &[&str] = &["none", "basic", "normal", "detailed"];
        Ok(match caseless_word(deserializer, "unknown metrics level %q", NAMES, &[""])? {
            0 => Self::None,
            1 => Self::Basic,
            3 => Self::Detailed,
            _ => Self::Normal,
        })
    }
}

/// One way out for metrics: `pull` or `periodic`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricReader {
    /// Others fetch them.
    pub pull: Option<PullReader>,
    /// They are sent from time to time.
    pub periodic: Option<PeriodicReader>,
    /// Further sources of metrics; accepted, without effect.
    pub producers: Vec<MetricProducer>,
}

/// A source of metrics besides the program itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricProducer {
    /// OpenCensus; without effect.
    pub opencensus: Option<Empty>,
    /// Prometheus; without effect.
    pub prometheus: Option<Empty>,
}

/// Others fetch the metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PullReader {
    /// In which form.
    pub exporter: PullExporter,
    /// Further sources of metrics; accepted, without effect.
    pub producers: Vec<MetricProducer>,
}

/// In which form the metrics can be fetched.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PullExporter {
    /// The page `/metrics` for Prometheus.
    pub prometheus: Option<PrometheusExporter>,
}

/// The page `/metrics` for Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusExporter {
    /// Where to listen. `localhost`.
    pub host: Option<String>,
    /// The port. 8888 in the default reader; else it has to be given.
    pub port: Option<u16>,
    /// Leave out `otel_scope_*` labels and `otel_scope_info`. True unless given.
    pub without_scope_info: bool,
    /// Leave out `_total`. True unless given.
    pub without_type_suffix: bool,
    /// Leave out units in names. True unless given.
    pub without_units: bool,
    /// Attributes of the resource that become labels of each series.
    pub with_resource_constant_labels: Option<IncludeExclude>,
}

impl Default for PrometheusExporter {
    fn default() -> Self {
        Self {
            host: None,
            port: None,
            without_scope_info: true,
            without_type_suffix: true,
            without_units: true,
            with_resource_constant_labels: None,
        }
    }
}

/// Names taken and names left out; `*` and `?` stand for any characters and any one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IncludeExclude {
    /// Names taken.
    pub included: Vec<String>,
    /// Names left out.
    pub excluded: Vec<String>,
}

/// Metrics are sent from time to time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeriodicReader {
    /// Milliseconds between two transmissions; 60000 when not given.
    pub interval: Option<i64>,
    /// Milliseconds that one may take; 30000 when not given.
    pub timeout: Option<i64>,
    /// To whom.
    pub exporter: PeriodicExporter,
    /// Further sources of metrics; accepted, without effect.
    pub producers: Vec<MetricProducer>,
}

/// To whom metrics are sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeriodicExporter {
    /// A receiver of OTLP.
    pub otlp: Option<OtlpMetricExporter>,
    /// Standard output.
    pub console: Option<Console>,
}

/// A change to the metrics that a selector names.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct View {
    /// Which metrics.
    pub selector: Option<ViewSelector>,
    /// What becomes of them.
    pub stream: Option<ViewStream>,
}

/// Which metrics a view changes; what is not given matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct ViewSelector {
    pub instrument_name: Option<String>,
    pub instrument_type: Option<String>,
    pub unit: Option<String>,
    pub meter_name: Option<String>,
    pub meter_version: Option<String>,
    pub meter_schema_url: Option<String>,
}

/// What becomes of the metrics of a view.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewStream {
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// A new aggregation.
    pub aggregation: Option<ViewAggregation>,
    /// Most series of the metric.
    pub aggregation_cardinality_limit: Option<i64>,
    /// Attributes that stay.
    pub attribute_keys: Option<IncludeExclude>,
}

/// An aggregation; one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewAggregation {
    /// As the instrument says.
    pub default: Option<Empty>,
    /// Leave the metric out.
    pub drop: Option<Empty>,
    /// The last value.
    pub last_value: Option<Empty>,
    /// A sum.
    pub sum: Option<Empty>,
    /// A histogram with these bounds.
    pub explicit_bucket_histogram: Option<ExplicitHistogram>,
    /// A histogram with exponential bounds.
    pub base2_exponential_bucket_histogram: Option<ExponentialHistogram>,
}

/// A histogram with given bounds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplicitHistogram {
    /// Upper bounds, ascending.
    pub boundaries: Vec<f64>,
    /// Whether to keep smallest and largest value.
    pub record_min_max: Option<bool>,
}

/// A histogram with exponential bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExponentialHistogram {
    /// Largest scale.
    pub max_scale: Option<i64>,
    /// Most buckets.
    pub max_size: Option<i64>,
    /// Whether to keep smallest and largest value.
    pub record_min_max: Option<bool>,
}
