//! OTLP/HTTP: protobuf and JSON by POST.
//!
//! Sources: OTLP specification 1.11 ("OTLP/HTTP"), the Go Collector's receiver for texts and codes. A body over the
//! limit is answered 413 as the specification has it, where the Collector says 400.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use prost::Message;
use weir_component::{AuthData, Failure, Reservation, Status};
use weir_pdata::Signal;

use super::reading::{Arrived, Format, Refused};
use super::{Late, Server, early, intake, repeated};
use crate::body::{self, Body, ReadError, Reading};
use crate::encoding::{self, DecodeError, Encoding};
use crate::http_server::{Peer, respond, text};
use crate::response_headers;
use crate::status::{self, RpcStatus};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Why a request was refused: the HTTP status and the body.
struct Refusal(StatusCode, RpcStatus);

/// A body that arrives.
type Arriving<'a> = &'a mut Reading<Incoming>;

/// A request of protobuf below this size is copied: the piece that it came in may be part of a much larger read buffer, and
/// would keep all of that.
const SMALL: usize = 8 << 10;

impl Server {
    pub(super) async fn http(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let (head, body) = request.into_parts();
        let is_one = head.version < Version::HTTP_2;
        let mut body = Reading::new(body);
        let mut response = self.answer_http(Request::from_parts(head, &mut body), peer).await;
        // Nobody reads the rest, so that the next request would not be found behind it.
        if is_one && !body.is_read_out().await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer_http(&self, request: Request<Arriving<'_>>, peer: &Peer) -> Response<Body> {
        let mut response = match &self.settings.cors {
            None => self.post(request, peer).await,
            Some(cors) => match cors.preflight(&request) {
                Some(permission) => permission,
                None => {
                    let origin = request.headers().get(header::ORIGIN).cloned();
                    let mut response = self.post(request, peer).await;
                    cors.mark(origin.as_ref(), response.headers_mut());
                    response
                }
            },
        };
        response_headers::add(&self.settings.response_headers, response.headers_mut());
        response
    }

    async fn post(&self, request: Request<Arriving<'_>>, peer: &Peer) -> Response<Body> {
        let auth = match self.caller(&request, early(&request)).await {
            Ok(auth) => auth,
            Err(failure) => {
                let answer = RpcStatus::of(&failure);
                let format = format(request.headers()).unwrap_or(Format::Json);
                return Refusal(status::to_http(answer.status()), answer).response(format);
            }
        };
        let Some(signal) = self.signal_at(request.uri().path()) else {
            let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
            response
                .headers_mut()
                .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            return response;
        };
        if request.method() != Method::POST {
            let mut response = respond(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "405 method not allowed, supported: [POST]",
            );
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let Some(format) = format(request.headers()) else {
            let supported =
                "415 unsupported media type, supported: [application/json, application/x-protobuf]";
            return respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain", supported);
        };
        match self.take(signal, format, request, peer, auth).await {
            Ok(()) => success(format),
            Err(refusal) => refusal.response(format),
        }
    }

    async fn take(
        &self,
        signal: Signal,
        format: Format,
        request: Request<Arriving<'_>>,
        peer: &Peer,
        auth: AuthData,
    ) -> Result<(), Refusal> {
        let encoding = self.encoding(request.headers())?;
        let context = intake::context("http", &request, peer, &self.settings, auth);
        let room = self.room(&context).map_err(|failure| no_room(&failure))?;
        let (content, room) = self.content(request.into_body(), room).await?;
        let stays = format == Format::Protobuf && encoding == Encoding::Identity;
        let content = if stays && content.len() < SMALL { Bytes::copy_from_slice(&content) } else { content };
        let (limit, beside) = (self.settings.max_body, intake::held_by(&context));
        let arrived = Arrived { signal, format, encoding, limit, content, room, beside };
        self.intake.accept(arrived, context).await.map_err(|refused| match refused {
            Refused::NotDecompressed(DecodeError::TooLarge) => too_large(),
            Refused::NotDecompressed(e) => bad_request(e.to_string()),
            Refused::Malformed(e) => bad_request(e.to_string()),
            Refused::NotJson(e) => bad_request(e.to_string()),
            Refused::NoRoom(failure) => no_room(&failure),
            Refused::Failed(failure) => failed(&failure),
        })
    }

    /// The whole body.
    async fn content(&self, body: Arriving<'_>, room: Reservation) -> Result<(Bytes, Reservation), Refusal> {
        let arrived = AtomicUsize::new(0);
        let reading = body::read_reserved(body, self.settings.max_body, room, &arrived);
        match self.arrival(reading, &arrived).await {
            Ok(Ok(content)) => Ok(content),
            Ok(Err(ReadError::TooLarge)) => Err(too_large()),
            Ok(Err(ReadError::Refused(failure))) => Err(no_room(&failure)),
            Ok(Err(ReadError::Broken(why))) => Err(bad_request(format!("the request was broken off: {why}"))),
            Err(Late::Stopping) => {
                let answer = RpcStatus::new(Status::Unavailable, "the server is shutting down");
                Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, answer))
            }
            Err(Late::Slow) => {
                let answer =
                    RpcStatus::new(Status::DeadlineExceeded, "the request body took too long to arrive");
                // 408 would have the sender drop it.
                Err(Refusal(status::to_http(answer.status()), answer))
            }
        }
    }

    /// The encoding of the body. Lists of encodings are refused, as in the Collector.
    fn encoding(&self, headers: &HeaderMap) -> Result<Encoding, Refusal> {
        let name = headers.get(header::CONTENT_ENCODING).map_or(&b""[..], |v| v.as_bytes());
        let name = String::from_utf8_lossy(name);
        let allowed = match &self.settings.content_encodings {
            // `identity` is not among the Collector's names either: a body without encoding has no such header.
            None => name != "identity",
            Some(list) => list.iter().any(|allowed| *allowed == name),
        };
        match Encoding::parse(&name) {
            Some(encoding) if allowed => Ok(encoding),
            _ => Err(bad_request(format!("unsupported Content-Encoding: {}", repeated(&name)))),
        }
    }
}

impl Refusal {
    fn response(self, format: Format) -> Response<Body> {
        let Refusal(code, answer) = self;
        let (content_type, body) = match format {
            Format::Protobuf => (PROTOBUF, answer.encode_to_vec()),
            Format::Json => (JSON, answer.to_json()),
        };
        let mut response = respond(code, content_type, body);
        let waits = matches!(code, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(delay) = answer.retry_delay().filter(|delay| waits && !delay.is_zero()) {
            // Rounded up: a sender that returns early is refused again.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == StatusCode::BAD_REQUEST && answer.message.starts_with("unsupported Content-Encoding") {
            let accepted = HeaderValue::from_static(encoding::ACCEPTED);
            response.headers_mut().insert(header::ACCEPT_ENCODING, accepted);
        }
        response
    }
}

/// The format that the content type names; parameters are ignored when they are well formed.
fn format(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !parts.all(|parameter| parameter.is_empty() || parameter.contains('=')) {
        return None;
    }
    if media.eq_ignore_ascii_case(PROTOBUF) {
        Some(Format::Protobuf)
    } else {
        media.eq_ignore_ascii_case(JSON).then_some(Format::Json)
    }
}

/// The answers of the Collector: `partial_success` present and empty.
fn success(format: Format) -> Response<Body> {
    match format {
        Format::Protobuf => respond(StatusCode::OK, PROTOBUF, &[0x0a, 0][..]),
        Format::Json => respond(StatusCode::OK, JSON, &br#"{"partialSuccess":{}}"#[..]),
    }
}

fn failed(failure: &Failure) -> Refusal {
    let answer = RpcStatus::of(failure);
    Refusal(status::to_http(answer.status()), answer)
}

/// What has room later is refused with 503; what never has is too large, where 429 would have the sender come again.
fn no_room(failure: &Failure) -> Refusal {
    let Refusal(code, answer) = failed(failure);
    Refusal(if failure.is_retryable() { code } else { StatusCode::PAYLOAD_TOO_LARGE }, answer)
}

fn bad_request(message: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, RpcStatus::new(Status::InvalidArgument, message))
}

fn too_large() -> Refusal {
    let answer = RpcStatus::new(Status::ResourceExhausted, "http: request body too large");
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, answer)
}
