//! What is measured, under which configuration, and the bars.

use std::fmt::Write;
use std::path::Path;

use weir_otlp::encoding::Encoding;
use weir_pdata::Signal;

use crate::load::Protocol;
use crate::sink::Reads;

/// One row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) signal: Signal,
    pub(crate) protocol: Protocol,
    /// Of the requests that come in.
    pub(crate) incoming: Encoding,
    /// Of the requests that go out.
    pub(crate) outgoing: Encoding,
    pub(crate) items: usize,
    /// Items per second; none: saturation.
    pub(crate) rate: Option<f64>,
    pub(crate) connections: usize,
    pub(crate) edits: bool,
    /// Without `batch` and with the time of sending in each request: what the agent adds to the way.
    pub(crate) latency: bool,
    pub(crate) pipelines: usize,
    pub(crate) queue: Queue,
    /// The ratio to the Collector that must hold; none: it is only published.
    pub(crate) bar: Option<f64>,
}

/// What senders are promised, by the exporter's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// In memory, as by default.
    Memory,
    /// The same, with `sending_queue::batch` in place of the processor, so that nothing is acknowledged in front of the queue, and
    /// senders that wait for room.
    Batching,
    /// In memory, behind a `memory_limiter` that has room.
    Limited,
    /// Senders hear what the backend says. Without `batch`, which does not wait for it.
    Waiting,
    /// On disk, synced before senders hear success or not.
    Disk { fsync: bool },
}

impl Scenario {
    pub(crate) const fn new(name: &'static str, bar: Option<f64>) -> Scenario {
        Scenario {
            name,
            signal: Signal::Traces,
            protocol: Protocol::Grpc,
            incoming: Encoding::Identity,
            outgoing: Encoding::Identity,
            items: 100,
            rate: None,
            connections: 8,
            edits: false,
            latency: false,
            pipelines: 1,
            queue: Queue::Memory,
            bar,
        }
    }

    /// Options of the command line, which both agents take: profiles are behind a gate.
    pub(crate) fn options(&self) -> &'static [&'static str] {
        if self.signal == Signal::Profiles { &["--feature-gates=service.profilesSupport"] } else { &[] }
    }

    /// What the sink has to read.
    pub(crate) fn reads(&self) -> Reads {
        match (self.latency, self.edits) {
            (true, _) => Reads::Stamps,
            (false, true) => Reads::Edits,
            (false, false) => Reads::Nothing,
        }
    }

    /// The configuration, which both agents take. A queue on disk is in `dir`.
    pub(crate) fn config(&self, input: u16, output: u16, dir: &Path) -> String {
        let (receiver, exporter) = match self.protocol {
            Protocol::Grpc => ("grpc", format!("otlp_grpc: {{endpoint: '127.0.0.1:{output}'")),
            Protocol::Http => ("http", format!("otlp_http: {{endpoint: 'http://127.0.0.1:{output}'")),
        };
        let compression = match self.outgoing {
            Encoding::Identity => "none",
            other => other.name(),
        };
        let (mut processors, mut settings) = (Vec::new(), "");
        if self.queue == Queue::Limited {
            processors.push("memory_limiter");
            settings = LIMITER;
        }
        if self.edits {
            processors.push("attributes");
            settings = EDITS;
        }
        if !self.latency && !matches!(self.queue, Queue::Waiting | Queue::Batching) {
            processors.push("batch");
        }
        let (extensions, queue) = match self.queue {
            Queue::Memory | Queue::Limited => (String::new(), ""),
            Queue::Batching => (String::new(), ", sending_queue: {batch: , block_on_overflow: true}"),
            Queue::Waiting => (String::new(), ", sending_queue: {wait_for_result: true}"),
            Queue::Disk { fsync } => (
                format!(
                    "file_storage: {{directory: '{}', create_directory: true, fsync: {fsync}}}",
                    dir.join("queue").display()
                ),
                ", sending_queue: {storage: file_storage, queue_size: 100000}",
            ),
        };
        let mut pipelines = String::new();
        for i in 0..self.pipelines {
            let _infallible = write!(
                pipelines,
                "{}/{i}: {{receivers: [otlp], processors: [{}], exporters: [{}]}}, ",
                self.signal.name(),
                processors.join(", "),
                exporter.split(':').next().unwrap_or_default(),
            );
        }
        format!(
            "extensions: {{{extensions}}}\n\
             receivers: {{otlp: {{protocols: {{{receiver}: {{endpoint: '127.0.0.1:{input}'}}}}}}}}\n\
             processors: {{batch: {settings}}}\n\
             exporters: {{{exporter}, compression: {compression}, tls: {{insecure: true}}{queue}}}}}\n\
             service:\n  \
               extensions: [{}]\n  \
               telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}\n  \
               pipelines: {{{}}}\n",
            if extensions.is_empty() { "" } else { "file_storage" },
            pipelines.trim_end_matches(", "),
        )
    }
}

impl Scenario {
    /// The same as options of Rotel; nothing where it has none for it.
    pub(crate) fn rotel(&self, input: u16, output: u16) -> Option<Vec<String>> {
        let (endpoint, address, protocol) = match self.protocol {
            Protocol::Grpc => ("--otlp-grpc-endpoint", "--otlp-http-endpoint", "grpc"),
            Protocol::Http => ("--otlp-http-endpoint", "--otlp-grpc-endpoint", "http"),
        };
        let compression = match self.outgoing {
            Encoding::Identity => "none",
            Encoding::Gzip => "gzip",
            _ => return None,
        };
        if self.edits || self.pipelines > 1 || self.signal == Signal::Profiles {
            return None;
        }
        let [input, output] = [input, output].map(|port| format!("127.0.0.1:{port}"));
        let output = format!("http://{output}");
        let mut options =
            vec!["start", endpoint, &input, "--exporter", "otlp", "--otlp-exporter-endpoint", &output];
        // The other port must not be taken by somebody else.
        options.extend([address, "127.0.0.1:0", "--otlp-exporter-protocol", protocol]);
        options.extend(["--otlp-exporter-compression", compression]);
        if self.latency {
            options.push("--disable-batching");
        }
        Some(options.into_iter().map(str::to_owned).collect())
    }
}

/// A limit that is never reached.
const LIMITER: &str = ", memory_limiter: {check_interval: 1s, limit_percentage: 80}";

/// Insert, update, delete and rename on every item.
const EDITS: &str = ", attributes: {actions: [\
    {key: deployment.environment.name, value: production, action: insert}, \
    {key: http.request.method, value: POST, action: update}, \
    {key: user_agent.original, action: delete}, \
    {key: order.number, from_attribute: order.id, action: insert}, \
    {key: order.id, action: delete}]}";

/// The table, in order.
pub(crate) fn all() -> Vec<Scenario> {
    let new = |name, bar| Scenario::new(name, Some(bar));
    vec![
        new("traces", 7.0),
        Scenario { signal: Signal::Logs, ..new("logs", 7.0) },
        Scenario { signal: Signal::Metrics, ..new("metrics", 7.0) },
        Scenario { rate: Some(20e3), ..new("traces-20k", 5.0) },
        Scenario { signal: Signal::Logs, rate: Some(20e3), ..new("logs-20k", 5.0) },
        Scenario { signal: Signal::Metrics, rate: Some(20e3), ..new("metrics-20k", 5.0) },
        Scenario { incoming: Encoding::Gzip, outgoing: Encoding::Gzip, ..new("gzip", 5.0) },
        Scenario {
            incoming: Encoding::Gzip,
            outgoing: Encoding::Gzip,
            rate: Some(20e3),
            ..new("gzip-20k", 5.0)
        },
        Scenario { outgoing: Encoding::Zstd, ..new("zstd", 5.0) },
        Scenario { items: 1000, ..new("traces-1000", 7.0) },
        Scenario { items: 10, ..new("traces-10", 4.0) },
        Scenario { items: 1, ..new("traces-1", 3.0) },
        Scenario { edits: true, ..new("attributes", 5.0) },
        Scenario { protocol: Protocol::Http, ..new("http", 5.0) },
        // The Collector's `batch` takes no profiles, and without one senders that do not wait would fill the queue.
        Scenario { signal: Signal::Profiles, queue: Queue::Waiting, ..Scenario::new("profiles", None) },
        Scenario { latency: true, rate: Some(20e3), ..new("latency", 2.0) },
    ]
}
