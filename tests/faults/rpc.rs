//! A gRPC client that sends what it is told, whether or not it is OTLP.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime;

/// The gRPC status of one call on a connection of its own, or the HTTP status of an answer that has none; none when there was
/// no answer. A message that is compressed says so in
/// the headers, with `grpc-encoding`.
pub(crate) fn export(port: u16, headers: &[(&str, &str)], message: &[u8]) -> Option<u16> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(call(port, headers, message))
}

async fn call(port: u16, headers: &[(&str, &str)], message: &[u8]) -> Option<u16> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    let compressed = u8::from(headers.iter().any(|(name, _)| *name == "grpc-encoding"));
    let prefix = [&[compressed][..], &(message.len() as u32).to_be_bytes()].concat();
    let body = Full::new(Bytes::from([&prefix, message].concat()));
    let uri = format!("http://127.0.0.1:{port}/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let mut request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("a request");
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        if let Some(status) = status(response.headers()) {
            return Some(status);
        }
        if response.status() != StatusCode::OK {
            return Some(response.status().as_u16());
        }
        status(response.into_body().collect().await.ok()?.trailers()?)
    };
    // The connection lives for as long as its call.
    tokio::select! {
        status = answer => status,
        _ = connection => None,
    }
}

fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
