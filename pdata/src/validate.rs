//! The walk at the door: every request is checked once, before it is acknowledged or merged.
//!
//! One malformed request that was concatenated into a batch would make a backend refuse the whole batch, so nothing
//! enters a [`Payload`](crate::Payload) unchecked. Checked are: every tag and length, the wire type of every known
//! field, UTF-8 of strings, the length of ids, and nesting. Unknown fields are kept (they may be newer than this
//! program) but must be well formed; the deprecated group wire types are refused. The walk is iterative, allocates
//! nothing, and counts the items on its way.

use std::fmt;

use crate::Signal;
use crate::schema::{IDS, Id, Kind, MESSAGES};

/// Largest field number that OTLP uses today; larger ones are unknown fields.
pub(crate) const MAX_FIELD: usize = 16;

/// How deep arrays and key-value lists may nest below a value: 64 levels. The Go Collector has no limit and overflows
/// its stack.
pub const MAX_VALUE_DEPTH: usize = 64;

/// Messages on the stack: the fixed ones above a value (at most 8), then three per level of nesting.
const MAX_STACK: usize = 8 + 3 * MAX_VALUE_DEPTH;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset in the request.
    pub offset: usize,
    /// Message in which it happened.
    pub message: &'static str,
    /// What is wrong.
    pub reason: Reason,
}

/// Kinds of malformed input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A varint longer than ten bytes or cut off.
    Varint,
    /// A length that points past the end of its message.
    Length,
    /// Field number 0, or above 2^29.
    Tag,
    /// A known field with another wire type, or a group.
    WireType,
    /// A string that is not UTF-8.
    Utf8,
    /// A trace, span or profile id of the wrong length.
    IdLength,
    /// Nesting over [`MAX_VALUE_DEPTH`].
    Depth,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Reason::Varint => "varint is cut off or too long",
            Reason::Length => "length points past the end of the message",
            Reason::Tag => "illegal field number",
            Reason::WireType => "unexpected wire type",
            Reason::Utf8 => "string field contains invalid UTF-8",
            Reason::IdLength => "invalid length for an id: trace ids have 16 bytes, span ids 8",
            Reason::Depth => "values nest deeper than 64 levels",
        };
        write!(f, "malformed {} at byte {}: {what}", self.message, self.offset)
    }
}

impl std::error::Error for Malformed {}

/// Checks one export request of `signal` and returns how many items it holds.
///
/// # Errors
/// [`Malformed`] names the first place that is wrong.
pub fn validate(signal: Signal, request: &[u8]) -> Result<usize, Malformed> {
    Walk::new(request).run(Id::request(signal))
}

/// Number of items in a message that was validated before.
pub(crate) fn count(id: Id, message: &[u8]) -> usize {
    Walk::new(message).run(id).unwrap_or(0)
}

/// What to do with a field, by message and number. One byte, so that the table stays in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Unknown,
    Varint,
    PackedVarint,
    Fixed32,
    Fixed64,
    PackedFixed64,
    Utf8,
    Bytes,
    Id8,
    Id16,
    Message,
}

#[derive(Clone, Copy)]
struct Action {
    step: Step,
    child: Id,
}

const fn action(kind: Kind, repeated: bool) -> Action {
    let step = match kind {
        Kind::Bool
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Enum(_) => {
            if repeated {
                Step::PackedVarint
            } else {
                Step::Varint
            }
        }
        Kind::Fixed32 => Step::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
            if repeated {
                Step::PackedFixed64
            } else {
                Step::Fixed64
            }
        }
        Kind::String => Step::Utf8,
        Kind::Bytes => Step::Bytes,
        Kind::Id(8) => Step::Id8,
        Kind::Id(_) => Step::Id16,
        Kind::Message(_) => Step::Message,
    };
    let child = if let Kind::Message(id) = kind { id } else { Id::AnyValue };
    Action { step, child }
}

const fn actions() -> [[Action; MAX_FIELD + 1]; IDS.len()] {
    let mut table = [[Action { step: Step::Unknown, child: Id::AnyValue }; MAX_FIELD + 1]; IDS.len()];
    let mut m = 0;
    while m < IDS.len() {
        let fields = MESSAGES[m].fields;
        let mut f = 0;
        while f < fields.len() {
            table[m][fields[f].number as usize] = action(fields[f].kind, fields[f].repeated);
            f += 1;
        }
        m += 1;
    }
    table
}

static ACTIONS: [[Action; MAX_FIELD + 1]; IDS.len()] = actions();

struct Walk<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> Walk<'a> {
    fn new(buf: &'a [u8]) -> Self {
        Walk { buf, pos: 0 }
    }

    fn run(&mut self, root: Id) -> Result<usize, Malformed> {
        let mut stack = [(0usize, root); MAX_STACK];
        let mut depth = 0;
        let (mut end, mut id) = (self.buf.len(), root);
        let mut values = 0;
        let mut items = 0;
        loop {
            if self.pos >= end {
                if depth == 0 {
                    return Ok(items);
                }
                values -= usize::from(id == Id::AnyValue);
                depth -= 1;
                (end, id) = stack[depth];
                continue;
            }
            let fail = |reason, offset| Malformed { offset, message: MESSAGES[id as usize].name, reason };
            let start = self.pos;
            let tag = self.varint(end).ok_or(fail(Reason::Varint, start))?;
            let (number, wire) = (tag >> 3, tag & 7);
            if number == 0 || number > 0x1fff_ffff {
                return Err(fail(Reason::Tag, start));
            }
            let known = usize::try_from(number).ok().and_then(|n| ACTIONS[id as usize].get(n));
            let action = known.copied().unwrap_or(Action { step: Step::Unknown, child: root });
            let Some(range_end) = self.value(wire, end) else {
                let reason = if wire == 0 { Reason::Varint } else { Reason::Length };
                return Err(fail(
                    if matches!(wire, 3 | 4 | 6 | 7) { Reason::WireType } else { reason },
                    start,
                ));
            };
            if !fits(action.step, wire) {
                return Err(fail(Reason::WireType, start));
            }
            if action.step == Step::Message {
                if action.child == Id::AnyValue {
                    values += 1;
                    if values > MAX_VALUE_DEPTH + 1 {
                        return Err(fail(Reason::Depth, start));
                    }
                }
                let Some(slot) = stack.get_mut(depth) else {
                    return Err(fail(Reason::Depth, start));
                };
                *slot = (end, id);
                depth += 1;
                (end, id) = (range_end, action.child);
                items += usize::from(MESSAGES[id as usize].item);
                continue;
            }
            if wire == 2 {
                self.content(action.step, range_end).map_err(|reason| fail(reason, start))?;
                self.pos = range_end;
            }
        }
    }

    /// Checks the content of a length-delimited scalar that spans `self.pos..end`.
    fn content(&self, step: Step, end: usize) -> Result<(), Reason> {
        let bytes = &self.buf[self.pos..end];
        match step {
            Step::Utf8 if simdutf8::basic::from_utf8(bytes).is_err() => Err(Reason::Utf8),
            Step::Id8 if !matches!(bytes.len(), 0 | 8) => Err(Reason::IdLength),
            Step::Id16 if !matches!(bytes.len(), 0 | 16) => Err(Reason::IdLength),
            Step::PackedFixed64 if !bytes.len().is_multiple_of(8) => Err(Reason::Length),
            Step::PackedVarint => {
                let mut inner = Walk::new(bytes);
                while inner.pos < bytes.len() {
                    inner.varint(bytes.len()).ok_or(Reason::Varint)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Steps over a value. For a length-delimited one the position stays at its first byte; the end is returned.
    fn value(&mut self, wire: u64, end: usize) -> Option<usize> {
        match wire {
            0 => {
                self.varint(end)?;
                Some(self.pos)
            }
            1 => self.skip(8, end),
            2 => {
                let length = usize::try_from(self.varint(end)?).ok()?;
                let stop = self.pos.checked_add(length)?;
                (stop <= end).then_some(stop)
            }
            5 => self.skip(4, end),
            _ => None,
        }
    }

    fn skip(&mut self, n: usize, end: usize) -> Option<usize> {
        let stop = self.pos + n;
        (stop <= end).then(|| {
            self.pos = stop;
            stop
        })
    }

    #[inline]
    fn varint(&mut self, end: usize) -> Option<u64> {
        let bytes = self.buf.get(self.pos..end)?;
        let first = *bytes.first()?;
        if first < 0x80 {
            self.pos += 1;
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for (i, &byte) in bytes.iter().enumerate().take(10).skip(1) {
            value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    return None;
                }
                self.pos += i + 1;
                return Some(value);
            }
        }
        None
    }
}

/// Whether a field with that step may have that wire type; repeated scalars may be packed or not.
fn fits(step: Step, wire: u64) -> bool {
    match step {
        Step::Unknown => true,
        Step::Varint => wire == 0,
        Step::PackedVarint => wire == 0 || wire == 2,
        Step::Fixed32 => wire == 5,
        Step::Fixed64 => wire == 1,
        Step::PackedFixed64 => wire == 1 || wire == 2,
        Step::Utf8 | Step::Bytes | Step::Id8 | Step::Id16 | Step::Message => wire == 2,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::testing;

    fn reason(signal: Signal, bytes: &[u8]) -> Reason {
        validate(signal, bytes).expect_err("malformed").reason
    }

    #[test]
    fn well_formed_requests_of_all_signals_are_counted() {
        assert_eq!(validate(Signal::Traces, &testing::traces(7).encode_to_vec()), Ok(7));
        assert_eq!(validate(Signal::Metrics, &testing::metrics(5).encode_to_vec()), Ok(5 * 5));
        assert_eq!(validate(Signal::Logs, &testing::logs(3).encode_to_vec()), Ok(3));
        assert_eq!(validate(Signal::Profiles, &testing::profiles("a", 4).encode_to_vec()), Ok(4));
        assert_eq!(validate(Signal::Logs, b""), Ok(0));
    }

    #[test]
    fn each_kind_of_damage_has_its_reason() {
        assert_eq!(reason(Signal::Traces, &[0x0a, 5, 0]), Reason::Length);
        assert_eq!(reason(Signal::Traces, &[0x0a]), Reason::Length);
        assert_eq!(reason(Signal::Traces, &[0x80]), Reason::Varint);
        assert_eq!(reason(Signal::Traces, &[0xff; 11]), Reason::Varint);
        assert_eq!(reason(Signal::Traces, &[0x00, 0x00]), Reason::Tag);
        assert_eq!(reason(Signal::Traces, &[0x08, 0x01]), Reason::WireType);
        assert_eq!(reason(Signal::Traces, &[0x0b]), Reason::WireType);
        let mut bad_text = testing::logs(1).encode_to_vec();
        let at = bad_text.windows(4).position(|w| w == b"body").expect("body text");
        bad_text[at] = 0xff;
        assert_eq!(reason(Signal::Logs, &bad_text), Reason::Utf8);
        let mut short_id = testing::traces(1);
        short_id.resource_spans[0].scope_spans[0].spans[0].trace_id.pop();
        assert_eq!(reason(Signal::Traces, &short_id.encode_to_vec()), Reason::IdLength);
    }

    #[test]
    fn nesting_is_accepted_to_64_levels_and_refused_beyond() {
        let nested = |levels: usize| {
            let mut value = AnyValue { value: Some(Value::IntValue(1)) };
            for _ in 0..levels {
                value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
            }
            let mut request = testing::logs(1);
            request.resource_logs[0].scope_logs[0].log_records[0].body = Some(value);
            request.encode_to_vec()
        };
        assert_eq!(validate(Signal::Logs, &nested(64)), Ok(1));
        assert_eq!(reason(Signal::Logs, &nested(65)), Reason::Depth);
    }

    #[test]
    fn a_million_nested_arrays_are_refused_without_recursion() {
        let mut body: Vec<u8> = Vec::new();
        for _ in 0..20_000 {
            for tag in [0x0a, 0x2a] {
                let mut outer = vec![tag];
                prost::encoding::encode_varint(body.len() as u64, &mut outer);
                outer.append(&mut body);
                body = outer;
            }
        }
        let mut request = body;
        for tag in [0x2a, 0x12, 0x12, 0x0a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(request.len() as u64, &mut outer);
            outer.append(&mut request);
            request = outer;
        }
        assert_eq!(reason(Signal::Logs, &request), Reason::Depth);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_decodes_and_random_damage_never_panics(at in 0usize..4000, byte in any::<u8>()) {
            let mut request = testing::metrics(3).encode_to_vec();
            let at = at % request.len();
            request[at] = byte;
            if validate(Signal::Metrics, &request).is_ok() {
                let decoded = testing::MetricsRequest::decode(&request[..]);
                prop_assert!(decoded.is_ok(), "accepted but prost refuses: {:?}", decoded.err());
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for signal in Signal::ALL {
                drop(validate(signal, &bytes));
            }
        }
    }
}
