//! A fault beside honest clients, who must not notice it.

use std::time::Duration;

use super::{Bench, Extra, Outcome};
use crate::agent::Kind;
use crate::load::{Load, Shape, all_arrive};

/// What honest clients send meanwhile.
pub(super) const HONEST: Shape =
    Shape { clients: 2, records: 10, pad: 300, pause: Duration::from_millis(20) };

/// An agent with honest clients at work, and its memory before anything happens.
pub(super) struct Siege {
    pub(super) bench: Bench,
    pub(super) load: Load,
    before: u64,
}

/// With the usual configuration.
pub(super) fn begin(kind: Kind) -> (Outcome, Siege) {
    Siege::around(Bench::new(kind, true, Extra::default()))
}

impl Siege {
    /// The fault has happened as far as is known here: enough records were acknowledged before.
    pub(super) fn around(bench: Bench) -> (Outcome, Siege) {
        let enough = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
        let outcome = Outcome { fired: enough, ..Outcome::default() };
        let load = Load::start(bench.http, &bench.oracle, HONEST);
        bench.agent.forget_peak();
        let before = bench.agent.memory_mib().0;
        (outcome, Siege { bench, load, before })
    }

    /// How much more memory it has had at most than before, in MiB.
    pub(super) fn more(&self) -> u64 {
        self.bench.agent.memory_mib().1.saturating_sub(self.before)
    }

    /// Nothing was lost, honest clients heard nothing but success or to come again, and it took so many MiB at most.
    pub(super) fn end(self, mut outcome: Outcome, most: u64) -> Outcome {
        outcome.grown(self.more(), most);
        let Siege { mut bench, load, .. } = self;
        let tally = load.stop();
        outcome.require(tally.errors + tally.other == 0, format!("honest clients heard {tally:?}"));
        if !bench.agent.is_running() {
            outcome.see(bench.agent.end().shown());
        }
        bench.check_alive(&mut outcome);
        all_arrive(&bench.oracle, Duration::from_secs(20));
        outcome.judge(&bench.oracle);
        outcome
    }
}
