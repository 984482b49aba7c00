//! Verbosity normal: one line per item.

use std::fmt;

use weir_pdata::otlp::common::v1::{InstrumentationScope, KeyValue};
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::number_data_point::Value as Number;
use weir_pdata::otlp::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};
use weir_pdata::otlp::resource::v1::Resource;
use weir_pdata::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest};

use crate::number::{Fixed, Id, Shortest};
use crate::profile::{AttributeTable, Form};
use crate::text::Text;
use crate::value::{Pairs, Strings};

/// Spans: name, ids, attributes.
pub(crate) fn traces(text: &mut Text, request: &TracesRequest) {
    for (i, r) in request.resource_spans.iter().enumerate() {
        resource(text, format_args!("ResourceTraces #{i}"), &r.schema_url, r.resource.as_ref(), NONE);
        for (j, s) in r.scope_spans.iter().enumerate() {
            scope(text, format_args!("ScopeTraces #{j}"), &s.schema_url, s.scope.as_ref(), NONE);
            for span in &s.spans {
                text.part(format_args!("{} {} {}", span.name, Id(&span.trace_id), Id(&span.span_id)));
                attributes(text, &span.attributes, NONE);
                text.line(format_args!(""));
            }
        }
    }
}

/// Log records: body, attributes.
pub(crate) fn logs(text: &mut Text, request: &LogsRequest) {
    for (i, r) in request.resource_logs.iter().enumerate() {
        resource(text, format_args!("ResourceLog #{i}"), &r.schema_url, r.resource.as_ref(), NONE);
        for (j, s) in r.scope_logs.iter().enumerate() {
            scope(text, format_args!("ScopeLog #{j}"), &s.schema_url, s.scope.as_ref(), NONE);
            for record in &s.log_records {
                let body = NONE.plain(record.body.as_ref());
                text.line(format_args!("{body} {}", pairs(&record.attributes, " ")));
            }
        }
    }
}

/// Data points: name, attributes, value.
pub(crate) fn metrics(text: &mut Text, request: &MetricsRequest) {
    for (i, r) in request.resource_metrics.iter().enumerate() {
        resource(text, format_args!("ResourceMetrics #{i}"), &r.schema_url, r.resource.as_ref(), NONE);
        for (j, s) in r.scope_metrics.iter().enumerate() {
            scope(text, format_args!("ScopeMetrics #{j}"), &s.schema_url, s.scope.as_ref(), NONE);
            s.metrics.iter().for_each(|m| metric(text, m));
        }
    }
}

/// Profiles: id, number of samples, attributes.
pub(crate) fn profiles(text: &mut Text, request: &ProfilesRequest) {
    let mut table = AttributeTable::new(request.dictionary.as_ref());
    let strings = table.strings();
    for (i, r) in request.resource_profiles.iter().enumerate() {
        resource(text, format_args!("ResourceProfiles #{i}"), &r.schema_url, r.resource.as_ref(), strings);
        for (j, s) in r.scope_profiles.iter().enumerate() {
            scope(text, format_args!("ScopeProfiles #{j}"), &s.schema_url, s.scope.as_ref(), strings);
            for profile in &s.profiles {
                text.part(format_args!("{} samples={}", Id(&profile.profile_id), profile.samples.len()));
                for index in &profile.attribute_indices {
                    text.part(format_args!(" "));
                    table.write(text, *index, Form::Plain);
                }
                text.line(format_args!(""));
            }
        }
    }
}

/// Signals other than profiles have no string table.
const NONE: Strings<'static> = Strings(&[]);

fn pairs<'a>(attributes: &'a [KeyValue], between: &'static str) -> Pairs<'a> {
    Pairs { attributes, strings: NONE, between }
}

/// Attributes behind a blank; nothing when there are none.
fn attributes(text: &mut Text, attributes: &[KeyValue], strings: Strings<'_>) {
    if !attributes.is_empty() {
        text.part(format_args!(" {}", Pairs { attributes, strings, between: " " }));
    }
}

fn resource(
    text: &mut Text,
    title: fmt::Arguments<'_>,
    schema: &str,
    resource: Option<&Resource>,
    strings: Strings<'_>,
) {
    text.part(title);
    if !schema.is_empty() {
        text.part(format_args!(" [{schema}]"));
    }
    attributes(text, resource.map_or(&[], |r| &r.attributes), strings);
    text.line(format_args!(""));
}

fn scope(
    text: &mut Text,
    title: fmt::Arguments<'_>,
    schema: &str,
    scope: Option<&InstrumentationScope>,
    strings: Strings<'_>,
) {
    text.part(title);
    let (name, version) = scope.map_or(("", ""), |s| (&s.name, &s.version));
    if !name.is_empty() || !version.is_empty() {
        text.part(format_args!(" {name}"));
    }
    if !version.is_empty() {
        text.part(format_args!("@{version}"));
    }
    if !schema.is_empty() {
        text.part(format_args!(" [{schema}]"));
    }
    attributes(text, scope.map_or(&[], |s| &s.attributes), strings);
    text.line(format_args!(""));
}

fn metric(text: &mut Text, metric: &Metric) {
    let name = &metric.name;
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().for_each(|p| number(text, name, p)),
        Some(Data::Sum(sum)) => sum.data_points.iter().for_each(|p| number(text, name, p)),
        Some(Data::Histogram(h)) => h.data_points.iter().for_each(|p| histogram(text, name, p)),
        Some(Data::ExponentialHistogram(h)) => {
            h.data_points.iter().for_each(|p| exponential_histogram(text, name, p));
        }
        Some(Data::Summary(s)) => s.data_points.iter().for_each(|p| summary(text, name, p)),
        None => {}
    }
}

fn number(text: &mut Text, name: &str, point: &NumberDataPoint) {
    text.part(format_args!("{name}{{{}}} ", pairs(&point.attributes, ",")));
    match point.value {
        Some(Number::AsInt(value)) => text.line(format_args!("{value}")),
        Some(Number::AsDouble(value)) => text.line(format_args!("{}", Shortest(value))),
        None => text.line(format_args!("")),
    }
}

fn totals(text: &mut Text, count: u64, [sum, min, max]: [Option<f64>; 3]) {
    text.part(format_args!("count={count}"));
    for (name, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value {
            text.part(format_args!(" {name}={}", Shortest(value)));
        }
    }
}

fn histogram(text: &mut Text, name: &str, point: &HistogramDataPoint) {
    text.part(format_args!("{name}{{{}}} ", pairs(&point.attributes, ",")));
    totals(text, point.count, [point.sum, point.min, point.max]);
    for (i, count) in point.bucket_counts.iter().enumerate() {
        match point.explicit_bounds.get(i) {
            Some(bound) => text.part(format_args!(" le{}={count}", Shortest(*bound))),
            None => text.part(format_args!(" {count}")),
        }
    }
    text.line(format_args!(""));
}

fn exponential_histogram(text: &mut Text, name: &str, point: &ExponentialHistogramDataPoint) {
    text.part(format_args!("{name}{{{}}} ", pairs(&point.attributes, ",")));
    totals(text, point.count, [point.sum, point.min, point.max]);
    let bound = |index| Shortest(exponential_bound(point.scale, index));
    if let Some(negative) = &point.negative {
        for (i, count) in negative.bucket_counts.iter().enumerate().rev() {
            let upper = Shortest(-bound(f64::from(negative.offset) + i as f64).0);
            text.part(format_args!(" le{upper}={count}"));
        }
    }
    if point.zero_count != 0 {
        text.part(format_args!(" zero={}", point.zero_count));
    }
    if let Some(positive) = &point.positive {
        for (i, count) in positive.bucket_counts.iter().enumerate() {
            let upper = bound(f64::from(positive.offset) + i as f64 + 1.0);
            text.part(format_args!(" le{upper}={count}"));
        }
    }
    text.line(format_args!(""));
}

/// Where the bucket `index` of that scale begins: 2^(index * 2^-scale).
pub(crate) fn exponential_bound(scale: i32, index: f64) -> f64 {
    (index * (-f64::from(scale)).exp2()).exp2()
}

fn summary(text: &mut Text, name: &str, point: &SummaryDataPoint) {
    text.part(format_args!("{name}{{{}}} ", pairs(&point.attributes, ",")));
    text.part(format_args!("count={} sum={}", point.count, Fixed(point.sum)));
    for at in &point.quantile_values {
        text.part(format_args!(" q{}={}", Shortest(at.quantile), Shortest(at.value)));
    }
    text.line(format_args!(""));
}
