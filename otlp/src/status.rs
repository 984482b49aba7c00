//! `google.rpc.Status` in protobuf, JSON and gRPC trailers, and the tables between gRPC and HTTP codes.
//!
//! Sources: OTLP specification 1.11 (failures, throttling), google/rpc/status.proto and error_details.proto, the HTTP
//! mapping of the Go Collector.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::Message;
use weir_component::{Failure, Status};

/// Longest wait that a peer may ask for.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(3600);

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl RpcStatus {
    /// A status without details.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> RpcStatus {
        RpcStatus { code: i32::from(status.code()), message: message.into(), details: Vec::new() }
    }

    /// What the sender of a batch is told about a failure: the status that the failure carries, else `Unavailable` when
    /// the data may be sent again and `Internal` when not. A retryable `ResourceExhausted` always gets RetryInfo,
    /// because without it OTLP senders drop the data.
    pub(crate) fn of(failure: &Failure) -> RpcStatus {
        let fallback = if failure.is_retryable() { Status::Unavailable } else { Status::Internal };
        let status = failure.status().unwrap_or(fallback);
        // The words that only repeat the status are for logs.
        let words = format!("rpc error: code = {} desc = ", go_name(status));
        let message = failure.message();
        let mut answer = RpcStatus::new(status, message.strip_prefix(&words).unwrap_or(message));
        let delay = match failure.retry_delay() {
            None if failure.is_retryable() && status == Status::ResourceExhausted => Some(Duration::ZERO),
            delay => delay,
        };
        if let Some(delay) = delay {
            answer
                .details
                .push(Any { type_url: RETRY_INFO.to_owned(), value: retry_info(delay).encode_to_vec() });
        }
        answer
    }

    /// Its code as an enum.
    pub(crate) fn status(&self) -> Status {
        Status::from_code(i64::from(self.code))
    }

    /// The wait that RetryInfo asks for, at most an hour; `None` without RetryInfo.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        let any = self.details.iter().find(|any| any.type_url == RETRY_INFO)?;
        let delay = RetryInfo::decode(&any.value[..]).ok()?.retry_delay.unwrap_or_default();
        let seconds = u64::try_from(delay.seconds).unwrap_or(0);
        let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
        Some(Duration::new(seconds.min(MAX_DELAY.as_secs()), nanos).min(MAX_DELAY))
    }

    /// As a JSON body (the JSON form of protobuf).
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut object = serde_json::json!({"code": self.code, "message": self.message});
        if let Some(delay) = self.retry_delay() {
            let text = format!("{}.{:09}s", delay.as_secs(), delay.subsec_nanos());
            object["details"] = serde_json::json!([{"@type": RETRY_INFO, "retryDelay": text}]);
        }
        object.to_string().into_bytes()
    }

    /// Writes it as gRPC trailers (or as the headers of a response without a body).
    pub(crate) fn write_trailers(&self, trailers: &mut HeaderMap) {
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code));
        let message = &self.message[..self.message.floor_char_boundary(MAX_MESSAGE)];
        let encoded = percent_encode(message);
        if let (false, Ok(value)) = (encoded.is_empty(), HeaderValue::from_maybe_shared(Bytes::from(encoded)))
        {
            trailers.insert(GRPC_MESSAGE, value);
        }
        if !self.details.is_empty() {
            let whole =
                RpcStatus { code: self.code, message: message.to_owned(), details: self.details.clone() };
            let details = STANDARD_NO_PAD.encode(whole.encode_to_vec());
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(details)) {
                trailers.insert(GRPC_DETAILS, value);
            }
        }
    }

    /// Reads it from gRPC trailers; `None` when they carry no status.
    pub(crate) fn from_trailers(trailers: &HeaderMap) -> Option<RpcStatus> {
        let code = trailers.get(GRPC_STATUS)?.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(2);
        let message = trailers.get(GRPC_MESSAGE).map(|m| percent_decode(m.as_bytes())).unwrap_or_default();
        let details = trailers.get(GRPC_DETAILS).and_then(|d| decode_bin(d.as_bytes()));
        Some(RpcStatus { code, message, details: details.map(|d| d.details).unwrap_or_default() })
    }
}

fn decode_bin(value: &[u8]) -> Option<RpcStatus> {
    let unpadded = value.iter().rposition(|b| *b != b'=').map_or(0, |last| last + 1);
    RpcStatus::decode(
        &STANDARD_NO_PAD.decode(&value[..unpadded]).or_else(|_| STANDARD.decode(value)).ok()?[..],
    )
    .ok()
}

fn retry_info(delay: Duration) -> RetryInfo {
    let delay = delay.min(MAX_DELAY);
    let seconds = i64::try_from(delay.as_secs()).unwrap_or(0);
    let nanos = i32::try_from(delay.subsec_nanos()).unwrap_or(0);
    RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos }) }
}

/// Longest message in a trailer, in bytes of text, which the details repeat: with headers limited to 16 KiB at most peers, a
/// longer one would break the whole answer.
const MAX_MESSAGE: usize = 2048;

/// The encoding of `grpc-message` (gRPC over HTTP/2, "Responses").
fn percent_encode(message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for &byte in message.as_bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// Text with `%XX` escapes; what is no escape stays as it is.
pub fn percent_decode(value: &[u8]) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        let hex = |b: &u8| char::from(*b).to_digit(16);
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex(high).zip(hex(low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push((high << 4 | low) as u8);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The HTTP status for a gRPC status, towards senders over OTLP/HTTP.
pub(crate) fn to_http(status: Status) -> StatusCode {
    match status {
        Status::Cancelled
        | Status::DeadlineExceeded
        | Status::Aborted
        | Status::OutOfRange
        | Status::Unavailable
        | Status::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
        Status::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Status::InvalidArgument => StatusCode::BAD_REQUEST,
        Status::Unauthenticated => StatusCode::UNAUTHORIZED,
        Status::PermissionDenied => StatusCode::FORBIDDEN,
        Status::Unimplemented => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The gRPC status for the HTTP status that a backend answered.
pub(crate) fn from_http(status: StatusCode) -> Status {
    match status.as_u16() {
        400 => Status::InvalidArgument,
        401 => Status::Unauthenticated,
        403 => Status::PermissionDenied,
        404 => Status::Unimplemented,
        429 => Status::ResourceExhausted,
        502..=504 => Status::Unavailable,
        _ => Status::Unknown,
    }
}

/// Whether OTLP calls a gRPC status retryable. `ResourceExhausted` is only with RetryInfo.
pub(crate) fn is_retryable(status: Status, has_retry_info: bool) -> bool {
    match status {
        Status::Cancelled
        | Status::DeadlineExceeded
        | Status::Aborted
        | Status::OutOfRange
        | Status::Unavailable
        | Status::DataLoss => true,
        Status::ResourceExhausted => has_retry_info,
        _ => false,
    }
}

/// What an exporter reports when a backend answered with this gRPC status.
pub(crate) fn to_failure(answer: &RpcStatus) -> Failure {
    let status = answer.status();
    let delay = answer.retry_delay();
    let message = format!("rpc error: code = {} desc = {}", go_name(status), shorten(&answer.message));
    let failure = match delay {
        _ if !is_retryable(status, delay.is_some()) => Failure::permanent(message),
        Some(delay) => Failure::retry_after(message, delay),
        None => Failure::retry(message),
    };
    failure.with_status(status)
}

/// How much of what a backend says is repeated in messages.
pub(crate) const MAX_TEXT: usize = 1 << 10;

/// At most [`MAX_TEXT`] bytes, without control characters that could forge a log line.
pub(crate) fn shorten(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The name of a code as grpc-go prints it.
fn go_name(status: Status) -> String {
    match status {
        Status::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_trailers_with_any_text_and_its_delay() {
        let failure = Failure::retry_after("100 % of ünïcode\n", Duration::from_millis(1500));
        let mut trailers = HeaderMap::new();
        RpcStatus::of(&failure).write_trailers(&mut trailers);
        let read = RpcStatus::from_trailers(&trailers).expect("a status");
        assert_eq!((read.status(), read.message.as_str()), (Status::Unavailable, failure.message()));
        assert_eq!(read.retry_delay(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_backends_answer_is_passed_on_without_the_words_for_the_log() {
        let failure = to_failure(&RpcStatus::new(Status::NotFound, "no tenant"));
        assert_eq!(failure.message(), "rpc error: code = NotFound desc = no tenant");
        let passed_on = RpcStatus::of(&failure);
        assert_eq!((passed_on.status(), passed_on.message.as_str()), (Status::NotFound, "no tenant"));
    }

    #[test]
    fn delays_are_capped_at_an_hour() {
        let mut trailers = HeaderMap::new();
        RpcStatus::of(&Failure::retry_after("x", Duration::from_secs(1 << 40))).write_trailers(&mut trailers);
        assert_eq!(RpcStatus::from_trailers(&trailers).and_then(|s| s.retry_delay()), Some(MAX_DELAY));
    }

    #[test]
    fn a_retryable_resource_exhausted_keeps_its_meaning_on_the_wire() {
        let failure = Failure::retry("busy").with_status(Status::ResourceExhausted);
        assert!(to_failure(&RpcStatus::of(&failure)).is_retryable());
        let failure = Failure::permanent("over quota").with_status(Status::ResourceExhausted);
        assert!(!to_failure(&RpcStatus::of(&failure)).is_retryable());
    }

    #[test]
    fn all_seventeen_codes_are_mapped_as_otlp_says() {
        let retryable = [1, 4, 10, 11, 14, 15];
        for code in 0..=16 {
            let answer = RpcStatus { code, message: String::new(), details: Vec::new() };
            assert_eq!(to_failure(&answer).is_retryable(), retryable.contains(&code), "code {code}");
            assert_eq!(
                to_http(answer.status()) == StatusCode::SERVICE_UNAVAILABLE,
                retryable.contains(&code)
            );
        }
    }

    #[test]
    fn long_messages_are_cut_so_that_the_answer_fits_into_the_header_limit() {
        let mut trailers = HeaderMap::new();
        let failure = Failure::retry_after("é".repeat(100_000), Duration::from_secs(1));
        RpcStatus::of(&failure).write_trailers(&mut trailers);
        assert!(trailers.values().map(HeaderValue::len).sum::<usize>() < 12 << 10);
    }

    #[test]
    fn damaged_trailers_are_read_without_a_panic() {
        let mut trailers = HeaderMap::new();
        trailers.insert(GRPC_STATUS, HeaderValue::from_static("x"));
        trailers.insert(GRPC_MESSAGE, HeaderValue::from_static("%zz%4"));
        trailers.insert(GRPC_DETAILS, HeaderValue::from_static("***"));
        let read = RpcStatus::from_trailers(&trailers).expect("a status");
        assert_eq!((read.status(), read.message.as_str(), read.details.len()), (Status::Unknown, "%zz%4", 0));
    }
}
