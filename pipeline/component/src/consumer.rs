//! Handing batches on.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use weir_pdata::Signal;

use crate::Batch;

/// Takes batches.
///
/// `consume` hands over custody and tells nothing: what becomes of the batch is told by its receipt. The future
/// resolves when custody is taken; until then the caller waits, and this waiting is the back pressure of a pipeline.
/// Dropping the future before it resolves may drop the batch, which its receipt reports as abandoned.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Takes custody of a batch.
    async fn consume(&self, batch: Batch);
}

/// A handle to what comes next. Cheap to clone; the next stage drains when the last handle to it is dropped.
#[derive(Clone)]
pub struct Output(Arc<dyn Consumer>);

impl Output {
    /// A handle to `consumer`.
    pub fn new(consumer: Arc<dyn Consumer>) -> Output {
        Output(consumer)
    }

    /// Hands a batch on.
    pub async fn send(&self, batch: Batch) {
        self.0.consume(batch).await;
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// One way out of a component.
#[derive(Debug, Clone)]
pub struct Port {
    /// What leaves here.
    pub signal: Signal,
    /// The pipeline it belongs to, such as `traces/front`. Where several pipelines hang on one port, their names are
    /// joined by a comma.
    pub pipeline: String,
    /// Where it goes.
    pub output: Output,
}

/// The ways out of a component.
///
/// A receiver and a connector have one port for each signal that some pipeline takes from them. A processor has one
/// port for each pipeline it stands in, and batches that came in on a port leave by the port of the same number.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    ports: Vec<Port>,
}

impl Outputs {
    /// With these ports.
    pub fn new(ports: Vec<Port>) -> Outputs {
        Outputs { ports }
    }

    /// All ports.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Sends by the port of that number; a batch for a port that does not exist is abandoned.
    pub async fn send(&self, port: usize, batch: Batch) {
        if let Some(port) = self.ports.get(port) {
            port.output.send(batch).await;
        }
    }

    /// The first port of a signal: where a component's own telemetry of that signal leaves, once.
    pub fn first(&self, signal: Signal) -> Option<&Output> {
        self.ports.iter().find(|p| p.signal == signal).map(|p| &p.output)
    }

    /// Whether some pipeline takes this signal.
    pub fn takes(&self, signal: Signal) -> bool {
        self.first(signal).is_some()
    }
}
