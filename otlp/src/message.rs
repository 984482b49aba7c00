//! The one message of a unary gRPC call, as it arrives (gRPC over HTTP/2, "Length-Prefixed-Message").

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body::Body as HttpBody;
use weir_component::{Failure, Reservation};

use crate::body::{ReadError, next_piece};

/// Size of the gRPC frame header: one byte of flags, four of length, big-endian (gRPC over HTTP/2).
pub(crate) const FRAME_HEADER: usize = 5;

/// One gRPC message as it was on the wire.
#[derive(Debug)]
pub(crate) struct Message {
    /// Whether the encoding of the call applies.
    pub(crate) compressed: bool,
    /// Its content, alone in its buffer.
    pub(crate) content: Bytes,
    /// What is reserved for it.
    pub(crate) room: Reservation,
}

/// Why there is not exactly one message.
#[derive(Debug)]
pub(crate) enum MessageError {
    /// The message of that length is longer than the limit.
    TooLarge(usize),
    /// The stream ended without a message, or within one.
    Missing,
    /// There is more behind the message of a unary call.
    Several,
    /// A flag that gRPC does not define.
    Flag(u8),
    /// There is no memory for it, now or for one of its length at all.
    Refused(Failure),
    /// The peer or the connection ended early; what the library said.
    Broken(String),
}

/// A message that is being put together in a buffer of its own size. What has arrived is reserved.
#[derive(Debug)]
pub(crate) struct Arriving {
    room: Reservation,
    limit: usize,
    header: [u8; FRAME_HEADER],
    has: usize,
    content: Vec<u8>,
}

/// The most that is set aside for a message before its bytes are there.
const MAX_RESERVE: usize = 1 << 20;

impl Arriving {
    /// Of a message of at most `limit` bytes.
    pub(crate) fn new(limit: usize, room: Reservation) -> Arriving {
        Arriving { room, limit, header: [0; FRAME_HEADER], has: 0, content: Vec::new() }
    }

    /// Adds a piece; it may be cut anywhere.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), MessageError> {
        let (header, rest) = piece.split_at(piece.len().min(FRAME_HEADER - self.has));
        self.header[self.has..self.has + header.len()].copy_from_slice(header);
        self.has += header.len();
        if self.has < FRAME_HEADER {
            return self.room.grow(piece.len()).map_err(MessageError::Refused);
        }
        let length = self.length();
        if self.header[0] > 1 {
            return Err(MessageError::Flag(self.header[0]));
        }
        if length > self.limit {
            return Err(MessageError::TooLarge(length));
        }
        let missing = length - self.content.len();
        if rest.len() > missing {
            return Err(MessageError::Several);
        }
        self.room.grow_before(piece.len(), missing - rest.len()).map_err(MessageError::Refused)?;
        if rest.len() > self.content.capacity() - self.content.len() {
            let step = self.content.len().max(MAX_RESERVE).max(rest.len());
            self.content.reserve_exact(missing.min(step));
        }
        self.content.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn arrived(&self) -> usize {
        self.has + self.content.len()
    }

    /// The message, once everything has come.
    pub(crate) fn finish(self) -> Result<Message, MessageError> {
        if self.has < FRAME_HEADER || self.content.len() < self.length() {
            return Err(MessageError::Missing);
        }
        Ok(Message { compressed: self.header[0] == 1, content: Bytes::from(self.content), room: self.room })
    }

    fn length(&self) -> usize {
        let [_, a, b, c, d] = self.header;
        u32::from_be_bytes([a, b, c, d]) as usize
    }
}

/// Reads the one message of a unary call, and counts in `arrived`.
pub(crate) async fn read_message<B>(
    mut body: B,
    mut arriving: Arriving,
    arrived: &AtomicUsize,
) -> Result<Message, MessageError>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    while let Some(piece) = next_piece(&mut body).await {
        let piece = piece.map_err(|e| match e {
            ReadError::Broken(why) => MessageError::Broken(why),
            ReadError::Refused(failure) => MessageError::Refused(failure),
            ReadError::TooLarge => MessageError::Several,
        })?;
        arriving.push(&piece)?;
        arrived.store(arriving.arrived(), Ordering::Relaxed);
    }
    arriving.finish()
}

/// A message is the same however it is cut, never longer than allowed, in no larger buffer than it needs, and gives back what
/// was reserved for it; the first byte says how it is cut. For tests and for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn check(bytes: &[u8]) {
    const LIMIT: usize = 300;
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let budget = weir_component::Budget::default();
    let read = |length: usize| {
        let mut arriving = Arriving::new(LIMIT, budget.begin());
        for piece in bytes.chunks(length) {
            arriving.push(piece)?;
            assert!(arriving.content.capacity() <= LIMIT && budget.held() <= bytes.len());
        }
        let message = arriving.finish()?;
        assert!(message.content.len() <= LIMIT && message.content[..] == bytes[FRAME_HEADER..]);
        Ok::<_, MessageError>((message.compressed, message.content))
    };
    let kind =
        |result: Result<(bool, Bytes), MessageError>| result.map_err(|error| std::mem::discriminant(&error));
    assert_eq!(kind(read(bytes.len().max(1))), kind(read(1 + usize::from(*cut) % 32)));
    assert_eq!(budget.held(), 0);
}

#[cfg(test)]
mod tests {
    use weir_component::Budget;

    use super::*;

    fn read(parts: &[&[u8]]) -> Result<Message, MessageError> {
        let mut arriving = Arriving::new(3, Budget::default().begin());
        for part in parts {
            arriving.push(part)?;
        }
        arriving.finish()
    }

    #[test]
    fn a_message_may_be_cut_anywhere() {
        let whole: &[u8] = &[1, 0, 0, 0, 3, b'a', b'b', b'c'];
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            let message = read(&[head, &[], tail]).expect("read");
            assert!(message.compressed);
            assert_eq!(message.content, &b"abc"[..]);
        }
    }

    #[test]
    fn messages_of_the_corpus_are_the_same_however_they_are_cut() {
        crate::corpus::corpus("grpc_message").iter().for_each(|bytes| check(bytes));
    }

    #[test]
    fn anything_but_one_message_is_refused() {
        assert!(matches!(read(&[]), Err(MessageError::Missing)));
        assert!(matches!(read(&[&[0, 0, 0]]), Err(MessageError::Missing)));
        assert!(matches!(read(&[&[0, 0, 0, 0, 2, 1]]), Err(MessageError::Missing)));
        assert!(matches!(read(&[&[0, 0, 0, 0, 1, 1], &[0]]), Err(MessageError::Several)));
        assert!(matches!(read(&[&[0, 0, 0, 0, 4]]), Err(MessageError::TooLarge(4))));
        assert!(matches!(read(&[&[2, 0, 0, 0, 0]]), Err(MessageError::Flag(2))));
    }

    #[test]
    fn what_has_arrived_is_reserved_and_a_refusal_gives_it_back() {
        let budget = Budget::default();
        budget.set_limit(6);
        let mut arriving = Arriving::new(3, budget.begin());
        arriving.push(&[0, 0, 0, 0, 2, 7]).expect("fits");
        assert_eq!(budget.held(), 6);
        assert!(matches!(arriving.push(&[7]), Err(MessageError::Refused(_))));
        drop(arriving);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_large_message_is_in_a_buffer_of_its_size() {
        let length = 5 << 20;
        let mut arriving = Arriving::new(length, Budget::default().begin());
        arriving.push(&[0]).expect("a header");
        arriving.push(&(length as u32).to_be_bytes()).expect("a header");
        for _ in 0..length >> 14 {
            arriving.push(&[7; 1 << 14]).expect("a piece");
        }
        assert_eq!((arriving.content.capacity(), arriving.content.len()), (length, length));
    }
}
