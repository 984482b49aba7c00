//! What a sender hears when the backend refuses, through both programs without queues and retries: all codes of HTTP that
//! backends use, and all of gRPC.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::cases::{Case, protobuf_item};
use super::grpc::{Ended, call, framed};
use super::{Asked, both, compare, send};
use crate::backends::servers::Fleet;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A backend that answers every request with one code, until it is told another: of HTTP, or below 100 of gRPC.
struct Backend {
    port: u16,
    code: Arc<AtomicU16>,
    runtime: tokio::runtime::Runtime,
}

impl Backend {
    fn start() -> Backend {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let code = Arc::new(AtomicU16::new(0));
        let answered = Arc::clone(&code);
        runtime.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let code = Arc::clone(&answered);
                let service = service_fn(move |_: Request<Incoming>| {
                    std::future::ready(Ok::<_, Infallible>(refusal(code.load(Ordering::Relaxed))))
                });
                connections.spawn(async move {
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Backend { port, code, runtime }
    }

    /// What senders over HTTP and gRPC hear from both programs: HTTP status and body, HTTP status and code.
    fn heard(&self, asked: &[Asked; 2], code: u16) -> [(u16, String, Ended); 2] {
        self.code.store(code, Ordering::Relaxed);
        let log = protobuf_item(&[]);
        let kind = vec![("Content-Type", "application/x-protobuf".to_owned())];
        let case = Case {
            name: code.to_string(),
            method: "POST",
            path: "/v1/logs",
            headers: kind,
            body: log.clone(),
        };
        [0, 1].map(|i| {
            let over_http = send(asked[i].http, &case);
            let over_grpc = self.runtime.block_on(call(asked[i].grpc, LOGS, &[], framed(false, &log)));
            // Messages have the program's own words; the code in front of them has not.
            let code = over_http.body.split(' ').nth(1).unwrap_or_default().to_owned();
            (over_http.status, code, over_grpc)
        })
    }
}

fn refusal(code: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    let headers = response.headers_mut();
    if code < 100 {
        headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", http::HeaderValue::from(code));
        headers.insert("grpc-message", http::HeaderValue::from_static("no"));
    } else {
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    }
    response
}

/// Compares what is heard for each code.
fn same(exporter: impl Fn(u16) -> String, codes: impl IntoIterator<Item = u16>) {
    let (mut fleet, backend) = (Fleet::new(), Backend::start());
    let asked = both(&mut fleet, &exporter(backend.port));
    let mut wrong = Vec::new();
    for code in codes {
        compare(&code.to_string(), backend.heard(&asked, code), None, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn codes_of_http_backends_reach_senders_as_through_a_collector() {
    let exporter = |port| {
        format!(
            "otlp_http: {{endpoint: 'http://127.0.0.1:{port}', sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}}}"
        )
    };
    same(
        exporter,
        [
            400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 415, 418, 422, 429, 500, 501, 502, 503,
            504, 505,
        ],
    );
}

#[test]
fn codes_of_grpc_backends_reach_senders_as_through_a_collector() {
    let exporter = |port| {
        format!(
            "otlp_grpc: {{endpoint: '127.0.0.1:{port}', tls: {{insecure: true}}, sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}}}"
        )
    };
    same(exporter, 1..=16);
}
