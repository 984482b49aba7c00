//! What a server takes of its machine at most.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use weir_component::{Budget, Status};
use weir_otlp::client::{Compression, GrpcClient, GrpcSettings, HttpClient, HttpSettings, Target};
use weir_otlp::encoding::Encoding;
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::ServerSettings;
use weir_pdata::Signal;

use crate::support::{Server, logs_request, sample, start, within};
use crate::tls::secured_with;

fn grpc(server: &Server, compression: Compression) -> GrpcClient {
    let target = Target::parse(&server.address.to_string()).expect("target");
    GrpcClient::new(GrpcSettings { compression, ..GrpcSettings::new(target) }).expect("client")
}

fn http(server: &Server, compression: Compression) -> HttpClient {
    HttpClient::new(HttpSettings { compression, ..HttpSettings::new(&server.url("/v1/logs")) })
        .expect("client")
}

#[tokio::test]
async fn what_is_held_is_counted_until_the_last_piece_is_gone() {
    let budget = Budget::default();
    let server = start(ServerSettings { budget: budget.clone(), ..ServerSettings::default() }).await;
    let payload = logs_request(1, |_| "x".repeat(100_000)).into();
    for compression in [Compression::NONE, Compression::GZIP] {
        within(grpc(&server, compression).export(&payload)).await.expect("accepted");
        within(http(&server, compression).export(&payload)).await.expect("accepted");
    }
    let held = server.pipeline.payloads().iter().map(|payload| payload.encoded_len()).sum::<usize>();
    assert!((held..held + 100).contains(&budget.held()), "{} of {held}", budget.held());
    server.pipeline.batches.lock().expect("lock").clear();
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn a_request_for_which_there_is_no_memory_may_be_sent_again_later() {
    let budget = Budget::default();
    budget.set_limit(50_000);
    let server = start(ServerSettings { budget: budget.clone(), ..ServerSettings::default() }).await;
    // 100 KB, of which gzip leaves a few hundred bytes: too much only after decompression.
    let payload = logs_request(1, |_| "x".repeat(100_000)).into();
    for compression in
        [Compression::NONE, Compression::GZIP, Compression { encoding: Encoding::Zstd, level: None }]
    {
        for result in [
            within(grpc(&server, compression).export(&payload)).await,
            within(http(&server, compression).export(&payload)).await,
        ] {
            let failure = result.expect_err("refused");
            assert!(failure.is_retryable() && failure.status() == Some(Status::Unavailable), "{failure}");
            assert!(failure.message().contains("data refused due to high memory usage"), "{failure}");
        }
    }
    assert!(server.pipeline.payloads().is_empty());
    assert_eq!((budget.held(), budget.refused()), (0, 6));
    within(grpc(&server, Compression::NONE).export(&sample(Signal::Logs, 1))).await.expect("accepted");
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_given_up() {
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let (server, _) = secured_with("localhost", limits).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let mut answer = Vec::new();
    let read = within(stream.read_to_end(&mut answer)).await;
    assert!(read.is_err() || answer.is_empty());
}

#[tokio::test]
async fn an_old_connection_is_left_without_losing_a_request() {
    let limits =
        ServerLimits { max_connection_age: Some(Duration::from_millis(30)), ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let client = grpc(&server, Compression::NONE);
    for _ in 0..50 {
        // A request that meets the end of its connection may be sent again, because nobody has worked on it.
        while let Err(failure) = within(client.export(&sample(Signal::Logs, 1))).await {
            assert!(failure.is_retryable(), "{failure}");
        }
        // Long enough for some connections to grow old while nothing and while something is under way.
        drop(tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await);
    }
    assert_eq!(server.pipeline.payloads().len(), 50);
    let batches = server.pipeline.batches.lock().expect("lock");
    let connections: BTreeSet<_> = batches.iter().map(|(_, context)| context.peer).collect();
    assert!(connections.len() > 1, "{connections:?}");
}
