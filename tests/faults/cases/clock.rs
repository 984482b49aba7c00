//! 42: the wall clock jumps. libfaketime tells the agent another time and leaves its monotonic clock alone.

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::{Bench, Case, Extra, Outcome};
use crate::agent::{Agent, Kind, Limits, wait_until};
use crate::backend::Mode;
use crate::load::{Load, Shape, all_arrive};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 42,
    name: "the wall clock jumps by an hour, ten years, a second (a leap), forth and back, with the backend refusing",
    settings: "queue on disk, retry 100 ms to 1 s for 5 min; libfaketime",
    bar: "senders are answered and retries go on after every jump, 0 lost, 0 duplicates",
    run: jumps,
}];

const HOUR: i64 = 3600;
const TEN_YEARS: i64 = 315_576_000;

/// Distances from the true time in seconds, one after the other. A leap second is a step of one back.
const JUMPS: [i64; 8] = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 0, 1, -1, 0];

/// Records that are acknowledged at each time.
const RECORDS: usize = 1300;

/// Longest time without an answer or a retry; the retries of this case are a second apart.
const STALL: Duration = Duration::from_secs(10);

fn jumps(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let storage = TempDir::new().expect("a temporary folder");
    let extra = Extra {
        exporter: "    retry_on_failure: {initial_interval: 100ms, max_interval: 1s}\n",
        storage: Some(storage.path()),
        limits: Limits { clock: true, ..Limits::default() },
        ..Extra::default()
    };
    let mut bench = Bench::new(kind, true, extra);
    bench.backend.set(Mode::Answer(503, String::new()));
    let shape = Shape { pause: Duration::from_millis(20), ..Shape::default() };
    let load = Load::start(bench.http, &bench.oracle, shape);
    for jump in JUMPS {
        bench.agent.set_clock(jump);
        let (answers, tries) = (bench.oracle.acknowledged(), bench.backend.requests());
        let goes_on = wait_until(STALL, || {
            (bench.oracle.acknowledged() > answers + RECORDS && bench.backend.requests() > tries + 3)
                .then_some(())
        });
        outcome.require(goes_on.is_some(), format!("nothing goes on after a jump to {jump} s"));
    }
    let tally = load.stop();
    outcome.require(tally.refused + tally.other + tally.errors == 0, format!("{tally:?}"));
    outcome.fired = [TEN_YEARS, -TEN_YEARS].into_iter().all(|jump| was_at(&bench.agent, jump));
    bench.backend.set(Mode::Accept);
    all_arrive(&bench.oracle, Duration::from_secs(30));
    bench.check_alive(&mut outcome);
    outcome.see(format!("{} jumps", JUMPS.len()));
    outcome.judge(&bench.oracle);
    outcome.require(bench.oracle.sums().duplicates == 0, "duplicates");
    outcome
}

/// Whether the agent logged something while its clock was so many seconds off, give or take an hour.
#[expect(clippy::disallowed_methods, reason = "compared with what a real process logs")]
fn was_at(agent: &Agent, jump: i64) -> bool {
    let there = Timestamp::now().as_second() + jump;
    let times = |line: &str| line.split_whitespace().next()?.parse::<Timestamp>().ok();
    agent.log().lines().filter_map(times).any(|time| (time.as_second() - there).abs() < HOUR)
}
