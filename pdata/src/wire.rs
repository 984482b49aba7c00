//! The wire format of protobuf: the fields of a message read one after the other, and written.
//!
//! What comes from outside goes through [`crate::validate`] first, which reads by rules of its own.

use std::ops::Range;

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// Field number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// Offset of its tag in the message.
    pub start: usize,
    /// Offset behind its last byte.
    pub end: usize,
}

/// A value by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Varint: bool, enums, integers.
    Varint(u64),
    /// 64 bits: fixed64, sfixed64, double.
    Fixed64(u64),
    /// 32 bits.
    Fixed32(u32),
    /// Strings, bytes, messages, packed lists.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// Where its content lies in the message, for a length-delimited field.
    pub(crate) fn content(&self) -> Range<usize> {
        self.end - self.bytes().len()..self.end
    }

    /// Content of a length-delimited field; empty for others.
    pub fn bytes(&self) -> &'a [u8] {
        match self.value {
            Value::Bytes(b) => b,
            _ => &[],
        }
    }

    /// Content as text; empty when it is none.
    pub fn str(&self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Value as an unsigned integer; 0 for length-delimited fields.
    pub fn u64(&self) -> u64 {
        match self.value {
            Value::Varint(v) | Value::Fixed64(v) => v,
            Value::Fixed32(v) => u64::from(v),
            Value::Bytes(_) => 0,
        }
    }

    /// Value as a signed integer (two's complement).
    pub fn i64(&self) -> i64 {
        self.u64().cast_signed()
    }

    /// Value as a double.
    pub fn f64(&self) -> f64 {
        f64::from_bits(self.u64())
    }
}

/// The fields of a message, in order.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> Fields<'a> {
    /// Reads the message in `buf`.
    pub fn new(buf: &'a [u8]) -> Self {
        Fields { buf, pos: 0 }
    }

    /// Where the next field begins.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    /// Goes on at the field that begins there.
    pub(crate) fn skip_to(&mut self, position: usize) {
        self.pos = position;
    }

    fn varint(&mut self) -> Option<u64> {
        let first = *self.buf.get(self.pos)?;
        if first < 0x80 {
            self.pos += 1;
            return Some(u64::from(first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.buf.get(self.pos)?;
            self.pos += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.pos.checked_add(n)?;
        let bytes = self.buf.get(self.pos..end)?;
        self.pos = end;
        Some(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.pos;
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some(Field { number: u32::try_from(tag >> 3).ok()?, value, start, end: self.pos })
    }
}

/// Encodes a number and returns how many bytes it takes.
pub(crate) fn varint(mut value: u64, out: &mut [u8; 10]) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// Writes a number.
pub(crate) fn put_varint(value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; 10];
    let width = varint(value, &mut buffer);
    out.extend_from_slice(&buffer[..width]);
}

/// Writes the head of a length-delimited field. Field numbers below 16 take one byte.
#[inline]
pub(crate) fn head(number: u32, length: usize, out: &mut Vec<u8>) {
    if number < 16 && length < 0x80 {
        out.extend_from_slice(&[(number << 3 | 2) as u8, length as u8]);
        return;
    }
    put_varint(u64::from(number << 3 | 2), out);
    put_varint(length as u64, out);
}

/// Bytes of the head of a length-delimited field.
#[inline]
pub(crate) fn head_len(number: u32, length: usize) -> usize {
    if number < 16 && length < 0x80 {
        return 2;
    }
    let mut buffer = [0; 10];
    varint(u64::from(number << 3 | 2), &mut buffer) + varint(length as u64, &mut buffer)
}

/// Writes a message, or any other length-delimited field.
#[inline]
pub(crate) fn message(number: u32, content: &[u8], out: &mut Vec<u8>) {
    head(number, content.len(), out);
    out.extend_from_slice(content);
}
