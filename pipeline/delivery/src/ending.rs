//! The end of a delivery: nothing comes in any more, and then the agent ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The end of the agent, as its deliveries hear of it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ending(Arc<Once>);

impl Ending {
    /// From now on no delivery waits for a retry or for room: what it holds in memory gets one more attempt. What is in a
    /// queue on disk goes on as its settings say until the delivery is dropped, and then stays there.
    pub fn begin(&self) {
        self.0.happen();
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_happened()
    }

    /// Completes when it has begun.
    pub(crate) async fn begun(&self) {
        self.0.wait().await;
    }
}

/// Items whose senders heard success and that were not delivered before the agent ended.
#[derive(Debug, Clone, Default)]
pub struct Undelivered(Arc<AtomicUsize>);

impl Undelivered {
    /// How many so far.
    pub fn items(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, items: usize) {
        self.0.fetch_add(items, Ordering::Relaxed);
    }
}

/// The last part of a delivery's life.
pub(crate) struct Draining {
    closed: Once,
    ending: Ending,
    /// What is left is not lost: its queue is on disk.
    keeps: bool,
}

impl Draining {
    /// Of a delivery that hears of `ending`, and whether its queue keeps what is left.
    pub(crate) fn before(ending: &Ending, keeps: bool) -> Draining {
        Draining { closed: Once::default(), ending: ending.clone(), keeps }
    }

    /// The end that it hears of.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Nothing comes in any more.
    pub(crate) fn close(&self) {
        self.closed.happen();
    }

    /// Completes when nothing comes in any more.
    pub(crate) async fn closed(&self) {
        self.closed.wait().await;
    }

    /// Whether what cannot be sent now is kept for later.
    pub(crate) fn keeps_the_rest(&self) -> bool {
        self.keeps && self.closed.has_happened()
    }

    /// Whether no retry waits any more.
    ///
    /// With what is in memory the end of the agent suffices: whoever waits for a result or for room, at this delivery or
    /// at another one behind the same receiver, keeps this one from being closed.
    pub(crate) fn has_begun(&self) -> bool {
        if self.keeps { self.closed.has_happened() } else { self.ending.has_begun() }
    }

    /// Completes when no retry waits any more.
    pub(crate) async fn begun(&self) {
        if self.keeps { self.closed.wait().await } else { self.ending.begun().await }
    }
}

/// Something that happens once. Those that wait for it are woken in the order in which they came, so that a simulated
/// run can be repeated.
#[derive(Default)]
struct Once {
    happened: AtomicBool,
    notify: Notify,
}

impl Once {
    fn happen(&self) {
        self.happened.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    fn has_happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    async fn wait(&self) {
        // Made before the look at the flag: from here on it hears a notification.
        let notified = self.notify.notified();
        if !self.has_happened() {
            notified.await;
        }
    }
}
