//! The table of test components, and a world to run them in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_component::{
    Clock, ConnectorFactory, DeliverySettings, ExporterFactory, ExtensionFactory, Host, Kind,
    ProcessorFactory, ReceiverFactory,
};
use weir_config::{Node, NodeKind, Offer, Span};
use weir_engine::{ComponentSpec, Components, Engine, PipelineSpec, ServiceSpec, StartError, Stopped, build};
use weir_pdata::{Payload, Signal};
use weir_testkit::{
    CONNECTOR, EXPORTER, EXTENSION, Event, ExtensionScript, Lab, PROCESSOR, Parcel, RECEIVER, ReceiverScript,
    Reply, Role, Simulation, ids,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// `test` does what its script says for every signal; `traces` knows traces only; one `shared` processor is one
/// instance for all its pipelines, and `limits` says how many bytes may be held; `same` connects pipelines of one signal and `count` traces with metrics; an extension
/// `offers` is one that others use. `batch` and `file_storage` are the real ones, `held` is one of which the queues open
/// late.
pub(crate) const COMPONENTS: Components = Components {
    receivers: &[RECEIVER, ReceiverFactory { kind: "traces", signals: &[Signal::Traces], ..RECEIVER }],
    processors: &[
        PROCESSOR,
        ProcessorFactory { kind: "traces", signals: &[Signal::Traces], ..PROCESSOR },
        ProcessorFactory { kind: "shared", shared: true, ..PROCESSOR },
        crate::limits::LIMITS,
        weir_processor_batch::FACTORY,
    ],
    exporters: &[EXPORTER, ExporterFactory { kind: "traces", signals: &[Signal::Traces], ..EXPORTER }],
    connectors: &[
        CONNECTOR,
        ConnectorFactory {
            kind: "same",
            pairs: &[
                (Signal::Traces, Signal::Traces),
                (Signal::Metrics, Signal::Metrics),
                (Signal::Logs, Signal::Logs),
            ],
            ..CONNECTOR
        },
        ConnectorFactory { kind: "count", pairs: &[(Signal::Traces, Signal::Metrics)], ..CONNECTOR },
    ],
    extensions: &[
        EXTENSION,
        ExtensionFactory { kind: "offers", offers: &[Offer::Authentication], ..EXTENSION },
        weir_extension_file_storage::FACTORY,
        crate::opening::HELD,
    ],
};

/// A pipeline; its signal is what stands before the slash.
pub(crate) fn pipeline(
    id: &str,
    receivers: &[&str],
    processors: &[&str],
    exporters: &[&str],
) -> PipelineSpec {
    let signal = match id.split('/').next() {
        Some("traces") => Signal::Traces,
        Some("metrics") => Signal::Metrics,
        _ => Signal::Logs,
    };
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    PipelineSpec {
        signal,
        id: id.to_owned(),
        receivers: owned(receivers),
        processors: owned(processors),
        exporters: owned(exporters),
    }
}

/// A service of these pipelines, in which `connectors` are connectors and every other id is what its place says.
pub(crate) fn service(connectors: &[&str], pipelines: Vec<PipelineSpec>) -> ServiceSpec {
    let all = |of: fn(&PipelineSpec) -> &Vec<String>| {
        let ids: BTreeSet<_> = pipelines.iter().flat_map(of).collect();
        ids.into_iter().filter(|id| !connectors.contains(&id.as_str())).map(|id| component(id)).collect()
    };
    ServiceSpec {
        receivers: all(|p| &p.receivers),
        processors: all(|p| &p.processors),
        exporters: all(|p| &p.exporters),
        connectors: connectors.iter().map(|id| component(id)).collect(),
        extensions: Vec::new(),
        pipelines,
    }
}

pub(crate) fn component(id: &str) -> ComponentSpec {
    ComponentSpec { id: id.to_owned(), node: Node::null(Span::default()) }
}

/// The same component with other settings.
pub(crate) fn change(list: &mut [ComponentSpec], id: &str, version: i128) {
    let spec = list.iter_mut().find(|c| c.id == id).expect("a component of that id");
    spec.node = Node::new(NodeKind::Int(version), Span::default());
}

/// A simulation, its host and its lab.
pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) clock: Clock,
    pub(crate) host: Host,
    pub(crate) lab: Arc<Lab>,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let simulation = Simulation::new(seed);
        let host = weir_testkit::host(&simulation);
        World { clock: simulation.clock(), lab: host.shared(), host, simulation }
    }

    /// Gives every component of a service a script, where it has none yet: receivers without clients, processors that
    /// hand on, exporters that take everything.
    pub(crate) fn script(&self, spec: &ServiceSpec) {
        for c in &spec.receivers {
            self.lab.receiver(&c.id, ReceiverScript::default());
        }
        for c in spec.processors.iter().chain(&spec.connectors) {
            self.lab.processor(&c.id, Role::Pass);
        }
        for c in &spec.exporters {
            self.lab.exporter(&c.id, DeliverySettings::default(), |_, _| Reply::Accept);
        }
        for c in &spec.extensions {
            self.lab.extension(&c.id, ExtensionScript::default());
        }
    }

    /// One client of a receiver that sends at once, with consecutive ids from `first`.
    pub(crate) fn sends(&self, receiver: &str, parcels: &[(Signal, i64, usize)]) {
        let parcel = |(signal, first, items): &(Signal, i64, usize)| Parcel {
            after: Duration::ZERO,
            signal: *signal,
            first: *first,
            items: *items,
        };
        let clients = vec![parcels.iter().map(parcel).collect()];
        self.lab.receiver(receiver, ReceiverScript { clients, ..ReceiverScript::default() });
    }

    pub(crate) fn exporter(
        &self,
        id: &str,
        delivery: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) {
        self.lab.exporter(id, delivery, script);
    }

    /// The texts of all problems, without their places.
    pub(crate) fn problems(&self, spec: &ServiceSpec) -> Vec<String> {
        match build(spec, &COMPONENTS, Arc::new(self.simulation.clone()), &self.host) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|p| p.0.core_sentence().to_owned()).collect(),
        }
    }

    pub(crate) fn build(&self, spec: &ServiceSpec) -> Engine {
        let built = build(spec, &COMPONENTS, Arc::new(self.simulation.clone()), &self.host);
        built.map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("builds")
    }

    /// Builds and starts.
    pub(crate) fn start(&self, spec: &ServiceSpec) -> Result<Engine, StartError> {
        let mut engine = self.build(spec);
        let started = self.simulation.run(async move { engine.start().await.map(|()| engine) });
        started.expect("the start ends")
    }

    /// Lets another configuration take over. What cannot be built or started comes back as text.
    pub(crate) fn reload(&self, mut engine: Engine, spec: &ServiceSpec) -> (Engine, Result<(), String>) {
        let next = match engine.prepare(spec, &COMPONENTS) {
            Ok(next) => next,
            Err(problems) => return (engine, Err(problems[0].0.core_sentence().to_owned())),
        };
        let reloaded = self.simulation.run(async move {
            let outcome = engine.reload(next).await;
            (engine, outcome.map_err(|e| e.to_string()))
        });
        reloaded.expect("the reload ends")
    }

    /// Lets that much time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.simulation.run(self.clock.sleep(time)).expect("time passes");
    }

    /// Stops and checks that no task is left.
    pub(crate) fn stop(&self, mut engine: Engine, grace: Duration) -> Stopped {
        let stopped = self.simulation.run(async move { engine.stop(grace).await });
        assert_eq!(self.simulation.tasks(), 0, "tasks are left");
        stopped.expect("the stop ends")
    }

    /// Builds, starts, lets a second pass and stops, with nothing unfinished.
    pub(crate) fn run(&self, spec: &ServiceSpec) {
        let engine = self.start(spec).expect("starts");
        self.pass(SECOND);
        let stopped = self.stop(engine, 60 * SECOND);
        assert_eq!(stopped.unfinished, Vec::<String>::new());
    }

    /// The journal in short: `id event` for what is not about data.
    pub(crate) fn life(&self) -> Vec<String> {
        let line = |e: weir_testkit::Entry| match e.event {
            Event::Created => Some(format!("{} created", e.who)),
            Event::Started => Some(format!("{} started", e.who)),
            Event::Ended => Some(format!("{} ended", e.who)),
            _ => None,
        };
        self.lab.journal().into_iter().filter_map(line).collect()
    }

    /// What a stage was given: port and ids.
    pub(crate) fn came(&self, stage: &str) -> Vec<(usize, Vec<i64>)> {
        let came = |e: weir_testkit::Entry| match e.event {
            Event::Came { port, ids } if e.who == stage => Some((port, ids)),
            _ => None,
        };
        self.lab.journal().into_iter().filter_map(came).collect()
    }

    /// What an exporter took: signal and ids.
    pub(crate) fn took(&self, exporter: &str) -> Vec<(Signal, Vec<i64>)> {
        let took = |e: weir_testkit::Entry| match e.event {
            Event::Delivered { payload, .. } if e.who == exporter => Some((payload.signal(), ids(&payload))),
            _ => None,
        };
        self.lab.journal().into_iter().filter_map(took).collect()
    }

    /// The ids that an exporter delivered, in order of their size.
    pub(crate) fn delivered(&self, exporter: &str) -> Vec<i64> {
        let mut delivered = self.lab.delivered(exporter);
        delivered.sort_unstable();
        delivered
    }

    /// What the sender of a parcel heard, which must have been one thing.
    pub(crate) fn heard(&self, first: i64) -> Result<(), (Kind, String)> {
        let mut outcomes = self.lab.outcomes(first);
        assert_eq!(outcomes.len(), 1, "parcel {first} was settled {} times", outcomes.len());
        outcomes.pop().expect("one")
    }

    /// Sum of a counter over all its series with a label of that value.
    pub(crate) fn count(&self, name: &str, label: &str) -> u64 {
        let samples = self.host.stats().samples();
        let of = samples.iter().filter(|s| s.name == name && s.labels.iter().any(|(_, v)| v == label));
        of.map(|s| s.value).sum()
    }
}

/// No queue, no retry, no timeout.
pub(crate) fn direct() -> DeliverySettings {
    DeliverySettings { timeout: Duration::ZERO, retry: None, queue: None }
}
