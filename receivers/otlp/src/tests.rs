use std::collections::BTreeMap;

use futures_util::future::join;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_component::{Host, Outputs, Port, Stop, Stopper};
use weir_otlp::client::{GrpcClient, GrpcSettings, HttpClient, HttpSettings, Target};
use weir_otlp::http_server::ServerLimits;
use weir_pdata::Payload;
use weir_pdata::otlp::kv;
use weir_testkit::{Recorder, Simulation};

use super::*;

fn build(simulation: &Simulation, body: &str) -> Result<Box<dyn Receiver>, String> {
    let node = weir_config::parse_body(body).expect("YAML");
    let host: Host = weir_testkit::host(simulation);
    let path = weir_config::Path::component("receivers", "otlp");
    let build = Build { id: "otlp", node: &node, path, host: &host, clock: simulation.clock() };
    (FACTORY.create)(&build).map_err(|e| e.to_string())
}

fn context(simulation: &Simulation, recorder: &Recorder, signals: &[Signal]) -> (ReceiverContext, Stopper) {
    let (stopper, stop) = Stop::new();
    let port =
        |signal: &Signal| Port { signal: *signal, pipeline: signal.to_string(), output: recorder.output() };
    let outputs = Outputs::new(signals.iter().map(port).collect());
    let (clock, host) = (simulation.clock(), weir_testkit::host(simulation));
    (ReceiverContext { id: "otlp".to_owned(), outputs, stop, clock, host }, stopper)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.local_addr().expect("address").port()
}

/// Sends over gRPC to one port and over HTTP to a path of the other; both have to accept it.
async fn send_by_both(payload: &Payload, grpc: u16, http: u16, path: &str) {
    let target = Target::Tcp("127.0.0.1".to_owned(), grpc);
    GrpcClient::new(GrpcSettings::new(target)).expect("client").export(payload).await.expect("accepted");
    let url = format!("http://127.0.0.1:{http}/{path}");
    HttpClient::new(HttpSettings::new(&url)).expect("client").export(payload).await.expect("accepted");
}

#[tokio::test]
async fn both_protocols_are_served_at_their_endpoints_until_the_stop() {
    let simulation = Simulation::new(1);
    let recorder = Recorder::accepting();
    let (grpc, http) = (free_port(), free_port());
    let body = format!(
        "protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}', logs_url_path: in}}}}"
    );
    let mut receiver = build(&simulation, &body).expect("built");
    assert_eq!(receiver.transports(), ["grpc", "http"]);
    let (cx, stopper) = context(&simulation, &recorder, &[Signal::Logs]);
    receiver.start(&cx).await.expect("started");
    let use_it = async {
        send_by_both(&weir_testkit::payload(Signal::Logs, 0, 3), grpc, http, "in").await;
        drop(stopper);
    };
    let (ended, ()) = join(receiver.run(cx), use_it).await;
    ended.expect("ended well");
    assert_eq!(recorder.payloads().iter().map(|p| p.items()).collect::<Vec<_>>(), [3, 3]);
    std::net::TcpListener::bind(("127.0.0.1", grpc)).expect("the port is free again");
}

#[tokio::test]
async fn a_taken_port_stops_the_start_with_the_cure() {
    let simulation = Simulation::new(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("address");
    let mut receiver =
        build(&simulation, &format!("protocols: {{grpc: {{endpoint: '{address}'}}}}")).expect("built");
    let (cx, _stopper) = context(&simulation, &Recorder::accepting(), &[Signal::Logs]);
    let failure = receiver.start(&cx).await.expect_err("taken");
    assert!(
        failure.message().starts_with(&format!("listen tcp {address}: bind: address already in use; ")),
        "{failure}"
    );
}

#[tokio::test]
async fn signals_that_are_served_at_one_path_stop_the_start_with_the_cure() {
    let simulation = Simulation::new(1);
    let recorder = Recorder::accepting();
    let cases: [(&str, &[Signal], Option<&str>); 4] = [
        ("logs_url_path: /v1/traces", &Signal::ALL, Some("traces and logs are both taken at \"/v1/traces\"")),
        (
            "metrics_url_path: v1development/profiles",
            &Signal::ALL,
            Some("metrics and profiles are both taken at \"/v1development/profiles\""),
        ),
        ("logs_url_path: /v1/traces", &[Signal::Logs, Signal::Metrics], None),
        ("logs_url_path: /v1/traces, traces_url_path: /v1/logs", &Signal::ALL, None),
    ];
    for (paths, signals, refused) in cases {
        let body = format!("protocols: {{http: {{endpoint: '127.0.0.1:0', {paths}}}}}");
        let mut receiver = build(&simulation, &body).expect("built");
        let (cx, _stopper) = context(&simulation, &recorder, signals);
        let failure = receiver.start(&cx).await.err().map(|failure| failure.message().to_owned());
        match refused {
            None => assert_eq!(failure, None, "{paths}"),
            Some(what) => {
                let failure = failure.expect("refused");
                assert!(failure.contains(what) && failure.contains("`logs_url_path`"), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_should_check_its_callers_does_not_start_without() {
    let simulation = Simulation::new(1);
    let body = "protocols: {grpc: {endpoint: '127.0.0.1:0', auth: {authenticator: basicauth}}}";
    let mut receiver = build(&simulation, body).expect("built");
    let (cx, _stopper) = context(&simulation, &Recorder::accepting(), &[Signal::Logs]);
    let failure = receiver.start(&cx).await.expect_err("refused");
    assert!(failure.message().contains("failed to resolve authenticator \"basicauth\""), "{failure}");
}

#[tokio::test]
async fn missing_certificates_stop_the_start() {
    let simulation = Simulation::new(1);
    let body =
        "protocols: {http: {endpoint: '127.0.0.1:0', tls: {cert_file: /no/cert.pem, key_file: /no/key.pem}}}";
    let mut receiver = build(&simulation, body).expect("built");
    let (cx, _stopper) = context(&simulation, &Recorder::accepting(), &[Signal::Logs]);
    let failure = receiver.start(&cx).await.expect_err("refused");
    assert!(failure.message().contains("/no/cert.pem"), "{failure}");
}

#[test]
fn a_receiver_without_protocols_is_refused() {
    let simulation = Simulation::new(1);
    for body in ["", "protocols:", "protocols: {}"] {
        let error = build(&simulation, body).err().expect("refused");
        assert!(error.contains("must specify at least one protocol when using the OTLP receiver"), "{error}");
    }
    let error = build(&simulation, "protocols: {grcp: }").err().expect("refused");
    assert!(error.contains("grcp"), "{error}");
}

#[test]
fn the_options_of_the_collector_are_taken() {
    let simulation = Simulation::new(1);
    let body = "
protocols:
  grpc:
    endpoint: localhost:4317
    transport: tcp
    max_recv_msg_size_mib: 64
    max_concurrent_streams: 16
    read_buffer_size: 1024
    write_buffer_size: 1024
    include_metadata: true
    keepalive:
      server_parameters: {max_connection_idle: 11s, max_connection_age: 12s, max_connection_age_grace: 13s, time: 30s, timeout: 5s}
      enforcement_policy: {min_time: 10s, permit_without_stream: true}
  http:
    endpoint: localhost:4318
    max_request_body_size: 1000
    include_metadata: true
    response_headers: {x-agent: weir}
    compression_algorithms: ['', gzip]
    cors: {allowed_origins: ['https://*.example'], allowed_headers: ['*'], max_age: 7200}
    read_header_timeout: 3s
    idle_timeout: 4s
    read_timeout: 5s
    keep_alives_enabled: false
";
    build(&simulation, body).expect("built");
    let node = weir_config::parse_body(body).expect("YAML");
    let config: Config =
        weir_config::load(&node, &weir_config::Path::component("receivers", "otlp")).expect("valid");
    let grpc = config.protocols.grpc.as_ref().expect("on").settings();
    let second = std::time::Duration::from_secs;
    assert_eq!(
        (grpc.max_message, grpc.limits.max_concurrent_streams, grpc.include_metadata),
        (64 << 20, 16, true)
    );
    assert_eq!(grpc.limits.max_connection_age, Some(second(12)));
    let policy = grpc.limits.ping_policy.map(|policy| (policy.min_time, policy.permit_without_stream));
    assert_eq!(policy, Some((second(10), true)));
    assert_eq!((grpc.limits.ping_interval, grpc.limits.ping_timeout), (Some(second(30)), second(5)));
    let http = config.protocols.http.as_ref().expect("on").settings().expect("settings");
    assert_eq!(
        (http.max_body, http.limits.head_timeout, http.limits.body_timeout),
        (1000, second(3), second(5))
    );
    assert_eq!((http.limits.idle_timeout, http.limits.keep_alive), (Some(second(4)), false));
    assert_eq!(http.cors.map(|c| c.max_age), Some(second(7200)));
    assert_eq!(http.content_encodings, Some(vec![String::new(), "gzip".to_owned()]));
}

#[test]
fn without_options_a_port_has_the_limits_that_the_readme_tells() {
    let node = weir_config::parse_body("protocols: {grpc: , http: }").expect("YAML");
    let config: Config =
        weir_config::load(&node, &weir_config::Path::component("receivers", "otlp")).expect("valid");
    let grpc = config.protocols.grpc.as_ref().expect("on").settings();
    let http = config.protocols.http.as_ref().expect("on").settings().expect("settings");
    assert_eq!((grpc.max_message, http.max_body), (4 << 20, 20 << 20));
    let second = std::time::Duration::from_secs;
    for limits in [grpc.limits, http.limits] {
        // All of them, so that a new one has to be thought of here.
        let expected = ServerLimits {
            http: limits.http,
            for_use: limits.for_use,
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            make_room: false,
            max_concurrent_streams: 100,
            max_header_bytes: 16 << 10,
            handshake_timeout: second(5),
            head_timeout: second(10),
            idle_timeout: Some(second(120)),
            body_timeout: second(60),
            min_body_rate: 1024,
            body_look: second(10),
            write_timeout: second(60),
            answer_timeout: None,
            ping_interval: Some(second(60)),
            ping_timeout: second(20),
            ping_policy: None,
            max_connection_idle: None,
            max_connection_age: Some(second(30 * 60)),
            max_connection_age_grace: None,
            keep_alive: true,
            check_host: false,
        };
        assert_eq!(limits, expected);
    }
}

#[tokio::test]
async fn without_options_a_client_of_http2_is_told_how_much_it_may_send_at_once() {
    let simulation = Simulation::new(1);
    let (grpc, http) = (free_port(), free_port());
    let body = format!(
        "protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}'}}}}"
    );
    let mut receiver = build(&simulation, &body).expect("built");
    let (cx, stopper) = context(&simulation, &Recorder::accepting(), &[Signal::Logs]);
    receiver.start(&cx).await.expect("started");
    let ask = async {
        let told = [told_by(grpc).await, told_by(http).await];
        drop(stopper);
        told
    };
    let (_, told) = join(receiver.run(cx), ask).await;
    // MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE.
    let settings = |frame| [(3, 100), (4, 1 << 20), (5, frame), (6, 16 << 10)].into();
    let window = (4 << 20) - 65_535;
    assert_eq!(told, [(settings(256 << 10), window), (settings(16 << 10), window)]);
}

/// The first settings of a server, and by how much it opens the window of the connection.
async fn told_by(port: u16) -> (BTreeMap<u16, u32>, u32) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(hello).await.expect("written");
    let mut told = BTreeMap::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.expect("all of it");
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        match head[3] {
            4 => told.extend(payload.chunks(6).map(|s| (u16::from_be_bytes([s[0], s[1]]), number(&s[2..])))),
            8 => return (told, number(&payload)),
            _ => {}
        }
    }
}

#[test]
fn how_many_connections_a_port_takes_is_set_for_each_and_printed_only_where_it_is_set() {
    let limits_of = |body: &str| {
        let node = weir_config::parse_body(body).expect("YAML");
        let path = weir_config::Path::component("receivers", "otlp");
        let config: Config = weir_config::load(&node, &path).expect("valid");
        let http = config.protocols.http.as_ref().expect("on").settings().expect("settings").limits;
        let grpc = config.protocols.grpc.as_ref().expect("on").settings().limits;
        let printed = FACTORY.options.read(&node, &path).settings.expect("settings");
        let printed = printed.to_yaml(weir_config::Secrets::Redacted).expect("printed");
        let limits = [grpc, http].map(|l| (l.max_connections, l.max_connections_per_address));
        (limits, printed.matches("max_connections").count())
    };
    let defaults = (10_000, 1_000);
    assert_eq!(limits_of("protocols: {grpc: , http: }"), ([defaults; 2], 0));
    let body = "protocols: {grpc: {max_connections: 20000}, http: {max_connections_per_address: 7}}";
    assert_eq!(limits_of(body), ([(20_000, 1_000), (10_000, 7)], 2));
    let body = "protocols: {grpc: {max_connections: -1}}";
    let error = build(&Simulation::new(1), body).err().expect("refused");
    assert!(error.contains("max_connections"), "{error}");
}

#[tokio::test]
async fn what_there_is_no_memory_for_is_counted_at_its_port() {
    let (simulation, recorder) = (Simulation::new(1), Recorder::accepting());
    let (grpc, http) = (free_port(), free_port());
    let body = format!(
        "protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}'}}}}"
    );
    let mut receiver = build(&simulation, &body).expect("built");
    let (cx, stopper) = context(&simulation, &recorder, &[Signal::Logs]);
    receiver.start(&cx).await.expect("started");
    let host = cx.host.clone();
    let refused = || {
        let of = |s: &weir_component::Sample| s.name == "otelcol_receiver_refused_requests";
        host.stats().samples().into_iter().filter(of).map(|s| (s.labels[1].1.clone(), s.value)).collect()
    };
    let counts = |grpc, http| -> Vec<(String, u64)> { vec![("grpc".into(), grpc), ("http".into(), http)] };
    let payload = weir_testkit::payload(Signal::Logs, 0, 3);
    let use_it = async {
        send_by_both(&payload, grpc, http, "v1/logs").await;
        let before: Vec<_> = refused();
        host.budget().set_limit(1 << 20);
        let mut others = host.budget().begin();
        others.force(1 << 20);
        let target = Target::Tcp("127.0.0.1".to_owned(), grpc);
        let client = GrpcClient::new(GrpcSettings::new(target)).expect("client");
        assert!(client.export(&payload).await.expect_err("refused").is_retryable());
        let url = format!("http://127.0.0.1:{http}/v1/logs");
        let client = HttpClient::new(HttpSettings::new(&url)).expect("client");
        assert!(client.export(&payload).await.expect_err("refused").is_retryable());
        drop(stopper);
        (before, refused())
    };
    let (_, seen) = join(receiver.run(cx), use_it).await;
    assert_eq!(seen, (counts(0, 0), counts(1, 1)));
    assert_eq!(recorder.payloads().len(), 2);
}

#[tokio::test]
async fn attributes_beyond_their_limits_are_cut_away_and_counted_by_either_protocol() {
    let simulation = Simulation::new(1);
    let recorder = Recorder::accepting();
    let (grpc, http) = (free_port(), free_port());
    let body = format!(
        "
protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}'}}}}
attribute_limits: {{attribute_count_limit: 2, attribute_value_length_limit: 4, attribute_key_length_limit: 5}}"
    );
    let mut receiver = build(&simulation, &body).expect("built");
    let (cx, stopper) = context(&simulation, &recorder, &[Signal::Logs]);
    receiver.start(&cx).await.expect("started");
    let host = cx.host.clone();
    let mut request = weir_testkit::payload(Signal::Logs, 0, 1).decode_logs();
    let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
    record.attributes = vec![kv("too long", 1), kv("text", "größer"), kv("n", 1), kv("more", 2)];
    let mut expected = request.clone();
    let record = &mut expected.resource_logs[0].scope_logs[0].log_records[0];
    record.attributes = vec![kv("text", "größ"), kv("n", 1)];
    record.dropped_attributes_count = 2;
    let payload = request.into();
    let use_it = async {
        send_by_both(&payload, grpc, http, "v1/logs").await;
        drop(stopper);
    };
    join(receiver.run(cx), use_it).await.0.expect("ended well");
    let taken: Vec<_> = recorder.payloads().iter().map(|p| p.decode_logs()).collect();
    assert_eq!(taken, [expected.clone(), expected]);
    let counted = |name: &str| host.stats().samples().iter().find(|s| s.name == name).map(|s| s.value);
    assert_eq!(counted("otelcol_receiver_dropped_attributes"), Some(4));
    assert_eq!(counted("otelcol_receiver_truncated_attributes"), Some(2));
}

#[test]
fn attributes_have_no_limits_unless_they_are_asked_for() {
    let read = |body: &str| {
        let node = weir_config::parse_body(body).expect("YAML");
        let path = weir_config::Path::component("receivers", "otlp");
        let config: Config = weir_config::load(&node, &path).expect("valid");
        let printed = FACTORY.options.read(&node, &path).settings.expect("settings");
        (config.attribute_limits.limits(), printed.to_yaml(weir_config::Secrets::Redacted).expect("printed"))
    };
    for body in ["protocols: {grpc: }", "{protocols: {grpc: }, attribute_limits: }"] {
        let (limits, printed) = read(body);
        assert!(limits.is_none() && !printed.contains("attribute"), "{printed}");
    }
    let (limits, printed) = read("{protocols: {grpc: }, attribute_limits: {attribute_count_limit: 0}}");
    let none = weir_pdata::edit::AttributeLimits::default();
    assert_eq!(limits, Some(weir_pdata::edit::AttributeLimits { count: 0, ..none }));
    assert!(printed.contains("attribute_count_limit: 0") && !printed.contains("length"), "{printed}");
    let body = "{protocols: {grpc: }, attribute_limits: {attribute_count_limit: -1}}";
    let error = build(&Simulation::new(1), body).err().expect("refused");
    assert!(error.contains("attribute_count_limit"), "{error}");
}

#[test]
fn a_response_header_that_cannot_be_sent_is_a_mistake_in_the_configuration() {
    for (header, words) in [
        ("'a b': x", "response_headers: \"a [REDACTED]\" is not a header name"),
        ("Content-Length: '7'", "response_headers: \"content-length\" follows from each answer"),
    ] {
        let body = format!("protocols: {{http: {{response_headers: {{{header}}}}}}}");
        let error = build(&Simulation::new(1), &body).err().expect("refused");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_example_in_the_readme_builds() {
    let readme = include_str!("../README.md");
    let yaml = readme.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let node = weir_config::parse_body(yaml).expect("YAML");
    let body = node.get(&["receivers", "otlp"]).expect("the receiver").clone();
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let path = weir_config::Path::component("receivers", "otlp");
    let build = Build { id: "otlp", node: &body, path, host: &host, clock: simulation.clock() };
    assert!((FACTORY.create)(&build).is_ok());
}
