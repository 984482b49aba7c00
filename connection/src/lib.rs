//! What a connection is: identity, tracking, ages, and the spans, metrics and verdict documents made from it.
//!
//! - [`names`]: names of attributes and metrics;
//! - [`process`]: which process a piece of evidence belongs to;
//! - [`events`]: connection events, read from log records (docs/connection-events.md);
//! - [`table`]: everything that is open, one table for each agent;
//! - [`publish`]: series as OTLP metrics (docs/telemetry.md);
//! - [`spans`]: connections as spans;
//! - [`tracker`]: events in, spans and metrics out; [`collection`]: these metrics in parts;
//! - [`turned_away`]: who found no room in a full table;
//! - [`board`]: the verdicts of all detectors of an agent;
//! - [`report`] and [`terminal`]: verdicts as a document, and that document as text.

pub mod asked;
pub mod board;
pub mod collection;
pub mod events;
pub mod names;
pub mod process;
pub mod publish;
pub mod report;
pub mod spans;
pub mod table;
pub mod terminal;
pub mod tracker;
pub mod turned_away;
