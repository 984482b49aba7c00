//! Processes that have ended: what they had open is gone with them, and nothing that comes of them later counts.
//!
//! Events may still be on their way when the kernel says that their process has exited. Its pid and start are never used
//! again, so the last processes that exited are remembered, and their events are passed over.
//!
//! A process that is killed says nothing, and where nobody sees its kernel it only falls silent, which is no end. When its
//! service runs again under the same pid of the same host, as a container does that is started again, it has ended. So the
//! last processes that fell silent are remembered too. Containers that share the name of their host may have the same pid at
//! the same time: only who was silent before the other one came was replaced, and it counts again when it speaks again. When
//! the agent could not be reached all fall silent and come back one after the other: when each had come is remembered with it.

use std::collections::{HashMap, VecDeque};

use super::{ConnectionTable, Inner, MAX_PROCESSES, NANOS, Process};
use crate::process::{ProcessInfo, ProcessKey};
use crate::publish::Ending;

/// Exited processes that are remembered: more than exit while their last events are on their way.
const MAX_EXITED: usize = 256;

/// Silent processes that are remembered: all of a full table, as when the agent could not be reached.
const MAX_SILENT: usize = MAX_PROCESSES;

/// A process that the table has let go of.
#[derive(Debug, Clone, PartialEq)]
pub struct Gone {
    /// The process.
    pub info: ProcessInfo,
    /// When it was first seen, Unix ns.
    pub first_seen: u64,
    /// How it is known to have ended; nothing when it is merely not heard of any more.
    pub ending: Option<Ending>,
}

/// How long a process that was turned away counts as unwatched, ns: the module sends a snapshot more often by default.
const UNWATCHED: u64 = 60_000_000_000;

/// Those of which something is still to be said, and those that are remembered.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    unsaid: Vec<Gone>,
    exited: VecDeque<ProcessInfo>,
    silent: VecDeque<Silent>,
}

/// A process that is not heard of any more.
#[derive(Debug)]
struct Silent {
    gone: Gone,
    /// When it came and when it was last heard of, Unix ns.
    came: u64,
    last_seen: u64,
}

/// Where a service runs: the pid, the name of the host and its own.
type Place<'a> = (i64, &'a str, &'a str);

/// The place of a process, if all of it is known.
fn place(info: &ProcessInfo) -> Option<Place<'_>> {
    let known = info.key.pid > 0 && !info.key.host.is_empty() && !info.service.is_empty();
    known.then_some((info.key.pid, &info.key.host, &info.service))
}

/// When the last of the processes that speak came to each place.
fn taken_places<'a>(processes: impl Iterator<Item = &'a Process>) -> HashMap<Place<'a>, u64> {
    let mut places = HashMap::new();
    for process in processes.filter(|p| !p.is_socket_only()) {
        if let Some(place) = place(&process.info) {
            let last = places.entry(place).or_default();
            *last = process.came.max(*last);
        }
    }
    places
}

impl Graveyard {
    pub(super) fn has(&self, key: &ProcessKey) -> bool {
        self.info(key).is_some()
    }

    pub(super) fn info(&self, key: &ProcessKey) -> Option<&ProcessInfo> {
        self.exited.iter().find(|info| info.key == *key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ProcessInfo> {
        self.exited.iter().rev()
    }

    fn bury(&mut self, info: ProcessInfo) {
        if self.has(&info.key) {
            return;
        }
        if self.exited.len() >= MAX_EXITED {
            self.exited.pop_front();
        }
        self.exited.push_back(info);
    }

    fn fell_silent(&mut self, silent: Silent) {
        if self.silent.len() >= MAX_SILENT {
            self.silent.pop_front();
        }
        self.silent.push_back(silent);
    }

    /// It speaks again: when it had come, if it is one that fell silent.
    pub(super) fn heard(&mut self, key: &ProcessKey) -> Option<u64> {
        let at = self.silent.iter().position(|silent| silent.gone.info.key == *key)?;
        self.silent.remove(at).map(|silent| silent.came)
    }

    /// It speaks again, and there is no room for it.
    pub(super) fn turned_away(&mut self, key: &ProcessKey, now: u64) {
        if let Some(silent) = self.silent.iter_mut().find(|silent| silent.gone.info.key == *key) {
            silent.last_seen = now;
        }
    }
}

impl Process {
    fn gone(&self, ending: Option<Ending>) -> Gone {
        Gone { info: self.info.clone(), first_seen: self.first_seen, ending }
    }
}

impl Inner {
    fn end(&mut self, key: &ProcessKey) {
        let Some(process) = self.processes.remove(key) else { return };
        if !process.is_socket_only() {
            self.graveyard.unsaid.push(process.gone(Some(Ending::Exited)));
        }
        // Without pid and start the key may be another process's soon.
        if key.pid > 0 && key.start_ticks > 0 {
            self.graveyard.bury(process.info);
        }
    }
}

impl ConnectionTable {
    /// Says that the kernel shows these processes no longer: they are forgotten, and events that still come of them are
    /// passed over.
    pub fn exited<'a>(&self, keys: impl Iterator<Item = &'a ProcessKey>) {
        let mut inner = self.lock();
        keys.for_each(|key| inner.end(key));
    }

    /// Lets go of processes that have ended, and of those that have not been heard of for three snapshot intervals (at
    /// least 30 s): their End events will never come, and what they had open is closed by the kernel. One of those that was
    /// replaced meanwhile is named once more.
    pub fn expire(&self, now: u64) -> Vec<Gone> {
        let mut inner = self.lock();
        let Inner { processes, graveyard, unwatched } = &mut *inner;
        let mut gone = std::mem::take(&mut graveyard.unsaid);
        unwatched.forget_before(now.saturating_sub(UNWATCHED));
        processes.retain(|_, p| {
            let limit = (3.0 * p.interval).max(30.0) * NANOS;
            let silent = (now.saturating_sub(p.last_seen) as f64) >= limit && !p.is_socket_only();
            if p.stopped {
                gone.push(p.gone(Some(Ending::Stopped)));
            } else if silent {
                gone.push(p.gone(None));
                let replaced = p.gone(Some(Ending::Replaced));
                graveyard.fell_silent(Silent { gone: replaced, came: p.came, last_seen: p.last_seen });
            }
            !(silent || p.stopped)
        });
        if graveyard.silent.is_empty() {
            return gone;
        }
        let places = taken_places(processes.values());
        graveyard.silent.retain(|silent| {
            let last = place(&silent.gone.info).and_then(|place| places.get(&place));
            let replaced = last.is_some_and(|came| *came > silent.last_seen);
            if replaced {
                gone.push(silent.gone.clone());
            }
            !replaced
        });
        gone
    }
}
