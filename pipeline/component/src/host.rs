//! The agent around a component.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{Budget, Capabilities, Handover, Stats, Telemetry};

/// Runs blocking work off the engine's threads; a simulation runs it as a task of its own.
pub trait Blocking: Send + Sync {
    /// Starts `work` and completes when it has ended.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// The agent around a component: what is shared by all, owned by the engine. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
    own: Arc<Own>,
    handover: Handover,
}

/// The agent's own telemetry, which a reload may replace.
struct Own {
    telemetry: Telemetry,
    stats: Stats,
}

struct Inner {
    shared: Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    sources: Mutex<BTreeMap<String, SourceStatus>>,
    extensions: Mutex<BTreeMap<String, Capabilities>>,
    topology: Mutex<Topology>,
    health: watch::Sender<Health>,
    blocking: Arc<dyn Blocking>,
    budget: Budget,
    name: String,
    version: String,
    started: u64,
    resident_at_start: u64,
}

/// What all extensions offered at some time.
#[derive(Debug)]
pub struct Offers(BTreeMap<String, Capabilities>);

/// Whether the agent is ready for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Pipelines are being built or stopped.
    #[default]
    NotReady,
    /// Receivers take data.
    Ready,
}

/// A pipeline as it was built, for pages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PipelineInfo {
    /// Id, such as `traces/front`.
    pub id: String,
    /// Signal.
    pub signal: String,
    /// Ids of receivers and connectors at its front.
    pub receivers: Vec<String>,
    /// Ids of processors, in order.
    pub processors: Vec<String>,
    /// Ids of exporters and connectors at its end.
    pub exporters: Vec<String>,
}

/// What runs, for pages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    /// Pipelines.
    pub pipelines: Vec<PipelineInfo>,
    /// Ids of extensions.
    pub extensions: Vec<String>,
}

/// How a source of evidence is doing, for people.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceStatus {
    /// `events`, `sockets` or `profile`.
    pub kind: &'static str,
    /// `ok`, `waiting`, `degraded` or `failed`.
    pub state: &'static str,
    /// When it last delivered, Unix ns; 0 when never.
    pub last: u64,
    /// What it waits for or what is wrong, and the cure.
    pub message: String,
}

impl Topology {
    /// Whether a receiver or connector of that id stands at the front of a pipeline. So it is as long as nobody has said what runs.
    pub fn takes_from(&self, id: &str) -> bool {
        self.has(id, |pipeline| &pipeline.receivers)
    }

    /// The same of a processor in a pipeline.
    pub fn processes_with(&self, id: &str) -> bool {
        self.has(id, |pipeline| &pipeline.processors)
    }

    fn has(&self, id: &str, place: fn(&PipelineInfo) -> &Vec<String>) -> bool {
        self.pipelines.is_empty() || self.pipelines.iter().any(|p| place(p).iter().any(|other| other == id))
    }
}

impl Own {
    fn new(telemetry: Telemetry, budget: &Budget) -> Arc<Own> {
        budget.publish(&telemetry);
        Arc::new(Own { stats: Stats::new(telemetry.clone()), telemetry })
    }
}

impl Host {
    /// An agent of that version, started at `started` (Unix ns).
    pub fn new(
        version: &str,
        started: u64,
        telemetry: impl Into<Telemetry>,
        blocking: Arc<dyn Blocking>,
    ) -> Host {
        let telemetry = telemetry.into();
        let inner = Arc::new(Inner {
            shared: Mutex::default(),
            sources: Mutex::default(),
            extensions: Mutex::default(),
            topology: Mutex::default(),
            health: watch::Sender::default(),
            blocking,
            budget: Budget::default(),
            name: "weir".to_owned(),
            version: version.to_owned(),
            started,
            resident_at_start: 0,
        });
        let own = Own::new(telemetry, &inner.budget);
        Host { inner, own, handover: Handover::default() }
    }

    /// The same agent with another telemetry of its own, in which all counts begin at zero.
    #[must_use]
    pub fn with_telemetry(&self, telemetry: impl Into<Telemetry>) -> Host {
        Host { own: Own::new(telemetry.into(), &self.inner.budget), ..self.clone() }
    }

    /// The same agent around a component of that kind, such as `receiver`.
    #[must_use]
    pub fn around(&self, kind: &'static str) -> Host {
        Host { handover: self.handover.of_kind(kind), ..self.clone() }
    }

    /// Under another name; for an agent that nobody shares yet.
    #[must_use]
    pub fn named(mut self, name: &str) -> Host {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            name.clone_into(&mut inner.name);
        }
        self
    }

    /// Of a process that had so many bytes resident before it took anything in; for an agent that nobody shares yet.
    #[must_use]
    pub fn with_resident_at_start(mut self, bytes: u64) -> Host {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.resident_at_start = bytes;
        }
        self
    }

    /// The one instance of `T` in this agent, made on first use: how the sources of evidence share one connection
    /// table, and pages find what they show.
    pub fn shared<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut map = lock(&self.inner.shared);
        let entry = map.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(entry).downcast().unwrap_or_default()
    }

    /// Runs blocking work and returns its result; `None` when the work panicked.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        self.inner.blocking.run(Box::new(move || *lock(&result) = Some(work()))).await;
        lock(&slot).take()
    }

    /// Says how a source of evidence is doing.
    pub fn report_source(&self, id: &str, status: SourceStatus) {
        lock(&self.inner.sources).insert(id.to_owned(), status);
    }

    /// How the sources of evidence that run are doing, by component id. One that a reload has removed may still report when it
    /// ends.
    pub fn sources(&self) -> Vec<(String, SourceStatus)> {
        let topology = self.topology();
        let sources = lock(&self.inner.sources);
        sources
            .iter()
            .filter(|(id, _)| topology.takes_from(id))
            .map(|(id, s)| (id.clone(), s.clone()))
            .collect()
    }

    /// Drops the reports of sources that do not run; the engine calls it.
    pub fn forget_sources(&self) {
        let topology = self.topology();
        lock(&self.inner.sources).retain(|id, _| topology.takes_from(id));
    }

    /// Forgets an extension that is about to end; the engine calls it.
    pub fn withdraw(&self, id: &str) {
        lock(&self.inner.extensions).remove(id);
    }

    /// Says what an extension that has started offers; the engine calls it.
    pub fn offer(&self, id: &str, capabilities: Capabilities) {
        lock(&self.inner.extensions).insert(id.to_owned(), capabilities);
    }

    /// All that is offered now, for [`Host::restore_offers`]; the engine calls it before a reload.
    pub fn offers(&self) -> Offers {
        Offers(lock(&self.inner.extensions).clone())
    }

    /// Forgets what was offered and withdrawn since; the engine calls it when a reload was refused.
    pub fn restore_offers(&self, Offers(before): Offers) {
        *lock(&self.inner.extensions) = before;
    }

    /// What the extension of that id offers. Extensions start before everything else, so that it is known when a
    /// receiver or exporter starts; `None` when no such extension runs.
    pub fn extension(&self, id: &str) -> Option<Capabilities> {
        lock(&self.inner.extensions).get(id).cloned()
    }

    /// Says what runs; the engine calls it.
    pub fn set_topology(&self, topology: Topology) {
        *lock(&self.inner.topology) = topology;
    }

    /// What runs.
    pub fn topology(&self) -> Topology {
        lock(&self.inner.topology).clone()
    }

    /// Says whether the agent is ready; the engine calls it.
    pub fn set_health(&self, health: Health) {
        self.inner.health.send_replace(health);
    }

    /// Whether the agent is ready.
    pub fn health(&self) -> Health {
        *self.inner.health.borrow()
    }

    /// Waits until the agent is in another state than `known`, and says in which.
    pub async fn health_after(&self, known: Health) -> Health {
        // The sender is this host's own, so that the wait cannot be cut off.
        let changed = self.inner.health.subscribe().wait_for(|now| *now != known).await.map(|now| *now);
        changed.unwrap_or(known)
    }

    /// The bytes of telemetry that the agent may hold; receivers reserve from it before they read a request.
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// What outlives the component that opened it: listening sockets.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Live counts of the agent, for its pages and its own metrics.
    pub fn stats(&self) -> &Stats {
        &self.own.stats
    }

    /// With what components measure and trace themselves.
    pub fn telemetry(&self) -> &Telemetry {
        &self.own.telemetry
    }

    /// What the agent calls itself.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Version of the agent.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// When the agent started, Unix ns.
    pub fn started(&self) -> u64 {
        self.inner.started
    }

    /// Bytes that the process had resident before it took anything in: what it needs without telemetry. 0 where nobody knows.
    pub fn resident_at_start(&self) -> u64 {
        self.inner.resident_at_start
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.inner.version)
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells a receiver or extension to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<()>);

/// The engine's end of [`Stop`]: dropping it tells all holders to stop.
#[derive(Debug)]
pub struct Stopper {
    _sender: watch::Sender<()>,
}

impl Stop {
    /// A pair.
    pub fn new() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(());
        (Stopper { _sender: sender }, Stop(receiver))
    }

    /// Completes when it is time to stop.
    pub async fn requested(&self) {
        // Nothing is ever sent: this ends with the sender.
        drop(self.0.clone().changed().await);
    }

    /// Whether it is time to stop.
    pub fn is_requested(&self) -> bool {
        self.0.has_changed().is_err()
    }
}
