//! More than the agent takes: those who are watched stay, and it is said that others are not.

use weir_connection::report::Source;

use crate::support::{Agent, LONG, free_port, get, post, wait_until};

/// An agent that takes connection events on `entry`, with this processor in all pipelines, and watches its own sockets.
fn yaml(entry: u16, pages: u16, metrics: u16, processor: &str) -> String {
    let name = processor.split(':').next().unwrap_or_default();
    format!(
        "receivers:\n  grpc_connections: {{endpoint: \"127.0.0.1:{entry}\", collection_interval: 200ms}}\n  socket_diag: \
         {{collection_interval: 200ms, processes: [{{name: weir}}]}}\nprocessors: {{{processor}}}\nexporters: {{nop: }}\n\
         extensions: {{zpages: {{endpoint: \"127.0.0.1:{pages}\"}}}}\nservice:\n  extensions: [zpages]\n  telemetry: {{metrics: \
         {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}\n  pipelines:\n    \
         metrics: {{receivers: [grpc_connections, socket_diag], processors: [{name}], exporters: [nop]}}\n    logs: \
         {{receivers: [grpc_connections], processors: [{name}], exporters: [nop]}}\n"
    )
}

/// A client that a service has made, as its module would tell it.
fn event(service: usize) -> String {
    let text = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let int = |key: &str, value: usize| format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#);
    let resource =
        [text("service.name", &format!("svc-{service}")), int("process.pid", 100_000_000 + service)];
    let resource =
        resource.into_iter().chain([text("host.name", "elsewhere"), int("process.start_ticks", 1)]);
    let attributes = [int("grpc.client.id", 1), text("grpc.target", "orders:50051")].join(",");
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{}]}},"scopeLogs":[{{"scope":{{"attributes":[{}]}},"logRecords":[{{"eventName":"grpc.client.created","attributes":[{attributes}]}}]}}]}}]}}"#,
        resource.collect::<Vec<_>>().join(","),
        int("connection.events.version", 1),
    )
}

/// The source on the page once its message has that in it.
fn source(agent: &Agent, id: &str, message: &str) -> Source {
    let found = wait_until(LONG, || {
        agent.report()?.sources.into_iter().find(|s| s.id == id && s.message.contains(message))
    });
    found.unwrap_or_else(|| {
        panic!("{id} never says {message:?}: {:?}\n{}", agent.report().map(|r| r.sources), agent.log())
    })
}

#[test]
fn sources_whose_pipelines_refuse_them_say_so_with_the_reason_and_since_when() {
    let (entry, pages, metrics) = (free_port(), free_port(), free_port());
    // The process is larger than this from its start.
    let limiter = "memory_limiter: {check_interval: 100ms, limit_mib: 2}";
    let agent = Agent::start(&yaml(entry, pages, metrics, limiter), pages);
    let refused = wait_until(LONG, || post(entry, "/v1/logs", &event(1))).expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.body);
    for (id, what) in [("grpc_connections", "requests"), ("socket_diag", "metrics")] {
        let source = source(&agent, id, &format!("{what} are refused since 2"));
        assert_eq!(source.state, "degraded", "{id}");
        assert!(source.message.contains("data refused due to high memory usage"), "{}", source.message);
    }
}

#[test]
fn series_beyond_the_limit_are_not_watched_and_page_log_and_metrics_say_how_many() {
    let (entry, pages, metrics) = (free_port(), free_port(), free_port());
    let detection = "leak_detection: {max_series: 4, window: 5s}";
    let yaml = yaml(entry, pages, metrics, detection).replace(", socket_diag]", "]");
    let agent = Agent::start(&yaml, pages);
    // Each makes two series: clients and their streams.
    for service in 1..=3 {
        let taken = wait_until(LONG, || post(entry, "/v1/logs", &event(service))).expect("an answer");
        assert_eq!(taken.status, 200, "{}", taken.body);
    }
    let source = source(&agent, "grpc_connections", "2 series beyond max_series (4) are not watched");
    assert_eq!(source.state, "degraded");
    agent.wait_for_log("2 series beyond max_series (4) are not watched: raise it");
    let report = agent.report().expect("a report");
    assert!(report.summary.contains("2 series beyond max_series not watched"), "{}", report.summary);
    let name = "otelcol_processor_leak_detection_unwatched_series{processor=\"leak_detection\"} 2";
    let page = wait_until(LONG, || get(metrics, "/metrics").filter(|page| page.body.contains(name)));
    assert!(page.is_some(), "{:?}", get(metrics, "/metrics").map(|page| page.body));
}
