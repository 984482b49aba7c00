//! 25 to 28, 36: too little memory, too few files.

use std::net::TcpStream;
use std::time::Duration;

use super::{Bench, Case, Extra, Outcome, PATIENT};
use crate::agent::{Kind, Limits, wait_until};
use crate::http::get;
use crate::load::{Load, Shape, Tally, all_arrive};
use crate::ports::free_port;

const MEMORY: Limits = Limits {
    memory_mib: Some(256),
    files: None,
    mounts_of: None,
    counts_syncs: false,
    clock: false,
    core: false,
};
const LIMITER: (&str, &str) = (
    "processors: {memory_limiter: {check_interval: 100ms, limit_mib: 200, spike_limit_mib: 40}}\n",
    "memory_limiter",
);
const NONE: (&str, &str) = ("", "");

/// Requests of 100 KB as fast as they are answered.
const SMALL: Shape = Shape { clients: 16, records: 100, pad: 1000, pause: Duration::ZERO };
/// Requests of 2 MB.
const LARGE: Shape = Shape { clients: 16, records: 20, pad: 100_000, pause: Duration::ZERO };

pub(crate) const CASES: [Case; 5] = [
    Case {
        number: 25,
        name: "overload, backend down, 256 MiB, no limiter",
        settings: "queue_size 1,000,000; 16 clients, 100 KB requests until enough are refused",
        bar: "never out of memory, 0 lost",
        run: |kind| overload(kind, NONE, SMALL),
    },
    Case {
        number: 26,
        name: "the same with memory_limiter",
        settings: "limit_mib 200, spike_limit_mib 40, check_interval 100 ms",
        bar: "never out of memory, 0 lost",
        run: |kind| overload(kind, LIMITER, SMALL),
    },
    Case {
        number: 27,
        name: "the same with 2 MB requests",
        settings: "as 26, 16 clients",
        bar: "never out of memory, 0 lost",
        run: |kind| overload(kind, LIMITER, LARGE),
    },
    Case {
        number: 28,
        name: "2 MB requests, default queue, 256 MiB, no limiter",
        settings: "queue_size 1,000 (default), 16 clients",
        bar: "never out of memory, 0 lost",
        run: |kind| overload(kind, NONE, LARGE),
    },
    Case {
        number: 36,
        name: "out of file descriptors",
        settings: "128 files, 200 connections that say nothing; health_check",
        bar: "little CPU and health_check answers while full, recovers",
        run: out_of_files,
    },
];

fn overload(kind: Kind, processors: (&str, &str), shape: Shape) -> Outcome {
    let mut outcome = Outcome::default();
    let queue =
        if shape.records == SMALL.records { "    sending_queue: {queue_size: 1000000}\n" } else { "" };
    let exporter = format!("{PATIENT}{queue}");
    let extra = Extra { exporter: &exporter, processors, limits: MEMORY, ..Extra::default() };
    let mut bench = Bench::new(kind, false, extra);
    // Small requests first: of large ones few are enough to fill the memory.
    let enough = bench.fill();
    let load = Load::start(bench.http, &bench.oracle, shape);
    let mut peak = 0;
    // Until enough is refused, or until the agent is gone.
    wait_until(Duration::from_secs(45), || {
        peak = peak.max(bench.agent.memory_mib().1);
        (!bench.agent.is_running() || load.refused() > 100).then_some(())
    });
    let Tally { refused, .. } = load.stop();
    let alive = bench.agent.is_running();
    outcome.fired = enough && (refused > 0 || !alive);
    outcome.see(format!("RSS at most {peak} MiB, {refused} requests refused"));
    if alive {
        bench.backend.come_up();
        let drained = all_arrive(&bench.oracle, Duration::from_secs(120));
        outcome.require(drained, format!("not drained; {} lines of dropped data", dropped(&bench)));
        bench.check_alive(&mut outcome);
    } else {
        outcome.see(bench.agent.end().shown());
        outcome.require(false, "the agent was killed");
    }
    outcome.judge(&bench.oracle);
    outcome
}

/// Lines in which the agent says that it drops data.
fn dropped(bench: &Bench) -> usize {
    bench.agent.log().matches("Dropping data").count()
}

fn out_of_files(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let limits = Limits { files: Some(128), ..Limits::default() };
    let port = free_port();
    let mut bench = Bench::edited(kind, true, Extra { limits, ..Extra::default() }, |yaml, _| {
        let section = format!("extensions:\n  health_check: {{endpoint: \"127.0.0.1:{port}\"}}\n{yaml}");
        section.replace("service:\n", "service:\n  extensions: [health_check]\n")
    });
    let enough = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
    bench.check_alive(&mut outcome);
    let silent: Vec<_> =
        (0..200).filter_map(|_| TcpStream::connect(("127.0.0.1", bench.http)).ok()).collect();
    // Weir serves senders with three quarters of its descriptors, and holds one connection that waits.
    let most = if kind == Kind::Weir { 97 } else { 126 };
    let full = wait_until(Duration::from_secs(10), || (bench.agent.files() >= most).then_some(())).is_some();
    let (files, before) = (bench.agent.files(), bench.agent.cpu());
    std::thread::sleep(Duration::from_secs(2));
    let used = bench.agent.cpu() - before;
    outcome.fired = enough && full && files <= 128;
    outcome.see(format!("{} ms CPU in 2 s while full", used.as_millis()));
    outcome.require(used < Duration::from_millis(1500), "it spins while there are no descriptors");
    outcome.measure(used < Duration::from_millis(500), "it works hard while there are no descriptors");
    let health = get(port, "/", "127.0.0.1").map(|(status, _)| status);
    outcome.see(format!("health_check: {}", health.map_or("no answer".to_owned(), |s| s.to_string())));
    outcome.require(health == Some(200), "nobody can ask how it is");
    drop(silent);
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}
