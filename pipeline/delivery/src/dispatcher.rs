//! Works a queue off: puts batches together and keeps several sends under way.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use weir_component::{Batch, BatchSettings, Context, Failure, Instant, QueueSettings, Sizer};

use crate::queue::{MemoryQueue, Room};
use crate::sender::Sender;

/// A batch with the room it occupies.
struct Load {
    batch: Batch,
    room: Room,
}

/// Runs until the queue is closed and everything taken from it is settled.
pub(crate) async fn run(queue: Arc<MemoryQueue>, sender: Arc<Sender>, settings: QueueSettings) {
    // Declared first, so that it is dropped last: after all that is under way.
    let _custody = Custody { queue: &queue, sender: &sender };
    let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut forming: Option<Forming> = None;
    let mut ready: VecDeque<Load> = VecDeque::new();
    let consumers = settings.num_consumers.max(1);
    loop {
        while under_way.len() >= consumers {
            under_way.next().await;
        }
        if let Some(load) = ready.pop_front() {
            under_way.push(send(&queue, &sender, load));
            continue;
        }
        match next(&queue, &sender, &mut under_way, forming.as_ref().map(|f| f.deadline)).await {
            Next::Taken(batch) => {
                let room = queue.room(&batch);
                let load = Load { batch, room };
                match &settings.batch {
                    None => ready.push_back(load),
                    Some(batching) => {
                        let deadline = sender.clock.now() + batching.flush_timeout;
                        ready.extend(Forming::add(&mut forming, load, deadline, batching));
                    }
                }
            }
            Next::Flush => ready.extend(finish(&mut forming, &settings)),
            Next::Closed => match finish(&mut forming, &settings) {
                rest if rest.is_empty() => break,
                rest => ready.extend(rest),
            },
        }
    }
    while under_way.next().await.is_some() {}
    sender.exporter.stop().await;
}

/// What was forming, ready to be sent.
fn finish(forming: &mut Option<Forming>, settings: &QueueSettings) -> Vec<Load> {
    forming.take().map(|f| f.finish(settings.batch.as_ref())).unwrap_or_default()
}

/// The dispatcher's duty for what its queue has accepted. When the dispatcher ends before it is done, because it was
/// dropped at a deadline or an export panicked, what is left counts as failed: its sender may have heard success.
struct Custody<'a> {
    queue: &'a MemoryQueue,
    sender: &'a Sender,
}

impl Drop for Custody<'_> {
    fn drop(&mut self) {
        let lost = self.queue.abandon();
        if lost > 0 {
            self.sender.lost(lost);
            if self.queue.acknowledges() {
                self.sender.undelivered.add(lost);
            }
        }
    }
}

enum Next {
    Taken(Batch),
    Flush,
    Closed,
}

/// Waits for a batch or for the deadline of the one that is forming, while the sends make progress.
async fn next(
    queue: &MemoryQueue,
    sender: &Sender,
    under_way: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    deadline: Option<Instant>,
) -> Next {
    let event = Box::pin(async {
        let take = Box::pin(queue.take());
        let taken = match deadline {
            None => take.await,
            Some(deadline) => match select(take, sender.clock.sleep_until(deadline)).await {
                Either::Left((taken, _)) => taken,
                Either::Right(_) => return Next::Flush,
            },
        };
        taken.map_or(Next::Closed, Next::Taken)
    });
    let progress = Box::pin(async {
        loop {
            if under_way.next().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    });
    match select(event, progress).await {
        Either::Left((next, _)) => next,
        Either::Right(((), _)) => Next::Flush,
    }
}

fn send(queue: &Arc<MemoryQueue>, sender: &Arc<Sender>, load: Load) -> BoxFuture<'static, ()> {
    let (queue, sender) = (Arc::clone(queue), Arc::clone(sender));
    Box::pin(async move {
        let outcome = sender.send(&load.batch.payload, &load.batch.context).await;
        let items = load.batch.payload.items();
        if queue.acknowledges()
            && outcome.as_ref().is_err_and(Failure::is_retryable)
            && sender.draining.has_begun()
        {
            sender.undelivered.add(items);
        }
        load.batch.receipt.settle(outcome);
        queue.release(load.room, items);
    })
}

/// A batch that waits for more.
struct Forming {
    load: Load,
    deadline: Instant,
}

impl Forming {
    /// Adds a load to what is forming and returns what is ready to be sent.
    fn add(
        forming: &mut Option<Forming>,
        load: Load,
        deadline: Instant,
        settings: &BatchSettings,
    ) -> Vec<Load> {
        match forming {
            None => *forming = Some(Forming { load, deadline }),
            Some(present) => present.load.merge(load),
        }
        let Some(present) = forming else { return Vec::new() };
        if present.load.size(settings) < settings.min_size {
            return Vec::new();
        }
        let mut ready = forming.take().map(|f| f.finish(Some(settings))).unwrap_or_default();
        // What a split left over waits for more, as everything that is too small.
        if ready.len() > 1 && ready.last().is_some_and(|rest| rest.size(settings) < settings.min_size) {
            *forming = ready.pop().map(|load| Forming { load, deadline });
        }
        ready
    }

    /// Everything, in parts of at most `max_size`; an item that is larger goes alone.
    fn finish(self, settings: Option<&BatchSettings>) -> Vec<Load> {
        let Some(settings) = settings.filter(|s| s.max_size > 0) else {
            return vec![self.load];
        };
        let mut whole = vec![self.load];
        let mut parts = Vec::new();
        while let Some(mut load) = whole.pop() {
            if load.size(settings) > settings.max_size && load.batch.payload.items() > 1 {
                let front = load.split(settings);
                // A front of large items may still be above a limit in bytes: it is looked at next.
                whole.extend([load, front]);
            } else {
                parts.push(load);
            }
        }
        parts
    }
}

impl Load {
    fn size(&self, settings: &BatchSettings) -> usize {
        match settings.sizer {
            Sizer::Bytes => self.batch.payload.encoded_len(),
            Sizer::Items | Sizer::Requests => self.batch.payload.items(),
        }
    }

    /// One settlement then answers for both. What is known of the senders is only kept where they agree.
    fn merge(&mut self, other: Load) {
        let Batch { payload, receipt, context } = other.batch;
        if self.batch.payload.append(payload).is_err() {
            // Cannot happen: a queue holds one signal. The receipt of the stranger is dropped and so reported.
            return;
        }
        self.batch.receipt.join(receipt);
        if self.batch.context != context {
            self.batch.context = Arc::new(Context::default());
        }
        self.room.add(other.room);
    }

    /// Takes about `max_size` off the front; the receipt is shared, the room stays with the rest.
    fn split(&mut self, settings: &BatchSettings) -> Load {
        let payload = &mut self.batch.payload;
        let items = match settings.sizer {
            Sizer::Bytes => {
                let per_item = payload.encoded_len().div_ceil(payload.items().max(1)).max(1);
                (settings.max_size / per_item).clamp(1, payload.items() - 1)
            }
            Sizer::Items | Sizer::Requests => settings.max_size,
        };
        let front = payload.split_off_front(items);
        let batch = Batch {
            payload: front,
            receipt: self.batch.receipt.fork(),
            context: Arc::clone(&self.batch.context),
        };
        Load { batch, room: Room::default() }
    }
}
