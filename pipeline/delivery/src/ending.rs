//! The end of a delivery.
//!
//! # The moments of a stop
//! 1. *The end begins* ([`Ending::begin`]), at once. Receivers stop; they have half of the time.
//! 2. *A delivery is closed* when the last handle to it is gone: nothing comes in any more. Who waits for room or for a result
//!    holds a handle, here or at another delivery behind the same receiver, and so does what stands in front of it and drains.
//!    So what must not wait for it follows from the first moment.
//! 3. *The last call* ([`Ending::last_call`]), after three quarters of the time.
//! 4. *The deadline*: the dispatcher is dropped.
//!
//! A reload that takes an exporter out only closes its delivery; the others come when the agent ends.
//!
//! What happens then follows from what becomes of what cannot be delivered ([`Rest`]):
//!
//! | | lost: in memory | moved: in memory, and a storage runs | stays: on disk |
//! |---|---|---|---|
//! | the end begins | pauses before retries end, what is held gets one more attempt; acknowledged batches get in, others are refused | the same; what the attempt does not deliver is moved | who waits for room is refused |
//! | closed | what is queued is sent | the same | pauses end, nothing is taken any more; attempts under way run to their answer |
//! | last call | | attempts are broken off, all that is left is moved | |
//! | deadline | what is left is counted as undelivered | the same | |
//!
//! What an earlier process [moved](crate::spill) is a queue on disk; it is closed when the end begins already.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
#[cfg(doc)]
use weir_component::QueueSettings;

use crate::spill::Spill;

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
    /// What is left is on disk.
    stays: bool,
    /// Set when there is somewhere to move to.
    spill: OnceLock<Spill>,
}

/// What becomes of what cannot be delivered before the end.
#[derive(Clone, Copy)]
pub(crate) enum Rest<'a> {
    /// Nobody has it any more.
    Lost,
    /// It was in memory and is moved there.
    Moved(&'a Spill),
    /// It is on disk and stays there.
    Stays,
}

impl Draining {
    /// Of a delivery that hears of `ending`, and whether what it cannot deliver is on disk.
    pub(crate) fn before(ending: &Ending, stays: bool) -> Draining {
        Draining { closed: Once::default(), ending: ending.clone(), stays, spill: OnceLock::new() }
    }

    /// From now on what is left in memory is moved there.
    pub(crate) fn move_to(&self, spill: Spill) {
        // A second opening finds the first one, which is as good.
        drop(self.spill.set(spill));
    }

    /// What becomes of what is left.
    pub(crate) fn rest(&self) -> Rest<'_> {
        match self.spill.get() {
            _ if self.stays => Rest::Stays,
            Some(spill) => Rest::Moved(spill),
            None => Rest::Lost,
        }
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
        !matches!(self.rest(), Rest::Lost) && self.has_begun()
    }

    /// Whether what is not delivered stays on disk from now on.
    pub(crate) fn stays_now(&self) -> bool {
        self.stays && self.closed.has_happened()
    }

    /// Whether all that is left is being moved to disk, without an attempt.
    pub(crate) fn moves_now(&self) -> bool {
        self.ending.0.last_call.has_happened() && matches!(self.rest(), Rest::Moved(_))
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
        if self.stays { &self.closed } else { &self.ending.0.begun }
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
