//! Faults: what an agent makes of signals, dead and hanging backends, hostile clients and too little memory.
//!
//! # Method
//! An [`Oracle`](oracle::Oracle) issues ids, one for each log record. Clients send records and note which ids were
//! acknowledged (A); the backend notes what it got (D) and checks every payload. For each case five things must hold:
//! every acknowledged id was delivered; every delivered id was issued; payloads are equal to what was sent; a fresh
//! record passes after the fault; the fault really happened. A case whose fault never happened is invalid, not passed.
//!
//! Each case is a function of the agent under test, so Weir and the Go Collector are driven alike, with the same
//! configuration. `cargo test` runs the cases against Weir alone; `make faults` runs them against both and writes
//! docs/reliability.md. Everything stays on loopback, ends in bounded time, and ends only processes that it started.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod agent;
mod backend;
mod cases;
mod disk;
mod grpc;
mod h2raw;
mod http;
mod listening;
mod load;
mod oracle;
#[path = "../agent/support/ports.rs"]
mod ports;
mod proxy;
mod report;
mod rpc;
mod strace;
mod wire;
