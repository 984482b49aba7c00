//! The clients: what they send, to whom, and their connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weir_component::{ClientAuth, Context, Failure, Kind, Status, async_trait};
use weir_otlp::Listener;
use weir_otlp::client::{
    Compression, Format, GrpcClient, GrpcSettings, HttpClient, HttpSettings, KeepAlive, Target,
};
use weir_otlp::encoding::Encoding;
use weir_otlp::server::ServerSettings;
use weir_pdata::{Payload, Signal};

use crate::limits::Log;
use crate::support::{logs_request, noise, sample, serve, start, start_with, within};
use crate::tls::identity;

const GRPC_COMPRESSIONS: [Compression; 5] = [
    Compression::NONE,
    Compression::GZIP,
    Compression { encoding: Encoding::Zstd, level: None },
    Compression { encoding: Encoding::Deflate, level: Some(6) },
    Compression { encoding: Encoding::SnappyFramed, level: None },
];

const HTTP_COMPRESSIONS: [Compression; 8] = [
    Compression::NONE,
    Compression::GZIP,
    Compression { encoding: Encoding::Zstd, level: Some(3) },
    Compression { encoding: Encoding::Deflate, level: Some(6) },
    Compression { encoding: Encoding::Zlib, level: None },
    Compression { encoding: Encoding::Snappy, level: None },
    Compression { encoding: Encoding::SnappyFramed, level: None },
    Compression { encoding: Encoding::Lz4, level: None },
];

pub(crate) fn grpc_client(address: SocketAddr, change: impl FnOnce(&mut GrpcSettings)) -> GrpcClient {
    let mut settings = GrpcSettings::new(Target::parse(&address.to_string()).expect("target"));
    change(&mut settings);
    GrpcClient::new(settings).expect("client")
}

pub(crate) fn http_client(url: &str, change: impl FnOnce(&mut HttpSettings)) -> HttpClient {
    let mut settings = HttpSettings::new(url);
    change(&mut settings);
    HttpClient::new(settings).expect("client")
}

fn merged() -> Payload {
    let mut payload = sample(Signal::Logs, 2);
    for n in [1, 2, 3] {
        payload.append(logs_request(n, |_| noise(300_000)).into()).expect("same signal");
        payload.append(sample(Signal::Logs, 1)).expect("same signal");
    }
    payload
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_signals_and_compressions_arrive_over_grpc_as_they_were_sent() {
    let server = start(ServerSettings::default()).await;
    for compression in GRPC_COMPRESSIONS {
        let client = grpc_client(server.address, |s| s.compression = compression);
        for payload in Signal::ALL.map(|s| sample(s, 5)).into_iter().chain([merged()]) {
            within(client.export(&payload)).await.expect("accepted");
            let arrived = server.pipeline.payloads().pop().expect("arrived");
            assert_eq!((arrived.signal(), arrived.to_bytes()), (payload.signal(), payload.to_bytes()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_signals_and_compressions_arrive_over_http_as_they_were_sent() {
    let server = start(ServerSettings::default()).await;
    for (compression, format) in
        HTTP_COMPRESSIONS.into_iter().flat_map(|c| [(c, Format::Protobuf), (c, Format::Json)])
    {
        for payload in Signal::ALL.map(|s| sample(s, 5)).into_iter().chain([merged()]) {
            let client = http_client(&server.url(payload.signal().path()), |s| {
                s.compression = compression;
                s.format = format;
            });
            within(client.export(&payload)).await.expect("accepted");
            let arrived = server.pipeline.payloads().pop().expect("arrived");
            assert_eq!((arrived.signal(), arrived.items()), (payload.signal(), payload.items()));
            if format == Format::Protobuf {
                assert_eq!(arrived.to_bytes(), payload.to_bytes());
            }
        }
    }
}

#[tokio::test]
async fn an_empty_host_is_this_machine_over_both_protocols() {
    let server = start(ServerSettings::default()).await;
    let port = server.address.port();
    let http = http_client(&format!("http://:{port}/v1/logs"), |_| ());
    within(http.export(&sample(Signal::Logs, 1))).await.expect("accepted");
    let settings = GrpcSettings::new(Target::parse(&format!(":{port}")).expect("target"));
    let grpc = GrpcClient::new(settings).expect("client");
    within(grpc.export(&sample(Signal::Logs, 1))).await.expect("accepted");
}

#[tokio::test]
async fn metadata_and_user_agent_are_sent() {
    let server = start(ServerSettings { include_metadata: true, ..ServerSettings::default() }).await;
    let headers = vec![("x-tenant".parse().expect("name"), HeaderValue::from_static("blue"))];
    let grpc = grpc_client(server.address, |s| s.headers = headers.clone());
    grpc.export(&sample(Signal::Logs, 1)).await.expect("accepted");
    let url = server.url("/v1/logs").replace("http://", "http://me:secret@");
    http_client(&url, |s| s.headers = headers).export(&sample(Signal::Logs, 1)).await.expect("accepted");
    for (_, context) in &*server.pipeline.batches.lock().expect("lock") {
        assert_eq!(context.metadata("x-tenant"), ["blue"]);
        assert!(context.metadata("user-agent")[0].starts_with("weir/"));
        if context.transport == "http" {
            assert_eq!(context.metadata("authorization"), ["Basic bWU6c2VjcmV0"]);
        }
    }
}

#[tokio::test]
async fn failures_keep_their_kind_status_and_delay_over_both_protocols() {
    let server = start(ServerSettings::default()).await;
    let grpc = grpc_client(server.address, |_| ());
    let http = http_client(&server.url("/v1/logs"), |_| ());
    let cases = [
        (Failure::retry("full"), Kind::Retry(None), Status::Unavailable),
        (
            Failure::retry_after("later", Duration::from_secs(3)),
            Kind::Retry(Some(Duration::from_secs(3))),
            Status::Unavailable,
        ),
        (
            Failure::permanent("no").with_status(Status::InvalidArgument),
            Kind::Permanent,
            Status::InvalidArgument,
        ),
        (
            Failure::permanent("no").with_status(Status::Unauthenticated),
            Kind::Permanent,
            Status::Unauthenticated,
        ),
    ];
    for (failure, kind, status) in cases {
        *server.pipeline.outcome.lock().expect("lock") = Err(failure.clone());
        for heard in
            [grpc.export(&sample(Signal::Logs, 1)).await, http.export(&sample(Signal::Logs, 1)).await]
        {
            let heard = heard.expect_err("refused");
            assert_eq!((heard.kind(), heard.status()), (kind, Some(status)), "{heard}");
            assert!(heard.message().contains(failure.message()), "{heard}");
        }
    }
}

#[tokio::test]
async fn a_lost_connection_is_replaced_when_the_server_is_back() {
    let server = start(ServerSettings::default()).await;
    let address = server.address;
    let client = grpc_client(address, |s| s.wait_for_ready = true);
    client.export(&sample(Signal::Logs, 1)).await.expect("accepted");
    within(server.stopped()).await;
    let listener = Listener::tcp(&address.to_string()).await.expect("the port is free again");
    let again = serve(listener, ServerSettings::default(), &Signal::ALL);
    within(client.export(&sample(Signal::Logs, 2))).await.expect("accepted");
    assert_eq!(again.pipeline.payloads().len(), 1);
}

#[tokio::test]
async fn an_absent_server_is_a_retryable_failure_with_the_reason() {
    let address = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("address");
    let grpc = grpc_client(address, |_| ());
    // The second attempt does not try to connect: the first has just failed.
    for _ in 0..2 {
        let failure = grpc.export(&sample(Signal::Logs, 1)).await.expect_err("nobody there");
        assert_eq!((failure.kind(), failure.status()), (Kind::Retry(None), Some(Status::Unavailable)));
        assert!(failure.message().contains("connection refused"), "{failure}");
    }
    let http = http_client(&format!("http://me:secret@{address}/v1/logs?token=hidden"), |_| ());
    let failure = http.export(&sample(Signal::Logs, 1)).await.expect_err("nobody there");
    assert!(failure.is_retryable());
    let text = failure.message();
    assert!(
        text.contains(&format!("Post \"http://{address}/v1/logs\"")) && text.contains("connection refused"),
        "{text}"
    );
    assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
}

/// Sets headers that are none of its business.
struct Meddler(Vec<(HeaderName, HeaderValue)>);

#[async_trait]
impl ClientAuth for Meddler {
    async fn sign(&self, headers: &mut HeaderMap, _: &Context) -> Result<(), Failure> {
        self.0.iter().for_each(|(name, value)| drop(headers.insert(name, value.clone())));
        Ok(())
    }
}

#[tokio::test]
async fn headers_that_frame_a_request_are_left_out_whoever_sets_them_and_the_log_says_so() {
    let (log, _logging) = Log::listen();
    let server = start(ServerSettings { include_metadata: true, ..ServerSettings::default() }).await;
    let url = format!("http://{}/v1/logs", server.address);
    let wrong = [("content-length", "0"), ("transfer-encoding", "chunked"), ("trailer", "x")];
    let of_connections =
        [("connection", "x-tenant"), ("keep-alive", "5"), ("upgrade", "h2c"), ("te", "gzip")];
    let headers = |list: &[(&'static str, &'static str)]| -> Vec<(HeaderName, HeaderValue)> {
        let all = list.iter().chain(&[("x-tenant", "forty")]);
        all.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    };
    let (of_http, of_grpc) = (headers(&wrong), headers(&[&wrong[..], &of_connections].concat()));
    for signed in [false, true] {
        let http = http_client(&url, |s| match signed {
            true => s.auth = Some(Arc::new(Meddler(of_http.clone()))),
            false => s.headers.clone_from(&of_http),
        });
        let grpc = grpc_client(server.address, |s| match signed {
            true => s.auth = Some(Arc::new(Meddler(of_grpc.clone()))),
            false => s.headers.clone_from(&of_grpc),
        });
        within(http.export(&sample(Signal::Logs, 3))).await.expect("accepted");
        within(grpc.export(&sample(Signal::Logs, 4))).await.expect("accepted");
    }
    let items: Vec<_> = server.pipeline.payloads().iter().map(Payload::items).collect();
    assert_eq!(items, [3, 4, 3, 4]);
    for (_, context) in server.pipeline.batches.lock().expect("lock").iter() {
        assert_eq!(context.metadata("x-tenant"), ["forty"]);
    }
    let said = log.0.lock().expect("lock").clone();
    assert_eq!(
        said.matches("a header of `headers` is one that the protocol sets itself").count(),
        10,
        "{said}"
    );
    assert!(said.contains(&format!("endpoint=\"{url}\" header=content-length")), "{said}");
}

/// A server that greets its clients and says nothing from then on.
async fn silent_server() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(h2::server::handshake(stream).await.expect("greeted"));
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn an_export_may_be_cancelled_and_the_client_stays_usable() {
    let server = start(ServerSettings::default()).await;
    let client = grpc_client(server.address, |_| ());
    server.pipeline.open.send_replace(false);
    for _ in 0..5 {
        let gave_up =
            tokio::time::timeout(Duration::from_millis(20), client.export(&sample(Signal::Logs, 1))).await;
        assert!(gave_up.is_err());
    }
    server.pipeline.open.send_replace(true);
    within(client.export(&sample(Signal::Logs, 7))).await.expect("accepted");
    assert_eq!(server.pipeline.payloads().last().map(Payload::items), Some(7));
}

#[tokio::test]
async fn a_request_over_http_1_that_is_given_up_is_not_written_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/v1/logs", listener.local_addr().expect("address"));
    let client = http_client(&url, |settings| settings.compression = Compression::NONE);
    let payload: Payload = logs_request(1, |_| noise(20 << 20)).into();
    let begun = async {
        let (stream, _) = listener.accept().await.expect("accepted");
        assert_eq!(stream.peek(&mut [0]).await.expect("a request"), 1);
        stream
    };
    let given_up = async {
        tokio::select! {
            _ = client.export(&payload) => panic!("nobody has read it"),
            stream = begun => stream,
        }
    };
    let mut stream = within(given_up).await;
    let (mut taken, mut part) = (0, vec![0; 1 << 20]);
    let end = loop {
        match within(stream.read(&mut part)).await {
            Ok(read) if read > 0 => taken += read,
            end => break end,
        }
    };
    assert!(taken < 20 << 20, "{taken} bytes, then {end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_http_that_is_not_made_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("https://localhost:{}/v1/logs", listener.local_addr().expect("address").port());
    let (_, tls) = identity("localhost");
    let client =
        http_client(&url, |settings| settings.tls = Some(tls.connector(&["http/1.1"]).expect("settings")));
    let payload = sample(Signal::Logs, 1);
    let (failure, _silent) = tokio::join!(client.export(&payload), listener.accept());
    let failure = failure.expect_err("it says nothing");
    assert!(failure.is_retryable() && failure.message().contains("no connection within 20s"), "{failure}");
}

#[tokio::test]
async fn a_ping_without_answer_ends_the_connection() {
    let (address, _tasks) = silent_server().await;
    let keep_alive = KeepAlive {
        time: Duration::from_millis(10),
        timeout: Duration::from_millis(10),
        permit_without_stream: false,
    };
    let client = grpc_client(address, |s| s.keep_alive = Some(keep_alive));
    let failure = within(client.export(&sample(Signal::Logs, 1))).await.expect_err("no answer");
    assert_eq!(failure.status(), Some(Status::Unavailable));
}

#[tokio::test]
async fn a_missing_service_is_a_permanent_failure() {
    let server = start_with(ServerSettings::default(), &[Signal::Logs]).await;
    let failure =
        grpc_client(server.address, |_| ()).export(&sample(Signal::Traces, 1)).await.expect_err("refused");
    assert_eq!((failure.kind(), failure.status()), (Kind::Permanent, Some(Status::Unimplemented)));
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_when_the_client_is_made() {
    for url in ["localhost:4318", "ftp://x", "https://x/"] {
        assert!(HttpClient::new(HttpSettings::new(url)).is_err(), "{url}");
    }
    let mut settings = GrpcSettings::new(Target::parse("x:1").expect("target"));
    settings.user_agent = "a\nb".into();
    assert!(GrpcClient::new(settings).is_err());
}

#[tokio::test]
async fn unix_sockets_carry_grpc() {
    let directory = std::env::temp_dir().join(format!("weir-otlp-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("directory");
    let path = directory.join("otlp.sock");
    let listener = Listener::unix(path.to_str().expect("text")).await.expect("bound");
    let server = serve(listener, ServerSettings::default(), &Signal::ALL);
    let client = GrpcClient::new(GrpcSettings::new(Target::Unix(path.clone()))).expect("client");
    client.export(&sample(Signal::Metrics, 3)).await.expect("accepted");
    assert_eq!(server.pipeline.payloads()[0].items(), 3);
    within(server.stopped()).await;
    std::fs::remove_dir_all(&directory).expect("removed");
}
