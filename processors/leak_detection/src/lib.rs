//! Decides from ordinary metrics which service leaks what, since when, how fast and from which line.
//!
//! - [`detector`]: observations in, verdicts out; knows nothing of OTLP or of the engine;
//! - `decode`: OTLP metrics (docs/telemetry.md, and a few of the semantic conventions) to observations;
//! - `emit`: verdicts to metrics, log records and spans;
//! - `enrich`: verdicts onto spans and log records that pass;
//! - `mirror`: the same connections seen from their other end;
//! - `shown`: what was shown last, and what changed since;
//! - `roots`: file names relative to their repository;
//! - `stage`: the processor.

#[cfg(any(test, feature = "fuzzing"))]
pub mod check;
mod config;
#[cfg(test)]
#[path = "../../../fuzz/corpus.rs"]
mod corpus;
mod crowd;
mod decode;
pub mod detector;
mod emit;
mod enrich;
mod mirror;
mod own;
mod roots;
mod shown;
mod stage;

pub use config::FACTORY;
