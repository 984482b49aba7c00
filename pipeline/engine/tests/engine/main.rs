//! Whole pipelines of test components on simulated time, each in one thread and ordered by a seed.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod acknowledged;
mod build;
mod ends;
mod lifecycle;
mod limits;
mod opening;
mod properties;
mod random;
mod refused;
mod reload;
mod reload_properties;
mod spill;
mod support;
