//! No receiver starts before every queue on disk behind it is open, however long that takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::{Either, select};
use tokio::sync::Semaphore;
use weir_component::{
    Build, BuildError, Capabilities, DeliverySettings, DurableQueue, Extension, ExtensionContext,
    ExtensionFactory, Failure, Host, QueueSettings, Storage,
};
use weir_engine::ServiceSpec;
use weir_pdata::Signal::{Logs, Metrics, Traces};
use weir_testkit::Reply;

use crate::support::{COMPONENTS, SECOND, World, component, pipeline, service};

/// `file_storage`, but that each queue opens when its [`Gate`] lets it.
pub(crate) const HELD: ExtensionFactory =
    ExtensionFactory { kind: "held", create, ..weir_extension_file_storage::FACTORY };

/// How many queues were asked for, and leave to open some.
struct Gate {
    asked: AtomicUsize,
    leave: Semaphore,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { asked: AtomicUsize::new(0), leave: Semaphore::new(0) }
    }
}

impl Gate {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn pass(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.leave.acquire().await.expect("never closed").forget();
    }
}

fn create(build: &Build<'_>) -> Result<Box<dyn Extension>, BuildError> {
    let inner = (weir_extension_file_storage::FACTORY.create)(build)?;
    Ok(Box::new(Held { inner, gate: build.host.shared() }))
}

struct Held {
    inner: Box<dyn Extension>,
    gate: Arc<Gate>,
}

#[async_trait]
impl Extension for Held {
    async fn start(&mut self, cx: &ExtensionContext) -> Result<(), Failure> {
        self.inner.start(cx).await
    }

    async fn run(self: Box<Self>, cx: ExtensionContext) -> Result<(), Failure> {
        self.inner.run(cx).await
    }

    fn capabilities(&self) -> Capabilities {
        let storage = self.inner.capabilities().storage.expect("it has started");
        Capabilities::default().with_storage(Arc::new(HeldStorage(storage, Arc::clone(&self.gate))))
    }
}

struct HeldStorage(Arc<dyn Storage>, Arc<Gate>);

#[async_trait]
impl Storage for HeldStorage {
    async fn open_queue(&self, name: &str) -> Result<Arc<dyn DurableQueue>, Failure> {
        self.1.pass().await;
        self.0.open_queue(name).await
    }

    async fn find_queue(&self, name: &str) -> Result<Option<Arc<dyn DurableQueue>>, Failure> {
        self.0.find_queue(name).await
    }
}

/// One receiver of three signals, and exporters that keep them in queues of the storage: four in all.
fn spec(directory: &Path) -> ServiceSpec {
    let mut spec = service(
        &[],
        vec![
            pipeline("traces", &["test/r"], &[], &["test/a"]),
            pipeline("metrics", &["test/r"], &[], &["test/a"]),
            pipeline("logs", &["test/r"], &[], &["test/a", "test/b"]),
        ],
    );
    let mut storage = component("held");
    let body = format!("directory: {}", directory.display());
    storage.node = weir_config::parse_body(&body).expect("YAML");
    spec.extensions = vec![storage];
    spec
}

fn script(world: &World, spec: &ServiceSpec) {
    world.script(spec);
    let queue = QueueSettings { storage: Some("held".to_owned()), ..QueueSettings::default() };
    let delivery = DeliverySettings { queue: Some(queue), ..DeliverySettings::default() };
    for exporter in &spec.exporters {
        world.exporter(&exporter.id, delivery.clone(), |_, _| Reply::Accept);
    }
}

/// Runs `work` and lets queues open one by one, of which there are `count`; `early` looks after each but the last.
fn one_by_one<T: Send + 'static>(
    world: &World,
    work: impl Future<Output = T> + Send + 'static,
    count: usize,
    early: impl Fn(),
) -> T {
    let gate: Arc<Gate> = Host::shared(&world.host);
    let before = gate.asked();
    let mut work = Box::pin(work);
    for opened in 0..count {
        let second = Box::pin(world.clock.sleep(SECOND));
        let ended = world.simulation.run(select(work, second)).expect("time passes");
        work = match ended {
            Either::Right(((), waits)) => Some(waits),
            Either::Left(_) => None,
        }
        .expect("it waits for all queues");
        assert!(gate.asked() > before + opened, "it waits for a queue");
        early();
        gate.leave.add_permits(1);
    }
    let done = world.simulation.run(work).expect("it ends");
    assert_eq!(gate.asked(), before + count);
    done
}

#[test]
fn no_receiver_starts_before_every_queue_behind_it_is_open() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().expect("a directory");
        let (world, mut spec) = (World::new(seed), spec(directory.path()));
        script(&world, &spec);
        world.sends("test/r", &[(Traces, 0, 2), (Metrics, 10, 2), (Logs, 20, 2)]);
        let started = |receiver: &str| world.life().contains(&format!("{receiver} started"));
        let mut engine = world.build(&spec);
        let start = async move { engine.start().await.map(|()| engine) };
        let engine = one_by_one(&world, start, 4, || assert!(!started("test/r"), "seed {seed}: too early"));
        let mut engine = engine.expect("starts");
        assert!(started("test/r"));

        // And one that a reload brings.
        spec.receivers.push(component("test/new"));
        spec.exporters.push(component("test/c"));
        spec.pipelines.push(pipeline("traces/new", &["test/new"], &[], &["test/c"]));
        spec.pipelines.push(pipeline("logs/new", &["test/new"], &[], &["test/c"]));
        script(&world, &spec);
        let next = engine.prepare(&spec, &COMPONENTS).map_err(|_| "problems");
        let next = next.expect("builds");
        let reload = async move { (engine.reload(next).await.map_err(|e| e.to_string()), engine) };
        let early = || assert!(!started("test/new"), "seed {seed}: too early");
        let (outcome, engine) = one_by_one(&world, reload, 2, early);
        assert_eq!(outcome, Ok(()));
        assert!(started("test/new"));
        world.pass(SECOND);
        assert!(world.stop(engine, 10 * SECOND).is_clean());
        assert_eq!(world.delivered("test/a"), [0, 1, 10, 11, 20, 21]);
        assert_eq!(world.delivered("test/b"), [20, 21]);
    }
}
