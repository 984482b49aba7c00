//! When which limit is reached, with the band of the slope, or where the growth levels off before.
//!
//! That gRPC closes idle sockets is its default; no source tells what `grpc.WithIdleTimeout` says, so the note does.

use super::classify::Class;
use super::input::{Resource, Source};
use super::series::Series;
use super::stats;
use super::view::{Judgement, View};
use super::words::span;
use weir_connection::report::{Forecast, State};

/// Seconds after which grpc-go closes the socket of an idle client, since version 1.59, unless `grpc.WithIdleTimeout` says otherwise.
pub(crate) const GRPC_IDLE_TIMEOUT: f64 = 1800.0;
/// Memory per leaked gRPC client connection, bytes, where it cannot be measured: 56 KB with grpc-go 1.85, 87 KB with 1.60.
const GRPC_BYTES: f64 = 56_000.0;
/// Blocks, and growth within them, from which memory per item is measured.
const MIN_BLOCKS: usize = 6;
const MIN_GROWTH: f64 = 20.0;

/// Growth per second with its band.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The forecasts of a finding that grows, soonest first, then those that are never reached.
pub(crate) fn forecasts(view: &View<'_>, judgement: &Judgement, rate: Rate) -> Vec<Forecast> {
    if !matches!(judgement.state, State::Suspect | State::Leaking) || rate.median <= 0.0 {
        return Vec::new();
    }
    let mut list: Vec<Forecast> =
        [memory(view, rate), descriptors(view, judgement, rate), ports(view, judgement, rate)]
            .into_iter()
            .flatten()
            .collect();
    list.sort_by(|a, b| a.seconds.unwrap_or(f64::INFINITY).total_cmp(&b.seconds.unwrap_or(f64::INFINITY)));
    list
}

fn memory(view: &View<'_>, rate: Rate) -> Option<Forecast> {
    let facts = &view.process.facts;
    let (limit, used) = (facts.memory_limit?, facts.memory?);
    let grpc = matches!(view.primary.subject.resource, Resource::GrpcClient | Resource::GrpcConnection);
    let (per_item, note) = match bytes_per_item(view) {
        Some(bytes) => (bytes, "memory of one is measured"),
        None if grpc => (GRPC_BYTES, "memory of one is typical, not measured yet"),
        None => return None,
    };
    Some(reached("memory", "By", limit, used, per_item, rate, note))
}

/// Bytes of resident memory per open one, from the blocks since the onset.
fn bytes_per_item(view: &View<'_>) -> Option<f64> {
    let onset = view.primary.basis().onset;
    let points: Vec<(f64, f64)> = view
        .primary
        .fine
        .blocks()
        .iter()
        .filter(|block| block.time >= onset && !block.memory.is_nan())
        .map(|block| (f64::from(block.open), f64::from(block.memory)))
        .collect();
    let growth = points.last()?.0 - points.first()?.0;
    if points.len() < MIN_BLOCKS || growth < MIN_GROWTH {
        return None;
    }
    stats::theil_sen(&points).map(|slopes| slopes.median).filter(|bytes| *bytes >= 1.0)
}

fn descriptors(view: &View<'_>, judgement: &Judgement, rate: Rate) -> Option<Forecast> {
    let facts = &view.process.facts;
    let (limit, used) = (facts.descriptor_limit?, facts.descriptors?);
    sockets(view, judgement, rate, ("descriptors", "{file_descriptor}"), limit, used)
}

fn ports(view: &View<'_>, judgement: &Judgement, rate: Rate) -> Option<Forecast> {
    let limit = view.process.facts.ephemeral_ports?;
    if !view.client() || view.members.iter().all(|m| m.subject.target.is_empty()) {
        return None;
    }
    sockets(view, judgement, rate, ("ephemeral_ports", "{port}"), limit, open_sockets(view))
}

fn sockets(
    view: &View<'_>,
    judgement: &Judgement,
    rate: Rate,
    (resource, unit): (&str, &str),
    limit: f64,
    used: f64,
) -> Option<Forecast> {
    if matches!(judgement.class, Some(Class::ClientUnclosedIdle)) {
        return Some(never(resource, unit, limit, used, "their sockets are closed already"));
    }
    if matches!(judgement.class, Some(Class::StreamNotCancelled)) {
        return Some(never(resource, unit, limit, used, "streams share a connection"));
    }
    if !matches!(view.primary.subject.resource, Resource::Goroutine | Resource::GrpcStream) {
        let hit = reached(resource, unit, limit, used, 1.0, rate, "");
        if !closes_idle(view) {
            return Some(hit);
        }
        let timeout = GRPC_IDLE_TIMEOUT;
        let more = |rate: f64| (rate * timeout - open_sockets(view)).max(0.0);
        let note = format!("grpc closes idle ones after {} by default", span(timeout));
        if used + more(rate.median) < limit {
            let plateau = Some(used + more(rate.median));
            return Some(Forecast { plateau, per_item: 1.0, ..never(resource, unit, limit, used, &note) });
        }
        // By the lower bound of the rate it may level off below the limit.
        let seconds_high = hit.seconds_high.filter(|_| used + more(rate.low) >= limit);
        return Some(Forecast { seconds_high, ..hit });
    }
    None
}

/// Whether the library closes the sockets of idle ones unless it is told otherwise (`grpc.WithIdleTimeout`).
fn closes_idle(view: &View<'_>) -> bool {
    let grpc = |m: &&Series| matches!(m.subject.resource, Resource::GrpcClient | Resource::GrpcConnection);
    view.client() && view.members.iter().any(grpc)
}

/// Sockets of the finding now.
fn open_sockets(view: &View<'_>) -> f64 {
    let seen = view.sockets().filter(|sockets| sockets.fresh).map(|sockets| sockets.open);
    seen.or_else(|| view.of(Source::Events, &Resource::GrpcConnection).map(|m| m.open_now()).reduce(f64::max))
        .unwrap_or_else(|| view.primary.open_now())
}

fn reached(
    resource: &str,
    unit: &str,
    limit: f64,
    used: f64,
    per_item: f64,
    rate: Rate,
    note: &str,
) -> Forecast {
    let left = (limit - used).max(0.0);
    let seconds = |rate: f64| (rate > 0.0).then(|| left / (rate * per_item)).filter(|s| s.is_finite());
    Forecast {
        resource: resource.to_owned(),
        limit,
        used,
        unit: unit.to_owned(),
        per_item,
        seconds: seconds(rate.median),
        seconds_low: seconds(rate.high),
        seconds_high: seconds(rate.low),
        plateau: None,
        note: note.to_owned(),
    }
}

fn never(resource: &str, unit: &str, limit: f64, used: f64, note: &str) -> Forecast {
    Forecast {
        resource: resource.to_owned(),
        limit,
        used,
        unit: unit.to_owned(),
        note: note.to_owned(),
        ..Forecast::default()
    }
}
