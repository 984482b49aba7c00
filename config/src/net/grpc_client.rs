//! A gRPC client.

use serde::{Deserialize, Serialize};

use super::address::check_host_port;
use super::references::no_middlewares;
use super::{AuthConfig, Compression, MiddlewareConfig, TlsClientConfig};
use crate::{GoDuration, HeaderMap, Issues, Optional, Validate};

/// A gRPC client, such as that of the `otlp_grpc` exporter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcClientConfig {
    /// `host:port`, `dns:///host:port` or `unix:///path`. `http://` and `https://` in front are taken off; `https://`
    /// forces TLS, `http://` does not turn it off (`tls::insecure` does). No default.
    pub endpoint: String,
    /// Compression of messages: `gzip`, `snappy`, `zstd` or `none`. Not compressed by default; exporters set `gzip`.
    pub compression: Compression,
    /// TLS; on unless `insecure` is set.
    pub tls: TlsClientConfig,
    /// Pings over idle connections. On here; the `otlp_grpc` exporter turns it off.
    pub keepalive: Optional<KeepaliveClientConfig>,
    /// Bytes read from the socket at once; 0 leaves it to the implementation.
    pub read_buffer_size: u64,
    /// Bytes gathered before a write to the socket; 0 leaves it to the implementation.
    pub write_buffer_size: u64,
    /// Wait for a connection instead of failing at once while there is none. Off by default.
    pub wait_for_ready: bool,
    /// Metadata added to each request, unless it has an entry of that name already.
    pub headers: HeaderMap,
    /// Replaces the user agent. Empty: name and version of the program.
    pub user_agent: String,
    /// How requests are spread over several addresses of one name: `round_robin` (the default) or `pick_first`.
    pub balancer_name: String,
    /// Replaces the `:authority` of requests. Empty: from the endpoint.
    pub authority: String,
    /// The extension that signs requests. Off by default.
    pub auth: Optional<AuthConfig>,
    /// Middleware extensions, outermost first.
    pub middlewares: Vec<MiddlewareConfig>,
}

impl Default for GrpcClientConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            compression: Compression::Unset,
            tls: TlsClientConfig::default(),
            keepalive: Optional::Some(KeepaliveClientConfig::default()),
            read_buffer_size: 0,
            write_buffer_size: 0,
            wait_for_ready: false,
            headers: HeaderMap::default(),
            user_agent: String::new(),
            balancer_name: "round_robin".to_owned(),
            authority: String::new(),
            auth: Optional::None,
            middlewares: Vec::new(),
        }
    }
}

/// Pings of a gRPC client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveClientConfig {
    /// Ping after this time without traffic. 10s. Servers of grpc-go refuse more than one ping in 5 minutes by default.
    pub time: GoDuration,
    /// Close the connection when the answer takes longer. 10s; 0 is 20s, as in grpc-go.
    pub timeout: GoDuration,
    /// Ping even when no request is under way. Off by default.
    pub permit_without_stream: bool,
}

impl Default for KeepaliveClientConfig {
    fn default() -> Self {
        Self {
            time: GoDuration::from_secs(10),
            timeout: GoDuration::from_secs(10),
            permit_without_stream: false,
        }
    }
}

impl Validate for KeepaliveClientConfig {
    fn validate(&self, issues: &mut Issues) {
        if self.timeout.is_negative() {
            issues.at_with_help(
                "timeout",
                "'timeout' must be non-negative",
                "no answer is in time: 0 is 20s",
            );
        }
    }
}

impl GrpcClientConfig {
    /// A client of this endpoint, all else as by default.
    pub fn with_endpoint(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..Self::default() }
    }

    /// The endpoint without a scheme: `host:port`, or the path of a unix socket.
    pub fn target(&self) -> &str {
        let endpoint = self.endpoint.as_str();
        for scheme in ["http://", "https://", "unix://"] {
            if let Some(rest) = endpoint.strip_prefix(scheme) {
                return rest;
            }
        }
        // A naming scheme with an authority, such as dns://8.8.8.8/host:port: the target is the path.
        match endpoint.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            None => endpoint,
        }
    }

    /// Whether the endpoint is a unix socket.
    pub fn is_unix(&self) -> bool {
        self.endpoint.starts_with("unix://")
    }

    /// Whether to use TLS: always for `https://` or with a CA, else unless `tls::insecure`.
    pub fn uses_tls(&self) -> bool {
        self.endpoint.starts_with("https://") || !self.tls.insecure || self.tls.common.has_ca()
    }
}

impl Validate for GrpcClientConfig {
    /// An empty endpoint is for the component to refuse, as only it knows whether it needs one.
    fn validate(&self, issues: &mut Issues) {
        if self.is_unix() {
            if self.target().is_empty() {
                issues.at("endpoint", "unix socket path cannot be empty");
            }
        } else if !self.target().is_empty()
            && let Err(sentence) = check_host_port(self.target())
        {
            issues.at_with_help("endpoint", sentence, "an endpoint is host:port, such as localhost:4317");
        }
        if !matches!(self.balancer_name.as_str(), "" | "round_robin" | "pick_first") {
            let message = format!("invalid balancer_name: {}", self.balancer_name);
            issues.at_with_help("balancer_name", message, "the balancers are round_robin and pick_first");
        }
        if !matches!(
            self.compression,
            Compression::Unset
                | Compression::None
                | Compression::Gzip
                | Compression::Snappy
                | Compression::Zstd
        ) {
            let message = format!("unsupported compression type {:?}", self.compression.name());
            issues.at_with_help("compression", message, "gRPC knows gzip, snappy, zstd and none");
        }
        issues.section("tls", &self.tls);
        issues.optional("keepalive", &self.keepalive);
        no_middlewares(&self.middlewares, issues);
        issues.section("headers", &self.headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_have_a_scheme() {
        let cases: &[(&str, &str, bool)] = &[
            ("localhost:4317", "localhost:4317", true),
            ("http://localhost:4317", "localhost:4317", true),
            ("https://localhost:4317", "localhost:4317", true),
            ("dns:///localhost:4317", "localhost:4317", true),
            ("dns://8.8.8.8/localhost:4317", "localhost:4317", true),
            ("unix:///run/x.sock", "/run/x.sock", true),
            ("unix://", "", false),
            ("localhost", "localhost", false),
            ("http://localhost", "localhost", false),
            ("localhost:http", "localhost:http", false),
            ("", "", true),
        ];
        for (endpoint, target, valid) in cases {
            let config = GrpcClientConfig::with_endpoint(endpoint);
            assert_eq!(config.target(), *target, "{endpoint}");
            let mut issues = Issues::default();
            config.validate(&mut issues);
            assert_eq!(issues.messages().is_empty(), *valid, "{endpoint}: {:?}", issues.messages());
        }
    }

    #[test]
    fn tls_is_on_unless_insecure_is_said() {
        let mut config = GrpcClientConfig::with_endpoint("http://localhost:4317");
        assert!(config.uses_tls());
        config.tls.insecure = true;
        assert!(!config.uses_tls());
        config.endpoint = "https://localhost:4317".to_owned();
        assert!(config.uses_tls());
    }
}
