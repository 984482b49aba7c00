//! The end of a delivery: nothing comes in any more, and then the agent ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The end of the agent, as its deliveries hear of it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ending(Arc<Once>);

impl Ending {
    /// From now on a delivery that has been dropped makes one more attempt for what it holds, and does not wait for
    /// retries. Without it, it goes on as its settings say.
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
    /// Without a queue nothing is left for later: those who bring something wait until it is sent, and so keep the delivery
    /// from being closed.
    queued: bool,
}

impl Draining {
    /// Of a delivery that hears of `ending`, and whether it has a queue.
    pub(crate) fn before(ending: &Ending, queued: bool) -> Draining {
        Draining { closed: Once::default(), ending: ending.clone(), queued }
    }

    /// The end that it hears of.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Nothing comes in any more.
    pub(crate) fn close(&self) {
        self.closed.happen();
    }

    /// Whether nothing comes in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.has_happened()
    }

    /// Completes when nothing comes in any more.
    pub(crate) async fn closed(&self) {
        self.closed.wait().await;
    }

    /// Whether what is left is to be sent now or never.
    pub(crate) fn has_begun(&self) -> bool {
        (self.closed.has_happened() || !self.queued) && self.ending.has_begun()
    }

    /// Completes when what is left is to be sent now or never.
    pub(crate) async fn begun(&self) {
        if self.queued {
            self.closed.wait().await;
        }
        self.ending.begun().await;
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
