//! What is measured of each queue.

use opentelemetry::KeyValue;
use weir_component::{Count, Host, Metric, MetricKind, MetricsLevel};
use weir_disk_queue::Queue;

/// Counts of one queue.
pub(crate) struct Metrics {
    fsyncs: Count,
    commits: Count,
    lost: Count,
    damaged: Count,
    quarantined: Count,
    bytes: Count,
}

impl Metrics {
    /// Of the queue `name` in the storage `id`.
    pub(crate) fn new(id: &str, name: &str, host: &Host) -> Metrics {
        let count = |kind, metric: &'static str, unit, help: &'static str| {
            let metric = Metric {
                name: metric.into(),
                help: help.into(),
                unit,
                kind,
                scope: "weir",
                level: MetricsLevel::Basic,
            };
            let labels = [("extension", id), ("queue", name)].map(|(k, v)| KeyValue::new(k, v.to_owned()));
            host.stats().count(&metric, labels)
        };
        let counter = |metric, unit, help| count(MetricKind::Counter, metric, unit, help);
        Metrics {
            fsyncs: counter(
                "otelcol_file_storage_fsyncs",
                "{call}",
                "Times that a file or directory was made durable.",
            ),
            commits: counter(
                "otelcol_file_storage_commits",
                "{group}",
                "Groups of records that were written together.",
            ),
            lost: counter(
                "otelcol_file_storage_lost_records",
                "{record}",
                "Records that were on disk and could not be read any more.",
            ),
            damaged: counter(
                "otelcol_file_storage_damaged_places",
                "{place}",
                "Places on disk at which a record was expected and none was found.",
            ),
            quarantined: counter(
                "otelcol_file_storage_quarantined_segments",
                "{file}",
                "Damaged files that were put aside.",
            ),
            bytes: count(
                MetricKind::Gauge,
                "otelcol_file_storage_disk_size",
                "By",
                "Bytes of the queue on disk.",
            ),
        }
    }

    /// Shows what happened in the queue so far.
    pub(crate) fn show(&self, queue: &Queue) {
        let counters = queue.counters();
        let set = |count: &Count, value: u64| count.set(usize::try_from(value).unwrap_or(usize::MAX));
        set(&self.fsyncs, counters.fsyncs);
        set(&self.commits, counters.commits);
        set(&self.lost, counters.lost);
        set(&self.damaged, counters.damaged);
        set(&self.quarantined, counters.quarantined);
        set(&self.bytes, queue.disk_bytes());
    }
}
