//! Settings that many components share: addresses, TLS, gRPC and HTTP clients and servers, retry, queue, batch.
//!
//! Only data and what makes it valid; nothing here opens a connection. Names, defaults and messages are the
//! Collector's. A component whose defaults differ says so in its own `Default`, for example
//! `GrpcServerConfig { read_buffer_size: 524_288, ..GrpcServerConfig::with_endpoint("localhost:4317") }`.
//!
//! Components put the options of these structs among their own by naming the field with a `+`:
//!
//! ```ignore
//! #[serde(rename = "+client")]
//! client: GrpcClientConfig,
//! ```

mod address;
mod grpc_client;
mod grpc_server;
mod http_client;
mod http_server;
mod queue;
mod references;
mod retry;
mod tls;

pub use address::{DialerConfig, NetAddress, TransportType, check_host_port};
pub use grpc_client::{GrpcClientConfig, KeepaliveClientConfig};
pub use grpc_server::{
    GrpcServerConfig, KeepaliveEnforcement, KeepaliveServerConfig, KeepaliveServerParameters,
};
pub use http_client::{CompressionParams, CookiesConfig, HttpClientConfig};
pub use http_server::{CorsConfig, HttpServerConfig, ServerAuthConfig};
pub use queue::{BatchConfig, PartitionConfig, QueueConfig, Sizer, validate_delivery, validate_queue};
pub use references::{AuthConfig, Compression, MiddlewareConfig};
pub use retry::{RetryConfig, TimeoutConfig};
pub use tls::{
    CURVES, OLDER_SUITES, SUITES_OF_13, TlsClientConfig, TlsConfig, TlsServerConfig, TlsVersion, TpmConfig,
};

#[cfg(test)]
mod tests;
