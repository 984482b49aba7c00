//! An HTTP server with limits, for OTLP and for pages: HTTP/1.1 and HTTP/2, one task per connection, orderly stop.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::OptionFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::task::{self, JoinSet};
use weir_component::{Budget, Stop};

use crate::addresses::{Addresses, Full, Rarely};
use crate::body::Body;
use crate::clock::pause;
use crate::connection::{self, Leaving};
use crate::descriptors::Use;
use crate::handshake::Handshakes;
use crate::io::Io;
use crate::lifetime::Activity;
use crate::listen::Listener;
use crate::local_host;
use crate::resting::Resting;
use crate::tls::TlsAcceptor;

/// Versions of HTTP that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2, in clear text with prior knowledge.
    Two,
    /// Both, decided by the first bytes of a connection.
    Both,
}

/// Limits of a server. `Default` is safe for an endpoint that anybody can reach.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLimits {
    /// Versions. Default both.
    pub http: Http,
    /// Connections at once; further ones wait in the system's backlog, and the log says so once a minute. Default 10,000.
    pub max_connections: usize,
    /// Have a further connection end the one that has rested longest instead of waiting. Default false; pages set it, so
    /// that who only holds connections cannot take them away.
    pub make_room: bool,
    /// Whose connections they are, which says what they leave of the descriptors of the process. Default senders of
    /// telemetry.
    pub for_use: Use,
    /// Connections of one address at once; further ones are closed, and the log says so once a minute. Loopback addresses
    /// and Unix sockets have no such limit. A network of IPv6 (/64) has at most half of all places, or as many as one address.
    /// Default 1,000.
    pub max_connections_per_address: usize,
    /// HTTP/2 streams at once on a connection. Default 100.
    pub max_concurrent_streams: u32,
    /// Names and values of all headers of a request. Default 16 KiB.
    pub max_header_bytes: u32,
    /// For the TLS handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// From connecting (or the TLS handshake) to the end of the head of the first request, and from the first byte of any
    /// further head to its end. Default 10 s.
    pub head_timeout: Duration,
    /// HTTP/1.1: between two requests; `None`: for ever. Default 120 s, longer than the usual reporting interval of 60 s.
    pub idle_timeout: Option<Duration>,
    /// For the body of a request. Default 60 s.
    pub body_timeout: Duration,
    /// Bytes a second that the body of a request has to bring on average. Default 1024.
    pub min_body_rate: usize,
    /// How often that is looked at. Default every 10 s.
    pub body_look: Duration,
    /// A connection ends when so long nothing is taken of what waits to be written; over HTTP/2 of what waits for a window
    /// too, except on ports for gRPC alone. Default 60 s.
    pub write_timeout: Duration,
    /// From the head of a request to the end of its answer; ports for gRPC alone have no such limit. What takes longer
    /// ends the connection, over HTTP/2 the stream. Default without limit.
    pub answer_timeout: Option<Duration>,
    /// HTTP/2: a ping is sent after that time without any frame. Default 60 s.
    pub ping_interval: Option<Duration>,
    /// HTTP/2: a connection that does not answer a ping within that time is closed. Default 20 s.
    pub ping_timeout: Duration,
    /// Ports for gRPC alone: how often peers may ping. Default as often as other frames that are not requests.
    pub ping_policy: Option<PingPolicy>,
    /// A connection without requests is told to go after that time, or up to twice that. Default never.
    pub max_connection_idle: Option<Duration>,
    /// Any connection is told to go after that time, give or take 20 %, so that clients spread over new servers.
    /// Default 30 min.
    pub max_connection_age: Option<Duration>,
    /// How long its requests may then go on. Default without limit.
    pub max_connection_age_grace: Option<Duration>,
    /// Several requests on a connection. Default true.
    pub keep_alive: bool,
    /// Refuse requests that name another host than this one when the listener is bound to a loopback address, so that
    /// a web site cannot read pages through a name it has rebound to 127.0.0.1. Default false; pages set it.
    pub check_host: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            http: Http::Both,
            max_connections: 10_000,
            make_room: false,
            for_use: Use::Telemetry,
            max_connections_per_address: 1_000,
            max_concurrent_streams: 100,
            max_header_bytes: 16 << 10,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(120)),
            body_timeout: Duration::from_secs(60),
            min_body_rate: 1024,
            body_look: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            answer_timeout: None,
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(20),
            ping_policy: None,
            max_connection_idle: None,
            max_connection_age: Some(Duration::from_secs(30 * 60)),
            max_connection_age_grace: None,
            keep_alive: true,
            check_host: false,
        }
    }
}

impl ServerLimits {
    /// For pages of operators on an address that should be loopback.
    pub fn of_pages() -> ServerLimits {
        let safe = ServerLimits::default();
        ServerLimits {
            max_connections: 256,
            make_room: true,
            for_use: Use::Pages,
            // A page is there whole from the request on until its peer has taken it.
            max_concurrent_streams: 4,
            max_connection_idle: safe.idle_timeout,
            check_host: true,
            ..safe
        }
    }
}

/// Which pings a gRPC server puts up with. A peer that pings more often a third time is sent away (`too_many_pings`);
/// an answer to a request makes up for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingPolicy {
    /// Least time between two pings.
    pub min_time: Duration,
    /// Whether that goes for peers without a request under way too; else they may ping every two hours.
    pub permit_without_stream: bool,
}

/// Who sent a request.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Its address; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
}

/// Serves `handler` on `listener` until `stop` is requested, then stops accepting, tells all peers to go (GOAWAY on
/// HTTP/2), answers the requests under way and returns. Dropping the future closes all connections at once.
///
/// Requests over `max_header_bytes` are answered 431, with `check_host` foreign hosts 403; all others come to `handler`.
pub async fn serve<H, F>(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    limits: ServerLimits,
    stop: Stop,
    handler: H,
) where
    H: Fn(Request<Incoming>, &Arc<Peer>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    serve_within(listener, tls, limits, Budget::default(), stop, handler).await;
}

/// [`serve`]; what its connections hold before it is a request is reserved in `budget`.
pub(crate) async fn serve_within<H, F>(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    limits: ServerLimits,
    budget: Budget,
    stop: Stop,
    handler: H,
) where
    H: Fn(Request<Incoming>, &Arc<Peer>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = Arc::new(listener);
    let local = listener.local_addr().is_some_and(|a| a.ip().is_loopback());
    let check_host = limits.check_host && local;
    let port = Arc::downgrade(&listener);
    let shared = Arc::new((limits.clone(), budget, stop.clone(), handler));
    let connection = move |io, peer, activity| {
        let (shared, port) = (Arc::clone(&shared), Weak::clone(&port));
        async move {
            let (limits, budget, stop, handler) = &*shared;
            let answer = |request: Request<Incoming>| guarded(request, &peer, limits, check_host, handler);
            let leaving = || match port.upgrade().and_then(|port| port.handed_over()) {
                Some(agent_ends) => Leaving::HandedOver(agent_ends),
                None => Leaving::Closed,
            };
            connection::drive(io, activity, limits, budget, stop, leaving, answer).await;
        }
    };
    accept(listener, tls, &limits, stop, connection).await;
}

/// How many may come to a full port in a [`TURN`]: a crowd would end connections before their first request is read. With the
/// 256 places of a page each has about a tenth of a second, and a crowd of 800 that come again has others wait for about half
/// a second.
const AT_ONCE: u64 = 4;
const TURN: Duration = Duration::from_millis(1);

/// Accepts connections until `stop` is requested, has each served by `connection`, and returns when all of them have
/// ended; whoever serves them has to see to that.
pub(crate) async fn accept<C, F>(
    listener: Arc<Listener>,
    tls: Option<TlsAcceptor>,
    limits: &ServerLimits,
    stop: Stop,
    connection: C,
) where
    C: Fn(Io, Arc<Peer>, Activity) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let endpoint = listener.local_addr();
    let handshakes = tls.map(|tls| Handshakes::new(tls, limits.handshake_timeout, endpoint));
    let shared = Arc::new((handshakes, connection));
    let addresses = Addresses::default();
    let mut full = Rarely::default();
    let (mut resting, mut made_room) = (Resting::default(), 0_u64);
    let mut connections = JoinSet::new();
    // Kept over the turns, because it may hold a connection.
    let mut accepting = Box::pin(listener.accept(limits.for_use));
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => break,
            Some(ended) = connections.join_next_with_id() => resting.leave(over(ended)),
            (io, address) = &mut accepting, if limits.make_room || connections.len() < limits.max_connections => {
                accepting.set(listener.accept(limits.for_use));
                let place = match addresses.enter(address, limits) {
                    Ok(place) => place,
                    Err(crowd) => {
                        report_crowd(&crowd);
                        continue;
                    }
                };
                if connections.len() >= limits.max_connections {
                    if !resting.make_room() {
                        continue;
                    }
                    made_room += 1;
                    if made_room.is_multiple_of(AT_ONCE) {
                        pause(TURN).await;
                    }
                }
                let (shared, activity) = (Arc::clone(&shared), Activity::default());
                let of_connection = activity.clone();
                let connection = connections.spawn(async move {
                    let _place = place;
                    let (handshakes, connection) = &*shared;
                    let secured = match handshakes {
                        Some(handshakes) => handshakes.secure(io, address).await,
                        None => Some(io),
                    };
                    if let Some(io) = secured {
                        connection(io, Arc::new(Peer { address }), of_connection).await;
                    }
                });
                if limits.make_room {
                    resting.enter(activity, connection);
                }
                if connections.len() >= limits.max_connections && full.once_more().is_some() {
                    report_full(endpoint, limits);
                }
            }
        }
    }
    drop(accepting);
    let handed_over = listener.handed_over();
    // One that was handed over is kept, so that its connections see that.
    let mut listener = handed_over.is_some().then_some(listener);
    let mut agent_ends = pin!(OptionFuture::from(handed_over.as_ref().map(Stop::requested)));
    loop {
        tokio::select! {
            biased;
            _ = &mut agent_ends, if listener.is_some() => listener = None,
            ended = connections.join_next_with_id() => match ended {
                Some(ended) => drop(over(ended)),
                None => break,
            },
        };
    }
}

fn guarded<H, F>(
    request: Request<Incoming>,
    peer: &Arc<Peer>,
    limits: &ServerLimits,
    check_host: bool,
    handler: &H,
) -> impl Future<Output = Response<Body>> + Send + use<H, F>
where
    H: Fn(Request<Incoming>, &Arc<Peer>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let refused = if header_bytes(request.headers()) > limits.max_header_bytes as usize {
        Some(text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request headers are too large\n"))
    } else if check_host && !local_host::is_named(&request) {
        Some(text(StatusCode::FORBIDDEN, "this address serves requests to localhost only\n"))
    } else {
        None
    };
    // The library sees to it over HTTP/1.1.
    let is_bare = request.method() == Method::HEAD && request.version() == Version::HTTP_2;
    let answer = match refused {
        Some(response) => Err(response),
        None => Ok(handler(request, peer)),
    };
    async move {
        let response = match answer {
            Ok(handled) => handled.await,
            Err(response) => response,
        };
        if is_bare { bare(response) } else { response }
    }
}

/// The answer to HEAD: that to GET without its content, the length of which it says.
fn bare(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, Body::empty())
}

/// A response of plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.into())
}

/// A response with that content type.
pub fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

fn report_crowd(crowd: &Full) {
    let Full { source, limit, say: Some(closed) } = crowd else { return };
    tracing::warn!(
        address = %source,
        limit,
        closed,
        "an address has as many connections as it may: new ones from it are closed; where many senders share an address, as \
         behind a load balancer, let it keep theirs (no SNAT), use fewer connections (gRPC, keep-alive) or, of a receiver otlp, \
         raise max_connections_per_address, for a network (/64) max_connections; where one does, see whether it closes what \
         it opens"
    );
}

fn report_full(endpoint: Option<SocketAddr>, limits: &ServerLimits) {
    let endpoint = endpoint.map_or("a unix socket".to_owned(), |endpoint| endpoint.to_string());
    let limit = limits.max_connections;
    if limits.make_room {
        tracing::warn!(
            endpoint,
            limit,
            "the port of a page has as many connections as it may: a new one ends the one that has rested longest; see who \
             opens so many (`ss -tn`) and keep them from this port, which operators and probes need"
        );
    } else {
        tracing::warn!(
            endpoint,
            limit,
            "the port has as many connections as it may: new ones wait; let senders use fewer (gRPC, keep-alive), spread \
             them over more agents, or, of a receiver otlp, raise max_connections"
        );
    }
}

/// Which connection has ended. One that was ended to make room has no answer left to give.
fn over(ended: Result<(task::Id, ()), task::JoinError>) -> task::Id {
    match ended {
        Ok((id, ())) => id,
        Err(e) => {
            if e.is_panic() {
                tracing::error!(error = %e, "a connection's task ended by a panic; its requests were not answered");
            }
            e.id()
        }
    }
}

/// Bytes of names and values.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
