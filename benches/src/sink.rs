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
#[derive(Default)]
struct Arrived {
    items: AtomicU64,
    stamped: bool,
    /// Nanoseconds from sending to arrival.
    latencies: Mutex<Vec<u64>>,
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
        if self.stamped {
            let latencies = sent_at(&batch.payload).map(|sent| now().saturating_sub(sent));
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).extend(latencies);
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

impl Sink {
    /// On a free port; with `stamped` it reads the time of sending out of every request.
    pub(crate) async fn start(endpoint: &str, stamped: bool) -> Result<Sink, String> {
        let listener = Listener::tcp(endpoint).await.map_err(|e| e.to_string())?;
        let port = listener.local_addr().ok_or("a socket without an address")?.port();
        let arrived = Arc::new(Arrived { stamped, ..Arrived::default() });
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

    /// Waits until `items` have come or nothing has come for two seconds.
    pub(crate) async fn drained(&self, items: u64) {
        let (mut seen, mut quiet) = (self.items(), 0);
        while seen < items && quiet < 40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
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
    use crate::load::{Load, Protocol};
    use crate::sample::Sample;

    #[tokio::test]
    async fn every_item_of_every_signal_is_counted_over_both_protocols() {
        for signal in Signal::ALL {
            for protocol in [Protocol::Grpc, Protocol::Http] {
                let sink = Sink::start("127.0.0.1:0", false).await.unwrap();
                let load = Load {
                    port: sink.port,
                    protocol,
                    encoding: Encoding::Gzip,
                    sample: Arc::new(Sample::new(signal, 100)),
                    connections: 2,
                    rate: None,
                    time: Duration::from_secs(600),
                    requests: Some(3),
                    stamped: false,
                };
                assert_eq!(load.run().await, Ok(600), "acknowledged {signal} over {protocol:?}");
                assert_eq!(sink.items(), 600, "{signal} over {protocol:?}");
            }
        }
    }
}
