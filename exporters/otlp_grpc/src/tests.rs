use weir_component::{DeliverySettings, Outputs, Port, Stop};
use weir_otlp::Listener;
use weir_otlp::server::{ServerSettings, serve};
use weir_testkit::{Recorder, Simulation};

use super::*;

fn build(body: &str) -> Result<ExporterParts, String> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let host = weir_testkit::host(&simulation);
    let path = weir_config::Path::component("exporters", "otlp_grpc");
    let build = Build { id: "otlp_grpc", node: &node, path, host: &host, clock: simulation.clock() };
    (FACTORY.create)(&build, Signal::Logs).map_err(|e| e.to_string())
}

async fn start(parts: &ExporterParts) -> Result<(), Failure> {
    parts.exporter.start(&weir_testkit::host(&Simulation::new(1))).await
}

fn refused(body: &str) -> String {
    build(body).err().expect("refused")
}

#[tokio::test]
async fn what_is_exported_arrives_with_the_configured_metadata() {
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let recorder = Recorder::accepting();
    let port = Port { signal: Signal::Logs, pipeline: "logs".to_owned(), output: recorder.output() };
    let (_stopper, stop) = Stop::new();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(serve(listener, ServerSettings::default(), Outputs::new(vec![port]), stop));
    for compression in ["gzip", "zstd", "none"] {
        let body = format!(
            "{{endpoint: 'http://{address}', tls: {{insecure: true}}, compression: {compression}, headers: {{x-tenant: blue}}}}"
        );
        let parts = build(&body).expect("built");
        start(&parts).await.expect("started");
        let payload = weir_testkit::payload(Signal::Logs, 0, 5);
        parts.exporter.export(&payload, &Context::default()).await.expect("accepted");
        assert_eq!(recorder.payloads().pop().map(|p| p.to_bytes()), Some(payload.to_bytes()));
    }
}

#[tokio::test]
async fn an_export_before_the_start_may_be_repeated() {
    let parts = build("endpoint: localhost:4317").expect("built");
    let payload = weir_testkit::payload(Signal::Logs, 0, 1);
    let failure = parts.exporter.export(&payload, &Context::default()).await.expect_err("not started");
    assert!(failure.is_retryable());
}

#[test]
fn the_defaults_are_those_of_the_collector() {
    let parts = build("endpoint: localhost:4317").expect("built");
    assert_eq!(parts.delivery, DeliverySettings::default());
    let client = GrpcClientConfig { endpoint: "x:1".to_owned(), ..Config::default().client };
    let host = weir_testkit::host(&Simulation::new(1)).named("otelcol");
    let settings = settings(&client, &host).expect("settings");
    assert_eq!((settings.compression, settings.keep_alive), (weir_otlp::client::Compression::GZIP, None));
    assert!(settings.user_agent.starts_with("otelcol/0.0.0-test ("));
}

#[test]
fn a_ping_has_time_to_be_answered_however_little_is_written() {
    let keep_alive = |keepalive: &str| {
        let node = weir_config::parse_body(&format!("{{endpoint: 'x:1', keepalive: {{{keepalive}}}}}"));
        let path = weir_config::Path::component("exporters", "otlp_grpc");
        let config: Config = weir_config::load(&node.expect("YAML"), &path).expect("settings");
        let settings = settings(&config.client, &weir_testkit::host(&Simulation::new(1))).expect("settings");
        let KeepAlive { time, timeout, .. } = settings.keep_alive.expect("on");
        (time.as_secs(), timeout.as_secs())
    };
    assert_eq!(keep_alive(""), (10, 10));
    assert_eq!(keep_alive("time: 0s, timeout: 0s"), (10, 20), "as in grpc-go");
    assert_eq!(keep_alive("time: 1m, timeout: 3s"), (60, 3));
    let said = refused("{endpoint: 'x:1', keepalive: {timeout: -1s}}");
    assert!(said.contains("keepalive: 'timeout' must be non-negative"), "{said}");
}

#[test]
fn a_queue_that_waits_for_one_attempt_and_keeps_nothing_is_refused() {
    let refused = |queue: &str, retry: &str| {
        build(&format!("endpoint: 'x:1'\nretry_on_failure: {{enabled: {retry}}}\nsending_queue: {{{queue}}}"))
            .err()
    };
    let text = refused("wait_for_result: true", "false").expect("refused");
    assert!(text.contains("`wait_for_result` without `retry_on_failure`"), "{text}");
    assert_eq!(refused("wait_for_result: true", "true"), None);
    assert_eq!(refused("wait_for_result: false", "false"), None);
    assert_eq!(refused("wait_for_result: true, batch: {min_size: 100}", "false"), None, "it batches");
    assert_eq!(refused("wait_for_result: true, enabled: false", "false"), None, "there is no queue");
}

#[test]
fn delivery_follows_the_options() {
    let parts = build(
        "{endpoint: 'x:1', timeout: 7s, retry_on_failure: {enabled: false}, sending_queue: {queue_size: 5, block_on_overflow: true}}",
    )
    .expect("built");
    let queue = parts.delivery.queue.expect("on");
    assert_eq!((parts.delivery.timeout, parts.delivery.retry), (Duration::from_secs(7), None));
    assert_eq!((queue.queue_size, queue.block_on_overflow), (5, true));
    assert_eq!(
        build("{endpoint: 'x:1', sending_queue: {enabled: false}}").expect("built").delivery.queue,
        None
    );
}

#[test]
fn mistakes_are_named_when_the_exporter_is_built() {
    assert!(refused("").contains("requires a non-empty \"endpoint\""));
    assert!(refused("endpoint: 'http://'").contains("requires a non-empty \"endpoint\""));
    for scheme in ["tcp", "grpc", "HTTP"] {
        let said = refused(&format!("endpoint: {scheme}://h:4317"));
        assert!(
            said.ends_with(&format!("a scheme that is not http, https, unix or dns: {scheme}")),
            "{said}"
        );
    }
    assert!(refused("endpoint: localhost").contains("missing port in address"));
    assert!(refused("{endpoint: 'x:1', timeout: -1s}").contains("'timeout' must be non-negative"));
    assert!(refused("{endpoint: 'x:1', timout: 1s}").contains("timout"));
}

#[tokio::test]
async fn missing_certificates_and_authenticators_stop_the_start() {
    let parts = build("{endpoint: 'x:1', tls: {ca_file: /no/ca.pem}}").expect("built");
    assert!(start(&parts).await.expect_err("refused").message().contains("/no/ca.pem"));
    let parts = build("{endpoint: 'x:1', auth: {authenticator: basicauth}}").expect("built");
    assert!(start(&parts).await.expect_err("refused").message().contains("authenticator not found"));
}

#[test]
fn the_example_in_the_readme_builds() {
    let readme = include_str!("../README.md");
    let yaml = readme.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let node = weir_config::parse_body(yaml).expect("YAML");
    let body = node.get(&["exporters", "otlp_grpc"]).expect("the exporter");
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let path = weir_config::Path::component("exporters", "otlp_grpc");
    let build = Build { id: "otlp_grpc", node: body, path, host: &host, clock: simulation.clock() };
    assert!((FACTORY.create)(&build, Signal::Traces).is_ok());
}
