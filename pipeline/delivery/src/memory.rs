//! The memory queue: bounded by a count and by bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use weir_component::{Batch, Failure, QueueSettings, Sizer};

use crate::counts::QueueCounts;
use crate::queue::{self, Load, Queue, Room};

/// A [`Queue`] in memory.
pub(crate) struct MemoryQueue {
    settings: QueueSettings,
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
    counts: Arc<QueueCounts>,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    used: usize,
    bytes: usize,
    /// Items that were put in and are not settled yet.
    items: usize,
    closed: bool,
    /// Somebody was refused since the dispatcher last asked.
    pressed: bool,
}

impl MemoryQueue {
    /// An empty queue that shows its size in `counts`.
    pub(crate) fn new(settings: QueueSettings, counts: Arc<QueueCounts>) -> MemoryQueue {
        MemoryQueue {
            settings,
            state: Mutex::default(),
            readable: Notify::new(),
            writable: Notify::new(),
            counts,
        }
    }

    /// Room that `batch` needs.
    fn room(&self, batch: &Batch) -> Room {
        let count = match self.settings.sizer {
            Sizer::Requests => 1,
            Sizer::Items => batch.payload.items(),
            Sizer::Bytes => batch.payload.encoded_len(),
        };
        Room { count, bytes: batch.payload.encoded_len() }
    }

    /// The bound in bytes: a queue that counts bytes has it from `queue_size`.
    fn max_bytes(&self) -> usize {
        match self.settings.sizer {
            Sizer::Bytes => self.settings.queue_size,
            Sizer::Requests | Sizer::Items => self.settings.max_bytes,
        }
    }

    fn try_put(&self, state: &mut State, batch: Batch, room: Room) -> Result<(), (Batch, Failure)> {
        if state.closed {
            return Err((batch, queue::closed()));
        }
        if state.used + room.count > self.settings.queue_size || state.bytes + room.bytes > self.max_bytes() {
            state.pressed = true;
            return Err((batch, queue::full()));
        }
        state.used += room.count;
        state.bytes += room.bytes;
        state.items += batch.payload.items();
        state.batches.push_back(batch);
        self.counts.size.set(state.used);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn put(&self, batch: Batch) -> Result<(), (Batch, Failure)> {
        let room = self.room(&batch);
        if room.count > self.settings.queue_size || room.bytes > self.max_bytes() {
            let failure = Failure::permanent(format!(
                "element size too large: {} items in {} bytes do not fit into the sending_queue (queue_size {}, \
                 {} bytes); send smaller requests or raise queue_size",
                batch.payload.items(),
                room.bytes,
                self.settings.queue_size,
                self.max_bytes()
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

    async fn take(&self) -> Option<Load> {
        loop {
            let readable = self.readable.notified();
            {
                let mut state = self.lock();
                if let Some(batch) = state.batches.pop_front() {
                    let room = self.room(&batch);
                    return Some(Load { batch, room });
                }
                if state.closed {
                    return None;
                }
            }
            readable.await;
        }
    }

    fn is_pressed(&self) -> bool {
        let mut state = self.lock();
        let full = state.used >= self.settings.queue_size || state.bytes >= self.max_bytes();
        std::mem::take(&mut state.pressed) || full
    }

    async fn release(&self, room: Room, items: usize) {
        let mut state = self.lock();
        state.items = state.items.saturating_sub(items);
        state.used = state.used.saturating_sub(room.count);
        state.bytes = state.bytes.saturating_sub(room.bytes);
        self.counts.size.set(state.used);
        drop(state);
        self.writable.notify_waiters();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.readable.notify_one();
        self.writable.notify_waiters();
    }

    fn abandon(&self) -> usize {
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

    fn is_durable(&self) -> bool {
        false
    }
}
