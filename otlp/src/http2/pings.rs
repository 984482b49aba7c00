//! Which pings a server puts up with (grpc-go's `EnforcementPolicy`).

use std::time::Duration;

use tokio::time::Instant;

use super::frame::Code;
use super::machine::Fault;
use crate::http_server::PingPolicy;

/// Pings that come too early and are let pass.
const STRIKES: u32 = 2;

/// Between two pings of a peer that has no request under way and may not ping then; as in grpc-go.
const WITHOUT_STREAM: Duration = Duration::from_secs(2 * 60 * 60);

/// The pings of one peer.
#[derive(Debug)]
pub(super) struct Pings {
    policy: Option<PingPolicy>,
    last: Option<Instant>,
    strikes: u32,
    answered: bool,
}

impl Pings {
    /// Without a policy any ping is good.
    pub(super) fn new(policy: Option<PingPolicy>) -> Pings {
        Pings { policy, last: None, strikes: 0, answered: false }
    }

    /// A request was answered: pings that measure the way belong to it.
    pub(super) fn answer(&mut self) {
        self.answered = true;
    }

    /// The peer has pinged at that time.
    pub(super) fn ping(&mut self, has_streams: bool, now: Instant) -> Result<(), Fault> {
        let Some(policy) = self.policy else { return Ok(()) };
        let last = self.last.replace(now);
        if std::mem::take(&mut self.answered) {
            self.strikes = 0;
            return Ok(());
        }
        let apart =
            if has_streams || policy.permit_without_stream { policy.min_time } else { WITHOUT_STREAM };
        if last.is_some_and(|last| now.saturating_duration_since(last) < apart) {
            self.strikes += 1;
        }
        if self.strikes > STRIKES {
            // The words are those for which gRPC clients look, to ping less often on their next connection.
            return Err(Fault(Code::EnhanceYourCalm, "too_many_pings"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const TOO_MANY: Result<(), Fault> = Err(Fault(Code::EnhanceYourCalm, "too_many_pings"));

    fn pings(permit_without_stream: bool) -> Pings {
        Pings::new(Some(PingPolicy { min_time: Duration::from_secs(10), permit_without_stream }))
    }

    #[test]
    fn two_early_pings_are_let_pass_and_the_third_is_too_many() {
        let (mut pings, now) = (pings(true), now());
        for _ in 0..3 {
            assert_eq!(pings.ping(false, now), Ok(()));
        }
        assert_eq!(pings.ping(false, now), TOO_MANY);
    }

    #[test]
    fn pings_in_good_time_and_after_answers_are_not_counted() {
        let (mut pings, mut now) = (pings(false), now());
        for _ in 0..20 {
            assert_eq!(pings.ping(true, now), Ok(()));
            now += Duration::from_secs(10);
        }
        for _ in 0..20 {
            pings.answer();
            assert_eq!(pings.ping(false, now), Ok(()));
        }
    }

    #[test]
    fn without_a_request_pings_need_a_permit() {
        let (mut pings, mut now) = (pings(false), now());
        for _ in 0..3 {
            assert_eq!(pings.ping(false, now), Ok(()));
            now += Duration::from_secs(60);
        }
        assert_eq!(pings.ping(false, now), TOO_MANY);
    }

    #[test]
    fn without_a_policy_every_ping_is_good() {
        let (mut pings, now) = (Pings::new(None), now());
        for _ in 0..100 {
            assert_eq!(pings.ping(false, now), Ok(()));
        }
    }
}
