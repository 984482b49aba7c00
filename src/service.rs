//! Puts a checked configuration, the table of components and the engine together.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use weir_component::{Clock, Host, Instant, Stability, Stop, Telemetry, TimeSource};
use weir_config::{
    Catalog, Component, ComponentId, ConfigError, ErrorKind, Loaded, Path, PipelineSignal, Reference,
    Section, ServiceConfig,
};
use weir_engine::{ComponentSpec, Engine, Next, PipelineSpec, ServiceSpec, StartError, TokioRuntime};
use weir_kernel::memory;
use weir_otlp::Listener;
use weir_otlp::http_server::{self, ServerLimits, respond, text};
use weir_pdata::Signal;
use weir_telemetry::{Answer, Identity, Metrics, Page, Traces};

use crate::components::{self, COMPONENTS};
use crate::program::program;

/// Threads for everything.
///
/// # Errors
/// The system refuses threads.
pub(crate) fn tokio_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(cpus()))
        .enable_all()
        .thread_name("weir")
        .build()
}

/// Threads that move requests: half of the processors. One of them moves more than half a million spans a second, and
/// each further one costs wake-ups across processors, which small requests mostly consist of (docs/performance.md).
/// Compression has threads of its own.
fn workers(cpus: u64) -> usize {
    usize::try_from(cpus / 2).unwrap_or(1).max(1)
}

/// Processors that this process may use.
pub(crate) fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// The agent around the components.
pub(crate) fn host(tokio: &Arc<TokioRuntime>, telemetry: impl Into<Telemetry>) -> Host {
    let blocking: Arc<dyn weir_component::Blocking> = Arc::<TokioRuntime>::clone(tokio);
    let host = Host::new(env!("CARGO_PKG_VERSION"), tokio.unix_nanos(), telemetry, blocking);
    let host = host.named(&program().name).with_resident_at_start(memory::resident());
    host.budget().set_limit(in_flight(memory::total()));
    host
}

/// Bytes that may be in flight with that much memory where no memory limiter says otherwise.
fn in_flight(memory: u64) -> usize {
    usize::try_from(memory / 100 * IN_FLIGHT_PERCENT).unwrap_or(usize::MAX)
}

/// Telemetry in flight, queues in memory included, may take this share of the memory that the process may use.
const IN_FLIGHT_PERCENT: u64 = 25;

/// With what components measure and trace themselves.
pub(crate) fn telemetry(metrics: &Metrics, traces: &Traces) -> Telemetry {
    let telemetry = Telemetry::new(metrics.provider(), metrics.level());
    match traces.provider() {
        Some(tracers) => telemetry.with_traces(tracers, traces.propagator()),
        None => telemetry,
    }
}

/// Who this agent is in its own telemetry.
///
/// # Errors
/// A sentence about an attribute of `service::telemetry::resource`.
pub(crate) fn identity(loaded: &Loaded) -> Result<Identity, String> {
    let resource = &loaded.config.telemetry.resource;
    let identity = Identity::new(&program().name, env!("CARGO_PKG_VERSION"), resource)
        .map_err(|e| format!("failed to create resource: {e}"))?;
    let [attributes, name] =
        ["OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"].map(|name| std::env::var(name).ok());
    Ok(identity.in_environment(attributes.as_deref(), name.as_deref()))
}

/// Logs what is probably not meant in a configuration.
pub(crate) fn log_notes(loaded: &Loaded) {
    for warning in &loaded.warnings {
        if warning.info {
            tracing::info!(name = %warning.name, "{}", warning.message);
        } else {
            tracing::warn!(name = %warning.name, "{}", warning.message);
        }
    }
    for note in &loaded.notes {
        let place = note.span.map(|span| loaded.sources.position(span)).unwrap_or_default();
        let (section, id) = note.path.component_of().unwrap_or_default();
        let kind = section.trim_end_matches('s');
        tracing::warn!(
            otelcol.component.id = %id,
            otelcol.component.kind = %kind,
            %place,
            path = %note.path,
            "{}",
            note.message
        );
    }
    log_stability(loaded);
}

/// Logs how mature each component that runs is, once for each signal.
fn log_stability(loaded: &Loaded) {
    let mut seen = BTreeSet::new();
    for (pipeline, own) in &loaded.config.pipelines {
        let signal = signal(pipeline.signal());
        let roles = [
            (Section::Exporters, &own.exporters),
            (Section::Processors, &own.processors),
            (Section::Receivers, &own.receivers),
        ];
        for (section, id) in roles.into_iter().flat_map(|(s, list)| list.iter().map(move |r| (s, &r.id))) {
            // A connector stands in the lists of receivers and exporters.
            let is_there = loaded.config.component(section, id).is_some();
            let section = if is_there { section } else { Section::Connectors };
            if seen.insert((section, id, signal)) {
                log_stability_of(section, id, Some(signal));
            }
        }
    }
    loaded.config.extensions.iter().for_each(|r| log_stability_of(Section::Extensions, &r.id, None));
}

/// Those that may change in any release are told of without being asked for.
fn log_stability_of(section: Section, id: &ComponentId, signal: Option<Signal>) {
    let Some(stability) = components::stability(section, id.kind(), signal) else { return };
    let (kind, signal, note) = (section.singular(), signal.map(|s| s.to_string()), stability.note());
    match stability {
        Stability::Development => tracing::info!(
            otelcol.component.id = %id,
            otelcol.component.kind = kind,
            otelcol.signal = signal,
            "{note}"
        ),
        _ => tracing::debug!(
            otelcol.component.id = %id,
            otelcol.component.kind = kind,
            otelcol.signal = signal,
            "{note}"
        ),
    }
}

/// All component types, for reading a configuration; nothing of it runs.
pub(crate) fn catalog() -> Catalog {
    struct Nowhere;
    impl weir_component::Blocking for Nowhere {
        fn run(&self, _: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }
    }
    impl TimeSource for Nowhere {
        fn now(&self) -> Instant {
            Instant::default()
        }
        fn unix_nanos(&self) -> u64 {
            0
        }
        fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
        fn random(&self) -> u64 {
            0
        }
    }
    let meter = opentelemetry::global::meter("weir");
    let host = Host::new(env!("CARGO_PKG_VERSION"), 0, meter, Arc::new(Nowhere));
    components::catalog(&host, &Clock::new(Arc::new(Nowhere)))
}

/// Builds the engine of a configuration; nothing is opened or started.
///
/// # Errors
/// Everything that is wrong with the components and the graph.
pub(crate) fn build(
    loaded: &Loaded,
    tokio: Arc<TokioRuntime>,
    host: &Host,
) -> Result<Engine, Vec<ConfigError>> {
    weir_engine::build(&spec(loaded), &COMPONENTS, tokio, host)
        .map_err(|problems| problems.into_iter().map(|p| p.0).collect())
}

/// Builds what another configuration needs beside what runs; with a `host` everything, for the telemetry of that host.
///
/// # Errors
/// As [`build`].
pub(crate) fn prepare(engine: &Engine, next: &Loaded, host: Option<&Host>) -> Result<Next, Vec<ConfigError>> {
    let spec = spec(next);
    let prepared = match host {
        None => engine.prepare(&spec, &COMPONENTS),
        Some(host) => engine.prepare_anew(&spec, &COMPONENTS, host),
    };
    prepared.map_err(|problems| problems.into_iter().map(|p| p.0).collect())
}

/// Why a component could not start, at its place in the configuration.
pub(crate) fn start_error(error: &StartError, loaded: &Loaded) -> ConfigError {
    let section = Section::ALL.into_iter().find(|section| section.singular() == error.kind);
    let id = error.id.parse::<ComponentId>().ok();
    let place = section.zip(id.as_ref());
    let found = ConfigError::new(ErrorKind::Start, error.to_string());
    let Some((section, id)) = place else { return found };
    let path = ServiceConfig::path(section, id);
    let mut found = ConfigError::new(ErrorKind::Start, format!("{path} cannot start: {}", error.failure))
        .core(error.to_string())
        .on(&path);
    found.span = loaded.config.component(section, id).map(|component| component.span);
    found
}

/// Why nobody can answer with the agent's own metrics, at the place that asks for it.
pub(crate) fn metrics_error(message: String, loaded: &Loaded) -> ConfigError {
    let steps = ["service", "telemetry", "metrics", "readers"];
    let path = steps[..3].iter().fold(Path::new(), |path, step| path.field(step));
    let written = (1..=steps.len()).rev().find_map(|depth| loaded.root.get(&steps[..depth]));
    let mut found = ConfigError::new(ErrorKind::Start, message).on(&path);
    found.span = written.map(|node| node.span);
    found
}

fn spec(loaded: &Loaded) -> ServiceSpec {
    let config = &loaded.config;
    let one = |(id, component): (&ComponentId, &Component)| ComponentSpec {
        id: id.to_string(),
        node: component.body.clone(),
    };
    let all = |section| config.components(section).map(one).collect();
    // References were checked when the configuration was read.
    let extension = |r: &Reference| config.component(Section::Extensions, &r.id).map(|c| one((&r.id, c)));
    let ids = |list: &[Reference]| list.iter().map(|r| r.id.to_string()).collect();
    let pipelines = config.pipelines.iter().map(|(id, p)| PipelineSpec {
        signal: signal(id.signal()),
        id: id.to_string(),
        receivers: ids(&p.receivers),
        processors: ids(&p.processors),
        exporters: ids(&p.exporters),
    });
    ServiceSpec {
        receivers: all(Section::Receivers),
        processors: all(Section::Processors),
        exporters: all(Section::Exporters),
        connectors: all(Section::Connectors),
        extensions: config.extensions.iter().filter_map(extension).collect(),
        pipelines: pipelines.collect(),
    }
}

fn signal(signal: PipelineSignal) -> Signal {
    match signal {
        PipelineSignal::Traces => Signal::Traces,
        PipelineSignal::Metrics => Signal::Metrics,
        PipelineSignal::Logs => Signal::Logs,
        PipelineSignal::Profiles => Signal::Profiles,
    }
}

/// Who owns the ports of the agent's own metrics.
pub(crate) const OWN_METRICS: &str = "service::telemetry::metrics";

/// Binds the ports of the agent's own metrics.
///
/// # Errors
/// A sentence about an address that cannot be bound.
pub(crate) async fn bind_metrics(metrics: &Metrics, host: &Host) -> Result<Vec<(Page, Listener)>, String> {
    let mut bound = Vec::new();
    for page in metrics.pages() {
        let address = page.address();
        let listener = Listener::owned_tcp(host, OWN_METRICS, address).await.map_err(|e| {
            format!(
                "failed to create meter provider: binding address {address} for Prometheus exporter: {e}; set \
                 service::telemetry::metrics::readers to another port or metrics::level to none"
            )
        })?;
        bound.push((page.clone(), listener));
    }
    Ok(bound)
}

/// Answers Prometheus with the agent's own metrics until the returned set is dropped.
pub(crate) fn serve_metrics(bound: Vec<(Page, Listener)>) -> JoinSet<()> {
    let mut servers = JoinSet::new();
    for (page, listener) in bound {
        let handler = move |request: hyper::Request<hyper::body::Incoming>, _: &Arc<http_server::Peer>| {
            let page = page.clone();
            async move {
                if request.uri().path() != "/metrics" {
                    return text(http::StatusCode::NOT_FOUND, "404 page not found\n");
                }
                let accept = request.headers().get(http::header::ACCEPT).and_then(|a| a.to_str().ok());
                let Answer { content_type, text } = page.answer(accept);
                respond(http::StatusCode::OK, content_type, text)
            }
        };
        servers.spawn(async move {
            let (_running, stop) = Stop::new();
            http_server::serve(listener, None, ServerLimits::of_pages(), stop, handler).await;
        });
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quarter_of_the_memory_may_be_in_flight_where_nothing_limits_it() {
        assert_eq!((in_flight(800 << 20), in_flight(0)), (200 << 20, 0));
        let host = host(&Arc::new(TokioRuntime::current()), Telemetry::default());
        assert_eq!(host.budget().limit(), in_flight(memory::total()));
    }

    #[tokio::test]
    async fn the_agent_knows_what_its_process_needs_without_telemetry() {
        let before = memory::resident();
        let host = host(&Arc::new(TokioRuntime::current()), Telemetry::default());
        assert!((before / 2..2 * before).contains(&host.resident_at_start()), "{}", host.resident_at_start());
    }
}
