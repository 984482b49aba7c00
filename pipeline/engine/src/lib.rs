//! Builds the graph of a configuration and runs it.
//!
//! # Design
//! A pipeline is a chain of consumers, built from its end: exporters (each with its [delivery](weir_delivery) in front)
//! and connectors, a fan-out over them, then the processors in reverse order, and at the front one fan-out for each
//! receiver and signal over all pipelines that take from it. A [`Transform`](weir_component::Transform) is a call in
//! its sender's task; a [`Stage`](weir_component::Stage) is a task behind a bounded mailbox.
//!
//! Drain is ownership: a stage drains when the last handle to its mailbox is dropped, and then drops its own handles to
//! what follows. A component that a reload leaves as it is stays itself; its ways out have joints that the engine turns
//! ([`Engine::reload`]), and a stage that waits there at that moment goes on behind what is new. Stopping therefore means: stop the receivers, drop the graph, wait. One deadline holds for all; what
//! has not ended by then is dropped, and every receipt in it is reported as abandoned.

mod batch;
mod build;
mod caught;
mod counted;
mod fan_out;
mod fatal;
mod graph;
mod inline;
mod reload;
mod run;
mod running;
mod spec;
mod stage;
mod tokio_runtime;
mod way_out;

pub use build::{Problem, build};
pub use reload::Next;
pub use run::{Engine, StartError, Stopped};
pub use spec::{ComponentSpec, Components, PipelineSpec, ServiceSpec};
pub use tokio_runtime::TokioRuntime;
