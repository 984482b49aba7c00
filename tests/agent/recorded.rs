//! The agent's own detector at its default window, on evidence that was recorded from a real run.
//!
//! `recorded/leak.zst` is what the three sources published of `leaky-client` while it leaked for 45 s and after it was mended,
//! at a window of 5 s. Here the same payloads pass the same processor, on simulated time, 120 times as slowly: two clients
//! a second become one a minute, and the window of 5 s the default one of 10 minutes. `WEIR_RECORD=1` records anew.
//!
//! And at its own pace it is what a gateway sees that has no sources, only the receiver `otlp`.

mod stretch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use weir_component::{
    Batch, Build, BuildError, DeliverySettings, Failure, Maturity, Receiver, ReceiverContext,
    ReceiverFactory, Stability, async_trait,
};
use weir_connection::board::Board;
use weir_connection::events::{Client, Connection, Event as ConnectionEvent, Side};
use weir_connection::names;
use weir_connection::process::ProcessInfo;
use weir_connection::report::{Finding, Forecast, State};
use weir_connection::spans::{Which, span_id, trace_id};
use weir_connection::table::ConnectionTable;
use weir_engine::{ComponentSpec, Components, PipelineSpec, ServiceSpec, build};
use weir_otlp::encoding::Encoding;
use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::common::v1::{KeyValue, any_value::Value};
use weir_pdata::otlp::logs::v1::{LogRecord, SeverityNumber};
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::otlp::metrics::v1::{Metric, NumberDataPoint};
use weir_pdata::{Payload, Signal, view};
use weir_testkit::{EXPORTER, Event, Lab, Reply, Simulation};

use crate::backends::servers;
use crate::collector::sink::Sink;
use crate::support::{Agent, Program, free_port, kill, now};

/// How much slower than real: a window of 5 s becomes one of 10 minutes.
const SLOWER: u64 = 120;
/// Largest recording, decompressed.
const MAX: usize = 64 << 20;
/// Where the recording has its sources.
const ROOT: &str = "/src/weir";

/// What is replayed; the receiver finds it in its host.
#[derive(Default)]
struct Recording(Mutex<Vec<MetricsRequest>>);

struct Replay(Vec<MetricsRequest>);

const REPLAY: ReceiverFactory = ReceiverFactory {
    kind: "replay",
    aliases: &[],
    signals: &[Signal::Metrics, Signal::Logs, Signal::Traces],
    stability: Maturity::all(Stability::Development),
    metadata: "",
    options: weir_config::Options::none(),
    create: |build: &Build<'_>| -> Result<Box<dyn Receiver>, BuildError> {
        let recording: Arc<Recording> = build.host.shared();
        Ok(Box::new(Replay(std::mem::take(&mut *recording.0.lock().expect("the recording")))))
    },
};

#[async_trait]
impl Receiver for Replay {
    async fn run(self: Box<Self>, cx: ReceiverContext) -> Result<(), Failure> {
        let output = cx.outputs.first(Signal::Metrics).expect("a metrics pipeline");
        let first = self.0.first().map(stretch::time).unwrap_or_default();
        let (begun, epoch) = (cx.clock.now(), cx.clock.unix_nanos());
        for mut request in self.0 {
            let after = (stretch::time(&request) - first) * SLOWER;
            cx.clock.sleep_until(begun + Duration::from_nanos(after)).await;
            stretch::stretch(&mut request, first, epoch, SLOWER);
            output.send(Batch::unattended(Payload::from(request))).await;
        }
        cx.stop.requested().await;
        Ok(())
    }
}

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/recorded/leak.zst")
}

/// The requests of a recording: each with its length (u32, little endian) in front.
fn load() -> Vec<MetricsRequest> {
    let file = fs::read(recording()).expect("the recording");
    let mut rest = Encoding::Zstd.decompress(Bytes::from(file), MAX).expect("a whole recording");
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let length = rest.split_to(4);
        let length = u32::from_le_bytes(length[..].try_into().expect("four bytes"));
        let request = rest.split_to(usize::try_from(length).expect("it fits"));
        let payload = Payload::from_request(Signal::Metrics, request).expect("metrics");
        requests.push(payload.decode_metrics());
    }
    requests
}

/// Records the sources, as they are, of a client that leaks and is mended.
fn record() {
    let sink = Sink::start();
    let (events, pprof, pages, port) = (free_port(), free_port(), free_port(), free_port());
    let name = Program::unique_name("leaky-client");
    let yaml = format!(
        "
receivers:
  grpc_connections: {{endpoint: 127.0.0.1:{events}, collection_interval: 2s}}
  socket_diag: {{collection_interval: 2s, processes: [{{name: {name}, service_name: checkout}}]}}
  pprof: {{collection_interval: 2s, targets: [{{endpoint: \"http://127.0.0.1:{pprof}\", service_name: checkout}}]}}
exporters:
  otlp_http: {{endpoint: \"http://127.0.0.1:{}/recorded\", compression: none, sending_queue: {{enabled: false}}}}
extensions: {{zpages: {{endpoint: 127.0.0.1:{pages}}}}}
service:
  extensions: [zpages]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [grpc_connections, socket_diag, pprof], exporters: [otlp_http]}}}}
",
        sink.port
    );
    let agent = Agent::start(&yaml, pages);
    let listen = format!("127.0.0.1:{port}");
    let _server =
        Program::example("leaky-server", "leaky-server", &["-listen", &listen], &[("WEIR_DISABLED", "true")]);
    let arguments = ["-target", &listen, "-pprof", &format!("127.0.0.1:{pprof}")];
    let endpoint = format!("http://127.0.0.1:{events}");
    let client = Program::example("leaky-client", &name, &arguments, &[("WEIR_ENDPOINT", &endpoint)]);
    thread::sleep(Duration::from_secs(45));
    kill("USR1", client.pid());
    thread::sleep(Duration::from_secs(60));
    drop((client, agent));
    let mut all = Vec::new();
    for bytes in sink
        .of("recorded", |r| stretch::anonymous(r.payload.decode_metrics(), env!("CARGO_MANIFEST_DIR"), ROOT))
    {
        all.extend(u32::try_from(bytes.len()).expect("it fits").to_le_bytes());
        all.extend(bytes);
    }
    let mut file = Vec::new();
    Encoding::Zstd.compress(&all, Some(19), &mut file).expect("compressed");
    fs::write(recording(), file).expect("written");
}

/// The leaking client's finding.
fn client(findings: Vec<Finding>) -> Option<Finding> {
    findings
        .into_iter()
        .find(|f| f.service == "checkout" && f.side == "client" && f.resource == "grpc_client")
}

/// The recording through one `leak_detection`, in as many pipelines of metrics as `metrics` says, in one of logs and one
/// of traces.
fn service(metrics: usize) -> ServiceSpec {
    let part = |id: &str, yaml: &str| {
        let node = weir_config::parse_body(yaml).expect("YAML");
        ComponentSpec { id: id.to_owned(), node }
    };
    let pipeline = |signal: Signal, id: String| PipelineSpec {
        signal,
        id,
        receivers: vec!["replay".to_owned()],
        processors: vec!["leak_detection".to_owned()],
        exporters: vec!["test".to_owned()],
    };
    let mut pipelines: Vec<_> =
        (0..metrics).map(|n| pipeline(Signal::Metrics, format!("metrics/{n}"))).collect();
    pipelines.push(pipeline(Signal::Logs, "logs".to_owned()));
    pipelines.push(pipeline(Signal::Traces, "traces".to_owned()));
    ServiceSpec {
        receivers: vec![part("replay", "{}")],
        processors: vec![part("leak_detection", &format!("{{window: 10m, source_roots: [{ROOT}]}}"))],
        exporters: vec![part("test", "{}")],
        connectors: Vec::new(),
        extensions: Vec::new(),
        pipelines,
    }
}

/// What came of the recording: the client's finding, minute by minute, whenever its state changed, and all that left.
struct Judged {
    seen: Vec<(u64, Finding)>,
    /// Forecasts of memory, by the minute.
    memory: Vec<(f64, Forecast)>,
    lab: Arc<Lab>,
    client: ProcessInfo,
}

/// The oldest connection of the recorded client, which its events would have told of.
const OLDEST: u64 = 1;

/// The process of the recorded client, and where it dials.
fn dialled(requests: &[MetricsRequest]) -> (ProcessInfo, String) {
    for request in requests {
        let payload = Payload::from(request.clone());
        for (resource, owned) in view::resources(&payload).zip(&request.resource_metrics) {
            let info = ProcessInfo::read(resource.attributes());
            let points =
                owned.scope_metrics.iter().flat_map(|s| &s.metrics).filter(|m| m.name == names::OPEN);
            let target = points.flat_map(gauge_points).find_map(|p| {
                let of = |key| text(&p.attributes, key);
                let client = of(names::ATTR_SOURCE) == "events" && of(names::ATTR_RESOURCE) == "grpc_client";
                client.then(|| of(names::ATTR_TARGET))
            });
            if let Some(target) = target.filter(|_| info.service == "checkout" && info.key.pid > 0) {
                return (info, target);
            }
        }
    }
    panic!("no client in the recording");
}

/// The table's part, which metrics do not carry: single connections.
fn connect(table: &ConnectionTable, requests: &[MetricsRequest], now: u64) -> ProcessInfo {
    let (info, target) = dialled(requests);
    let peer = target.parse().ok();
    let client = Client { id: OLDEST, begin: now, active: now, target, ..Client::default() };
    let connection = Connection {
        id: OLDEST,
        side: Side::Client,
        begin: now,
        active: now,
        rpcs: 1,
        open_rpcs: 0,
        client: OLDEST,
        local: "127.0.0.1:40001".parse().ok(),
        peer,
        cookie: 0,
        setup: 0,
    };
    let begun = vec![ConnectionEvent::ClientCreated(client), ConnectionEvent::Begin(connection)];
    table.apply(&info, now, now, begun);
    info
}

/// Lets the recording pass at the default window, on simulated time.
fn judge(metrics: usize) -> Judged {
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let (lab, board): (Arc<Lab>, Arc<Board>) = (host.shared(), host.shared());
    let direct = DeliverySettings { timeout: Duration::ZERO, retry: None, queue: None };
    lab.exporter("test", direct, |_, _| Reply::Accept);
    let requests = load();
    let length = stretch::time(requests.last().expect("a recording")) - stretch::time(&requests[0]);
    let process = connect(&host.shared::<ConnectionTable>(), &requests, simulation.clock().unix_nanos());
    *host.shared::<Recording>().0.lock().expect("the recording") = requests;

    let components = Components {
        receivers: &[REPLAY],
        processors: &[weir_processor_leak_detection::FACTORY],
        exporters: &[EXPORTER],
        connectors: &[],
        extensions: &[],
    };
    let built = build(&service(metrics), &components, Arc::new(simulation.clone()), &host);
    let mut engine =
        built.map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("builds");
    let started = simulation.run(async move { engine.start().await.map(|()| engine) });
    let mut engine = started.expect("the start ends").expect("starts");

    let mut seen: Vec<(u64, Finding)> = Vec::new();
    let mut memory = Vec::new();
    for minute in 0..length * SLOWER / 60_000_000_000 {
        simulation.run(simulation.clock().sleep(Duration::from_secs(60))).expect("time passes");
        let now = simulation.clock().unix_nanos() as f64 / 1e9;
        let found = client(board.report(now, 0.0, "", Vec::new()).series);
        let forecasts = found.iter().flat_map(|f| &f.forecast).filter(|f| f.resource == "memory");
        memory.extend(forecasts.map(|f| (minute as f64 * 60.0, f.clone())));
        if let Some(finding) = found.filter(|f| seen.last().is_none_or(|(_, last)| last.state != f.state)) {
            seen.push((minute, finding));
        }
    }
    simulation.run(async move { engine.stop(Duration::from_secs(60)).await }).expect("the stop ends");
    Judged { seen, memory, lab, client: process }
}

impl Judged {
    /// Everything of a signal that was exported, in order.
    fn payloads(&self, signal: Signal) -> Vec<Payload> {
        let delivered = self.lab.journal().into_iter().filter_map(|entry| match entry.event {
            Event::Delivered { payload, .. } if payload.signal() == signal => Some(payload),
            _ => None,
        });
        delivered.collect()
    }

    /// Points of a gauge of the detector, with the process that each is of.
    fn points(&self, name: &str) -> Vec<(i64, NumberDataPoint)> {
        let mut points = Vec::new();
        for payload in self.payloads(Signal::Metrics) {
            let request = payload.decode_metrics();
            for (resource, of) in view::resources(&payload).zip(&request.resource_metrics) {
                let pid = ProcessInfo::read(resource.attributes()).key.pid;
                let metrics = of.scope_metrics.iter().flat_map(|s| &s.metrics).filter(|m| m.name == name);
                points.extend(metrics.flat_map(gauge_points).map(|p| (pid, p.clone())));
            }
        }
        points
    }

    /// Log records of changes of the client's finding.
    fn changes(&self) -> Vec<LogRecord> {
        let all = self.payloads(Signal::Logs);
        let resources = all.iter().flat_map(|p| p.decode_logs().resource_logs);
        let records = resources.flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
        let of_client = |r: &LogRecord| {
            let of = |key| text(&r.attributes, key);
            of(names::ATTR_SIDE) == "client" && of(names::ATTR_RESOURCE) == "grpc_client"
        };
        records.filter(|r| r.event_name == "leak.state.changed" && of_client(r)).collect()
    }
}

fn gauge_points(metric: &Metric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        _ => &[],
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()?.value.as_ref());
    match found {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

#[test]
fn recorded_evidence_of_a_leak_and_its_mending_is_judged_at_the_default_window() {
    if std::env::var_os("WEIR_RECORD").is_some() {
        record();
    }
    let judged = judge(1);
    let seen = &judged.seen;
    let states: Vec<(u64, State)> = seen.iter().map(|(minute, f)| (*minute, f.state)).collect();
    let order: Vec<State> =
        states.iter().map(|(_, state)| *state).filter(|state| *state != State::Suspect).collect();
    assert_eq!(order, [State::Ok, State::Leaking, State::Recovering, State::Ok], "{states:?}");
    let (minute, leaking) = seen.iter().find(|(_, f)| f.state == State::Leaking).expect("a leak");
    // Six windows, as documented.
    assert!((40..=70).contains(minute), "{states:?}");
    assert_eq!(
        (leaking.class.as_str(), leaking.confidence.as_str()),
        ("client_per_call", "high"),
        "{leaking:#?}"
    );
    let site = leaking.site.as_ref().map(|s| (s.file.as_str(), s.line));
    assert_eq!(site, Some(("examples/leaky/client/orders.go", 41)), "{leaking:#?}");
    assert!((leaking.growth.rate * 60.0 - 1.0).abs() < 0.1, "one a minute: {:?}", leaking.growth);
    let sources: Vec<&str> = leaking.evidence.iter().map(|e| e.source.as_str()).collect();
    assert_eq!(sources, ["events", "sockets", "goroutines"], "{:#?}", leaking.evidence);
    memory_is_forecast_once_it_is_known(&judged.memory);
    said_in_log_records(&judged);
    said_in_metrics_with_exemplars(&judged);
}

/// Once a time was said there always is one, and what was said before stays right.
fn memory_is_forecast_once_it_is_known(forecasts: &[(f64, Forecast)]) {
    let (known, unknown): (Vec<_>, Vec<_>) = forecasts.iter().partition(|(_, f)| f.unknown.is_empty());
    assert!(known.len() > 10, "{forecasts:#?}");
    assert!(forecasts.is_sorted_by_key(|(_, f)| f.unknown.is_empty()), "known, and then not: {forecasts:#?}");
    assert!(
        unknown.iter().all(|(_, f)| f.seconds.is_none() && f.unknown.contains("what one costs")),
        "{unknown:#?}"
    );
    for (i, (time, earlier)) in known.iter().enumerate() {
        assert!(earlier.note.starts_with("one costs "), "{earlier:#?}");
        let (low, high) = earlier.seconds_low.zip(earlier.seconds_high).expect("an interval");
        for (at, later) in &known[i..] {
            let left = at + later.seconds.expect("a time") - time;
            assert!((low..=high).contains(&left), "at {time}: {earlier:#?} at {at}: {later:#?}");
        }
    }
}

/// A log record for each change, with what each source says.
fn said_in_log_records(judged: &Judged) {
    let changes = judged.changes();
    let states: Vec<String> = changes.iter().map(|r| text(&r.attributes, "leak.state")).collect();
    let order: Vec<&str> = states.iter().map(String::as_str).filter(|s| *s != "suspect").collect();
    assert_eq!(order, ["leaking", "recovering", "ok"], "{states:?}");
    let leaking = changes.iter().find(|r| text(&r.attributes, "leak.state") == "leaking").expect("a leak");
    let of = |key| text(&leaking.attributes, key);
    assert_eq!(leaking.severity_number, SeverityNumber::Error as i32);
    assert_eq!((of("leak.class").as_str(), of("leak.confidence").as_str()), ("client_per_call", "high"));
    assert_eq!(of("leak.site"), "examples/leaky/client/orders.go:41");
    assert!(of("leak.evidence.events").contains("begun"), "{leaking:#?}");
    assert!(of("leak.evidence.sockets").contains("ESTABLISHED"), "{leaking:#?}");
    assert!(of("leak.evidence.goroutines").contains("per connection"), "{leaking:#?}");
}

/// The states as values, and on the points of the leak an exemplar that leads to a span that was exported.
fn said_in_metrics_with_exemplars(judged: &Judged) {
    let key = &judged.client.key;
    let span = (trace_id(key, OLDEST).to_vec(), span_id(key, OLDEST, Which::Open).to_vec());
    let of_client = |name| {
        let points = judged.points(name).into_iter().filter(|(pid, _)| *pid == key.pid);
        points.map(|(_, p)| p).filter(|p| text(&p.attributes, names::ATTR_RESOURCE) == "grpc_client")
    };
    let states: Vec<_> = of_client("leak.state").collect();
    for state in [0.0, 2.0, 3.0] {
        assert!(states.iter().any(|p| stretch::value(p) == Some(state)), "state {state} was not exported");
    }
    for point in &states {
        let leads: Vec<_> = point.exemplars.iter().map(|e| (e.trace_id.clone(), e.span_id.clone())).collect();
        let leaking = stretch::value(point) == Some(2.0);
        assert_eq!(leads, if leaking { vec![span.clone()] } else { Vec::new() }, "{point:#?}");
    }
    assert!(of_client("leak.open_connections").any(|p| p.exemplars.iter().any(|e| e.span_id == span.1)));
    let requests: Vec<_> = judged.payloads(Signal::Traces).iter().map(Payload::decode_traces).collect();
    let mut spans = requests.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
    let found = spans.find_map(|s| s.spans.iter().find(|s| (&s.trace_id, &s.span_id) == (&span.0, &span.1)));
    let found = found.expect("the span that the exemplars lead to");
    assert_eq!(text(&found.attributes, "leak.state"), "leaking", "{found:#?}");
}

#[test]
fn in_two_pipelines_the_same_evidence_counts_once_and_each_output_leaves_once() {
    let (one, two) = (judge(1), judge(2));
    let verdicts = |judged: &Judged| -> Vec<(u64, State, String, Option<i64>, f64)> {
        let of = |(minute, f): &(u64, Finding)| {
            (*minute, f.state, f.class.clone(), f.site.as_ref().map(|s| s.line), f.growth.open)
        };
        judged.seen.iter().map(of).collect()
    };
    assert_eq!(verdicts(&one), verdicts(&two));
    assert_eq!(one.changes().len(), two.changes().len());
    let evidence = |judged: &Judged| judged.points(names::OPEN).len();
    assert_eq!(evidence(&one) * 2, evidence(&two), "what passes leaves by both");
    for name in ["leak.state", "leak.open_connections", "leak.rate", "leak.seconds_to_exhaustion"] {
        let mut left = BTreeSet::new();
        let points = two.points(name);
        for (pid, point) in &points {
            let id = (point.time_unix_nano, *pid, format!("{:?}", point.attributes));
            assert!(left.insert(id), "{name} left twice: {point:#?}");
        }
        assert!(!left.is_empty() && one.points(name).len() == left.len(), "{name}");
    }
}

#[test]
fn a_gateway_that_gets_only_metrics_over_otlp_judges_them_as_the_agent_beside_the_process_would() {
    let (http, pages) = (free_port(), free_port());
    let yaml = format!(
        "
receivers: {{otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{http}}}}}}}}}
processors: {{leak_detection: {{window: 5s, source_roots: [{ROOT}]}}}}
exporters: {{nop: }}
extensions: {{zpages: {{endpoint: 127.0.0.1:{pages}}}}}
service:
  extensions: [zpages]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [otlp], processors: [leak_detection], exporters: [nop]}}}}
"
    );
    let agent = Agent::start(&yaml, pages);
    let requests = load();
    let first = stretch::time(&requests[0]);
    #[expect(clippy::disallowed_methods, reason = "what is sent carries real time")]
    let (begun, epoch) = (now(), u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("after 1970"));
    for mut request in requests {
        // The sources had their pace, which is part of what they say.
        let after = Duration::from_nanos(stretch::time(&request) - first);
        thread::sleep(after.saturating_sub(begun.elapsed()));
        stretch::stretch(&mut request, first, epoch, 1);
        let body = Payload::from(request).to_bytes();
        let answer = servers::post(http, "/v1/metrics", "application/x-protobuf", &body).expect("an answer");
        assert_eq!(answer.status, 200);
        let found = agent.report().and_then(|report| client(report.series));
        if let Some(leaking) = found.filter(|f| f.state == State::Leaking) {
            let site = leaking.site.as_ref().map(|s| (s.file.as_str(), s.line));
            assert_eq!(site, Some(("examples/leaky/client/orders.go", 41)), "{leaking:#?}");
            assert_eq!(leaking.evidence.len(), 3, "{leaking:#?}");
            return;
        }
    }
    panic!("never called leaking: {:#?}", agent.report());
}
