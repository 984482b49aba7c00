//! The clients against our server and against servers that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weir_component::{Accepted, ClientAuth, Context, Failure, Kind, Status, Stop, Stopper, async_trait};
use weir_otlp::client::{
    Compression, Format, GrpcClient, GrpcSettings, HttpClient, HttpSettings, KeepAlive, Target,
};
use weir_otlp::encoding::Encoding;
use weir_otlp::http_server::{self, ServerLimits};
use weir_otlp::server::ServerSettings;
use weir_otlp::{Body, Listener};
use weir_pdata::{Payload, Signal};

use crate::limits::Log;
use crate::support::{framed, logs_request, noise, sample, serve, start, start_with, within};
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

fn grpc_client(address: SocketAddr, change: impl FnOnce(&mut GrpcSettings)) -> GrpcClient {
    let mut settings = GrpcSettings::new(Target::parse(&address.to_string()).expect("target"));
    change(&mut settings);
    GrpcClient::new(settings).expect("client")
}

fn http_client(url: &str, change: impl FnOnce(&mut HttpSettings)) -> HttpClient {
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
async fn an_answer_with_hundreds_of_headers_is_one() {
    let (address, _stopper, _tasks) = scripted(|_| {
        let mut response = http_server::respond(StatusCode::OK, "application/json", b"{}".to_vec());
        for n in 0..500 {
            response
                .headers_mut()
                .append("set-cookie", HeaderValue::from_str(&format!("c{n}=1")).expect("text"));
        }
        response
    })
    .await;
    let client = http_client(&format!("http://{address}/v1/logs"), |_| ());
    within(client.export(&sample(Signal::Logs, 1))).await.expect("accepted");
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

/// A server that answers every request with what `answer` says.
async fn scripted<F>(answer: F) -> (SocketAddr, Stopper, JoinSet<()>)
where
    F: Fn(http::Request<()>) -> Response<Body> + Send + Sync + 'static,
{
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let (stopper, stop) = Stop::new();
    let answer = Arc::new(answer);
    let mut tasks = JoinSet::new();
    tasks.spawn(http_server::serve(listener, None, ServerLimits::default(), stop, move |request, _| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request.into_parts();
            drop(http_body_util::BodyExt::collect(body).await);
            answer(http::Request::from_parts(head, ()))
        }
    }));
    (address, stopper, tasks)
}

fn grpc_answer(code: u8, headers: &[(&'static str, &str)], body: Vec<u8>) -> Response<Body> {
    let mut response = http_server::respond(StatusCode::OK, "application/grpc", body);
    response.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(code)));
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("value"));
    }
    response
}

#[tokio::test]
async fn all_seventeen_grpc_codes_are_retried_as_otlp_says() {
    let (address, _stopper, _tasks) = scripted(|request| {
        let code = request.headers()["x-code"].to_str().expect("text").parse().expect("a number");
        let mut headers = vec![("grpc-message", "as%20told")];
        if request.headers().contains_key("x-info") {
            // google.rpc.Status with one RetryInfo of 2 s.
            headers.push((
                "grpc-status-details-bin",
                "GjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAI",
            ));
        }
        grpc_answer(code, &headers, Vec::new())
    })
    .await;
    let delay = Duration::from_secs(2);
    for code in 0..=16u8 {
        for info in [false, true] {
            let mut headers = vec![("x-code".parse().expect("name"), HeaderValue::from(u16::from(code)))];
            if info {
                headers.push(("x-info".parse().expect("name"), HeaderValue::from_static("1")));
            }
            let result = grpc_client(address, |s| s.headers = headers).export(&sample(Signal::Logs, 1)).await;
            let expected = match code {
                0 => {
                    result.expect("accepted");
                    continue;
                }
                1 | 4 | 10 | 11 | 14 | 15 => Kind::Retry(info.then_some(delay)),
                8 if info => Kind::Retry(Some(delay)),
                _ => Kind::Permanent,
            };
            let failure = result.expect_err("refused");
            assert_eq!(
                (failure.kind(), failure.status()),
                (expected, Some(Status::from_code(i64::from(code)))),
                "{code}"
            );
            assert!(failure.message().ends_with("desc = as told"), "{failure}");
        }
    }
}

/// A server of HTTP/2 that reads nothing behind the head of a request, and keeps what it has of it.
async fn bare_server<F>(answer: F) -> (SocketAddr, JoinSet<()>)
where
    F: Fn(&http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) + Copy + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("greeted");
                let mut unread = Vec::new();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    answer(&request, respond);
                    unread.push(request);
                }
            });
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn resets_are_the_statuses_that_grpc_says_and_retried_as_those() {
    let (address, _tasks) = bare_server(|request, mut respond| {
        let code = request.headers()["x-code"].to_str().expect("text").parse::<u32>().expect("a number");
        respond.send_reset(code.into());
    })
    .await;
    for code in 0..=13u32 {
        let headers = vec![("x-code".parse().expect("name"), HeaderValue::from(code))];
        let client = grpc_client(address, |s| s.headers = headers);
        let failure = within(client.export(&sample(Signal::Logs, 1))).await.expect_err("refused");
        let (status, is_retryable) = match code {
            7 => (Status::Unavailable, true),
            8 => (Status::Cancelled, true),
            11 => (Status::ResourceExhausted, false),
            12 => (Status::PermissionDenied, false),
            _ => (Status::Internal, false),
        };
        assert_eq!(
            (failure.status(), failure.is_retryable()),
            (Some(status), is_retryable),
            "{code}: {failure}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_heard_while_the_message_waits_for_its_window() {
    let (address, _tasks) = bare_server(|_, mut respond| {
        let answer =
            Response::builder().header("content-type", "application/grpc").header("grpc-status", "8");
        respond.send_response(answer.body(()).expect("an answer"), true).expect("sent");
    })
    .await;
    let client = grpc_client(address, |s| s.compression = Compression::NONE);
    let payload = Payload::from(logs_request(1, |_| noise(1 << 20)));
    let failure = within(client.export(&payload)).await.expect_err("refused");
    assert_eq!(
        (failure.kind(), failure.status()),
        (Kind::Permanent, Some(Status::ResourceExhausted)),
        "{failure}"
    );
}

#[tokio::test]
async fn a_long_message_is_read_with_its_status_and_shortened() {
    let (address, _tasks) = bare_server(|_, mut respond| {
        let answer =
            Response::builder().header("content-type", "application/grpc").header("grpc-status", "3");
        let answer = answer.header("grpc-message", "x".repeat(200_000)).body(()).expect("an answer");
        respond.send_response(answer, true).expect("sent");
    })
    .await;
    let failure =
        within(grpc_client(address, |_| ()).export(&sample(Signal::Logs, 1))).await.expect_err("refused");
    assert_eq!((failure.kind(), failure.status()), (Kind::Permanent, Some(Status::InvalidArgument)));
    assert!(failure.message().len() < 2000);
}

#[tokio::test]
async fn partial_success_is_accepted_with_its_numbers() {
    // partial_success { rejected: 3, error_message: "old" }
    const ANSWER: &[u8] = &[0x0a, 0x07, 0x08, 3, 0x12, 3, b'o', b'l', b'd'];
    let (address, _stopper, _tasks) =
        scripted(|request| match request.headers()["content-type"].as_bytes() {
            b"application/grpc" => grpc_answer(0, &[], framed(false, ANSWER)),
            _ => http_server::respond(StatusCode::OK, "application/x-protobuf", ANSWER),
        })
        .await;
    let http = http_client(&format!("http://{address}/v1/logs"), |_| ());
    for accepted in [
        grpc_client(address, |_| ()).export(&sample(Signal::Logs, 9)).await,
        http.export(&sample(Signal::Logs, 9)).await,
    ] {
        let accepted = accepted.expect("accepted");
        assert_eq!((accepted.rejected, accepted.message.as_str()), (3, "old"));
    }
}

#[tokio::test]
async fn answers_that_are_not_grpc_are_mapped_by_their_http_code() {
    let (address, _stopper, _tasks) = scripted(|request| {
        let code = request.headers()["x-code"].to_str().expect("text").parse::<u16>().expect("a number");
        http_server::respond(StatusCode::from_u16(code).expect("a code"), "text/html", "<html>")
    })
    .await;
    for (code, status) in [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (500, 2),
        (200, 13),
    ] {
        let headers = vec![("x-code".parse().expect("name"), HeaderValue::from(code))];
        let client = grpc_client(address, |s| s.headers = headers);
        let failure = client.export(&sample(Signal::Logs, 1)).await.expect_err("refused");
        assert_eq!(failure.status(), Some(Status::from_code(status)), "{code}");
        assert_eq!(failure.is_retryable(), status == 14, "{code}");
    }
}

#[tokio::test]
async fn http_codes_are_retried_as_otlp_says() {
    let (address, _stopper, _tasks) = scripted(|request| {
        let code = request.uri().path().trim_start_matches('/').parse::<u16>().expect("a number");
        let mut response =
            http_server::respond(StatusCode::from_u16(code).expect("a code"), "text/plain", "too\nbad");
        response.headers_mut().insert("retry-after", HeaderValue::from_static("7"));
        response
    })
    .await;
    let after = Some(Duration::from_secs(7));
    for (code, kind) in [
        (400, Kind::Permanent),
        (401, Kind::Permanent),
        (404, Kind::Permanent),
        (413, Kind::Permanent),
        (429, Kind::Retry(after)),
        (500, Kind::Permanent),
        (501, Kind::Permanent),
        (502, Kind::Retry(None)),
        (503, Kind::Retry(after)),
        (504, Kind::Retry(None)),
    ] {
        let url = format!("http://{address}/{code}");
        let failure = http_client(&url, |_| ()).export(&sample(Signal::Logs, 1)).await.expect_err("refused");
        assert_eq!(failure.kind(), kind, "{code}");
        let expected = format!(
            "error exporting items, request to {url} responded with HTTP Status Code {code}, Message=too bad, Details=[]"
        );
        assert_eq!(failure.message(), expected);
    }
}

#[tokio::test]
async fn huge_answers_are_not_read_to_the_end_and_over_http_the_status_says_whether_they_are_a_success() {
    let (address, _stopper, _tasks) =
        scripted(|request| match request.headers()["content-type"].as_bytes() {
            b"application/grpc" => grpc_answer(0, &[], framed(false, &vec![0; 1 << 20])),
            _ if request.uri().path() == "/error" => {
                http_server::respond(StatusCode::BAD_REQUEST, "text/plain", vec![b'x'; 10 << 20])
            }
            _ => http_server::respond(StatusCode::OK, "application/x-protobuf", vec![0; 1 << 20]),
        })
        .await;
    let grpc = grpc_client(address, |s| s.max_response = 1000);
    let http = http_client(&format!("http://{address}/v1/logs"), |s| s.max_response = 1000);
    let failure = grpc.export(&sample(Signal::Logs, 1)).await.expect_err("as in grpc-go");
    assert!(failure.message().contains("larger than 1000 bytes") && !failure.is_retryable(), "{failure}");
    let accepted = http.export(&sample(Signal::Logs, 1)).await.expect("the backend has it");
    assert_eq!(accepted, Accepted::default());
    let client = http_client(&format!("http://{address}/error"), |_| ());
    let failure = client.export(&sample(Signal::Logs, 1)).await.expect_err("refused");
    assert!(failure.message().len() < 2000);
}

/// What a client makes of an answer of which no more comes than this.
async fn cut_short(answer: &'static str) -> Result<Accepted, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let read = stream.read(&mut [0; 1 << 10]).await.expect("read");
        assert!(read > 0, "a request");
        stream.write_all(answer.as_bytes()).await.expect("written");
        // Until the client leaves.
        drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
    });
    let client = http_client(&format!("http://{address}/v1/logs"), |_| ());
    let outcome = within(client.export(&sample(Signal::Logs, 1))).await;
    within(server.join_next()).await.expect("a server").expect("it was left");
    outcome
}

#[tokio::test]
async fn a_success_whose_body_does_not_come_is_one() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 10\r\n\r\n";
    assert_eq!(cut_short(answer).await.expect("the backend has it"), Accepted::default());
}

#[tokio::test]
async fn a_refusal_whose_body_does_not_come_to_its_end_is_what_its_head_says_with_what_came() {
    let answers = [
        ("HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\n\r\nno", Kind::Permanent),
        (
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 10\r\n\r\nno",
            Kind::Retry(Some(Duration::from_secs(7))),
        ),
    ];
    for (answer, kind) in answers {
        let failure = cut_short(answer).await.expect_err("refused");
        assert_eq!(failure.kind(), kind);
        assert!(failure.message().ends_with("Message=no, Details=[]"), "{failure}");
    }
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_server_only() {
    let (address, _stopper, _tasks) = scripted(|request| {
        let to = match request.uri().path() {
            "/here" => "/there",
            "/loop" => "/loop",
            "/away" => "http://127.0.0.1:1/v1/logs?secret=1",
            _ => return http_server::respond(StatusCode::OK, "text/plain", ""),
        };
        let mut response = http_server::respond(StatusCode::TEMPORARY_REDIRECT, "text/plain", "");
        response.headers_mut().insert("location", HeaderValue::from_static(to));
        response
    })
    .await;
    let export = async |path: &str| {
        http_client(&format!("http://{address}{path}"), |_| ()).export(&sample(Signal::Logs, 1)).await
    };
    export("/here").await.expect("accepted");
    assert!(export("/loop").await.expect_err("refused").message().contains("5 redirects"));
    let failure = export("/away").await.expect_err("refused");
    assert!(
        failure.message().ends_with("redirects to http://127.0.0.1:1/v1/logs: set that as the endpoint"),
        "{failure}"
    );
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
