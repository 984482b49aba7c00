//! Start, run, stop.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, BoxFuture, Either, join_all, select};
use tokio::sync::{mpsc, watch};
use weir_component::{
    Clock, Exporter, Extension, ExtensionContext, Failure, Health, Host, Receiver, ReceiverContext, Runtime,
    Stop, Stopper,
};

use crate::build::Parts;

/// How long an aborted task may take to let go of what it holds.
const ABORT: Duration = Duration::from_secs(1);

/// A named piece of work.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) work: BoxFuture<'static, ()>,
}

/// A built service, ready to start.
pub struct Engine {
    parts: Option<Parts>,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    host: Host,
    pipelines: Vec<Running>,
    receivers: Vec<Running>,
    extensions: Vec<Running>,
    stop_receivers: Option<Stopper>,
    stop_extensions: Option<Stopper>,
    fatal: (mpsc::Sender<Fatal>, mpsc::Receiver<Fatal>),
}

/// The id of a component that has failed for good, and why.
type Fatal = (String, Failure);

/// A task that was started.
struct Running {
    name: String,
    done: watch::Receiver<bool>,
    abort: AbortHandle,
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
    /// Tasks that had not ended at the deadline; what they held was dropped and reported to its senders.
    pub unfinished: Vec<String>,
}

impl Engine {
    pub(crate) fn new(parts: Parts, runtime: Arc<dyn Runtime>, clock: Clock, host: Host) -> Engine {
        Engine {
            parts: Some(parts),
            runtime,
            clock,
            host,
            pipelines: Vec::new(),
            receivers: Vec::new(),
            extensions: Vec::new(),
            stop_receivers: None,
            stop_extensions: None,
            fatal: mpsc::channel(16),
        }
    }

    /// Starts everything: extensions, exporters, processors, and all receivers last.
    ///
    /// # Errors
    /// The first component that could not start; what had started is stopped again.
    pub async fn start(&mut self) -> Result<(), StartError> {
        let Some(parts) = self.parts.take() else {
            return Ok(());
        };
        let started = self.start_parts(parts).await;
        match &started {
            Ok(()) => self.host.set_health(Health::Ready),
            Err(_) => drop(self.stop(Duration::from_secs(5)).await),
        }
        started
    }

    async fn start_parts(&mut self, parts: Parts) -> Result<(), StartError> {
        let (stopper, stop) = Stop::new();
        self.stop_extensions = Some(stopper);
        for (id, extension) in in_order(parts.extensions) {
            self.start_extension(id, extension, &stop).await?;
        }
        start_exporters(parts.exporters, &self.host).await?;
        for task in parts.tasks {
            let running = self.spawn(task);
            self.pipelines.push(running);
        }
        let (stopper, stop) = Stop::new();
        self.stop_receivers = Some(stopper);
        for (id, receiver, outputs) in parts.receivers {
            let cx = ReceiverContext {
                id: id.clone(),
                outputs,
                stop: stop.clone(),
                clock: self.clock.clone(),
                host: self.host.clone(),
            };
            self.start_receiver(id, receiver, cx).await?;
        }
        Ok(())
    }

    async fn start_receiver(
        &mut self,
        id: String,
        mut receiver: Box<dyn Receiver>,
        cx: ReceiverContext,
    ) -> Result<(), StartError> {
        if let Err(failure) = receiver.start(&cx).await {
            return Err(StartError { kind: "receiver", id, failure });
        }
        let work = self.watched(id.clone(), cx.stop.clone(), receiver.run(cx));
        let running = self.spawn(Task { name: format!("receiver {id}"), work });
        self.receivers.push(running);
        Ok(())
    }

    async fn start_extension(
        &mut self,
        id: String,
        mut extension: Box<dyn Extension>,
        stop: &Stop,
    ) -> Result<(), StartError> {
        let cx = ExtensionContext {
            id: id.clone(),
            stop: stop.clone(),
            clock: self.clock.clone(),
            host: self.host.clone(),
        };
        if let Err(failure) = extension.start(&cx).await {
            return Err(StartError { kind: "extension", id, failure });
        }
        self.host.offer(&id, extension.capabilities());
        let work = self.watched(id.clone(), stop.clone(), extension.run(cx));
        let running = self.spawn(Task { name: format!("extension {id}"), work });
        self.extensions.push(running);
        Ok(())
    }

    /// The work, with its failure before a request to stop reported as fatal.
    fn watched(
        &self,
        id: String,
        stop: Stop,
        work: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let fatal = self.fatal.0.clone();
        Box::pin(async move {
            if let Err(failure) = work.await
                && !stop.is_requested()
            {
                // Full or gone: another failure is ending the service already.
                drop(fatal.try_send((id, failure)));
            }
        })
    }

    fn spawn(&self, task: Task) -> Running {
        let (abort, registration) = AbortHandle::new_pair();
        let (sender, done) = watch::channel(false);
        let work = Abortable::new(task.work, registration);
        self.runtime.spawn(Box::pin(async move {
            // When the work panics, the sender is dropped, which ends the wait too.
            if work.await.is_err() {
                tracing::debug!("a task was dropped at the deadline");
            }
            sender.send_replace(true);
        }));
        Running { name: task.name, done, abort }
    }

    /// Completes when a component has failed for good: its id and why.
    pub async fn failed(&mut self) -> (String, Failure) {
        match self.fatal.1.recv().await {
            Some(failed) => failed,
            None => std::future::pending().await,
        }
    }

    /// Stops the receivers, lets everything in the pipelines drain, then stops the extensions. One deadline for all:
    /// what has not ended after `grace` is dropped.
    pub async fn stop(&mut self, grace: Duration) -> Stopped {
        self.host.set_health(Health::NotReady);
        let deadline = self.clock.now() + grace;
        let mut unfinished = Vec::new();
        self.parts = None;
        self.stop_receivers = None;
        for tasks in [&mut self.receivers, &mut self.pipelines] {
            let expired = self.clock.sleep_until(deadline);
            unfinished.append(&mut finish(std::mem::take(tasks), expired, &self.clock).await);
        }
        self.stop_extensions = None;
        let expired = self.clock.sleep(Duration::from_secs(1));
        unfinished.append(&mut finish(std::mem::take(&mut self.extensions), expired, &self.clock).await);
        Stopped { unfinished }
    }
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

/// Starts exporters; when one fails, those before it are stopped, because their tasks will not run.
async fn start_exporters(exporters: Vec<(String, Arc<dyn Exporter>)>, host: &Host) -> Result<(), StartError> {
    for (at, (id, exporter)) in exporters.iter().enumerate() {
        if let Err(failure) = exporter.start(host).await {
            for (_, started) in exporters[..at].iter().rev() {
                started.stop().await;
            }
            return Err(StartError { kind: "exporter", id: id.clone(), failure });
        }
    }
    Ok(())
}

/// Waits for tasks until `expired` and aborts those that are left; their names are returned. What they held has been
/// dropped on return, except where a task blocks its thread for longer than [`ABORT`].
async fn finish(tasks: Vec<Running>, expired: BoxFuture<'static, ()>, clock: &Clock) -> Vec<String> {
    if let Either::Left(_) = select(Box::pin(all_ended(&tasks)), expired).await {
        return Vec::new();
    }
    let left: Vec<Running> = tasks.into_iter().filter(|task| !task.has_ended()).collect();
    left.iter().for_each(|task| task.abort.abort());
    drop(select(Box::pin(all_ended(&left)), clock.sleep(ABORT)).await);
    left.into_iter().map(|task| task.name).collect()
}

async fn all_ended(tasks: &[Running]) {
    let waits = tasks.iter().map(|task| {
        let mut done = task.done.clone();
        async move { drop(done.wait_for(|d| *d).await) }
    });
    join_all(waits.map(Box::pin)).await;
}

impl Running {
    /// Whether it has returned or panicked.
    fn has_ended(&self) -> bool {
        *self.done.borrow() || self.done.has_changed().is_err()
    }
}
