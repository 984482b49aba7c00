//! Connection events of other versions, without their other half, and from a clock that is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use weir_connection::report::Finding;

use super::backends::Backend;
use crate::support::{Agent, LONG, free_port, post, wait_until};

const SECOND: u64 = 1_000_000_000;

/// An agent that takes events.
struct Taker {
    agent: Agent,
    events: u16,
}

impl Taker {
    fn new() -> Taker {
        Taker::with_exporter("nop:")
    }

    /// With an exporter of the metrics.
    fn with_exporter(exporter: &str) -> Taker {
        let (events, pages) = (free_port(), free_port());
        let kind = exporter.split(':').next().expect("a type");
        let yaml = format!(
            "receivers:\n  grpc_connections: {{endpoint: \"127.0.0.1:{events}\", collection_interval: 500ms}}\nprocessors:\n  \
             leak_detection: {{window: 5s}}\nexporters:\n  {exporter}\nextensions: {{zpages: {{endpoint: \"127.0.0.1:{pages}\"}}}}\n\
             service:\n  extensions: [zpages]\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
             metrics: {{receivers: [grpc_connections], processors: [leak_detection], exporters: [{kind}]}}\n    \
             logs: {{receivers: [grpc_connections], processors: [leak_detection], exporters: [{kind}]}}\n"
        );
        Taker { agent: Agent::start(&yaml, pages), events }
    }

    /// That gets events by `otlp`, as from a Collector or a queue.
    fn through_otlp() -> Taker {
        let (events, pages) = (free_port(), free_port());
        let yaml = format!(
            "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{events}\"}}}}}}\nconnectors:\n  \
             connections: {{collection_interval: 500ms}}\nprocessors:\n  leak_detection: {{window: 5s}}\nexporters:\n  nop:\n\
             extensions: {{zpages: {{endpoint: \"127.0.0.1:{pages}\"}}}}\nservice:\n  extensions: [zpages]\n  telemetry: \
             {{metrics: {{level: none}}}}\n  pipelines:\n    logs: {{receivers: [otlp], exporters: [connections]}}\n    \
             metrics: {{receivers: [connections], processors: [leak_detection], exporters: [nop]}}\n"
        );
        Taker { agent: Agent::start(&yaml, pages), events }
    }

    /// Waits until the source `connections` is in that state; returns its message.
    fn source(&self, state: &str) -> String {
        let of =
            || self.agent.report()?.sources.into_iter().find(|s| s.id == "connections" && s.state == state);
        let found = wait_until(LONG, of);
        found.unwrap_or_else(|| panic!("never {state}: {:#?}", self.agent.report())).message
    }

    /// Sends records of a service whose clock shows `now`.
    fn send(&self, service: &str, version: Option<i64>, now: u64, records: &[Value]) {
        let scope = match version {
            Some(v) => {
                json!({"name": "github.com/weir-agent/weir/go", "attributes": [int("connection.events.version", v)]})
            }
            None => json!({"name": "github.com/weir-agent/weir/go"}),
        };
        let resource = json!({"attributes": [
            text("service.name", service), text("service.instance.id", service), text("host.name", "elsewhere"),
            int("process.pid", 42), int("process.start_ticks", 4242),
        ]});
        let records: Vec<Value> = records
            .iter()
            .cloned()
            .map(|mut r| {
                r["observedTimeUnixNano"] = json!(now.to_string());
                r
            })
            .collect();
        let request = json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}]});
        let answer = post(self.events, "/v1/logs", &request.to_string()).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn finding(&self, service: &str, is: impl Fn(&Finding) -> bool) -> Finding {
        let of = |f: &Finding| f.service == service && f.resource == "grpc_client" && is(f);
        let found = wait_until(LONG, || self.agent.report()?.series.into_iter().find(of));
        found.unwrap_or_else(|| panic!("never came: {:#?}\n{}", self.agent.report(), self.agent.log()))
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn int(key: &str, value: i64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

#[expect(clippy::disallowed_methods, reason = "events carry real time")]
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

const TARGET: &str = "127.0.0.1:50051";

fn created(id: i64, time: u64) -> Value {
    json!({"timeUnixNano": time.to_string(), "eventName": "grpc.client.created", "attributes": [
        int("grpc.client.id", id), text("grpc.target", TARGET),
        text("code.file.path", "shop/dial.go"), int("code.line.number", 7), text("code.function.name", "shop.dial"),
    ]})
}

fn closed(id: i64, time: u64) -> Value {
    json!({"timeUnixNano": time.to_string(), "eventName": "grpc.client.closed", "attributes": [
        int("grpc.client.id", id), int("grpc.client.rpcs", 1), text("grpc.client.close", "close"),
    ]})
}

/// A snapshot that says these clients are open, each begun at its time and idle since.
fn snapshot(number: i64, time: u64, opened: i64, open: &[(i64, u64)]) -> Value {
    let entry = |(id, begin): &(i64, u64)| {
        let begin = i64::try_from(*begin).expect("a time");
        json!({"kvlistValue": {"values": [
            text("k", "g"), int("id", *id), int("b", begin), int("a", begin), int("r", 1), int("o", 0), text("t", TARGET),
            text("f", "shop/dial.go"), int("n", 7), text("m", "shop.dial"),
        ]}})
    };
    let entries: Vec<Value> = open.iter().map(entry).collect();
    json!({"timeUnixNano": time.to_string(), "eventName": "grpc.snapshot", "attributes": [
        int("snapshot.id", number), int("snapshot.part", 1), int("snapshot.parts", 1),
        json!({"key": "snapshot.interval", "value": {"doubleValue": 2.0}}),
        int("client.opened", opened), int("client.closed", opened - open.len() as i64),
        int("connection.opened", 0), int("connection.closed", 0), int("client.rpcs", opened), int("server.rpcs", 0),
        int("events.dropped", 0),
    ], "body": {"arrayValue": {"values": entries}}})
}

#[test]
fn events_of_an_older_version_are_refused_with_the_service_and_the_module_to_upgrade() {
    let taker = Taker::new();
    taker.send("old-shop", None, clock(), &[created(1, clock())]);
    let log = taker.agent.wait_for_log("old-shop");
    assert!(log.contains("speak version 0, this agent reads version 1"), "{log}");
    assert!(log.contains("upgrade the module github.com/weir-agent/weir/go"), "{log}");
    // What is understood still arrives, and nothing was taken from the refused one.
    taker.send("shop", Some(1), clock(), &[created(1, clock())]);
    taker.finding("shop", |f| f.growth.open == 1.0);
    let report = taker.agent.report().expect("a report");
    assert!(report.series.iter().all(|f| f.service != "old-shop"), "{report:#?}");
}

#[test]
fn events_of_a_newer_version_are_read_as_far_as_they_are_known() {
    let taker = Taker::new();
    let unknown = json!({"timeUnixNano": "1", "eventName": "grpc.client.renamed", "attributes": []});
    taker.send("new-shop", Some(2), clock(), &[created(1, clock()), unknown]);
    taker.finding("new-shop", |f| f.growth.open == 1.0);
}

#[test]
fn that_events_are_of_a_newer_version_is_said_once() {
    let taker = Taker::new();
    taker.send("new-shop", Some(2), clock(), &[created(1, clock())]);
    taker.send("new-shop", Some(2), clock(), &[created(2, clock())]);
    taker.finding("new-shop", |f| f.growth.open == 2.0);
    let log = taker.agent.wait_for_log("version 2");
    assert_eq!(log.lines().filter(|l| l.contains("new-shop") && l.contains("version 2")).count(), 1, "{log}");
}

#[test]
fn events_that_came_through_otlp_are_tracked_by_the_connector() {
    let taker = Taker::through_otlp();
    let message = taker.source("waiting");
    assert!(message.contains("no connection event has come yet"), "{message}");
    let begins: Vec<_> = (1..=3).map(|id| created(id, clock())).collect();
    taker.send("shop", Some(1), clock(), &begins);
    taker.finding("shop", |f| f.growth.open == 3.0 && f.target == TARGET);
    taker.send("shop", Some(1), clock(), &[closed(2, clock())]);
    taker.finding("shop", |f| f.growth.open == 2.0);
    taker.source("ok");
}

#[test]
fn ends_without_begins_and_begins_without_ends_are_put_right_by_the_next_snapshot() {
    let taker = Taker::new();
    let now = clock();
    let begin = now - 20 * SECOND;
    let begins: Vec<_> = (1..=5).map(|id| created(id, begin)).collect();
    taker.send("shop", Some(1), now, &begins);
    taker.finding("shop", |f| f.growth.open == 5.0);
    // The ends of 1 to 4 are lost; 77 ends, whose begin was.
    taker.send("shop", Some(1), clock(), &[closed(77, clock())]);
    taker.send("shop", Some(1), clock(), &[snapshot(1, clock(), 6, &[(5, begin)])]);
    let right = taker.finding("shop", |f| f.growth.open == 1.0);
    assert!(right.growth.opened >= right.growth.closed, "{:?}", right.growth);
    let lost = "connection events of service \"shop\" (pid 42 on \"elsewhere\") were lost on their way";
    let log = taker.agent.wait_for_log(lost);
    assert!(log.contains("Send the events straight to this agent"), "{log}");
    // Further ones are counted and not told of again.
    taker.send("shop", Some(1), clock(), &[closed(78, clock()), created(6, clock())]);
    taker.finding("shop", |f| f.growth.open == 2.0);
    assert_eq!(taker.agent.log().matches("were lost on their way").count(), 1, "{}", taker.agent.log());
}

#[test]
fn ages_are_right_when_the_clock_of_the_service_is_an_hour_off() {
    for (service, off) in [("early", -3600_i64), ("late", 3600)] {
        let backend = Backend::answering(200);
        let taker = Taker::with_exporter(&format!(
            "otlp_http: {{endpoint: \"http://127.0.0.1:{}\", encoding: json, compression: none}}",
            backend.port
        ));
        let theirs = || clock().saturating_add_signed(off * SECOND as i64);
        let begin = theirs() - 20 * SECOND;
        let records = [created(1, begin), snapshot(1, theirs(), 1, &[(1, begin)])];
        taker.send(service, Some(1), theirs(), &records);
        let older = wait_until(LONG, || {
            backend.bodies().iter().find_map(|b| older(&serde_json::from_slice(b).ok()?))
        });
        let older = older.unwrap_or_else(|| panic!("no ages came: {}", taker.agent.log()));
        let at = |bound| older.iter().find(|(b, _)| *b == bound).map(|(_, count)| *count);
        // It was 20 s old when it was sent; that this takes less than the last bound is as slow as a machine may be.
        assert_eq!((at(10), at(1200)), (Some(1.0), Some(0.0)), "{service}: {older:?}");
        taker.send(service, Some(1), theirs(), &[created(2, theirs())]);
        let side = if off < 0 { "behind" } else { "ahead of" };
        let log = taker.agent.wait_for_log("let both hosts follow one time server");
        let said = log.lines().filter(|l| l.contains("the clock of service")).collect::<Vec<_>>();
        let about = format!("the clock of service \"{service}\" (pid 42 on \"elsewhere\") is 3");
        assert!(said.len() == 1 && said[0].contains(&about) && said[0].contains(side), "{log}");
    }
}

/// How many clients are older than each bound, from an export of metrics.
fn older(request: &Value) -> Option<Vec<(i64, f64)>> {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let metrics = list(&request["resourceMetrics"]).into_iter().flat_map(|r| list(&r["scopeMetrics"]));
    let metrics = metrics.flat_map(|s| list(&s["metrics"])).find(|m| m["name"] == "connection.open.older")?;
    let number = |v: &Value| v.as_f64().or_else(|| v.as_str()?.parse().ok());
    let points = list(&metrics["gauge"]["dataPoints"]).into_iter().filter_map(|p| {
        let of = |key: &str| {
            list(&p["attributes"]).into_iter().find(|a| a["key"] == key).map(|a| a["value"].clone())
        };
        if of("connection.resource")?["stringValue"] != "grpc_client" {
            return None;
        }
        let count = number(&p["asInt"]).or_else(|| number(&p["asDouble"]))?;
        Some((number(&of("connection.bound")?["intValue"])? as i64, count))
    });
    Some(points.collect()).filter(|p: &Vec<_>| !p.is_empty())
}
