//! The agent's own metrics: one meter, read by Prometheus and pushed over OTLP.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};
use weir_config::telemetry::{MetricsConfig, MetricsLevel, OtlpExporter, PrometheusExporter};

use crate::Identity;

/// The running metrics of the agent.
pub struct Metrics {
    provider: SdkMeterProvider,
    endpoints: Vec<(String, Registry)>,
}

/// Sets up what `config` says. Must be called inside a tokio runtime when a reader pushes over OTLP.
///
/// # Errors
/// A sentence about a reader that cannot be set up.
pub fn init_metrics(config: &MetricsConfig, identity: &Identity) -> Result<Metrics, String> {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", identity.name.clone()),
            KeyValue::new("service.version", identity.version.clone()),
            KeyValue::new("service.instance.id", identity.instance.clone()),
        ])
        .build();
    let mut builder = SdkMeterProvider::builder().with_resource(resource);
    let mut endpoints = Vec::new();
    let readers = if config.level == MetricsLevel::None { &[] } else { &config.readers[..] };
    for reader in readers {
        if let Some(prometheus) = reader.pull.as_ref().and_then(|pull| pull.exporter.prometheus.as_ref()) {
            let registry = Registry::new();
            builder = with_prometheus(builder, prometheus, &registry)?;
            let host = prometheus.host.as_deref().unwrap_or("localhost");
            endpoints.push((format!("{host}:{}", prometheus.port.unwrap_or(8888)), registry));
        }
        let otlp = reader.periodic.as_ref().and_then(|p| p.exporter.otlp.as_ref().map(|o| (p, o)));
        if let Some((periodic, otlp)) = otlp {
            let millis = u64::try_from(periodic.interval.unwrap_or(60_000)).unwrap_or(60_000).max(1);
            let push =
                PeriodicReader::builder(exporter(&otlp.otlp)?).with_interval(Duration::from_millis(millis));
            builder = builder.with_reader(push.build());
        }
    }
    Ok(Metrics { provider: builder.build(), endpoints })
}

fn with_prometheus(
    builder: MeterProviderBuilder,
    config: &PrometheusExporter,
    registry: &Registry,
) -> Result<MeterProviderBuilder, String> {
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
    let mut exporter = exporter.scope_info_enabled(!config.without_scope_info);
    if config.without_type_suffix {
        exporter = exporter.without_counter_suffixes();
    }
    if config.without_units {
        exporter = exporter.without_units();
    }
    Ok(builder.with_reader(exporter.build().map_err(|e| format!("failed to create meter provider: {e}"))?))
}

fn exporter(config: &OtlpExporter) -> Result<MetricExporter, String> {
    let timeout = Duration::from_millis(u64::try_from(config.timeout.unwrap_or(10_000)).unwrap_or(10_000));
    let scheme = if config.insecure == Some(true) { "http://" } else { "https://" };
    let endpoint = config
        .endpoint
        .as_deref()
        .map(|e| if e.contains("://") { e.to_owned() } else { format!("{scheme}{e}") });
    let fail = |e: &dyn std::fmt::Display| format!("failed to create meter provider: {e}");
    match config.protocol.as_deref().unwrap_or("http/protobuf") {
        "grpc" | "grpc/protobuf" => {
            let builder = MetricExporter::builder().with_tonic().with_timeout(timeout);
            let builder = match endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            };
            builder.build().map_err(|e| fail(&e))
        }
        "http/protobuf" => {
            let builder = MetricExporter::builder().with_http().with_timeout(timeout);
            let builder = match endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            };
            builder.build().map_err(|e| fail(&e))
        }
        other => Err(fail(&format!("unsupported protocol {other:?}: use grpc/protobuf or http/protobuf"))),
    }
}

impl Metrics {
    /// The meter of the agent.
    pub fn meter(&self) -> Meter {
        self.provider.meter("weir")
    }

    /// Addresses on which Prometheus is to be answered, with the text for each.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, impl Fn() -> String + Clone + Send + 'static)> {
        self.endpoints.iter().map(|(address, registry)| {
            let registry = registry.clone();
            let text = move || TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default();
            (address.as_str(), text)
        })
    }

    /// Pushes what is left and ends.
    pub fn shutdown(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!(error = %error, "the last metrics were not delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_they_are_without_suffixes() {
        let identity = Identity { name: "weir".into(), version: "1".into(), instance: "i".into() };
        let metrics = init_metrics(&MetricsConfig::default(), &identity).expect("set up");
        let counter = metrics.meter().u64_counter("otelcol_exporter_sent_spans").with_unit("{spans}").build();
        counter.add(3, &[KeyValue::new("exporter", "debug")]);
        let (address, text) = metrics.endpoints().next().expect("one endpoint");
        let text = text();
        assert_eq!(address, "localhost:8888");
        assert!(text.contains("otelcol_exporter_sent_spans{exporter=\"debug\"} 3"), "{text}");
        assert!(text.contains("target_info{"), "{text}");
    }
}
