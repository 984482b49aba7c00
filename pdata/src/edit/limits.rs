//! Attribute limits: what is beyond them is cut away where it lies.
//!
//! Source: the OpenTelemetry specification, "Attribute Limits" (common), which counts a text in characters and exempts
//! resources and metrics, because their attributes say which resource and which series it is: without some of them two
//! would be one. The length of keys is a limit of our own.

use super::walk::Part;
use super::writer::Writer;
use crate::schema::Id;
use crate::view::Fields;
use crate::{Signal, wire};

/// How many attributes a span, an event or a link of a span, or a log record may have, and how large each may be.
/// Default: without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeLimits {
    /// Attributes that come behind so many are dropped.
    pub count: usize,
    /// Attributes whose keys have more bytes are dropped, and so are such pairs in maps.
    pub key_length: usize,
    /// Texts are cut to so many characters and byte strings to so many bytes, also in lists and maps.
    pub value_length: usize,
}

impl Default for AttributeLimits {
    fn default() -> Self {
        AttributeLimits { count: usize::MAX, key_length: usize::MAX, value_length: usize::MAX }
    }
}

/// What was beyond limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beyond {
    /// Attributes that were dropped, and pairs in maps.
    pub dropped: usize,
    /// Texts and byte strings that were cut.
    pub truncated: usize,
}

/// Cuts a validated request down to the limits; `None` when it is within them. Its messages count what they lost in
/// `dropped_attributes_count`.
pub(crate) fn limit(signal: Signal, request: &[u8], limits: AttributeLimits) -> Option<(Vec<u8>, Beyond)> {
    let mut limiter = Limiter { limits, writer: Writer::new(request), beyond: Beyond::default() };
    limiter.fields(Id::request(signal), Part::whole(request));
    let beyond = limiter.beyond;
    limiter.writer.finish().map(|bytes| (bytes, beyond))
}

/// What stands in a field of a message that attributes with limits are in.
enum Step {
    Other,
    /// A message that has attributes or leads to some.
    Message(Id),
    Attribute,
}

const fn step(id: Id, number: u32) -> Step {
    match (id, number) {
        (Id::TracesRequest, 1) => Step::Message(Id::ResourceSpans),
        (Id::ResourceSpans, 2) => Step::Message(Id::ScopeSpans),
        (Id::ScopeSpans, 2) => Step::Message(Id::Span),
        (Id::Span, 11) => Step::Message(Id::SpanEvent),
        (Id::Span, 13) => Step::Message(Id::SpanLink),
        (Id::LogsRequest, 1) => Step::Message(Id::ResourceLogs),
        (Id::ResourceLogs, 2) => Step::Message(Id::ScopeLogs),
        (Id::ScopeLogs, 2) => Step::Message(Id::LogRecord),
        (Id::Span, 9) | (Id::SpanEvent, 3) | (Id::SpanLink, 4) | (Id::LogRecord, 6) => Step::Attribute,
        _ => Step::Other,
    }
}

/// The number of `dropped_attributes_count`.
const fn dropped_count(id: Id) -> u32 {
    match id {
        Id::Span => 10,
        Id::SpanEvent => 4,
        Id::SpanLink => 5,
        Id::LogRecord => 7,
        _ => 0,
    }
}

struct Limiter<'a> {
    limits: AttributeLimits,
    writer: Writer<'a>,
    beyond: Beyond,
}

impl<'a> Limiter<'a> {
    /// Does something to a message and corrects its length.
    fn within<R>(&mut self, part: Part<'a>, edit: impl FnOnce(&mut Self) -> R) -> R {
        let open = self.writer.open(part.start, part.body..part.end);
        let done = edit(self);
        self.writer.close(open, part.end);
        done
    }

    /// The fields of a message that has attributes or leads to some.
    fn fields(&mut self, id: Id, message: Part<'a>) {
        let (mut kept, mut dropped) = (0, 0);
        for field in Fields::new(message.bytes) {
            let part = Part::of(&field, message.body);
            match step(id, field.number) {
                Step::Message(child) => self.within(part, |within| within.fields(child, part)),
                Step::Attribute if kept < self.limits.count && self.pair(part) => kept += 1,
                Step::Attribute => {
                    self.writer.remove(part.start..part.end);
                    dropped += 1;
                }
                Step::Other => {}
            }
        }
        if dropped > 0 {
            self.beyond.dropped += dropped;
            // Of a number that comes more than once the last counts, and of a longer one what a uint32 holds.
            let number = dropped_count(id);
            let before = Fields::new(message.bytes).filter(|f| f.number == number).last();
            let before = before.map_or(0, |f| f.u64() as u32);
            let all = before.saturating_add(u32::try_from(dropped).unwrap_or(u32::MAX));
            self.writer.replace(message.end..message.end, |out| {
                wire::put_varint(u64::from(number << 3), out);
                wire::put_varint(u64::from(all), out);
            });
        }
    }

    /// An attribute or a pair of a map; `false` when it is to go.
    fn pair(&mut self, pair: Part<'a>) -> bool {
        if pair.bytes.len() <= self.limits.key_length.min(self.limits.value_length) {
            return true;
        }
        let key = Fields::new(pair.bytes).filter(|f| f.number == 1).last();
        if key.is_some_and(|key| key.bytes().len() > self.limits.key_length) {
            return false;
        }
        self.within(pair, |within| {
            for field in Fields::new(pair.bytes).filter(|f| f.number == 2) {
                within.value(Part::of(&field, pair.body));
            }
        });
        true
    }

    fn value(&mut self, value: Part<'a>) {
        let longest = self.limits.value_length;
        self.within(value, |within| {
            for field in Fields::new(value.bytes) {
                let part = Part::of(&field, value.body);
                match field.number {
                    1 => within.cut(1, part, field.str().char_indices().nth(longest).map(|(at, _)| at)),
                    7 => within.cut(7, part, (part.bytes.len() > longest).then_some(longest)),
                    5 => within.within(part, |list| {
                        for item in Fields::new(part.bytes).filter(|f| f.number == 1) {
                            list.value(Part::of(&item, part.body));
                        }
                    }),
                    6 => within.within(part, |map| {
                        for item in Fields::new(part.bytes).filter(|f| f.number == 1) {
                            let item = Part::of(&item, part.body);
                            if !map.pair(item) {
                                map.writer.remove(item.start..item.end);
                                map.beyond.dropped += 1;
                            }
                        }
                    }),
                    _ => {}
                }
            }
        });
    }

    /// Cuts a text or a byte string, which is the field of that number, at an offset.
    fn cut(&mut self, number: u32, part: Part<'a>, at: Option<usize>) {
        let Some(rest) = at.and_then(|at| part.bytes.get(..at)) else { return };
        self.writer.replace(part.start..part.end, |out| wire::message(number, rest, out));
        self.beyond.truncated += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::common::v1::any_value::Value;
    use crate::otlp::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use crate::otlp::trace::v1::span::{Event, Link};
    use crate::otlp::{LogsRequest, TracesRequest, kv};
    use crate::schema::{IDS, Kind, MESSAGES};
    use crate::{Payload, testing};

    const NONE: AttributeLimits =
        AttributeLimits { count: usize::MAX, key_length: usize::MAX, value_length: usize::MAX };

    fn limited(payload: impl Into<Payload>, limits: AttributeLimits) -> (Payload, Beyond) {
        let mut payload = payload.into();
        let beyond = payload.limit_attributes(limits);
        let again = Payload::from_request(payload.signal(), payload.to_bytes()).expect("well formed");
        assert_eq!((again.items(), again.encoded_len()), (payload.items(), payload.encoded_len()));
        (payload, beyond)
    }

    fn span_with(attributes: Vec<KeyValue>) -> TracesRequest {
        let mut request = testing::traces(2);
        request.resource_spans[0].scope_spans[0].spans[1].attributes = attributes;
        request
    }

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn pair(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(any(value)), ..Default::default() }
    }

    fn has_limits(id: Id) -> bool {
        matches!(id, Id::Span | Id::SpanEvent | Id::SpanLink | Id::LogRecord)
    }

    #[test]
    fn the_messages_with_limits_are_those_of_the_schema() {
        for id in IDS {
            for field in MESSAGES[id as usize].fields {
                let number = u32::from(field.number);
                assert_eq!(
                    number == dropped_count(id),
                    field.name == "droppedAttributesCount" && has_limits(id)
                );
                match step(id, number) {
                    Step::Message(child) => assert_eq!(field.kind, Kind::Message(child)),
                    Step::Attribute => assert_eq!((field.name, has_limits(id)), ("attributes", true)),
                    Step::Other => assert!(field.name != "attributes" || !has_limits(id)),
                }
            }
        }
    }

    #[test]
    fn attributes_beyond_the_count_are_dropped_and_counted_in_their_message() {
        let mut request = span_with((0..5).map(|i| kv(&format!("k{i}"), i)).collect());
        let span = &mut request.resource_spans[0].scope_spans[0].spans[1];
        span.dropped_attributes_count = 7;
        span.events =
            vec![Event { attributes: vec![kv("a", 1), kv("b", 2), kv("c", 3)], ..Default::default() }];
        span.links =
            vec![Link { attributes: vec![kv("a", 1), kv("b", 2), kv("c", 3)], ..Default::default() }];
        let mut expected = request.clone();
        let span = &mut expected.resource_spans[0].scope_spans[0].spans[1];
        span.attributes.truncate(2);
        span.dropped_attributes_count = 7 + 3;
        span.events[0].attributes.truncate(2);
        span.events[0].dropped_attributes_count = 1;
        span.links[0].attributes.truncate(2);
        span.links[0].dropped_attributes_count = 1;
        let (payload, beyond) = limited(request, AttributeLimits { count: 2, ..NONE });
        assert_eq!(payload.decode_traces(), expected);
        assert_eq!(beyond, Beyond { dropped: 5, truncated: 0 });
    }

    #[test]
    fn a_count_is_read_as_all_readers_read_it() {
        let nest = |number: u32, content: &[u8]| {
            let mut out = Vec::new();
            wire::message(number, content, &mut out);
            out
        };
        for (before, expected) in [((1 << 32) + 5, 6), (u64::from(u32::MAX), u32::MAX), (u64::MAX << 32, 1)] {
            let mut record = nest(6, &nest(1, b"k"));
            record.push(7 << 3);
            wire::put_varint(before, &mut record);
            let request = nest(1, &nest(2, &nest(2, &record)));
            let payload = Payload::from_request(Signal::Logs, request.into()).expect("well formed");
            let limited = limited(payload, AttributeLimits { count: 0, ..NONE }).0.decode_logs();
            let record = &limited.resource_logs[0].scope_logs[0].log_records[0];
            assert_eq!(record.dropped_attributes_count, expected, "{before}");
        }
    }

    #[test]
    fn texts_are_cut_after_characters_and_bytes_after_bytes_at_any_depth() {
        let text = |text: &str| Value::StringValue(text.to_owned());
        let list = |texts: &[&str]| {
            Value::ArrayValue(ArrayValue { values: texts.iter().map(|t| any(text(t))).collect() })
        };
        let map = |pairs| Value::KvlistValue(KeyValueList { values: pairs });
        let long = "äöüß".repeat(50);
        let request = span_with(vec![
            pair("short", text("äöü")),
            pair("long", text(&long)),
            pair("bytes", Value::BytesValue(vec![7; 300])),
            pair("map", map(vec![pair("list", list(&["abcd", "abc"])), kv("n", i64::MAX)])),
        ]);
        let (payload, beyond) = limited(request, AttributeLimits { value_length: 3, ..NONE });
        let expected = span_with(vec![
            pair("short", text("äöü")),
            pair("long", text("äöü")),
            pair("bytes", Value::BytesValue(vec![7; 3])),
            pair("map", map(vec![pair("list", list(&["abc", "abc"])), kv("n", i64::MAX)])),
        ]);
        assert_eq!(payload.decode_traces(), expected);
        assert_eq!(beyond, Beyond { dropped: 0, truncated: 3 });
    }

    #[test]
    fn attributes_with_long_keys_are_dropped_and_pairs_of_maps_too() {
        let map = |pairs| pair("map", Value::KvlistValue(KeyValueList { values: pairs }));
        let request = span_with(vec![kv("key", 1), kv("long", 2), map(vec![kv("long", 3), kv("k", 4)])]);
        let (payload, beyond) = limited(request, AttributeLimits { key_length: 3, ..NONE });
        let mut expected = span_with(vec![kv("key", 1), map(vec![kv("k", 4)])]);
        expected.resource_spans[0].scope_spans[0].spans[1].dropped_attributes_count = 1;
        assert_eq!(payload.decode_traces(), expected);
        assert_eq!(beyond, Beyond { dropped: 2, truncated: 0 });
    }

    #[test]
    fn log_records_have_limits_and_their_bodies_have_none() {
        let mut request: LogsRequest = testing::logs(1);
        let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
        record.attributes = vec![kv("text", "a long text"), kv("more", 1)];
        let mut expected = request.clone();
        let record = &mut expected.resource_logs[0].scope_logs[0].log_records[0];
        record.attributes = vec![kv("text", "a long")];
        record.dropped_attributes_count = 1;
        let limits = AttributeLimits { count: 1, value_length: 6, ..NONE };
        assert_eq!(limited(request, limits).0.decode_logs(), expected);
    }

    #[test]
    fn what_is_within_the_limits_and_what_has_none_is_not_even_copied() {
        let nothing = AttributeLimits { count: 0, key_length: 0, value_length: 0 };
        for (signal, limits) in [
            (Signal::Traces, NONE),
            (Signal::Logs, AttributeLimits { count: 2, key_length: 4, value_length: 9 }),
            (Signal::Metrics, nothing),
            (Signal::Profiles, nothing),
        ] {
            let payload = testing::payload(signal, "name", 3);
            let before = payload.to_bytes();
            let (after, beyond) = limited(payload, limits);
            assert_eq!(beyond, Beyond::default());
            assert_eq!(after.to_bytes().as_ptr(), before.as_ptr(), "{signal}");
        }
    }
}
