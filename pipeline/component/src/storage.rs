//! Keeping what waits over a restart.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Failure, Sizer};

/// A place that survives the end of the process, offered by an extension ([`Capabilities::storage`]).
///
/// [`Capabilities::storage`]: crate::Capabilities::storage
#[async_trait]
pub trait Storage: Send + Sync {
    /// Opens the queue of that name, such as `exporter_otlp_grpc__traces`, with all that an earlier process left in it.
    /// A name belongs to one process at a time. Within a process a second owner shares the queue, so that a successor can
    /// take over without a gap: each record is given to one of them.
    ///
    /// # Errors
    /// Somebody else has it, it is open with other settings, or the place cannot be used. Damaged content is no error:
    /// what can be read is there.
    async fn open_queue(&self, name: &str) -> Result<Arc<dyn DurableQueue>, Failure>;

    /// Opens the queue of that name where there is one.
    ///
    /// # Errors
    /// As [`Storage::open_queue`].
    async fn find_queue(&self, name: &str) -> Result<Option<Arc<dyn DurableQueue>>, Failure>;
}

/// A first-in first-out queue of records that survives a crash of process and machine.
///
/// Ids grow by one from record to record. A record leaves the queue when it is [`done`](DurableQueue::done); one that
/// was [taken](DurableQueue::take) and is not done comes again after a restart. All futures may be dropped at any time:
/// an append goes on, and nothing that would have been taken is lost.
#[async_trait]
pub trait DurableQueue: Send + Sync {
    /// Puts a record in. `Ok` says that it is durable.
    ///
    /// # Errors
    /// Why it is not in the queue.
    async fn append(&self, record: Record, capacity: Capacity) -> Result<(), Refused>;

    /// Completes when there may be room again after an append was [refused](Refused::Full) for lack of it.
    async fn room(&self);

    /// The next record; `None` when the queue is [closed](DurableQueue::close).
    async fn take(&self) -> Option<Taken>;

    /// Nobody needs a record that was taken any more. Quick; [`save`](DurableQueue::save) writes it down.
    fn done(&self, receivable: Receivable);

    /// A record that was taken could not be delivered by this owner: the next one has it first. Quick.
    fn keep(&self, taken: Taken);

    /// Writes down what is done, so that it does not come again after a crash, and gives its space back.
    async fn save(&self);

    /// Where it is: a text that its owners share and no other queue of the process has, whatever storage opened it.
    fn place(&self) -> String;

    /// What is in it, records that were taken and are not done included.
    fn backlog(&self) -> Backlog;

    /// Nothing is put in or taken by this owner any more; what is in it stays for the next.
    fn close(&self);
}

/// Why a record was not put in.
#[derive(Debug, Clone)]
pub enum Refused {
    /// There is no room within the capacity now.
    Full,
    /// The disk is full or broken, the queue is closed (all retryable), or the record can never be kept (permanent).
    Failed(Failure),
}

/// What a durable queue keeps.
#[derive(Debug, Clone)]
pub struct Record {
    /// The bytes, in parts that are written one after the other.
    pub parts: Vec<Bytes>,
    /// How many items they are, for the capacity.
    pub items: u32,
}

impl Record {
    /// The figure that a sizer counts.
    pub fn size(&self, sizer: Sizer) -> usize {
        match sizer {
            Sizer::Requests => 1,
            Sizer::Items => usize::try_from(self.items).unwrap_or(usize::MAX),
            Sizer::Bytes => self.parts.iter().map(Bytes::len).sum(),
        }
    }
}

/// A record that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What identifies it.
    pub receivable: Receivable,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The claim on a record that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receivable {
    /// Its id.
    pub id: u64,
    /// Its items.
    pub items: u32,
    /// Its bytes.
    pub bytes: u32,
}

/// How much may be in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The bound.
    pub size: usize,
    /// What it counts.
    pub sizer: Sizer,
}

/// How much is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records.
    pub requests: usize,
    /// Items in them.
    pub items: usize,
    /// Bytes of them.
    pub bytes: usize,
}

impl Backlog {
    /// The figure that a sizer counts.
    pub fn size(&self, sizer: Sizer) -> usize {
        match sizer {
            Sizer::Requests => self.requests,
            Sizer::Items => self.items,
            Sizer::Bytes => self.bytes,
        }
    }
}
