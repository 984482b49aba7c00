//! Which processes are watched: selectors of the configuration against what runs.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::error::ProcError;
use crate::process::{Names, ProcFs, ProcessIdentity};

/// Bytes to which the kernel cuts a command name (`TASK_COMM_LEN` less its end).
const COMMAND_LENGTH: usize = 15;
/// The longest name that is compared with others; nobody mistypes a longer one.
const LONGEST_NAME: usize = 128;
/// Every this many refreshes all processes are looked at again, since a process may change its name by `exec`; in
/// between only new ones are.
const FULL_EVERY: u64 = 6;
/// Processes that one selector watches at most, unless configured otherwise.
pub(crate) const DEFAULT_LIMIT: usize = 64;

/// Selects processes; everything that is given must hold. One that gives nothing matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Base name of the executable, or of the first argument, or command name (cut at 15 bytes).
    pub name: Option<String>,
    /// Pid in the agent's pid namespace.
    pub pid: Option<u32>,
    /// Part of a path in `/proc/<pid>/cgroup`, for example a container's id or a unit's name.
    pub cgroup: Option<String>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map(|name| format!("name {name:?}"));
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let cgroup = self.cgroup.as_ref().map(|part| format!("cgroup {part:?}"));
        let given: Vec<String> = [name, pid, cgroup].into_iter().flatten().collect();
        f.write_str(if given.is_empty() { "nothing" } else { "" })?;
        f.write_str(&given.join(" and "))
    }
}

impl Selector {
    fn matches(&self, candidate: &Candidate<'_>) -> bool {
        let by_pid = self.pid.is_none_or(|wanted| wanted == candidate.pid);
        let by_name = |wanted: &String| candidate.names().is_some_and(|names| names_match(wanted, names));
        let by_cgroup = |part: &String| candidate.cgroup().is_some_and(|path| path.contains(part.as_str()));
        *self != Self::default()
            && by_pid
            && self.name.as_ref().is_none_or(by_name)
            && self.cgroup.as_ref().is_none_or(by_cgroup)
    }
}

/// A process under examination; its files are read at most once, and only if a selector asks.
struct Candidate<'a> {
    proc: &'a ProcFs,
    pid: u32,
    names: OnceCell<Option<Names>>,
    cgroup: OnceCell<Option<String>>,
}

impl<'a> Candidate<'a> {
    fn new(proc: &'a ProcFs, pid: u32) -> Self {
        Self { proc, pid, names: OnceCell::new(), cgroup: OnceCell::new() }
    }

    fn names(&self) -> Option<&Names> {
        self.names.get_or_init(|| self.proc.names(self.pid).ok()).as_ref()
    }

    fn cgroup(&self) -> Option<&str> {
        self.cgroup.get_or_init(|| self.proc.cgroup(self.pid).ok()).as_deref()
    }
}

/// A command name of full length says only how the name begins, so it counts only when the executable is unreadable.
fn names_match(wanted: &str, names: &Names) -> bool {
    let exact = [names.executable.as_deref(), names.argument.as_deref(), Some(names.command.as_str())];
    let cut = wanted.as_bytes().get(..COMMAND_LENGTH) == Some(names.command.as_bytes());
    exact.contains(&Some(wanted)) || (names.executable.is_none() && cut)
}

/// How one selector fared; as text it is a message for the log, with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchReport {
    /// The selector.
    pub selector: Selector,
    /// Processes that match it.
    pub matched: usize,
    /// How many of them are watched; those that started first.
    pub watched: usize,
    /// A name that was probably meant, when nothing matches.
    pub similar: Option<String>,
}

impl MatchReport {
    /// Whether this is worth a warning: nothing matches, or not all that match are watched.
    pub fn is_warning(&self) -> bool {
        self.matched == 0 || self.watched < self.matched
    }
}

impl fmt::Display for MatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, matched, watched, similar } = self;
        match (matched, similar) {
            (0, Some(similar)) => write!(
                f,
                "no process matches {selector}; {similar:?} runs: was that meant? It is looked for again at each collection"
            ),
            (0, None) => write!(
                f,
                "no process matches {selector}; a name is compared with the base name of the executable, of its first \
                 argument, and the command name (`ps -eo pid,comm,args`). It is looked for again at each collection"
            ),
            (1, _) => write!(f, "one process matches {selector}: it is watched"),
            _ if watched == matched => write!(f, "{matched} processes match {selector}: all are watched"),
            _ => write!(
                f,
                "{matched} processes match {selector}: the {watched} that started first are watched; narrow the \
                 selector by pid or cgroup, or raise max_processes"
            ),
        }
    }
}

/// Keeps the list of watched processes up to date.
#[derive(Debug)]
pub struct Watchlist {
    selectors: Vec<Selector>,
    limit: usize,
    refreshes: u64,
    /// Pids looked at before, with the refresh in which each was first seen.
    seen: HashMap<u32, u64>,
    /// For each selector the start of each pid that matches.
    matching: Vec<BTreeMap<u32, u64>>,
    watched: Vec<ProcessIdentity>,
    reports: Vec<MatchReport>,
}

impl Watchlist {
    /// Watches what these select, at most `limit` processes each (0 stands for 64).
    pub fn new(selectors: Vec<Selector>, limit: usize) -> Self {
        let matching = selectors.iter().map(|_| BTreeMap::new()).collect();
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit };
        Self {
            selectors,
            limit,
            refreshes: 0,
            seen: HashMap::new(),
            matching,
            watched: vec![],
            reports: vec![],
        }
    }

    /// Looks for new processes and lets go of those that ended.
    ///
    /// # Errors
    /// When `/proc` cannot be listed; the list stays as it was.
    pub fn refresh(&mut self, proc: &ProcFs) -> Result<(), ProcError> {
        let pids = proc.pids()?;
        self.refreshes += 1;
        let full = self.refreshes % FULL_EVERY == 1;
        self.seen.retain(|pid, _| pids.binary_search(pid).is_ok());
        for map in &mut self.matching {
            map.retain(|pid, start| pids.binary_search(pid).is_ok() && is_same(proc, *pid, *start));
        }
        for pid in pids {
            let first = *self.seen.entry(pid).or_insert(self.refreshes);
            // A second look: it may have been seen between its fork and its exec.
            if full || self.refreshes - first <= 1 {
                self.examine(proc, pid);
            }
        }
        self.choose(proc);
        self.reports = self.report(proc);
        Ok(())
    }

    /// The watched processes, each once, by start.
    pub fn watched(&self) -> &[ProcessIdentity] {
        &self.watched
    }

    /// One report for each selector, in the order of the configuration.
    pub fn reports(&self) -> &[MatchReport] {
        &self.reports
    }

    fn examine(&mut self, proc: &ProcFs, pid: u32) {
        let start = proc.stat(pid).ok().filter(|stat| !stat.ended).map(|stat| stat.start_ticks);
        let candidate = Candidate::new(proc, pid);
        for (selector, map) in self.selectors.iter().zip(&mut self.matching) {
            match start.filter(|_| selector.matches(&candidate)) {
                Some(start) => map.insert(pid, start),
                None => map.remove(&pid),
            };
        }
    }

    fn choose(&mut self, proc: &ProcFs) {
        let mut chosen: Vec<(u64, u32)> = Vec::new();
        for map in &self.matching {
            let mut starts: Vec<(u64, u32)> = map.iter().map(|(pid, start)| (*start, *pid)).collect();
            starts.sort_unstable();
            chosen.extend(starts.into_iter().take(self.limit));
        }
        chosen.sort_unstable();
        chosen.dedup();
        let known = std::mem::take(&mut self.watched);
        let identity = |(start, pid): (u64, u32)| {
            let before = known.iter().find(|identity| identity.pid == pid && identity.start_ticks == start);
            before
                .cloned()
                .or_else(|| proc.identity(pid).ok().filter(|identity| identity.start_ticks == start))
        };
        self.watched = chosen.into_iter().filter_map(identity).collect();
    }

    fn report(&self, proc: &ProcFs) -> Vec<MatchReport> {
        let before = |at: usize| self.reports.get(at).filter(|report| report.matched == 0);
        let one = |(at, (selector, map)): (usize, (&Selector, &BTreeMap<u32, u64>))| {
            let matched = map.len();
            // Looking for a similar name reads every process, so it is done once per spell without a match.
            let similar = match (matched, before(at)) {
                (0, Some(report)) => report.similar.clone(),
                (0, None) => selector.name.as_deref().and_then(|wanted| self.similar(proc, wanted)),
                _ => None,
            };
            MatchReport { selector: selector.clone(), matched, watched: matched.min(self.limit), similar }
        };
        self.selectors.iter().zip(&self.matching).enumerate().map(one).collect()
    }

    /// The running process whose name is nearest to the wanted one, when it is near enough.
    fn similar(&self, proc: &ProcFs, wanted: &str) -> Option<String> {
        let mut pids: Vec<u32> = self.seen.keys().copied().collect();
        pids.sort_unstable();
        let runs = |pid: &u32| proc.stat(*pid).is_ok_and(|stat| !stat.ended);
        let names = pids.into_iter().filter(runs).filter_map(|pid| proc.names(pid).ok());
        names
            .map(|names| names.executable.or(names.argument).unwrap_or(names.command))
            .filter(|name| name != wanted)
            .filter_map(|name| Some((difference(wanted, &name)?, name)))
            .min_by_key(|(difference, _)| *difference)
            .map(|(_, name)| name)
    }
}

fn is_same(proc: &ProcFs, pid: u32, start: u64) -> bool {
    proc.stat(pid).is_ok_and(|stat| stat.start_ticks == start && !stat.ended)
}

/// How far a name is from the wanted one, case, blanks, dashes and underscores aside: 0 when one lies within the other, else
/// the typing errors, of which there may be one in five letters. Nothing for names that have little in common.
fn difference(wanted: &str, name: &str) -> Option<usize> {
    let plain = |text: &str| -> String {
        text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (wanted, name) = (plain(wanted), plain(name));
    if wanted.len() < 3 || name.len() < 3 || wanted.len() > LONGEST_NAME {
        return None;
    }
    if wanted.contains(&name) || name.contains(&wanted) {
        return Some(0);
    }
    let errors = strsim::osa_distance(&wanted, &name);
    (errors <= (wanted.len() / 5).max(1)).then_some(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_proc::FakeProc;

    fn by_name(name: &str) -> Vec<Selector> {
        vec![Selector { name: Some(name.to_owned()), ..Selector::default() }]
    }

    fn pids(list: &Watchlist) -> Vec<u32> {
        list.watched().iter().map(|identity| identity.pid).collect()
    }

    #[test]
    fn a_name_that_matches_nothing_is_reported_with_the_name_that_was_meant() {
        let fake = FakeProc::new();
        fake.process(10, "leaky-client", 100);
        let mut list = Watchlist::new(by_name("leaky_client"), 0);
        list.refresh(&fake.proc()).unwrap();
        assert!(list.watched().is_empty());
        let text = list.reports()[0].to_string();
        assert!(list.reports()[0].is_warning());
        assert!(text.contains("no process matches name \"leaky_client\"; \"leaky-client\" runs"), "{text}");
    }

    #[test]
    fn a_typing_error_is_told_the_nearest_name_that_runs() {
        let fake = FakeProc::new();
        for (pid, name) in [(10, "checkin"), (11, "checkout"), (12, "bash"), (13, "orders")] {
            fake.process(pid, name, 100);
        }
        for (wanted, meant) in [
            ("chekcout", Some("checkout")),
            ("checkou", Some("checkout")),
            ("order", Some("orders")),
            ("payments", None),
            ("cart", None),
        ] {
            let mut list = Watchlist::new(by_name(wanted), 0);
            list.refresh(&fake.proc()).unwrap();
            assert_eq!(list.reports()[0].similar.as_deref(), meant, "{wanted}");
        }
    }

    #[test]
    fn a_name_without_a_likeness_is_reported_with_the_way_to_look_it_up() {
        let fake = FakeProc::new();
        fake.process(10, "sh", 100);
        let mut list = Watchlist::new(by_name("checkout"), 0);
        list.refresh(&fake.proc()).unwrap();
        assert!(list.reports()[0].to_string().contains("ps -eo pid,comm,args"));
    }

    #[test]
    fn ten_matches_are_all_watched_and_said() {
        let fake = FakeProc::new();
        (10..20).for_each(|pid| fake.process(pid, "worker", 200 - u64::from(pid)));
        let mut list = Watchlist::new(by_name("worker"), 0);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(list.watched().len(), 10);
        assert_eq!(list.reports()[0].to_string(), "10 processes match name \"worker\": all are watched");
        assert!(!list.reports()[0].is_warning());
    }

    #[test]
    fn of_more_than_the_limit_those_that_started_first_are_watched() {
        let fake = FakeProc::new();
        (10..20).for_each(|pid| fake.process(pid, "worker", 200 - u64::from(pid)));
        let mut list = Watchlist::new(by_name("worker"), 3);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(pids(&list), [19, 18, 17]);
        let text = list.reports()[0].to_string();
        assert!(text.contains("the 3 that started first") && text.contains("max_processes"), "{text}");
    }

    #[test]
    fn a_long_name_matches_by_executable_by_argument_and_by_cut_command_name() {
        let fake = FakeProc::new();
        fake.process(10, "checkout-servic", 1);
        fake.executable(10, "/opt/checkout-service (deleted)");
        fake.process(11, "main", 2);
        fake.file("11/cmdline", "/srv/checkout-service\0--port\0");
        fake.process(12, "checkout-servic", 3);
        fake.process(13, "checkout-servic", 4);
        fake.executable(13, "/opt/checkout-servicing");
        let mut list = Watchlist::new(by_name("checkout-service"), 0);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(pids(&list), [10, 11, 12]);
        assert_eq!(list.watched()[0].executable_name, "checkout-service");
    }

    #[test]
    fn all_conditions_of_a_selector_must_hold_and_an_empty_one_matches_nothing() {
        let fake = FakeProc::new();
        fake.process(10, "worker", 1);
        fake.file("10/cgroup", "0::/system.slice/a.service\n");
        fake.process(11, "worker", 2);
        fake.file("11/cgroup", "0::/system.slice/b.service\n");
        let selector = Selector { name: Some("worker".into()), pid: None, cgroup: Some("b.service".into()) };
        assert_eq!(selector.to_string(), "name \"worker\" and cgroup \"b.service\"");
        let by_pid = Selector { pid: Some(10), ..Selector::default() };
        let mut list = Watchlist::new(vec![selector, by_pid, Selector::default()], 0);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(list.reports().iter().map(|report| report.matched).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(pids(&list), [10, 11]);
    }

    #[test]
    fn a_process_that_returns_with_the_same_pid_is_another_one() {
        let fake = FakeProc::new();
        fake.process(10, "worker", 100);
        let mut list = Watchlist::new(by_name("worker"), 0);
        list.refresh(&fake.proc()).unwrap();
        let before = list.watched()[0].clone();
        fake.process(10, "worker", 900);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(list.watched().len(), 1);
        let after = list.watched()[0].clone();
        assert_ne!(after, before);
        assert_eq!((after.pid, after.start_ticks), (10, 900));
        fake.remove("10");
        list.refresh(&fake.proc()).unwrap();
        assert!(list.watched().is_empty());
    }

    #[test]
    fn a_process_seen_between_fork_and_exec_is_looked_at_twice() {
        let fake = FakeProc::new();
        let mut list = Watchlist::new(by_name("worker"), 0);
        list.refresh(&fake.proc()).unwrap();
        fake.process(10, "supervisor", 100);
        list.refresh(&fake.proc()).unwrap();
        assert!(list.watched().is_empty());
        fake.process(10, "worker", 100);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(pids(&list), [10]);
    }

    #[test]
    fn a_zombie_is_not_watched() {
        let fake = FakeProc::new();
        fake.process(10, "worker", 100);
        fake.file("10/stat", &FakeProc::stat(10, "worker", 'Z', 100));
        let mut list = Watchlist::new(by_name("worker"), 0);
        list.refresh(&fake.proc()).unwrap();
        assert!(list.watched().is_empty());
    }

    #[test]
    fn a_process_that_is_ending_is_not_the_one_that_was_meant() {
        let fake = FakeProc::new();
        for (pid, name) in [(10, "route-client"), (11, "route_client")] {
            fake.process(pid, name, 100);
        }
        let mut list = Watchlist::new(by_name("route-client"), 0);
        list.refresh(&fake.proc()).unwrap();
        assert_eq!(pids(&list), [10]);
        for (pid, name) in [(10, "route-client"), (11, "route_client")] {
            fake.file(&format!("{pid}/stat"), &FakeProc::stat(pid, name, 'Z', 100));
        }
        list.refresh(&fake.proc()).unwrap();
        assert_eq!((list.reports()[0].matched, list.reports()[0].similar.as_deref()), (0, None));
    }
}
