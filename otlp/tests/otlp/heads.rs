//! Requests that do not become whole, and answers that are given before they are.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_component::Budget;
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::{Protocols, ServerSettings};
use weir_pdata::Signal;

use crate::auth::guarded_on;
use crate::floods::{DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, LOGS, SETTINGS, call_of, frame};
use crate::support::{Server, framed, sample, start, within};

const POST: &str = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
/// Error code ENHANCE_YOUR_CALM in a GOAWAY of a connection without requests.
const CALM_DOWN: &[u8] = &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.expect("connected")
}

/// The beginning of a connection of HTTP/2 up to the middle of a block of `sent` bytes.
fn half_a_block(announced: usize, sent: usize) -> Vec<u8> {
    let block = frame(HEADERS, END_HEADERS, 1, &vec![0; announced]);
    [HELLO, &frame(SETTINGS, 0, 0, &[]), &block[..9 + sent]].concat()
}

/// What the server says until it ends the connection, in whatever way.
async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    while within(stream.read_buf(&mut heard)).await.is_ok_and(|read| read > 0) {}
    heard
}

fn has(heard: &[u8], part: &[u8]) -> bool {
    heard.windows(part.len()).any(|window| window == part)
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    within(wait).await;
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_answered_before_it_ends_and_however_long_it_is() {
    let server = start(ServerSettings::default()).await;
    for size in [64 << 10, 1 << 20] {
        let mut stream = connect(&server).await;
        let head = format!("{POST}x-long: {}", "a".repeat(size));
        stream.write_all(head.as_bytes()).await.expect("the server listens until it is through");
        let heard = last_words(&mut stream).await;
        assert!(heard.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test]
async fn blocks_of_fields_that_are_not_whole_are_held_only_while_there_is_memory() {
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let budget = Budget::default();
        budget.set_limit(500_000);
        let server =
            start(ServerSettings { protocols, budget: budget.clone(), ..ServerSettings::default() }).await;
        let mut open = Vec::new();
        // A library that serves a port takes no larger frames.
        let (announced, pieces) = if protocols == Protocols::Grpc { (60_000, 1) } else { (16_000, 3) };
        let mut beginning = half_a_block(announced, announced - 1);
        if pieces > 1 {
            let first = frame(HEADERS, 0, 1, &literal(announced * pieces, announced));
            let more = frame(9, 0, 1, &vec![b'a'; announced]);
            beginning =
                [HELLO, &frame(SETTINGS, 0, 0, &[])[..], &first, &more, &more[..more.len() - 1]].concat();
        }
        loop {
            let mut stream = connect(&server).await;
            stream.write_all(&beginning).await.expect("written");
            let before = budget.held();
            let refused = budget.refused();
            until(|| budget.held() > before || budget.refused() > refused).await;
            assert!(budget.held() <= 500_000);
            if budget.refused() > refused {
                let heard = last_words(&mut stream).await;
                assert!(protocols != Protocols::Grpc || has(&heard, CALM_DOWN), "{heard:?}");
                break;
            }
            open.push(stream);
        }
        assert!(open.len() > 3, "{} fit", open.len());
        drop(open);
        until(|| budget.held() == 0).await;
    }
}

/// The beginning of a field whose value has so many bytes, of which some are there (RFC 7541, 6.2.2 and 5.1).
fn literal(value: usize, length: usize) -> Vec<u8> {
    let mut block = vec![0, 1, b'x', 127];
    let mut rest = value - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
    block.resize(length, b'a');
    block
}

#[tokio::test]
async fn frames_that_are_larger_than_any_of_their_kind_are_refused_by_their_heads() {
    let server = start(ServerSettings { protocols: Protocols::Grpc, ..ServerSettings::default() }).await;
    for (kind, length) in [(HEADERS, 250_000), (SETTINGS, 60_000), (5, 100)] {
        let mut stream = connect(&server).await;
        let head = &frame(kind, 0, u32::from(kind != SETTINGS), &vec![0; length])[..9];
        let hello = [HELLO, &frame(SETTINGS, 0, 0, &[]), head].concat();
        stream.write_all(&hello).await.expect("written");
        assert!(has(&last_words(&mut stream).await, &[7, 0, 0, 0, 0, 0]), "GOAWAY for kind {kind}");
    }
}

/// Sends a request, hears its answer, and then a piece of a head after the other for as long as somebody listens.
async fn drip(server: &Server, request: &[u8], is_answered: impl Fn(&[u8]) -> bool, head: &[u8]) {
    let mut stream = connect(server).await;
    stream.write_all(request).await.expect("written");
    let mut heard = Vec::new();
    while !is_answered(&heard) {
        let read = within(stream.read_buf(&mut heard)).await.expect("read");
        assert!(read > 0, "closed after {heard:?}");
    }
    let (mut reader, mut writer) = stream.into_split();
    let closed = async { while reader.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
    let sending = async {
        for byte in head {
            drop(writer.write_all(&[*byte]).await);
            drop(tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = within(closed) => {}
        () = sending => {}
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_behind_a_request_too_while_connections_may_rest() {
    let one = format!("{POST}content-length: 2\r\n\r\n{{}}");
    let two = |kind: &[(&str, &str)], content: &[u8]| {
        let head = frame(HEADERS, END_HEADERS, 1, &call_of(kind));
        [HELLO, &frame(SETTINGS, 0, 0, &[]), &head, &frame(DATA, END_STREAM, 1, content)].concat()
    };
    let next = frame(HEADERS, END_HEADERS, 3, &[0; 10_000]);
    for protocols in [Protocols::Grpc, Protocols::Http, Protocols::Both] {
        let hour = Duration::from_secs(3600);
        let limits = ServerLimits {
            head_timeout: Duration::from_secs(1),
            idle_timeout: Some(hour),
            ping_interval: Some(hour),
            ..ServerLimits::default()
        };
        let server = start(ServerSettings { protocols, limits, ..ServerSettings::default() }).await;
        let call = if protocols == Protocols::Http {
            two(&[("content-type", "application/json"), (":path", "/v1/logs")], b"{}")
        } else {
            let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
            two(&[("content-type", "application/grpc"), (":path", LOGS)], &message)
        };
        // A frame of DATA of the first stream is part of every answer.
        let answered =
            |heard: &[u8]| has(heard, &[DATA, 0, 0, 0, 0, 1]) || has(heard, &[DATA, 1, 0, 0, 0, 1]);
        drip(&server, &call, answered, &next).await;
        if protocols != Protocols::Grpc {
            let head = format!("{POST}x-long: {}", "a".repeat(10_000));
            drip(&server, one.as_bytes(), |heard| has(heard, b"{\"partialSuccess\":{}}"), head.as_bytes())
                .await;
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_a_large_body_to_its_end_hears_why_it_was_refused_at_its_beginning() {
    let budget = Budget::default();
    budget.set_limit(5 << 20);
    let _others = budget.reserve((5 << 20) - 1000).expect("room");
    let crowded = start(ServerSettings { max_body: 5 << 20, budget, ..ServerSettings::default() }).await;
    let guarded = guarded_on(Protocols::Both, &[]).await;
    for (server, size, status) in
        [(&crowded, 6 << 20, "413"), (&crowded, 4 << 20, "503"), (&guarded, 4 << 20, "401")]
    {
        let mut stream = connect(server).await;
        let head = format!("{POST}content-length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(&vec![b' '; size]).await.expect("the server listens until it is through");
        let heard = last_words(&mut stream).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(heard.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test]
async fn a_refusal_that_leaves_a_body_unread_says_that_the_connection_closes_and_any_other_keeps_it() {
    let budget = Budget::default();
    budget.set_limit(1000);
    let settings = ServerSettings { max_body: 5 << 20, budget, ..ServerSettings::default() };
    let server = start(settings).await;
    for (size, closes) in [(300_000, true), (2_000, false), (2, false)] {
        let mut stream = connect(&server).await;
        let body = format!("{{}}{}", " ".repeat(size - 2));
        let request = format!("{POST}content-length: {size}\r\n\r\n{body}");
        // A small one is there at once: head and body leave in one write.
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut heard = Vec::new();
        within(async {
            while !has(&heard, b"\r\n\r\n") {
                assert!(stream.read_buf(&mut heard).await.expect("read") > 0, "closed");
            }
        })
        .await;
        let head = String::from_utf8_lossy(&heard).to_lowercase();
        assert_eq!(head.contains("connection: close"), closes, "{size} bytes: {head}");
    }
}

#[tokio::test]
async fn the_buffer_of_a_connection_is_reserved_as_long_as_it_lasts() {
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..ServerSettings::default() }).await;
    let mut stream = connect(&server).await;
    let body = format!("{{}}{}", " ".repeat(200_000));
    let request = format!("{POST}content-length: {}\r\n\r\n{body}", body.len());
    let answer = b"{\"partialSuccess\":{}}";
    let sending = async {
        // It grows with what comes in one piece, which is for the kernel to decide.
        while budget.held() == 0 {
            stream.write_all(request.as_bytes()).await.expect("written");
            let mut heard = Vec::new();
            while !has(&heard, answer) {
                assert!(stream.read_buf(&mut heard).await.expect("read") > 0, "closed");
            }
        }
    };
    within(sending).await;
    assert!(budget.held() <= 128 << 10, "{}", budget.held());
    drop(stream);
    until(|| budget.held() == 0).await;
}
