//! One agent in one scenario.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_otlp::encoding::Encoding;

use crate::agent::{Agent, Program, free_port};
use crate::load::{Load, Requests};
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::sink::{Reads, Sink};

/// What one round says about one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Round {
    /// Items that arrived, per second of the agent's CPU time.
    pub(crate) per_cpu: f64,
    /// Items that arrived, per second.
    pub(crate) per_second: f64,
    /// Acknowledged and not arrived; what arrived and was not acknowledged, or twice, is below zero.
    pub(crate) lost: i64,
    /// Bytes that left the agent for each item.
    pub(crate) wire: f64,
    /// KiB before the first request.
    pub(crate) idle: u64,
    /// KiB at most.
    pub(crate) peak: u64,
    pub(crate) ready: Duration,
    /// From sending to arrival; only with a latency scenario.
    pub(crate) latency: Option<Latency>,
}

/// Microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Quiet after the last item, in which what comes twice would come.
const QUIET: Duration = Duration::from_millis(300);

/// Runs `program` in a scenario for that long. A round in which it did not do the work of the scenario is an error: it could not
/// be compared.
pub(crate) async fn round(
    program: &Program,
    scenario: &Scenario,
    requests: &Arc<Requests>,
    time: Duration,
    dir: &Path,
) -> Result<Round, String> {
    let name = program.binary.file_name().unwrap_or_default().display().to_string();
    // What an agent leaves behind is not there for the next one.
    let dir = tempfile::tempdir_in(dir).map_err(|e| e.to_string())?;
    let sink = Sink::start("127.0.0.1:0", scenario.reads()).await?;
    let input = free_port()?;
    let (program, of, path, output) = (program.clone(), scenario.clone(), dir.path().to_owned(), sink.port);
    let starting = tokio::task::spawn_blocking(move || Agent::start(&program, &of, input, output, &path));
    let agent = starting.await.map_err(|e| e.to_string())??;
    tokio::time::sleep(QUIET).await;
    let (idle, _) = agent.memory()?;
    let load = load(scenario, requests, input, time / 8);
    // What is set up once is not the matter here: connections, pools, caches, just-in-time growth of heaps.
    let copies = scenario.pipelines as u64;
    let warm = load.clone().run().await?.items * copies;
    sink.drained(warm).await;
    drop(sink.latencies());
    let (cpu, before, bytes, begin) = (agent.cpu()?, sink.items(), loopback()?, Instant::now());
    let sent = Load { time, ..load }.run().await?;
    let acknowledged = sent.items * copies;
    sink.drained(warm + acknowledged).await;
    let took = begin.elapsed().as_secs_f64();
    let cpu = (agent.cpu()? - cpu).as_secs_f64();
    let (bytes, arrived) = (loopback()?.saturating_sub(bytes), sink.items() - before);
    let latencies = sink.latencies();
    tokio::time::sleep(QUIET).await;
    let arrived_items = arrived as f64;
    let round = Round {
        per_cpu: arrived_items / cpu.max(1e-6),
        per_second: arrived_items / took,
        lost: i64::try_from(warm + acknowledged).unwrap_or(i64::MAX)
            - i64::try_from(sink.items()).unwrap_or(i64::MAX),
        wire: bytes.saturating_sub(sent.bytes) as f64 / arrived_items.max(1.0),
        idle,
        peak: agent.memory()?.1,
        ready: agent.ready,
        latency: scenario.latency.then(|| latency(&latencies)).transpose()?,
    };
    let work = Work {
        time,
        plain: requests.bytes_per_item,
        refused: sent.refused,
        arrived,
        wrong: sink.wrong(),
        wire: round.wire,
    };
    work.check(scenario).map(|()| round).map_err(|why| format!("{name} {why}"))
}

/// What an agent did in a round.
#[derive(Debug, Clone, Copy)]
struct Work {
    time: Duration,
    /// Bytes of an item before compression.
    plain: f64,
    /// Requests.
    refused: u64,
    /// Items.
    arrived: u64,
    /// Payloads.
    wrong: u64,
    /// Bytes that left for each item.
    wire: f64,
}

impl Work {
    /// Whether it is the work of the scenario.
    fn check(&self, scenario: &Scenario) -> Result<(), String> {
        let due = scenario.rate.map_or(1.0, |rate| 0.95 * rate * self.time.as_secs_f64());
        let due = due * scenario.pipelines as f64;
        if self.refused > 0 {
            return Err(format!("refused {} requests", self.refused));
        }
        if (self.arrived as f64) < due {
            return Err(format!("delivered {} items, at least {due:.0} were due", self.arrived));
        }
        if self.wrong > 0 {
            return Err(format!("did not edit {} payloads", self.wrong));
        }
        // Of these items even the fastest level leaves a fifth.
        let most = if scenario.outgoing == Encoding::Identity { f64::INFINITY } else { self.plain / 3.0 };
        if self.wire > most {
            return Err(format!("sent {:.0} bytes for each item of {:.0}", self.wire, self.plain));
        }
        Ok(())
    }
}

fn load(scenario: &Scenario, requests: &Arc<Requests>, port: u16, time: Duration) -> Load {
    Load {
        port,
        requests: Arc::clone(requests),
        connections: scenario.connections,
        rate: scenario.rate,
        time,
        most: None,
        stamped: scenario.latency,
    }
}

/// What the sender of a scenario sends.
pub(crate) fn requests(scenario: &Scenario) -> Result<Arc<Requests>, String> {
    let sample = Sample::new(scenario.signal, scenario.items);
    Requests::new(&sample, scenario.protocol, scenario.incoming).map(Arc::new)
}

/// The way without an agent.
pub(crate) async fn direct(
    scenario: &Scenario,
    requests: &Arc<Requests>,
    time: Duration,
) -> Result<Latency, String> {
    let sink = Sink::start("127.0.0.1:0", Reads::Stamps).await?;
    load(scenario, requests, sink.port, time / 8).run().await?;
    drop(sink.latencies());
    load(scenario, requests, sink.port, time).run().await?;
    latency(&sink.latencies())
}

/// Of nanoseconds in order.
fn latency(sorted: &[u64]) -> Result<Latency, String> {
    let at = |part: f64| sorted.get((sorted.len() as f64 * part) as usize).map(|ns| *ns as f64 / 1e3);
    let both = at(0.5).zip(at(0.99));
    both.map(|(median, p99)| Latency { median, p99 }).ok_or_else(|| "nothing arrived".to_owned())
}

impl Latency {
    /// What it has more than the way without an agent, of the same round.
    pub(crate) fn beyond(self, direct: Latency) -> Result<Latency, String> {
        let added = Latency { median: self.median - direct.median, p99: self.p99 - direct.p99 };
        if added.median > 0.0 {
            return Ok(added);
        }
        Err(format!(
            "the way without an agent took {:.0} µs, with one {:.0} µs: the machine is not quiet enough",
            direct.median, self.median
        ))
    }
}

/// Bytes that went over the loopback interface so far (proc_net_dev).
fn loopback() -> Result<u64, String> {
    let table = std::fs::read_to_string("/proc/net/dev").map_err(|e| e.to_string())?;
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    bytes.ok_or_else(|| "no loopback interface in /proc/net/dev".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_do_the_work_is_not_compared() {
        let paced = Scenario { rate: Some(100.0), ..Scenario::new("x", None) };
        let gzip = Scenario { outgoing: Encoding::Gzip, ..Scenario::new("x", None) };
        let good = Work {
            time: Duration::from_secs(10),
            plain: 400.0,
            refused: 0,
            arrived: 1000,
            wrong: 0,
            wire: 60.0,
        };
        for scenario in [&paced, &gzip] {
            assert_eq!(good.check(scenario), Ok(()));
        }
        for (scenario, work, why) in [
            (&paced, Work { refused: 1, ..good }, "refused 1 requests"),
            (&paced, Work { arrived: 949, ..good }, "delivered 949 items, at least 950 were due"),
            (&gzip, Work { arrived: 0, ..good }, "delivered 0 items, at least 1 were due"),
            (&gzip, Work { wrong: 3, ..good }, "did not edit 3 payloads"),
            (&gzip, Work { wire: 400.0, ..good }, "sent 400 bytes for each item of 400"),
        ] {
            assert_eq!(work.check(scenario), Err(why.to_owned()));
        }
    }

    #[test]
    fn added_time_is_what_is_beyond_the_way_without_an_agent() {
        let (direct, with) = (Latency { median: 60.0, p99: 300.0 }, Latency { median: 100.0, p99: 1000.0 });
        let added = with.beyond(direct).expect("slower");
        assert_eq!((added.median, added.p99), (40.0, 700.0));
        assert!(direct.beyond(with).is_err(), "a direct way that is slower tells nothing");
    }
}
