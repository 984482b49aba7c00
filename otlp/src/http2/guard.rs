//! Connections of HTTP/2 that a library serves: it answers frames that are not requests for as long as a peer sends them.
//!
//! What comes is looked at on its way to the library, frame by frame, and paid out of the same [`Patience`] as on
//! connections of our own. Whoever uses it up is cut off. Connections of HTTP/1.1 pass.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{HEAD, Head, flag, kind};
use super::machine::{Fault, PREFACE};
use super::patience::Patience;
use crate::io::Io;
use crate::lifetime::Activity;

/// A byte stream that ends when its peer is a nuisance.
pub(crate) struct Guarded {
    io: Io,
    watch: Watch,
}

struct Watch {
    reading: Reading,
    patience: Patience,
    activity: Activity,
    /// Requests whose answers have been earned by.
    answered: u64,
}

/// What the next bytes are.
enum Reading {
    /// The rest of the preface, after so many bytes of it.
    Preface(usize),
    Head([u8; HEAD], usize),
    Payload(usize),
    /// Not HTTP/2.
    Other,
}

impl Guarded {
    /// `activity` is that of the connection.
    pub(crate) fn new(io: Io, activity: Activity) -> Guarded {
        let watch = Watch { reading: Reading::Preface(0), patience: Patience::new(), activity, answered: 0 };
        Guarded { io, watch }
    }
}

impl Watch {
    fn see(&mut self, mut input: &[u8]) -> Result<(), Fault> {
        while !input.is_empty() {
            match &mut self.reading {
                Reading::Other => return Ok(()),
                Reading::Preface(has) => {
                    let rest = &PREFACE[*has..];
                    let part = split(&mut input, rest.len());
                    *has += part.len();
                    if !rest.starts_with(part) {
                        self.reading = Reading::Other;
                    } else if part.len() == rest.len() {
                        self.reading = Reading::Head([0; HEAD], 0);
                    }
                }
                Reading::Head(bytes, has) => {
                    let part = split(&mut input, HEAD - *has);
                    bytes[*has..*has + part.len()].copy_from_slice(part);
                    *has += part.len();
                    if *has == HEAD {
                        let head = Head::parse(*bytes);
                        self.reading = Reading::Payload(head.length);
                        self.pay(head)?;
                    }
                }
                Reading::Payload(left) => {
                    *left -= split(&mut input, *left).len();
                    if *left == 0 {
                        self.reading = Reading::Head([0; HEAD], 0);
                    }
                }
            }
        }
        Ok(())
    }

    /// Everything costs but content and what ends a request; a request brings back more than its own frames cost.
    fn pay(&mut self, head: Head) -> Result<(), Fault> {
        if head.kind == kind::DATA && (head.length > 0 || head.has(flag::END_STREAM)) {
            return Ok(());
        }
        let answered = self.activity.answered();
        self.patience.earn(answered - self.answered);
        self.answered = answered;
        self.patience.spend(1)
    }
}

/// Takes up to `most` bytes off the front.
fn split<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (part, rest) = input.split_at(input.len().min(most));
    *input = rest;
    part
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        match this.watch.see(&buf.filled()[before..]) {
            Ok(()) => read,
            Err(Fault(_, why)) => Poll::Ready(Err(io::Error::other(why))),
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    fn watch(activity: &Activity) -> Watch {
        Watch {
            reading: Reading::Preface(0),
            patience: Patience::new(),
            activity: activity.clone(),
            answered: 0,
        }
    }

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload).expect("short").to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1][..], &vec![0; payload]].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_counted_wherever_they_are_cut() {
        let frames =
            [frame(kind::DATA, 0, 20), frame(kind::DATA, flag::END_STREAM, 0), frame(kind::PING, 0, 8)];
        let round = frames.concat();
        for piece in 1..=round.len() {
            let mut watch = watch(&Activity::default());
            watch.see(PREFACE).expect("a greeting");
            let bytes = round.repeat(1000);
            assert!(
                bytes.chunks(piece).all(|part| watch.see(part).is_ok()),
                "a thousand, in pieces of {piece}"
            );
            assert!(watch.see(&round).is_err(), "one more, in pieces of {piece}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_makes_requests_may_go_on() {
        let activity = Activity::default();
        let mut watch = watch(&activity);
        watch.see(PREFACE).expect("a greeting");
        let one =
            [frame(kind::HEADERS, 4, 50), frame(kind::WINDOW_UPDATE, 0, 4), frame(kind::PING, 0, 8)].concat();
        for _ in 0..5000 {
            watch.see(&one).expect("welcome");
            drop(activity.begin(Version::HTTP_2));
        }
    }

    #[test]
    fn what_is_not_http_2_passes() {
        let mut watch = watch(&Activity::default());
        watch.see(b"PRI").expect("maybe");
        watch.see(b"SE /is/read HTTP/1.1\r\n\r\n").expect("not ours");
        watch.see(&frame(kind::PING, 0, 8).repeat(5000)).expect("not ours");
    }
}
