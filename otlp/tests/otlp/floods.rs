//! Frames of HTTP/2 that are not requests, as fast as they can be sent: whoever serves the port ends it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::{Protocols, ServerSettings};
use weir_pdata::Signal;

use crate::support::{Server, framed, grpc, http, sample, start, within};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// POST of `/x`.
fn call() -> Vec<u8> {
    call_of(&[(":path", "/x")])
}

/// POST with these fields, of which the last is a path, in plain literals (RFC 7541, 6.2.2).
pub(crate) fn call_of(fields: &[(&str, &str)]) -> Vec<u8> {
    call_to("weir", fields)
}

/// [`call_of`], of a server that the client calls so.
pub(crate) fn call_to(authority: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let first = [(":method", "POST"), (":scheme", "http"), (":authority", authority)];
    let (path, rest) = fields.split_last().expect("a path");
    for (name, value) in first.iter().chain([path]).chain(rest) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends `first`, then what `next` makes of the numbers of streams, until the server ends the connection.
async fn flood(server: &Server, first: Vec<u8>, next: impl Fn(u32) -> Vec<u8>) {
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let (mut reader, mut writer) = stream.into_split();
    let hello = [HELLO, &frame(SETTINGS, 0, 0, &[])[..], &first].concat();
    writer.write_all(&hello).await.expect("written");
    let sending = async {
        let mut stream = 3;
        loop {
            let frames: Vec<u8> = (0..100).flat_map(|n| next(stream + 2 * n)).collect();
            stream += 200;
            if writer.write_all(&frames).await.is_err() {
                // The end is to be read.
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = async { while reader.read(&mut [0; 16 << 10]).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = sending => {}
        () = ended => {}
    }
}

/// The fields of a request whose body is waited for.
fn waiting(protocols: Protocols) -> &'static [(&'static str, &'static str)] {
    match protocols {
        Protocols::Http => &[("content-type", "application/x-protobuf"), (":path", "/v1/logs")],
        _ => &[("content-type", "application/grpc"), (":path", LOGS)],
    }
}

#[tokio::test]
async fn every_flood_is_ended_and_others_are_served() {
    let open = || frame(HEADERS, END_HEADERS, 1, &call());
    for protocols in [Protocols::Grpc, Protocols::Http, Protocols::Both] {
        // No other limit may end them.
        let hour = Duration::from_secs(3600);
        let limits = ServerLimits {
            head_timeout: hour,
            body_timeout: hour,
            body_look: hour,
            ..ServerLimits::default()
        };
        let server = start(ServerSettings { protocols, limits, ..ServerSettings::default() }).await;
        within(flood(&server, Vec::new(), |_| frame(PING, 0, 0, &[0; 8]))).await;
        within(flood(&server, Vec::new(), |_| frame(PING, 1, 0, &[0; 8]))).await;
        within(flood(&server, Vec::new(), |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))).await;
        within(flood(&server, Vec::new(), |_| frame(77, 0, 0, &[]))).await;
        within(flood(&server, open(), |_| frame(DATA, 0, 1, &[]))).await;
        let waits = frame(HEADERS, END_HEADERS, 1, &call_of(waiting(protocols)));
        within(flood(&server, waits, |_| frame(DATA, PADDED, 1, &[0]))).await;
        within(flood(&server, open(), |_| frame(PRIORITY, 0, 1, &[0; 5]))).await;
        within(flood(&server, open(), |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]))).await;
        let begun = frame(HEADERS, 0, 1, &call());
        within(flood(&server, begun, |_| frame(CONTINUATION, 0, 1, &[]))).await;
        let reset = |stream: u32| {
            [frame(HEADERS, END_HEADERS, stream, &call()), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                .concat()
        };
        within(flood(&server, Vec::new(), reset)).await;
        let is_served = if protocols == Protocols::Http {
            let request =
                http::Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
            http(request, sample(Signal::Logs, 1).to_bytes()).await.0.is_success()
        } else {
            let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
            grpc(server.address, LOGS, &[], &message).await.1["grpc-status"] == "0"
        };
        assert!(is_served, "{protocols:?}");
    }
}

/// The kind, the stream and the payload of the next frame.
pub(crate) async fn next_frame(stream: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    within(stream.read_exact(&mut head)).await.expect("a frame");
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    within(stream.read_exact(&mut payload)).await.expect("the rest of a frame");
    (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
}

fn export() -> Vec<u8> {
    call_of(&[("content-type", "application/grpc"), (":path", LOGS)])
}

#[tokio::test]
async fn calls_that_are_refused_by_their_first_bytes_do_not_end_the_connection_of_others() {
    let server = start(ServerSettings { protocols: Protocols::Grpc, ..ServerSettings::default() }).await;
    server.pipeline.open.send_replace(false);
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
    let good = [frame(HEADERS, END_HEADERS, 1, &export()), frame(DATA, END_STREAM, 1, &message)].concat();
    let hello = [HELLO, &frame(SETTINGS, 0, 0, &[])[..], &good].concat();
    stream.write_all(&hello).await.expect("written");
    within(server.pipeline.holds(1)).await;
    // It says 5 MiB, of which the window allows the first.
    let mut first = vec![7; 16 << 10];
    first[..5].copy_from_slice(&[0, 0, 0x50, 0, 0]);
    for refused in (3..163).step_by(2) {
        let mut frames =
            [frame(HEADERS, END_HEADERS, refused, &export()), frame(DATA, 0, refused, &first)].concat();
        frames.extend((1..63).flat_map(|_| frame(DATA, 0, refused, &first)));
        stream.write_all(&frames).await.expect("written");
        loop {
            let (kind, of, _) = next_frame(&mut stream).await;
            assert_ne!(kind, GOAWAY, "after {refused}");
            if (kind, of) == (HEADERS, refused) {
                break;
            }
        }
    }
    server.pipeline.open.send_replace(true);
    while next_frame(&mut stream).await.1 != 1 {}
}

#[tokio::test]
async fn who_floods_is_still_answered_what_was_under_way() {
    let server = start(ServerSettings { protocols: Protocols::Grpc, ..ServerSettings::default() }).await;
    server.pipeline.open.send_replace(false);
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
    let good = [frame(HEADERS, END_HEADERS, 1, &export()), frame(DATA, END_STREAM, 1, &message)].concat();
    let half = [frame(HEADERS, END_HEADERS, 3, &export()), frame(DATA, 0, 3, &message[..7])].concat();
    let hello = [HELLO, &frame(SETTINGS, 0, 0, &[])[..], &good, &half].concat();
    stream.write_all(&hello).await.expect("written");
    within(server.pipeline.holds(1)).await;
    stream.write_all(&frame(PING, 1, 0, &[0; 8]).repeat(3000)).await.expect("written");
    let mut heard = vec![next_frame(&mut stream).await];
    while heard.last().is_some_and(|(kind, ..)| *kind != GOAWAY) {
        heard.push(next_frame(&mut stream).await);
    }
    assert_eq!(heard.pop().expect("told to go").2[4..8], [0, 0, 0, 11]);
    // REFUSED_STREAM: it may be sent again.
    assert_eq!(heard.pop(), Some((RST_STREAM, 3, vec![0, 0, 0, 7])));
    server.pipeline.open.send_replace(true);
    let answers =
        [next_frame(&mut stream).await, next_frame(&mut stream).await, next_frame(&mut stream).await];
    assert_eq!(answers.map(|(kind, of, _)| (kind, of)), [(HEADERS, 1), (DATA, 1), (HEADERS, 1)]);
    assert_eq!(within(stream.read(&mut [0; 9])).await.ok(), Some(0), "and then it ends");
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_refused_on_every_port() {
    for protocols in [Protocols::Grpc, Protocols::Http, Protocols::Both] {
        let limits = ServerLimits { max_concurrent_streams: 2, ..ServerLimits::default() };
        let server = start(ServerSettings { protocols, limits, ..ServerSettings::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        let call = call_of(waiting(protocols));
        let calls = [1, 3, 5].map(|number| frame(HEADERS, END_HEADERS, number, &call)).concat();
        let hello = [HELLO, &frame(SETTINGS, 0, 0, &[])[..], &calls].concat();
        stream.write_all(&hello).await.expect("written");
        // REFUSED_STREAM: it may be sent again.
        let refused = frame(RST_STREAM, 0, 5, &[0, 0, 0, 7]);
        let mut heard = Vec::new();
        while !heard.windows(refused.len()).any(|part| part == refused) {
            let read = within(stream.read_buf(&mut heard)).await.expect("read");
            assert!(read > 0, "{protocols:?}: closed after {heard:?}");
        }
    }
}
