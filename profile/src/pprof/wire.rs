//! Walks the fields of protobuf messages (protobuf.dev/programming-guides/encoding) without decoding them.

use crate::ProfileError;

/// A part of the profile's bytes; offsets are from the start of the profile, which is below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }

    pub(super) fn offset(self) -> usize {
        self.start as usize
    }
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Where its tag stands.
    pub(super) offset: usize,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Varint(u64),
    Bytes(Span),
    /// Fixed-width numbers occur in no field of a profile.
    Fixed,
}

impl Field {
    /// The value of a field that holds a number.
    pub(super) fn number(self, name: &str) -> Result<u64, ProfileError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            _ => Err(self.wrong_type(name, "a number")),
        }
    }

    /// The value of a field that holds a message or a string.
    pub(super) fn bytes(self, name: &str) -> Result<Span, ProfileError> {
        match self.value {
            Value::Bytes(span) => Ok(span),
            _ => Err(self.wrong_type(name, "bytes")),
        }
    }

    /// Calls `each` for the numbers of a repeated field, packed or not.
    pub(super) fn numbers(
        self,
        bytes: &[u8],
        name: &str,
        mut each: impl FnMut(u64) -> Result<(), ProfileError>,
    ) -> Result<(), ProfileError> {
        match self.value {
            Value::Varint(number) => each(number),
            Value::Bytes(span) => {
                let mut cursor = Cursor::new(bytes, span);
                while !cursor.is_done() {
                    each(cursor.varint()?)?;
                }
                Ok(())
            }
            Value::Fixed => Err(self.wrong_type(name, "numbers")),
        }
    }

    fn wrong_type(self, name: &str, wanted: &str) -> ProfileError {
        ProfileError::malformed(self.offset, format!("field {} ({name}) does not hold {wanted}", self.number))
    }
}

/// Reads the fields of the message in `span`.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], span: Span) -> Self {
        Self { bytes, at: span.start as usize, end: (span.end as usize).min(bytes.len()) }
    }

    /// A cursor over the whole of `bytes`.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() }
    }

    fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// The next field, or none at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<Field>, ProfileError> {
        if self.is_done() {
            return Ok(None);
        }
        let offset = self.at;
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number) if number != 0 => number,
            _ => return Err(ProfileError::malformed(offset, "impossible field number")),
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| Value::Fixed)?,
            other => {
                return Err(ProfileError::malformed(offset, format!("unknown wire type {other}")));
            }
        };
        Ok(Some(Field { number, offset, value }))
    }

    fn skip(&mut self, length: u64) -> Result<Span, ProfileError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        match end.filter(|&end| end <= self.end) {
            Some(end) => {
                let span = Span { start: self.at as u32, end: end as u32 };
                self.at = end;
                Ok(span)
            }
            None => {
                let left = self.end - self.at;
                Err(ProfileError::malformed(
                    self.at,
                    format!("{length} bytes are announced and {left} are left"),
                ))
            }
        }
    }

    fn varint(&mut self) -> Result<u64, ProfileError> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.is_done() {
                return Err(ProfileError::malformed(start, "a number is cut short"));
            }
            let byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProfileError::malformed(start, "a number has more than 10 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        let mut cursor = Cursor::whole(bytes);
        loop {
            match cursor.next() {
                Ok(Some(_)) => {}
                Ok(None) => return "none".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn fields_of_all_wire_types_are_walked() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, 7, 9, 0x25, 1, 2, 3, 4];
        let mut cursor = Cursor::whole(&bytes);
        assert_eq!(cursor.next().unwrap().unwrap().number("a").unwrap(), 150);
        assert!(cursor.next().unwrap().unwrap().number("b").is_err());
        let packed = cursor.next().unwrap().unwrap();
        let mut numbers = Vec::new();
        packed
            .numbers(&bytes, "c", |n| {
                numbers.push(n);
                Ok(())
            })
            .unwrap();
        assert_eq!((packed.bytes("c").unwrap().of(&bytes), numbers), (&[7, 9][..], vec![7, 9]));
        assert_eq!(cursor.next().unwrap().unwrap().number, 4);
        assert!(cursor.next().unwrap().is_none());
    }

    #[test]
    fn errors_name_the_byte_and_what_is_wrong() {
        assert!(error(&[0x08, 0x80]).contains("byte 1 after decompression: a number is cut short"));
        assert!(
            error(&[0x08, 1, 0x12, 5, 0])
                .contains("byte 4 after decompression: 5 bytes are announced and 1 are left")
        );
        assert!(error(&[0x0b]).contains("byte 0 after decompression: unknown wire type 3"));
        assert!(error(&[0x00, 1]).contains("impossible field number"));
        assert!(
            error(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).contains("more than 10 bytes")
        );
    }
}
