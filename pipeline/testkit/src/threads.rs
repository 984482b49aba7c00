//! Threads that hang.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, pending, ready};
use weir_component::Blocking;

/// Threads for blocking work, which is done at once until they [hang](Threads::hang).
#[derive(Default)]
pub struct Threads {
    hang: AtomicBool,
    busy: Mutex<VecDeque<Box<dyn FnOnce() + Send>>>,
}

impl Threads {
    /// From now on what begins does not end by itself, also when nobody waits for it any more.
    pub fn hang(&self) {
        self.hang.store(true, Ordering::Relaxed);
    }

    /// How many hang.
    pub fn busy(&self) -> usize {
        self.lock().len()
    }

    /// Lets the one that has hung longest do its work. Whether there was one.
    pub fn end_one(&self) -> bool {
        let first = self.lock().pop_front();
        first.map(|work| work()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<dyn FnOnce() + Send>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        if self.hang.load(Ordering::Relaxed) {
            self.lock().push_back(work);
            return Box::pin(pending());
        }
        work();
        Box::pin(ready(()))
    }
}
