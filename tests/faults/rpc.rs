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
    exchange(port, headers, message).map(|(status, _)| status)
}

/// The same with headers, body and trailers of the answer as text.
pub(crate) fn exchange(port: u16, headers: &[(&str, &str)], message: &[u8]) -> Option<(u16, String)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(call(port, headers, message))
}

async fn call(port: u16, headers: &[(&str, &str)], message: &[u8]) -> Option<(u16, String)> {
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
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let mut text = shown(&head.headers);
        if let Some(status) = status(&head.headers) {
            return Some((status, text));
        }
        if head.status != StatusCode::OK {
            return Some((head.status.as_u16(), text));
        }
        let rest = body.collect().await.ok()?;
        let trailers = rest.trailers()?.clone();
        text += &shown(&trailers);
        text += &String::from_utf8_lossy(&rest.to_bytes());
        Some((status(&trailers)?, text))
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

fn shown(headers: &HeaderMap) -> String {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect()
}
