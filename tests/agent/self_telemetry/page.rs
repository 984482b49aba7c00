//! The page on :8888 beside the Collector's: same configuration, same requests, and then the same series, types, labels
//! and help, except for what docs/compatibility.md lists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;

use weir_pdata::Signal;

use super::{SIGNALS, send};
use crate::backends::servers::{Fleet, free_ports, get, install, pause, weir};

/// What one agent of the two listens on.
struct Ports {
    entry: u16,
    grpc: u16,
    refusing: u16,
    page: u16,
}

impl Ports {
    fn free() -> Ports {
        let [entry, grpc, refusing, page] = free_ports();
        Ports { entry, grpc, refusing, page }
    }

    /// Every way for a batch to go: over HTTP and then gRPC, through a limiter and a batch, delivered, refused, not
    /// delivered, not even queued.
    fn config(&self, level: &str, silent: u16) -> String {
        let Ports { entry, grpc, refusing, page } = self;
        format!(
            "
receivers:
  otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{entry}}}}}}}
  otlp/grpc: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}}}}}
  otlp/refusing: {{protocols: {{http: {{endpoint: 127.0.0.1:{refusing}}}}}}}
processors:
  memory_limiter: {{check_interval: 100ms, limit_mib: 4000}}
  batch: {{timeout: 10ms}}
  batch/size: {{send_batch_size: 1}}
exporters:
  debug: {{}}
  nop: {{}}
  otlp_grpc: {{endpoint: \"127.0.0.1:{grpc}\", tls: {{insecure: true}}}}
  otlp_http/dead: {{endpoint: \"http://127.0.0.1:1/x\", retry_on_failure: {{enabled: false}}, sending_queue: {{enabled: false}}}}
  otlp_grpc/dead: {{endpoint: \"127.0.0.1:1\", tls: {{insecure: true}}, retry_on_failure: {{enabled: false}}}}
  otlp_http/full: {{endpoint: \"http://127.0.0.1:{silent}\", timeout: 60s, sending_queue: {{queue_size: 1, num_consumers: 1}}}}
service:
  telemetry:
    metrics: {{level: {level}, readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}
  pipelines:
    traces: {{receivers: [otlp], processors: [memory_limiter, batch, batch/size], exporters: [debug, otlp_grpc, otlp_grpc/dead, otlp_http/full]}}
    metrics: {{receivers: [otlp], processors: [memory_limiter, batch, batch/size], exporters: [debug, otlp_grpc, otlp_grpc/dead, otlp_http/full]}}
    logs: {{receivers: [otlp], processors: [memory_limiter, batch, batch/size], exporters: [debug, otlp_grpc, otlp_grpc/dead, otlp_http/full]}}
    traces/grpc: {{receivers: [otlp/grpc], exporters: [nop]}}
    metrics/grpc: {{receivers: [otlp/grpc], exporters: [nop]}}
    logs/grpc: {{receivers: [otlp/grpc], exporters: [nop]}}
    traces/refusing: {{receivers: [otlp/refusing], exporters: [otlp_http/dead]}}
    metrics/refusing: {{receivers: [otlp/refusing], exporters: [otlp_http/dead]}}
    logs/refusing: {{receivers: [otlp/refusing], exporters: [otlp_http/dead]}}
"
        )
    }

    fn send(&self) {
        for port in [self.entry, self.refusing] {
            send(port, &SIGNALS);
        }
    }

    fn page(&self) -> Option<Page> {
        let text = get(self.page, "/metrics").filter(|a| a.status == 200)?.text();
        // Both call their own ports differently.
        let names = [(self.entry, "ENTRY"), (self.grpc, "GRPC"), (self.refusing, "REFUSING")];
        let named = |text: String, (port, name): &(u16, &str)| {
            text.replace(&format!("\"{port}\""), &format!("\"{name}\""))
        };
        Some(Page::parse(&names.iter().fold(text, named)))
    }
}

/// A page in the text format.
#[derive(Default)]
struct Page {
    /// By name: type and help.
    families: BTreeMap<String, (String, String)>,
    /// Name with labels, and the value.
    series: BTreeMap<String, f64>,
}

impl Page {
    fn parse(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), help) => {
                    page.families.entry(name.to_owned()).or_default().1 = help.unwrap_or_default().to_owned();
                }
                (Some("#"), Some("TYPE"), Some(name), kind) => {
                    page.families.entry(name.to_owned()).or_default().0 = kind.unwrap_or_default().to_owned();
                }
                _ => {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    page.series.insert(without_values_of_its_own(series), value.parse().unwrap());
                }
            }
        }
        page
    }
}

/// A series without what differs between two processes by nature.
fn without_values_of_its_own(series: &str) -> String {
    if series.starts_with("target_info") {
        let mut quoted = false;
        return series
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                !quoted || *c == '"'
            })
            .collect();
    }
    series.to_owned()
}

/// Why a difference is right; each is in docs/compatibility.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// A series is there with 0 before its first event.
    ZeroFromTheStart,
    /// Metrics that the Collector does not have.
    Additional,
    /// What Go's runtime measures is measured in another way.
    MemoryOfTheProcess,
    /// What kept an HTTP exporter from an answer has another name; Go names a type of its own.
    ErrorType,
}

/// One difference and why it is right; `None`: it is not.
fn differences(collector: &Page, weir: &Page) -> Vec<(String, Option<Reason>)> {
    let mut found = Vec::new();
    for (name, (kind, help)) in &collector.families {
        match weir.families.get(name) {
            None => found.push((format!("- {name}"), missing(name))),
            Some((k, h)) if (k, h) != (kind, help) => {
                let of_go = k == kind && name.starts_with("otelcol_process_runtime_");
                found.push((
                    format!("{name}: {kind} {help} / {k} {h}"),
                    of_go.then_some(Reason::MemoryOfTheProcess),
                ));
            }
            Some(_) => {}
        }
    }
    for series in collector.series.keys().filter(|s| !weir.series.contains_key(*s)) {
        found.push((format!("- {series}"), missing(series)));
    }
    for (series, value) in weir.series.iter().filter(|(s, _)| !collector.series.contains_key(*s)) {
        found.push((format!("+ {series} {value}"), additional(series, *value)));
    }
    found
}

fn missing(what: &str) -> Option<Reason> {
    ["error_type=\"_OTHER\"", "error_type=\"net.OpError\""]
        .iter()
        .any(|e| what.contains(e))
        .then_some(Reason::ErrorType)
}

fn additional(series: &str, value: f64) -> Option<Reason> {
    let of_batch = series.contains("processor=\"batch");
    if series.starts_with("otelcol_exporter_rejected_")
        || series.starts_with("otelcol_processor_memory_limiter_refused_requests")
        || series.starts_with("otelcol_processor_batch_lost_items")
        || series.starts_with("otelcol_process_telemetry_")
        || series.contains("exporter=\"nop\"")
        || (of_batch && (series.contains("_incoming_items") || series.contains("_outgoing_items")))
    {
        return Some(Reason::Additional);
    }
    if series.contains("error_type=\"Unavailable\"") && series.contains("otlp_http/") {
        return Some(Reason::ErrorType);
    }
    if series.starts_with("http_client_") && series.contains("error_type=\"_OTHER\"") {
        return Some(Reason::ErrorType);
    }
    (value == 0.0).then_some(Reason::ZeroFromTheStart)
}

#[test]
fn the_page_has_the_series_of_a_collector_at_each_level() {
    let [bin] = install(["otelcol"]);
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let mut reasons = BTreeSet::new();
    let mut wrong: Vec<String> = Vec::new();
    for level in ["basic", "normal", "detailed"] {
        let mut fleet = Fleet::new();
        let (go, own) = (Ports::free(), Ports::free());
        let config = fleet.write("collector.yaml", &go.config(level, silent_port));
        fleet.start("collector", Command::new(bin.join("otelcol")).arg("--config").arg(config));
        let config = fleet.write("weir.yaml", &own.config(level, silent_port));
        fleet.start("weir", &mut weir(&config));
        // Receivers are open once they answer.
        for port in [go.refusing, own.refusing] {
            fleet.wait("an answer", 60, || get(port, "/"));
        }
        let same = (0..100).find_map(|_| {
            go.send();
            own.send();
            pause();
            let found = differences(&go.page()?, &own.page()?);
            wrong =
                found.iter().filter(|(_, reason)| reason.is_none()).map(|(what, _)| what.clone()).collect();
            wrong.is_empty().then_some(found)
        });
        let Some(same) = same else {
            panic!("level {level}:\n{}", wrong.join("\n"));
        };
        reasons.extend(same.into_iter().filter_map(|(_, reason)| reason));
    }
    use Reason::*;
    let all = [ZeroFromTheStart, Additional, MemoryOfTheProcess, ErrorType];
    assert_eq!(reasons, BTreeSet::from(all), "a reason that is not needed any more belongs deleted");
    drop(silent);
}

/// Names in backticks of a page, `<items>` written out.
fn documented(text: &str) -> BTreeSet<String> {
    let names = text.split('`').skip(1).step_by(2);
    let items = ["spans", "metric_points", "log_records", "profile_samples"];
    names.flat_map(|name| items.map(|of| name.replace("<items>", of))).collect()
}

#[test]
fn every_metric_on_the_page_is_documented() {
    let mut fleet = Fleet::new();
    let [entry, grpc, pages] = free_ports();
    let queue = tempfile::tempdir().unwrap();
    let config = format!(
        "
extensions: {{file_storage: {{directory: {}}}}}
receivers:
  otlp:
    protocols: {{http: {{endpoint: 127.0.0.1:{entry}}}}}
    attribute_limits: {{attribute_count_limit: 1}}
  otlp/grpc: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}}}}}
  grpc_connections: {{endpoint: 127.0.0.1:0}}
processors:
  memory_limiter: {{check_interval: 1s, limit_mib: 4000}}
  probabilistic_sampler: {{sampling_percentage: 50}}
  leak_detection:
  batch: {{timeout: 10ms}}
exporters:
  nop:
  otlp_grpc: {{endpoint: \"127.0.0.1:{grpc}\", tls: {{insecure: true}}, sending_queue: {{storage: file_storage}}}}
  otlp_http/dead: {{endpoint: \"http://127.0.0.1:1\", retry_on_failure: {{enabled: false}}}}
service:
  extensions: [file_storage]
  telemetry:
    metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {pages}}}}}}}}}]}}
  pipelines:
    traces: {{receivers: [otlp], processors: [memory_limiter, probabilistic_sampler, batch], exporters: [otlp_http/dead]}}
    metrics: {{receivers: [otlp, grpc_connections], processors: [memory_limiter, leak_detection, batch], exporters: [nop, otlp_http/dead]}}
    logs: {{receivers: [otlp], processors: [memory_limiter, probabilistic_sampler, batch], exporters: [nop]}}
    logs/disk: {{receivers: [otlp], exporters: [otlp_grpc]}}
    logs/grpc: {{receivers: [otlp/grpc], exporters: [nop]}}
",
        queue.path().display()
    );
    let path = fleet.write("weir.yaml", &config);
    fleet.start("weir", &mut weir(&path));
    fleet.wait("an answer", 30, || get(entry, "/"));
    // What only an event makes.
    let of_events =
        ["probabilistic_sampler_count_logs", "rpc_server_call", "http_client_request", "send_failed"];
    let page = (0..600).find_map(|_| {
        send(entry, &SIGNALS);
        pause();
        let page = Page::parse(&get(pages, "/metrics").filter(|a| a.status == 200)?.text());
        let has = |part: &&str| page.families.keys().any(|name| name.contains(part));
        of_events.iter().all(has).then_some(page)
    });
    let page = page.expect("the metrics of events");
    let known = documented(include_str!("../../../docs/telemetry.md"));
    let unknown: Vec<_> = page.families.keys().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "docs/telemetry.md says nothing of {unknown:?}");
    assert!(page.families.len() > 50, "{} metrics", page.families.len());
}

impl Page {
    /// Names of series, each with the names of its labels.
    fn labels(&self) -> BTreeSet<(String, Vec<String>)> {
        let of = |series: &String| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let names = labels
                .split("\",")
                .filter_map(|label| label.split_once('='))
                .map(|(name, _)| name.to_owned());
            (name.to_owned(), names.collect())
        };
        self.series.keys().filter(|series| !series.starts_with("target_info")).map(of).collect()
    }
}

#[test]
fn a_view_keeps_the_labels_that_it_does_not_exclude() {
    let (mut fleet, plain, viewed) = (Fleet::new(), Ports::free(), Ports::free());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = |ports: &Ports| ports.config("detailed", silent.local_addr().unwrap().port());
    let view = "level: detailed, views: [{selector: {instrument_name: \"*\"}, \
                stream: {attribute_keys: {excluded: [no.such.key]}}}]";
    let path = fleet.write("plain.yaml", &config(&plain));
    fleet.start("plain", &mut weir(&path));
    let path = fleet.write("viewed.yaml", &config(&viewed).replace("level: detailed", view));
    fleet.start("viewed", &mut weir(&path));
    for port in [plain.refusing, viewed.refusing] {
        fleet.wait("an answer", 60, || get(port, "/"));
    }
    let mut labels = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..600 {
        plain.send();
        viewed.send();
        pause();
        labels = [&plain, &viewed].map(|ports| ports.page().map(|page| page.labels()).unwrap_or_default());
        let has = |label: &str| labels[0].iter().any(|(_, names)| names.iter().any(|name| name == label));
        if labels[0] == labels[1] && has("rpc_response_status_code") && has("error_type") {
            return;
        }
    }
    let lost: Vec<_> = labels[0].difference(&labels[1]).collect();
    panic!("with a view that excludes nothing, these are not there: {lost:?}");
}

#[test]
fn at_level_none_there_is_no_page() {
    let mut fleet = Fleet::new();
    let ports = Ports::free();
    let config = fleet.write("weir.yaml", &ports.config("none", 1));
    fleet.start("weir", &mut weir(&config));
    fleet.wait("an answer", 30, || get(ports.refusing, "/"));
    assert!(get(ports.page, "/metrics").is_none());
}

#[test]
fn what_a_limiter_refuses_at_the_door_is_counted_as_requests() {
    let mut fleet = Fleet::new();
    let [entry, page] = free_ports();
    let config = format!(
        "
receivers: {{otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{entry}}}}}}}}}
processors: {{memory_limiter: {{check_interval: 1s, limit_mib: 1}}}}
exporters: {{nop: {{}}}}
service:
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}}}
  pipelines: {{traces: {{receivers: [otlp], processors: [memory_limiter], exporters: [nop]}}}}
"
    );
    let config = fleet.write("weir.yaml", &config);
    fleet.start("weir", &mut weir(&config));
    fleet.wait("an answer", 30, || get(entry, "/"));
    send(entry, &[Signal::Traces]);
    send(entry, &[Signal::Traces]);
    let text = get(page, "/metrics").unwrap().text();
    let refused = "otelcol_processor_memory_limiter_refused_requests{processor=\"memory_limiter\"} 2\n";
    assert!(text.contains(refused), "{text}");
}
