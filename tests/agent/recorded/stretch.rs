//! Metrics of the sources as if they had been collected more slowly, and without traces of the machine they come from.

use weir_pdata::Payload;
use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::number_data_point::Value as Number;
use weir_pdata::otlp::metrics::v1::{HistogramDataPoint, Metric, NumberDataPoint};

/// Attribute with an age or idle time in seconds.
const BOUND: &str = "connection.bound";

/// All metrics of a request.
pub(super) fn metrics(request: &MetricsRequest) -> impl Iterator<Item = &Metric> {
    request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics)
}

/// When it was collected, Unix ns: the time of its points.
pub(super) fn time(request: &MetricsRequest) -> u64 {
    let of = |metric: &Metric| match &metric.data {
        Some(Data::Gauge(g)) => g.data_points.iter().map(|p| p.time_unix_nano).max(),
        Some(Data::Sum(s)) => s.data_points.iter().map(|p| p.time_unix_nano).max(),
        _ => None,
    };
    metrics(request).filter_map(of).max().unwrap_or_default()
}

/// The value of a point.
pub(super) fn value(point: &NumberDataPoint) -> Option<f64> {
    match point.value? {
        Number::AsDouble(value) => Some(value),
        Number::AsInt(value) => Some(value as f64),
    }
}

/// Lets all times since `first` pass `slower` times as slowly, from `epoch` on: times of points, ages, idle times and
/// lifetimes. Counts stay.
pub(super) fn stretch(request: &mut MetricsRequest, first: u64, epoch: u64, slower: u64) {
    let moved = |time: u64| {
        if time >= first {
            epoch + (time - first) * slower
        } else {
            epoch.saturating_sub((first - time) * slower)
        }
    };
    let number = |point: &mut NumberDataPoint| {
        point.time_unix_nano = moved(point.time_unix_nano);
        if point.start_time_unix_nano > 0 {
            point.start_time_unix_nano = moved(point.start_time_unix_nano);
        }
        for attribute in point.attributes.iter_mut().filter(|a| a.key == BOUND) {
            if let Some(AnyValue { value: Some(Value::IntValue(bound)) }) = &mut attribute.value {
                *bound *= slower.cast_signed();
            }
        }
    };
    let histogram = |point: &mut HistogramDataPoint| {
        point.time_unix_nano = moved(point.time_unix_nano);
        point.start_time_unix_nano = moved(point.start_time_unix_nano);
        point.explicit_bounds.iter_mut().for_each(|bound| *bound *= slower as f64);
    };
    for metric in each(request) {
        match &mut metric.data {
            Some(Data::Gauge(g)) => g.data_points.iter_mut().for_each(number),
            Some(Data::Sum(s)) => s.data_points.iter_mut().for_each(number),
            Some(Data::Histogram(h)) => h.data_points.iter_mut().for_each(histogram),
            _ => {}
        }
    }
}

/// The request as bytes, with sources below `root` instead of `from`, and a host and an executable of general names.
pub(super) fn anonymous(mut request: MetricsRequest, from: &str, root: &str) -> Vec<u8> {
    let clean = |attribute: &mut KeyValue| {
        let Some(AnyValue { value: Some(Value::StringValue(text)) }) = &mut attribute.value else { return };
        match attribute.key.as_str() {
            "host.name" => "node-1".clone_into(text),
            "process.executable.name" => "leaky-client".clone_into(text),
            _ => {
                *text = text.replace(from, root);
                if let Some((_, module)) = text.split_once("/pkg/mod/") {
                    *text = format!("/go/pkg/mod/{module}");
                }
            }
        }
    };
    for resource in &mut request.resource_metrics {
        resource.resource.iter_mut().flat_map(|r| &mut r.attributes).for_each(clean);
    }
    for metric in each(&mut request) {
        match &mut metric.data {
            Some(Data::Gauge(g)) => g.data_points.iter_mut().flat_map(|p| &mut p.attributes).for_each(clean),
            Some(Data::Sum(s)) => s.data_points.iter_mut().flat_map(|p| &mut p.attributes).for_each(clean),
            _ => {}
        }
    }
    Payload::from(request).to_bytes().to_vec()
}

fn each(request: &mut MetricsRequest) -> impl Iterator<Item = &mut Metric> {
    request.resource_metrics.iter_mut().flat_map(|r| &mut r.scope_metrics).flat_map(|s| &mut s.metrics)
}
