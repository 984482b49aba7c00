//! Clients that send records and note what they hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::wait_until;
use crate::http::Client;
use crate::oracle::Oracle;

pub(crate) const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

/// What clients send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clients: usize,
    /// Records of a request.
    pub(crate) records: usize,
    /// Bytes of a record beside its id.
    pub(crate) pad: usize,
    /// Between the requests of a client.
    pub(crate) pause: Duration,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { clients: 4, records: 50, pad: 300, pause: Duration::from_millis(2) }
    }
}

/// What clients heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: usize,
    /// 429 or 503: come again.
    pub(crate) refused: usize,
    /// Any other answer.
    pub(crate) other: usize,
    /// Requests without an answer.
    pub(crate) errors: usize,
}

/// Clients at work; they stop when asked for what they heard.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Clients that send to a port for as long as they are let.
    pub(crate) fn start(port: u16, oracle: &Arc<Oracle>, shape: Shape) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let refused = Arc::new(AtomicUsize::new(0));
        let client = |_| {
            let (stop, refused, oracle) = (Arc::clone(&stop), Arc::clone(&refused), Arc::clone(oracle));
            std::thread::spawn(move || work(port, &oracle, shape, &stop, &refused))
        };
        Load { clients: (0..shape.clients).map(client).collect(), stop, refused }
    }

    /// Requests that were refused so far.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// What they heard; they have stopped then.
    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("a client ends");
            sum.accepted += tally.accepted;
            sum.refused += tally.refused;
            sum.other += tally.other;
            sum.errors += tally.errors;
        }
        sum
    }
}

fn work(port: u16, oracle: &Oracle, shape: Shape, stop: &AtomicBool, refused: &AtomicUsize) -> Tally {
    let (mut client, mut tally) = (Client::new(port), Tally::default());
    while !stop.load(Ordering::Relaxed) {
        let (ids, body) = oracle.request(shape.records, shape.pad);
        match client.post("/v1/logs", PROTOBUF, &body) {
            Some(200) => {
                oracle.acknowledge(&ids);
                tally.accepted += 1;
            }
            Some(429 | 503) => {
                refused.fetch_add(1, Ordering::Relaxed);
                tally.refused += 1;
            }
            Some(_) => tally.other += 1,
            None => tally.errors += 1,
        }
        std::thread::sleep(shape.pause);
    }
    tally
}

/// Sends until so many records are acknowledged; false when that takes too long.
pub(crate) fn until_acknowledged(oracle: &Oracle, records: usize) -> bool {
    wait_until(Duration::from_secs(60), || (oracle.acknowledged() >= records).then_some(())).is_some()
}

/// Whether everything that was acknowledged arrives.
pub(crate) fn all_arrive(oracle: &Oracle, limit: Duration) -> bool {
    wait_until(limit, || (oracle.missing() == 0).then_some(())).is_some()
}

/// Whether a fresh record passes through an agent.
pub(crate) fn passes(port: u16, oracle: &Oracle) -> bool {
    wait_until(Duration::from_secs(20), || {
        let (ids, body) = oracle.request(1, 10);
        let accepted = Client::new(port).post("/v1/logs", PROTOBUF, &body) == Some(200);
        if accepted {
            oracle.acknowledge(&ids);
        }
        (accepted && wait_until(Duration::from_secs(10), || oracle.has(ids[0]).then_some(())).is_some())
            .then_some(())
    })
    .is_some()
}
