//! Wrong input: what comes of it, and that the message says where, what and the cure.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod backends;
mod config;
mod events;
mod outputs;
mod processes;
mod run;
mod signals;
mod sources;
mod targets;

const NO_METRICS: &str = "telemetry: {metrics: {level: none}}";
