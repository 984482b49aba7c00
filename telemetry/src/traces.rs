//! The agent's own traces.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global::ObjectSafeTracerProvider;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, ShouldSample, SpanExporter,
    SpanLimits, TracerProviderBuilder,
};
use weir_config::telemetry::{self as config, BatchProcessor, MetricsLevel, PushExporter, TracesConfig};

use crate::console::Console;
use crate::{Identity, otlp, propagators};

/// The running traces of the agent.
#[derive(Debug)]
pub struct Traces {
    provider: Option<SdkTracerProvider>,
    propagators: Vec<String>,
}

/// Sets up what `config` says; without processors there are no traces. Must be called inside a tokio runtime when a
/// processor sends over OTLP.
///
/// # Errors
/// A sentence about a processor or sampler that cannot be set up.
pub fn init_traces(config: &TracesConfig, identity: &Identity) -> Result<Traces, String> {
    if config.level == MetricsLevel::None || config.processors.is_empty() {
        tracing::info!("Internal trace telemetry disabled");
        return Ok(Traces { provider: None, propagators: Vec::new() });
    }
    let set_up = || {
        let mut builder = SdkTracerProvider::builder().with_resource(identity.resource());
        if let Some(config) = config.sampler.as_deref() {
            builder = builder.with_sampler(sampler(config)?);
        }
        if let Some(config) = &config.limits {
            builder = builder.with_span_limits(limits(config)?);
        }
        for processor in &config.processors {
            let (exporter, batch) = match (&processor.batch, &processor.simple) {
                (Some(batch), None) => (&batch.exporter, Some(batch)),
                (None, Some(simple)) => (&simple.exporter, None),
                _ => return Err("span processor: needs `batch` or `simple`, and only one".to_owned()),
            };
            builder = with_exporter(builder, exporter, batch)?;
        }
        Ok(builder.build())
    };
    let provider = set_up().map_err(|e: String| format!("failed to create tracer provider: {e}"))?;
    Ok(Traces { provider: Some(provider), propagators: config.propagators.clone() })
}

fn with_exporter(
    builder: TracerProviderBuilder,
    config: &PushExporter,
    batch: Option<&BatchProcessor>,
) -> Result<TracerProviderBuilder, String> {
    if config.console.is_some() {
        return Ok(with(builder, Console::default(), batch));
    }
    match &config.otlp {
        Some(config) => Ok(with(builder, otlp::spans(config)?, batch)),
        None => Err("no valid span exporter: a span processor needs `otlp` or `console`".to_owned()),
    }
}

/// One by one is in batches of one: the SDK's simple processor would hold the thread that ends a span until it is
/// delivered, and the delivery may need that thread.
fn with<E: SpanExporter + 'static>(
    builder: TracerProviderBuilder,
    exporter: E,
    batch: Option<&BatchProcessor>,
) -> TracerProviderBuilder {
    let simple = BatchProcessor { max_export_batch_size: Some(1), ..BatchProcessor::default() };
    let config = batch.unwrap_or(&simple);
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
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(settings.build());
    builder.with_span_processor(processor.build())
}

/// A number that is given and makes sense.
fn size(given: Option<i64>) -> Option<usize> {
    given.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
}

fn sampler(config: &config::Sampler) -> Result<Box<dyn ShouldSample>, String> {
    let config::Sampler { always_on, always_off, trace_id_ratio_based, parent_based } = config;
    let mut given: Vec<Box<dyn ShouldSample>> = Vec::new();
    if always_on.is_some() {
        given.push(Sampler::AlwaysOn.into());
    }
    if always_off.is_some() {
        given.push(Sampler::AlwaysOff.into());
    }
    if let Some(config) = trace_id_ratio_based {
        let ratio = config.ratio.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(format!("sampler: ratio is {ratio}, but a share lies between 0 and 1"));
        }
        given.push(Sampler::TraceIdRatioBased(ratio).into());
    }
    if let Some(config) = parent_based {
        let of = |config: &Option<Box<config::Sampler>>| config.as_deref().map(sampler).transpose();
        let mut sampler =
            Sampler::parent_based(of(&config.root)?.unwrap_or_else(|| Sampler::AlwaysOn.into()));
        if let Some(delegate) = of(&config.remote_parent_sampled)? {
            sampler = sampler.with_remote_parent_sampled(delegate);
        }
        if let Some(delegate) = of(&config.remote_parent_not_sampled)? {
            sampler = sampler.with_remote_parent_not_sampled(delegate);
        }
        if let Some(delegate) = of(&config.local_parent_sampled)? {
            sampler = sampler.with_local_parent_sampled(delegate);
        }
        if let Some(delegate) = of(&config.local_parent_not_sampled)? {
            sampler = sampler.with_local_parent_not_sampled(delegate);
        }
        given.push(sampler.into());
    }
    match given.len() {
        1 => given.pop().ok_or_else(String::new),
        _ => {
            Err("sampler: needs one of always_on, always_off, trace_id_ratio_based, parent_based".to_owned())
        }
    }
}

fn limits(config: &config::SpanLimits) -> Result<SpanLimits, String> {
    if config.attribute_value_length_limit.is_some() {
        return Err("limits: attribute_value_length_limit is not supported: remove it".to_owned());
    }
    let default = SpanLimits::default();
    let or = |given: Option<i64>, default: u32| given.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    Ok(SpanLimits {
        max_attributes_per_span: or(config.attribute_count_limit, default.max_attributes_per_span),
        max_events_per_span: or(config.event_count_limit, default.max_events_per_span),
        max_links_per_span: or(config.link_count_limit, default.max_links_per_span),
        max_attributes_per_event: or(config.event_attribute_count_limit, default.max_attributes_per_event),
        max_attributes_per_link: or(config.link_attribute_count_limit, default.max_attributes_per_link),
    })
}

impl Traces {
    /// Where components get their tracers; `None` when there are no traces.
    pub fn provider(&self) -> Option<Arc<dyn ObjectSafeTracerProvider + Send + Sync>> {
        self.provider
            .clone()
            .map(|provider| Arc::new(provider) as Arc<dyn ObjectSafeTracerProvider + Send + Sync>)
    }

    /// How traces go on from peer to peer.
    pub fn propagator(&self) -> Arc<dyn TextMapPropagator + Send + Sync> {
        propagators::named(&self.propagators)
    }

    /// Sends what is left and ends. Blocks until it is delivered or its time is up.
    pub fn shutdown(&self) {
        if let Some(Err(error)) = self.provider.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::debug!(error = %error, "the last spans were not delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_config::telemetry::ResourceConfig;

    use super::*;

    fn init(options: &str) -> Result<Traces, String> {
        let node = weir_config::parse_body(options).expect("YAML");
        let config: TracesConfig = weir_config::load(&node, &weir_config::Path::new()).expect("valid");
        let identity = Identity::new("weir", "1", &ResourceConfig::default()).expect("valid");
        init_traces(&config, &identity)
    }

    #[test]
    fn there_are_no_traces_without_processors_or_at_level_none() {
        for options in ["", "{level: none, processors: [{simple: {exporter: {console: {}}}}]}"] {
            assert!(init(options).expect("valid").provider().is_none(), "{options}");
        }
        assert!(
            init("processors: [{simple: {exporter: {console: {}}}}]").expect("valid").provider().is_some()
        );
    }

    #[test]
    fn samplers_and_limits_are_taken_and_what_is_wrong_is_said() {
        let with =
            |rest: &str| init(&format!("processors: [{{simple: {{exporter: {{console: {{}}}}}}}}]\n{rest}"));
        let parent = "sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.1}}, \
                      remote_parent_sampled: {always_off: {}}}}\nlimits: {event_count_limit: 4}";
        assert!(with(parent).is_ok());
        for (rest, sentence) in [
            ("sampler: {}", "needs one of always_on"),
            ("sampler: {trace_id_ratio_based: {ratio: 2}}", "between 0 and 1"),
            ("limits: {attribute_value_length_limit: 3}", "attribute_value_length_limit"),
        ] {
            let error = with(rest).expect_err("refused");
            assert!(error.contains(sentence), "{error}");
        }
        assert!(init("processors: [{}]").is_err_and(|e| e.contains("`batch` or `simple`")));
        assert!(
            init("processors: [{batch: {exporter: {}}}]").is_err_and(|e| e.contains("`otlp` or `console`"))
        );
    }
}
