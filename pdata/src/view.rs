//! Borrowed, lazy reading of validated OTLP bytes: nothing is decoded that nobody asks for.
//!
//! The views never fail: they are made for bytes that passed [`crate::validate`]; on others they end early.
//!
//! What counts when something is there more than once is what counts for every reader of protobuf: of a number or a text the
//! last, of a message all parts together, of a choice what was chosen last. Of equal keys the first counts, as in the
//! Collector.

use std::ops::Range;

use crate::Payload;
use crate::schema::Id;
pub use crate::wire::{Field, Fields, Value};

/// Numbers of a packed or unpacked repeated 64-bit field.
fn fixed64s<'a>(buf: &'a [u8], number: u32) -> impl Iterator<Item = u64> + 'a {
    Fields::new(buf).filter(move |f| f.number == number).flat_map(|f| {
        let single = if let Value::Fixed64(v) = f.value { Some(v) } else { None };
        let packed = f.bytes().chunks_exact(8).filter_map(|c| c.try_into().ok().map(u64::from_le_bytes));
        single.into_iter().chain(packed)
    })
}

/// The fields of a message that may have come in parts: of all those that lie in the fields of one number.
#[derive(Debug, Clone, Copy)]
struct Within<'a, I> {
    around: I,
    number: u32,
    part: Fields<'a>,
}

impl<'a, I: Iterator<Item = Field<'a>>> Iterator for Within<'a, I> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        self.part.next().or_else(|| self.in_next_part())
    }
}

impl<'a, I: Iterator<Item = Field<'a>>> Within<'a, I> {
    /// Apart, so that the step from field to field stays small.
    #[inline(never)]
    fn in_next_part(&mut self) -> Option<Field<'a>> {
        loop {
            let number = self.number;
            self.part = Fields::new(self.around.find(|f| f.number == number)?.bytes());
            if let Some(field) = self.part.next() {
                return Some(field);
            }
        }
    }
}

/// The fields of the message that stands in `message` under that number.
fn within(message: &[u8], number: u32) -> Within<'_, Fields<'_>> {
    Within { around: Fields::new(message), number, part: Fields::new(&[]) }
}

/// A field of a message: its last occurrence.
fn field(message: &[u8], number: u32) -> Option<Field<'_>> {
    Fields::new(message).filter(|f| f.number == number).last()
}

fn bytes(message: &[u8], number: u32) -> &[u8] {
    field(message, number).map_or(&[], |f| f.bytes())
}

fn text(message: &[u8], number: u32) -> &str {
    field(message, number).map_or("", |f| f.str())
}

fn number(message: &[u8], number: u32) -> u64 {
    field(message, number).map_or(0, |f| f.u64())
}

fn children(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter(move |f| f.number == number).map(|f| f.bytes())
}

/// A message as bytes: the base of all typed views.
macro_rules! views {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<'a>(&'a [u8]);
        impl<'a> $name<'a> {
            /// A view of an encoded message that was validated before.
            pub fn new(message: &'a [u8]) -> Self { $name(message) }
            /// The encoded message.
            pub fn as_bytes(&self) -> &'a [u8] { self.0 }
        }
    )*};
}

views! {
    /// `Resource` and everything below it of one signal: `ResourceSpans`, `ResourceMetrics`, `ResourceLogs`.
    Resource;
    /// `ScopeSpans`, `ScopeMetrics`, `ScopeLogs`.
    Scope;
    /// `Span`.
    Span;
    /// `Metric`.
    Metric;
    /// `NumberDataPoint`.
    NumberPoint;
    /// `HistogramDataPoint`.
    HistogramPoint;
    /// `LogRecord`.
    LogRecord;
}

/// All resources of a payload of traces, metrics or logs.
pub fn resources(payload: &Payload) -> impl Iterator<Item = Resource<'_>> {
    payload.requests().flat_map(|request| resources_in(request))
}

/// The resources of one encoded request.
pub fn resources_in(request: &[u8]) -> impl Iterator<Item = Resource<'_>> {
    Fields::new(request).filter(|f| f.number == 1).map(|f| Resource(f.bytes()))
}

impl<'a> Resource<'a> {
    /// Attributes of the resource.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of_holder(self.0, 1)
    }

    /// Its scopes.
    pub fn scopes(&self) -> impl Iterator<Item = Scope<'a>> + use<'a> {
        children(self.0, 2).map(Scope)
    }
}

impl<'a> Scope<'a> {
    fn text(&self, number: u32) -> &'a str {
        within(self.0, 1).filter(|f| f.number == number).last().map_or("", |f| f.str())
    }

    /// Name of the instrumentation scope.
    pub fn name(&self) -> &'a str {
        self.text(1)
    }

    /// Version of the instrumentation scope.
    pub fn version(&self) -> &'a str {
        self.text(2)
    }

    /// Attributes of the instrumentation scope.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of_holder(self.0, 3)
    }

    /// Spans, of a `ScopeSpans`.
    pub fn spans(&self) -> impl Iterator<Item = Span<'a>> + use<'a> {
        children(self.0, 2).map(Span)
    }

    /// Metrics, of a `ScopeMetrics`.
    pub fn metrics(&self) -> impl Iterator<Item = Metric<'a>> + use<'a> {
        children(self.0, 2).map(Metric)
    }

    /// Records, of a `ScopeLogs`.
    pub fn log_records(&self) -> impl Iterator<Item = LogRecord<'a>> + use<'a> {
        children(self.0, 2).map(LogRecord)
    }
}

impl<'a> Span<'a> {
    /// Trace id, 16 bytes or none.
    pub fn trace_id(&self) -> &'a [u8] {
        bytes(self.0, 1)
    }

    /// Span id, 8 bytes or none.
    pub fn span_id(&self) -> &'a [u8] {
        bytes(self.0, 2)
    }

    /// Name.
    pub fn name(&self) -> &'a str {
        text(self.0, 5)
    }

    /// Kind, by number.
    pub fn kind(&self) -> i32 {
        number(self.0, 6) as i32
    }

    /// W3C trace state.
    pub fn trace_state(&self) -> &'a str {
        text(self.0, 3)
    }

    /// Attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.0, 9)
    }
}

impl<'a> Metric<'a> {
    /// Name.
    pub fn name(&self) -> &'a str {
        text(self.0, 1)
    }

    /// Unit (UCUM).
    pub fn unit(&self) -> &'a str {
        text(self.0, 3)
    }

    /// Points of a gauge or sum; none for others.
    pub fn number_points(&self) -> impl Iterator<Item = NumberPoint<'a>> + use<'a> {
        self.points(|data| matches!(data, 5 | 7)).map(NumberPoint)
    }

    /// Points of a histogram; none for others.
    pub fn histogram_points(&self) -> impl Iterator<Item = HistogramPoint<'a>> + use<'a> {
        self.points(|data| data == 9).map(HistogramPoint)
    }

    /// Points of its data when that is of a kind; of several kinds the last counts.
    fn points(&self, is_kind: fn(u32) -> bool) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (mut data, mut start) = (0, 0);
        for f in Fields::new(self.0) {
            if f.number != data && Id::Metric.oneof().contains(&f.number) {
                (data, start) = (f.number, f.start);
            }
        }
        let points = if is_kind(data) { &self.0[start..] } else { &[] };
        within(points, data).filter(|f| f.number == 1).map(|f| f.bytes())
    }
}

impl<'a> NumberPoint<'a> {
    /// Attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.0, 7)
    }

    /// Time, Unix ns.
    pub fn time(&self) -> u64 {
        number(self.0, 3)
    }

    /// Value, integers converted.
    pub fn value(&self) -> f64 {
        let mut value = 0.0;
        for f in Fields::new(self.0) {
            value = match f.number {
                4 => f.f64(),
                6 => f.i64() as f64,
                _ => value,
            };
        }
        value
    }
}

impl<'a> HistogramPoint<'a> {
    /// Attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.0, 9)
    }

    /// Time, Unix ns.
    pub fn time(&self) -> u64 {
        number(self.0, 3)
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        number(self.0, 4)
    }

    /// Sum of the values.
    pub fn sum(&self) -> f64 {
        f64::from_bits(number(self.0, 5))
    }

    /// Counts per bucket.
    pub fn bucket_counts(&self) -> impl Iterator<Item = u64> + use<'a> {
        fixed64s(self.0, 6)
    }

    /// Upper bounds of all but the last bucket.
    pub fn explicit_bounds(&self) -> impl Iterator<Item = f64> + use<'a> {
        fixed64s(self.0, 7).map(f64::from_bits)
    }
}

impl<'a> LogRecord<'a> {
    /// Event time, Unix ns.
    pub fn time(&self) -> u64 {
        number(self.0, 1)
    }

    /// When it was observed, Unix ns.
    pub fn observed_time(&self) -> u64 {
        number(self.0, 11)
    }

    /// Severity, by number.
    pub fn severity_number(&self) -> i32 {
        number(self.0, 2) as i32
    }

    /// Severity as the source calls it.
    pub fn severity_text(&self) -> &'a str {
        text(self.0, 3)
    }

    /// Trace id, 16 bytes or none.
    pub fn trace_id(&self) -> &'a [u8] {
        bytes(self.0, 9)
    }

    /// Event name.
    pub fn event_name(&self) -> &'a str {
        text(self.0, 12)
    }

    /// Body.
    pub fn body(&self) -> AnyValue<'a> {
        value(self.0, 5)
    }

    /// Attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.0, 6)
    }
}

/// A list of key-value pairs.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    fields: Within<'a, Within<'a, Fields<'a>>>,
    number: u32,
}

impl<'a> Attributes<'a> {
    /// The fields of that number of a message.
    fn new(message: &'a [u8], number: u32) -> Self {
        Attributes {
            fields: Within { around: within(&[], 0), number: 0, part: Fields::new(message) },
            number,
        }
    }

    /// The fields of that number of the message that stands in `message` under number 1.
    fn of_holder(message: &'a [u8], number: u32) -> Self {
        let around = Within { part: Fields::new(message), ..within(&[], 0) };
        Attributes { fields: Within { around, number: 1, part: Fields::new(&[]) }, number }
    }

    /// The value of a key; the first one when it is given twice.
    pub fn get(mut self, key: &str) -> Option<AnyValue<'a>> {
        let is_key = |pair: &[u8]| bytes(pair, 1) == key.as_bytes();
        let number = self.number;
        self.fields.find(|f| f.number == number && is_key(f.bytes())).map(|f| value(f.bytes(), 2))
    }

    /// The text of a key, if it has one.
    pub fn text(self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(|v| v.as_str())
    }

    /// The integer of a key, if it has one.
    pub fn int(self, key: &str) -> Option<i64> {
        self.get(key).and_then(|v| v.as_i64())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, AnyValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.number;
        let pair = self.fields.find(|f| f.number == number)?.bytes();
        Some((text(pair, 1), value(pair, 2)))
    }
}

/// The value in a field of a message.
fn value(message: &[u8], number: u32) -> AnyValue<'_> {
    let parts = Fields::new(message).filter(|f| f.number == number);
    parts.fold(AnyValue::Empty, |value, part| value.merged(message, part.content(), number))
}

/// A value of any type.
#[derive(Debug, Clone, Copy)]
pub enum AnyValue<'a> {
    /// No value.
    Empty,
    /// Text.
    Str(&'a str),
    /// Boolean.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Floating point.
    Double(f64),
    /// List, see [`AnyValue::items`].
    Array(Parts<'a>),
    /// Map, see [`AnyValue::entries`].
    Map(Parts<'a>),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// Reads an encoded `AnyValue`.
    pub fn read(bytes: &'a [u8]) -> Self {
        AnyValue::Empty.merged(bytes, 0..bytes.len(), 0)
    }

    /// The value together with a further part of it, which is the content of a field of that number in the message `around`.
    #[inline]
    fn merged(mut self, around: &'a [u8], part: Range<usize>, number: u32) -> Self {
        for f in Fields::new(&around[part.clone()]) {
            let from = || {
                let start = part.start + f.start;
                Parts { bytes: &around[start..], first: (part.end - start) as u32, number }
            };
            self = match (f.number, self) {
                (1, _) => AnyValue::Str(f.str()),
                (2, _) => AnyValue::Bool(f.u64() != 0),
                (3, _) => AnyValue::Int(f.i64()),
                (4, _) => AnyValue::Double(f.f64()),
                (5, AnyValue::Array(parts)) => AnyValue::Array(parts),
                (5, _) => AnyValue::Array(from()),
                (6, AnyValue::Map(parts)) => AnyValue::Map(parts),
                (6, _) => AnyValue::Map(from()),
                (7, _) => AnyValue::Bytes(f.bytes()),
                // A text by index, which only the dictionary of a profile has.
                (8, _) => AnyValue::Empty,
                (_, value) => value,
            };
        }
        self
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&'a str> {
        if let AnyValue::Str(s) = self { Some(s) } else { None }
    }

    /// The integer, if it is one; a whole double counts.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            AnyValue::Int(i) => Some(*i),
            AnyValue::Double(d) if d.fract() == 0.0 && d.abs() < 9e15 => Some(*d as i64),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            AnyValue::Int(i) => Some(*i as f64),
            AnyValue::Double(d) => Some(*d),
            _ => None,
        }
    }

    /// Entries of a list; none for others.
    pub fn items(&self) -> impl Iterator<Item = AnyValue<'a>> + use<'a> {
        let parts = if let AnyValue::Array(parts) = self { *parts } else { Parts::default() };
        parts.fields(5).filter(|f| f.number == 1).map(|f| AnyValue::read(f.bytes()))
    }

    /// Entries of a map; none for others.
    pub fn entries(&self) -> Attributes<'a> {
        let parts = if let AnyValue::Map(parts) = self { *parts } else { Parts::default() };
        Attributes { fields: parts.fields(6), number: 1 }
    }
}

/// Where a list or a map lies, which may have come in parts, as may the value that it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts<'a> {
    /// From its first part on to the end of the message around the value.
    bytes: &'a [u8],
    /// How much of that belongs to the same part of the value.
    first: u32,
    /// Number of the fields in the message around in which further parts of the value are.
    number: u32,
}

impl<'a> Parts<'a> {
    /// The fields of all parts, which have that number in the value.
    fn fields(self, number: u32) -> Within<'a, Within<'a, Fields<'a>>> {
        let (first, behind) = self.bytes.split_at_checked(self.first as usize).unwrap_or_default();
        let value = Within { around: Fields::new(behind), number: self.number, part: Fields::new(first) };
        Within { around: value, number, part: Fields::new(&[]) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::Kind;
    use crate::wire;
    use crate::{Signal, check, testing};

    #[test]
    fn a_span_is_read_where_it_lies() {
        let payload = Payload::from(testing::traces(2));
        let resource = resources(&payload).next().expect("resource");
        assert_eq!(resource.attributes().text("service.name"), Some("traces"));
        let scope = resource.scopes().next().expect("scope");
        assert_eq!((scope.name(), scope.version()), ("scope", "1"));
        let names: Vec<_> = scope.spans().map(|s| s.name()).collect();
        assert_eq!(names, ["span 0", "span 1"]);
        assert_eq!(scope.spans().next().map(|s| (s.trace_id().len(), s.span_id().len())), Some((16, 8)));
    }

    #[test]
    fn points_of_gauges_sums_and_histograms_are_read() {
        let payload = Payload::from(testing::metrics(2));
        let resource = resources(&payload).next().expect("resource");
        let metrics: Vec<_> = resource.scopes().flat_map(|s| s.metrics()).collect();
        assert_eq!(metrics[0].number_points().map(|p| p.value()).collect::<Vec<_>>(), [0.5, 1.5]);
        assert_eq!(metrics[1].number_points().map(|p| p.value()).collect::<Vec<_>>(), [0.0, 1.0]);
        let histogram = metrics[2].histogram_points().next().expect("point");
        assert_eq!(histogram.bucket_counts().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(histogram.explicit_bounds().collect::<Vec<_>>(), [0.5, 1.0]);
        assert_eq!((histogram.count(), histogram.sum()), (6, 4.5));
    }

    #[test]
    fn log_bodies_and_attributes_keep_their_types() {
        let payload = Payload::from(testing::logs(1));
        let resource = resources(&payload).next().expect("resource");
        let record = resource.scopes().flat_map(|s| s.log_records()).next().expect("record");
        assert_eq!(record.body().as_str(), Some("body 0"));
        assert_eq!(record.attributes().int("n"), Some(0));
        assert_eq!(record.event_name(), "event");
        let list = record.attributes().get("list").expect("list");
        assert_eq!(list.items().filter_map(|v| v.as_i64()).collect::<Vec<_>>(), [1, 2]);
    }

    fn nest(number: u32, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::message(number, &parts.concat(), &mut out);
        out
    }

    #[test]
    fn a_resource_in_parts_has_the_attributes_of_all_and_of_equal_keys_the_first_counts() {
        let pair = |key: &[u8], value: &[u8]| nest(1, &[&nest(1, &[key]), &nest(2, &[&nest(1, &[value])])]);
        let whole = [
            nest(1, &[&pair(b"service.name", b"payments")]),
            nest(1, &[]),
            nest(1, &[&pair(b"service.name", b"other"), &pair(b"zone", b"a")]),
        ]
        .concat();
        let attributes = Resource(&whole).attributes();
        let found: Vec<_> =
            attributes.map(|(key, value)| (key, value.as_str().unwrap_or_default())).collect();
        assert_eq!(found, [("service.name", "payments"), ("service.name", "other"), ("zone", "a")]);
        assert_eq!(attributes.text("service.name"), Some("payments"));
        assert_eq!(attributes.text("zone"), Some("a"));
        assert!(attributes.get("none").is_none());
    }

    #[test]
    fn a_value_in_parts_is_one_value_and_a_choice_forgets_what_was_chosen_before() {
        let text = |text: &[u8]| nest(1, &[text]);
        let list = |entries: &[&[u8]]| nest(5, &[&nest(1, &[&nest(1, entries)])]);
        let shown = |parts: &[&[u8]]| {
            let body: Vec<u8> = parts.iter().flat_map(|part| nest(5, &[part])).collect();
            check::protobuf(&nest(1, &[&nest(2, &[&nest(2, &[&body])])]));
            crate::text::Plain(LogRecord(&body).body()).to_string()
        };
        assert_eq!(shown(&[&text(b"a"), b""]), "a");
        assert_eq!(shown(&[&text(b"a"), &text(b"b")]), "b");
        assert_eq!(shown(&[&list(&[b"a"]), b"", &list(&[b"b"])]), r#"["a","b"]"#);
        assert_eq!(
            shown(&[&[list(&[b"a"]), text(b"x"), list(&[b"b"])].concat(), &list(&[b"c"])]),
            r#"["b","c"]"#
        );
        let map =
            |key: &[u8]| nest(6, &[&nest(1, &[&nest(1, &[key]), &nest(2, &[&text(b"v")]), &nest(2, &[])])]);
        assert_eq!(shown(&[&map(b"k"), &map(b"l")]), r#"{"k":"v","l":"v"}"#);
    }

    /// The same message, with each message that may be there once in two parts, cut where `dice` says.
    fn in_parts(id: Id, message: &[u8], dice: &mut impl Iterator<Item = usize>) -> Vec<u8> {
        let mut out = Vec::new();
        for field in Fields::new(message) {
            let known = id.message().field(field.number);
            let Some(Kind::Message(child)) = known.map(|known| known.kind) else {
                out.extend_from_slice(&message[field.start..field.end]);
                continue;
            };
            let content = in_parts(child, field.bytes(), dice);
            let ends: Vec<usize> = [0].into_iter().chain(Fields::new(&content).map(|f| f.end)).collect();
            let cut = ends[dice.next().unwrap_or_default() % ends.len()];
            let whole = known.is_some_and(|known| known.repeated);
            let parts = if whole { vec![&content[..]] } else { vec![&content[..cut], &content[cut..]] };
            parts.into_iter().for_each(|part| wire::message(field.number, part, &mut out));
        }
        out
    }

    proptest! {
        #[test]
        fn messages_in_parts_are_the_same_to_all_readers(
            n in 0usize..4,
            which in 0usize..4,
            dice in proptest::collection::vec(any::<usize>(), 1..50),
        ) {
            let signal = Signal::ALL[which];
            let request = testing::payload(signal, "r", n).to_bytes();
            check::protobuf(&in_parts(Id::request(signal), &request, &mut dice.into_iter().cycle()));
        }
    }
}
