//! A request body as few pieces: large chunks as they are, small ones put together.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use weir_pdata::Payload;

/// Chunks from this size on are sent as they are. Each piece costs at least one frame and its handling on both sides;
/// copying this much costs about as much.
const OWN_PIECE: usize = 8 << 10;

/// Pieces of a body, in order; itself a body that never fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    list: VecDeque<Bytes>,
    length: usize,
}

impl Pieces {
    /// One piece.
    pub(super) fn one(piece: Bytes) -> Pieces {
        let length = piece.len();
        Pieces { list: VecDeque::from([piece]), length }
    }

    /// `head`, then the requests of a payload.
    pub(super) fn of(head: &[u8], payload: &Payload) -> Pieces {
        let mut pieces = Pieces::default();
        let mut small = BytesMut::from(head);
        for chunk in payload.requests() {
            if chunk.len() >= OWN_PIECE {
                pieces.push(small.split().freeze());
                pieces.push(chunk.clone());
            } else {
                small.extend_from_slice(chunk);
            }
        }
        pieces.push(small.freeze());
        pieces
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.list.push_back(piece);
        }
    }

    /// Takes the next piece.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let piece = self.list.pop_front()?;
        self.length -= piece.len();
        Some(piece)
    }

    /// Whether the last piece was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length as u64)
    }
}

#[cfg(test)]
mod tests {
    use weir_pdata::Signal;
    use weir_pdata::otlp::{LogsRequest, logs};

    use super::*;

    fn payload(bytes: usize) -> Payload {
        let record = logs::v1::LogRecord { severity_text: "x".repeat(bytes), ..Default::default() };
        let scope_logs = vec![logs::v1::ScopeLogs { log_records: vec![record], ..Default::default() }];
        let resource_logs = vec![logs::v1::ResourceLogs { scope_logs, ..Default::default() }];
        LogsRequest { resource_logs }.into()
    }

    #[test]
    fn large_chunks_are_not_copied_and_small_ones_travel_together() {
        let mut merged = Payload::empty(Signal::Logs);
        for bytes in [1, 2, 100_000, 3, 4, 5] {
            merged.append(payload(bytes)).expect("same signal");
        }
        let large = merged.requests().nth(2).expect("large").clone();
        let mut pieces = Pieces::of(b"head", &merged);
        assert_eq!(pieces.size_hint().exact(), Some(4 + merged.encoded_len() as u64));
        let list: Vec<Bytes> = std::iter::from_fn(|| pieces.next()).collect();
        assert_eq!(list.len(), 3);
        assert_eq!(list[1].as_ptr(), large.as_ptr());
        assert_eq!(&list.concat()[4..], &merged.to_bytes()[..]);
    }
}
