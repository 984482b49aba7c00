//! A gRPC backend by hand: it answers each call with the status that it is told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::h2raw::{self, END_STREAM, frame};
use crate::listening::{Listening, lock};
use crate::oracle::Oracle;
use crate::ports::free_port;

/// What a call is answered with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The gRPC status; 0 takes the records.
    pub(crate) code: u8,
    /// Whether a `RetryInfo` says when to come again.
    pub(crate) retry_info: bool,
}

/// A server on loopback.
pub(crate) struct GrpcBackend {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _listening: Listening,
}

struct Shared {
    oracle: Arc<Oracle>,
    answer: Mutex<Answer>,
    calls: AtomicUsize,
}

impl GrpcBackend {
    pub(crate) fn up(oracle: &Arc<Oracle>) -> GrpcBackend {
        let port = free_port();
        let shared = Arc::new(Shared {
            oracle: Arc::clone(oracle),
            answer: Mutex::default(),
            calls: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        // A connection ends with the agent, whose it is.
        let listening = Listening::on(port, move |stream| drop(serve(stream, &serving)));
        GrpcBackend { port, shared, _listening: listening }
    }

    pub(crate) fn set(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
    }

    /// Calls that came in whole.
    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Relaxed)
    }
}

const ACK: u8 = 1;

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.read_exact(&mut vec![0; h2raw::PREFACE.len()])?;
    stream.write_all(&frame(h2raw::SETTINGS, 0, 0, &[]))?;
    // Streams are answered in the order in which they end, so one buffer for each that is open is enough.
    let mut open = std::collections::BTreeMap::<u32, Vec<u8>>::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        match (head[3], head[4]) {
            (h2raw::SETTINGS, flags) if flags & ACK == 0 => {
                stream.write_all(&frame(h2raw::SETTINGS, ACK, 0, &[]))?;
            }
            (h2raw::PING, flags) if flags & ACK == 0 => {
                stream.write_all(&frame(h2raw::PING, ACK, 0, &payload))?;
            }
            (h2raw::DATA, flags) => {
                for window in [0, number].into_iter().filter(|_| length > 0) {
                    let more = (length as u32).to_be_bytes();
                    stream.write_all(&frame(h2raw::WINDOW_UPDATE, 0, window, &more))?;
                }
                open.entry(number).or_default().extend(payload);
                if flags & END_STREAM != 0 {
                    let message = open.remove(&number).unwrap_or_default();
                    stream.write_all(&answer(shared, number, message.get(5..).unwrap_or_default()))?;
                }
            }
            _ => {}
        }
    }
}

/// The frames of the answer to a message.
fn answer(shared: &Shared, stream: u32, message: &[u8]) -> Vec<u8> {
    let Answer { code, retry_info } = *lock(&shared.answer);
    if code == 0 {
        shared.oracle.deliver(message);
    }
    shared.calls.fetch_add(1, Ordering::Relaxed);
    let code_text = code.to_string();
    let details = base64(&retry_status(code));
    let ok = [(":status", "200"), ("content-type", "application/grpc")];
    let mut end = vec![("grpc-status", &*code_text)];
    if retry_info {
        end.push(("grpc-status-details-bin", &*details));
    }
    let last = END_STREAM | h2raw::END_HEADERS;
    if code != 0 {
        // Trailers-Only: there is no message.
        return frame(h2raw::HEADERS, last, stream, &h2raw::headers(&[&ok[..], &end].concat()));
    }
    let mut frames = frame(h2raw::HEADERS, h2raw::END_HEADERS, stream, &h2raw::headers(&ok));
    frames.extend(frame(h2raw::DATA, 0, stream, &[0; 5]));
    frames.extend(frame(h2raw::HEADERS, last, stream, &h2raw::headers(&end)));
    frames
}

/// A `google.rpc.Status` with a `RetryInfo` of 200 ms: code = 1, details = 3 {type_url = 1, value = 2 {retry_delay = 1
/// {nanos = 2}}}.
fn retry_status(code: u8) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let delay = [0x10, 0x80, 0x84, 0xaf, 0x5f];
    let url = field(1, b"type.googleapis.com/google.rpc.RetryInfo");
    let any = [url, field(2, &field(1, &delay))].concat();
    [&[0x08, code][..], &field(3, &any)].concat()
}

/// Base64 without padding, as binary headers are.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |three: &[u8]| {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).map(move |n| char::from(LETTERS[(bits >> (18 - 6 * n) & 63) as usize]))
    };
    bytes.chunks(3).flat_map(letters).collect()
}
