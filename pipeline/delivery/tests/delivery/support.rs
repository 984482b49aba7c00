//! One delivery in front of one scripted exporter.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use weir_component::{
    Acceptance, Batch, Budget, Build, Capabilities, Clock, Consumer, Context, DeliverySettings,
    ExtensionContext, Failure, Host, Instant, Kind, Outcome, Output, Patience, QueueSettings, Receipt,
    RetrySettings, Runtime, Stop, Storage,
};
use weir_delivery::{Delivered, Delivery, Ending, Opening, deliver};
use weir_pdata::{Payload, Signal};
use weir_testkit::{Event, Lab, Reply, Scripted, Simulation, ids, payload};

const ID: &str = "test/e";

/// Id of the storage.
pub(crate) const STORAGE: &str = "file_storage";

/// What a sender heard, and when.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<(Instant, Outcome)>>>);

impl Heard {
    /// Seconds until it was told.
    pub(crate) fn after(&self) -> Option<f64> {
        self.0.lock().expect("not poisoned").first().map(|(at, _)| seconds(*at))
    }

    /// The outcome; the test fails when it did not come exactly once.
    pub(crate) fn outcome(&self) -> Outcome {
        let heard = self.0.lock().expect("not poisoned");
        assert_eq!(heard.len(), 1, "settled {} times", heard.len());
        heard[0].1.clone()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.lock().expect("not poisoned").is_empty()
    }

    /// Kind and text of the failure.
    pub(crate) fn failure(&self) -> (Kind, String) {
        let failure = self.outcome().expect_err("a failure");
        (failure.kind(), failure.to_string())
    }
}

pub(crate) struct Bench {
    pub(crate) simulation: Simulation,
    pub(crate) clock: Clock,
    pub(crate) lab: Arc<Lab>,
    host: Host,
    delivery: Option<Arc<Delivery>>,
    dispatcher: AbortHandle,
    opening: Opening,
    ending: Ending,
}

impl Bench {
    pub(crate) fn new(
        settings: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) -> Bench {
        Bench::seeded(1, settings, script)
    }

    pub(crate) fn seeded(
        seed: u64,
        settings: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) -> Bench {
        let simulation = Simulation::new(seed);
        let host = weir_testkit::host(&simulation);
        Bench::of(simulation, host, settings, script)
    }

    /// With a storage in `directory` that runs as the extension `file_storage`.
    pub(crate) fn on_disk(
        directory: &Path,
        settings: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) -> Bench {
        Bench::on_storage(directory, |storage, _| storage, settings, script)
    }

    /// The same, with something in front of the storage.
    pub(crate) fn on_storage(
        directory: &Path,
        before: impl FnOnce(Arc<dyn Storage>, Clock) -> Arc<dyn Storage>,
        settings: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) -> Bench {
        let simulation = Simulation::new(1);
        let host = weir_testkit::host(&simulation);
        let storage = before(storage(&simulation, &host, STORAGE, directory), simulation.clock());
        host.offer(STORAGE, Capabilities::default().with_storage(storage));
        Bench::of(simulation, host, settings, script)
    }

    /// As after a reload from which on a storage runs, or another one.
    pub(crate) fn move_to(&self, directory: &Path) {
        self.ending.move_to(Some(storage(&self.simulation, &self.host, "file_storage/new", directory)));
    }

    /// Lets another storage run.
    pub(crate) fn offer_storage(&self, id: &str, directory: &Path) {
        let storage = storage(&self.simulation, &self.host, id, directory);
        self.host.offer(id, Capabilities::default().with_storage(storage));
    }

    fn of(
        simulation: Simulation,
        host: Host,
        settings: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) -> Bench {
        let clock = simulation.clock();
        let lab: Arc<Lab> = host.shared();
        let exporter = Scripted::new(ID, Arc::clone(&lab), clock.clone(), script);
        let ending = Ending::default();
        let Delivered { consumer, work, opening } =
            deliver(ID, Signal::Logs, Arc::new(exporter), &settings, clock.clone(), &host, &ending);
        let storage = host.extension(STORAGE).and_then(|offered| offered.storage);
        ending.move_to(storage.clone());
        let open = {
            let opening = opening.clone();
            async move {
                let opened = opening.open().await;
                if let Some(storage) = storage {
                    opening.find_leftovers(&storage).await;
                }
                opened
            }
        };
        simulation.run(open).expect("opens").expect("no failure");
        let (dispatcher, registration) = AbortHandle::new_pair();
        let work = Abortable::new(work, registration);
        simulation.spawn(Box::pin(work.map(|_ended_or_aborted| ())));
        Bench {
            simulation,
            clock,
            lab,
            host,
            opening,
            ending,
            delivery: Some(Arc::new(consumer)),
            dispatcher,
        }
    }

    /// Opens a delivery for another exporter of the same agent.
    pub(crate) fn open_beside(&self, id: &str, settings: &DeliverySettings) -> Result<Delivered, Failure> {
        let exporter = Scripted::new(id, Arc::clone(&self.lab), self.clock.clone(), |_, _| Reply::Accept);
        let delivered = deliver(
            id,
            Signal::Logs,
            Arc::new(exporter),
            settings,
            self.clock.clone(),
            &self.host,
            &self.ending,
        );
        let opening = delivered.opening.clone();
        let storage = self.host.extension(STORAGE).and_then(|offered| offered.storage);
        let open = async move {
            opening.open().await?;
            if let Some(storage) = storage {
                opening.find_leftovers(&storage).await;
            }
            Ok(())
        };
        self.simulation.run(open).expect("ends").map(|()| delivered)
    }

    /// The bytes of telemetry that the agent may hold.
    pub(crate) fn budget(&self) -> &Budget {
        self.host.budget()
    }

    /// Sends items with the ids from `first` up, in a task of its own.
    pub(crate) fn send(&self, first: i64, items: usize) -> Heard {
        self.send_payload(payload(Signal::Logs, first, items))
    }

    pub(crate) fn send_payload(&self, payload: Payload) -> Heard {
        self.send_from(Context::default(), payload)
    }

    /// Sends as somebody of whom that is known.
    pub(crate) fn send_from(&self, context: Context, payload: Payload) -> Heard {
        let heard = Heard::default();
        let delivery = self.delivery.clone().expect("not closed");
        let batch = Batch { context: Arc::new(context), ..self.batch(payload, &heard) };
        self.simulation.spawn(Box::pin(async move { delivery.consume(batch).await }));
        heard
    }

    /// Sends what was acknowledged already, or with no patience what its sender still has.
    pub(crate) fn send_patiently(&self, patience: Patience, payload: Payload) -> Heard {
        let heard = Heard::default();
        let delivery = self.delivery.clone().expect("not closed");
        let mut batch = self.batch(payload, &heard);
        batch.receipt = batch.receipt.with_patience(patience);
        self.simulation.spawn(Box::pin(async move { delivery.consume(batch).await }));
        heard
    }

    /// The same as [`Bench::send`], but the sender goes away after `patience`.
    pub(crate) fn send_impatiently(&self, first: i64, items: usize, patience: Duration) -> Heard {
        let heard = Heard::default();
        let delivery = self.delivery.clone().expect("not closed");
        let batch = self.batch(payload(Signal::Logs, first, items), &heard);
        let gone = self.clock.sleep(patience);
        self.simulation.spawn(Box::pin(async move {
            futures_util::future::select(delivery.consume(batch), gone).await;
        }));
        heard
    }

    /// Sends as a receiver does whose caller waits for the answer for so long, and goes away then.
    pub(crate) fn send_and_wait(&self, first: i64, items: usize, patience: Duration) -> Heard {
        let heard = Heard::default();
        let delivery = self.delivery.clone().expect("not closed");
        let (mut receipt, settled) = Receipt::new();
        let (told, clock) = (heard.clone(), self.clock.clone());
        receipt.observe(move |outcome| {
            told.0.lock().expect("not poisoned").push((clock.now(), outcome.clone()));
        });
        let batch = Batch { payload: payload(Signal::Logs, first, items), receipt, context: Arc::default() };
        let gone = self.clock.sleep(patience);
        self.simulation.spawn(Box::pin(async move {
            delivery.consume(batch).await;
            futures_util::future::select(settled, gone).await;
        }));
        heard
    }

    /// Hands over as a receiver does what it has made itself.
    pub(crate) fn hand(&self, first: i64, items: usize) {
        let output = Output::new(self.delivery.clone().expect("not closed"));
        let clock = self.clock.clone();
        let payload = payload(Signal::Logs, first, items);
        self.simulation.spawn(Box::pin(async move {
            Acceptance::default().hand(&output, payload, &clock, clock.now()).await;
        }));
    }

    fn batch(&self, payload: Payload, heard: &Heard) -> Batch {
        let (heard, clock) = (heard.clone(), self.clock.clone());
        let receipt = Receipt::observed(move |outcome| {
            heard.0.lock().expect("not poisoned").push((clock.now(), outcome.clone()));
        });
        Batch { payload, receipt, context: Arc::default() }
    }

    /// Lets that much time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.simulation.run(self.clock.sleep(time)).expect("time passes");
    }

    /// Lets everything happen that can happen without time passing.
    pub(crate) fn settle(&self) {
        self.pass(Duration::from_nanos(1));
    }

    /// Drops the last handle as the agent ends: the drain begins.
    pub(crate) fn close(&mut self) {
        self.ending.begin();
        self.retire();
    }

    /// The agent begins to end while something in front of the exporter has its handle still.
    pub(crate) fn begin_end(&self) {
        self.ending.begin();
    }

    /// The time for attempts is over.
    pub(crate) fn last_call(&self) {
        self.ending.last_call();
    }

    /// Drops the last handle while the agent goes on, as a reload does.
    pub(crate) fn retire(&mut self) {
        self.delivery = None;
    }

    /// Drops the dispatcher, as the engine does at its deadline.
    pub(crate) fn abort(&self) {
        self.dispatcher.abort();
    }

    pub(crate) fn run_to_end(&self) {
        self.simulation.run_to_end();
    }

    /// When each attempt began, in seconds.
    pub(crate) fn attempts(&self) -> Vec<f64> {
        let came = |e: &weir_testkit::Entry| matches!(e.event, Event::Came { .. }).then(|| seconds(e.at));
        self.lab.journal().iter().filter_map(came).collect()
    }

    /// The ids of each attempt.
    pub(crate) fn tried(&self) -> Vec<Vec<i64>> {
        let came = |e: weir_testkit::Entry| match e.event {
            Event::Came { ids, .. } => Some(ids),
            _ => None,
        };
        self.lab.journal().into_iter().filter_map(came).collect()
    }

    /// When each payload was delivered, and its ids.
    pub(crate) fn deliveries(&self) -> Vec<(f64, Vec<i64>)> {
        let delivered = |e: weir_testkit::Entry| match e.event {
            Event::Delivered { payload, .. } => Some((seconds(e.at), ids(&payload))),
            _ => None,
        };
        self.lab.journal().into_iter().filter_map(delivered).collect()
    }

    pub(crate) fn delivered(&self) -> Vec<i64> {
        self.lab.delivered(ID)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lab.journal().iter().any(|e| matches!(e.event, Event::Ended))
    }

    /// Most attempts under way at once; every attempt must have ended in an answer.
    pub(crate) fn peak(&self) -> usize {
        let (mut now, mut peak) = (0_usize, 0);
        for entry in self.lab.journal() {
            match entry.event {
                Event::Came { .. } => now += 1,
                Event::Delivered { .. } | Event::Failed { .. } => now -= 1,
                _ => {}
            }
            peak = peak.max(now);
        }
        peak
    }

    fn sample(&self, name: &str) -> u64 {
        let samples = self.host.stats().samples();
        let found: Vec<_> = samples.iter().filter(|s| s.name == name).collect();
        if found.is_empty() && name.starts_with("otelcol_exporter_enqueue_failed") {
            return 0; // There is no queue.
        }
        assert_eq!(found.len(), 1, "one series of {name}");
        assert!(found[0].labels.contains(&("exporter".to_owned(), ID.to_owned())), "{:?}", found[0].labels);
        found[0].value
    }

    /// Items sent, failed, refused by the queue, rejected by the destination.
    pub(crate) fn counts(&self) -> [u64; 4] {
        ["sent", "send_failed", "enqueue_failed", "rejected"]
            .map(|what| self.sample(&format!("otelcol_exporter_{what}_log_records")))
    }

    /// Items that were acknowledged and lost to the end.
    pub(crate) fn undelivered(&self) -> usize {
        self.opening.undelivered().items()
    }

    pub(crate) fn queue_size(&self) -> u64 {
        self.sample("otelcol_exporter_queue_size")
    }

    pub(crate) fn queue_capacity(&self) -> u64 {
        self.sample("otelcol_exporter_queue_capacity")
    }
}

pub(crate) fn seconds(at: Instant) -> f64 {
    at.since(Instant::default()).as_secs_f64()
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// No queue, no retry, no timeout.
pub(crate) fn bare() -> DeliverySettings {
    DeliverySettings { timeout: Duration::ZERO, retry: None, queue: None }
}

/// Retries after exactly 1, 2, 4, 8, 8, ... seconds, without end.
pub(crate) fn exact_retries() -> RetrySettings {
    RetrySettings {
        initial_interval: SECOND,
        randomization_factor: 0.0,
        multiplier: 2.0,
        max_interval: 8 * SECOND,
        max_elapsed_time: Duration::ZERO,
    }
}

/// A queue for so many requests with so many consumers, and nothing else.
pub(crate) fn queued(queue_size: usize, num_consumers: usize) -> DeliverySettings {
    with_queue(QueueSettings { queue_size, num_consumers, ..QueueSettings::default() })
}

pub(crate) fn with_queue(queue: QueueSettings) -> DeliverySettings {
    DeliverySettings { queue: Some(queue), ..bare() }
}

/// Takes everything after that time.
pub(crate) fn slow(time: Duration) -> Reply {
    Reply::After(time, Box::new(Reply::Accept))
}

/// The storage of a `file_storage` extension that runs.
fn storage(simulation: &Simulation, host: &Host, id: &str, directory: &Path) -> Arc<dyn Storage> {
    let node = weir_config::parse_body(&format!("directory: {}", directory.display())).expect("YAML");
    let path = weir_config::Path::component("extensions", id);
    let build = Build { id, node: &node, path, host, clock: simulation.clock() };
    let mut extension = (weir_extension_file_storage::FACTORY.create)(&build).expect("built");
    let (_running, stop) = Stop::new();
    let cx = ExtensionContext { id: id.to_owned(), stop, clock: simulation.clock(), host: host.clone() };
    let capabilities = simulation.run(async move {
        extension.start(&cx).await.expect("started");
        extension.capabilities()
    });
    capabilities.and_then(|offered| offered.storage).expect("it starts")
}
