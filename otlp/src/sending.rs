//! A byte stream whose peer has to take what it is sent.
//!
//! Who asks and never reads fills the buffers of the system, and then whoever answers waits, with a place and its memory,
//! for as long as the peer likes. So the time is limited in which nothing of what waits is taken, and, where answers have
//! a time, that of the last one, too. What is in the buffers of the system is not waited for. The same holds for requests of
//! our own, which nobody waits for any more once they are given up.
//!
//! TLS has a buffer of its own: what it still takes is no sign of the peer while it waits to be flushed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{Timer, now, timer};
use crate::io::Io;
use crate::lifetime::Activity;

/// A connection that ends when its peer takes nothing for so long.
pub(crate) struct Sending {
    io: Io,
    limit: Duration,
    activity: Activity,
    waiting: Option<(Waiting, Timer)>,
}

/// For what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    ToWrite,
    ToFlush,
}

impl Sending {
    /// `activity` is that of the connection.
    pub(crate) fn new(io: Io, limit: Duration, activity: Activity) -> Sending {
        Sending { io, limit, activity, waiting: None }
    }

    /// As [`Io::forget_what_was_sent`].
    pub(crate) fn forget_what_was_sent(&self) {
        self.io.forget_what_was_sent();
    }

    /// What a write gave, unless the peer has had its time.
    fn written<T>(&mut self, write: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match (&write, &mut self.waiting) {
            (Poll::Pending, waiting) => {
                if let Some((what, _)) = waiting {
                    *what = Waiting::ToWrite;
                }
                self.wait(Waiting::ToWrite, cx)
            }
            (Poll::Ready(_), Some((Waiting::ToFlush, _))) => write,
            (Poll::Ready(_), waiting) => {
                *waiting = None;
                write
            }
        }
    }

    /// What a flush gave, unless the peer has had its time.
    fn flushed(&mut self, flush: Poll<io::Result<()>>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if flush.is_ready() {
            self.waiting = None;
            return flush;
        }
        self.wait(Waiting::ToFlush, cx)
    }

    fn wait<T>(&mut self, what: Waiting, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Sending { io, limit, activity, waiting } = self;
        let (_, clock) = waiting.get_or_insert_with(|| {
            let answer = activity.answer_by().map(|end| end.saturating_duration_since(now()));
            (what, timer(answer.map_or(*limit, |left| left.min(*limit))))
        });
        if clock.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        io.forget_what_was_sent();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer did not take what it was sent in time",
        )))
    }
}

impl AsyncRead for Sending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Sending {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(write, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(write, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.io).poll_flush(cx);
        self.flushed(flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.io).poll_shutdown(cx);
        self.flushed(shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use http::Version;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pair(activity: &Activity) -> (UnixStream, Sending) {
        let (peer, io) = UnixStream::pair().expect("a pair");
        (peer, Sending::new(Io::Unix(io), 10 * SECOND, activity.clone()))
    }

    /// Writes until it has to wait.
    async fn fill(sending: &mut Sending) {
        while timeout(SECOND, sending.write(&[0; 64 << 10])).await.is_ok_and(|write| write.is_ok()) {}
    }

    /// What a write gives within so many seconds.
    async fn write(sending: &mut Sending, seconds: u32) -> Option<io::ErrorKind> {
        let write = timeout(seconds * SECOND, sending.write(&[0; 64 << 10])).await;
        write.ok().map(|write| write.expect_err("there is no room").kind())
    }

    /// Reads all that is there.
    async fn drain(peer: &mut UnixStream) {
        let mut taken = vec![0; 64 << 10];
        while timeout(SECOND / 100, peer.read(&mut taken)).await.is_ok() {}
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_peer_that_takes_nothing_of_what_waits_is_cut_off() {
        let (mut peer, mut sending) = pair(&Activity::default());
        assert!(timeout(1000 * SECOND, sending.read(&mut [0])).await.is_err(), "nothing waits");
        for _ in 0..5 {
            fill(&mut sending).await;
            assert_eq!(write(&mut sending, 8).await, None, "it has 10 s from each piece that it takes");
            drain(&mut peer).await;
        }
        fill(&mut sending).await;
        assert_eq!(write(&mut sending, 8).await, None);
        assert_eq!(write(&mut sending, 2).await, Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_a_time_is_not_waited_for_beyond_it_though_its_peer_takes_some_of_it() {
        let activity = Activity::default();
        let (mut peer, mut sending) = pair(&activity);
        let _open = activity.begin(Version::HTTP_11);
        activity.expect_answer_by(now() + 12 * SECOND);
        fill(&mut sending).await;
        assert_eq!(write(&mut sending, 8).await, None);
        drain(&mut peer).await;
        fill(&mut sending).await;
        assert_eq!(write(&mut sending, 3).await, Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_buffer_in_between_takes_is_no_sign_of_the_peer() {
        let (_peer, mut sending) = pair(&Activity::default());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(sending.flushed(Poll::Pending, &mut cx).is_pending());
        for _ in 0..9 {
            tokio::time::advance(SECOND).await;
            assert!(matches!(sending.written(Poll::Ready(Ok(1)), &mut cx), Poll::Ready(Ok(1))));
            assert!(sending.flushed(Poll::Pending, &mut cx).is_pending());
        }
        tokio::time::advance(SECOND).await;
        assert!(matches!(sending.flushed(Poll::Pending, &mut cx), Poll::Ready(Err(_))));
    }
}
