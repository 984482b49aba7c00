//! Single connections, for pages and spans.

use std::net::SocketAddr;

use super::{Change, ClientEntry, ConnectionEntry, GRPC_CLIENT, MAX_EXEMPLARS, Process, SocketFact};
use crate::report::Exemplar;
use crate::spans;

impl Process {
    pub(super) fn exemplars(&self, resource: &str, target: &str, now: u64) -> Vec<Exemplar> {
        if self.connections.is_empty() && resource == GRPC_CLIENT {
            return self.client_exemplars(target, now);
        }
        self.oldest(target, MAX_EXEMPLARS).into_iter().map(|c| self.exemplar(&c, now)).collect()
    }

    fn client_exemplars(&self, target: &str, now: u64) -> Vec<Exemplar> {
        let mut all: Vec<_> = (self.clients.iter())
            .filter(|(_, c)| target.is_empty() || self.targets.get(c.target).is_some_and(|t| t == target))
            .collect();
        all.sort_by_key(|(id, c)| (c.active, **id));
        let exemplar = |(id, c): (&u64, &ClientEntry)| Exemplar {
            id: id.to_string(),
            peer: self.targets.get(c.target).cloned().unwrap_or_default(),
            age: self.age(c.begin, now),
            idle: self.idle(c.active),
            rpcs: i64::try_from(c.rpcs).ok(),
            site: self.sites.get(c.site).map(|s| format!("{}:{}", s.file, s.line)).unwrap_or_default(),
            ..Exemplar::default()
        };
        all.into_iter().take(MAX_EXEMPLARS).map(exemplar).collect()
    }

    fn exemplar(&self, change: &Change, now: u64) -> Exemplar {
        let c = &change.connection;
        let text = |a: Option<SocketAddr>| a.map(|a| a.to_string()).unwrap_or_default();
        // Addresses are used again, cookies are not.
        let same = |s: &&SocketFact| c.cookie == 0 || s.cookie == 0 || c.cookie == s.cookie;
        let socket = c.local.zip(c.peer).and_then(|pair| self.sockets.get(&pair)).filter(same);
        Exemplar {
            id: c.id.to_string(),
            local: text(c.local),
            peer: text(c.peer),
            tcp_state: socket.map(|s| s.state.clone()).unwrap_or_default(),
            age: self.age(c.begin, now),
            idle: socket.map_or_else(|| self.idle(c.active), |s| s.idle),
            rpcs: i64::try_from(c.rpcs).ok(),
            bytes_sent: socket.and_then(|s| i64::try_from(s.sent).ok()),
            bytes_received: socket.and_then(|s| i64::try_from(s.received).ok()),
            site: if change.site.file.is_empty() {
                String::new()
            } else {
                format!("{}:{}", change.site.file, change.site.line)
            },
            trace_id: spans::trace_id_hex(&self.info.key, c.id),
        }
    }

    /// The longest idle connections of a target, empty for all targets.
    pub(super) fn oldest(&self, target: &str, limit: usize) -> Vec<Change> {
        let wanted = |c: &ConnectionEntry| {
            let by_client = self.clients.get(&c.client).and_then(|client| self.targets.get(client.target));
            target.is_empty()
                || self.targets.get(c.target).is_some_and(|t| t == target)
                || by_client.is_some_and(|t| t == target)
        };
        let mut all: Vec<_> = self.connections.iter().filter(|(_, c)| wanted(c)).collect();
        all.sort_by_key(|(id, c)| (c.active, **id));
        all.into_iter().take(limit).map(|(id, c)| self.change(&c.connection(*id), None)).collect()
    }
}
