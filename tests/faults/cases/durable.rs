//! 1, 2, 4, 48, 49: queues on disk and processes that end without notice.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weir_pdata::Signal;

use super::answers::figure;
use super::{Bench, Case, ENOUGH, Extra, Outcome, PATIENT, yaml};
use crate::agent::{Agent, Kind, Limits, is_released, wait_until};
use crate::backend::{Backend, Mode};
use crate::http::get;
use crate::load::{Load, Shape, Tally, all_arrive, passes, until_acknowledged};
use crate::oracle::{Oracle, Sums};
use crate::ports::free_port;
use crate::strace::Strace;

/// Records of a request.
pub(super) const RECORDS: usize = 50;
/// Requests that an exporter has under way, by default.
pub(super) const CONSUMERS: usize = 10;

pub(crate) const CASES: [Case; 5] = [
    Case {
        number: 1,
        name: "kill -9 five times with backlogs of all three signals, under load that does not wait for the port",
        settings: "fsync: true, retry 100 ms to 1 s without end, backends take 200 ms for a request",
        bar: "0 lost, duplicates only of what was under way (500 for each kill and signal)",
        run: killed_under_load,
    },
    Case {
        number: 2,
        name: "kill -9 forty times while the queue drains",
        settings: "fsync: true, each time after 20 to 350 ms, backend takes 200 ms for a request",
        bar: "0 lost, duplicates only of what was under way (500 for each kill)",
        run: killed_while_draining,
    },
    Case {
        number: 4,
        name: "cost of durability",
        settings: "fsync: true, 32 clients that wait for each answer, syncs counted by strace, which stops the agent where threads begin and at nothing else",
        bar: "at most 0.1 syncs for each request",
        run: syncs,
    },
    Case {
        number: 48,
        name: "each third sync, then each third write fails, under load; then kill -9",
        settings: "fsync: true, EIO and ENOSPC by strace, counted for each thread",
        bar: "0 lost, goes on",
        run: failing_calls,
    },
    Case {
        number: 49,
        name: "two agents, one queue directory",
        settings: "defaults",
        bar: "the second ends, naming the directory and the first; the first goes on",
        run: two_agents,
    },
];

/// An agent with a queue on disk that outlives it.
pub(super) struct Durable {
    pub(super) bench: Bench,
    metrics: Option<u16>,
    dir: Option<TempDir>,
}

impl Durable {
    /// With its queue in a directory of its own.
    pub(super) fn new(kind: Kind, backend_up: bool) -> Durable {
        let dir = TempDir::new().expect("a temporary folder");
        let path = dir.path().to_owned();
        Durable { dir: Some(dir), ..Durable::within(kind, backend_up, &path, Limits::default()) }
    }

    /// With its queue there.
    pub(super) fn within(kind: Kind, backend_up: bool, path: &Path, limits: Limits) -> Durable {
        let extra = Extra { storage: Some(path), limits, ..Extra::default() };
        Durable::with(kind, backend_up, extra)
    }

    /// With its queue and limits as there.
    pub(super) fn with(kind: Kind, backend_up: bool, extra: Extra<'_>) -> Durable {
        let bench = Bench::new(kind, backend_up, Extra { exporter: PATIENT, ..extra });
        Durable { bench, metrics: extra.metrics, dir: None }
    }

    /// With a queue of its own, in the same directory, for each of these signals.
    fn beside(kind: Kind, others: &[Beside]) -> Durable {
        let dir = TempDir::new().expect("a temporary folder");
        let (mut exporter, mut pipelines) = (PATIENT.to_owned(), "  pipelines:\n".to_owned());
        for Beside { signal, backend, .. } in others {
            let (name, port) = (signal.name(), backend.port);
            exporter += &format!("    {name}_endpoint: \"http://127.0.0.1:{port}/v1/{name}\"\n");
            pipelines += &format!("    {name}: {{receivers: [otlp], exporters: [otlp_http]}}\n");
        }
        let extra = Extra { storage: Some(dir.path()), exporter: &exporter, ..Extra::default() };
        let bench = Bench::edited(kind, false, extra, |yaml, _| yaml.replace("  pipelines:\n", &pipelines));
        Durable { bench, metrics: None, dir: Some(dir) }
    }

    /// What its metrics say of that kind of harm to queues on disk; none where it does not measure it.
    pub(super) fn counted(&self, what: &str) -> Option<u64> {
        self.figure(&format!("otelcol_file_storage_{what}"))
    }

    /// The sum of one of its metrics; none where it has none of that name.
    pub(super) fn figure(&self, name: &str) -> Option<u64> {
        figure(&get(self.metrics?, "/metrics", "127.0.0.1")?.1, name)
    }

    /// Where its queue is, when that is a directory of its own.
    pub(super) fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Sends until so many records are acknowledged and not delivered.
    pub(super) fn fill(&mut self, records: usize) -> bool {
        let load = Load::start(self.bench.http, &self.bench.oracle, Shape::default());
        let enough = until_acknowledged(&self.bench.oracle, records);
        load.stop();
        enough
    }
}

/// A signal beside the one of the bench, with a backend of its own.
struct Beside {
    signal: Signal,
    oracle: Arc<Oracle>,
    backend: Backend,
}

impl Beside {
    /// With its backend down.
    fn new(signal: Signal) -> Beside {
        let oracle = Arc::new(Oracle::of(signal));
        Beside { signal, backend: Backend::down(&oracle), oracle }
    }
}

/// A client of one of several signals.
const HAMMER: Shape = Shape { clients: 4, records: RECORDS, pad: 300, pause: Duration::from_millis(1) };

/// All signals come in by one port and have a queue each: it must not open before the last of these is there.
fn killed_under_load(kind: Kind) -> Outcome {
    let mut outcome = Outcome { fired: true, ..Outcome::default() };
    let mut beside = [Signal::Traces, Signal::Metrics].map(Beside::new);
    let mut durable = Durable::beside(kind, &beside);
    let bench = &mut durable.bench;
    let oracles = [&bench.oracle, &beside[0].oracle, &beside[1].oracle].map(Arc::clone);
    let http = bench.http;
    for oracle in &oracles {
        let load = Load::start(http, oracle, HAMMER);
        outcome.fired &= until_acknowledged(oracle, ENOUGH);
        load.stop();
    }
    for backend in [&mut bench.backend].into_iter().chain(beside.iter_mut().map(|b| &mut b.backend)) {
        backend.set(Mode::Slow(Duration::from_millis(200)));
        backend.come_up();
    }
    let loads = oracles.each_ref().map(|oracle| Load::start(http, oracle, HAMMER));
    let mut kills = 0;
    for _ in 0..5 {
        for oracle in &oracles {
            until_acknowledged(oracle, oracle.acknowledged() + 500);
        }
        kills += usize::from(bench.agent.kill());
        // More than was under way: there is something to load.
        outcome.fired &= oracles.iter().all(|oracle| oracle.missing() > 2 * CONSUMERS * RECORDS);
        if !bench.start_again(&mut outcome) {
            break;
        }
    }
    let tallies = loads.map(Load::stop);
    outcome.fired &= kills == 5 && tallies.iter().all(|tally| tally.errors > 0);
    bench.backend.set(Mode::Accept);
    beside.iter().for_each(|beside| beside.backend.set(Mode::Accept));
    let [_, others @ ..] = &oracles;
    for oracle in others {
        all_arrive(oracle, Duration::from_secs(60));
        outcome.require(passes(http, oracle), "a fresh record does not pass after the fault");
    }
    finish(outcome, durable, kills, others)
}

fn killed_while_draining(kind: Kind) -> Outcome {
    let (mut outcome, mut durable) = (Outcome::default(), Durable::new(kind, false));
    // A debug build starts slowly, and on a busy machine it has drained before the last of these.
    let (most, least) = if is_released() { (40, 40) } else { (20, 6) };
    let enough = durable.fill(20_000);
    durable.bench.agent.kill();
    durable.bench.backend.set(Mode::Slow(Duration::from_millis(200)));
    durable.bench.backend.come_up();
    let mut kills = 0;
    for n in 0..most {
        if durable.bench.oracle.missing() == 0 || !durable.bench.start_again(&mut outcome) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20 + n as u64 * 157 % 331));
        kills += usize::from(durable.bench.agent.kill());
    }
    durable.bench.backend.set(Mode::Accept);
    durable.bench.start_again(&mut outcome);
    outcome.fired = enough && kills >= least;
    outcome.see(format!("killed {kills} times"));
    let outcome = finish(outcome, durable, kills, &[]);
    Outcome { fired: outcome.fired && outcome.seen.iter().any(|text| text.contains("dup")), ..outcome }
}

/// Everything arrives, also of other signals, and what came again is at most what was under way at each kill.
fn finish(mut outcome: Outcome, mut durable: Durable, kills: usize, others: &[Arc<Oracle>]) -> Outcome {
    let bench = &mut durable.bench;
    all_arrive(&bench.oracle, Duration::from_secs(60));
    bench.check_alive(&mut outcome);
    let most = kills * CONSUMERS * RECORDS;
    let mut sums = Sums::default();
    for oracle in [&bench.oracle].into_iter().chain(others) {
        let duplicates = oracle.sums().duplicates;
        outcome.require(duplicates <= most, format!("{duplicates} duplicates, {most} were under way"));
        sums = sums + oracle.sums();
    }
    outcome.judge_sums(&sums, None);
    outcome
}

fn syncs(kind: Kind) -> Outcome {
    let dir = TempDir::new().expect("a temporary folder");
    let limits = Limits { counts_syncs: true, ..Limits::default() };
    let (mut outcome, mut durable) = (Outcome::default(), Durable::within(kind, true, dir.path(), limits));
    let oracle = durable.bench.oracle.clone();
    // Small requests: clients and backend must not be what is waited for.
    let shape = Shape { clients: 32, records: 1, pause: Duration::ZERO, ..Shape::default() };
    let load = Load::start(durable.bench.http, &oracle, shape);
    until_acknowledged(&oracle, ENOUGH);
    let requests = load.stop().accepted;
    all_arrive(&oracle, Duration::from_secs(60));
    durable.bench.check_alive(&mut outcome);
    durable.bench.agent.terminate();
    let syncs = durable.bench.agent.syncs().expect("strace counts: it is installed, and may trace");
    outcome.fired = syncs > 0;
    let each = syncs as f64 / requests.max(1) as f64;
    outcome.see(format!("{each:.3} syncs for each of {requests} requests"));
    // One to take each request and one to be done with it, if none were shared.
    outcome.require(each <= 2.0, "more than two syncs for each request");
    outcome.measure(each <= 0.1, "more syncs than that");
    outcome.judge(&oracle);
    outcome
}

fn failing_calls(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let mut durable = Durable::new(kind, true);
    let oracle = durable.bench.oracle.clone();
    outcome.fired = durable.fill(ENOUGH) && all_arrive(&oracle, Duration::from_secs(60));
    for (what, calls, error) in
        [("syncs", "fsync,fdatasync", "EIO"), ("writes", "pwrite64", "EIO"), ("writes", "pwrite64", "ENOSPC")]
    {
        let inject = format!("inject={calls}:error={error}:when=3+3");
        let strace =
            Strace::attach(durable.bench.agent.pid(), &["-e", &format!("trace={calls}"), "-e", &inject]);
        let tally = goes_on(&mut outcome, durable.bench.http, &oracle, Duration::from_secs(60));
        let failed = strace.end().matches("(INJECTED)").count();
        outcome.fired &= failed > 0;
        outcome.see(format!(
            "{failed} {what} failed with {error}, {} requests refused",
            tally.refused + tally.other
        ));
    }
    // Before it starts anew, which would mend whatever the faults have left.
    durable.bench.check_alive(&mut outcome);
    outcome.fired &= durable.bench.agent.kill();
    durable.bench.start_again(&mut outcome);
    all_arrive(&oracle, Duration::from_secs(60));
    durable.bench.check_alive(&mut outcome);
    outcome.judge(&oracle);
    outcome
}

/// An agent goes on when it takes 4,000 records within that time, and leaves no client without an answer.
fn goes_on(outcome: &mut Outcome, http: u16, oracle: &Arc<Oracle>, limit: Duration) -> Tally {
    let enough = oracle.acknowledged() + 4000;
    let load = Load::start(http, oracle, Shape::default());
    let taken = wait_until(limit, || (oracle.acknowledged() >= enough).then_some(())).is_some();
    let tally = load.stop();
    outcome.require(taken, "it does not go on while calls fail");
    outcome.require(tally.errors == 0, format!("{} requests without an answer", tally.errors));
    tally
}

fn two_agents(kind: Kind) -> Outcome {
    let (mut outcome, mut durable) = (Outcome::default(), Durable::new(kind, true));
    let enough = durable.fill(ENOUGH);
    let path = durable.path().to_owned();
    let extra = Extra { storage: Some(&path), ..Extra::default() };
    let second = yaml(free_port(), free_port(), durable.bench.backend.port, extra);
    let mut second = Agent::launch(kind, &second, Limits::default());
    let ready = second.is_ready();
    // What the second one has in its hands is the queue of the first.
    outcome.fired = enough && path.read_dir().expect("listed").next().is_some();
    outcome.require(!ready, "the second agent uses the queue of the first");
    let ended = second.terminate();
    let log = second.log();
    let (directory, owner) = (path.display().to_string(), durable.bench.agent.pid().to_string());
    let names = |what: &str| log.lines().any(|l| l.contains(what) && l.to_lowercase().contains("error"));
    let said = [("the directory", names(&directory)), ("the first agent", names(&owner))];
    let silent: Vec<_> = said.iter().filter(|(_, named)| !named).map(|(what, _)| *what).collect();
    outcome.see(format!("second: {}", ended.shown()));
    outcome.require(ended.status.code().is_some_and(|c| c != 0), "the second does not end with an error");
    outcome.require(silent.is_empty(), format!("the error does not name {}", silent.join(" and ")));
    all_arrive(&durable.bench.oracle, Duration::from_secs(20));
    durable.bench.check_alive(&mut outcome);
    outcome.judge(&durable.bench.oracle);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Pour;

    /// What is said of an agent that answers so.
    fn broken(mode: Mode) -> Vec<String> {
        let oracle = Arc::new(Oracle::default());
        let double = Backend::up(&oracle);
        double.set(mode);
        let mut outcome = Outcome::default();
        goes_on(&mut outcome, double.port, &oracle, Duration::from_secs(2));
        outcome.broken
    }

    #[test]
    fn an_agent_that_refuses_everything_from_then_on_does_not_go_on() {
        let refuses = broken(Mode::Answer(503, String::new()));
        assert_eq!(refuses, ["it does not go on while calls fail"]);
    }

    #[test]
    fn an_agent_that_hangs_up_on_a_client_does_not_go_on() {
        let hangs_up = broken(Mode::Pour(Pour { head: "HTTP/1.1 ".to_owned(), piece: [].into(), times: 0 }));
        assert!(hangs_up.iter().any(|what| what.contains("without an answer")), "{hangs_up:?}");
    }
}
