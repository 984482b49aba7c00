//! What must hold for any bytes that a peer sends; for tests and for fuzzing.
#![expect(clippy::expect_used, clippy::panic, reason = "a check that does not hold is a fault")]

use std::fmt::{Display, Write as _};
use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use serde::Deserialize;

use crate::edit::{AttributeLimits, AttributeList, Beyond, Editor, Message, Then};
use crate::otlp::common::v1::any_value::Value;
use crate::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use crate::otlp::metrics::v1::metric::Data;
use crate::otlp::resource::v1::Resource;
use crate::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest, kv};
use crate::schema::Id;
use crate::split::{can_be_cut, item_bearer};
use crate::text::Plain;
use crate::validate::{Reason, validate};
use crate::view::{self, Fields};
use crate::{Limit, Payload, Signal, json};

/// What the reader of JSON accepts is a well-formed request, which means the same when it is written and read again.
pub fn json(text: &[u8]) {
    for signal in Signal::ALL {
        if let Ok(request) = json::to_protobuf(signal, text) {
            let payload = Payload::from_request(signal, request).expect("what is accepted is well formed");
            round_trip(&payload);
        }
    }
}

/// Both halves of the validation agree; what they accept is read by prost in the same way, counted in the same way by the
/// views, survives the way to JSON and back, is the same in parts, and is edited as its owned messages are.
pub fn protobuf(request: &[u8]) {
    for signal in Signal::ALL {
        let items = validate(signal, request).map_err(|malformed| malformed.reason);
        if items != Err(Reason::Depth) {
            assert_eq!(items, crate::validate::general_items(Id::request(signal), request));
        }
        let Ok(items) = items else { continue };
        let payload =
            Payload::from_request(signal, Bytes::copy_from_slice(request)).expect("it was accepted");
        assert_eq!(payload.items(), items);
        round_trip(&payload);
        look_at(&payload);
        parts(&payload, Limit::Items(1 + request.len() % 3));
        parts(&payload, Limit::Bytes(1 + request.len() / 3));
        edited(&payload);
        limited(&payload);
        merged(&payload);
    }
}

/// Writes a payload as JSON and reads it again: the request that comes back.
pub(crate) fn round_trip(payload: &Payload) -> Bytes {
    let signal = payload.signal();
    let text = json::from_protobuf(signal, payload);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    reader.disable_recursion_limit();
    serde::de::IgnoredAny::deserialize(&mut reader).expect("what is written is JSON");
    reader.end().expect("and nothing else");
    let request = json::to_protobuf(signal, &text).expect("what is written is read");
    // JSON has no data that does not count.
    if can_all_be_cut(Id::request(signal), &payload.to_bytes()) {
        assert_eq!(validate(signal, &request), Ok(payload.items()));
    }
    // JSON has one NaN, protobuf many.
    let has_nan = text.windows(5).any(|window| window == b"\"NaN\"");
    if !has_nan && let Some(meant) = canonical(signal, &payload.to_bytes()) {
        assert_eq!(canonical(signal, &request), Some(meant), "{}", String::from_utf8_lossy(&text));
    }
    request
}

/// The same request in the form in which prost writes it: without unknown fields, in the order of the fields. `None` when
/// values nest deeper than prost reads.
fn canonical(signal: Signal, request: &[u8]) -> Option<Vec<u8>> {
    fn of<M: prost::Message + Default>(request: &[u8]) -> Result<Vec<u8>, DecodeError> {
        M::decode(request).map(|message| message.encode_to_vec())
    }
    let written = match signal {
        Signal::Traces => of::<TracesRequest>(request),
        Signal::Metrics => of::<MetricsRequest>(request),
        Signal::Logs => of::<LogsRequest>(request),
        Signal::Profiles => of::<ProfilesRequest>(request),
    };
    match written {
        Ok(written) => Some(written),
        Err(error) if error.to_string().contains("recursion limit") => None,
        Err(error) => panic!("accepted and refused by prost: {error}"),
    }
}

/// The views find as many items as were counted, never more text than there are bytes, and what prost reads.
fn look_at(payload: &Payload) {
    let seen = Seen::of(payload);
    if matches!(payload.signal(), Signal::Traces | Signal::Logs) {
        assert_eq!(seen.items, payload.items());
    }
    if let Some(request) = canonical(payload.signal(), &payload.to_bytes()) {
        let read = Payload::from_request(payload.signal(), request.into())
            .expect("prost writes what is well formed");
        assert_eq!(seen.told, Seen::of(&read).told, "the views read otherwise");
    }
}

/// Everything that the views tell.
#[derive(Default)]
struct Seen {
    told: String,
    items: usize,
}

impl Seen {
    fn of(payload: &Payload) -> Seen {
        let mut seen = Seen::default();
        for resource in view::resources(payload) {
            seen.tell("resource", resource.attributes());
            for scope in resource.scopes() {
                assert!(scope.name().len() + scope.version().len() <= payload.encoded_len());
                seen.tell(format_args!("scope {:?} {:?}", scope.name(), scope.version()), scope.attributes());
                match payload.signal() {
                    Signal::Traces => scope.spans().for_each(|span| seen.span(span)),
                    Signal::Logs => scope.log_records().for_each(|record| seen.record(record)),
                    Signal::Metrics => scope.metrics().for_each(|metric| seen.metric(metric)),
                    Signal::Profiles => {}
                }
            }
        }
        seen
    }

    fn tell(&mut self, what: impl Display, attributes: view::Attributes<'_>) {
        write!(self.told, "\n{what}").expect("memory");
        for (key, value) in attributes {
            let text = Plain(value).to_string();
            assert!(value.as_str().is_none_or(|shown| shown == text), "{key}");
            write!(self.told, " {key:?}={text:?}").expect("memory");
        }
    }

    fn span(&mut self, span: view::Span<'_>) {
        self.items += 1;
        let ids = (span.trace_id(), span.span_id(), span.trace_state());
        self.tell(format_args!("span {:?} {:?} {ids:?}", span.name(), span.kind()), span.attributes());
    }

    fn record(&mut self, record: view::LogRecord<'_>) {
        self.items += 1;
        let times = (record.time(), record.observed_time(), record.severity_number());
        let texts = (record.severity_text(), record.event_name(), record.trace_id());
        let body = Plain(record.body()).to_string();
        self.tell(format_args!("record {times:?} {texts:?} {body:?}"), record.attributes());
    }

    fn metric(&mut self, metric: view::Metric<'_>) {
        write!(self.told, "\nmetric {:?} {:?}", metric.name(), metric.unit()).expect("memory");
        for point in metric.number_points() {
            self.tell(format_args!("point {} {}", point.time(), point.value()), point.attributes());
        }
        for point in metric.histogram_points() {
            let (counts, bounds): (Vec<_>, Vec<_>) =
                (point.bucket_counts().collect(), point.explicit_bounds().collect());
            assert!(counts.len() <= metric.as_bytes().len() && bounds.len() <= metric.as_bytes().len() / 8);
            let numbers = (point.time(), point.count(), point.sum());
            self.tell(format_args!("histogram {numbers:?} {counts:?} {bounds:?}"), point.attributes());
        }
    }
}

/// Splits it into parts within a limit: each is well formed, and together they hold the same items in order, with the same
/// around each.
fn parts(payload: &Payload, limit: Limit) {
    let whole = payload.to_bytes();
    let root = Id::request(payload.signal());
    let mut expected = Vec::new();
    items(root, &whole, &mut expected);
    assert_eq!(expected.len(), payload.items());
    let all_can_be_cut = can_all_be_cut(root, &whole);
    let parts = payload.clone().split(limit);
    for part in &parts {
        assert!(part.items() > 0 || payload.is_empty());
        assert!(!matches!(limit, Limit::Items(max) if part.items() > max && all_can_be_cut));
        assert_eq!(validate(payload.signal(), &part.to_bytes()), Ok(part.items()));
        assert_eq!(part.encoded_len(), part.to_bytes().len());
    }
    let parts: Vec<Bytes> = parts.iter().map(Payload::to_bytes).collect();
    let mut found = Vec::new();
    parts.iter().for_each(|part| items(root, part, &mut found));
    assert!(found == expected, "the items of the parts are others");
    if let Some(expected) = placed(payload.signal(), &whole) {
        let found =
            parts.iter().flat_map(|part| placed(payload.signal(), part).expect("no deeper than before"));
        assert!(found.eq(expected), "something else is around the items of the parts");
    }
}

/// Whether all that leads to items can be cut.
fn can_all_be_cut(id: Id, message: &[u8]) -> bool {
    Fields::new(message).all(|field| match item_bearer(id, field.number) {
        Some(child) if !child.message().item => {
            can_be_cut(child, field.bytes()) && can_all_be_cut(child, field.bytes())
        }
        _ => true,
    })
}

/// An item, and all that is around it and is no item.
type Placed = (Rc<[u8]>, Vec<u8>);

/// The items of a request as prost reads them. `None` when values nest deeper than that.
fn placed(signal: Signal, request: &[u8]) -> Option<Vec<Placed>> {
    fn put<M: prost::Message>(around: &[&[u8]], items: &[M], placed: &mut Vec<Placed>) {
        if !items.is_empty() {
            let around: Rc<[u8]> = around.concat().into();
            placed.extend(items.iter().map(|item| (Rc::clone(&around), item.encode_to_vec())));
        }
    }
    let mut placed = Vec::new();
    match signal {
        Signal::Traces => {
            for mut resource in TracesRequest::decode(request).ok()?.resource_spans {
                let scopes = mem::take(&mut resource.scope_spans);
                let resource = resource.encode_length_delimited_to_vec();
                for mut scope in scopes {
                    let spans = mem::take(&mut scope.spans);
                    put(&[&resource, &scope.encode_to_vec()], &spans, &mut placed);
                }
            }
        }
        Signal::Logs => {
            for mut resource in LogsRequest::decode(request).ok()?.resource_logs {
                let scopes = mem::take(&mut resource.scope_logs);
                let resource = resource.encode_length_delimited_to_vec();
                for mut scope in scopes {
                    let records = mem::take(&mut scope.log_records);
                    put(&[&resource, &scope.encode_to_vec()], &records, &mut placed);
                }
            }
        }
        Signal::Metrics => {
            for mut resource in MetricsRequest::decode(request).ok()?.resource_metrics {
                let scopes = mem::take(&mut resource.scope_metrics);
                let resource = resource.encode_length_delimited_to_vec();
                for mut scope in scopes {
                    let metrics = mem::take(&mut scope.metrics);
                    let scope = scope.encode_length_delimited_to_vec();
                    for mut metric in metrics {
                        let Some(mut data) = metric.data.take() else { continue };
                        macro_rules! points {
                            ($data:ident) => {{
                                let points = mem::take(&mut $data.data_points);
                                metric.data = Some(data);
                                put(&[&resource, &scope, &metric.encode_to_vec()], &points, &mut placed);
                            }};
                        }
                        match &mut data {
                            Data::Gauge(gauge) => points!(gauge),
                            Data::Sum(sum) => points!(sum),
                            Data::Histogram(histogram) => points!(histogram),
                            Data::ExponentialHistogram(histogram) => points!(histogram),
                            Data::Summary(summary) => points!(summary),
                        }
                    }
                }
            }
        }
        Signal::Profiles => {
            let request = ProfilesRequest::decode(request).ok()?;
            let dictionary = request.dictionary.unwrap_or_default().encode_length_delimited_to_vec();
            for mut resource in request.resource_profiles {
                let scopes = mem::take(&mut resource.scope_profiles);
                let resource = resource.encode_length_delimited_to_vec();
                for mut scope in scopes {
                    let profiles = mem::take(&mut scope.profiles);
                    let scope = scope.encode_length_delimited_to_vec();
                    for mut profile in profiles {
                        let samples = mem::take(&mut profile.samples);
                        let profile = profile.encode_to_vec();
                        put(&[&dictionary, &resource, &scope, &profile], &samples, &mut placed);
                    }
                }
            }
        }
    }
    Some(placed)
}

/// Merged with itself it has everything twice.
fn merged(payload: &Payload) {
    let mut twice = payload.clone();
    twice.append(payload.clone()).expect("the same signal");
    let bytes = twice.to_bytes();
    assert_eq!(validate(payload.signal(), &bytes), Ok(2 * payload.items()));
    assert_eq!((twice.items(), twice.encoded_len()), (2 * payload.items(), bytes.len()));
}

fn items<'a>(id: Id, message: &'a [u8], found: &mut Vec<&'a [u8]>) {
    for field in Fields::new(message) {
        match item_bearer(id, field.number) {
            Some(child) if child.message().item => found.push(field.bytes()),
            Some(child) => items(child, field.bytes(), found),
            None => {}
        }
    }
}

const KEY: &str = "k";

/// Sets one attribute of everything that has some.
struct Mark;

impl Mark {
    fn set(list: Option<&mut AttributeList<'_>>) {
        if let Some(list) = list {
            let value = list.text_value("new");
            list.set(KEY, value);
        }
    }

    fn expected(list: &mut Vec<KeyValue>) {
        let new = kv(KEY, "new");
        match list.iter_mut().find(|pair| pair.key == KEY) {
            Some(pair) => pair.value = new.value,
            None => list.push(new),
        }
    }
}

impl Editor for Mark {
    fn resource(&mut self, _: view::Resource<'_>, resource: &mut Message<'_, '_>) -> Then {
        Mark::set(resource.attributes());
        Then::Descend
    }

    fn scope(&mut self, _: view::Scope<'_>, scope: &mut Message<'_, '_>) -> Then {
        Mark::set(scope.attributes());
        Then::Descend
    }

    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        Mark::set(item.attributes());
        Then::Keep
    }
}

/// Editing the bytes gives what editing the owned messages gives.
fn edited(payload: &Payload) {
    let signal = payload.signal();
    let mut new = payload.clone();
    new.edit(&mut Mark);
    let bytes = new.to_bytes();
    assert_eq!(validate(signal, &bytes), Ok(payload.items()));
    assert_eq!(new.encoded_len(), bytes.len());
    if let (Some(found), Some(expected)) = (canonical(signal, &bytes), marked(signal, &payload.to_bytes())) {
        assert!(found == expected, "edited otherwise");
    }
}

fn marked(signal: Signal, request: &[u8]) -> Option<Vec<u8>> {
    fn of_resource(resource: &mut Option<Resource>) {
        Mark::expected(&mut resource.get_or_insert_default().attributes);
    }
    fn of_scope(scope: &mut Option<InstrumentationScope>) {
        Mark::expected(&mut scope.get_or_insert_default().attributes);
    }
    Some(match signal {
        Signal::Traces => {
            let mut request = TracesRequest::decode(request).ok()?;
            for resource in &mut request.resource_spans {
                of_resource(&mut resource.resource);
                for scope in &mut resource.scope_spans {
                    of_scope(&mut scope.scope);
                    scope.spans.iter_mut().for_each(|span| Mark::expected(&mut span.attributes));
                }
            }
            request.encode_to_vec()
        }
        Signal::Logs => {
            let mut request = LogsRequest::decode(request).ok()?;
            for resource in &mut request.resource_logs {
                of_resource(&mut resource.resource);
                for scope in &mut resource.scope_logs {
                    of_scope(&mut scope.scope);
                    scope.log_records.iter_mut().for_each(|record| Mark::expected(&mut record.attributes));
                }
            }
            request.encode_to_vec()
        }
        Signal::Metrics => {
            let mut request = MetricsRequest::decode(request).ok()?;
            for resource in &mut request.resource_metrics {
                of_resource(&mut resource.resource);
                for scope in &mut resource.scope_metrics {
                    of_scope(&mut scope.scope);
                    scope.metrics.iter_mut().filter_map(|metric| metric.data.as_mut()).for_each(mark_points);
                }
            }
            request.encode_to_vec()
        }
        // Keys may be given by index there, and samples have no attributes of their own.
        Signal::Profiles => return None,
    })
}

fn mark_points(data: &mut Data) {
    match data {
        Data::Gauge(data) => data.data_points.iter_mut().for_each(|p| Mark::expected(&mut p.attributes)),
        Data::Sum(data) => data.data_points.iter_mut().for_each(|p| Mark::expected(&mut p.attributes)),
        Data::Histogram(data) => data.data_points.iter_mut().for_each(|p| Mark::expected(&mut p.attributes)),
        Data::ExponentialHistogram(data) => {
            data.data_points.iter_mut().for_each(|p| Mark::expected(&mut p.attributes));
        }
        Data::Summary(data) => data.data_points.iter_mut().for_each(|p| Mark::expected(&mut p.attributes)),
    }
}

/// Cutting the bytes down to limits gives what cutting the owned messages gives, and nothing is left to be cut.
fn limited(payload: &Payload) {
    let signal = payload.signal();
    let size = payload.encoded_len();
    let limits = AttributeLimits { count: size % 3, key_length: 1 + size % 5, value_length: size % 4 };
    let mut new = payload.clone();
    new.limit_attributes(limits);
    let bytes = new.to_bytes();
    assert_eq!(validate(signal, &bytes), Ok(payload.items()));
    assert_eq!(new.encoded_len(), bytes.len());
    assert_eq!(new.limit_attributes(limits), Beyond::default(), "cut again");
    let Some(found) = canonical(signal, &bytes) else { return };
    let expected = match signal {
        Signal::Traces => {
            let mut request = payload.decode_traces();
            let spans = request.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans);
            for span in spans.flat_map(|s| &mut s.spans) {
                cut_attributes(&mut span.attributes, &mut span.dropped_attributes_count, limits);
                for event in &mut span.events {
                    cut_attributes(&mut event.attributes, &mut event.dropped_attributes_count, limits);
                }
                for link in &mut span.links {
                    cut_attributes(&mut link.attributes, &mut link.dropped_attributes_count, limits);
                }
            }
            request.encode_to_vec()
        }
        Signal::Logs => {
            let mut request = payload.decode_logs();
            let records = request.resource_logs.iter_mut().flat_map(|r| &mut r.scope_logs);
            for record in records.flat_map(|s| &mut s.log_records) {
                cut_attributes(&mut record.attributes, &mut record.dropped_attributes_count, limits);
            }
            request.encode_to_vec()
        }
        Signal::Metrics | Signal::Profiles => return assert_eq!(bytes, payload.to_bytes()),
    };
    // Prost reads less deep, and then nothing at all.
    if canonical(signal, &payload.to_bytes()).is_some() {
        assert!(found == expected, "cut otherwise");
    }
}

fn cut_attributes(list: &mut Vec<KeyValue>, dropped: &mut u32, limits: AttributeLimits) {
    let before = list.len();
    list.retain_mut(|pair| is_cut(pair, limits));
    list.truncate(limits.count);
    *dropped = dropped.saturating_add((before - list.len()) as u32);
}

/// Cuts the value of a pair; `false` when the pair is to go.
fn is_cut(pair: &mut KeyValue, limits: AttributeLimits) -> bool {
    pair.value.iter_mut().for_each(|value| cut_value(value, limits));
    pair.key.len() <= limits.key_length
}

fn cut_value(value: &mut AnyValue, limits: AttributeLimits) {
    match &mut value.value {
        Some(Value::StringValue(text)) => *text = text.chars().take(limits.value_length).collect(),
        Some(Value::BytesValue(bytes)) => bytes.truncate(limits.value_length),
        Some(Value::ArrayValue(list)) => list.values.iter_mut().for_each(|value| cut_value(value, limits)),
        Some(Value::KvlistValue(map)) => map.values.retain_mut(|pair| is_cut(pair, limits)),
        _ => {}
    }
}
