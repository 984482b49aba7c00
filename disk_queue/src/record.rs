//! One record on disk; the format is in the crate's documentation.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest record, in bytes.
pub const MAX_RECORD: usize = 256 << 20;

/// Length of what stands before the bytes of a record.
pub(crate) const HEAD: usize = 24;

/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;

/// What stands before the bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    crc: u32,
    pub(crate) length: u32,
    pub(crate) weight: u32,
    pub(crate) id: u64,
}

impl Head {
    /// Reads a head; `None` when it is none of a segment with this salt.
    pub(crate) fn read(mut bytes: &[u8], salt: u64) -> Option<Head> {
        if bytes.len() < HEAD {
            return None;
        }
        let covered = &bytes[4..HEAD];
        if bytes.get_u32_le() != checksum(salt, covered) {
            return None;
        }
        let (crc, length, weight) = (bytes.get_u32_le(), bytes.get_u32_le(), bytes.get_u32_le());
        let head = Head { crc, length, weight, id: bytes.get_u64_le() };
        (length as usize <= MAX_RECORD).then_some(head)
    }

    /// Length of the whole record with its padding.
    pub(crate) fn total(&self) -> u64 {
        total(self.length as usize)
    }

    /// Whether these are its bytes.
    pub(crate) fn is_of(&self, bytes: &[u8], salt: u64) -> bool {
        checksum(salt, bytes) == self.crc
    }
}

/// Length on disk of a record of so many bytes.
pub(crate) fn total(length: usize) -> u64 {
    ((HEAD + length) as u64).next_multiple_of(ALIGN)
}

/// Appends a record to `out`.
pub(crate) fn write(out: &mut BytesMut, salt: u64, id: u64, weight: u32, parts: &[Bytes]) {
    let length: usize = parts.iter().map(Bytes::len).sum();
    let crc = parts.iter().fold(seed(salt), |crc, part| crc32c::crc32c_append(crc, part));
    let mut head = [0; HEAD];
    let mut rest = &mut head[4..];
    rest.put_u32_le(crc);
    rest.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    rest.put_u32_le(weight);
    rest.put_u64_le(id);
    let own = checksum(salt, &head[4..]);
    head[..4].copy_from_slice(&own.to_le_bytes());
    out.extend_from_slice(&head);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.put_bytes(0, out.len().next_multiple_of(ALIGN as usize) - out.len());
}

/// CRC32C of the salt and the bytes.
pub(crate) fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed(salt), bytes)
}

fn seed(salt: u64) -> u32 {
    crc32c::crc32c(&salt.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_any_flipped_bit_is_seen() {
        let parts = [Bytes::from_static(b"some "), Bytes::from_static(b"bytes")];
        let mut out = BytesMut::new();
        write(&mut out, 42, 7, 3, &parts);
        let head = Head::read(&out, 42).expect("a head");
        assert_eq!((head.id, head.weight, head.length, head.total()), (7, 3, 10, out.len() as u64));
        assert!(head.is_of(&out[HEAD..HEAD + 10], 42));
        assert_eq!(Head::read(&out, 43), None, "of another segment");
        for bit in 0..(HEAD + 10) * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let good = Head::read(&bad, 42).is_some_and(|head| head.is_of(&bad[HEAD..HEAD + 10], 42));
            assert!(!good, "bit {bit}");
        }
    }

    #[test]
    fn nothing_passes_for_a_record_without_the_salt() {
        assert_eq!(Head::read(&[0; HEAD], 42), None);
        assert_eq!(Head::read(&[0; HEAD - 1], 42), None);
    }
}
