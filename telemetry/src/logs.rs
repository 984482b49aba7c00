//! Log lines in the shape of the Collector's encoders.
//!
//! Console: `time TAB level TAB caller TAB message TAB {fields}`; JSON: one object with `level`, `ts`, `caller`, `msg`
//! and the fields. The first fields are the initial ones, by name, and `resource`, unless
//! `disable_zap_resource` is set. A message that repeats
//! is sampled: the first `initial` of a level and text in each `tick`, then every `thereafter`th; but for lines with the
//! target [`UNSAMPLED`].

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use weir_config::telemetry::{LogEncoding, LogLevel, LogSampling, LogsConfig};

use crate::Identity;
use crate::outlet::{self, OUTPUT_FAILED, Outlet, Worth};
use crate::records::Records;

/// Target of lines that no sampling leaves out, because each names something else that was lost or stays behind, and there
/// are few of them. Crates that do not know this one write it out.
pub const UNSAMPLED: &str = "weir::lost";

/// Sends the log lines of the whole process where `config` says. Only the first call has an effect. Must be called inside
/// a tokio runtime when a processor sends over OTLP.
///
/// # Errors
/// An output path that cannot be opened, or what is wrong with a processor.
pub fn init_logs(config: &LogsConfig, identity: &Identity) -> Result<Logs, String> {
    // What the command line prints from here on stands in its place among the lines.
    outlet::stderr().map_err(|e| fail(&e))?;
    let lines = NextLogs::new(config, identity)?;
    let logs = Logs(Arc::new(RwLock::new(lines.0)));
    let subscriber = tracing_subscriber::registry().with(logs.clone());
    // A second call finds a subscriber in place and leaves it there.
    drop(tracing::subscriber::set_global_default(subscriber));
    if !identity.legacy().is_empty() {
        tracing::warn!(
            legacy_resource_attributes = ?identity.legacy(),
            "Using legacy service.telemetry.resource inline map format; prefer \
             service.telemetry.resource.attributes (array of maps with `name` and `value` keys)"
        );
    }
    if !identity.malformed().is_empty() {
        tracing::warn!(
            entries = ?identity.malformed(),
            "OTEL_RESOURCE_ATTRIBUTES has entries that are not name=value; they are left out"
        );
    }
    Ok(logs)
}

/// The running logs of the agent. A clone is the same logs.
#[derive(Clone)]
pub struct Logs(Arc<RwLock<Arc<Lines>>>);

/// Logs that are set up and not running yet.
pub struct NextLogs(Arc<Lines>);

impl NextLogs {
    /// As `config` says. Must be called inside a tokio runtime when a processor sends over OTLP.
    ///
    /// # Errors
    /// An output path that cannot be opened, or what is wrong with a processor.
    pub fn new(config: &LogsConfig, identity: &Identity) -> Result<NextLogs, String> {
        let mut lines = Lines::new(config, identity).map_err(|e| fail(&e))?;
        lines.records = Records::new(&config.processors, identity).map_err(|e| fail(&e))?;
        Ok(NextLogs(Arc::new(lines)))
    }
}

/// Logs that others have taken over from. Dropped without [`FormerLogs::end`], they end all the same.
#[must_use = "its processors may hold records"]
pub struct FormerLogs(Arc<Lines>);

impl FormerLogs {
    /// Sends what processors still hold. Blocks until it is delivered or its time is up.
    pub fn end(self) {
        self.0.end_records();
    }
}

fn fail(error: &dyn fmt::Display) -> String {
    format!("failed to create logger: {error}")
}

impl Logs {
    /// Lets other settings take over from the next line on, and gives what is to be ended.
    pub fn take_over(&self, next: NextLogs) -> FormerLogs {
        let old = {
            let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next.0)
        };
        // Which lines are of interest is remembered for each place that logs.
        tracing::callsite::rebuild_interest_cache();
        FormerLogs(old)
    }

    /// Sends what is left where processors say, and writes what is queued for the outputs. Blocks until it is delivered or
    /// its time is up.
    pub fn shutdown(&self) {
        let lines = self.current();
        lines.end_records();
        for output in lines.outputs.iter().chain(&lines.error_outputs) {
            output.flush();
        }
    }

    fn current(&self) -> Arc<Lines> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Logs {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        self.current().enabled(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.current().write(event);
    }
}

struct Lines {
    level: Level,
    encoding: LogEncoding,
    caller: bool,
    base: Map<String, Value>,
    outputs: Vec<Arc<Outlet>>,
    /// For what is to be said of those.
    error_outputs: Vec<Arc<Outlet>>,
    sampler: Option<Mutex<Sampler>>,
    records: Option<Records>,
}

impl Lines {
    fn new(config: &LogsConfig, identity: &Identity) -> io::Result<Lines> {
        let initial = config.initial_fields.iter().map(|(k, v)| (k.clone(), v.clone()));
        let mut base: Map<String, Value> = initial.collect();
        if !config.disable_zap_resource {
            base.insert("resource".to_owned(), Value::Object(identity.fields()));
        }
        let open = |paths: &[String]| paths.iter().map(|path| Outlet::open(path)).collect::<io::Result<_>>();
        Ok(Lines {
            level: level(config.level),
            encoding: config.encoding,
            caller: !config.disable_caller,
            base,
            outputs: open(&config.output_paths)?,
            error_outputs: open(&config.error_output_paths)?,
            sampler: config.sampling.as_ref().filter(|s| s.enabled).map(|s| Mutex::new(Sampler::new(s))),
            records: None,
        })
    }

    /// Sends the event as a log record, unsampled as in the Collector. Only what the agent itself says: what a library
    /// says while a record is sent would be another record.
    fn record(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(records) = self.records.as_ref().filter(|_| is_ours(metadata)) else {
            return;
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        records.emit(*metadata.level(), fields.text(), &fields.map);
    }

    fn line(&self, event: &Event<'_>) -> String {
        let mut fields = Fields { map: self.base.clone(), ..Fields::default() };
        event.record(&mut fields);
        let metadata = event.metadata();
        let caller = match (metadata.file(), metadata.line()) {
            (Some(file), Some(line)) if self.caller => format!("{}:{line}", short(file)),
            _ => String::new(),
        };
        let time = format!("{:.3}", crate::now());
        let level = level_name(*metadata.level());
        match self.encoding {
            LogEncoding::Console => {
                let mut columns = vec![time, level.to_owned()];
                columns.extend((!caller.is_empty()).then_some(caller));
                columns.push(one_line(fields.text()));
                if !fields.map.is_empty() {
                    columns.push(spaced(&Value::Object(fields.map)));
                }
                columns.join("\t")
            }
            LogEncoding::Json => {
                let mut object = Map::new();
                object.insert("level".to_owned(), json!(level));
                object.insert("ts".to_owned(), json!(time));
                if !caller.is_empty() {
                    object.insert("caller".to_owned(), json!(caller));
                }
                object.insert("msg".to_owned(), json!(fields.text()));
                object.extend(fields.map);
                Value::Object(object).to_string()
            }
        }
    }

    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // Libraries below speak through the same facade; only their warnings are of interest.
        *metadata.level() <= if is_ours(metadata) { self.level } else { self.level.min(Level::WARN) }
    }

    fn write(&self, event: &Event<'_>) {
        self.record(event);
        let (outputs, worth) = match event.metadata().target() {
            OUTPUT_FAILED => (&self.error_outputs, Worth::Loss),
            UNSAMPLED => (&self.outputs, Worth::Loss),
            _ => (&self.outputs, Worth::Usual),
        };
        if let Some(sampler) = self.sampler.as_ref().filter(|_| worth == Worth::Usual) {
            let mut message = Message(String::new());
            event.record(&mut message);
            let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
            if !sampler.pass(*event.metadata().level(), message.0, crate::now().as_millisecond()) {
                return;
            }
        }
        let mut line = self.line(event);
        line.push('\n');
        for output in outputs {
            output.write(line.clone(), worth);
        }
    }

    fn end_records(&self) {
        if let Some(records) = &self.records {
            records.shutdown();
        }
    }
}

fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target().starts_with("weir")
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error | LogLevel::Dpanic | LogLevel::Panic | LogLevel::Fatal => Level::ERROR,
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// The last folder and the file, as the Collector prints callers.
fn short(file: &str) -> &str {
    file.rmatch_indices('/').nth(1).map_or(file, |(at, _)| &file[at + 1..])
}

/// Telemetry and errors may hold anything: a log line stays one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// JSON with a space after `:` and `,`, as the Collector's console encoder writes it.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{}: {}", json!(k), spaced(v))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The text of an event alone: most lines of a flood are left out for it, and their fields need not be made.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" && self.0.is_empty() {
            self.0 = format!("{value:?}");
        }
    }
}

/// The text of an event and what stands beside it.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    map: Map<String, Value>,
}

impl Fields {
    fn text(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.map.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // The text comes first under this name; one behind it is a field that is called so.
        if field.name() == "message" && self.message.is_none() {
            self.message = Some(value.to_owned());
        } else {
            self.put(field, json!(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
}

/// Messages of which the sampler keeps a count at most; beyond, all counts start anew.
const MAX_MESSAGES: usize = 4096;

struct Sampler {
    tick: i64,
    /// A negative number is a huge one here and below, as in the Collector.
    initial: u64,
    thereafter: u64,
    counts: HashMap<(Level, String), (i64, u64)>,
}

impl Sampler {
    fn new(config: &LogSampling) -> Sampler {
        Sampler {
            tick: i64::try_from(config.tick.as_std().as_millis()).unwrap_or(i64::MAX),
            initial: config.initial.cast_unsigned(),
            thereafter: config.thereafter.cast_unsigned(),
            counts: HashMap::new(),
        }
    }

    /// Whether the message is to be written.
    fn pass(&mut self, level: Level, message: String, now: i64) -> bool {
        if self.counts.len() >= MAX_MESSAGES {
            self.counts.clear();
        }
        let (start, seen) = self.counts.entry((level, message)).or_insert((now, 0));
        if now.saturating_sub(*start) >= self.tick {
            (*start, *seen) = (now, 0);
        }
        *seen += 1;
        *seen <= self.initial
            || (self.thereafter > 0 && (*seen - self.initial).is_multiple_of(self.thereafter))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use weir_config::telemetry::ResourceConfig;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What was written to an output.
    struct Written(Arc<Outlet>, Buffer);

    fn next(config: &LogsConfig) -> (NextLogs, Written) {
        let legacy = [("service.instance.id".to_owned(), Some("i".to_owned()))].into();
        let resource = ResourceConfig { legacy, ..ResourceConfig::default() };
        let identity = Identity::new("weir", "1", &resource).expect("valid");
        let buffer = Buffer::default();
        let mut lines = Lines::new(config, &identity).expect("opens");
        let outlet = Outlet::new("buffer", buffer.clone()).expect("a thread");
        lines.outputs = vec![Arc::clone(&outlet)];
        (NextLogs(Arc::new(lines)), Written(outlet, buffer))
    }

    fn written(Written(outlet, buffer): &Written) -> Vec<String> {
        outlet.settle();
        let text = String::from_utf8(buffer.0.lock().expect("not poisoned").clone()).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    fn lines(config: &LogsConfig, log: impl FnOnce()) -> Vec<String> {
        let (lines, buffer) = next(config);
        let logs = Logs(Arc::new(RwLock::new(lines.0)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), log);
        written(&buffer)
    }

    #[test]
    fn other_settings_take_over_while_lines_are_written() {
        let (first, before) = next(&LogsConfig::default());
        let json =
            LogsConfig { level: LogLevel::Debug, encoding: LogEncoding::Json, ..LogsConfig::default() };
        let (second, after) = next(&json);
        let logs = Logs(Arc::new(RwLock::new(first.0)));
        let say = || tracing::debug!("asked for later");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs.clone()), || {
            say();
            tracing::info!("first");
            logs.take_over(second).end();
            say();
        });
        assert_eq!((written(&before).len(), written(&after).len()), (1, 1));
        assert!(written(&before)[0].contains("\tinfo\t") && written(&after)[0].starts_with('{'));
    }

    #[test]
    fn the_console_encoding_has_the_columns_of_the_collector() {
        let written = lines(&LogsConfig::default(), || {
            tracing::info!(otelcol.component.id = "otlp", n = 3, "Starting GRPC server");
            tracing::debug!("hidden");
        });
        assert_eq!(written.len(), 1);
        let columns: Vec<_> = written[0].split('\t').collect();
        assert_eq!((columns[1], columns[3]), ("info", "Starting GRPC server"));
        assert!(columns[2].starts_with("src/logs.rs:"), "{}", columns[2]);
        assert_eq!(
            columns[4],
            r#"{"resource": {"service.instance.id": "i", "service.name": "weir", "service.version": "1"}, "otelcol.component.id": "otlp", "n": 3}"#
        );
    }

    #[test]
    fn the_json_encoding_is_one_object_a_line() {
        let config =
            LogsConfig { encoding: LogEncoding::Json, disable_zap_resource: true, ..LogsConfig::default() };
        let written = lines(&config, || tracing::warn!(error = "a\nb", "two\nlines"));
        let value: Value = serde_json::from_str(&written[0]).expect("json");
        assert_eq!(
            (&value["level"], &value["msg"], &value["error"]),
            (&json!("warn"), &json!("two\nlines"), &json!("a\nb"))
        );
        assert_eq!(written.len(), 1);
    }

    #[test]
    fn initial_fields_stand_before_the_resource() {
        let initial_fields = [("zone", json!("a")), ("n", json!(5))];
        let config = LogsConfig {
            initial_fields: initial_fields.map(|(name, value)| (name.to_owned(), value)).into(),
            encoding: LogEncoding::Json,
            ..LogsConfig::default()
        };
        let written = lines(&config, || tracing::info!(last = true, "text"));
        let fields = written[0].split(r#""msg":"text","#).nth(1).expect("fields");
        assert!(fields.starts_with(r#""n":5,"zone":"a","resource":{"#), "{fields}");
        assert!(fields.ends_with(r#","last":true}"#), "{fields}");
    }

    #[test]
    fn without_caller_and_resource_a_line_is_time_level_and_text() {
        let config = LogsConfig { disable_caller: true, disable_zap_resource: true, ..LogsConfig::default() };
        let written = lines(&config, || tracing::info!("text"));
        let columns: Vec<&str> = written[0].split('\t').skip(1).collect();
        assert_eq!(columns, ["info", "text"]);
    }

    #[test]
    fn a_repeated_message_is_sampled() {
        let written = lines(&LogsConfig::default(), || (0..250).for_each(|_| tracing::info!("again")));
        assert_eq!(written.len(), 10 + 2);
    }

    #[test]
    fn numbers_of_the_sampler_below_zero_are_huge() {
        let sampled = |initial, thereafter| {
            let sampling = Some(LogSampling { initial, thereafter, ..LogSampling::default() });
            let config = LogsConfig { sampling, ..LogsConfig::default() };
            lines(&config, || (0..250).for_each(|_| tracing::info!("again"))).len()
        };
        assert_eq!([sampled(-1, 100), sampled(3, -1), sampled(0, 0)], [250, 3, 0]);
    }

    #[test]
    fn what_is_to_be_said_of_an_output_goes_where_the_log_has_its_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| format!("file://{}", folder.path().join(name).display());
        let config = LogsConfig {
            output_paths: vec![path("lines")],
            error_output_paths: vec![path("errors")],
            ..LogsConfig::default()
        };
        let identity = Identity::new("weir", "1", &ResourceConfig::default()).expect("valid");
        let logs = Logs(Arc::new(RwLock::new(NextLogs::new(&config, &identity).expect("opens").0)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs.clone()), || {
            tracing::warn!(target: OUTPUT_FAILED, "said of an output");
            tracing::warn!("a line");
        });
        let current = logs.current();
        current.outputs.iter().chain(&current.error_outputs).for_each(|output| output.settle());
        for (name, text) in [("lines", "\ta line\t"), ("errors", "\tsaid of an output\t")] {
            let written = std::fs::read_to_string(folder.path().join(name)).expect("it is there");
            assert!(written.lines().count() == 1 && written.contains(text), "{name}: {written}");
        }
    }

    #[test]
    fn a_line_that_says_what_was_lost_is_not_sampled() {
        let lost = |n| tracing::error!(target: UNSAMPLED, n, "lost");
        assert_eq!(lines(&LogsConfig::default(), || (0..250).for_each(lost)).len(), 250);
    }

    #[test]
    fn a_field_called_message_stands_beside_the_text() {
        let written =
            lines(&LogsConfig::default(), || tracing::warn!(message = "", n = 1, "Partial success"));
        let columns: Vec<&str> = written[0].split('\t').collect();
        assert_eq!(columns[3], "Partial success");
        assert!(columns[4].ends_with(r#""message": "", "n": 1}"#), "{}", columns[4]);
    }

    #[test]
    fn text_cannot_break_out_of_its_line() {
        let written =
            lines(&LogsConfig::default(), || tracing::error!(error = "x\n2026 fake", "a\nb\x1b[31m"));
        assert_eq!(written.len(), 1);
        assert!(!written[0].contains('\x1b'));
    }
}
