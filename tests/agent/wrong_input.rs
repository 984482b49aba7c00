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

/// Logs that come over HTTP at `port` wait in `batch` for the end, and then go to the backend at `to`.
fn batched_until_the_end(port: u16, to: u16) -> String {
    format!(
        "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}\nprocessors:\n  \
         batch: {{timeout: 1h, send_batch_size: 100000}}\nexporters:\n  otlp_http: {{endpoint: \"http://127.0.0.1:{to}\", \
         compression: none}}\nservice:\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [otlp], processors: [batch], \
         exporters: [otlp_http]}}}}\n"
    )
}
