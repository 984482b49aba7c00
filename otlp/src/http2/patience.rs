//! How much a peer may demand that is not a request.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::Code;
use super::machine::Fault;

/// Frames that may come without any request in between.
const MOST: u32 = 1000;
/// What a request that was answered brings back: clients send a few window updates and pings with each.
const PER_REQUEST: u32 = 16;
/// One comes back in that time, for connections that only rest: ten in a second.
const ONE_AFTER: Duration = Duration::from_millis(100);

/// What is left of it.
#[derive(Debug)]
pub(super) struct Patience {
    left: u32,
    /// What came back by time before that is in it.
    since: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Patience {
        Patience { left: MOST, since: now }
    }

    /// Time has passed.
    pub(super) fn rest(&mut self, now: Instant) {
        let earned = (now - self.since).as_millis() / ONE_AFTER.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(MOST);
        self.since += ONE_AFTER * earned;
    }

    /// Uses up some.
    pub(super) fn spend(&mut self, much: u32) -> Result<(), Fault> {
        let left = self.left.checked_sub(much);
        self.left = left.ok_or(Fault(Code::EnhanceYourCalm, "too many frames that are not requests"))?;
        Ok(())
    }

    /// So many requests were answered.
    pub(super) fn earn(&mut self, requests: u64) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(requests.saturating_mul(PER_REQUEST)).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const TOO_MANY: Result<(), Fault> =
        Err(Fault(Code::EnhanceYourCalm, "too many frames that are not requests"));

    #[test]
    fn it_ends_and_comes_back_by_requests_and_by_time() {
        let now = now();
        let mut patience = Patience::new(now);
        patience.spend(MOST).expect("patient");
        assert_eq!(patience.spend(1), TOO_MANY);
        patience.earn(1);
        patience.spend(PER_REQUEST).expect("earned");
        assert_eq!(patience.spend(1), TOO_MANY);
        patience.rest(now + Duration::from_secs(2));
        patience.spend(20).expect("rested");
        assert_eq!(patience.spend(1), TOO_MANY);
    }

    #[test]
    fn however_long_a_connection_has_rested_no_more_comes_at_once_than_at_first() {
        let now = now();
        for age in [0, 100, 10_000, 1 << 30] {
            let mut patience = Patience::new(now);
            patience.rest(now + Duration::from_secs(age));
            patience.spend(MOST).expect("patient");
            assert_eq!(patience.spend(1), TOO_MANY, "after {age} s");
        }
    }

    #[test]
    fn time_that_brings_nothing_back_yet_is_not_lost() {
        let now = now();
        let mut patience = Patience::new(now);
        patience.spend(MOST).expect("patient");
        (1..=200).for_each(|step| patience.rest(now + Duration::from_millis(15) * step));
        patience.spend(30).expect("three seconds");
        assert_eq!(patience.spend(1), TOO_MANY);
    }
}
