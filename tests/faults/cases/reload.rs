//! 21 to 23: SIGHUP.

use std::net::TcpListener;
use std::time::Duration;

use super::siege::HONEST;
use super::{Bench, Case, Extra, Outcome, PATIENT};
use crate::agent::Kind;
use crate::load::{Load, Shape, all_arrive, until_acknowledged};
use crate::ports::free_port;

/// What an agent logs when a configuration has taken over.
pub(super) fn taken(kind: Kind) -> &'static str {
    match kind {
        Kind::Weir => "Config updated. Everything else goes on as it was.",
        Kind::Collector => "Everything is ready.",
    }
}

pub(crate) const CASES: [Case; 3] = [
    Case {
        number: 21,
        name: "SIGHUP ten times under load",
        settings: "each time another exporter; every third time another receiver on the same port",
        bar: "0 client errors, 0 lost",
        run: ten_times,
    },
    Case {
        number: 22,
        name: "SIGHUP, memory queue not empty, backend down",
        settings: "retry 100 ms to 1 s without end; a processor, then the exporter is changed",
        bar: "0 lost",
        run: with_a_backlog,
    },
    Case {
        number: 23,
        name: "SIGHUP with an invalid configuration",
        settings: "an unknown key; then a port that somebody else has",
        bar: "the old configuration keeps running, 0 client errors, the error names file and line",
        run: invalid,
    },
];

fn ten_times(kind: Kind) -> Outcome {
    let (mut outcome, mut bench) = (Outcome::default(), Bench::new(kind, true, Extra::default()));
    let shape = Shape { clients: 8, pause: Duration::from_millis(1), ..Shape::default() };
    let load = Load::start(bench.http, &bench.oracle, shape);
    let mut reloads = 0;
    for n in 0..10 {
        until_acknowledged(&bench.oracle, bench.oracle.acknowledged() + 1000);
        let exporter = format!("    headers: {{x-version: \"{n}\"}}\n");
        let receiver = format!("        max_request_body_size: {}\n", 20_000_000 + n / 3);
        let extra = Extra { exporter: &exporter, receiver: &receiver, ..Extra::default() };
        bench.agent.configure(&bench.yaml(extra));
        let before = bench.agent.log().matches(taken(kind)).count();
        bench.agent.signal("HUP");
        reloads += usize::from(bench.agent.wait_for_log(taken(kind), before));
    }
    until_acknowledged(&bench.oracle, bench.oracle.acknowledged().max(10_000) + 1000);
    let tally = load.stop();
    outcome.fired = reloads == 10;
    outcome.see(format!("{} client errors", tally.errors));
    outcome.require(tally.errors + tally.other + tally.refused == 0, format!("clients heard {tally:?}"));
    all_arrive(&bench.oracle, Duration::from_secs(20));
    let new = bench.backend.heads().iter().any(|h| h.to_ascii_lowercase().contains("x-version: 9"));
    outcome.require(new, "the last configuration is not in use");
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

fn with_a_backlog(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let extra = Extra { exporter: PATIENT, ..Extra::default() };
    let mut bench = Bench::new(kind, false, extra);
    let load = Load::start(bench.http, &bench.oracle, Shape::default());
    let enough = until_acknowledged(&bench.oracle, 10_000);
    load.stop();
    let batch = ("processors: {batch: {timeout: 10ms}}\n", "batch");
    let other = format!("{PATIENT}    headers: {{x-version: \"2\"}}\n");
    let mut reloads = 0;
    for changed in [Extra { processors: batch, ..extra }, Extra { exporter: &other, ..extra }] {
        bench.agent.configure(&bench.yaml(changed));
        let before = bench.agent.log().matches(taken(kind)).count();
        bench.agent.signal("HUP");
        reloads += usize::from(bench.agent.wait_for_log(taken(kind), before));
    }
    outcome.fired = enough && reloads == 2 && bench.oracle.missing() > 0;
    bench.backend.come_up();
    all_arrive(&bench.oracle, Duration::from_secs(30));
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

fn invalid(kind: Kind) -> Outcome {
    let (mut outcome, mut bench) = (Outcome::default(), Bench::new(kind, true, Extra::default()));
    let somebody = TcpListener::bind(("127.0.0.1", free_port())).expect("a port");
    let taken = somebody.local_addr().expect("bound").port();
    let unknown = bench.yaml(Extra { exporter: "    compresion: gzip\n", ..Extra::default() });
    let port = bench
        .yaml(Extra::default())
        .replace(&format!("127.0.0.1:{}", bench.http), &format!("127.0.0.1:{taken}"));
    outcome.fired = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
    let load = Load::start(bench.http, &bench.oracle, HONEST);
    for (wrong, why) in [(unknown, "unknown field `compresion`"), (port, "address already in use")] {
        bench.agent.configure(&wrong);
        let count = |text| bench.agent.log().matches(text).count();
        let (before, named) = (count("Received signal from OS"), count("agent.yaml:"));
        bench.agent.signal("HUP");
        let heard = bench.agent.wait_for_log("Received signal from OS", before);
        let says = || bench.agent.wait_for_log(why, 0) && bench.agent.wait_for_log("agent.yaml:", named);
        outcome.fired &= heard && (kind == Kind::Collector || says());
        bench.check_alive(&mut outcome);
    }
    let tally = load.stop();
    outcome.require(tally.errors + tally.other + tally.refused == 0, format!("clients heard {tally:?}"));
    all_arrive(&bench.oracle, Duration::from_secs(20));
    outcome.see(if bench.agent.is_running() {
        "keeps running".to_owned()
    } else {
        bench.agent.end().shown()
    });
    outcome.judge(&bench.oracle);
    outcome
}
