//! Owned OTLP messages and short ways to write them: how a component makes telemetry of its own.

pub use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as LogsRequest;
pub use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as MetricsRequest;
pub use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest as ProfilesRequest;
pub use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as TracesRequest;
pub use opentelemetry_proto::tonic::{common, logs, metrics, profiles, resource, trace};

use common::v1::any_value::Value;
use common::v1::{AnyValue, InstrumentationScope, KeyValue};
use metrics::v1::metric::Data;
use metrics::v1::number_data_point::Value as Number;
use metrics::v1::{AggregationTemporality, Gauge, Metric, NumberDataPoint, Sum};
use resource::v1::Resource;

/// An attribute value of one of the simple types.
#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    /// Text.
    Str(String),
    /// Integer.
    Int(i64),
    /// Floating point.
    Double(f64),
    /// Boolean.
    Bool(bool),
}

impl From<&str> for Attr {
    fn from(v: &str) -> Self {
        Attr::Str(v.to_owned())
    }
}
impl From<String> for Attr {
    fn from(v: String) -> Self {
        Attr::Str(v)
    }
}
impl From<i64> for Attr {
    fn from(v: i64) -> Self {
        Attr::Int(v)
    }
}
impl From<f64> for Attr {
    fn from(v: f64) -> Self {
        Attr::Double(v)
    }
}
impl From<bool> for Attr {
    fn from(v: bool) -> Self {
        Attr::Bool(v)
    }
}

/// One attribute.
pub fn kv(key: &str, value: impl Into<Attr>) -> KeyValue {
    let value = match value.into() {
        Attr::Str(s) => Value::StringValue(s),
        Attr::Int(i) => Value::IntValue(i),
        Attr::Double(d) => Value::DoubleValue(d),
        Attr::Bool(b) => Value::BoolValue(b),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// A resource with these attributes.
pub fn resource(attributes: Vec<KeyValue>) -> Resource {
    Resource { attributes, ..Default::default() }
}

/// An instrumentation scope.
pub fn scope(name: &str, version: &str) -> InstrumentationScope {
    InstrumentationScope { name: name.to_owned(), version: version.to_owned(), ..Default::default() }
}

/// A data point; whole numbers below 2^53 become integers.
pub fn point(time: u64, start: u64, value: f64, attributes: Vec<KeyValue>) -> NumberDataPoint {
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    let value = if whole { Number::AsInt(value as i64) } else { Number::AsDouble(value) };
    NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(value),
        ..Default::default()
    }
}

/// A gauge.
pub fn gauge(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, unit, description, Data::Gauge(Gauge { data_points }))
}

/// A monotonic cumulative sum.
pub fn counter(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    metric(
        name,
        unit,
        description,
        Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }),
    )
}

/// A metric of any data.
pub fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(data),
        ..Default::default()
    }
}
