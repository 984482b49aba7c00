//! Telemetry with everything in it that OTLP has, and its content in a form that does not depend on how it was batched.

use std::fmt::Debug;

use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::metrics::v1::exponential_histogram_data_point::Buckets;
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::number_data_point::Value as Number;
use weir_pdata::otlp::metrics::v1::summary_data_point::ValueAtQuantile;
use weir_pdata::otlp::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
};
use weir_pdata::otlp::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link as ProfileLink, Location, Mapping, Profile, ProfilesDictionary,
    ResourceProfiles, Sample, ScopeProfiles, Stack, ValueType,
};
use weir_pdata::otlp::resource::v1::Resource;
use weir_pdata::otlp::trace::v1::span::{Event, Link};
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use weir_pdata::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest, kv, metric};
use weir_pdata::{Payload, Signal};

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
const BEGIN: u64 = 1_795_000_000_000_000_000;

/// The `n`th request of a signal; no two have an item in common.
pub(crate) fn request(signal: Signal, n: u64) -> Payload {
    match signal {
        Signal::Traces => traces(n).into(),
        Signal::Metrics => metrics(n).into(),
        Signal::Logs => logs(n).into(),
        Signal::Profiles => profiles(n).into(),
    }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

/// An attribute of each type, edges included.
fn attributes(n: u64) -> Vec<KeyValue> {
    let list = vec![any(Value::IntValue(-1)), any(Value::StringValue("zwei".into())), AnyValue::default()];
    let map = vec![kv("inner", n.cast_signed()), value("deeper", Value::ArrayValue(ArrayValue::default()))];
    vec![
        kv("n", n.cast_signed()),
        kv("text", "Grüße, 世界 \" \\ \u{1}"),
        kv("empty", ""),
        kv("least", i64::MIN),
        kv("double", 0.1 + n as f64),
        kv("whole", 3.0),
        kv("yes", true),
        kv("no", false),
        value("bytes", Value::BytesValue(vec![0, 255, n as u8])),
        value("list", Value::ArrayValue(ArrayValue { values: list })),
        value("map", Value::KvlistValue(KeyValueList { values: map })),
        KeyValue { key: "nothing".into(), value: Some(AnyValue::default()), ..KeyValue::default() },
    ]
}

fn resource(n: u64) -> Option<Resource> {
    let mut attributes = attributes(n % 3);
    attributes.push(kv("service.name", format!("service {}", n % 3)));
    Some(Resource { attributes, dropped_attributes_count: 2, ..Resource::default() })
}

fn scope(n: u64) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: format!("scope {}", n % 2),
        version: "1.2.3".into(),
        attributes: vec![kv("of", "the scope")],
        dropped_attributes_count: 1,
    })
}

fn trace_id(n: u64) -> Vec<u8> {
    [n.to_be_bytes(), 7u64.to_be_bytes()].concat()
}

fn span_id(n: u64) -> Vec<u8> {
    (n + 1).to_be_bytes().to_vec()
}

fn traces(n: u64) -> TracesRequest {
    let span = |kind: i32| Span {
        trace_id: trace_id(n),
        span_id: span_id(10 * n + kind as u64),
        trace_state: "a=1,b=2".into(),
        parent_span_id: if kind == 0 { Vec::new() } else { span_id(10 * n) },
        flags: 0x301,
        name: format!("span {n} {kind}"),
        kind,
        start_time_unix_nano: BEGIN + n,
        end_time_unix_nano: BEGIN + n + 1_234_567,
        attributes: attributes(n),
        dropped_attributes_count: 3,
        events: vec![
            Event {
                time_unix_nano: BEGIN + n + 1,
                name: "event".into(),
                attributes: attributes(1),
                dropped_attributes_count: 4,
            },
            Event { name: "bare".into(), ..Event::default() },
        ],
        dropped_events_count: 5,
        links: vec![Link {
            trace_id: trace_id(n + 1000),
            span_id: span_id(n + 1000),
            trace_state: "c=3".into(),
            attributes: vec![kv("why", "batch")],
            dropped_attributes_count: 6,
            flags: 0x100,
        }],
        dropped_links_count: 7,
        status: Some(Status {
            message: if kind == 2 { "failed".into() } else { String::new() },
            code: kind % 3,
        }),
    };
    let spans = (0..6).map(span).collect();
    let bare = Span {
        trace_id: trace_id(n),
        span_id: span_id(10 * n + 9),
        status: Some(Status::default()),
        ..Span::default()
    };
    let scope_spans = vec![
        ScopeSpans { scope: scope(n), spans, schema_url: SCHEMA.into() },
        ScopeSpans { scope: scope(n + 1), spans: vec![bare], schema_url: String::new() },
    ];
    TracesRequest {
        resource_spans: vec![ResourceSpans { resource: resource(n), scope_spans, schema_url: SCHEMA.into() }],
    }
}

fn exemplars(n: u64) -> Vec<Exemplar> {
    let with = |value| Exemplar {
        filtered_attributes: vec![kv("user", "u")],
        time_unix_nano: BEGIN + n,
        span_id: span_id(n),
        trace_id: trace_id(n),
        value: Some(value),
    };
    vec![with(exemplar::Value::AsInt(n.cast_signed())), with(exemplar::Value::AsDouble(0.25))]
}

fn points(n: u64) -> Vec<NumberDataPoint> {
    let with = |value| NumberDataPoint {
        attributes: attributes(n),
        start_time_unix_nano: BEGIN,
        time_unix_nano: BEGIN + n + 1,
        exemplars: exemplars(n),
        flags: 0,
        value,
    };
    let gone = NumberDataPoint { flags: 1, ..with(None) };
    vec![with(Some(Number::AsInt(i64::MAX))), with(Some(Number::AsDouble(-1.5e300))), gone]
}

fn histogram(n: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(n),
        start_time_unix_nano: BEGIN,
        time_unix_nano: BEGIN + n,
        count: 6,
        sum: Some(4.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 1.0],
        exemplars: exemplars(n),
        flags: 0,
        min: Some(-0.5),
        max: Some(9.0),
    }
}

fn exponential(n: u64) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes: attributes(n),
        start_time_unix_nano: BEGIN,
        time_unix_nano: BEGIN + n,
        count: 70_311,
        sum: Some(1e9),
        scale: -3,
        zero_count: 10,
        positive: Some(Buckets { offset: -7, bucket_counts: vec![1, 300, 70_000] }),
        negative: Some(Buckets { offset: 2, bucket_counts: vec![0, 0] }),
        flags: 0,
        exemplars: exemplars(n),
        min: Some(-4.0),
        max: Some(1e8),
        zero_threshold: 1e-9,
    }
}

fn summary(n: u64) -> SummaryDataPoint {
    let at = |quantile, value| ValueAtQuantile { quantile, value };
    SummaryDataPoint {
        attributes: attributes(n),
        start_time_unix_nano: BEGIN,
        time_unix_nano: BEGIN + n,
        count: 2,
        sum: 3.0,
        quantile_values: vec![at(0.0, 1.0), at(0.99, 2.0)],
        flags: 0,
    }
}

fn metrics(n: u64) -> MetricsRequest {
    let sum = |aggregation_temporality, is_monotonic| {
        Data::Sum(Sum { data_points: points(n), aggregation_temporality, is_monotonic })
    };
    let few = HistogramDataPoint { sum: None, min: None, max: None, exemplars: Vec::new(), ..histogram(n) };
    let data = [
        Data::Gauge(Gauge { data_points: points(n) }),
        sum(1, true),
        sum(2, true),
        sum(2, false),
        Data::Histogram(Histogram { data_points: vec![histogram(n), few], aggregation_temporality: 2 }),
        Data::Histogram(Histogram { data_points: vec![histogram(n)], aggregation_temporality: 1 }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential(n)],
            aggregation_temporality: 2,
        }),
        Data::Summary(Summary { data_points: vec![summary(n)] }),
    ];
    let metrics = data.into_iter().enumerate().map(|(i, data)| Metric {
        metadata: vec![kv("prometheus.type", "unknown")],
        ..metric(&format!("metric.{n}.{i}"), "By", "what it is", data)
    });
    let scope_metrics =
        vec![ScopeMetrics { scope: scope(n), metrics: metrics.collect(), schema_url: SCHEMA.into() }];
    MetricsRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(n),
            scope_metrics,
            schema_url: SCHEMA.into(),
        }],
    }
}

fn logs(n: u64) -> LogsRequest {
    let record = |(i, body): (usize, Value)| LogRecord {
        time_unix_nano: BEGIN + n,
        observed_time_unix_nano: BEGIN + n + 5,
        severity_number: 9 + i as i32,
        severity_text: "INFO".into(),
        body: Some(any(body)),
        attributes: attributes(n),
        dropped_attributes_count: 8,
        flags: 1,
        trace_id: trace_id(n),
        span_id: span_id(n),
        event_name: format!("event {n} {i}"),
    };
    let bodies = attributes(n).into_iter().filter_map(|a| a.value.and_then(|v| v.value));
    let bare = LogRecord { body: Some(any(Value::StringValue(format!("bare {n}")))), ..LogRecord::default() };
    let log_records = bodies.enumerate().map(record).chain([bare]).collect();
    let scope_logs = vec![ScopeLogs { scope: scope(n), log_records, schema_url: SCHEMA.into() }];
    LogsRequest {
        resource_logs: vec![ResourceLogs { resource: resource(n), scope_logs, schema_url: SCHEMA.into() }],
    }
}

/// A stack of two functions. Index 0 of each table is the empty entry that the format asks for.
fn profiles(n: u64) -> ProfilesRequest {
    let strings =
        ["", "samples", "count", "cpu", "nanoseconds", "main.main", "main.work", "main.go", "thread", "app"];
    let function = |name, start_line| Function {
        name_strindex: name,
        system_name_strindex: name,
        filename_strindex: 7,
        start_line,
    };
    let location = |function_index, line| Location {
        mapping_index: 1,
        address: 0x4000 + n,
        lines: vec![Line { function_index, line, column: 3 }],
        attribute_indices: vec![1],
    };
    let dictionary = ProfilesDictionary {
        mapping_table: vec![
            Mapping::default(),
            Mapping {
                memory_start: 1,
                memory_limit: 2,
                file_offset: 3,
                filename_strindex: 9,
                attribute_indices: vec![1],
            },
        ],
        location_table: vec![Location::default(), location(1, 10), location(2, 20)],
        function_table: vec![Function::default(), function(5, 8), function(6, 18)],
        link_table: vec![ProfileLink::default(), ProfileLink { trace_id: trace_id(n), span_id: span_id(n) }],
        string_table: strings.map(str::to_owned).to_vec(),
        attribute_table: vec![
            // A Collector writes the value of the empty entry out.
            KeyValueAndUnit { value: Some(AnyValue::default()), ..KeyValueAndUnit::default() },
            KeyValueAndUnit {
                key_strindex: 8,
                value: Some(any(Value::IntValue(n.cast_signed()))),
                unit_strindex: 2,
            },
        ],
        stack_table: vec![Stack::default(), Stack { location_indices: vec![2, 1] }],
    };
    let sample = |value| Sample {
        stack_index: 1,
        attribute_indices: vec![1],
        link_index: 1,
        values: vec![value],
        timestamps_unix_nano: vec![BEGIN + n],
    };
    let profile = Profile {
        sample_type: Some(ValueType { type_strindex: 1, unit_strindex: 2 }),
        samples: vec![sample(5), sample(-6)],
        time_unix_nano: BEGIN + n,
        duration_nano: 1_000_000_000,
        period_type: Some(ValueType { type_strindex: 3, unit_strindex: 4 }),
        period: 10_000_000,
        profile_id: trace_id(n + 1),
        dropped_attributes_count: 1,
        original_payload_format: "pprof".into(),
        original_payload: vec![31, 139, 0],
        attribute_indices: vec![1],
    };
    let scope_profiles =
        vec![ScopeProfiles { scope: scope(n), profiles: vec![profile], schema_url: SCHEMA.into() }];
    let resource_profiles =
        vec![ResourceProfiles { resource: resource(n), scope_profiles, schema_url: SCHEMA.into() }];
    ProfilesRequest { resource_profiles, dictionary: Some(dictionary) }
}

/// What is in a payload: each span, metric with its points, log record or request of profiles with its resource and scope,
/// as text, sorted. How much of it came in one request, and in which order, makes no difference.
pub(crate) fn content(payload: &Payload) -> Vec<String> {
    let mut all = Vec::new();
    match payload.signal() {
        Signal::Traces => {
            for r in payload.decode_traces().resource_spans {
                for s in r.scope_spans {
                    all.extend(
                        s.spans.iter().map(|i| item(&r.resource, &r.schema_url, &s.scope, &s.schema_url, i)),
                    );
                }
            }
        }
        Signal::Metrics => {
            for r in payload.decode_metrics().resource_metrics {
                for s in r.scope_metrics {
                    all.extend(
                        s.metrics
                            .iter()
                            .map(|i| item(&r.resource, &r.schema_url, &s.scope, &s.schema_url, i)),
                    );
                }
            }
        }
        Signal::Logs => {
            for r in payload.decode_logs().resource_logs {
                for s in r.scope_logs {
                    all.extend(
                        s.log_records
                            .iter()
                            .map(|i| item(&r.resource, &r.schema_url, &s.scope, &s.schema_url, i)),
                    );
                }
            }
        }
        // Its indices mean something together with its dictionary only.
        Signal::Profiles => all.push(format!("{:#?}", payload.decode_profiles())),
    }
    all.sort();
    all
}

fn item(
    resource: &Option<Resource>,
    resource_schema: &str,
    scope: &Option<InstrumentationScope>,
    scope_schema: &str,
    item: &impl Debug,
) -> String {
    format!("{item:#?}\n{scope:#?} {scope_schema}\n{resource:#?} {resource_schema}")
}
