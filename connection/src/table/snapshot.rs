//! Snapshots: what the process states as open replaces what the table believed.

use std::collections::HashMap;

use super::{MAX_ENTRIES, Pending, Process};
use crate::events::{Client, Connection, Snapshot};

impl Process {
    pub(super) fn snapshot(&mut self, snapshot: Snapshot) {
        self.interval = snapshot.interval.clamp(0.1, 3600.0);
        self.totals = snapshot.totals;
        self.stopped = snapshot.last;
        snapshot.stacks.iter().for_each(|(id, text)| self.call_stacks.learn(*id, text));
        let fresh = self.pending.as_ref().is_none_or(|p| p.id != snapshot.id);
        if fresh {
            self.pending = Some(Pending {
                id: snapshot.id,
                time: snapshot.time,
                missing: snapshot.parts,
                clients: HashMap::new(),
                connections: HashMap::new(),
            });
        }
        let (clients, connections): (Vec<_>, Vec<_>) = (
            snapshot.clients.iter().map(|c| c.id).collect(),
            snapshot.connections.iter().map(|c| c.id).collect(),
        );
        for client in snapshot.clients {
            self.refresh_client(client);
        }
        for connection in snapshot.connections {
            self.refresh_connection(&connection);
        }
        let Some(pending) = &mut self.pending else { return };
        pending.clients.extend(clients.into_iter().map(|id| (id, ())));
        pending.connections.extend(connections.into_iter().map(|id| (id, ())));
        pending.missing = pending.missing.saturating_sub(1);
        if pending.missing == 0
            && let Some(complete) = self.pending.take()
        {
            self.settle(&complete);
        }
    }

    fn refresh_client(&mut self, mut client: Client) {
        let streams = std::mem::take(&mut client.streams);
        if streams.is_empty() {
            self.streams.remove(&client.id);
        } else if self.streams.contains_key(&client.id) || self.clients.len() < MAX_ENTRIES {
            let by_site = streams.into_iter().map(|(site, open)| (self.sites.id(site), open)).collect();
            self.streams.insert(client.id, by_site);
        }
        match self.clients.get_mut(&client.id) {
            Some(known) => {
                known.active = known.active.max(client.active);
                known.rpcs = client.rpcs;
                known.open_rpcs = u32::try_from(client.open_rpcs).unwrap_or(u32::MAX);
            }
            None => self.add_client(client, false),
        }
    }

    fn refresh_connection(&mut self, c: &Connection) {
        match self.connections.get_mut(&c.id) {
            Some(known) => {
                known.active = known.active.max(c.active);
                known.rpcs = c.rpcs;
                known.open_rpcs = u32::try_from(c.open_rpcs).unwrap_or(u32::MAX);
                known.client = if known.client == 0 { c.client } else { known.client };
            }
            None => {
                self.lost += u64::from(self.snapshot_time > 0);
                self.add_connection(c);
            }
        }
    }

    /// A snapshot is complete: what began before it and is not in it has ended, unnoticed.
    fn settle(&mut self, snapshot: &Pending) {
        let time = snapshot.time;
        let gone: Vec<u64> = (self.clients.iter())
            .filter(|(id, c)| c.begin < time && !snapshot.clients.contains_key(id))
            .map(|(id, _)| *id)
            .collect();
        self.lost += gone.len() as u64;
        gone.into_iter().for_each(|id| self.remove_client(id, time, false));
        let gone: Vec<u64> = (self.connections.iter())
            .filter(|(id, c)| c.begin < time && !snapshot.connections.contains_key(id))
            .map(|(id, _)| *id)
            .collect();
        self.lost += gone.len() as u64;
        for id in gone {
            self.remove_connection(id, time);
        }
        self.snapshot_time = time;
    }
}
