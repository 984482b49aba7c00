//! Serving one connection of a gRPC port in one task.
//!
//! In each turn everything that has come is read, every call goes on as far as it can, and all answers leave in one write.
//! The bytes are read into a buffer of the thread and copied once, into the buffer of their message, and what they say is
//! listed in one of the thread too: connections that rest hold no buffers, and a message holds no more than itself.

mod calls;
mod clocks;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_component::Reservation;

use super::{LAST_BYTES, Server};
use crate::clock::{Timer, now, ran_out, timer};
use crate::departure::{Departure, GONE, Step};
use crate::guarded::SMALL;
use crate::http_server::Peer;
use crate::http2::{Event, Limits, Machine};
use crate::io::Io;
use crate::lifetime::{Activity, HeadClock};
use crate::sending::Sending;
use calls::Calls;
use clocks::{Clocks, Due};

/// Bytes of one read, and reads of one turn.
const READ: usize = 64 << 10;
const READS: usize = 4;
/// Nothing is read while that much waits to be written: who does not take answers shall not ask.
const MAX_OUTPUT: usize = 64 << 10;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers { input: vec![0; READ], events: Vec::new() });
}

/// Of a thread, for one read of one connection after the other.
struct Buffers {
    input: Vec<u8>,
    /// What the input says: one read may be thousands of them.
    events: Vec<Event>,
}

/// Serves a connection until the peer leaves or, after the server's stop, until the requests under way are answered.
pub(super) async fn drive(io: Io, server: Arc<Server>, peer: Arc<Peer>, activity: Activity) {
    let stop = server.stop.clone();
    let mut stop = pin!(stop.requested());
    let mut connection = Connection::new(io, server, peer, activity);
    poll_fn(|cx| connection.poll(cx, stop.as_mut())).await;
}

/// How reading ended in a turn.
enum Reads {
    /// Everything was read.
    All,
    /// There may be more.
    Some,
    /// Answers wait to be written first.
    Held,
    /// The peer is gone.
    Ended,
}

struct Connection {
    io: Sending,
    calls: Calls,
    clocks: Clocks,
    /// How much of the output is written.
    written: usize,
    to_flush: bool,
    stopped: bool,
    departure: Departure,
    /// For what the machine holds of heads that are not whole.
    room: Reservation,
    heads: HeadClock,
    /// Looks after calls that arrive slowly, while there are some that arrive.
    arrival: Option<Timer>,
    /// The server is to stop: what has not arrived by then is refused, again and again.
    last_bytes: Option<Timer>,
    /// Nothing more is read: how long the calls under way may go on.
    last_answers: Option<Timer>,
    /// Everything is said: how long the peer may take to hear it.
    closing: Option<Timer>,
}

/// How long calls go on whose connection is not read any more: as long as clients wait for an answer by default.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

impl Connection {
    fn new(io: Io, server: Arc<Server>, peer: Arc<Peer>, activity: Activity) -> Connection {
        let limits = &server.settings.limits;
        let clocks = Clocks::new(limits, activity.clone());
        let allowed = Limits {
            max_streams: limits.max_concurrent_streams,
            max_header_bytes: limits.max_header_bytes,
            pings: limits.ping_policy,
        };
        let machine = Machine::new(allowed, clocks.heard());
        let heads = HeadClock::new(limits.head_timeout);
        let io = Sending::new(io, limits.write_timeout, activity.clone());
        let room = server.settings.budget.begin();
        Connection {
            io,
            calls: Calls::new(server, peer, machine, activity),
            clocks,
            written: 0,
            to_flush: false,
            stopped: false,
            departure: Departure::default(),
            room,
            heads,
            arrival: None,
            last_bytes: None,
            last_answers: None,
            closing: None,
        }
    }

    fn poll<S: Future<Output = ()>>(&mut self, cx: &mut Context<'_>, stop: Pin<&mut S>) -> Poll<()> {
        if self.closing.is_some() {
            return self.poll_close(cx);
        }
        if !self.stopped && stop.poll(cx).is_ready() {
            self.stopped = true;
            self.last_bytes = Some(timer(LAST_BYTES));
            self.departure.leave();
        }
        if self.poll_clocks(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.closing.is_some() {
            return self.poll_close(cx);
        }
        loop {
            let reads = self.poll_read(cx);
            self.watch_heads(cx);
            self.calls.poll(cx, self.clocks.heard());
            self.watch_arrivals(cx);
            if self.poll_write(cx).is_err() {
                return Poll::Ready(());
            }
            if self.is_over(cx) {
                tracing::debug!("connection ended");
                self.closing = Some(timer(GONE));
                return self.poll_close(cx);
            }
            match reads {
                Reads::All => return Poll::Pending,
                Reads::Ended => return Poll::Ready(()),
                // Others want to move on too.
                Reads::Some => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Reads::Held if self.waits_to_write() > MAX_OUTPUT => return Poll::Pending,
                Reads::Held => {}
            }
        }
    }

    /// Whether everything is said. Where nothing more is read that is so when the calls under way are answered, or have
    /// had their time.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let machine = &self.calls.machine;
        if machine.is_deaf() && !machine.is_over() {
            let clock = self.last_answers.get_or_insert_with(|| timer(LAST_ANSWERS));
            return clock.as_mut().poll(cx).is_ready();
        }
        machine.is_over()
    }

    /// Ready when the connection ends at once.
    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(due) = self.clocks.poll(cx) {
            match due {
                Due::End => return Poll::Ready(()),
                Due::Ask => self.calls.machine.ask_for_presence(),
                Due::Leave => self.departure.leave(),
            }
        }
        while ran_out(&mut self.last_bytes, cx) {
            self.calls.refuse_arriving();
            self.last_bytes = Some(timer(LAST_BYTES));
        }
        while let Poll::Ready(step) = self.departure.poll(!self.calls.is_empty(), cx) {
            match step {
                Step::Tell => self.calls.machine.leave(),
                Step::End => {
                    self.closing = Some(timer(GONE));
                    break;
                }
            }
        }
        Poll::Pending
    }

    /// Gives up the connection when a head that is not whole takes too long, or more memory than there is.
    fn watch_heads(&mut self, cx: &mut Context<'_>) {
        if self.heads.poll_late(self.calls.machine.unfinished(), cx).is_ready() {
            self.calls.give_up("a block of fields took too long to arrive");
        }
        let beyond = self.calls.machine.held().saturating_sub(SMALL);
        if beyond != self.room.bytes() && self.room.fit(beyond).is_err() {
            self.calls.give_up("there is no memory for a block of fields now");
        }
    }

    /// Looks at calls that arrive slowly, after everything was read that is there. Of those that are whole in one turn
    /// nothing is ever set.
    fn watch_arrivals(&mut self, cx: &mut Context<'_>) {
        if ran_out(&mut self.arrival, cx) {
            self.calls.refuse_slow(now());
        }
        if self.arrival.is_none()
            && let Some(next) = self.calls.next_look()
        {
            let left = next.saturating_duration_since(now());
            let mut clock = timer(left.max(Duration::from_millis(1)));
            if clock.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.arrival = Some(clock);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Reads {
        if self.calls.machine.is_deaf() {
            return Reads::All;
        }
        BUFFERS.with_borrow_mut(|Buffers { input, events }| {
            for _ in 0..READS {
                if self.waits_to_write() > MAX_OUTPUT {
                    return Reads::Held;
                }
                let mut read = ReadBuf::new(input);
                match Pin::new(&mut self.io).poll_read(cx, &mut read) {
                    Poll::Pending => return Reads::All,
                    Poll::Ready(Err(_)) => return Reads::Ended,
                    Poll::Ready(Ok(())) if read.filled().is_empty() => return Reads::Ended,
                    Poll::Ready(Ok(())) => self.receive(read.filled(), events),
                }
            }
            Reads::Some
        })
    }

    fn receive(&mut self, input: &[u8], events: &mut Vec<Event>) {
        self.clocks.hear();
        let now = self.clocks.heard();
        // A panic may have left some of another connection.
        events.clear();
        self.calls.machine.receive(input, now, events);
        for event in events.drain(..) {
            self.calls.event(event, input, now);
        }
    }

    fn waits_to_write(&mut self) -> usize {
        self.calls.machine.output().len() - self.written
    }

    /// Writes as much as the peer takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let output = self.calls.machine.output();
        while self.written < output.len() {
            match Pin::new(&mut self.io).poll_write(cx, &output[self.written..]) {
                Poll::Pending => {
                    // A peer that never takes all of it must not make it grow.
                    drop(output.drain(..std::mem::take(&mut self.written)));
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.written += written?,
            }
            self.to_flush = true;
        }
        self.written = 0;
        output.clear();
        output.shrink_to(KEPT);
        if self.to_flush
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx)
        {
            self.to_flush = false;
            flushed?;
        }
        Ok(())
    }

    /// Says what is left to say and waits until the peer has heard it: closing a socket while bytes of the peer are on
    /// their way would destroy what it has not read.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ran_out(&mut self.closing, cx) || self.poll_write(cx).is_err() {
            return Poll::Ready(());
        }
        if self.waits_to_write() > 0 || self.to_flush {
            return Poll::Pending;
        }
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.io).poll_shutdown(cx) {
            return Poll::Ready(());
        }
        BUFFERS.with_borrow_mut(|Buffers { input, .. }| {
            for _ in 0..READS {
                let mut read = ReadBuf::new(input);
                match Pin::new(&mut self.io).poll_read(cx, &mut read) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

/// Room for output that a connection keeps while it rests.
const KEPT: usize = 1 << 10;
