//! What is needed to build, and what is built.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use weir_component::{
    Clock, Extension, Host, Instant, Joint, Output, Outputs, Receiver, Runtime, TimeSource, Topology,
    Transform,
};
use weir_delivery::{Ending, Opening};

use crate::fatal::Fatal;
use crate::run::Task;
use crate::running::Graph;
use crate::stage::MailboxMaker;

/// What every graph of an engine is built with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) host: Host,
    pub(crate) clock: Clock,
    pub(crate) ending: Ending,
    pub(crate) fatal: Fatal,
}

/// The time of a runtime.
pub(super) struct RuntimeTime(pub(super) Arc<dyn Runtime>);

impl TimeSource for RuntimeTime {
    fn now(&self) -> Instant {
        self.0.now()
    }
    fn unix_nanos(&self) -> u64 {
        self.0.unix_nanos()
    }
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }
    fn random(&self) -> u64 {
        self.0.random()
    }
}

/// What is new in a graph, and how it is connected to what runs already.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) extensions: Vec<(String, Box<dyn Extension>)>,
    pub(crate) exporters: Vec<(String, Opening)>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) receivers: Vec<(String, Box<dyn Receiver>, Outputs)>,
    /// Processors that work in their sender's task.
    pub(crate) transforms: Vec<Arc<dyn Transform>>,
    /// All nodes, new and old.
    pub(crate) graph: Graph,
    /// Ways out of old nodes, and where they are to lead.
    pub(crate) turns: Vec<(Joint, Output)>,
    /// Mailboxes of old stages, and whether they are to refuse senders while their stage waits.
    pub(crate) refusals: Vec<(MailboxMaker, bool)>,
    pub(crate) topology: Topology,
}
