//! Start, run, stop.
//!
//! # The order of a stop
//! 1. The end begins for all deliveries at once: nobody waits for room or for a retry any more, or what holds the handles that
//!    keep others open would never let go of them. Nor does anybody wait for clients that rest on a port that a reload has
//!    handed over.
//! 2. Receivers are told to stop, by the drop of their nodes, and finish their requests. They have half of the time, because
//!    whoever sends has its data still.
//! 3. With the last way into it each stage drains, and with the last handle each delivery closes: the graph ends from its front
//!    to its back by ownership, in no order that had to be written down. They have all of the time; after three quarters of it
//!    what can be moved to disk is ([`Ending::last_call`](weir_delivery::Ending::last_call)).
//! 4. What has not ended at the deadline is dropped, which settles its receipts as abandoned and counts what was acknowledged.
//! 5. Extensions stop last, with a time of their own: the others use them until then.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, BoxFuture, Either, FutureExt, join_all, select};
use tokio::sync::watch;
use weir_component::{Clock, Failure, Health, Losses, Runtime, Stop};
use weir_pdata::Signal;

use crate::build::{Parts, Tools};
use crate::fatal::{Failed, Fatal, panicked};
use crate::reload::Retired;
use crate::running::{Graph, Key, TaskHandle};

/// How long an aborted task may take to let go of what it holds.
pub(crate) const ABORT: Duration = Duration::from_secs(1);

/// How long extensions may take to end after everything else.
const EXTENSIONS: Duration = Duration::from_secs(1);

/// A named piece of work of a node.
pub(crate) struct Task {
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) work: BoxFuture<'static, ()>,
}

/// A built service, ready to start.
pub struct Engine {
    pub(crate) parts: Option<Parts>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) tools: Tools,
    /// What runs.
    pub(crate) graph: Graph,
    /// What reloads have taken out and what has not ended yet.
    pub(crate) retired: Retired,
    failed: Failed,
}

/// A component that could not start.
#[derive(Debug)]
pub struct StartError {
    /// `receiver`, `exporter`, `extension`.
    pub kind: &'static str,
    /// Component id.
    pub id: String,
    /// Why.
    pub failure: Failure,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase =
            if self.kind == "extension" { "failed to start extensions" } else { "cannot start pipelines" };
        write!(f, "{phase}: failed to start \"{}\" {}: {}", self.id, self.kind, self.failure)
    }
}

impl std::error::Error for StartError {}

/// How a service ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Tasks that had not ended at the deadline; what they held was dropped, which is reported to senders that have not
    /// heard success yet.
    pub unfinished: Vec<String>,
    /// What senders had heard success for and what was not delivered: exporter, signal, items.
    pub undelivered: Vec<(String, Signal, usize)>,
    /// The same of what never came as far as an exporter's queue: processor, signal, items.
    pub unsent: Vec<(String, Signal, usize)>,
}

impl Stopped {
    /// Whether everything ended in time and nothing was lost.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty() && self.undelivered.is_empty() && self.unsent.is_empty()
    }
}

impl Engine {
    pub(crate) fn new(parts: Parts, runtime: Arc<dyn Runtime>, tools: Tools, failed: Failed) -> Engine {
        let (graph, retired) = (Graph::new(), Retired::default());
        Engine { parts: Some(parts), runtime, tools, graph, retired, failed }
    }

    /// Starts everything: extensions, exporters, processors, and all receivers last.
    ///
    /// # Errors
    /// The first component that could not start; what had started is stopped again.
    ///
    /// # Cancellation
    /// When it is dropped, extensions that run are told to stop, and nothing else has begun to work.
    pub async fn start(&mut self) -> Result<(), StartError> {
        let Some(parts) = self.parts.take() else {
            return Ok(());
        };
        self.take_over(parts).await?;
        self.tools.host.set_health(Health::Ready);
        Ok(())
    }

    /// The work, with its failure before a request to stop reported as fatal.
    pub(crate) fn watched(
        &self,
        id: String,
        stop: Stop,
        work: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let fatal = self.tools.fatal.clone();
        Box::pin(async move {
            if let Err(failure) = work.await
                && !stop.is_requested()
            {
                fatal.report(&id, failure);
            }
        })
    }

    pub(crate) fn spawn(&self, id: &str, name: String, work: BoxFuture<'static, ()>) -> TaskHandle {
        let (abort, registration) = AbortHandle::new_pair();
        let (sender, done) = watch::channel(false);
        let work = guarded(id.to_owned(), self.tools.fatal.clone(), work);
        let work = Abortable::new(work, registration);
        self.runtime.spawn(Box::pin(async move {
            if work.await.is_err() {
                tracing::debug!("a task was dropped at the deadline");
            }
            sender.send_replace(true);
        }));
        TaskHandle { name, done, abort }
    }

    /// Completes when a component has failed for good or panicked: its id and why. It can be awaited beside a start or a
    /// reload.
    pub fn failed(&self) -> impl Future<Output = (String, Failure)> + Send + use<> {
        let failed = self.failed.clone();
        async move { failed.next().await }
    }

    /// Completes when everything has ended that reloads have taken out of pipelines so far.
    pub fn replaced_have_ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let tasks = self.retired.in_pipelines();
        async move { all_ended(&tasks).await }
    }

    /// Stops the receivers, lets everything in the pipelines drain, then stops the extensions. One deadline for all:
    /// what has not ended after `grace` is dropped. Receivers have half of it, because whoever sends has its data still,
    /// and what was acknowledged must have time left. Attempts with what is in memory have three quarters where a storage
    /// runs, to which the rest is moved then.
    pub async fn stop(&mut self, grace: Duration) -> Stopped {
        let clock = self.tools.clock.clone();
        self.tools.host.set_health(Health::NotReady);
        self.tools.host.handover().finish();
        let begun = clock.now();
        self.parts = None;
        let processors: Arc<Losses> = self.tools.host.shared();
        // Before anybody hears of the end: what is lost from then on is the stop's.
        let before = processors.so_far();
        self.tools.ending.begin();
        let mut extensions = std::mem::take(&mut self.graph);
        let pipelines = split_off_pipelines(&mut extensions);
        let mut retired = std::mem::take(&mut self.retired);
        let losses: Vec<_> =
            pipelines.iter().filter_map(|(key, node)| losses(key, node)).chain(retired.losses()).collect();
        let (mut receivers, mut others) = retired.tasks();
        for (key, node) in pipelines {
            let list = if matches!(key, Key::Receiver(_)) { &mut receivers } else { &mut others };
            list.extend(node.task);
        }
        let mut unfinished = Vec::new();
        unfinished.append(&mut finish(receivers, clock.sleep_until(begun + grace / 2), &clock).await);
        let last_call = clock.sleep_until(begun + grace / 4 * 3);
        let others = Box::pin(finish(others, clock.sleep_until(begun + grace), &clock));
        unfinished.append(&mut match select(others, last_call).await {
            Either::Left((names, _)) => names,
            Either::Right(((), others)) => {
                self.tools.ending.last_call();
                others.await
            }
        });
        tracing::info!("Stopping extensions...");
        let mut beside = retired.extensions();
        beside.extend(extensions.into_values().filter_map(|node| node.task));
        unfinished.append(&mut finish(beside, clock.sleep(EXTENSIONS), &clock).await);
        let undelivered = losses.into_iter().map(|(id, signal, lost)| (id, signal, lost.items()));
        let undelivered = undelivered.filter(|(_, _, items)| *items > 0).collect();
        Stopped { unfinished, undelivered, unsent: processors.since(&before) }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Those that reloads have taken out would go on trying for ever.
        self.tools.ending.begin();
    }
}

/// Everything but the extensions.
pub(crate) fn split_off_pipelines(graph: &mut Graph) -> Graph {
    let all = std::mem::take(graph);
    let (extensions, pipelines) = all.into_iter().partition(|(key, _)| matches!(key, Key::Extension(_)));
    *graph = extensions;
    pipelines
}

/// The count of what an exporter could not deliver.
pub(crate) fn losses(
    key: &Key,
    node: &crate::running::Running,
) -> Option<(String, Signal, weir_delivery::Undelivered)> {
    if let Key::Exporter(id, signal) = key {
        Some((id.clone(), *signal, node.undelivered.clone()))
    } else {
        None
    }
}

/// The work; a panic in it is reported as fatal instead of letting the component vanish.
async fn guarded(id: String, fatal: Fatal, work: BoxFuture<'static, ()>) {
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        fatal.report(&id, panicked(&*panic));
    }
}

/// Waits for tasks until `expired` and aborts those that are left; their names are returned. What they held has been
/// dropped on return, except where a task blocks its thread for longer than [`ABORT`].
pub(crate) async fn finish(
    tasks: Vec<TaskHandle>,
    expired: BoxFuture<'static, ()>,
    clock: &Clock,
) -> Vec<String> {
    if let Either::Left(_) = select(Box::pin(all_ended(&tasks)), expired).await {
        return Vec::new();
    }
    let left: Vec<TaskHandle> = tasks.into_iter().filter(|task| !task.has_ended()).collect();
    left.iter().for_each(|task| task.abort.abort());
    drop(select(Box::pin(all_ended(&left)), clock.sleep(ABORT)).await);
    left.into_iter().map(|task| task.name).collect()
}

pub(crate) async fn all_ended(tasks: &[TaskHandle]) {
    join_all(tasks.iter().map(|task| Box::pin(task.ended()))).await;
}
