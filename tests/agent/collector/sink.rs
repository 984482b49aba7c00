//! An OTLP/HTTP server that keeps what it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use weir_otlp::encoding::Encoding;
use weir_pdata::{Payload, Signal};

/// Largest body after decompression.
const MAX_BODY: usize = 64 << 20;

/// What came in one request.
pub(crate) struct Received {
    /// First part of the path: who sent it.
    pub(crate) sender: String,
    /// The header `Content-Encoding`, empty without one.
    pub(crate) encoding: String,
    /// All headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// What was sent.
    pub(crate) payload: Payload,
}

/// Listens on loopback until the process ends.
pub(crate) struct Sink {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Result<Received, String>>>>,
}

impl Sink {
    pub(crate) fn start() -> Sink {
        Sink::at(0)
    }

    /// On a port that was free, so that it can come up late.
    pub(crate) fn at(port: u16) -> Sink {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Sink { port, received }
    }

    /// Shows all that came from a sender; fails when anything that came was not OTLP.
    pub(crate) fn of<T>(&self, sender: &str, show: impl Fn(&Received) -> T) -> Vec<T> {
        let received = self.received.lock().unwrap();
        let all = received.iter().map(|r| r.as_ref().unwrap_or_else(|e| panic!("the sink was sent {e}")));
        all.filter(|r| r.sender == sender).map(show).collect()
    }
}

/// Answers the requests of one connection until it ends.
fn serve(stream: TcpStream, kept: &Mutex<Vec<Result<Received, String>>>) {
    let mut answers = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some((path, headers)) = head(&mut reader) {
        let header =
            |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1.clone()).unwrap_or_default();
        let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        kept.lock().unwrap().push(receive(&path, header("content-encoding"), body, &headers));
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Path and headers (names in lower case) of the next request.
fn head(reader: &mut impl BufRead) -> Option<(String, Vec<(String, String)>)> {
    let mut lines = reader.lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some((path, headers))
}

fn receive(
    path: &str,
    encoding: String,
    body: Vec<u8>,
    headers: &[(String, String)],
) -> Result<Received, String> {
    let (sender, rest) = path[1..].split_once('/').ok_or_else(|| format!("the path {path}"))?;
    let signal =
        Signal::ALL.into_iter().find(|s| &s.path()[1..] == rest).ok_or_else(|| format!("the path {path}"))?;
    let known = if encoding.is_empty() { Some(Encoding::Identity) } else { Encoding::parse(&encoding) };
    let known = known.ok_or_else(|| format!("the encoding {encoding}"))?;
    let body = known.decompress(body.into(), MAX_BODY).map_err(|e| format!("a body that is damaged: {e}"))?;
    let payload =
        Payload::from_request(signal, body).map_err(|e| format!("something that is not OTLP: {e:?}"))?;
    Ok(Received { sender: sender.to_owned(), encoding, headers: headers.to_vec(), payload })
}
