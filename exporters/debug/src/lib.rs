//! Prints what passes.
//!
//! The forms are those of the Collector's exporter of that name. Telemetry is read as owned messages here, and only
//! where more than the counts is printed: somebody is watching.

mod config;
mod detailed;
mod normal;
mod number;
mod profile;
mod sampler;
mod sink;
mod summary;
mod text;
mod value;

use std::sync::{Arc, OnceLock};

use weir_component::{
    Accepted, Build, BuildError, Clock, Context, DeliverySettings, Exporter, ExporterFactory, ExporterParts,
    Failure, Host, Instant, Maturity, Stability, async_trait,
};
use weir_config::net::RetryConfig;
use weir_config::{GoDuration, Options};
use weir_pdata::{Payload, Signal};

use config::{Config, Verbosity};
use sampler::Sampler;
use sink::Sinks;
use summary::Summary;
use text::Text;

/// Makes `debug` exporters.
pub const FACTORY: ExporterFactory = ExporterFactory {
    kind: "debug",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::all(Stability::Alpha),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>, _: Signal) -> Result<ExporterParts, BuildError> {
    let config: Config = weir_config::load(build.node, &build.path)?;
    let delivery = delivery(&config);
    Ok(ExporterParts { exporter: Arc::new(Debug::new(build.id, config, build.clock.clone())), delivery })
}

/// No time limit, no retries, and a queue only where one is asked for.
fn delivery(config: &Config) -> DeliverySettings {
    let retry = RetryConfig { enabled: false, ..RetryConfig::default() };
    weir_otlp::config::delivery(GoDuration::ZERO, &retry, &config.sending_queue)
}

struct Debug {
    id: String,
    config: Config,
    clock: Clock,
    sampler: Arc<Sampler>,
    /// What is there from the start on.
    started: OnceLock<(Host, Arc<Sinks>)>,
}

#[async_trait]
impl Exporter for Debug {
    async fn start(&self, host: &Host) -> Result<(), Failure> {
        let paths = (!self.config.use_internal_logger).then(|| self.config.paths());
        let open = move || paths.map_or_else(Sinks::stderr, |paths| Sinks::open(&paths));
        let opened = host.blocking(open).await;
        let sinks = opened.unwrap_or_else(|| Err("the outputs could not be opened".to_owned()));
        self.start_with(host, sinks.map_err(Failure::permanent)?);
        Ok(())
    }

    async fn export(&self, payload: &Payload, _: &Context) -> Result<Accepted, Failure> {
        let now = self.clock.now();
        let summary = Summary::of(payload);
        let shown = self.sampler.admits(summary.message(), now);
        let mut text = String::new();
        if !self.config.use_internal_logger {
            text = if shown { summary.line() } else { text };
        } else if shown {
            summary.log(&self.id);
        }
        if !text.is_empty() || self.dumps() {
            self.print(text, payload.clone(), now).await?;
        }
        Ok(Accepted::default())
    }

    async fn stop(&self) {
        if let Some((host, sinks)) = self.started.get() {
            let sinks = Arc::clone(sinks);
            host.blocking(move || sinks.flush()).await;
        }
    }
}

impl Debug {
    fn new(id: &str, config: Config, clock: Clock) -> Debug {
        let sampler = Sampler::new(config.sampling_initial, config.sampling_thereafter);
        Debug { id: id.to_owned(), config, clock, sampler: Arc::new(sampler), started: OnceLock::new() }
    }

    fn start_with(&self, host: &Host, sinks: Sinks) {
        // A second start finds what the first one opened, which is as good.
        drop(self.started.set((host.clone(), Arc::new(sinks))));
    }

    /// Whether more than the counts is printed. With the agent's log, the dump is an entry of it in spirit, and its
    /// level holds for it.
    fn dumps(&self) -> bool {
        let level = !self.config.use_internal_logger || tracing::enabled!(tracing::Level::INFO);
        level && self.config.verbosity > Verbosity::Basic
    }

    /// Makes the dump and writes it behind `text`, away from the engine's threads: a terminal may be slow.
    async fn print(&self, mut text: String, payload: Payload, now: Instant) -> Result<(), Failure> {
        let Some((host, sinks)) = self.started.get() else {
            return Err(Failure::retry("the exporter has not been started"));
        };
        let (sinks, sampler, dumps) = (sinks.clone(), self.sampler.clone(), self.dumps());
        let (verbosity, separate) = (self.config.verbosity, !self.config.use_internal_logger);
        // Whoever leaves while it is printed leaves the turn there.
        let turn = sinks.turn().await;
        let work = move || {
            let _turn = turn;
            let dump = if dumps { dump(&payload, verbosity) } else { String::new() };
            if dumps && sampler.admits(&dump, now) {
                text.push_str(&dump);
                // An entry of its own: its text ends with a line break already, and so does every entry.
                text.push_str(if separate { "\n" } else { "" });
            }
            sinks.write(&text);
        };
        host.blocking(work).await.ok_or_else(|| Failure::permanent("the payload could not be printed"))
    }
}

fn dump(payload: &Payload, verbosity: Verbosity) -> String {
    let mut text = Text::new();
    let detailed = verbosity == Verbosity::Detailed;
    match (payload.signal(), detailed) {
        (Signal::Traces, false) => normal::traces(&mut text, &payload.decode_traces()),
        (Signal::Traces, true) => detailed::traces(&mut text, &payload.decode_traces()),
        (Signal::Metrics, false) => normal::metrics(&mut text, &payload.decode_metrics()),
        (Signal::Metrics, true) => detailed::metrics(&mut text, &payload.decode_metrics()),
        (Signal::Logs, false) => normal::logs(&mut text, &payload.decode_logs()),
        (Signal::Logs, true) => detailed::logs(&mut text, &payload.decode_logs()),
        (Signal::Profiles, false) => normal::profiles(&mut text, &payload.decode_profiles()),
        (Signal::Profiles, true) => detailed::profiles(&mut text, &payload.decode_profiles()),
    }
    text.finish()
}

#[cfg(test)]
mod tests;
