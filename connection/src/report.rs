//! The verdicts of one agent as users and tools see them: the document behind `/leaks.json`, the page `/leaks` and
//! `weir leaks`.
//!
//! Everything shown to a person is rendered from this document and nothing else, so that page, terminal and JSON
//! cannot disagree. Times are Unix seconds (fractional), durations are seconds.

use serde::{Deserialize, Serialize};

/// Version of the document's shape; raised when a field changes its meaning or goes away.
pub const SCHEMA: &str = "weir.leaks/1";

/// Class of a server's finding that is the other end of a client's leak.
pub const HELD_BY_CLIENT: &str = "held_by_client";

/// All verdicts of one agent at one time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// When this document was made.
    pub time: f64,
    /// When the agent started.
    pub started: f64,
    /// Version of the agent.
    pub version: String,
    /// One sentence that says the state of the whole.
    pub summary: String,
    /// The sources of evidence and how they are doing.
    pub sources: Vec<Source>,
    /// The findings, most urgent first.
    pub series: Vec<Finding>,
}

/// One configured source of evidence.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Component id as configured, such as `socket_diag`.
    pub id: String,
    /// `events`, `sockets` or `profile`.
    pub kind: String,
    /// `ok`, `waiting`, `degraded` or `failed`.
    pub state: String,
    /// When it last delivered; 0 when never.
    pub last: f64,
    /// What it waits for or what is wrong, and the cure; empty when all is well.
    pub message: String,
}

/// State of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing grows that should not.
    #[default]
    Ok,
    /// A leak was seen and its growth has stopped.
    Recovering,
    /// Growth that may become a leak.
    Suspect,
    /// Resources are made and never given back.
    Leaking,
}

impl State {
    /// The word shown to people: `OK`, `RECOVERING`, `SUSPECT`, `LEAKING`.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Recovering => "RECOVERING",
            State::Suspect => "SUSPECT",
            State::Leaking => "LEAKING",
        }
    }

    /// Value of the metric `leak.state`: 0 ok, 1 suspect, 2 leaking, 3 recovering.
    pub fn code(self) -> i64 {
        match self {
            State::Ok => 0,
            State::Suspect => 1,
            State::Leaking => 2,
            State::Recovering => 3,
        }
    }
}

/// What the detector says of one subject: a process, a target and what is open between them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Stable id, usable in a URL fragment.
    pub id: String,
    /// The verdict.
    pub state: State,
    /// When this state began.
    pub since: f64,
    /// Seconds since it was first seen.
    pub watched: f64,
    /// About how many seconds pass until there is a first verdict; absent when there is one. Until then the state is ok and
    /// says nothing.
    pub verdict_in: Option<f64>,
    /// When its process had ended; absent while it runs, or when nothing says that it ended. The state is ok then.
    pub ended: Option<f64>,
    /// `service.name` of the process.
    pub service: String,
    /// `service.instance.id`, empty when unknown.
    pub instance: String,
    /// The process.
    pub process: Process,
    /// `client`, `server` or empty.
    pub side: String,
    /// `address:port` or gRPC target; empty when the whole process is meant.
    pub target: String,
    /// Id of the component of this agent that is the other end, such as `otlp`; empty for all others.
    pub own: String,
    /// `connection.resource` of the primary series.
    pub resource: String,
    /// The same for people: `grpc client connections`.
    pub resource_label: String,
    /// `low`, `medium` or `high`; empty for state ok.
    pub confidence: String,
    /// Machine-readable class such as `client_per_call`; empty when there is none.
    pub class: String,
    /// One line that explains the class, or why the state is ok.
    pub explanation: String,
    /// The line that made most of the growth.
    pub site: Option<Site>,
    /// Further sites, largest first.
    pub other_sites: Vec<Site>,
    /// How it grows.
    pub growth: Growth,
    /// When the growth began; absent when nothing grows.
    pub onset: Option<f64>,
    /// What each source says.
    pub evidence: Vec<Evidence>,
    /// What was not available and how to get it.
    pub missing: Vec<String>,
    /// When which limit is reached, soonest first.
    pub forecast: Vec<Forecast>,
    /// What to do.
    pub cure: String,
    /// The population over time.
    pub history: History,
    /// Some of the connections behind the finding, oldest first; at most 20.
    pub exemplars: Vec<Exemplar>,
    /// Goroutine stacks behind the site, most frequent first.
    pub stacks: Vec<Stack>,
}

impl Finding {
    /// The word shown to people: that of the state, or `ENDED` when its process has ended.
    pub fn word(&self) -> &'static str {
        if self.ended.is_some() { "ENDED" } else { self.state.word() }
    }
}

/// Identity of a process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Pid, 0 when unknown.
    pub pid: i64,
    /// Base name of the executable.
    pub executable: String,
    /// Host name.
    pub host: String,
    /// Start time, 0 when unknown.
    pub started: f64,
}

/// A line of source code.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Site {
    /// File as compiled.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: i64,
    /// Function.
    pub function: String,
    /// Share of the growth, 0 to 1.
    pub share: f64,
    /// How it is known: `events`, `label`, `custom_profile`, `heap`, `allocs`, `created_by`.
    pub source: String,
    /// What is uncertain about it; empty when exact.
    pub uncertainty: String,
    /// The stack by which it made most of them, the line itself first: `function file:line`. Empty when unknown.
    pub stack: Vec<String>,
    /// Where the stacks that lead to it part, most frequent first; its caller where they do not.
    pub callers: Vec<Caller>,
}

/// A line from which a line that leaks is reached.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Caller {
    /// File as compiled.
    pub file: String,
    /// Line, from 1.
    pub line: i64,
    /// Function.
    pub function: String,
    /// Share of what the line made and is open, 0 to 1.
    pub share: f64,
}

/// Numbers of the growth.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Growth {
    /// Per second since the onset.
    pub rate: f64,
    /// Lower bound of the rate (15 % slope).
    pub rate_low: f64,
    /// Upper bound of the rate (85 % slope).
    pub rate_high: f64,
    /// Open now.
    pub open: f64,
    /// Opened since the process started or was first seen.
    pub opened: f64,
    /// Closed since then.
    pub closed: f64,
    /// Open now and without payload since their first call; absent when unknown.
    pub unused: Option<f64>,
    /// Open now and idle longer than the window; absent when unknown.
    pub idle: Option<f64>,
}

/// What one source says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// `events`, `sockets`, `goroutines`, `heap`, `process`.
    pub source: String,
    /// Short text with numbers: `58 begun 0 ended`.
    pub text: String,
    /// Seconds since it was measured, at the time of the report.
    pub age: f64,
    /// Whether it supports the verdict, contradicts it, or says nothing.
    pub agrees: Option<bool>,
    /// Longer lines for the page.
    pub details: Vec<String>,
}

/// When a limit is reached.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Forecast {
    /// `memory`, `descriptors`, `ephemeral_ports`.
    pub resource: String,
    /// The limit, in `unit`.
    pub limit: f64,
    /// Used now, in `unit`.
    pub used: f64,
    /// `By`, `{file_descriptor}`, `{port}`.
    pub unit: String,
    /// What each leaked one costs, in `unit`.
    pub per_item: f64,
    /// Seconds until the limit, absent for never, and as long as it is not known.
    pub seconds: Option<f64>,
    /// With the upper bound of the rate.
    pub seconds_low: Option<f64>,
    /// With the lower bound of the rate.
    pub seconds_high: Option<f64>,
    /// Where it levels off, when it does before the limit.
    pub plateau: Option<f64>,
    /// Why it levels off or how the numbers were come by.
    pub note: String,
    /// Why no time can be told yet; empty when there is one, or when it is never.
    pub unknown: String,
}

/// The population over time; all lists have the same length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Times.
    pub time: Vec<f64>,
    /// Open at that time.
    pub open: Vec<f64>,
    /// Open, old and idle at that time (the floor the detector works on).
    pub idle_old: Vec<f64>,
}

/// One open connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exemplar {
    /// Id in its process.
    pub id: String,
    /// Local `address:port`, empty without a socket.
    pub local: String,
    /// Peer `address:port`.
    pub peer: String,
    /// TCP state in lower case (RFC 9293), empty when unknown.
    pub tcp_state: String,
    /// Seconds since it began.
    pub age: f64,
    /// Seconds without payload.
    pub idle: f64,
    /// RPCs carried, absent when unknown.
    pub rpcs: Option<i64>,
    /// Bytes sent and received, absent when unknown.
    pub bytes_sent: Option<i64>,
    /// Bytes received.
    pub bytes_received: Option<i64>,
    /// `file:line` that made it.
    pub site: String,
    /// Trace id of its spans, hex.
    pub trace_id: String,
}

/// Goroutines that share a stack.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stack {
    /// How many goroutines.
    pub count: i64,
    /// Kind of goroutine, such as `grpc transport reader`.
    pub kind: String,
    /// Labels, `key=value`.
    pub labels: Vec<String>,
    /// Frames, leaf first: `function file:line`.
    pub frames: Vec<String>,
}
