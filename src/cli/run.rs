//! `weir --config ...`: runs the agent.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use weir_config::{Diagnostics, Loaded};
use weir_engine::{Engine, TokioRuntime};
use weir_telemetry::{Identity, Metrics, Traces, init_logs, init_metrics, init_traces};

use super::{ConfigArgs, Step, failed};
use crate::gates::Gates;
use crate::service;

/// How long pipelines may take to drain.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until a signal or a component that fails for good.
pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let loaded = match args.load(true, Step::Load) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let runtime = match service::tokio_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let code = runtime.block_on(serve(args, loaded));
    // Tasks of libraries may still hang in a connect; everything of ours has ended.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

/// Runs one configuration after the other; SIGHUP asks for the next.
async fn serve(args: &ConfigArgs, mut loaded: Loaded) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed(&error.to_string()),
    };
    let mut identity = match service::identity(&loaded) {
        Ok(identity) => identity,
        Err(error) => return failed(&error),
    };
    let logs = match init_logs(&loaded.config.telemetry.logs, &identity) {
        Ok(logs) => logs,
        Err(error) => return failed(&error),
    };
    for gate in args.gates().iter().flat_map(Gates::without_effect) {
        tracing::warn!(gate, "Feature gate is accepted, without effect");
    }
    let code = loop {
        match one(args, &loaded, &identity, &mut signals).await {
            Ok(Some(next)) => loaded = next,
            Ok(None) => break ExitCode::SUCCESS,
            Err(code) => break code,
        }
        match service::identity(&loaded) {
            Ok(next) => identity = identity.next(next),
            Err(error) => break failed(&error),
        }
    };
    logs.shutdown();
    code
}

/// Runs one configuration. Returns the next one after a reload, none after a request to end.
async fn one(
    args: &ConfigArgs,
    loaded: &Loaded,
    identity: &Identity,
    signals: &mut Signals,
) -> Result<Option<Loaded>, ExitCode> {
    let telemetry = &loaded.config.telemetry;
    let metrics = init_metrics(&telemetry.metrics, identity).map_err(|e| failed(&e))?;
    let traces = init_traces(&telemetry.traces, identity).map_err(|e| failed(&e))?;
    let tokio = Arc::new(TokioRuntime::current());
    let host = service::host(&tokio, service::telemetry(&metrics, &traces));
    let mut engine = service::build(loaded, tokio, &host)
        .map_err(|errors| args.report(&Diagnostics::new(errors, loaded.sources.clone()), Step::Build))?;
    service::log_notes(loaded);
    tracing::info!(
        Version = env!("CARGO_PKG_VERSION"),
        NumCPU = service::cpus(),
        "Starting {}...",
        identity.name
    );
    let mut own = service::serve_metrics(&metrics).await.map_err(|e| failed(&e))?;
    engine.start().await.map_err(|e| failed(&e.to_string()))?;
    tracing::info!("Everything is ready. Begin running and processing data.");
    let next = wait(args, &mut engine, signals).await;
    let clean = stop(&mut engine, &metrics, &traces).await;
    own.abort_all();
    match next {
        Some(next) => Ok(Some(next)),
        None if clean => Ok(None),
        None => Err(ExitCode::FAILURE),
    }
}

/// Waits for the end or for a configuration that can take over.
async fn wait(args: &ConfigArgs, engine: &mut Engine, signals: &mut Signals) -> Option<Loaded> {
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            (id, failure) = engine.failed() => {
                tracing::error!(otelcol.component.id = %id, error = %failure, "Asynchronous error received, terminating process");
                return None;
            }
        };
        tracing::info!(signal = asked.name(), "Received signal from OS");
        if asked != Asked::Reload {
            return None;
        }
        match reload(args) {
            Some(next) => return Some(next),
            None => tracing::error!("Config update failed, keeping the running configuration"),
        }
    }
}

/// The configuration as it is now, when it can be built; what is wrong with it has been printed.
fn reload(args: &ConfigArgs) -> Option<Loaded> {
    let loaded = args.load(true, Step::Load).ok()?;
    let tokio = Arc::new(TokioRuntime::current());
    let host = service::host(&tokio, opentelemetry::global::meter("weir"));
    match service::build(&loaded, tokio, &host) {
        Ok(_) => {
            tracing::warn!("Config updated, restart service");
            Some(loaded)
        }
        Err(errors) => {
            args.report(&Diagnostics::new(errors, loaded.sources), Step::Build);
            None
        }
    }
}

/// Whether everything ended in time.
async fn stop(engine: &mut Engine, metrics: &Metrics, traces: &Traces) -> bool {
    tracing::info!("Starting shutdown...");
    let stopped = engine.stop(GRACE).await;
    for name in &stopped.unfinished {
        tracing::error!(
            task = %name,
            grace = ?GRACE,
            "Did not end in time; what it held was dropped and reported to its senders"
        );
    }
    traces.shutdown();
    metrics.shutdown();
    tracing::info!("Shutdown complete.");
    stopped.unfinished.is_empty()
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Interrupt,
    Terminate,
    Reload,
}

impl Asked {
    /// The signal's name, as the Collector logs it.
    fn name(self) -> &'static str {
        match self {
            Asked::Interrupt => "interrupt",
            Asked::Terminate => "terminated",
            Asked::Reload => "hangup",
        }
    }
}
