//! The agent's own log lines as log records, for `service::telemetry::logs::processors`.

use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogExporter, LoggerProviderBuilder, SdkLogger, SdkLoggerProvider,
};
use serde_json::{Map, Value};
use tracing::Level;
use weir_config::telemetry::{BatchProcessor, PushExporter, TelemetryProcessor};

use crate::console::Console;
use crate::{Identity, otlp};

/// Where log lines go besides: to whom the processors say.
#[derive(Debug)]
pub(crate) struct Records {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
}

impl Records {
    /// What `processors` say; `None` when there are none.
    ///
    /// # Errors
    /// A sentence about a processor that cannot be set up.
    pub(crate) fn new(
        processors: &[TelemetryProcessor],
        identity: &Identity,
    ) -> Result<Option<Records>, String> {
        if processors.is_empty() {
            return Ok(None);
        }
        let mut builder = SdkLoggerProvider::builder().with_resource(identity.resource());
        for processor in processors {
            let (exporter, batch) = match (&processor.batch, &processor.simple) {
                (Some(batch), None) => (&batch.exporter, Some(batch)),
                (None, Some(simple)) => (&simple.exporter, None),
                _ => return Err("log processor: needs `batch` or `simple`, and only one".to_owned()),
            };
            builder = with_exporter(builder, exporter, batch)?;
        }
        let provider = builder.build();
        let logger = provider.logger("go.opentelemetry.io/collector/service");
        Ok(Some(Records { provider, logger }))
    }

    /// Sends one line.
    pub(crate) fn emit(&self, level: Level, message: &str, fields: &Map<String, Value>) {
        let mut record = self.logger.create_log_record();
        let (severity, text) = match level {
            Level::ERROR => (Severity::Error, "error"),
            Level::WARN => (Severity::Warn, "warn"),
            Level::INFO => (Severity::Info, "info"),
            Level::DEBUG | Level::TRACE => (Severity::Debug, "debug"),
        };
        record.set_severity_number(severity);
        record.set_severity_text(text);
        record.set_timestamp(crate::now().into());
        record.set_body(AnyValue::from(message.to_owned()));
        for (name, value) in fields {
            record.add_attribute(name.clone(), any(value));
        }
        self.logger.emit(record);
    }

    /// Sends what is left and ends.
    pub(crate) fn shutdown(&self) {
        // There is nowhere left to say that it failed.
        drop(self.provider.shutdown());
    }
}

fn with_exporter(
    builder: LoggerProviderBuilder,
    config: &PushExporter,
    batch: Option<&BatchProcessor>,
) -> Result<LoggerProviderBuilder, String> {
    if config.console.is_some() {
        return Ok(with(builder, Console::default(), batch));
    }
    match &config.otlp {
        Some(config) => Ok(with(builder, otlp::logs(config)?, batch)),
        None => Err("no valid log exporter: a log processor needs `otlp` or `console`".to_owned()),
    }
}

/// One by one is in batches of one: the SDK's simple processor would hold the thread that logs until the record is
/// delivered, and the delivery may need that thread.
fn with<E: LogExporter + 'static>(
    builder: LoggerProviderBuilder,
    exporter: E,
    batch: Option<&BatchProcessor>,
) -> LoggerProviderBuilder {
    let simple = BatchProcessor { max_export_batch_size: Some(1), ..BatchProcessor::default() };
    let config = batch.unwrap_or(&simple);
    let size = |given: Option<i64>| given.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let mut settings = BatchConfigBuilder::default();
    if let Some(size) = size(config.max_queue_size) {
        settings = settings.with_max_queue_size(size);
    }
    if let Some(size) = size(config.max_export_batch_size) {
        settings = settings.with_max_export_batch_size(size);
    }
    if let Some(delay) = config.schedule_delay.and_then(|ms| u64::try_from(ms).ok()) {
        settings = settings.with_scheduled_delay(Duration::from_millis(delay));
    }
    builder
        .with_log_processor(BatchLogProcessor::builder(exporter).with_batch_config(settings.build()).build())
}

fn any(value: &Value) -> AnyValue {
    match value {
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match n.as_i64() {
            Some(int) => int.into(),
            None => n.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(s) => s.clone().into(),
        other => other.to_string().into(),
    }
}
