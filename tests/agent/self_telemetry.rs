//! What the agent says about itself: the page for Prometheus beside that of a Go Collector, a real Prometheus that scrapes
//! it, and what is pushed over OTLP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "functions that tests share")]

mod page;
mod prometheus;
mod pushed;
mod replaced;

use weir_pdata::Signal;

use crate::backends::servers::post;
use crate::collector::telemetry::request;

/// Sends one request of each of these signals by HTTP and gives the items of each.
fn send(port: u16, signals: &[Signal]) -> Vec<usize> {
    let send = |signal: &Signal| {
        let payload = request(*signal, 1);
        // The answer may be a refusal: that is counted as well.
        post(port, signal.path(), "application/x-protobuf", &payload.to_bytes());
        payload.items()
    };
    signals.iter().map(send).collect()
}

const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];
