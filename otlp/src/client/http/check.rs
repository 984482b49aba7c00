//! What must hold for any answer of a backend; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::cookies::Cookies;
use super::url::{Url, same_server};
use super::{explanation, retry_after};
use crate::client::response;
use crate::status::{MAX_DELAY, MAX_TEXT, RpcStatus};

/// The lines of an input: values of headers, and everything behind them is the body.
const LINES: [HeaderName; 6] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::CONTENT_TYPE,
];

/// A status is the same when it is written as trailers and read again, no wait is longer than an hour, nothing that a server
/// says is kept at length or can forge a line of a log, and cookies come back as one header.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn answer(bytes: &[u8]) {
    let mut parts = bytes.splitn(LINES.len() + 1, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for (name, value) in LINES.into_iter().zip(&mut parts) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let body = parts.next().unwrap_or_default();
    assert!(retry_after(&headers).is_none_or(|delay| delay <= MAX_DELAY));
    trailers(&headers);
    if let Some((message, details)) = explanation(&headers, body) {
        assert_bounded(&message, MAX_TEXT);
        assert_bounded(&details, MAX_TEXT + "[]".len());
    }
    for accepted in [response::from_protobuf(body), response::from_json(body)] {
        assert_bounded(&accepted.message, MAX_TEXT);
    }
    let cookies = Cookies::default();
    cookies.keep(&headers, SystemTime::UNIX_EPOCH);
    if let Some(value) = cookies.header("/", true, SystemTime::UNIX_EPOCH) {
        assert!(value.is_sensitive() && value.len() <= bytes.len());
    }
}

fn assert_bounded(text: &str, most: usize) {
    assert!(text.len() <= most && !text.contains(char::is_control), "{text:?}");
}

fn trailers(headers: &HeaderMap) {
    let Some(status) = RpcStatus::from_trailers(headers) else { return };
    assert!(status.retry_delay().is_none_or(|delay| delay <= MAX_DELAY));
    serde_json::from_slice::<serde_json::Value>(&status.to_json()).expect("a status is written as JSON");
    let mut written = HeaderMap::new();
    status.write_trailers(&mut written);
    let again = RpcStatus::from_trailers(&written).expect("what is written has a status");
    assert_eq!((again.code, &again.details), (status.code, &status.details));
    assert!(status.message.len() > 2048 || again.message == status.message, "{:?}", status.message);
}

/// The first line is a URL of a server, the second where it redirects: what is shown of the URL names no user and has no
/// query, what is used is what was written, and no redirect leaves the server.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn url(text: &str) {
    let (text, location) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(url) = Url::parse(text) else { return };
    let authority = url.uri().authority().expect("a server").as_str();
    assert!(!authority.contains('@'), "{authority:?} of {text:?} names a user");
    let shown = url.to_string();
    assert!(
        !shown.contains('?') && shown.parse::<Uri>().is_ok_and(|uri| uri.host() == url.uri().host()),
        "{shown:?}"
    );
    let host = url.uri().host().expect("a server");
    assert!(text.contains(host), "{host:?} is not in {text:?}");
    if let Some(to) = same_server(url.uri(), location) {
        assert_eq!(to.scheme(), url.uri().scheme());
        assert_eq!(to.authority(), url.uri().authority(), "{location:?} leaves the server");
    }
}
