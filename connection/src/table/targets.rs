//! What a connection leads to, by every name it has: its address, and the target of the client that made it.
//!
//! A client dials `orders:50051` and its connection goes to `10.0.0.7:50051`; verdicts speak of the one, spans of the
//! other. Spans and events of an end pass when the table has already let go of the connection, so the last that ended
//! are remembered.

use std::collections::VecDeque;

use super::{ConnectionEntry, ConnectionTable, Process};
use crate::process::ProcessKey;

/// Clients, and as many connections, of a process that are remembered after their end: more than one request of the
/// companion module holds.
const MAX_RECENT: usize = 1024;

/// Those of one process that ended last, with numbers of interned targets.
#[derive(Debug, Default)]
pub(super) struct Recent {
    clients: VecDeque<(u64, u32)>,
    connections: VecDeque<(u64, [Option<u32>; 2])>,
}

fn push<T>(list: &mut VecDeque<T>, value: T) {
    if list.len() >= MAX_RECENT {
        list.pop_front();
    }
    list.push_back(value);
}

impl Recent {
    pub(super) fn has_client(&self, id: u64) -> bool {
        self.clients.iter().any(|(of, _)| *of == id)
    }

    pub(super) fn has_connection(&self, id: u64) -> bool {
        self.connections.iter().any(|(of, _)| *of == id)
    }
}

impl Process {
    pub(super) fn remember_client(&mut self, id: u64, target: u32) {
        push(&mut self.recent.clients, (id, target));
    }

    pub(super) fn remember_connection(&mut self, id: u64, entry: &ConnectionEntry) {
        let targets = self.numbers(entry);
        push(&mut self.recent.connections, (id, targets));
    }

    /// Targets of a connection: its own, and that of its client.
    fn numbers(&self, entry: &ConnectionEntry) -> [Option<u32>; 2] {
        [Some(entry.target), self.client_target(entry.client)]
    }

    fn client_target(&self, id: u64) -> Option<u32> {
        let recent = || self.recent.clients.iter().rev().find(|(of, _)| *of == id).map(|(_, target)| *target);
        self.clients.get(&id).map(|c| c.target).or_else(recent)
    }

    fn connection_targets(&self, id: u64) -> [Option<u32>; 2] {
        let recent = || self.recent.connections.iter().rev().find(|(of, _)| *of == id).map(|(_, t)| *t);
        let open = self.connections.get(&id).map(|entry| self.numbers(entry));
        open.or_else(recent).unwrap_or_default()
    }
}

impl ConnectionTable {
    /// The names, as in `connection.target`, of what a client (`grpc.client.id`) or a connection (`connection.id`) of a
    /// process leads to, open or one of the last that ended; an id of 0 stands for none. Empty when nothing is known.
    pub fn targets(&self, key: &ProcessKey, client: u64, connection: u64) -> Vec<String> {
        let inner = self.lock();
        let Some(process) = inner.processes.get(key) else { return Vec::new() };
        let numbers =
            process.connection_targets(connection).into_iter().chain([process.client_target(client)]);
        numbers.flatten().filter_map(|n| process.targets.get(n)).filter(|t| !t.is_empty()).cloned().collect()
    }
}
