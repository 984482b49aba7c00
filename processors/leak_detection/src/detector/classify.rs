//! Which kind of leak it is; the first rule that fits.

use super::gates::Gate;
use super::input::{Resource, Side, Source, at_bound};
use super::series::{Certain, Series};
use super::view::View;

/// Part of the growth that a sign must explain.
const EXPLAINS: f64 = 0.5;
/// Connections that must have been made before making and closing them counts as churn.
const CHURN: f64 = 20.0;
/// Part of what was closed that may have been old.
const OLD: f64 = 0.1;

/// Kinds of leaks, and of what is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A client is made for each call and never closed.
    ClientPerCall,
    /// Clients are never closed; their sockets are gone, their goroutines stay.
    ClientUnclosedIdle,
    /// Streams are opened and neither read to the end nor cancelled.
    StreamNotCancelled,
    /// The peer closed, the application never did.
    PeerClosed,
    /// A net/http Transport is made for each request.
    TransportPerRequest,
    /// Bodies of HTTP responses are not read to the end and not closed.
    HttpBody,
    /// Clients vanished and the server does not notice.
    ServerHalfOpen,
    /// A duplicated descriptor keeps the socket after Close.
    DescriptorDup,
    /// Many are made and all are closed: no leak.
    Churn,
    /// Events were lost: no verdict.
    TelemetryLoss,
}

impl Class {
    /// The value of `leak.class`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::ClientPerCall => "client_per_call",
            Class::ClientUnclosedIdle => "clientconn_unclosed_idle",
            Class::StreamNotCancelled => "stream_not_cancelled",
            Class::PeerClosed => "peer_closed_app_holds",
            Class::TransportPerRequest => "transport_per_request",
            Class::HttpBody => "http_body_unclosed",
            Class::ServerHalfOpen => "server_half_open",
            Class::DescriptorDup => "fd_dup",
            Class::Churn => "churn",
            Class::TelemetryLoss => "telemetry_loss",
        }
    }
}

/// The class of something that grows, or grew; nothing when no rule fits.
pub(crate) fn growing(view: &View<'_>, gate: Option<Gate>) -> Option<Class> {
    let primary = view.primary;
    let growth = primary.basis().growth.max(primary.open_growth_since(view.onset_for(primary))).max(1.0);
    if gate == Some(Gate::TelemetryLoss) {
        return Some(Class::TelemetryLoss);
    }
    if peer_closed(view, growth) {
        return Some(Class::PeerClosed);
    }
    if view.members.iter().any(|m| m.certain == Some(Certain::AliveAfterEnd)) {
        return Some(Class::DescriptorDup);
    }
    let server = primary.subject.side == Side::Server;
    match &primary.subject.resource {
        Resource::GrpcClient => Some(grpc_client(view)),
        Resource::GrpcConnection if server => Some(Class::ServerHalfOpen),
        Resource::GrpcConnection => grpc_connection(view),
        Resource::GrpcStream => Some(Class::StreamNotCancelled),
        Resource::HttpTransport => Some(Class::TransportPerRequest),
        Resource::Goroutine | Resource::CloseWait => None,
        Resource::Socket if server => Some(Class::ServerHalfOpen),
        Resource::HttpConnection | Resource::Socket | Resource::Other(_) => by_goroutines(view, growth),
    }
}

/// Whether many are made and soon closed again; for a population that does not grow.
pub(crate) fn churns(view: &View<'_>) -> bool {
    let sample = &view.primary.latest;
    let Some((opened, closed)) = sample.opened.zip(sample.closed) else { return false };
    // A leak whose connections were closed at last is none: those had grown old.
    if at_bound(&sample.outlived, view.primary.age).is_some_and(|old| old > OLD * closed) {
        return false;
    }
    let seconds = view.primary.latest_time.saturating_sub(view.primary.first_time) as f64 / 1e9;
    let (begun, first) = (opened - view.primary.first_opened, view.primary.open_now());
    // At least two per window: fewer are the ordinary coming and going of a pool.
    begun >= CHURN
        && begun * view.scale.age >= 2.0 * seconds
        && closed >= 0.9 * opened
        && first <= 0.1 * begun
}

fn peer_closed(view: &View<'_>, growth: f64) -> bool {
    let grown = |series: &Series| series.open_growth_since(view.onset_for(series));
    let primary = &view.primary.subject.resource;
    *primary == Resource::CloseWait
        || (*primary == Resource::Socket
            && view
                .of(Source::Sockets, &Resource::CloseWait)
                .any(|m| m.grows() && grown(m) >= EXPLAINS * growth))
}

fn grpc_client(view: &View<'_>) -> Class {
    let clients = view.primary.open_now();
    if view.primary.certain == Some(Certain::Collected) {
        return Class::ClientUnclosedIdle;
    }
    match view.transports() {
        Some(transports) if transports < EXPLAINS * clients => Class::ClientUnclosedIdle,
        _ => Class::ClientPerCall,
    }
}

/// Connections of a client side: with ClientConns that grow, or unknown ones, it is a client per call; one client that
/// gathers connections is something else.
fn grpc_connection(view: &View<'_>) -> Option<Class> {
    let clients: Vec<&Series> =
        view.members.iter().copied().filter(|m| m.subject.resource == Resource::GrpcClient).collect();
    let flat =
        !clients.is_empty() && clients.iter().all(|m| m.open_now() < EXPLAINS * view.primary.open_now());
    (!flat).then_some(Class::ClientPerCall)
}

/// Sockets and connections of unknown make: the goroutines tell whose they are.
fn by_goroutines(view: &View<'_>, growth: f64) -> Option<Class> {
    let census = &view.process.census;
    let explains = |count: f64| count >= EXPLAINS * growth;
    if view
        .members
        .iter()
        .any(|m| m.subject.resource == Resource::HttpTransport && m.open_now() >= EXPLAINS * growth)
    {
        return Some(Class::TransportPerRequest);
    }
    if explains(census.count("http_reader_in_select")) {
        return Some(Class::HttpBody);
    }
    if explains(census.count("http_reader_on_network")) {
        return Some(Class::TransportPerRequest);
    }
    let grpc = view
        .members
        .iter()
        .any(|m| m.subject.resource == Resource::GrpcClient && m.open_now() >= EXPLAINS * growth);
    (grpc || explains(census.grpc_clients())).then_some(Class::ClientPerCall)
}
