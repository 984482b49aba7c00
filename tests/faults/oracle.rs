//! Who knows what was sent, what was acknowledged and what must have arrived.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use weir_pdata::otlp::{self, LogsRequest, kv};
use weir_pdata::{Payload, Signal};

use crate::listening::lock;

/// Ids, and what became of them.
#[derive(Default)]
pub(crate) struct Oracle {
    issued: AtomicI64,
    acknowledged: Mutex<HashSet<i64>>,
    delivered: Mutex<HashMap<i64, usize>>,
    corrupt: AtomicUsize,
    /// Records without an id are others' and only have to be OTLP.
    tolerant: AtomicBool,
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

impl Oracle {
    /// A request with so many fresh ids, each with `pad` bytes that follow from its id.
    pub(crate) fn request(&self, records: usize, pad: usize) -> (Vec<i64>, Vec<u8>) {
        let first = self.issued.fetch_add(records as i64, Ordering::Relaxed);
        let ids: Vec<i64> = (first..first + records as i64).collect();
        let record = |id: &i64| otlp::logs::v1::LogRecord {
            attributes: vec![kv("id", *id), kv("pad", padding(*id, pad))],
            ..Default::default()
        };
        let scope_logs = vec![otlp::logs::v1::ScopeLogs {
            log_records: ids.iter().map(record).collect(),
            ..Default::default()
        }];
        let logs = otlp::logs::v1::ResourceLogs { scope_logs, ..Default::default() };
        let payload: Payload = LogsRequest { resource_logs: vec![logs] }.into();
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
        let Ok(payload) = Payload::from_request(Signal::Logs, body.to_vec().into()) else {
            self.corrupt.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let request = payload.decode_logs();
        let records = request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records);
        let mut delivered = lock(&self.delivered);
        for record in records {
            match checked(record) {
                Some(id) => *delivered.entry(id).or_default() += 1,
                None if self.tolerant.load(Ordering::Relaxed) => {}
                None => drop(self.corrupt.fetch_add(1, Ordering::Relaxed)),
            }
        }
        true
    }

    /// Acknowledged ids that have not arrived.
    pub(crate) fn missing(&self) -> usize {
        let delivered = lock(&self.delivered);
        lock(&self.acknowledged).iter().filter(|id| !delivered.contains_key(id)).count()
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
            spurious: delivered.keys().filter(|id| !(0..issued).contains(*id)).count(),
            corrupt: self.corrupt.load(Ordering::Relaxed),
        }
    }
}

/// The id of a record whose padding is that of its id.
fn checked(record: &otlp::logs::v1::LogRecord) -> Option<i64> {
    use otlp::common::v1::any_value::Value;
    let [id, pad] = &record.attributes[..] else { return None };
    let (Some(Value::IntValue(id)), Some(Value::StringValue(pad))) =
        (id.value.as_ref()?.value.as_ref(), pad.value.as_ref()?.value.as_ref())
    else {
        return None;
    };
    (*pad == padding(*id, pad.len())).then_some(*id)
}

fn padding(id: i64, length: usize) -> String {
    let letter = char::from(b'a' + (id.rem_euclid(26)) as u8);
    std::iter::repeat_n(letter, length).collect()
}
