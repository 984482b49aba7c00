//! The verdict in real backends: a leaking Go service, the agent with `examples/leaky/backends.yaml`, and Prometheus,
//! VictoriaMetrics and Jaeger asked through their own APIs; the dashboard and the alerts that ship with it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "functions that tests share")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use weir_connection::report::{Finding, Report, State};

#[path = "servers.rs"]
pub(crate) mod servers;

use servers::{Answer, Fleet, escape, flag, free_ports, get, go_build, install, root, run, weir};

/// Everything runs, and checkout was called leaking.
struct Stack {
    prometheus: Backend,
    victoriametrics: Backend,
    jaeger: u16,
    pages: u16,
    /// `address:port` of the server that checkout calls.
    target: String,
    /// Pid of checkout.
    pid: u32,
    /// The finding of checkout as it was when it became leaking.
    verdict: Finding,
    /// Stops everything at the end of this process.
    _fleet: Fleet,
}

/// One set of servers for all tests of this file, started once: when that fails, only the first test waits for it.
fn stack() -> &'static Stack {
    static STACK: OnceLock<Option<Stack>> = OnceLock::new();
    let started = STACK.get_or_init(|| std::panic::catch_unwind(Stack::start).ok());
    started
        .as_ref()
        .unwrap_or_else(|| panic!("the servers did not start; the first failed test of this file says why"))
}

impl Stack {
    fn start() -> Stack {
        let mut fleet = Fleet::new();
        let [prometheus, victoriametrics, grpc, jaeger, admin] = free_ports();
        let [server, pprof, events, otlp_grpc, otlp_http, health, pages, own] = free_ports();
        // Sockets are found by the name of the program: a name of its own keeps the leaks of other tests out.
        let client = format!("checkout-{}", std::process::id());
        go_build("examples/leaky", "./client", &fleet.dir().join(&client));
        go_build("examples/leaky", "./server", &fleet.dir().join("orders"));
        start_metric_backends(&mut fleet, prometheus, victoriametrics, own);
        start_jaeger(&mut fleet, grpc, jaeger, admin);

        let set = [
            format!("receivers.grpc_connections.endpoint=127.0.0.1:{events}"),
            format!("receivers.socket_diag.processes=[{{name: {client}}}]"),
            format!(
                "receivers.pprof.targets=[{{endpoint: \"http://127.0.0.1:{pprof}\", service_name: checkout}}]"
            ),
            format!("receivers.otlp.protocols.grpc.endpoint=127.0.0.1:{otlp_grpc}"),
            format!("receivers.otlp.protocols.http.endpoint=127.0.0.1:{otlp_http}"),
            format!(
                "exporters.otlp_http/prometheus.metrics_endpoint=http://127.0.0.1:{prometheus}/api/v1/otlp/v1/metrics"
            ),
            format!(
                "exporters.otlp_http/victoriametrics.metrics_endpoint=http://127.0.0.1:{victoriametrics}/opentelemetry/v1/metrics"
            ),
            format!("exporters.otlp_grpc/jaeger.endpoint=127.0.0.1:{grpc}"),
            format!("extensions.health_check.endpoint=127.0.0.1:{health}"),
            format!("extensions.zpages.endpoint=127.0.0.1:{pages}"),
            format!(
                "service.telemetry.metrics.readers=[{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]"
            ),
        ];
        let mut agent = weir(&root().join("examples/leaky/backends.yaml"));
        fleet.start("weir", agent.args(set.iter().flat_map(|s| ["--set", s])));
        fleet.wait_page(pages, "/leaks.json");

        let target = format!("127.0.0.1:{server}");
        let endpoint = ("WEIR_ENDPOINT", format!("http://127.0.0.1:{events}"));
        let mut program = Command::new(fleet.dir().join("orders"));
        fleet.start("orders", program.args(["-listen", &target]).env(endpoint.0, &endpoint.1));
        let mut program = Command::new(fleet.dir().join(&client));
        program.args(["-target", &target, "-pprof", &format!("127.0.0.1:{pprof}")]);
        let pid = fleet.start("checkout", program.env(endpoint.0, &endpoint.1));

        let verdict = fleet.wait("checkout is called leaking", 75, || {
            leaks(pages).into_iter().find(|f| f.state == State::Leaking && of(f, &target))
        });
        let prometheus = Backend { name: "Prometheus", port: prometheus, flush: false };
        let victoriametrics = Backend { name: "VictoriaMetrics", port: victoriametrics, flush: true };
        for backend in [&prometheus, &victoriametrics] {
            let leaking = format!("leak_state{{{}}} == 2", checkout(&target));
            fleet.wait(&format!("{} has the verdict", backend.name), 30, || backend.query(&leaking).pop());
            // What one connection costs is known some time later.
            let memory = format!("leak_seconds_to_exhaustion{{{},leak_limit=\"memory\"}}", checkout(&target));
            fleet.wait(&format!("{} has a forecast", backend.name), 120, || backend.query(&memory).pop());
        }
        fleet.wait("Jaeger has spans of open connections", 30, || open_spans(jaeger).pop());
        Stack { prometheus, victoriametrics, jaeger, pages, target, pid, verdict, _fleet: fleet }
    }

    /// Labels that select the series of checkout's gRPC clients.
    fn checkout(&self) -> String {
        checkout(&self.target)
    }
}

fn start_metric_backends(fleet: &mut Fleet, prometheus: u16, victoriametrics: u16, own: u16) {
    let [prometheus_bin, victoriametrics_bin] = install(["prometheus", "victoriametrics"]);
    // The configuration that ships, with the port of this agent, and quicker.
    let shipped = fs::read_to_string(root().join("deploy/prometheus/prometheus.yml")).unwrap();
    let rules = root().join("deploy/prometheus/weir-alerts.yaml");
    let quick = shipped.replace(": 15s", ": 1s").replace("127.0.0.1:8888", &format!("127.0.0.1:{own}"));
    let quick = quick.replace("- weir-alerts.yaml", &format!("- {}", rules.display()));
    let config = fleet.write("prometheus.yml", &quick);
    let mut command = Command::new(prometheus_bin.join("prometheus"));
    command.arg(flag("--config.file", config));
    command.arg(flag("--storage.tsdb.path", fleet.dir().join("prometheus")));
    command.arg(format!("--web.listen-address=127.0.0.1:{prometheus}"));
    fleet.start("prometheus", command.args(["--web.enable-otlp-receiver", "--log.level=warn"]));

    let scrape = format!(
        "scrape_configs:\n- job_name: weir\n  scrape_interval: 1s\n  static_configs:\n  - targets: [\"127.0.0.1:{own}\"]\n"
    );
    let config = fleet.write("scrape.yml", &scrape);
    let mut command = Command::new(victoriametrics_bin.join("victoria-metrics"));
    command.arg(flag("-storageDataPath", fleet.dir().join("victoriametrics")));
    command
        .arg(flag("-promscrape.config", config))
        .arg(format!("-httpListenAddr=127.0.0.1:{victoriametrics}"));
    command.args(["-search.latencyOffset=0", "-opentelemetry.usePrometheusNaming", "-loggerLevel=WARN"]);
    fleet.start("victoriametrics", &mut command);
    fleet.wait_page(prometheus, "/-/ready");
    fleet.wait_page(victoriametrics, "/health");
}

fn start_jaeger(fleet: &mut Fleet, grpc: u16, query: u16, admin: u16) {
    let [bin] = install(["jaeger"]);
    let mut command = Command::new(bin.join("jaeger-all-in-one"));
    command.env("OTEL_TRACES_SAMPLER", "always_off").args(["--log-level=warn", "--memory.max-traces=100000"]);
    let ports = [
        ("collector.otlp.grpc", grpc),
        ("query.http-server", query),
        ("admin.http", admin),
        ("collector.otlp.http", 0),
        ("query.grpc-server", 0),
        ("collector.grpc-server", 0),
        ("collector.http-server", 0),
    ];
    command.args(ports.map(|(name, port)| format!("--{name}.host-port=127.0.0.1:{port}")));
    fleet.start("jaeger", &mut command);
    fleet.wait_page(admin, "/");
}

fn checkout(target: &str) -> String {
    format!(r#"service_name="checkout",connection_resource="grpc_client",connection_target="{target}""#)
}

/// Whether a finding is about checkout's gRPC clients.
fn of(finding: &Finding, target: &str) -> bool {
    finding.service == "checkout" && finding.resource == "grpc_client" && finding.target == target
}

/// What the agent says now.
fn leaks(pages: u16) -> Vec<Finding> {
    let Some(answer) = get(pages, "/leaks.json") else { return Vec::new() };
    serde_json::from_value::<Report>(answer.json()).unwrap().series
}

/// The line in `examples/leaky/client/orders.go` that makes the connections.
fn right_line() -> String {
    let source = fs::read_to_string(root().join("examples/leaky/client/orders.go")).unwrap();
    let line = source.lines().position(|l| l.contains(" weir.NewClient(")).unwrap() + 1;
    line.to_string()
}

pub(crate) type Labels = BTreeMap<String, String>;

/// A server that speaks the query API of Prometheus.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// Points become visible to queries only when the server is told to flush them.
    pub(crate) flush: bool,
}

impl Backend {
    /// `data` of an answer; an error of the server fails with the question.
    fn ask(&self, path: &str, question: &str) -> Value {
        if self.flush {
            assert_eq!(get(self.port, "/internal/force_flush").map(|a| a.status), Some(200));
        }
        let answer: Answer = get(self.port, path).unwrap_or_else(|| panic!("{} does not answer", self.name));
        assert_eq!(answer.status, 200, "{}: {question}: {}", self.name, answer.text());
        answer.json()["data"].clone()
    }

    /// The newest value of each series.
    pub(crate) fn query(&self, expression: &str) -> Vec<(Labels, f64)> {
        // VictoriaMetrics cuts the time of a query to the second, and may remember that there was nothing at that time.
        let time = now() + u64::from(self.flush);
        let path = format!("/api/v1/query?time={time}&nocache=1&query={}", escape(expression));
        let path = if self.flush { path } else { path.replace(&format!("time={time}&nocache=1&"), "") };
        let found = self.ask(&path, expression)["result"].as_array().cloned().unwrap_or_default();
        found.iter().map(|s| (labels(&s["metric"]), number(&s["value"][1]))).collect()
    }

    /// All values of the one series that an expression gives, one a second, oldest first.
    fn history(&self, expression: &str) -> Vec<f64> {
        let (end, expression_) = (now() + 1, escape(expression));
        let path =
            format!("/api/v1/query_range?start={}&end={end}&step=1&nocache=1&query={expression_}", end - 300);
        let found = self.ask(&path, expression)["result"].as_array().cloned().unwrap_or_default();
        assert_eq!(found.len(), 1, "{}: {expression} gives {found:?}", self.name);
        found[0]["values"].as_array().unwrap().iter().map(|v| number(&v[1])).collect()
    }

    /// Labels of all series there ever were.
    fn series(&self, selector: &str) -> Vec<Labels> {
        let path =
            format!("/api/v1/series?start={}&end={}&match[]={}", now() - 3600, now() + 1, escape(selector));
        self.ask(&path, selector).as_array().unwrap().iter().map(labels).collect()
    }

    /// The one series that an expression gives.
    fn one(&self, expression: &str) -> (Labels, f64) {
        let mut found = self.query(expression);
        assert_eq!(found.len(), 1, "{}: {expression} gives {found:?}", self.name);
        found.remove(0)
    }
}

fn labels(of: &Value) -> Labels {
    let pairs = of.as_object().unwrap().iter();
    pairs.map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Unix time in seconds.
#[expect(clippy::disallowed_methods, reason = "a question to a real server is about the real time")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn prometheus_has_the_verdict_and_what_it_rests_on() {
    has_the_verdict_and_what_it_rests_on(&stack().prometheus);
}

#[test]
fn victoriametrics_has_the_verdict_and_what_it_rests_on() {
    has_the_verdict_and_what_it_rests_on(&stack().victoriametrics);
}

fn has_the_verdict_and_what_it_rests_on(backend: &Backend) {
    let stack = stack();
    let (who, pid) = (stack.checkout(), stack.pid.to_string());
    let (labels, state) = backend.one(&format!("leak_state{{{who}}}"));
    assert_eq!(state, 2.0, "{labels:?}");
    assert!(!stack.verdict.instance.is_empty());
    assert_eq!(labels["service_instance_id"], stack.verdict.instance);
    assert_eq!(labels["connection_side"], "client");
    assert_eq!(labels["process_pid"], pid);
    assert_eq!(labels["host_name"], stack.verdict.process.host);
    assert_eq!(labels["process_executable_name"], stack.verdict.process.executable);

    assert!(backend.one(&format!("leak_rate_per_second{{{who}}}")).1 > 0.0);
    assert!(backend.one(&format!("leak_open_connections{{{who}}}")).1 >= stack.verdict.growth.open);
    assert!(backend.one(&format!("min(leak_seconds_to_exhaustion{{{who},leak_limit=\"memory\"}})")).1 > 0.0);

    let open = backend.history(&format!("connection_open{{{who},connection_source=\"events\"}}"));
    assert!(open.windows(2).all(|w| w[0] <= w[1]), "only grows: {open:?}");
    assert!(open[open.len() - 1] - open[0] >= 10.0, "grows: {open:?}");
    // The last step of a history may lie before the verdict; what is known now does not.
    let now = backend.one(&format!("connection_open{{{who},connection_source=\"events\"}}")).1;
    assert!(now >= stack.verdict.growth.open, "{now} of {}", stack.verdict.growth.open);
    let sockets = format!(
        r#"connection_open{{connection_resource="socket",process_pid="{pid}",connection_target="{}"}}"#,
        stack.target
    );
    assert!(backend.one(&sockets).1 >= 10.0);

    let (site, from_there) =
        backend.one(&format!("connection_open_by_site{{{who},connection_source=\"events\"}}"));
    assert_eq!(site["code_line_number"], right_line());
    assert!(site["code_file_path"].ends_with("examples/leaky/client/orders.go"), "{site:?}");
    assert_eq!(site["code_function_name"], "main.dialOrders");
    assert!(from_there >= stack.verdict.growth.open);
}

#[test]
fn the_limits_of_the_process_are_those_of_the_kernel() {
    let stack = stack();
    let limits = fs::read_to_string(format!("/proc/{}/limits", stack.pid)).unwrap();
    let files = limits.lines().find_map(|l| l.strip_prefix("Max open files")).unwrap();
    let soft: f64 = files.split_whitespace().next().unwrap().parse().unwrap();
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<f64> = range.split_whitespace().map(|n| n.parse().unwrap()).collect();
    for backend in [&stack.prometheus, &stack.victoriametrics] {
        let value = |name: &str| backend.one(&format!(r#"{name}{{process_pid="{}"}}"#, stack.pid)).1;
        assert_eq!(value("process_unix_file_descriptor_limit"), soft);
        let used = value("process_unix_file_descriptor_count");
        assert!(used >= 10.0 && used < soft, "{used}");
        assert_eq!(value("process_network_ephemeral_ports"), range[1] - range[0] + 1.0);
        let (memory, most) = (value("process_memory_usage_bytes"), value("process_memory_limit_bytes"));
        assert!(memory > 1e6 && memory < most, "{memory} of {most}");
    }
}

/// What may be a label: an identity, never something measured or judged.
const STABLE: [&str; 18] = [
    "__name__",
    "job",
    "instance",
    "service_name",
    "service_instance_id",
    "host_name",
    "process_pid",
    "process_executable_name",
    "process_creation_time",
    "process_start_ticks",
    "connection_source",
    "connection_resource",
    "connection_side",
    "connection_target",
    "connection_bound",
    "goroutine_kind",
    "leak_limit",
    "le",
];

#[test]
fn no_label_changes_while_a_service_becomes_leaking() {
    let stack = stack();
    for backend in [&stack.prometheus, &stack.victoriametrics] {
        let all = backend.series(r#"{__name__=~"(leak|connection|process)_.+",job!="weir"}"#);
        assert!(all.len() > 50, "{}: {all:?}", backend.name);
        let site = ["code_file_path", "code_line_number", "code_function_name", "connection_site_source"];
        for series in &all {
            let by_site = series["__name__"] == "connection_open_by_site";
            let unknown = series
                .keys()
                .find(|k| !(STABLE.contains(&k.as_str()) || by_site && site.contains(&k.as_str())));
            assert_eq!(unknown, None, "{}: {series:?}", backend.name);
        }
        // Events say from the first on who it is: were it learnt later, the series would break in two.
        let identity = [
            "job",
            "instance",
            "service_name",
            "service_instance_id",
            "process_creation_time",
            "process_start_ticks",
        ];
        let mut seen = BTreeMap::new();
        for series in all.iter().filter(|s| s.get("connection_source").is_some_and(|v| v == "events")) {
            let mut key = series.clone();
            key.retain(|k, _| !identity.contains(&k.as_str()));
            if let Some(other) = seen.insert(key, series) {
                panic!("{}: one series in two, {other:?} and {series:?}", backend.name);
            }
        }
    }
}

/// Spans of checkout as Jaeger has them, with its tags as text.
struct Span {
    id: String,
    trace: String,
    name: String,
    duration: u64,
    follows: Option<String>,
    tags: Labels,
}

fn spans(answer: &Value) -> Vec<Span> {
    let all = answer["data"].as_array().into_iter().flatten();
    all.flat_map(|trace| trace["spans"].as_array().unwrap()).map(span).collect()
}

fn span(span: &Value) -> Span {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let reference = &span["references"][0];
    Span {
        id: text(&span["spanID"]),
        trace: text(&span["traceID"]),
        name: text(&span["operationName"]),
        duration: span["duration"].as_u64().unwrap(),
        follows: (reference["refType"] == "FOLLOWS_FROM").then(|| text(&reference["spanID"])),
        tags: span["tags"].as_array().unwrap().iter().map(|t| (text(&t["key"]), text(&t["value"]))).collect(),
    }
}

fn open_spans(jaeger: u16) -> Vec<Span> {
    let path = format!("/api/traces?service=checkout&limit=1000&tags={}", escape(r#"{"leak.open":"true"}"#));
    let Some(answer) = get(jaeger, &path) else { return Vec::new() };
    let mut found = spans(&answer.json());
    found.retain(|s| s.tags.contains_key("leak.open"));
    found
}

#[test]
fn jaeger_has_a_span_for_each_connection_with_the_line_that_made_it() {
    let stack = stack();
    let found = spans(&get(stack.jaeger, "/api/traces?service=checkout&limit=1000").unwrap().json());
    let setup: Vec<_> = found.iter().filter(|s| !s.tags.contains_key("leak.open")).collect();
    assert!(setup.len() as f64 >= stack.verdict.growth.open, "{} spans", setup.len());
    for span in setup {
        assert_eq!(span.name, format!("grpc.connection {}", stack.target));
        assert_eq!(span.tags["code.line.number"], right_line());
        assert!(span.tags["code.file.path"].ends_with("examples/leaky/client/orders.go"));
        assert_eq!(span.tags["connection.side"], "client");
        assert_eq!(format!("{}:{}", span.tags["server.address"], span.tags["server.port"]), stack.target);
    }
    let local: BTreeSet<_> = found.iter().map(|s| &s.tags["network.local.port"]).collect();
    let traces: BTreeSet<_> = found.iter().map(|s| &s.trace).collect();
    assert_eq!(local.len(), traces.len(), "a trace for each connection");
}

#[test]
fn jaeger_has_spans_of_connections_that_are_still_open_with_the_verdict() {
    let stack = stack();
    let found = open_spans(stack.jaeger);
    assert!((1..=20).contains(&found.len()), "{} spans", found.len());
    let class = &stack.verdict.class;
    assert!(!class.is_empty());
    for span in &found {
        assert_eq!(span.name, format!("grpc.connection {}", stack.target));
        assert_eq!((&span.tags["leak.open"], &span.tags["leak.state"]), (&"true".into(), &"leaking".into()));
        assert_eq!(&span.tags["leak.class"], class);
        assert_eq!(span.tags["leak.confidence"], stack.verdict.confidence);
        let site = &span.tags["leak.site"];
        assert!(site.ends_with(&format!("examples/leaky/client/orders.go:{}", right_line())), "{site}");
        assert!(span.duration > 0);
        let whole = spans(&get(stack.jaeger, &format!("/api/traces/{}", span.trace)).unwrap().json());
        let setup = whole
            .iter()
            .find(|s| s.id != span.id)
            .expect("the trace begins with the setup of the connection");
        assert_eq!(span.follows.as_ref(), Some(&setup.id));
    }
}

#[test]
fn the_exemplars_of_the_report_lead_to_traces_in_jaeger() {
    let stack = stack();
    let finding = leaks(stack.pages).into_iter().find(|f| of(f, &stack.target)).unwrap();
    assert!(!finding.exemplars.is_empty());
    for exemplar in finding.exemplars.iter().take(3) {
        let whole = spans(&get(stack.jaeger, &format!("/api/traces/{}", exemplar.trace_id)).unwrap().json());
        let local = whole.iter().find_map(|s| s.tags.get("network.local.port"));
        assert_eq!(local.map(String::as_str), exemplar.local.rsplit(':').next(), "{exemplar:?}");
    }
}

#[test]
fn the_alert_of_a_leak_is_raised_with_rate_and_line() {
    let stack = stack();
    let mut found = None;
    for _ in 0..300 {
        let answer = get(stack.prometheus.port, "/api/v1/alerts").unwrap().json();
        let all = answer["data"]["alerts"].as_array().unwrap().clone();
        found = all.into_iter().find(|a| {
            let labels = &a["labels"];
            labels["alertname"] == "WeirConnectionLeak" && labels["service_name"] == "checkout"
        });
        if found.is_some() {
            break;
        }
        servers::pause();
    }
    let alert = found.expect("WeirConnectionLeak for checkout");
    assert_eq!(alert["labels"]["connection_target"], stack.target);
    let text = |name: &str| alert["annotations"][name].as_str().unwrap();
    assert_eq!(text("summary"), format!("checkout leaks grpc_client to {}", stack.target));
    assert!(
        text("description").contains(&format!("client/orders.go:{}.", right_line())),
        "{}",
        text("description")
    );
    assert!(!text("description").contains("unknown"), "{}", text("description"));
    assert_eq!(text("link"), "/d/weir-leaks?var-service=checkout");
}

fn dashboard() -> Value {
    let text = fs::read_to_string(root().join("deploy/grafana/weir-leaks.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A query with the dashboard's variables as Grafana fills them.
fn filled(query: &str, service: &str, instance: &str) -> String {
    let query = query.replace("$service", service).replace("$instance", instance).replace("$agent", ".+");
    let query = query.replace("$__rate_interval", "10s");
    assert!(!query.contains('$'), "a variable that is not filled: {query}");
    query
}

#[test]
fn every_query_of_the_dashboard_has_data_in_both_backends() {
    let stack = stack();
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<(&str, &str)> = (panels.iter())
        .flat_map(|p| p["targets"].as_array().unwrap().iter().map(|t| (&p["title"], &t["expr"])))
        .map(|(title, expr)| (title.as_str().unwrap(), expr.as_str().unwrap()))
        .collect();
    assert!(queries.len() >= panels.len() && panels.len() >= 6);
    for backend in [&stack.prometheus, &stack.victoriametrics] {
        for (service, instance) in [(".+", ".*"), ("checkout", stack.verdict.instance.as_str())] {
            for (title, query) in &queries {
                let found = backend.query(&filled(query, service, instance));
                assert!(!found.is_empty(), "{}: {title}: {query}", backend.name);
            }
        }
        let selected = filled(queries.iter().find(|q| q.0 == "Leak state").unwrap().1, "checkout", ".*");
        assert!(backend.query(&selected).iter().all(|(l, _)| l["service_name"] == "checkout"));
    }
}

#[test]
fn the_variables_and_annotations_of_the_dashboard_are_filled_by_both_backends() {
    let stack = stack();
    let dashboard = dashboard();
    for backend in [&stack.prometheus, &stack.victoriametrics] {
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["query"]["query"].as_str() else { continue };
            let inner = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (selector, label) = inner.rsplit_once(", ").unwrap();
            let found = backend.series(&filled(selector, "checkout", ".*"));
            let values: BTreeSet<_> = found.iter().filter_map(|l| l.get(label)).collect();
            assert!(!values.is_empty(), "{}: {query}", backend.name);
        }
        for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
            backend.query(&filled(annotation["expr"].as_str().unwrap(), "checkout", ".*"));
        }
    }
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    let [bin] = install(["prometheus"]);
    let promtool = |args: &[&str]| {
        run(Command::new(bin.join("promtool")).current_dir(root().join("deploy/prometheus")).args(args))
    };
    let checked = promtool(&["check", "rules", "--lint-fatal", "weir-alerts.yaml"]);
    assert!(checked.contains("5 rules found"), "{checked}");
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "weir-alerts.test.yaml"]);
}
