//! An HTTP client.

use serde::{Deserialize, Serialize};

use super::references::no_middlewares;
use super::{AuthConfig, Compression, MiddlewareConfig, TlsClientConfig};
use crate::{GoDuration, HeaderMap, Issues, Optional, Validate};

/// An HTTP client, such as that of the `otlp_http` exporter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpClientConfig {
    /// URL of the server. No default.
    pub endpoint: String,
    /// URL of a proxy: `http`, `https`, `socks5` or `socks5h`. Empty: from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the environment.
    pub proxy_url: String,
    /// TLS for `https://`.
    pub tls: TlsClientConfig,
    /// Bytes read from the socket at once; 0 leaves it to the implementation.
    pub read_buffer_size: i64,
    /// Bytes gathered before a write to the socket; 0 leaves it to the implementation.
    pub write_buffer_size: i64,
    /// Longest time of one request, body included. 0: no limit; the `otlp_http` exporter sets 30s.
    pub timeout: GoDuration,
    /// Headers of each request; replace those of the same name. `Host` sets the host.
    pub headers: HeaderMap,
    /// The extension that signs requests. Off by default.
    pub auth: Optional<AuthConfig>,
    /// Compression of bodies. Not compressed by default; exporters set `gzip`. `snappy` is the raw block format.
    pub compression: Compression,
    /// How hard to compress.
    pub compression_params: CompressionParams,
    /// Most idle connections in all. 100; 0 is no limit.
    pub max_idle_conns: i64,
    /// Most idle connections to one host. 0: 2.
    pub max_idle_conns_per_host: i64,
    /// Most connections to one host. 0: no limit.
    pub max_conns_per_host: i64,
    /// Close a connection that was idle for this time. 1m30s; 0 never.
    pub idle_conn_timeout: GoDuration,
    /// A new connection for each request. Off by default, and dear.
    pub disable_keep_alives: bool,
    /// Ping an HTTP/2 connection after this time without traffic. 0: never.
    pub http2_read_idle_timeout: GoDuration,
    /// Close it when the answer takes longer. 0: 15s.
    pub http2_ping_timeout: GoDuration,
    /// Keep cookies. Off by default.
    pub cookies: Optional<CookiesConfig>,
    /// Offer HTTP/2 over TLS. On by default.
    pub force_attempt_http2: bool,
    /// Middleware extensions, outermost first.
    pub middlewares: Vec<MiddlewareConfig>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            proxy_url: String::new(),
            tls: TlsClientConfig::default(),
            read_buffer_size: 0,
            write_buffer_size: 0,
            timeout: GoDuration::ZERO,
            headers: HeaderMap::default(),
            auth: Optional::None,
            compression: Compression::Unset,
            compression_params: CompressionParams::default(),
            max_idle_conns: 100,
            max_idle_conns_per_host: 0,
            max_conns_per_host: 0,
            idle_conn_timeout: GoDuration::from_secs(90),
            disable_keep_alives: false,
            http2_read_idle_timeout: GoDuration::ZERO,
            http2_ping_timeout: GoDuration::ZERO,
            cookies: Optional::None,
            force_attempt_http2: true,
            middlewares: Vec::new(),
        }
    }
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompressionParams {
    /// Level: -2 to 9 for gzip, zlib and deflate, any for zstd, none for the rest. 0: the default of the algorithm.
    pub level: i64,
}

/// Cookies have no options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookiesConfig {}

/// How proxies can be reached.
const PROXIES: [&str; 4] = ["http://", "https://", "socks5://", "socks5h://"];

impl HttpClientConfig {
    /// A client of this server, all else as by default.
    pub fn with_endpoint(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..Self::default() }
    }
}

impl Validate for HttpClientConfig {
    /// An empty endpoint is for the component to refuse, as only it knows whether it needs one.
    fn validate(&self, issues: &mut Issues) {
        let known = PROXIES.iter().any(|scheme| self.proxy_url.starts_with(scheme));
        if !self.proxy_url.is_empty() && !known {
            let message = "must be a URL that begins with http://, https://, socks5:// or socks5h://";
            // Without a scheme nobody knows which part of it is a password.
            if self.proxy_url.contains("://") {
                issues.at("proxy_url", message);
            } else {
                issues.at_secret("proxy_url", message);
            }
        }
        let level = self.compression_params.level;
        let fits = match self.compression {
            Compression::Gzip | Compression::Zlib | Compression::Deflate => (-2..=9).contains(&level),
            Compression::Zstd | Compression::Unset | Compression::None => true,
            Compression::Snappy | Compression::SnappyFramed | Compression::Lz4 => level == 0,
        };
        if !fits {
            let name = self.compression.name();
            let message = format!("unsupported parameters {{Level:{level}}} for compression type {name:?}");
            issues.at("compression_params", message);
        }
        issues.section("tls", &self.tls);
        issues.section("headers", &self.headers);
        no_middlewares(&self.middlewares, issues);
    }
}
