//! The consumer in front of an exporter.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use weir_component::{Batch, Clock, Consumer, DeliverySettings, Exporter, Host};
use weir_pdata::Signal;

use crate::counts::{Counts, QueueCounts};
use crate::dispatcher;
use crate::queue::MemoryQueue;
use crate::sender::{Ending, Sender, Undelivered};

/// Takes batches for an exporter.
pub struct Delivery {
    sender: Arc<Sender>,
    queue: Option<Arc<MemoryQueue>>,
    wait_for_result: bool,
}

/// The future that works a queue off and stops the exporter.
pub type Dispatcher = BoxFuture<'static, ()>;

/// Puts queue, batching, timeout and retries in front of `exporter`. The engine runs the dispatcher; it ends when the
/// [`Delivery`] is dropped and everything has been settled, for which a retry waits until the `ending` has begun.
pub fn deliver(
    id: &str,
    signal: Signal,
    exporter: Arc<dyn Exporter>,
    settings: &DeliverySettings,
    clock: Clock,
    host: &Host,
    ending: &Ending,
) -> (Delivery, Dispatcher) {
    let counts = Counts::new(id, signal, &*exporter, host);
    let sender = Arc::new(Sender::new(id, exporter, settings, clock, counts, ending.clone()));
    let Some(queue_settings) = &settings.queue else {
        let work = stop_when_dropped(&sender);
        return (Delivery { sender, queue: None, wait_for_result: true }, Box::pin(work));
    };
    let counts = QueueCounts::new(id, signal, queue_settings.queue_size, host);
    let queue = Arc::new(MemoryQueue::new(queue_settings.clone(), counts));
    let work = dispatcher::run(Arc::clone(&queue), Arc::clone(&sender), queue_settings.clone());
    let wait_for_result = queue_settings.wait_for_result;
    (Delivery { sender, queue: Some(queue), wait_for_result }, Box::pin(work))
}

/// Without a queue nothing is left to send once the [`Delivery`] is gone.
fn stop_when_dropped(sender: &Sender) -> impl Future<Output = ()> + Send + use<> {
    let exporter = Arc::clone(&sender.exporter);
    let draining = Arc::clone(&sender.draining);
    async move {
        draining.closed().await;
        exporter.stop().await;
    }
}

impl Delivery {
    /// The count of what it could not deliver although it was acknowledged.
    pub fn undelivered(&self) -> Undelivered {
        self.sender.undelivered.clone()
    }
}

#[async_trait]
impl Consumer for Delivery {
    async fn consume(&self, batch: Batch) {
        let Some(queue) = &self.queue else {
            let outcome = self.sender.send(&batch.payload, &batch.context).await;
            batch.receipt.settle(outcome);
            return;
        };
        if batch.payload.is_empty() {
            batch.receipt.settle(Ok(()));
            return;
        }
        let Batch { payload, mut receipt, context } = batch;
        let early = if self.wait_for_result { None } else { Some(std::mem::take(&mut receipt)) };
        queue.counts.offered(&payload);
        let traced = queue.counts.begin(&context);
        let context = traced.as_ref().map_or(context, |(_, within)| Arc::new(within.clone()));
        match queue.put(Batch { payload, receipt, context }).await {
            Ok(()) => {
                if let Some(receipt) = early {
                    receipt.settle(Ok(()));
                }
            }
            Err((batch, failure)) => {
                queue.counts.refused.add(batch.payload.items());
                let receipt = early.unwrap_or(batch.receipt);
                receipt.settle(Err(failure.reported_by(&self.sender.id)));
            }
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.sender.draining.close();
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}
