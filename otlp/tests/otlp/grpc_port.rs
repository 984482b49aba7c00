//! A port that is for gRPC alone: what its own server of HTTP/2 keeps of the rules of connections.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weir_component::Budget;
use weir_otlp::client::{Compression, GrpcClient, GrpcSettings, Target};
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::{Protocols, ServerSettings};
use weir_pdata::Signal;

use crate::auth::guarded_on;
use crate::floods::{DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, SETTINGS, call_to, frame};
use crate::support::{Server, framed, h2_client, sample, start, within};
use crate::tls::secured_on;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

fn settings(limits: ServerLimits) -> ServerSettings {
    ServerSettings { protocols: Protocols::Grpc, limits, ..ServerSettings::default() }
}

fn client(server: &Server) -> GrpcClient {
    let target = Target::parse(&server.address.to_string()).expect("target");
    GrpcClient::new(GrpcSettings { compression: Compression::NONE, ..GrpcSettings::new(target) })
        .expect("client")
}

/// An HTTP/2 connection whose frames nobody but the test moves.
struct Raw {
    sender: h2::client::SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

async fn raw(server: &Server) -> Raw {
    let (sender, _driver) = h2_client(server.address).await;
    Raw { sender, _driver }
}

impl Raw {
    fn call(&mut self) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::post(format!("http://weir{LOGS}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        self.sender.send_request(request.body(()).expect("request"), false).expect("sent")
    }
}

async fn status(response: h2::client::ResponseFuture) -> String {
    let response = within(response).await.expect("a response");
    response.headers()["grpc-status"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn whatever_a_client_calls_the_server_is_taken_and_kept_as_its_host() {
    let server = start(ServerSettings { include_metadata: true, ..settings(ServerLimits::default()) }).await;
    let message = framed(false, &sample(Signal::Logs, 1).to_bytes());
    let names = ["weir", "%2Ftmp%2Fs", "127.0.0.1:1,127.0.0.1:2", ""];
    for name in names {
        let call = call_to(name, &[("content-type", "application/grpc"), (":path", LOGS)]);
        let frames = [frame(HEADERS, END_HEADERS, 1, &call), frame(DATA, END_STREAM, 1, &message)].concat();
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        let hello = [HELLO, &frame(SETTINGS, 0, 0, &[])[..], &frames].concat();
        stream.write_all(&hello).await.expect("written");
        let mut heard = Vec::new();
        while !heard.windows(11).any(|part| part == b"grpc-status") {
            assert!(within(stream.read_buf(&mut heard)).await.expect("read") > 0, "{name:?}: closed");
        }
    }
    let batches = server.pipeline.batches.lock().expect("lock");
    let hosts: Vec<_> = batches.iter().map(|(_, context)| context.metadata("host").concat()).collect();
    assert_eq!(hosts, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_what_is_under_way_and_refuses_what_does_not_arrive() {
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..settings(ServerLimits::default()) }).await;
    server.pipeline.open.send_replace(false);
    let (client, payload) = (client(&server), sample(Signal::Logs, 1));
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { client.export(&payload).await.is_ok() });
    within(server.pipeline.holds(1)).await;
    let mut raw = raw(&server).await;
    let (response, mut body) = raw.call();
    let held = budget.held();
    body.send_data(Bytes::from_static(&[0, 0, 0]), false).expect("sent");
    // What the server has not begun to read by its stop would only be sent away.
    while budget.held() == held {
        tokio::task::yield_now().await;
    }
    drop(server.stopper);
    assert_eq!(status(response).await, "14");
    assert!(!server.task.is_finished(), "a request waits");
    server.pipeline.open.send_replace(true);
    assert_eq!(within(waiting.join_all()).await, [true]);
    within(server.task).await.expect("ended");
}

#[tokio::test]
async fn an_old_connection_is_left_without_losing_a_request() {
    let age = Some(Duration::from_millis(30));
    let server = start(settings(ServerLimits { max_connection_age: age, ..ServerLimits::default() })).await;
    let client = client(&server);
    for _ in 0..50 {
        while let Err(failure) = within(client.export(&sample(Signal::Logs, 1))).await {
            assert!(failure.is_retryable(), "{failure}");
        }
        drop(tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await);
    }
    assert_eq!(server.pipeline.payloads().len(), 50);
    let batches = server.pipeline.batches.lock().expect("lock");
    let connections: std::collections::BTreeSet<_> =
        batches.iter().map(|(_, context)| context.peer).collect();
    assert!(connections.len() > 1, "{connections:?}");
}

#[tokio::test]
async fn a_message_that_takes_too_long_to_arrive_is_refused_and_its_room_comes_back() {
    let limits = ServerLimits { body_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..settings(limits) }).await;
    let mut raw = raw(&server).await;
    let (response, mut body) = raw.call();
    body.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 1, 2]), false).expect("sent");
    assert_eq!(status(response).await, "4");
    assert_eq!(budget.held(), 0);
    let (response, mut body) = raw.call();
    body.send_data(framed(false, b"").into(), true).expect("sent");
    assert!(within(response).await.is_ok(), "the connection is still good");
}

#[tokio::test]
async fn a_message_that_drips_is_refused_long_before_its_time_is_over_and_its_room_comes_back() {
    let look = Duration::from_millis(100);
    let limits = ServerLimits { min_body_rate: 1 << 20, body_look: look, ..ServerLimits::default() };
    let budget = Budget::default();
    for protocols in [Protocols::Grpc, Protocols::Both] {
        let settings = ServerSettings { budget: budget.clone(), ..settings(limits.clone()) };
        let server = start(ServerSettings { protocols, ..settings }).await;
        let mut raw = raw(&server).await;
        let (response, mut body) = raw.call();
        body.send_data(Bytes::from_static(&[0, 0, 1, 0, 0]), false).expect("sent");
        let mut answered = std::pin::pin!(status(response));
        let code = loop {
            if let Ok(code) = tokio::time::timeout(look / 20, &mut answered).await {
                break code;
            }
            drop(body.send_data(Bytes::from_static(&[7]), false));
        };
        assert_eq!((code.as_str(), budget.held()), ("4", 0));
        let (response, mut body) = raw.call();
        body.send_data(framed(false, b"").into(), true).expect("sent");
        assert!(within(response).await.is_ok(), "the connection is still good");
    }
}

#[tokio::test]
async fn a_stranger_is_refused_before_his_message_came_and_a_friend_with_an_early_one_is_not() {
    let server = guarded_on(Protocols::Grpc, &[]).await;
    let mut raw = raw(&server).await;
    let (response, _open) = raw.call();
    assert_eq!(status(response).await, "16");
    assert!(server.pipeline.payloads().is_empty());
    let request = Request::post(format!("http://weir{LOGS}"))
        .header("content-type", "application/grpc")
        .header("x-word", "sesame");
    let (response, mut body) =
        raw.sender.send_request(request.body(()).expect("request"), false).expect("sent");
    body.send_data(framed(false, &sample(Signal::Logs, 2).to_bytes()).into(), true).expect("sent");
    within(response).await.expect("an answer");
    let batches = server.pipeline.batches.lock().expect("lock");
    assert_eq!((batches[0].0.items(), batches[0].1.auth("tenant")), (2, &["forty".to_owned()][..]));
}

#[tokio::test]
async fn tls_serves_it_too() {
    let (server, connector) = secured_on(Protocols::Grpc, "localhost", ServerLimits::default()).await;
    let target = Target::Tcp("localhost".to_owned(), server.address.port());
    let client = GrpcClient::new(GrpcSettings { tls: Some(connector), ..GrpcSettings::new(target) });
    let client = client.expect("client");
    for items in [1, 100, 20_000] {
        within(client.export(&sample(Signal::Logs, items))).await.expect("accepted");
    }
    assert_eq!(server.pipeline.payloads().iter().map(|p| p.items()).sum::<usize>(), 20_101);
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..settings(ServerLimits::default()) }).await;
    server.pipeline.open.send_replace(false);
    let mut raw = raw(&server).await;
    let (response, mut body) = raw.call();
    body.send_data(framed(false, &sample(Signal::Logs, 1).to_bytes()).into(), true).expect("sent");
    within(server.pipeline.holds(1)).await;
    body.send_reset(h2::Reason::CANCEL);
    drop(response);
    let (response, mut body) = raw.call();
    body.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 1, 2]), false).expect("sent");
    body.send_reset(h2::Reason::CANCEL);
    drop(response);
    // The third arrives behind the two resets.
    let (third, mut body) = raw.call();
    body.send_data(framed(false, &sample(Signal::Logs, 1).to_bytes()).into(), true).expect("sent");
    within(server.pipeline.holds(2)).await;
    server.pipeline.open.send_replace(true);
    within(third).await.expect("answered");
    server.pipeline.batches.lock().expect("lock").clear();
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn http_1_on_a_grpc_port_is_told_to_go() {
    let server = start(settings(ServerLimits::default())).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(b"POST /v1/logs HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("this port speaks HTTP/2 only"), "{text:?}");
}
