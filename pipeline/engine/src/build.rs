//! From a specification to a graph that is ready to start.
//!
//! # Design
//! **From the end to the front.** A component is made with the outputs that it sends to, so what it feeds is made
//! before it: pipelines come in an order in which each stands behind all that it feeds through connectors
//! ([`Connections::order`]), and each is built from its exporters to its first processor. What a pipeline is entered by
//! is noted in `entries`, from which the ports of connectors and receivers are put together. A processor that is one
//! instance for several pipelines gets one more port with each of them, and its work when all are known.
//!
//! **What is kept.** A reload is built beside the graph that runs, `before`. A node stays the running component that it
//! is when it has the same key and the same settings, wherever these were written, the same ways out, names no
//! extension that changes, and has not ended ([`Builder::kept`]); the new graph then holds a clone of it. It may have
//! to send elsewhere than until now. For that the ways out of what can be kept are *joints*, and the new graph has a
//! list of *turns*: which joint is to lead where. Processors that work in their sender's task have no node and are made
//! anew.
//!
//! **Nothing happens here.** Any component may be refused, after others were made; a configuration that is only to be
//! checked is built too; and what was built may still fail to start. So building opens, spawns and starts nothing, and
//! changes nothing that runs: [`Parts`] holds what is to be done, and [`Engine::take_over`] does it when nothing can
//! fail any more. A component that cannot be made leaves `None` in its place and its problems in the list, and the
//! others are built for the sake of theirs.

mod changed;
mod durable;
mod edges;
mod parts;
mod problem;
mod processors;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use weir_component::{
    Build, BuildError, Clock, Count, ExporterParts, Host, Joint, Output, Outputs, PipelineInfo, Port,
    Runtime, Stage, StageContext, Topology,
};
use weir_config::{ConfigError, ErrorKind, Path};
use weir_delivery::{Delivered, Ending, deliver};
use weir_pdata::Signal;

use crate::batch;
use crate::caught::Caught;
use crate::fan_out::fan_out;
use crate::fatal::Fatal;
use crate::graph::Connections;
use crate::run::{Engine, Task};
use crate::running::{Graph, Key, Running, WayIn, mentions};
use crate::spec::{ComponentSpec, Components, ServiceSpec};
use crate::stage::{self, Letters, MailboxMaker, Predecessor};
use crate::way_out::Left;

use changed::changed_extensions;
use parts::RuntimeTime;
pub(crate) use parts::{Parts, Tools};
pub use problem::Problem;
use shared::Shared;

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
    let clock = Clock::new(Arc::new(RuntimeTime(Arc::clone(&runtime))));
    let (fatal, failed) = Fatal::new();
    let tools = Tools { host: host.clone(), clock, ending: Ending::default(), fatal };
    let parts = parts(spec, components, &tools, &Graph::new(), true)?;
    Ok(Engine::new(parts, runtime, tools, failed))
}

/// Builds what `spec` needs beside the components that run `before` and stay what they are; unless they may `stay`, all.
pub(crate) fn parts(
    spec: &ServiceSpec,
    components: &Components,
    tools: &Tools,
    before: &Graph,
    stay: bool,
) -> Result<Parts, Vec<Problem>> {
    let graph = |problem: Problem| vec![problem];
    let connections = Connections::new(spec, components).map_err(graph)?;
    let order = connections.order(spec).map_err(graph)?;
    connections.check_shared(spec, components).map_err(graph)?;
    let builder = Builder {
        spec,
        components,
        tools,
        before,
        stay,
        order: &order,
        changed: changed_extensions(spec, before),
        problems: Vec::new(),
        parts: Parts { topology: topology(spec), ..Parts::default() },
        connectors: BTreeMap::new(),
        shared: BTreeMap::new(),
        entries: BTreeMap::new(),
        durable: BTreeSet::new(),
        made: BTreeMap::new(),
    };
    builder.run(&connections)
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

pub(crate) struct Builder<'a> {
    pub(crate) spec: &'a ServiceSpec,
    pub(crate) components: &'a Components,
    tools: &'a Tools,
    /// What runs now.
    before: &'a Graph,
    /// Whether what does not change goes on.
    stay: bool,
    /// Pipelines, each after all that it feeds.
    order: &'a [usize],
    /// Ids of extensions that do not stay what they are.
    changed: Vec<&'a str>,
    problems: Vec<Problem>,
    pub(crate) parts: Parts,
    connectors: BTreeMap<(String, Signal), Output>,
    shared: BTreeMap<String, Shared>,
    /// The front of each pipeline, by its place in the specification.
    entries: BTreeMap<usize, Output>,
    /// Pipelines, by their place, from which something goes into a durable queue.
    pub(crate) durable: BTreeSet<usize>,
    /// Exporters that were made to see what their queues are.
    made: BTreeMap<Key, Result<ExporterParts, BuildError>>,
}

impl<'a> Builder<'a> {
    fn run(mut self, connections: &Connections<'_>) -> Result<Parts, Vec<Problem>> {
        self.note_durable(connections);
        for &at in self.order {
            if let Some(entry) = self.pipeline(connections, at) {
                self.entries.insert(at, entry);
            }
        }
        for (id, shared) in std::mem::take(&mut self.shared) {
            self.shared_stage(id, shared);
        }
        self.receivers();
        self.extensions();
        if self.problems.is_empty() { Ok(self.parts) } else { Err(self.problems) }
    }

    /// The node of that key, when it runs and stays what it is.
    fn kept(&self, key: &Key, spec: &ComponentSpec) -> Option<Running> {
        let running = self.before.get(key).filter(|running| running.still_fits(&spec.node))?;
        (self.stay && !mentions(&spec.node, &self.changed)).then(|| running.clone())
    }

    /// Builds one pipeline from its end to its front.
    fn pipeline(&mut self, connections: &Connections<'_>, at: usize) -> Option<Output> {
        let pipeline = &self.spec.pipelines[at];
        let mut ends = Vec::new();
        for id in &pipeline.exporters {
            let behind = connections.behind(id, pipeline.signal);
            let end = if behind.is_empty() {
                self.exporter(connections, id, pipeline.signal)
            } else {
                self.connector(id, pipeline.signal, behind)
            };
            ends.extend(end);
        }
        let mut next = fan_out(ends, self.tools.host.budget());
        for id in pipeline.processors.iter().rev() {
            next = self.processor(connections, id, at, next)?;
        }
        Some(next)
    }

    fn exporter(&mut self, connections: &Connections<'_>, id: &str, signal: Signal) -> Option<Output> {
        let spec = find(&self.spec.exporters, id)?;
        let key = Key::Exporter(id.to_owned(), signal);
        let left_out = batch::left_out(self, connections, id, signal);
        let kept = || self.kept(&key, spec).filter(|node| node.left_out == left_out);
        let present = self.parts.graph.get(&key).cloned().or_else(kept);
        if let Some(node) = present {
            let WayIn::Exporter(output) = &node.way_in else { return None };
            let output = output.clone();
            self.parts.graph.insert(key, node);
            return Some(output);
        }
        let factory = self.components.exporter(spec.kind())?;
        if !factory.signals.contains(&signal) {
            self.unsupported(
                "exporters",
                spec,
                format!("failed to create \"{id}\" exporter for data type \"{signal}\""),
            );
            return None;
        }
        let made = self.made.remove(&key);
        let create = || (factory.create)(&self.build("exporters", spec), signal);
        let parts = made.unwrap_or_else(create);
        let mut parts = self.keep(parts)?;
        if let Some(settings) = &left_out {
            batch::behind_queue(settings, id, &mut parts.delivery);
        }
        let Tools { host, clock, ending, fatal } = self.tools;
        let Delivered { consumer, work, opening } =
            deliver(id, signal, parts.exporter, &parts.delivery, clock.clone(), host, ending);
        let undelivered = opening.undelivered();
        let queue = parts.delivery.queue.as_ref();
        let blocks = queue.is_some_and(|queue| queue.block_on_overflow);
        let waits = queue.is_some_and(|queue| queue.wait_for_result);
        let durable = queue.is_some_and(|queue| queue.storage.is_some());
        let output = if parts.delivery.queue.is_some() {
            Output::new(Arc::new(consumer))
        } else {
            Output::new(Arc::new(Caught { id: id.to_owned(), fatal: fatal.clone(), delivery: consumer }))
        };
        let node = Running {
            undelivered,
            durable,
            left_out,
            blocks,
            waits,
            ..Running::new(spec.node.clone(), WayIn::Exporter(output.clone()))
        };
        self.parts.exporters.push((id.to_owned(), opening));
        self.node(key, node, format!("exporter {id} ({signal})"), work);
        Some(output)
    }

    fn connector(&mut self, id: &str, from: Signal, behind: &[usize]) -> Option<Output> {
        if let Some(output) = self.connectors.get(&(id.to_owned(), from)) {
            return Some(output.clone());
        }
        let spec = find(&self.spec.connectors, id)?;
        let key = Key::Connector(id.to_owned(), from);
        let ports = self.ports(behind.iter().copied());
        let kept = self.kept(&key, spec).filter(|node| node.ports == signature(&ports));
        let maker = match kept {
            Some(node) => self.turn(key, node, ports)?,
            None => {
                let factory = self.components.connector(spec.kind())?;
                let stage = (factory.create)(&self.build("connectors", spec), from);
                let stage = self.keep(stage)?;
                let (maker, letters) = MailboxMaker::new(self.tools.host.budget());
                let (ports, joints) = jointed(ports);
                let way_in = WayIn::Stage(maker.clone());
                let node =
                    Running { joints, ports: signature(&ports), ..Running::new(spec.node.clone(), way_in) };
                self.stage(key, node, stage, letters, ports, None);
                maker
            }
        };
        // The Collector has no counts of connectors either.
        let output = Output::new(Arc::new(maker.port(0, Count::default())));
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
                output: fan_out(outputs, self.tools.host.budget()),
            })
            .collect()
    }

    /// Keeps a node that runs; its ways out will lead to the outputs of `ports`.
    fn turn(&mut self, key: Key, node: Running, ports: Vec<Port>) -> Option<MailboxMaker> {
        let maker = if let WayIn::Stage(maker) = &node.way_in { Some(maker.clone()) } else { None };
        let targets = ports.into_iter().map(|port| port.output);
        self.parts.turns.extend(node.joints.iter().cloned().zip(targets));
        self.parts.graph.insert(key, node);
        maker
    }

    fn stage(
        &mut self,
        key: Key,
        node: Running,
        stage: Box<dyn Stage>,
        letters: Letters,
        ports: Vec<Port>,
        predecessor: Option<Predecessor>,
    ) {
        let left = Left::default();
        let cx = StageContext {
            id: key.id().to_owned(),
            outputs: Outputs::new(left.ports(ports, &node.joints)),
            clock: self.tools.clock.clone(),
            host: self.tools.host.clone(),
        };
        let (name, legacy) = (cx.id.clone(), node.legacy.clone());
        let work = left.beside(stage::run(stage, letters, cx, predecessor, legacy));
        self.node(key, node, name, Box::pin(work));
    }

    fn node(&mut self, key: Key, node: Running, name: String, work: BoxFuture<'static, ()>) {
        self.parts.graph.insert(key.clone(), node);
        self.parts.tasks.push(Task { key, name, work });
    }

    pub(crate) fn build(&self, section: &str, spec: &'a ComponentSpec) -> Build<'a> {
        Build {
            id: &spec.id,
            node: &spec.node,
            path: Path::component(section, &spec.id),
            host: &self.tools.host,
            clock: self.tools.clock.clone(),
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

fn signature(ports: &[Port]) -> Vec<(Signal, String)> {
    ports.iter().map(|port| (port.signal, port.pipeline.clone())).collect()
}

/// The same ports, which can be led elsewhere.
fn jointed(ports: Vec<Port>) -> (Vec<Port>, Vec<Joint>) {
    let one = |port: Port| {
        let (output, joint) = Output::jointed(port.output);
        (Port { output, ..port }, joint)
    };
    ports.into_iter().map(one).unzip()
}

pub(crate) fn find<'a>(list: &'a [ComponentSpec], id: &str) -> Option<&'a ComponentSpec> {
    list.iter().find(|spec| spec.id == id)
}
