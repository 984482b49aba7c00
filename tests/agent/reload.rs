//! Reloads that change what is behind a port: who sends over gRPC does not notice them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime;
use tokio::task::JoinSet;
use weir_pdata::Payload;
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::{LogsRequest, kv};

use crate::collector::sink::{Received, Sink};
use crate::support::{Agent, LONG, closed_port, free_port, get, post, wait_until};

/// Senders that share the connection.
const SENDERS: usize = 4;
/// Requests between two reloads.
const BETWEEN: usize = 100;

/// What senders and test tell each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicI64,
    accepted: AtomicUsize,
}

/// A gRPC message with one record of that id.
fn message(id: i64) -> Bytes {
    let record = LogRecord { attributes: vec![kv("id", id)], ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let logs = ResourceLogs { scope_logs, ..Default::default() };
    let payload: Payload = LogsRequest { resource_logs: vec![logs] }.into();
    let bytes = payload.to_bytes();
    let length = u32::try_from(bytes.len()).expect("small").to_be_bytes();
    [&[0][..], &length, &bytes].concat().into()
}

/// Sends over the one connection that there is, until told to stop; what went wrong.
async fn send(
    mut connection: SendRequest<Full<Bytes>>,
    port: u16,
    shared: Arc<Shared>,
) -> Result<(), String> {
    let uri = format!("http://127.0.0.1:{port}/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    while !shared.stop.load(Ordering::Relaxed) {
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let request = Request::post(&uri).header("content-type", "application/grpc").header("te", "trailers");
        let request = request.body(Full::new(message(id))).expect("a request");
        connection.ready().await.map_err(|e| format!("{id}: the connection ends: {e}"))?;
        let response = connection.send_request(request).await.map_err(|e| format!("{id}: {e}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("{id}: {e}"))?;
        let status = head.headers.get("grpc-status").or(body.trailers().and_then(|t| t.get("grpc-status")));
        if status.is_none_or(|status| status != "0") {
            return Err(format!("{id}: {:?}, {:?}", head, body.trailers()));
        }
        shared.accepted.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Connects once and lets all senders use that; what went wrong, and whether the connection is still open when they stop.
async fn send_all(port: u16, shared: Arc<Shared>) -> Vec<String> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let senders = (0..SENDERS).map(|_| send(sender.clone(), port, Arc::clone(&shared)));
    let mut errors: Vec<String> = join_all(senders).await.into_iter().filter_map(Result::err).collect();
    // It has ended by now if the agent has closed it, or has said that it will.
    if let Some(ended) = driver.try_join_next() {
        errors.push(format!("the connection was closed: {ended:?}"));
    }
    errors
}

/// The agent, in one of the ways in which a reload may change what is behind its port. However slow the sink is, it refuses
/// nothing and sends nothing twice.
fn yaml(grpc: u16, sink: u16, way: usize) -> String {
    let (processors, exporter) = match way % 4 {
        0 => ("", "a"),
        1 => ("batch", "b"),
        2 => ("attributes", "b"),
        _ => ("attributes, batch", "a"),
    };
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}}}}}}}\n\
         processors:\n  batch: {{timeout: {}ms}}\n  attributes: {{actions: [{{key: way, value: {way}, action: insert}}]}}\n\
         exporters:\n  otlp_http: {{endpoint: 'http://127.0.0.1:{sink}/{exporter}', compression: none, timeout: 60s, \
         sending_queue: {{block_on_overflow: true}}}}\n\
         service:\n  pipelines: {{logs: {{receivers: [otlp], processors: [{processors}], exporters: [otlp_http]}}}}\n\
         \x20 telemetry: {{metrics: {{level: none}}}}\n",
        10 + way
    )
}

/// How often each id came.
fn arrived(sink: &Sink) -> BTreeMap<i64, usize> {
    let ids = |received: &Received| -> Vec<i64> {
        let logs = received.payload.decode_logs();
        let scopes = logs.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let records = scopes.flat_map(|scope| scope.log_records);
        let id = |record: LogRecord| match record.attributes.first()?.value.as_ref()?.value {
            Some(Value::IntValue(id)) => Some(id),
            _ => None,
        };
        records.map(|record| id(record).expect("an id")).collect()
    };
    let mut times = BTreeMap::new();
    for id in ["a", "b"].into_iter().flat_map(|exporter| sink.of(exporter, ids)).flatten() {
        *times.entry(id).or_default() += 1;
    }
    times
}

#[test]
fn who_sends_over_one_grpc_connection_does_not_notice_reloads_of_what_is_behind_the_port() {
    let (sink, grpc) = (Sink::start(), free_port());
    let agent = Agent::start(&yaml(grpc, sink.port, 0), 0);
    let shared = Arc::new(Shared::default());
    let sending = Arc::clone(&shared);
    let client = std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(send_all(grpc, sending))
    });
    let more_are_accepted = || {
        let enough = shared.accepted.load(Ordering::Relaxed) + BETWEEN;
        let is_enough = || shared.accepted.load(Ordering::Relaxed) >= enough || client.is_finished();
        wait_until(LONG, || is_enough().then_some(())).expect("requests are accepted");
    };
    for way in 1..=6 {
        more_are_accepted();
        fs::write(agent.config(), yaml(grpc, sink.port, way)).expect("written");
        agent.signal("HUP");
        let updated = || (agent.log().matches("Config updated.").count() == way).then_some(());
        wait_until(LONG, updated).unwrap_or_else(|| panic!("reload {way}: {}", agent.log()));
    }
    more_are_accepted();
    shared.stop.store(true, Ordering::Relaxed);
    let errors = client.join().expect("the client ends");
    assert!(errors.is_empty(), "{errors:#?}\n{}", agent.log());
    let sent: BTreeMap<i64, usize> = (0..shared.next.load(Ordering::Relaxed)).map(|id| (id, 1)).collect();
    assert!(sent.len() >= 7 * BETWEEN, "{} requests", sent.len());
    wait_until(LONG, || (arrived(&sink).len() >= sent.len()).then_some(()));
    assert_eq!(arrived(&sink), sent);
}

#[test]
fn pages_are_those_of_the_new_configuration_while_an_old_exporter_has_what_it_cannot_deliver() {
    let [http, changed, removed] = [(); 3].map(|()| free_port());
    let down = closed_port();
    let yaml = |path: &str, extensions: &str, timeout: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{http}'}}}}}}}}\n\
             exporters: {{otlp_http: {{endpoint: 'http://127.0.0.1:{down}', timeout: {timeout}, \
             retry_on_failure: {{max_elapsed_time: 0}}}}}}\n\
             extensions:\n  health_check: {{endpoint: '127.0.0.1:{changed}', path: {path}}}\n  zpages: {{endpoint: \
             '127.0.0.1:{removed}'}}\n\
             service:\n  extensions: [{extensions}]\n  pipelines: {{logs: {{receivers: [otlp], exporters: [otlp_http]}}}}\n\
             \x20 telemetry: {{metrics: {{level: none}}}}\n"
        )
    };
    let agent = Agent::start(&yaml("/old", "health_check, zpages", "5s"), removed);
    let answer = post(http, "/v1/logs", r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#)
        .expect("an answer");
    assert_eq!((answer.status, get(changed, "/old").map(|a| a.status)), (200, Some(200)));
    fs::write(agent.config(), yaml("/new", "health_check", "6s")).expect("written");
    agent.signal("HUP");
    agent.wait_for_log("Config updated.");
    let gone = || get(removed, "/leaks.json").is_none().then_some(());
    assert!(wait_until(LONG, gone).is_some(), "zpages still answers");
    let is_new = || get(changed, "/new").is_some_and(|answer| answer.status == 200);
    let all_new = || (0..20).all(|_| is_new()).then_some(());
    assert!(wait_until(LONG, all_new).is_some(), "the old health_check still answers");
}

/// A client that has had an answer and keeps its connection.
fn rests(port: u16, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    client.write_all(request.as_bytes()).expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&head));
    client
}

#[test]
fn a_stop_after_a_reload_does_not_wait_for_clients_that_rest() {
    let [http, pages] = [(); 2].map(|()| free_port());
    let yaml = |changed: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{http}'{changed}}}}}}}}}\n\
             exporters: {{nop: }}\nextensions: {{zpages: {{endpoint: '127.0.0.1:{pages}'{changed}}}}}\n\
             service:\n  extensions: [zpages]\n  pipelines: {{logs: {{receivers: [otlp], exporters: [nop]}}}}\n\
             \x20 telemetry: {{metrics: {{level: none}}}}\n"
        )
    };
    // Receivers have half of it, and extensions a second more: less than clients may rest after a reload.
    let mut agent = Agent::spawn_with(&yaml(""), pages, |mut own| {
        own.args(["--shutdown-timeout", "4s"]);
        own
    });
    agent.wait_for_log("Everything is ready.");
    let [page, export] =
        [("GET", "/leaks.json", ""), ("POST", "/v1/logs", "{}")].map(|(method, path, body)| {
            format!(
                "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
                 {body}",
                body.len()
            )
        });
    let _before = [rests(pages, &page), rests(http, &export)];
    fs::write(agent.config(), yaml(", response_headers: {x-changed: 'yes'}")).expect("written");
    agent.signal("HUP");
    agent.wait_for_log("Config updated.");
    let _after = [rests(pages, &page), rests(http, &export)];
    agent.signal("TERM");
    let code = agent.wait_for_exit().code();
    assert!(code == Some(0) && !agent.log().contains("Did not end in time"), "{code:?}:\n{}", agent.log());
}
