//! The agent's own detector at its default window, on evidence that was recorded from a real run.
//!
//! `recorded/leak.zst` is what the three sources published of `leaky-client` while it leaked for 45 s and after it was mended,
//! at a window of 5 s. Here the same payloads pass the same processor, on simulated time, 120 times as slowly: two clients
//! a second become one a minute, and the window of 5 s the default one of 10 minutes. `WEIR_RECORD=1` records anew.
//!
//! And at its own pace it is what a gateway sees that has no sources, only the receiver `otlp`.

mod stretch;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use weir_component::{
    Batch, Build, BuildError, DeliverySettings, Failure, Receiver, ReceiverContext, ReceiverFactory,
    Stability, async_trait,
};
use weir_connection::board::Board;
use weir_connection::report::{Finding, State};
use weir_engine::{ComponentSpec, Components, PipelineSpec, ServiceSpec, build};
use weir_otlp::encoding::Encoding;
use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::metrics::v1::metric::Data;
use weir_pdata::{Payload, Signal};
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
    signals: &[Signal::Metrics, Signal::Logs],
    stability: Stability::Development,
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

fn service() -> ServiceSpec {
    let part = |id: &str, yaml: &str| {
        let node = weir_config::parse_body(yaml).expect("YAML");
        ComponentSpec { id: id.to_owned(), node }
    };
    let pipeline = |signal: Signal, id: &str| PipelineSpec {
        signal,
        id: id.to_owned(),
        receivers: vec!["replay".to_owned()],
        processors: vec!["leak_detection".to_owned()],
        exporters: vec!["test".to_owned()],
    };
    ServiceSpec {
        receivers: vec![part("replay", "{}")],
        processors: vec![part("leak_detection", &format!("{{window: 10m, source_roots: [{ROOT}]}}"))],
        exporters: vec![part("test", "{}")],
        connectors: Vec::new(),
        extensions: Vec::new(),
        pipelines: vec![pipeline(Signal::Metrics, "metrics"), pipeline(Signal::Logs, "logs")],
    }
}

/// Values of a gauge of that name in everything that was exported, with the target of each.
fn exported(lab: &Lab, name: &str) -> Vec<f64> {
    let mut values = Vec::new();
    for entry in lab.journal() {
        let Event::Delivered { payload, .. } = entry.event else { continue };
        if payload.signal() != Signal::Metrics {
            continue;
        }
        for metric in stretch::metrics(&payload.decode_metrics()).filter(|m| m.name == name) {
            if let Some(Data::Gauge(gauge)) = &metric.data {
                values.extend(gauge.data_points.iter().filter_map(stretch::value));
            }
        }
    }
    values
}

#[test]
fn recorded_evidence_of_a_leak_and_its_mending_is_judged_at_the_default_window() {
    if std::env::var_os("WEIR_RECORD").is_some() {
        record();
    }
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let (lab, board): (Arc<Lab>, Arc<Board>) = (host.shared(), host.shared());
    let direct = DeliverySettings { timeout: Duration::ZERO, retry: None, queue: None };
    lab.exporter("test", direct, |_, _| Reply::Accept);
    let requests = load();
    let length = stretch::time(requests.last().expect("a recording")) - stretch::time(&requests[0]);
    *host.shared::<Recording>().0.lock().expect("the recording") = requests;

    let components = Components {
        receivers: &[REPLAY],
        processors: &[weir_processor_leak_detection::FACTORY],
        exporters: &[EXPORTER],
        connectors: &[],
        extensions: &[],
    };
    let built = build(&service(), &components, Arc::new(simulation.clone()), &host);
    let mut engine =
        built.map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("builds");
    let started = simulation.run(async move { engine.start().await.map(|()| engine) });
    let mut engine = started.expect("the start ends").expect("starts");

    // What the client's finding was, minute by minute, whenever its state changed.
    let mut seen: Vec<(u64, Finding)> = Vec::new();
    for minute in 0..length * SLOWER / 60_000_000_000 {
        simulation.run(simulation.clock().sleep(Duration::from_secs(60))).expect("time passes");
        let now = simulation.clock().unix_nanos() as f64 / 1e9;
        let found = client(board.report(now, 0.0, "", Vec::new()).series);
        if let Some(finding) = found.filter(|f| seen.last().is_none_or(|(_, last)| last.state != f.state)) {
            seen.push((minute, finding));
        }
    }
    simulation.run(async move { engine.stop(Duration::from_secs(60)).await }).expect("the stop ends");

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
    let told = exported(&lab, "leak.state");
    assert!(told.contains(&2.0) && told.contains(&3.0), "the states were exported as well");
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
