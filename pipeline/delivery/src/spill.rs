//! What a stop leaves in a queue in memory, on disk.
//!
//! Where a storage runs that an exporter does not name, the exporter's queue is in memory and nothing of it is written as
//! long as the agent runs. What is not delivered when the agent ends goes into the queue that the exporter would have in
//! that storage. There the next start finds it, and so it does with `storage` set in between, or no longer set: it is one
//! queue, by one name, with the same records.
//!
//! What is found is worked off beside the queue in memory, as a durable queue is: by a second dispatcher, whose records stay
//! until they are delivered. It ends when the agent begins to end, so that it does not take what is being put there.

use std::sync::Arc;

use futures_util::future::{join, select};
use tokio::sync::Semaphore;
use weir_component::{Batch, Capacity, DurableQueue, Failure, Host, QueueSettings, Refused, Sizer, Storage};
use weir_pdata::Signal;

use crate::claims::{self, Claim};
use crate::counts::QueueCounts;
use crate::dispatcher;
use crate::durable::DiskQueue;
use crate::queue::{self, Queue};
use crate::record;
use crate::sender::Sender;

/// The bounds are those of the storage: what comes was in memory.
const ALL: Capacity = Capacity { size: usize::MAX, sizer: Sizer::Requests };

/// Bytes that are put there at once. Many records share a sync then, and fewer wait for it than a disk queue takes.
const AT_ONCE: usize = 16 << 20;

/// Where it goes.
pub(crate) struct Spill {
    queue: Arc<dyn DurableQueue>,
    /// Keeps other exporters from it.
    claim: Claim,
    /// Bytes that may be put there now.
    room: Semaphore,
}

/// What an earlier process or another configuration left there.
pub(crate) struct Leftovers {
    queue: Arc<dyn Queue>,
    sender: Arc<Sender>,
}

impl Spill {
    /// Opens the queue of that name for `exporter`.
    ///
    /// # Errors
    /// It cannot be opened, or another exporter has it.
    pub(crate) async fn open(
        storage: &dyn Storage,
        name: &str,
        exporter: &str,
        host: &Host,
    ) -> Result<Spill, Failure> {
        let queue = storage.open_queue(name).await?;
        let claim = claims::claim(host, &queue.place(), exporter)?;
        Ok(Spill { queue, claim, room: Semaphore::new(AT_ONCE) })
    }

    /// What is in it, if there is anything.
    ///
    /// # Errors
    /// It cannot be opened once more.
    pub(crate) async fn leftovers(
        &self,
        storage: &dyn Storage,
        name: &str,
        signal: Signal,
        settings: &QueueSettings,
        sender: &Sender,
    ) -> Result<Option<Leftovers>, Failure> {
        if self.queue.backlog().requests == 0 {
            return Ok(None);
        }
        // An owner of its own, because it is closed earlier.
        let queue = storage.open_queue(name).await?;
        let sender = Arc::new(sender.beside(settings.num_consumers));
        let (claim, counts) = (Arc::clone(&self.claim), Arc::new(QueueCounts::hidden()));
        let queue = DiskQueue::new(signal, queue, claim, settings, counts, Arc::clone(&sender));
        Ok(Some(Leftovers { queue: Arc::new(queue), sender }))
    }

    /// Puts a batch there; it is on disk when this completes.
    ///
    /// # Errors
    /// The disk or the storage has no room for it.
    pub(crate) async fn put(&self, batch: &Batch) -> Result<(), Failure> {
        let bytes = batch.payload.encoded_len().min(AT_ONCE);
        let _room = self.room.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok();
        self.queue.append(record::encode(batch), ALL).await.map_err(|refused| match refused {
            Refused::Full => queue::full(),
            Refused::Failed(failure) => failure,
        })
    }
}

impl Leftovers {
    /// Delivers it. Completes when `closed` has, or the agent begins to end, and nothing is under way any more.
    pub(crate) async fn work_off(&self, settings: QueueSettings, closed: impl Future<Output = ()>) {
        let close = async {
            select(Box::pin(self.sender.draining.ending().begun()), Box::pin(closed)).await;
            self.close();
        };
        join(dispatcher::run(Arc::clone(&self.queue), Arc::clone(&self.sender), settings), close).await;
    }

    /// Takes nothing from it any more; what is left stays there.
    pub(crate) fn close(&self) {
        self.sender.draining.close();
        self.queue.close();
    }
}
