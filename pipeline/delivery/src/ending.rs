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
//! | last call | | attempts are broken off, all that is left is moved | attempts are broken off |
//! | deadline | what is left is counted as undelivered | the same | |
//!
//! What an earlier process [moved](crate::spill) is a queue on disk; it is closed when the end begins already. Where what is to
//! be moved cannot be, it is lost like the rest, and nothing is broken off.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::select;
use tokio::sync::Notify;
use weir_component::Storage;

use crate::spill::Spill;

/// The end of the agent, as its deliveries hear of it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ending(Arc<Moments>);

#[derive(Default)]
struct Moments {
    begun: Once,
    last_call: Once,
    storage: Mutex<Option<Arc<dyn Storage>>>,
}

impl Ending {
    /// From now on no delivery waits for a retry or for room: what it holds in memory gets one more attempt. What is in a
    /// queue on disk goes on as its settings say until the delivery is dropped, and then stays there.
    pub fn begin(&self) {
        self.0.begun.happen();
    }

    /// What deliveries that name no storage cannot deliver before the end is moved there, from now on and until the next call.
    pub fn move_to(&self, storage: Option<Arc<dyn Storage>>) {
        *self.0.storage.lock().unwrap_or_else(PoisonError::into_inner) = storage;
    }

    /// From now on nothing more is attempted with what is on disk or can be [moved](Ending::move_to) there: it is, while there
    /// is time.
    pub fn last_call(&self) {
        self.0.last_call.happen();
    }

    pub(crate) fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.0.storage.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
pub(crate) enum Rest {
    /// Nobody has it any more.
    Lost,
    /// It was in memory, and is moved to disk if there is somewhere to move to.
    Moved(Spill),
    /// It is on disk and stays there.
    Stays,
}

impl Draining {
    /// Of a delivery that hears of `ending`.
    pub(crate) fn before(ending: &Ending, rest: Rest) -> Draining {
        Draining { closed: Once::default(), ending: ending.clone(), rest }
    }

    /// What becomes of what is left.
    pub(crate) fn rest(&self) -> &Rest {
        &self.rest
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

    /// Completes when nothing comes in any more, or the agent begins to end.
    pub(crate) async fn over(&self) {
        select(pin!(self.closed.wait()), pin!(self.ending.begun())).await;
    }

    /// Whether what cannot be sent now is kept for later.
    pub(crate) async fn keeps_the_rest(&self) -> bool {
        match &self.rest {
            Rest::Lost => false,
            Rest::Moved(spill) => self.has_begun() && spill.open().await,
            Rest::Stays => self.has_begun() || self.ending.0.last_call.has_happened(),
        }
    }

    /// Whether what is not delivered stays on disk from now on.
    pub(crate) fn stays_now(&self) -> bool {
        matches!(self.rest, Rest::Stays) && self.closed.has_happened()
    }

    /// Whether all that is left is being moved to disk, without an attempt.
    pub(crate) fn moves_now(&self) -> bool {
        matches!(&self.rest, Rest::Moved(spill) if spill.is_open()) && self.ending.0.last_call.has_happened()
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

    /// Whether attempts end with the last call, if something can be moved then: a reload may bring a storage meanwhile.
    pub(crate) fn has_last_call(&self) -> bool {
        !matches!(self.rest, Rest::Lost)
    }

    /// Completes when what is left is to stay on disk or to be moved there; never when it cannot be.
    pub(crate) async fn last_call(&self) {
        self.ending.0.last_call.wait().await;
        if let Rest::Moved(spill) = &self.rest
            && !spill.open().await
        {
            pending::<()>().await;
        }
    }

    fn begins(&self) -> &Once {
        if matches!(self.rest, Rest::Stays) { &self.closed } else { &self.ending.0.begun }
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
