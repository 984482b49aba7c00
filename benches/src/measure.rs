//! One agent in one scenario.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::{Agent, Program, free_port};
use crate::load::Load;
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::sink::Sink;

/// What one round says about one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    /// Items that arrived, per second of the agent's CPU time.
    pub(crate) per_cpu: f64,
    /// Items that arrived, per second.
    pub(crate) per_second: f64,
    /// Acknowledged and not arrived.
    pub(crate) lost: i64,
    /// KiB before the first request.
    pub(crate) idle: u64,
    /// KiB at most.
    pub(crate) peak: u64,
    pub(crate) ready: Duration,
    /// Microseconds from sending to arrival: median and the 99th of a hundred; only with a latency scenario.
    pub(crate) latency: Option<(f64, f64)>,
}

/// Runs `program` in a scenario for that long.
pub(crate) async fn round(
    program: &Program,
    scenario: &Scenario,
    time: Duration,
    dir: &Path,
) -> Result<Round, String> {
    let sink = Sink::start("127.0.0.1:0", scenario.latency).await?;
    let input = free_port()?;
    let (program, of, dir, output) = (program.clone(), scenario.clone(), dir.to_owned(), sink.port);
    let starting = tokio::task::spawn_blocking(move || Agent::start(&program, &of, input, output, &dir));
    let agent = starting.await.map_err(|e| e.to_string())??;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (idle, _) = agent.memory()?;
    let load = Load {
        port: input,
        protocol: scenario.protocol,
        encoding: scenario.incoming,
        sample: Arc::new(Sample::new(scenario.signal, scenario.items)),
        connections: scenario.connections,
        rate: scenario.rate,
        time: time / 8,
        requests: None,
        stamped: scenario.latency,
    };
    // What is set up once is not the matter here: connections, pools, caches, just-in-time growth of heaps.
    let warm = load.clone().run().await? * scenario.pipelines as u64;
    sink.drained(warm).await;
    drop(sink.latencies());
    let (cpu, before) = (agent.cpu()?, sink.items());
    let acknowledged = Load { time, ..load }.run().await? * scenario.pipelines as u64;
    sink.drained(warm + acknowledged).await;
    let cpu = (agent.cpu()? - cpu).as_secs_f64();
    let arrived = sink.items() - before;
    let latencies = sink.latencies();
    if scenario.latency && latencies.is_empty() {
        return Err("nothing arrived".to_owned());
    }
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).map(|ns| *ns as f64 / 1e3);
    Ok(Round {
        per_cpu: arrived as f64 / cpu.max(0.01),
        per_second: arrived as f64 / time.as_secs_f64(),
        lost: i64::try_from(warm + acknowledged).unwrap_or(i64::MAX)
            - i64::try_from(sink.items()).unwrap_or(i64::MAX),
        idle,
        peak: agent.memory()?.1,
        ready: agent.ready,
        latency: at(0.5).zip(at(0.99)),
    })
}

/// The way without an agent: median and 99th in microseconds.
pub(crate) async fn direct(scenario: &Scenario, time: Duration) -> Result<(f64, f64), String> {
    let sink = Sink::start("127.0.0.1:0", true).await?;
    let load = Load {
        port: sink.port,
        protocol: scenario.protocol,
        encoding: scenario.incoming,
        sample: Arc::new(Sample::new(scenario.signal, scenario.items)),
        connections: scenario.connections,
        rate: scenario.rate,
        time,
        requests: None,
        stamped: true,
    };
    load.run().await?;
    let latencies = sink.latencies();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).map(|ns| *ns as f64 / 1e3);
    at(0.5).zip(at(0.99)).ok_or_else(|| "nothing arrived".to_owned())
}
