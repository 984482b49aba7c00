use std::time::Duration;

use weir_component::{DeliverySettings, Outputs, Port, Stop};
use weir_otlp::Listener;
use weir_otlp::server::{ServerSettings, serve};
use weir_testkit::{Recorder, Simulation};

use super::*;

fn build_for(signal: Signal, body: &str) -> Result<ExporterParts, String> {
    let simulation = Simulation::new(1);
    let node = weir_config::parse_body(body).expect("YAML");
    let host = weir_testkit::host(&simulation);
    let path = weir_config::Path::component("exporters", "otlp_http");
    let build = Build { id: "otlp_http", node: &node, path, host: &host, clock: simulation.clock() };
    (FACTORY.create)(&build, signal).map_err(|e| e.to_string())
}

fn refused(body: &str) -> String {
    build_for(Signal::Logs, body).err().expect("refused")
}

async fn start(parts: &ExporterParts) -> Result<(), Failure> {
    parts.exporter.start(&weir_testkit::host(&Simulation::new(1))).await
}

#[tokio::test]
async fn what_is_exported_arrives_in_both_encodings() {
    let listener = Listener::tcp("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let recorder = Recorder::accepting();
    let port = |signal: Signal| Port { signal, pipeline: signal.to_string(), output: recorder.output() };
    let (_stopper, stop) = Stop::new();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(serve(
        listener,
        ServerSettings::default(),
        Outputs::new(Signal::ALL.map(port).to_vec()),
        stop,
    ));
    for options in ["", ", compression: zstd", ", encoding: json", ", compression: none, encoding: json"] {
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            let parts =
                build_for(signal, &format!("{{endpoint: 'http://{address}/'{options}}}")).expect("built");
            start(&parts).await.expect("started");
            let payload = weir_testkit::payload(signal, 0, 5);
            parts.exporter.export(&payload, &Context::default()).await.expect("accepted");
            let arrived = recorder.payloads().pop().expect("arrived");
            assert_eq!((arrived.signal(), arrived.items()), (signal, payload.items()), "{options}");
        }
    }
}

fn url(signal: Signal, body: &str) -> Result<String, String> {
    let node = weir_config::parse_body(body).expect("YAML");
    let path = weir_config::Path::component("exporters", "otlp_http");
    weir_config::load::<Config>(&node, &path).expect("valid").url(signal)
}

#[test]
fn the_path_of_the_signal_goes_behind_the_endpoint_with_one_slash() {
    let expected = Ok("http://x:4318/base/v1/traces".to_owned());
    assert_eq!(url(Signal::Traces, "endpoint: http://x:4318/base"), expected);
    assert_eq!(url(Signal::Traces, "endpoint: http://x:4318/base/"), expected);
    assert_eq!(url(Signal::Profiles, "endpoint: http://x"), Ok("http://x/v1development/profiles".to_owned()));
}

#[test]
fn the_endpoint_of_a_signal_is_used_as_it_is() {
    let body = "{endpoint: 'http://x', metrics_endpoint: 'http://y:9090/api/v1/otlp/v1/metrics'}";
    assert_eq!(url(Signal::Metrics, body), Ok("http://y:9090/api/v1/otlp/v1/metrics".to_owned()));
    assert_eq!(url(Signal::Logs, body), Ok("http://x/v1/logs".to_owned()));
}

#[test]
fn the_defaults_are_those_of_the_collector() {
    let parts = build_for(Signal::Logs, "endpoint: http://localhost:4318").expect("built");
    assert_eq!(
        parts.delivery,
        DeliverySettings { timeout: Duration::from_secs(30), ..DeliverySettings::default() }
    );
    let config = Config::default();
    assert_eq!(config.client.compression, weir_config::net::Compression::Gzip);
}

#[test]
fn mistakes_are_named_when_the_exporter_is_built() {
    assert!(refused("").contains("at least one endpoint must be specified"));
    assert!(
        refused("traces_endpoint: http://x/").contains("either endpoint or logs_endpoint must be specified")
    );
    let secret = refused("endpoint: 'me:secret@host'");
    assert!(secret.contains("http:// or https://") && !secret.contains("secret"), "{secret}");
    let secret = refused("logs_endpoint: 'http://me:sec^ret@host'");
    assert!(secret.contains("logs_endpoint: invalid uri") && !secret.contains("sec"), "{secret}");
    assert!(refused("{endpoint: 'http://x', encoding: xml}").contains("xml"));
    assert!(refused("{endpoint: 'http://x', proxy_url: 'ftp://p'}").contains("http://, https://, socks5://"));
    assert!(refused("{endpoint: 'http://x', timeout: -1s}").contains("'timeout' must be non-negative"));
    assert!(
        refused("{endpoint: 'http://x', headers: {'a b': c}}")
            .contains("\"a [REDACTED]\" is not a header name")
    );
}

#[tokio::test]
async fn missing_certificates_stop_the_start_whatever_the_scheme() {
    let with = |scheme: &str| format!("{{endpoint: '{scheme}://x', tls: {{ca_file: /no/ca.pem}}}}");
    for scheme in ["https", "http"] {
        let parts = build_for(Signal::Logs, &with(scheme)).expect("built");
        assert!(start(&parts).await.expect_err("refused").message().contains("/no/ca.pem"), "{scheme}");
    }
}

#[test]
fn the_example_in_the_readme_builds() {
    let readme = include_str!("../README.md");
    let yaml = readme.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let node = weir_config::parse_body(yaml).expect("YAML");
    let exporters = node.get(&["exporters"]).and_then(|n| n.as_map()).expect("exporters");
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    for (id, body) in exporters.iter() {
        let path = weir_config::Path::component("exporters", &id.name);
        let build = Build { id: &id.name, node: body, path, host: &host, clock: simulation.clock() };
        assert!((FACTORY.create)(&build, Signal::Metrics).is_ok(), "{}", id.name);
    }
    assert_eq!(exporters.iter().count(), 2);
}

#[test]
fn what_is_counted_says_where_it_goes() {
    let attributes = |body| {
        let parts = build_for(Signal::Traces, body).expect("valid");
        let pairs = parts.exporter.attributes().into_iter().map(|a| format!("{}={}", a.key, a.value));
        pairs.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        attributes("endpoint: http://backend:4318/otlp"),
        "server.address=backend url.path=/otlp/v1/traces server.port=4318"
    );
    assert_eq!(attributes("endpoint: https://[::1]"), "server.address=::1 url.path=/v1/traces");
}
