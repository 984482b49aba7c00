//! `service::telemetry::metrics::views`: changes to single metrics.

use std::collections::BTreeSet;

use opentelemetry::Key;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, Stream};
use weir_config::telemetry::{IncludeExclude, View, ViewAggregation, ViewSelector, ViewStream};

use crate::wildcard;

/// Keys of all attributes of the agent's own metrics: an SDK can only be told which keys stay.
const KEYS: [&str; 27] = [
    "receiver",
    "transport",
    "processor",
    "otel_signal",
    "exporter",
    "data_type",
    "scraper",
    "server.address",
    "server.port",
    "url.path",
    "url.scheme",
    "error.type",
    "error.permanent",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "network.protocol.name",
    "network.protocol.version",
    "rpc.method",
    "rpc.service",
    "rpc.system",
    "rpc.system.name",
    "rpc.response.status_code",
    "rpc.grpc.status_code",
    "outcome",
    "policy",
    "sampled",
];

/// What the SDK does with an instrument: a function for each view.
///
/// # Errors
/// What is wrong with a view.
pub(crate) fn function(
    view: &View,
) -> Result<impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static, String> {
    let selector = view.selector.clone().unwrap_or_default();
    if selector == ViewSelector::default() {
        return Err("view: a selector with at least one condition is needed".to_owned());
    }
    if let Some(kind) = &selector.instrument_type {
        kind_named(kind)?;
    }
    let stream = view.stream.clone().unwrap_or_default();
    // A stream that cannot be built is an error at the start and not a view without effect.
    build(&stream)?;
    Ok(move |instrument: &Instrument| if selects(&selector, instrument) { build(&stream).ok() } else { None })
}

fn selects(selector: &ViewSelector, instrument: &Instrument) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    let scope = instrument.scope();
    let kind = selector.instrument_type.as_deref().and_then(|kind| kind_named(kind).ok());
    selector.instrument_name.as_deref().is_none_or(|p| wildcard::matches(p, instrument.name()))
        && kind.is_none_or(|kind| kind == kind_of(instrument.kind()))
        && is(&selector.unit, Some(instrument.unit()))
        && is(&selector.meter_name, Some(scope.name()))
        && is(&selector.meter_version, scope.version())
        && is(&selector.meter_schema_url, scope.schema_url())
}

/// Kinds as a selector sees them. How a value is read is no difference here: what the Collector adds up as it goes is
/// read from counts in this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    UpDownCounter,
    Histogram,
    Gauge,
}

fn kind_named(name: &str) -> Result<Kind, String> {
    Ok(match name {
        "counter" | "observable_counter" => Kind::Counter,
        "up_down_counter" | "observable_up_down_counter" => Kind::UpDownCounter,
        "histogram" => Kind::Histogram,
        "gauge" | "observable_gauge" => Kind::Gauge,
        other => return Err(format!("view: instrument_type: invalid value {other:?}")),
    })
}

fn kind_of(kind: InstrumentKind) -> Kind {
    match kind {
        InstrumentKind::Counter | InstrumentKind::ObservableCounter => Kind::Counter,
        InstrumentKind::UpDownCounter | InstrumentKind::ObservableUpDownCounter => Kind::UpDownCounter,
        InstrumentKind::Histogram => Kind::Histogram,
        InstrumentKind::Gauge | InstrumentKind::ObservableGauge => Kind::Gauge,
    }
}

fn build(config: &ViewStream) -> Result<Stream, String> {
    let mut stream = Stream::builder();
    if let Some(name) = &config.name {
        stream = stream.with_name(name.clone());
    }
    if let Some(description) = &config.description {
        stream = stream.with_description(description.clone());
    }
    if let Some(aggregation) = config.aggregation.as_ref().and_then(aggregation) {
        stream = stream.with_aggregation(aggregation);
    }
    if let Some(limit) = config.aggregation_cardinality_limit.and_then(|l| usize::try_from(l).ok()) {
        stream = stream.with_cardinality_limit(limit);
    }
    if let Some(keys) = &config.attribute_keys {
        stream = stream.with_allowed_attribute_keys(allowed(keys).into_iter().map(Key::new));
    }
    stream.build().map_err(|e| format!("view: {e}"))
}

/// The keys that stay: those included, else all that there are, without those excluded.
fn allowed(keys: &IncludeExclude) -> BTreeSet<String> {
    let all = KEYS.iter().map(|key| (*key).to_owned()).chain(keys.included.iter().cloned());
    all.filter(|key| wildcard::selects(keys, key)).collect()
}

fn aggregation(config: &ViewAggregation) -> Option<Aggregation> {
    if config.drop.is_some() {
        return Some(Aggregation::Drop);
    }
    if config.last_value.is_some() {
        return Some(Aggregation::LastValue);
    }
    if config.sum.is_some() {
        return Some(Aggregation::Sum);
    }
    if let Some(histogram) = &config.explicit_bucket_histogram {
        let record_min_max = histogram.record_min_max.unwrap_or(true);
        return Some(Aggregation::ExplicitBucketHistogram {
            boundaries: histogram.boundaries.clone(),
            record_min_max,
        });
    }
    let histogram = config.base2_exponential_bucket_histogram.as_ref()?;
    Some(Aggregation::Base2ExponentialHistogram {
        max_size: histogram.max_size.and_then(|n| u32::try_from(n).ok()).unwrap_or(160),
        max_scale: histogram.max_scale.and_then(|n| i8::try_from(n).ok()).unwrap_or(20),
        record_min_max: histogram.record_min_max.unwrap_or(true),
    })
}
