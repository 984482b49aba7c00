//! The queue in front of an exporter, and its batching.

use serde::{Deserialize, Serialize};

use super::RetryConfig;
use crate::{ComponentId, GoDuration, Issues, Optional, Validate, tree};

/// The most exports under way at once: each may have a connection of its own, and there are no more ports to one server.
const MOST_CONSUMERS: i64 = 65_535;

/// In what a size is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "invalid sizer: %q", rename_all = "lowercase")]
pub enum Sizer {
    /// Requests as they come in.
    Requests,
    /// Spans, data points, log records or samples.
    Items,
    /// Bytes as OTLP protobuf.
    Bytes,
}

impl Sizer {
    /// As written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Items => "items",
            Self::Bytes => "bytes",
        }
    }
}

/// `sending_queue`: holds what cannot be sent yet. Exporters put it into an [`Optional`], which is on by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// How many requests are sent at the same time. 10.
    pub num_consumers: i64,
    /// Capacity, measured by `sizer`; what is being sent counts. 1000.
    pub queue_size: i64,
    /// What `queue_size` counts; `requests` when not given.
    pub sizer: Option<Sizer>,
    /// Wait for room instead of refusing when the queue is full. Off by default.
    pub block_on_overflow: bool,
    /// Answer the sender only when the data was delivered. Off by default; not together with `storage`.
    pub wait_for_result: bool,
    /// Id of a storage extension that keeps the queue over a restart. Not set: in memory.
    pub storage: Option<ComponentId>,
    /// Batching of what is sent. Off by default.
    pub batch: Optional<BatchConfig>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            num_consumers: 10,
            queue_size: 1000,
            sizer: None,
            block_on_overflow: false,
            wait_for_result: false,
            storage: None,
            batch: Optional::Default(BatchConfig::default()),
        }
    }
}

impl QueueConfig {
    /// What `queue_size` counts.
    pub fn effective_sizer(&self) -> Sizer {
        self.sizer.unwrap_or(Sizer::Requests)
    }

    /// What the sizes of the batch count: its own sizer, else that of the queue if it was given and anything is written
    /// about the batch, else items.
    pub fn batch_sizer(&self) -> Sizer {
        let batch = self.batch.as_ref();
        let of_queue = self.sizer.filter(|_| batch.is_some_and(|batch| batch.has_value));
        batch.and_then(|batch| batch.sizer).or(of_queue).unwrap_or(Sizer::Items)
    }
}

/// Checks queue and retries of an exporter, each of them and whether they go together. `memory` is what the process may use,
/// in bytes.
pub fn validate_delivery(
    queue: &Optional<QueueConfig>,
    retry: &RetryConfig,
    memory: fn() -> u64,
    issues: &mut Issues,
) {
    issues.section("retry_on_failure", retry);
    validate_queue(queue, memory, issues);
    let Some(queue) = queue.as_ref() else { return };
    // With batching, the queue does something that cannot be had without it.
    if queue.wait_for_result && !retry.enabled && !queue.batch.is_on() {
        issues.within("sending_queue", |issues| {
            issues.at_with_help(
                "wait_for_result",
                "`wait_for_result` without `retry_on_failure` makes a queue that keeps nothing: senders wait for one attempt and \
                 hear how it ended, as without a queue",
                "turn retry_on_failure on, or the queue off (`sending_queue: {enabled: false}`), or let it batch",
            );
        });
    }
}

/// Checks the queue of an exporter, also whether one in memory has room there.
pub fn validate_queue(queue: &Optional<QueueConfig>, memory: fn() -> u64, issues: &mut Issues) {
    issues.optional("sending_queue", queue);
    let in_memory =
        queue.as_ref().filter(|queue| queue.storage.is_none() && queue.sizer == Some(Sizer::Bytes));
    let Some(size) = in_memory.and_then(|queue| u64::try_from(queue.queue_size).ok()) else { return };
    let most = memory();
    if size > most {
        issues.within("sending_queue", |issues| {
            issues.at_with_help(
                "queue_size",
                format!(
                    "`queue_size` ({size} bytes) is above the memory that this process may use ({most} bytes): the queue would never be \
                     full"
                ),
                format!("set less than {most}, or a `storage`, which keeps the queue on disk"),
            );
        });
    }
}

impl Validate for QueueConfig {
    fn validate(&self, issues: &mut Issues) {
        if self.num_consumers <= 0 {
            issues.at("num_consumers", "`num_consumers` must be positive");
        }
        if self.num_consumers > MOST_CONSUMERS {
            let message = format!(
                "`num_consumers` ({}) must be at most {MOST_CONSUMERS}: each may need a connection of its own, and a server can be \
                 reached from no more ports",
                self.num_consumers
            );
            issues.at("num_consumers", message);
        }
        if self.queue_size <= 0 {
            issues.at("queue_size", "`queue_size` must be positive");
        }
        if self.storage.is_some() && self.wait_for_result {
            let message =
                "`wait_for_result` is not supported with a persistent queue configured with `storage`";
            issues.at("wait_for_result", message);
        }
        let Some(batch) = self.batch.as_ref() else { return };
        let sizer = self.batch_sizer();
        if sizer == self.effective_sizer() && batch.min_size > self.queue_size {
            issues.at("queue_size", "`min_size` must be less than or equal to `queue_size`");
        } else if sizer == self.effective_sizer() && batch.max_size > self.queue_size {
            let message = format!(
                "`max_size` ({}) must be less than or equal to `queue_size` ({}): no batch can hold more than the queue",
                batch.max_size, self.queue_size
            );
            issues.within("batch", |issues| issues.at("max_size", message));
        }
        issues.within("batch", |issues| {
            if sizer == Sizer::Requests {
                issues.at("sizer", "`batch` supports only `items` or `bytes` sizer, found \"requests\"");
            }
            batch.validate(issues);
        });
    }
}

/// `sending_queue::batch`: puts requests together before they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Send what is there after this time. 200ms.
    pub flush_timeout: GoDuration,
    /// What the sizes count: `items` or `bytes`; the queue's sizer when not given, `items` when that is not given either, or
    /// nothing is written here (`batch:`).
    pub sizer: Option<Sizer>,
    /// Send as soon as this much is there. 8192.
    pub min_size: i64,
    /// Split what is larger. 0: never.
    pub max_size: i64,
    /// Which requests may go together.
    pub partition: PartitionConfig,
    /// Whether it was written with a value, be it `{}`: only then the queue's sizer is this one's too.
    #[serde(skip, default = "has_value")]
    has_value: bool,
}

fn has_value() -> bool {
    !tree::without_value()
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            flush_timeout: GoDuration::from_millis(200),
            sizer: None,
            min_size: 8192,
            max_size: 0,
            partition: PartitionConfig::default(),
            has_value: false,
        }
    }
}

impl Validate for BatchConfig {
    fn validate(&self, issues: &mut Issues) {
        let (least, most) = (self.min_size, self.max_size);
        if self.flush_timeout <= GoDuration::ZERO {
            issues.at(
                "flush_timeout",
                format!("`flush_timeout` must be positive, found {}", self.flush_timeout.as_nanos()),
            );
        }
        if least < 0 {
            issues.at("min_size", format!("`min_size` must be non-negative, found {least}"));
        }
        if most < 0 {
            issues.at("max_size", format!("`max_size` must be non-negative, found {most}"));
        }
        if most > 0 && most < least {
            issues.at(
                "max_size",
                format!("`max_size` ({most}) must be greater or equal to `min_size` ({least})"),
            );
        }
        issues.section("partition", &self.partition);
    }
}

/// Which requests may go together into a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionConfig {
    /// Only requests whose metadata agree in these keys go together; names in any case. Empty: all.
    pub metadata_keys: Vec<String>,
}

impl Validate for PartitionConfig {
    fn validate(&self, issues: &mut Issues) {
        let mut seen = std::collections::HashSet::new();
        for key in &self.metadata_keys {
            let key = key.to_lowercase();
            if !seen.insert(key.clone()) {
                let message = format!("duplicate entry in metadata_keys: {key:?} (case-insensitive)");
                issues.at("metadata_keys", message);
                return;
            }
        }
    }
}
