//! Log records: randomness and threshold are attributes.

use weir_pdata::edit::AttributeList;
use weir_pdata::text::Plain;
use weir_pdata::view::{self, AnyValue};

use crate::config::{Config, TRACE_ID};
use crate::sampler::{Known, Policy, Sampler, Trouble, hashed};
use crate::spans::{in_use, trace_id};
use crate::threshold::{Randomness, Threshold};

pub(crate) const RANDOMNESS: &str = "sampling.randomness";
pub(crate) const THRESHOLD: &str = "sampling.threshold";

/// What a log record brings along. The second value: randomness that it is to carry on.
pub(crate) fn known(
    sampler: &Sampler,
    config: &Config,
    record: view::LogRecord<'_>,
    attributes: &AttributeList<'_>,
) -> (Known, Option<Randomness>) {
    let mut trouble = None;
    let read = |key| attributes.text(key).filter(|text| !text.is_empty());
    let arriving = read(THRESHOLD).map(Threshold::parse).transpose().unwrap_or_else(|why| {
        trouble = Some(Trouble::Unreadable(why));
        None
    });
    let explicit = read(RANDOMNESS).map(Randomness::parse).transpose().unwrap_or_else(|why| {
        trouble = Some(Trouble::Unreadable(why));
        None
    });
    let writable = trouble.is_none() || *sampler == Sampler::Never;
    let mut known =
        Known { randomness: Randomness::LARGEST, policy: Policy::Missing, arriving, writable, trouble };
    let mut new = None;
    match sampler {
        Sampler::Never => known.policy = Policy::Priority,
        Sampler::Hash { seed, .. } => {
            if let Some((randomness, policy)) = by_hash(*seed, config, record, attributes) {
                (known.randomness, known.policy) = (randomness, policy);
            }
            if known.trouble.is_none() {
                known.trouble = in_use(explicit.is_some(), arriving.is_some());
                known.writable = known.trouble.is_none();
                new = Some(known.randomness).filter(|_| known.writable && known.policy != Policy::Missing);
            }
        }
        Sampler::Equalizing(_) | Sampler::Proportional { .. } if known.trouble.is_none() => {
            if let Some(randomness) = explicit {
                (known.randomness, known.policy) = (randomness, Policy::Explicit);
            } else if let Some(id) = trace_id(record.trace_id()) {
                (known.randomness, known.policy) = (Randomness::of_trace_id(id), Policy::TraceId);
            }
        }
        _ => {}
    }
    (known, new)
}

fn by_hash(
    seed: u32,
    config: &Config,
    record: view::LogRecord<'_>,
    attributes: &AttributeList<'_>,
) -> Option<(Randomness, Policy)> {
    if config.attribute_source == TRACE_ID
        && let Some(id) = trace_id(record.trace_id())
    {
        return Some((hashed(seed, &id), Policy::TraceIdHash));
    }
    if config.from_attribute.is_empty() {
        return None;
    }
    let value = attributes.read_value(attributes.get(&config.from_attribute)?);
    let hash = match value {
        AnyValue::Bytes(bytes) => (!bytes.is_empty()).then(|| hashed(seed, bytes)),
        value => {
            Some(Plain(value).to_string()).filter(|t| !t.is_empty()).map(|text| hashed(seed, text.as_bytes()))
        }
    };
    hash.map(|randomness| (randomness, Policy::Attribute))
}

/// The threshold that the attribute `sampling_priority` asks for as a percentage.
pub(crate) fn priority(config: &Config, attributes: &AttributeList<'_>) -> Option<Threshold> {
    if config.sampling_priority.is_empty() {
        return None;
    }
    let percentage = match attributes.read_value(attributes.get(&config.sampling_priority)?) {
        AnyValue::Double(value) => value,
        AnyValue::Int(value) => value as f64,
        _ => return None,
    };
    Threshold::for_probability(percentage / 100.0, config.digits())
}
