//! How much a peer may demand that is not a request.

use tokio::time::Instant;

use super::frame::Code;
use super::machine::Fault;

/// Frames that may come without any request in between.
const MOST: u32 = 1000;
/// What a request that was answered brings back: clients send a few window updates and pings with each.
const PER_REQUEST: u32 = 16;
/// What a second brings back, for connections that only rest.
const PER_SECOND: f64 = 10.0;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Patience {
    left: u32,
    since: Instant,
    now: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Patience {
        Patience { left: MOST, since: now, now }
    }

    /// Time has passed.
    pub(super) fn rest(&mut self, now: Instant) {
        self.now = now;
    }

    /// Uses up some.
    pub(super) fn spend(&mut self, much: u32) -> Result<(), Fault> {
        if self.left < much {
            let earned = (self.now - self.since).as_secs_f64() * PER_SECOND;
            self.left = self.left.saturating_add(earned as u32).min(MOST);
            self.since = self.now;
        }
        match self.left.checked_sub(much) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault(Code::EnhanceYourCalm, "too many frames that are not requests")),
        }
    }

    /// So many requests were answered.
    pub(super) fn earn(&mut self, requests: u64) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(requests.saturating_mul(PER_REQUEST)).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::now;

    #[test]
    fn it_ends_and_comes_back_by_requests_and_by_time() {
        let now = now();
        let mut patience = Patience::new(now);
        for _ in 0..MOST {
            patience.spend(1).expect("patient");
        }
        assert_eq!(
            patience.spend(1),
            Err(Fault(Code::EnhanceYourCalm, "too many frames that are not requests"))
        );
        patience.earn(1);
        patience.spend(PER_REQUEST).expect("earned");
        assert!(patience.spend(1).is_err());
        patience.rest(now + Duration::from_secs(2));
        patience.spend(20).expect("rested");
        assert!(patience.spend(1).is_err());
        patience.rest(now + Duration::from_secs(1 << 20));
        patience.spend(MOST).expect("never more than at first");
        assert!(patience.spend(1).is_err());
    }
}
