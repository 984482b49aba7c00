//! The end of a delivery: nothing comes in any more, and then the agent ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
#[cfg(doc)]
use weir_component::QueueSettings;

/// The end of the agent, as its deliveries hear of it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ending(Arc<Moments>);

#[derive(Default)]
struct Moments {
    begun: Once,
    last_call: Once,
}

impl Ending {
    /// From now on no delivery waits for a retry or for room: what it holds in memory gets one more attempt. What is in a
    /// queue on disk goes on as its settings say until the delivery is dropped, and then stays there.
    pub fn begin(&self) {
        self.0.begun.happen();
    }

    /// From now on nothing more is attempted with what is in memory and can be [moved to disk](QueueSettings::spill): it
    /// is, while there is time.
    pub fn last_call(&self) {
        self.0.last_call.happen();
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun.has_happened()
    }

    /// Completes when it has begun.
    pub(crate) async fn begun(&self) {
        self.0.begun.wait().await;
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
    rest: Rest,
}

/// What becomes of what cannot be delivered before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nobody has it any more.
    Lost,
    /// It was in memory and is moved to disk.
    Moved,
    /// It is on disk and stays there.
    Stays,
}

impl Draining {
    /// Of a delivery that hears of `ending`.
    pub(crate) fn before(ending: &Ending, rest: Rest) -> Draining {
        Draining { closed: Once::default(), ending: ending.clone(), rest }
    }

    /// What becomes of what is left.
    pub(crate) fn rest(&self) -> Rest {
        self.rest
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
        self.rest != Rest::Lost && self.has_begun()
    }

    /// Whether no retry waits any more.
    ///
    /// With what is in memory the end of the agent suffices: whoever waits for a result or for room, at this delivery or
    /// at another one behind the same receiver, keeps this one from being closed.
    pub(crate) fn has_begun(&self) -> bool {
        self.begins().has_happened()
    }

    /// Completes when no retry waits any more.
    pub(crate) async fn begun(&self) {
        self.begins().wait().await;
    }

    /// Completes when what is left is to be moved to disk.
    pub(crate) async fn last_call(&self) {
        self.ending.0.last_call.wait().await;
    }

    fn begins(&self) -> &Once {
        if self.rest == Rest::Stays { &self.closed } else { &self.ending.0.begun }
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
