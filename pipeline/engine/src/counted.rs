//! Inline consumers of the engine: counting and transforms.

use std::sync::Arc;

use async_trait::async_trait;
use weir_component::{Batch, Consumer, Count, Host, Output, Receipt, Transform, Verdict};
use weir_pdata::Signal;

/// Counts what a receiver's senders were told: accepted or refused items.
pub(crate) struct Accepting {
    next: Output,
    by_transport: Vec<(&'static str, Tally)>,
}

#[derive(Clone)]
struct Tally {
    accepted: Count,
    refused: Count,
}

/// Transports that receivers name; another one counts as the empty one.
const TRANSPORTS: [&str; 3] = ["", "grpc", "http"];

impl Accepting {
    /// Counts for receiver `id` in front of `next`. Counts of network transports are made on first use by a receiver
    /// that names one.
    pub(crate) fn new(
        id: &str,
        signal: Signal,
        transports: &[&'static str],
        host: &Host,
        next: Output,
    ) -> Accepting {
        let tally = |transport: &'static str| {
            let count = |what: &str, description| {
                let name = format!("otelcol_receiver_{what}_{}", signal.items());
                let labels = vec![("receiver", id.to_owned()), ("transport", transport.to_owned())];
                host.stats().counter(&name, description, labels)
            };
            Tally {
                accepted: count("accepted", "Number of items successfully pushed into the pipeline"),
                refused: count("refused", "Number of items that could not be pushed into the pipeline"),
            }
        };
        let by_transport =
            TRANSPORTS.iter().filter(|t| transports.contains(t)).map(|t| (*t, tally(t))).collect();
        Accepting { next, by_transport }
    }
}

#[async_trait]
impl Consumer for Accepting {
    async fn consume(&self, mut batch: Batch) {
        let items = batch.payload.items();
        let transport = batch.context.transport;
        let tally = self.by_transport.iter().find(|(t, _)| *t == transport).or(self.by_transport.first());
        if let Some((_, tally)) = tally.cloned() {
            batch.receipt.join(Receipt::observed(move |outcome| match outcome {
                Ok(()) => tally.accepted.add(items),
                Err(_) => tally.refused.add(items),
            }));
        }
        self.next.send(batch).await;
    }
}

/// Items in and out of a processor.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) incoming: Count,
    pub(crate) outgoing: Count,
}

impl Flow {
    /// The counts of processor `id` for a signal.
    pub(crate) fn new(id: &str, signal: Signal, host: &Host) -> Flow {
        let count = |what: &str, description| {
            let labels = vec![("processor", id.to_owned()), ("otel_signal", signal.name().to_owned())];
            host.stats().counter(&format!("otelcol_processor_{what}_items"), description, labels)
        };
        Flow {
            incoming: count("incoming", "Number of items passed to the processor"),
            outgoing: count("outgoing", "Number of items emitted from the processor"),
        }
    }
}

/// A [`Transform`] in front of the next consumer.
pub(crate) struct Inline {
    pub(crate) id: String,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) flow: Flow,
    pub(crate) next: Output,
}

#[async_trait]
impl Consumer for Inline {
    async fn consume(&self, mut batch: Batch) {
        self.flow.incoming.add(batch.payload.items());
        match self.transform.apply(&mut batch.payload, &batch.context) {
            Ok(Verdict::Pass) => {
                self.flow.outgoing.add(batch.payload.items());
                self.next.send(batch).await;
            }
            Ok(Verdict::Drop) => batch.receipt.settle(Ok(())),
            Err(failure) => batch.receipt.settle(Err(failure.reported_by(&self.id))),
        }
    }
}

/// Counts what leaves a stage.
pub(crate) struct Outgoing {
    pub(crate) count: Count,
    pub(crate) next: Output,
}

#[async_trait]
impl Consumer for Outgoing {
    async fn consume(&self, batch: Batch) {
        self.count.add(batch.payload.items());
        self.next.send(batch).await;
    }
}
