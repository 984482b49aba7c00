//! The walk at the door: every request is checked once, before it is acknowledged or merged.
//!
//! One malformed request that was concatenated into a batch would make a backend refuse the whole batch, so nothing
//! enters a [`Payload`](crate::Payload) unchecked. Checked are: every tag and length, the wire type of every known
//! field, UTF-8 of strings, the length of ids, and nesting. Unknown fields are kept (they may be newer than this
//! program) but must be well formed; the deprecated group wire types are refused.
//!
//! # Design
//! The walk costs more than all else that is done with a request in memory, so it has two halves. The fast one
//! (`table`, `Walk::run`) knows one step for each message and tag, and only accepts: lengths of
//! one or two bytes, ASCII by words of eight bytes, attributes with a scalar value at one glance (`is_plain_pair`).
//! Whatever it does not accept goes, field by field, to the general half (`general`), which knows all of the rules
//! and the errors. The walk is iterative, allocates nothing, and counts the items on its way.

mod general;
mod table;
mod text;

use std::fmt;

use crate::Signal;
use crate::schema::{Id, KEY_TAG, MESSAGES, VALUE_TAG};
use table::{STEPS, Step};
use text::is_text;

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

/// What the walk does next.
enum Next<'a> {
    /// The field is good; this follows.
    Skip(&'a [u8]),
    /// A message: its body, and what follows it.
    Enter(&'a [u8], &'a [u8], Id),
}

struct Walk<'a> {
    buf: &'a [u8],
    /// Where the messages around the current one end, and which they are.
    stack: [(u32, Id); MAX_STACK],
    depth: usize,
    /// Values among them and the current one.
    values: usize,
    items: usize,
}

impl<'a> Walk<'a> {
    fn new(buf: &'a [u8]) -> Self {
        Walk { buf, stack: [(0, Id::AnyValue); MAX_STACK], depth: 0, values: 0, items: 0 }
    }

    fn run(&mut self, root: Id) -> Result<usize, Malformed> {
        let whole = u32::try_from(self.buf.len());
        let mut end = whole.map_err(|_| malformed(Reason::Length, 0, root))?;
        let mut id = root;
        let mut rest = self.buf;
        loop {
            if rest.is_empty() {
                let Some(outer) = self.depth.checked_sub(1) else {
                    return Ok(self.items);
                };
                self.depth = outer;
                self.values -= usize::from(id == Id::AnyValue);
                let begin = end;
                (end, id) = self.stack[outer];
                rest = &self.buf[begin as usize..end as usize];
                continue;
            }
            let next = match everyday(rest, id) {
                Some(Everyday::Skip(following)) => {
                    rest = following;
                    continue;
                }
                Some(Everyday::Enter(content, child)) => match delimited(content) {
                    Some((body, following)) => Ok(Next::Enter(body, following, child)),
                    None => general::field(rest, id),
                },
                None => general::field(rest, id),
            };
            match next.map_err(|reason| malformed(reason, end as usize - rest.len(), id))? {
                Next::Skip(following) => rest = following,
                Next::Enter(body, following, child) => {
                    if !self.enter(child, (end, id)) {
                        return Err(malformed(Reason::Depth, end as usize - rest.len(), id));
                    }
                    end -= following.len() as u32;
                    (rest, id) = (body, child);
                }
            }
        }
    }

    /// Whether there is room for one more level; counts what is entered.
    #[inline]
    fn enter(&mut self, child: Id, outer: (u32, Id)) -> bool {
        self.values += usize::from(child == Id::AnyValue);
        self.items += usize::from(MESSAGES[child as usize].item);
        let Some(slot) = self.stack.get_mut(self.depth).filter(|_| self.values <= MAX_VALUE_DEPTH + 1) else {
            return false;
        };
        *slot = outer;
        self.depth += 1;
        true
    }
}

#[cold]
fn malformed(reason: Reason, offset: usize, id: Id) -> Malformed {
    Malformed { offset, message: MESSAGES[id as usize].name, reason }
}

/// A field that the fast half accepts.
enum Everyday<'a> {
    /// It is good; this follows.
    Skip(&'a [u8]),
    /// A message of that kind; its length comes first.
    Enter(&'a [u8], Id),
}

/// The field at the beginning of `rest`, when it is an everyday one and good.
#[inline(always)]
fn everyday(rest: &[u8], id: Id) -> Option<Everyday<'_>> {
    let (&tag, mut rest) = rest.split_first()?;
    if tag >= 0x80 {
        rest = rest.strip_prefix(&[1])?;
    }
    let following = match *STEPS[id as usize].get(usize::from(tag))? {
        Step::General => None,
        Step::Varint => skip_varint(rest),
        Step::Fixed32 => rest.get(4..),
        Step::Fixed64 => rest.get(8..),
        Step::Text => delimited(rest).filter(|(text, _)| is_text(text)).map(|(_, rest)| rest),
        Step::Bytes => delimited(rest).map(|(_, rest)| rest),
        Step::Id(length) => {
            delimited(rest).filter(|(id, _)| id.len() == usize::from(length)).map(|(_, rest)| rest)
        }
        Step::Pair => delimited(rest).filter(|(pair, _)| is_plain_pair(pair)).map(|(_, rest)| rest),
        Step::Message(child) => return Some(Everyday::Enter(rest, child)),
    };
    following.map(Everyday::Skip)
}

/// Content and what follows it, for lengths of at most two bytes.
#[inline(always)]
fn delimited(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    match *rest {
        [length @ 0..0x80, ref rest @ ..] => rest.split_at_checked(usize::from(length)),
        [low, high @ 0..0x80, ref rest @ ..] => {
            rest.split_at_checked(usize::from(low & 0x7f) | usize::from(high) << 7)
        }
        _ => None,
    }
}

/// What follows a varint of at most nine bytes.
#[inline(always)]
fn skip_varint(rest: &[u8]) -> Option<&[u8]> {
    if let [0..0x80, rest @ ..] | [_, 0..0x80, rest @ ..] = rest {
        return Some(rest);
    }
    let last = rest.iter().take(9).position(|byte| *byte < 0x80)?;
    rest.get(last + 1..)
}

/// Whether this is a key and one value that is text, a number, a boolean, or none, in this order, with lengths of one
/// byte: nearly every attribute.
#[inline(always)]
fn is_plain_pair(pair: &[u8]) -> bool {
    let &[KEY_TAG, key_length @ 0..0x80, ref rest @ ..] = pair else { return false };
    let Some((key, &[VALUE_TAG, value_length @ 0..0x80, ref value @ ..])) =
        rest.split_at_checked(usize::from(key_length))
    else {
        return false;
    };
    if usize::from(value_length) != value.len() || !is_text(key) {
        return false;
    }
    match *value {
        [] => true,
        [STRING, length, ref text @ ..] => usize::from(length) == text.len() && is_text(text),
        [BOOL, 0..0x80] => true,
        [INT, ref varint @ ..] => skip_varint(varint).is_some_and(<[u8]>::is_empty),
        [DOUBLE, ref double @ ..] => double.len() == 8,
        _ => false,
    }
}

/// Tags of the scalar values of `AnyValue`.
const STRING: u8 = 1 << 3 | 2;
const BOOL: u8 = 2 << 3;
const INT: u8 = 3 << 3;
const DOUBLE: u8 = 4 << 3 | 1;

/// The items that the general half alone finds, by recursion and without a limit of nesting: what the whole walk is
/// compared with.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn general_items(id: Id, message: &[u8]) -> Result<usize, Reason> {
    let mut items = usize::from(MESSAGES[id as usize].item);
    let mut rest = message;
    while !rest.is_empty() {
        rest = match general::field(rest, id)? {
            Next::Skip(rest) => rest,
            Next::Enter(body, rest, child) => {
                items += general_items(child, body)?;
                rest
            }
        };
    }
    Ok(items)
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
        // From the innermost on, the last byte first.
        let mut request: Vec<u8> = Vec::new();
        let value_in_array = [0x0a, 0x2a].into_iter().cycle().take(2 * 1_000_000);
        for tag in value_in_array.chain([0x2a, 0x12, 0x12, 0x0a]) {
            let mut head = vec![tag];
            prost::encoding::encode_varint(request.len() as u64, &mut head);
            request.extend(head.iter().rev());
        }
        request.reverse();
        assert_eq!(reason(Signal::Logs, &request), Reason::Depth);
    }

    proptest! {
        #[test]
        fn the_fast_half_agrees_with_the_general_one(
            which in 0usize..4,
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let signal = Signal::ALL[which];
            let mut request = testing::payload(signal, "r", 4).to_bytes().to_vec();
            for (at, byte) in damage {
                let at = at.index(request.len());
                request[at] = byte;
            }
            let reason = validate(signal, &request).map_err(|e| e.reason);
            prop_assert_eq!(reason, general_items(Id::request(signal), &request));
        }

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
