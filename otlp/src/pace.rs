//! Whether a request arrives fast enough.
//!
//! Who sends a byte now and then holds a place and memory for as long as a body may take. What counts is the average since
//! the body began: one that came fast may stand still for a while, which `body_timeout` bounds.

use std::time::Duration;

use tokio::time::Instant;

use crate::http_server::ServerLimits;

/// Looks at one body from time to time.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    each: usize,
    expected: usize,
    next: Instant,
}

impl Pace {
    /// Of a body that begins to arrive now.
    pub(crate) fn new(limits: &ServerLimits, now: Instant) -> Pace {
        let every = limits.body_look;
        let each = limits.min_body_rate as f64 * every.as_secs_f64();
        Pace { every, each: each as usize, expected: 0, next: now + every }
    }

    /// When to look again.
    pub(crate) fn next_look(&self) -> Instant {
        self.next
    }

    /// Whether that much is enough by now. Looks that were missed, as of a machine that slept, are not made up for.
    pub(crate) fn keeps_up(&mut self, arrived: usize, now: Instant) -> bool {
        if now < self.next {
            return true;
        }
        self.expected = self.expected.saturating_add(self.each);
        self.next = now + self.every;
        arrived >= self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the clock of a test")]
    async fn each_look_expects_more_and_one_that_comes_late_counts_once() {
        let limits = ServerLimits { min_body_rate: 10, body_look: 2 * SECOND, ..ServerLimits::default() };
        let begun = Instant::now();
        let mut pace = Pace::new(&limits, begun);
        assert!(pace.keeps_up(0, begun + SECOND), "nobody looks yet");
        assert_eq!(pace.next_look(), begun + 2 * SECOND);
        assert!(pace.keeps_up(20, begun + 2 * SECOND));
        assert!(pace.keeps_up(40, begun + 1000 * SECOND));
        assert_eq!(pace.next_look(), begun + 1002 * SECOND);
        assert!(!pace.keeps_up(59, begun + 1002 * SECOND));
    }
}
