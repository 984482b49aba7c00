//! The decision, the same for spans and log records.

use std::fmt;

use crate::config::{Config, Mode};
use crate::threshold::{MIN_PROBABILITY, Randomness, Threshold};

/// How a threshold is found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sampler {
    /// Keeps nothing.
    Never,
    /// Randomness is a hash.
    Hash { seed: u32, threshold: Threshold },
    /// Raises thresholds to a fixed one.
    Equalizing(Threshold),
    /// Multiplies probabilities.
    Proportional { ratio: f64, digits: u32 },
}

/// Bits of a hash that count, and how many values they have.
const BUCKET_BITS: u32 = 14;
const BUCKETS: u32 = 1 << BUCKET_BITS;

impl Sampler {
    pub(crate) fn new(config: &Config) -> Sampler {
        let percentage = config.sampling_percentage.min(100.0);
        if percentage == 0.0 {
            return Sampler::Never;
        }
        let ratio = (f64::from(percentage) / 100.0).max(MIN_PROBABILITY);
        match config.mode {
            Mode::Equalizing => {
                let threshold =
                    Threshold::for_probability(ratio, config.digits()).unwrap_or(Threshold::ALWAYS);
                Sampler::Equalizing(threshold)
            }
            Mode::Proportional => Sampler::Proportional { ratio, digits: config.digits() },
            Mode::Unset | Mode::HashSeed => {
                // In 32 bits and rounded down, so that decisions stay what they were in older releases.
                let buckets = (percentage * (BUCKETS as f32 / 100.0)) as u32;
                match BUCKETS - buckets.min(BUCKETS) {
                    BUCKETS => Sampler::Never,
                    rejected => Sampler::Hash {
                        seed: config.hash_seed,
                        threshold: Threshold::from_high_bits(u64::from(rejected), BUCKET_BITS),
                    },
                }
            }
        }
    }

    fn threshold(&self, arriving: Option<Threshold>) -> Threshold {
        match self {
            Sampler::Never => Threshold::NEVER,
            Sampler::Hash { threshold, .. } => *threshold,
            Sampler::Equalizing(own) => arriving.map_or(*own, |arriving| arriving.max(*own)),
            Sampler::Proportional { ratio, digits } => {
                let probability = arriving.map_or(1.0, Threshold::probability) * ratio;
                Threshold::for_probability(probability, *digits).unwrap_or(Threshold::NEVER)
            }
        }
    }
}

/// Where the randomness of an item comes from: the label `policy` of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Missing,
    TraceIdHash,
    TraceId,
    Explicit,
    Priority,
    /// A hash of the attribute `from_attribute`.
    Attribute,
}

impl Policy {
    pub(crate) fn name(self, from_attribute: &str) -> &str {
        match self {
            Policy::Missing => "missing_randomness",
            Policy::TraceIdHash => "trace_id_hash",
            Policy::TraceId => "trace_id_w3c",
            Policy::Explicit => "sampling_randomness",
            Policy::Priority => "sampling_priority",
            Policy::Attribute => from_attribute,
        }
    }
}

/// Why the usual way was left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trouble {
    MissingRandomness,
    RandomnessInUse,
    ThresholdInUse,
    Inconsistent,
    /// What the item carries cannot be read.
    Unreadable(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::MissingRandomness => "missing randomness",
            Trouble::RandomnessInUse => {
                "item has sampling randomness, equalizing or proportional mode recommended"
            }
            Trouble::ThresholdInUse => {
                "item has sampling threshold, equalizing or proportional mode recommended"
            }
            Trouble::Inconsistent => "inconsistent arriving threshold: item should not have been sampled",
            Trouble::Unreadable(why) => why,
        })
    }
}

/// What is known of an item before the decision.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) randomness: Randomness,
    pub(crate) policy: Policy,
    /// The threshold it arrived with.
    pub(crate) arriving: Option<Threshold>,
    /// Whether what the item carries may be rewritten.
    pub(crate) writable: bool,
    pub(crate) trouble: Option<Trouble>,
}

/// The decision about an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decision {
    pub(crate) kept: bool,
    pub(crate) policy: Policy,
    /// Whether what the item carries is rewritten.
    pub(crate) writable: bool,
    /// The threshold it is to carry on; `None`: the one that it arrived with.
    pub(crate) threshold: Option<Threshold>,
}

/// Decides. `priority` is a threshold that the item itself asks for.
pub(crate) fn decide(
    sampler: &Sampler,
    fail_closed: bool,
    known: Known,
    priority: Option<Threshold>,
) -> Decision {
    let Known { randomness, mut policy, mut arriving, writable, mut trouble } = known;
    if trouble.is_none() {
        if policy == Policy::Missing {
            trouble = Some(Trouble::MissingRandomness);
        } else if writable && arriving.is_some_and(|threshold| !threshold.keeps(randomness)) {
            arriving = None;
            trouble = Some(Trouble::Inconsistent);
        }
    }
    let mut threshold = match &trouble {
        None => sampler.threshold(arriving),
        Some(why) => {
            tracing::debug!(error = %why, "sampler");
            if fail_closed { Threshold::NEVER } else { Threshold::ALWAYS }
        }
    };
    if let Some(asked) = priority {
        threshold = asked;
        policy = Policy::Priority;
    }
    let kept = threshold.keeps(randomness);
    // Probability may fall on the way, never rise.
    let raised = arriving.is_none_or(|arriving| arriving <= threshold);
    let writable = kept && writable;
    Decision { kept, policy, writable, threshold: Some(threshold).filter(|_| writable && raised) }
}

/// Randomness from a hash, of which only 14 bits decide. The rest is filled so that samplers that compare all 56 bits
/// decide the same.
pub(crate) fn hashed(seed: u32, bytes: &[u8]) -> Randomness {
    let hash = fnv1a(&seed.to_le_bytes(), bytes);
    let decisive = u64::from(hash & (BUCKETS - 1));
    let reversed = u64::from(BUCKETS - 1) - decisive;
    let unused = u64::from(hash >> (32 - BUCKET_BITS));
    let mixed = unused ^ unused << 10;
    Randomness::from_bits(reversed << 42 | mixed << 14 | decisive)
}

/// FNV-1a, 32 bits.
fn fnv1a(first: &[u8], second: &[u8]) -> u32 {
    let all = first.iter().chain(second);
    all.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b"", b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foo", b"bar"), 0xbf9c_f968);
    }

    #[test]
    fn a_percentage_keeps_its_share_of_all_hashes() {
        for percentage in [0.1f32, 1.0, 33.3, 50.0, 100.0, 120.0] {
            let config = Config { sampling_percentage: percentage, ..Config::default() };
            let Sampler::Hash { threshold, .. } = Sampler::new(&config) else { unreachable!("by hash") };
            let share = f64::from(percentage.min(100.0)) / 100.0;
            assert!((threshold.probability() - share).abs() < 1.0 / f64::from(BUCKETS), "{percentage}");
        }
        let tiny = Config { sampling_percentage: 0.001, ..Config::default() };
        assert_eq!(Sampler::new(&tiny), Sampler::Never);
    }

    fn known(randomness: &str, arriving: Option<&str>) -> Known {
        Known {
            randomness: Randomness::parse(randomness).expect("14 digits"),
            policy: Policy::TraceId,
            arriving: arriving.map(|th| Threshold::parse(th).expect("a threshold")),
            writable: true,
            trouble: None,
        }
    }

    fn outcome(decision: Decision) -> (bool, Option<String>) {
        (decision.kept, decision.threshold.map(Threshold::encode))
    }

    #[test]
    fn equalizing_raises_thresholds_and_leaves_higher_ones() {
        let sampler = Sampler::Equalizing(Threshold::parse("8").expect("half"));
        let decided = |r, th| outcome(decide(&sampler, true, known(r, th), None));
        assert_eq!(decided("80000000000000", None), (true, Some("8".into())));
        assert_eq!(decided("7fffffffffffff", Some("4")), (false, None));
        assert_eq!(decided("e0000000000000", Some("c")), (true, Some("c".into())));
    }

    #[test]
    fn proportional_multiplies() {
        let sampler = Sampler::Proportional { ratio: 0.5, digits: 4 };
        let decided = |r, th| outcome(decide(&sampler, true, known(r, th), None));
        assert_eq!(decided("80000000000000", None), (true, Some("8".into())));
        assert_eq!(decided("a0000000000000", Some("8")), (false, None));
        assert_eq!(decided("c0000000000000", Some("8")), (true, Some("c".into())));
    }

    #[test]
    fn trouble_is_decided_by_fail_closed_and_a_priority_wins() {
        let sampler = Sampler::Equalizing(Threshold::ALWAYS);
        let lie = || known("10000000000000", Some("8"));
        assert_eq!(outcome(decide(&sampler, true, lie(), None)), (false, None));
        assert_eq!(outcome(decide(&sampler, false, lie(), None)), (true, Some("0".into())));
        let kept = decide(&sampler, true, lie(), Some(Threshold::ALWAYS));
        assert_eq!((kept.kept, kept.policy), (true, Policy::Priority));
        let unknown = Known { policy: Policy::Missing, randomness: Randomness::LARGEST, ..lie() };
        assert!(!decide(&sampler, true, unknown, None).kept);
    }
}
