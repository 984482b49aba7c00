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
    /// Told when in one of them something is done that is not synced.
    unsynced: Arc<Notify>,
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

    pub(crate) fn queues(&self) -> Vec<Arc<Shared>> {
        self.places().values().filter_map(|place| place.queue.upgrade()).collect()
    }

    pub(crate) fn unsynced(&self) -> Arc<Notify> {
        Arc::clone(&self.unsynced)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
