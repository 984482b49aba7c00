//! Taking telemetry in.

use async_trait::async_trait;

use crate::{Clock, Failure, Host, Outputs, SourceStatus, Stop};

/// Takes telemetry in: from the network, from the kernel, from other processes. One instance serves all signals of its
/// id.
#[async_trait]
pub trait Receiver: Send {
    /// Gets ready: binds ports, opens files. All receivers start after everything behind them is ready.
    ///
    /// # Errors
    /// The agent does not start.
    async fn start(&mut self, _cx: &ReceiverContext) -> Result<(), Failure> {
        Ok(())
    }

    /// Transports that its batches name in their context (`grpc`, `http`); the empty one for those that have none.
    fn transports(&self) -> &'static [&'static str] {
        &[""]
    }

    /// Works until `cx.stop` is requested, then finishes what it has begun and returns. The engine drops the future at
    /// its deadline.
    ///
    /// # Errors
    /// An error before the request to stop ends the agent.
    async fn run(self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure>;
}

/// What a [`Receiver`] may use.
#[derive(Debug, Clone)]
pub struct ReceiverContext {
    /// Component id, such as `otlp/2`.
    pub id: String,
    /// Ways out: one port for each signal that some pipeline takes.
    pub outputs: Outputs,
    /// When to stop.
    pub stop: Stop,
    /// Time.
    pub clock: Clock,
    /// The agent around it.
    pub host: Host,
}

impl ReceiverContext {
    /// Says how this source of evidence is doing, from its [`run`](Receiver::run) on. Of one that is to stop nobody hears: another
    /// one of its id may run.
    pub fn report_source(&self, status: SourceStatus) {
        if !self.stop.is_requested() {
            self.host.report_source(&self.id, status);
        }
    }
}
