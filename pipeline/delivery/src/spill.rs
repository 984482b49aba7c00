//! What a stop leaves in a queue in memory, on disk.
//!
//! Where a storage runs, the exporters that do not name it have their queues in memory, and nothing of these is written as long
//! as the agent runs. What is not delivered when the agent ends goes into the queue that the exporter would have in that
//! storage ([`Spill`]). There the next start finds it, and so it does with `storage` set in between, or no longer set: it is
//! one queue, by one name, with the same records. It is opened only when something goes into it, so that it is nobody's in the
//! meantime.
//!
//! What is found ([`Leftovers`]) is worked off beside the queue in memory, as a durable queue is: by a second dispatcher, whose
//! records stay until they are delivered. It ends when all are, or when the agent begins to end, so that it does not take
//! what is being put there. Where somebody else has the queue, as an agent that has not ended yet, it is looked for again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use tokio::sync::{OnceCell, Semaphore};
use weir_component::{
    Batch, Budget, Capacity, DurableQueue, Failure, Host, QueueSettings, Refused, Sizer, Storage,
};
use weir_pdata::Signal;

use crate::claims::{self, Claim};
use crate::counts::QueueCounts;
use crate::dispatcher;
use crate::durable::DiskQueue;
use crate::ending::Ending;
use crate::queue::{self, Queue};
use crate::record;
use crate::sender::Sender;

/// The bounds are those of the storage: what comes was in memory.
const ALL: Capacity = Capacity { size: usize::MAX, sizer: Sizer::Requests };

/// Bytes that an agent moves at once. Many records share a sync then, and fewer wait for it than a disk queue takes.
const AT_ONCE: usize = 16 << 20;

/// How often what could not be opened is looked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// The exporter's queue in the storage of the agent, to move to.
pub(crate) struct Spill {
    name: String,
    exporter: String,
    host: Host,
    ending: Ending,
    opened: OnceCell<Option<Opened>>,
}

struct Opened {
    queue: Arc<dyn DurableQueue>,
    /// Keeps other exporters from it.
    _claim: Claim,
    room: Arc<Room>,
}

/// Bytes that may be moved now. One for the whole agent: exporters that reloads have taken out share a queue.
struct Room(Semaphore);

impl Default for Room {
    fn default() -> Room {
        Room(Semaphore::new(AT_ONCE))
    }
}

impl Spill {
    pub(crate) fn new(name: String, exporter: &str, host: &Host, ending: &Ending) -> Spill {
        Spill {
            name,
            exporter: exporter.to_owned(),
            host: host.clone(),
            ending: ending.clone(),
            opened: OnceCell::new(),
        }
    }

    /// Whether it is open already.
    pub(crate) fn is_open(&self) -> bool {
        self.opened.get().is_some_and(Option::is_some)
    }

    /// Opens it, the first time. Whether it is open.
    pub(crate) async fn open(&self) -> bool {
        self.get().await.is_some()
    }

    async fn get(&self) -> Option<&Opened> {
        let storage = self.ending.storage()?;
        let opened = self.opened.get_or_init(|| async {
            self.try_open(&*storage).await.map_err(|error| self.say_closed(&error)).ok()
        });
        opened.await.as_ref()
    }

    async fn try_open(&self, storage: &dyn Storage) -> Result<Opened, Failure> {
        let queue = storage.open_queue(&self.name).await?;
        let claim = claims::claim(&self.host, &queue.place(), &self.exporter, None)?;
        Ok(Opened { queue, _claim: claim, room: self.host.shared() })
    }

    fn say_closed(&self, error: &Failure) {
        tracing::warn!(
            otelcol.component.id = %self.exporter,
            otelcol.component.kind = "exporter",
            queue = %self.name,
            %error,
            "What cannot be delivered cannot be moved to the storage either"
        );
    }

    /// Puts a batch there; it is on disk when this completes.
    ///
    /// # Errors
    /// The disk or the storage has no room for it.
    pub(crate) async fn put(&self, batch: &Batch) -> Result<(), Failure> {
        let Some(opened) = self.get().await else { return Err(queue::closed()) };
        let bytes = batch.payload.encoded_len().min(AT_ONCE);
        let _room = opened.room.0.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok();
        opened.queue.append(record::encode(batch), ALL).await.map_err(|refused| match refused {
            Refused::Full => queue::full(),
            Refused::Failed(failure) => failure,
        })
    }
}

/// What an earlier process or another configuration left in a storage.
pub(crate) struct Leftovers {
    queue: Arc<DiskQueue>,
    sender: Arc<Sender>,
}

/// Whose leftovers are looked for.
#[derive(Clone)]
pub(crate) struct Search {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) name: String,
    pub(crate) signal: Signal,
    pub(crate) settings: QueueSettings,
    pub(crate) counts: Arc<QueueCounts>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) host: Host,
}

impl Search {
    /// What is there, if there is anything.
    ///
    /// # Errors
    /// It cannot be opened, or another exporter has it.
    pub(crate) async fn find(&self) -> Result<Option<Leftovers>, Failure> {
        let Some(queue) = self.storage.find_queue(&self.name).await? else { return Ok(None) };
        if queue.backlog().requests == 0 {
            return Ok(None);
        }
        let size = &self.counts.size;
        let claim = claims::claim(&self.host, &queue.place(), &self.sender.id, Some(size))?;
        let sender = Arc::new(self.sender.beside(self.settings.num_consumers));
        let (of, budget) = (Arc::clone(&sender), self.host.budget());
        let queue = Arc::new(DiskQueue::new(self.signal, queue, claim, &self.settings, of, budget));
        Ok(Some(Leftovers { queue, sender }))
    }

    /// Says that it could not be opened.
    pub(crate) fn say_failed(&self, error: &Failure) {
        tracing::warn!(
            otelcol.component.id = %self.sender.id,
            otelcol.component.kind = "exporter",
            queue = %self.name,
            %error,
            "What an earlier stop has left on disk cannot be read. Will try again."
        );
    }

    /// Looks for it until it can be opened; `None` when the delivery ends before.
    pub(crate) async fn find_again(&self) -> Option<Leftovers> {
        loop {
            let over = self.sender.draining.over();
            match select(self.sender.clock.sleep(AGAIN), Box::pin(over)).await {
                Either::Right(_) => return None,
                Either::Left(_) => {}
            }
            if let Ok(found) = self.find().await {
                return found;
            }
        }
    }
}

impl Leftovers {
    /// Delivers it. Completes when all is delivered, or `over` and nothing is under way any more.
    pub(crate) async fn work_off(
        self,
        settings: QueueSettings,
        budget: Budget,
        over: impl Future<Output = ()>,
    ) {
        let close = async {
            select(Box::pin(over), Box::pin(self.queue.emptied())).await;
            self.close();
        };
        let queue: Arc<dyn Queue> = Arc::<DiskQueue>::clone(&self.queue);
        join(dispatcher::run(queue, Arc::clone(&self.sender), settings, budget), close).await;
    }

    /// Takes nothing from it any more; what is left stays there.
    pub(crate) fn close(&self) {
        self.sender.draining.close();
        self.queue.close();
    }
}
