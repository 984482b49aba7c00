//! What the agent pushes about itself over OTLP: metrics, spans and log records, each way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use weir_pdata::Signal;
use weir_pdata::otlp::common::v1::any_value::Value;
use weir_pdata::otlp::common::v1::{AnyValue, KeyValue};
use weir_pdata::otlp::logs::v1::LogRecord;
use weir_pdata::otlp::trace::v1::Span;

use super::{SIGNALS, send};
use crate::backends::servers::{Fleet, free_ports, get, post_with, weir};
use crate::collector::sink::{Received, Sink};
use crate::collector::telemetry::request;
use crate::support::kill;

/// An authority, and certificates of a server and of a client that it has signed, as files in `dir`.
fn certificates(dir: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&authority_key).unwrap();
    fs::write(dir.join("ca.pem"), signed.pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    for (name, host) in [("server", "localhost"), ("client", "agent")] {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// Takes gRPC with client certificates and JSON over HTTP, and hands everything on to the sink.
const RELAY: &str = "
receivers:
  otlp/tls: {protocols: {grpc: {endpoint: localhost:TLS, tls: {cert_file: DIR/server.pem, key_file: DIR/server.key, client_ca_file: DIR/ca.pem}}}}
  otlp/json: {protocols: {http: {endpoint: 127.0.0.1:JSON}}}
exporters:
  otlp_http/tls: {endpoint: http://127.0.0.1:SINK/tls, compression: none}
  otlp_http/json: {endpoint: http://127.0.0.1:SINK/json, compression: none}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics/tls: {receivers: [otlp/tls], exporters: [otlp_http/tls]}
    traces/tls: {receivers: [otlp/tls], exporters: [otlp_http/tls]}
    logs/tls: {receivers: [otlp/tls], exporters: [otlp_http/tls]}
    metrics/json: {receivers: [otlp/json], exporters: [otlp_http/json]}
";

const AGENT: &str = "
receivers: {otlp: {protocols: {http: {endpoint: 127.0.0.1:ENTRY}}}}
exporters: {nop: {}, otlp_http: {endpoint: http://127.0.0.1:SINK/carried, sending_queue: {enabled: false}}, otlp_http/dead: {endpoint: http://127.0.0.1:1, retry_on_failure: {enabled: false}}}
service:
  telemetry:
    resource: {service.name: mine, deployment.environment.name: test}
    metrics:
      readers:
      - periodic: {interval: 200, exporter: {otlp: {protocol: http/protobuf, endpoint: http://127.0.0.1:SINK/own/v1/metrics, compression: gzip, headers: {x-tenant: 50%41}, temporality_preference: delta}}}
      - periodic: {interval: 200, exporter: {otlp: {protocol: grpc, endpoint: localhost:TLS, certificate: DIR/ca.pem, client_certificate: DIR/client.pem, client_key: DIR/client.key}}}
      - periodic: {interval: 200, exporter: {otlp: {protocol: http/json, endpoint: 127.0.0.1:JSON, insecure: true}}}
      - periodic: {interval: 200, exporter: {console: {}}}
    traces:
      propagators: [tracecontext, b3]
      processors:
      - batch: {schedule_delay: 100, exporter: {otlp: {protocol: http/protobuf, endpoint: http://127.0.0.1:SINK/own/v1/traces}}}
      - batch: {schedule_delay: 100, exporter: {otlp: {protocol: grpc, endpoint: localhost:TLS, certificate: DIR/ca.pem, client_certificate: DIR/client.pem, client_key: DIR/client.key}}}
      - simple: {exporter: {console: {}}}
    logs:
      processors:
      - simple: {exporter: {otlp: {protocol: http/protobuf, endpoint: http://127.0.0.1:SINK/own/v1/logs}}}
      - batch: {schedule_delay: 100, exporter: {otlp: {protocol: grpc, endpoint: localhost:TLS, certificate: DIR/ca.pem, client_certificate: DIR/client.pem, client_key: DIR/client.key}}}
  pipelines:
    traces: {receivers: [otlp], exporters: [nop, otlp_http]}
    metrics: {receivers: [otlp], exporters: [nop]}
    logs: {receivers: [otlp], exporters: [otlp_http/dead]}
";

#[test]
fn metrics_spans_and_log_records_arrive_over_every_protocol() {
    let (sink, mut fleet) = (Sink::start(), Fleet::new());
    certificates(fleet.dir());
    let [entry, tls, json] = free_ports();
    let dir = fleet.dir().to_str().unwrap().to_owned();
    let filled = |text: &str| {
        let ports = [("ENTRY", entry), ("TLS", tls), ("JSON", json), ("SINK", sink.port)];
        let text = ports.iter().fold(text.to_owned(), |t, (name, port)| t.replace(name, &port.to_string()));
        text.replace("DIR", &dir)
    };
    let relay = fleet.write("relay.yaml", &filled(RELAY));
    fleet.start("relay", &mut weir(&relay));
    fleet.wait("an answer", 30, || get(json, "/"));
    let agent = fleet.write("agent.yaml", &filled(AGENT));
    fleet.start("agent", &mut weir(&agent));
    fleet.wait("an answer", 30, || get(entry, "/"));
    let items = send(entry, &SIGNALS);
    for sender in ["own", "tls", "json"] {
        let accepted = || (points(&sink, sender, "otelcol_receiver_accepted_spans") > 0).then_some(());
        fleet.wait(&format!("metrics by {sender}"), 30, accepted);
    }
    // Deltas add up to the whole.
    assert_eq!(points(&sink, "own", "otelcol_receiver_accepted_spans"), items[0] as i64);
    for sender in ["own", "tls"] {
        has_the_spans_of_a_batch(&mut fleet, &sink, sender, &items);
        let ready =
            || records(&sink, sender).into_iter().find(|r| body(r).starts_with("Everything is ready."));
        let record = fleet.wait(&format!("log records by {sender}"), 30, ready);
        assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "info"));
    }
    goes_on_from_peer_to_peer(&mut fleet, &sink, entry);
    let headers = sink.of("own", |r| (r.payload.signal() == Signal::Metrics).then(|| r.headers.clone()));
    for headers in headers.into_iter().flatten() {
        for (name, value) in [("x-tenant", "50%41"), ("content-encoding", "gzip")] {
            assert!(headers.contains(&(name.to_owned(), value.to_owned())), "{headers:?}");
        }
    }
    let log = fleet.log("agent");
    for part in ["{\"resourceMetrics\":[", "{\"resourceSpans\":["] {
        assert!(log.contains(part), "{part} is not on the console");
    }
}

/// Pushes its metrics only when it ends; its backend is not there yet.
const REPLACED: &str = "
receivers: {otlp: {protocols: {http: {endpoint: 127.0.0.1:ENTRY}}}}
exporters: {otlp_http: {endpoint: http://127.0.0.1:LATE, retry_on_failure: {initial_interval: 100ms, max_interval: 200ms, max_elapsed_time: 0s}}}
service:
  telemetry:
    resource: {service.name: mine, deployment.environment.name: test, phase: PHASE}
    metrics: {readers: [{periodic: {interval: 3600000, exporter: {otlp: {protocol: http/protobuf, endpoint: http://127.0.0.1:SINK/own/v1/metrics}}}}]}
  pipelines: {logs: {receivers: [otlp], exporters: [otlp_http]}}
";

const LATE: &str = "
receivers: {otlp: {protocols: {http: {endpoint: 127.0.0.1:LATE}}}}
exporters: {nop: {}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [otlp], exporters: [nop]}}
";

#[test]
fn what_a_reload_has_replaced_is_measured_until_it_has_ended() {
    let (sink, mut fleet) = (Sink::start(), Fleet::new());
    let [entry, late] = free_ports();
    let filled = |text: &str, phase: &str| {
        let ports = [("ENTRY", entry), ("LATE", late), ("SINK", sink.port)];
        let text = ports.iter().fold(text.to_owned(), |t, (name, port)| t.replace(name, &port.to_string()));
        text.replace("PHASE", phase)
    };
    let agent = fleet.write("agent.yaml", &filled(REPLACED, "old"));
    let pid = fleet.start("agent", &mut weir(&agent));
    fleet.wait("an answer", 60, || get(entry, "/"));
    let items = send(entry, &[Signal::Logs]);
    fleet.write("agent.yaml", &filled(REPLACED, "new"));
    kill("HUP", pid);
    let log = fleet.dir().join("agent.log");
    let reloaded = || fs::read_to_string(&log).unwrap().contains("Config updated.").then_some(());
    fleet.wait("the reload", 60, reloaded);
    let config = fleet.write("late.yaml", &filled(LATE, ""));
    fleet.start("late", &mut weir(&config));
    let sent = || Some(points(&sink, "own", "otelcol_exporter_sent_log_records")).filter(|sent| *sent > 0);
    assert_eq!(fleet.wait("the metrics of the replaced exporter", 60, sent), items[0] as i64);
}

#[test]
fn certificates_of_its_receivers_are_taken_up_while_the_agent_runs() {
    let (sink, mut fleet) = (Sink::start(), Fleet::new());
    let [entry, tls, json] = free_ports();
    let folders = ["new", "used"].map(|name| fleet.dir().join(name));
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        certificates(folder);
    }
    let [new, used] = folders;
    let filled = |text: &str, folder: &Path| {
        let ports = [("ENTRY", entry), ("TLS", tls), ("JSON", json), ("SINK", sink.port)];
        let text = ports.iter().fold(text.to_owned(), |t, (name, port)| t.replace(name, &port.to_string()));
        text.replace("DIR", folder.to_str().unwrap())
    };
    let relay = fleet.write("relay.yaml", &filled(RELAY, &new));
    fleet.start("relay", &mut weir(&relay));
    fleet.wait("an answer", 30, || get(json, "/"));
    let agent = fleet.write("agent.yaml", &filled(AGENT, &used));
    let pid = fleet.start("agent", &mut weir(&agent));
    fleet.wait("an answer", 30, || get(entry, "/"));
    send(entry, &SIGNALS);
    for file in ["ca.pem", "client.pem", "client.key"] {
        fs::copy(new.join(file), used.join(file)).unwrap();
    }
    kill("HUP", pid);
    let accepted = || (points(&sink, "tls", "otelcol_receiver_accepted_spans") > 0).then_some(());
    fleet.wait("metrics by the new certificates", 30, accepted);
}

/// The trace that a sender names is that of the agent's spans, and is named to the backend.
fn goes_on_from_peer_to_peer(fleet: &mut Fleet, sink: &Sink, entry: u16) {
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let headers = format!("Content-Type: application/x-protobuf\r\ntraceparent: 00-{trace}-{parent}-01\r\n");
    let body = request(Signal::Traces, 7).to_bytes();
    assert_eq!(post_with(entry, Signal::Traces.path(), &headers, &body).unwrap().status, 200);
    let hex = |id: &[u8]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let received = fleet.wait("the receiver's span in the sender's trace", 30, || {
        spans(sink, "own").into_iter().find(|s| hex(&s.parent_span_id) == parent)
    });
    assert_eq!(
        (received.name.as_str(), hex(&received.trace_id).as_str()),
        ("receiver/otlp/TraceDataReceived", trace)
    );
    let named =
        sink.of("carried", |r| r.headers.iter().find(|(name, _)| name == "traceparent").map(|h| h.1.clone()));
    let ours = named.into_iter().flatten().find(|value| value.starts_with(&format!("00-{trace}-")));
    assert_ne!(
        ours.as_deref(),
        Some(format!("00-{trace}-{parent}-01").as_str()),
        "the span between is the parent"
    );
    assert!(ours.is_some_and(|value| value.ends_with("-01")), "the backend is told the trace");
}

/// The spans of the receiver and of the exporter behind it are one trace, with the counts of items.
fn has_the_spans_of_a_batch(fleet: &mut Fleet, sink: &Sink, sender: &str, items: &[usize]) {
    let find = |name: &str| spans(sink, sender).into_iter().find(|s| s.name == name);
    let received = fleet.wait("the receiver's span", 30, || find("receiver/otlp/TraceDataReceived"));
    let exported = fleet.wait("the exporter's span", 30, || find("exporter/nop/traces"));
    assert_eq!((&exported.trace_id, &exported.parent_span_id), (&received.trace_id, &received.span_id));
    let of = |attributes: &[KeyValue]| {
        attributes.iter().map(|a| (a.key.clone(), text(a.value.as_ref()))).collect()
    };
    let (received, exported): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (of(&received.attributes), of(&exported.attributes));
    let is = |map: &BTreeMap<String, String>, pairs: &[(&str, &str)]| {
        assert!(pairs.iter().all(|(k, v)| map.get(*k).is_some_and(|found| found == v)), "{map:?}");
    };
    let spans = items[0].to_string();
    is(
        &received,
        &[("transport", "http"), ("accepted_spans", &spans), ("refused_spans", "0"), ("failed_spans", "0")],
    );
    is(
        &exported,
        &[("exporter", "nop"), ("data_type", "traces"), ("items.sent", &spans), ("items.failed", "0")],
    );
    let failed = fleet.wait("the span of a failure", 30, || find("exporter/otlp_http/dead/logs"));
    let records = items[2].to_string();
    is(&of(&failed.attributes), &[("items.sent", "0"), ("items.failed", &records)]);
    assert_eq!(failed.status.map(|s| s.code), Some(2));
    fleet.wait("the span of the queue", 30, || find("exporter/enqueue"));
}

/// The sum of all points of a metric that a sender sent, after a check of the resource.
fn points(sink: &Sink, sender: &str, name: &str) -> i64 {
    use weir_pdata::otlp::metrics::v1::metric::Data;
    use weir_pdata::otlp::metrics::v1::number_data_point::Value as Number;
    let of = |received: &Received| {
        let mut sum = 0;
        if received.payload.signal() != Signal::Metrics {
            return 0;
        }
        for resource in received.payload.decode_metrics().resource_metrics {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let named = |key: &str| attributes.iter().find(|a| a.key == key).map(|a| text(a.value.as_ref()));
            assert_eq!(named("service.name").as_deref(), Some("mine"));
            assert_eq!(named("deployment.environment.name").as_deref(), Some("test"));
            for metric in
                resource.scope_metrics.into_iter().flat_map(|s| s.metrics).filter(|m| m.name == name)
            {
                let Some(Data::Sum(data)) = metric.data else { panic!("{name} is no sum") };
                for point in data.data_points {
                    let Some(Number::AsInt(value)) = point.value else { panic!("{name} is no integer") };
                    sum += value;
                }
            }
        }
        sum
    };
    sink.of(sender, of).into_iter().sum()
}

fn spans(sink: &Sink, sender: &str) -> Vec<Span> {
    let of = |r: &Received| match r.payload.signal() {
        Signal::Traces => {
            let all = r.payload.decode_traces().resource_spans.into_iter().flat_map(|r| r.scope_spans);
            all.flat_map(|s| s.spans).collect()
        }
        _ => Vec::new(),
    };
    sink.of(sender, of).into_iter().flatten().collect()
}

fn records(sink: &Sink, sender: &str) -> Vec<LogRecord> {
    let of = |r: &Received| match r.payload.signal() {
        Signal::Logs => {
            let all = r.payload.decode_logs().resource_logs.into_iter().flat_map(|r| r.scope_logs);
            all.flat_map(|s| s.log_records).collect()
        }
        _ => Vec::new(),
    };
    sink.of(sender, of).into_iter().flatten().collect()
}

fn body(record: &LogRecord) -> String {
    text(record.body.as_ref())
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(s)) => s.clone(),
        Some(Value::IntValue(n)) => n.to_string(),
        other => format!("{other:?}"),
    }
}
