//! The consumer in front of an exporter, and what the engine does with it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join};
use weir_component::{
    Batch, Clock, Consumer, DeliverySettings, Exporter, Failure, Host, QueueSettings, Receipt, Storage,
};
use weir_pdata::Signal;

use crate::claims;
use crate::counts::{Counts, QueueCounts};
use crate::dispatcher;
use crate::durable::DiskQueue;
use crate::ending::{Ending, Rest, Undelivered};
use crate::memory::MemoryQueue;
use crate::queue::{Queue, closed};
use crate::sender::Sender;
use crate::spill::{Leftovers, Search, Spill};
use crate::stall::Stall;

/// A delivery as the engine gets it.
pub struct Delivered {
    /// Takes batches for the exporter.
    pub consumer: Delivery,
    /// Works the queue off and stops the exporter. The engine runs it once the [`Opening`] has been opened; it ends when
    /// the [`Delivery`] is dropped and everything has been settled.
    pub work: BoxFuture<'static, ()>,
    /// Opens it.
    pub opening: Opening,
}

/// Takes batches for an exporter.
pub struct Delivery(Arc<Inner>);

/// The engine's handle to a delivery. Cheap to clone; it does not keep the delivery from draining.
#[derive(Clone)]
pub struct Opening(Arc<Inner>);

struct Inner {
    signal: Signal,
    sender: Arc<Sender>,
    /// Of the queue, where there is to be one.
    counts: Option<Arc<QueueCounts>>,
    settings: Option<QueueSettings>,
    /// Set when it is opened; never for a delivery without a queue.
    queue: OnceLock<Arc<dyn Queue>>,
    /// Set when something is there that a stop moved to disk, until that is worked off.
    search: Mutex<Option<(Search, Option<Leftovers>)>>,
    wait_for_result: bool,
    host: Host,
}

/// Puts queue, batching, timeout and retries in front of `exporter`. Nothing is opened yet.
pub fn deliver(
    id: &str,
    signal: Signal,
    exporter: Arc<dyn Exporter>,
    settings: &DeliverySettings,
    clock: Clock,
    host: &Host,
    ending: &Ending,
) -> Delivered {
    let durable = settings.queue.as_ref().is_some_and(|queue| queue.storage.is_some());
    let waits = settings.queue.as_ref().is_none_or(|queue| queue.wait_for_result);
    let rest = match (durable, waits) {
        (true, _) => Rest::Stays,
        (false, true) => Rest::Lost,
        (false, false) => Rest::Moved(Spill::new(queue_name(id, signal), id, host, ending)),
    };
    let counts = Counts::new(id, signal, &*exporter, host);
    let sender = Sender::new(id, exporter, settings, clock, counts, rest, ending);
    let inner = Arc::new(Inner {
        signal,
        sender: Arc::new(sender),
        counts: settings.queue.as_ref().map(|_| Arc::new(QueueCounts::new(id, signal, host))),
        settings: settings.queue.clone(),
        queue: OnceLock::new(),
        search: Mutex::default(),
        wait_for_result: !durable && waits,
        host: host.clone(),
    });
    let work = work(Opening(Arc::clone(&inner)));
    let opening = Opening(Arc::clone(&inner));
    Delivered { consumer: Delivery(inner), work: Box::pin(work), opening }
}

/// Without a queue nothing is left to send once the [`Delivery`] is gone.
async fn work(Opening(inner): Opening) {
    match (inner.queue.get(), inner.settings.clone()) {
        (Some(queue), Some(settings)) => {
            if let Some(counts) = &inner.counts {
                counts.capacity.set(settings.queue_size);
            }
            let (queue, sender) = (Arc::clone(queue), Arc::clone(&inner.sender));
            let run = dispatcher::run(queue, sender, settings.clone(), inner.host.budget().clone());
            let search = inner.search().take();
            match search {
                None => run.await,
                Some((search, found)) => {
                    join(run, leftovers(search, found, settings)).await;
                }
            }
        }
        _ => inner.sender.draining.closed().await,
    }
    inner.sender.exporter.stop().await;
}

/// Works off what an earlier stop has left, if need be once it can be opened.
async fn leftovers(search: Search, found: Option<Leftovers>, settings: QueueSettings) {
    let found = match found {
        Some(found) => Some(found),
        None => search.find_again().await,
    };
    if let Some(found) = found {
        found.work_off(settings, search.host.budget().clone(), search.sender.draining.over()).await;
    }
}

impl Opening {
    /// Starts the exporter and opens its queue, with all that an earlier process left in a durable one. Extensions must
    /// run, and nobody may send before it has completed.
    ///
    /// # Errors
    /// The exporter cannot start, the storage does not exist, or its queue cannot be opened; nothing is left running.
    pub async fn open(&self) -> Result<(), Failure> {
        let Opening(inner) = self;
        inner.sender.exporter.start(&inner.host).await?;
        let settings = inner.settings.clone();
        let Some((settings, counts)) = settings.zip(inner.counts.as_ref()) else { return Ok(()) };
        match inner.open_queue(&settings, counts).await {
            // A second opening finds the first queue, which is as good.
            Ok(queue) => drop(inner.queue.set(queue)),
            Err(failure) => {
                inner.sender.exporter.stop().await;
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Looks for what an earlier stop has left in `storage`, for a queue in memory that settles on acceptance. After
    /// [`Opening::open`] of all, so that who names the storage has its queue. That it cannot be opened is said, and is no
    /// reason not to work.
    pub async fn find_leftovers(&self, storage: &Arc<dyn Storage>) {
        let Opening(inner) = self;
        let (Some(settings), Some(counts)) = (&inner.settings, &inner.counts) else { return };
        if !matches!(inner.sender.draining.rest(), Rest::Moved(_)) {
            return;
        }
        let search = Search {
            storage: Arc::clone(storage),
            name: queue_name(&inner.sender.id, inner.signal),
            signal: inner.signal,
            settings: settings.clone(),
            counts: Arc::clone(counts),
            sender: Arc::clone(&inner.sender),
            host: inner.host.clone(),
        };
        match search.find().await {
            Ok(None) => {}
            Ok(found) => *inner.search() = Some((search, found)),
            Err(error) => {
                search.say_failed(&error);
                *inner.search() = Some((search, None));
            }
        }
    }

    /// Ends what [`Opening::open`] began, when the engine does not start after all and will not run the work.
    pub async fn abandon(&self) {
        if let Some(queue) = self.0.queue.get() {
            queue.abandon();
        }
        if let Some((_, Some(leftovers))) = self.0.search().take() {
            leftovers.close();
        }
        self.0.sender.exporter.stop().await;
    }

    /// The count of what it could neither deliver nor keep although it was acknowledged. Final once the work has ended.
    pub fn undelivered(&self) -> Undelivered {
        self.0.sender.undelivered.clone()
    }
}

impl Inner {
    async fn open_queue(
        &self,
        settings: &QueueSettings,
        counts: &QueueCounts,
    ) -> Result<Arc<dyn Queue>, Failure> {
        let Some(storage) = &settings.storage else {
            let (clock, ending) = (self.sender.clock.clone(), self.sender.draining.ending().clone());
            let stall = Stall::new(&self.sender.id, self.signal);
            return Ok(Arc::new(MemoryQueue::new(settings.clone(), counts, stall, clock, ending)));
        };
        let opener = self.storage(storage)?;
        let queue = opener.open_queue(&queue_name(&self.sender.id, self.signal)).await?;
        let claim = claims::claim(&self.host, &queue.place(), &self.sender.id, Some(&counts.size))?;
        let (sender, budget) = (Arc::clone(&self.sender), self.host.budget());
        Ok(Arc::new(DiskQueue::new(self.signal, queue, claim, settings, sender, budget)))
    }

    fn search(&self) -> MutexGuard<'_, Option<(Search, Option<Leftovers>)>> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self, id: &str) -> Result<Arc<dyn Storage>, Failure> {
        let Some(offered) = self.host.extension(id) else {
            return Err(Failure::permanent(format!(
                "sending_queue::storage: no extension {id:?} runs: add it to service::extensions"
            )));
        };
        offered.storage.ok_or_else(|| {
            Failure::permanent(format!(
                "sending_queue::storage: the extension {id:?} is not a storage: use file_storage"
            ))
        })
    }
}

/// The name of an exporter's queue in its storage, as the Collector's: `exporter_<type>_<name>_<signal>`.
fn queue_name(id: &str, signal: Signal) -> String {
    let (kind, name) = id.split_once('/').unwrap_or((id, ""));
    format!("exporter_{kind}_{name}_{}", signal.name())
}

#[async_trait]
impl Consumer for Delivery {
    async fn consume(&self, mut batch: Batch) {
        let Inner { sender, queue, counts, host, .. } = &*self.0;
        host.budget().own(&mut batch.payload);
        let Some(counts) = counts else {
            let ended = sender.send(&batch, false).await;
            batch.receipt.settle(ended.outcome());
            return;
        };
        let Some(queue) = queue.get() else {
            batch.receipt.settle(Err(closed().reported_by(&sender.id)));
            return;
        };
        if batch.payload.is_empty() {
            batch.receipt.settle(Ok(()));
            return;
        }
        let Batch { payload, mut receipt, context } = batch;
        let early = (!self.0.wait_for_result).then(|| {
            let waits = Receipt::unattended().with_patience(receipt.patience());
            std::mem::replace(&mut receipt, waits)
        });
        counts.offered(&payload);
        let traced = counts.begin(&context);
        let context = traced.as_ref().map_or(context, |(_, within)| Arc::new(within.clone()));
        let mut outcome = Ok(());
        let (items, mut taken) = (payload.items(), payload.items());
        for part in queue.parts(Batch { payload, receipt, context }, host.budget()) {
            if let Err((part, failure)) = queue.put(part).await {
                taken = taken.saturating_sub(part.payload.items());
                counts.refused.add(part.payload.items());
                let failure = failure.reported_by(&sender.id);
                sender.refused(&part.payload, &failure);
                part.receipt.settle(Err(failure.clone()));
                outcome = Err(failure);
            }
        }
        if let Some(receipt) = early {
            receipt.settle(outcome.map_err(|failure| match taken {
                0 => failure,
                taken => failure.context(&format!("{taken} of {items} items were taken")),
            }));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.0.sender.draining.close();
        if let Some(queue) = self.0.queue.get() {
            queue.close();
        }
    }
}
