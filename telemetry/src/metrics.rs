//! The agent's own metrics: pages for Prometheus, and what is pushed.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider, Temporality};
use weir_config::telemetry::{self as config, MetricsConfig, MetricsLevel, OtlpMetricExporter};

use crate::console::Console;
use crate::prometheus::Page;
use crate::pushes::Pushes;
use crate::{Identity, otlp, process, views};

/// The running metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    pushes: Pushes,
    level: MetricsLevel,
    pages: Vec<Page>,
}

/// Sets up what `config` says; nothing is pushed before [`Metrics::begin`]. Must be called inside a tokio runtime when a reader
/// pushes over OTLP.
///
/// # Errors
/// A sentence about a reader or view that cannot be set up.
pub fn init_metrics(config: &MetricsConfig, identity: &Identity) -> Result<Metrics, String> {
    let pushes = Pushes::default();
    let set_up = || {
        let mut builder = SdkMeterProvider::builder().with_resource(identity.resource());
        let mut pages = Vec::new();
        if config.level == MetricsLevel::None {
            tracing::info!("Internal metrics telemetry disabled");
            return Ok((builder, pages));
        }
        for reader in &config.readers {
            if let Some(prometheus) = reader.pull.as_ref().and_then(|p| p.exporter.prometheus.as_ref()) {
                let (page, reader) = Page::new(prometheus);
                builder = builder.with_reader(reader);
                pages.push(page);
            }
            if let Some(periodic) = &reader.periodic {
                builder = with_periodic(builder, periodic, &pushes)?;
            }
        }
        for view in config.views.iter().flatten() {
            builder = builder.with_view(views::function(view)?);
        }
        Ok((builder, pages))
    };
    let (builder, pages) = set_up().map_err(|e: String| format!("failed to create meter provider: {e}"))?;
    let provider = builder.build();
    if config.level > MetricsLevel::None {
        process::register(&provider.meter("go.opentelemetry.io/collector/service"), identity.started());
    }
    Ok(Metrics { provider, pushes, level: config.level, pages })
}

/// Milliseconds between two transmissions when none are given.
const INTERVAL: i64 = 60_000;

fn with_periodic(
    builder: MeterProviderBuilder,
    config: &config::PeriodicReader,
    pushes: &Pushes,
) -> Result<MeterProviderBuilder, String> {
    let millis = u64::try_from(config.interval.unwrap_or(INTERVAL)).unwrap_or(0).max(1);
    let interval = Duration::from_millis(millis);
    if config.exporter.console.is_some() {
        let reader = PeriodicReader::builder(pushes.by(Console::default())).with_interval(interval);
        return Ok(builder.with_reader(reader.build()));
    }
    let Some(otlp) = &config.exporter.otlp else {
        return Err("no valid metric exporter: a periodic reader needs `otlp` or `console`".to_owned());
    };
    // The reader has no limit of its own: the shorter of both holds.
    let mut settings = otlp.otlp.clone();
    settings.timeout = [settings.timeout, config.timeout].into_iter().flatten().min();
    let exporter = otlp::metrics(&settings, temporality(otlp)?)?;
    Ok(builder.with_reader(PeriodicReader::builder(pushes.by(exporter)).with_interval(interval).build()))
}

fn temporality(config: &OtlpMetricExporter) -> Result<Temporality, String> {
    match config.default_histogram_aggregation.as_deref() {
        None | Some("explicit_bucket_histogram") => {}
        Some(other) => {
            return Err(format!(
                "default_histogram_aggregation {other:?} is not supported: use views with an aggregation instead"
            ));
        }
    }
    match config.temporality_preference.as_deref() {
        None | Some("cumulative") => Ok(Temporality::Cumulative),
        Some("delta") => Ok(Temporality::Delta),
        Some("lowmemory") => Ok(Temporality::LowMemory),
        Some(other) => {
            Err(format!("unsupported temporality preference {other:?}: use cumulative, delta or lowmemory"))
        }
    }
}

impl Metrics {
    /// Where components get their instruments.
    pub fn provider(&self) -> Arc<dyn MeterProvider + Send + Sync> {
        Arc::new(self.provider.clone())
    }

    /// How much is measured.
    pub fn level(&self) -> MetricsLevel {
        self.level
    }

    /// The pages for Prometheus.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Pushes from here on.
    pub fn begin(&self) {
        self.pushes.begin();
    }

    /// Pushes what is left, where that has begun, and ends. Blocks until it is delivered or its time is up.
    pub fn shutdown(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!(error = %error, "the last metrics were not delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use weir_config::telemetry::ResourceConfig;

    use super::*;

    fn page(options: &str, record: impl FnOnce(&Metrics)) -> String {
        let config: MetricsConfig = weir_config::from_node(
            &weir_config::parse_body(options).expect("YAML"),
            &weir_config::Path::new(),
        )
        .expect("valid");
        let identity = Identity::new("weir", "1", &ResourceConfig::default()).expect("valid");
        let metrics = init_metrics(&config, &identity).expect("set up");
        record(&metrics);
        metrics.pages()[0].answer(None).text
    }

    fn sent(metrics: &Metrics) {
        let meter = metrics.provider().meter("scope");
        let counter = meter.u64_counter("otelcol_exporter_sent_spans").with_unit("{span}").build();
        let labels = [KeyValue::new("exporter", "debug"), KeyValue::new("server.address", "a")];
        counter.add(3, &labels);
    }

    #[test]
    fn names_are_plain_by_default_and_the_process_is_measured() {
        let text = page("", sent);
        assert!(
            text.contains("otelcol_exporter_sent_spans{exporter=\"debug\",server_address=\"a\"} 3\n"),
            "{text}"
        );
        for part in [
            "target_info{service_instance_id=\"",
            "# TYPE otelcol_process_uptime counter\n",
            "# TYPE otelcol_process_memory_rss gauge\n",
            "promhttp_metric_handler_errors_total{cause=\"encoding\"} 0\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn suffixes_and_scopes_come_when_asked_for() {
        let options = "readers: [{pull: {exporter: {prometheus: {without_units: false, without_scope_info: false, \
                       with_resource_constant_labels: {included: [service.n*]}}}}}]";
        let text = page(options, sent);
        let line = "otelcol_exporter_sent_spans_total{exporter=\"debug\",otel_scope_name=\"scope\",\
                    otel_scope_schema_url=\"\",otel_scope_version=\"\",server_address=\"a\",service_name=\"weir\"} 3\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("# TYPE otelcol_process_cpu_seconds_total counter\n"), "{text}");
    }

    #[test]
    fn views_drop_rename_and_choose_attributes() {
        let options = "
level: detailed
readers: [{pull: {exporter: {prometheus: {}}}}]
views:
- selector: {instrument_name: otelcol_process_*}
  stream: {aggregation: {drop: {}}}
- selector: {instrument_name: otelcol_exporter_sent_spans, meter_name: scope, instrument_type: counter}
  stream: {name: sent, description: Sent, attribute_keys: {excluded: [server.address]}}
";
        let text = page(options, sent);
        assert!(!text.contains("otelcol_process_"), "{text}");
        assert!(
            text.contains("# HELP sent Sent\n# TYPE sent counter\nsent{exporter=\"debug\"} 3\n"),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_set_up_says_why() {
        let identity = Identity::new("weir", "1", &ResourceConfig::default()).expect("valid");
        for (options, sentence) in [
            ("readers: [{periodic: {exporter: {}}}]", "no valid metric exporter"),
            (
                "readers: [{periodic: {exporter: {otlp: {protocol: thrift}}}}]",
                "unsupported protocol \"thrift\": use grpc, http/protobuf or http/json",
            ),
            (
                "readers: [{periodic: {exporter: {otlp: {temporality_preference: sometimes}}}}]",
                "unsupported temporality preference \"sometimes\"",
            ),
            (
                "readers: [{periodic: {exporter: {otlp: {endpoint: 'http://user:CANARY^@host:4318'}}}}]",
                "endpoint: invalid uri character: give scheme://host:port",
            ),
            (
                "readers: [{periodic: {exporter: {otlp: {endpoint: 'https://host:4318', \
                 certificate: '-----BEGIN PRIVATE KEY-----CANARY'}}}}]",
                "certificate: read [REDACTED]: No such file",
            ),
            ("{level: detailed, views: [{stream: {name: a}}]}", "a selector with at least one condition"),
        ] {
            let node = weir_config::parse_body(options).expect("YAML");
            let config: MetricsConfig =
                weir_config::from_node(&node, &weir_config::Path::new()).expect("valid");
            let error = init_metrics(&config, &identity).expect_err("refused");
            assert!(error.starts_with("failed to create meter provider: "), "{error}");
            assert!(error.contains(sentence) && !error.contains("CANARY"), "{error}");
        }
    }
}
