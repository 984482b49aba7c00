//! The queues of an agent that are open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, OwnedMutexGuard};

use crate::queue::Shared;

/// The queues of an agent that are open, by directory: a reload opens one again before its former owner is gone.
#[derive(Default)]
pub(crate) struct Opened {
    places: Mutex<BTreeMap<PathBuf, Place>>,
    unsynced: Mutex<Unsynced>,
    /// Told when in one of them something is done that is not synced.
    told: Notify,
}

/// A directory.
#[derive(Default)]
struct Place {
    queue: Weak<Shared>,
    /// Held by who opens it.
    opening: Arc<tokio::sync::Mutex<()>>,
}

/// The right to open a queue, which one has at a time: the others find what that one has opened.
pub(crate) type Turn = OwnedMutexGuard<()>;

#[derive(Default)]
struct Unsynced {
    /// Kept open until they are synced, although their owners may be gone.
    queues: Vec<Arc<Shared>>,
    /// How many see to it that they are.
    tending: usize,
}

/// Sees to it that what is done is synced. As long as there is one, no queue is closed before.
pub(crate) struct Tending(Arc<Opened>);

impl Opened {
    /// Waits for the right to open the queue in a directory, or to find it open.
    pub(crate) async fn turn(&self, path: &Path) -> Turn {
        let opening = Arc::clone(&self.places().entry(path.to_owned()).or_default().opening);
        opening.lock_owned().await
    }

    pub(crate) fn find(&self, path: &Path) -> Option<Arc<Shared>> {
        self.places().get(path)?.queue.upgrade()
    }

    /// Whoever has the turn has opened it.
    pub(crate) fn add(&self, path: &Path, queue: &Arc<Shared>) {
        let mut places = self.places();
        places.retain(|_, place| place.queue.strong_count() > 0 || Arc::strong_count(&place.opening) > 1);
        places.entry(path.to_owned()).or_default().queue = Arc::downgrade(queue);
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let places = self.places();
        places
            .iter()
            .filter(|(_, place)| place.queue.strong_count() > 0)
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Has something synced that is done.
    pub(crate) fn sync_soon(&self, queue: &Arc<Shared>) {
        let mut unsynced = self.unsynced();
        if unsynced.tending > 0 && !unsynced.queues.iter().any(|kept| Arc::ptr_eq(kept, queue)) {
            unsynced.queues.push(Arc::clone(queue));
        }
        drop(unsynced);
        self.told.notify_one();
    }

    pub(crate) fn tend(self: &Arc<Self>) -> Tending {
        self.unsynced().tending += 1;
        Tending(Arc::clone(self))
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tending {
    /// Completes when something is done that is not synced.
    pub(crate) async fn told(&self) {
        self.0.told.notified().await;
    }

    /// Syncs what is done, and lets go of what is synced then.
    pub(crate) async fn sync(&self) {
        let queues: Vec<_> = self.0.places().values().filter_map(|place| place.queue.upgrade()).collect();
        for queue in queues {
            queue.sync_done().await;
        }
        // A queue that closes writes to the log: not under the lock.
        let synced: Vec<_> = self.0.unsynced().queues.extract_if(.., |queue| !queue.has_unsynced()).collect();
        drop(synced);
    }
}

impl Drop for Tending {
    fn drop(&mut self) {
        let left = {
            let mut unsynced = self.0.unsynced();
            unsynced.tending -= 1;
            if unsynced.tending > 0 { Vec::new() } else { std::mem::take(&mut unsynced.queues) }
        };
        drop(left);
    }
}
