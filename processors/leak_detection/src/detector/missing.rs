//! What a finding was judged without, and how to get it.
//!
//! Advised is only what would help: not a source that watches the process already and has nothing to say of this, nor
//! the module for gRPC where the connections are none of gRPC's.

use super::classify::Class;
use super::input::{Resource, Source};
use super::pace;
use super::view::{Judgement, View};
use weir_connection::report::State;
use weir_connection::terminal::units::Clock;

/// What was not available, and how to get it.
pub(crate) fn missing(view: &View<'_>, judgement: &Judgement, sited: bool) -> Vec<String> {
    let has = |source: Source| view.members.iter().any(|m| m.subject.source == source && view.fresh(m));
    let (watches, grpc) = (|source: Source| view.process.heard(source), may_be_grpc(view, judgement));
    let unix = view.members.iter().any(|m| m.subject.target.starts_with("unix:"));
    let quiet = |source: Source| !has(source) && view.members.iter().any(|m| m.subject.source == source);
    let mut list = Vec::new();
    if !has(Source::Events) && !quiet(Source::Events) && grpc {
        match (watches(Source::Events), view.client(), judgement.state) {
            (false, ..) => list.push(
                "events from inside the process: add the companion Go module to the service and the receiver grpc_connections",
            ),
            (true, _, State::Ok) => {}
            // Its clients are told of; that none is told of here says nothing of how these are made.
            (true, true, _) if view.process.reports_clients => {}
            (true, true, _) => list.push(
                "events of these: the service has the companion Go module, but makes them without weir.NewClient",
            ),
            (true, false, _) => list.push(
                "events of these: the service has the companion Go module, but its server has no weir.ServerOption",
            ),
        }
    }
    if !has(Source::Sockets) && !watches(Source::Sockets) && !unix {
        list.push("kernel sockets: add the receiver socket_diag and name this process in `processes`");
    }
    let profiled = has(Source::Profile) || watches(Source::Profile) || !view.process.census.is_empty();
    if !profiled {
        list.push(
            "goroutines: serve net/http/pprof in the service and add the receiver pprof with its address",
        );
    }
    if !sited && view.client() && view.primary.grows() {
        let counted = has(Source::Profile);
        // What was there before the agent has its line from the module's next snapshot on.
        let may_come = has(Source::Events) && view.verdict_in().is_some();
        if !may_come {
            list.push(line(&view.primary.subject.resource, grpc, has(Source::Events), profiled, counted));
        }
    }
    let rare = pace::rare(view.members.iter().map(|series| ((), *series)), view.scale);
    let silent =
        [Source::Events, Source::Sockets, Source::Profile].into_iter().filter(|source| quiet(*source));
    let silent = silent.map(|source| silence(view, source));
    silent.chain(list.into_iter().map(str::to_owned)).chain(rare.into_values()).collect()
}

/// Since when a source that told of them is silent, and where to look.
fn silence(view: &View<'_>, source: Source) -> String {
    let (what, look) = match source {
        Source::Events => ("events", "the service, its way to this agent, and what takes them in this agent"),
        Source::Sockets => ("kernel sockets", "the receiver socket_diag"),
        Source::Profile => {
            ("goroutines", "the service, whether its net/http/pprof answers, and the receiver pprof")
        }
    };
    let of = view.members.iter().filter(|m| m.subject.source == source);
    let silence = of.map(|m| m.clock.silence(view.now)).min().unwrap_or(0);
    let since = Clock::UTC.full(view.wall(view.now.saturating_sub(silence)));
    format!("{what} since {since}, when they ceased: look at {look}")
}

/// How to get the line; `counted` says that a profile counts them, too.
fn line(resource: &Resource, grpc: bool, events: bool, profiled: bool, counted: bool) -> &'static str {
    match (resource, grpc) {
        (Resource::Socket | Resource::CloseWait, false) if profiled && !counted => {
            "the line that opens them: no source tells it of plain sockets; look for the code that dials this target"
        }
        (Resource::GrpcStream, _) => {
            "the line that opens them: the companion Go module reports it; look for streaming calls to this target that nobody cancels"
        }
        (_, true) if events => {
            "the line that makes them: weir.NewClient reports it, weir.DialOption does not"
        }
        (_, true) => {
            "the line that makes them: the companion Go module reports it exactly, a heap profile approximately"
        }
        (_, false) if profiled => {
            "the line that makes them: the heap profile shows it approximately once some hundreds are open"
        }
        (_, false) => {
            "the line that makes them: a heap profile, by the receiver pprof, shows it approximately"
        }
    }
}

/// Whether the module for gRPC could tell of them: they are gRPC's, or nothing says that they are not.
fn may_be_grpc(view: &View<'_>, judgement: &Judgement) -> bool {
    let census = &view.process.census;
    match (&view.primary.subject.resource, judgement.class) {
        (resource, _) if resource.is_grpc() => true,
        (_, Some(Class::HttpBody | Class::TransportPerRequest | Class::PeerClosed)) => false,
        (Resource::Socket, _) if view.client() => census.is_empty() || census.grpc_clients() >= 1.0,
        (Resource::Socket, _) => census.is_empty() || census.grpc_server_goroutines() >= 1.0,
        _ => false,
    }
}
