//! Events in, spans and metrics out: what `grpc_connections` and the connector `connections` share.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_pdata::view::{self, Resource};
use weir_pdata::{Payload, Signal};

use crate::events::{self, Event};
use crate::process::{ProcessInfo, ProcessKey};
use crate::spans::{self, Limiter};
use crate::table::{Change, ConnectionTable, Gone, MAX_PROCESSES};

/// Turns connection events into spans and metrics.
#[derive(Debug)]
pub struct Tracker {
    table: Arc<ConnectionTable>,
    limiter: Limiter,
    spans_per_second: f64,
    counts: Counts,
    told: BTreeMap<ProcessKey, Told>,
    /// When each process had last been heard of as it was last published, Unix ns.
    published: BTreeMap<ProcessKey, u64>,
    /// Processes that have ended, when nobody took that.
    unsaid: Vec<Gone>,
    /// From when on the log may speak of a full table again, Unix ns.
    next_crowd: u64,
}

/// Processes of which it is remembered what was said of them; of further ones nothing is said.
const MAX_TOLD: usize = 1000;
/// A clock that is off by more is spoken of, in s: batches take time on their way.
const CLOCK_SAID: i128 = 60;

/// Name of the agent's own metric of [`ConnectionTable::unwatched`].
pub const UNWATCHED_METRIC: &str = "otelcol_connection_table_unwatched_processes";
/// What it means.
pub const UNWATCHED_HELP: &str =
    "Number of processes that send connection events and are not watched, as there are too many others.";

/// The log speaks of a full table again after so long, ns.
const CROWD_PAUSE: u64 = 600_000_000_000;

/// That some processes are not watched, and the cure.
fn crowd(unwatched: usize) -> String {
    format!(
        "the events of {unwatched} processes are passed over, as {MAX_PROCESSES} others are watched, the most there can be: send \
         part of the services to another agent"
    )
}

/// What was said of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Version = 1,
    Clock = 2,
    Loss = 4,
}

/// Reasons as bits.
#[derive(Debug, Clone, Copy, Default)]
struct Told(u8);

/// What becomes of events of some version.
#[derive(Debug, Default)]
struct Version {
    refused: bool,
    complaint: Option<String>,
}

/// What a tracker has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events read.
    pub events: u64,
    /// Events that could not be read.
    pub malformed: u64,
    /// Processes whose module speaks a version that is refused.
    pub refused: u64,
}

/// What came of one payload.
#[derive(Debug, Default)]
pub struct Tracked {
    /// Spans of begins and ends, if any.
    pub spans: Option<Payload>,
    /// Sentences for the log: each names the service and the cure. At most one for each process and reason.
    pub complaints: Vec<String>,
}

impl Tracker {
    /// A tracker in front of the agent's table; at most `spans_per_second` setup and lifetime spans per series.
    pub fn new(table: Arc<ConnectionTable>, spans_per_second: f64) -> Tracker {
        Tracker {
            table,
            limiter: Limiter::default(),
            spans_per_second,
            counts: Counts::default(),
            told: BTreeMap::new(),
            published: BTreeMap::new(),
            unsaid: Vec::new(),
            next_crowd: 0,
        }
    }

    /// Takes the connection events in a payload of logs; other records are not touched. `now` is Unix ns.
    pub fn on_logs(&mut self, payload: &Payload, now: u64) -> Tracked {
        let mut tracked = Tracked::default();
        if payload.signal() != Signal::Logs {
            return tracked;
        }
        for resource in view::resources(payload) {
            self.resource(&resource, now, &mut tracked);
        }
        tracked.complaints.extend(self.check_crowd(now));
        tracked
    }

    fn resource(&mut self, resource: &Resource<'_>, now: u64, tracked: &mut Tracked) {
        let mut read = Vec::new();
        let mut observed = 0;
        let mut errors: Vec<String> = Vec::new();
        let mut info = None;
        for scope in resource.scopes() {
            let records = || scope.log_records().filter(|r| events::is_event(r.event_name()));
            if records().next().is_none() {
                continue;
            }
            let info = info.get_or_insert_with(|| ProcessInfo::read(resource.attributes()));
            let version = self.check_version(info, events::version(&scope));
            tracked.complaints.extend(version.complaint);
            if version.refused {
                continue;
            }
            for record in records() {
                observed = observed.max(record.observed_time());
                match events::read(&record) {
                    Ok(event) => read.push(event),
                    Err(error) => errors.push(error),
                }
            }
        }
        let Some(info) = info else { return };
        self.counts.events += read.len() as u64;
        self.counts.malformed += errors.len() as u64;
        if let Some(first) = errors.first() {
            tracked.complaints.push(format!(
                "{} of {} connection events of service {:?} were skipped: {first}",
                errors.len(),
                errors.len() + read.len(),
                info.service
            ));
        }
        self.apply(&info, observed, now, read, tracked);
    }

    fn apply(
        &mut self,
        info: &ProcessInfo,
        observed: u64,
        now: u64,
        events: Vec<Event>,
        tracked: &mut Tracked,
    ) {
        if events.is_empty() {
            return;
        }
        let changes = self.table.apply(info, observed, now, events);
        tracked.complaints.extend(self.check_clock(info, observed, now));
        tracked.complaints.extend(self.check_loss(info));
        let spans: Vec<_> = (changes.iter())
            .filter(|c| self.limiter.allow(&info.key, &c.target, now, self.spans_per_second))
            .map(|c: &Change| spans::of_change(&info.key, c))
            .collect();
        if spans.is_empty() {
            return;
        }
        let payload = Payload::from(spans::request(info, spans));
        match &mut tracked.spans {
            Some(all) => drop(all.append(payload)),
            none => *none = Some(payload),
        }
    }

    /// Whether events of that version are read, and what to say about it: once for each process.
    fn check_version(&mut self, info: &ProcessInfo, version: Option<i64>) -> Version {
        let version = version.unwrap_or(0);
        if version == events::VERSION {
            return Version::default();
        }
        let refused = version < events::VERSION;
        if !self.first(info, Reason::Version) {
            return Version { refused, complaint: None };
        }
        self.counts.refused += u64::from(refused);
        let cure = if refused {
            "they are refused: upgrade the module github.com/weir-agent/weir/go in that service"
        } else {
            "what it knows of them is read: upgrade the agent"
        };
        let complaint = format!(
            "connection events of service {:?} (pid {}) speak version {version}, this agent reads version {}; {cure}",
            info.service,
            info.key.pid,
            events::VERSION
        );
        Version { refused, complaint: Some(complaint) }
    }

    /// Whether this is to be said of the process: once for each reason.
    fn first(&mut self, info: &ProcessInfo, reason: Reason) -> bool {
        if !self.told.contains_key(&info.key) && self.told.len() >= MAX_TOLD {
            return false;
        }
        let told = self.told.entry(info.key.clone()).or_default();
        let first = told.0 & reason as u8 == 0;
        told.0 |= reason as u8;
        first
    }

    fn check_clock(&mut self, info: &ProcessInfo, observed: u64, now: u64) -> Option<String> {
        let behind = (i128::from(now) - i128::from(observed)) / 1_000_000_000;
        if observed == 0 || behind.abs() <= CLOCK_SAID || !self.first(info, Reason::Clock) {
            return None;
        }
        let side = if behind > 0 { "behind" } else { "ahead of" };
        Some(format!(
            "the clock of service {:?} (pid {} on {:?}) is {} s {side} this agent's, or its events were so long on their \
             way: ages are put right, times of its spans and log records stay as they came; let both hosts follow one \
             time server",
            info.service,
            info.key.pid,
            info.key.host,
            behind.abs()
        ))
    }

    fn check_loss(&mut self, info: &ProcessInfo) -> Option<String> {
        let lost = self.table.lost(&info.key);
        if lost == 0 || !self.first(info, Reason::Loss) {
            return None;
        }
        Some(format!(
            "{lost} connection events of service {:?} (pid {} on {:?}) were lost on their way, so that ends lack their \
             begins or begins their ends: snapshots put the numbers right; connection.lost counts further ones. Send the \
             events straight to this agent, and see events.dropped in its snapshots for what the module itself dropped",
            info.service, info.key.pid, info.key.host
        ))
    }

    /// Lets go of what is gone; those of which a last word is to be said, also those of which it was refused before.
    pub(crate) fn let_go(&mut self, now: u64) -> Vec<Gone> {
        let mut ended = std::mem::take(&mut self.unsaid);
        for gone in self.table.expire(now) {
            self.limiter.forget(&gone.info.key);
            self.told.remove(&gone.info.key);
            if gone.ending.is_some() {
                ended.push(gone);
            }
        }
        ended
    }

    /// Takes back the last words of a part that was refused: they are said with the next collection. Those beyond as many as
    /// there may be processes are not.
    pub fn refused(&mut self, once: Vec<Gone>) {
        let room = MAX_PROCESSES.saturating_sub(self.unsaid.len());
        self.unsaid.extend(once.into_iter().take(room));
    }

    /// Processes of which something was heard since this was asked last. What is believed of the others is no measurement,
    /// and would look like one in which nothing grows.
    pub(crate) fn news(&mut self) -> Vec<ProcessKey> {
        let heard = self.table.heard();
        let published = std::mem::replace(&mut self.published, heard.iter().cloned().collect());
        let news = heard.into_iter().filter(|(key, time)| published.get(key) != Some(time));
        news.map(|(key, _)| key).collect()
    }

    /// Spans of a process that were held back.
    pub(crate) fn spans_dropped(&self, key: &ProcessKey) -> u64 {
        self.limiter.dropped(key)
    }

    /// `waiting`, `ok` or `degraded`, and what to say of it. `last` is when an event came last, 0 for never.
    pub fn state(&self, last: u64) -> (&'static str, String) {
        let unwatched = self.table.unwatched();
        if unwatched > 0 {
            return ("degraded", crowd(unwatched));
        }
        match (self.table.processes(), last) {
            (0, 0) => {
                let cure = "no connection event has come yet: instrument a service with the module in go/";
                ("waiting", cure.to_owned())
            }
            (0, _) => ("waiting", "no instrumented service is running".to_owned()),
            _ => ("ok", String::new()),
        }
    }

    /// What the log should say of processes for which there is no room; at most every ten minutes.
    fn check_crowd(&mut self, now: u64) -> Option<String> {
        let unwatched = self.table.unwatched();
        if unwatched == 0 || now < self.next_crowd {
            return None;
        }
        self.next_crowd = now.saturating_add(CROWD_PAUSE);
        Some(crowd(unwatched))
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The agent's table.
    pub fn table(&self) -> &Arc<ConnectionTable> {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use weir_pdata::otlp::common::v1::InstrumentationScope;
    use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use weir_pdata::otlp::{LogsRequest, kv};

    use super::*;
    use crate::events::Client;

    const SECOND: u64 = 1_000_000_000;

    /// A client that each of these processes has made.
    fn events(pids: std::ops::Range<i64>) -> Payload {
        let attributes = vec![kv("connection.events.version", events::VERSION)];
        let scope = Some(InstrumentationScope { attributes, ..InstrumentationScope::default() });
        let record = LogRecord {
            event_name: "grpc.client.created".into(),
            attributes: vec![kv("grpc.client.id", 1), kv("grpc.target", "t:1")],
            ..LogRecord::default()
        };
        let logs = ScopeLogs { scope, log_records: vec![record], ..ScopeLogs::default() };
        let of = |pid| {
            let key = ProcessKey { host: "h".into(), pid, start_ticks: 1, ..ProcessKey::default() };
            let info = ProcessInfo { key, service: format!("s{pid}"), ..ProcessInfo::default() };
            let scope_logs = vec![logs.clone()];
            ResourceLogs { resource: Some(info.resource()), scope_logs, ..ResourceLogs::default() }
        };
        LogsRequest { resource_logs: pids.map(of).collect() }.into()
    }

    #[test]
    fn in_a_full_table_those_who_are_tracked_stay_and_it_is_said_how_many_others_there_are() {
        let most = i64::try_from(MAX_PROCESSES).expect("it fits");
        let mut tracker = Tracker::new(Arc::default(), 0.0);
        let complaints = tracker.on_logs(&events(1..most + 1), SECOND).complaints;
        assert_eq!((complaints.len(), tracker.state(SECOND).0), (0, "ok"));
        for round in 1..=3 {
            let complaints = tracker.on_logs(&events(1..most + 8), round * SECOND).complaints;
            assert_eq!(complaints.len(), usize::from(round == 1), "{complaints:?}");
        }
        let (state, message) = tracker.state(SECOND);
        assert!(state == "degraded" && message.starts_with("the events of 7 processes "), "{message}");
        assert_eq!(tracker.table().keys().iter().map(|key| key.pid).max(), Some(most));
        // They have gone away.
        tracker.on_logs(&events(1..most + 1), 100 * SECOND);
        tracker.collect(100 * SECOND);
        assert_eq!(tracker.state(SECOND).0, "ok");
    }

    #[test]
    fn a_process_of_which_nothing_is_heard_is_not_measured_again() {
        let table = Arc::new(ConnectionTable::default());
        let mut tracker = Tracker::new(Arc::clone(&table), 0.0);
        let key = ProcessKey { host: "h".into(), pid: 7, start_ticks: 1, instance: String::new() };
        let info = ProcessInfo { key, ..ProcessInfo::default() };
        let created = |id| vec![Event::ClientCreated(Client { id, ..Client::default() })];
        table.apply(&info, 0, SECOND, created(1));
        let mut told = |now| {
            let mut collection = tracker.collect(now);
            tracker.next_part(&mut collection).is_some()
        };
        assert!(told(2 * SECOND));
        assert!(!told(4 * SECOND), "nothing was heard since");
        table.apply(&info, 0, 5 * SECOND, created(2));
        assert!(told(6 * SECOND));
    }
}
