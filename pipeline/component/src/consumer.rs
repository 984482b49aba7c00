//! Handing batches on.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Notify;
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
pub struct Output(Way);

#[derive(Clone)]
enum Way {
    Fixed(Arc<dyn Consumer>),
    Joint(Arc<Turning>),
}

struct Turning {
    target: ArcSwap<Output>,
    turned: Notify,
}

/// The engine's end of an [`Output`] that can be led elsewhere while it is in use. Dropping it leaves the output as it
/// is.
#[derive(Clone)]
pub struct Joint(Arc<Turning>);

impl Output {
    /// A handle to `consumer`.
    pub fn new(consumer: Arc<dyn Consumer>) -> Output {
        Output(Way::Fixed(consumer))
    }

    /// A handle to `target` until the joint says otherwise. Sending through it takes no lock.
    pub fn jointed(target: Output) -> (Output, Joint) {
        let joint = Arc::new(Turning { target: ArcSwap::from_pointee(target), turned: Notify::new() });
        (Output(Way::Joint(Arc::clone(&joint))), Joint(joint))
    }

    /// Hands a batch on. The whole of it goes one way, whenever a joint is turned.
    pub async fn send(&self, batch: Batch) {
        match &self.0 {
            Way::Fixed(consumer) => consumer.consume(batch).await,
            Way::Joint(joint) => {
                // Held until custody is taken: what lies behind does not drain under a batch that is on its way.
                let target = joint.target.load_full();
                match &target.0 {
                    Way::Fixed(consumer) => consumer.consume(batch).await,
                    Way::Joint(_) => Box::pin(target.send(batch)).await,
                }
            }
        }
    }
}

impl Joint {
    /// Leads what is sent from now on to `target`; batches that are on their way arrive where they were sent to.
    pub fn turn(&self, target: Output) {
        self.0.target.store(Arc::new(target));
        self.0.turned.notify_waiters();
    }

    /// Completes when the output is led elsewhere after this call.
    pub fn turned(&self) -> impl Future<Output = ()> + Send + '_ {
        // It hears a turn from here on, not from when it is first polled.
        self.0.turned.notified()
    }
}

impl fmt::Debug for Joint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Joint")
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
