//! Whether cost grows linearly: with connections, with the size of requests, with pipelines. And what guarantees cost.
//!
//! The points of a curve are measured in turn, round by round, so that what the machine does meanwhile falls on all of them.

use std::path::Path;
use std::time::Duration;

use crate::agent::{Kind, Program};
use crate::measure::Round;
use crate::report::{Spread, megabytes, spread, tenths, thousands, whole};
use crate::scenario::{Queue, Scenario};
use crate::{measure, println};

/// How long a point is measured, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) each: Duration,
    pub(crate) rounds: usize,
}

/// Cost per item at a point, as a multiple of the least at a smaller one, up to which it counts as linear: the machine is noisy.
const LINEAR: f64 = 1.3;

/// Prints the curves of Weir in Markdown.
///
/// # Errors
/// A round failed or lost something, or where cost grows faster than its cause: all of these, after the tables.
pub(crate) async fn run(weir: &Path, times: Times) -> Result<(), String> {
    let base = Scenario::new("curve", None);
    let connections =
        [1, 2, 4, 8, 16, 32, 64].map(|n| (n.to_string(), Scenario { connections: n, ..base.clone() }));
    let mut steep = curve(weir, times, "connections", &connections).await?;
    let sizes = [1, 10, 100, 1000, 5000, 10_000].map(|n| {
        let name = thousands(n as f64);
        (name, Scenario { items: n, ..base.clone() })
    });
    steep.extend(curve(weir, times, "items per request", &sizes).await?);
    let pipelines = [1, 2, 5, 10, 20, 50].map(|n| (n.to_string(), Scenario { pipelines: n, ..base.clone() }));
    steep.extend(curve(weir, times, "pipelines behind one receiver", &pipelines).await?);
    let queues = [
        ("in memory", Queue::Memory),
        ("in memory, `sending_queue::batch` and `block_on_overflow`", Queue::Batching),
        ("in memory, `memory_limiter`", Queue::Limited),
        ("at the backend", Queue::Waiting),
        ("on disk", Queue::Disk { fsync: true }),
        ("on disk, `fsync: false`", Queue::Disk { fsync: false }),
    ];
    let queues =
        queues.map(|(name, queue)| (name.to_owned(), Scenario { queue, connections: 32, ..base.clone() }));
    // No curve: each of these costs something else.
    curve(weir, times, "success means that the data is", &queues).await?;
    if steep.is_empty() { Ok(()) } else { Err(steep.join("\n")) }
}

/// Measures and prints; the points at which cost has grown faster than its cause.
async fn curve(
    weir: &Path,
    times: Times,
    what: &str,
    points: &[(String, Scenario)],
) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let program = Program { binary: weir.to_owned(), kind: Kind::Collector };
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); points.len()];
    for i in 0..times.rounds {
        // There and back, so that none is always the first.
        let order: Vec<usize> =
            if i % 2 == 0 { (0..points.len()).collect() } else { (0..points.len()).rev().collect() };
        for at in order {
            let (name, scenario) = &points[at];
            let requests = measure::requests(scenario)?;
            let round = measure::round(&program, scenario, &requests, times.each, dir.path()).await;
            let round = round.map_err(|error| format!("{what}, {name}: {error}"))?;
            if round.lost != 0 {
                return Err(format!("{what}, {name}: {} acknowledged items did not arrive", round.lost));
            }
            rounds[at].push(round);
        }
    }
    println(&format!(
        "| {what} | CPU per item that left, ns | items per second | peak RSS, MB |\n|---|---|---|---|"
    ));
    for ((name, _), rounds) in points.iter().zip(&rounds) {
        println(&line(name, rounds));
    }
    println("");
    let costs: Vec<f64> = rounds.iter().map(|rounds| cost(rounds).median).collect();
    let names = points.iter().map(|(name, _)| name);
    let steep = names.zip(steep(&costs)).filter_map(|(name, steep)| {
        steep.map(|times| format!("{what}, {name}: an item costs {times:.1} times what it does with fewer"))
    });
    Ok(steep.collect())
}

/// CPU time per item, ns.
fn cost(rounds: &[Round]) -> Spread {
    spread(rounds.iter().map(|round| 1e9 / round.per_cpu.max(1.0)))
}

/// Of each point how many times the least before it, where that is more than [`LINEAR`].
fn steep(costs: &[f64]) -> Vec<Option<f64>> {
    let mut least = f64::INFINITY;
    let times = |cost: &f64| {
        let times = *cost / least;
        least = least.min(*cost);
        (times > LINEAR).then_some(times)
    };
    costs.iter().map(times).collect()
}

/// A point with medians, and the smallest to the largest behind each.
fn line(name: &str, rounds: &[Round]) -> String {
    let of = |value: fn(&Round) -> f64| spread(rounds.iter().map(value));
    let cost = cost(rounds).text(whole);
    let rate = of(|round| round.per_second).text(thousands);
    format!("| {name} | {cost} | {rate} | {} |", of(|round| megabytes(round.peak)).text(tenths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_the_median_of_its_rounds_with_the_smallest_and_the_largest() {
        let round = |n: u64| Round {
            per_cpu: 1e6 / n as f64,
            per_second: 1000.0 * n as f64,
            peak: (n * 10_000_000) >> 10,
            ..Round::default()
        };
        let wanted = "| on disk | 2000 (1000 to 3000) | 2,000 (1,000 to 3,000) | 20.0 (10.0 to 30.0) |";
        assert_eq!(line("on disk", &[3, 1, 2].map(round)), wanted);
    }

    #[test]
    fn a_cost_that_grows_is_told_and_one_that_falls_is_not() {
        assert_eq!(steep(&[900.0, 300.0, 350.0, 600.0, 390.0]), [None, None, None, Some(2.0), None]);
    }
}
