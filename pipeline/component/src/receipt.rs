//! The one channel of truth about what became of a batch.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};

use tokio::sync::oneshot;

use crate::Failure;

/// What became of a batch: accepted by all who had to, or the failure that its sender must hear.
pub type Outcome = Result<(), Failure>;

/// The duty to say what became of a batch.
///
/// Whoever holds a receipt holds the responsibility for the data. [`settle`](Receipt::settle) ends it;
/// [`fork`](Receipt::fork) makes one more holder (fan-out: the sender hears when all have settled);
/// [`join`](Receipt::join) takes over the duty for another batch (merge: one settlement answers for all). Of several
/// outcomes the worst wins ([`Failure::worse`]). A receipt that is dropped unsettled reports [`Failure::abandoned`],
/// so that a bug or a panic becomes the sender's retry and never a silent loss.
///
/// A sender that drops its [`Settled`] has gone away with its data: who has not begun to send that need not any more
/// ([`is_forsaken`](Receipt::is_forsaken)).
#[derive(Debug, Default)]
pub struct Receipt {
    shares: Vec<Share>,
    patience: Patience,
    /// Somebody's data that is nowhere else.
    sole: bool,
}

/// How long a batch that finds no room is kept waiting for it before it is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// Not at all: its sender has the data still and hears that it has to send it again.
    #[default]
    None,
    /// A moment: it was acknowledged, but others that want room elsewhere wait behind it.
    Short,
    /// Until there is room: it was acknowledged, and all that wait behind it want the same room.
    Long,
}

/// One holder's part in one sender's wait.
#[derive(Debug)]
struct Share(Arc<Wait>);

#[derive(Debug)]
struct Wait(Mutex<State>);

struct State {
    open: usize,
    failure: Option<Failure>,
    done: Option<Done>,
}

/// Who hears the outcome.
enum Done {
    Sender(oneshot::Sender<Outcome>),
    Observer(Box<dyn FnOnce(&Outcome) + Send>),
}

impl Done {
    fn tell(self, outcome: Outcome) {
        match self {
            // The sender may have gone away; then nobody wants to know.
            Done::Sender(sender) => drop(sender.send(outcome)),
            Done::Observer(observe) => observe(&outcome),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open, {:?}", self.open, self.failure)
    }
}

/// The sender's end: a future of the outcome. Who drops it has gone away and has its data still, unless the receipt is
/// [`lasting`](Receipt::lasting).
#[derive(Debug)]
pub struct Settled(oneshot::Receiver<Outcome>);

impl Receipt {
    /// A receipt and the future that completes when it is settled by all its holders.
    pub fn new() -> (Receipt, Settled) {
        let (done, outcome) = oneshot::channel();
        (Receipt::told(Done::Sender(done)), Settled(outcome))
    }

    /// A receipt whose outcome is told to `observer`, in the task that settles last; it must be quick and not block.
    /// Joined to another receipt it sees what the sender hears. It is [`lasting`](Receipt::lasting): an observer has no data.
    pub fn observed(observer: impl FnOnce(&Outcome) + Send + 'static) -> Receipt {
        Receipt::told(Done::Observer(Box::new(observer))).lasting()
    }

    fn told(done: Done) -> Receipt {
        // Room for an observer too, which most receipts get.
        let mut shares = Vec::with_capacity(2);
        shares.push(Share::of(done));
        Receipt { shares, patience: Patience::None, sole: false }
    }

    /// The same duty, also when nobody waits for the outcome any more: there is no other copy of the data.
    #[must_use]
    pub fn lasting(mut self) -> Receipt {
        self.sole = true;
        self
    }

    /// The same duty, for a batch that waits for room that long.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Receipt {
        self.patience = patience;
        self
    }

    /// How long the batch waits for room.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Tells the outcome to `observer` too, as [`Receipt::observed`].
    pub fn observe(&mut self, observer: impl FnOnce(&Outcome) + Send + 'static) {
        self.shares.push(Share::of(Done::Observer(Box::new(observer))));
    }

    /// A receipt for telemetry that nobody waits for: the agent's own, or what was acknowledged.
    pub fn unattended() -> Receipt {
        Receipt::default().lasting()
    }

    /// One more holder of the same duty, who is not to hold up the others for long.
    #[must_use]
    pub fn fork(&self) -> Receipt {
        let shares = self.shares.iter().map(Share::fork).collect();
        Receipt { shares, patience: self.patience.min(Patience::Short), sole: self.sole }
    }

    /// Takes over the duties of `other`; the less patient of the two counts.
    pub fn join(&mut self, mut other: Receipt) {
        self.patience = self.patience.min(other.patience);
        self.sole |= other.sole;
        self.shares.append(&mut other.shares);
    }

    /// Says what became of the batch.
    pub fn settle(mut self, outcome: Outcome) {
        for share in std::mem::take(&mut self.shares) {
            share.settle(outcome.clone());
        }
    }

    /// Whether anybody waits for the outcome.
    pub fn is_attended(&self) -> bool {
        !self.shares.is_empty()
    }

    /// Whether somebody's data is in the batch that is nowhere else.
    pub fn is_sole(&self) -> bool {
        self.sole
    }

    /// Whether all senders that it is owed to have gone away with their data. What is sent nevertheless comes twice when they
    /// come again.
    pub fn is_forsaken(&self) -> bool {
        let mut senders = self.shares.iter().filter_map(Share::has_left).peekable();
        !self.sole && senders.peek().is_some() && senders.all(|left| left)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.shares.is_empty() {
            let lost = Failure::abandoned("the batch was dropped before anybody said what became of it");
            for share in std::mem::take(&mut self.shares) {
                share.settle(Err(lost.clone()));
            }
        }
    }
}

impl Share {
    fn of(done: Done) -> Share {
        let state = State { open: 1, failure: None, done: Some(done) };
        Share(Arc::new(Wait(Mutex::new(state))))
    }

    fn fork(&self) -> Share {
        self.0.state(|state| state.open += 1);
        Share(Arc::clone(&self.0))
    }

    /// Whether the sender has gone away, where there is one.
    fn has_left(&self) -> Option<bool> {
        self.0.state(|state| match &state.done {
            Some(Done::Sender(sender)) => Some(sender.is_closed()),
            Some(Done::Observer(_)) | None => None,
        })
    }

    fn settle(self, outcome: Outcome) {
        let finished = self.0.state(|state| {
            if let Err(failure) = outcome {
                state.failure = Some(match state.failure.take() {
                    Some(earlier) => earlier.worse(failure),
                    None => failure,
                });
            }
            state.open -= 1;
            if state.open > 0 {
                return None;
            }
            state.done.take().map(|done| (done, state.failure.take()))
        });
        if let Some((done, failure)) = finished {
            done.tell(failure.map_or(Ok(()), Err));
        }
    }
}

impl Wait {
    fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Future for Settled {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|sent| sent.unwrap_or_else(|_| Err(Failure::abandoned("the receipt was lost"))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::Kind;

    fn outcome(settled: &mut Settled) -> Option<Outcome> {
        settled.now_or_never()
    }

    #[test]
    fn a_forked_receipt_completes_when_all_holders_have_settled() {
        let (receipt, mut settled) = Receipt::new();
        let other = receipt.fork();
        receipt.settle(Ok(()));
        assert!(outcome(&mut settled).is_none());
        other.settle(Err(Failure::permanent("no")));
        assert_eq!(outcome(&mut settled).expect("settled").expect_err("failed").message(), "no");
    }

    #[test]
    fn a_joined_receipt_answers_all_its_senders() {
        let (mut first, mut a) = Receipt::new();
        let (second, mut b) = Receipt::new();
        first.join(second);
        assert!(outcome(&mut a).is_none() && outcome(&mut b).is_none());
        first.settle(Ok(()));
        assert!(outcome(&mut a).is_some_and(|o| o.is_ok()) && outcome(&mut b).is_some_and(|o| o.is_ok()));
    }

    #[test]
    fn several_holders_wait_a_moment_and_a_sender_that_hears_a_refusal_does_not_wait() {
        let alone = Receipt::unattended().with_patience(Patience::Long);
        assert_eq!((alone.fork().patience(), alone.patience()), (Patience::Short, Patience::Long));
        let mut merged = alone;
        merged.join(Receipt::new().0);
        assert_eq!(merged.patience(), Patience::None);
    }

    #[test]
    fn a_receipt_is_forsaken_when_all_its_senders_have_gone_away_and_nobody_else_has_the_data() {
        let (mut receipt, settled) = Receipt::new();
        receipt.observe(|_| {});
        assert!(!receipt.is_forsaken());
        drop(settled);
        assert!(receipt.is_forsaken() && receipt.fork().is_forsaken());
        let (other, settled) = Receipt::new();
        receipt.join(other);
        assert!(!receipt.is_forsaken(), "one of two");
        drop(settled);
        receipt.join(Receipt::default());
        assert!(receipt.is_forsaken());
        let gone = || Receipt::new().0;
        for sole in [Receipt::unattended(), Receipt::observed(|_| {}), gone().lasting()] {
            assert!(!sole.is_forsaken());
            let mut joined = gone();
            joined.join(sole);
            assert!(!joined.is_forsaken());
        }
    }

    #[test]
    fn a_dropped_receipt_is_reported_as_abandoned() {
        let (receipt, mut settled) = Receipt::new();
        drop(receipt);
        let failure = outcome(&mut settled).expect("settled").expect_err("failed");
        assert_eq!(failure.kind(), Kind::Abandoned);
        assert!(failure.is_retryable());
    }
}
