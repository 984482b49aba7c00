//! Whether cost grows linearly: with connections, with the size of requests, with pipelines. And what guarantees cost.

use std::path::Path;
use std::time::Duration;

use crate::agent::{Kind, Program};
use crate::report::thousands;
use crate::scenario::{Queue, Scenario};
use crate::{measure, println};

/// Prints the curves of Weir in Markdown.
pub(crate) async fn run(weir: &Path, time: Duration) -> Result<(), String> {
    let base = Scenario::new("curve", None);
    let connections =
        [1, 2, 4, 8, 16, 32, 64].map(|n| (n.to_string(), Scenario { connections: n, ..base.clone() }));
    curve(weir, time, "connections", &connections).await?;
    let sizes = [1, 10, 100, 1000, 5000, 10_000].map(|n| {
        let name = thousands(n as f64);
        (name, Scenario { items: n, ..base.clone() })
    });
    curve(weir, time, "items per request", &sizes).await?;
    let pipelines = [1, 2, 5, 10, 20, 50].map(|n| (n.to_string(), Scenario { pipelines: n, ..base.clone() }));
    curve(weir, time, "pipelines behind one receiver", &pipelines).await?;
    let queues = [
        ("in memory", Queue::Memory),
        ("at the backend", Queue::Waiting),
        ("on disk", Queue::Disk { fsync: true }),
        ("on disk, `fsync: false`", Queue::Disk { fsync: false }),
    ];
    let queues =
        queues.map(|(name, queue)| (name.to_owned(), Scenario { queue, connections: 32, ..base.clone() }));
    curve(weir, time, "success means that the data is", &queues).await
}

async fn curve(weir: &Path, time: Duration, what: &str, points: &[(String, Scenario)]) -> Result<(), String> {
    println(&format!(
        "| {what} | CPU per item that left, ns | items per second | peak RSS, MB |\n|---|---|---|---|"
    ));
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let program = Program { binary: weir.to_owned(), kind: Kind::Collector };
    for (name, scenario) in points {
        let round = measure::round(&program, scenario, time, dir.path()).await?;
        let (cost, rate) = (1e9 / round.per_cpu.max(1.0), thousands(round.per_second));
        println(&format!("| {name} | {cost:.0} | {rate} | {} |", round.peak >> 10));
    }
    println("");
    Ok(())
}
