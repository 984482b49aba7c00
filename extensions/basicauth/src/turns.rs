//! Turns at checking passwords, whose hashes are made to be dear.
//!
//! The threads for blocking work are shared with queues on disk and exporters of files: callers with wrong passwords must
//! not get all of them, nor all processors. A check that has begun cannot be ended and keeps its turn until it is done; a
//! caller who leaves before gives up his place.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Callers who may wait for a turn.
pub(crate) const PLACES: usize = 64;

/// Those of the agent, whatever the number of its authenticators.
pub(crate) struct Turns {
    at_once: Arc<Semaphore>,
    places: Semaphore,
}

impl Default for Turns {
    /// For half the processors, and at least one.
    fn default() -> Turns {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = Arc::new(Semaphore::new((processors / 2).max(1)));
        Turns { at_once, places: Semaphore::new(PLACES) }
    }
}

impl Turns {
    /// Waits for a turn; `None` at once when as many wait as may. Callers have theirs in the order in which they came.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.at_once).try_acquire_owned();
        if let Ok(turn) = free {
            return Some(turn);
        }
        let _place = self.places.try_acquire().ok()?;
        Arc::clone(&self.at_once).acquire_owned().await.ok()
    }
}
