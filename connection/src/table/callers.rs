//! Who calls the lines that make clients: a line in a helper says less than the lines that call the helper.

use std::collections::{BTreeMap, HashMap};

use super::{ConnectionTable, Process};
use crate::process::ProcessKey;
use crate::publish::CodeSite;

/// Stacks that are kept of a process.
const MAX_STACKS: usize = 1024;
/// Frames of a stack that are kept.
const MAX_FRAMES: usize = 16;
/// Callers that are told apart.
const MAX_CALLERS: usize = 5;

/// The stacks of one process, by the numbers that it gave them; the site is the first frame.
#[derive(Debug, Default)]
pub(super) struct CallStacks(HashMap<u64, Vec<CodeSite>>);

/// How a line is reached.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Callers {
    /// The stack by which most of the open clients were made, the line itself first.
    pub stack: Vec<CodeSite>,
    /// The frames at which the stacks part, with their shares of the clients, most first; its caller where they do not.
    pub callers: Vec<(CodeSite, f64)>,
}

impl CallStacks {
    pub(super) fn learn(&mut self, id: u64, text: &str) {
        if id > 0 && !text.is_empty() && (self.0.len() < MAX_STACKS || self.0.contains_key(&id)) {
            self.0.entry(id).or_insert_with(|| frames(text));
        }
    }
}

/// Reads a stack as Go prints it: a line with the function, then one with `file:line`.
fn frames(text: &str) -> Vec<CodeSite> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let frame = |pair: &[&str]| {
        let (function, place) = (pair.first()?, pair.get(1)?);
        let (file, line) = place.rsplit_once(':')?;
        Some(CodeSite { file: file.to_owned(), line: line.parse().ok()?, function: (*function).to_owned() })
    };
    lines.chunks(2).map_while(frame).take(MAX_FRAMES).collect()
}

impl Process {
    /// Open clients by the stack that made them, of lines that `is` accepts.
    fn clients_by_stack(&self, is: impl Fn(&CodeSite) -> bool) -> BTreeMap<u64, u64> {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for client in self.clients.values() {
            if client.stack > 0 && self.sites.get(client.site).is_some_and(&is) {
                *counts.entry(u64::from(client.stack)).or_default() += 1;
            }
        }
        counts
    }
}

impl ConnectionTable {
    /// How the line that `is` accepts is reached, by the clients open now; nothing when no stack of it is known.
    pub fn callers(&self, key: &ProcessKey, is: impl Fn(&CodeSite) -> bool) -> Option<Callers> {
        let inner = self.lock();
        let process = inner.processes.get(key)?;
        let known = process.clients_by_stack(is).into_iter();
        let known = known.filter_map(|(id, count)| Some((process.call_stacks.0.get(&id)?, count)));
        part(known.collect())
    }
}

/// Where these stacks part.
fn part(stacks: Vec<(&Vec<CodeSite>, u64)>) -> Option<Callers> {
    let (most, _) = stacks.iter().max_by_key(|(_, count)| *count)?;
    let at = |depth: usize| stacks.iter().filter_map(move |(stack, count)| Some((stack.get(depth)?, *count)));
    let differ = |depth: &usize| {
        let mut frames = at(*depth).map(|(frame, _)| frame);
        let first = frames.next();
        frames.any(|frame| Some(frame) != first)
    };
    let depth = (1..MAX_FRAMES).find(differ).unwrap_or(1);
    let mut callers: BTreeMap<&CodeSite, u64> = BTreeMap::new();
    at(depth).for_each(|(frame, count)| *callers.entry(frame).or_default() += count);
    let all: u64 = stacks.iter().map(|(_, count)| count).sum();
    let mut callers: Vec<(CodeSite, f64)> =
        callers.into_iter().map(|(frame, count)| (frame.clone(), count as f64 / all as f64)).collect();
    callers.sort_by(|a, b| b.1.total_cmp(&a.1));
    callers.truncate(MAX_CALLERS);
    Some(Callers { stack: (*most).clone(), callers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(lines: &[i64]) -> Vec<CodeSite> {
        let text: String = lines.iter().map(|line| format!("main.f{line}\n\t/src/a.go:{line}\n")).collect();
        frames(&text)
    }

    fn lines(callers: &Callers) -> Vec<(i64, f64)> {
        callers.callers.iter().map(|(frame, share)| (frame.line, *share)).collect()
    }

    #[test]
    fn callers_are_the_frames_at_which_stacks_part() {
        let (a, b, c) = (stack(&[7, 20, 31, 90]), stack(&[7, 20, 32, 90]), stack(&[7, 20, 32, 91]));
        let found = part(vec![(&a, 60), (&b, 30), (&c, 10)]).expect("callers");
        assert_eq!(lines(&found), [(31, 0.6), (32, 0.4)]);
        assert_eq!(found.stack, a);
        assert_eq!(
            lines(&part(vec![(&a, 4)]).expect("callers")),
            [(20, 1.0)],
            "its caller where there is one stack"
        );
        assert_eq!(lines(&part(vec![(&stack(&[7]), 4)]).expect("a stack")), []);
        assert_eq!(part(Vec::new()), None);
    }

    #[test]
    fn what_is_no_stack_is_none() {
        for text in ["", "main.f", "main.f\n\tnowhere", "main.f\n\ta.go:x"] {
            assert_eq!(frames(text), [], "{text:?}");
        }
    }
}
