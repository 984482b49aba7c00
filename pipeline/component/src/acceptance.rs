//! Whether the pipelines take what a source of evidence hands over, and what the source says of itself when they do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use weir_pdata::{Payload, Signal};

use crate::{Batch, Clock, Failure, Instant, Outcome, Output, Receipt, SourceStatus};

/// A refusal that nothing followed for so long is over: who was refused has gone away. In ns.
const LATELY: u64 = 300_000_000_000;

/// What became of what a source handed over, and of the requests that came to it. Cheap to clone; all clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Acceptance(Arc<Mutex<BTreeMap<&'static str, Refusal>>>);

/// What is refused now, by a name in the plural.
#[derive(Debug)]
struct Refusal {
    /// Unix ns of the first.
    since: u64,
    /// Unix ns of the last.
    last: u64,
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
        receipt.observe(move |outcome| known.heard(what, items, outcome, time.unix_nanos()));
        output.send(Batch { payload, receipt, context: Arc::default() }).await;
        match select(settled, clock.sleep_until(until)).await {
            Either::Left((outcome, _)) => outcome.is_err(),
            Either::Right(_) => false,
        }
    }

    /// Takes in what became of so many items, or requests, of `what` at `now` (Unix ns).
    pub fn heard(&self, what: &'static str, items: usize, outcome: &Outcome, now: u64) {
        match outcome {
            Ok(()) => drop(self.lock().remove(what)),
            Err(failure) => self.refused(what, items, failure, now),
        }
    }

    /// Takes in that so many items, or requests, of `what` were refused at `now` (Unix ns).
    pub fn refused(&self, what: &'static str, items: usize, failure: &Failure, now: u64) {
        let mut refusals = self.lock();
        let refusal = refusals.entry(what).or_insert_with(|| Refusal {
            since: now,
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

    /// What the source has to say of itself at `now` (Unix ns), when `status` is what it knows apart from this.
    #[must_use]
    pub fn told_in(&self, mut status: SourceStatus, now: u64) -> SourceStatus {
        let mut refusals = self.lock();
        refusals.retain(|_, refusal| now.saturating_sub(refusal.last) < LATELY);
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
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn status(state: &'static str, message: &str) -> SourceStatus {
        SourceStatus { kind: "events", state, last: 0, message: message.to_owned() }
    }

    #[test]
    fn a_source_that_is_refused_says_so_with_reason_and_since_when_until_it_is_taken_again() {
        let acceptance = Acceptance::default();
        let failure = Failure::retry("data refused due to high memory usage").reported_by("memory_limiter");
        acceptance.heard("metrics", 3, &Err(failure.clone()), SECOND);
        acceptance.heard("metrics", 4, &Err(failure), 9 * SECOND);
        let told = acceptance.told_in(status("ok", ""), 10 * SECOND);
        assert_eq!(told.state, "degraded");
        let begin = "metrics are refused since 1970-01-01T00:00:01Z, 7 so far: memory_limiter: data refused due to high \
                     memory usage; ";
        assert!(told.message.starts_with(begin), "{}", told.message);
        acceptance.heard("metrics", 1, &Ok(()), 11 * SECOND);
        assert_eq!(acceptance.told_in(status("ok", ""), 12 * SECOND), status("ok", ""));
    }

    #[test]
    fn who_is_refused_does_not_wait_for_anybody_and_what_is_worse_is_still_said() {
        let acceptance = Acceptance::default();
        acceptance.refused("requests", 1, &Failure::retry("full"), 0);
        let told = acceptance.told_in(status("waiting", "no event has come yet"), SECOND);
        assert!(told.state == "degraded" && !told.message.contains("no event"), "{told:?}");
        let told = acceptance.told_in(status("failed", "no netlink"), SECOND);
        assert!(told.state == "failed" && told.message.ends_with("; no netlink"), "{told:?}");
        let later = acceptance.told_in(status("ok", ""), LATELY + SECOND);
        assert_eq!(later, status("ok", ""), "whom it refused has gone away");
    }
}
