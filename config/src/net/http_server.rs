//! An HTTP server.

use serde::{Deserialize, Serialize};

use super::references::no_middlewares;
use super::{AuthConfig, MiddlewareConfig, NetAddress, TlsServerConfig};
use crate::{GoDuration, HeaderMap, Issues, Optional, Validate};

/// An HTTP server, such as that of the `otlp` receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpServerConfig {
    /// Where to listen (`endpoint`, `transport`).
    #[serde(rename = "+address")]
    pub address: NetAddress,
    /// TLS; off by default.
    pub tls: Optional<TlsServerConfig>,
    /// Answers to browsers of other origins. Off by default.
    pub cors: Optional<CorsConfig>,
    /// The extension that checks requests. Off by default.
    pub auth: Optional<ServerAuthConfig>,
    /// Largest body in bytes, compressed and decompressed. 0: 20 MiB.
    pub max_request_body_size: i64,
    /// Hand the headers of requests on, for components that read them. Off by default.
    pub include_metadata: bool,
    /// Headers of each response.
    pub response_headers: HeaderMap,
    /// Encodings of bodies that are accepted; the empty string stands for no encoding. An empty list means all known:
    /// none, gzip, zstd, zlib, snappy, deflate, lz4, x-snappy-framed.
    pub compression_algorithms: Vec<String>,
    /// Longest time to read a request. 0: no limit.
    pub read_timeout: GoDuration,
    /// Longest time to read the headers of a request. 1m; 0 is `read_timeout`.
    pub read_header_timeout: GoDuration,
    /// Longest time from the headers of a request to the end of the answer. 30s; 0 is no limit.
    pub write_timeout: GoDuration,
    /// Close a connection that was idle for this time. 1m; 0 is `read_timeout`.
    pub idle_timeout: GoDuration,
    /// Middleware extensions, outermost first.
    pub middlewares: Vec<MiddlewareConfig>,
    /// Several requests on one connection. On by default.
    pub keep_alives_enabled: bool,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self {
            address: NetAddress::default(),
            tls: Optional::None,
            cors: Optional::None,
            auth: Optional::None,
            max_request_body_size: 0,
            include_metadata: false,
            response_headers: HeaderMap::default(),
            compression_algorithms: Vec::new(),
            read_timeout: GoDuration::ZERO,
            read_header_timeout: GoDuration::from_mins(1),
            write_timeout: GoDuration::from_secs(30),
            idle_timeout: GoDuration::from_mins(1),
            middlewares: Vec::new(),
            keep_alives_enabled: true,
        }
    }
}

/// Answers to browsers of other origins (CORS). Off while `allowed_origins` is empty; credentials are always allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsConfig {
    /// Origins that may ask; one `*` in each stands for anything.
    pub allowed_origins: Vec<String>,
    /// Request headers they may send besides the safe ones; `*` for any.
    pub allowed_headers: Vec<String>,
    /// Response headers they may read.
    pub exposed_headers: Vec<String>,
    /// Seconds for which they may remember the answer. 0: the browser's default of 5.
    pub max_age: i64,
}

/// Which extension checks requests, and what it gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerAuthConfig {
    /// The extension (`authenticator`).
    #[serde(rename = "+auth")]
    pub auth: AuthConfig,
    /// Parameters of the query that the extension gets like headers.
    pub request_params: Vec<String>,
}

impl HttpServerConfig {
    /// A server at this address, all else as by default.
    pub fn with_endpoint(endpoint: &str) -> Self {
        Self { address: NetAddress::tcp(endpoint), ..Self::default() }
    }

    /// Largest body in bytes.
    pub fn max_body_bytes(&self) -> usize {
        const TWENTY_MIB: usize = 20 << 20;
        match usize::try_from(self.max_request_body_size) {
            Ok(0) | Err(_) => TWENTY_MIB,
            Ok(bytes) => bytes,
        }
    }
}

impl Validate for HttpServerConfig {
    fn validate(&self, issues: &mut Issues) {
        self.address.validate(issues);
        issues.optional("tls", &self.tls);
        issues.section("response_headers", &self.response_headers);
        no_middlewares(&self.middlewares, issues);
    }
}
