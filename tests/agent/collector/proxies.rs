//! Proxies of the environment: Weir and a Collector ask the same of them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::backends::servers::{Fleet, free_ports, install, post, weir};

/// A proxy that remembers what it is asked for and does nothing of it.
struct Proxy {
    url: String,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://me:word@{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                kept.lock().unwrap().extend(asks(&client));
            }
        });
        Proxy { url, asked }
    }
}

/// The first line of a request, once its sender has said who it is.
fn asks(client: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(client).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut rest = lines.take_while(|line| !line.is_empty());
    let known = rest.any(|line| line.eq_ignore_ascii_case("proxy-authorization: Basic bWU6d29yZA=="));
    known.then_some(first)
}

#[test]
fn the_proxies_of_the_environment_are_asked_for_the_same() {
    let exporters = "exporters:\n  otlp_grpc: {endpoint: \"backend.invalid:4317\", tls: {insecure: true}}\n  \
                     otlp_grpc/direct: {endpoint: \"direct.invalid:4317\", tls: {insecure: true}}\n  \
                     otlp_http: {endpoint: \"http://backend.invalid:4318\"}\n  \
                     otlp_http/secure: {endpoint: \"https://secure.invalid\"}\n  \
                     otlp_http/direct: {endpoint: \"http://sub.direct.invalid:4318\"}\n  \
                     otlp_http/own: {endpoint: \"http://own.direct.invalid:4318\", proxy_url: \"${env:HTTP_PROXY}\"}\n";
    let all = "otlp_grpc, otlp_grpc/direct, otlp_http, otlp_http/secure, otlp_http/direct, otlp_http/own";
    let expected: BTreeSet<String> = [
        "CONNECT backend.invalid:4317 HTTP/1.1",
        "CONNECT secure.invalid:443 HTTP/1.1",
        "POST http://backend.invalid:4318/v1/traces HTTP/1.1",
        "POST http://own.direct.invalid:4318/v1/traces HTTP/1.1",
    ]
    .map(str::to_owned)
    .into();
    for name in ["weir", "otelcol"] {
        let (proxy, mut fleet, [entry]) = (Proxy::start(), Fleet::new(), free_ports());
        let config = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{entry}\"}}}}}}}}\n{exporters}\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  \
             pipelines: {{traces: {{receivers: [otlp], exporters: [{all}]}}}}\n"
        );
        let config = fleet.write("config.yaml", &config);
        let mut command = match name {
            "weir" => weir(&config),
            _ => {
                let [bin] = install(["otelcol"]);
                let mut command = Command::new(bin.join("otelcol"));
                command.arg("--config").arg(&config);
                command
            }
        };
        command
            .env("HTTP_PROXY", &proxy.url)
            .env("HTTPS_PROXY", &proxy.url)
            .env("NO_PROXY", "direct.invalid");
        fleet.start(name, &mut command);
        let body = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"a"}]}]}]}"#;
        let sent = || post(entry, "/v1/traces", "application/json", body).filter(|a| a.status == 200);
        fleet.wait("an accepted request", 60, || sent().map(drop));
        let asked =
            || Some(proxy.asked.lock().unwrap().clone()).filter(|asked| asked.len() >= expected.len());
        assert_eq!(fleet.wait("all that is asked of the proxy", 60, asked), expected, "{name}");
    }
}
