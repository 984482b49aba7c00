//! Sending OTLP: one attempt at a time over gRPC or HTTP.
//!
//! A client keeps its connections between attempts and makes new ones when they are lost. It neither retries nor times
//! out: the engine does both, the second by dropping the future, which cancels the request and leaves the client usable.

mod connect;
mod grpc;
mod http;
mod pieces;
mod proxy;
mod response;

pub use connect::Target;
pub use grpc::{GrpcClient, GrpcSettings, KeepAlive};
pub use http::{Format, HttpClient, HttpSettings};

use crate::encoding::Encoding;

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The encoding.
    pub encoding: Encoding,
    /// Its level, see [`Encoding::compress`].
    pub level: Option<i32>,
}

impl Compression {
    /// None.
    pub const NONE: Compression = Compression { encoding: Encoding::Identity, level: None };
    /// gzip at the level that is cheapest per byte.
    pub const GZIP: Compression = Compression { encoding: Encoding::Gzip, level: None };
}

/// The name under which the clients introduce themselves, such as `weir/0.1.0 (linux/x86_64)`.
pub fn user_agent(name: &str, version: &str) -> String {
    format!("{name}/{version} ({}/{})", std::env::consts::OS, std::env::consts::ARCH)
}
