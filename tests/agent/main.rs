//! The whole agent, as its users meet it: the real binary, real Go programs, real backends.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod backends;
mod clients;
mod collector;
mod command_line;
mod conformance;
mod crowded;
mod dependency_law;
mod docs;
mod durable;
mod http2;
mod limits;
mod oracle;
mod real_configs;
mod recorded;
mod reload;
mod scenarios;
mod self_telemetry;
mod support;
mod wrong_input;
