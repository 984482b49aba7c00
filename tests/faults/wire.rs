//! OTLP logs as they are on the wire (protobuf), read by hand: neither the agent's reader nor a library decides whether what
//! an agent sends is OTLP, and values may nest as deep as they like.

/// A message of OTLP logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    ResourceLogs,
    Resource,
    EntityRef,
    ScopeLogs,
    Scope,
    Record,
    KeyValue,
    Value,
    Array,
    List,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Varint,
    Fixed64,
    Fixed32,
    Text,
    Bytes,
    /// So many bytes or none.
    Id(usize),
    Of(Message),
    /// Newer than this table.
    Unknown,
}

/// opentelemetry/proto/logs/v1/logs.proto and what it imports.
fn field(message: Message, number: u64) -> Field {
    use Field::{Bytes, Fixed32, Fixed64, Id, Of, Text, Unknown, Varint};
    use Message::*;
    match (message, number) {
        (Request, 1) => Of(ResourceLogs),
        (ResourceLogs, 1) => Of(Resource),
        (ResourceLogs, 2) => Of(ScopeLogs),
        (Resource, 1) | (Scope, 3) | (Record, 6) | (List, 1) => Of(KeyValue),
        (Resource, 3) => Of(EntityRef),
        (ScopeLogs, 1) => Of(Scope),
        (ScopeLogs, 2) => Of(Record),
        (Record, 5) | (KeyValue, 2) | (Array, 1) => Of(Value),
        (Value, 5) => Of(Array),
        (Value, 6) => Of(List),
        (ResourceLogs | ScopeLogs, 3) | (EntityRef, 1..=4) | (Scope, 1 | 2) => Text,
        (Record, 3 | 12) | (KeyValue | Value, 1) => Text,
        (Value, 7) => Bytes,
        (Record, 9) => Id(16),
        (Record, 10) => Id(8),
        (Record, 1 | 11) | (Value, 4) => Fixed64,
        (Record, 8) => Fixed32,
        (Resource, 2) | (Scope, 4) | (Record, 2 | 7) | (KeyValue, 3) | (Value, 2 | 3 | 8) => Varint,
        _ => Unknown,
    }
}

/// What is in a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read<'a> {
    /// The bytes of each `LogRecord`.
    pub(crate) records: Vec<&'a [u8]>,
    /// Messages within each other, without the request itself.
    pub(crate) depth: usize,
}

/// Reads an `ExportLogsServiceRequest`; none when it is not one.
pub(crate) fn read(request: &[u8]) -> Option<Read<'_>> {
    let (mut read, mut open) = (Read { records: Vec::new(), depth: 0 }, 0);
    walk(Message::Request, request, |part| match part {
        Part::Begin(_, message, content) => {
            open += 1;
            read.depth = read.depth.max(open);
            read.records.extend((message == Message::Record).then_some(content));
        }
        Part::Value(..) => {}
        Part::End => open -= 1,
    })?;
    Some(read)
}

/// What a `LogRecord` says, the same however it is written: whether a field that has its default is left out is the choice of
/// who writes.
pub(crate) fn meaning(record: &[u8]) -> Option<Vec<u8>> {
    let mut said = Vec::new();
    walk(Message::Record, record, |part| match part {
        Part::Begin(tag, ..) => {
            said.push(b'(');
            said.extend(tag.to_le_bytes());
        }
        // One of a value's fields is always there, or it would be no value.
        Part::Value(_, message, content)
            if message != Message::Value && content.iter().all(|byte| *byte == 0) => {}
        Part::Value(tag, _, content) => {
            said.push(b'=');
            said.extend(tag.to_le_bytes());
            said.extend(content.len().to_le_bytes());
            said.extend(content);
        }
        Part::End => said.push(b')'),
    })?;
    Some(said)
}

/// A part of a message.
enum Part<'a> {
    /// A message in a field with this tag.
    Begin(u64, Message, &'a [u8]),
    /// Anything else in a field with this tag of that message.
    Value(u64, Message, &'a [u8]),
    /// The end of the message that began last.
    End,
}

/// Tells the parts of a message; none when it is malformed.
fn walk<'a>(message: Message, bytes: &'a [u8], mut tell: impl FnMut(Part<'a>)) -> Option<()> {
    let (mut open, mut at) = (vec![(message, bytes.len())], 0);
    while let Some(&(message, end)) = open.last() {
        if at == end {
            open.pop();
            if !open.is_empty() {
                tell(Part::End);
            }
            continue;
        }
        let rest = &bytes[..end];
        let (tag, _) = varint(rest, &mut at)?;
        let (number, wire) = (tag >> 3, tag & 7);
        if !(1..1 << 29).contains(&number) {
            return None;
        }
        let field = field(message, number);
        let content = match (field, wire) {
            (Field::Varint | Field::Unknown, 0) => varint(rest, &mut at)?.1,
            (Field::Fixed64 | Field::Unknown, 1) => take(rest, &mut at, 8)?,
            (Field::Fixed32 | Field::Unknown, 5) => take(rest, &mut at, 4)?,
            (Field::Of(_) | Field::Text | Field::Bytes | Field::Id(_) | Field::Unknown, 2) => {
                let (length, _) = varint(rest, &mut at)?;
                take(rest, &mut at, length)?
            }
            // Another wire type than the field has, or a group.
            _ => return None,
        };
        match field {
            Field::Of(inner) => {
                tell(Part::Begin(tag, inner, content));
                open.push((inner, at));
                at -= content.len();
                continue;
            }
            Field::Text => drop(str::from_utf8(content).ok()?),
            Field::Id(size) if !content.is_empty() && content.len() != size => return None,
            _ => {}
        }
        tell(Part::Value(tag, message, content));
    }
    Some(())
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, length: u64) -> Option<&'a [u8]> {
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let taken = bytes.get(*at..end)?;
    *at = end;
    Some(taken)
}

/// A number and its bytes.
fn varint<'a>(bytes: &'a [u8], at: &mut usize) -> Option<(u64, &'a [u8])> {
    let (first, mut value) = (*at, 0);
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            return (shift < 63 || byte < 2).then_some((value, &bytes[first..*at]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of several bytes, all lengths below 128.
    fn long(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    /// A request with one record.
    fn of(record: &[u8]) -> Vec<u8> {
        long(1, &long(2, &long(2, record)))
    }

    #[test]
    fn what_is_otlp_is_read() {
        let record = [&[9][..], &[1; 8], &[16, 5], &long(5, &long(1, b"text")), &long(9, &[7; 16])].concat();
        let request = of(&record);
        assert_eq!(read(&request), Some(Read { records: vec![&record], depth: 4 }));
        assert_eq!(read(&[]), Some(Read { records: vec![], depth: 0 }));
        let newer = of(&long(15, b"\xff"));
        assert_eq!(read(&newer).map(|read| read.records.len()), Some(1), "a field that is not known yet");
    }

    #[test]
    fn what_is_not_otlp_is_refused() {
        let cut = of(&long(3, b"text"));
        assert_eq!(read(&cut[..cut.len() - 1]), None);
        let mut longer_than_its_message = cut.clone();
        longer_than_its_message[7] += 1;
        for request in [
            longer_than_its_message,
            of(&long(3, b"\xff")),
            of(&long(6, &long(1, b"\xc3"))),
            of(&long(6, &long(2, &long(1, b"\xed\xa0\x80")))),
            of(&long(1, b"12345678")),
            of(&[5 << 3, 1]),
            of(&long(9, &[7; 15])),
            of(&long(10, &[7; 9])),
            of(&[0, 1]),
            of(&[15 << 3 | 3, 15 << 3 | 4]),
            of(&[&[16][..], &[0xff; 9], &[2]].concat()),
        ] {
            assert_eq!(read(&request), None, "{request:?}");
        }
    }

    #[test]
    fn defaults_mean_nothing_but_in_a_value_and_all_else_does() {
        let record = [&long(5, &long(1, b"text"))[..], &long(6, &long(1, b"k"))].concat();
        let meant = meaning(&record);
        let written = [&[9][..], &[0; 8], &[16, 0], &record, &long(9, &[])].concat();
        assert!(meant.is_some());
        assert_eq!(meaning(&written), meant);
        let value = |content: &[u8]| meaning(&long(5, content));
        assert_ne!(value(&long(1, b"")), value(&[]));
        assert_ne!(value(&long(1, b"")), value(&[16, 0]));
        // A list in a list, and a list beside one.
        let list = long(5, &[]);
        let (within, beside) = (long(5, &long(1, &list)), [&list[..], &list].concat());
        assert_ne!(value(&within), value(&beside));
        assert_ne!(meaning(&long(3, b"a")), meaning(&long(3, b"b")));
        assert_ne!(meaning(&long(3, b"a")), meaning(&long(12, b"a")));
    }
}
