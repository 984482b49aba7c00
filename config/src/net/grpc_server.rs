//! A gRPC server.

use serde::{Deserialize, Serialize};

use super::references::no_middlewares;
use super::{AuthConfig, MiddlewareConfig, NetAddress, TlsServerConfig};
use crate::{GoDuration, Issues, Optional, Validate};

/// A gRPC server, such as that of the `otlp` receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcServerConfig {
    /// Where to listen (`endpoint`, `transport`).
    #[serde(rename = "+address")]
    pub address: NetAddress,
    /// TLS; off by default.
    pub tls: Optional<TlsServerConfig>,
    /// Largest message after decompression, in MiB. 0: 4 MiB.
    pub max_recv_msg_size_mib: i64,
    /// Most requests at once on one connection. 0: no limit.
    pub max_concurrent_streams: u32,
    /// Bytes read from the socket at once; 0 leaves it to the implementation. The `otlp` receiver sets 512 KiB.
    pub read_buffer_size: i64,
    /// Bytes gathered before a write to the socket; 0 leaves it to the implementation.
    pub write_buffer_size: i64,
    /// Ages and pings of connections.
    pub keepalive: Optional<KeepaliveServerConfig>,
    /// The extension that checks requests. Off by default.
    pub auth: Optional<AuthConfig>,
    /// Hand the metadata of requests on, for components that read it. Off by default.
    pub include_metadata: bool,
    /// Middleware extensions, outermost first.
    pub middlewares: Vec<MiddlewareConfig>,
}

impl Default for GrpcServerConfig {
    fn default() -> Self {
        Self {
            address: NetAddress::default(),
            tls: Optional::None,
            max_recv_msg_size_mib: 0,
            max_concurrent_streams: 0,
            read_buffer_size: 0,
            write_buffer_size: 0,
            keepalive: Optional::Some(KeepaliveServerConfig::default()),
            auth: Optional::None,
            include_metadata: false,
            middlewares: Vec::new(),
        }
    }
}

/// Ages and pings of a gRPC server's connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveServerConfig {
    /// What the server does itself.
    pub server_parameters: Optional<KeepaliveServerParameters>,
    /// What it puts up with.
    pub enforcement_policy: Optional<KeepaliveEnforcement>,
}

impl Default for KeepaliveServerConfig {
    fn default() -> Self {
        Self {
            server_parameters: Optional::Some(KeepaliveServerParameters::default()),
            enforcement_policy: Optional::Some(KeepaliveEnforcement::default()),
        }
    }
}

/// What a gRPC server does about its connections. 0 is grpc-go's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveServerParameters {
    /// Close a connection without requests after this time. 0: never.
    pub max_connection_idle: GoDuration,
    /// Close any connection after about this time (± 10 %). 0: never.
    pub max_connection_age: GoDuration,
    /// How long requests may go on after that. 0: without limit.
    pub max_connection_age_grace: GoDuration,
    /// Ping a silent client after this time. 0: 2 hours.
    pub time: GoDuration,
    /// Close the connection when the answer takes longer. 0: 20 seconds.
    pub timeout: GoDuration,
}

/// Which pings of clients a gRPC server puts up with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveEnforcement {
    /// Clients that ping more often are sent away (GOAWAY, `too_many_pings`). 0: 5 minutes.
    pub min_time: GoDuration,
    /// Allow pings while no request is under way. Off by default.
    pub permit_without_stream: bool,
}

impl GrpcServerConfig {
    /// A server at this address, all else as by default.
    pub fn with_endpoint(endpoint: &str) -> Self {
        Self { address: NetAddress::tcp(endpoint), ..Self::default() }
    }

    /// Largest message after decompression, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        const MIB: usize = 1 << 20;
        match usize::try_from(self.max_recv_msg_size_mib) {
            Ok(0) | Err(_) => 4 * MIB,
            Ok(mib) => mib.saturating_mul(MIB),
        }
    }
}

impl Validate for GrpcServerConfig {
    fn validate(&self, issues: &mut Issues) {
        const MOST: i64 = i64::MAX / 1024 / 1024;
        let size = self.max_recv_msg_size_mib;
        if !(0..=MOST).contains(&size) {
            let message =
                format!("invalid max_recv_msg_size_mib value, must be between 1 and {MOST}: {size}");
            issues.at("max_recv_msg_size_mib", message);
        }
        for (name, size) in
            [("read_buffer_size", self.read_buffer_size), ("write_buffer_size", self.write_buffer_size)]
        {
            if size < 0 {
                issues.at(name, format!("invalid {name} value: {size}"));
            }
        }
        self.address.validate(issues);
        issues.optional("tls", &self.tls);
        no_middlewares(&self.middlewares, issues);
    }
}
