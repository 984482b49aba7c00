//! Metrics of all types.

use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::metrics::v1::exemplar::Value as ExemplarValue;
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::number_data_point::Value as Number;
use weir_pdata::otlp::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};

use super::{ARROW, NONE, attributes, resource, scope};
use crate::normal::exponential_bound;
use crate::number::{Fixed, Id, Time};
use crate::text::Text;

/// All metrics. The flags of their points are not printed, as in the Collector.
pub(crate) fn metrics(text: &mut Text, request: &MetricsRequest) {
    for (i, r) in request.resource_metrics.iter().enumerate() {
        text.line(format_args!("ResourceMetrics #{i}"));
        resource(text, &r.schema_url, r.resource.as_ref(), NONE);
        for (j, s) in r.scope_metrics.iter().enumerate() {
            text.line(format_args!("ScopeMetrics #{j}"));
            scope(text, "ScopeMetrics", &s.schema_url, s.scope.as_ref(), NONE);
            for (k, item) in s.metrics.iter().enumerate() {
                text.line(format_args!("Metric #{k}"));
                descriptor(text, item);
                data(text, item);
            }
        }
    }
}

fn descriptor(text: &mut Text, metric: &Metric) {
    text.line(format_args!("Descriptor:"));
    text.line(format_args!("     -> Name: {}", metric.name));
    text.line(format_args!("     -> Description: {}", metric.description));
    text.line(format_args!("     -> Unit: {}", metric.unit));
    let kind = match metric.data {
        None => "Empty",
        Some(Data::Gauge(_)) => "Gauge",
        Some(Data::Sum(_)) => "Sum",
        Some(Data::Histogram(_)) => "Histogram",
        Some(Data::ExponentialHistogram(_)) => "ExponentialHistogram",
        Some(Data::Summary(_)) => "Summary",
    };
    text.line(format_args!("     -> DataType: {kind}"));
    attributes(text, ARROW, "Metadata", &metric.metadata, NONE);
}

fn data(text: &mut Text, metric: &Metric) {
    match &metric.data {
        None => {}
        Some(Data::Gauge(gauge)) => numbers(text, &gauge.data_points),
        Some(Data::Sum(sum)) => {
            text.line(format_args!("     -> IsMonotonic: {}", sum.is_monotonic));
            temporality(text, sum.aggregation_temporality);
            numbers(text, &sum.data_points);
        }
        Some(Data::Histogram(histogram)) => {
            temporality(text, histogram.aggregation_temporality);
            for (i, point) in histogram.data_points.iter().enumerate() {
                text.line(format_args!("HistogramDataPoints #{i}"));
                histogram_point(text, point);
            }
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            temporality(text, histogram.aggregation_temporality);
            for (i, point) in histogram.data_points.iter().enumerate() {
                text.line(format_args!("ExponentialHistogramDataPoints #{i}"));
                exponential_point(text, point);
            }
        }
        Some(Data::Summary(summary)) => {
            for (i, point) in summary.data_points.iter().enumerate() {
                text.line(format_args!("SummaryDataPoints #{i}"));
                summary_point(text, point);
            }
        }
    }
}

fn temporality(text: &mut Text, number: i32) {
    let name = match number {
        0 => "Unspecified",
        1 => "Delta",
        2 => "Cumulative",
        _ => "",
    };
    text.line(format_args!("     -> AggregationTemporality: {name}"));
}

/// What all points begin with.
fn head(text: &mut Text, of_point: &[KeyValue], start: u64, time: u64) {
    attributes(text, "", "Data point attributes", of_point, NONE);
    text.line(format_args!("StartTimestamp: {}", Time(start)));
    text.line(format_args!("Timestamp: {}", Time(time)));
}

fn numbers(text: &mut Text, points: &[NumberDataPoint]) {
    for (i, point) in points.iter().enumerate() {
        text.line(format_args!("NumberDataPoints #{i}"));
        head(text, &point.attributes, point.start_time_unix_nano, point.time_unix_nano);
        match point.value {
            Some(Number::AsInt(value)) => text.line(format_args!("Value: {value}")),
            Some(Number::AsDouble(value)) => text.line(format_args!("Value: {}", Fixed(value))),
            None => {}
        }
        exemplars(text, &point.exemplars);
    }
}

fn totals(text: &mut Text, count: u64, [sum, min, max]: [Option<f64>; 3]) {
    text.line(format_args!("Count: {count}"));
    for (name, value) in [("Sum", sum), ("Min", min), ("Max", max)] {
        if let Some(value) = value {
            text.line(format_args!("{name}: {}", Fixed(value)));
        }
    }
}

fn histogram_point(text: &mut Text, point: &HistogramDataPoint) {
    head(text, &point.attributes, point.start_time_unix_nano, point.time_unix_nano);
    totals(text, point.count, [point.sum, point.min, point.max]);
    for (i, bound) in point.explicit_bounds.iter().enumerate() {
        text.line(format_args!("ExplicitBounds #{i}: {}", Fixed(*bound)));
    }
    for (i, count) in point.bucket_counts.iter().enumerate() {
        text.line(format_args!("Buckets #{i}, Count: {count}"));
    }
    exemplars(text, &point.exemplars);
}

fn exponential_point(text: &mut Text, point: &ExponentialHistogramDataPoint) {
    head(text, &point.attributes, point.start_time_unix_nano, point.time_unix_nano);
    totals(text, point.count, [point.sum, point.min, point.max]);
    let bounds = |offset: i32, i: usize| {
        let index = f64::from(offset) + i as f64;
        (exponential_bound(point.scale, index), exponential_bound(point.scale, index + 1.0))
    };
    if let Some(negative) = &point.negative {
        for (i, count) in negative.bucket_counts.iter().enumerate().rev() {
            let (near, far) = bounds(negative.offset, i);
            text.line(format_args!("Bucket [{}, {}), Count: {count}", Fixed(-far), Fixed(-near)));
        }
    }
    if point.zero_count != 0 {
        text.line(format_args!("Bucket [0, 0], Count: {}", point.zero_count));
    }
    if let Some(positive) = &point.positive {
        for (i, count) in positive.bucket_counts.iter().enumerate() {
            let (near, far) = bounds(positive.offset, i);
            text.line(format_args!("Bucket ({}, {}], Count: {count}", Fixed(near), Fixed(far)));
        }
    }
    exemplars(text, &point.exemplars);
}

fn summary_point(text: &mut Text, point: &SummaryDataPoint) {
    head(text, &point.attributes, point.start_time_unix_nano, point.time_unix_nano);
    text.line(format_args!("Count: {}", point.count));
    text.line(format_args!("Sum: {}", Fixed(point.sum)));
    for (i, at) in point.quantile_values.iter().enumerate() {
        let (quantile, value) = (Fixed(at.quantile), Fixed(at.value));
        text.line(format_args!("QuantileValue #{i}: Quantile {quantile}, Value {value}"));
    }
}

fn exemplars(text: &mut Text, exemplars: &[Exemplar]) {
    if !exemplars.is_empty() {
        text.line(format_args!("Exemplars:"));
    }
    for (i, exemplar) in exemplars.iter().enumerate() {
        text.line(format_args!("Exemplar #{i}"));
        text.line(format_args!("     -> Trace ID: {}", Id(&exemplar.trace_id)));
        text.line(format_args!("     -> Span ID: {}", Id(&exemplar.span_id)));
        text.line(format_args!("     -> Timestamp: {}", Time(exemplar.time_unix_nano)));
        match exemplar.value {
            Some(ExemplarValue::AsInt(value)) => text.line(format_args!("     -> Value: {value}")),
            Some(ExemplarValue::AsDouble(value)) => {
                text.line(format_args!("     -> Value: {}", Fixed(value)));
            }
            None => {}
        }
        attributes(text, ARROW, "FilteredAttributes", &exemplar.filtered_attributes, NONE);
    }
}
