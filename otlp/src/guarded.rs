//! The byte stream between a peer and the library that serves it, which keeps the peer within limits that the library
//! does not know.
//!
//! - A head has to be whole within [`ServerLimits::head_timeout`] of its first byte, on connections that have had requests
//!   too; how long they may rest in between is another matter.
//! - What waits to become a request holds [`SMALL`] bytes without asking. Larger buffers of reads (which stay with a
//!   connection) and larger blocks of fields are reserved in the budget. Without room, which the first leave to requests,
//!   they stay small, and the second end the connection.
//! - Frames of HTTP/2 that are not requests are paid for, see [`Watch`].
//! - Answers have to be taken, see [`Sending`].
//! - A refusal is heard: who still sends a body that nobody wants is listened to for a while before the connection is
//!   closed. Closing it at once would answer what is on its way with a reset, which destroys the answer, too.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_component::{Budget, Reservation};

use crate::clock::{Timer, now, timer};
use crate::http_server::ServerLimits;
use crate::http2::{PREFACE, Watch};
use crate::io::Io;
use crate::lifetime::{Activity, HeadClock};
use crate::sending::Sending;

/// Bytes that a connection may hold without asking, as large as a frame of HTTP/2 that everybody may send.
pub(crate) const SMALL: usize = 16 << 10;

/// A larger buffer is taken while so many times as much is free: it makes requests cheaper, which need room themselves.
const LEAVES: usize = 64;

/// How long a peer is listened to after a refusal, and how many bytes: any body within the default limit of 20 MiB, so
/// that clients which look for the answer only when they have sent everything find it. It costs no memory, and less time
/// than taking the body.
const FAREWELL: Duration = Duration::from_secs(5);
const FAREWELL_BYTES: usize = 32 << 20;
/// Reads of a turn then, and the bytes of one.
const READS: usize = 16;
const READ: usize = 8 << 10;

/// A byte stream that ends when its peer is a nuisance.
pub(crate) struct Guarded {
    io: Sending,
    activity: Activity,
    /// What was read to know the version, until the library has it.
    first: Vec<u8>,
    talk: Talk,
    budget: Budget,
    room: Reservation,
    /// Whether room for a larger buffer was refused once; nobody asks again.
    stays_small: bool,
    clock: HeadClock,
    /// Whether the peer sends nothing more.
    is_over: bool,
    farewell: Option<Farewell>,
}

/// What is spoken.
enum Talk {
    /// HTTP/1.1: so many bytes came when that many requests had begun and none was under way.
    One {
        begun: u64,
        bytes: usize,
    },
    Two(Watch),
}

struct Farewell {
    end: Timer,
    left: usize,
}

impl Guarded {
    /// `activity` is that of the connection.
    pub(crate) fn new(io: Io, limits: &ServerLimits, budget: &Budget, activity: Activity) -> Guarded {
        Guarded {
            io: Sending::new(io, limits.write_timeout, activity.clone()),
            activity,
            first: Vec::new(),
            talk: Talk::One { begun: 0, bytes: 0 },
            budget: budget.clone(),
            room: budget.begin(),
            stays_small: false,
            clock: HeadClock::new(limits.head_timeout),
            is_over: false,
            farewell: None,
        }
    }

    /// Which version of HTTP the peer speaks, by its first bytes.
    pub(crate) fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Version>> {
        while self.first.len() < PREFACE.len() && PREFACE.starts_with(&self.first) {
            let mut part = [0; PREFACE.len()];
            let mut read = ReadBuf::new(&mut part[self.first.len()..]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            self.first.extend_from_slice(read.filled());
        }
        Poll::Ready(Ok(if self.first == PREFACE { Version::HTTP_2 } else { Version::HTTP_11 }))
    }

    /// From now on HTTP/2 is spoken.
    pub(crate) fn expect_http2(&mut self) {
        self.talk = Talk::Two(Watch::new(self.activity.clone(), now()));
    }

    /// The head that has begun and is not whole, as a number that no other has.
    fn unfinished(&self) -> Option<u64> {
        match &self.talk {
            Talk::One { begun, bytes } => {
                let is_cut = *bytes > 0 && *begun == self.activity.begun();
                (is_cut && !self.activity.is_open()).then_some(*begun)
            }
            Talk::Two(watch) => watch.unfinished(),
        }
    }

    fn fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let part = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..part]);
            self.first.drain(..part);
            return Poll::Ready(Ok(()));
        }
        if self.take_room(buf.remaining()) {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(SMALL));
        let read = Pin::new(&mut self.io).poll_read(cx, &mut part);
        let filled = part.filled().len();
        buf.advance(filled);
        read
    }

    /// Takes room for a buffer of that size, if there is enough; whether the buffer may be filled.
    fn take_room(&mut self, buffer: usize) -> bool {
        let more = buffer.saturating_sub(SMALL + self.room.bytes());
        // The library limits those of HTTP/2 to a frame.
        if more == 0 || matches!(self.talk, Talk::Two(_)) {
            return true;
        }
        self.stays_small = self.stays_small
            || !self.budget.would_fit(more.saturating_mul(LEAVES))
            || self.room.grow(more).is_err();
        !self.stays_small
    }

    fn see(&mut self, input: &[u8]) -> io::Result<()> {
        match &mut self.talk {
            Talk::One { begun, bytes } => {
                if !self.activity.is_open() {
                    let now = self.activity.begun();
                    *bytes = if now == *begun { *bytes + input.len() } else { input.len() };
                    *begun = now;
                }
                Ok(())
            }
            Talk::Two(watch) => {
                watch.see(input, now()).map_err(io::Error::other)?;
                let beyond = watch.fields().saturating_sub(SMALL);
                if beyond == self.room.bytes() {
                    Ok(())
                } else {
                    self.room.fit(beyond).map_err(io::Error::other)
                }
            }
        }
    }

    /// Whether the peer may be sending what nobody reads.
    fn may_be_sending(&self) -> bool {
        // Streams of HTTP/2 are reset one by one.
        let is_one = matches!(self.talk, Talk::One { .. });
        is_one && !self.is_over && (self.unfinished().is_some() || self.activity.was_refused())
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match this.fill(cx, buf) {
            Poll::Ready(Ok(())) => {
                let input = &buf.filled()[before..];
                this.is_over = input.is_empty();
                Poll::Ready(this.see(input))
            }
            Poll::Pending if this.clock.poll_late(this.unfinished(), cx).is_ready() => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a head took too long to arrive")))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Says that nothing more will be said, and then listens until the peer has gone, has had its time, or sent too much.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if !this.may_be_sending() {
                return Poll::Ready(Ok(()));
            }
        }
        let Guarded { io, farewell, .. } = this;
        let Farewell { end, left } =
            farewell.get_or_insert_with(|| Farewell { end: timer(FAREWELL), left: FAREWELL_BYTES });
        for _ in 0..READS {
            let mut part = [MaybeUninit::uninit(); READ];
            let mut read = ReadBuf::uninit(&mut part);
            match Pin::new(&mut *io).poll_read(cx, &mut read) {
                Poll::Pending => return end.as_mut().poll(cx).map(Ok),
                Poll::Ready(Ok(())) if !read.filled().is_empty() && *left > 0 => {
                    *left = left.saturating_sub(read.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
        // Others want to move on too.
        cx.waker().wake_by_ref();
        end.as_mut().poll(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pair() -> (UnixStream, Guarded, Activity) {
        let (peer, io) = UnixStream::pair().expect("a pair");
        let activity = Activity::default();
        let limits = ServerLimits { head_timeout: 10 * SECOND, ..ServerLimits::default() };
        (peer, Guarded::new(Io::Unix(io), &limits, &Budget::default(), activity.clone()), activity)
    }

    #[tokio::test(start_paused = true)]
    async fn who_rests_between_two_requests_may_and_who_rests_within_a_head_may_not() {
        let (mut peer, mut guarded, activity) = pair();
        let mut buffer = [0; 64];
        for _ in 0..2 {
            peer.write_all(b"a request").await.expect("written");
            assert_eq!(guarded.read(&mut buffer).await.expect("read"), 9);
            let ongoing = activity.begin(Version::HTTP_11);
            assert!(timeout(1000 * SECOND, guarded.read(&mut buffer)).await.is_err(), "it waits for a body");
            peer.write_all(b"a body").await.expect("written");
            assert_eq!(guarded.read(&mut buffer).await.expect("read"), 6);
            ongoing.answered(StatusCode::OK);
            assert!(timeout(1000 * SECOND, guarded.read(&mut buffer)).await.is_err(), "it rests");
        }
        for _ in 0..3 {
            peer.write_all(b"h").await.expect("written");
            assert_eq!(guarded.read(&mut buffer).await.expect("read"), 1);
            assert!(timeout(3 * SECOND, guarded.read(&mut buffer)).await.is_err(), "it has 10 s in all");
        }
        let late = timeout(3 * SECOND, guarded.read(&mut buffer)).await.expect("at 10 s");
        assert_eq!(late.expect_err("cut off").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_may_be_sending_is_waited_for_and_not_for_ever() {
        let (_peer, mut guarded, activity) = pair();
        activity.begin(Version::HTTP_11).answered(StatusCode::OK);
        timeout(SECOND, guarded.shutdown()).await.expect("at once").expect("closed");
        let (peer, mut guarded, activity) = pair();
        activity.begin(Version::HTTP_11).answered(StatusCode::PAYLOAD_TOO_LARGE);
        assert!(timeout(FAREWELL / 2, guarded.shutdown()).await.is_err(), "it listens");
        timeout(FAREWELL, guarded.shutdown()).await.expect("it has listened").expect("closed");
        drop(peer);
        let (peer, mut guarded, activity) = pair();
        activity.begin(Version::HTTP_11).answered(StatusCode::PAYLOAD_TOO_LARGE);
        drop(peer);
        timeout(SECOND, guarded.shutdown()).await.expect("nobody is there").expect("closed");
    }
}
