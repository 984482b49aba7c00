//! Who is let into a queue in memory, who is refused, and who waits how long: one decision.

use weir_component::{Failure, Patience};

use crate::queue;

/// What is in the way of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    None,
    /// There is room, but much is queued already, the destination keeps going, and the batch was acknowledged.
    Much,
    Full,
    Closed,
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant {
    /// More than none: it was acknowledged.
    pub(crate) patience: Patience,
    /// It has waited for the moment that acknowledged batches may wait while others want room elsewhere.
    pub(crate) waited: bool,
    /// The queue's setting `block_on_overflow`.
    pub(crate) blocks: bool,
    /// The agent ends.
    pub(crate) ending: bool,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) enum Admission {
    Enter,
    Refuse(Failure),
    Wait(Wait),
}

/// How long a batch waits before it asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until there may be room, or the agent ends.
    ForRoom,
    /// The same, but at most for the moment.
    AMoment,
}

/// Decides. Once the agent ends nobody waits, so that what stands in front of the queue can end too.
pub(crate) fn admit(obstacle: Obstacle, applicant: Applicant) -> Admission {
    let Applicant { patience, waited, blocks, ending } = applicant;
    match (obstacle, patience) {
        (Obstacle::None, _) => Admission::Enter,
        (Obstacle::Closed, _) => Admission::Refuse(queue::closed()),
        (_, Patience::None) if ending => Admission::Refuse(queue::full()),
        // Nobody else can keep it, and it is in memory either way.
        _ if ending => Admission::Enter,
        (Obstacle::Much, _) if waited => Admission::Enter,
        (Obstacle::Much, _) => Admission::Wait(Wait::AMoment),
        (Obstacle::Full, _) if blocks => Admission::Wait(Wait::ForRoom),
        (Obstacle::Full, Patience::Long) => Admission::Wait(Wait::ForRoom),
        (Obstacle::Full, Patience::Short) if !waited => Admission::Wait(Wait::AMoment),
        (Obstacle::Full, _) => Admission::Refuse(queue::full()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Applicant =
        Applicant { patience: Patience::None, waited: false, blocks: false, ending: false };
    const ALL: [Patience; 3] = [Patience::None, Patience::Short, Patience::Long];

    /// What each patience leads to, in a letter: enter, refuse, wait for room, wait a moment.
    fn row(obstacle: Obstacle, applicant: Applicant) -> String {
        let letter = |patience| match admit(obstacle, Applicant { patience, ..applicant }) {
            Admission::Enter => 'e',
            Admission::Refuse(failure) => {
                assert!(failure.is_retryable());
                'r'
            }
            Admission::Wait(Wait::ForRoom) => 'w',
            Admission::Wait(Wait::AMoment) => 'm',
        };
        ALL.map(letter).into_iter().collect()
    }

    #[test]
    fn who_waits_how_long_follows_from_the_obstacle_the_patience_the_setting_and_the_end() {
        use Obstacle::{Closed, Full, Much, None};
        let waited = Applicant { waited: true, ..NEW };
        let blocks = Applicant { blocks: true, ..NEW };
        let blocked = Applicant { blocks: true, ..waited };
        let table = [
            (None, NEW, "eee"),
            (None, waited, "eee"),
            (None, blocks, "eee"),
            (None, blocked, "eee"),
            (Full, NEW, "rmw"),
            (Full, waited, "rrw"),
            (Full, blocks, "www"),
            (Full, blocked, "www"),
            (Closed, NEW, "rrr"),
            (Closed, waited, "rrr"),
            (Closed, blocks, "rrr"),
            (Closed, blocked, "rrr"),
        ];
        for (obstacle, applicant, expected) in table {
            assert_eq!(row(obstacle, applicant), expected, "{obstacle:?} {applicant:?}");
            let at_the_end = if obstacle == Full { "ree" } else { expected };
            let ending = Applicant { ending: true, ..applicant };
            assert_eq!(row(obstacle, ending), at_the_end, "{obstacle:?} {ending:?}");
        }
        // It is only in the way of what was acknowledged.
        for (applicant, expected) in [(NEW, "mm"), (waited, "ee"), (blocks, "mm"), (blocked, "ee")] {
            assert_eq!(row(Much, applicant)[1..], *expected, "{applicant:?}");
            assert_eq!(row(Much, Applicant { ending: true, ..applicant })[1..], *"ee");
        }
    }
}
