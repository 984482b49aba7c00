//! Everything that is open: one table for each agent, shared by the sources that join in it.
//!
//! Here is what is kept and how events change it; `snapshot` puts it right, `measure` counts it, `exemplars` shows single
//! connections, `callers` who made them, `ended` those that are gone but for their sockets, `gone` processes that have ended, `targets` what they
//! lead to.
//!
//! # Design
//! Per process two maps, ClientConns and connections, keyed by the ids that the process gave them. An entry is small
//! (a client 40 bytes, a connection 120, plus the map), targets and sites are interned. Totals and lifetimes are kept
//! per series as events come in; ages and idle times are counted when somebody asks.
//!
//! A snapshot is the truth: what the table believes open and a complete snapshot does not name has ended, and its end
//! was lost on the way; what it names and the table does not know has begun. Both are counted as lost events, as are
//! ends of what nobody saw begin, except for what was open when the process was first seen.
//!
//! Idle time is measured at the last snapshot, because only snapshots carry activity: until the next one an entry counts
//! as active since then. Times of a process are moved by the offset of its clock, which each batch shows.
//!
//! Limits: processes, entries per process, targets and sites per process; what is beyond is counted, not kept. Processes
//! that are tracked stay, however many others come.

mod callers;
mod ended;
mod exemplars;
mod gone;
mod interned;
mod measure;
mod snapshot;
mod targets;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::events::{self, Client, Connection, Event, Side};
use crate::process::{ProcessInfo, ProcessKey};
use crate::publish::{CodeSite, Lifetimes, ProcessPoint, SeriesPoint};
use crate::report::{Exemplar, Stack};
use crate::turned_away::TurnedAway;
use callers::CallStacks;
pub use callers::Callers;
use ended::EndedConnections;
pub use ended::{Ended, MAX_ENDED};
pub use gone::Gone;
use interned::Interned;

/// Processes that are tracked at most; further ones are refused and counted.
pub const MAX_PROCESSES: usize = 4096;
/// Open entries per process.
pub const MAX_ENTRIES: usize = 2_000_000;
/// Targets and sites per process; further ones share one entry, `other`.
const MAX_INTERNED: usize = 1024;
/// Sites published for a series.
const MAX_SITES: usize = 20;
/// Exemplars given out for a series.
pub const MAX_EXEMPLARS: usize = 20;
/// A clock that differs by less is taken to be right: batches take time on their way.
const CLOCK_TOLERANCE: i64 = 2_000_000_000;
const NANOS: f64 = 1e9;

/// `connection.resource` of the series that the table publishes.
pub const GRPC_CLIENT: &str = "grpc_client";
/// Connections (HTTP/2 transports).
pub const GRPC_CONNECTION: &str = "grpc_connection";
/// Open client streams.
pub const GRPC_STREAM: &str = "grpc_stream";

/// The table. The engine owns the one instance, so it is made by `Default`.
#[derive(Debug, Default)]
pub struct ConnectionTable(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    processes: HashMap<ProcessKey, Process>,
    graveyard: gone::Graveyard,
    unwatched: TurnedAway,
}

#[derive(Debug)]
struct Process {
    info: ProcessInfo,
    /// What is added to its times to get the agent's.
    offset: i64,
    /// Since when it is counted here.
    first_seen: u64,
    /// The same, of one that was silent for a while the first time.
    came: u64,
    last_seen: u64,
    interval: f64,
    /// Its module said that it was stopped.
    stopped: bool,
    /// When the last complete snapshot was taken, in its own time.
    snapshot_time: u64,
    clients: HashMap<u64, ClientEntry>,
    connections: HashMap<u64, ConnectionEntry>,
    targets: Interned<String>,
    sites: Interned<CodeSite>,
    call_stacks: CallStacks,
    /// Open streams of clients by the lines that opened them, as the last snapshot had it.
    streams: HashMap<u64, Vec<(u32, u64)>>,
    series: BTreeMap<SeriesId, SeriesTotals>,
    pending: Option<Pending>,
    lost: u64,
    overflow: u64,
    totals: events::Totals,
    sockets: HashMap<(SocketAddr, SocketAddr), SocketFact>,
    ended: EndedConnections,
    recent: targets::Recent,
    stacks: Vec<Stack>,
}

#[derive(Debug, Clone, Copy)]
struct ClientEntry {
    begin: u64,
    active: u64,
    rpcs: u64,
    open_rpcs: u32,
    target: u32,
    site: u32,
    /// Number of the stack that made it, 0 when unknown.
    stack: u32,
}

#[derive(Debug, Clone, Copy)]
struct ConnectionEntry {
    begin: u64,
    active: u64,
    rpcs: u64,
    client: u64,
    cookie: u64,
    open_rpcs: u32,
    target: u32,
    /// Line that made its client; a number that stands for none when unknown.
    site: u32,
    side: Side,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SeriesId {
    resource: &'static str,
    side: Side,
    target: u32,
}

#[derive(Debug, Default)]
struct SeriesTotals {
    opened: u64,
    closed: u64,
    collected: u64,
    lifetimes: Lifetimes,
}

/// A snapshot of which parts are still to come.
#[derive(Debug)]
struct Pending {
    id: u64,
    time: u64,
    missing: u64,
    clients: HashMap<u64, ()>,
    connections: HashMap<u64, ()>,
}

/// What the kernel says of one socket, for exemplars.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SocketFact {
    /// `SO_COOKIE`, 0 when unknown.
    pub cookie: u64,
    /// TCP state, lower case.
    pub state: String,
    /// Seconds without payload.
    pub idle: f64,
    /// Payload bytes sent.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
}

/// A change that becomes a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The connection.
    pub connection: Connection,
    /// Its target.
    pub target: String,
    /// Line that made its client.
    pub site: CodeSite,
    /// Reason and RPC count when it ended; `None` when it began.
    pub ended: Option<(u64, String, u64)>,
}

/// Everything that one process has open, counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The process.
    pub info: ProcessInfo,
    /// When it was first seen, Unix ns of the agent.
    pub first_seen: u64,
    /// Its series.
    pub series: Vec<SeriesPoint>,
    /// What is known of it as a whole.
    pub process: ProcessPoint,
}

impl ConnectionTable {
    /// Takes the events of one resource of one batch. `observed` is when the process sent them (its clock), `now` when
    /// they arrived (the agent's), both Unix ns. Returns begins and ends in order.
    pub fn apply(&self, info: &ProcessInfo, observed: u64, now: u64, events: Vec<Event>) -> Vec<Change> {
        let mut inner = self.lock();
        if inner.graveyard.has(&info.key) {
            return Vec::new();
        }
        if !inner.processes.contains_key(&info.key) {
            if inner.processes.len() >= MAX_PROCESSES {
                inner.unwatched.add(&info.key, now);
                inner.graveyard.turned_away(&info.key, now);
                return Vec::new();
            }
            inner.unwatched.remove(&info.key);
        }
        let Inner { processes, graveyard, .. } = &mut *inner;
        let process = processes.entry(info.key.clone()).or_insert_with(|| Process::new(info.clone(), now));
        if process.is_socket_only() {
            process.came = graveyard.heard(&info.key).unwrap_or(process.came);
        }
        process.learn(info);
        process.seen(observed, now);
        events.into_iter().filter_map(|event| process.apply(event)).collect()
    }

    /// All series of a process that events have told of.
    pub fn measure(&self, key: &ProcessKey, now: u64) -> Option<Measured> {
        self.lock().processes.get(key).filter(|p| !p.is_socket_only()).map(|p| p.measure(now))
    }

    /// Processes that events have told of lately and that are not tracked, as there are [`MAX_PROCESSES`] others.
    pub fn unwatched(&self) -> usize {
        self.lock().unwatched.count()
    }

    /// Events of a process that are known to be lost.
    pub fn lost(&self, key: &ProcessKey) -> u64 {
        self.lock().processes.get(key).map_or(0, |p| p.lost)
    }

    /// Keys of all processes that events have told of.
    pub fn keys(&self) -> Vec<ProcessKey> {
        self.heard().into_iter().map(|(key, _)| key).collect()
    }

    /// All processes that events have told of, and when last, Unix ns of the agent.
    pub(crate) fn heard(&self) -> Vec<(ProcessKey, u64)> {
        let inner = self.lock();
        let told = inner.processes.values().filter(|p| !p.is_socket_only());
        told.map(|p| (p.info.key.clone(), p.last_seen)).collect()
    }

    /// How many processes events have told of.
    pub fn processes(&self) -> usize {
        self.lock().processes.values().filter(|p| !p.is_socket_only()).count()
    }

    /// Says what the kernel knows of a process's sockets, by local and peer address; replaces what was said before.
    pub fn put_sockets(
        &self,
        info: &ProcessInfo,
        now: u64,
        sockets: impl Iterator<Item = ((SocketAddr, SocketAddr), SocketFact)>,
    ) {
        let mut inner = self.lock();
        if let Some(process) = inner.detail(info, now) {
            process.sockets = sockets.collect();
            process.ended.watch();
        }
    }

    /// Says which goroutine stacks stand behind a process's connections; replaces what was said before.
    pub fn put_stacks(&self, info: &ProcessInfo, now: u64, stacks: Vec<Stack>) {
        let mut inner = self.lock();
        if let Some(process) = inner.detail(info, now) {
            process.stacks = stacks;
        }
    }

    /// Goroutine stacks behind a process's connections.
    pub fn stacks(&self, key: &ProcessKey) -> Vec<Stack> {
        self.lock().processes.get(key).map(|p| p.stacks.clone()).unwrap_or_default()
    }

    /// What is known of a process, also of one that exited lately.
    pub fn info(&self, key: &ProcessKey) -> Option<ProcessInfo> {
        let inner = self.lock();
        let running = inner.processes.get(key).map(|p| &p.info);
        running.or_else(|| inner.graveyard.info(key)).cloned()
    }

    /// The process of that pid and host that was last heard of; the instance decides where pid and host are unknown.
    pub fn find(&self, host: &str, pid: i64, instance: &str) -> Option<ProcessKey> {
        let inner = self.lock();
        let same = |info: &ProcessInfo| {
            if pid > 0 { info.key.pid == pid && info.key.host == host } else { info.instance == instance }
        };
        let running = inner.processes.values().filter(|p| same(&p.info)).max_by_key(|p| p.last_seen);
        let info = running.map(|p| &p.info).or_else(|| inner.graveyard.all().find(|info| same(info)));
        info.map(|info| info.key.clone())
    }

    /// Some of the open connections of a series, the longest idle first.
    pub fn exemplars(&self, key: &ProcessKey, resource: &str, target: &str, now: u64) -> Vec<Exemplar> {
        let inner = self.lock();
        inner.processes.get(key).map(|p| p.exemplars(resource, target, now)).unwrap_or_default()
    }

    /// The connections behind [`ConnectionTable::exemplars`], as changes that have not ended, with the process.
    pub fn open_connections(
        &self,
        key: &ProcessKey,
        target: &str,
        limit: usize,
    ) -> Option<(ProcessInfo, Vec<Change>)> {
        let inner = self.lock();
        let process = inner.processes.get(key)?;
        Some((process.info.clone(), process.oldest(target, limit)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The process for details that other sources add, made when it is new and there is room.
    fn detail(&mut self, info: &ProcessInfo, now: u64) -> Option<&mut Process> {
        let full = self.processes.len() >= MAX_PROCESSES;
        if self.graveyard.has(&info.key) || !self.processes.contains_key(&info.key) && full {
            return None;
        }
        let process = self.processes.entry(info.key.clone()).or_insert_with(|| {
            let mut process = Process::new(info.clone(), now);
            process.interval = 0.0;
            process
        });
        if process.is_socket_only() {
            process.last_seen = now;
        }
        Some(process)
    }
}

impl Process {
    fn new(info: ProcessInfo, now: u64) -> Process {
        Process {
            info,
            offset: 0,
            first_seen: now,
            came: now,
            last_seen: now,
            interval: 0.0,
            stopped: false,
            snapshot_time: 0,
            clients: HashMap::new(),
            connections: HashMap::new(),
            targets: Interned::default(),
            sites: Interned::default(),
            call_stacks: CallStacks::default(),
            streams: HashMap::new(),
            series: BTreeMap::new(),
            pending: None,
            lost: 0,
            overflow: 0,
            totals: events::Totals::default(),
            sockets: HashMap::new(),
            ended: EndedConnections::default(),
            recent: targets::Recent::default(),
            stacks: Vec::new(),
        }
    }

    /// Known from the kernel or from profiles only: no event has come.
    fn is_socket_only(&self) -> bool {
        self.interval == 0.0
    }

    /// Takes over what events say of the process: another source may have seen it first, and knows less.
    fn learn(&mut self, told: &ProcessInfo) {
        for (mine, theirs) in [
            (&mut self.info.service, &told.service),
            (&mut self.info.instance, &told.instance),
            (&mut self.info.executable, &told.executable),
            (&mut self.info.creation_time, &told.creation_time),
        ] {
            if !theirs.is_empty() {
                mine.clone_from(theirs);
            }
        }
    }

    fn seen(&mut self, observed: u64, now: u64) {
        self.last_seen = now;
        self.stopped = false;
        if self.interval == 0.0 {
            self.interval = 10.0;
        }
        if observed > 0 {
            let offset = i64::try_from(i128::from(now) - i128::from(observed)).unwrap_or(0);
            let drift = (offset - self.offset).abs();
            if drift > CLOCK_TOLERANCE {
                self.offset = if offset.abs() > CLOCK_TOLERANCE { offset } else { 0 };
            }
        }
    }

    fn apply(&mut self, event: Event) -> Option<Change> {
        match event {
            Event::ClientCreated(client) => {
                self.add_client(client, true);
                None
            }
            Event::ClientClosed { id, time, collected } => {
                self.remove_client(id, time, collected);
                None
            }
            Event::Begin(connection) => {
                if self.connections.contains_key(&connection.id) {
                    return None;
                }
                let change = self.change(&connection, None);
                self.add_connection(&connection);
                Some(change)
            }
            Event::End { id, time, reason, rpcs } => {
                let connection = self.remove_connection(id, time)?;
                Some(self.change(&connection, Some((time, reason, rpcs))))
            }
            Event::Snapshot(snapshot) => {
                self.snapshot(snapshot);
                None
            }
        }
    }

    fn change(&self, connection: &Connection, ended: Option<(u64, String, u64)>) -> Change {
        let client = self.clients.get(&connection.client);
        let site = client.and_then(|c| self.sites.get(c.site)).cloned().unwrap_or_default();
        Change { connection: connection.clone(), target: self.connection_target(connection), site, ended }
    }

    /// A client's connection goes to its peer; a server's hangs on its local address.
    fn connection_target(&self, c: &Connection) -> String {
        let address = if c.side == Side::Client { c.peer } else { c.local };
        address.map(|a| a.to_string()).unwrap_or_default()
    }

    fn add_client(&mut self, client: Client, announced: bool) {
        if self.clients.len() >= MAX_ENTRIES {
            self.overflow += 1;
            return;
        }
        let target = self.targets.id(events::target_address(&client.target).to_owned());
        let site = self.sites.id(client.site);
        self.call_stacks.learn(client.stack_id, &client.stack);
        let entry = ClientEntry {
            begin: client.begin,
            active: client.active,
            rpcs: client.rpcs,
            open_rpcs: u32::try_from(client.open_rpcs).unwrap_or(u32::MAX),
            target,
            site,
            stack: u32::try_from(client.stack_id).unwrap_or(0),
        };
        let id = SeriesId { resource: GRPC_CLIENT, side: Side::Client, target };
        if self.clients.insert(client.id, entry).is_none() {
            self.series.entry(id).or_default().opened += 1;
            self.lost += u64::from(!announced && self.snapshot_time > 0);
        }
    }

    fn remove_client(&mut self, id: u64, time: u64, collected: bool) {
        let Some(entry) = self.clients.remove(&id) else {
            self.lost += u64::from(self.snapshot_time > 0 && !self.recent.has_client(id));
            return;
        };
        self.streams.remove(&id);
        self.remember_client(id, entry.target);
        let series = SeriesId { resource: GRPC_CLIENT, side: Side::Client, target: entry.target };
        let totals = self.series.entry(series).or_default();
        totals.closed += 1;
        totals.collected += u64::from(collected);
        totals.lifetimes.record(time.saturating_sub(entry.begin) as f64 / NANOS);
    }

    fn add_connection(&mut self, c: &Connection) {
        if self.connections.len() >= MAX_ENTRIES {
            self.overflow += 1;
            return;
        }
        let target = self.connection_target(c);
        let target = self.targets.id(target);
        let entry = ConnectionEntry {
            begin: c.begin,
            active: c.active,
            rpcs: c.rpcs,
            client: c.client,
            cookie: c.cookie,
            open_rpcs: u32::try_from(c.open_rpcs).unwrap_or(u32::MAX),
            target,
            site: self.clients.get(&c.client).map_or(u32::MAX, |client| client.site),
            side: c.side,
            local: c.local,
            peer: c.peer,
        };
        if self.connections.insert(c.id, entry).is_none() {
            let id = SeriesId { resource: GRPC_CONNECTION, side: c.side, target };
            self.series.entry(id).or_default().opened += 1;
        }
    }

    fn remove_connection(&mut self, id: u64, time: u64) -> Option<Connection> {
        let Some(entry) = self.connections.remove(&id) else {
            self.lost += u64::from(self.snapshot_time > 0 && !self.recent.has_connection(id));
            return None;
        };
        let series = SeriesId { resource: GRPC_CONNECTION, side: entry.side, target: entry.target };
        let totals = self.series.entry(series).or_default();
        totals.closed += 1;
        totals.lifetimes.record(time.saturating_sub(entry.begin) as f64 / NANOS);
        self.remember_ended(&entry, time);
        self.remember_connection(id, &entry);
        Some(entry.connection(id))
    }
}

impl ConnectionEntry {
    fn connection(&self, id: u64) -> Connection {
        Connection {
            id,
            side: self.side,
            begin: self.begin,
            active: self.active,
            rpcs: self.rpcs,
            open_rpcs: u64::from(self.open_rpcs),
            client: self.client,
            local: self.local,
            peer: self.peer,
            cookie: self.cookie,
            setup: 0,
        }
    }
}

#[cfg(test)]
mod tests;
