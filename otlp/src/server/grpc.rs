//! The unary `Export` call over HTTP/2.
//!
//! Sources: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), compression (compression.md), the messages of grpc-go where the
//! Collector's users know them.

use std::sync::LazyLock;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use weir_component::{AuthData, Context, Status};
use weir_pdata::Signal;

use super::reading::{Arrived, Format, Refused};
use super::{Late, Server, early, intake, repeated};
use crate::body::Body;
use crate::encoding::{self, DecodeError, Encoding};
use crate::http_server::{Peer, text};
use crate::message::{self, Arriving, Message, MessageError};
use crate::status::RpcStatus;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A message without fields: the whole request was accepted.
const ACCEPTED: Bytes = Bytes::from_static(&[0; message::FRAME_HEADER]);

static PATHS: LazyLock<[String; 4]> =
    LazyLock::new(|| Signal::ALL.map(|s| format!("/{}/Export", s.service())));

/// A call whose head was read and whose caller was checked.
pub(super) struct Call {
    signal: Signal,
    encoding: Encoding,
    context: Context,
}

impl Server {
    pub(super) async fn grpc(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        match self.export(request, peer).await {
            Ok(()) => success(),
            Err(status) => failure(&status),
        }
    }

    async fn export(&self, request: Request<Incoming>, peer: &Peer) -> Result<(), RpcStatus> {
        let (signal, encoding) = self.method(&request)?;
        let auth = self.caller(&request, early(&request)).await.map_err(|failure| RpcStatus::of(&failure))?;
        let call = self.call(&request, signal, encoding, peer, auth);
        let arrived = AtomicUsize::new(0);
        let reading = message::read_message(request.into_body(), self.message(&call)?, &arrived);
        match self.arrival(reading, &arrived).await {
            Ok(message) => self.finish(call, message).await,
            Err(late) => Err(too_late(&late)),
        }
    }

    /// What is called, and how it is compressed.
    pub(super) fn method<B>(&self, request: &Request<B>) -> Result<(Signal, Encoding), RpcStatus> {
        let signal = self.signal(request.method(), request.uri().path())?;
        Ok((signal, encoding(request.headers())?))
    }

    /// The call of a caller who was checked.
    pub(super) fn call<B>(
        &self,
        request: &Request<B>,
        signal: Signal,
        encoding: Encoding,
        peer: &Peer,
        auth: AuthData,
    ) -> Call {
        Call { signal, encoding, context: intake::context("grpc", request, peer, &self.settings, auth) }
    }

    /// For the message of a call.
    pub(super) fn message(&self, call: &Call) -> Result<Arriving, RpcStatus> {
        let room = self.room(&call.context).map_err(|failure| RpcStatus::of(&failure))?;
        Ok(Arriving::new(self.settings.max_message, room))
    }

    /// From the message of a call to what became of it.
    pub(super) async fn finish(
        &self,
        call: Call,
        message: Result<Message, MessageError>,
    ) -> Result<(), RpcStatus> {
        let limit = self.settings.max_message;
        let message = message.map_err(|e| not_one_message(&e, limit))?;
        let encoding = match (message.compressed, call.encoding) {
            (false, _) => Encoding::Identity,
            (true, Encoding::Identity) => {
                let text = "grpc: compressed flag set with identity or empty encoding";
                return Err(RpcStatus::new(Status::Internal, text));
            }
            (true, encoding) => encoding,
        };
        let arrived = Arrived {
            signal: call.signal,
            format: Format::Protobuf,
            encoding,
            limit,
            content: message.content,
            room: message.room,
            beside: intake::held_by(&call.context),
        };
        self.intake.accept(arrived, call.context).await.map_err(|refused| match refused {
            Refused::NotDecompressed(DecodeError::TooLarge) => {
                let text = format!("grpc: received message after decompression larger than max {limit}");
                RpcStatus::new(Status::ResourceExhausted, text)
            }
            Refused::NotDecompressed(DecodeError::Corrupt(why)) => {
                let text = format!("grpc: failed to decompress the received message: {why}");
                RpcStatus::new(Status::Internal, text)
            }
            Refused::Malformed(e) => {
                RpcStatus::new(Status::Internal, format!("grpc: error unmarshalling request: {e}"))
            }
            Refused::NotJson(e) => RpcStatus::new(Status::Internal, e.to_string()),
            Refused::NoRoom(failure) | Refused::Failed(failure) => RpcStatus::of(&failure),
        })
    }

    /// The signal of a method; only those that are served exist.
    pub(super) fn signal(&self, method: &Method, path: &str) -> Result<Signal, RpcStatus> {
        let known = Signal::ALL.into_iter().find(|s| PATHS[s.index()] == path);
        if let Some(signal) = known.filter(|s| self.intake.takes(*s) && method == Method::POST) {
            return Ok(signal);
        }
        let message = match path.strip_prefix('/').and_then(|p| p.rsplit_once('/')) {
            None => format!("malformed method name: {:?}", repeated(path)),
            Some((service, method)) => {
                let served = Signal::ALL.into_iter().any(|s| s.service() == service && self.intake.takes(s));
                if served {
                    format!("unknown method {} for service {service}", repeated(method))
                } else {
                    format!("unknown service {}", repeated(service))
                }
            }
        };
        Err(RpcStatus::new(Status::Unimplemented, message))
    }
}

/// The status of a request that did not arrive.
pub(super) fn too_late(late: &Late) -> RpcStatus {
    match late {
        Late::Slow => RpcStatus::new(Status::DeadlineExceeded, "the request took too long to arrive"),
        Late::Stopping => RpcStatus::new(Status::Unavailable, "the server is shutting down"),
    }
}

/// The answer to a request on a gRPC port that is not gRPC.
pub(super) fn not_grpc() -> Response<Body> {
    text(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "this port serves OTLP/gRPC: content-type must be application/grpc\n",
    )
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, RpcStatus> {
    let name = headers.get(GRPC_ENCODING).map_or(&b""[..], |v| v.as_bytes());
    let name = String::from_utf8_lossy(name);
    Encoding::parse_grpc(&name).ok_or_else(|| {
        let text = format!("grpc: Decompressor is not installed for grpc-encoding {:?}", repeated(&name));
        RpcStatus::new(Status::Unimplemented, text)
    })
}

pub(super) fn not_one_message(e: &MessageError, limit: usize) -> RpcStatus {
    match e {
        MessageError::TooLarge(length) => {
            let text = format!("grpc: received message larger than max ({length} vs. {limit})");
            RpcStatus::new(Status::ResourceExhausted, text)
        }
        MessageError::Missing => {
            RpcStatus::new(Status::Internal, "the request ended before its message was complete")
        }
        MessageError::Several => {
            RpcStatus::new(Status::Internal, "more than one message in the request of a unary call")
        }
        MessageError::Flag(flag) => {
            RpcStatus::new(Status::Internal, format!("grpc: received unexpected payload format {flag}"))
        }
        MessageError::Refused(failure) => RpcStatus::of(failure),
        MessageError::Broken(why) => {
            RpcStatus::new(Status::Cancelled, format!("the request was broken off: {why}"))
        }
    }
}

pub(super) fn success() -> Response<Body> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let mut response = Response::new(Body::with_trailers(ACCEPTED, trailers));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// A response of headers only.
pub(super) fn failure(status: &RpcStatus) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    if status.status() == Status::Unimplemented {
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(encoding::ACCEPTED_GRPC));
    }
    status.write_trailers(headers);
    response
}
