//! Telemetry model: OTLP payloads kept as received bytes, validated once, read through views.
//!
//! - [`Signal`]: the four kinds of telemetry;
//! - [`validate`](validate::validate): the structural walk at the door;
//! - [`Payload`]: one or more validated requests of one signal, merged without copying, cut into parts within a [`Limit`];
//! - [`Gathering`]: many requests put together, the small ones in blocks, and profiles when they go;
//! - [`view`]: borrowed, lazy reading of the bytes;
//! - [`edit`]: rewriting only the touched bytes;
//! - [`json`]: OTLP/JSON to protobuf and back, driven by the table in [`schema`];
//! - [`fitted`]: bytes with no room behind them that nothing counts;
//! - [`text`]: attribute values as text, as Go prints them;
//! - [`otlp`]: owned prost messages, the rare path, and how a component makes telemetry of its own.
//!
//! This crate depends on nothing else of ours.

#[cfg(any(test, feature = "fuzzing"))]
pub mod check;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
pub mod edit;
mod gathering;
pub mod json;
pub mod otlp;
mod payload;
mod profiles;
pub mod schema;
mod signal;
mod split;
#[cfg(test)]
mod testing;
pub mod text;
pub mod validate;
pub mod view;
mod wire;

pub use gathering::Gathering;
pub use payload::Payload;
pub use signal::Signal;
pub use split::Limit;

/// Bytes that may lie in a queue for long: room behind them that is more than an eighth of them, which nothing counts, is
/// given back.
pub fn fitted(mut bytes: Vec<u8>) -> bytes::Bytes {
    if bytes.capacity() - bytes.len() > bytes.len() / 8 {
        bytes.shrink_to_fit();
    }
    bytes.into()
}
