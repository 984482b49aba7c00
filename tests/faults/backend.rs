//! A backend that answers as it is told, and notes what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

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
    /// Answers with so many bytes.
    Flood(usize),
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
        lock(&shared.heads).push(head);
        let answer = match mode {
            Mode::Hang => {
                // Until the client goes away or everything is closed.
                drop(reader.read(&mut [0]));
                return;
            }
            Mode::Answer(status, headers) => {
                format!("HTTP/1.1 {status} No\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
            }
            Mode::Flood(bytes) => {
                let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
                shared.oracle.deliver(&body);
                answer.resize(answer.len() + bytes, b'x');
                answer
            }
            Mode::Partly(rejected) => partly(rejected),
            Mode::Slow(time) => {
                thread::sleep(time);
                accept(shared, &body)
            }
            Mode::Accept => accept(shared, &body),
        };
        if answers.write_all(&answer).is_err() {
            return;
        }
    }
}

/// An `ExportLogsServiceResponse`: partial_success = 1 {rejected_log_records = 1}.
fn partly(rejected: u8) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 4\r\n\r\n";
    [head.as_bytes(), &[0x0a, 2, 0x08, rejected]].concat()
}

fn accept(shared: &Shared, body: &[u8]) -> Vec<u8> {
    let code = if shared.oracle.deliver(body) { "200 OK" } else { "400 Bad Request" };
    format!("HTTP/1.1 {code}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        .into_bytes()
}

/// The head of the next request and the length of its body.
fn head(reader: &mut impl BufRead) -> Option<(String, usize)> {
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
