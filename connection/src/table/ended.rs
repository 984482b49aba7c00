//! Connections that have ended, until the kernel says that their sockets are gone as well.
//!
//! A socket that stays ESTABLISHED after its connection ended is held by a duplicated descriptor. Only the kernel's view
//! can tell, so nothing is remembered of processes whose sockets nobody looks at.

use std::net::SocketAddr;

use super::{ConnectionEntry, ConnectionTable, Process};
use crate::events::Side;
use crate::process::ProcessKey;
use crate::publish::CodeSite;

/// Ended connections of a process that wait for the kernel's word; further ones are not remembered.
pub const MAX_ENDED: usize = 1024;

/// A client's connection that has ended, as its process said.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its process.
    pub process: ProcessKey,
    /// Its local address.
    pub local: SocketAddr,
    /// Its peer's address.
    pub peer: SocketAddr,
    /// When it ended, Unix ns of the agent.
    pub time: u64,
    /// The line that made its client; empty when unknown.
    pub site: CodeSite,
}

/// Those of one process.
#[derive(Debug, Default)]
pub(super) struct EndedConnections {
    watched: bool,
    list: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    local: SocketAddr,
    peer: SocketAddr,
    time: u64,
    site: u32,
}

impl EndedConnections {
    /// From now on somebody looks at the sockets.
    pub(super) fn watch(&mut self) {
        self.watched = true;
    }
}

impl Process {
    /// Remembers a client's connection that ends at `time` (its clock).
    pub(super) fn remember_ended(&mut self, entry: &ConnectionEntry, time: u64) {
        let (Side::Client, Some(local), Some(peer)) = (entry.side, entry.local, entry.peer) else { return };
        if self.ended.watched && self.ended.list.len() < MAX_ENDED {
            let time = time.saturating_add_signed(self.offset);
            self.ended.list.push(Entry { local, peer, time, site: entry.site });
        }
    }
}

impl ConnectionTable {
    /// Connections that have ended and whose sockets are not known to be gone.
    pub fn ended(&self) -> Vec<Ended> {
        let inner = self.lock();
        let of = |process: &Process| -> Vec<Ended> {
            let one = |e: &Entry| Ended {
                process: process.info.key.clone(),
                local: e.local,
                peer: e.peer,
                time: e.time,
                site: process.sites.get(e.site).cloned().unwrap_or_default(),
            };
            process.ended.list.iter().map(one).collect()
        };
        inner.processes.values().flat_map(of).collect()
    }

    /// Forgets those of [`ConnectionTable::ended`] whose sockets the kernel does not show any more: `open` tells which
    /// it shows. What ended at `time` (Unix ns of the agent) or later is kept: the kernel was asked before.
    pub fn forget_ended(&self, time: u64, open: impl Fn(SocketAddr, SocketAddr) -> bool) {
        for process in self.lock().processes.values_mut() {
            process.ended.list.retain(|e| e.time >= time || open(e.local, e.peer));
        }
    }
}
