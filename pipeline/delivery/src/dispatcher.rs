//! Works a queue off: puts batches together and keeps several sends under way.

use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use weir_component::{Batch, BatchSettings, Context, Instant, QueueSettings, Sizer};

use crate::queue::{MemoryQueue, Room};
use crate::sender::Sender;

/// A batch with the room it occupies.
struct Load {
    batch: Batch,
    room: Room,
}

/// Runs until the queue is closed and everything taken from it is settled.
pub(crate) async fn run(queue: Arc<MemoryQueue>, sender: Arc<Sender>, settings: QueueSettings) {
    let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut forming: Option<Forming> = None;
    let consumers = settings.num_consumers.max(1);
    loop {
        while under_way.len() >= consumers {
            under_way.next().await;
        }
        match next(
            &queue,
            &sender,
            &mut under_way,
            forming.as_ref().map(|f| f.deadline),
        )
        .await
        {
            Next::Taken(batch) => {
                let room = queue.room(&batch);
                let load = Load { batch, room };
                match &settings.batch {
                    None => under_way.push(send(&queue, &sender, load)),
                    Some(batching) => {
                        let deadline = sender.clock.now() + batching.flush_timeout;
                        let ready = Forming::add(&mut forming, load, deadline, batching);
                        for load in ready {
                            under_way.push(send(&queue, &sender, load));
                        }
                    }
                }
            }
            Next::Flush => flush(&queue, &sender, &settings, &mut forming, &under_way),
            Next::Closed => break,
        }
    }
    flush(&queue, &sender, &settings, &mut forming, &under_way);
    while under_way.next().await.is_some() {}
    sender.exporter.stop().await;
}

/// Sends what is forming.
fn flush(
    queue: &Arc<MemoryQueue>,
    sender: &Arc<Sender>,
    settings: &QueueSettings,
    forming: &mut Option<Forming>,
    under_way: &FuturesUnordered<BoxFuture<'static, ()>>,
) {
    for load in forming
        .take()
        .map(|f| f.finish(settings.batch.as_ref()))
        .unwrap_or_default()
    {
        under_way.push(send(queue, sender, load));
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
        load.batch.receipt.settle(outcome);
        queue.release(load.room);
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
        forming
            .take()
            .map(|f| f.finish(Some(settings)))
            .unwrap_or_default()
    }

    /// Everything, in parts of at most `max_size`.
    fn finish(self, settings: Option<&BatchSettings>) -> Vec<Load> {
        let Some(settings) = settings.filter(|s| s.max_size > 0) else {
            return vec![self.load];
        };
        let mut rest = self.load;
        let mut parts = Vec::new();
        while rest.size(settings) > settings.max_size && rest.batch.payload.items() > 1 {
            parts.push(rest.split(settings));
        }
        parts.push(rest);
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
        let Batch {
            payload,
            receipt,
            context,
        } = other.batch;
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
        Load {
            batch,
            room: Room::default(),
        }
    }
}
