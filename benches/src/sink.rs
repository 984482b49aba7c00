//! The destination: takes OTLP over gRPC and HTTP on one port, counts items, and reads the time of sending.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use weir_component::{Batch, Consumer, Output, Outputs, Port, Stop, Stopper, async_trait};
use weir_otlp::Listener;
use weir_otlp::server::{ServerSettings, serve};
use weir_pdata::view::{Fields, resources};
use weir_pdata::{Payload, Signal};

use crate::now;

/// What arrived.
struct Arrived {
    items: AtomicU64,
    reads: Reads,
    /// Payloads that do not hold what they should.
    wrong: AtomicU64,
    /// Nanoseconds from sending to arrival.
    latencies: Mutex<Vec<u64>>,
}

/// What is read of each payload beside the number of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Nothing,
    /// The time of sending, out of every request in it.
    Stamps,
    /// Whether the first span is edited as `attributes` was told to.
    Edits,
}

/// A running sink; it ends when this is dropped.
pub(crate) struct Sink {
    pub(crate) port: u16,
    arrived: Arc<Arrived>,
    _stopper: Stopper,
    _server: JoinSet<()>,
}

#[async_trait]
impl Consumer for Arrived {
    async fn consume(&self, batch: Batch) {
        self.items.fetch_add(batch.payload.items() as u64, Ordering::Relaxed);
        match self.reads {
            Reads::Stamps => {
                let latencies = sent_at(&batch.payload).map(|sent| now().saturating_sub(sent));
                self.latencies.lock().unwrap_or_else(PoisonError::into_inner).extend(latencies);
            }
            Reads::Edits if !is_edited(&batch.payload) => {
                self.wrong.fetch_add(1, Ordering::Relaxed);
            }
            Reads::Edits | Reads::Nothing => {}
        }
        batch.receipt.settle(Ok(()));
    }
}

/// The stamps of the requests in a payload: the start of the first span of each resource.
fn sent_at(payload: &Payload) -> impl Iterator<Item = u64> {
    resources(payload).filter_map(|resource| {
        let span = resource.scopes().next()?.spans().next()?;
        Fields::new(span.as_bytes()).find(|f| f.number == 7).map(|f| f.u64())
    })
}

/// Whether the first span has what the edits of [`scenario`](crate::scenario) leave.
fn is_edited(payload: &Payload) -> bool {
    let first = || resources(payload).next()?.scopes().next()?.spans().next();
    first().is_some_and(|span| {
        let text = |key| span.attributes().text(key);
        text("deployment.environment.name") == Some("production")
            && text("http.request.method") == Some("POST")
            && text("user_agent.original").is_none()
            && text("order.number").is_some_and(|number| number.starts_with("ord-"))
            && text("order.id").is_none()
    })
}

impl Sink {
    pub(crate) async fn start(endpoint: &str, reads: Reads) -> Result<Sink, String> {
        let listener = Listener::tcp(endpoint).await.map_err(|e| e.to_string())?;
        let port = listener.local_addr().ok_or("a socket without an address")?.port();
        let arrived = Arc::new(Arrived {
            items: AtomicU64::new(0),
            reads,
            wrong: AtomicU64::new(0),
            latencies: Mutex::default(),
        });
        let shared: Arc<dyn Consumer> = Arc::<Arrived>::clone(&arrived);
        let output =
            |signal| Port { signal, pipeline: String::new(), output: Output::new(Arc::clone(&shared)) };
        let outputs = Outputs::new(Signal::ALL.into_iter().map(output).collect());
        let (stopper, stop) = Stop::new();
        let settings =
            ServerSettings { max_message: 64 << 20, max_body: 64 << 20, ..ServerSettings::default() };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, settings, outputs, stop));
        Ok(Sink { port, arrived, _stopper: stopper, _server: server })
    }

    /// Items so far.
    pub(crate) fn items(&self) -> u64 {
        self.arrived.items.load(Ordering::Relaxed)
    }

    /// Payloads that do not hold what they should.
    pub(crate) fn wrong(&self) -> u64 {
        self.arrived.wrong.load(Ordering::Relaxed)
    }

    /// Waits until `items` have come or nothing has come for two seconds.
    pub(crate) async fn drained(&self, items: u64) {
        let (mut seen, mut quiet) = (self.items(), 0);
        while seen < items && quiet < 400 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            quiet = if self.items() == seen { quiet + 1 } else { 0 };
            seen = self.items();
        }
    }

    /// Latencies in nanoseconds, sorted.
    pub(crate) fn latencies(&self) -> Vec<u64> {
        let mut all =
            std::mem::take(&mut *self.arrived.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use weir_otlp::encoding::Encoding;

    use super::*;
    use crate::load::{Load, Protocol, Requests};
    use crate::sample::Sample;

    fn load(port: u16, sample: &Sample, protocol: Protocol) -> Load {
        Load {
            port,
            requests: Arc::new(Requests::new(sample, protocol, Encoding::Gzip).expect("compressed")),
            connections: 2,
            rate: None,
            time: Duration::from_secs(600),
            most: Some(3),
            stamped: false,
        }
    }

    #[tokio::test]
    async fn every_item_of_every_signal_is_counted_over_both_protocols() {
        for signal in Signal::ALL {
            for protocol in [Protocol::Grpc, Protocol::Http] {
                let sink = Sink::start("127.0.0.1:0", Reads::Nothing).await.unwrap();
                let sent = load(sink.port, &Sample::new(signal, 100), protocol).run().await.unwrap();
                assert_eq!((sent.items, sent.refused), (600, 0), "acknowledged {signal} over {protocol:?}");
                assert_eq!(sink.items(), 600, "{signal} over {protocol:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_edited_is_seen() {
        let sink = Sink::start("127.0.0.1:0", Reads::Edits).await.unwrap();
        let sample = Sample::new(Signal::Traces, 10);
        load(sink.port, &sample, Protocol::Grpc).run().await.unwrap();
        assert_eq!(sink.wrong(), 6);
    }

    #[tokio::test]
    async fn a_refusal_is_no_acknowledgement() {
        // A server without a pipeline for any signal.
        let (stopper, stop) = Stop::new();
        let listener = Listener::tcp("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, ServerSettings::default(), Outputs::new(Vec::new()), stop));
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let sent = load(port, &Sample::new(Signal::Traces, 10), protocol).run().await.unwrap();
            assert_eq!((sent.items, sent.refused), (0, 6), "{protocol:?}");
        }
        drop(stopper);
    }
}
