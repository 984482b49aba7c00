//! Servers and clients over real sockets on loopback.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod answers;
mod auth;
mod clients;
mod floods;
mod grpc_port;
mod heads;
mod limits;
mod proxy;
mod server_grpc;
mod server_http;
mod stopping;
mod support;
mod taking;
mod tls;
