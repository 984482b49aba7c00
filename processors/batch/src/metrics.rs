//! What a batch processor measures, as the Collector's does.

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use weir_component::{Count, Host, Metric, MetricKind, MetricsLevel};
use weir_pdata::Payload;

const SCOPE: &str = "go.opentelemetry.io/collector/processor/batchprocessor";

/// Metrics of one batch processor; from level normal on.
pub(crate) struct Metrics {
    pub(crate) by_size: Count,
    pub(crate) by_timeout: Count,
    /// Combinations of metadata values that have a batch of their own.
    pub(crate) combinations: Count,
    /// Items whose senders heard success and that did not arrive.
    pub(crate) lost: Count,
    items: Option<Histogram<u64>>,
    bytes: Option<Histogram<u64>>,
    labels: [KeyValue; 1],
}

impl Metrics {
    pub(crate) fn new(id: &str, host: &Host) -> Metrics {
        let labels = [KeyValue::new("processor", id.to_owned())];
        let count = |name, help, unit, kind| {
            let (name, help) = (Cow::Borrowed(name), Cow::Borrowed(help));
            let metric = Metric { name, help, unit, kind, scope: SCOPE, level: MetricsLevel::Normal };
            host.stats().count(&metric, labels.clone())
        };
        let meter = host.telemetry().meter(SCOPE);
        let histogram = |name, help, unit, bounds: Vec<f64>| {
            let builder = meter.u64_histogram(name).with_description(help);
            builder.with_unit(unit).with_boundaries(bounds).build()
        };
        Metrics {
            by_size: count(
                "otelcol_processor_batch_batch_size_trigger_send",
                "Number of times the batch was sent due to a size trigger [Development]",
                "{time}",
                MetricKind::Counter,
            ),
            by_timeout: count(
                "otelcol_processor_batch_timeout_trigger_send",
                "Number of times the batch was sent due to a timeout trigger [Development]",
                "{time}",
                MetricKind::Counter,
            ),
            combinations: count(
                "otelcol_processor_batch_metadata_cardinality",
                "Number of distinct metadata value combinations being processed [Development]",
                "{combination}",
                MetricKind::UpDownCounter,
            ),
            lost: count(
                "otelcol_processor_batch_lost_items",
                "Number of items that were acknowledged and then failed downstream or were dropped with the processor",
                "{item}",
                MetricKind::Counter,
            ),
            items: (host.telemetry().level() >= MetricsLevel::Normal).then(|| {
                histogram(
                    "otelcol_processor_batch_batch_send_size",
                    "Number of units in the batch [Development]",
                    "{unit}",
                    SIZE_BOUNDS.to_vec(),
                )
            }),
            bytes: host.telemetry().is_detailed().then(|| {
                histogram(
                    "otelcol_processor_batch_batch_send_size_bytes",
                    "Number of bytes in batch that was sent. Only available on detailed level. [Development]",
                    "By",
                    SIZE_BOUNDS.into_iter().chain(LARGE_BOUNDS).collect(),
                )
            }),
            labels,
        }
    }

    /// Measures a batch that is sent.
    pub(crate) fn sent(&self, payload: &Payload) {
        if let Some(items) = &self.items {
            items.record(payload.items() as u64, &self.labels);
        }
        if let Some(bytes) = &self.bytes {
            bytes.record(payload.encoded_len() as u64, &self.labels);
        }
    }
}

/// Bounds of the histograms, as release 0.155 of the Collector has them.
const SIZE_BOUNDS: [f64; 22] = [
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0,
    7000.0, 8000.0, 9000.0, 10_000.0, 20_000.0, 30_000.0, 50_000.0, 100_000.0,
];

/// More of them, for sizes in bytes.
const LARGE_BOUNDS: [f64; 17] =
    [2e5, 3e5, 4e5, 5e5, 6e5, 7e5, 8e5, 9e5, 1e6, 2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 8e6, 9e6];
