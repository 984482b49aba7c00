//! When a connection has lasted long enough.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{StatusCode, Version};
use tokio::time::Instant;

use crate::clock::{Timer, jitter, now, ran_out, timer};
use crate::http_server::ServerLimits;

/// How many requests a connection has had and has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    open: AtomicUsize,
    is_http2: AtomicBool,
    was_refused: AtomicBool,
    answer_by: Mutex<Option<Instant>>,
    untaken: Mutex<Untaken>,
}

/// Pieces of answers that wait for their peer.
#[derive(Debug, Default)]
struct Untaken {
    pieces: usize,
    /// When the first of them began to wait, or the last one was taken.
    since: Option<Instant>,
}

impl Activity {
    /// A request of that version has come; it lasts until the guard is dropped.
    pub(crate) fn begin(&self, version: Version) -> Ongoing {
        self.0.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Ongoing(Arc::clone(&self.0))
    }

    /// Whether the peer can be told to go between its requests, as HTTP/2 can by GOAWAY. HTTP/1.1 can only close, which
    /// a request that is on its way then runs into.
    pub(crate) fn can_be_sent_away(&self) -> bool {
        self.0.is_http2.load(Ordering::Relaxed)
    }

    /// The peer is to have the answer to its last request by then.
    pub(crate) fn expect_answer_by(&self, end: Instant) {
        *self.0.answer_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// When the peer is to have the answer to its last request, where that has a time.
    pub(crate) fn answer_by(&self) -> Option<Instant> {
        *self.0.answer_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of an answer waits for its peer, until what is given back is dropped. Over HTTP/2 an answer waits for the
    /// window of its stream, and nothing of it is written.
    pub(crate) fn offer(&self) -> Offered {
        let mut untaken = self.untaken();
        untaken.pieces += 1;
        untaken.since.get_or_insert_with(now);
        drop(untaken);
        Offered(self.clone())
    }

    /// Since when the peer has taken nothing of what waits for it; `None` when nothing waits.
    fn untaken_since(&self) -> Option<Instant> {
        self.untaken().since
    }

    fn untaken(&self) -> MutexGuard<'_, Untaken> {
        self.0.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that have come.
    pub(crate) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Requests that are over.
    pub(crate) fn answered(&self) -> u64 {
        self.begun().saturating_sub(self.0.open.load(Ordering::Relaxed) as u64)
    }

    /// Whether the last answer was a refusal, which does not wait for the rest of its request.
    pub(crate) fn was_refused(&self) -> bool {
        self.0.was_refused.load(Ordering::Relaxed)
    }

    /// Whether a request is under way.
    pub(crate) fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }
}

/// A request under way.
pub(crate) struct Ongoing(Arc<Counts>);

impl Ongoing {
    /// It is over, with that answer.
    pub(crate) fn answered(self, status: StatusCode) {
        let refused = status.is_client_error() || status.is_server_error();
        self.0.was_refused.store(refused, Ordering::Relaxed);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A piece of an answer that waits for its peer.
#[derive(Debug)]
pub(crate) struct Offered(Activity);

impl Offered {
    /// Another piece of the same answer.
    pub(crate) fn another(&self) -> Offered {
        self.0.offer()
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let mut untaken = self.0.untaken();
        untaken.pieces -= 1;
        untaken.since = (untaken.pieces > 0).then(now);
    }
}

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// When its requests are answered.
    Orderly,
    /// At once.
    Now,
}

/// The clocks of a connection.
pub(crate) struct Lifetime {
    activity: Activity,
    first_request: Option<Timer>,
    idle: Option<(Duration, u64, Timer)>,
    age: Option<Timer>,
    grace: Option<Duration>,
    hard_end: Option<Timer>,
    write_timeout: Duration,
    /// The clock of a peer that takes nothing, and since when it does not.
    taking: Option<(Instant, Timer)>,
}

impl Lifetime {
    /// Of a connection that begins now.
    pub(crate) fn new(limits: &ServerLimits, activity: Activity) -> Lifetime {
        Lifetime {
            activity,
            first_request: Some(timer(limits.head_timeout)),
            idle: limits.max_connection_idle.map(|idle| (idle, 0, timer(idle))),
            age: limits.max_connection_age.map(|age| timer(age.mul_f64(jitter()))),
            grace: limits.max_connection_age_grace,
            hard_end: None,
            write_timeout: limits.write_timeout,
            taking: None,
        }
    }

    /// Ready when a clock has run out. May be polled again after that.
    pub(crate) fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = &mut *self;
        if this.activity.begun() > 0 {
            this.first_request = None;
        }
        // A peer that connects and says nothing would hold its place for ever.
        if ran_out(&mut this.first_request, cx) || ran_out(&mut this.hard_end, cx) {
            return Poll::Ready(End::Now);
        }
        if ran_out(&mut this.age, cx) {
            this.hard_end = this.grace.map(timer);
            // So that the new clock wakes the task.
            if ran_out(&mut this.hard_end, cx) {
                return Poll::Ready(End::Now);
            }
            return Poll::Ready(End::Orderly);
        }
        while let Some((limit, begun_before, clock)) = &mut this.idle {
            if clock.as_mut().poll(cx).is_pending() {
                break;
            }
            let begun = this.activity.begun();
            if begun == *begun_before && !this.activity.is_open() {
                this.idle = None;
                return Poll::Ready(End::Orderly);
            }
            *begun_before = begun;
            *clock = timer(*limit);
        }
        Poll::Pending
    }

    /// Ready when the peer has had its time to take something of what waits for it. To be asked when the connection has moved
    /// on as far as it can: for answers that leave at once no clock is ever set.
    pub(crate) fn poll_untaken(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.activity.untaken_since() else {
            self.taking = None;
            return Poll::Pending;
        };
        let limit = self.write_timeout;
        let same = self.taking.take().filter(|(of, _)| *of == since);
        let (_, clock) = self.taking.insert(same.unwrap_or_else(|| (since, timer(limit))));
        clock.as_mut().poll(cx)
    }
}

/// Whether heads are whole in time, each from its first byte on.
pub(crate) struct HeadClock {
    limit: Duration,
    /// Of which head.
    running: Option<(u64, Timer)>,
}

impl HeadClock {
    /// A head may take that long.
    pub(crate) fn new(limit: Duration) -> HeadClock {
        HeadClock { limit, running: None }
    }

    /// Ready when the head that has begun and is not whole takes too long; `unfinished` is its number. To be asked when
    /// everything was read that is there: for heads that come in one piece no clock is ever set.
    pub(crate) fn poll_late(&mut self, unfinished: Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(head) = unfinished else {
            self.running = None;
            return Poll::Pending;
        };
        let same = self.running.take().filter(|(of, _)| *of == head);
        let (_, clock) = self.running.insert(same.unwrap_or_else(|| (head, timer(self.limit))));
        clock.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> ServerLimits {
        ServerLimits { head_timeout: 1000 * SECOND, ..ServerLimits::default() }
    }

    async fn end(limits: &ServerLimits, activity: &Activity) -> Vec<End> {
        let mut lifetime = pin!(Lifetime::new(limits, activity.clone()));
        let mut ends = Vec::new();
        let over = tokio::time::timeout(100 * SECOND, async {
            loop {
                ends.push(poll_fn(|cx| lifetime.as_mut().poll_next(cx)).await);
            }
        });
        drop(over.await);
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_ends_in_order_and_then_at_once() {
        let old = ServerLimits { max_connection_age: Some(10 * SECOND), ..limits() };
        assert_eq!(end(&old, &Activity::default()).await, [End::Orderly]);
        let graced = ServerLimits { max_connection_age_grace: Some(SECOND), ..old };
        assert_eq!(end(&graced, &Activity::default()).await, [End::Orderly, End::Now]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_without_requests_is_idle() {
        let idle = ServerLimits { max_connection_idle: Some(10 * SECOND), ..limits() };
        let activity = Activity::default();
        assert_eq!(end(&idle, &activity).await, [End::Orderly]);
        let open = activity.begin(Version::HTTP_11);
        assert_eq!(end(&idle, &activity).await, []);
        drop(open);
        assert_eq!(end(&idle, &activity).await, [End::Orderly]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_time_from_its_first_byte_on() {
        let mut clock = HeadClock::new(10 * SECOND);
        let late = async |clock: &mut HeadClock, head: Option<u64>, within: u32| {
            let late = poll_fn(|cx| clock.poll_late(head, cx));
            tokio::time::timeout(within * SECOND, late).await.is_ok()
        };
        assert!(!late(&mut clock, None, 1000).await, "who rests has all the time");
        assert!(!late(&mut clock, Some(0), 9).await);
        assert!(!late(&mut clock, Some(1), 9).await, "another one");
        assert!(!late(&mut clock, None, 9).await);
        assert!(!late(&mut clock, Some(1), 9).await, "it began anew");
        assert!(late(&mut clock, Some(1), 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_cut_off_and_one_that_spoke_is_not() {
        let limits = ServerLimits { head_timeout: SECOND, ..ServerLimits::default() };
        let activity = Activity::default();
        assert_eq!(end(&limits, &activity).await, [End::Now]);
        drop(activity.begin(Version::HTTP_11));
        assert_eq!(end(&limits, &activity).await, []);
    }
}
