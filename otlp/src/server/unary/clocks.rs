//! When a connection of calls has lasted long enough, and when its peer is asked whether it is there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Timer, now, timer};
use crate::http_server::ServerLimits;
use crate::lifetime::{Activity, End, Lifetime};

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Tell the peer to go.
    Leave,
    /// End at once.
    End,
    /// Ask the peer whether it is there.
    Ask,
}

/// All clocks but those of single requests.
pub(super) struct Clocks {
    lifetime: Lifetime,
    presence: Option<Presence>,
    /// When the peer last sent anything.
    heard: Instant,
}

struct Presence {
    interval: Duration,
    timeout: Duration,
    asked: Option<Instant>,
    timer: Timer,
}

impl Clocks {
    pub(super) fn new(limits: &ServerLimits, activity: Activity) -> Clocks {
        let presence = limits.ping_interval.map(|interval| Presence {
            interval,
            timeout: limits.ping_timeout,
            asked: None,
            timer: timer(interval),
        });
        Clocks { lifetime: Lifetime::new(limits, activity), presence, heard: now() }
    }

    /// The peer has sent something just now.
    pub(super) fn hear(&mut self) {
        self.heard = now();
    }

    /// When the peer last sent anything.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        match Pin::new(&mut self.lifetime).poll_next(cx) {
            Poll::Ready(End::Now) => return Poll::Ready(Due::End),
            Poll::Ready(End::Orderly) => return Poll::Ready(Due::Leave),
            Poll::Pending => {}
        }
        let Some(presence) = &mut self.presence else { return Poll::Pending };
        while presence.timer.as_mut().poll(cx).is_ready() {
            let now = now();
            if presence.asked.is_some_and(|asked| self.heard < asked) {
                tracing::debug!("a ping was not answered, the connection is closed");
                return Poll::Ready(Due::End);
            }
            let silent = now.saturating_duration_since(self.heard);
            let is_silent = silent >= presence.interval;
            presence.asked = is_silent.then_some(now);
            let next = if is_silent { presence.timeout } else { presence.interval - silent };
            presence.timer = timer(next.max(Duration::from_millis(1)));
            if is_silent {
                return Poll::Ready(Due::Ask);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn due(clocks: &mut Clocks, within: u32) -> Option<Due> {
        tokio::time::timeout(within * SECOND, poll_fn(|cx| clocks.poll(cx))).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_peer_that_stays_silent_is_asked_and_only_one_without_an_answer_is_cut_off() {
        let limits = ServerLimits {
            head_timeout: 1000 * SECOND,
            max_connection_age: None,
            ping_interval: Some(10 * SECOND),
            ping_timeout: 5 * SECOND,
            ..ServerLimits::default()
        };
        let mut clocks = Clocks::new(&limits, Activity::default());
        for _ in 0..5 {
            assert_eq!(due(&mut clocks, 9).await, None);
            clocks.hear();
        }
        assert_eq!(due(&mut clocks, 9).await, None);
        assert_eq!(due(&mut clocks, 2).await, Some(Due::Ask));
        clocks.hear();
        assert_eq!(due(&mut clocks, 9).await, None, "it has answered");
        assert_eq!(due(&mut clocks, 2).await, Some(Due::Ask));
        assert_eq!(due(&mut clocks, 4).await, None);
        assert_eq!(due(&mut clocks, 2).await, Some(Due::End));
    }
}
