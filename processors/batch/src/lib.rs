//! Puts requests together until there are enough or time is up.
//!
//! As in the Collector it acknowledges what it takes: what becomes of a batch downstream is logged and counted, not told to
//! the senders. So its batches wait for room in a queue where others would be refused ([`Patience`]): until there is room
//! where they alone want it, during which the engine refuses at the door what comes; a moment where others would be held
//! up. In front of a durable queue the engine leaves it out and batches by its settings behind the queue. Use the
//! exporters' `sending_queue::batch` where senders must know.

mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_component::{
    Batch, BatchSettings, Budget, Build, BuildError, Context, Count, Failure, Host, Instant, Losses,
    Maturity, Patience, Processor, ProcessorFactory, Receipt, Reservation, Sizer, Stability, Stage,
    StageContext, async_trait,
};
use weir_config::{GoDuration, Options};
use weir_pdata::{Gathering, Limit, Payload, Signal};

use metrics::Metrics;

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    timeout: GoDuration,
    send_batch_size: u32,
    send_batch_max_size: u32,
    metadata_keys: Vec<String>,
    metadata_cardinality_limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            timeout: GoDuration::from_millis(200),
            send_batch_size: 8192,
            send_batch_max_size: 0,
            metadata_keys: Vec::new(),
            metadata_cardinality_limit: 1000,
        }
    }
}

impl Config {
    /// The same batching behind a queue that is durable.
    fn behind_a_queue(&self) -> BatchSettings {
        BatchSettings {
            flush_timeout: self.timeout.as_std(),
            min_size: if self.timeout.is_zero() { 0 } else { self.send_batch_size as usize },
            max_size: self.send_batch_max_size as usize,
            sizer: Sizer::Items,
            metadata_keys: self.metadata_keys.clone(),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.send_batch_max_size > 0 && self.send_batch_max_size < self.send_batch_size {
            return Err("send_batch_max_size must be greater or equal to send_batch_size".to_owned());
        }
        if self.timeout.is_negative() {
            return Err("timeout must be greater or equal to 0".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        for key in &self.metadata_keys {
            if !seen.insert(key.to_ascii_lowercase()) {
                let key = key.to_ascii_lowercase();
                return Err(format!("duplicate entry in metadata_keys: \"{key}\" (case-insensitive)"));
            }
        }
        Ok(())
    }
}

/// Makes `batch` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "batch",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Beta, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.config()?;
    config.check().map_err(|message| build.invalid(message))?;
    let behind = config.behind_a_queue();
    Ok(Processor::Batch(Box::new(Batcher::new(config, build.id, build.host)), behind))
}

impl Drop for Batcher {
    fn drop(&mut self) {
        // At a deadline, or after a panic.
        for shard in self.shards.values().filter(|shard| !shard.gathered.is_empty()) {
            let failure = Failure::abandoned("the processor was dropped before it had sent everything");
            self.loss(shard.gathered.signal(), shard.gathered.items()).happened(&failure);
        }
        // After a reload another one may count on.
        self.metrics.combinations.sub(if self.keys.is_empty() { 1 } else { self.shards.len() });
    }
}

/// Combinations of metadata values that may be known where there is no limit before those that hold nothing are let go.
const MANY: usize = 1000;

/// Requests of one combination of metadata values.
struct Shard {
    gathered: Gathering,
    /// Of the block that is being filled; full ones carry their own.
    room: Reservation,
    deadline: Instant,
}

impl Shard {
    fn new(signal: Signal, budget: &Budget, deadline: Instant) -> Shard {
        let (room, budget) = (budget.begin(), budget.clone());
        let keep = move |block: Vec<u8>| {
            let mut room = budget.begin();
            room.force(block.capacity());
            room.hold(block.into())
        };
        Shard { gathered: Gathering::in_blocks(signal, keep), room, deadline }
    }

    /// Adds a request; one of another signal is handed back.
    fn add(&mut self, payload: Payload) -> Result<(), Payload> {
        let added = self.gathered.add(payload);
        self.room.force(self.gathered.open_block());
        added
    }

    /// Takes everything out, in parts within a limit, which are in the budget.
    fn take(&mut self, limit: Limit, budget: &Budget) -> Vec<Payload> {
        let mut parts = self.gathered.take(limit);
        self.room.force(self.gathered.open_block());
        parts.iter_mut().for_each(|part| budget.own(part));
        parts
    }
}

struct Batcher {
    id: String,
    /// Its pipeline, known from the first request on.
    pipeline: String,
    timeout: Duration,
    size: usize,
    max_size: usize,
    keys: Vec<String>,
    limit: usize,
    /// So many combinations make it worth while to look for those that hold nothing.
    many: usize,
    shards: BTreeMap<Vec<Vec<String>>, Shard>,
    metrics: Metrics,
    losses: Arc<Losses>,
}

impl Batcher {
    fn new(config: Config, id: &str, host: &Host) -> Batcher {
        let metrics = Metrics::new(id, host);
        let limit = config.metadata_cardinality_limit as usize;
        // Without keys there is the one combination of no values.
        metrics.combinations.add(usize::from(config.metadata_keys.is_empty()));
        Batcher {
            id: id.to_owned(),
            pipeline: String::new(),
            timeout: config.timeout.as_std(),
            size: config.send_batch_size as usize,
            max_size: config.send_batch_max_size as usize,
            keys: config.metadata_keys,
            limit,
            many: if limit == 0 { MANY } else { limit },
            shards: BTreeMap::new(),
            metrics,
            losses: host.shared(),
        }
    }

    /// Values of the metadata keys: what makes a shard.
    fn shard_of(&self, context: &Context) -> Vec<Vec<String>> {
        self.keys.iter().map(|key| context.metadata(key).to_vec()).collect()
    }

    /// Whether there is room for another combination. Those that hold nothing have to make it: they know nothing either.
    fn has_room(&mut self) -> bool {
        if self.keys.is_empty() || self.shards.len() < self.many {
            return true;
        }
        let before = self.shards.len();
        self.shards.retain(|_, shard| !shard.gathered.is_empty());
        self.metrics.combinations.sub(before - self.shards.len());
        if self.limit == 0 {
            self.many = MANY.max(2 * self.shards.len());
            return true;
        }
        self.shards.len() < self.limit
    }

    /// What one hears for whose combination there is no room.
    fn refusal(&self, items: usize) -> Failure {
        let failure = Failure::permanent("too many batcher metadata-value combinations");
        tracing::warn!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "processor",
            otelcol.pipeline.id = %self.pipeline,
            error = %failure,
            rejected_items = items,
            "Refused: batches of as many combinations as metadata_cardinality_limit allows are being filled; raise it, or take \
             metadata_keys with fewer values"
        );
        failure.reported_by(&self.id)
    }

    /// The metadata that a batch of a shard carries on.
    fn context(&self, shard: &[Vec<String>]) -> Arc<Context> {
        let pairs = self.keys.iter().zip(shard).filter(|(_, values)| !values.is_empty());
        let metadata = pairs.map(|(key, values)| (key.to_ascii_lowercase(), values.clone())).collect();
        Arc::new(Context { metadata, ..Context::default() })
    }

    fn sends_at_once(&self) -> bool {
        self.timeout.is_zero() || self.size == 0
    }

    /// Sends everything of a shard that is due because of its size, and with `all` also the rest.
    async fn send(&mut self, key: &[Vec<String>], all: bool, cx: &StageContext) {
        let Some(shard) = self.shards.get_mut(key) else {
            return;
        };
        if shard.gathered.is_empty() || !(all || shard.gathered.items() >= self.size) {
            return;
        }
        let max = if self.max_size > 0 { self.max_size } else { usize::MAX };
        let mut parts = shard.take(Limit::Items(max), cx.host.budget());
        // Only the last may be too small.
        if let Some(rest) = parts.pop_if(|last| !all && last.items() < self.size) {
            // Of the same signal.
            drop(shard.add(rest));
        }
        let by_size = parts.iter().filter(|part| part.items() >= self.size).count();
        shard.deadline = cx.clock.now() + self.timeout;
        self.metrics.by_size.add(by_size);
        self.metrics.by_timeout.add(parts.len() - by_size);
        let context = self.context(key);
        // All of them before the first is sent: a stage may be dropped while it waits for room downstream.
        let batches: Vec<Batch> = parts.into_iter().map(|part| self.observed(part, &context)).collect();
        for batch in batches {
            self.metrics.sent(&batch.payload);
            cx.outputs.send(0, batch).await;
        }
    }

    /// A batch that nobody waits for; if it does not arrive, that is logged and counted.
    fn observed(&self, payload: Payload, context: &Arc<Context>) -> Batch {
        let loss = self.loss(payload.signal(), payload.items());
        let receipt = Receipt::observed(move |outcome| {
            if let Err(failure) = outcome {
                loss.happened(failure);
            }
        })
        .with_patience(Patience::Short);
        Batch { payload, receipt, context: Arc::clone(context) }
    }

    fn loss(&self, signal: Signal, items: usize) -> Loss {
        let (id, pipeline) = (self.id.clone(), self.pipeline.clone());
        let (count, losses) = (self.metrics.lost.clone(), Arc::clone(&self.losses));
        Loss { id, pipeline, count, losses, signal, items }
    }
}

/// What is lost when a batch does not arrive.
struct Loss {
    id: String,
    pipeline: String,
    count: Count,
    losses: Arc<Losses>,
    signal: Signal,
    items: usize,
}

impl Loss {
    fn happened(&self, failure: &Failure) {
        self.count.add(self.items);
        // What a destination refuses for good nobody could have delivered.
        if failure.is_retryable() {
            self.losses.add(&self.id, self.signal, self.items);
        }
        let reported_by = Some(failure.component()).filter(|id| !id.is_empty());
        tracing::warn!(
            otelcol.component.id = %self.id,
            otelcol.component.kind = "processor",
            otelcol.pipeline.id = %self.pipeline,
            otelcol.signal = self.signal.name(),
            error = %failure,
            reported_by,
            dropped_items = self.items,
            "Sender failed"
        );
    }
}

#[async_trait]
impl Stage for Batcher {
    async fn on_batch(&mut self, _: usize, batch: Batch, cx: &StageContext) {
        if let (true, Some(port)) = (self.pipeline.is_empty(), cx.outputs.ports().first()) {
            self.pipeline.clone_from(&port.pipeline);
        }
        let key = self.shard_of(&batch.context);
        let Batch { payload, receipt, .. } = batch;
        if !self.shards.contains_key(&key) {
            if !self.has_room() {
                receipt.settle(Err(self.refusal(payload.items())));
                return;
            }
            let deadline = cx.clock.now() + self.timeout;
            let shard = Shard::new(payload.signal(), cx.host.budget(), deadline);
            self.shards.insert(key.clone(), shard);
            if !self.keys.is_empty() {
                self.metrics.combinations.add(1);
            }
        }
        if let Some(shard) = self.shards.get_mut(&key) {
            if shard.gathered.is_empty() {
                shard.deadline = cx.clock.now() + self.timeout;
            }
            if let Err(stranger) = shard.add(payload) {
                let message =
                    format!("a batch of {} came into a pipeline of another signal", stranger.signal());
                receipt.settle(Err(Failure::permanent(message)));
                return;
            }
        }
        receipt.settle(Ok(()));
        let all = self.sends_at_once();
        self.send(&key, all, cx).await;
    }

    fn wake_at(&self) -> Option<Instant> {
        self.shards.values().filter(|s| !s.gathered.is_empty()).map(|s| s.deadline).min()
    }

    async fn on_wake(&mut self, cx: &StageContext) {
        let now = cx.clock.now();
        let due: Vec<_> = (self.shards.iter())
            .filter(|(_, s)| !s.gathered.is_empty() && s.deadline <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.send(&key, true, cx).await;
        }
    }

    async fn on_drain(&mut self, cx: &StageContext) {
        for key in self.shards.keys().cloned().collect::<Vec<_>>() {
            self.send(&key, true, cx).await;
        }
    }
}

#[cfg(test)]
mod tests;
