//! Netlink framing: messages and attributes in a byte slice, without a socket.
//!
//! A datagram holds messages `{len u32, type u16, flags u16, seq u32, port u32, payload}`, each padded to 4 bytes; a
//! payload ends with attributes `{len u16, type u16, value}`, padded likewise. All integers are in the byte order of
//! the machine. Sources: netlink(7), `linux/netlink.h`.
//!
//! Nothing here panics on any input: every read is checked against the slice.

use crate::error::Malformed;

/// Bytes of a message header.
pub(crate) const HEADER: usize = 16;
/// End of a dump; may carry an error number.
pub(crate) const DONE: u16 = 3;
/// Error or acknowledgement.
pub(crate) const ERROR: u16 = 2;
/// Nothing.
pub(crate) const NOOP: u16 = 1;
/// Data was lost.
pub(crate) const OVERRUN: u16 = 4;
/// `NLM_F_DUMP_INTR`: the table changed while it was dumped.
pub(crate) const FLAG_INTERRUPTED: u16 = 0x10;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
pub(crate) const FLAGS_DUMP: u16 = 0x301;

const ATTRIBUTE_HEADER: usize = 4;
/// The two upper bits of an attribute type are flags (nested, network byte order).
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// Walks the messages of one datagram; ends after the first malformed one, because nothing behind it can be trusted.
pub(crate) fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { datagram, at: 0 }
}

/// Iterator of [`messages`].
pub(crate) struct Messages<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.datagram.get(at..).filter(|rest| !rest.is_empty())?;
        let malformed = |needs| Malformed { what: "netlink message", at, needs, has: rest.len() };
        self.at = self.datagram.len();
        let (Some(length), Some(kind), Some(flags), Some(sequence)) =
            (u32_at(rest, 0), u16_at(rest, 4), u16_at(rest, 6), u32_at(rest, 8))
        else {
            return Some(Err(malformed(HEADER)));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(payload) = rest.get(HEADER..length) else {
            return Some(Err(malformed(length.max(HEADER))));
        };
        self.at = at.saturating_add(align(length));
        Some(Ok(Message { kind, flags, sequence, payload }))
    }
}

/// Walks attributes as `(type, value)`; stops silently at the first that does not fit, since a newer kernel may append
/// what we do not know, and what was read before it is sound.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// Iterator of [`attributes`].
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = self.rest.get(ATTRIBUTE_HEADER..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Appends a message with this payload to `out`.
pub(crate) fn write_message(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, payload: &[u8]) {
    let length = HEADER.saturating_add(payload.len());
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(payload);
    out.resize(align(out.len()), 0);
}

/// Appends one attribute to `out`. Values here are a few dozen bytes; one over 64 KiB is not written.
pub(crate) fn write_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(ATTRIBUTE_HEADER.saturating_add(value.len())) else {
        return;
    };
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(align(out.len()), 0);
}

/// Native-order `u16` at `at`, if it is there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Native-order `u32` at `at`, if it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Native-order `u64` at `at`, if it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_messages_are_read_back_in_order() {
        let mut datagram = Vec::new();
        write_message(&mut datagram, 20, FLAGS_DUMP, 7, &[1, 2, 3]);
        write_message(&mut datagram, DONE, 2, 8, &[]);
        let read: Vec<_> = messages(&datagram).collect::<Result<_, _>>().unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], Message { kind: 20, flags: FLAGS_DUMP, sequence: 7, payload: &[1, 2, 3] });
        assert_eq!(read[1], Message { kind: DONE, flags: 2, sequence: 8, payload: &[] });
    }

    #[test]
    fn a_message_longer_than_the_datagram_says_where_and_ends_the_walk() {
        let mut datagram = Vec::new();
        write_message(&mut datagram, NOOP, 0, 1, &[]);
        write_message(&mut datagram, NOOP, 0, 2, &[0; 8]);
        datagram.truncate(32);
        let read: Vec<_> = messages(&datagram).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1], Err(Malformed { what: "netlink message", at: 16, needs: 24, has: 16 }));
    }

    #[test]
    fn a_length_below_the_header_is_malformed_and_not_an_endless_loop() {
        let datagram = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(messages(&datagram).count(), 1);
        assert!(messages(&datagram).next().unwrap().is_err());
    }

    #[test]
    fn attributes_are_read_back_and_a_torn_last_one_is_left_out() {
        let mut bytes = Vec::new();
        write_attribute(&mut bytes, 8, &[3]);
        write_attribute(&mut bytes, 21 | 0x8000, &7u64.to_ne_bytes());
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(8, &[3][..]), (21, &7u64.to_ne_bytes()[..])]);
        bytes.truncate(bytes.len() - 1);
        assert_eq!(attributes(&bytes).count(), 1);
    }

    #[test]
    fn an_attribute_of_length_zero_ends_the_walk() {
        assert_eq!(attributes(&[0; 64]).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_panic_and_with_an_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
            prop_assert!(attributes(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER + 1);
        }
    }
}
