//! From a specification to a graph that is ready to start.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_component::{
    Build, BuildError, Clock, Count, Exporter, Extension, Host, Output, Outputs, PipelineInfo, Port,
    Processor, Receiver, Runtime, Stage, StageContext, Topology,
};
use weir_config::{ConfigError, ErrorKind, Path};
use weir_delivery::deliver;
use weir_pdata::Signal;

use crate::counted::{Accepting, Flow, Inline, Outgoing, Timing};
use crate::fan_out::fan_out;
use crate::graph::Connections;
use crate::run::{Engine, Task};
use crate::spec::{ComponentSpec, Components, ServiceSpec};
use crate::stage::{self, Letters, MailboxMaker};

/// One thing that keeps a configuration from being built.
#[derive(Debug)]
pub struct Problem(pub ConfigError);

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Builds everything; nothing is opened or started.
///
/// # Errors
/// All problems of all components, or what is wrong with the graph.
pub fn build(
    spec: &ServiceSpec,
    components: &Components,
    runtime: Arc<dyn Runtime>,
    host: &Host,
) -> Result<Engine, Vec<Problem>> {
    let graph = |message: String| vec![Problem(ConfigError::new(ErrorKind::Invalid, message))];
    let connections = Connections::new(spec, components).map_err(graph)?;
    let order = connections.order(spec).map_err(graph)?;
    connections.check_shared(spec, components).map_err(graph)?;
    let clock = Clock::new(Arc::new(RuntimeTime(Arc::clone(&runtime))));
    let builder = Builder {
        spec,
        components,
        host,
        clock: clock.clone(),
        problems: Vec::new(),
        tasks: Vec::new(),
        exporters: BTreeMap::new(),
        all_exporters: Vec::new(),
        connectors: BTreeMap::new(),
        shared: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    host.set_topology(topology(spec));
    builder.run(&connections, &order).map(|parts| Engine::new(parts, runtime, clock, host.clone()))
}

fn topology(spec: &ServiceSpec) -> Topology {
    let pipelines = spec.pipelines.iter().map(|p| PipelineInfo {
        id: p.id.clone(),
        signal: p.signal.name().to_owned(),
        receivers: p.receivers.clone(),
        processors: p.processors.clone(),
        exporters: p.exporters.clone(),
    });
    Topology {
        pipelines: pipelines.collect(),
        extensions: spec.extensions.iter().map(|e| e.id.clone()).collect(),
    }
}

/// The time of a runtime.
struct RuntimeTime(Arc<dyn Runtime>);

impl weir_component::TimeSource for RuntimeTime {
    fn now(&self) -> weir_component::Instant {
        self.0.now()
    }
    fn unix_nanos(&self) -> u64 {
        self.0.unix_nanos()
    }
    fn sleep_until(&self, deadline: weir_component::Instant) -> futures_util::future::BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }
    fn random(&self) -> u64 {
        self.0.random()
    }
}

/// What [`Engine`] runs.
pub(crate) struct Parts {
    pub(crate) extensions: Vec<(String, Box<dyn Extension>)>,
    pub(crate) exporters: Vec<(String, Arc<dyn Exporter>)>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) receivers: Vec<(String, Box<dyn Receiver>, Outputs)>,
}

/// A processor that is one instance for several pipelines.
struct Shared {
    stage: Box<dyn Stage>,
    maker: MailboxMaker,
    letters: Letters,
    ports: Vec<Port>,
}

struct Builder<'a> {
    spec: &'a ServiceSpec,
    components: &'a Components,
    host: &'a Host,
    clock: Clock,
    problems: Vec<Problem>,
    tasks: Vec<Task>,
    exporters: BTreeMap<(String, Signal), Output>,
    all_exporters: Vec<(String, Arc<dyn Exporter>)>,
    connectors: BTreeMap<(String, Signal), Output>,
    shared: BTreeMap<String, Shared>,
    /// The front of each pipeline, by its place in the specification.
    entries: BTreeMap<usize, Output>,
}

impl<'a> Builder<'a> {
    fn run(mut self, connections: &Connections<'_>, order: &[usize]) -> Result<Parts, Vec<Problem>> {
        for &at in order {
            if let Some(entry) = self.pipeline(connections, at) {
                self.entries.insert(at, entry);
            }
        }
        for (id, shared) in std::mem::take(&mut self.shared) {
            let Shared { stage, letters, ports, .. } = shared;
            self.stage_task(&id, stage, letters, ports);
        }
        let receivers = self.receivers();
        let extensions = self.extensions();
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Ok(Parts { extensions, exporters: self.all_exporters, tasks: self.tasks, receivers })
    }

    /// Builds one pipeline from its end to its front.
    fn pipeline(&mut self, connections: &Connections<'_>, at: usize) -> Option<Output> {
        let pipeline = &self.spec.pipelines[at];
        let mut ends = Vec::new();
        for id in &pipeline.exporters {
            let behind = connections.behind(id, pipeline.signal);
            let end = if behind.is_empty() {
                self.exporter(id, pipeline.signal)
            } else {
                self.connector(id, pipeline.signal, behind)
            };
            ends.extend(end);
        }
        let mut next = fan_out(ends);
        for id in pipeline.processors.iter().rev() {
            next = self.processor(id, at, next)?;
        }
        Some(next)
    }

    fn exporter(&mut self, id: &str, signal: Signal) -> Option<Output> {
        if let Some(output) = self.exporters.get(&(id.to_owned(), signal)) {
            return Some(output.clone());
        }
        let spec = find(&self.spec.exporters, id)?;
        let factory = self.components.exporter(spec.kind())?;
        if !factory.signals.contains(&signal) {
            self.unsupported(
                "exporters",
                spec,
                format!("failed to create \"{id}\" exporter for data type \"{signal}\""),
            );
            return None;
        }
        let parts = (factory.create)(&self.build("exporters", spec), signal);
        let parts = self.keep(parts)?;
        let exporter = Arc::clone(&parts.exporter);
        let (delivery, work) =
            deliver(id, signal, parts.exporter, &parts.delivery, self.clock.clone(), self.host);
        if let Some(work) = work {
            self.tasks.push(Task { name: format!("exporter {id} ({signal})"), work });
        }
        self.all_exporters.push((id.to_owned(), exporter));
        let output = Output::new(Arc::new(delivery));
        self.exporters.insert((id.to_owned(), signal), output.clone());
        Some(output)
    }

    fn connector(&mut self, id: &str, from: Signal, behind: &[usize]) -> Option<Output> {
        if let Some(output) = self.connectors.get(&(id.to_owned(), from)) {
            return Some(output.clone());
        }
        let spec = find(&self.spec.connectors, id)?;
        let factory = self.components.connector(spec.kind())?;
        let stage = (factory.create)(&self.build("connectors", spec), from);
        let stage = self.keep(stage)?;
        let ports = self.ports(behind.iter().copied());
        let (maker, letters) = MailboxMaker::new();
        // The Collector has no counts of connectors either.
        let output = Output::new(Arc::new(maker.port(0, Count::default())));
        self.stage_task(id, stage, letters, ports);
        self.connectors.insert((id.to_owned(), from), output.clone());
        Some(output)
    }

    /// One port for each signal of these pipelines.
    fn ports(&self, pipelines: impl Iterator<Item = usize>) -> Vec<Port> {
        let mut by_signal: BTreeMap<Signal, (Vec<&str>, Vec<Output>)> = BTreeMap::new();
        for at in pipelines {
            let pipeline = &self.spec.pipelines[at];
            let (names, outputs) = by_signal.entry(pipeline.signal).or_default();
            names.push(&pipeline.id);
            outputs.extend(self.entries.get(&at).cloned());
        }
        (by_signal.into_iter())
            .map(|(signal, (names, outputs))| Port {
                signal,
                pipeline: names.join(","),
                output: fan_out(outputs),
            })
            .collect()
    }

    fn processor(&mut self, id: &str, at: usize, next: Output) -> Option<Output> {
        let pipeline = &self.spec.pipelines[at];
        let signal = pipeline.signal;
        let spec = find(&self.spec.processors, id)?;
        let factory = self.components.processor(spec.kind())?;
        if !factory.signals.contains(&signal) {
            let message = format!("failed to create \"{id}\" processor, in pipeline \"{}\"", pipeline.id);
            self.unsupported("processors", spec, message);
            return None;
        }
        let flow = Flow::new(id, signal, self.host);
        let counted = Output::new(Arc::new(Outgoing { count: flow.outgoing.clone(), next: next.clone() }));
        let port = Port { signal, pipeline: pipeline.id.clone(), output: counted };
        if let Some(shared) = self.shared.get_mut(id) {
            let number = shared.ports.len();
            shared.ports.push(port);
            return Some(Output::new(Arc::new(shared.maker.port(number, flow.incoming))));
        }
        let processor = (factory.create)(&self.build("processors", spec));
        let stage = match self.keep(processor)? {
            Processor::Transform(transform) => {
                let timing = Timing::new(id, signal, self.host, &self.clock);
                let id = id.to_owned();
                return Some(Output::new(Arc::new(Inline { id, transform, flow, timing, next })));
            }
            Processor::Stage(stage) => stage,
        };
        let (maker, letters) = MailboxMaker::new();
        let entry = Output::new(Arc::new(maker.port(0, flow.incoming)));
        if factory.shared {
            self.shared.insert(id.to_owned(), Shared { stage, maker, letters, ports: vec![port] });
        } else {
            self.stage_task(id, stage, letters, vec![port]);
        }
        Some(entry)
    }

    fn stage_task(&mut self, id: &str, stage: Box<dyn Stage>, letters: Letters, ports: Vec<Port>) {
        let cx = StageContext {
            id: id.to_owned(),
            outputs: Outputs::new(ports),
            clock: self.clock.clone(),
            host: self.host.clone(),
        };
        self.tasks.push(Task { name: id.to_owned(), work: Box::pin(stage::run(stage, letters, cx)) });
    }

    fn receivers(&mut self) -> Vec<(String, Box<dyn Receiver>, Outputs)> {
        let mut out = Vec::new();
        for spec in &self.spec.receivers {
            let taken_by = |i: &usize| self.spec.pipelines[*i].receivers.contains(&spec.id);
            let pipelines: Vec<usize> = (0..self.spec.pipelines.len()).filter(taken_by).collect();
            if pipelines.is_empty() {
                continue;
            }
            let Some(factory) = self.components.receiver(spec.kind()) else {
                continue;
            };
            for at in &pipelines {
                let signal = self.spec.pipelines[*at].signal;
                if !factory.signals.contains(&signal) {
                    let message =
                        format!("failed to create \"{}\" receiver for data type \"{signal}\"", spec.id);
                    self.unsupported("receivers", spec, message);
                }
            }
            let receiver = (factory.create)(&self.build("receivers", spec));
            let Some(receiver) = self.keep(receiver) else {
                continue;
            };
            let mut ports = self.ports(pipelines.into_iter());
            for port in &mut ports {
                let counted = Accepting::new(
                    &spec.id,
                    port.signal,
                    receiver.transports(),
                    self.host,
                    port.output.clone(),
                );
                port.output = Output::new(Arc::new(counted));
            }
            out.push((spec.id.clone(), receiver, Outputs::new(ports)));
        }
        out
    }

    fn extensions(&mut self) -> Vec<(String, Box<dyn Extension>)> {
        let mut out = Vec::new();
        for spec in &self.spec.extensions {
            let Some(factory) = self.components.extension(spec.kind()) else {
                continue;
            };
            let extension = (factory.create)(&self.build("extensions", spec));
            out.extend(self.keep(extension).map(|e| (spec.id.clone(), e)));
        }
        out
    }

    fn build(&self, section: &str, spec: &'a ComponentSpec) -> Build<'a> {
        Build {
            id: &spec.id,
            node: &spec.node,
            path: Path::component(section, &spec.id),
            host: self.host,
            clock: self.clock.clone(),
        }
    }

    fn keep<T>(&mut self, result: Result<T, BuildError>) -> Option<T> {
        result.map_err(|e| self.problems.extend(e.0.into_iter().map(Problem))).ok()
    }

    fn unsupported(&mut self, section: &str, spec: &ComponentSpec, what: String) {
        let message = format!("{what}: telemetry type is not supported");
        let mut error = ConfigError::new(ErrorKind::Invalid, message).on(&Path::component(section, &spec.id));
        error.span = Some(spec.node.span);
        self.problems.push(Problem(error));
    }
}

fn find<'a>(list: &'a [ComponentSpec], id: &str) -> Option<&'a ComponentSpec> {
    list.iter().find(|spec| spec.id == id)
}
