//! A server on a free port with a pipeline that remembers, and raw clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use weir_component::{Batch, Consumer, Context, Outcome, Output, Outputs, Port, Stop, Stopper, async_trait};
use weir_otlp::Listener;
use weir_otlp::server::{self, ServerSettings};
use weir_pdata::otlp::{LogsRequest, MetricsRequest, ProfilesRequest, TracesRequest};
use weir_pdata::otlp::{common, gauge, kv, logs, metrics, point, profiles, resource, scope, trace};
use weir_pdata::{Payload, Signal};

/// What each request counts as beside its content.
pub(crate) const BESIDE: usize = 512;

/// A pipeline that remembers its batches and settles them as told.
pub(crate) struct Pipeline {
    pub(crate) batches: Mutex<Vec<(Payload, Arc<Context>)>>,
    pub(crate) outcome: Mutex<Outcome>,
    pub(crate) open: watch::Sender<bool>,
}

#[async_trait]
impl Consumer for Pipeline {
    async fn consume(&self, batch: Batch) {
        self.batches.lock().expect("lock").push((batch.payload, batch.context));
        drop(self.open.subscribe().wait_for(|open| *open).await);
        let outcome = self.outcome.lock().expect("lock").clone();
        batch.receipt.settle(outcome);
    }
}

impl Pipeline {
    pub(crate) fn payloads(&self) -> Vec<Payload> {
        self.batches.lock().expect("lock").iter().map(|(p, _)| p.clone()).collect()
    }

    pub(crate) async fn holds(&self, batches: usize) {
        while self.batches.lock().expect("lock").len() < batches {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) stopper: Stopper,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) async fn start(settings: ServerSettings) -> Server {
    start_with(settings, &Signal::ALL).await
}

pub(crate) async fn start_with(settings: ServerSettings, signals: &[Signal]) -> Server {
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    serve(listener, settings, signals)
}

#[expect(clippy::disallowed_methods, reason = "a test stands in for the engine")]
pub(crate) fn serve(listener: Listener, settings: ServerSettings, signals: &[Signal]) -> Server {
    let address = listener.local_addr().unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
    let pipeline = Arc::new(Pipeline {
        batches: Mutex::default(),
        outcome: Mutex::new(Ok(())),
        open: watch::Sender::new(true),
    });
    let output = Output::new(Arc::clone(&pipeline) as Arc<dyn Consumer>);
    let port =
        |signal: &Signal| Port { signal: *signal, pipeline: signal.to_string(), output: output.clone() };
    let outputs = Outputs::new(signals.iter().map(port).collect());
    let (stopper, stop) = Stop::new();
    let task = tokio::spawn(server::serve(listener, settings, outputs, stop));
    Server { address, pipeline, stopper, task }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn stopped(self) {
        drop(self.stopper);
        self.task.await.expect("ended without a panic");
    }
}

/// A request over HTTP/1.1.
pub(crate) async fn http(
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> (StatusCode, HeaderMap, Bytes) {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response =
        client.request(request.body(Full::new(body.into())).expect("request")).await.expect("response");
    let (head, body) = response.into_parts();
    (head.status, head.headers, body.collect().await.expect("body").to_bytes())
}

/// A connection that knows HTTP/2, and what drives it until it is dropped.
pub(crate) async fn h2_client(address: SocketAddr) -> (h2::client::SendRequest<Bytes>, JoinSet<()>) {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let (sender, connection) = h2::client::handshake(stream).await.expect("handshake");
    let mut driver = JoinSet::new();
    driver.spawn(async { drop(connection.await) });
    (sender.ready().await.expect("ready"), driver)
}

/// A raw gRPC call; the answer is the HTTP status and headers and trailers together.
pub(crate) async fn grpc(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (StatusCode, HeaderMap) {
    let (mut sender, _driver) = h2_client(address).await;
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, mut stream) =
        sender.send_request(request.body(()).expect("request"), false).expect("sent");
    // The server may answer before it has read everything.
    drop(stream.send_data(Bytes::copy_from_slice(body), true));
    let (head, mut body) = response.await.expect("response").into_parts();
    let mut all = head.headers;
    while let Some(piece) = body.data().await {
        let piece = piece.expect("data");
        body.flow_control().release_capacity(piece.len()).expect("released");
    }
    all.extend(body.trailers().await.expect("trailers").unwrap_or_default());
    (head.status, all)
}

pub(crate) fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[u8::from(compressed)], &length[..], message].concat()
}

/// A request with `n` items of that signal.
pub(crate) fn sample(signal: Signal, n: usize) -> Payload {
    let resource = Some(resource(vec![kv("service.name", "test")]));
    let scope = Some(scope("scope", "1"));
    match signal {
        Signal::Traces => {
            let span = |i: usize| trace::v1::Span {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                name: format!("span {i}"),
                ..Default::default()
            };
            let scope_spans = vec![trace::v1::ScopeSpans {
                scope,
                spans: (0..n).map(span).collect(),
                ..Default::default()
            }];
            TracesRequest {
                resource_spans: vec![trace::v1::ResourceSpans {
                    resource,
                    scope_spans,
                    ..Default::default()
                }],
            }
            .into()
        }
        Signal::Metrics => {
            let points = (0..n).map(|i| point(1, 0, i as f64 + 0.5, Vec::new())).collect();
            let scope_metrics = vec![metrics::v1::ScopeMetrics {
                scope,
                metrics: vec![gauge("g", "1", "", points)],
                ..Default::default()
            }];
            MetricsRequest {
                resource_metrics: vec![metrics::v1::ResourceMetrics {
                    resource,
                    scope_metrics,
                    ..Default::default()
                }],
            }
            .into()
        }
        Signal::Logs => logs_request(n, |i| format!("body {i}")).into(),
        Signal::Profiles => {
            let samples = (0..n).map(|_| profiles::v1development::Sample::default()).collect();
            let profiles = vec![profiles::v1development::Profile { samples, ..Default::default() }];
            let scope_profiles =
                vec![profiles::v1development::ScopeProfiles { scope, profiles, ..Default::default() }];
            ProfilesRequest {
                resource_profiles: vec![profiles::v1development::ResourceProfiles {
                    resource,
                    scope_profiles,
                    ..Default::default()
                }],
                ..Default::default()
            }
            .into()
        }
    }
}

pub(crate) fn logs_request(n: usize, body: impl Fn(usize) -> String) -> LogsRequest {
    let record = |i: usize| logs::v1::LogRecord {
        body: Some(common::v1::AnyValue { value: Some(common::v1::any_value::Value::StringValue(body(i))) }),
        ..Default::default()
    };
    let scope_logs =
        vec![logs::v1::ScopeLogs { log_records: (0..n).map(record).collect(), ..Default::default() }];
    LogsRequest { resource_logs: vec![logs::v1::ResourceLogs { scope_logs, ..Default::default() }] }
}

/// Text that does not compress well.
pub(crate) fn noise(bytes: usize) -> String {
    let mut state = 1u64;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        text.push_str(&format!("{:x}", state >> 16));
    }
    text
}

/// Fails a test that waits for something that never comes.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("ended in time")
}
