//! Protobuf in, JSON out: one walk over validated bytes.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::schema::{Field, Id, Kind};
use crate::view::{self, Fields};

/// Writes the message of type `id` in `bytes` as an object. The nesting was bounded when the bytes were validated.
pub(super) fn message(id: Id, bytes: &[u8], out: &mut Vec<u8>) {
    let mut fields: Vec<view::Field<'_>> = Fields::new(bytes).collect();
    keep_last_of_oneof(id, &mut fields);
    fields.sort_by_key(|f| f.number);
    out.push(b'{');
    let start = out.len();
    for occurrences in fields.chunk_by(|a, b| a.number == b.number) {
        if let Some(field) = occurrences.first().and_then(|f| id.message().field(f.number)) {
            member(field, occurrences, start, out);
        }
    }
    out.push(b'}');
}

/// Leaves of the members of a `oneof` the last one, and of that what comes behind all others.
fn keep_last_of_oneof(id: Id, fields: &mut Vec<view::Field<'_>>) {
    let is_member = |f: &view::Field<'_>| id.oneof().contains(&f.number);
    let Some(last) = fields.iter().rfind(|f| is_member(f)).map(|f| f.number) else {
        return;
    };
    let others = fields.iter().rfind(|f| is_member(f) && f.number != last).map_or(0, |f| f.end);
    fields.retain(|f| !is_member(f) || f.start >= others);
}

/// Writes `"name":value` with a comma unless it is the first member of the object that begins at `start`.
fn member(field: &Field, occurrences: &[view::Field<'_>], start: usize, out: &mut Vec<u8>) {
    let before = out.len();
    if before != start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b"\":");
    let written =
        if field.repeated { list(field, occurrences, out) } else { single(field, occurrences, out) };
    if !written {
        out.truncate(before);
    }
}

/// Writes a repeated field; nothing when the list is empty, which `false` says.
fn list(field: &Field, occurrences: &[view::Field<'_>], out: &mut Vec<u8>) -> bool {
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
fn single(field: &Field, occurrences: &[view::Field<'_>], out: &mut Vec<u8>) -> bool {
    let (Some(last), several) = (occurrences.last(), occurrences.len() > 1) else {
        return false;
    };
    if let (Kind::Message(id), true) = (field.kind, several) {
        // Encoded messages merge by concatenation.
        message(id, &occurrences.iter().flat_map(|f| f.bytes()).copied().collect::<Vec<u8>>(), out);
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
