//! Batch processors in front of queues.
//!
//! A batch processor acknowledges what it holds, so what it sends on must not be refused. In front of a queue in memory its
//! batches wait for room when nobody else is held up by that, and the stage refuses what comes meanwhile: senders are
//! told, and nothing is lost ([`may_refuse`]). Where a receiver feeds several exporters, one destination that stands still
//! would stop the others: there it loses what it cannot take, counted, as in the Collector.
//!
//! # Durable queues
//! A batch processor acknowledges what it holds. In front of a durable queue that would be a promise which a crash breaks,
//! and holding the receipts instead would stall every sender for the timeout. So the engine leaves such a processor out of
//! every pipeline from which something goes into a durable queue, and batches by its settings behind that queue, and behind the
//! queues in memory of exporters beside it.

use async_trait::async_trait;
use weir_component::{Batch, BatchSettings, Consumer, DeliverySettings, Output, Patience, Processor};
use weir_pdata::Signal;

use crate::build::{Builder, find};
use crate::graph::Connections;
use crate::running::Key;
use crate::spec::PipelineSpec;

/// The settings of the processor `id`, when it is one that batches. What is wrong with it is said when it is built. Only a
/// processor says whether it batches, so one is made for this and dropped: ask in front of durable queues only.
pub(crate) fn settings(builder: &Builder<'_>, id: &str) -> Option<BatchSettings> {
    let spec = find(&builder.spec.processors, id)?;
    let factory = builder.components.processor(spec.kind())?;
    match (factory.create)(&builder.build("processors", spec)) {
        Ok(Processor::Batch(_, settings)) => Some(settings),
        _ => None,
    }
}

/// The settings of the first batch processor that is left out in front of an exporter, in the order of the configuration: of
/// the pipelines that name it, then of those that lead to these through connectors.
pub(crate) fn left_out(
    builder: &Builder<'_>,
    connections: &Connections<'_>,
    exporter: &str,
    signal: Signal,
) -> Option<BatchSettings> {
    if builder.durable.is_empty() {
        return None;
    }
    let pipelines = &builder.spec.pipelines;
    let of = |at: usize| pipelines[at].processors.iter().find_map(|id| settings(builder, id));
    // What comes from such a pipeline is batched.
    let batches = |at: usize| !builder.durable.contains(&at) && of(at).is_some();
    let names_it = |p: &PipelineSpec| p.signal == signal && p.exporters.iter().any(|e| e == exporter);
    let mut before: Vec<usize> =
        (0..pipelines.len()).filter(|at| names_it(&pipelines[*at]) && !batches(*at)).collect();
    let mut next = 0;
    while let Some(&behind) = before.get(next) {
        next += 1;
        let leads_there = |p: &PipelineSpec| {
            p.exporters.iter().any(|connector| connections.behind(connector, p.signal).contains(&behind))
        };
        for at in (0..pipelines.len()).filter(|at| leads_there(&pipelines[*at])) {
            if !before.contains(&at) && !batches(at) {
                before.push(at);
            }
        }
    }
    before.into_iter().find_map(of)
}

/// Batches behind the queue of an exporter by the settings of the processor that is left out in front of it, unless the queue
/// has its own.
pub(crate) fn behind_queue(left_out: &BatchSettings, exporter: &str, delivery: &mut DeliverySettings) {
    match &mut delivery.queue {
        Some(queue) => {
            queue.batch.get_or_insert_with(|| left_out.clone());
        }
        None => tracing::warn!(
            otelcol.component.id = exporter,
            otelcol.component.kind = "exporter",
            "A batch processor is left out in front of it, because a durable queue stands beside it, and it has no queue behind \
             which to batch: requests go to it as they come"
        ),
    }
}

/// Whether nobody but this pipeline's exporter is held up when its queue has no room: one exporter, the same one in all
/// pipelines that share a receiver with this one, and nothing in these that is one instance for more of them. With
/// `block_on_overflow` senders wait instead of being refused.
pub(crate) fn may_refuse(builder: &Builder<'_>, connections: &Connections<'_>, at: usize) -> bool {
    let spec = builder.spec;
    let pipeline = &spec.pipelines[at];
    let [exporter] = pipeline.exporters.as_slice() else { return false };
    let key = Key::Exporter(exporter.clone(), pipeline.signal);
    let waits = builder.parts.graph.get(&key).is_none_or(|node| node.blocks);
    if waits || !connections.behind(exporter, pipeline.signal).is_empty() {
        return false;
    }
    let is_connector = |id: &String| find(&spec.connectors, id).is_some();
    let is_shared = |id: &String| {
        let kind = find(&spec.processors, id).and_then(|spec| builder.components.processor(spec.kind()));
        kind.is_none_or(|factory| factory.shared)
    };
    // This one among them.
    let has_its_receivers = |other: &&PipelineSpec| {
        other.signal == pipeline.signal && other.receivers.iter().any(|id| pipeline.receivers.contains(id))
    };
    !pipeline.receivers.iter().any(is_connector)
        && (spec.pipelines.iter().filter(has_its_receivers))
            .all(|one| one.exporters == pipeline.exporters && !one.processors.iter().any(is_shared))
}

/// Says so when senders are to hear the result, which a batch processor on the way does not wait for.
pub(crate) fn warn_of_early_answers(builder: &Builder<'_>, id: &str, at: usize) {
    let pipeline = &builder.spec.pipelines[at];
    for exporter in &pipeline.exporters {
        let key = Key::Exporter(exporter.clone(), pipeline.signal);
        if builder.parts.graph.get(&key).is_some_and(|node| node.waits) {
            tracing::warn!(
                otelcol.component.id = %id,
                otelcol.component.kind = "processor",
                pipeline = %pipeline.id,
                exporter = %exporter,
                "It acknowledges what it takes, so senders do not hear the result although the exporter has \
                 sending_queue::wait_for_result; use sending_queue::batch of the exporter instead of this processor"
            );
        }
    }
}

/// Lets batches that were acknowledged already wait until there is room.
pub(crate) struct Patient(pub(crate) Output);

#[async_trait]
impl Consumer for Patient {
    async fn consume(&self, mut batch: Batch) {
        if batch.receipt.patience() == Patience::Short {
            batch.receipt = batch.receipt.with_patience(Patience::Long);
        }
        self.0.send(batch).await;
    }
}
