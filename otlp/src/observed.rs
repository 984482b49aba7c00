//! What the Collector's libraries measure of each HTTP request and gRPC call; only at level `detailed`, and nothing of it is
//! even made below.
//!
//! Source: the semantic conventions for HTTP and RPC metrics, as otelhttp and otelgrpc fill them in.

use http::{HeaderMap, Method, Request, Response, Uri, Version, header};
use hyper::body::Body as _;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use weir_component::{Accepted, Failure, Status, Telemetry};
use weir_pdata::Signal;

use crate::body::Body;

/// Scopes by which views select these metrics.
const HTTP: &str = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp";
const GRPC: &str = "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc";

/// Bounds of durations in seconds.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// What a server measures of requests.
pub(crate) struct Requests {
    http_duration: Histogram<f64>,
    http_request: Histogram<u64>,
    http_response: Histogram<u64>,
    rpc_duration: Histogram<f64>,
}

impl Requests {
    /// The measures, if there are to be any.
    pub(crate) fn new(telemetry: &Telemetry) -> Option<Requests> {
        let (http, rpc) = telemetry.is_detailed().then(|| (telemetry.meter(HTTP), telemetry.meter(GRPC)))?;
        Some(Requests {
            http_duration: seconds(
                &http,
                "http.server.request.duration",
                "Duration of HTTP server requests.",
            ),
            http_request: bytes(
                &http,
                "http.server.request.body.size",
                "Size of HTTP server request bodies.",
            ),
            http_response: bytes(
                &http,
                "http.server.response.body.size",
                "Size of HTTP server response bodies.",
            ),
            rpc_duration: seconds(
                &rpc,
                "rpc.server.call.duration",
                "Measures the duration of an incoming Remote Procedure Call (RPC).",
            ),
        })
    }

    /// Measures an HTTP request and its answer. `route` is its path, where that is served.
    pub(crate) async fn http<B: hyper::body::Body>(
        &self,
        request: Request<B>,
        route: Option<&str>,
        tls: bool,
        answer: impl AsyncFnOnce(Request<B>) -> Response<Body>,
    ) -> Response<Body> {
        let scheme = if tls { "https" } else { "http" };
        let mut labels = vec![
            KeyValue::new("http.request.method", method(request.method())),
            KeyValue::new("network.protocol.name", "http"),
            KeyValue::new("network.protocol.version", version(request.version())),
            KeyValue::new("url.scheme", scheme),
        ];
        labels.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        labels.extend(host(request.headers(), request.uri()));
        let sent = request.body().size_hint().exact();
        let begun = now();
        let response = answer(request).await;
        labels.push(KeyValue::new("http.response.status_code", i64::from(response.status().as_u16())));
        self.http_duration.record(begun.elapsed().as_secs_f64(), &labels);
        for (size, histogram) in
            [(sent, &self.http_request), (response.body().size_hint().exact(), &self.http_response)]
        {
            if let Some(size) = size {
                histogram.record(size, &labels);
            }
        }
        response
    }

    /// Measures a gRPC call and its answer. `signal` is that of its method, where that is served.
    pub(crate) async fn grpc(
        &self,
        signal: Option<Signal>,
        answer: impl AsyncFnOnce() -> Response<Body>,
    ) -> Response<Body> {
        let begun = now();
        let response = answer().await;
        let status = response.headers().get("grpc-status").and_then(|s| s.to_str().ok()?.parse::<i64>().ok());
        self.grpc_ended(begun, signal, status.filter(|code| *code != 0).map(Status::from_code));
        response
    }

    /// Measures a gRPC call that is answered now, with that status unless it succeeded.
    pub(crate) fn grpc_ended(
        &self,
        begun: std::time::Instant,
        signal: Option<Signal>,
        status: Option<Status>,
    ) {
        self.rpc_duration.record(begun.elapsed().as_secs_f64(), &rpc(signal, status));
    }
}

/// What a client measures of its calls.
pub(crate) struct Calls {
    http_duration: Histogram<f64>,
    http_request: Histogram<u64>,
    rpc_duration: Histogram<f64>,
}

impl Calls {
    /// The measures, if there are to be any.
    pub(crate) fn new(telemetry: &Telemetry) -> Option<Calls> {
        let (http, rpc) = telemetry.is_detailed().then(|| (telemetry.meter(HTTP), telemetry.meter(GRPC)))?;
        Some(Calls {
            http_duration: seconds(
                &http,
                "http.client.request.duration",
                "Duration of HTTP client requests.",
            ),
            http_request: bytes(
                &http,
                "http.client.request.body.size",
                "Size of HTTP client request bodies.",
            ),
            rpc_duration: seconds(
                &rpc,
                "rpc.client.call.duration",
                "Measures the duration of an outgoing Remote Procedure Call (RPC).",
            ),
        })
    }

    /// Measures an HTTP request of that many bytes until the head of its answer.
    pub(crate) async fn http<B>(
        &self,
        uri: &Uri,
        size: u64,
        request: impl Future<Output = Result<Response<B>, Failure>>,
    ) -> Result<Response<B>, Failure> {
        let begun = now();
        let result = request.await;
        let mut labels = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("network.protocol.name", "http"),
            KeyValue::new("url.scheme", uri.scheme_str().unwrap_or("http").to_owned()),
        ];
        labels.extend(host(&HeaderMap::new(), uri));
        match &result {
            Ok(response) => {
                labels.push(KeyValue::new("network.protocol.version", version(response.version())));
                let code = i64::from(response.status().as_u16());
                labels.push(KeyValue::new("http.response.status_code", code));
            }
            Err(_) => {
                labels.push(KeyValue::new("network.protocol.version", "1.1"));
                labels.push(KeyValue::new("error.type", "_OTHER"));
            }
        }
        self.http_duration.record(begun.elapsed().as_secs_f64(), &labels);
        self.http_request.record(size, &labels);
        result
    }

    /// Measures a gRPC call to `authority`, which is named once there was an answer.
    pub(crate) async fn grpc(
        &self,
        uri: &Uri,
        signal: Signal,
        call: impl Future<Output = Result<Accepted, Failure>>,
    ) -> Result<Accepted, Failure> {
        let begun = now();
        let result = call.await;
        let status = result.as_ref().err().map(|failure| failure.status().unwrap_or(Status::Unknown));
        let mut labels = rpc(Some(signal), status);
        if status != Some(Status::Unavailable) {
            labels.extend(host(&HeaderMap::new(), uri));
        }
        self.rpc_duration.record(begun.elapsed().as_secs_f64(), &labels);
        result
    }
}

fn seconds(meter: &Meter, name: &'static str, help: &'static str) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_description(help).with_unit("s");
    histogram.with_boundaries(SECONDS.to_vec()).build()
}

fn bytes(meter: &Meter, name: &'static str, help: &'static str) -> Histogram<u64> {
    meter.u64_histogram(name).with_description(help).with_unit("By").build()
}

#[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "POST",
        "GET" => "GET",
        "PUT" => "PUT",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        _ => "_OTHER",
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// `server.address` and `server.port`, as the client named the server.
fn host(headers: &HeaderMap, uri: &Uri) -> Vec<KeyValue> {
    let named = uri.authority().cloned();
    let authority = named.or_else(|| headers.get(header::HOST)?.to_str().ok()?.parse().ok());
    let Some(authority) = authority else {
        return Vec::new();
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().map(|port| KeyValue::new("server.port", i64::from(port)));
    std::iter::once(KeyValue::new("server.address", host)).chain(port).collect()
}

fn rpc(signal: Option<Signal>, status: Option<Status>) -> Vec<KeyValue> {
    let method = signal.map_or("_OTHER".to_owned(), |signal| format!("{}/Export", signal.service()));
    vec![
        KeyValue::new("rpc.method", method),
        KeyValue::new("rpc.response.status_code", status_name(status)),
        KeyValue::new("rpc.system.name", "grpc"),
    ]
}

/// The name of a status in google.rpc.Code.
fn status_name(status: Option<Status>) -> String {
    let Some(status) = status else {
        return "OK".to_owned();
    };
    if status == Status::Cancelled {
        return "CANCELLED".to_owned();
    }
    let mut name = String::new();
    for c in status.name().chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_names_of_google_rpc_code() {
        assert_eq!(status_name(None), "OK");
        assert_eq!(status_name(Some(Status::Cancelled)), "CANCELLED");
        assert_eq!(status_name(Some(Status::DeadlineExceeded)), "DEADLINE_EXCEEDED");
        assert_eq!(status_name(Some(Status::Unavailable)), "UNAVAILABLE");
    }

    #[test]
    fn a_server_is_named_as_the_client_named_it() {
        let of = |headers: &HeaderMap, uri: &str| {
            let found = host(headers, &uri.parse().expect("a URI"));
            found.iter().map(|a| format!("{}={}", a.key, a.value)).collect::<Vec<_>>().join(" ")
        };
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers, "/v1/traces"), "");
        headers.insert(header::HOST, header::HeaderValue::from_static("[::1]:4318"));
        assert_eq!(of(&headers, "/v1/traces"), "server.address=::1 server.port=4318");
        assert_eq!(of(&headers, "http://backend/v1/traces"), "server.address=backend");
    }
}
