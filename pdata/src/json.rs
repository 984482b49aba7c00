//! OTLP/JSON to protobuf and back, driven by the table in [`schema`](crate::schema).
//!
//! Neither direction builds a tree: the reader encodes protobuf while it parses, the writer prints while it walks the
//! encoded bytes. Rules, as in the OTLP specification (JSON Protobuf encoding) and the Go Collector:
//!
//! - names in lowerCamelCase or snake_case, unknown ones skipped, `null` is absent, of a `oneof` the last wins;
//! - enums as numbers or names, 64-bit integers as strings or numbers, doubles also as strings (`"NaN"`,
//!   `"Infinity"`, `"-Infinity"`);
//! - trace, span and profile ids in hex of exactly their length, or empty; other bytes in standard base64;
//! - text behind the first JSON value is ignored, because the Go Collector accepts such requests.

mod read;
mod write;

use std::fmt;

use bytes::Bytes;

use crate::schema::Id;
use crate::{Payload, Signal};

/// Why a JSON request was refused.
#[derive(Debug)]
pub struct JsonError {
    message: &'static str,
    source: serde_json::Error,
}

impl JsonError {
    /// Line of the mistake, counted from 1; 0 when it has no place.
    pub fn line(&self) -> usize {
        self.source.line()
    }

    /// Column of the mistake, counted from 1; 0 when it has no place.
    pub fn column(&self) -> usize {
        self.source.column()
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {} in JSON: {}", self.message, self.source)
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Reads one export request of `signal` in OTLP/JSON and encodes it as protobuf. The result is a well-formed request:
/// it passes [`validate`](crate::validate::validate). Memory is bounded by the size of the input.
///
/// # Errors
/// [`JsonError`] names line and column of the first mistake: syntax, a value of a wrong type or out of range, an id of
/// a wrong length, values nested deeper than 64 levels.
pub fn to_protobuf(signal: Signal, json: &[u8]) -> Result<Bytes, JsonError> {
    let id = Id::request(signal);
    // Nothing at all is an empty request, as for the Collector.
    if json.trim_ascii_start().starts_with(b"null") {
        return Ok(Bytes::new());
    }
    let encoded =
        read::request(id, json).map_err(|source| JsonError { message: id.message().name, source })?;
    Ok(crate::fitted(encoded))
}

/// Writes a payload of `signal` as one export request in OTLP/JSON: camelCase, default values left out, 64-bit
/// integers as strings, enums as numbers, ids in lower-case hex.
pub fn from_protobuf(signal: Signal, payload: &Payload) -> Vec<u8> {
    let encoded = payload.to_bytes();
    let mut out = Vec::with_capacity(encoded.len().saturating_mul(3));
    write::message(Id::request(signal), &encoded, &mut out);
    out
}

#[cfg(test)]
mod tests;
