//! What the dispatcher sees of a queue, be it in memory or on disk.

use async_trait::async_trait;
use weir_component::{Batch, Failure};

/// A bounded first-in first-out queue of batches. What was taken keeps its room until it is
/// [released](Queue::release).
#[async_trait]
pub(crate) trait Queue: Send + Sync {
    /// Puts a batch in, with its receipt where somebody still waits for it; a durable queue has it on disk when this
    /// completes. Waits for room with `block_on_overflow`, and as long as its receipt has
    /// patience.
    ///
    /// # Errors
    /// The batch and why it was refused: full (retryable), larger than the whole queue (permanent), closed.
    async fn put(&self, batch: Batch) -> Result<(), (Batch, Failure)>;

    /// The batch as it can be put in. What was acknowledged and is larger than the whole queue is cut into parts that are
    /// smaller; a sender that still has its data is refused instead.
    ///
    /// # Errors
    /// The parts, of a batch that had to be cut.
    fn fit(&self, batch: Batch) -> Result<Batch, Vec<Batch>> {
        Ok(batch)
    }

    /// The next batch; `None` when the queue is closed and nothing is left that should be sent now. Cancel-safe.
    async fn take(&self) -> Option<Load>;

    /// Whether senders lack room: what waits to become a larger batch must go now. Says so once for each refusal.
    fn is_pressed(&self) -> bool;

    /// Gives back the room of what was taken; `items` of it are settled.
    async fn release(&self, room: Room, items: usize);

    /// Nothing is put in any more.
    fn close(&self);

    /// Closes the queue, drops what is in it, and returns how many items were accepted, never settled, and not kept.
    fn abandon(&self) -> usize;

    /// Whether what cannot be sent before the end is there again after a restart.
    fn is_durable(&self) -> bool;
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
