//! Bodies: what is answered, and how a request becomes one contiguous piece with as few copies as possible.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{poll_fn, poll_immediate};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use weir_component::{Budget, Failure, Reservation};

use crate::lifetime::{Activity, Offered};

/// The body of a response: data and trailers. It never fails.
#[derive(Debug, Default)]
pub struct Body {
    data: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
    /// Its peer has a time to take it.
    offered: Option<Offered>,
}

/// Bytes of an answer that count as taken one after the other.
const PIECE: usize = 64 << 10;

/// Bytes of an answer, which the connection keeps until they are written.
struct Piece(Bytes, #[expect(dead_code, reason = "dropped with the bytes")] Offered);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Body {
    /// Nothing.
    pub fn empty() -> Body {
        Body::default()
    }

    /// These bytes.
    pub fn full(data: impl Into<Bytes>) -> Body {
        Body { data: Some(data.into()).filter(|d| !d.is_empty()), ..Body::default() }
    }

    /// What it consists of.
    pub(crate) fn into_parts(self) -> (Bytes, Option<Box<HeaderMap>>) {
        (self.data.unwrap_or_default(), self.trailers)
    }

    /// The same, which waits for its peer on that connection.
    pub(crate) fn offered_on(self, connection: &Activity) -> Body {
        Body { offered: self.data.as_ref().map(|_| connection.offer()), ..self }
    }

    fn next_data(&mut self) -> Option<Bytes> {
        let (Some(offered), Some(data)) = (&self.offered, &mut self.data) else { return self.data.take() };
        let piece = Piece(data.split_to(data.len().min(PIECE)), offered.another());
        if data.is_empty() {
            (self.data, self.offered) = (None, None);
        }
        Some(Bytes::from_owner(piece))
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
        let data = self.next_data().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(|t| Frame::trailers(*t))).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |d| d.len() as u64))
    }
}

/// The body of a request, and whether all of it was read.
#[derive(Debug)]
pub(crate) struct Reading<B> {
    body: B,
    ended: bool,
}

impl<B: HttpBody> Reading<B> {
    /// A body of which nothing is read yet.
    pub(crate) fn new(body: B) -> Reading<B> {
        Reading { body, ended: false }
    }
}

/// What is left of a body that nobody wants is read up to this size, where it is there already.
const LEFT: usize = 8 << 10;

impl<B> Reading<B>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    /// Whether nothing is left of it with the peer or on its way; a small rest that is there already is passed over.
    pub(crate) async fn is_read_out(&mut self) -> bool {
        let mut left = 0;
        while !self.ended && !self.body.is_end_stream() && left < LEFT {
            match poll_immediate(next_piece(self)).await {
                Some(Some(Ok(piece))) => left += piece.len(),
                Some(None) => break,
                Some(Some(Err(_))) | None => return false,
            }
        }
        self.ended || self.body.is_end_stream()
    }
}

impl<B: HttpBody + Unpin> HttpBody for Reading<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is longer than the limit.
    TooLarge,
    /// There is no memory for it, now or for one of its length at all.
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
    joined: Vec<u8>,
}

impl Gather {
    /// For at most `limit` bytes, of which `expected` were announced.
    pub(crate) fn new(limit: usize, expected: usize, room: Reservation) -> Gather {
        Gather { room, limit, expected, first: Bytes::new(), joined: Vec::new() }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), ReadError> {
        let arrived = self.len() + piece.len();
        if arrived > self.limit {
            return Err(ReadError::TooLarge);
        }
        let missing = self.expected.saturating_sub(arrived);
        self.room.grow_before(piece.len(), missing).map_err(ReadError::Refused)?;
        if self.len() == 0 {
            self.first = piece;
            return Ok(());
        }
        if self.joined.is_empty() {
            self.joined.reserve_exact(arrived + missing.min(MAX_RESERVE));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        if missing > 0 && piece.len() > self.joined.capacity() - self.joined.len() {
            // What was announced needs no more room than that.
            self.joined.reserve_exact(piece.len() + missing.min(self.joined.len()));
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
        (if self.joined.is_empty() { self.first } else { weir_pdata::fitted(self.joined) }, self.room)
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

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    fn pieces(parts: &[&'static [u8]]) -> impl HttpBody<Data = Bytes, Error = Infallible> + Unpin + use<> {
        let frames: Vec<_> = parts.iter().map(|p| Ok(Frame::data(Bytes::from_static(p)))).collect();
        StreamBody::new(futures_util::stream::iter(frames))
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
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_body_keeps_no_room_that_is_not_reserved_whether_its_length_was_announced_or_not() {
        const LENGTH: usize = 5 << 20;
        for announced in [LENGTH, 0] {
            let budget = Budget::default();
            let mut gather = Gather::new(20 << 20, announced, budget.begin());
            for _ in 0..LENGTH / 5_000 {
                gather.push(Bytes::from_static(&[7; 5_000])).expect("fits");
                let most = if announced > 0 { LENGTH } else { 2 * LENGTH };
                assert!(gather.joined.capacity() <= most, "{}", gather.joined.capacity());
            }
            let (body, room) = gather.finish();
            assert_eq!((body.len(), room.bytes()), (LENGTH / 5_000 * 5_000, budget.held()));
            let kept = body.try_into_mut().expect("alone").capacity();
            assert!(kept <= LENGTH + LENGTH / 8, "{kept}");
        }
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
}
