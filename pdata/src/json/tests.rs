use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::{metrics, trace};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::check::{self, round_trip};
use crate::corpus::corpus;
use crate::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest};
use crate::testing;
use crate::validate::validate;
use crate::wire;

fn logs(json: &str) -> LogsRequest {
    let bytes = to_protobuf(Signal::Logs, json.as_bytes()).expect("accepted");
    validate(Signal::Logs, &bytes).expect("well formed");
    LogsRequest::decode(bytes).expect("decodes")
}

fn body(json: &str) -> Option<Value> {
    let request =
        logs(&format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{json}}}]}}]}}]}}"#));
    request.resource_logs[0].scope_logs[0].log_records[0].body.clone().and_then(|b| b.value)
}

fn error(signal: Signal, json: &str) -> String {
    to_protobuf(signal, json.as_bytes()).expect_err("refused").to_string()
}

fn span_error(member: &str) -> String {
    error(Signal::Traces, &format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{member}}}]}}]}}]}}"#))
}

fn span(member: &str) -> trace::v1::Span {
    let json = format!(r#"{{"resource_spans":[{{"scope_spans":[{{"spans":[{{{member}}}]}}]}}]}}"#);
    let bytes = to_protobuf(Signal::Traces, json.as_bytes()).expect("accepted");
    TracesRequest::decode(bytes).expect("decodes").resource_spans[0].scope_spans[0].spans[0].clone()
}

#[test]
fn a_request_keeps_no_room_for_the_blanks_around_it() {
    let record = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
    for blanks in [0, 100, 1 << 20] {
        let bytes = to_protobuf(Signal::Logs, format!("{record}{}", " ".repeat(blanks)).as_bytes());
        let bytes = bytes.expect("accepted").try_into_mut().expect("alone");
        assert!(
            bytes.capacity() - bytes.len() <= bytes.len() / 8,
            "{} for {}",
            bytes.capacity(),
            bytes.len()
        );
    }
}

#[test]
fn names_may_be_camel_case_or_snake_case_and_unknown_ones_are_skipped() {
    let a =
        span(r#""traceId":"0102030405060708090a0B0C0D0E0F10","startTimeUnixNano":"5","new":{"x":[1,{}]}"#);
    let b = span(r#""trace_id":"0102030405060708090a0b0c0d0e0f10","start_time_unix_nano":5,"name":null"#);
    assert_eq!(a, b);
    assert_eq!((a.trace_id.len(), a.start_time_unix_nano), (16, 5));
}

#[test]
fn enums_are_read_by_number_or_name() {
    assert_eq!(span(r#""kind":3"#).kind, 3);
    assert_eq!(span(r#""kind":"SPAN_KIND_CLIENT""#).kind, 3);
    assert!(span_error(r#""kind":"3""#).contains("no value of that name"));
}

#[test]
fn doubles_are_read_to_their_last_bit() {
    for bits in [0x3cb9_0b00_0000_0000_u64, 0x3ff0_0000_0000_0001, 0x7fef_ffff_ffff_ffff, 1] {
        let number = f64::from_bits(bits);
        let read = body(&format!(r#"{{"doubleValue":{number:e}}}"#));
        assert_eq!(read, Some(Value::DoubleValue(number)), "{number:e}");
    }
}

#[test]
fn integers_are_read_from_strings_and_numbers_within_their_range() {
    assert_eq!(body(r#"{"intValue":"-9223372036854775808"}"#), Some(Value::IntValue(i64::MIN)));
    assert_eq!(body(r#"{"intValue":7}"#), Some(Value::IntValue(7)));
    assert_eq!(body(r#"{"intValue":1e3}"#), Some(Value::IntValue(1000)));
    assert_eq!(span(r#""endTimeUnixNano":18446744073709551615"#).end_time_unix_nano, u64::MAX);
    assert!(span_error(r#""endTimeUnixNano":-1"#).contains("out of range"));
    assert!(span_error(r#""flags":4294967296"#).contains("out of range"));
    assert!(span_error(r#""flags":1.5"#).contains("fraction"));
}

#[test]
fn doubles_are_read_from_numbers_and_strings() {
    assert_eq!(body(r#"{"doubleValue":2}"#), Some(Value::DoubleValue(2.0)));
    assert_eq!(body(r#"{"doubleValue":"-Infinity"}"#), Some(Value::DoubleValue(f64::NEG_INFINITY)));
    assert!(matches!(body(r#"{"doubleValue":"NaN"}"#), Some(Value::DoubleValue(v)) if v.is_nan()));
    for too_large in ["1e400", r#""1e400""#, r#""-1E400""#] {
        let json = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"doubleValue":{too_large}}}}}]}}]}}]}}"#
        );
        error(Signal::Logs, &json);
    }
}

#[test]
fn bytes_are_standard_base64_with_padding() {
    assert_eq!(body(r#"{"bytesValue":"+/8="}"#), Some(Value::BytesValue(vec![0xfb, 0xff])));
    // Bits that stand for nothing may be set, but nothing may stand between the letters, as in the Collector.
    assert_eq!(body(r#"{"bytesValue":"Zh=="}"#), Some(Value::BytesValue(b"f".to_vec())));
    for refused in ["-_8=", "+/8", "Zm 9v", "Zm9v\\n"] {
        let json = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"bytesValue":"{refused}"}}}}]}}]}}]}}"#
        );
        assert!(error(Signal::Logs, &json).contains("base64"), "{refused}");
    }
}

#[test]
fn ids_have_exactly_their_length_or_are_empty() {
    assert_eq!(span(r#""spanId":"""#).span_id, Vec::<u8>::new());
    assert!(span_error(r#""spanId":"0102""#).contains("length mismatch"));
    assert!(span_error(r#""spanId":"zz02030405060708""#).contains("not hex"));
    assert!(span_error(r#""spanId":"0102030405é0607""#).contains("not hex"));
}

#[test]
fn of_a_oneof_the_last_wins_and_an_empty_string_is_a_value() {
    assert_eq!(body(r#"{"stringValue":"x","intValue":"4"}"#), Some(Value::IntValue(4)));
    assert_eq!(body(r#"{"stringValue":""}"#), Some(Value::StringValue(String::new())));
    assert_eq!(body(r#"{"stringValue":null}"#), None);
}

#[test]
fn a_null_in_a_list_of_values_keeps_its_place() {
    let values =
        [Some(Value::IntValue(1)), None, Some(Value::BoolValue(true))].map(|value| AnyValue { value });
    let expected = Value::ArrayValue(ArrayValue { values: values.to_vec() });
    assert_eq!(body(r#"{"arrayValue":{"values":[{"intValue":1},null,{"boolValue":true}]}}"#), Some(expected));
}

#[test]
fn text_behind_the_first_value_is_ignored_and_an_empty_body_is_refused() {
    assert_eq!(logs(r#"{"resourceLogs":[]} garbage"#), LogsRequest::default());
    assert!(error(Signal::Logs, "").contains("EOF"));
    assert_eq!(logs("null"), LogsRequest::default());
    assert!(error(Signal::Logs, "\u{feff}{}").contains("line 1 column 1"));
}

#[test]
fn errors_name_the_place_and_never_repeat_long_values() {
    let long = "x".repeat(100_000);
    let e = to_protobuf(Signal::Traces, format!("{{\n \"resourceSpans\":\"{long}\"}}").as_bytes())
        .expect_err("refused");
    assert_eq!(e.line(), 2);
    assert!(e.to_string().contains("expected a list for \"resourceSpans\""), "{e}");
    assert!(e.to_string().len() < 300);
}

fn nested(levels: usize) -> String {
    let mut value = String::from(r#"{"intValue":1}"#);
    for level in 0..levels {
        value = if level % 2 == 0 {
            format!(r#"{{"arrayValue":{{"values":[{value}]}}}}"#)
        } else {
            format!(r#"{{"kvlistValue":{{"values":[{{"key":"k","value":{value}}}]}}}}"#)
        };
    }
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}"#)
}

#[test]
fn values_nest_to_64_levels_and_no_deeper() {
    let bytes = to_protobuf(Signal::Logs, nested(64).as_bytes()).expect("accepted");
    assert_eq!(validate(Signal::Logs, &bytes), Ok(1));
    assert!(error(Signal::Logs, &nested(65)).contains("64 levels"));
}

/// A record with a text in maps in maps, each of which comes in that many parts.
fn maps_in_parts(levels: usize, parts: usize, text: &str) -> Payload {
    let nest = |number: u32, content: &[u8], parts: usize| {
        let mut out = Vec::new();
        wire::message(number, content, &mut out);
        (1..parts).for_each(|_| wire::message(number, &[], &mut out));
        out
    };
    let mut value = nest(1, text.as_bytes(), 1);
    for _ in 0..levels {
        let pair = [nest(1, b"k", 1), nest(2, &value, parts)].concat();
        value = nest(6, &nest(1, &pair, 1), parts);
    }
    let request = [2, 2, 1].iter().fold(nest(5, &value, parts), |below, number| nest(*number, &below, 1));
    Payload::from_request(Signal::Logs, request.into()).expect("well formed")
}

#[test]
fn what_comes_in_parts_is_written_where_it_lies() {
    // Put together at every level, it would be copied 127 times, which takes half a gigabyte and half a minute.
    let text = "a".repeat(4 << 20);
    let (whole, parts) = (maps_in_parts(63, 1, &text), maps_in_parts(63, 2, &text));
    assert!(from_protobuf(Signal::Logs, &parts) == from_protobuf(Signal::Logs, &whole));
    // Many parts are each looked at a few times.
    let (whole, parts) = (maps_in_parts(3, 1, "a"), maps_in_parts(3, 20_000, "a"));
    assert!(from_protobuf(Signal::Logs, &parts) == from_protobuf(Signal::Logs, &whole));
}

#[test]
fn deep_nesting_in_unknown_members_and_broken_input_does_not_overflow_the_stack() {
    let deep = "[".repeat(1_000_000);
    assert!(to_protobuf(Signal::Logs, format!(r#"{{"unknown":{deep}"#).as_bytes()).is_err());
    let values = r#"{"arrayValue":{"values":["#.repeat(200_000);
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{values}"#);
    assert!(error(Signal::Logs, &json).contains("64 levels"));
}

#[test]
fn the_writer_leaves_out_defaults_and_writes_long_integers_as_strings() {
    let payload = Payload::from(testing::traces(1));
    let json: serde_json::Value =
        serde_json::from_slice(&from_protobuf(Signal::Traces, &payload)).expect("JSON");
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "00000000000000000000000000000000");
    assert_eq!(span["attributes"][0]["value"]["intValue"], "0");
    assert!(span.get("startTimeUnixNano").is_none());
}

#[test]
fn every_kind_of_field_survives_the_way_to_json_and_back() {
    let value = |value| Some(AnyValue { value: Some(value) });
    let list = vec![
        AnyValue { value: None },
        AnyValue { value: Some(Value::BytesValue(vec![0, 255])) },
        AnyValue { value: Some(Value::DoubleValue(f64::INFINITY)) },
        AnyValue { value: Some(Value::BoolValue(false)) },
    ];
    let pair = KeyValue {
        key: "\"\n\u{1f600}".into(),
        value: value(Value::ArrayValue(ArrayValue { values: list })),
        ..Default::default()
    };
    let mut request = testing::metrics(2);
    request.resource_metrics[0].schema_url = "url".into();
    let scope = &mut request.resource_metrics[0].scope_metrics[0];
    scope.metrics[0].metadata = vec![pair.clone()];
    if let Some(Data::ExponentialHistogram(h)) = &mut scope.metrics[3].data {
        let point = &mut h.data_points[0];
        (point.scale, point.min, point.sum) = (-7, Some(0.0), Some(-1.5e300));
        let buckets = metrics::v1::exponential_histogram_data_point::Buckets {
            offset: i32::MIN,
            bucket_counts: vec![0, u64::MAX, 3],
        };
        point.negative = Some(buckets);
        point.exemplars = vec![metrics::v1::Exemplar {
            filtered_attributes: vec![KeyValue {
                key: "list".into(),
                value: value(Value::KvlistValue(KeyValueList { values: vec![pair] })),
                ..Default::default()
            }],
            value: Some(metrics::v1::exemplar::Value::AsInt(i64::MIN)),
            trace_id: vec![7; 16],
            span_id: vec![9; 8],
            ..Default::default()
        }];
    }
    let payload = Payload::from(request.clone());
    assert_eq!(MetricsRequest::decode(round_trip(&payload)).expect("decodes"), request);
}

#[test]
fn merged_payloads_are_written_as_one_request() {
    let mut payload = testing::payload(Signal::Logs, "a", 2);
    payload.append(testing::payload(Signal::Logs, "b", 3)).expect("same signal");
    assert_eq!(LogsRequest::decode(round_trip(&payload)).expect("decodes"), payload.decode_logs());
}

#[test]
fn much_of_the_corpus_is_accepted_and_comes_back() {
    let texts = corpus("otlp_json");
    texts.iter().for_each(|text| check::json(text));
    let accepted = texts.iter().flat_map(|text| Signal::ALL.map(|signal| to_protobuf(signal, text).is_ok()));
    let accepted = accepted.filter(|is_accepted| *is_accepted).count();
    // Fields of other signals are unknown ones, which are passed over.
    assert!(accepted > texts.len(), "{accepted} of {}", texts.len());
}

#[test]
fn requests_of_the_corpus_are_the_same_to_all_readers() {
    corpus("otlp_protobuf").iter().for_each(|request| check::protobuf(request));
}

static JSON: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| corpus("otlp_json"));
static PROTOBUF: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| corpus("otlp_protobuf"));

/// Some changes of bytes: what stands at a place is replaced, and what follows is doubled or not.
fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, usize, Vec<u8>, bool)]) -> Vec<u8> {
    for (at, cut, put, again) in changes {
        let start = at.index(bytes.len() + 1);
        let end = (start + cut).min(bytes.len());
        let tail = if *again { bytes[start..].to_vec() } else { Vec::new() };
        bytes.splice(start..end, put.iter().copied().chain(tail));
        bytes.truncate(4096);
    }
    bytes
}

fn changes(
    put: BoxedStrategy<Vec<u8>>,
) -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>, bool)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, put, any::<bool>()), 1..6)
}

fn of_json() -> BoxedStrategy<Vec<u8>> {
    let words = [
        "", "{", "}", "[", "]", ",", ":", "\"", "null", "-1", "1e999", "\\u", "\\ud800", "0x", "true",
        "\u{0}",
    ];
    prop::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()).boxed()
}

fn of_protobuf() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        // A group, a length that is too large, a number that does not end.
        prop::sample::select(vec![vec![0x0b], vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], vec![0xff; 11]]),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changes_of_the_corpus_never_panic_and_what_is_accepted_is_well_formed(
        which in any::<prop::sample::Index>(), changes in changes(of_json())
    ) {
        check::json(&changed(which.get::<Vec<u8>>(&JSON).clone(), &changes));
    }

    #[test]
    fn changes_of_the_corpus_as_protobuf_never_panic_and_what_is_accepted_is_read_again(
        which in any::<prop::sample::Index>(), changes in changes(of_protobuf())
    ) {
        check::protobuf(&changed(which.get::<Vec<u8>>(&PROTOBUF).clone(), &changes));
    }
}

proptest! {
    #[test]
    fn samples_of_all_signals_survive_the_way_to_json_and_back(n in 0usize..6) {
        let traces = testing::traces(n);
        prop_assert_eq!(TracesRequest::decode(round_trip(&traces.clone().into())), Ok(traces));
        let metrics = testing::metrics(n);
        prop_assert_eq!(MetricsRequest::decode(round_trip(&metrics.clone().into())), Ok(metrics));
        let logs = testing::logs(n);
        prop_assert_eq!(LogsRequest::decode(round_trip(&logs.clone().into())), Ok(logs));
        let profiles = testing::profiles("p", n);
        prop_assert_eq!(ProfilesRequest::decode(round_trip(&profiles.clone().into())), Ok(profiles));
    }

    #[test]
    fn damaged_json_never_panics_and_what_is_accepted_is_well_formed(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0usize..4) {
        let signal = Signal::ALL[which];
        let mut json = from_protobuf(signal, &testing::payload(signal, "x", 2));
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(bytes) = to_protobuf(signal, &json) {
            prop_assert!(validate(signal, &bytes).is_ok());
        }
    }

    #[test]
    fn damaged_protobuf_that_is_accepted_becomes_readable_json(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0usize..4) {
        let signal = Signal::ALL[which];
        let mut bytes = testing::payload(signal, "x", 2).to_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(payload) = Payload::from_request(signal, Bytes::from(bytes)) {
            round_trip(&payload);
        }
    }

    #[test]
    fn random_text_never_panics(text in ".{0,200}") {
        for signal in Signal::ALL {
            drop(to_protobuf(signal, text.as_bytes()));
        }
    }
}
