//! How a connection goes: its peer is told once, answers under way are waited for, and a peer that is gone already is not.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::clock::{Timer, timer};

/// How long a peer that was told to go and has no request under way may take to go: it may be gone already.
pub(crate) const GONE: Duration = Duration::from_secs(1);

/// Where a connection is on its way out.
#[derive(Default)]
pub(crate) struct Departure(Stage);

#[derive(Default)]
enum Stage {
    #[default]
    Staying,
    /// To be told, when the timer has run out if there is one.
    Leaving(Option<Timer>),
    /// Told; the timer says when to look whether a request is under way.
    Told(Timer),
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell the peer to go. Comes once.
    Tell,
    /// End the connection: no request is under way, and the peer has had its time.
    End,
}

impl Departure {
    /// Whether nothing has made it go yet.
    pub(crate) fn is_staying(&self) -> bool {
        matches!(self.0, Stage::Staying)
    }

    /// It goes now. Nothing new for one that was told.
    pub(crate) fn leave(&mut self) {
        if !matches!(self.0, Stage::Told(_)) {
            self.0 = Stage::Leaving(None);
        }
    }

    /// It goes when so much time has passed, or when it is to [go now](Departure::leave), for one that stayed.
    pub(crate) fn leave_after(&mut self, patience: Duration) {
        if self.is_staying() {
            self.0 = Stage::Leaving(Some(timer(patience)));
        }
    }

    /// Ready when there is something to do; to be polled until it is not. `is_open` says whether a request is under way.
    pub(crate) fn poll(&mut self, is_open: bool, cx: &mut Context<'_>) -> Poll<Step> {
        match &mut self.0 {
            Stage::Staying => Poll::Pending,
            Stage::Leaving(patience) => {
                if let Some(patience) = patience {
                    ready!(patience.as_mut().poll(cx));
                }
                self.0 = Stage::Told(timer(GONE));
                Poll::Ready(Step::Tell)
            }
            Stage::Told(look) => loop {
                ready!(look.as_mut().poll(cx));
                if !is_open {
                    return Poll::Ready(Step::End);
                }
                *look = timer(GONE);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    /// What is to be done within that time, while a request is under way or not.
    async fn step(departure: &mut Departure, is_open: bool, within: Duration) -> Option<Step> {
        timeout(within, poll_fn(|cx| departure.poll(is_open, cx))).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_go_is_told_once_and_has_a_moment_without_requests() {
        let mut departure = Departure::default();
        assert!(departure.is_staying() && step(&mut departure, false, 1000 * GONE).await.is_none());
        departure.leave();
        assert!(!departure.is_staying());
        assert_eq!(step(&mut departure, true, GONE / 2).await, Some(Step::Tell));
        departure.leave();
        departure.leave_after(GONE);
        assert_eq!(step(&mut departure, true, 1000 * GONE).await, None, "its answers are waited for");
        assert_eq!(step(&mut departure, false, 2 * GONE).await, Some(Step::End));
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_go_later_is_told_when_that_has_passed_or_there_is_a_reason_to_go_at_once() {
        for (at_once, first, second) in [(false, None, Some(Step::Tell)), (true, Some(Step::Tell), None)] {
            let mut departure = Departure::default();
            departure.leave_after(10 * GONE);
            departure.leave_after(GONE);
            assert!(!departure.is_staying());
            if at_once {
                departure.leave();
            }
            assert_eq!(step(&mut departure, true, 9 * GONE).await, first);
            assert_eq!(step(&mut departure, true, 2 * GONE).await, second);
            assert_eq!(step(&mut departure, false, 2 * GONE).await, Some(Step::End));
        }
    }
}
