//! Live counts: one atomic each, read by the pages and by the agent's own metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

/// One count. Cheap to clone and to change.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicI64>);

impl Count {
    /// Adds `n` items.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: usize) {
        self.0.store(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Its value; never negative.
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// One count with its name and labels, as read for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Metric name, such as `otelcol_receiver_accepted_spans`.
    pub name: String,
    /// Labels, such as `receiver` = `otlp`.
    pub labels: Vec<(&'static str, String)>,
    /// Value.
    pub value: u64,
}

type Entries = Arc<Mutex<Vec<(Vec<(&'static str, String)>, Count)>>>;

/// All live counts of an agent, each also an instrument of its meter. The number of counts is bounded by the
/// configuration: labels are component ids, never anything that a client sends.
pub struct Stats {
    meter: Meter,
    metrics: Mutex<BTreeMap<String, Entries>>,
}

impl Stats {
    pub(crate) fn new(meter: Meter) -> Stats {
        Stats { meter, metrics: Mutex::default() }
    }

    /// The counter of that name and labels, made on first use.
    pub fn counter(
        &self,
        name: &str,
        description: &'static str,
        labels: Vec<(&'static str, String)>,
    ) -> Count {
        self.find(name, labels, |entries| {
            let builder = self.meter.u64_observable_counter(name.to_owned());
            let _registered = builder.with_description(description).with_callback(observe(entries)).build();
        })
    }

    /// The gauge of that name and labels, made on first use.
    pub fn gauge(&self, name: &str, description: &'static str, labels: Vec<(&'static str, String)>) -> Count {
        self.find(name, labels, |entries| {
            let builder = self.meter.u64_observable_gauge(name.to_owned());
            let _registered = builder.with_description(description).with_callback(observe(entries)).build();
        })
    }

    fn find(&self, name: &str, labels: Vec<(&'static str, String)>, register: impl FnOnce(Entries)) -> Count {
        let entries = {
            let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
            match metrics.get(name) {
                Some(entries) => Arc::clone(entries),
                None => {
                    let entries = Entries::default();
                    metrics.insert(name.to_owned(), Arc::clone(&entries));
                    register(Arc::clone(&entries));
                    entries
                }
            }
        };
        let mut list = entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = list.iter().find(|(l, _)| *l == labels) {
            return count.clone();
        }
        let count = Count::default();
        list.push((labels, count.clone()));
        count
    }

    /// All counts, by name.
    pub fn samples(&self) -> Vec<Sample> {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut samples = Vec::new();
        for (name, entries) in metrics.iter() {
            for (labels, count) in entries.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                samples.push(Sample { name: name.clone(), labels: labels.clone(), value: count.get() });
            }
        }
        samples
    }
}

fn observe(entries: Entries) -> impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync {
    move |instrument| {
        for (labels, count) in entries.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels: Vec<_> = labels.iter().map(|(k, v)| KeyValue::new(*k, v.clone())).collect();
            instrument.observe(count.get(), &labels);
        }
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stats")
    }
}
