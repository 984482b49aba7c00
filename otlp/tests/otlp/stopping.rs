//! Orderly and hard ends of a server.

use http::Request;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use weir_component::Budget;
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::ServerSettings;
use weir_pdata::Signal;

use crate::support::{BESIDE, http, sample, start, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_are_answered_before_the_server_ends() {
    let server = start(ServerSettings::default()).await;
    server.pipeline.open.send_replace(false);
    let mut waiting = JoinSet::new();
    let channel = Channel::from_shared(server.url("")).expect("endpoint").connect().await.expect("connected");
    let mut client = LogsServiceClient::new(channel);
    waiting.spawn(async move { client.export(sample(Signal::Logs, 1).decode_logs()).await.is_ok() });
    let request = Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
    waiting.spawn(async move { http(request, sample(Signal::Logs, 1).to_bytes()).await.0.is_success() });
    within(server.pipeline.holds(2)).await;
    drop(server.stopper);
    // Wait until the port is closed: from then on nobody new is served.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished(), "two requests wait");
    server.pipeline.open.send_replace(true);
    assert_eq!(within(waiting.join_all()).await, [true, true]);
    within(server.task).await.expect("ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = start(ServerSettings::default()).await;
    let channel = Channel::from_shared(server.url("")).expect("endpoint").connect().await.expect("connected");
    let mut client = LogsServiceClient::new(channel);
    client.export(sample(Signal::Logs, 1).decode_logs()).await.expect("accepted");
    let silent = TcpStream::connect(server.address).await.expect("connected");
    within(server.stopped()).await;
    drop((client, silent));
}

#[tokio::test]
async fn dropping_the_server_closes_its_connections_and_abandons_nothing_silently() {
    let server = start(ServerSettings::default()).await;
    server.pipeline.open.send_replace(false);
    let channel = Channel::from_shared(server.url("")).expect("endpoint").connect().await.expect("connected");
    let mut client = LogsServiceClient::new(channel);
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { client.export(sample(Signal::Logs, 1).decode_logs()).await });
    within(server.pipeline.holds(1)).await;
    server.task.abort();
    let answers = within(waiting.join_all()).await;
    assert!(answers.iter().all(Result::is_err), "the sender hears of it");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let limits = ServerLimits { max_connections: 1, ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let first = Channel::from_shared(server.url("")).expect("endpoint").connect().await.expect("connected");
    LogsServiceClient::new(first.clone())
        .export(sample(Signal::Logs, 1).decode_logs())
        .await
        .expect("accepted");
    let mut second = JoinSet::new();
    let request = Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
    second.spawn(async move { http(request, sample(Signal::Logs, 1).to_bytes()).await.0 });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.pipeline.payloads().len(), 1);
    drop(first);
    assert!(within(second.join_next()).await.expect("a task").expect("ended").is_success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_arrives_does_not_hold_up_the_end() {
    let server = start(ServerSettings::default()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let head = "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\
        Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    // The server reads the body from here on: a connection that it has not accepted yet would only be reset.
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    within(stream.read_exact(&mut go_on)).await.expect("read");
    stream.write_all(&[0x0a]).await.expect("written");
    drop(server.stopper);
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    within(server.task).await.expect("ended");
}

#[tokio::test]
async fn what_does_not_fit_into_the_budget_is_refused_for_now_and_room_comes_back() {
    let budget = Budget::default();
    budget.set_limit(100_000);
    let mut others = budget.reserve(99_000).expect("room");
    let server = start(ServerSettings { budget: budget.clone(), ..ServerSettings::default() }).await;
    let post = |items| {
        let request = Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
        http(request, sample(Signal::Logs, items).to_bytes())
    };
    assert_eq!(within(post(1000)).await.0, http::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((server.pipeline.payloads().len(), budget.held()), (0, 99_000));
    others.shrink_to(0);
    assert!(within(post(1)).await.0.is_success());
    let held = budget.held();
    assert_eq!(held, BESIDE + sample(Signal::Logs, 1).encoded_len(), "the pipeline keeps it");
    within(server.stopped()).await;
    assert_eq!(budget.held(), 0);
}
