use weir_connection::events::{Client, Connection, Event, Side};
use weir_connection::process::{ProcessInfo, ProcessKey};
use weir_connection::report::{Finding, Process, State};
use weir_connection::spans;
use weir_connection::table::{Change, ConnectionTable};
use weir_pdata::Payload;
use weir_pdata::otlp::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use weir_pdata::otlp::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_pdata::otlp::{LogsRequest, kv};

use super::*;

fn info() -> ProcessInfo {
    let key = ProcessKey { host: "h".into(), pid: 7, start_ticks: 1, instance: String::new() };
    ProcessInfo { key, service: "checkout".into(), instance: "one".into(), ..ProcessInfo::default() }
}

fn leak(target: &str) -> Finding {
    let process = Process { host: "h".into(), pid: 7, ..Process::default() };
    Finding { state: State::Leaking, target: target.into(), process, ..Finding::default() }
}

/// A client of `target` and its connection to `peer`, both with this id.
fn dialled(id: u64, target: &str, peer: &str) -> [Event; 2] {
    let client = Client { id, target: target.into(), ..Client::default() };
    let connection = Connection {
        id,
        side: Side::Client,
        begin: 1,
        active: 1,
        rpcs: 0,
        open_rpcs: 0,
        client: id,
        local: format!("127.0.0.1:{}", 40_000 + id).parse().ok(),
        peer: peer.parse().ok(),
        cookie: 0,
        setup: 0,
    };
    [Event::ClientCreated(client), Event::Begin(connection)]
}

fn ended(id: u64) -> [Event; 2] {
    let end = Event::End { id, time: 9, reason: String::new(), rpcs: 1 };
    [Event::ClientClosed { id, time: 9, collected: false }, end]
}

/// Spans of all changes, as the tracker writes them, in the order of their connections after the processor.
fn spans_of(changes: &[Change], findings: &[Finding], table: &ConnectionTable) -> Vec<Option<String>> {
    let spans = changes.iter().map(|c| spans::of_change(&info().key, c)).collect();
    let mut payload = Payload::from(spans::request(&info(), spans));
    enrich(&mut payload, findings, table);
    let request = payload.decode_traces();
    request.resource_spans[0].scope_spans[0].spans.iter().map(|s| state(&s.attributes)).collect()
}

fn record_of(
    name: &str,
    attributes: Vec<KeyValue>,
    findings: &[Finding],
    table: &ConnectionTable,
) -> Option<String> {
    let record = LogRecord { event_name: name.into(), attributes, ..LogRecord::default() };
    let scope = weir_pdata::otlp::common::v1::InstrumentationScope {
        attributes: vec![kv(events::VERSION_ATTRIBUTE, events::VERSION)],
        ..Default::default()
    };
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() }];
    let resource = Some(info().resource());
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    let mut payload = Payload::from(LogsRequest { resource_logs });
    enrich(&mut payload, findings, table);
    state(&payload.decode_logs().resource_logs[0].scope_logs[0].log_records[0].attributes)
}

fn state(attributes: &[KeyValue]) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == names::LEAK_STATE)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn leaking() -> Option<String> {
    Some("leaking".to_owned())
}

#[test]
fn a_verdict_on_a_named_target_is_on_the_spans_of_its_connections_from_begin_to_end() {
    for (dial, verdict) in [
        ("dns:///orders:50051", "orders:50051"),
        ("orders:50051", "dns:///orders:50051"),
        ("localhost:50051", "localhost:50051"),
    ] {
        let table = ConnectionTable::default();
        let begun =
            [dialled(1, dial, "10.0.0.7:50051"), dialled(2, "users:50051", "10.0.0.8:50051")].concat();
        let setup = table.apply(&info(), 0, 1, begun);
        let findings = [leak(verdict)];
        assert_eq!(spans_of(&setup, &findings, &table), [leaking(), None], "{dial}");
        let lifetime = table.apply(&info(), 0, 9, [ended(1), ended(2)].concat());
        assert_eq!(spans_of(&lifetime, &findings, &table), [leaking(), None], "{dial}");
    }
}

#[test]
fn a_verdict_on_a_named_target_is_on_the_events_that_have_only_an_id() {
    let table = ConnectionTable::default();
    let begun =
        [dialled(1, "dns:///orders:50051", "10.0.0.7:50051"), dialled(2, "users:50051", "10.0.0.8:50051")];
    table.apply(&info(), 0, 1, begun.concat());
    table.apply(&info(), 0, 9, [ended(1), ended(2)].concat());
    let findings = [leak("orders:50051")];
    let end = |id: i64| record_of("grpc.connection.end", vec![kv("connection.id", id)], &findings, &table);
    assert_eq!((end(1), end(2)), (leaking(), None));
    let closed = |id: i64| record_of("grpc.client.closed", vec![kv("grpc.client.id", id)], &findings, &table);
    assert_eq!((closed(1), closed(2)), (leaking(), None));
}

#[test]
fn connections_that_another_agent_tracked_are_matched_by_address() {
    let (here, elsewhere) = (ConnectionTable::default(), ConnectionTable::default());
    let begun = [dialled(1, "localhost:50051", "127.0.0.1:50051"), dialled(2, "localhost:6", "127.0.0.1:6")];
    let changes = elsewhere.apply(&info(), 0, 1, begun.concat());
    assert_eq!(spans_of(&changes, &[leak("localhost:50051")], &here), [leaking(), None]);
}

#[test]
fn a_verdict_on_the_whole_process_is_on_all_of_its_connections_and_on_no_other_process() {
    let table = ConnectionTable::default();
    let changes = table.apply(&info(), 0, 1, dialled(1, "orders:50051", "10.0.0.7:50051").to_vec());
    assert_eq!(spans_of(&changes, &[leak("")], &table), [leaking()]);
    let mut other = leak("");
    other.process.pid = 8;
    assert_eq!(spans_of(&changes, &[other], &table), [None]);
}

#[test]
fn values_that_nest_as_deep_as_they_may_pass_with_the_verdict() {
    let table = ConnectionTable::default();
    table.apply(&info(), 0, 1, dialled(1, "orders:50051", "10.0.0.7:50051").to_vec());
    let mut value = AnyValue { value: Some(Value::IntValue(1)) };
    for _ in 0..weir_pdata::validate::MAX_VALUE_DEPTH {
        value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let attributes = vec![
        kv("grpc.client.id", 1),
        KeyValue { key: "deep".into(), value: Some(value), ..KeyValue::default() },
    ];
    let record = LogRecord { event_name: "grpc.client.closed".into(), attributes, ..LogRecord::default() };
    let scope = weir_pdata::otlp::common::v1::InstrumentationScope {
        attributes: vec![kv(events::VERSION_ATTRIBUTE, events::VERSION)],
        ..Default::default()
    };
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(info().resource()), scope_logs, ..ResourceLogs::default() }];
    let mut payload = Payload::from(LogsRequest { resource_logs });
    enrich(&mut payload, &[leak("")], &table);
    assert_eq!(payload.items(), 1);
    let resource = view::resources(&payload).next().expect("a resource");
    let scope = resource.scopes().next().expect("a scope");
    let record = scope.log_records().next().expect("a record");
    assert_eq!(record.attributes().text(names::LEAK_STATE), Some("leaking"));
    assert!(record.attributes().get("deep").is_some());
}
