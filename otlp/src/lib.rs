//! OTLP over gRPC and HTTP: servers and clients shared by components.
//!
//! - [`server`]: takes OTLP over gRPC, HTTP, or both on one port, and hands it to a receiver's outputs;
//! - [`client`]: one attempt to send a payload over gRPC or HTTP;
//! - [`http_server`]: the HTTP server underneath, also for pages;
//! - [`pages`]: that server with all the options that components give it;
//! - [`encoding`]: compression with a cap on every output;
//! - [`auth`]: authenticators of servers and clients;
//! - [`credential`]: secrets that stand in files;
//! - [`tls`]: certificates to acceptors and connectors;
//! - [`config`]: the shared options of components to the settings of this crate.
//!
//! gRPC here is the unary `Export` call and nothing else: on ports of its own over a server of HTTP/2 that is made for it
//! (`http2`), on shared ports over hyper, because those have to speak HTTP/1.1 too, in clients over h2. Settings are plain structs; components make them from their configuration.

mod addresses;
pub mod auth;
mod body;
pub mod client;
mod clock;
pub mod config;
mod connection;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
pub mod credential;
mod departure;
mod descriptors;
pub mod encoding;
mod guarded;
mod handshake;
mod http2;
pub mod http_server;
mod io;
mod lifetime;
mod listen;
mod local_host;
mod message;
mod observed;
mod pace;
pub mod pages;
mod response_headers;
mod resting;
mod sending;
pub mod server;
mod status;
pub mod tls;

pub use body::Body;
pub use listen::Listener;
pub use response_headers::response_headers;
pub use status::percent_decode;

/// What fuzzing drives beside the public interface.
#[cfg(feature = "fuzzing")]
pub mod check {
    pub use crate::auth::check::params;
    pub use crate::client::{check_answer as answer, check_proxy as proxy, check_url as url};
    pub use crate::encoding::check as decompress;
    pub use crate::http2::check::converse;
    pub use crate::http2::{check_blocks as blocks, check_watch as watch};
    pub use crate::local_host::check as host;
    pub use crate::message::check as message;
    pub use crate::tls::check::pem;
}
