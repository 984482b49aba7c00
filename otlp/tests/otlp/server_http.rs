//! The HTTP server against plain requests.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use weir_component::{Failure, Status};
use weir_otlp::encoding::Encoding;
use weir_otlp::http_server::ServerLimits;
use weir_otlp::server::{Cors, ServerSettings};
use weir_pdata::{Signal, json};

use crate::support::{Server, http, logs_request, noise, sample, start, start_with};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn post(server: &Server, path: &str, content_type: &str) -> http::request::Builder {
    Request::post(server.url(path)).header("content-type", content_type)
}

fn status_json(body: &[u8]) -> (i64, String) {
    let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    (value["code"].as_i64().expect("code"), value["message"].as_str().expect("message").to_owned())
}

#[tokio::test]
async fn protobuf_and_json_of_all_signals_are_taken() {
    let server = start(ServerSettings::default()).await;
    for signal in Signal::ALL {
        let payload = sample(signal, 3);
        let (status, headers, body) = http(post(&server, signal.path(), PROTOBUF), payload.to_bytes()).await;
        assert_eq!((status.as_u16(), &body[..]), (200, &[0x0a, 0][..]), "{signal}");
        assert_eq!(headers["content-type"], PROTOBUF);
        let text = json::from_protobuf(signal, &payload);
        let (status, headers, body) =
            http(post(&server, signal.path(), "Application/JSON; charset=utf-8"), text).await;
        assert_eq!((status.as_u16(), &body[..]), (200, &br#"{"partialSuccess":{}}"#[..]), "{signal}");
        assert_eq!(headers["content-type"], JSON);
        let taken = server.pipeline.payloads();
        let [.., first, second] = &taken[..] else { panic!("two payloads") };
        assert_eq!((first.to_bytes(), first.items()), (payload.to_bytes(), 3));
        assert_eq!(second.items(), 3);
    }
}

#[tokio::test]
async fn the_path_of_a_signal_that_is_not_served_may_be_that_of_another() {
    let settings = ServerSettings::default();
    let mut paths = settings.paths.clone();
    paths[Signal::Logs.index()] = "/v1/traces".to_owned();
    let server = start_with(ServerSettings { paths, ..settings }, &[Signal::Logs]).await;
    let payload = sample(Signal::Logs, 3);
    let (status, ..) = http(post(&server, "/v1/traces", PROTOBUF), payload.to_bytes()).await;
    assert_eq!(status.as_u16(), 200);
    assert_eq!(server.pipeline.payloads()[0].to_bytes(), payload.to_bytes());
    assert_eq!(http(post(&server, "/v1/logs", PROTOBUF), payload.to_bytes()).await.0.as_u16(), 404);
}

#[tokio::test]
async fn bodies_may_be_compressed() {
    let server = start(ServerSettings::default()).await;
    let payload = sample(Signal::Logs, 500);
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zlib, Encoding::Zstd] {
        let mut body = Vec::new();
        encoding.compress(&payload.to_bytes(), None, &mut body).expect("compressed");
        let request = post(&server, "/v1/logs", PROTOBUF).header("content-encoding", encoding.name());
        assert_eq!(http(request, body).await.0.as_u16(), 200);
    }
    assert!(server.pipeline.payloads().iter().all(|p| p.to_bytes() == payload.to_bytes()));
    assert_eq!(server.pipeline.payloads().len(), 4);
}

#[tokio::test]
async fn wrong_paths_methods_and_content_types_get_the_texts_of_the_collector() {
    let server = start_with(ServerSettings::default(), &[Signal::Logs]).await;
    for path in ["/", "/v1/traces", "/v1/logs/", "/v1"] {
        assert_eq!(http(post(&server, path, PROTOBUF), "").await.0.as_u16(), 404, "{path}");
    }
    let (status, headers, body) = http(Request::get(server.url("/v1/logs")), "").await;
    assert_eq!((status.as_u16(), &body[..]), (405, &b"405 method not allowed, supported: [POST]"[..]));
    assert_eq!(
        (&headers["content-type"], &headers["allow"]),
        (&"text/plain".parse().expect("value"), &"POST".parse().expect("value"))
    );
    let expected = b"415 unsupported media type, supported: [application/json, application/x-protobuf]";
    let (status, _, body) = http(post(&server, "/v1/logs", "text/plain"), "").await;
    assert_eq!((status.as_u16(), &body[..]), (415, &expected[..]));
    assert_eq!(http(Request::post(server.url("/v1/logs")), "").await.0.as_u16(), 415);
}

#[tokio::test]
async fn malformed_bodies_are_bad_requests_in_the_format_of_the_request() {
    let server = start(ServerSettings::default()).await;
    let (status, headers, body) = http(post(&server, "/v1/logs", JSON), r#"{"resourceLogs": 7}"#).await;
    assert_eq!((status.as_u16(), &headers["content-type"]), (400, &JSON.parse().expect("value")));
    let (code, message) = status_json(&body);
    assert_eq!(code, 3);
    assert!(message.contains("line 1 column 18") && message.contains("resourceLogs"), "{message}");
    assert_eq!(http(post(&server, "/v1/logs", JSON), "").await.0.as_u16(), 400);
    let (status, headers, body) = http(post(&server, "/v1/logs", PROTOBUF), &[0x0a, 9, 1][..]).await;
    assert_eq!((status.as_u16(), &headers["content-type"]), (400, &PROTOBUF.parse().expect("value")));
    assert_eq!(body[..2], [0x08, 3], "google.rpc.Status with code 3");
    assert!(server.pipeline.payloads().is_empty());
}

#[tokio::test]
async fn values_nested_over_64_levels_are_bad_requests() {
    let server = start(ServerSettings::default()).await;
    let nested = |levels: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{open}{{}}{close}}}]}}]}}]}}"#)
    };
    assert_eq!(http(post(&server, "/v1/logs", JSON), nested(64)).await.0.as_u16(), 200);
    let (status, _, body) = http(post(&server, "/v1/logs", JSON), nested(65)).await;
    assert_eq!(status.as_u16(), 400);
    assert!(status_json(&body).1.contains("64 levels"));
    assert_eq!(http(post(&server, "/v1/logs", JSON), nested(100_000)).await.0.as_u16(), 400);
}

#[tokio::test]
async fn unsupported_and_damaged_encodings_are_bad_requests() {
    let server = start(ServerSettings::default()).await;
    for name in ["br", "identity", "GZIP", "gzip, zstd"] {
        let request = post(&server, "/v1/logs", JSON).header("content-encoding", name);
        let (status, _, body) = http(request, "{}").await;
        assert_eq!(
            (status.as_u16(), status_json(&body)),
            (400, (3, format!("unsupported Content-Encoding: {name}")))
        );
    }
    let request = post(&server, "/v1/logs", JSON).header("content-encoding", "%".repeat(10_000));
    let (status, _, body) = http(request, "{}").await;
    let told = format!("unsupported Content-Encoding: {}...", "%".repeat(128));
    assert_eq!(
        (status.as_u16(), status_json(&body)),
        (400, (3, told)),
        "no answer is as large as it is asked to be"
    );
    let request = post(&server, "/v1/logs", JSON).header("content-encoding", "gzip");
    assert_eq!(http(request, "{}").await.0.as_u16(), 400);
    let only = ServerSettings {
        content_encodings: Some(vec![String::new(), "zstd".into()]),
        ..ServerSettings::default()
    };
    let server = start(only).await;
    let request = post(&server, "/v1/logs", JSON).header("content-encoding", "gzip");
    assert_eq!(http(request, "").await.0.as_u16(), 400);
    assert_eq!(http(post(&server, "/v1/logs", JSON), "{}").await.0.as_u16(), 200);
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_before_and_after_decompression() {
    let server = start(ServerSettings { max_body: 100_000, ..ServerSettings::default() }).await;
    let large = Bytes::from(prost::Message::encode_to_vec(&logs_request(1, |_| noise(100_000))));
    let (status, _, body) = http(post(&server, "/v1/logs", PROTOBUF), large.clone()).await;
    assert_eq!((status.as_u16(), body[1]), (413, 8));
    let zeros = prost::Message::encode_to_vec(&logs_request(1, |_| "0".repeat(50 << 20)));
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
        let mut bomb = Vec::new();
        encoding.compress(&zeros, None, &mut bomb).expect("compressed");
        assert!(bomb.len() < 100_000 || encoding != Encoding::Zstd);
        let request = post(&server, "/v1/logs", PROTOBUF).header("content-encoding", encoding.name());
        assert_eq!(http(request, bomb).await.0.as_u16(), 413, "{encoding:?}");
    }
    assert!(server.pipeline.payloads().is_empty());
}

#[tokio::test]
async fn failures_of_the_pipeline_become_http_codes() {
    let server = start(ServerSettings::default()).await;
    let with = |code: i64| Failure::permanent("x").with_status(Status::from_code(code));
    let mut cases = vec![
        (Failure::retry("full"), 503, 14, None),
        (Failure::permanent("bad"), 500, 13, None),
        (Failure::retry_after("later", Duration::from_millis(1500)), 503, 14, Some("2")),
        (
            Failure::retry_after("x", Duration::from_secs(9)).with_status(Status::ResourceExhausted),
            429,
            8,
            Some("9"),
        ),
    ];
    let expected = [503, 500, 400, 503, 500, 500, 403, 429, 500, 503, 503, 404, 500, 503, 503, 401];
    cases.extend((1..=16).zip(expected).map(|(code, http)| (with(code), http, code, None)));
    for (failure, status, code, retry_after) in cases {
        *server.pipeline.outcome.lock().expect("lock") = Err(failure.clone());
        let (got, headers, body) = http(
            post(&server, "/v1/logs", JSON),
            json::from_protobuf(Signal::Logs, &sample(Signal::Logs, 1)),
        )
        .await;
        assert_eq!((got.as_u16(), status_json(&body)), (status, (code, failure.message().to_owned())));
        assert_eq!(headers.get("retry-after").map(|v| v.to_str().expect("text")), retry_after, "{failure:?}");
    }
}

#[tokio::test]
async fn requests_without_items_are_accepted_and_do_not_enter_the_pipeline() {
    let server = start(ServerSettings::default()).await;
    for body in ["{}", r#"{"resourceLogs":[]}"#, r#"{"resourceLogs":[{"resource":{}}]}"#] {
        assert_eq!(http(post(&server, "/v1/logs", JSON), body).await.0.as_u16(), 200);
    }
    assert!(server.pipeline.payloads().is_empty());
}

#[tokio::test]
async fn headers_and_paths_follow_the_settings() {
    let mut paths = ServerSettings::default().paths;
    paths[Signal::Logs.index()] = "/custom/logs".into();
    let settings = ServerSettings {
        paths,
        include_metadata: true,
        response_headers: vec![("x-agent".parse().expect("name"), "weir".parse().expect("value"))],
        ..ServerSettings::default()
    };
    let server = start(settings).await;
    let request = post(&server, "/custom/logs", PROTOBUF).header("X-Tenant", "blue");
    let (status, headers, _) = http(request, sample(Signal::Logs, 1).to_bytes()).await;
    assert_eq!((status.as_u16(), &headers["x-agent"]), (200, &"weir".parse().expect("value")));
    let (_, context) = server.pipeline.batches.lock().expect("lock")[0].clone();
    assert_eq!(context.metadata("x-tenant"), ["blue"]);
    assert_eq!(context.metadata("host"), [server.address.to_string()]);
    assert_eq!(context.transport, "http");
    let (status, headers, _) = http(post(&server, "/v1/logs", PROTOBUF), "").await;
    assert_eq!((status.as_u16(), &headers["x-agent"]), (404, &"weir".parse().expect("value")));
}

#[tokio::test]
async fn headers_over_16_kib_are_refused() {
    let server = start(ServerSettings::default()).await;
    let request = post(&server, "/v1/logs", JSON).header("x-big", "x".repeat(17 << 10));
    assert_eq!(http(request, "{}").await.0.as_u16(), 431);
}

#[tokio::test]
async fn web_pages_of_allowed_origins_get_permission() {
    let cors = Cors {
        allowed_origins: vec!["http://shop.example".into()],
        allowed_headers: vec!["content-type".into()],
        ..Cors::default()
    };
    let server = start(ServerSettings { cors: Some(cors), ..ServerSettings::default() }).await;
    let ask = Request::options(server.url("/v1/logs"))
        .header("origin", "http://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let (status, headers, _) = http(ask, "").await;
    assert_eq!(
        (status.as_u16(), &headers["access-control-allow-origin"]),
        (204, &"http://shop.example".parse().expect("value"))
    );
    let (status, headers, _) =
        http(post(&server, "/v1/logs", JSON).header("origin", "http://shop.example"), "{}").await;
    assert_eq!((status.as_u16(), headers.contains_key("access-control-allow-origin")), (200, true));
    let (_, headers, _) =
        http(post(&server, "/v1/logs", JSON).header("origin", "http://evil.example"), "{}").await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn head_has_the_headers_of_its_answer_and_no_content_over_both_versions() {
    let server = start(ServerSettings::default()).await;
    let (status, one, body) = http(Request::head(server.url("/v1/logs")), "").await;
    assert_eq!((status.as_u16(), body.len()), (405, 0));
    let stream = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("handshake");
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(async { drop(connection.await) });
    let request = Request::head(server.url("/v1/logs")).body(()).expect("request");
    let (response, _) = sender.send_request(request, true).expect("sent");
    let (head, body) = crate::support::within(response).await.expect("response").into_parts();
    assert!(body.is_end_stream());
    assert_eq!((head.status.as_u16(), &head.headers["content-length"]), (405, &one["content-length"]));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_given_up_and_may_be_sent_again() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let limits = ServerLimits { body_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let head =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = String::new();
    crate::support::within(stream.read_to_string(&mut answer)).await.expect("read to the end");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains(r#""code":4"#), "{answer}");
}

#[tokio::test]
async fn a_body_that_drips_is_refused_long_before_its_time_is_over() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let look = Duration::from_millis(100);
    let limits = ServerLimits { min_body_rate: 1 << 20, body_look: look, ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let stream = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let (mut reader, mut writer) = stream.into_split();
    let head =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    writer.write_all(head.as_bytes()).await.expect("written");
    let answer = async {
        let mut begin = [0; 12];
        crate::support::within(reader.read_exact(&mut begin)).await.expect("read");
        begin
    };
    let mut answer = std::pin::pin!(answer);
    let begin = loop {
        if let Ok(begin) = tokio::time::timeout(look / 20, &mut answer).await {
            break begin;
        }
        drop(writer.write_all(b" ").await);
    };
    assert_eq!(&begin, b"HTTP/1.1 503");
}

#[tokio::test]
async fn a_connection_that_rests_too_long_between_two_requests_is_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let limits = ServerLimits { idle_timeout: Some(Duration::from_secs(2)), ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let request =
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    crate::support::within(stream.read_to_string(&mut answer)).await.expect("read to the end");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    use tokio::io::AsyncReadExt;
    let limits = ServerLimits { head_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let server = start(ServerSettings { limits, ..ServerSettings::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let mut answer = Vec::new();
    let read = crate::support::within(stream.read_to_end(&mut answer)).await;
    assert!(read.is_err() || answer.is_empty());
}
