//! Sample telemetry for this crate's tests.

use prost::Message;

pub(crate) use crate::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest};
use crate::otlp::{
    common, counter, gauge, kv, logs, metric, metrics, point, profiles, resource, scope, trace,
};
use crate::{Payload, Signal};

use common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use metrics::v1::metric::Data;
use metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, ResourceMetrics,
    ScopeMetrics, Summary, SummaryDataPoint,
};
use profiles::v1development::{
    Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles, Stack, ValueType,
};

fn named(name: &str) -> Option<resource::v1::Resource> {
    Some(resource(vec![kv("service.name", name), kv("unused", 1.5)]))
}

pub(crate) fn payload(signal: Signal, name: &str, n: usize) -> Payload {
    match signal {
        Signal::Traces => traces_of(name, n).into(),
        Signal::Metrics => metrics_of(name, n).into(),
        Signal::Logs => logs_of(name, n).into(),
        Signal::Profiles => profiles(name, n).into(),
    }
}

pub(crate) fn traces(n: usize) -> TracesRequest {
    traces_of("traces", n)
}

fn traces_of(name: &str, n: usize) -> TracesRequest {
    let span = |i: usize| trace::v1::Span {
        trace_id: vec![i as u8; 16],
        span_id: vec![i as u8; 8],
        name: format!("span {i}"),
        attributes: vec![kv("i", i as i64)],
        ..Default::default()
    };
    let scope_spans = vec![trace::v1::ScopeSpans {
        scope: Some(scope("scope", "1")),
        spans: (0..n).map(span).collect(),
        ..Default::default()
    }];
    TracesRequest {
        resource_spans: vec![trace::v1::ResourceSpans {
            resource: named(name),
            scope_spans,
            ..Default::default()
        }],
    }
}

pub(crate) fn logs(n: usize) -> LogsRequest {
    logs_of("logs", n)
}

fn logs_of(name: &str, n: usize) -> LogsRequest {
    let list = AnyValue {
        value: Some(Value::ArrayValue(ArrayValue {
            values: [1, 2].map(|i| AnyValue { value: Some(Value::IntValue(i)) }).to_vec(),
        })),
    };
    let record = |i: usize| logs::v1::LogRecord {
        time_unix_nano: i as u64,
        body: Some(AnyValue { value: Some(Value::StringValue(format!("body {i}"))) }),
        attributes: vec![
            kv("n", i as i64),
            KeyValue { key: "list".into(), value: Some(list.clone()), ..Default::default() },
        ],
        event_name: "event".into(),
        ..Default::default()
    };
    let scope_logs = vec![logs::v1::ScopeLogs {
        scope: Some(scope("scope", "1")),
        log_records: (0..n).map(record).collect(),
        ..Default::default()
    }];
    LogsRequest {
        resource_logs: vec![logs::v1::ResourceLogs {
            resource: named(name),
            scope_logs,
            ..Default::default()
        }],
    }
}

/// Five metrics, one of each kind, with `n` points each.
pub(crate) fn metrics(n: usize) -> MetricsRequest {
    metrics_of("metrics", n)
}

fn metrics_of(name: &str, n: usize) -> MetricsRequest {
    let attributes = |i: usize| vec![kv("i", i as i64)];
    let histogram = |i: usize| HistogramDataPoint {
        attributes: attributes(i),
        count: 6,
        sum: Some(4.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 1.0],
        ..Default::default()
    };
    let exponential = |i: usize| ExponentialHistogramDataPoint {
        attributes: attributes(i),
        scale: -3,
        positive: Some(metrics::v1::exponential_histogram_data_point::Buckets {
            offset: -7,
            bucket_counts: vec![1, 300, 70_000],
        }),
        ..Default::default()
    };
    let summary =
        |i: usize| SummaryDataPoint { attributes: attributes(i), count: 2, sum: 3.0, ..Default::default() };
    let list = vec![
        gauge("gauge", "1", "d", (0..n).map(|i| point(1, 0, i as f64 + 0.5, attributes(i))).collect()),
        counter("sum", "By", "d", (0..n).map(|i| point(1, 0, i as f64, attributes(i))).collect()),
        metric(
            "histogram",
            "s",
            "",
            Data::Histogram(Histogram {
                data_points: (0..n).map(histogram).collect(),
                aggregation_temporality: 2,
            }),
        ),
        metric(
            "exponential",
            "s",
            "",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: (0..n).map(exponential).collect(),
                aggregation_temporality: 2,
            }),
        ),
        metric("summary", "s", "", Data::Summary(Summary { data_points: (0..n).map(summary).collect() })),
    ];
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope("scope", "1")), metrics: list, ..Default::default() }];
    MetricsRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: named(name),
            scope_metrics,
            ..Default::default()
        }],
    }
}

pub(crate) fn profiles(name: &str, n: usize) -> ProfilesRequest {
    let dictionary = ProfilesDictionary {
        string_table: vec![String::new(), format!("{name} samples"), "count".into(), format!("{name} key")],
        stack_table: (0..n).map(|i| Stack { location_indices: vec![i as i32] }).collect(),
        location_table: (0..n)
            .map(|i| profiles::v1development::Location {
                address: i as u64 + name.len() as u64,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let profile = Profile {
        sample_type: Some(ValueType { type_strindex: 1, unit_strindex: 2 }),
        samples: (0..n)
            .map(|i| Sample { stack_index: i as i32, values: vec![i as i64], ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let mut resource = named(name);
    if let Some(r) = &mut resource {
        r.attributes.push(KeyValue { key_strindex: 3, ..Default::default() });
    }
    let scope_profiles = vec![ScopeProfiles {
        scope: Some(scope("scope", "1")),
        profiles: vec![profile],
        ..Default::default()
    }];
    ProfilesRequest {
        resource_profiles: vec![ResourceProfiles { resource, scope_profiles, ..Default::default() }],
        dictionary: Some(dictionary),
    }
}

/// Each item with its resource and scope, indices resolved, as comparable bytes.
pub(crate) fn flatten(payload: &Payload) -> Vec<Vec<u8>> {
    match payload.signal() {
        Signal::Traces => (payload.decode_traces().resource_spans.iter())
            .flat_map(|r| {
                r.scope_spans.iter().flat_map(|s| s.spans.iter().map(|i| bytes(&r.resource, &s.scope, i)))
            })
            .collect(),
        Signal::Logs => (payload.decode_logs().resource_logs.iter())
            .flat_map(|r| {
                r.scope_logs
                    .iter()
                    .flat_map(|s| s.log_records.iter().map(|i| bytes(&r.resource, &s.scope, i)))
            })
            .collect(),
        Signal::Metrics => (payload.decode_metrics().resource_metrics.iter())
            .flat_map(|r| {
                r.scope_metrics.iter().flat_map(|s| {
                    s.metrics
                        .iter()
                        .flat_map(|m| single_points(m).into_iter().map(|i| bytes(&r.resource, &s.scope, &i)))
                })
            })
            .collect(),
        Signal::Profiles => flatten_profiles(&payload.decode_profiles()),
    }
}

fn bytes(
    r: &Option<resource::v1::Resource>,
    s: &Option<common::v1::InstrumentationScope>,
    item: &impl Message,
) -> Vec<u8> {
    let mut out = r.clone().unwrap_or_default().encode_to_vec();
    out.extend(s.clone().unwrap_or_default().encode_to_vec());
    out.extend(item.encode_to_vec());
    out
}

/// One metric per data point.
fn single_points(m: &metrics::v1::Metric) -> Vec<metrics::v1::Metric> {
    let with = |data| metrics::v1::Metric { data: Some(data), ..m.clone() };
    match m.data.clone() {
        Some(Data::Gauge(d)) => (d.data_points.into_iter())
            .map(|p| with(Data::Gauge(metrics::v1::Gauge { data_points: vec![p] })))
            .collect(),
        Some(Data::Sum(d)) => (d.data_points.iter())
            .map(|p| with(Data::Sum(metrics::v1::Sum { data_points: vec![p.clone()], ..d.clone() })))
            .collect(),
        Some(Data::Histogram(d)) => (d.data_points.iter())
            .map(|p| with(Data::Histogram(Histogram { data_points: vec![p.clone()], ..d.clone() })))
            .collect(),
        Some(Data::ExponentialHistogram(d)) => (d.data_points.iter())
            .map(|p| {
                with(Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: vec![p.clone()],
                    ..d.clone()
                }))
            })
            .collect(),
        Some(Data::Summary(d)) => (d.data_points.into_iter())
            .map(|p| with(Data::Summary(Summary { data_points: vec![p] })))
            .collect(),
        None => Vec::new(),
    }
}

fn flatten_profiles(request: &ProfilesRequest) -> Vec<Vec<u8>> {
    let d = request.dictionary.clone().unwrap_or_default();
    let text = |i: i32| d.string_table[i as usize].clone();
    let mut out = Vec::new();
    for r in &request.resource_profiles {
        let resource = r.resource.clone().unwrap_or_default();
        let keys: Vec<_> =
            resource.attributes.iter().map(|a| format!("{}{}", a.key, text(a.key_strindex))).collect();
        for p in r.scope_profiles.iter().flat_map(|s| &s.profiles) {
            let t = p.sample_type.unwrap_or_default();
            for s in &p.samples {
                let stack = &d.stack_table[s.stack_index as usize];
                let addresses: Vec<_> =
                    stack.location_indices.iter().map(|l| d.location_table[*l as usize].address).collect();
                let item = format!(
                    "{keys:?} {} {} {addresses:?} {:?}",
                    text(t.type_strindex),
                    text(t.unit_strindex),
                    s.values
                );
                out.push(item.into_bytes());
            }
        }
    }
    out
}
