//! 43: everything that comes and goes, again and again.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use weir_pdata::Payload;
use weir_pdata::otlp::metrics::v1 as metrics;
use weir_pdata::otlp::{MetricsRequest, gauge, kv};

use super::connections::{FILES, may_open};
use super::reload::taken;
use super::{Bench, Case, Extra, Outcome, seconds, tls, unsampled};
use crate::agent::{Kind, now, wait_until};
use crate::http::Client;
use crate::load::{Load, PROTOBUF, Shape, all_arrive};
use crate::ports::free_port;

pub(crate) const CASES: [Case; 1] = [Case {
    number: 43,
    name: "soak: rounds of a reload, a new certificate, 100 connections under new names and 100 new series",
    settings: "100 rounds (`ROUNDS`), one a second; 2 clients beside it; own metrics at level detailed; reload_interval 1 s; log not sampled",
    bar: "memory grows by 2 MiB at most from the second quarter to the last, and in a run of 20 minutes or more by less than 1 MiB in 10; files and threads stay level",
    run: soak,
}];

/// Rounds, unless `ROUNDS` says how many.
const ROUNDS: usize = 100;
/// How long one lasts at least.
const ROUND: Duration = Duration::from_secs(1);
/// Weir's own metrics tell 2,000 names apart at most: after 20 rounds there are that many.
const CONNECTIONS: usize = 100;
const SERIES: usize = 100;

/// From then on a leak shows that is slower than what resident memory does by itself.
const LONG: Duration = Duration::from_secs(20 * 60);

/// Memory in KiB, open files, threads.
type Figures = [u64; 3];

/// How many rounds are asked for.
fn rounds() -> usize {
    let asked = std::env::var("ROUNDS").unwrap_or_default();
    let count = if asked.is_empty() { Some(ROUNDS) } else { asked.parse().ok() };
    // Less than four have no quarters.
    count.filter(|count| *count >= 4).unwrap_or_else(|| panic!("ROUNDS: {asked:?} is no number from 4 on"))
}

fn soak(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let (dir, port, own) = (TempDir::new().expect("a folder"), free_port(), free_port());
    let path = dir.path();
    ["even", "odd", "server"].into_iter().for_each(|name| tls::write(path, name, false));
    tls::replace(path, "odd", "server");
    let mut bench = Bench::edited(kind, true, Extra::default(), |yaml, _| with_all(&yaml, path, port, own));
    let secured = tls::Secured { oracle: bench.oracle.clone(), dir: path.to_owned(), port, client: None };
    secured.trust(["even", "odd"]);
    let rounds = rounds();
    // An agent that leaves its connections to the backend open, some at each reload, must not be the end of the test.
    may_open(FILES);
    // The oracle keeps all ids in memory: a longer run has no more of them.
    let pause = Shape::default().pause * rounds.div_ceil(ROUNDS) as u32;
    let load = Load::start(bench.http, &bench.oracle, Shape { clients: 2, pause, ..Shape::default() });
    let (begun, mut figures, mut errors) = (now(), Vec::new(), 0);
    outcome.fired = true;
    for round in 0..rounds {
        let turn = now();
        outcome.fired &= strangers(&bench, round) && series(&bench, round);
        let exporter = format!("    headers: {{x-version: \"{round}\"}}\n");
        let yaml = bench.yaml(Extra { exporter: &exporter, ..Extra::default() });
        bench.agent.configure(&with_all(&yaml, path, port, own));
        let before = bench.agent.log().matches(taken(kind)).count();
        bench.agent.signal("HUP");
        outcome.fired &= bench.agent.wait_for_log(taken(kind), before);
        let missed = secured.change(["even", "odd"][round % 2]);
        outcome.fired &= missed.is_some();
        errors += missed.unwrap_or(0);
        let agent = &bench.agent;
        figures.push([agent.memory_kib(), agent.files() as u64, agent.threads() as u64]);
        wait_until(ROUND, || (now() >= turn + ROUND).then_some(()));
    }
    let took = now() - begun;
    outcome.see(format!("{rounds} rounds in {}", seconds(took)));
    load.stop();
    judge(&mut outcome, &figures, took);
    outcome.see(format!("{errors} errors while certificates changed"));
    outcome.require(errors == 0, "certificates do not change without errors");
    all_arrive(&bench.oracle, Duration::from_secs(20));
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

fn with_all(yaml: &str, dir: &Path, port: u16, own: u16) -> String {
    let secured = format!(
        "receivers:\n  otlp/tls: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\", tls: {{cert_file: {0}/server.pem, key_file: \
         {0}/server.key, reload_interval: 1s}}}}}}}}\n",
        dir.display()
    );
    let telemetry = format!(
        "metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]}}"
    );
    unsampled(yaml)
        .replace("receivers:\n", &secured)
        .replace("receivers: [otlp]", "receivers: [otlp, otlp/tls]")
        .replace("metrics: {level: none}", &telemetry)
        .replace("  pipelines:\n", "  pipelines:\n    metrics: {receivers: [otlp], exporters: [otlp_http]}\n")
}

/// Connections, each of which calls the agent by another name; whether all are served.
fn strangers(bench: &Bench, round: usize) -> bool {
    (0..CONNECTIONS).all(|n| {
        let (ids, body) = bench.oracle.request(1, 10);
        let mut client = Client::named(bench.http, format!("host-{round}-{n}.example"));
        let served = client.post("/v1/logs", PROTOBUF, &body) == Some(200);
        if served {
            bench.oracle.acknowledge(&ids);
        }
        served
    })
}

/// Series that were never there and never come again; whether they are taken.
fn series(bench: &Bench, round: usize) -> bool {
    let metrics = (0..SERIES).map(|n| {
        let point = metrics::NumberDataPoint { attributes: vec![kv("n", n as i64)], ..Default::default() };
        gauge(&format!("gauge.{round}.{n}"), "1", "", vec![point])
    });
    let scope_metrics = vec![metrics::ScopeMetrics { metrics: metrics.collect(), ..Default::default() }];
    let resource_metrics = vec![metrics::ResourceMetrics { scope_metrics, ..Default::default() }];
    let payload: Payload = MetricsRequest { resource_metrics }.into();
    Client::new(bench.http).post("/v1/metrics", PROTOBUF, &payload.to_bytes()) == Some(200)
}

/// Compares the second quarter with the last.
fn judge(outcome: &mut Outcome, figures: &[Figures], took: Duration) {
    let quarter = figures.len() / 4;
    let (first, last) = (median(&figures[quarter..2 * quarter]), median(&figures[3 * quarter..]));
    let [memory, files, threads] = [0, 1, 2].map(|n| (first[n], last[n]));
    let mib = |kib: u64| kib as f64 / 1024.0;
    // From the middle of one to the middle of the other is half of the time.
    let slope = (mib(memory.1) - mib(memory.0)) * 600.0 / (took.as_secs_f64() / 2.0);
    outcome.see(format!(
        "RSS {:.1} to {:.1} MiB ({slope:+.2} MiB in 10 minutes), files {} to {}, threads {} to {}",
        mib(memory.0),
        mib(memory.1),
        files.0,
        files.1,
        threads.0,
        threads.1
    ));
    let level = if took >= LONG { slope < 1.0 } else { memory.1 <= memory.0 + 2048 };
    outcome.measure(level, "memory grows");
    outcome.require(files.1 <= files.0 + 12, "open files grow");
    outcome.require(threads.1 <= threads.0 + 4, "threads grow");
}

fn median(figures: &[Figures]) -> Figures {
    [0, 1, 2].map(|n| {
        let mut values: Vec<_> = figures.iter().map(|f| f[n]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of memory that grows by so many KiB from the second quarter to the last.
    fn judged(growth: u64, minutes: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let figures: Vec<Figures> = (0..8).map(|n| [20_000 + growth * (n / 6), 20, 4]).collect();
        judge(&mut outcome, &figures, Duration::from_secs(60 * minutes));
        outcome
    }

    #[test]
    fn a_long_run_is_held_to_the_slope_and_a_short_one_to_what_was_added() {
        let missed = |growth, minutes| judged(growth, minutes).missed;
        assert_eq!((missed(2048, 2), missed(1000, 20)), (vec![], vec![]));
        assert_eq!(
            (missed(2049, 2), missed(1024, 20)),
            (vec!["memory grows".to_owned()], vec!["memory grows".to_owned()])
        );
        assert!(missed(2048, 60).is_empty() && !missed(3072, 60).is_empty());
        let seen = judged(1024, 40).seen.concat();
        assert!(seen.contains("(+0.50 MiB in 10 minutes)"), "{seen}");
    }
}
