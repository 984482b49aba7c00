//! Spans: randomness and threshold are in the trace state.

use weir_pdata::view::{self, AnyValue};

use crate::sampler::{Known, Policy, Sampler, Trouble, hashed};
use crate::threshold::{Randomness, Threshold};
use crate::tracestate::TraceState;

/// What a span brings along, and its trace state where it can be read.
pub(crate) fn known<'a>(sampler: &Sampler, span: view::Span<'a>) -> (Known, TraceState<'a>) {
    let (mut state, trouble) = TraceState::parse(span.trace_state());
    let trouble = trouble.map(Trouble::Unreadable);
    let id = trace_id(span.trace_id());
    let mut known = Known {
        randomness: Randomness::LARGEST,
        policy: Policy::Missing,
        arriving: state.threshold,
        // What keeps nothing by itself notes the threshold that an item asks for, whatever it carries.
        writable: trouble.is_none() || *sampler == Sampler::Never,
        trouble,
    };
    match sampler {
        Sampler::Never => known.policy = Policy::Priority,
        Sampler::Hash { seed, .. } => {
            if let Some(id) = id {
                (known.randomness, known.policy) = (hashed(*seed, &id), Policy::TraceIdHash);
            }
            if known.trouble.is_none() {
                known.trouble = in_use(state.randomness.is_some(), state.threshold.is_some());
                known.writable = known.trouble.is_none();
                if known.writable {
                    state.randomness = Some(known.randomness);
                }
            }
        }
        Sampler::Equalizing(_) | Sampler::Proportional { .. } if known.trouble.is_none() => {
            if let Some(randomness) = state.randomness {
                (known.randomness, known.policy) = (randomness, Policy::Explicit);
            } else if let Some(id) = id {
                (known.randomness, known.policy) = (Randomness::of_trace_id(id), Policy::TraceId);
            }
        }
        _ => {}
    }
    (known, state)
}

/// Hashing leaves alone what another way of sampling has marked.
pub(crate) fn in_use(randomness: bool, threshold: bool) -> Option<Trouble> {
    match (randomness, threshold) {
        (true, _) => Some(Trouble::RandomnessInUse),
        (_, true) => Some(Trouble::ThresholdInUse),
        _ => None,
    }
}

/// A trace id; `None` when it is missing or all zeros.
pub(crate) fn trace_id(bytes: &[u8]) -> Option<[u8; 16]> {
    bytes.try_into().ok().filter(|id| *id != [0; 16])
}

/// What the attribute `sampling.priority` asks for: 0 to drop the span, more to keep it.
pub(crate) fn priority(span: view::Span<'_>) -> Option<Threshold> {
    let value = match span.attributes().get("sampling.priority")? {
        AnyValue::Int(value) => value as f64,
        AnyValue::Double(value) => value,
        AnyValue::Str(text) => text.parse().ok()?,
        _ => return None,
    };
    match value {
        0.0 => Some(Threshold::NEVER),
        value if value > 0.0 => Some(Threshold::ALWAYS),
        _ => None,
    }
}
