//! The same telemetry in the same form, where a Collector has a form of its own.

use weir_pdata::otlp::ProfilesRequest;
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue};
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::{Payload, Signal};

/// The same with attributes in the order of their keys: a Collector moves the last one into the place of one it removes.
pub(super) fn ordered(payload: &Payload) -> Payload {
    fn sort(attributes: &mut [KeyValue]) {
        attributes.sort_by(|a, b| a.key.cmp(&b.key));
    }
    match payload.signal() {
        Signal::Traces => {
            let mut all = payload.decode_traces();
            for r in &mut all.resource_spans {
                r.resource.iter_mut().for_each(|r| sort(&mut r.attributes));
                let spans = r.scope_spans.iter_mut().flat_map(|s| &mut s.spans);
                spans.for_each(|span| sort(&mut span.attributes));
            }
            all.into()
        }
        Signal::Logs => {
            let mut all = payload.decode_logs();
            for r in &mut all.resource_logs {
                r.resource.iter_mut().for_each(|r| sort(&mut r.attributes));
                let records = r.scope_logs.iter_mut().flat_map(|s| &mut s.log_records);
                records.for_each(|record| sort(&mut record.attributes));
            }
            all.into()
        }
        Signal::Metrics => {
            let mut all = payload.decode_metrics();
            for r in &mut all.resource_metrics {
                r.resource.iter_mut().for_each(|r| sort(&mut r.attributes));
                for metric in r.scope_metrics.iter_mut().flat_map(|s| &mut s.metrics) {
                    match &mut metric.data {
                        Some(Data::Gauge(d)) => {
                            d.data_points.iter_mut().for_each(|p| sort(&mut p.attributes))
                        }
                        Some(Data::Sum(d)) => d.data_points.iter_mut().for_each(|p| sort(&mut p.attributes)),
                        Some(Data::Histogram(d)) => {
                            d.data_points.iter_mut().for_each(|p| sort(&mut p.attributes))
                        }
                        Some(Data::ExponentialHistogram(d)) => {
                            d.data_points.iter_mut().for_each(|p| sort(&mut p.attributes));
                        }
                        Some(Data::Summary(d)) => {
                            d.data_points.iter_mut().for_each(|p| sort(&mut p.attributes))
                        }
                        None => {}
                    }
                }
            }
            all.into()
        }
        Signal::Profiles => {
            let mut all = resolved(payload).decode_profiles();
            for r in &mut all.resource_profiles {
                r.resource.iter_mut().for_each(|r| sort(&mut r.attributes));
            }
            all.into()
        }
    }
}

/// A Collector refers to keys and texts of resources and scopes of profiles by index: the same with the texts in their
/// places. What it added to the string table stands there still.
pub(super) fn resolved(payload: &Payload) -> Payload {
    if payload.signal() != Signal::Profiles {
        return payload.clone();
    }
    let mut profiles: ProfilesRequest = payload.decode_profiles();
    let strings = profiles.dictionary.clone().unwrap_or_default().string_table;
    let text =
        |index: i32| usize::try_from(index).ok().and_then(|i| strings.get(i)).cloned().unwrap_or_default();
    fn resolve(value: Option<&mut AnyValue>, text: &dyn Fn(i32) -> String) {
        match value.and_then(|v| v.value.as_mut()) {
            Some(Value::ArrayValue(list)) => list.values.iter_mut().for_each(|v| resolve(Some(v), text)),
            Some(Value::KvlistValue(map)) => pairs(&mut map.values, text),
            Some(value) => {
                if let Value::StringValueStrindex(index) = *value {
                    *value = Value::StringValue(text(index));
                }
            }
            None => {}
        }
    }
    fn pairs(all: &mut [KeyValue], text: &dyn Fn(i32) -> String) {
        for pair in all {
            if pair.key.is_empty() {
                pair.key = text(std::mem::take(&mut pair.key_strindex));
            }
            resolve(pair.value.as_mut(), text);
        }
    }
    for r in &mut profiles.resource_profiles {
        r.resource.iter_mut().for_each(|r| pairs(&mut r.attributes, &text));
        r.scope_profiles.iter_mut().flat_map(|s| &mut s.scope).for_each(|s| pairs(&mut s.attributes, &text));
    }
    profiles.into()
}
