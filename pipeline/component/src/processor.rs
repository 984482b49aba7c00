//! Two shapes of processor, and connectors.

use std::any::Any;

use async_trait::async_trait;
use weir_pdata::{Payload, Signal};

use crate::{Batch, BuildError, Clock, Context, Failure, Host, Instant, Outputs};

/// What becomes of a payload after a [`Transform`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It ends here by intent, which its sender hears as success.
    Drop,
}

/// A stateless processor that runs inline in the sender's task: no queue, no hop.
pub trait Transform: Send + Sync {
    /// Whether its options make sense in a pipeline of that signal; asked once for each pipeline it stands in, before
    /// anything runs.
    ///
    /// # Errors
    /// What is wrong, with positions. The agent does not start.
    fn accepts(&self, _signal: Signal) -> Result<(), BuildError> {
        Ok(())
    }

    /// Called once, when the configuration that it stands in has started and takes over, before anything is applied. One of a
    /// configuration that is refused never hears of it: what others notice belongs here and not into its making.
    fn take_effect(&self) {}

    /// Edits a payload in place.
    ///
    /// # Errors
    /// The failure settles the batch; nothing of it goes on.
    fn apply(&self, payload: &mut Payload, context: &Context) -> Result<Verdict, Failure>;
}

/// A processor or connector with state, in a task of its own behind a bounded mailbox.
///
/// The engine calls the methods one after the other, never two at once. A stage owns the batches it was given until it
/// sends or settles them. It does not sleep: it says by [`wake_at`](Stage::wake_at) when it wants to be called.
#[async_trait]
pub trait Stage: Send {
    /// A batch came in by the port of that number (0 for a stage in one pipeline).
    async fn on_batch(&mut self, port: usize, batch: Batch, cx: &StageContext);

    /// When [`on_wake`](Stage::on_wake) is due; asked after each call. `None`: only for batches.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// The time of [`wake_at`](Stage::wake_at) has come.
    async fn on_wake(&mut self, _cx: &StageContext) {}

    /// Nothing will come in any more: send on what is held. Called once; only [`hand_over`](Stage::hand_over) may
    /// follow.
    async fn on_drain(&mut self, _cx: &StageContext) {}

    /// After the drain: what a successor of the same id is to go on with. A reload that leaves a stage its options and as
    /// many pipelines as before keeps the stage itself; one that changes them makes a successor.
    fn hand_over(&mut self) -> Option<Heirloom> {
        None
    }

    /// Before everything else: what the predecessor handed over, which may have had other options.
    fn take_over(&mut self, _heirloom: Heirloom) {}
}

/// What one instance of a component leaves to the next.
pub type Heirloom = Box<dyn Any + Send>;

/// What a [`Stage`] may use.
#[derive(Debug, Clone)]
pub struct StageContext {
    /// Component id, such as `batch/2`.
    pub id: String,
    /// Ways out.
    pub outputs: Outputs,
    /// Time.
    pub clock: Clock,
    /// The agent around it.
    pub host: Host,
}
