//! Own log lines.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::TelemetryProcessor;
use crate::{GoDuration, caseless_word};

/// `service::telemetry::logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogsConfig {
    /// Lowest level that is written. `info`.
    pub level: LogLevel,
    /// Development mode: stack traces from level `warn` on. Off by default.
    pub development: bool,
    /// Form of the lines: `console` (the default) or `json`.
    pub encoding: LogEncoding,
    /// Leave out the place in the source. Off by default.
    pub disable_caller: bool,
    /// Leave out stack traces at level `error`. Off by default.
    pub disable_stacktrace: bool,
    /// Leave out repetitions. On by default; null keeps it.
    pub sampling: Option<LogSampling>,
    /// Where the lines go: `stderr` (the default), `stdout`, or files by their path or URL.
    pub output_paths: Vec<String>,
    /// Where it is said that an output cannot be written. `stderr`.
    pub error_output_paths: Vec<String>,
    /// Fields of each line.
    pub initial_fields: BTreeMap<String, serde_json::Value>,
    /// Where the lines go besides: exporters of OTLP or to the console.
    pub processors: Vec<TelemetryProcessor>,
    /// Leave out the description of the process in each line. Off by default.
    pub disable_zap_resource: bool,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            development: false,
            encoding: LogEncoding::Console,
            disable_caller: false,
            disable_stacktrace: false,
            sampling: Some(LogSampling::default()),
            output_paths: vec!["stderr".to_owned()],
            error_output_paths: vec!["stderr".to_owned()],
            initial_fields: BTreeMap::new(),
            processors: Vec::new(),
            disable_zap_resource: false,
        }
    }
}

/// Of lines with the same text and level, the first `initial` of each `tick` are written, then each `thereafter`-th.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSampling {
    /// Whether to leave anything out. On by default.
    pub enabled: bool,
    /// 10s.
    pub tick: GoDuration,
    /// 10.
    pub initial: i64,
    /// 100.
    pub thereafter: i64,
}

impl Default for LogSampling {
    fn default() -> Self {
        Self { enabled: true, tick: GoDuration::from_secs(10), initial: 10, thereafter: 100 }
    }
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "no encoder registered for name %q", rename_all = "lowercase")]
pub enum LogEncoding {
    /// Columns separated by tabs.
    #[default]
    Console,
    /// One JSON object per line.
    Json,
}

/// Level of log lines, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Dpanic,
    Panic,
    Fatal,
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const NAMES: &[&str] = &["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];
        Ok(match caseless_word(deserializer, "unrecognized level: %q", NAMES, &["warning", ""])? {
            0 => Self::Debug,
            2 | 7 => Self::Warn,
            3 => Self::Error,
            4 => Self::Dpanic,
            5 => Self::Panic,
            6 => Self::Fatal,
            _ => Self::Info,
        })
    }
}
