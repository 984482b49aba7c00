//! What the engine counts and measures on the way: items that receivers take, that go into processors and come out.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use weir_component::{
    Batch, Clock, Consumer, Count, Host, Metric, MetricKind, MetricsLevel, Outcome, Output, Running, Work,
};
use weir_pdata::Signal;

/// Counts what a receiver's senders were told: accepted or refused items.
pub(crate) struct Accepting {
    signal: Signal,
    next: Output,
    by_transport: Vec<Tally>,
}

struct Tally {
    transport: &'static str,
    accepted: Count,
    refused: Count,
    work: Option<Work>,
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
        let by_transport = TRANSPORTS.into_iter().filter(|t| transports.contains(t));
        let by_transport = by_transport.map(|t| Tally::new(id, signal, t, host)).collect();
        Accepting { signal, next, by_transport }
    }
}

impl Tally {
    fn new(id: &str, signal: Signal, transport: &'static str, host: &Host) -> Tally {
        let labels = || [KeyValue::new("receiver", id.to_owned()), KeyValue::new("transport", transport)];
        let count = |what: &str, help| {
            let scope = "go.opentelemetry.io/collector/receiver/receiverhelper";
            host.stats().count(&Metric::of_items(scope, &format!("receiver_{what}"), signal, help), labels())
        };
        // Nothing counts here yet, as in the Collector: what its receivers fail at counts as refused.
        count(
            "failed",
            "The number of {} that failed to be processed by the receiver due to internal errors. [Alpha]",
        );
        let operation =
            ["TraceDataReceived", "MetricsReceived", "LogsReceived", "ProfilesReceived"][signal.index()];
        let of_transport = (!transport.is_empty()).then(|| KeyValue::new("transport", transport));
        Tally {
            transport,
            accepted: count("accepted", "Number of {} successfully pushed into the pipeline. [Alpha]"),
            refused: count("refused", "Number of {} that could not be pushed into the pipeline. [Alpha]"),
            work: Work::new(host.telemetry(), id, format!("receiver/{id}/{operation}"), of_transport),
        }
    }

    /// The span of a batch that came in; what is done with the batch belongs to it.
    fn begin(&self, batch: &mut Batch) -> Option<Running> {
        let running = self.work.as_ref()?.begin(batch.context.span.as_ref());
        batch.context = Arc::new(batch.context.within(running.context()));
        Some(running)
    }
}

/// Ends the span of a batch with the counts of its items.
fn end(running: Running, signal: Signal, items: usize, outcome: &Outcome) {
    let count = |what: &str, is: bool| {
        let items = if is { i64::try_from(items).unwrap_or(i64::MAX) } else { 0 };
        KeyValue::new(format!("{what}_{}", signal.items()), items)
    };
    running.end(
        [count("accepted", outcome.is_ok()), count("refused", outcome.is_err()), count("failed", false)],
        outcome,
    );
}

#[async_trait]
impl Consumer for Accepting {
    async fn consume(&self, mut batch: Batch) {
        let (items, signal) = (batch.payload.items(), self.signal);
        let transport = batch.context.transport;
        let tally = self.by_transport.iter().find(|t| t.transport == transport);
        if let Some(tally) = tally.or(self.by_transport.first()) {
            let (accepted, refused) = (tally.accepted.clone(), tally.refused.clone());
            let running = tally.begin(&mut batch);
            batch.receipt.observe(move |outcome| {
                if outcome.is_ok() {
                    accepted.add(items)
                } else {
                    refused.add(items)
                }
                if let Some(running) = running {
                    end(running, signal, items, outcome);
                }
            });
        }
        self.next.send(batch).await;
    }
}

/// The Collector's scope of the metrics of processors.
const PROCESSORS: &str = "go.opentelemetry.io/collector/processor/processorhelper";

/// Items in and out of a processor.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) incoming: Count,
    pub(crate) outgoing: Count,
}

impl Flow {
    /// The counts of processor `id` for a signal.
    pub(crate) fn new(id: &str, signal: Signal, host: &Host) -> Flow {
        let count = |name, help| {
            let metric = Metric {
                name: Cow::Borrowed(name),
                help: Cow::Borrowed(help),
                unit: "{item}",
                kind: MetricKind::Counter,
                scope: PROCESSORS,
                level: MetricsLevel::Basic,
            };
            host.stats().count(&metric, of_processor(id, signal))
        };
        Flow {
            incoming: count(
                "otelcol_processor_incoming_items",
                "Number of items passed to the processor. [Alpha]",
            ),
            outgoing: count(
                "otelcol_processor_outgoing_items",
                "Number of items emitted from the processor. [Alpha]",
            ),
        }
    }
}

fn of_processor(id: &str, signal: Signal) -> [KeyValue; 2] {
    [KeyValue::new("processor", id.to_owned()), KeyValue::new("otel_signal", signal.name())]
}

/// How long a [`Transform`](weir_component::Transform) takes; measured at level detailed only.
pub(crate) struct Timing {
    seconds: Histogram<f64>,
    labels: [KeyValue; 2],
    clock: Clock,
}

impl Timing {
    /// The timing of processor `id` for a signal, if it is to be measured.
    pub(crate) fn new(id: &str, signal: Signal, host: &Host, clock: &Clock) -> Option<Timing> {
        host.telemetry().is_detailed().then(|| Timing {
            seconds: (host
                .telemetry()
                .meter(PROCESSORS)
                .f64_histogram("otelcol_processor_internal_duration"))
            .with_description(
                "Duration of time taken to process a batch of telemetry data through the processor. [Alpha]",
            )
            .with_unit("s")
            .build(),
            labels: of_processor(id, signal),
            clock: clock.clone(),
        })
    }

    /// Does the work, and measures it where that is wanted.
    pub(crate) fn of<T>(timing: Option<&Timing>, work: impl FnOnce() -> T) -> T {
        let Some(timing) = timing else {
            return work();
        };
        let begun = timing.clock.now();
        let result = work();
        timing.seconds.record((timing.clock.now() - begun).as_secs_f64(), &timing.labels);
        result
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
