//! The memory queue: bounded by a count and by bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_component::{Batch, Failure, QueueSettings, Sizer};

use crate::counts::QueueCounts;

/// A bounded first-in first-out queue. What was taken keeps its room until it is [released](MemoryQueue::release).
pub(crate) struct MemoryQueue {
    settings: QueueSettings,
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
    pub(crate) counts: QueueCounts,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    used: usize,
    bytes: usize,
    /// Items that were put in and are not settled yet.
    items: usize,
    closed: bool,
}

/// Room that a batch occupies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    count: usize,
    bytes: usize,
}

impl Room {
    pub(crate) fn add(&mut self, other: Room) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

impl MemoryQueue {
    /// An empty queue that shows its size in `counts`.
    pub(crate) fn new(settings: QueueSettings, counts: QueueCounts) -> MemoryQueue {
        MemoryQueue {
            settings,
            state: Mutex::default(),
            readable: Notify::new(),
            writable: Notify::new(),
            counts,
        }
    }

    /// Whether senders hear success when their batch is in the queue, before it is delivered.
    pub(crate) fn acknowledges(&self) -> bool {
        !self.settings.wait_for_result
    }

    /// Room that `batch` needs.
    pub(crate) fn room(&self, batch: &Batch) -> Room {
        let count = match self.settings.sizer {
            Sizer::Requests => 1,
            Sizer::Items => batch.payload.items(),
            Sizer::Bytes => batch.payload.encoded_len(),
        };
        Room { count, bytes: batch.payload.encoded_len() }
    }

    /// Puts a batch in; waits for room only with `block_on_overflow`.
    ///
    /// # Errors
    /// The batch and why it was refused: full (retryable), larger than the whole queue (permanent), closed.
    pub(crate) async fn put(&self, batch: Batch) -> Result<(), (Batch, Failure)> {
        let room = self.room(&batch);
        if room.count > self.settings.queue_size || room.bytes > self.settings.max_bytes {
            let failure = Failure::permanent(format!(
                "element size too large: {} items in {} bytes do not fit into the sending_queue (queue_size {}, \
                 {} bytes); send smaller requests or raise queue_size",
                batch.payload.items(),
                room.bytes,
                self.settings.queue_size,
                self.settings.max_bytes
            ));
            return Err((batch, failure));
        }
        let mut waiting = Some(batch);
        loop {
            let writable = self.writable.notified();
            {
                let mut state = self.lock();
                if let Some(batch) = waiting.take() {
                    match self.try_put(&mut state, batch, room) {
                        Ok(()) => break,
                        Err((batch, failure)) if state.closed || !self.settings.block_on_overflow => {
                            return Err((batch, failure));
                        }
                        Err((batch, _)) => waiting = Some(batch),
                    }
                }
            }
            writable.await;
        }
        self.readable.notify_one();
        Ok(())
    }

    fn try_put(&self, state: &mut State, batch: Batch, room: Room) -> Result<(), (Batch, Failure)> {
        if state.closed {
            return Err((batch, Failure::retry("the exporter is shutting down")));
        }
        if state.used + room.count > self.settings.queue_size
            || state.bytes + room.bytes > self.settings.max_bytes
        {
            return Err((batch, Failure::retry("sending queue is full")));
        }
        state.used += room.count;
        state.bytes += room.bytes;
        state.items += batch.payload.items();
        state.batches.push_back(batch);
        self.counts.size.set(state.used);
        Ok(())
    }

    /// The next batch; `None` when the queue is closed and empty. Cancel-safe.
    pub(crate) async fn take(&self) -> Option<Batch> {
        loop {
            let readable = self.readable.notified();
            {
                let mut state = self.lock();
                if let Some(batch) = state.batches.pop_front() {
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            readable.await;
        }
    }

    /// Gives back the room of what was taken; `items` of it are settled.
    pub(crate) fn release(&self, room: Room, items: usize) {
        let mut state = self.lock();
        state.items = state.items.saturating_sub(items);
        state.used = state.used.saturating_sub(room.count);
        state.bytes = state.bytes.saturating_sub(room.bytes);
        self.counts.size.set(state.used);
        drop(state);
        self.writable.notify_waiters();
    }

    /// Nothing is put in any more; what is there can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.readable.notify_one();
        self.writable.notify_waiters();
    }

    /// Closes the queue, drops what is in it, and returns how many items were accepted and never settled.
    pub(crate) fn abandon(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let lost = std::mem::take(&mut state.items);
        let batches = std::mem::take(&mut state.batches);
        (state.used, state.bytes) = (0, 0);
        self.counts.size.set(0);
        drop(state);
        // Their receipts speak here, outside the lock.
        drop(batches);
        self.writable.notify_waiters();
        lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
