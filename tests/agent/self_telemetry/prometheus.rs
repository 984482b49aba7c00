//! A real Prometheus scrapes the agent, and what dashboards for the Collector ask finds its values.

use std::process::Command;

use super::{SIGNALS, send};
use crate::backends::Backend;
use crate::backends::servers::{Fleet, flag, free_ports, get, install, weir};

/// An expression, how many series it gives, and what each of their values must be.
type Question = (&'static str, usize, fn(f64) -> bool);

/// What panels and alerts for a Collector ask, and what the answer has to be: the series and a check of each value.
const QUESTIONS: [Question; 21] = [
    ("sum by (receiver, transport) (rate(otelcol_receiver_accepted_spans[1m])) > 0", 1, positive),
    ("sum by (receiver) (rate(otelcol_receiver_accepted_metric_points[1m])) > 0", 1, positive),
    ("sum by (receiver) (rate(otelcol_receiver_accepted_log_records[1m])) > 0", 1, positive),
    (
        "sum(rate(otelcol_receiver_refused_spans[1m])) + sum(rate(otelcol_receiver_refused_log_records[1m]))",
        1,
        zero,
    ),
    ("sum by (processor, otel_signal) (rate(otelcol_processor_incoming_items[1m])) > 0", 6, positive),
    // What is in a processor: nothing, once all is through.
    ("sum(otelcol_processor_incoming_items) - sum(otelcol_processor_outgoing_items)", 1, zero),
    ("sum by (exporter) (rate(otelcol_exporter_sent_spans[1m])) > 0", 2, positive),
    ("sum by (exporter) (rate(otelcol_exporter_sent_metric_points[1m])) > 0", 2, positive),
    ("sum by (exporter) (rate(otelcol_exporter_sent_log_records[1m])) > 0", 2, positive),
    (
        "sum by (exporter) (rate(otelcol_exporter_send_failed_spans{exporter=\"otlp_http/dead\"}[1m])) > 0",
        1,
        positive,
    ),
    ("sum(rate(otelcol_exporter_enqueue_failed_spans[1m]))", 1, zero),
    // The share of what came in that was lost: one of three exporters loses everything.
    (
        "sum(otelcol_exporter_send_failed_spans) / (sum(otelcol_exporter_sent_spans) + sum(otelcol_exporter_send_failed_spans))",
        1,
        |share| (share - 1.0 / 3.0).abs() < 0.01,
    ),
    ("max(otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)", 1, zero),
    ("min by (exporter) (otelcol_exporter_queue_capacity)", 2, |capacity| capacity == 1000.0),
    ("sum by (exporter) (otelcol_exporter_in_flight_requests)", 3, zero),
    (
        "histogram_quantile(0.99, sum by (le, processor) (rate(otelcol_processor_batch_batch_send_size_bucket[1m])))",
        1,
        positive,
    ),
    ("sum(rate(otelcol_processor_batch_timeout_trigger_send[1m])) > 0", 1, positive),
    ("max by (instance) (otelcol_process_uptime) > 0", 1, positive),
    ("max by (instance) (rate(otelcol_process_cpu_seconds[1m]))", 1, |cores| (0.0..64.0).contains(&cores)),
    ("max(otelcol_process_memory_rss)", 1, |bytes| (1e6..1e9).contains(&bytes)),
    (
        "count(otelcol_process_uptime * on (job, instance) group_left (\"service.name\", \"service.version\") target_info)",
        1,
        |n| n == 1.0,
    ),
];

const CONFIG: &str = "
receivers: {otlp: {protocols: {http: {endpoint: 127.0.0.1:ENTRY}}}}
processors: {memory_limiter: {check_interval: 1s, limit_mib: 4000}, batch: {timeout: 100ms}}
exporters:
  nop: {}
  otlp_http: {endpoint: http://127.0.0.1:BACKEND}
  otlp_http/dead: {endpoint: http://127.0.0.1:1, retry_on_failure: {enabled: false}}
service:
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: PAGE}}}}]}}
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [nop, otlp_http, otlp_http/dead]}
    metrics: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [nop, otlp_http, otlp_http/dead]}
    logs: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [nop, otlp_http, otlp_http/dead]}
";

/// The backend: another agent.
const SINK: &str = "
receivers: {otlp: {protocols: {http: {endpoint: 127.0.0.1:BACKEND}}}}
exporters: {nop: {}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [nop]}
    metrics: {receivers: [otlp], exporters: [nop]}
    logs: {receivers: [otlp], exporters: [nop]}
";

fn positive(value: f64) -> bool {
    value > 0.0
}

fn zero(value: f64) -> bool {
    value == 0.0
}

#[test]
fn the_queries_of_dashboards_for_the_collector_find_their_values() {
    let mut fleet = Fleet::new();
    let [entry, backend, page, prometheus] = free_ports();
    let config = CONFIG.replace("ENTRY", &entry.to_string()).replace("BACKEND", &backend.to_string());
    let config = fleet.write("weir.yaml", &config.replace("PAGE", &page.to_string()));
    fleet.start("weir", &mut weir(&config));
    let sink = fleet.write("sink.yaml", &SINK.replace("BACKEND", &backend.to_string()));
    fleet.start("sink", &mut weir(&sink));
    start_prometheus(&mut fleet, prometheus, page);
    for port in [entry, backend] {
        fleet.wait("an answer", 60, || get(port, "/"));
    }
    let prometheus = Backend { name: "Prometheus", port: prometheus, flush: false };
    // A rate needs a value before the first event.
    fleet.wait("the first scrape", 30, || prometheus.query("otelcol_process_uptime").pop());
    // A histogram is there from its first batch on.
    send(entry, &SIGNALS);
    let batches = "otelcol_processor_batch_batch_send_size_count > 0";
    fleet.wait("the histogram", 30, || prometheus.query(batches).pop());
    let items: usize = (0..3).map(|_| send(entry, &SIGNALS)[0]).sum();
    let items = items / 3 * 4;
    let accepted = format!("sum(otelcol_receiver_accepted_spans{{receiver=\"otlp\"}}) == {items}");
    fleet.wait("all spans are counted", 30, || prometheus.query(&accepted).pop());
    for (question, series, right) in QUESTIONS {
        fleet.wait(question, 30, || {
            let answer = prometheus.query(question);
            (answer.len() == series && answer.iter().all(|(_, value)| right(*value))).then_some(())
        });
    }
}

fn start_prometheus(fleet: &mut Fleet, port: u16, page: u16) {
    let [bin] = install(["prometheus"]);
    let scrape = format!(
        "scrape_configs:\n- job_name: collector\n  scrape_interval: 1s\n  static_configs:\n  - targets: [\"127.0.0.1:{page}\"]\n"
    );
    let config = fleet.write("prometheus.yml", &scrape);
    let mut command = Command::new(bin.join("prometheus"));
    command.arg(flag("--config.file", config));
    command.arg(flag("--storage.tsdb.path", fleet.dir().join("data")));
    command.args([&format!("--web.listen-address=127.0.0.1:{port}"), "--log.level=warn"]);
    fleet.start("prometheus", &mut command);
    fleet.wait_page(port, "/-/ready");
}
