//! What runs: the nodes of the graph, so that another graph can take over those that stay what they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::AbortHandle;
use tokio::sync::{Notify, watch};
use weir_component::{BatchSettings, Heirloom, Joint, Output, Stopper};
use weir_config::{Node, NodeKind};
use weir_delivery::Undelivered;
use weir_pdata::Signal;

use crate::stage::MailboxMaker;

/// Which node of a graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Extension(String),
    Exporter(String, Signal),
    Connector(String, Signal),
    /// A processor that is one instance for each pipeline: the pipeline and the processor.
    Stage(String, String),
    /// A processor that is one instance for all its pipelines.
    Shared(String),
    Receiver(String),
}

impl Key {
    /// Id of the component.
    pub(crate) fn id(&self) -> &str {
        match self {
            Key::Extension(id) | Key::Exporter(id, _) | Key::Connector(id, _) => id,
            Key::Stage(_, id) | Key::Shared(id) | Key::Receiver(id) => id,
        }
    }
}

/// Nodes by key. A clone of a node is the same running component.
pub(crate) type Graph = BTreeMap<Key, Running>;

/// One component that runs, or is about to.
#[derive(Clone)]
pub(crate) struct Running {
    /// Its body in the configuration.
    pub(crate) settings: Node,
    /// Its ways out: signal and pipeline.
    pub(crate) ports: Vec<(Signal, String)>,
    /// Its ways out, to be led elsewhere.
    pub(crate) joints: Vec<Joint>,
    pub(crate) way_in: WayIn,
    /// Tells it to stop when the last clone is dropped.
    pub(crate) stopper: Option<Arc<Stopper>>,
    /// What it leaves to its successor; stages only.
    pub(crate) legacy: Legacy,
    pub(crate) undelivered: Undelivered,
    /// An exporter whose queue is durable.
    pub(crate) durable: bool,
    /// Of the batch processor that is left out in front of an exporter.
    pub(crate) left_out: Option<BatchSettings>,
    /// An exporter whose senders wait for room in its queue: `block_on_overflow`.
    pub(crate) blocks: bool,
    /// An exporter whose senders wait for the result: `wait_for_result`.
    pub(crate) waits: bool,
    /// An extension that others may use.
    pub(crate) offers: bool,
    /// Its task, once it has one.
    pub(crate) task: Option<TaskHandle>,
}

/// The way into a component. The node holds one, so a component drains when its node is dropped too.
#[derive(Clone)]
pub(crate) enum WayIn {
    None,
    Exporter(Output),
    Stage(MailboxMaker),
}

impl Running {
    pub(crate) fn new(settings: Node, way_in: WayIn) -> Running {
        Running {
            settings,
            ports: Vec::new(),
            joints: Vec::new(),
            way_in,
            stopper: None,
            legacy: Legacy::default(),
            undelivered: Undelivered::default(),
            durable: false,
            left_out: None,
            blocks: false,
            waits: false,
            offers: false,
            task: None,
        }
    }

    /// Whether it runs and both are the same component.
    pub(crate) fn is(&self, other: &Running) -> bool {
        match (&self.task, &other.task) {
            (Some(a), Some(b)) => a.done.same_channel(&b.done),
            _ => false,
        }
    }

    /// Whether it runs with these settings.
    pub(crate) fn still_fits(&self, settings: &Node) -> bool {
        self.task.as_ref().is_some_and(|task| !task.has_ended()) && same(&self.settings, settings)
    }
}

/// A task that was started.
#[derive(Clone)]
pub(crate) struct TaskHandle {
    pub(crate) name: String,
    pub(crate) done: watch::Receiver<bool>,
    pub(crate) abort: AbortHandle,
}

impl TaskHandle {
    /// Completes when it has returned or panicked.
    pub(crate) async fn ended(&self) {
        drop(self.done.clone().wait_for(|done| *done).await);
    }

    /// Whether it has returned or panicked.
    pub(crate) fn has_ended(&self) -> bool {
        *self.done.borrow() || self.done.has_changed().is_err()
    }
}

/// What a stage leaves to its successor when it has been drained.
#[derive(Clone, Default)]
pub(crate) struct Legacy(Arc<Estate>);

#[derive(Default)]
struct Estate {
    will: Mutex<Will>,
    told: Notify,
}

#[derive(Default)]
struct Will {
    left: bool,
    heirloom: Option<Heirloom>,
}

impl Legacy {
    pub(crate) fn leave(&self, heirloom: Option<Heirloom>) {
        *self.will() = Will { left: true, heirloom };
        self.0.told.notify_waiters();
    }

    /// Completes when it has been left, be it nothing.
    pub(crate) async fn left(&self) {
        // Made before the look: from here on it hears a notification.
        let told = self.0.told.notified();
        if !self.is_left() {
            told.await;
        }
    }

    pub(crate) fn is_left(&self) -> bool {
        self.will().left
    }

    pub(crate) fn take(&self) -> Option<Heirloom> {
        self.will().heirloom.take()
    }

    fn will(&self) -> MutexGuard<'_, Will> {
        self.0.will.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two bodies say the same, wherever they were written.
pub(crate) fn same(a: &Node, b: &Node) -> bool {
    let kinds = match (&a.kind, &b.kind) {
        (NodeKind::Seq(a), NodeKind::Seq(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (NodeKind::Map(a), NodeKind::Map(b)) => {
            let in_b = |name: &str, value: &Node| b.get(name).is_some_and(|other| same(value, other));
            a.entries.len() == b.entries.len() && a.iter().all(|(key, value)| in_b(&key.name, value))
        }
        (a, b) => a == b,
    };
    kinds && a.original == b.original
}

/// Whether a text in the body is one of `ids`: how a component names the extensions that it uses.
pub(crate) fn mentions(node: &Node, ids: &[&str]) -> bool {
    match &node.kind {
        NodeKind::String(text) => ids.contains(&&**text),
        NodeKind::Seq(list) => list.iter().any(|item| mentions(item, ids)),
        NodeKind::Map(map) => map.iter().any(|(_, value)| mentions(value, ids)),
        NodeKind::Null | NodeKind::Bool(_) | NodeKind::Int(_) | NodeKind::Float(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use weir_config::{Key, Map, Span};

    use super::*;

    fn text(text: &str, line: u32) -> Node {
        Node::new(NodeKind::String(text.into()), Span { line, ..Span::default() })
    }

    fn map(entries: &[(&str, Node)]) -> Node {
        let entry =
            |(name, node): &(&str, Node)| (Key { name: (*name).into(), span: Span::default() }, node.clone());
        Node::new(NodeKind::Map(Map { entries: entries.iter().map(entry).collect() }), Span::default())
    }

    #[test]
    fn bodies_are_the_same_wherever_and_in_whatever_order_they_were_written() {
        let a = map(&[("endpoint", text("x", 1)), ("auth", text("y", 2))]);
        assert!(same(&a, &map(&[("auth", text("y", 7)), ("endpoint", text("x", 8))])));
        assert!(!same(&a, &map(&[("auth", text("y", 2)), ("endpoint", text("z", 1))])));
        assert!(!same(&a, &map(&[("endpoint", text("x", 1))])));
    }

    #[test]
    fn a_body_mentions_the_extensions_it_names_at_any_depth() {
        let body = map(&[("auth", map(&[("authenticator", text("bearer/1", 1))]))]);
        assert!(mentions(&body, &["bearer/1"]));
        assert!(!mentions(&body, &["bearer"]));
    }
}
