//! 17 to 20: SIGTERM.

use std::time::Duration;

use super::{Bench, Case, ENOUGH, Extra, Outcome, seconds, unsampled};
use crate::agent::Kind;
use crate::h2raw;
use crate::load::{Load, Shape, until_acknowledged};

/// The deadline of a stop, and what a process needs to see it and to end.
const DEADLINE: Duration = Duration::from_millis(10_500);

pub(crate) const CASES: [Case; 4] = [
    Case {
        number: 17,
        name: "SIGTERM under load, backend well",
        settings: "defaults",
        bar: "0 lost, exit 0",
        run: under_load,
    },
    Case {
        number: 18,
        name: "SIGTERM, backend refuses, memory queue",
        settings: "retry 100 ms to 1 s without end; log not sampled",
        bar: "says exactly how many, exit not 0, at most 10.5 s",
        run: |kind| undelivered(kind, Fate::Refuses),
    },
    Case {
        number: 19,
        name: "SIGTERM, backend hangs, 200 requests queued",
        settings: "timeout 2 s; log not sampled",
        bar: "says exactly how many, exit not 0, at most 10.5 s",
        run: |kind| undelivered(kind, Fate::Hangs),
    },
    Case {
        number: 20,
        name: "SIGTERM with open idle HTTP/2 streams",
        settings: "defaults; 20 connections with a call whose message never comes",
        bar: "at most 10.5 s, exit 0",
        run: idle_streams,
    },
];

fn under_load(kind: Kind) -> Outcome {
    let (mut outcome, mut bench) = (Outcome::default(), Bench::new(kind, true, Extra::default()));
    let load = Load::start(bench.http, &bench.oracle, Shape::default());
    let enough = until_acknowledged(&bench.oracle, ENOUGH);
    let ended = bench.agent.terminate();
    let tally = load.stop();
    outcome.fired = enough && tally.errors > 0;
    outcome.see(format!("{} in {}", ended.shown(), seconds(ended.took)));
    outcome.require(ended.status.success(), format!("{}:\n{}", ended.shown(), bench.agent.log()));
    bench.check_anew(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

enum Fate {
    Refuses,
    Hangs,
}

fn undelivered(kind: Kind, fate: Fate) -> Outcome {
    let mut outcome = Outcome::default();
    let refuses = matches!(fate, Fate::Refuses);
    let exporter = if refuses { super::PATIENT } else { "    timeout: 2s\n" };
    let extra = Extra { exporter, ..Extra::default() };
    let mut bench = Bench::edited(kind, !refuses, extra, |yaml, _| unsampled(&yaml));
    bench.backend.set(crate::backend::Mode::Hang);
    let load = Load::start(bench.http, &bench.oracle, Shape::default());
    let enough = until_acknowledged(&bench.oracle, ENOUGH);
    load.stop();
    let ended = bench.agent.terminate();
    outcome.fired = enough && bench.oracle.missing() > 0;
    outcome.see(format!("{} in {}", ended.shown(), seconds(ended.took)));
    outcome.measure(ended.took < DEADLINE, format!("the stop took {}", seconds(ended.took)));
    outcome.require(ended.status.code().is_some(), "it had to be killed");
    outcome.require(!ended.status.success(), "exit 0 although acknowledged data is lost");
    let said = said_lost(kind, &bench.agent.log());
    outcome.see(format!("{said} said to be lost"));
    bench.backend.set(crate::backend::Mode::Accept);
    if refuses {
        bench.backend.come_up();
    }
    bench.check_anew(&mut outcome);
    outcome.judge_said(&bench.oracle, said);
    outcome
}

/// How many items an agent says that it has lost in its stop; its log must not be sampled. Weir says each once with its request,
/// which does not count here, and once in its last words; the Collector has no such words.
fn said_lost(kind: Kind, log: &str) -> usize {
    let words = match kind {
        Kind::Weir => "could not be delivered before the end",
        Kind::Collector => "Dropping data",
    };
    let count = |line: &str| {
        let rest = line.split("\"dropped_items\": ").nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    log.lines().filter(|line| line.contains(words)).filter_map(count).sum()
}

fn idle_streams(kind: Kind) -> Outcome {
    let (mut outcome, mut bench) = (Outcome::default(), Bench::new(kind, true, Extra::default()));
    outcome.fired = bench.fill();
    let mut streams: Vec<_> = (0..20).map(|_| h2raw::connect(bench.grpc).expect("connects")).collect();
    streams.iter_mut().for_each(|s| h2raw::open_call(s, 1).expect("a call"));
    bench.check_alive(&mut outcome);
    outcome.fired &= streams.iter_mut().all(|s| !h2raw::heard(s).1);
    let ended = bench.agent.terminate();
    outcome.see(format!("{} in {}", ended.shown(), seconds(ended.took)));
    outcome.measure(ended.took < DEADLINE, format!("the stop took {}", seconds(ended.took)));
    outcome.require(ended.status.success(), format!("{}:\n{}", ended.shown(), bench.agent.log()));
    bench.check_anew(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}
