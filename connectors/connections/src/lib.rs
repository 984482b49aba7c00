//! Connection events in logs to connection spans and metrics, for events that came through `otlp` or a queue.
//!
//! The receiver `grpc_connections` does the same with an OTLP server in front.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_component::{
    Acceptance, Batch, Build, BuildError, ConnectorFactory, Count, Instant, Maturity, SourceStatus,
    Stability, Stage, StageContext, async_trait,
};
use weir_config::{GoDuration, Options};
use weir_connection::spans::DEFAULT_LIMIT;
use weir_connection::table::ConnectionTable;
use weir_connection::tracker::{Tracker, UNWATCHED_HELP, UNWATCHED_METRIC};
use weir_pdata::Signal;

/// Options.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// How often the series of open connections are published. Default 10s.
    collection_interval: GoDuration,
    /// Connection spans per second and series. Default 10; 0 writes none.
    spans_per_second: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { collection_interval: GoDuration::from_secs(10), spans_per_second: DEFAULT_LIMIT }
    }
}

/// Makes `connections` connectors.
pub const FACTORY: ConnectorFactory = ConnectorFactory {
    kind: "connections",
    aliases: &[],
    pairs: &[(Signal::Logs, Signal::Traces), (Signal::Logs, Signal::Metrics)],
    stability: Maturity::all(Stability::Development),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>, _: Signal) -> Result<Box<dyn Stage>, BuildError> {
    let config: Config = build.config()?;
    if config.collection_interval.as_std().is_zero() {
        return Err(build.invalid("collection_interval must be above zero"));
    }
    let table: Arc<ConnectionTable> = build.host.shared();
    Ok(Box::new(Connections {
        tracker: Tracker::new(table, config.spans_per_second.max(0.0)),
        acceptance: Acceptance::default(),
        unwatched: build.host.stats().gauge(UNWATCHED_METRIC, UNWATCHED_HELP, Vec::new()),
        interval: config.collection_interval.as_std(),
        due: Instant::default(),
        last: 0,
    }))
}

struct Connections {
    tracker: Tracker,
    acceptance: Acceptance,
    unwatched: Count,
    interval: std::time::Duration,
    /// At once after the start, so that it is seen that it waits.
    due: Instant,
    last: u64,
}

impl Connections {
    /// Tells what is open, each part when the one before is handed over. Only for room is waited: events wait behind it.
    async fn collect(&mut self, cx: &StageContext) {
        let mut collection = self.tracker.collect(cx.clock.unix_nanos());
        while let Some(part) = self.tracker.next_part(&mut collection) {
            let Some(output) = cx.outputs.first(Signal::Metrics) else { return };
            if self.acceptance.hand(output, part.payload, &cx.clock, cx.clock.now()).await {
                self.tracker.refused(part.once);
            }
        }
    }
}

#[async_trait]
impl Stage for Connections {
    async fn on_batch(&mut self, _: usize, batch: Batch, cx: &StageContext) {
        let now = cx.clock.unix_nanos();
        let before = self.tracker.counts().events;
        let tracked = self.tracker.on_logs(&batch.payload, now);
        // The events are in the table: that is what this branch of the pipeline was asked for.
        batch.receipt.settle(Ok(()));
        for complaint in &tracked.complaints {
            tracing::warn!(otelcol.component.id = %cx.id, otelcol.component.kind = "connector", "{complaint}");
        }
        if self.tracker.counts().events > before {
            self.last = now;
        }
        if let (Some(spans), Some(output)) = (tracked.spans, cx.outputs.first(Signal::Traces)) {
            self.acceptance.hand(output, spans, &cx.clock, cx.clock.now()).await;
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        Some(self.due)
    }

    async fn on_wake(&mut self, cx: &StageContext) {
        self.due = cx.clock.now() + self.interval;
        self.collect(cx).await;
        let (state, message) = self.tracker.state(self.last);
        let status = SourceStatus { kind: "events", state, last: self.last, message };
        self.unwatched.set(self.tracker.table().unwatched());
        cx.host.report_source(&cx.id, self.acceptance.told_in(status, &cx.clock));
    }

    async fn on_drain(&mut self, cx: &StageContext) {
        self.on_wake(cx).await;
    }
}
