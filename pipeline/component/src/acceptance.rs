//! Whether the pipelines take what a source of evidence hands over, and what the source says of itself when they do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_pdata::{Payload, Signal};

use crate::{Batch, Clock, Failure, Instant, Outcome, Output, Receipt, SourceStatus};

/// A refusal that nothing followed for so long is over: who was refused has gone away.
const LATELY: Duration = Duration::from_secs(300);

/// What became of what a source handed over, and of the requests that came to it. Cheap to clone; all clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Acceptance(Arc<Mutex<BTreeMap<&'static str, Refusal>>>);

/// What is refused now, by a name in the plural.
#[derive(Debug)]
struct Refusal {
    /// Unix ns of the first.
    since: u64,
    /// When the last was, however somebody sets the wall clock.
    last: Instant,
    items: usize,
    why: String,
}

impl Acceptance {
    /// Hands over what the source made itself, and waits until it is known what became of it, but not beyond `until`. Whether
    /// it was refused, as far as that is known then.
    pub async fn hand(&self, output: &Output, payload: Payload, clock: &Clock, until: Instant) -> bool {
        let what = payload.signal().name();
        let items = payload.items();
        let (receipt, settled) = Receipt::new();
        let mut receipt = receipt.lasting();
        let (known, time) = (self.clone(), clock.clone());
        receipt.observe(move |outcome| known.heard(what, items, outcome, &time));
        output.send(Batch { payload, receipt, context: Arc::default() }).await;
        match select(settled, clock.sleep_until(until)).await {
            Either::Left((outcome, _)) => outcome.is_err(),
            Either::Right(_) => false,
        }
    }

    /// Takes in what has become now of so many items, or requests, of `what`.
    pub fn heard(&self, what: &'static str, items: usize, outcome: &Outcome, clock: &Clock) {
        match outcome {
            Ok(()) => drop(self.lock().remove(what)),
            Err(failure) => self.refused(what, items, failure, clock),
        }
    }

    /// Takes in that so many items, or requests, of `what` were refused now.
    pub fn refused(&self, what: &'static str, items: usize, failure: &Failure, clock: &Clock) {
        let now = clock.now();
        let mut refusals = self.lock();
        let refusal = refusals.entry(what).or_insert_with(|| Refusal {
            since: clock.unix_nanos(),
            last: now,
            items: 0,
            why: String::new(),
        });
        refusal.last = now;
        refusal.items = refusal.items.saturating_add(items);
        refusal.why = match failure.component() {
            "" => failure.message().to_owned(),
            component => format!("{component}: {}", failure.message()),
        };
    }

    /// What the source has to say of itself now, when `status` is what it knows apart from this.
    #[must_use]
    pub fn told_in(&self, mut status: SourceStatus, clock: &Clock) -> SourceStatus {
        let mut refusals = self.lock();
        refusals.retain(|_, refusal| clock.now().since(refusal.last) < LATELY);
        let said: Vec<String> = refusals.iter().map(|(what, refusal)| refusal.sentence(what)).collect();
        if said.is_empty() {
            return status;
        }
        // What it waits for may be what is refused.
        if status.message.is_empty() || status.state == "waiting" {
            status.message = said.join("; ");
        } else {
            status.message = format!("{}; {}", said.join("; "), status.message);
        }
        if status.state != "failed" {
            status.state = "degraded";
        }
        status
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal {
    fn sentence(&self, what: &str) -> String {
        let since = jiff::Timestamp::from_nanosecond(i128::from(self.since)).unwrap_or_default();
        let again = match what == Signal::Metrics.name() {
            true => "what they count comes again with the next collection; ",
            false => "",
        };
        format!(
            "{what} are refused since {since:.0}, {} so far: {}; {again}give what refuses them more room, or it less to do",
            self.items, self.why
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::TimeSource;

    /// A machine that has run for so many seconds, and what its wall clock shows.
    #[derive(Default)]
    struct Machine {
        runs: AtomicU64,
        shows: AtomicU64,
    }

    impl Machine {
        fn is_at(&self, runs: u64, shows: u64) {
            self.runs.store(runs, Ordering::Relaxed);
            self.shows.store(shows, Ordering::Relaxed);
        }
    }

    impl TimeSource for Machine {
        fn now(&self) -> Instant {
            Instant::default() + Duration::from_secs(self.runs.load(Ordering::Relaxed))
        }

        fn unix_nanos(&self) -> u64 {
            self.shows.load(Ordering::Relaxed) * 1_000_000_000
        }

        fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }

        fn random(&self) -> u64 {
            0
        }
    }

    fn machine() -> (Arc<Machine>, Clock) {
        let machine = Arc::<Machine>::default();
        (Arc::clone(&machine), Clock::new(machine))
    }

    fn status(state: &'static str, message: &str) -> SourceStatus {
        SourceStatus { kind: "events", state, last: 0, message: message.to_owned() }
    }

    #[test]
    fn a_source_that_is_refused_says_so_with_reason_and_since_when_until_it_is_taken_again() {
        let (acceptance, (machine, clock)) = (Acceptance::default(), machine());
        let failure = Failure::retry("data refused due to high memory usage").reported_by("memory_limiter");
        machine.is_at(1, 1);
        acceptance.heard("metrics", 3, &Err(failure.clone()), &clock);
        machine.is_at(9, 9);
        acceptance.heard("metrics", 4, &Err(failure), &clock);
        let told = acceptance.told_in(status("ok", ""), &clock);
        assert_eq!(told.state, "degraded");
        let begin = "metrics are refused since 1970-01-01T00:00:01Z, 7 so far: memory_limiter: data refused due to high \
                     memory usage; ";
        assert!(told.message.starts_with(begin), "{}", told.message);
        acceptance.heard("metrics", 1, &Ok(()), &clock);
        assert_eq!(acceptance.told_in(status("ok", ""), &clock), status("ok", ""));
    }

    #[test]
    fn who_is_refused_does_not_wait_for_anybody_and_what_is_worse_is_still_said() {
        let (acceptance, (_, clock)) = (Acceptance::default(), machine());
        acceptance.refused("requests", 1, &Failure::retry("full"), &clock);
        let told = acceptance.told_in(status("waiting", "no event has come yet"), &clock);
        assert!(told.state == "degraded" && !told.message.contains("no event"), "{told:?}");
        let told = acceptance.told_in(status("failed", "no netlink"), &clock);
        assert!(told.state == "failed" && told.message.ends_with("; no netlink"), "{told:?}");
    }

    #[test]
    fn a_refusal_of_one_that_has_gone_away_is_over_after_a_while_however_the_wall_clock_is_set() {
        let (acceptance, (machine, clock)) = (Acceptance::default(), machine());
        machine.is_at(0, 10_000);
        acceptance.refused("requests", 1, &Failure::retry("full"), &clock);
        for (runs, shows, state) in [(299, 90_000, "degraded"), (299, 0, "degraded"), (300, 0, "ok")] {
            machine.is_at(runs, shows);
            assert_eq!(acceptance.told_in(status("ok", ""), &clock).state, state, "{runs} {shows}");
        }
    }
}
