//! Reading and writing header blocks (HPACK, RFC 7541).
//!
//! Reading keeps the dynamic table that the protocol demands. Writing never uses one: the few fields of an answer are
//! written as literals, so that answers are the same bytes on every stream.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod check;
mod huffman;
mod names;

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use names::STATIC;

/// Size of the table that peers may fill, the default of HTTP/2.
const TABLE: usize = 4096;
/// What an entry counts beside its bytes (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// One field as it was sent. Names are not checked.
pub(super) type Field = (Bytes, Bytes);

/// The fields of a block.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Those that fit into the limit, in order.
    pub(super) list: Vec<Field>,
    /// Whether there were more.
    pub(super) too_large: bool,
}

/// The block cannot be read, and with it no later one: the table is lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Corrupt;

/// Reads the header blocks of one connection.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    table: VecDeque<Field>,
    size: usize,
    max: Option<usize>,
    changes: u64,
}

impl Decoder {
    /// How often the table has changed: while this stays the same, equal blocks have equal fields.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Reads a whole block. Fields that together are larger than `limit` are left out; the table sees all of them.
    pub(super) fn read(&mut self, block: &[u8], limit: usize) -> Result<Fields, Corrupt> {
        let mut input = Input(block);
        let mut fields = Fields::default();
        let mut size = 0;
        let mut at_start = true;
        while let Some(first) = input.peek() {
            let field = if first & 0x80 != 0 {
                self.entry(input.integer(7)?)?
            } else if first & 0x40 != 0 {
                let field = self.literal(&mut input, 6)?;
                self.insert(field.clone());
                field
            } else if first & 0x20 != 0 {
                // Only in front of all fields (RFC 7541, 4.2).
                if !at_start {
                    return Err(Corrupt);
                }
                self.resize(input.integer(5)?)?;
                continue;
            } else {
                self.literal(&mut input, 4)?
            };
            at_start = false;
            size += size_of_field(&field);
            if size > limit {
                fields.too_large = true;
            } else {
                fields.list.push(field);
            }
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<Field, Corrupt> {
        match STATIC.get(index.wrapping_sub(1)) {
            Some((name, value)) => {
                Ok((Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
            }
            None if index == 0 => Err(Corrupt),
            None => self.table.get(index - 1 - STATIC.len()).cloned().ok_or(Corrupt),
        }
    }

    fn literal(&self, input: &mut Input<'_>, prefix: u32) -> Result<Field, Corrupt> {
        let name = match input.integer(prefix)? {
            0 => input.string()?,
            index => self.entry(index)?.0,
        };
        Ok((name, input.string()?))
    }

    fn insert(&mut self, field: Field) {
        self.changes += 1;
        let size = size_of_field(&field);
        self.shrink((self.max.unwrap_or(TABLE)).saturating_sub(size));
        // What is larger than the whole table only empties it (RFC 7541, 4.4).
        if size <= self.max.unwrap_or(TABLE) {
            self.size += size;
            self.table.push_front(field);
        }
    }

    fn resize(&mut self, max: usize) -> Result<(), Corrupt> {
        if max > TABLE {
            return Err(Corrupt);
        }
        self.changes += 1;
        self.max = Some(max);
        self.shrink(max);
        Ok(())
    }

    fn shrink(&mut self, max: usize) {
        while self.size > max {
            let Some(oldest) = self.table.pop_back() else { return };
            self.size -= size_of_field(&oldest);
        }
    }
}

fn size_of_field((name, value): &Field) -> usize {
    name.len() + value.len() + OVERHEAD
}

/// What is left of a block.
struct Input<'a>(&'a [u8]);

/// Integers beyond this are nonsense: no block is that large.
const MAX_INTEGER: usize = 1 << 24;

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn byte(&mut self) -> Result<u8, Corrupt> {
        let (first, rest) = self.0.split_first().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer whose first byte gives it that many bits (RFC 7541, 5.1).
    fn integer(&mut self, prefix: u32) -> Result<usize, Corrupt> {
        let mask = (1u8 << prefix).wrapping_sub(1);
        let mut value = usize::from(self.byte()? & mask);
        if value < usize::from(mask) {
            return Ok(value);
        }
        for shift in (0..=21).step_by(7) {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= MAX_INTEGER { Ok(value) } else { Err(Corrupt) };
            }
        }
        Err(Corrupt)
    }

    fn string(&mut self) -> Result<Bytes, Corrupt> {
        let is_coded = self.peek().ok_or(Corrupt)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Corrupt)?;
        self.0 = rest;
        if !is_coded {
            return Ok(Bytes::copy_from_slice(text));
        }
        let mut out = Vec::with_capacity(length * 8 / 5);
        huffman::decode(text, &mut out).ok_or(Corrupt)?;
        // Short ones are not worth another allocation.
        Ok(if out.len() < LONG { Bytes::from(out) } else { weir_pdata::fitted(out) })
    }
}

/// Texts of that length keep no room that their codes left.
const LONG: usize = 256;

/// Tells the peer that no table is used; stands in front of the first block.
pub(super) const NO_TABLE: u8 = 0x20;

/// Appends a block with these fields, for a response with `status`.
pub(super) fn write(status: Option<StatusCode>, headers: &HeaderMap, out: &mut Vec<u8>) {
    match status {
        // Index 8 is `:status: 200`, and stands for the name too.
        Some(StatusCode::OK) => out.push(0x88),
        Some(status) => {
            out.push(0x08);
            write_string(status.as_str().as_bytes(), out);
        }
        None => {}
    }
    for (name, value) in headers {
        out.push(0);
        write_string(name.as_str().as_bytes(), out);
        write_string(value.as_bytes(), out);
    }
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    let mask = 0x7f;
    let mut length = text.len();
    if length < mask {
        out.push(length as u8);
    } else {
        out.push(mask as u8);
        length -= mask;
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
