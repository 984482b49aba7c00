//! A queue as the engine uses it: calls of the disk run where threads may block, and who waits is woken.
//!
//! A queue that is open is one [`Shared`], with a [`Handle`] for each owner: after a reload the former ones and their successor.
//!
//! - Who takes waits for `readable`, which commits, what is given back and the close of a handle tell; who has found no room
//!   waits for `room`, which records that are done or lost, commits that fail and closes tell. Both tell all who wait, and leave
//!   nothing for those who come later: so one begins to wait, then looks, and only then sleeps.
//! - What a former owner took and did not settle is in `kept`, and is taken before what is in the queue. It counts in the backlog
//!   all the time, as it is not done.
//! - Many records that are done at the same time share a save: `done` sets `dirty` once the queue knows of it, and who has `saving`
//!   clears that before it saves. So those who waited for it find nothing left to save, and what was done meanwhile is
//!   for the next. A save that fails sets it not again: what is not written is unsynced, and tried again with that, a second
//!   later and at a stop.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Mutex, Notify, oneshot};
use weir_component::{
    Backlog, Capacity, Clock, DurableQueue, Failure, Host, Receivable, Record, Refused, Reservation, Sizer,
    Taken, async_trait,
};
use weir_disk_queue::{MAX_RECORD, Options, Queue, Submitted, Take, UNSAMPLED};

use crate::metrics::Metrics;
use crate::opened::Opened;

/// Pause after a failed read.
const PAUSE: Duration = Duration::from_secs(1);

/// An open queue, shared by its owners.
pub(crate) struct Shared {
    queue: Queue,
    /// Of its owners, of which each shows it in the telemetry it was opened with.
    metrics: std::sync::Mutex<Vec<Weak<Metrics>>>,
    path: PathBuf,
    host: Host,
    clock: Clock,
    /// Somebody may find a record, or has to look whether it is closed.
    readable: Notify,
    /// Somebody may find room.
    room: Notify,
    /// What an owner gave back, with its place in the budget.
    kept: std::sync::Mutex<VecDeque<Taken>>,
    /// Something is done that was not saved.
    dirty: AtomicBool,
    /// Held by who saves.
    saving: Mutex<()>,
    opened: Arc<Opened>,
    /// What was read ahead, in the budget of the agent. It is not refused: taking it from memory is what makes room.
    read_ahead_room: std::sync::Mutex<Reservation>,
}

/// One owner's end of a queue.
pub(crate) struct Handle {
    shared: Arc<Shared>,
    closed: AtomicBool,
    /// Shown as long as it is there.
    _metrics: Arc<Metrics>,
}

impl Shared {
    pub(crate) fn new(queue: Queue, path: &Path, host: Host, clock: Clock, opened: Arc<Opened>) -> Shared {
        let read_ahead_room = std::sync::Mutex::new(host.budget().begin());
        Shared {
            read_ahead_room,
            queue,
            metrics: std::sync::Mutex::default(),
            path: path.to_owned(),
            host,
            clock,
            readable: Notify::new(),
            room: Notify::new(),
            kept: std::sync::Mutex::default(),
            dirty: AtomicBool::new(false),
            saving: Mutex::new(()),
            opened,
        }
    }

    /// Whether a storage with these options would have opened it just so.
    pub(crate) fn is_opened_with(&self, options: &Options) -> bool {
        let own = self.queue.options();
        (own.fsync, own.max_bytes) == (options.fsync, options.max_bytes)
    }

    /// Shows in `metrics` as well what happens in it, until they are dropped.
    fn show_in(&self, metrics: &Arc<Metrics>) {
        metrics.show(&self.queue);
        let mut all = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|metrics| metrics.strong_count() > 0);
        all.push(Arc::downgrade(metrics));
    }

    /// Shows what happened in it so far.
    fn show(&self) {
        let all = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        for metrics in all.iter().filter_map(Weak::upgrade) {
            metrics.show(&self.queue);
        }
    }

    /// How much may be read ahead: nothing beyond the next record unless as much again as all telemetry in memory would fit
    /// beside it. Receivers need room too, to put in what the disk has room for.
    fn read_ahead_limit(&self) -> usize {
        let (most, budget) = (self.queue.options().read_ahead, self.host.budget());
        if budget.would_fit(budget.held().saturating_add(most)) { most } else { 0 }
    }

    /// Says in the budget what is in memory.
    fn reserve_read_ahead(&self) {
        self.read_ahead_room.lock().unwrap_or_else(PoisonError::into_inner).force(self.queue.ready_bytes());
    }

    /// Says what became of a record that was submitted.
    fn committed(&self, is_durable: bool) {
        if is_durable {
            self.reserve_read_ahead();
            self.readable.notify_waiters();
        } else {
            self.room.notify_waiters();
        }
    }

    /// A record for its owner, whose bytes are in the budget until the last of them is dropped.
    fn taken(&self, taken: weir_disk_queue::Taken) -> Taken {
        self.reserve_read_ahead();
        let weir_disk_queue::Receivable { id, weight, length } = taken.receivable;
        let mut room = self.host.budget().begin();
        room.force(taken.bytes.len());
        let receivable = Receivable { id, items: weight, bytes: length };
        Taken { receivable, bytes: room.hold(taken.bytes) }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Taken>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a start would bring back what is done, if only one after a power loss.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.queue.has_unsynced()
    }

    /// Makes durable what is done, where it is not.
    pub(crate) async fn sync_done(self: Arc<Self>) {
        let _saving = self.saving.lock().await;
        if self.has_unsynced() {
            self.save(Queue::save_durably).await;
        }
    }

    async fn save(self: &Arc<Self>, how: fn(&Queue)) {
        let shared = Arc::clone(self);
        let work = move || {
            how(&shared.queue);
            shared.show();
        };
        if self.host.blocking(work).await.is_none() {
            tracing::error!(queue = %self.path.display(), "Saving a queue on disk panicked");
        }
        self.sync_soon();
    }

    /// Has synced what is done, where it is not.
    pub(crate) fn sync_soon(self: &Arc<Self>) {
        if self.has_unsynced() {
            self.opened.sync_soon(self);
        }
    }

    fn full(&self) -> Refused {
        let text = format!("the queue in {} has reached max_size: try again later", self.path.display());
        Refused::Failed(Failure::retry(text))
    }

    fn too_large(&self, length: usize) -> Refused {
        let max_size = self.queue.options().max_bytes;
        let bound =
            if max_size == 0 { String::new() } else { format!(" with a max_size of {max_size} bytes") };
        let text = format!(
            "a request of {length} bytes does not fit into the queue in {}, which takes requests of up to {} bytes{bound} \
             and never more than {MAX_RECORD}: send smaller requests",
            self.path.display(),
            self.queue.largest_record()
        );
        Refused::Failed(Failure::permanent(text))
    }

    fn broken(&self, error: &io::Error) -> Refused {
        tracing::warn!(queue = %self.path.display(), %error, "Cannot write to a queue on disk");
        let text = format!("cannot write to the queue in {}: {error}", self.path.display());
        Refused::Failed(Failure::retry(text))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let lost = self.queue.adrift();
        if lost > 0 {
            tracing::error!(
                target: UNSAMPLED,
                queue = %self.path.display(),
                lost_records = lost,
                "Records of a queue on disk are lost: somebody removed their files while it was open, and they were not \
                 delivered before its end"
            );
        }
        let records = self.queue.backlog().records.saturating_sub(lost);
        if records > 0 {
            tracing::warn!(
                target: UNSAMPLED,
                queue = %self.path.display(),
                directory = %self.path.parent().unwrap_or(&self.path).display(),
                records,
                "Records stay in a queue on disk that no exporter has open any more. They are sent when an exporter with the \
                 same id has a storage with this directory again, and by no exporter with another id or directory"
            );
        }
    }
}

impl Handle {
    /// Shows the queue in `metrics`.
    pub(crate) fn new(shared: Arc<Shared>, metrics: Metrics) -> Handle {
        let metrics = Arc::new(metrics);
        shared.show_in(&metrics);
        Handle { shared, closed: AtomicBool::new(false), _metrics: metrics }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Reads ahead; waits a moment when that fails.
    async fn fill(&self) {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let found = || (shared.queue.counters().lost, shared.queue.backlog().records);
            let before = found();
            let filled = shared.queue.fill(shared.read_ahead_limit());
            shared.reserve_read_ahead();
            // Lost, or a segment that could not be read before holds nothing, or more.
            if found() != before {
                shared.room.notify_waiters();
            }
            // A segment may turn out to hold nothing that is needed.
            shared.sync_soon();
            shared.show();
            filled
        };
        let filled = self.shared.host.blocking(work).await;
        if let Err(error) = filled.unwrap_or_else(|| Err(io::Error::other("reading panicked"))) {
            tracing::error!(queue = %self.shared.path.display(), %error, "Cannot read a queue on disk. Will try again.");
            self.shared.clock.sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl DurableQueue for Handle {
    async fn append(&self, record: Record, capacity: Capacity) -> Result<(), Refused> {
        if self.is_closed() {
            return Err(Refused::Failed(Failure::retry("the queue is closed")));
        }
        let shared = &self.shared;
        let (tell, told) = oneshot::channel();
        // The queue has it until the commit, and must not keep itself.
        let told_too = Arc::downgrade(shared);
        let (size, length) = (record.size(capacity.sizer), record.size(Sizer::Bytes));
        let fits = move |backlog| backlog_of(backlog).size(capacity.sizer) + size <= capacity.size;
        shared.queue.limit_ready(shared.read_ahead_limit());
        let submitted = shared.queue.submit(record.parts, record.items, fits, move |outcome| {
            if let Some(shared) = told_too.upgrade() {
                shared.committed(outcome.is_ok());
            }
            // Who has gone away does not want to know.
            drop(tell.send(outcome));
        });
        let outcome = match submitted {
            Submitted::Queued => told.await,
            Submitted::Commit => {
                let own = Arc::clone(shared);
                let commit = shared.host.blocking(move || {
                    own.queue.commit();
                    own.show();
                });
                // The commit serves the others too, and goes on without being waited for.
                match select(told, Box::pin(commit)).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right((_, told)) => told.await,
                }
            }
            Submitted::Full => return Err(Refused::Full),
            Submitted::DiskFull => return Err(shared.full()),
            Submitted::Busy => {
                return Err(Refused::Failed(Failure::retry("the disk does not keep up: try again later")));
            }
            Submitted::TooLarge => {
                return Err(shared.too_large(length));
            }
        };
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(shared.broken(&error)),
            Err(_) => Err(Refused::Failed(Failure::abandoned("the commit of the queue ended early"))),
        }
    }

    async fn room(&self) {
        self.shared.room.notified().await;
    }

    async fn take(&self) -> Option<Taken> {
        loop {
            // Made before the look: from here on it hears a notification.
            let readable = self.shared.readable.notified();
            if self.is_closed() {
                return None;
            }
            if let Some(kept) = self.shared.kept().pop_front() {
                return Some(kept);
            }
            match self.shared.queue.try_take() {
                Take::Record(taken) => return Some(self.shared.taken(taken)),
                Take::Behind => self.fill().await,
                Take::Empty => readable.await,
            }
        }
    }

    fn done(&self, receivable: Receivable) {
        let Receivable { id, items, bytes } = receivable;
        self.shared.queue.done(weir_disk_queue::Receivable { id, weight: items, length: bytes });
        self.shared.dirty.store(true, Ordering::SeqCst);
        self.shared.room.notify_waiters();
    }

    fn keep(&self, taken: Taken) {
        self.shared.kept().push_back(taken);
        self.shared.readable.notify_waiters();
    }

    async fn save(&self) {
        let _saving = self.shared.saving.lock().await;
        if self.shared.dirty.swap(false, Ordering::SeqCst) {
            self.shared.save(Queue::save).await;
        }
    }

    fn place(&self) -> String {
        self.shared.path.display().to_string()
    }

    fn backlog(&self) -> Backlog {
        backlog_of(self.shared.queue.backlog())
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.shared.readable.notify_waiters();
        self.shared.room.notify_waiters();
    }
}

fn backlog_of(backlog: weir_disk_queue::Backlog) -> Backlog {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Backlog { requests: number(backlog.records), items: number(backlog.weight), bytes: number(backlog.bytes) }
}

#[cfg(test)]
mod tests;
