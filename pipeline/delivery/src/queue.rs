//! What the dispatcher sees of a queue, be it in memory or on disk.

use std::{iter, option, vec};

use async_trait::async_trait;
use tokio::sync::Notify;
use weir_component::{Batch, Budget, Failure};

/// A bounded first-in first-out queue of batches. What was taken keeps its room until it is
/// [released](Queue::release).
#[async_trait]
pub(crate) trait Queue: Send + Sync {
    /// Puts a batch in, with its receipt where somebody still waits for it; a durable queue has it on disk when this
    /// completes. Waits for room with `block_on_overflow`, and in memory as long as its receipt has patience: in front of a
    /// durable queue nothing acknowledges early, so none there has any.
    ///
    /// # Errors
    /// The batch and why it was refused: full (retryable), larger than the whole queue (permanent), closed.
    async fn put(&self, batch: Batch) -> Result<(), (Batch, Failure)>;

    /// The batch as it can be put in. What was acknowledged and is larger than the whole queue is cut into parts that are
    /// smaller, which are in the budget; a sender that still has its data is refused instead.
    fn parts(&self, batch: Batch, _: &Budget) -> Parts {
        whole(batch)
    }

    /// Shows what is in it already, when it begins to be worked off.
    fn show_size(&self) {}

    /// The next batch; `None` when the queue is closed and nothing is left that should be sent now. Cancel-safe.
    async fn take(&self) -> Option<Load>;

    /// Whether senders lack room: what waits to become a larger batch must go now, as nothing can be taken that would join it.
    /// Says so once for each refusal.
    fn is_pressed(&self) -> bool;

    /// Completes when [`is_pressed`](Queue::is_pressed). Cancel-safe.
    async fn pressed(&self);

    /// Gives back the room of what was taken; `items` of it are settled.
    async fn release(&self, room: Room, items: usize);

    /// Nothing is put in any more.
    fn close(&self);

    /// Closes the queue, drops what is in it, and returns how many items were accepted, never settled, and not kept.
    fn abandon(&self) -> usize;

    /// Whether what cannot be sent before the end is there again after a restart.
    fn is_durable(&self) -> bool;
}

/// Completes when a queue is pressed; `told` is told when that may be.
pub(crate) async fn until_pressed(queue: &dyn Queue, told: &Notify) {
    loop {
        // Made before the look: from here on it hears a notification.
        let told = told.notified();
        if queue.is_pressed() {
            return;
        }
        told.await;
    }
}

/// The parts of a batch. For one that is whole nothing is allocated.
pub(crate) type Parts = iter::Chain<option::IntoIter<Batch>, vec::IntoIter<Batch>>;

/// One part: all of it.
pub(crate) fn whole(batch: Batch) -> Parts {
    Some(batch).into_iter().chain(Vec::new())
}

/// A batch that had to be cut.
pub(crate) fn cut(parts: Vec<Batch>) -> Parts {
    None.into_iter().chain(parts)
}

/// A batch with the room it occupies.
pub(crate) struct Load {
    pub(crate) batch: Batch,
    pub(crate) room: Room,
}

/// Room that a batch occupies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl Room {
    pub(crate) fn add(&mut self, other: Room) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// The answer to a sender that finds no room.
pub(crate) fn full() -> Failure {
    Failure::retry("sending queue is full")
}

/// The answer to a sender that comes too late.
pub(crate) fn closed() -> Failure {
    Failure::retry("the exporter is shutting down")
}
