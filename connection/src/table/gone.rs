//! Processes that have ended: what they had open is gone with them, and nothing that comes of them later counts.
//!
//! Events may still be on their way when the kernel says that their process has exited. Its pid and start are never used
//! again, so the last processes that exited are remembered, and their events are passed over.
//!
//! A process that is killed says nothing, and where nobody sees its kernel it only falls silent, which is no end. When its
//! service runs again under the same pid of the same host, as a container does that is started again, it has ended. So the
//! last processes that fell silent are remembered too. Containers that share the name of their host may have the same pid at
//! the same time: only who was silent before the other one came was replaced, and it counts again when it speaks again.

use std::collections::VecDeque;

use super::{ConnectionTable, Inner, NANOS, Process};
use crate::process::{ProcessInfo, ProcessKey};
use crate::publish::Ending;

/// Exited processes that are remembered: more than exit while their last events are on their way. Likewise those that fell
/// silent.
const MAX_REMEMBERED: usize = 256;

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
    /// When it was last heard of, Unix ns.
    last_seen: u64,
}

impl Silent {
    /// Whether its service runs again in its place.
    fn is_replaced_by(&self, other: &Process) -> bool {
        let (mine, theirs) = (&self.gone.info, &other.info);
        let named = mine.key.pid > 0 && !mine.key.host.is_empty() && !mine.service.is_empty();
        let in_its_place = theirs.key.pid == mine.key.pid
            && theirs.key.host == mine.key.host
            && theirs.service == mine.service;
        named && in_its_place && theirs.key != mine.key && other.first_seen > self.last_seen
    }
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
        if self.exited.len() >= MAX_REMEMBERED {
            self.exited.pop_front();
        }
        self.exited.push_back(info);
    }

    fn fell_silent(&mut self, silent: Silent) {
        if self.silent.len() >= MAX_REMEMBERED {
            self.silent.pop_front();
        }
        self.silent.push_back(silent);
    }

    /// It speaks again.
    pub(super) fn heard(&mut self, key: &ProcessKey) {
        self.silent.retain(|silent| silent.gone.info.key != *key);
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
                graveyard
                    .fell_silent(Silent { gone: p.gone(Some(Ending::Replaced)), last_seen: p.last_seen });
            }
            !(silent || p.stopped)
        });
        graveyard.silent.retain(|silent| {
            let replaced = processes.values().any(|p| silent.is_replaced_by(p));
            if replaced {
                gone.push(silent.gone.clone());
            }
            !replaced
        });
        gone
    }
}
