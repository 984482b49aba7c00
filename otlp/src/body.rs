//! Bodies: what is answered, and how a request becomes one contiguous piece with as few copies as possible.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use weir_component::{Budget, Failure, Reservation};

/// The body of a response: at most one piece of data and trailers. It never fails.
#[derive(Debug, Default)]
pub struct Body {
    data: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
}

impl Body {
    /// Nothing.
    pub fn empty() -> Body {
        Body::default()
    }

    /// These bytes.
    pub fn full(data: impl Into<Bytes>) -> Body {
        Body { data: Some(data.into()).filter(|d| !d.is_empty()), trailers: None }
    }

    /// These bytes and trailers behind them.
    pub(crate) fn with_trailers(data: Bytes, trailers: HeaderMap) -> Body {
        Body { trailers: Some(Box::new(trailers)), ..Body::full(data) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(|t| Frame::trailers(*t))).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |d| d.len() as u64))
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is longer than the limit.
    TooLarge,
    /// There is no memory for it now.
    Refused(Failure),
    /// The peer or the connection ended early; what the library said.
    Broken(String),
}

/// The most that is reserved for a body before its bytes are there.
const MAX_RESERVE: usize = 1 << 20;

/// A body that is being put together. One piece stays as it came, several are copied into one buffer. What has arrived
/// is reserved.
#[derive(Debug)]
pub(crate) struct Gather {
    room: Reservation,
    limit: usize,
    expected: usize,
    first: Bytes,
    joined: BytesMut,
}

impl Gather {
    /// For at most `limit` bytes, of which `expected` were announced.
    pub(crate) fn new(limit: usize, expected: usize, room: Reservation) -> Gather {
        Gather { room, limit, expected, first: Bytes::new(), joined: BytesMut::new() }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), ReadError> {
        if self.len() + piece.len() > self.limit {
            return Err(ReadError::TooLarge);
        }
        self.room.grow(piece.len()).map_err(ReadError::Refused)?;
        if self.len() == 0 {
            self.first = piece;
            return Ok(());
        }
        if self.joined.is_empty() {
            let room = self.expected.min(self.limit).min(MAX_RESERVE).max(self.first.len() + piece.len());
            self.joined.reserve(room);
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&piece);
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// Everything, and what is reserved for it.
    pub(crate) fn finish(self) -> (Bytes, Reservation) {
        (if self.joined.is_empty() { self.first } else { self.joined.freeze() }, self.room)
    }
}

/// The next piece of data of a body; `None` at its end. Trailers are passed over.
pub(crate) async fn next_piece<B>(body: &mut B) -> Option<Result<Bytes, ReadError>>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
            Err(e) => return Some(Err(ReadError::Broken(e.to_string()))),
        }
    }
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_all<B>(body: B, limit: usize) -> Result<Bytes, ReadError>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    Ok(read_reserved(body, limit, Budget::default().begin(), &AtomicUsize::new(0)).await?.0)
}

/// The same, with every piece reserved as it comes and counted in `arrived`.
pub(crate) async fn read_reserved<B>(
    mut body: B,
    limit: usize,
    room: Reservation,
    arrived: &AtomicUsize,
) -> Result<(Bytes, Reservation), ReadError>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(ReadError::TooLarge);
    }
    let mut gather = Gather::new(limit, announced, room);
    while let Some(piece) = next_piece(&mut body).await {
        gather.push(piece?)?;
        arrived.store(gather.len(), Ordering::Relaxed);
    }
    Ok(gather.finish())
}

/// Size of the gRPC frame header: one byte of flags, four of length, big-endian (gRPC over HTTP/2).
pub(crate) const FRAME_HEADER: usize = 5;

/// One gRPC message as it was on the wire.
#[derive(Debug)]
pub(crate) struct Message {
    /// Whether the encoding of the call applies.
    pub(crate) compressed: bool,
    /// Its content.
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
    /// There is no memory for it now.
    Refused(Failure),
    /// The peer or the connection ended early; what the library said.
    Broken(String),
}

/// Reads the one message of a unary call. When the message lies in one DATA frame, nothing is copied.
pub(crate) async fn read_message<B>(
    mut body: B,
    limit: usize,
    room: Reservation,
) -> Result<Message, MessageError>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    // The limit on what is gathered is set when the length is known; until then nothing but a header is there.
    let mut gather = Gather::new(usize::MAX, 0, room);
    let mut length = None;
    while let Some(piece) = next_piece(&mut body).await {
        let piece = piece.map_err(broken)?;
        gather.push(piece).map_err(broken)?;
        if length.is_none() && gather.len() >= FRAME_HEADER {
            length = Some(message_length(&mut gather, limit)?);
        }
        if length.is_some_and(|(_, length)| gather.len() > FRAME_HEADER + length) {
            return Err(MessageError::Several);
        }
    }
    let Some((flag, length)) = length else {
        return Err(MessageError::Missing);
    };
    let (mut content, room) = gather.finish();
    if content.len() < FRAME_HEADER + length {
        return Err(MessageError::Missing);
    }
    content.advance(FRAME_HEADER);
    Ok(Message { compressed: flag == 1, content, room })
}

fn message_length(gather: &mut Gather, limit: usize) -> Result<(u8, usize), MessageError> {
    let start = if gather.joined.is_empty() { &gather.first[..] } else { &gather.joined[..] };
    let &[flag, a, b, c, d, ..] = start else {
        return Err(MessageError::Missing);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if flag > 1 {
        return Err(MessageError::Flag(flag));
    }
    if length > limit {
        return Err(MessageError::TooLarge(length));
    }
    gather.expected = FRAME_HEADER + length;
    gather.limit = usize::MAX;
    Ok((flag, length))
}

fn broken(e: ReadError) -> MessageError {
    match e {
        ReadError::TooLarge => MessageError::Several,
        ReadError::Refused(failure) => MessageError::Refused(failure),
        ReadError::Broken(why) => MessageError::Broken(why),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    fn pieces(parts: &[&'static [u8]]) -> impl HttpBody<Data = Bytes, Error = Infallible> + Unpin + use<> {
        let frames: Vec<_> = parts.iter().map(|p| Ok(Frame::data(Bytes::from_static(p)))).collect();
        StreamBody::new(futures_util::stream::iter(frames))
    }

    fn room() -> Reservation {
        Budget::default().begin()
    }

    #[tokio::test]
    async fn what_has_arrived_is_reserved_and_a_refusal_gives_it_back() {
        let budget = Budget::default();
        budget.set_limit(4);
        let arrived = AtomicUsize::new(0);
        let reading = read_reserved(pieces(&[b"ab", b"cd"]), 9, budget.begin(), &arrived);
        let (read, held) = reading.await.expect("fits");
        assert_eq!((&read[..], budget.held(), arrived.into_inner()), (&b"abcd"[..], 4, 4));
        assert!(matches!(
            read_reserved(pieces(&[b"e"]), 9, budget.begin(), &AtomicUsize::new(0)).await,
            Err(ReadError::Refused(_))
        ));
        drop(held);
        let message: &[u8] = &[0, 0, 0, 0, 1, 7];
        assert!(matches!(
            read_message(pieces(&[message]), 3, budget.begin()).await,
            Err(MessageError::Refused(_))
        ));
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let data = Bytes::from_static(b"all of it");
        let read = read_all(Body::full(data.clone()), 9).await.expect("read");
        assert_eq!(read.as_ptr(), data.as_ptr());
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit() {
        assert_eq!(read_all(pieces(&[b"", b"ab", b"c", b"", b"d"]), 4).await.expect("read"), &b"abcd"[..]);
        assert!(matches!(read_all(pieces(&[b"ab", b"cde"]), 4).await, Err(ReadError::TooLarge)));
        assert!(matches!(read_all(Body::full(&b"abcde"[..]), 4).await, Err(ReadError::TooLarge)));
    }

    #[tokio::test]
    async fn a_message_may_be_cut_anywhere() {
        let whole: &[u8] = &[1, 0, 0, 0, 3, b'a', b'b', b'c'];
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            let message = read_message(pieces(&[head, tail]), 3, room()).await.expect("read");
            assert!(message.compressed);
            assert_eq!(message.content, &b"abc"[..]);
        }
    }

    #[tokio::test]
    async fn anything_but_one_message_is_refused() {
        let read = |parts: &[&'static [u8]]| read_message(pieces(parts), 3, room());
        assert!(matches!(read(&[]).await, Err(MessageError::Missing)));
        assert!(matches!(read(&[&[0, 0, 0]]).await, Err(MessageError::Missing)));
        assert!(matches!(read(&[&[0, 0, 0, 0, 2, 1]]).await, Err(MessageError::Missing)));
        assert!(matches!(read(&[&[0, 0, 0, 0, 1, 1], &[0]]).await, Err(MessageError::Several)));
        assert!(matches!(read(&[&[0, 0, 0, 0, 4]]).await, Err(MessageError::TooLarge(4))));
        assert!(matches!(read(&[&[2, 0, 0, 0, 0]]).await, Err(MessageError::Flag(2))));
    }
}
