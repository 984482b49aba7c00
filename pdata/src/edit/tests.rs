//! Random telemetry, random edits: what comes out is what editing the owned messages gives.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::common::v1::any_value::Value;
use crate::otlp::common::v1::{AnyValue, KeyValue};
use crate::otlp::metrics::v1::metric::Data;
use crate::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest};
use crate::otlp::{common, kv, logs, metrics, profiles, resource, trace};
use crate::validate::validate;
use crate::{Payload, Signal};

type Pairs = Vec<KeyValue>;

/// Telemetry of any signal, reduced to what is edited.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    attributes: Option<Pairs>,
    groups: Vec<Group>,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    name: String,
    attributes: Pairs,
}

/// One edit of attributes.
#[derive(Debug, Clone)]
enum Op {
    Set(String, AnyValue),
    Insert(String, AnyValue),
    Replace(String, AnyValue),
    Copy(String, String),
    Remove(String),
    RemoveAllBut(String),
    Rewrite(String),
}

/// What a value is rewritten to.
fn rewritten(value: view::AnyValue<'_>) -> String {
    format!("was {}", crate::text::Plain(value))
}

/// What is done to all telemetry of a case.
#[derive(Debug, Clone)]
struct Script<const DROPS_EMPTY: bool> {
    resource: Vec<Op>,
    scope: Vec<Op>,
    item: Vec<Op>,
    /// Items of that name go, and resources and scopes with an attribute of that key.
    drop: String,
    /// Below a resource with an attribute of that key nothing is looked at.
    keep: String,
    rename: Option<String>,
}

fn apply(ops: &[Op], list: &mut AttributeList<'_>) {
    for op in ops {
        match op {
            Op::Set(key, value) => {
                let value = list.encoded(&value.into());
                list.set(key, value);
            }
            Op::Insert(key, value) if !list.contains(key) => {
                let value = list.encoded(&value.into());
                list.push(key, value);
            }
            Op::Insert(..) => {}
            Op::Replace(key, value) => {
                let value = list.encoded(&value.into());
                list.replace(key, value);
            }
            Op::Copy(from, to) => {
                if let Some(value) = list.get(from) {
                    list.set(to, value);
                }
            }
            Op::Remove(key) => drop(list.remove(key)),
            Op::RemoveAllBut(key) => list.retain(|k| k == key),
            Op::Rewrite(key) => list.rewrite(|k| k == key, rewritten),
        }
    }
}

/// The same on owned attributes.
fn expected(ops: &[Op], list: &mut Pairs) {
    for op in ops {
        let at = |list: &Pairs, key: &str| list.iter().position(|kv| kv.key == key);
        let add = |list: &mut Pairs, key: &str, value: AnyValue| {
            list.push(KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() });
        };
        match op {
            Op::Set(key, value) => match at(list, key) {
                Some(i) => list[i].value = Some(value.clone()),
                None => add(list, key, value.clone()),
            },
            Op::Insert(key, value) => {
                if at(list, key).is_none() {
                    add(list, key, value.clone());
                }
            }
            Op::Replace(key, value) => {
                if let Some(i) = at(list, key) {
                    list[i].value = Some(value.clone());
                }
            }
            Op::Copy(from, to) => {
                let Some(i) = at(list, from) else { continue };
                let value = list[i].value.clone().unwrap_or_default();
                match at(list, to) {
                    Some(i) => list[i].value = Some(value),
                    None => add(list, to, value),
                }
            }
            Op::Remove(key) => {
                if let Some(i) = at(list, key) {
                    list.remove(i);
                }
            }
            Op::RemoveAllBut(key) => list.retain(|kv| kv.key == *key),
            Op::Rewrite(key) => {
                for pair in list.iter_mut().filter(|kv| kv.key == *key) {
                    let old = Encoded::from(&pair.value.clone().unwrap_or_default());
                    *pair = kv(key, &*rewritten(old.view()));
                }
            }
        }
    }
}

impl<const DROPS_EMPTY: bool> Script<DROPS_EMPTY> {
    fn on(&self, ops: &[Op], message: &mut Message<'_, '_>) -> Then {
        let list = message.attributes().expect("it has attributes");
        let then = if list.contains(&self.drop) {
            Then::Drop
        } else if list.contains(&self.keep) {
            Then::Keep
        } else {
            Then::Descend
        };
        apply(ops, list);
        then
    }

    /// What becomes of a group, on the model. `None`: it goes.
    fn expected(&self, group: &Group, ops: &[Op]) -> Option<Group> {
        let has = |key: &str| group.attributes.iter().flatten().any(|kv| kv.key == key);
        if has(&self.drop) {
            return None;
        }
        let mut new = group.clone();
        let mut pairs = group.attributes.clone().unwrap_or_default();
        expected(ops, &mut pairs);
        if group.attributes.is_some() || !pairs.is_empty() {
            new.attributes = Some(pairs);
        }
        if !has(&self.keep) {
            new.groups = group.groups.iter().filter_map(|g| self.expected(g, &self.scope)).collect();
            new.items.retain(|i| i.name != self.drop);
            for item in &mut new.items {
                expected(&self.item, &mut item.attributes);
                item.name = self.rename.clone().unwrap_or(item.name.clone());
            }
            if DROPS_EMPTY && new.groups.is_empty() && new.items.is_empty() {
                return None;
            }
        }
        Some(new)
    }
}

impl<const DROPS: bool> Editor for Script<DROPS> {
    const DROPS_EMPTY: bool = DROPS;

    fn resource(&mut self, _: view::Resource<'_>, resource: &mut Message<'_, '_>) -> Then {
        self.on(&self.resource.clone(), resource)
    }

    fn scope(&mut self, _: view::Scope<'_>, scope: &mut Message<'_, '_>) -> Then {
        self.on(&self.scope.clone(), scope)
    }

    fn metric(&mut self, metric: view::Metric<'_>) -> Then {
        if metric.name() == self.drop { Then::Drop } else { Then::Descend }
    }

    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        if item.as_span().is_some_and(|s| s.name() == self.drop)
            || item.as_log_record().is_some_and(|r| r.event_name() == self.drop)
        {
            return Then::Drop;
        }
        let name = match item.id() {
            crate::schema::Id::Span => 5,
            crate::schema::Id::LogRecord => 12,
            _ => 0,
        };
        if let (Some(list), ops) = (item.attributes(), &self.item) {
            apply(ops, list);
        }
        if let (Some(new), true) = (&self.rename, name > 0) {
            item.set(name, new.as_bytes());
        }
        Then::Keep
    }
}

fn owned_resource(attributes: Option<Pairs>) -> Option<resource::v1::Resource> {
    attributes.map(|attributes| resource::v1::Resource { attributes, ..Default::default() })
}

fn owned_scope(attributes: Option<Pairs>) -> Option<common::v1::InstrumentationScope> {
    let scope = |attributes| common::v1::InstrumentationScope { attributes, ..Default::default() };
    attributes.map(scope)
}

fn traces(groups: &[Group]) -> TracesRequest {
    let span = |i: &Item| trace::v1::Span {
        trace_id: vec![1; 16],
        name: i.name.clone(),
        start_time_unix_nano: 5,
        attributes: i.attributes.clone(),
        events: vec![trace::v1::span::Event {
            name: "e".into(),
            attributes: vec![kv("k1", 1)],
            ..Default::default()
        }],
        status: Some(trace::v1::Status { message: "m".into(), code: 2 }),
        ..Default::default()
    };
    let scope = |g: &Group| trace::v1::ScopeSpans {
        scope: owned_scope(g.attributes.clone()),
        spans: g.items.iter().map(span).collect(),
        schema_url: "s".into(),
    };
    let resource = |g: &Group| trace::v1::ResourceSpans {
        resource: owned_resource(g.attributes.clone()),
        scope_spans: g.groups.iter().map(scope).collect(),
        schema_url: "r".into(),
    };
    TracesRequest { resource_spans: groups.iter().map(resource).collect() }
}

fn records(groups: &[Group]) -> LogsRequest {
    let record = |i: &Item| logs::v1::LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue("body".into())) }),
        attributes: i.attributes.clone(),
        event_name: i.name.clone(),
        ..Default::default()
    };
    let scope = |g: &Group| logs::v1::ScopeLogs {
        scope: owned_scope(g.attributes.clone()),
        log_records: g.items.iter().map(record).collect(),
        schema_url: "s".into(),
    };
    let resource = |g: &Group| logs::v1::ResourceLogs {
        resource: owned_resource(g.attributes.clone()),
        scope_logs: g.groups.iter().map(scope).collect(),
        schema_url: String::new(),
    };
    LogsRequest { resource_logs: groups.iter().map(resource).collect() }
}

/// Each item is a metric with two points; its type follows from its place.
fn points(groups: &[Group]) -> MetricsRequest {
    let metric = |(n, i): (usize, &Item)| {
        let attributes = i.attributes.clone();
        let data = match n % 5 {
            0 => Data::Gauge(metrics::v1::Gauge {
                data_points: vec![
                    metrics::v1::NumberDataPoint { attributes, flags: 1, ..Default::default() };
                    2
                ],
            }),
            1 => Data::Sum(metrics::v1::Sum {
                data_points: vec![metrics::v1::NumberDataPoint { attributes, ..Default::default() }; 2],
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
            2 => Data::Histogram(metrics::v1::Histogram {
                data_points: vec![
                    metrics::v1::HistogramDataPoint {
                        attributes,
                        bucket_counts: vec![1, 2],
                        ..Default::default()
                    };
                    2
                ],
                aggregation_temporality: 1,
            }),
            3 => Data::ExponentialHistogram(metrics::v1::ExponentialHistogram {
                data_points: vec![
                    metrics::v1::ExponentialHistogramDataPoint {
                        attributes,
                        scale: -3,
                        ..Default::default()
                    };
                    2
                ],
                aggregation_temporality: 1,
            }),
            _ => Data::Summary(metrics::v1::Summary {
                data_points: vec![
                    metrics::v1::SummaryDataPoint { attributes, sum: 1.5, ..Default::default() };
                    2
                ],
            }),
        };
        metrics::v1::Metric { name: i.name.clone(), unit: "1".into(), data: Some(data), ..Default::default() }
    };
    let scope = |g: &Group| metrics::v1::ScopeMetrics {
        scope: owned_scope(g.attributes.clone()),
        metrics: g.items.iter().enumerate().map(metric).collect(),
        schema_url: "s".into(),
    };
    let resource = |g: &Group| metrics::v1::ResourceMetrics {
        resource: owned_resource(g.attributes.clone()),
        scope_metrics: g.groups.iter().map(scope).collect(),
        schema_url: "r".into(),
    };
    MetricsRequest { resource_metrics: groups.iter().map(resource).collect() }
}

fn samples(groups: &[Group]) -> ProfilesRequest {
    use profiles::v1development::{Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles};
    let profile = |i: &Item| Profile {
        original_payload_format: i.name.clone(),
        samples: vec![Sample { values: vec![3], ..Default::default() }],
        ..Default::default()
    };
    let scope = |g: &Group| ScopeProfiles {
        scope: owned_scope(g.attributes.clone()),
        profiles: g.items.iter().map(profile).collect(),
        ..Default::default()
    };
    let resource = |g: &Group| ResourceProfiles {
        resource: owned_resource(g.attributes.clone()),
        scope_profiles: g.groups.iter().map(scope).collect(),
        ..Default::default()
    };
    ProfilesRequest {
        resource_profiles: groups.iter().map(resource).collect(),
        dictionary: Some(ProfilesDictionary { string_table: vec![String::new()], ..Default::default() }),
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![3 => "k[1-4]", 1 => Just("drop".to_owned()), 1 => Just("keep".to_owned()), 1 => "[a-z.]{1,140}"]
}

/// Values whose lengths lie on both sides of where a length takes one more byte.
fn value() -> impl Strategy<Value = AnyValue> {
    let text = prop_oneof![0usize..6, 110usize..135, Just(300), Just(16_380)]
        .prop_map(|n| Value::StringValue("x".repeat(n)));
    let list = vec(any::<i64>(), 0..3).prop_map(|ints| {
        let values = ints.into_iter().map(|i| AnyValue { value: Some(Value::IntValue(i)) }).collect();
        Value::ArrayValue(common::v1::ArrayValue { values })
    });
    let value = prop_oneof![
        text.prop_map(Some),
        any::<i64>().prop_map(|i| Some(Value::IntValue(i))),
        Just(Some(Value::DoubleValue(1.5))),
        Just(Some(Value::BoolValue(true))),
        list.prop_map(Some),
        Just(None),
    ];
    value.prop_map(|value| AnyValue { value })
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let pair = (key(), value());
    vec(pair.prop_map(|(key, value)| KeyValue { key, value: Some(value), ..Default::default() }), 0..5)
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let name = prop_oneof![4 => "name [0-9]", 1 => Just("drop".to_owned())];
    let item = (name, pairs()).prop_map(|(name, attributes)| Item { name, attributes });
    let scope = (proptest::option::of(pairs()), vec(item, 0..4)).prop_map(|(attributes, items)| Group {
        attributes,
        groups: Vec::new(),
        items,
    });
    let resource = (proptest::option::of(pairs()), vec(scope, 0..3)).prop_map(|(attributes, groups)| Group {
        attributes,
        groups,
        items: Vec::new(),
    });
    vec(resource, 0..3)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (key(), value()).prop_map(|(k, v)| Op::Set(k, v)),
        (key(), value()).prop_map(|(k, v)| Op::Insert(k, v)),
        (key(), value()).prop_map(|(k, v)| Op::Replace(k, v)),
        (key(), key()).prop_map(|(from, to)| Op::Copy(from, to)),
        key().prop_map(Op::Remove),
        key().prop_map(Op::RemoveAllBut),
        key().prop_map(Op::Rewrite),
    ];
    vec(op, 0..4)
}

fn script<const DROPS_EMPTY: bool>() -> impl Strategy<Value = Script<DROPS_EMPTY>> {
    let rename = proptest::option::of(prop_oneof![Just(String::new()), Just("y".repeat(200))]);
    (ops(), ops(), ops(), rename).prop_map(|(resource, scope, item, rename)| Script {
        resource,
        scope,
        item,
        drop: "drop".to_owned(),
        keep: "keep".to_owned(),
        rename,
    })
}

fn check<const D: bool>(input: &[Group], script: &Script<D>) {
    // What is renamed differs: metrics and profiles are not.
    let unnamed = Script { rename: None, ..script.clone() };
    let model = |s: &Script<D>| input.iter().filter_map(|g| s.expected(g, &s.resource)).collect::<Vec<_>>();
    let edited = |payload: Payload| {
        let mut payload = payload;
        payload.edit(&mut script.clone());
        let bytes = payload.to_bytes();
        assert_eq!(validate(payload.signal(), &bytes), Ok(payload.items()));
        assert_eq!(payload.encoded_len(), bytes.len());
        payload
    };
    assert_eq!(edited(traces(input).into()).decode_traces(), traces(&model(script)));
    assert_eq!(edited(records(input).into()).decode_logs(), records(&model(script)));
    let metrics = edited(points(input).into()).decode_metrics();
    let mut wanted = points(&model(&unnamed));
    // The type of a metric followed from its place, which changes with those that went.
    let types = |request: &MetricsRequest| -> Vec<Vec<Option<Data>>> {
        let scopes = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
        scopes.map(|s| s.metrics.iter().map(|m| m.data.clone()).collect()).collect()
    };
    if input.iter().flat_map(|r| &r.groups).any(|s| s.items.iter().any(|i| i.name == "drop")) {
        assert_eq!(
            types(&metrics).iter().map(Vec::len).collect::<Vec<_>>(),
            types(&wanted).iter().map(Vec::len).collect::<Vec<_>>()
        );
        return;
    }
    assert_eq!(metrics, std::mem::take(&mut wanted));
}

proptest! {
    #[test]
    fn an_edited_request_is_what_editing_the_owned_message_gives(input in groups(), script in script::<false>()) {
        check(&input, &script);
    }

    #[test]
    fn so_it_is_when_what_is_empty_goes(input in groups(), script in script::<true>()) {
        check(&input, &script);
    }

    #[test]
    fn resources_and_scopes_of_profiles_are_edited_and_the_dictionary_stays(
        input in groups(),
        script in script::<false>(),
    ) {
        // Profiles have no attributes of their own on their samples, and no name.
        let script = Script { item: Vec::new(), rename: None, ..script };
        let mut without_drop = input.clone();
        without_drop.iter_mut().flat_map(|r| &mut r.groups).flat_map(|s| &mut s.items).for_each(|i| {
            i.attributes.clear();
            i.name = "p".to_owned();
        });
        let mut payload = Payload::from(samples(&without_drop));
        payload.edit(&mut script.clone());
        let model: Vec<_> = without_drop.iter().filter_map(|g| script.expected(g, &script.resource)).collect();
        prop_assert_eq!(payload.decode_profiles(), samples(&model));
        prop_assert_eq!(validate(Signal::Profiles, &payload.to_bytes()), Ok(payload.items()));
    }

    #[test]
    fn random_bytes_that_are_well_formed_survive_an_edit(bytes in vec(any::<u8>(), 0..200), script in script::<true>()) {
        for signal in Signal::ALL {
            if let Ok(mut payload) = Payload::from_request(signal, bytes.clone().into()) {
                payload.edit(&mut script.clone());
                prop_assert_eq!(validate(signal, &payload.to_bytes()), Ok(payload.items()));
            }
        }
    }
}

/// Sets one attribute of every item.
struct Mark;

impl Editor for Mark {
    fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
        let list = item.attributes().expect("it has attributes");
        let value = list.text_value("new");
        list.set("i", value);
        Then::Keep
    }
}

#[test]
fn unknown_fields_stay_byte_for_byte_at_every_level() {
    // Field 1000 of each message, and of the attribute that is changed.
    let unknown = |text: &str| {
        let mut field = vec![0xc2, 0x3e, text.len() as u8];
        field.extend_from_slice(text.as_bytes());
        field
    };
    let nest = |number: u8, content: &[u8]| {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        field.extend_from_slice(content);
        field
    };
    let value = nest(1, b"old");
    let pair = [nest(1, b"i"), unknown("in the pair"), nest(2, &value)].concat();
    let span = [unknown("before"), nest(9, &pair), nest(5, b"name"), unknown("in the span")].concat();
    // The scope comes behind its spans, which is as good.
    let scope = [nest(2, &span), unknown("in the scope"), nest(1, &nest(1, b"s"))].concat();
    let request = nest(1, &[nest(2, &scope), unknown("in the resource")].concat());
    let mut payload = Payload::from_request(Signal::Traces, request.into()).expect("well-formed");
    payload.edit(&mut Mark);

    let new_pair = [nest(1, b"i"), unknown("in the pair"), nest(2, &nest(1, b"new"))].concat();
    let new_span = [unknown("before"), nest(9, &new_pair), nest(5, b"name"), unknown("in the span")].concat();
    let new_scope = [nest(2, &new_span), unknown("in the scope"), nest(1, &nest(1, b"s"))].concat();
    let expected = nest(1, &[nest(2, &new_scope), unknown("in the resource")].concat());
    assert_eq!(payload.to_bytes(), expected);
}

#[test]
fn a_request_in_which_nothing_changes_is_not_copied() {
    let mut payload = Payload::from(crate::testing::traces(3));
    let before = payload.to_bytes().as_ptr();
    let mut idle = Script::<false> {
        resource: vec![Op::Remove("not there".into())],
        scope: Vec::new(),
        item: vec![Op::Replace("nor this".into(), AnyValue::default())],
        drop: "drop".into(),
        keep: "keep".into(),
        rename: None,
    };
    payload.edit(&mut idle);
    assert_eq!(payload.to_bytes().as_ptr(), before);
}

#[test]
fn a_resource_in_several_parts_is_edited_as_one() {
    let part = |key: &str| {
        resource::v1::Resource { attributes: vec![kv(key, 1)], ..Default::default() }.encode_to_vec()
    };
    let nest = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let request = nest(1, &[nest(1, &part("a")), nest(3, b"url"), nest(1, &part("b"))].concat());
    let mut payload = Payload::from_request(Signal::Logs, request.into()).expect("well-formed");
    let mut script = Script::<false> {
        resource: vec![Op::Remove("b".into()), Op::Insert("a".into(), AnyValue::default())],
        scope: Vec::new(),
        item: Vec::new(),
        drop: "drop".into(),
        keep: "keep".into(),
        rename: None,
    };
    payload.edit(&mut script);
    assert_eq!(payload.to_bytes(), nest(1, &[nest(1, &part("a")), nest(3, b"url")].concat()));
}

#[test]
fn a_field_that_comes_several_times_is_there_once_when_it_is_set() {
    struct Rename;
    impl Editor for Rename {
        fn item(&mut self, item: &mut Message<'_, '_>) -> Then {
            item.set(5, b"new");
            item.set(3, b"state");
            Then::Keep
        }
    }
    let nest = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let span = |fields: &[Vec<u8>]| nest(1, &nest(2, &nest(2, &fields.concat())));
    let (name, id, state) = (nest(5, b"old"), nest(2, &[7; 8]), nest(3, b""));
    let fields = [state.clone(), name.clone(), name.clone(), id.clone(), state, name.clone(), name];
    let mut payload = Payload::from_request(Signal::Traces, span(&fields).into()).expect("well-formed");
    payload.edit(&mut Rename);
    assert_eq!(payload.to_bytes(), span(&[nest(3, b"state"), nest(5, b"new"), id]));
}

#[test]
fn a_value_in_several_parts_is_read_and_copied_as_one() {
    struct Copy;
    impl Editor for Copy {
        fn resource(&mut self, _: view::Resource<'_>, resource: &mut Message<'_, '_>) -> Then {
            let list = resource.attributes().expect("a resource");
            assert_eq!(list.text("k"), Some("text"));
            let value = list.get("k").expect("there");
            list.set("copy", value);
            Then::Keep
        }
    }
    let nest = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let pair = [nest(1, b"k"), nest(2, &nest(1, b"text")), nest(2, b"")].concat();
    let request = nest(1, &nest(1, &nest(1, &pair)));
    let mut payload = Payload::from_request(Signal::Logs, request.into()).expect("well-formed");
    payload.edit(&mut Copy);
    let resource = payload.decode_logs().resource_logs[0].resource.clone().expect("a resource");
    assert_eq!(resource.attributes, [kv("k", "text"), kv("copy", "text")]);
}

#[test]
fn keys_and_texts_of_profiles_given_by_index_are_found() {
    struct Rename;
    impl Editor for Rename {
        fn resource(&mut self, _: view::Resource<'_>, resource: &mut Message<'_, '_>) -> Then {
            let list = resource.attributes().expect("a resource");
            assert_eq!(list.text("by index"), Some("text by index"));
            let value = list.get("by index").expect("there");
            list.set("copy", value);
            list.remove("by index");
            Then::Keep
        }
    }
    let mut request = crate::testing::profiles("p", 1);
    let dictionary = request.dictionary.get_or_insert_default();
    dictionary.string_table.extend(["by index".to_owned(), "text by index".to_owned()]);
    let last = dictionary.string_table.len() as i32 - 1;
    let value = Some(AnyValue { value: Some(Value::StringValueStrindex(last)) });
    let pair = KeyValue { key_strindex: last - 1, value: value.clone(), ..Default::default() };
    request.resource_profiles[0].resource.as_mut().expect("a resource").attributes = vec![pair];
    let mut payload = Payload::from(request);
    payload.edit(&mut Rename);
    let resource = payload.decode_profiles().resource_profiles[0].resource.clone().expect("a resource");
    assert_eq!(resource.attributes, [KeyValue { key: "copy".into(), value, ..Default::default() }]);
}
