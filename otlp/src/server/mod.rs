//! Taking OTLP: gRPC, HTTP, or both on one port.
//!
//! # Life of a request
//! 1. The head decides the protocol (content type `application/grpc` over HTTP/2 is gRPC, all else is HTTP) and the
//!    signal; signals that no pipeline takes do not exist.
//! 2. The authenticator, where there is one, checks the caller by the head alone.
//! 3. The body becomes one piece of memory. It is decompressed and validated, large ones beside the threads that move
//!    requests. What came and what it becomes are limited, and reserved. Attributes beyond their limits are cut away.
//! 4. The payload is handed to the output of its signal, and its receipt is awaited.
//! 5. What the receipt says becomes the answer: retryable failures stay retryable for the sender.

mod cors;
mod grpc;
mod http;
mod intake;
mod reading;
mod strangers;
mod unary;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Request, Response, Version, header};
use futures_util::poll;
use hyper::body::Incoming;
use tokio::time::Instant;
use weir_component::{
    AuthData, Budget, Context, Failure, Host, Outputs, Reservation, Status, Stop, Telemetry,
};
use weir_pdata::Signal;

use crate::auth::Authenticator;
use crate::body::Body;
use crate::connection::H2_STREAM_WINDOW;
use crate::http_server::{self, Http, Peer, ServerLimits};
use crate::listen::Listener;
use crate::observed::Requests;
use crate::pace::Pace;
use crate::tls::TlsAcceptor;
use intake::Intake;
use reading::Reader;
use strangers::Strangers;

pub use cors::Cors;
pub use reading::LimitedAttributes;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, protobuf and JSON.
    Http,
    /// Both, decided per request.
    Both,
}

/// Settings of a server.
#[derive(Clone)]
pub struct ServerSettings {
    /// What is spoken. Default both.
    pub protocols: Protocols,
    /// Largest gRPC message, on the wire and decompressed. Default 4 MiB.
    pub max_message: usize,
    /// Largest HTTP body, on the wire and decompressed. Default 20 MiB.
    pub max_body: usize,
    /// HTTP paths by [`Signal::index`], all different of the signals that are served. Default those of OTLP.
    pub paths: [String; 4],
    /// Values of `content-encoding` that HTTP accepts, `""` for none; `None`: all that are supported. Default `None`.
    pub content_encodings: Option<Vec<String>>,
    /// Put request headers into the context of batches. Default false.
    pub include_metadata: bool,
    /// Headers on every HTTP response.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// Answers to web pages of other origins. Default none.
    pub cors: Option<Cors>,
    /// What is cut away of attributes. Default nothing.
    pub attributes: Option<Arc<LimitedAttributes>>,
    /// Checks callers. Default none.
    pub auth: Option<Authenticator>,
    /// TLS. Default clear text.
    pub tls: Option<TlsAcceptor>,
    /// From which every request is reserved as it arrives, for as long as something of it is held. Default without
    /// limit; receivers give that of their host.
    pub budget: Budget,
    /// Whose threads for blocking work read large requests, so that others do not wait for them. Default none: they are
    /// read where they arrive.
    pub host: Option<Host>,
    /// With what requests are measured and traced. Default not at all.
    pub telemetry: Telemetry,
    /// Limits of connections. `http` in it is overruled by `protocols`.
    pub limits: ServerLimits,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            protocols: Protocols::Both,
            max_message: 4 << 20,
            max_body: 20 << 20,
            paths: Signal::ALL.map(|s| s.path().to_owned()),
            content_encodings: None,
            include_metadata: false,
            response_headers: Vec::new(),
            cors: None,
            attributes: None,
            auth: None,
            tls: None,
            budget: Budget::default(),
            host: None,
            telemetry: Telemetry::default(),
            limits: ServerLimits::default(),
        }
    }
}

/// Serves OTLP on `listener` until `stop` is requested, then finishes the requests under way and returns. The signals
/// that have a port in `outputs` are served, the others are answered as unknown.
pub async fn serve(listener: Listener, settings: ServerSettings, outputs: Outputs, stop: Stop) {
    // Over TLS, HTTP clients may choose HTTP/2; in clear text those with prior knowledge may too.
    let limits = ServerLimits { http: Http::Both, ..settings.limits.clone() };
    let is_grpc = settings.protocols == Protocols::Grpc;
    let tls = settings.tls.clone();
    let budget = settings.budget.clone();
    let observed = Requests::new(&settings.telemetry);
    let intake = Intake::new(outputs, Reader::new(settings.host.clone(), settings.attributes.clone()));
    let strangers = settings.host.as_ref().map(Host::shared).unwrap_or_default();
    let server = Arc::new(Server { intake, observed, strangers, stop: stop.clone(), settings });
    if is_grpc {
        let connection = move |io, peer, activity| unary::drive(io, Arc::clone(&server), peer, activity);
        return http_server::accept(Arc::new(listener), tls, &limits, stop, connection).await;
    }
    // Boxed here: what wraps the handler would move it from hand to hand, and it is large.
    let handler = move |request: Request<Incoming>, peer: &Arc<Peer>| {
        Box::pin(Arc::clone(&server).answer(request, Arc::clone(peer)))
    };
    http_server::serve_within(listener, tls, limits, budget, stop, handler).await;
}

struct Server {
    settings: ServerSettings,
    intake: Intake,
    observed: Option<Requests>,
    strangers: Arc<Strangers>,
    stop: Stop,
}

/// How long a request may go on arriving once the server is to stop.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Why a request did not arrive.
enum Late {
    /// It took too long.
    Slow,
    /// The server is to stop and does not wait for clients that send nothing.
    Stopping,
}

impl Server {
    /// Who sends a request; nobody in particular without an authenticator. Its head is held for as long as that takes, and the
    /// `early` bytes of its body that may come meanwhile, unless the answer is known at once.
    /// Who waits to be told when the server is to stop is sent away.
    async fn caller<B>(&self, request: &Request<B>, early: usize) -> Result<AuthData, Failure> {
        let Some(auth) = &self.settings.auth else { return Ok(AuthData::new()) };
        let mut held = self.settings.budget.reserve(http_server::header_bytes(request.headers()))?;
        let mut check = pin!(auth.check(request));
        if let Poll::Ready(checked) = poll!(check.as_mut()) {
            return checked;
        }
        let _place = self.strangers.wait(&mut held, early, &self.settings.budget)?;
        tokio::select! {
            biased;
            checked = check => checked,
            () = self.stopping() => {
                Err(Failure::retry("the server is shutting down").with_status(Status::Unavailable))
            }
        }
    }

    /// Completes when the server does not wait for callers any more.
    #[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
    async fn stopping(&self) {
        self.stop.requested().await;
        tokio::time::sleep(LAST_BYTES).await;
    }

    /// What is taken by HTTP at that path. Signals that are not served do not exist: their path may be that of another.
    fn signal_at(&self, path: &str) -> Option<Signal> {
        let is_there = |s: &Signal| self.intake.takes(*s) && self.settings.paths[s.index()] == path;
        Signal::ALL.into_iter().find(is_there)
    }

    /// What is reserved for a request whose head was read.
    fn room(&self, context: &Context) -> Result<Reservation, Failure> {
        self.settings.budget.reserve(intake::held_by(context))
    }

    /// Reads a request within the time that it may take, while it keeps the pace; `arrived` says how much is there.
    #[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
    async fn arrival<T>(&self, reading: impl Future<Output = T>, arrived: &AtomicUsize) -> Result<T, Late> {
        let mut reading = pin!(reading);
        // Most requests are there at the first look, and for those no timer is set up.
        if let Poll::Ready(read) = poll!(reading.as_mut()) {
            return Ok(read);
        }
        tokio::select! {
            biased;
            read = reading => Ok(read),
            () = self.stopping() => Err(Late::Stopping),
            () = tokio::time::sleep(self.settings.limits.body_timeout) => Err(Late::Slow),
            () = too_slow(&self.settings.limits, arrived) => Err(Late::Slow),
        }
    }

    /// Answers where the library serves the connection: on ports that do not speak gRPC only.
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Arc<Peer>) -> Response<Body> {
        let is_grpc = self.settings.protocols == Protocols::Both
            && request.version() == Version::HTTP_2
            && has_grpc_content_type(&request);
        if is_grpc {
            self.observed_grpc(request, &peer).await
        } else {
            self.observed_http(request, &peer).await
        }
    }

    async fn observed_grpc(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let Some(observed) = &self.observed else {
            return self.grpc(request, peer).await;
        };
        let signal = self.signal(request.method(), request.uri().path()).ok();
        observed.grpc(signal, async || self.grpc(request, peer).await).await
    }

    async fn observed_http(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let Some(observed) = &self.observed else {
            return self.http(request, peer).await;
        };
        let served = self.signal_at(request.uri().path());
        let route = served.map(|s| self.settings.paths[s.index()].as_str());
        let tls = self.settings.tls.is_some();
        observed.http(request, route, tls, async |request| self.http(request, peer).await).await
    }
}

/// Bytes of a body that its connection may have before anybody reads it: over HTTP/2 a window, over HTTP/1.1 none that are
/// not in its read buffer.
fn early<B: http_body::Body>(request: &Request<B>) -> usize {
    if request.version() != Version::HTTP_2 || request.body().is_end_stream() {
        return 0;
    }
    let announced = request.body().size_hint().upper().and_then(|most| usize::try_from(most).ok());
    announced.unwrap_or(usize::MAX).min(H2_STREAM_WINDOW as usize)
}

/// Completes when too little has arrived.
#[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
async fn too_slow(limits: &ServerLimits, arrived: &AtomicUsize) {
    let mut pace = Pace::new(limits, Instant::now());
    while pace.keeps_up(arrived.load(Ordering::Relaxed), Instant::now()) {
        tokio::time::sleep_until(pace.next_look()).await;
    }
}

/// What a sender said, as far as an answer repeats it: an answer is not much larger than its request, which can name a long
/// text by a few bytes (RFC 7541, 6.1).
fn repeated(said: &str) -> Cow<'_, str> {
    const MOST: usize = 128;
    match said.len() {
        ..=MOST => said.into(),
        _ => format!("{}...", &said[..said.floor_char_boundary(MOST)]).into(),
    }
}

fn has_grpc_content_type<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
