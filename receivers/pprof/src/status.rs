//! How the targets are doing: one state for the receiver, and a line in the log for every change.

use weir_component::SourceStatus;

/// Targets that the message describes; of further ones only the number is given.
const MOST_DESCRIBED: usize = 3;

/// How a scrape ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All that was asked for came.
    Complete,
    /// The goroutines came; what else did not, and the cure.
    Partial(String),
    /// The goroutines did not come; why, and the cure.
    Failed(String),
}

impl Outcome {
    /// Whether it is the same but for numbers, such as the place where a profile is damaged.
    fn resembles(&self, other: &Outcome) -> bool {
        let same = |a: &str, b: &str| {
            let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
            words(a) == words(b)
        };
        match (self, other) {
            (Outcome::Complete, Outcome::Complete) => true,
            (Outcome::Partial(a), Outcome::Partial(b)) | (Outcome::Failed(a), Outcome::Failed(b)) => {
                same(a, b)
            }
            _ => false,
        }
    }
}

/// The targets of a receiver.
#[derive(Debug)]
pub(crate) struct Board {
    targets: Vec<Target>,
    last: u64,
}

#[derive(Debug)]
struct Target {
    name: String,
    /// None before its first scrape.
    outcome: Option<Outcome>,
    /// Scrapes that ended in the same way before.
    repeats: u64,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether something is wrong.
    pub(crate) warning: bool,
    /// What to say.
    pub(crate) text: String,
}

impl Board {
    /// Targets of these names, none of which was scraped yet.
    pub(crate) fn new(names: impl Iterator<Item = String>) -> Board {
        let targets = names.map(|name| Target { name, outcome: None, repeats: 0 }).collect();
        Board { targets, last: 0 }
    }

    /// Takes the outcome of a scrape of the target of that number, at `now` (Unix ns). Returns what to log when it
    /// differs from the one before; repeats are only counted.
    pub(crate) fn scraped(&mut self, index: usize, now: u64, outcome: Outcome) -> Option<Line> {
        if !matches!(outcome, Outcome::Failed(_)) {
            self.last = now;
        }
        let target = self.targets.get_mut(index)?;
        if target.outcome.as_ref().is_some_and(|before| before.resembles(&outcome)) {
            target.repeats += 1;
            target.outcome = Some(outcome);
            return None;
        }
        let before = target.outcome.replace(outcome.clone());
        let times = std::mem::take(&mut target.repeats) + 1;
        let name = &target.name;
        let since = match &before {
            Some(Outcome::Failed(_) | Outcome::Partial(_)) => {
                format!(" (the problem before came {times} times)")
            }
            Some(Outcome::Complete) | None => String::new(),
        };
        match outcome {
            Outcome::Complete if before.is_none() => None,
            Outcome::Complete => {
                Some(Line { warning: false, text: format!("{name}: answers in full again{since}") })
            }
            Outcome::Partial(why) | Outcome::Failed(why) => {
                Some(Line { warning: true, text: format!("{name}: {why}{since}") })
            }
        }
    }

    /// The state of the receiver.
    pub(crate) fn status(&self) -> SourceStatus {
        let mut problems = Vec::new();
        let (mut failed, mut waiting) = (0, 0);
        for target in &self.targets {
            match &target.outcome {
                None => waiting += 1,
                Some(Outcome::Complete) => {}
                Some(Outcome::Partial(why)) => problems.push(format!("{}: {why}", target.name)),
                Some(Outcome::Failed(why)) => {
                    failed += 1;
                    problems.push(format!("{}: {why}", target.name));
                }
            }
        }
        let all = self.targets.len();
        let (state, message) = match problems.len() {
            0 if waiting == all => ("waiting", "the first scrape is still to come".to_owned()),
            0 => ("ok", String::new()),
            _ if failed == all => ("failed", self.message(&problems)),
            _ => ("degraded", self.message(&problems)),
        };
        SourceStatus { kind: "profile", state, last: self.last, message }
    }

    fn message(&self, problems: &[String]) -> String {
        let described = problems.get(..MOST_DESCRIBED).unwrap_or(problems).join("; ");
        match (problems.len(), self.targets.len()) {
            (_, 1) => described,
            (n, all) if n > MOST_DESCRIBED => {
                format!("{n} of {all} targets: {described}; and {} more, see the log", n - MOST_DESCRIBED)
            }
            (n, all) => format!("{n} of {all} targets: {described}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(targets: usize) -> Board {
        Board::new((0..targets).map(|i| format!("t{i}")))
    }

    fn failed(text: &str) -> Outcome {
        Outcome::Failed(text.to_owned())
    }

    #[test]
    fn a_change_is_said_once_with_the_number_of_repeats_before_it() {
        let mut board = board(1);
        let mut say = |outcome| board.scraped(0, 1, outcome).map(|line| line.text);
        assert_eq!(say(Outcome::Complete), None);
        assert_eq!(say(failed("refused")).as_deref(), Some("t0: refused"));
        assert_eq!(say(failed("refused")), None);
        assert_eq!(say(failed("refused")), None);
        assert_eq!(
            say(failed("silent, 1 byte")).as_deref(),
            Some("t0: silent, 1 byte (the problem before came 3 times)")
        );
        assert_eq!(say(failed("silent, 9 byte")), None);
        let again = "t0: answers in full again (the problem before came 2 times)";
        assert_eq!(say(Outcome::Complete).as_deref(), Some(again));
        assert_eq!(say(Outcome::Complete), None);
    }

    #[test]
    fn the_state_is_that_of_all_targets_together() {
        let mut board = board(2);
        let state = |board: &Board| (board.status().state, board.status().message);
        assert_eq!(state(&board), ("waiting", "the first scrape is still to come".to_owned()));
        board.scraped(0, 5, Outcome::Complete);
        assert_eq!(state(&board), ("ok", String::new()));
        board.scraped(1, 6, failed("no"));
        assert_eq!(state(&board), ("degraded", "1 of 2 targets: t1: no".to_owned()));
        board.scraped(1, 7, Outcome::Partial("no heap".to_owned()));
        assert_eq!((state(&board).0, board.status().last), ("degraded", 7));
        board.scraped(0, 8, failed("no"));
        assert_eq!(state(&board).0, "degraded");
        board.scraped(1, 9, failed("no"));
        assert_eq!(state(&board), ("failed", "2 of 2 targets: t0: no; t1: no".to_owned()));
        assert_eq!(board.status().last, 7);
    }

    #[test]
    fn of_many_problems_a_few_are_described() {
        let mut board = board(9);
        for i in 0..5 {
            board.scraped(i, 1, failed("no"));
        }
        assert_eq!(board.status().message, "5 of 9 targets: t0: no; t1: no; t2: no; and 2 more, see the log");
    }
}
