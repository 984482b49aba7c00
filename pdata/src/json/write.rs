//! Protobuf in, JSON out: validated bytes are walked, not decoded.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::schema::{Field, Id, Kind};
use crate::validate::MAX_FIELD;
use crate::view::{self, Fields};

/// Writes the message of type `id` in `bytes` as an object, in the order of the numbers. The nesting was bounded when the
/// bytes were validated.
pub(super) fn message(id: Id, bytes: &[u8], out: &mut Vec<u8>) {
    let layout = Layout::of(id, Fields::new(bytes).map(|f| (f.start, f.number)));
    let from = |start| {
        let mut fields = Fields::new(bytes);
        fields.skip_to(start);
        fields
    };
    object(id, &layout, from, out);
}

/// The fields of all parts of a message, one after the other.
type Parts<'s, 'a> = dyn Fn() -> Box<dyn Iterator<Item = view::Field<'a>> + 's> + 's;

/// Writes a message that came in parts. They stay where they are, as each level of a value may come in parts.
fn in_parts<'s, 'a>(id: Id, fields: &'s Parts<'s, 'a>, out: &mut Vec<u8>) {
    let layout = Layout::of(id, fields().enumerate().map(|(at, f)| (at, f.number)));
    object(id, &layout, |at| fields().skip(at), out);
}

/// Writes an object. `from` gives the fields of the message from a place of its layout on.
fn object<'a, I: Iterator<Item = view::Field<'a>>>(
    id: Id,
    layout: &Layout,
    from: impl Fn(usize) -> I,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let start = out.len();
    let mut there = layout.there;
    while there != 0 {
        let number = there.trailing_zeros();
        there &= there - 1;
        if let Some(field) = id.message().field(number) {
            member(field, || layout.occurrences(number, &from), start, out);
        }
    }
    out.push(b'}');
}

/// Where the fields of a message are. Nothing is kept of each, as there may be millions of them.
struct Layout {
    /// A bit for each number that is there.
    there: u32,
    /// The place where it is for the first time; of the member of a `oneof` that counts, the last one, behind all others.
    first: [usize; MAX_FIELD + 1],
    /// The member of a `oneof` that counts.
    chosen: u32,
    /// Whether all fields of a number come together, as nearly all writers have them.
    in_order: bool,
}

impl Layout {
    /// Of a message with those fields: the place and the number of each.
    fn of(id: Id, fields: impl Iterator<Item = (usize, u32)>) -> Layout {
        let first = [0; MAX_FIELD + 1];
        let mut layout = Layout { there: 0, first, chosen: 0, in_order: true };
        let (members, mut before) = (id.oneof(), 0);
        for (place, number) in fields {
            if number == before {
                continue;
            }
            before = number;
            if before as usize > MAX_FIELD {
                continue;
            }
            if layout.there & 1 << before == 0 {
                layout.there |= 1 << before;
                layout.first[before as usize] = place;
            } else {
                layout.in_order = false;
            }
            if members.contains(&before) && before != layout.chosen {
                layout.there &= !(1 << layout.chosen);
                layout.chosen = before;
                layout.first[before as usize] = place;
            }
        }
        layout
    }

    /// The fields of a number.
    fn occurrences<'a, I: Iterator<Item = view::Field<'a>>>(
        &self,
        number: u32,
        from: impl Fn(usize) -> I,
    ) -> impl Iterator<Item = view::Field<'a>> {
        let in_order = self.in_order;
        let fields = from(self.first[number as usize]);
        fields.take_while(move |f| f.number == number || !in_order).filter(move |f| f.number == number)
    }
}

/// Writes `"name":value` with a comma unless it is the first member of the object that begins at `start`.
fn member<'a, I: Iterator<Item = view::Field<'a>>>(
    field: &Field,
    occurrences: impl Fn() -> I,
    start: usize,
    out: &mut Vec<u8>,
) {
    let before = out.len();
    if before != start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b"\":");
    let written =
        if field.repeated { list(field, occurrences(), out) } else { single(field, occurrences, out) };
    if !written {
        out.truncate(before);
    }
}

/// Writes a repeated field; nothing when the list is empty, which `false` says.
fn list<'a>(field: &Field, occurrences: impl Iterator<Item = view::Field<'a>>, out: &mut Vec<u8>) -> bool {
    out.push(b'[');
    let start = out.len();
    let element = |value: view::Value<'_>, out: &mut Vec<u8>| {
        if out.len() != start {
            out.push(b',');
        }
        scalar(field.kind, value, out);
    };
    for occurrence in occurrences {
        match (occurrence.value, field.kind) {
            (value, Kind::Message(_) | Kind::String | Kind::Bytes | Kind::Id(_)) => element(value, out),
            (view::Value::Bytes(packed), Kind::Double | Kind::Fixed64 | Kind::Sfixed64) => {
                for bits in packed.chunks_exact(8).filter_map(|c| c.try_into().ok()) {
                    element(view::Value::Fixed64(u64::from_le_bytes(bits)), out);
                }
            }
            (view::Value::Bytes(packed), _) => {
                let mut rest = packed;
                while let Ok(value) = prost::encoding::decode_varint(&mut rest) {
                    element(view::Value::Varint(value), out);
                }
            }
            (value, _) => element(value, out),
        }
    }
    let some = out.len() != start;
    out.push(b']');
    some
}

/// Writes a field that is not repeated: the last occurrence, or all merged when it is a message. Default values are
/// left out, which `false` says, unless presence counts.
fn single<'a, I: Iterator<Item = view::Field<'a>>>(
    field: &Field,
    occurrences: impl Fn() -> I,
    out: &mut Vec<u8>,
) -> bool {
    let Some(last) = occurrences().last() else {
        return false;
    };
    if let Kind::Message(id) = field.kind
        && occurrences().nth(1).is_some()
    {
        in_parts(id, &|| Box::new(occurrences().flat_map(|part| Fields::new(part.bytes()))), out);
        return true;
    }
    let default = match last.value {
        view::Value::Bytes(bytes) => bytes.is_empty() && !matches!(field.kind, Kind::Message(_)),
        _ => last.u64() == 0,
    };
    if default && !field.explicit {
        return false;
    }
    scalar(field.kind, last.value, out);
    true
}

/// Writes one value.
fn scalar(kind: Kind, value: view::Value<'_>, out: &mut Vec<u8>) {
    let (bits, bytes) = match value {
        view::Value::Varint(v) | view::Value::Fixed64(v) => (v, &[][..]),
        view::Value::Fixed32(v) => (u64::from(v), &[][..]),
        view::Value::Bytes(bytes) => (0, bytes),
    };
    // Writing into a vector does not fail.
    let written = match kind {
        Kind::Message(id) => {
            message(id, bytes, out);
            Ok(())
        }
        Kind::Bool => write!(out, "{}", bits != 0),
        Kind::Int32 | Kind::Enum(_) => write!(out, "{}", (bits as u32).cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => write!(out, "{}", bits as u32),
        Kind::Sint32 => {
            write!(out, "{}", (bits as u32 >> 1).cast_signed() ^ -(bits as u32 & 1).cast_signed())
        }
        Kind::Int64 | Kind::Sfixed64 => write!(out, "\"{}\"", bits.cast_signed()),
        Kind::Uint64 | Kind::Fixed64 => write!(out, "\"{bits}\""),
        Kind::Double => double(f64::from_bits(bits), out),
        Kind::String => {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            serde_json::to_writer(&mut *out, text).map_err(Into::into)
        }
        Kind::Bytes => write!(out, "\"{}\"", STANDARD.encode(bytes)),
        Kind::Id(_) => hex(bytes, out),
    };
    debug_assert!(written.is_ok(), "writing into memory failed: {written:?}");
}

fn double(value: f64, out: &mut Vec<u8>) -> std::io::Result<()> {
    if value.is_finite() {
        return serde_json::to_writer(&mut *out, &value).map_err(Into::into);
    }
    let name: &[u8] = match (value.is_nan(), value.is_sign_positive()) {
        (true, _) => b"\"NaN\"",
        (_, true) => b"\"Infinity\"",
        (_, false) => b"\"-Infinity\"",
    };
    out.write_all(name)
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
    out.push(b'"');
    Ok(())
}
