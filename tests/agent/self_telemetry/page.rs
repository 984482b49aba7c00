//! The page on :8888 beside the Collector's: same configuration, same requests, and then the same series, types, labels
//! and help, except for what docs/compatibility.md lists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;

use super::{SIGNALS, send};
use crate::backends::servers::{Fleet, free_ports, get, install, pause, weir};

/// What one agent of the two listens on.
struct Ports {
    entry: u16,
    grpc: u16,
    refusing: u16,
    limited: u16,
    page: u16,
}

impl Ports {
    fn free() -> Ports {
        let [entry, grpc, refusing, limited, page] = free_ports();
        Ports { entry, grpc, refusing, limited, page }
    }

    /// Every way for a batch to go: over HTTP and then gRPC, through a limiter and a batch, delivered, refused, not
    /// delivered, not even queued.
    fn config(&self, level: &str, silent: u16) -> String {
        let Ports { entry, grpc, refusing, limited, page } = self;
        format!(
            "
receivers:
  otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{entry}}}}}}}
  otlp/grpc: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}}}}}
  otlp/refusing: {{protocols: {{http: {{endpoint: 127.0.0.1:{refusing}}}}}}}
  otlp/limited: {{protocols: {{http: {{endpoint: 127.0.0.1:{limited}}}}}}}
processors:
  memory_limiter: {{check_interval: 100ms, limit_mib: 4000}}
  memory_limiter/small: {{check_interval: 100ms, limit_mib: 1}}
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
    traces/limited: {{receivers: [otlp/limited], processors: [memory_limiter/small], exporters: [nop]}}
    metrics/limited: {{receivers: [otlp/limited], processors: [memory_limiter/small], exporters: [nop]}}
    logs/limited: {{receivers: [otlp/limited], processors: [memory_limiter/small], exporters: [nop]}}
"
        )
    }

    fn send(&self) {
        for port in [self.entry, self.refusing, self.limited] {
            send(port, &SIGNALS);
        }
    }

    fn page(&self) -> Option<Page> {
        let text = get(self.page, "/metrics").filter(|a| a.status == 200)?.text();
        // Both call their own ports differently.
        let names = [
            (self.entry, "ENTRY"),
            (self.grpc, "GRPC"),
            (self.refusing, "REFUSING"),
            (self.limited, "LIMITED"),
        ];
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
    /// The library that the Collector serves and calls HTTP and gRPC with has metrics of its own.
    Instrumentation,
    /// What kept an HTTP exporter from an answer has another name.
    ErrorType,
}

/// One difference and why it is right; `None`: it is not.
fn differences(level: &str, collector: &Page, weir: &Page) -> Vec<(String, Option<Reason>)> {
    let mut found = Vec::new();
    for (name, (kind, help)) in &collector.families {
        match weir.families.get(name) {
            None => found.push((format!("- {name}"), missing(level, name))),
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
        found.push((format!("- {series}"), missing(level, series)));
    }
    for (series, value) in weir.series.iter().filter(|(s, _)| !collector.series.contains_key(*s)) {
        found.push((format!("+ {series} {value}"), additional(series, *value)));
    }
    found
}

fn missing(level: &str, what: &str) -> Option<Reason> {
    if level == "detailed" && ["http_", "rpc_"].iter().any(|prefix| what.starts_with(prefix)) {
        return Some(Reason::Instrumentation);
    }
    what.contains("error_type=\"_OTHER\"").then_some(Reason::ErrorType)
}

fn additional(series: &str, value: f64) -> Option<Reason> {
    let of_batch = series.contains("processor=\"batch");
    if series.starts_with("otelcol_exporter_rejected_")
        || series.contains("exporter=\"nop\"")
        || (of_batch && (series.contains("_incoming_items") || series.contains("_outgoing_items")))
    {
        return Some(Reason::Additional);
    }
    if series.contains("error_type=\"Unavailable\"") && series.contains("otlp_http/") {
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
        for port in [go.limited, own.limited] {
            fleet.wait("an answer", 60, || get(port, "/"));
        }
        let same = (0..100).find_map(|_| {
            go.send();
            own.send();
            pause();
            let found = differences(level, &go.page()?, &own.page()?);
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
    let all = [ZeroFromTheStart, Additional, MemoryOfTheProcess, Instrumentation, ErrorType];
    assert_eq!(reasons, BTreeSet::from(all), "a reason that is not needed any more belongs deleted");
    drop(silent);
}

#[test]
fn at_level_none_there_is_no_page() {
    let mut fleet = Fleet::new();
    let ports = Ports::free();
    let config = fleet.write("weir.yaml", &ports.config("none", 1));
    fleet.start("weir", &mut weir(&config));
    fleet.wait("an answer", 30, || get(ports.limited, "/"));
    assert!(get(ports.page, "/metrics").is_none());
}
