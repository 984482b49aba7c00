//! Clients that send records and note what they hear.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::{now, wait_until};
use crate::http::Client;
use crate::listening::lock;
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
    heard: Arc<Heard>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What clients hear while they work.
#[derive(Default)]
struct Heard {
    refused: AtomicUsize,
    /// How long each answer took.
    times: Mutex<Vec<Duration>>,
}

impl Load {
    /// Clients that send to a port for as long as they are let.
    pub(crate) fn start(port: u16, oracle: &Arc<Oracle>, shape: Shape) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Heard::default());
        let client = |_| {
            let (stop, heard, oracle) = (Arc::clone(&stop), Arc::clone(&heard), Arc::clone(oracle));
            std::thread::spawn(move || work(port, &oracle, shape, &stop, &heard))
        };
        Load { clients: (0..shape.clients).map(client).collect(), stop, heard }
    }

    /// Requests that were refused so far.
    pub(crate) fn refused(&self) -> usize {
        self.heard.refused.load(Ordering::Relaxed)
    }

    /// How long 95 of 100 answers took at most since this was last asked; none when there were no answers.
    pub(crate) fn p95(&self) -> Option<Duration> {
        let mut times = std::mem::take(&mut *lock(&self.heard.times));
        times.sort_unstable();
        times.get(times.len() * 95 / 100).copied()
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

fn work(port: u16, oracle: &Oracle, shape: Shape, stop: &AtomicBool, heard: &Heard) -> Tally {
    let (mut client, mut tally, path) = (Client::new(port), Tally::default(), oracle.path());
    while !stop.load(Ordering::Relaxed) {
        let (ids, body) = oracle.request(shape.records, shape.pad);
        let begun = now();
        let answer = client.post(&path, PROTOBUF, &body);
        lock(&heard.times).extend(answer.map(|_| now() - begun));
        match answer {
            Some(200) => {
                oracle.acknowledge(&ids);
                tally.accepted += 1;
            }
            Some(429 | 503) => {
                heard.refused.fetch_add(1, Ordering::Relaxed);
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
        let accepted = Client::new(port).post(&oracle.path(), PROTOBUF, &body) == Some(200);
        if accepted {
            oracle.acknowledge(&ids);
        }
        (accepted && wait_until(Duration::from_secs(10), || oracle.has(ids[0]).then_some(())).is_some())
            .then_some(())
    })
    .is_some()
}
