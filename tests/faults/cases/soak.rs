//! 43: everything that comes and goes, again and again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use weir_pdata::Payload;
use weir_pdata::otlp::metrics::v1 as metrics;
use weir_pdata::otlp::{MetricsRequest, gauge, kv};

use super::reload::taken;
use super::{Bench, Case, Extra, Outcome, seconds, tls, unsampled};
use crate::agent::{Kind, now, wait_until};
use crate::http::Client;
use crate::load::{Load, PROTOBUF, Shape, all_arrive};
use crate::ports::free_port;

pub(crate) const CASES: [Case; 1] = [Case {
    number: 43,
    name: "soak, shortened: 100 rounds of a reload, a new certificate, 100 connections under new names and 100 new series",
    settings: "a round a second; 2 clients beside it; own metrics at level detailed; reload_interval 1 s; log not sampled",
    bar: "memory grows by 2 MiB at most from the second quarter to the last, files and threads stay level",
    run: soak,
}];

const ROUNDS: usize = 100;
/// How long one lasts at least.
const ROUND: Duration = Duration::from_secs(1);
/// Weir's own metrics tell 2,000 names apart at most: after 20 rounds there are that many.
const CONNECTIONS: usize = 100;
const SERIES: usize = 100;

/// Memory in KiB, open files, threads.
type Figures = [u64; 3];

fn soak(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let (dir, port, own) = (TempDir::new().expect("a folder"), free_port(), free_port());
    let path = dir.path();
    ["even", "odd", "server"].into_iter().for_each(|name| tls::write(path, name, false));
    tls::replace(path, "odd", "server");
    let mut bench = Bench::edited(kind, true, Extra::default(), |yaml, _| with_all(&yaml, path, port, own));
    let load = Load::start(bench.http, &bench.oracle, Shape { clients: 2, ..Shape::default() });
    let (begun, mut figures, mut errors) = (now(), Vec::new(), 0);
    outcome.fired = true;
    for round in 0..ROUNDS {
        let turn = now();
        outcome.fired &= strangers(&bench, round) && series(&bench, round);
        let exporter = format!("    headers: {{x-version: \"{round}\"}}\n");
        let yaml = bench.yaml(Extra { exporter: &exporter, ..Extra::default() });
        bench.agent.configure(&with_all(&yaml, path, port, own));
        let before = bench.agent.log().matches(taken(kind)).count();
        bench.agent.signal("HUP");
        outcome.fired &= bench.agent.wait_for_log(taken(kind), before);
        let missed = new_certificate(&bench, path, port, ["even", "odd"][round % 2]);
        outcome.fired &= missed.is_some();
        errors += missed.unwrap_or(0);
        let agent = &bench.agent;
        figures.push([agent.memory_kib(), agent.files() as u64, agent.threads() as u64]);
        wait_until(ROUND, || (now() >= turn + ROUND).then_some(()));
    }
    outcome.see(format!("{ROUNDS} rounds in {}", seconds(now() - begun)));
    load.stop();
    judge(&mut outcome, &figures);
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

/// Replaces the certificate and waits until it is used; how many requests failed meanwhile.
fn new_certificate(bench: &Bench, dir: &Path, port: u16, name: &str) -> Option<usize> {
    let both = ["even.ca", "odd.ca"].map(|ca| fs::read_to_string(dir.join(ca)).expect("read"));
    fs::write(dir.join("both.ca"), both.concat()).expect("written");
    tls::replace(dir, name, "server");
    let mut errors = 0;
    let send = |ca: &str| {
        let (ids, body) = bench.oracle.request(1, 10);
        let taken = tls::post(dir, port, ca, None, &body);
        if taken {
            bench.oracle.acknowledge(&ids);
        }
        taken
    };
    wait_until(Duration::from_secs(30), || {
        let used = send(name);
        errors += usize::from(!used && !send("both"));
        used.then_some(())
    })?;
    Some(errors)
}

/// Compares the second quarter with the last.
fn judge(outcome: &mut Outcome, figures: &[Figures]) {
    let quarter = figures.len() / 4;
    let (first, last) = (median(&figures[quarter..2 * quarter]), median(&figures[3 * quarter..]));
    let [memory, files, threads] = [0, 1, 2].map(|n| (first[n], last[n]));
    let mib = |kib: u64| kib as f64 / 1024.0;
    outcome.see(format!(
        "RSS {:.1} to {:.1} MiB, files {} to {}, threads {} to {}",
        mib(memory.0),
        mib(memory.1),
        files.0,
        files.1,
        threads.0,
        threads.1
    ));
    outcome.measure(memory.1 <= memory.0 + 2048, "memory grows");
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
