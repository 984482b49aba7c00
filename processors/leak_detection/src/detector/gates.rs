//! What keeps growth from being called a leak: lost telemetry, and connections that are in use.

use super::input::{Resource, Side, Source};
use super::series::Series;
use super::view::View;
use weir_connection::report::State;

/// Part of what is believed open that the other views must at least show.
const SEEN: f64 = 0.5;
/// Blocks for which they must show less before what was leaking is not: events of many ends at once arrive later than the
/// views that see them gone.
const DOUBT_BLOCKS: i64 = 2;
/// Streams per connection of the growth from which its connections count as in use.
const STREAMED: f64 = 0.5;

/// Why growth is not called a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The events say open, the other views do not: ends were lost on the way.
    TelemetryLoss,
    /// Each connection of the growth carries an open stream: watchers being added look the same.
    InUse,
    /// Only goroutines grow: not a matter of connections.
    OnlyGoroutines,
}

impl Gate {
    /// The highest state that the gate lets pass.
    pub(crate) fn cap(self, state: State) -> State {
        match (self, state) {
            (Gate::TelemetryLoss, _) => State::Ok,
            (_, State::Leaking) => State::Suspect,
            (_, other) => other,
        }
    }
}

/// The gate that applies to the primary of a view.
pub(crate) fn gate(view: &View<'_>) -> Option<Gate> {
    if view.primary.subject.resource == Resource::Goroutine {
        return Some(Gate::OnlyGoroutines);
    }
    if contradicted(view) && (view.primary.machine.state != State::Leaking || long_doubted(view)) {
        return Some(Gate::TelemetryLoss);
    }
    in_use(view).then_some(Gate::InUse)
}

fn long_doubted(view: &View<'_>) -> bool {
    doubted_at(view, view.now)
}

/// Whether the primary had been doubted for long at that time.
fn doubted_at(view: &View<'_>, time: i64) -> bool {
    view.primary.doubted.is_some_and(|since| time.saturating_sub(since) >= DOUBT_BLOCKS * view.scale.block)
}

/// Whether the events believe in things that neither kernel nor goroutines show.
///
/// A ClientConn without a socket is no contradiction: gRPC closes the socket of an idle client and keeps its goroutines.
/// Only a census without them, or events known to be lost, contradict it.
pub(crate) fn contradicted(view: &View<'_>) -> bool {
    let primary = view.primary;
    let told = primary.subject.source == Source::Events && primary.subject.resource.is_grpc();
    if !told {
        return false;
    }
    if !view.fresh(primary) {
        // What it told last was believed or it was not.
        return doubted_at(view, view.now.saturating_sub(primary.clock.silence(view.now)));
    }
    let sockets = view.sockets().filter(|sockets| sockets.fresh);
    let sockets_contradict =
        sockets.is_some_and(|s| s.open < SEEN * s.believed && s.growth < SEEN * s.believed);
    let lost = primary.lost_lately() > 0.0;
    match primary.subject.resource {
        Resource::GrpcConnection => sockets_contradict || (sockets.is_none() && mostly_lost(primary)),
        Resource::GrpcClient => match clients_in_census(view) {
            Some(clients) => clients < SEEN * view.believed_at_census(),
            None => (sockets_contradict && lost) || mostly_lost(primary),
        },
        _ => false,
    }
}

/// More events were lost of late than half of what the open ones grew by.
fn mostly_lost(primary: &Series) -> bool {
    let lost = primary.lost_lately();
    lost > 0.0 && lost >= SEEN * primary.basis().growth.max(1.0)
}

/// ClientConns that the goroutines prove, in the whole process; nothing without a recent census.
fn clients_in_census(view: &View<'_>) -> Option<f64> {
    let profile = view.of(Source::Profile, &Resource::GrpcClient).filter(|series| view.fresh(series));
    let profile: Option<f64> = profile.map(Series::open_now).reduce(f64::max);
    let census = &view.process.census;
    let recent = view.now.saturating_sub(view.process.census_seen) <= view.scale.stale.max(60_000_000_000);
    let counted = (recent && census.knows_grpc_clients()).then(|| census.grpc_clients());
    profile.into_iter().chain(counted).reduce(f64::max)
}

/// Whether streams and connections grow together, so that each new connection carries a stream.
fn in_use(view: &View<'_>) -> bool {
    let primary = view.primary;
    let growth = primary.open_growth_since(view.onset_for(primary));
    if growth < 1.0 {
        return false;
    }
    let grown = |series: &Series| series.open_growth_since(view.onset_for(series));
    let others = |wanted: &dyn Fn(&Resource) -> bool| {
        view.members
            .iter()
            .filter(|m| wanted(&m.subject.resource) && view.fresh(m) && !std::ptr::eq::<Series>(**m, primary))
            .map(|m| grown(m))
            .fold(None, |most: Option<f64>, growth| Some(most.map_or(growth, |most| most.max(growth))))
    };
    match primary.subject.resource {
        Resource::GrpcStream => {
            others(&|r| matches!(r, Resource::GrpcClient | Resource::GrpcConnection | Resource::Socket))
                .is_some_and(|connections| connections >= STREAMED * growth)
        }
        Resource::GrpcClient | Resource::GrpcConnection | Resource::Socket => {
            let streams = others(&|r| *r == Resource::GrpcStream);
            let handlers = view.process.census.count("grpc_server_call");
            let served = primary.subject.side == Side::Server && handlers >= STREAMED * primary.open_now();
            streams.is_some_and(|streams| streams >= STREAMED * growth) || served
        }
        _ => false,
    }
}
