//! Queue, batching, timeout and retries in front of a scripted exporter, on simulated time.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod batching;
mod drain;
mod durable;
mod hooked;
mod queue;
mod retry;
mod spill;
mod support;
