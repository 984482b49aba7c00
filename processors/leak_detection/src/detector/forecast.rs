//! When which limit is reached, with the band of the slope, or where the growth levels off before.
//!
//! What one costs in memory is measured on a process that does other things, too, and whose collector gives memory back
//! in steps: as long as the measure is too uncertain to tell a time by, it is said that there is none yet.
//!
//! That gRPC closes idle sockets is its default; no source tells what `grpc.WithIdleTimeout` says, so the note does.

use super::classify::Class;
use super::input::{Resource, Source};
use super::scale::SECOND;
use super::series::Series;
use super::stats;
use super::view::{Judgement, View};
use super::words::{count, span};
use weir_connection::report::{Forecast, State};
use weir_connection::terminal::units::bytes;

/// Seconds after which grpc-go closes the socket of an idle client, since version 1.59, unless `grpc.WithIdleTimeout` says otherwise.
pub(crate) const GRPC_IDLE_TIMEOUT: f64 = 1800.0;
/// Blocks, and growth within them, from which memory per item is measured.
const MIN_BLOCKS: usize = 6;
const MIN_GROWTH: f64 = 20.0;
/// Part of what one costs by which it may be uncertain: two standard errors.
const UNCERTAIN: f64 = 0.6;

/// Growth per second with its band.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The forecasts of a finding that grows, soonest first, then those that are never reached.
pub(crate) fn forecasts(view: &View<'_>, judgement: &Judgement, rate: Rate) -> Vec<Forecast> {
    let grows = matches!(judgement.state, State::Suspect | State::Leaking) && view.fresh(view.primary);
    if !grows || rate.median <= 0.0 {
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
    let cost = match cost(view) {
        Ok(cost) => cost,
        Err(unknown) => return Some(Forecast { unknown, ..never("memory", "By", limit, used, "") }),
    };
    let note = format!(
        "one costs {} to {}, measured over {}",
        bytes(cost.low),
        bytes(cost.high),
        span(cost.seconds)
    );
    let middle = reached("memory", "By", limit, used, cost.bytes, rate, &note);
    let with = |bytes: f64| reached("memory", "By", limit, used, bytes, rate, "");
    let (seconds_low, seconds_high) = (with(cost.high).seconds_low, with(cost.low).seconds_high);
    Some(Forecast { seconds_low, seconds_high, ..middle })
}

/// Resident memory of one, bytes, with two standard errors to both sides.
#[derive(Debug)]
struct Cost {
    bytes: f64,
    low: f64,
    high: f64,
    /// How long it was measured.
    seconds: f64,
}

/// What one costs by the blocks since the onset; an error is why that is not known yet.
fn cost(view: &View<'_>) -> Result<Cost, String> {
    let onset = view.primary.basis().onset;
    let blocks: Vec<_> = view.primary.fine.blocks().iter().filter(|block| block.time >= onset).collect();
    let measured = blocks.iter().filter(|block| !block.memory.is_nan());
    let points: Vec<(f64, f64)> =
        measured.map(|block| (f64::from(block.open), f64::from(block.memory))).collect();
    cost_by(&points, view.scale.block as f64 / SECOND)
}

/// The same by what was open and the memory at the end of each block of so many seconds.
fn cost_by(points: &[(f64, f64)], block: f64) -> Result<Cost, String> {
    let growth = points.last().zip(points.first()).map_or(0.0, |(last, first)| last.0 - first.0);
    let line = stats::theil_sen(points).filter(|_| points.len() >= MIN_BLOCKS && growth >= MIN_GROWTH);
    let Some(line) = line else {
        return Err(format!(
            "what one costs is measured once {} more were opened in {}",
            count(MIN_GROWTH),
            span(MIN_BLOCKS as f64 * block)
        ));
    };
    let error = 2.0 * stats::slope_error(points, line.median);
    if line.median < 1.0 || error > UNCERTAIN * line.median {
        return Err(format!(
            "what one costs is too uncertain so far: {}, give or take {}",
            bytes(line.median.max(0.0)),
            bytes(error)
        ));
    }
    let (low, high) = (line.median - error, line.median + error);
    Ok(Cost { bytes: line.median, low, high, seconds: points.len() as f64 * block })
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
        unknown: String::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks in which ten are opened at 50 kB each, and every other one has so much more memory.
    fn points(blocks: u32, noise: f64) -> Vec<(f64, f64)> {
        let at = |i: u32| (f64::from(i) * 10.0, f64::from(i) * 500e3 + f64::from(i % 2) * noise);
        (0..blocks).map(at).collect()
    }

    #[test]
    fn the_cost_of_one_has_an_interval_or_a_reason_why_it_is_not_known() {
        let known = cost_by(&points(12, 500e3), 2.5).expect("known");
        assert!(known.low > 0.0 && known.low < 50e3 && known.high > 50e3, "{} {}", known.low, known.high);
        assert_eq!(known.seconds, 30.0);
        for (points, why) in [(points(4, 0.0), "once 20 more were opened"), (points(8, 5e6), "give or take")]
        {
            let unknown = cost_by(&points, 2.5).expect_err("unknown");
            assert!(unknown.contains(why), "{unknown}");
        }
    }
}
