//! A simulated clock and scheduler, and components for tests.
//!
//! [`Simulation`] is a [`weir_component::Runtime`] in which a whole pipeline runs in one thread: time stands still
//! while any task can work and jumps to the next deadline when none can, and which of the ready tasks works next is
//! drawn from a seed. The same seed gives the same run.

mod beside;
mod lab;
mod logged;
mod recorder;
mod sample;
mod simulation;
mod threads;

pub use beside::Beside;
pub use lab::{
    CONNECTOR, EXPORTER, EXTENSION, Entry, Event, ExtensionScript, Lab, PROCESSOR, Parcel, RECEIVER,
    ReceiverScript, Reply, Role, Scripted,
};
pub use logged::logged;
pub use recorder::Recorder;
pub use sample::{ids, payload, with_ids};
pub use simulation::Simulation;
pub use threads::Threads;

use std::sync::Arc;

use weir_component::Host;

/// A host for tests, with a meter that records nothing.
pub fn host(simulation: &Simulation) -> Host {
    let meter = opentelemetry::global::meter("test");
    Host::new("0.0.0-test", 0, meter, Arc::new(simulation.clone()))
}
