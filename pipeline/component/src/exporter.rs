//! Sending telemetry out.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use weir_pdata::Payload;

use crate::{Context, Failure, Host};

/// Sends payloads to somebody else. The author sends once: the engine queues, batches, times out, retries and settles.
#[async_trait]
pub trait Exporter: Send + Sync {
    /// Prepares for work; called once before the first export.
    ///
    /// # Errors
    /// The agent does not start.
    async fn start(&self, _host: &Host) -> Result<(), Failure> {
        Ok(())
    }

    /// One attempt. It may be cancelled by dropping the future when its time is up.
    ///
    /// # Errors
    /// A retryable failure is tried again as the settings say; a permanent one ends the batch.
    async fn export(&self, payload: &Payload, context: &Context) -> Result<Accepted, Failure>;

    /// No export will follow.
    async fn stop(&self) {}

    /// Attributes of the counts of what was sent, besides the exporter's id: where it goes, such as `server.address`.
    /// Fixed for the life of the exporter.
    fn attributes(&self) -> Vec<KeyValue> {
        Vec::new()
    }
}

/// What a backend took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Items that it refused while it took the others (OTLP partial success). They must not be sent again.
    pub rejected: usize,
    /// What it said about it.
    pub message: String,
}

/// What stands in front of an exporter. `Default` is the Collector's exporter helper: a memory queue of 1,000 requests
/// with 10 consumers, 5 s per attempt, retries for 5 minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliverySettings {
    /// Longest time of one attempt; zero: no limit. Default 5 s.
    pub timeout: Duration,
    /// Retries; `None`: a failed attempt is final.
    pub retry: Option<RetrySettings>,
    /// Queue; `None`: the sender waits for the delivery itself.
    pub queue: Option<QueueSettings>,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        DeliverySettings {
            timeout: Duration::from_secs(5),
            retry: Some(RetrySettings::default()),
            queue: Some(QueueSettings::default()),
        }
    }
}

/// Exponential back-off.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySettings {
    /// First wait. Default 5 s.
    pub initial_interval: Duration,
    /// Each wait is drawn from `interval * (1 ± factor)`. Default 0.5.
    pub randomization_factor: f64,
    /// Growth from wait to wait. Default 1.5.
    pub multiplier: f64,
    /// Longest wait before the draw. Default 30 s.
    pub max_interval: Duration,
    /// When to give up; zero: never. Default 5 min.
    pub max_elapsed_time: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings {
            initial_interval: Duration::from_secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::from_secs(300),
        }
    }
}

/// What a size is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sizer {
    /// Batches as they come.
    #[default]
    Requests,
    /// Spans, data points, log records, samples.
    Items,
    /// Encoded bytes.
    Bytes,
}

/// The queue in front of an exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// Exports under way at once. Default 10.
    pub num_consumers: usize,
    /// Capacity, in `sizer`; what is being exported counts. Default 1,000.
    pub queue_size: usize,
    /// What the capacity is counted in. Default requests.
    pub sizer: Sizer,
    /// Capacity in bytes beside it for a queue in memory that counts something else, so that large requests cannot
    /// fill the memory. Default 256 MiB.
    pub max_bytes: usize,
    /// Id of the extension that keeps the queue over a restart. Default none: in memory.
    pub storage: Option<String>,
    /// Wait for room instead of refusing. Default false.
    pub block_on_overflow: bool,
    /// Settle when delivered instead of when queued. Default false.
    pub wait_for_result: bool,
    /// Batching behind the queue. Default none.
    pub batch: Option<BatchSettings>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        QueueSettings {
            num_consumers: 10,
            queue_size: 1000,
            sizer: Sizer::Requests,
            max_bytes: 256 << 20,
            block_on_overflow: false,
            wait_for_result: false,
            storage: None,
            batch: None,
        }
    }
}

/// Batching in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchSettings {
    /// Send what there is after this time. Default 200 ms.
    pub flush_timeout: Duration,
    /// Send when there is this much. Default 8192.
    pub min_size: usize,
    /// Never send more at once; zero: no limit. Default 0.
    pub max_size: usize,
    /// Items or bytes. Default items.
    pub sizer: Sizer,
    /// Only batches whose metadata agree in these keys go together. Default none: all do.
    pub metadata_keys: Vec<String>,
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings {
            flush_timeout: Duration::from_millis(200),
            min_size: 8192,
            max_size: 0,
            sizer: Sizer::Items,
            metadata_keys: Vec::new(),
        }
    }
}
