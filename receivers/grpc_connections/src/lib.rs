//! Takes connection events from instrumented services: an OTLP server (gRPC and HTTP on one port) in front of the
//! tracking that it shares with the connector `connections`.
//!
//! The events themselves go on to logs pipelines, the connections they tell of become spans and metrics.

mod alive;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join, select};
use serde::{Deserialize, Serialize};
use weir_component::{
    Acceptance, Batch, Build, BuildError, Clock, Consumer, Failure, Maturity, Output, Outputs, Port,
    Receiver, ReceiverContext, ReceiverFactory, SourceStatus, Stability, async_trait,
};
use weir_config::{GoDuration, Options};
use weir_connection::spans::DEFAULT_LIMIT;
use weir_connection::table::ConnectionTable;
use weir_connection::tracker::{Tracked, Tracker, UNWATCHED_HELP, UNWATCHED_METRIC};
use weir_otlp::Listener;
use weir_otlp::server::{ServerSettings, serve};
use weir_pdata::Signal;

use alive::Watch;

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    endpoint: String,
    collection_interval: GoDuration,
    spans_per_second: f64,
    max_request_body_size: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            endpoint: "localhost:4327".to_owned(),
            collection_interval: GoDuration::from_secs(10),
            spans_per_second: DEFAULT_LIMIT,
            max_request_body_size: 20 << 20,
        }
    }
}

/// Makes `grpc_connections` receivers.
pub const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "grpc_connections",
    aliases: &[],
    signals: &[Signal::Traces, Signal::Metrics, Signal::Logs],
    stability: Maturity::all(Stability::Development),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = build.config()?;
    if config.collection_interval.as_nanos() <= 0 {
        return Err(build.invalid("collection_interval must be above zero"));
    }
    if config.endpoint.is_empty() {
        return Err(build.invalid("requires a non-empty \"endpoint\""));
    }
    let table: Arc<ConnectionTable> = build.host.shared();
    let tracker = Tracker::new(table, config.spans_per_second.max(0.0));
    Ok(Box::new(GrpcConnections { config, tracker: Arc::new(Mutex::new(tracker)), listener: None }))
}

struct GrpcConnections {
    config: Config,
    tracker: Arc<Mutex<Tracker>>,
    listener: Option<Listener>,
}

#[async_trait]
impl Receiver for GrpcConnections {
    async fn start(&mut self, cx: &ReceiverContext) -> Result<(), Failure> {
        self.listener = Some(Listener::owned_tcp(&cx.host, &cx.id, &self.config.endpoint).await?);
        tracing::info!(
            otelcol.component.id = %cx.id,
            otelcol.component.kind = "receiver",
            endpoint = %self.config.endpoint,
            "Starting GRPC and HTTP server"
        );
        Ok(())
    }

    fn transports(&self) -> &'static [&'static str] {
        &["grpc", "http"]
    }

    async fn run(mut self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        let Some(listener) = self.listener.take() else {
            return Err(Failure::permanent("was not started"));
        };
        let acceptance = Acceptance::default();
        report(&cx, &self.tracker, &acceptance, 0);
        let intake = Intake {
            id: cx.id.clone(),
            tracker: Arc::clone(&self.tracker),
            acceptance: acceptance.clone(),
            traces: cx.outputs.first(Signal::Traces).cloned(),
            logs: cx.outputs.first(Signal::Logs).cloned(),
            clock: cx.clock.clone(),
        };
        let port =
            Port { signal: Signal::Logs, pipeline: cx.id.clone(), output: Output::new(Arc::new(intake)) };
        let max = usize::try_from(self.config.max_request_body_size).unwrap_or(usize::MAX);
        let (refusals, clock) = (acceptance.clone(), cx.clock.clone());
        let at_the_door = move |why: &Failure| refusals.refused(REQUESTS, 1, why, &clock);
        let settings = ServerSettings {
            max_body: max,
            max_message: max,
            budget: cx.host.budget().telling(at_the_door),
            host: Some(cx.host.clone()),
            ..ServerSettings::default()
        };
        let server = serve(listener, settings, Outputs::new(vec![port]), cx.stop.clone());
        let publisher = publish(&self.tracker, &acceptance, self.config.collection_interval.as_std(), &cx);
        join(server, publisher).await;
        Ok(())
    }
}

/// Where requests arrive.
struct Intake {
    id: String,
    tracker: Arc<Mutex<Tracker>>,
    acceptance: Acceptance,
    traces: Option<Output>,
    logs: Option<Output>,
    clock: Clock,
}

impl Intake {
    fn track(&self, batch: &Batch) -> Tracked {
        lock(&self.tracker).on_logs(&batch.payload, self.clock.unix_nanos())
    }
}

#[async_trait]
impl Consumer for Intake {
    async fn consume(&self, mut batch: Batch) {
        let tracked = self.track(&batch);
        for complaint in &tracked.complaints {
            tracing::warn!(otelcol.component.id = %self.id, otelcol.component.kind = "receiver", "{complaint}");
        }
        if let (Some(spans), Some(traces)) = (tracked.spans, &self.traces) {
            self.acceptance.hand(traces, spans, &self.clock, self.clock.now()).await;
        }
        let (acceptance, clock) = (self.acceptance.clone(), self.clock.clone());
        batch.receipt.observe(move |outcome| acceptance.heard(REQUESTS, 1, outcome, &clock));
        match &self.logs {
            Some(logs) => logs.send(batch).await,
            None => batch.receipt.settle(Ok(())),
        }
    }
}

/// Publishes what is open at every interval until the receiver stops.
async fn publish(
    tracker: &Mutex<Tracker>,
    acceptance: &Acceptance,
    interval: Duration,
    cx: &ReceiverContext,
) {
    let mut seen = 0;
    let mut last = 0;
    let mut watch = Watch::default();
    let unwatched = cx.host.stats().gauge(UNWATCHED_METRIC, UNWATCHED_HELP, Vec::new());
    loop {
        let stopping = Box::pin(cx.stop.requested());
        let stop = matches!(select(stopping, cx.clock.sleep(interval)).await, Either::Left(_));
        let table = Arc::clone(lock(tracker).table());
        let keys = table.keys();
        let looked = cx.host.blocking(move || {
            let exited = watch.exited(keys);
            (watch, exited)
        });
        let exited;
        (watch, exited) = looked.await.unwrap_or_default();
        table.exited(exited.iter());
        let now = cx.clock.unix_nanos();
        let events = lock(tracker).counts().events;
        if events > seen {
            (seen, last) = (events, now);
        }
        collect(tracker, acceptance, now, cx).await;
        unwatched.set(table.unwatched());
        report(cx, tracker, acceptance, last);
        if stop {
            return;
        }
    }
}

/// How long a collection waits in all to hear what becomes of its parts. One that takes longer waits for room only.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells what is open at `now`, each part when the one before is handed over.
async fn collect(tracker: &Mutex<Tracker>, acceptance: &Acceptance, now: u64, cx: &ReceiverContext) {
    let mut collection = lock(tracker).collect(now);
    let until = cx.clock.now() + PATIENCE;
    loop {
        let part = lock(tracker).next_part(&mut collection);
        let (Some(part), Some(output)) = (part, cx.outputs.first(Signal::Metrics)) else { return };
        if acceptance.hand(output, part.payload, &cx.clock, until).await {
            lock(tracker).refused(part.once);
        }
    }
}

fn lock(tracker: &Mutex<Tracker>) -> MutexGuard<'_, Tracker> {
    tracker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came to the port and was refused.
const REQUESTS: &str = "requests";

/// Says how this source is doing.
fn report(cx: &ReceiverContext, tracker: &Mutex<Tracker>, acceptance: &Acceptance, last: u64) {
    let (state, message) = lock(tracker).state(last);
    let status = SourceStatus { kind: "events", state, last, message };
    cx.report_source(acceptance.told_in(status, &cx.clock));
}
