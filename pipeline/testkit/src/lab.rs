//! A bench for whole pipelines: test components that follow scripts, and one journal of all that happened.
//!
//! Factories are plain functions, so a test component finds its script by its id in the [`Lab`] of its host
//! (`host.shared::<Lab>()`). A component without a script cannot be built.

mod exporter;
mod extension;
mod processor;
mod receiver;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_component::{Build, BuildError, DeliverySettings, Instant, Kind, Outcome};
use weir_pdata::Payload;

pub use exporter::{EXPORTER, Reply, Scripted};
pub use extension::{EXTENSION, ExtensionScript};
pub use processor::{CONNECTOR, PROCESSOR, Role};
pub use receiver::{Parcel, RECEIVER, ReceiverScript};

/// Scripts by component id, and the journal.
#[derive(Default)]
pub struct Lab(Mutex<State>);

#[derive(Default)]
struct State {
    receivers: BTreeMap<String, ReceiverScript>,
    processors: BTreeMap<String, Role>,
    exporters: BTreeMap<String, (DeliverySettings, exporter::Script)>,
    extensions: BTreeMap<String, ExtensionScript>,
    journal: Vec<Entry>,
}

/// One line of the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// Id of the component.
    pub who: String,
    /// What.
    pub event: Event,
}

/// What happened to a test component.
#[derive(Debug, Clone)]
pub enum Event {
    /// A factory made it.
    Created,
    /// It was asked to start, or a transform to take effect.
    Started,
    /// A receiver or extension returned, a stage was drained, an exporter was told to stop.
    Ended,
    /// A receiver handed a parcel on.
    Sent {
        /// First id in it.
        first: i64,
        /// Number of items.
        items: usize,
    },
    /// A receiver heard what became of a parcel.
    Settled {
        /// First id in it.
        first: i64,
        /// Number of items.
        items: usize,
        /// What it heard: the kind of the failure and its message.
        outcome: Result<(), (Kind, String)>,
    },
    /// A stage was given a batch, or an exporter a payload to try.
    Came {
        /// Port of a stage; 0 for an exporter.
        port: usize,
        /// Ids in it.
        ids: Vec<i64>,
    },
    /// A stage went on where its predecessor of the same id had ended.
    TookOver {
        /// Batches that the predecessor had been given.
        came: usize,
    },
    /// A transform ended a payload by intent.
    Dropped {
        /// Ids in it.
        ids: Vec<i64>,
    },
    /// A transform or an exporter's attempt failed.
    Failed {
        /// Ids in it.
        ids: Vec<i64>,
    },
    /// An exporter took a payload.
    Delivered {
        /// The payload.
        payload: Payload,
        /// Ids that it refused while it took the others.
        rejected: Vec<i64>,
    },
}

impl Lab {
    /// Says what a receiver does.
    pub fn receiver(&self, id: &str, script: ReceiverScript) {
        self.lock().receivers.insert(id.to_owned(), script);
    }

    /// Says what a processor or connector does.
    pub fn processor(&self, id: &str, role: Role) {
        self.lock().processors.insert(id.to_owned(), role);
    }

    /// Says what stands in front of an exporter and how it answers: `script` is given the number of the attempt,
    /// counted from 0 over all payloads, and the payload.
    pub fn exporter(
        &self,
        id: &str,
        delivery: DeliverySettings,
        script: impl Fn(usize, &Payload) -> Reply + Send + Sync + 'static,
    ) {
        self.lock().exporters.insert(id.to_owned(), (delivery, std::sync::Arc::new(script)));
    }

    /// Says what an extension does.
    pub fn extension(&self, id: &str, script: ExtensionScript) {
        self.lock().extensions.insert(id.to_owned(), script);
    }

    /// Writes a line into the journal.
    ///
    /// # Panics
    /// After a million lines: something goes round without time passing.
    pub fn record(&self, at: Instant, who: &str, event: Event) {
        let mut state = self.lock();
        assert!(state.journal.len() < 1_000_000, "live lock: {who} does {event:?} at {at:?} again and again");
        state.journal.push(Entry { at, who: who.to_owned(), event });
    }

    /// Everything so far, in order.
    pub fn journal(&self) -> Vec<Entry> {
        self.lock().journal.clone()
    }

    /// What receivers heard about the parcel that begins with the id `first`.
    pub fn outcomes(&self, first: i64) -> Vec<Result<(), (Kind, String)>> {
        let settled = |entry: &Entry| match &entry.event {
            Event::Settled { first: of, outcome, .. } if *of == first => Some(outcome.clone()),
            _ => None,
        };
        self.lock().journal.iter().filter_map(settled).collect()
    }

    /// Ids that an exporter took, in order, without those that it refused.
    pub fn delivered(&self, exporter: &str) -> Vec<i64> {
        let mut out = Vec::new();
        for entry in self.lock().journal.iter().filter(|e| e.who == exporter) {
            if let Event::Delivered { payload, rejected } = &entry.event {
                out.extend(crate::ids(payload).into_iter().filter(|id| !rejected.contains(id)));
            }
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The script that `find` looks up for a component that is being built.
    fn script<T>(
        &self,
        build: &Build<'_>,
        find: impl FnOnce(&mut State, &str) -> Option<T>,
    ) -> Result<T, BuildError> {
        let found = find(&mut self.lock(), build.id);
        let script =
            found.ok_or_else(|| build.invalid(format!("no script for {:?} in the lab", build.id)))?;
        self.record(build.clock.now(), build.id, Event::Created);
        Ok(script)
    }
}

/// An outcome as the journal shows it.
fn shown(outcome: &Outcome) -> Result<(), (Kind, String)> {
    outcome.as_ref().copied().map_err(|f| (f.kind(), f.to_string()))
}
