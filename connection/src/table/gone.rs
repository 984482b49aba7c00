//! Processes that have ended: what they had open is gone with them, and nothing that comes of them later counts.
//!
//! Events may still be on their way when the kernel says that their process has exited. Its pid and start are never used
//! again, so the last processes that exited are remembered, and their events are passed over.

use std::collections::VecDeque;

use super::{ConnectionTable, Inner, NANOS, Process};
use crate::process::{ProcessInfo, ProcessKey};
use crate::publish::Ending;

/// Exited processes that are remembered: more than exit while their last events are on their way.
const MAX_EXITED: usize = 256;

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
    /// least 30 s): their End events will never come, and what they had open is closed by the kernel.
    pub fn expire(&self, now: u64) -> Vec<Gone> {
        let mut inner = self.lock();
        let mut gone = std::mem::take(&mut inner.graveyard.unsaid);
        inner.unwatched.forget_before(now.saturating_sub(UNWATCHED));
        inner.processes.retain(|_, p| {
            let limit = (3.0 * p.interval).max(30.0) * NANOS;
            let silent = (now.saturating_sub(p.last_seen) as f64) >= limit && !p.is_socket_only();
            let ending = p.stopped.then_some(Ending::Stopped);
            let ends = silent || p.stopped;
            if ends {
                gone.push(p.gone(ending));
            }
            !ends
        });
        gone
    }
}
