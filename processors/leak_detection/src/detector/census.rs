//! Goroutines by kind: what they prove of connections.
//!
//! Kinds are the values of `goroutine.kind`. Those below are understood; others only count towards the total.

use std::collections::BTreeMap;

/// Name and meaning of the kinds that the detector reads.
pub const KINDS: [(&str, &str); 15] = [
    (SERIALIZER, "(*CallbackSerializer).run: three per ClientConn, also without a socket"),
    ("grpc_reader", "(*http2Client).reader: one per client transport"),
    ("grpc_writer", "(*loopyWriter).run of a client: one per client transport"),
    ("grpc_keepalive", "(*http2Client).keepalive: one per client transport with keepalive"),
    ("grpc_dns_watcher", "(*dnsResolver).watcher: one per ClientConn with a DNS name"),
    ("grpc_connecting", "a ClientConn that dials or waits to dial again"),
    ("grpc_stream", "newClientStreamWithParams.func: one per open client stream"),
    ("grpc_server_reader", "reader of a server transport: one each"),
    ("grpc_server_writer", "(*loopyWriter).run of a server: one per server transport"),
    ("grpc_server_keepalive", "(*http2Server).keepalive: one per server transport"),
    ("grpc_server_call", "a call that a server is handling"),
    ("http_reader_on_network", "net/http readLoop waiting for the network: an idle connection"),
    ("http_reader_in_select", "net/http readLoop waiting in select: a body that nobody read or closed"),
    ("http_writer", "net/http writeLoop: one per client connection"),
    ("other", "every other goroutine"),
];

const SERIALIZER: &str = "grpc_serializer";

/// ClientConns per serializer.
const SERIALIZERS_PER_CLIENT: f64 = 3.0;

/// Goroutines of a process by kind, at one time. At most [`Census::MAX`] kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census {
    kinds: BTreeMap<String, f64>,
}

impl Census {
    /// Kinds kept; what goes beyond counts as `other`.
    pub(crate) const MAX: usize = 64;

    /// A census of these counts.
    pub(crate) fn new(counts: Vec<(String, f64)>) -> Self {
        let mut kinds: BTreeMap<String, f64> = BTreeMap::new();
        for (kind, count) in counts {
            if !count.is_finite() || count < 0.0 {
                continue;
            }
            let full = kinds.len() >= Self::MAX - 1 && !kinds.contains_key(&kind);
            *kinds.entry(if full { "other".to_owned() } else { kind }).or_default() += count;
        }
        Census { kinds }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// How many of this kind.
    pub(crate) fn count(&self, kind: &str) -> f64 {
        self.kinds.get(kind).copied().unwrap_or(0.0)
    }

    /// All goroutines.
    pub(crate) fn total(&self) -> f64 {
        self.kinds.values().sum()
    }

    /// ClientConns, exactly.
    pub(crate) fn grpc_clients(&self) -> f64 {
        (self.count(SERIALIZER) / SERIALIZERS_PER_CLIENT).round()
    }

    /// Whether it knows of gRPC clients at all: without any, it may come from who counts them under another name.
    pub(crate) fn knows_grpc_clients(&self) -> bool {
        self.kinds.contains_key(SERIALIZER)
    }

    /// Goroutines of gRPC clients without those of their streams.
    pub(crate) fn grpc_client_goroutines(&self) -> f64 {
        self.sum(&[
            SERIALIZER,
            "grpc_reader",
            "grpc_writer",
            "grpc_keepalive",
            "grpc_dns_watcher",
            "grpc_connecting",
        ])
    }

    /// Goroutines of gRPC server transports without those of their streams.
    pub(crate) fn grpc_server_goroutines(&self) -> f64 {
        self.sum(&["grpc_server_reader", "grpc_server_writer", "grpc_server_keepalive"])
    }

    /// Goroutines of net/http client connections.
    pub(crate) fn http_goroutines(&self) -> f64 {
        self.sum(&["http_reader_on_network", "http_reader_in_select", "http_reader_running", "http_writer"])
    }

    fn sum(&self, kinds: &[&str]) -> f64 {
        kinds.iter().map(|kind| self.count(kind)).sum()
    }

    /// All kinds, most frequent first.
    pub(crate) fn ranked(&self) -> Vec<(&str, f64)> {
        let mut list: Vec<_> = self.kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_serializers_are_one_client() {
        let census = Census::new(vec![
            ("grpc_serializer".into(), 174.0),
            ("grpc_reader".into(), 58.0),
            ("grpc_writer".into(), 58.0),
            ("other".into(), 9.0),
        ]);
        assert_eq!(census.grpc_clients(), 58.0);
        assert_eq!(census.grpc_client_goroutines(), 290.0);
        assert_eq!(census.total(), 299.0);
    }

    #[test]
    fn kinds_beyond_the_limit_are_counted_as_other() {
        let census = Census::new((0..500).map(|i| (format!("kind{i}"), 1.0)).collect());
        assert_eq!(census.total(), 500.0);
        assert!(census.ranked().len() <= Census::MAX);
    }
}
