//! What a delivery measures: the Collector's metrics of exporters.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use weir_component::{
    Context, Count, Exporter, Failure, Host, Kind, Metric, MetricKind, MetricsLevel, Outcome, Running,
    Status, Work,
};
use weir_pdata::{Payload, Signal};

/// The Collector's scope of these metrics.
pub(crate) const SCOPE: &str = "go.opentelemetry.io/collector/exporter/exporterhelper";

/// What is counted, in items where nothing else is said.
pub(crate) struct Counts {
    pub(crate) sent: Count,
    pub(crate) rejected: Count,
    /// Requests under way, those that wait for a retry included.
    pub(crate) in_flight: Count,
    failed: Failed,
    work: Option<Work>,
}

/// Items given up. At level detailed by what failed, else in one count.
enum Failed {
    One(Count),
    ByError { host: Host, metric: Metric, labels: Vec<KeyValue> },
}

impl Counts {
    pub(crate) fn new(id: &str, signal: Signal, exporter: &dyn Exporter, host: &Host) -> Counts {
        let mut labels = vec![KeyValue::new("exporter", id.to_owned())];
        labels.extend(exporter.attributes());
        let stats = host.stats();
        // The Collector's sentence for log records has a singular.
        let words = if signal == Signal::Logs { "log record" } else { "{}" };
        let sent = format!("Number of {words} successfully sent to destination. {}", stability(signal));
        let failed = format!(
            "Number of {{}} in failed attempts to send to destination. At detailed telemetry level, includes attributes: \
             error.type (semantic convention), error.permanent. {}",
            stability(signal)
        );
        let metric = Metric::of_items(SCOPE, "exporter_send_failed", signal, &failed);
        let failed = if host.telemetry().is_detailed() {
            Failed::ByError { host: host.clone(), metric, labels: labels.clone() }
        } else {
            Failed::One(stats.count(&metric, labels.clone()))
        };
        let rejected = "Number of {} that the destination refused while it took the others.";
        let rejected =
            Metric { scope: "weir", ..Metric::of_items(SCOPE, "exporter_rejected", signal, rejected) };
        Counts {
            sent: stats.count(&Metric::of_items(SCOPE, "exporter_sent", signal, &sent), labels.clone()),
            rejected: stats.count(&rejected, labels),
            in_flight: stats.count(
                &Metric {
                    kind: MetricKind::UpDownCounter,
                    ..of_requests(
                        "otelcol_exporter_in_flight_requests",
                        "Number of export requests currently in-flight (including retry backoff). [Development]",
                        "{request}",
                    )
                },
                of_data_type(id, signal),
            ),
            failed,
            work: Work::new(
                host.telemetry(),
                SCOPE,
                format!("exporter/{id}/{signal}"),
                of_data_type(id, signal),
            ),
        }
    }

    /// Begins the span of one request, and gives the context of what belongs to it.
    pub(crate) fn begin(&self, context: &Context) -> Option<(Running, Context)> {
        begin(self.work.as_ref(), context)
    }

    /// Counts items that nobody will send any more.
    pub(crate) fn failed(&self, items: usize, failure: &Failure) {
        match &self.failed {
            Failed::One(count) => count.add(items),
            Failed::ByError { host, metric, labels } => {
                let why = [
                    KeyValue::new("error.type", error_type(failure)),
                    KeyValue::new("error.permanent", !failure.is_retryable()),
                ];
                host.stats().count(metric, labels.iter().cloned().chain(why)).add(items);
            }
        }
    }
}

/// Ends the span of a request with the counts of its items.
pub(crate) fn end(running: Running, items: usize, outcome: &Outcome) {
    let items = i64::try_from(items).unwrap_or(i64::MAX);
    let (sent, failed) = if outcome.is_ok() { (items, 0) } else { (0, items) };
    running.end([KeyValue::new("items.sent", sent), KeyValue::new("items.failed", failed)], outcome);
}

fn begin(work: Option<&Work>, context: &Context) -> Option<(Running, Context)> {
    let running = work?.begin(context.span.as_ref());
    let within = context.within(running.context());
    Some((running, within))
}

/// What a queue measures.
pub(crate) struct QueueCounts {
    /// Set when the queue begins to be worked off: until then, and when a reload fails, it is that of the exporter before.
    pub(crate) capacity: Count,
    /// Of all that the exporter has, each a [`Part`] of it.
    pub(crate) size: Count,
    /// Items that were not taken.
    pub(crate) refused: Count,
    sizes: Option<Sizes>,
    work: Option<Work>,
}

/// What one queue adds to the size that an exporter shows, until it is dropped. There are others: what an earlier stop has
/// left on disk, the queue of a predecessor that a reload has replaced, and that of a successor that a reload tries.
pub(crate) struct Part {
    size: Count,
    shown: AtomicUsize,
}

impl Part {
    pub(crate) fn new(size: &Count) -> Part {
        Part { size: size.clone(), shown: AtomicUsize::new(0) }
    }

    /// Whether it is a part of that size.
    pub(crate) fn is_of(&self, size: &Count) -> bool {
        self.size.is(size)
    }

    /// Shows how much is there.
    pub(crate) fn show(&self, now: usize) {
        let before = self.shown.swap(now, Ordering::Relaxed);
        if now >= before {
            self.size.add(now - before);
        } else {
            self.size.sub(before - now);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.show(0);
    }
}

/// Sizes of what is put into a queue; only at level detailed.
struct Sizes {
    items: Histogram<u64>,
    bytes: Histogram<u64>,
    labels: [KeyValue; 1],
}

impl QueueCounts {
    pub(crate) fn new(id: &str, signal: Signal, host: &Host) -> QueueCounts {
        let gauge = |name, help| of_requests(name, help, "{batch}");
        let stats = host.stats();
        let full = gauge(
            "otelcol_exporter_queue_capacity",
            "Fixed capacity of the retry queue (in batches). [Alpha]",
        );
        let size =
            gauge("otelcol_exporter_queue_size", "Current size of the retry queue (in batches). [Alpha]");
        let refused =
            format!("Number of {{}} failed to be added to the sending queue. {}", stability(signal));
        let refused = Metric::of_items(SCOPE, "exporter_enqueue_failed", signal, &refused);
        QueueCounts {
            capacity: stats.count(&full, of_data_type(id, signal)),
            size: stats.count(&size, of_data_type(id, signal)),
            refused: stats.count(&refused, [KeyValue::new("exporter", id.to_owned())]),
            sizes: host.telemetry().is_detailed().then(|| Sizes::new(id, host)),
            work: Work::new(host.telemetry(), SCOPE, "exporter/enqueue", []),
        }
    }

    /// Begins the span of putting something into the queue, and gives the context of what belongs to it.
    pub(crate) fn begin(&self, context: &Context) -> Option<(Running, Context)> {
        begin(self.work.as_ref(), context)
    }

    /// Measures what somebody wants to put into the queue.
    pub(crate) fn offered(&self, payload: &Payload) {
        if let Some(sizes) = &self.sizes {
            sizes.items.record(payload.items() as u64, &sizes.labels);
            sizes.bytes.record(payload.encoded_len() as u64, &sizes.labels);
        }
    }
}

impl Sizes {
    fn new(id: &str, host: &Host) -> Sizes {
        let meter = host.telemetry().meter(SCOPE);
        Sizes {
            items: meter
                .u64_histogram("otelcol_exporter_queue_batch_send_size")
                .with_description("Number of units in the batch [Development]")
                .with_unit("{unit}")
                .with_boundaries(SIZE_BOUNDS.to_vec())
                .build(),
            bytes: meter
                .u64_histogram("otelcol_exporter_queue_batch_send_size_bytes")
                .with_description(
                    "Number of bytes in batch that was sent. Only available on detailed level. [Development]",
                )
                .with_unit("By")
                .with_boundaries(SIZE_BOUNDS[..14].to_vec())
                .build(),
            labels: [KeyValue::new("exporter", id.to_owned())],
        }
    }
}

/// Bounds of the histograms of sizes, as release 0.155 of the Collector has them: for bytes it stops at 6000.
const SIZE_BOUNDS: [f64; 22] = [
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0,
    7000.0, 8000.0, 9000.0, 10_000.0, 20_000.0, 30_000.0, 50_000.0, 100_000.0,
];

fn of_requests(name: &'static str, help: &'static str, unit: &'static str) -> Metric {
    let (name, help) = (Cow::Borrowed(name), Cow::Borrowed(help));
    Metric { name, help, unit, kind: MetricKind::Gauge, scope: SCOPE, level: MetricsLevel::Basic }
}

fn of_data_type(id: &str, signal: Signal) -> [KeyValue; 2] {
    [KeyValue::new("exporter", id.to_owned()), KeyValue::new("data_type", signal.name())]
}

fn stability(signal: Signal) -> &'static str {
    if signal == Signal::Profiles { "[Development]" } else { "[Alpha]" }
}

/// The Collector's word for what failed: the name of the gRPC status, where there is one.
fn error_type(failure: &Failure) -> &'static str {
    match (failure.kind(), failure.status()) {
        (Kind::Abandoned, None) => "Shutdown",
        (_, status) => status.map_or("_OTHER", Status::name),
    }
}
