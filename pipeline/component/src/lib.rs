//! Contracts between the engine and its components.
//!
//! A component is one of five things: a [`Receiver`] takes telemetry in, a [`Transform`] or a [`Stage`] works on it, an
//! [`Exporter`] sends it out, an [`Extension`] offers something to the others. A connector is a [`Stage`] between
//! pipelines. Components know this crate, the telemetry model and the configuration; they never see each other or the
//! engine, and they neither spawn tasks, nor sleep, nor read a clock: time and tasks belong to the engine, so that a
//! whole pipeline can run on simulated time. That ban ends at the network adapters.
//!
//! What happens to a batch is told by its [`Receipt`] and by nothing else.

mod acceptance;
mod auth;
mod batch;
mod budget;
mod clock;
mod consumer;
mod exporter;
mod extension;
mod factory;
mod failure;
mod handover;
mod host;
mod losses;
mod processor;
mod receipt;
mod receiver;
mod stats;
mod storage;
mod telemetry;
mod trace;

pub use acceptance::Acceptance;
pub use async_trait::async_trait;
pub use auth::{AuthData, ClientAuth, ServerAuth};
pub use batch::{Batch, Context};
pub use budget::{Budget, Gate, Reservation};
pub use clock::{Clock, Instant, Runtime, SteadyTime, TimeSource};
pub use consumer::{Consumer, Joint, Output, Outputs, Port};
pub use exporter::{
    Accepted, BatchSettings, DeliverySettings, Exporter, QueueSettings, RetrySettings, Sizer,
};
pub use extension::{Capabilities, Extension, ExtensionContext};
pub use factory::{
    Build, BuildError, ConnectorFactory, ExporterFactory, ExporterParts, ExtensionFactory, Maturity,
    Processor, ProcessorFactory, ReceiverFactory, Stability,
};
pub use failure::{Failure, Kind, Status};
pub use handover::{Claim, Handover};
pub use host::{Blocking, Health, Host, Offers, PipelineInfo, SourceStatus, Stop, Stopper, Topology};
pub use losses::Losses;
pub use processor::{Heirloom, Stage, StageContext, Transform, Verdict};
pub use receipt::{Outcome, Patience, Receipt, Settled};
pub use receiver::{Receiver, ReceiverContext};
pub use stats::{Count, Held, Metric, MetricKind, Sample, Stats};
pub use storage::{Backlog, Capacity, DurableQueue, Receivable, Record, Refused, Storage, Taken};
pub use telemetry::Telemetry;
pub use trace::{Running, Work};
pub use weir_config::Options;
pub use weir_config::telemetry::MetricsLevel;
