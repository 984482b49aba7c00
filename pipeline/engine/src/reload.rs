//! Another graph takes over from the one that runs.
//!
//! # Design
//! A reload builds everything that the new configuration needs and does not have yet ([`Engine::prepare`]); nothing
//! that runs notices. Then the new parts start: extensions, exporters, and receivers, which bind their ports or get those
//! of their predecessors ([`Handover`](weir_component::Handover)). None of them works yet, so that nothing is delivered by
//! settings that may be refused: a queue on disk is the old exporter's too. If one cannot start, the new parts end, what
//! the extensions offered is forgotten, and the old graph has not noticed either. Only then the new tasks are spawned and
//! the joints of what stays are turned, which is the point of no return and cannot fail: from here on batches go the new
//! way.
//!
//! What is left of the old graph ends as it does at a stop, by ownership: its receivers finish their requests, its
//! stages drain when their last way in is gone, its exporters work off their queues by their own settings, however long
//! that takes. Extensions that offer something to others go last; one that offers nothing is told to stop at once, because
//! whoever asks at its port must come to its successor, or to nobody. A receiver that has not ended after a while is
//! dropped, so that a client that never lets go cannot keep an old graph alive.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, FutureExt, join_all, select};
use weir_component::{
    Clock, Extension, ExtensionContext, Failure, Host, Outputs, Receiver, ReceiverContext, Stop, Storage,
    Topology,
};
use weir_delivery::{Opening, Undelivered};
use weir_pdata::Signal;

use crate::build::{Parts, Problem, Tools, parts};
use crate::fatal::panicked;
use crate::run::{Engine, StartError, all_ended, finish, losses, split_off_pipelines};
use crate::running::{Graph, Key, Running, TaskHandle};
use crate::spec::{Components, ServiceSpec};

/// How long a receiver of an old graph may take to finish the requests that it has begun.
pub(crate) const RECEIVERS: Duration = Duration::from_secs(10);

/// How long a start may take before it is spoken of.
const SLOW: Duration = Duration::from_secs(10);

/// How long parts that are not needed may take to end.
const UNDO: Duration = Duration::from_secs(5);

/// What a reload will start, built and not started.
pub struct Next {
    parts: Parts,
    tools: Tools,
}

impl Next {
    /// Ids of the components that are made anew, with what each is: `receiver otlp`.
    pub fn starts(&self) -> Vec<String> {
        let new = self.parts.graph.iter().filter(|(_, node)| node.task.is_none());
        new.map(|(key, _)| format!("{} {}", kind(key), key.id())).collect()
    }
}

/// Where components stand, by what each is: in pipelines, or for extensions in none.
fn places(topology: &Topology, connectors: &BTreeSet<&str>) -> BTreeMap<String, BTreeSet<String>> {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in &topology.extensions {
        places.entry(format!("extension {id}")).or_default();
    }
    for pipeline in &topology.pipelines {
        let lists = [
            ("receiver", &pipeline.receivers),
            ("processor", &pipeline.processors),
            ("exporter", &pipeline.exporters),
        ];
        for (kind, id) in lists.into_iter().flat_map(|(kind, ids)| ids.iter().map(move |id| (kind, id))) {
            let is_end = kind != "processor" && connectors.contains(id.as_str());
            let what = format!("{} {id}", if is_end { "connector" } else { kind });
            places.entry(what).or_default().insert(pipeline.id.clone());
        }
    }
    places
}

fn kind(key: &Key) -> &'static str {
    match key {
        Key::Extension(_) => "extension",
        Key::Exporter(..) => "exporter",
        Key::Connector(..) => "connector",
        Key::Stage(..) | Key::Shared(_) => "processor",
        Key::Receiver(_) => "receiver",
    }
}

/// What reloads have taken out of the graph.
#[derive(Default)]
pub(crate) struct Retired {
    receivers: Vec<TaskHandle>,
    others: Vec<(Option<Loss>, TaskHandle)>,
    extensions: Vec<TaskHandle>,
}

/// What has started of a graph and does not work yet.
#[derive(Default)]
struct Begun {
    exporters: Vec<(String, Opening)>,
    receivers: Vec<(String, Box<dyn Receiver>, ReceiverContext)>,
}

type Loss = (String, Signal, Undelivered);

impl Retired {
    /// Receivers, and everything else in pipelines.
    pub(crate) fn tasks(&mut self) -> (Vec<TaskHandle>, Vec<TaskHandle>) {
        let others = std::mem::take(&mut self.others).into_iter().map(|(_, task)| task);
        (std::mem::take(&mut self.receivers), others.collect())
    }

    /// What was taken out of pipelines.
    pub(crate) fn in_pipelines(&self) -> Vec<TaskHandle> {
        self.receivers.iter().chain(self.others.iter().map(|(_, task)| task)).cloned().collect()
    }

    pub(crate) fn extensions(self) -> Vec<TaskHandle> {
        self.extensions
    }

    pub(crate) fn losses(&self) -> impl Iterator<Item = Loss> {
        self.others.iter().filter_map(|(loss, _)| loss.clone())
    }

    fn forget_ended(&mut self) {
        self.receivers.retain(|task| !task.has_ended());
        self.others.retain(|(_, task)| !task.has_ended());
        self.extensions.retain(|task| !task.has_ended());
    }
}

impl Engine {
    /// Builds what another configuration needs beside the components that stay what they are; nothing is opened or
    /// started, and nothing that runs notices.
    ///
    /// # Errors
    /// All problems of all components, or what is wrong with the graph.
    pub fn prepare(&self, spec: &ServiceSpec, components: &Components) -> Result<Next, Vec<Problem>> {
        let tools = self.tools.clone();
        parts(spec, components, &tools, &self.graph, true).map(|parts| Next { parts, tools })
    }

    /// The same for an agent with another telemetry of its own: every component measures itself, so each is made anew.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub fn prepare_anew(
        &self,
        spec: &ServiceSpec,
        components: &Components,
        host: &Host,
    ) -> Result<Next, Vec<Problem>> {
        let tools = Tools { host: host.clone(), ..self.tools.clone() };
        parts(spec, components, &tools, &self.graph, false).map(|parts| Next { parts, tools })
    }

    /// Components that run and of which nothing is in `next`, with what each is, such as `receiver otlp`; those that only leave
    /// a pipeline come with that, as in `processor batch (traces)`.
    pub fn ends(&self, next: &Next) -> Vec<String> {
        let keys = self.graph.keys().chain(next.parts.graph.keys());
        let connectors = keys.filter(|key| matches!(key, Key::Connector(..))).map(Key::id).collect();
        let after = places(&next.parts.topology, &connectors);
        let mut ends = Vec::new();
        for (what, pipelines) in places(&self.tools.host.topology(), &connectors) {
            match after.get(&what) {
                None => ends.push(what),
                Some(still) => {
                    ends.extend(pipelines.difference(still).map(|pipeline| format!("{what} ({pipeline})")));
                }
            }
        }
        ends
    }

    /// Begins the [handover](weir_component::Handover) to what was prepared, so that what stands beside the graph may have
    /// what the graph leaves and the other way round. [`Engine::reload`] ends it.
    pub fn begin_handover(&self, next: &Next) {
        self.tools.host.handover().begin(&ending(&self.graph, &next.parts.graph));
    }

    /// Starts what was prepared and lets it take over. Components that are in both configurations go on.
    ///
    /// # Errors
    /// The first component that could not start; then everything goes on as before.
    ///
    /// # Cancellation
    /// When it is dropped the running graph goes on, but what extensions of the other one offered stays: stop the engine.
    pub async fn reload(&mut self, next: Next) -> Result<(), StartError> {
        let before = std::mem::replace(&mut self.tools, next.tools);
        let outcome = self.take_over(next.parts).await;
        if outcome.is_err() {
            self.tools = before;
        }
        outcome
    }

    pub(crate) async fn take_over(&mut self, mut new: Parts) -> Result<(), StartError> {
        let host = self.tools.host.clone();
        let offers = host.offers();
        host.handover().begin(&ending(&self.graph, &new.graph));
        let mut begun = Begun::default();
        let started = self.start_parts(&mut new, &mut begun).await;
        host.handover().end(started.is_ok());
        if let Err(error) = started {
            host.restore_offers(offers);
            self.undo(new, begun).await;
            host.forget_sources();
            return Err(error);
        }
        let Parts { mut graph, tasks, transforms, turns, refusals, topology, .. } = new;
        // Transforms are all made anew.
        let gates = host.budget().gates();
        for transform in transforms {
            transform.take_effect();
        }
        host.budget().drop_gates(&gates);
        for task in tasks {
            let handle = self.spawn(task.key.id(), task.name, task.work);
            if let Some(node) = graph.get_mut(&task.key) {
                node.task = Some(handle);
            }
        }
        for (joint, target) in turns {
            joint.turn(target);
        }
        for (mailbox, refuses) in refusals {
            mailbox.refuse_when_stuck(refuses);
        }
        let old = std::mem::replace(&mut self.graph, graph);
        for (id, receiver, cx) in begun.receivers {
            self.run_receiver(id, receiver, cx);
        }
        self.tools.ending.move_to(storage(&topology, &self.tools.host));
        self.tools.host.set_topology(topology);
        self.retire(old);
        Ok(())
    }

    /// Starts all new parts; of those only extensions run then.
    async fn start_parts(&mut self, new: &mut Parts, begun: &mut Begun) -> Result<(), StartError> {
        if self.graph.is_empty() || !new.extensions.is_empty() {
            tracing::info!("Starting extensions...");
        }
        for (id, extension) in in_order(std::mem::take(&mut new.extensions)) {
            self.start_extension(id, extension, &mut new.graph).await?;
        }
        let exporters = std::mem::take(&mut new.exporters);
        open_exporters(&exporters, storage(&new.topology, &self.tools.host), &self.tools.clock).await?;
        begun.exporters = exporters;
        for (id, mut receiver, outputs) in std::mem::take(&mut new.receivers) {
            let cx = self.receiver_context(&id, outputs, &mut new.graph);
            started("receiver", &id, receiver.start(&cx), &cx.clock).await?;
            begun.receivers.push((id, receiver, cx));
        }
        Ok(())
    }

    async fn start_extension(
        &mut self,
        id: String,
        mut extension: Box<dyn Extension>,
        graph: &mut Graph,
    ) -> Result<(), StartError> {
        let (stopper, stop) = Stop::new();
        let cx = ExtensionContext {
            id: id.clone(),
            stop: stop.clone(),
            clock: self.tools.clock.clone(),
            host: self.tools.host.around("extension"),
        };
        let kind = "extension";
        tracing::info!(otelcol.component.id = %id, otelcol.component.kind = kind, "Extension is starting...");
        started(kind, &id, extension.start(&cx), &cx.clock).await?;
        tracing::info!(otelcol.component.id = %id, otelcol.component.kind = kind, "Extension started.");
        self.tools.host.offer(&id, extension.capabilities());
        let work = self.watched(id.clone(), stop, extension.run(cx));
        if let Some(node) = graph.get_mut(&Key::Extension(id.clone())) {
            node.stopper = Some(Arc::new(stopper));
            node.task = Some(self.spawn(&id, format!("extension {id}"), work));
        }
        Ok(())
    }

    fn receiver_context(&self, id: &str, outputs: Outputs, graph: &mut Graph) -> ReceiverContext {
        let (stopper, stop) = Stop::new();
        if let Some(node) = graph.get_mut(&Key::Receiver(id.to_owned())) {
            node.stopper = Some(Arc::new(stopper));
        }
        let (clock, host) = (self.tools.clock.clone(), self.tools.host.around("receiver"));
        ReceiverContext { id: id.to_owned(), outputs, stop, clock, host }
    }

    fn run_receiver(&mut self, id: String, receiver: Box<dyn Receiver>, cx: ReceiverContext) {
        let work = self.watched(id.clone(), cx.stop.clone(), receiver.run(cx));
        let handle = self.spawn(&id, format!("receiver {id}"), work);
        if let Some(node) = self.graph.get_mut(&Key::Receiver(id)) {
            node.task = Some(handle);
        }
    }

    /// Ends what had started of a graph that cannot take over.
    async fn undo(&mut self, new: Parts, begun: Begun) {
        let Parts { mut graph, tasks, turns, refusals, .. } = new;
        graph.retain(|key, node| !self.graph.get(key).is_some_and(|old| old.is(node)));
        // The receivers' requests to stop, and the ways into stages and queues that nobody works in.
        drop((split_off_pipelines(&mut graph), tasks, turns, refusals));
        let mut receivers = Vec::new();
        for (id, receiver, cx) in begun.receivers {
            let work = self.watched(id.clone(), cx.stop.clone(), receiver.run(cx));
            receivers.push(self.spawn(&id, format!("receiver {id}"), work));
        }
        let clock = self.tools.clock.clone();
        drop(finish(receivers, clock.sleep(UNDO), &clock).await);
        abandon(&begun.exporters).await;
        let extensions = graph.values().filter_map(|node| node.task.clone()).collect();
        drop(graph);
        drop(finish(extensions, clock.sleep(UNDO), &clock).await);
    }

    /// Lets what is not in the graph any more end by itself.
    fn retire(&mut self, old: Graph) {
        self.retired.forget_ended();
        let (mut receivers, mut others) = (Vec::new(), Vec::new());
        let (mut alone, mut offering) = (Vec::new(), Vec::new());
        for (key, node) in old {
            if self.graph.get(&key).is_some_and(|now| now.is(&node)) {
                continue;
            }
            let Some(task) = node.task.clone() else { continue };
            match &key {
                Key::Extension(id) => {
                    if !self.graph.contains_key(&key) {
                        self.tools.host.withdraw(id);
                    }
                    if node.offers {
                        offering.push((node, task));
                    } else {
                        alone.push(task);
                    }
                }
                Key::Receiver(_) => receivers.push(task),
                _ => others.push((losses(&key, &node), task)),
            }
        }
        self.tools.host.forget_sources();
        self.retired.receivers.extend(receivers.iter().cloned());
        self.retired.others.extend(others.iter().cloned());
        self.retired.extensions.extend(offering.iter().map(|(_, task)| task).chain(&alone).cloned());
        if receivers.is_empty() && others.is_empty() && offering.is_empty() {
            return;
        }
        let clock = self.tools.clock.clone();
        let end = Box::pin(async move {
            for name in finish(receivers, clock.sleep(RECEIVERS), &clock).await {
                tracing::warn!(task = %name, "did not end after the reload; its clients were cut off");
            }
            // Pages ask authenticators too.
            let users: Vec<TaskHandle> = others.into_iter().map(|(_, task)| task).chain(alone).collect();
            all_ended(&users).await;
            // Here they are told to stop.
            drop(offering);
        });
        let end = self.spawn("reload", "the end of what a reload has removed".to_owned(), end);
        self.retired.extensions.push(end);
    }
}

/// Receivers and extensions that run and will not, by kind and id.
fn ending(old: &Graph, new: &Graph) -> BTreeSet<(&'static str, String)> {
    let ends = |(key, node): &(&Key, &Running)| {
        matches!(key, Key::Receiver(_) | Key::Extension(_)) && new.get(key).is_none_or(|now| !now.is(node))
    };
    old.iter().filter(ends).map(|(key, _)| (kind(key), key.id().to_owned())).collect()
}

/// As configured, but those that others need before them. Where needs go in a circle the first of it comes first, and
/// says itself what it misses.
fn in_order(mut waiting: Vec<(String, Box<dyn Extension>)>) -> Vec<(String, Box<dyn Extension>)> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let waits = |id: &String| waiting.iter().any(|(other, _)| other == id);
        let ready = waiting.iter().position(|(_, extension)| !extension.needs().iter().any(waits));
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}

/// What comes of the start of a component. A panic in it is a failure: what runs must not end with it.
async fn started(
    kind: &'static str,
    id: &str,
    start: impl Future<Output = Result<(), Failure>>,
    clock: &Clock,
) -> Result<(), StartError> {
    let start = pin!(AssertUnwindSafe(start).catch_unwind());
    let outcome = match select(start, clock.sleep(SLOW)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), start)) => {
            tracing::warn!(
                otelcol.component.id = %id,
                otelcol.component.kind = kind,
                "has not started within {} s; nothing of the configuration works before it has",
                SLOW.as_secs()
            );
            start.await
        }
    };
    let outcome = outcome.unwrap_or_else(|panic| Err(panicked(&*panic)));
    outcome.map_err(|failure| StartError { kind, id: id.to_owned(), failure })
}

/// Opens exporters and their queues; when one fails, those before it are ended, because their tasks will not run.
///
/// Then those that name no storage look for what an earlier stop has left in the one that runs.
async fn open_exporters(
    exporters: &[(String, Opening)],
    storage: Option<Arc<dyn Storage>>,
    clock: &Clock,
) -> Result<(), StartError> {
    for (at, (id, exporter)) in exporters.iter().enumerate() {
        if let Err(error) = started("exporter", id, exporter.open(), clock).await {
            abandon(&exporters[..at]).await;
            return Err(error);
        }
    }
    if let Some(storage) = storage {
        // All at once, because each waits a moment for an agent that is about to end.
        join_all(exporters.iter().map(|(_, exporter)| Box::pin(exporter.find_leftovers(&storage)))).await;
    }
    Ok(())
}

/// Where a stop moves what is in memory: the first storage that runs.
fn storage(topology: &Topology, host: &Host) -> Option<Arc<dyn Storage>> {
    topology.extensions.iter().find_map(|id| host.extension(id)?.storage)
}

async fn abandon(exporters: &[(String, Opening)]) {
    for (_, started) in exporters.iter().rev() {
        started.abandon().await;
    }
}
