//! What clients make of the answers of servers, of odd ones too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weir_component::{Accepted, Failure, Kind, Status, Stop, Stopper};
use weir_otlp::client::Compression;
use weir_otlp::http_server::{self, ServerLimits};
use weir_otlp::{Body, Listener};
use weir_pdata::{Payload, Signal};

use crate::clients::{grpc_client, http_client};
use crate::support::{framed, logs_request, noise, sample, within};

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
