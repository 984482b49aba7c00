//! Connections as spans.
//!
//! A leaked connection never ends, so a span that waits for the end never shows it. A *setup* span is therefore written
//! at begin, a *lifetime* span at end with the same trace and a link, and for a verdict *still open* spans of exemplar
//! connections (`leak.open` = true). Name and kind follow the one precedent in the semantic conventions, .NET's
//! `HTTP connection_setup`: INTERNAL, each its own root. Ids are derived from process and connection, so that every
//! source and every agent gives a connection the same trace.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::trace::v1::span::{Link, SpanKind};
use weir_pdata::otlp::trace::v1::status::StatusCode;
use weir_pdata::otlp::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use weir_pdata::otlp::{TracesRequest, kv, scope};

use crate::events::Side;
use crate::names;
use crate::process::{ProcessInfo, ProcessKey};
use crate::table::Change;

/// Setup spans per second and series by default; the rest are counted, so that churn does not flood a backend.
pub const DEFAULT_LIMIT: f64 = 10.0;

/// Attribute of a span of a connection that was open when it was written.
pub const OPEN_ATTRIBUTE: &str = "leak.open";

/// Trace id of a connection as 32 hex digits.
pub fn trace_id_hex(process: &ProcessKey, connection: u64) -> String {
    trace_id(process, connection).iter().map(|b| format!("{b:02x}")).collect()
}

/// Trace id of a connection.
pub fn trace_id(process: &ProcessKey, connection: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&hash(process, connection, 0).to_be_bytes());
    id[8..].copy_from_slice(&hash(process, connection, 1).to_be_bytes());
    id
}

/// Span ids of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Written at begin.
    Setup,
    /// Written at end.
    Lifetime,
    /// Written on a verdict.
    Open,
}

/// Span id of a connection.
pub fn span_id(process: &ProcessKey, connection: u64, which: Which) -> [u8; 8] {
    hash(process, connection, 2 + which as u64).to_be_bytes()
}

/// FNV-1a over the identity, then one round of splitmix64. Never zero, which OTLP reserves.
fn hash(process: &ProcessKey, connection: u64, salt: u64) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    let ints = [process.pid.cast_unsigned(), process.start_ticks.cast_unsigned(), connection, salt];
    let bytes = process.host.bytes().chain([0]).chain(process.instance.bytes());
    for byte in bytes.chain(ints.iter().flat_map(|i| i.to_le_bytes())) {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (h ^ (h >> 31)).max(1)
}

/// A token bucket for each series.
#[derive(Debug, Default)]
pub struct Limiter {
    buckets: BTreeMap<(ProcessKey, String), (f64, u64)>,
    /// How many were not written, by process.
    dropped: BTreeMap<ProcessKey, u64>,
}

/// Series for which the limiter keeps a bucket; when it is reached, all start anew.
const MAX_BUCKETS: usize = 10_000;

impl Limiter {
    /// Whether one more span of that series may be written at `now` (Unix ns), at most `per_second`.
    pub fn allow(&mut self, process: &ProcessKey, target: &str, now: u64, per_second: f64) -> bool {
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets.clear();
        }
        let burst = per_second.max(1.0);
        let (tokens, last) = self.buckets.entry((process.clone(), target.to_owned())).or_insert((burst, now));
        *tokens = (*tokens + now.saturating_sub(*last) as f64 / 1e9 * per_second).min(burst);
        *last = now.max(*last);
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        } else {
            *self.dropped.entry(process.clone()).or_default() += 1;
        }
        allowed
    }

    /// How many spans of that process were not written so far.
    pub fn dropped(&self, process: &ProcessKey) -> u64 {
        self.dropped.get(process).copied().unwrap_or(0)
    }

    /// Forgets a process.
    pub fn forget(&mut self, process: &ProcessKey) {
        self.dropped.remove(process);
        self.buckets.retain(|(of, _), _| of != process);
    }
}

/// The span of a begin or an end.
pub fn of_change(process: &ProcessKey, change: &Change) -> Span {
    let c = &change.connection;
    let mut span = base(process, change);
    match &change.ended {
        None => {
            span.span_id = span_id(process, c.id, Which::Setup).to_vec();
            span.start_time_unix_nano = c.begin.saturating_sub(c.setup);
            // A span without any duration counts as a mistake in Jaeger.
            span.end_time_unix_nano = if c.setup > 0 { c.begin } else { c.begin + 1 };
        }
        Some((end, reason, rpcs)) => {
            span.span_id = span_id(process, c.id, Which::Lifetime).to_vec();
            span.start_time_unix_nano = c.begin;
            span.end_time_unix_nano = (*end).max(c.begin);
            span.links = vec![link(process, c.id)];
            span.attributes.push(kv("connection.rpcs", rpcs.cast_signed()));
            // A close by the application is the normal end; other reasons are errors (error.type).
            if !reason.is_empty() && reason != "subchannel shutdown" {
                span.attributes.push(kv("error.type", reason.as_str()));
                span.status = Some(Status { code: StatusCode::Error as i32, message: reason.clone() });
            }
        }
    }
    span
}

/// The span of a connection that is still open at `now` (Unix ns of the process's clock).
pub fn still_open(process: &ProcessKey, change: &Change, now: u64, more: Vec<KeyValue>) -> Span {
    let c = &change.connection;
    let mut span = base(process, change);
    span.span_id = span_id(process, c.id, Which::Open).to_vec();
    span.start_time_unix_nano = c.begin;
    span.end_time_unix_nano = now.max(c.begin);
    span.links = vec![link(process, c.id)];
    span.attributes.push(kv(OPEN_ATTRIBUTE, true));
    span.attributes.push(kv("connection.rpcs", c.rpcs.cast_signed()));
    span.attributes.extend(more);
    span
}

fn base(process: &ProcessKey, change: &Change) -> Span {
    let c = &change.connection;
    let server = if c.side == Side::Client { c.peer } else { c.local };
    let mut attributes = vec![
        kv("rpc.system.name", "grpc"),
        kv("network.transport", "tcp"),
        kv(names::ATTR_SIDE, c.side.name()),
        kv("connection.id", c.id.cast_signed()),
    ];
    attributes.extend(endpoint("network.local.address", "network.local.port", c.local));
    attributes.extend(endpoint("network.peer.address", "network.peer.port", c.peer));
    attributes.extend(endpoint("server.address", "server.port", server));
    if !change.site.file.is_empty() {
        attributes.push(kv(names::ATTR_FILE, change.site.file.as_str()));
        attributes.push(kv(names::ATTR_LINE, change.site.line));
        attributes.push(kv(names::ATTR_FUNCTION, change.site.function.as_str()));
    }
    let address = server.map_or_else(|| "unknown".to_owned(), |a| a.to_string());
    Span {
        trace_id: trace_id(process, c.id).to_vec(),
        name: format!("grpc.connection {address}"),
        kind: SpanKind::Internal as i32,
        attributes,
        ..Span::default()
    }
}

fn endpoint(address: &str, port: &str, socket: Option<SocketAddr>) -> Vec<KeyValue> {
    let Some(socket) = socket else { return Vec::new() };
    vec![kv(address, socket.ip().to_string()), kv(port, i64::from(socket.port()))]
}

fn link(process: &ProcessKey, connection: u64) -> Link {
    Link {
        trace_id: trace_id(process, connection).to_vec(),
        span_id: span_id(process, connection, Which::Setup).to_vec(),
        ..Link::default()
    }
}

/// Spans of one process as a request.
pub fn request(info: &ProcessInfo, spans: Vec<Span>) -> TracesRequest {
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope(names::SCOPE, env!("CARGO_PKG_VERSION"))),
        spans,
        ..ScopeSpans::default()
    }];
    let resource = Some(info.resource());
    TracesRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i64) -> ProcessKey {
        ProcessKey { host: "h".into(), pid, start_ticks: 5, instance: String::new() }
    }

    #[test]
    fn ids_are_stable_and_differ_between_connections_and_processes() {
        assert_eq!(trace_id(&process(1), 1), trace_id(&process(1), 1));
        assert_ne!(trace_id(&process(1), 1), trace_id(&process(1), 2));
        assert_ne!(trace_id(&process(1), 1), trace_id(&process(2), 1));
        assert_ne!(span_id(&process(1), 1, Which::Setup), span_id(&process(1), 1, Which::Lifetime));
    }

    #[test]
    fn churn_is_cut_to_the_limit_and_counted() {
        let mut limiter = Limiter::default();
        let written = (0..100).filter(|i| limiter.allow(&process(1), "t", i * 10_000_000, 10.0)).count();
        assert_eq!((written, limiter.dropped(&process(1)), limiter.dropped(&process(2))), (19, 81, 0));
        assert!(limiter.allow(&process(1), "other", 0, 10.0), "series have buckets of their own");
    }
}
