//! The states of one series: ok, suspect, leaking, recovering, ok.

use super::evaluate::Evaluation;
use weir_connection::report::State;

/// Consecutive blocks in which the tests must hold.
const STREAK: u32 = 3;
/// Consecutive blocks that make and unmake a suspicion.
const SUSPECT_STREAK: u32 = 2;
/// Consecutive blocks without growth that end a leak.
const MISSES: u32 = 2;

/// What a block says to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Signal {
    /// Growth that may become a leak.
    pub(crate) suspect: bool,
    /// The tests for a leak hold in this block.
    pub(crate) passes: bool,
    /// They have had the time that they need.
    pub(crate) lasting: bool,
    /// Certain without a statistic, such as old sockets in CLOSE_WAIT that grow.
    pub(crate) certain: bool,
    /// What was growing has not stopped.
    pub(crate) keeps: bool,
    /// It ended at once: most of it is gone, or growth has clearly stopped.
    pub(crate) ended: bool,
}

impl Signal {
    /// The signal of a ring whose growth has or has not clearly stopped.
    pub(crate) fn of(evaluation: &Evaluation, stalled: bool) -> Self {
        Signal {
            suspect: evaluation.suspect && !stalled,
            passes: evaluation.passes && !stalled,
            lasting: evaluation.lasting,
            certain: false,
            keeps: evaluation.keeps && !stalled,
            ended: stalled || evaluation.dropped,
        }
    }
}

/// State of one series, and since when on its time line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) state: State,
    pub(crate) since: i64,
    streak: u32,
    suspicions: u32,
    calm: u32,
    misses: u32,
}

impl Machine {
    /// Takes in one closed block that ended at `time`; a mended leak is held as recovering for `hold` ns.
    pub(crate) fn step(&mut self, signal: Signal, time: i64, hold: i64) {
        let count = |counter: u32, condition: bool| if condition { counter.saturating_add(1) } else { 0 };
        self.streak = count(self.streak, signal.passes);
        self.suspicions = count(self.suspicions, signal.suspect);
        self.calm = count(self.calm, !signal.suspect);
        self.misses = count(self.misses, !signal.keeps && !signal.certain);
        let leaking = signal.certain || (self.streak >= STREAK && signal.lasting);
        let next = match self.state {
            State::Leaking if signal.certain => State::Leaking,
            State::Leaking if signal.ended || self.misses >= MISSES => State::Recovering,
            State::Leaking => State::Leaking,
            _ if leaking => State::Leaking,
            State::Recovering if time.saturating_sub(self.since) < hold => State::Recovering,
            State::Suspect if self.calm < SUSPECT_STREAK => State::Suspect,
            _ if self.suspicions >= SUSPECT_STREAK => State::Suspect,
            _ => State::Ok,
        };
        if next != self.state {
            self.state = next;
            self.since = time;
        }
    }

    /// Goes on with the verdict of another series, from `time` on: from here on what is measured decides.
    pub(crate) fn adopt(&mut self, state: State, time: i64) {
        *self = Machine { state, since: time, ..Machine::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAK: Signal =
        Signal { suspect: true, passes: true, lasting: true, certain: false, keeps: true, ended: false };
    const CALM: Signal =
        Signal { suspect: false, passes: false, lasting: false, certain: false, keeps: false, ended: false };

    fn run(machine: &mut Machine, signal: Signal, times: std::ops::Range<i64>) -> Vec<State> {
        times
            .map(|time| {
                machine.step(signal, time, 6);
                machine.state
            })
            .collect()
    }

    #[test]
    fn a_leak_needs_three_blocks_in_a_row_and_goes_back_to_ok_through_recovering() {
        let mut machine = Machine::default();
        assert_eq!(run(&mut machine, LEAK, 0..3), [State::Ok, State::Suspect, State::Leaking]);
        assert_eq!(run(&mut machine, CALM, 3..5), [State::Leaking, State::Recovering]);
        let rest = run(&mut machine, CALM, 5..12);
        assert!(rest[..5].iter().all(|state| *state == State::Recovering), "{rest:?}");
        assert_eq!(rest[5..], [State::Ok, State::Ok]);
    }

    #[test]
    fn one_noisy_block_does_not_end_a_leak() {
        let mut machine = Machine::default();
        run(&mut machine, LEAK, 0..5);
        assert_eq!(run(&mut machine, CALM, 5..6), [State::Leaking]);
        assert_eq!(run(&mut machine, LEAK, 6..7), [State::Leaking]);
        assert_eq!(run(&mut machine, CALM, 7..8), [State::Leaking]);
    }

    #[test]
    fn a_drop_ends_it_at_once_and_certainty_begins_it_at_once() {
        let mut machine = Machine::default();
        machine.step(Signal { certain: true, ..CALM }, 0, 6);
        assert_eq!(machine.state, State::Leaking);
        machine.step(Signal { ended: true, ..LEAK }, 1, 6);
        assert_eq!(machine.state, State::Recovering);
    }

    #[test]
    fn recovering_returns_to_leaking_when_it_grows_again() {
        let mut machine = Machine::default();
        run(&mut machine, LEAK, 0..4);
        machine.step(Signal { ended: true, ..CALM }, 4, 600);
        let states = run(&mut machine, LEAK, 5..8);
        assert_eq!(states, [State::Recovering, State::Recovering, State::Leaking]);
    }
}
