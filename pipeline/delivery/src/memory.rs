//! The memory queue: bounded by a count and by bytes.
//!
//! # Who waits for room
//! A sender that still has its data is refused at once, unless `block_on_overflow`. What was acknowledged already
//! ([`Patience`]) would be lost by a refusal, so it waits: for a moment, or until there is room. It waits for a moment, too,
//! before the queue is full: once much is queued and the destination takes what it is sent, a queue that grew further would
//! only cost memory and delay, and the senders hear the true pace. A destination that takes nothing fills the queue up to
//! its bounds without a wait: for that it is there. [`admit`] decides.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::select;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use weir_component::{Batch, Budget, Clock, Failure, Instant, Patience, QueueSettings, Sizer};

use crate::admission::{Admission, Applicant, Obstacle, Wait, admit};
use crate::batching;
use crate::counts::{Part, QueueCounts};
use crate::ending::Ending;
use crate::queue::{self, Load, Parts, Queue, Room};
use crate::stall::Stall;

/// Bytes in the queue and under way beyond which what was acknowledged waits a moment while the destination keeps going.
const MUCH: usize = 8 << 20;

/// The moment. It is also what keeps a destination that is far away busy: one batch at least goes in for each.
const MOMENT: Duration = Duration::from_millis(50);

/// A destination that has finished nothing for so long does not keep going.
const STANDSTILL: Duration = Duration::from_secs(1);

/// A [`Queue`] in memory.
pub(crate) struct MemoryQueue {
    settings: QueueSettings,
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
    /// Told when somebody found no room.
    pressing: Notify,
    size: Part,
    stall: Stall,
    clock: Clock,
    ending: Ending,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    used: usize,
    bytes: usize,
    /// Items that were put in and are not settled yet.
    items: usize,
    closed: bool,
    /// Somebody found no room since the dispatcher last asked.
    pressed: bool,
    /// When something was last settled.
    released: Option<Instant>,
}

impl MemoryQueue {
    /// An empty queue that shows its size in `counts`, and in the log as `stall` that it is full.
    pub(crate) fn new(
        settings: QueueSettings,
        counts: &QueueCounts,
        stall: Stall,
        clock: Clock,
        ending: Ending,
    ) -> MemoryQueue {
        MemoryQueue {
            settings,
            state: Mutex::default(),
            readable: Notify::new(),
            writable: Notify::new(),
            pressing: Notify::new(),
            size: Part::new(&counts.size),
            stall,
            clock,
            ending,
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

    fn can_never_hold(&self, room: Room) -> bool {
        room.count > self.settings.queue_size || room.bytes > self.max_bytes()
    }

    /// What is in the way of a batch. The clock is only read where it matters.
    fn obstacle(&self, state: &State, room: Room, patience: Patience) -> Obstacle {
        let bytes = state.bytes + room.bytes;
        let keeps_going = || state.released.is_some_and(|at| self.clock.now() - at < STANDSTILL);
        if state.closed {
            Obstacle::Closed
        } else if state.used + room.count > self.settings.queue_size || bytes > self.max_bytes() {
            Obstacle::Full
        } else if patience > Patience::None && bytes > MUCH && keeps_going() {
            Obstacle::Much
        } else {
            Obstacle::None
        }
    }

    fn insert(&self, state: &mut State, batch: Batch, room: Room) {
        state.used += room.count;
        state.bytes += room.bytes;
        state.items += batch.payload.items();
        state.batches.push_back(batch);
        self.size.show(state.used);
    }

    /// Waits until there may be room, the agent ends, or that time has come.
    async fn wait(&self, room: Notified<'_>, until: Option<Instant>) {
        let (room, ending) = (pin!(room), pin!(self.ending.begun()));
        let change = select(room, ending);
        match until {
            None => {
                change.await;
            }
            Some(until) => {
                select(change, self.clock.sleep_until(until)).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn put(&self, batch: Batch) -> Result<(), (Batch, Failure)> {
        let room = self.room(&batch);
        if self.can_never_hold(room) {
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
        let patience = batch.receipt.patience();
        let mut moment = None;
        loop {
            let writable = self.writable.notified();
            let applicant = Applicant {
                patience,
                waited: moment.is_some_and(|end| self.clock.now() >= end),
                blocks: self.settings.block_on_overflow,
                ending: self.ending.has_begun(),
            };
            let wait = {
                let mut state = self.lock();
                let obstacle = self.obstacle(&state, room, patience);
                if obstacle == Obstacle::Full {
                    state.pressed = true;
                    self.pressing.notify_waiters();
                }
                match admit(obstacle, applicant) {
                    Admission::Enter => {
                        self.insert(&mut state, batch, room);
                        break;
                    }
                    Admission::Refuse(failure) => return Err((batch, failure)),
                    Admission::Wait(wait) => wait,
                }
            };
            if wait == Wait::ForRoom {
                self.stall.waits();
            }
            let end = *moment.get_or_insert_with(|| self.clock.now() + MOMENT);
            // Boxed, because most batches do not wait.
            Box::pin(self.wait(writable, (wait == Wait::AMoment).then_some(end))).await;
        }
        self.readable.notify_one();
        Ok(())
    }

    fn parts(&self, batch: Batch, budget: &Budget) -> Parts {
        if batch.receipt.patience() == Patience::None || !self.can_never_hold(self.room(&batch)) {
            return queue::whole(batch);
        }
        // So that the next comes in before the one before it is through.
        let quarter = |most: usize| (most / 4).max(1);
        let parts = batching::cut(batch, Sizer::Bytes, quarter(self.max_bytes()), budget);
        if self.settings.sizer != Sizer::Items {
            return queue::cut(parts);
        }
        let items = quarter(self.settings.queue_size);
        queue::cut(
            parts.into_iter().flat_map(|part| batching::cut(part, Sizer::Items, items, budget)).collect(),
        )
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

    async fn pressed(&self) {
        queue::until_pressed(self, &self.pressing).await;
    }

    async fn release(&self, room: Room, items: usize) {
        let mut state = self.lock();
        state.items = state.items.saturating_sub(items);
        state.used = state.used.saturating_sub(room.count);
        state.bytes = state.bytes.saturating_sub(room.bytes);
        state.released = Some(self.clock.now());
        self.size.show(state.used);
        self.stall.eased(state.used <= self.settings.queue_size / 4 && state.bytes <= self.max_bytes() / 4);
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
        self.size.show(0);
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
