//! Who knows what was sent, what was acknowledged and what must have arrived.

mod items;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::resource::v1::Resource;
use weir_pdata::otlp::{LogsRequest, kv};
use weir_pdata::{Payload, Signal};

use crate::listening::lock;
use crate::wire;

/// Ids of one signal, and what became of them.
pub(crate) struct Oracle {
    signal: Signal,
    issued: AtomicI64,
    acknowledged: Mutex<HashSet<i64>>,
    delivered: Mutex<HashMap<i64, usize>>,
    corrupt: AtomicUsize,
    /// Records without an id are others' and only have to be OTLP.
    tolerant: AtomicBool,
    /// What such records [mean](wire::meaning).
    others: Mutex<HashSet<Vec<u8>>>,
}

/// What the oracle says in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) duplicates: usize,
    pub(crate) spurious: usize,
    pub(crate) corrupt: usize,
}

/// That of log records.
impl Default for Oracle {
    fn default() -> Oracle {
        Oracle::of(Signal::Logs)
    }
}

impl std::ops::Add for Sums {
    type Output = Sums;

    fn add(self, other: Sums) -> Sums {
        Sums {
            acknowledged: self.acknowledged + other.acknowledged,
            lost: self.lost + other.lost,
            duplicates: self.duplicates + other.duplicates,
            spurious: self.spurious + other.spurious,
            corrupt: self.corrupt + other.corrupt,
        }
    }
}

impl Oracle {
    /// That of log records, spans or data points.
    pub(crate) fn of(signal: Signal) -> Oracle {
        Oracle {
            signal,
            issued: AtomicI64::new(0),
            acknowledged: Mutex::default(),
            delivered: Mutex::default(),
            corrupt: AtomicUsize::new(0),
            tolerant: AtomicBool::new(false),
            others: Mutex::default(),
        }
    }

    /// Where its requests go over HTTP.
    pub(crate) fn path(&self) -> String {
        format!("/v1/{}", self.signal.name())
    }

    /// A request with so many fresh ids, the records of which have a text of `pad` bytes.
    pub(crate) fn request(&self, records: usize, pad: usize) -> (Vec<i64>, Vec<u8>) {
        let first = self.issued.fetch_add(records as i64, Ordering::Relaxed);
        let ids: Vec<i64> = (first..first + records as i64).map(|number| id(number, pad)).collect();
        let payload: Payload = match self.signal {
            Signal::Traces => items::spans(&ids),
            Signal::Metrics => items::points(&ids),
            _ => request(&ids).into(),
        };
        (ids, payload.to_bytes().to_vec())
    }

    pub(crate) fn acknowledge(&self, ids: &[i64]) {
        lock(&self.acknowledged).extend(ids);
    }

    pub(crate) fn acknowledged(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// From now on records that it has not issued may come too.
    pub(crate) fn tolerate(&self) {
        self.tolerant.store(true, Ordering::Relaxed);
    }

    /// Takes note of what a backend got. False when it is not OTLP.
    pub(crate) fn deliver(&self, body: &[u8]) -> bool {
        match self.signal {
            Signal::Logs => self.deliver_logs(body),
            _ => self.deliver_items(body),
        }
    }

    fn deliver_items(&self, body: &[u8]) -> bool {
        let found = items::found(self.signal, body);
        let ids = found.as_deref().unwrap_or(&[None]);
        let mut delivered = lock(&self.delivered);
        ids.iter().flatten().for_each(|id| *delivered.entry(*id).or_default() += 1);
        self.corrupt.fetch_add(ids.iter().filter(|id| id.is_none()).count(), Ordering::Relaxed);
        found.is_some()
    }

    fn deliver_logs(&self, body: &[u8]) -> bool {
        let Some(read) = wire::read(body) else {
            self.corrupt.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let payload = Payload::from_request(Signal::Logs, body.to_vec().into());
        // Nothing where prost refuses it.
        let request = payload.map(|payload| payload.decode_logs()).unwrap_or_default();
        let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        if scopes.map(|scope| scope.log_records.len()).sum::<usize>() != read.records.len() {
            return self.deliver_deep(&read);
        }
        let mut delivered = lock(&self.delivered);
        for resource in &request.resource_logs {
            for scope in &resource.scope_logs {
                for record in &scope.log_records {
                    match id_of(&record.attributes) {
                        Some(id) if is_whole(id, resource, scope, record) => {
                            *delivered.entry(id).or_default() += 1;
                        }
                        None if self.tolerant.load(Ordering::Relaxed) => {
                            lock(&self.others).extend(only(&alone(record.clone())));
                        }
                        _ => drop(self.corrupt.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            }
        }
        true
    }

    /// Records that prost does not read. That is right where they nest deeper than it goes; then they are others'.
    fn deliver_deep(&self, read: &wire::Read<'_>) -> bool {
        let deep = read.depth > PROST_DEPTH;
        if deep && self.tolerant.load(Ordering::Relaxed) {
            lock(&self.others).extend(read.records.iter().filter_map(|record| wire::meaning(record)));
        } else {
            self.corrupt.fetch_add(read.records.len(), Ordering::Relaxed);
        }
        deep
    }

    /// Acknowledged ids that have not arrived.
    pub(crate) fn missing(&self) -> usize {
        self.lacks(self)
    }

    /// Ids that another one saw acknowledged and that have not arrived here.
    pub(crate) fn lacks(&self, other: &Oracle) -> usize {
        let delivered = lock(&self.delivered);
        lock(&other.acknowledged).iter().filter(|id| !delivered.contains_key(id)).count()
    }

    /// Whether the record of a request of somebody else has arrived as it was sent.
    pub(crate) fn has_other(&self, request: &[u8]) -> bool {
        only(request).is_some_and(|record| lock(&self.others).contains(&record))
    }

    pub(crate) fn has(&self, id: i64) -> bool {
        lock(&self.delivered).contains_key(&id)
    }

    pub(crate) fn sums(&self) -> Sums {
        let issued = self.issued.load(Ordering::Relaxed);
        let delivered = lock(&self.delivered);
        Sums {
            acknowledged: self.acknowledged(),
            lost: lock(&self.acknowledged).iter().filter(|id| !delivered.contains_key(id)).count(),
            duplicates: delivered.values().map(|times| times - 1).sum(),
            spurious: delivered.keys().filter(|id| !(0..issued).contains(&number(**id))).count(),
            corrupt: self.corrupt.load(Ordering::Relaxed),
        }
    }
}

/// A request with one record and nothing else.
pub(crate) fn alone(record: LogRecord) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let logs = ResourceLogs { scope_logs, ..Default::default() };
    let payload: Payload = LogsRequest { resource_logs: vec![logs] }.into();
    payload.to_bytes().to_vec()
}

/// Messages that prost reads within each other.
const PROST_DEPTH: usize = 100;

/// What the record of a request that has one means.
fn only(request: &[u8]) -> Option<Vec<u8>> {
    let [record] = wire::read(request)?.records[..] else { return None };
    wire::meaning(record)
}

/// An id says everything about its record: which one it is, and how long its text is.
fn id(number: i64, pad: usize) -> i64 {
    (pad as i64) << 32 | number
}

fn number(id: i64) -> i64 {
    id & 0xffff_ffff
}

/// A request with the records of these ids, and their resources and scopes.
fn request(ids: &[i64]) -> LogsRequest {
    let scopes = |ids: &[i64]| ids.chunk_by(|a, b| scope(*a) == scope(*b)).map(scope_logs).collect();
    let resource_logs = |ids: &[i64]| ResourceLogs {
        resource: Some(resource(ids[0])),
        scope_logs: scopes(ids),
        schema_url: String::new(),
    };
    let resources = ids.chunk_by(|a, b| resource(*a) == resource(*b));
    LogsRequest { resource_logs: resources.map(resource_logs).collect() }
}

fn scope_logs(ids: &[i64]) -> ScopeLogs {
    let log_records = ids.iter().map(|id| record(*id)).collect();
    ScopeLogs { scope: Some(scope(ids[0])), log_records, schema_url: SCHEMA.to_owned() }
}

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// 32 records have one resource.
fn resource(id: i64) -> Resource {
    let name = format!("service {}", number(id) / 32);
    Resource { attributes: vec![kv("service.name", name)], ..Default::default() }
}

/// 16 records have one scope.
fn scope(id: i64) -> InstrumentationScope {
    let name = format!("scope {}", number(id) / 16);
    InstrumentationScope { name, version: "1.2.3".to_owned(), ..Default::default() }
}

fn record(id: i64) -> LogRecord {
    let number = number(id) as u64;
    // 2026-01-01, a record each microsecond.
    let time = 1_767_225_600_000_000_000 + number * 1000;
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time + 1,
        severity_number: 1 + (number % 24) as i32,
        body: Some(AnyValue { value: Some(Value::StringValue(format!("this is record {number}"))) }),
        attributes: attributes(id),
        // They must not be zero.
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        ..Default::default()
    }
}

fn attributes(id: i64) -> Vec<KeyValue> {
    vec![kv("id", id), kv("pad", padding(id))]
}

fn padding(id: i64) -> String {
    let letter = b'a' + (number(id) % 26) as u8;
    String::from_utf8(vec![letter; (id >> 32) as usize]).expect("a letter")
}

/// The id of an item that looks like one of the oracle's.
fn id_of(attributes: &[KeyValue]) -> Option<i64> {
    let [id, pad] = attributes else { return None };
    match id.value.as_ref()?.value {
        Some(Value::IntValue(value)) if (&*id.key, &*pad.key) == ("id", "pad") => Some(value),
        _ => None,
    }
}

/// Whether a record is as it was sent, and under the resource and the scope under which it was sent.
fn is_whole(id: i64, logs: &ResourceLogs, scope_logs: &ScopeLogs, found: &LogRecord) -> bool {
    let text = match found.attributes[1].value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        _ => return false,
    };
    // First: an id that was changed may ask for a text of any length.
    text.len() as i64 == id >> 32
        && *found == record(id)
        && scope_logs.scope.as_ref() == Some(&scope(id))
        && logs.resource.as_ref() == Some(&resource(id))
        && (&*logs.schema_url, &*scope_logs.schema_url) == ("", SCHEMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::nested;

    /// How many of 40 records are not what was sent after a change on their way.
    fn corrupt(change: impl Fn(&mut LogsRequest)) -> usize {
        let oracle = Oracle::default();
        let (ids, body) = oracle.request(40, 20);
        let payload = Payload::from_request(Signal::Logs, body.into()).expect("OTLP");
        let mut changed = payload.decode_logs();
        change(&mut changed);
        let changed: Payload = changed.into();
        assert!(oracle.deliver(&changed.to_bytes()));
        let Sums { corrupt, spurious, .. } = oracle.sums();
        assert_eq!((ids.iter().filter(|id| oracle.has(**id)).count() + corrupt, spurious), (ids.len(), 0));
        corrupt
    }

    fn first(logs: &mut LogsRequest) -> &mut LogRecord {
        &mut logs.resource_logs[0].scope_logs[0].log_records[0]
    }

    fn cut(record: &mut LogRecord) {
        let Some(AnyValue { value: Some(Value::StringValue(text)) }) = &mut record.attributes[1].value else {
            panic!("a text");
        };
        text.truncate(7);
    }

    #[test]
    fn whatever_is_changed_or_left_out_of_a_record_is_seen() {
        assert_eq!(corrupt(|_| {}), 0);
        assert_eq!(corrupt(|logs| cut(first(logs))), 1);
        assert_eq!(corrupt(|logs| first(logs).body = None), 1);
        assert_eq!(corrupt(|logs| first(logs).time_unix_nano += 1), 1);
        assert_eq!(corrupt(|logs| first(logs).trace_id.clear()), 1);
        assert_eq!(corrupt(|logs| first(logs).dropped_attributes_count = 1), 1);
        assert_eq!(corrupt(|logs| drop(first(logs).attributes.pop())), 1);
        assert_eq!(corrupt(|logs| logs.resource_logs[0].scope_logs[1].scope = None), 16);
        assert_eq!(corrupt(|logs| logs.resource_logs[0].scope_logs[1].schema_url.clear()), 16);
        assert_eq!(corrupt(|logs| logs.resource_logs[0].resource = None), 32);
        let merged = |logs: &mut LogsRequest| {
            let last = logs.resource_logs.pop().expect("two");
            logs.resource_logs[0].scope_logs.extend(last.scope_logs);
        };
        assert_eq!(corrupt(merged), 8, "records under the resource of others");
    }

    #[test]
    fn what_is_no_otlp_is_corrupt_whoever_accepts_it() {
        let oracle = Oracle::default();
        oracle.tolerate();
        let mut body = alone(LogRecord { severity_text: "text".to_owned(), ..Default::default() });
        assert!(oracle.deliver(&body) && oracle.has_other(&body));
        let last = body.len() - 1;
        body[last] = 0xff;
        assert!(!oracle.deliver(&body) && !oracle.has_other(&body));
        assert_eq!(oracle.sums().corrupt, 1);
    }

    #[test]
    fn what_prost_does_not_read_is_nobodys_or_compared_as_it_is() {
        // The validator takes it, and prost does not.
        let deep = nested(65);
        let payload = Payload::from_request(Signal::Logs, deep.clone().into()).expect("accepted");
        assert_eq!((payload.items(), payload.decode_logs()), (1, LogsRequest::default()));
        let oracle = Oracle::default();
        oracle.deliver(&deep);
        assert_eq!(oracle.sums().corrupt, 1, "it has no id of the oracle");
        oracle.tolerate();
        assert!(oracle.deliver(&deep) && oracle.has_other(&deep) && !oracle.has_other(&nested(66)));
        assert!(oracle.deliver(&nested(100_000)) && oracle.has_other(&nested(100_000)));
        assert_eq!(oracle.sums().corrupt, 1);
    }

    #[test]
    fn spans_and_points_are_told_from_what_they_were_not() {
        for signal in [Signal::Traces, Signal::Metrics] {
            let oracle = Oracle::of(signal);
            let (ids, body) = oracle.request(3, 20);
            assert!(oracle.deliver(&body) && ids.iter().all(|id| oracle.has(*id)));
            let mut changed = body.clone();
            let at = changed.windows(7).position(|window| window == b"aaaaaaa").expect("a text");
            changed[at] = b'z';
            assert!(oracle.deliver(&changed));
            assert!(!oracle.deliver(&body[..body.len() - 1]));
            let Sums { duplicates, spurious, corrupt, .. } = oracle.sums();
            assert_eq!((duplicates, spurious, corrupt), (2, 0, 2), "{signal:?}");
        }
    }
}
