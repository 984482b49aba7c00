//! The gRPC server against tonic's client and against raw bytes.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};
use weir_component::Failure;
use weir_otlp::encoding::Encoding;
use weir_otlp::server::{Protocols, ServerSettings};
use weir_pdata::Signal;

use crate::support::{Server, framed, grpc, h2_client, http, logs_request, noise, sample, start, start_with};

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A port of its own has a server of its own.
const PORTS: [Protocols; 2] = [Protocols::Grpc, Protocols::Both];

fn on(protocols: Protocols) -> ServerSettings {
    ServerSettings { protocols, ..ServerSettings::default() }
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(server.url("")).expect("endpoint").connect().await.expect("connected")
}

async fn logs_client(server: &Server) -> LogsServiceClient<Channel> {
    LogsServiceClient::new(channel(server).await)
}

fn code(headers: &http::HeaderMap) -> i32 {
    headers["grpc-status"].to_str().expect("text").parse().expect("a number")
}

fn message(headers: &http::HeaderMap) -> &str {
    headers["grpc-message"].to_str().expect("text")
}

#[tokio::test]
async fn tonic_exports_all_signals_and_every_item_arrives() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let channel = channel(&server).await;
        let traces = sample(Signal::Traces, 3);
        TraceServiceClient::new(channel.clone()).export(traces.decode_traces()).await.expect("accepted");
        MetricsServiceClient::new(channel.clone())
            .export(sample(Signal::Metrics, 4).decode_metrics())
            .await
            .expect("accepted");
        let answer = LogsServiceClient::new(channel)
            .export(sample(Signal::Logs, 5).decode_logs())
            .await
            .expect("accepted");
        assert_eq!(answer.into_inner().partial_success, None);
        let payloads = server.pipeline.payloads();
        assert_eq!(
            payloads.iter().map(|p| (p.signal(), p.items())).collect::<Vec<_>>(),
            [(Signal::Traces, 3), (Signal::Metrics, 4), (Signal::Logs, 5)]
        );
        assert_eq!(payloads[0].decode_traces(), traces.decode_traces());
    }
}

#[tokio::test]
async fn tonic_may_compress_with_gzip_and_zstd() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let request = logs_request(1000, |i| format!("line {i}"));
        for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            let mut client = logs_client(&server).await.send_compressed(encoding).accept_compressed(encoding);
            client.export(request.clone()).await.expect("accepted");
        }
        assert!(server.pipeline.payloads().iter().all(|p| p.decode_logs() == request));
        assert_eq!(server.pipeline.payloads().len(), 2);
    }
}

#[tokio::test]
async fn many_requests_at_once_on_one_connection_are_all_answered() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let client = logs_client(&server).await;
        let requests = (1..=200).map(|n| {
            let mut client = client.clone();
            async move { client.export(logs_request(n, |_| noise(50))).await.expect("accepted") }
        });
        futures_util::future::join_all(requests).await;
        assert_eq!(
            server.pipeline.payloads().iter().map(|p| p.items()).sum::<usize>(),
            (1..=200usize).sum::<usize>()
        );
    }
}

#[tokio::test]
async fn failures_of_the_pipeline_reach_the_client_with_their_status_and_delay() {
    for protocols in PORTS {
        use weir_component::Status;
        let server = start(on(protocols)).await;
        let mut client = logs_client(&server).await;
        let cases = [
            (Failure::retry("queue is full"), Code::Unavailable, false),
            (Failure::abandoned("dropped"), Code::Unavailable, false),
            (Failure::permanent("bad data"), Code::Internal, false),
            (Failure::permanent("no").with_status(Status::PermissionDenied), Code::PermissionDenied, false),
            (Failure::retry("busy").with_status(Status::ResourceExhausted), Code::ResourceExhausted, true),
            (Failure::retry_after("later", std::time::Duration::from_secs(7)), Code::Unavailable, true),
        ];
        for (failure, code, has_details) in cases {
            *server.pipeline.outcome.lock().expect("lock") = Err(failure.clone());
            let status = client.export(sample(Signal::Logs, 1).decode_logs()).await.expect_err("refused");
            assert_eq!((status.code(), status.message()), (code, failure.message()));
            assert_eq!(!status.details().is_empty(), has_details, "{failure}");
        }
    }
}

#[tokio::test]
async fn a_request_without_items_is_accepted_and_does_not_enter_the_pipeline() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let mut client = logs_client(&server).await;
        client.export(logs_request(0, |_| String::new())).await.expect("accepted");
        client.export(weir_pdata::otlp::LogsRequest::default()).await.expect("accepted");
        assert!(server.pipeline.payloads().is_empty());
    }
}

#[tokio::test]
async fn signals_without_a_pipeline_do_not_exist() {
    for protocols in PORTS {
        let server = start_with(on(protocols), &[Signal::Logs]).await;
        let mut traces = TraceServiceClient::new(channel(&server).await);
        let status = traces.export(sample(Signal::Traces, 1).decode_traces()).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), "unknown service opentelemetry.proto.collector.trace.v1.TraceService");
        let (_, headers) = grpc(
            server.address,
            "/opentelemetry.proto.collector.logs.v1.LogsService/Drop",
            &[],
            &framed(false, b""),
        )
        .await;
        assert_eq!(code(&headers), 12);
        assert_eq!(
            message(&headers),
            "unknown method Drop for service opentelemetry.proto.collector.logs.v1.LogsService"
        );
        let (_, headers) = grpc(server.address, "/nothing", &[], b"").await;
        assert_eq!(code(&headers), 12);
    }
}

#[tokio::test]
async fn what_a_caller_says_is_not_repeated_at_length() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let long = "%".repeat(4000);
        let of_logs = format!("/opentelemetry.proto.collector.logs.v1.LogsService/{long}");
        for path in [format!("/{long}/x"), format!("/{long}"), of_logs] {
            let (_, headers) = grpc(server.address, &path, &[], b"").await;
            assert_eq!(code(&headers), 12);
            assert!(headers["grpc-message"].len() < 500, "{headers:?}");
        }
        let (_, headers) = grpc(server.address, LOGS, &[("grpc-encoding", &long)], b"").await;
        assert_eq!(code(&headers), 12);
        assert!(headers["grpc-message"].len() < 500, "{headers:?}");
    }
}

#[tokio::test]
async fn malformed_messages_are_internal_errors_and_never_retried() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let bad_id = [0x0a, 0x07, 0x12, 0x05, 0x12, 0x03, 0x4a, 0x01, 0x01];
        for body in [&[0x0a, 9, 1][..], &[0xff], &bad_id] {
            let (status, headers) = grpc(server.address, LOGS, &[], &framed(false, body)).await;
            assert_eq!((status.as_u16(), code(&headers)), (200, 13));
            assert!(
                message(&headers).starts_with("grpc: error unmarshalling request: malformed"),
                "{headers:?}"
            );
        }
        assert!(server.pipeline.payloads().is_empty());
    }
}

#[tokio::test]
async fn frames_that_are_not_one_message_are_refused() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let two = [framed(false, b""), framed(false, b"")].concat();
        for body in [&b""[..], &[0, 0, 0], &[0, 0, 0, 0, 9, 1], &[7, 0, 0, 0, 0], &two, &framed(true, b"x")] {
            let (_, headers) = grpc(server.address, LOGS, &[], body).await;
            assert_eq!(code(&headers), 13, "{body:?}: {headers:?}");
        }
    }
}

#[tokio::test]
async fn unknown_and_damaged_encodings_are_refused() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let (_, headers) = grpc(server.address, LOGS, &[("grpc-encoding", "br")], &framed(true, b"x")).await;
        assert_eq!(code(&headers), 12);
        assert_eq!(message(&headers), "grpc: Decompressor is not installed for grpc-encoding \"br\"");
        assert!(headers["grpc-accept-encoding"].to_str().expect("text").contains("gzip"));
        for name in ["gzip", "zstd", "deflate"] {
            let (_, headers) =
                grpc(server.address, LOGS, &[("grpc-encoding", name)], &framed(true, b"no such thing")).await;
            assert_eq!(code(&headers), 13, "{name}");
        }
    }
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_before_and_after_decompression() {
    for protocols in PORTS {
        let server = start(ServerSettings { max_message: 1 << 20, ..on(protocols) }).await;
        let mut client = logs_client(&server).await;
        let status = client.export(logs_request(1, |_| noise(1 << 20))).await.expect_err("refused");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(
            status.message().starts_with("grpc: received message larger than max ("),
            "{}",
            status.message()
        );
        assert!(status.details().is_empty(), "a retry would be refused again");
        let bomb = logs_request(1, |_| "0".repeat(8 << 20));
        for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            let status =
                client.clone().send_compressed(encoding).export(bomb.clone()).await.expect_err("refused");
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(
                status.message(),
                "grpc: received message after decompression larger than max 1048576"
            );
        }
        client.export(logs_request(1, |_| noise(1 << 19))).await.expect("the connection is still good");
        assert_eq!(server.pipeline.payloads().len(), 1);
    }
}

#[tokio::test]
async fn values_nested_over_64_levels_are_refused() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let mut body = vec![0x0a, 0];
        for _ in 0..70 {
            for tag in [0x2a, 0x0a] {
                let mut outer = vec![tag];
                prost::encoding::encode_varint(body.len() as u64, &mut outer);
                outer.append(&mut body);
                body = outer;
            }
        }
        for tag in [0x2a, 0x12, 0x12, 0x0a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(body.len() as u64, &mut outer);
            outer.append(&mut body);
            body = outer;
        }
        let (_, headers) = grpc(server.address, LOGS, &[], &framed(false, &body)).await;
        assert_eq!(code(&headers), 13, "{headers:?}");
    }
}

#[tokio::test]
async fn metadata_enters_the_context_only_when_asked_for() {
    for protocols in PORTS {
        for include_metadata in [false, true] {
            let server = start(ServerSettings { include_metadata, ..on(protocols) }).await;
            let mut request = Request::new(sample(Signal::Logs, 1).decode_logs());
            request.metadata_mut().insert("x-tenant", "blue".parse().expect("value"));
            logs_client(&server).await.export(request).await.expect("accepted");
            let (_, context) = server.pipeline.batches.lock().expect("lock")[0].clone();
            let expected: &[String] = if include_metadata { &["blue".to_owned()] } else { &[] };
            assert_eq!(context.metadata("X-Tenant"), expected);
            assert_eq!(context.metadata("host").len(), usize::from(include_metadata));
            assert_eq!(context.transport, "grpc");
            assert!(context.peer.is_some_and(|peer| peer.ip().is_loopback()));
        }
    }
}

#[tokio::test]
async fn a_grpc_port_refuses_http_and_an_http_port_knows_no_grpc() {
    let server = start(ServerSettings { protocols: Protocols::Http, ..ServerSettings::default() }).await;
    let (status, headers) = grpc(server.address, LOGS, &[], &framed(false, b"")).await;
    assert_eq!(status.as_u16(), 404);
    assert!(!headers.contains_key("grpc-status"));
    let server = start(ServerSettings { protocols: Protocols::Grpc, ..ServerSettings::default() }).await;
    let (mut sender, _driver) = h2_client(server.address).await;
    let request =
        http::Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
    let (response, _) = sender.send_request(request.body(()).expect("request"), true).expect("sent");
    assert_eq!(response.await.expect("response").status().as_u16(), 415);
}

#[tokio::test]
async fn both_protocols_share_a_port() {
    let server = start(ServerSettings::default()).await;
    logs_client(&server).await.export(sample(Signal::Logs, 1).decode_logs()).await.expect("accepted");
    let request =
        http::Request::post(server.url("/v1/logs")).header("content-type", "application/x-protobuf");
    assert_eq!(http(request, sample(Signal::Logs, 2).to_bytes()).await.0.as_u16(), 200);
    assert_eq!(server.pipeline.payloads().len(), 2);
}

#[tokio::test]
async fn headers_over_16_kib_are_refused() {
    for protocols in PORTS {
        let server = start(on(protocols)).await;
        let big = "x".repeat(20 << 10);
        let (status, _) = grpc(server.address, LOGS, &[("x-big", &big)], &framed(false, b"")).await;
        assert_eq!(status.as_u16(), 431);
    }
}

#[tokio::test]
async fn a_connection_may_be_reused_after_every_kind_of_refusal() {
    for protocols in PORTS {
        let server = start(ServerSettings { max_message: 1000, ..on(protocols) }).await;
        let mut client = logs_client(&server).await;
        for _ in 0..20 {
            client.export(logs_request(1, |_| noise(2000))).await.expect_err("refused");
            client.export(logs_request(1, |_| noise(10))).await.expect("accepted");
        }
        let mut gzip = Vec::new();
        Encoding::Gzip.compress(b"\x0a\x09\x01", None, &mut gzip).expect("compressed");
        let (_, headers) =
            grpc(server.address, LOGS, &[("grpc-encoding", "gzip")], &Bytes::from(framed(true, &gzip))).await;
        assert_eq!(code(&headers), 13);
    }
}
