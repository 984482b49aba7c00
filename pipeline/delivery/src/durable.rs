//! A durable queue in front of an exporter: batches as records of a storage extension.
//!
//! A record stays on disk until its receipt is settled: delivered, or dropped because it can never be delivered. The
//! receipt of a batch that was taken is observed for that, so that splits and merges on the way need no bookkeeping of
//! their own: a split record is done when its last part is. [`Kind::Abandoned`] keeps it, which is what a batch that is
//! dropped unsettled reports, at a deadline or by a panic.
//!
//! On disk there may be a thousand times what memory holds, so that only so much is taken as there is room for ([`Held`]): what
//! is under way or forms a larger batch is taken, and in memory. While there is no room for more, what forms goes at once. While
//! there is, what stands on disk joins it, and though that has to be read first it is not a lack of room on the disk that sends off
//! what forms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::select;
use futures_util::poll;
use tokio::sync::Notify;
use weir_component::{
    Batch, Budget, Capacity, DurableQueue, Failure, Kind, Outcome, QueueSettings, Receipt, Record, Refused,
    Sizer, Taken,
};
use weir_pdata::Signal;

use crate::claims::Claim;
use crate::queue::{self, Load, Queue, Room};
use crate::record;
use crate::sender::Sender;
use crate::stall::Stall;

/// Bytes that may always be taken: about a batch of the default size.
const LEAST: usize = 4 << 20;

/// What was taken and is not settled.
struct Held {
    taken: Arc<Sum>,
    most: usize,
    budget: Budget,
}

#[derive(Default)]
struct Sum {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Sum {
    fn add(&self, bytes: usize) {
        self.records.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn subtract(&self, bytes: usize) {
        self.records.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Held {
    /// Whether more may be taken: so that as much again would fit into the budget, because receivers need room too, to put in
    /// what the disk has room for.
    fn has_room(&self) -> bool {
        let bytes = self.taken.bytes.load(Ordering::SeqCst);
        bytes < LEAST || bytes < self.most && self.budget.would_fit(bytes)
    }

    /// Whether it is all of a queue that has so many records.
    fn is_all_of(&self, records: usize) -> bool {
        self.taken.records.load(Ordering::SeqCst) >= records
    }
}

/// A [`Queue`] on disk.
pub(crate) struct DiskQueue {
    queue: Arc<dyn DurableQueue>,
    /// Keeps other exporters from it, and shows its size.
    claim: Claim,
    signal: Signal,
    capacity: Capacity,
    block_on_overflow: bool,
    pressed: AtomicBool,
    /// Told when somebody found no room.
    pressing: Notify,
    /// Told when something is settled.
    settled: Notify,
    held: Held,
    stall: Stall,
    /// Counts what cannot be read back.
    sender: Arc<Sender>,
}

impl DiskQueue {
    /// Its size is shown once it is worked off; `sender` counts what cannot be read back. What is taken is in the `budget`.
    pub(crate) fn new(
        signal: Signal,
        queue: Arc<dyn DurableQueue>,
        claim: Claim,
        settings: &QueueSettings,
        sender: Arc<Sender>,
        budget: &Budget,
    ) -> DiskQueue {
        let capacity = Capacity { size: settings.queue_size, sizer: settings.sizer };
        DiskQueue {
            queue,
            claim,
            signal,
            capacity,
            block_on_overflow: settings.block_on_overflow,
            pressed: AtomicBool::new(false),
            pressing: Notify::new(),
            settled: Notify::new(),
            held: Held { taken: Arc::default(), most: settings.max_bytes, budget: budget.clone() },
            stall: Stall::new(&sender.id, signal),
            sender,
        }
    }

    /// Completes when nothing is in it, whichever of its owners has delivered that.
    pub(crate) async fn emptied(&self) {
        loop {
            let mut change = self.queue.room();
            // Polled before the look: from here on it hears of what any owner has done.
            let heard = poll!(&mut change);
            self.show_size();
            if self.queue.backlog().requests == 0 {
                return;
            }
            if heard.is_pending() {
                change.await;
            }
        }
    }

    /// Whether an empty queue would take it, which counts the bytes of a record and not those of its payload.
    fn fits_at_all(&self, record: &Record) -> Result<(), Failure> {
        if record.size(self.capacity.sizer) <= self.capacity.size {
            return Ok(());
        }
        Err(Failure::permanent(format!(
            "element size too large: {} items in {} bytes on disk do not fit into the sending_queue (queue_size {}); send \
             smaller requests or raise queue_size",
            record.items,
            record.size(Sizer::Bytes),
            self.capacity.size
        )))
    }

    /// What a receipt says about the record behind it.
    fn at_settlement(&self, taken: Taken) -> impl FnOnce(&Outcome) + Send + 'static {
        let (queue, held, bytes) = (Arc::clone(&self.queue), Arc::clone(&self.held.taken), taken.bytes.len());
        held.add(bytes);
        move |outcome| {
            held.subtract(bytes);
            match outcome {
                Err(failure) if failure.kind() == Kind::Abandoned => queue.keep(taken),
                _ => queue.done(taken.receivable),
            }
        }
    }

    /// Waits until there is room for more of it in memory. There is when nothing is taken, and as long as something is, it is
    /// under way and will be released: what forms goes at once without room.
    async fn room_in_memory(&self) {
        loop {
            // Made before the look: from here on it hears a notification.
            let settled = self.settled.notified();
            if self.held.has_room() {
                return;
            }
            settled.await;
        }
    }
}

#[async_trait]
impl Queue for DiskQueue {
    async fn put(&self, batch: Batch) -> Result<(), (Batch, Failure)> {
        let mut record = record::encode(&batch);
        if let Err(failure) = self.fits_at_all(&record) {
            return Err((batch, failure));
        }
        loop {
            // Listens before it looks, so that room which appears in between is not missed.
            let mut room = self.queue.room();
            let came = poll!(&mut room).is_ready();
            match self.queue.append(record, self.capacity).await {
                Ok(()) => break,
                Err(Refused::Failed(failure)) => return Err((batch, failure)),
                Err(Refused::Full) => {
                    self.pressed.store(true, Ordering::SeqCst);
                    self.pressing.notify_waiters();
                    let ending = self.sender.draining.ending();
                    if !self.block_on_overflow || ending.has_begun() {
                        return Err((batch, queue::full()));
                    }
                    self.stall.waits();
                    if !came {
                        select(room, Box::pin(ending.begun())).await;
                    }
                    record = record::encode(&batch);
                }
            }
        }
        self.show_size();
        Ok(())
    }

    fn show_size(&self) {
        self.claim.show(self.queue.backlog().size(self.capacity.sizer));
    }

    async fn take(&self) -> Option<Load> {
        loop {
            self.room_in_memory().await;
            let taken = self.queue.take().await?;
            let receipt = Receipt::observed(self.at_settlement(taken.clone()));
            match record::decode(self.signal, &taken.bytes) {
                Ok((payload, context)) => {
                    let batch = Batch { payload, receipt, context: Arc::new(context) };
                    return Some(Load { batch, room: Room::default() });
                }
                Err(error) => {
                    let failure = Failure::permanent(error);
                    self.sender.unreadable(taken.receivable, &failure);
                    receipt.settle(Err(failure));
                    self.release(Room::default(), 0).await;
                }
            }
        }
    }

    fn is_pressed(&self) -> bool {
        if !self.held.has_room() {
            return true;
        }
        let backlog = self.queue.backlog();
        let is_full = || backlog.size(self.capacity.sizer) >= self.capacity.size;
        self.held.is_all_of(backlog.requests) && (self.pressed.swap(false, Ordering::SeqCst) || is_full())
    }

    async fn pressed(&self) {
        queue::until_pressed(self, &self.pressing).await;
    }

    async fn release(&self, _: Room, _: usize) {
        self.queue.save().await;
        self.settled.notify_waiters();
        self.show_size();
        self.stall.eased(self.queue.backlog().size(self.capacity.sizer) <= self.capacity.size / 4);
    }

    fn close(&self) {
        self.queue.close();
    }

    fn abandon(&self) -> usize {
        self.queue.close();
        0
    }

    fn is_durable(&self) -> bool {
        true
    }
}
