//! Calls over gRPC, each on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use weir_otlp::encoding::Encoding;

use super::cases::{nested, protobuf_item};
use super::{both, compare};
use crate::backends::servers::Fleet;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Case, end with the Collector, end with Weir, reason.
const DIFFERENT: &[(&str, Ended, Ended, &str)] = &[
    ("invalid UTF-8", (200, 0), (200, 13), "what goes out is valid"),
    ("nested 70 levels", (200, 0), (200, 13), "at most 64 levels"),
    ("deflate", (200, 12), (200, 0), "gRPC names deflate among its encodings"),
    ("no message", (0, -2), (200, 13), "the Collector never answers"),
    ("half a message", (200, 2), (200, 13), "the message is malformed, which is 13 elsewhere"),
    ("two messages", (200, 0), (200, 13), "the Collector passes over the second"),
    ("no gRPC", (415, 3), (415, -1), "who does not speak gRPC does not read its status"),
];

/// What a call ends with: the HTTP status, and the gRPC code, -1 without one.
pub(super) type Ended = (u16, i32);

/// A message with its frame.
pub(super) fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[u8::from(compressed)], &length[..], message].concat()
}

/// One call; `headers` come on top of those that every call has. One that does not end is (0, -2).
pub(super) async fn call(port: u16, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Ended {
    let called = exchange(port, path, headers, body);
    tokio::time::timeout(Duration::from_secs(20), called).await.unwrap_or((0, -2))
}

async fn exchange(port: u16, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Ended {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(async { drop(connection.await) });
    let mut request = Request::post(format!("http://127.0.0.1:{port}{path}")).header("te", "trailers");
    if headers.iter().all(|(name, _)| *name != "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let Ok(response) = sender.send_request(request).await else { return (0, -1) };
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
    let code = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
    let code = code.and_then(|code| code.to_str().ok()?.parse().ok());
    (head.status.as_u16(), code.unwrap_or(-1))
}

struct Call {
    name: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

fn calls() -> Vec<Call> {
    let logs = |name, body| Call { name, path: LOGS, headers: Vec::new(), body };
    let with = |name, header, body| Call { name, path: LOGS, headers: vec![header], body };
    let log = protobuf_item(&[]);
    let compressed = |encoding: Encoding, message: &[u8]| {
        let mut out = Vec::new();
        encoding.compress(message, None, &mut out).unwrap();
        framed(true, &out)
    };
    let encoded = |name, encoding: Encoding, called| {
        with(name, ("grpc-encoding", called), compressed(encoding, &protobuf_item(&[])))
    };
    let large = protobuf_item(&[vec![0x1a, 0x80, 0x80, 0x40], vec![b'x'; 1 << 20]].concat());
    vec![
        logs("accepted", framed(false, &log)),
        logs("empty message", framed(false, b"")),
        logs("malformed", framed(false, b"\xff\xff")),
        logs("invalid UTF-8", framed(false, &protobuf_item(b"\x1a\x03a\xffb"))),
        logs("nested 70 levels", framed(false, &nested(70))),
        logs("nested 60 levels", framed(false, &nested(60))),
        logs("no message", Vec::new()),
        logs("half a message", framed(false, &log)[..7].to_vec()),
        logs("two messages", framed(false, &log).repeat(2)),
        logs("unknown flag", [&[2][..], &framed(false, &log)[1..]].concat()),
        logs("compressed without an encoding", framed(true, &log)),
        logs("too large", framed(false, &large)),
        with("too large after gzip", ("grpc-encoding", "gzip"), compressed(Encoding::Gzip, &large)),
        encoded("gzip", Encoding::Gzip, "gzip"),
        encoded("zstd", Encoding::Zstd, "zstd"),
        with("nothing in zstd", ("grpc-encoding", "zstd"), framed(true, b"")),
        encoded("snappy", Encoding::SnappyFramed, "snappy"),
        encoded("a block of snappy", Encoding::Snappy, "snappy"),
        encoded("deflate", Encoding::Deflate, "deflate"),
        encoded("lz4", Encoding::Lz4, "lz4"),
        encoded("br", Encoding::Gzip, "br"),
        with("uncompressed under an encoding", ("grpc-encoding", "gzip"), framed(false, &log)),
        with("damaged gzip", ("grpc-encoding", "gzip"), framed(true, b"no such thing")),
        with("identity", ("grpc-encoding", "identity"), framed(false, &log)),
        with("with a timeout", ("grpc-timeout", "10S"), framed(false, &log)),
        with("grpc+proto", ("content-type", "application/grpc+proto"), framed(false, &log)),
        with("no gRPC", ("content-type", "application/json"), framed(false, &log)),
        Call {
            path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            ..logs("id of a wrong length", framed(false, &protobuf_item(b"\x0a\x02\x01\x02")))
        },
        Call {
            path: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            ..logs("signal without a pipeline", framed(false, b""))
        },
        Call {
            path: "/opentelemetry.proto.collector.logs.v1.LogsService/Import",
            ..logs("unknown method", framed(false, b""))
        },
        Call { path: "/grpc.health.v1.Health/Check", ..logs("health", framed(false, b"")) },
        Call { path: "/nothing", ..logs("no method at all", framed(false, b"")) },
    ]
}

#[test]
fn every_call_ends_as_with_a_collector_or_differs_as_listed() {
    let mut fleet = Fleet::new();
    let asked = both(&mut fleet, "nop: ");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (calls, mut wrong) = (calls(), Vec::new());
    for made in &calls {
        let [collector, weir] = [0, 1]
            .map(|i| runtime.block_on(call(asked[i].grpc, made.path, &made.headers, made.body.clone())));
        let expected = DIFFERENT.iter().find(|(name, ..)| *name == made.name);
        let expected = expected.map(|(_, theirs, ours, _)| (*theirs, *ours));
        compare(made.name, [collector, weir], expected, &mut wrong);
    }
    for (name, ..) in DIFFERENT {
        assert!(calls.iter().any(|call| call.name == *name), "there is no call {name:?}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), calls.len(), wrong.join("\n"));
}
