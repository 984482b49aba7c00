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

/// Where it goes.
pub(crate) struct Spill {
    queue: Arc<dyn DurableQueue>,
    /// Keeps other exporters from it.
    _claim: Claim,
}

/// What an earlier process or another configuration left there.
pub(crate) struct Leftovers {
    queue: Arc<dyn Queue>,
    sender: Arc<Sender>,
}

impl Spill {
    /// Opens the queue of that name, and what is in it if there is anything.
    ///
    /// # Errors
    /// It cannot be opened, or another exporter has it.
    pub(crate) async fn open(
        storage: &dyn Storage,
        name: &str,
        signal: Signal,
        settings: &QueueSettings,
        sender: &Sender,
        host: &Host,
    ) -> Result<(Spill, Option<Leftovers>), Failure> {
        let queue = storage.open_queue(name).await?;
        let claim = claims::claim(host, &queue.place(), &sender.id)?;
        let leftovers = if queue.backlog().requests == 0 {
            None
        } else {
            // An owner of its own, because it is closed earlier.
            let queue = storage.open_queue(name).await?;
            let sender = Arc::new(sender.of_what_stays());
            let counts = Arc::new(QueueCounts::hidden());
            let queue =
                DiskQueue::new(signal, queue, Arc::clone(&claim), settings, counts, Arc::clone(&sender));
            Some(Leftovers { queue: Arc::new(queue), sender })
        };
        Ok((Spill { queue, _claim: claim }, leftovers))
    }

    /// Puts a batch there; it is on disk when this completes.
    ///
    /// # Errors
    /// The disk or the storage has no room for it.
    pub(crate) async fn put(&self, batch: &Batch) -> Result<(), Failure> {
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
