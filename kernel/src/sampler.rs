//! One sample: which processes, which of the listed sockets are theirs, what became of those followed so far.
//!
//! Sockets are handed over one by one and never held all at once. Their owner is looked up by inode, and only when one
//! is new: the descriptors of the watched processes are walked before a dump if there is a new process, and after it if
//! the dump listed sockets not met before. Those that turn out to be nobody's are remembered by cookie as foreign, so
//! that they cost no further walk; now and then they are forgotten, because a descriptor may have been passed on.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::book::{Book, Context, Owner};
use crate::diag::{Family, Socket, TcpState};
use crate::dump::{DumpReport, SocketSource};
use crate::error::{DiagError, ProcError};
use crate::listeners::Listeners;
use crate::matching::{Selector, Watchlist};
use crate::process::{ProcFs, ProcessIdentity, ProcessMetrics};
use crate::query::{Query, States};
use crate::series::{Notice, ProcessSample, Sample, SampleReport};
use crate::table::Limits;
use crate::tracker::Tracked;

/// Foreign sockets are looked at again after this many samples.
const FORGET_FOREIGN_EVERY: u32 = 60;
/// Sockets whose owner is looked for after one dump; more wait for the next sample, which walks first.
const PENDING_LIMIT: usize = 4096;

/// What to sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Processes to watch.
    pub selectors: Vec<Selector>,
    /// Processes that one selector watches at most; those that started first. Default 64.
    pub max_processes: usize,
    /// Sockets that are followed at most, at about 160 bytes each. Default 100 000.
    pub max_sockets: usize,
    /// Targets of one process at most; the rest is one series. Default 256.
    pub max_targets: usize,
    /// Exemplars of one series at most. Default 20.
    pub max_exemplars: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let selectors = Vec::new();
        Self { selectors, max_processes: 64, max_sockets: 100_000, max_targets: 256, max_exemplars: 20 }
    }
}

/// Takes samples. Calls block for the time of the dumps and, when there are new sockets, of the walks.
#[derive(Debug)]
pub struct Sampler<S> {
    source: S,
    proc: ProcFs,
    own_namespace: Option<u64>,
    watchlist: Watchlist,
    processes: Vec<Process>,
    next_process: u32,
    book: Book,
    max_sockets: usize,
    samples: u32,
    previous_ns: Option<u64>,
    walk_first: bool,
}

/// A watched process.
#[derive(Debug)]
struct Process {
    /// Never used again for another one.
    number: u32,
    identity: ProcessIdentity,
    since_ns: u64,
    /// Not watched in the sample before.
    fresh: bool,
    ended: bool,
    /// Why its descriptors cannot be read.
    refused: Option<String>,
    /// Inodes of its sockets by descriptor, as the last walk found them.
    descriptors: HashMap<u32, u32>,
}

impl<S: SocketSource> Sampler<S> {
    /// Samples sockets of `source` and processes of `proc`.
    pub fn new(settings: Settings, source: S, proc: ProcFs) -> Self {
        let limits = Limits { targets: settings.max_targets, exemplars: settings.max_exemplars };
        Self {
            source,
            own_namespace: proc.network_namespace(None),
            proc,
            watchlist: Watchlist::new(settings.selectors, settings.max_processes),
            processes: Vec::new(),
            next_process: 0,
            book: Book::new(settings.max_sockets, limits),
            max_sockets: settings.max_sockets,
            samples: 0,
            previous_ns: None,
            walk_first: false,
        }
    }

    /// Takes a sample; `now_ns` is the caller's clock, which should not go back.
    ///
    /// # Errors
    /// When sockets cannot be listed. What is known stays, and the next sample goes on from it.
    pub fn sample(&mut self, now_ns: u64) -> Result<Sample, DiagError> {
        let mut notices = Vec::new();
        if let Err(error) = self.watchlist.refresh(&self.proc) {
            notices.push(Notice::Processes { message: error.to_string() });
        }
        notices.extend(self.watchlist.reports().iter().cloned().map(Notice::Matching));
        self.update_processes(now_ns);
        let mut report = SampleReport::default();
        if !self.processes.is_empty() {
            self.dump(now_ns, &mut report, &mut notices)?;
        }
        report.followed = self.book.tracker.len() as u64;
        self.notice(&mut notices);
        let processes = self.finish(now_ns);
        Ok(Sample { at_ns: now_ns, processes, notices, report })
    }

    /// Of these pairs of local and peer address those that the last sample found followed and in ESTABLISHED, with the age
    /// of each in ns (a lower bound for a socket that was there before anybody looked).
    pub fn established(
        &self,
        wanted: &HashSet<(SocketAddr, SocketAddr)>,
    ) -> HashMap<(SocketAddr, SocketAddr), u64> {
        if wanted.is_empty() {
            return HashMap::new();
        }
        let now_ns = self.previous_ns.unwrap_or_default();
        let pair = |tracked: &Tracked| (tracked.local(), tracked.peer());
        let found = self.book.tracker.established().filter(|tracked| wanted.contains(&pair(tracked)));
        found.map(|tracked| (pair(tracked), tracked.activity.age_ns(now_ns))).collect()
    }

    fn update_processes(&mut self, now_ns: u64) {
        let watched = self.watchlist.watched();
        for process in &mut self.processes {
            process.ended = !watched.contains(&process.identity);
        }
        for identity in watched {
            if self.processes.iter().any(|process| process.identity == *identity) {
                continue;
            }
            self.processes.push(Process {
                number: self.next_process,
                identity: identity.clone(),
                since_ns: now_ns,
                fresh: true,
                ended: false,
                refused: None,
                descriptors: HashMap::new(),
            });
            self.next_process = self.next_process.wrapping_add(1);
            // What was nobody's may be the new one's.
            self.book.forget_foreign();
            self.walk_first = true;
        }
    }

    fn dump(
        &mut self,
        now_ns: u64,
        report: &mut SampleReport,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DiagError> {
        self.samples = self.samples.wrapping_add(1);
        if self.samples.is_multiple_of(FORGET_FOREIGN_EVERY) {
            self.book.forget_foreign();
            self.walk_first = true;
        }
        let listeners = self.listeners(report, notices)?;
        let owners = if self.walk_first { self.walk(&HashSet::new(), report) } else { HashMap::new() };
        let found;
        self.book.begin();
        let mut context =
            Context { now_ns, previous_ns: self.previous_ns, listeners: &listeners, owners: &owners };
        let mut pending = Vec::new();
        let mut deferred = 0;
        for family in Family::ALL {
            let query = Query { states: States::ALL.without(&[TcpState::Listen]), ..Query::all(family) };
            let book = &mut self.book;
            let done = self.source.dump(&query, &mut |socket| {
                let unknown = book.see(socket, &context);
                if unknown && pending.len() < PENDING_LIMIT {
                    pending.push(*socket);
                } else {
                    deferred += u64::from(unknown);
                }
            });
            account(report, tolerate(family, done, notices)?);
        }
        if !pending.is_empty() {
            found = self.walk(&self.book.tracker.inodes(), report);
            context.owners = &found;
            pending.iter().for_each(|socket| self.book.settle(socket, &context));
        }
        report.deferred = deferred;
        self.walk_first = deferred > 0;
        let ended: HashSet<u32> =
            self.processes.iter().filter(|process| process.ended).map(|process| process.number).collect();
        self.book.sweep(&context, report.partial, |process| ended.contains(&process));
        Ok(())
    }

    fn listeners(
        &mut self,
        report: &mut SampleReport,
        notices: &mut Vec<Notice>,
    ) -> Result<Listeners, DiagError> {
        let mut listeners = Listeners::default();
        for family in Family::ALL {
            let states = States::of(&[TcpState::Listen]);
            let query = Query { states, info: false, ..Query::all(family) };
            let done = self.source.dump(&query, &mut |socket: &Socket| listeners.add(socket));
            account(report, tolerate(family, done, notices)?);
        }
        Ok(listeners)
    }

    /// Owners of the sockets of all watched processes. A descriptor that had a socket which is `alive`, that is, of
    /// which this dump says so, is not read again.
    fn walk(&mut self, alive: &HashSet<u32>, report: &mut SampleReport) -> HashMap<u32, Owner> {
        report.walks += 1;
        let mut owners = HashMap::new();
        let Self { processes, proc, own_namespace, .. } = self;
        for process in
            processes.iter_mut().filter(|process| !process.ended && process.is_listed(*own_namespace))
        {
            let age_ns = proc.age_ns(process.identity.start_ticks);
            let owner = Owner { process: process.number, fresh: process.fresh, age_ns };
            process.refused = match process.walk(proc, alive) {
                Ok(()) | Err(ProcError::Gone { .. }) => None,
                Err(error) => Some(error.to_string()),
            };
            for inode in process.descriptors.values() {
                owners.entry(*inode).or_insert(owner);
            }
        }
        owners
    }

    fn notice(&self, notices: &mut Vec<Notice>) {
        for process in self.processes.iter().filter(|process| !process.ended) {
            if !process.is_listed(self.own_namespace) {
                notices.push(Notice::OtherNamespace { process: process.identity.clone() });
            }
            if let Some(message) = process.refused.clone() {
                notices.push(Notice::NotPermitted { process: process.identity.clone(), message });
            }
        }
        let sockets = self.book.over_limit();
        if sockets > 0 {
            notices.push(Notice::Limit { sockets, limit: self.max_sockets });
        }
    }

    fn finish(&mut self, now_ns: u64) -> Vec<ProcessSample> {
        self.previous_ns = Some(now_ns);
        let mut samples = Vec::with_capacity(self.processes.len());
        for process in &mut self.processes {
            process.fresh = false;
            let metrics = match process.ended {
                true => ProcessMetrics::default(),
                false => self.proc.metrics(process.identity.pid).unwrap_or_default(),
            };
            let (series, folded) = self.book.table.samples(process.number, &self.book.tracker, now_ns);
            let (identity, since_ns, ended) = (process.identity.clone(), process.since_ns, process.ended);
            let exited = ended && self.proc.has_exited(identity.pid, identity.start_ticks) == Some(true);
            samples.push(ProcessSample {
                process: identity,
                since_ns,
                ended,
                exited,
                metrics,
                series,
                folded,
            });
            if ended {
                self.book.table.remove_process(process.number);
            }
        }
        self.processes.retain(|process| !process.ended);
        samples
    }
}

impl Process {
    /// Lists the sockets behind its descriptors anew; what was found before an error is kept.
    fn walk(&mut self, proc: &ProcFs, alive: &HashSet<u32>) -> Result<(), ProcError> {
        let before = std::mem::take(&mut self.descriptors);
        let known = |number: u32| before.get(&number).copied().filter(|inode| alive.contains(inode));
        let mut inodes = HashSet::new();
        let mut duplicated = HashSet::new();
        proc.socket_descriptors(self.identity.pid, known, |number, inode| {
            if !inodes.insert(inode) {
                duplicated.insert(inode);
            }
            self.descriptors.insert(number, inode);
        })?;
        // A socket lives on in a duplicate after its first descriptor was closed and its number given to another one.
        let doubtful = |(number, inode): (&u32, &u32)| duplicated.contains(inode).then_some(*number);
        let doubtful: Vec<u32> = self.descriptors.iter().filter_map(doubtful).collect();
        for number in doubtful {
            match proc.socket_inode(self.identity.pid, number)? {
                Some(inode) => self.descriptors.insert(number, inode),
                None => self.descriptors.remove(&number),
            };
        }
        Ok(())
    }

    /// Whether its sockets are among those that the agent's kernel socket lists.
    fn is_listed(&self, own_namespace: Option<u64>) -> bool {
        match (self.identity.network_namespace, own_namespace) {
            (Some(its), Some(own)) => its == own,
            _ => true,
        }
    }
}

/// A kernel without IPv6 is no reason to see nothing.
fn tolerate(
    family: Family,
    done: Result<DumpReport, DiagError>,
    notices: &mut Vec<Notice>,
) -> Result<DumpReport, DiagError> {
    match done {
        Err(error @ DiagError::ModuleMissing { .. }) if family == Family::V6 => {
            let notice = Notice::Family { message: error.to_string() };
            if !notices.contains(&notice) {
                notices.push(notice);
            }
            Ok(DumpReport::default())
        }
        other => other,
    }
}

fn account(report: &mut SampleReport, dump: DumpReport) {
    report.sockets += dump.sockets;
    report.malformed += dump.malformed;
    report.retries += dump.retries;
    report.partial |= dump.partial || dump.malformed > 0;
}

#[cfg(test)]
mod tests;
