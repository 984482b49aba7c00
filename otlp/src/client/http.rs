//! OTLP/HTTP: one POST.
//!
//! Sources: OTLP specification 1.11 ("OTLP/HTTP"), the texts of the Go Collector's `otlp_http` exporter.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod check;
mod connector;
mod cookies;
mod cut;
mod lines;
mod url;

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use weir_component::{Accepted, ClientAuth, Context, Failure, Status, Telemetry};
use weir_pdata::{Payload, json};

use super::proxy::Proxy;
use super::{Compression, Plain, framing, pieces::Pieces, response};
use crate::body::{next_piece, read_all};
use crate::clock::{after, now};
use crate::encoding::Encoding;
use crate::observed::Calls;
use crate::status::{MAX_DELAY, RpcStatus, from_http, shorten};
use crate::tls::{ClientTls, TlsConnector};
pub use connector::Connector;
use cookies::Cookies;
use lines::Lines;
pub(super) use url::Url;

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Settings of a client.
#[derive(Clone)]
pub struct HttpSettings {
    /// The whole URL, `http` or `https`; a user and password in it become basic authentication.
    pub url: String,
    /// TLS for `https`.
    pub tls: Option<TlsConnector>,
    /// The name that the server's certificate must have. Default: the host of `url`.
    pub server_name: Option<String>,
    /// Signs each request. Default none.
    pub auth: Option<Arc<dyn ClientAuth>>,
    /// Further headers; they replace those of the same name that the client sets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `user-agent`.
    pub user_agent: String,
    /// Encoding. Default protobuf.
    pub format: Format,
    /// Compression of requests.
    pub compression: Compression,
    /// How long an idle connection is kept; `None`: for ever. Default 90 s.
    pub idle_timeout: Option<Duration>,
    /// Idle connections that are kept; 0: a new connection for each request. Default 2.
    pub max_idle: usize,
    /// Requests at once, each of which may need a connection; further ones wait. `None`: no limit. Default none.
    pub max_connections: Option<usize>,
    /// Pings over HTTP/2 connections that were silent for the first time; without an answer within the second they are
    /// closed. Default none.
    pub http2_pings: Option<(Duration, Duration)>,
    /// The URL of a proxy: `http`, `https`, `socks5` or `socks5h`. Empty: that of the environment. Default empty.
    pub proxy_url: String,
    /// TLS to a proxy that is reached by `https`. Default: the system's authorities.
    pub proxy_tls: ClientTls,
    /// Send back the cookies that the server sets. Default false.
    pub cookies: bool,
    /// Most of a response to an accepted request that is read; of a larger one nothing is. Default 64 KiB, as in the
    /// Collector.
    pub max_response: usize,
    /// After what time the caller gives an export up. Default never.
    pub timeout: Option<Duration>,
    /// With what requests are measured and traced. Default not at all.
    pub telemetry: Telemetry,
}

impl HttpSettings {
    /// Protobuf, gzip.
    pub fn new(url: &str) -> HttpSettings {
        HttpSettings {
            url: url.to_owned(),
            tls: None,
            server_name: None,
            auth: None,
            headers: Vec::new(),
            user_agent: super::user_agent("weir", env!("CARGO_PKG_VERSION")),
            format: Format::Protobuf,
            compression: Compression::GZIP,
            idle_timeout: Some(Duration::from_secs(90)),
            max_idle: 2,
            max_connections: None,
            http2_pings: None,
            proxy_url: String::new(),
            proxy_tls: ClientTls::default(),
            cookies: false,
            max_response: 64 << 10,
            timeout: None,
            telemetry: Telemetry::default(),
        }
    }
}

/// Headers of an answer, over HTTP/1.1 by number and over HTTP/2 by bytes. Who is asked through others hears theirs too, and an
/// answer that cannot be read would have a request come again that was accepted.
const MAX_HEADERS: usize = 1000;
const MAX_HEADER_BYTES: u32 = 1 << 20;
/// How much of an error's body is read.
const MAX_ERROR: usize = 64 << 10;
/// How long the body of an answer is waited for.
const MOMENT: Duration = Duration::from_secs(1);
/// How many redirects are followed, on the same server only.
const MAX_REDIRECTS: usize = 5;

/// A client of one URL.
pub struct HttpClient {
    settings: HttpSettings,
    url: Url,
    headers: HeaderMap,
    cookies: Option<Cookies>,
    places: Option<Semaphore>,
    observed: Option<Calls>,
    lines: Lines,
}

impl HttpClient {
    /// A client; it connects when it is first used.
    ///
    /// # Errors
    /// What is wrong with the URL, the proxy or the user agent.
    pub fn new(settings: HttpSettings) -> Result<HttpClient, String> {
        let url = Url::parse(&settings.url)?;
        if url.is_https() && settings.tls.is_none() {
            return Err(format!("{url}: TLS is not set up"));
        }
        let mut headers = headers(&settings, &url)?;
        let proxy = match Proxy::find(&settings.proxy_url, url.uri())? {
            Some(proxy) => Some(proxy.secured(&settings.proxy_tls)?),
            None => None,
        };
        // Through a tunnel the proxy is told when that is made.
        let forwarding = proxy.as_ref().filter(|proxy| proxy.forwards() && !url.is_https());
        if let Some(value) = forwarding.and_then(Proxy::authorization) {
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let connector =
            Connector::new(settings.tls.clone(), settings.server_name.clone(), proxy, settings.timeout);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.max_idle)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_BYTES);
        if let Some((interval, timeout)) = settings.http2_pings {
            builder
                .http2_keep_alive_interval(interval)
                .http2_keep_alive_timeout(timeout)
                .http2_keep_alive_while_idle(true);
        }
        let lines = Lines::new(builder, connector);
        let cookies = settings.cookies.then(Cookies::default);
        let places = settings.max_connections.map(Semaphore::new);
        let observed = Calls::new(&settings.telemetry);
        Ok(HttpClient { settings, url, headers, cookies, places, observed, lines })
    }

    /// One attempt to send a payload. Dropping the future cancels the request.
    ///
    /// # Errors
    /// Retryable when no answer came, and for the codes 429, 502, 503 and 504; for 429 and 503 the wait of
    /// `Retry-After` is passed on, at most one hour. All else is permanent.
    pub async fn export(&self, payload: &Payload) -> Result<Accepted, Failure> {
        self.export_for(payload, &Context::default()).await
    }

    /// As [`HttpClient::export`], signed for the sender that `context` tells of.
    ///
    /// # Errors
    /// As [`HttpClient::export`], and those of the authenticator.
    pub async fn export_for(&self, payload: &Payload, context: &Context) -> Result<Accepted, Failure> {
        let given_up = self.settings.timeout.map(after);
        let mut headers = self.headers.clone();
        self.settings.telemetry.inject(context.span.as_ref(), &mut headers);
        if let Some(auth) = &self.settings.auth {
            auth.sign(&mut headers, context).await?;
            framing::restore(&mut headers, &self.headers, framing::OF_HTTP);
        }
        let body = self.body(payload).await?;
        let mut uri = self.url.uri().clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(body.clone());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            let response = match &self.observed {
                None => self.answer(request).await?,
                Some(observed) => {
                    let size = body.size_hint().exact().unwrap_or_default();
                    observed.http(&uri, size, self.answer(request)).await?
                }
            };
            match response.status() {
                status if status.is_success() => return Ok(self.accepted(response, given_up).await),
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    uri = self.redirected(&uri, &response)?;
                }
                _ => return Err(self.refused(response, given_up).await),
            }
        }
        Err(Failure::permanent(format!("{}: stopped after {MAX_REDIRECTS} redirects", self.url)))
    }

    /// The answer to a request, when there is a place for it.
    async fn answer(&self, mut request: Request<Pieces>) -> Result<Response<Incoming>, Failure> {
        // Held until the head of the answer is there; the semaphore is never closed.
        let _place = match &self.places {
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        let (path, encrypted) = (request.uri().path(), self.url.is_https());
        if let Some(value) = self.cookies.as_ref().and_then(|jar| jar.header(path, encrypted, wall_clock())) {
            request.headers_mut().insert(header::COOKIE, value);
        }
        let response = self.lines.request(request).await.map_err(|e| self.unanswered(&e))?;
        if let Some(jar) = &self.cookies {
            jar.keep(response.headers(), wall_clock());
        }
        Ok(response)
    }

    async fn body(&self, payload: &Payload) -> Result<Pieces, Failure> {
        let compression = self.settings.compression;
        let plain = match (self.settings.format, compression.encoding) {
            (Format::Protobuf, Encoding::Identity) => return Ok(Pieces::of(&[], payload)),
            (Format::Protobuf, _) => Plain::Protobuf(payload.clone()),
            (Format::Json, encoding) => {
                let text = json::from_protobuf(payload.signal(), payload);
                if encoding == Encoding::Identity {
                    return Ok(Pieces::one(Bytes::from(text)));
                }
                Plain::Json(text)
            }
        };
        let out = compression.apply(plain, 0).await?;
        Ok(Pieces::one(Bytes::from(out)))
    }

    /// What the backend says of a request that it has accepted: the status says so, and what cannot be read of the rest, does
    /// not come or is larger than allowed is no failure.
    async fn accepted(&self, response: Response<Incoming>, given_up: Option<Instant>) -> Accepted {
        let content_type = response.headers().get(header::CONTENT_TYPE).map(|v| v.as_bytes().to_vec());
        let mut reading = pin!(read_all(response.into_body(), self.settings.max_response));
        let read = match poll_immediate(&mut reading).await {
            Some(read) => Some(read),
            None => timeout(moment(given_up), reading).await.ok(),
        };
        let body = read.and_then(Result::ok).unwrap_or_default();
        match content_type {
            Some(t) if t.starts_with(b"application/x-protobuf") => response::from_protobuf(&body),
            Some(t) if t.starts_with(b"application/json") => response::from_json(&body),
            _ => Accepted::default(),
        }
    }

    /// Why the backend has not accepted a request: the head says so, and what does not come of the explanation is left out.
    async fn refused(&self, response: Response<Incoming>, given_up: Option<Instant>) -> Failure {
        let (head, body) = response.into_parts();
        let code = head.status;
        let mut text = format!(
            "error exporting items, request to {} responded with HTTP Status Code {}",
            self.url,
            code.as_u16()
        );
        if let Some((message, details)) = explanation(&head.headers, &start_of(body, moment(given_up)).await)
        {
            text = format!("{text}, Message={message}, Details={details}");
        }
        let failure = match (code.as_u16(), retry_after(&head.headers)) {
            (429 | 503, Some(delay)) => Failure::retry_after(text, delay),
            (429 | 502 | 503 | 504, _) => Failure::retry(text),
            _ => Failure::permanent(text),
        };
        failure.with_status(from_http(code))
    }

    fn redirected(&self, from: &Uri, response: &Response<Incoming>) -> Result<Uri, Failure> {
        let location =
            response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).unwrap_or_default();
        url::same_server(from, location).ok_or_else(|| {
            let to = Url::parse(location).map_or_else(|_| "another place".to_owned(), |url| url.to_string());
            // Headers may hold credentials, which are for the configured server only.
            Failure::permanent(format!("{} redirects to {to}: set that as the endpoint", self.url))
        })
    }

    fn unanswered(&self, e: &dyn Error) -> Failure {
        // The client's own sentence only says at which step.
        let first = e.source().filter(|_| e.to_string().starts_with("client error")).unwrap_or(e);
        let (mut text, mut source) = (first.to_string(), first.source());
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Failure::retry(format!("failed to make an HTTP request: Post \"{}\": {text}", self.url))
            .with_status(Status::Unavailable)
    }
}

fn headers(settings: &HttpSettings, url: &Url) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let agent = &settings.user_agent;
    headers.insert(
        header::USER_AGENT,
        agent.parse().map_err(|_| format!("user agent {agent:?} is not a header value"))?,
    );
    let content_type = match settings.format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if settings.compression.encoding != Encoding::Identity {
        let name = settings.compression.encoding.name();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    if let Some(user) = url.user_info() {
        let value = HeaderValue::from_maybe_shared(Bytes::from(format!("Basic {}", STANDARD.encode(user))));
        let mut value = value.map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let destination = url.to_string();
    for (name, value) in framing::allowed(&settings.headers, framing::OF_HTTP, &destination) {
        headers.insert(name.clone(), value.clone());
    }
    Ok(headers)
}

/// How long the body of an answer is waited for when the caller gives up then, who would never hear what its head said.
fn moment(given_up: Option<Instant>) -> Duration {
    given_up.map_or(MOMENT, |at| MOMENT.min(at.saturating_duration_since(now()) / 2))
}

/// What comes in time of the first [`MAX_ERROR`] bytes of a body.
async fn start_of(mut body: Incoming, time: Duration) -> Vec<u8> {
    let mut out = Vec::new();
    let reading = async {
        while let Some(Ok(piece)) = next_piece(&mut body).await {
            let room = MAX_ERROR - out.len();
            out.extend_from_slice(&piece[..piece.len().min(room)]);
            if out.len() == MAX_ERROR {
                break;
            }
        }
    };
    // What came until then is kept.
    timeout(time, reading).await.ok();
    out
}

/// A `google.rpc.Status` in JSON, as far as it is said.
#[derive(serde::Deserialize)]
struct JsonStatus {
    message: String,
}

/// Message and details of an error's body: a `google.rpc.Status`, or the text that servers outside OTLP send.
fn explanation(headers: &HeaderMap, body: &[u8]) -> Option<(String, String)> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    if content_type.starts_with(b"application/x-protobuf")
        && let Ok(status) = RpcStatus::decode(body)
    {
        let details: Vec<_> = status.details.iter().map(|any| any.type_url.as_str()).collect();
        return Some((shorten(&status.message), format!("[{}]", shorten(&details.join(" ")))));
    }
    if content_type.starts_with(b"application/json")
        && let Ok(status) = serde_json::from_slice::<JsonStatus>(body)
    {
        return Some((shorten(&status.message), "[]".to_owned()));
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    (!text.is_empty()).then(|| (shorten(text), "[]".to_owned()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a network adapter: dates of peers are compared with the wall clock"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            at.duration_since(wall_clock()).unwrap_or(Duration::ZERO)
        }
    };
    Some(delay.min(MAX_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::MAX_TEXT;

    fn after(text: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().expect("value"))]))
    }

    #[test]
    fn answers_of_the_corpus_are_read_within_bounds() {
        crate::corpus::corpus("backend_answer").iter().for_each(|bytes| check::answer(bytes));
    }

    #[test]
    fn urls_of_the_corpus_are_used_as_they_are_written() {
        crate::corpus::corpus("url").iter().for_each(|text| check::url(&String::from_utf8_lossy(text)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999999"), Some(MAX_DELAY));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("Fri, 31 Dec 9999 23:59:59 GMT"), Some(MAX_DELAY));
        assert_eq!(after("soon"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_of_an_answer_is_waited_for_until_shortly_before_the_caller_gives_up() {
        assert_eq!(moment(None), MOMENT);
        assert_eq!(moment(Some(now() + 30 * MOMENT)), MOMENT);
        assert_eq!(moment(Some(now() + MOMENT)), MOMENT / 2);
        let passed = Some(now());
        tokio::time::advance(MOMENT).await;
        assert_eq!(moment(passed), Duration::ZERO);
    }

    #[test]
    fn explanations_come_from_statuses_and_from_plain_text() {
        let of = |content_type: &'static str, body: &[u8]| {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            explanation(&headers, body).map(|(message, _)| message)
        };
        let status = RpcStatus::new(Status::InvalidArgument, "bad span").encode_to_vec();
        assert_eq!(of("application/x-protobuf", &status).as_deref(), Some("bad span"));
        assert_eq!(of("application/json; charset=utf-8", br#"{"message":"bad"}"#).as_deref(), Some("bad"));
        assert_eq!(of("text/plain", b"out of\nspace\n").as_deref(), Some("out of space"));
        assert_eq!(of("text/plain", b""), None);
        assert_eq!(of("text/plain", &[b'x'; 5000]).map(|m| m.len()), Some(MAX_TEXT));
    }
}
