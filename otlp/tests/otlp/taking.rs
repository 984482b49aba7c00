//! Peers that ask and do not take the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use weir_component::{Stop, Stopper};
use weir_otlp::Listener;
use weir_otlp::http_server::{self, ServerLimits, respond};
use weir_otlp::server::{Protocols, ServerSettings};
use weir_otlp::tls::TlsAcceptor;
use weir_pdata::Signal;

use crate::floods::{END_HEADERS, END_STREAM, HEADERS, HELLO, SETTINGS, call_of, frame};
use crate::support::{sample, start, within};
use crate::tls::identity;

/// No other limit ends a connection.
fn only_writing(limit: Duration) -> ServerLimits {
    let hour = Duration::from_secs(3600);
    ServerLimits {
        write_timeout: limit,
        head_timeout: hour,
        idle_timeout: Some(hour),
        ping_interval: Some(hour),
        ..ServerLimits::default()
    }
}

const BRIEF: Duration = Duration::from_millis(50);

/// A port with one place, whose answers are larger than what systems keep for a peer.
#[expect(clippy::disallowed_methods, reason = "a test stands in for the engine")]
async fn large_pages(tls: Option<TlsAcceptor>) -> (SocketAddr, Stopper) {
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (stopper, stop) = Stop::new();
    let page = Bytes::from(vec![b'x'; 32 << 20]);
    let answer = move |_: Request<_>, _: &Arc<_>| {
        std::future::ready(respond(StatusCode::OK, "text/plain", page.clone()))
    };
    let limits = ServerLimits { max_connections: 1, ..only_writing(BRIEF) };
    tokio::spawn(http_server::serve(listener, tls, limits, stop, answer));
    (address, stopper)
}

/// Windows of 1 GiB, and a request.
fn ask_by_http2() -> Vec<u8> {
    let window = (1_u32 << 30).to_be_bytes();
    let settings = [&[0, 4], &window[..]].concat();
    let call = call_of(&[(":path", "/")]);
    [
        HELLO,
        &frame(SETTINGS, 0, 0, &settings),
        &frame(8, 0, 0, &window),
        &frame(HEADERS, END_HEADERS | END_STREAM, 1, &call),
    ]
    .concat()
}

/// Asks, and asks again on a second connection, which has its place when the first has lost it.
async fn lose_the_place<S: AsyncRead + AsyncWrite + Unpin>(ask: &[u8], connect: impl AsyncFn() -> S) {
    let mut first = connect().await;
    first.write_all(ask).await.expect("written");
    let mut second = within(connect()).await;
    second.write_all(ask).await.expect("written");
    within(second.read_exact(&mut [0])).await.expect("an answer");
    let mut taken = Vec::new();
    within(first.read_to_end(&mut taken)).await.expect_err("what was not taken in time is thrown away");
    assert!(taken.len() < 32 << 20);
}

#[tokio::test]
async fn who_asks_for_a_page_and_never_reads_it_does_not_keep_its_place() {
    let (acceptor, client) = identity("localhost");
    let connector = client.connector(&["http/1.1"]).expect("connector");
    for ask in [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), ask_by_http2()] {
        let (address, _running) = large_pages(None).await;
        let connect = async || TcpStream::connect(address).await.expect("connected");
        lose_the_place(&ask, connect).await;
    }
    let (address, _running) = large_pages(Some(acceptor)).await;
    let connect = async || {
        let stream = TcpStream::connect(address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        connector.connect(name, stream).await.expect("a handshake")
    };
    lose_the_place(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", connect).await;
}

#[tokio::test]
async fn who_sends_small_requests_and_never_reads_the_answers_is_cut_off() {
    let call = |stream: u32| {
        let fields = call_of(&[("content-type", "application/grpc"), (":path", "/x")]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
    };
    for protocols in [Protocols::Grpc, Protocols::Http] {
        let limits = only_writing(BRIEF);
        let server = start(ServerSettings { protocols, limits, ..ServerSettings::default() }).await;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("set");
        let mut stream = socket.connect(server.address).await.expect("connected");
        let sending = async {
            if protocols == Protocols::Grpc {
                stream.write_all(&[HELLO, &frame(SETTINGS, 0, 0, &[])].concat()).await?;
            }
            for first in (1_u32..).step_by(200) {
                let requests: Vec<u8> = if protocols == Protocols::Grpc {
                    (first..first + 200).step_by(2).flat_map(call).collect()
                } else {
                    b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".repeat(100)
                };
                stream.write_all(&requests).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        within(sending).await.expect_err("it would go on for ever");
    }
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_it_may_ends_its_connection_or_its_stream() {
    let limits = ServerLimits { answer_timeout: Some(BRIEF), ..ServerLimits::default() };
    let protocols = Protocols::Http;
    let server = start(ServerSettings { protocols, limits, ..ServerSettings::default() }).await;
    server.pipeline.open.send_replace(false);
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let content = sample(Signal::Logs, 1).to_bytes();
    let kind = ("content-type", "application/x-protobuf");
    let length = content.len();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\n{}: {}\r\ncontent-length: {length}\r\n\r\n",
        kind.0, kind.1
    );
    stream.write_all(&[head.as_bytes(), &content].concat()).await.expect("written");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("closed");
    assert_eq!(String::from_utf8_lossy(&answer), "");

    let stream = TcpStream::connect(server.address).await.expect("connected");
    let (mut sender, connection) = within(h2::client::handshake(stream)).await.expect("HTTP/2");
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(async { drop(connection.await) });
    let request = Request::post(server.url("/v1/logs")).header(kind.0, kind.1);
    let (answer, mut body) = sender.send_request(request.body(()).expect("request"), false).expect("sent");
    body.send_data(content, true).expect("sent");
    let reset = within(answer).await.expect_err("no answer");
    assert_eq!((reset.is_reset(), reset.reason()), (true, Some(Reason::CANCEL)));
}
