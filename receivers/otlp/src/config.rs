//! Options of the receiver; see metadata.yaml for their effects.

use serde::{Deserialize, Serialize};
use weir_config::net::{GrpcServerConfig, HttpServerConfig, KeepaliveServerParameters};
use weir_config::{GoDuration, Issues, Optional, Validate};
use weir_otlp::config as shared;
use weir_otlp::http_server::{PingPolicy, ServerLimits};
use weir_otlp::response_headers;
use weir_otlp::server::{Protocols as Spoken, ServerSettings};
use weir_pdata::{Signal, edit};

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) protocols: Protocols,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) attribute_limits: AttributeLimits,
}

/// What may be in a request of attributes; `None` is without limit. The first two have the names of OpenTelemetry's
/// configuration of SDKs. The Collector has no such options, so that what is printed for it to read has them only where
/// they are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AttributeLimits {
    #[serde(skip_serializing_if = "is_default")]
    attribute_count_limit: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    attribute_value_length_limit: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    attribute_key_length_limit: Option<u32>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Protocols {
    pub(crate) grpc: Optional<GrpcConfig>,
    pub(crate) http: Optional<HttpConfig>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GrpcConfig {
    #[serde(rename = "+server")]
    pub(crate) server: GrpcServerConfig,
    #[serde(rename = "+connections")]
    connections: Connections,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpConfig {
    #[serde(rename = "+server")]
    pub(crate) server: HttpServerConfig,
    #[serde(rename = "+connections")]
    connections: Connections,
    traces_url_path: String,
    metrics_url_path: String,
    logs_url_path: String,
}

/// How many connections a port takes; 0 is the default. The Collector has no such options, so that what is printed for it
/// to read has them only where they are set.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Connections {
    #[serde(skip_serializing_if = "is_default")]
    max_connections: u32,
    #[serde(skip_serializing_if = "is_default")]
    max_connections_per_address: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for Protocols {
    fn default() -> Self {
        let server = GrpcServerConfig {
            read_buffer_size: 512 << 10,
            ..GrpcServerConfig::with_endpoint("localhost:4317")
        };
        let grpc = GrpcConfig { server, connections: Connections::default() };
        Protocols { grpc: Optional::Default(grpc), http: Optional::Default(HttpConfig::default()) }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        let server = HttpServerConfig {
            read_header_timeout: GoDuration::ZERO,
            write_timeout: GoDuration::ZERO,
            idle_timeout: GoDuration::ZERO,
            ..HttpServerConfig::with_endpoint("localhost:4318")
        };
        HttpConfig {
            server,
            connections: Connections::default(),
            traces_url_path: Signal::Traces.path().to_owned(),
            metrics_url_path: Signal::Metrics.path().to_owned(),
            logs_url_path: Signal::Logs.path().to_owned(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        let Protocols { grpc, http } = &self.protocols;
        if !grpc.is_on() && !http.is_on() {
            issues.at_with_help(
                "protocols",
                "must specify at least one protocol when using the OTLP receiver",
                "write `protocols: {grpc: , http: }`",
            );
        }
        issues.within("protocols", |issues| {
            issues.optional("grpc", grpc);
            issues.optional("http", http);
        });
    }
}

impl Validate for GrpcConfig {
    fn validate(&self, issues: &mut Issues) {
        self.server.validate(issues);
    }
}

impl Validate for HttpConfig {
    fn validate(&self, issues: &mut Issues) {
        self.server.validate(issues);
    }
}

impl AttributeLimits {
    /// The limits, if there are any.
    pub(crate) fn limits(self) -> Option<edit::AttributeLimits> {
        let or_none = |limit: Option<u32>| limit.map_or(usize::MAX, |limit| limit as usize);
        (self != AttributeLimits::default()).then(|| edit::AttributeLimits {
            count: or_none(self.attribute_count_limit),
            key_length: or_none(self.attribute_key_length_limit),
            value_length: or_none(self.attribute_value_length_limit),
        })
    }
}

impl Connections {
    fn limit(&self, limits: ServerLimits) -> ServerLimits {
        let or = |own: u32, safe| if own == 0 { safe } else { own as usize };
        ServerLimits {
            max_connections: or(self.max_connections, limits.max_connections),
            max_connections_per_address: or(
                self.max_connections_per_address,
                limits.max_connections_per_address,
            ),
            ..limits
        }
    }
}

impl GrpcConfig {
    /// The settings of the gRPC server without TLS.
    pub(crate) fn settings(&self) -> ServerSettings {
        let server = &self.server;
        let keepalive = server.keepalive.as_ref().and_then(|k| k.server_parameters.as_ref());
        let limits = with_keepalive(self.connections.limit(ServerLimits::default()), keepalive);
        let streams = server.max_concurrent_streams;
        let enforcement = server.keepalive.as_ref().and_then(|k| k.enforcement_policy.as_ref());
        let ping_policy = enforcement.and_then(|policy| {
            let min_time = policy.min_time.non_zero()?;
            Some(PingPolicy { min_time, permit_without_stream: policy.permit_without_stream })
        });
        ServerSettings {
            protocols: Spoken::Grpc,
            max_message: server.max_message_bytes(),
            include_metadata: server.include_metadata,
            limits: ServerLimits {
                ping_policy,
                max_concurrent_streams: if streams == 0 { limits.max_concurrent_streams } else { streams },
                ..limits
            },
            ..ServerSettings::default()
        }
    }
}

fn with_keepalive(limits: ServerLimits, parameters: Option<&KeepaliveServerParameters>) -> ServerLimits {
    let Some(parameters) = parameters else { return limits };
    ServerLimits {
        max_connection_idle: parameters.max_connection_idle.non_zero(),
        max_connection_age: parameters.max_connection_age.non_zero().or(limits.max_connection_age),
        max_connection_age_grace: parameters.max_connection_age_grace.non_zero(),
        ping_interval: parameters.time.non_zero().or(limits.ping_interval),
        ping_timeout: parameters.timeout.non_zero().unwrap_or(limits.ping_timeout),
        ..limits
    }
}

impl HttpConfig {
    /// The settings of the HTTP server without TLS.
    pub(crate) fn settings(&self) -> Result<ServerSettings, String> {
        let server = &self.server;
        let encodings = &server.compression_algorithms;
        Ok(ServerSettings {
            protocols: Spoken::Http,
            max_body: server.max_body_bytes(),
            paths: [
                absolute(&self.traces_url_path),
                absolute(&self.metrics_url_path),
                absolute(&self.logs_url_path),
                Signal::Profiles.path().to_owned(),
            ],
            content_encodings: Some(encodings.clone()).filter(|list| !list.is_empty()),
            include_metadata: server.include_metadata,
            response_headers: response_headers(&server.response_headers)?,
            cors: shared::cors(server),
            limits: shared::server_limits(self.connections.limit(ServerLimits::default()), server),
            ..ServerSettings::default()
        })
    }
}

/// A path begins with a slash, also when it was written without.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
