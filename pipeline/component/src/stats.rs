//! Live counts: one atomic each, read by the pages and by the agent's own metrics.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use weir_config::telemetry::MetricsLevel;
use weir_pdata::Signal;

use crate::Telemetry;

/// One count. Cheap to clone and to change.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicI64>);

impl Count {
    /// Adds `n` items.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Takes `n` away again, of what is counted as long as it is there.
    pub fn sub(&self, n: usize) {
        self.0.fetch_sub(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: usize) {
        self.0.store(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Whether both are one count.
    pub fn is(&self, other: &Count) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// One more until the returned guard is dropped: what is under way.
    pub fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    /// Its value; never negative.
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// One of what a [`Count`] holds; see [`Count::hold`].
#[derive(Debug)]
pub struct Held<'a>(&'a Count);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts of one name are, as their readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Name, such as `otelcol_receiver_accepted_spans`.
    pub name: Cow<'static, str>,
    /// A sentence; the Collector's ends with its stability.
    pub help: Cow<'static, str>,
    /// Unit by UCUM, such as `{span}`.
    pub unit: &'static str,
    /// How the value moves.
    pub kind: MetricKind,
    /// Who measures: a scope of [`Telemetry::meter`].
    pub scope: &'static str,
    /// From which level on it is published.
    pub level: MetricsLevel,
}

/// How a value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Up.
    Counter,
    /// Up and down, and values add up.
    UpDownCounter,
    /// Anywhere.
    Gauge,
}

impl Metric {
    /// A counter of items of a signal: `otelcol_WHAT_spans` and so on. In `help` a `{}` stands for the items.
    pub fn of_items(scope: &'static str, what: &str, signal: Signal, help: &str) -> Metric {
        let items = signal.items();
        Metric {
            name: format!("otelcol_{what}_{items}").into(),
            help: help.replace("{}", &items.replace('_', " ")).into(),
            unit: ["{span}", "{datapoint}", "{record}", "{sample}"][signal.index()],
            kind: MetricKind::Counter,
            scope,
            level: MetricsLevel::Basic,
        }
    }
}

/// One count with its name and labels, as read for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Metric name, such as `otelcol_receiver_accepted_spans`.
    pub name: String,
    /// Labels, such as `receiver` = `otlp`.
    pub labels: Vec<(String, String)>,
    /// Value.
    pub value: u64,
}

type Entries = Arc<Mutex<Vec<(Vec<KeyValue>, Count)>>>;

/// All live counts of an agent, each also an instrument of its telemetry. The number of counts is bounded by the
/// configuration: labels are component ids, never anything that a client sends.
///
/// A series is there from the start with 0, not from its first event on: a rate needs the value before.
pub struct Stats {
    telemetry: Telemetry,
    metrics: Mutex<BTreeMap<String, Entries>>,
}

impl Stats {
    pub(crate) fn new(telemetry: Telemetry) -> Stats {
        Stats { telemetry, metrics: Mutex::default() }
    }

    /// The count of that name and labels, made on first use.
    pub fn count(&self, metric: &Metric, labels: impl IntoIterator<Item = KeyValue>) -> Count {
        let entries = {
            let mut metrics = lock(&self.metrics);
            match metrics.get(metric.name.as_ref()) {
                Some(entries) => Arc::clone(entries),
                None => {
                    let entries = Entries::default();
                    metrics.insert(metric.name.clone().into_owned(), Arc::clone(&entries));
                    if metric.level <= self.telemetry.level() {
                        publish(&self.telemetry.meter(metric.scope), metric, &entries);
                    }
                    entries
                }
            }
        };
        let labels: Vec<KeyValue> = labels.into_iter().collect();
        let mut list = lock(&entries);
        if let Some((_, count)) = list.iter().find(|(l, _)| *l == labels) {
            return count.clone();
        }
        let count = Count::default();
        list.push((labels, count.clone()));
        count
    }

    /// A counter of Weir's own, which the Collector does not have.
    pub fn counter(
        &self,
        name: &str,
        description: &'static str,
        labels: Vec<(&'static str, String)>,
    ) -> Count {
        self.count(&own(name, description, MetricKind::Counter), key_values(labels))
    }

    /// A gauge of Weir's own, which the Collector does not have.
    pub fn gauge(&self, name: &str, description: &'static str, labels: Vec<(&'static str, String)>) -> Count {
        self.count(&own(name, description, MetricKind::Gauge), key_values(labels))
    }

    /// All counts, by name.
    pub fn samples(&self) -> Vec<Sample> {
        let metrics = lock(&self.metrics);
        let mut samples = Vec::new();
        for (name, entries) in metrics.iter() {
            for (labels, count) in lock(entries).iter() {
                let labels = labels.iter().map(|l| (l.key.to_string(), l.value.to_string())).collect();
                samples.push(Sample { name: name.clone(), labels, value: count.get() });
            }
        }
        samples
    }
}

fn own(name: &str, description: &'static str, kind: MetricKind) -> Metric {
    let (name, help) = (name.to_owned().into(), description.into());
    Metric { name, help, unit: "", kind, scope: "weir", level: MetricsLevel::Basic }
}

fn key_values(labels: Vec<(&'static str, String)>) -> impl Iterator<Item = KeyValue> {
    labels.into_iter().map(|(key, value)| KeyValue::new(key, value))
}

/// Makes the instrument, which is read when somebody asks and costs nothing else.
fn publish(meter: &Meter, metric: &Metric, entries: &Entries) {
    let (name, help, unit) = (metric.name.clone(), metric.help.clone(), metric.unit);
    let entries = Arc::clone(entries);
    let each = move |observe: &mut dyn FnMut(u64, &[KeyValue])| {
        for (labels, count) in lock(&entries).iter() {
            observe(count.get(), labels);
        }
    };
    // The provider keeps what is registered.
    match metric.kind {
        MetricKind::Counter => {
            let builder = meter.u64_observable_counter(name).with_description(help).with_unit(unit);
            let _counter =
                builder.with_callback(move |i| each(&mut |value, labels| i.observe(value, labels))).build();
        }
        MetricKind::Gauge => {
            let builder = meter.u64_observable_gauge(name).with_description(help).with_unit(unit);
            let _gauge =
                builder.with_callback(move |i| each(&mut |value, labels| i.observe(value, labels))).build();
        }
        MetricKind::UpDownCounter => {
            let builder = meter.i64_observable_up_down_counter(name).with_description(help).with_unit(unit);
            let observe = move |i: &dyn AsyncInstrument<i64>| {
                each(&mut |value, labels| i.observe(i64::try_from(value).unwrap_or(i64::MAX), labels));
            };
            let _counter = builder.with_callback(observe).build();
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stats")
    }
}
