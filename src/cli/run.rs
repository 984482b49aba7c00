//! `weir --config ...`: runs the agent.

use std::collections::BTreeSet;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;
use weir_component::{Clock, Failure, Host};
use weir_config::{ConfigError, Diagnostics, GoDuration, Loaded};
use weir_engine::{Engine, Next, TokioRuntime};
use weir_otlp::Listener;
use weir_telemetry::{
    Flush, Identity, Logs, Metrics, NextLogs, Page, Traces, UNSAMPLED, init_logs, init_metrics, init_traces,
};

use super::signals::{Asked, Signals};
use super::watch::Watch;
use super::{ConfigArgs, Step, failed};
use crate::gates::Gates;
use crate::service;

/// How to run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Takes up changes of the configuration's files by itself, as SIGHUP does: checked in full first, and what is wrong
    /// leaves the running configuration. They are looked for every second.
    #[arg(long)]
    watch_config: bool,
    /// How long pipelines may take to drain at a stop, such as 1m30s, and before that a reload to end that is under way.
    /// What is left then is dropped or stays on disk, and named; with 0 nothing is waited for.
    #[arg(long, value_name = "DURATION", default_value = "10s", allow_hyphen_values = true,
        value_parser = not_negative)]
    shutdown_timeout: GoDuration,
}

fn not_negative(text: &str) -> Result<GoDuration, String> {
    match text.parse::<GoDuration>() {
        Ok(duration) if duration.is_negative() => Err(format!("{text:?} is negative")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; a duration is a number with a unit, such as 30s")),
    }
}

/// How long the telemetry of components that a reload has replaced is waited for at a stop, beyond their end.
const FORMER: Duration = Duration::from_secs(1);

/// Runs until a signal or a component that fails for good.
pub(super) fn run(args: &ConfigArgs, how: &RunArgs) -> ExitCode {
    let loaded = match args.load(true, Step::Load) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let _at_the_end = Flush;
    let runtime = match service::tokio_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let code = runtime.block_on(serve(args, loaded, how));
    // Tasks of libraries may still hang in a connect; everything of ours has ended.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn serve(args: &ConfigArgs, loaded: Loaded, how: &RunArgs) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed(&error.to_string()),
    };
    let identity = match service::identity(&loaded) {
        Ok(identity) => identity,
        Err(error) => return failed(&error),
    };
    let logs = match init_logs(&loaded.config.telemetry.logs, &identity) {
        Ok(logs) => logs,
        Err(error) => return failed(&error),
    };
    if let Some(limit) = weir_kernel::descriptors::raise_limit() {
        tracing::debug!(limit, "Raised the limit of open files");
    }
    for gate in args.gates().iter().flat_map(Gates::without_effect) {
        tracing::warn!(gate, "Feature gate is accepted, without effect");
    }
    let code = match Agent::new(args, how, identity, loaded, &logs) {
        Ok(agent) => start_and_work(agent, &mut signals).await,
        Err(code) => code,
    };
    logs.shutdown();
    code
}

async fn start_and_work(mut agent: Agent<'_>, signals: &mut Signals) -> ExitCode {
    let failed_for_good = agent.engine.failed();
    let started = tokio::select! {
        started = agent.start() => started.map(|()| None),
        // Nothing has come in yet that could be lost.
        end = end(signals, failed_for_good) => Ok(Some(end)),
    };
    let as_asked = match started {
        Ok(None) => agent.work(signals).await,
        Ok(Some(as_asked)) => as_asked,
        Err(code) => return code,
    };
    let clean = agent.stop().await;
    if as_asked && clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Completes when the agent is to end: whether somebody asked for it.
async fn end(signals: &mut Signals, failed_for_good: impl Future<Output = (String, Failure)>) -> bool {
    tokio::select! {
        asked = signals.end() => {
            received(asked);
            true
        }
        (id, failure) = failed_for_good => {
            terminating(&id, &failure);
            false
        }
    }
}

/// Completes when the files that are watched have changed.
async fn changed(watch: Option<&mut Watch>, host: &Host, clock: &Clock) {
    match watch {
        Some(watch) => watch.changed(host, clock).await,
        None => std::future::pending().await,
    }
}

/// A configuration that has been read anew.
struct Read {
    /// None when something is wrong with it, which has been printed.
    loaded: Option<Loaded>,
    /// Its files, when changes of them are taken up.
    watch: Option<Watch>,
}

/// One that is being read; none when that fails.
type Reading = BoxFuture<'static, Option<Read>>;

/// Blocking work that holds nothing up.
fn aside(host: &Host, work: impl FnOnce() + Send + 'static) -> BoxFuture<'static, ()> {
    let host = host.clone();
    async move { host.blocking(work).await.unwrap_or_default() }.boxed()
}

/// Completes when what is being read has been.
async fn done(reading: &mut Option<Reading>) -> Option<Read> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

fn received(asked: Asked) {
    tracing::info!(signal = asked.name(), "Received signal from OS");
}

fn terminating(id: &str, failure: &Failure) {
    tracing::error!(otelcol.component.id = %id, error = %failure, "Asynchronous error received, terminating process");
}

/// The running agent.
struct Agent<'a> {
    args: &'a ConfigArgs,
    /// How long a stop may take, and before it a reload.
    grace: Duration,
    identity: Identity,
    /// What it runs.
    loaded: Loaded,
    host: Host,
    engine: Engine,
    logs: &'a Logs,
    own: Own,
    /// The telemetry of components that a reload has replaced, until they have ended: they still deliver and count.
    former: FuturesUnordered<BoxFuture<'static, Own>>,
    /// What sends the last of such telemetry, for which a receiver that does not answer is waited for.
    ends: FuturesUnordered<BoxFuture<'static, ()>>,
    clock: Clock,
    /// Its files, when changes of them are taken up.
    watch: Option<Watch>,
}

/// The agent's own telemetry, and who answers for its metrics.
struct Own {
    metrics: Metrics,
    traces: Traces,
    /// Until they are served.
    bound: Vec<(Page, Listener)>,
    servers: JoinSet<()>,
}

impl Own {
    /// Nobody answers yet, and nothing is pushed.
    fn new(loaded: &Loaded, identity: &Identity) -> Result<Own, String> {
        let telemetry = &loaded.config.telemetry;
        let metrics = init_metrics(&telemetry.metrics, identity)?;
        let traces = init_traces(&telemetry.traces, identity)?;
        Ok(Own { metrics, traces, bound: Vec::new(), servers: JoinSet::new() })
    }

    /// Binds the ports of its pages.
    ///
    /// # Errors
    /// A sentence about one that cannot be bound.
    async fn bind(&mut self, host: &Host) -> Result<(), String> {
        self.bound = service::bind_metrics(&self.metrics, host).await?;
        Ok(())
    }

    /// Answers and pushes from here on.
    fn begin(&mut self) {
        self.servers = service::serve_metrics(std::mem::take(&mut self.bound));
        self.metrics.begin();
    }

    /// Ends by sending what is left, spans and metrics beside each other: each waits for a receiver that does not answer.
    fn end(mut self, host: &Host) -> [BoxFuture<'static, ()>; 2] {
        self.servers.abort_all();
        let Own { traces, metrics, .. } = self;
        [aside(host, move || traces.shutdown()), aside(host, move || metrics.shutdown())]
    }
}

impl<'a> Agent<'a> {
    fn new(
        args: &'a ConfigArgs,
        how: &RunArgs,
        identity: Identity,
        loaded: Loaded,
        logs: &'a Logs,
    ) -> Result<Agent<'a>, ExitCode> {
        let own = Own::new(&loaded, &identity).map_err(|e| failed(&e))?;
        let tokio = Arc::new(TokioRuntime::current());
        let clock = Clock::new(Arc::<TokioRuntime>::clone(&tokio));
        let host = service::host(&tokio, service::telemetry(&own.metrics, &own.traces));
        let engine = service::build(&loaded, tokio, &host)
            .map_err(|errors| args.report(&Diagnostics::new(errors, loaded.sources.clone()), Step::Build))?;
        let (former, ends) = (FuturesUnordered::new(), FuturesUnordered::new());
        let watch = how.watch_config.then(|| Watch::new(&loaded.sources));
        let grace = how.shutdown_timeout.as_std();
        Ok(Agent { args, grace, identity, loaded, host, engine, logs, own, former, ends, clock, watch })
    }

    /// # Errors
    /// The exit code; what could not start has been printed, with its place.
    async fn start(&mut self) -> Result<(), ExitCode> {
        service::log_notes(&self.loaded);
        tracing::info!(
            Version = env!("CARGO_PKG_VERSION"),
            NumCPU = service::cpus(),
            "Starting {}...",
            self.identity.name
        );
        let loaded = &self.loaded;
        let report =
            |error| self.args.report(&Diagnostics::new(vec![error], loaded.sources.clone()), Step::Start);
        self.own.bind(&self.host).await.map_err(|error| report(service::metrics_error(error, loaded)))?;
        self.own.begin();
        self.engine.start().await.map_err(|error| report(service::start_error(&error, loaded)))?;
        tracing::info!("Everything is ready. Begin running and processing data.");
        Ok(())
    }

    /// Works until it is to end: whether somebody asked for it. A request to reload is answered on the way.
    async fn work(&mut self, signals: &mut Signals) -> bool {
        let mut reading = None;
        loop {
            let read = tokio::select! {
                asked = signals.next() => {
                    received(asked);
                    if asked != Asked::Reload {
                        return true;
                    }
                    reading = Some(self.read());
                    continue;
                }
                () = changed(self.watch.as_mut(), &self.host, &self.clock) => {
                    tracing::info!("Files of the configuration have changed");
                    reading = Some(self.read());
                    continue;
                }
                Some(former) = self.former.next() => {
                    self.ends.extend(former.end(&self.host));
                    continue;
                }
                Some(()) = self.ends.next() => continue,
                (id, failure) = self.engine.failed() => {
                    terminating(&id, &failure);
                    return false;
                }
                read = done(&mut reading) => read,
            };
            reading = None;
            let (failed_for_good, grace) = (self.engine.failed(), self.grace);
            let mut reload = pin!(self.reload(read));
            let outcome = tokio::select! {
                outcome = &mut reload => outcome,
                as_asked = end(signals, failed_for_good) => {
                    // Either graph can be stopped in order; one that hangs between them cannot hold that up.
                    drop(tokio::time::timeout(grace, reload).await);
                    return as_asked;
                }
            };
            if let Err(why) = outcome {
                let why = why.unwrap_or_else(|| "the configuration has errors, see above".to_owned());
                tracing::error!(error = %why, "Config update failed, keeping the running configuration");
            }
        }
    }

    /// Begins to read the configuration as it is now. A file or a server may hang, which holds up nothing else; another
    /// request to reload reads anew. Files that text goes to are looked at whatever is read.
    fn read(&self) -> Reading {
        weir_telemetry::look_again();
        let (args, watches, host) = (self.args.clone(), self.watch.is_some(), self.host.clone());
        let load = move || {
            let read = args.read(&args.gates().ok()?, true);
            let sources = read.as_ref().map_or_else(Diagnostics::sources, |loaded| &loaded.sources);
            let watch = watches.then(|| Watch::new(sources));
            let loaded = read.map_err(|diagnostics| args.report(&diagnostics, Step::Load)).ok();
            Some(Read { loaded, watch })
        };
        async move { host.blocking(load).await.flatten() }.boxed()
    }

    /// Lets a configuration take over.
    ///
    /// # Errors
    /// Why it cannot; none when it has been printed. Everything goes on as before then, but that changes of its files are
    /// taken up as well.
    async fn reload(&mut self, read: Option<Read>) -> Result<(), Option<String>> {
        let Read { loaded, watch } = read.ok_or(None)?;
        let outcome = match loaded {
            Some(next) => self.run_instead(next).await,
            None => Err(None),
        };
        match (&mut self.watch, watch) {
            (Some(known), Some(tried)) if outcome.is_err() => known.also(tried, &self.loaded.sources),
            (known, next) => *known = next,
        }
        outcome
    }

    /// The same of one that has been read.
    async fn run_instead(&mut self, next: Loaded) -> Result<(), Option<String>> {
        let (old, new) = (&self.loaded.config.telemetry, &next.config.telemetry);
        let identity = match old.resource == new.resource {
            true => self.identity.clone(),
            false => self.identity.next(service::identity(&next).map_err(Some)?),
        };
        let logs = match (&old.logs, &old.resource) == (&new.logs, &new.resource) {
            true => None,
            false => Some(NextLogs::new(&new.logs, &identity).map_err(Some)?),
        };
        if (&old.metrics, &old.traces, &old.resource) == (&new.metrics, &new.traces, &new.resource) {
            let prepared = service::prepare(&self.engine, &next, None);
            let prepared = prepared.map_err(|errors| self.refuse(errors, &next))?;
            self.take_over(prepared, &next).await?;
        } else {
            self.reload_anew(&next, identity).await?;
        }
        if let Some(logs) = logs {
            let former = self.logs.take_over(logs);
            self.ends.push(aside(&self.host, || former.end()));
        }
        // Also those of components that go on.
        weir_otlp::tls::look_again();
        service::log_notes(&next);
        self.loaded = next;
        Ok(())
    }

    /// The same with another telemetry of the agent's own, with which every component starts anew.
    async fn reload_anew(&mut self, next: &Loaded, identity: Identity) -> Result<(), Option<String>> {
        let mut own = Own::new(next, &identity).map_err(Some)?;
        let host = self.host.with_telemetry(service::telemetry(&own.metrics, &own.traces));
        let prepared = service::prepare(&self.engine, next, Some(&host));
        let prepared = prepared.map_err(|errors| self.refuse(errors, next))?;
        // In one handover, so that pages and components may have each other's ports.
        host.handover().begin(&BTreeSet::from([("", service::OWN_METRICS.to_owned())]));
        self.engine.begin_handover(&prepared);
        if let Err(error) = own.bind(&host).await {
            host.handover().end(false);
            return Err(self.refuse_start(service::metrics_error(error, next), next));
        }
        self.take_over(prepared, next).await?;
        own.begin();
        let mut former = std::mem::replace(&mut self.own, own);
        // Its successor answers on its ports.
        former.servers.abort_all();
        self.former.push(self.engine.replaced_have_ended().map(|()| former).boxed());
        (self.host, self.identity) = (host, identity);
        Ok(())
    }

    async fn take_over(&mut self, prepared: Next, next: &Loaded) -> Result<(), Option<String>> {
        let (new, gone) = (prepared.starts(), self.engine.ends(&prepared));
        let started = self.engine.reload(prepared).await;
        started.map_err(|error| self.refuse_start(service::start_error(&error, next), next))?;
        let some = |list: Vec<String>| (!list.is_empty()).then(|| tracing::field::display(list.join(", ")));
        let (started, stopped) = (some(new), some(gone));
        tracing::info!(started, stopped, "Config updated. Everything else goes on as it was.");
        Ok(())
    }

    /// Says in the log as well where it stands.
    fn refuse_start(&self, error: ConfigError, next: &Loaded) -> Option<String> {
        let place = error.span.map(|span| format!(" ({})", next.sources.position(span))).unwrap_or_default();
        let diagnostics = Diagnostics::new(vec![error], next.sources.clone());
        self.args.report(&diagnostics, Step::Start);
        diagnostics.errors().first().map(|error| format!("{}{place}", error.core_sentence()))
    }

    fn refuse(&self, errors: Vec<ConfigError>, next: &Loaded) -> Option<String> {
        self.args.report(&Diagnostics::new(errors, next.sources.clone()), Step::Build);
        None
    }

    /// Whether everything ended in time and nothing was lost.
    async fn stop(mut self) -> bool {
        tracing::info!("Starting shutdown...");
        let stopped = self.engine.stop(self.grace).await;
        for name in &stopped.unfinished {
            tracing::error!(
                target: UNSAMPLED,
                task = %name,
                grace = ?self.grace,
                "Did not end in time; what it held was dropped, which senders were told that had not heard success yet"
            );
        }
        let exporters = stopped.undelivered.iter().map(|lost| ("exporter", lost));
        let processors = stopped.unsent.iter().map(|lost| ("processor", lost));
        for (kind, (id, signal, items)) in exporters.chain(processors) {
            tracing::error!(
                target: UNSAMPLED,
                {
                    otelcol.component.id = %id,
                    otelcol.component.kind = kind,
                    otelcol.signal = signal.name(),
                    dropped_items = items,
                },
                "Items that had been acknowledged could not be delivered before the end and are lost; with \
                 sending_queue::storage they would be kept for the next start"
            );
        }
        while let Ok(Some(former)) = tokio::time::timeout(FORMER, self.former.next()).await {
            self.ends.extend(former.end(&self.host));
        }
        self.ends.extend(self.own.end(&self.host));
        while self.ends.next().await.is_some() {}
        tracing::info!("Shutdown complete.");
        stopped.is_clean()
    }
}
