//! A backend that answers as it is told, and notes what it got.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::agent::now;
use crate::listening::lock;
use crate::oracle::Oracle;
use crate::ports::free_port;

/// What the backend does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Takes it.
    Accept,
    /// Answers with this status and these headers, and forgets it.
    Answer(u16, String),
    /// Reads it and never answers.
    Hang,
    /// Takes it, slowly.
    Slow(Duration),
    /// Takes it and says that it has rejected so many of its records.
    Partly(u8),
    /// Takes it and answers with what may have no end.
    Pour(Pour),
}

/// An answer that is longer than it should be: a head, and behind it so many times the same piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pour {
    pub(crate) head: String,
    pub(crate) piece: Arc<[u8]>,
    pub(crate) times: usize,
}

/// When a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// What tells its body from others.
    pub(crate) body: u64,
    pub(crate) at: Instant,
}

/// An OTLP/HTTP server on loopback. It listens until it is told to go down, and again when told to come up.
pub(crate) struct Backend {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    up: Option<Arc<AtomicBool>>,
}

struct Shared {
    oracle: Arc<Oracle>,
    mode: Mutex<Mode>,
    requests: AtomicUsize,
    heads: Mutex<Vec<String>>,
    arrivals: Mutex<Vec<Arrival>>,
    metrics: Mutex<Vec<Vec<u8>>>,
    /// Bytes of [poured](Mode::Pour) answers that were taken, and how many such answers are on their way.
    poured: AtomicUsize,
    pouring: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Backend {
    /// A backend that is down.
    pub(crate) fn down(oracle: &Arc<Oracle>) -> Backend {
        let shared = Shared {
            oracle: Arc::clone(oracle),
            mode: Mutex::new(Mode::Accept),
            requests: AtomicUsize::new(0),
            heads: Mutex::default(),
            arrivals: Mutex::default(),
            metrics: Mutex::default(),
            poured: AtomicUsize::new(0),
            pouring: AtomicUsize::new(0),
            connections: Mutex::default(),
        };
        Backend { port: free_port(), shared: Arc::new(shared), up: None }
    }

    /// A backend that accepts.
    pub(crate) fn up(oracle: &Arc<Oracle>) -> Backend {
        let mut backend = Backend::down(oracle);
        backend.come_up();
        backend
    }

    pub(crate) fn come_up(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the port is free");
        listener.set_nonblocking(true).expect("set");
        let up = Arc::new(AtomicBool::new(true));
        self.up = Some(Arc::clone(&up));
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            while up.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let shared = Arc::clone(&shared);
                stream.set_nonblocking(false).expect("set");
                if let Ok(copy) = stream.try_clone() {
                    lock(&shared.connections).push(copy);
                }
                thread::spawn(move || {
                    let ends = stream.try_clone();
                    serve(stream, &shared);
                    // There is a second handle to it, so that dropping does not close it.
                    drop(ends.map(|stream| stream.shutdown(Shutdown::Both)));
                });
            }
        });
    }

    /// Closes the port and all connections.
    pub(crate) fn go_down(&mut self) {
        if let Some(up) = self.up.take() {
            up.store(false, Ordering::Relaxed);
            // The listener goes when its thread looks at the flag.
            thread::sleep(Duration::from_millis(50));
        }
        for connection in lock(&self.shared.connections).drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
    }

    /// Requests that came in whole.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// The heads of all requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        lock(&self.shared.heads).clone()
    }

    /// The metrics that it took, when its oracle knows none.
    pub(crate) fn metrics(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.metrics).clone()
    }

    /// When all requests came in.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.shared.arrivals).clone()
    }

    /// Bytes of [poured](Mode::Pour) answers so far; none while one is on its way.
    pub(crate) fn poured(&self) -> Option<usize> {
        let pours = self.shared.pouring.load(Ordering::SeqCst) > 0;
        (!pours).then(|| self.shared.poured.load(Ordering::SeqCst))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.go_down();
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some((head, length)) = head(&mut reader) {
        let mode = lock(&shared.mode).clone();
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let of_metrics = head.starts_with("POST /v1/metrics ") && shared.oracle.path() != "/v1/metrics";
        lock(&shared.heads).push(head);
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        lock(&shared.arrivals).push(Arrival { body: hasher.finish(), at: now() });
        let answer = match mode {
            Mode::Hang => {
                // Until the client goes away or everything is closed.
                drop(reader.read(&mut [0]));
                return;
            }
            Mode::Answer(status, headers) => {
                format!("HTTP/1.1 {status} No\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
            }
            Mode::Pour(what) => {
                shared.oracle.deliver(&body);
                shared.pouring.fetch_add(1, Ordering::SeqCst);
                pour(&mut answers, &what, &shared.poured);
                shared.pouring.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            Mode::Partly(rejected) => {
                shared.oracle.deliver(&body);
                partly(rejected)
            }
            Mode::Slow(time) => {
                thread::sleep(time);
                accept(shared, &body)
            }
            Mode::Accept if of_metrics => {
                lock(&shared.metrics).push(body);
                TAKEN.to_vec()
            }
            Mode::Accept => accept(shared, &body),
        };
        if answers.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Writes until all is written or the client has had enough.
fn pour(client: &mut TcpStream, what: &Pour, poured: &AtomicUsize) {
    let pieces = std::iter::repeat_n(&*what.piece, what.times);
    for piece in std::iter::once(what.head.as_bytes()).chain(pieces) {
        if client.write_all(piece).is_err() {
            return;
        }
        poured.fetch_add(piece.len(), Ordering::SeqCst);
    }
}

/// An `ExportLogsServiceResponse`: partial_success = 1 {rejected_log_records = 1}.
fn partly(rejected: u8) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 4\r\n\r\n";
    [head.as_bytes(), &[0x0a, 2, 0x08, rejected]].concat()
}

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

fn accept(shared: &Shared, body: &[u8]) -> Vec<u8> {
    if shared.oracle.deliver(body) {
        TAKEN.to_vec()
    } else {
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()
    }
}

/// The head of the next request and the length of its body.
pub(crate) fn head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            return Some((head, length));
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
}
