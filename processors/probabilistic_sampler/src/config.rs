//! Options.

use serde::{Deserialize, Serialize};
use weir_config::{Issues, Validate};

use crate::threshold::{MAX_DIGITS, MIN_PROBABILITY};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) sampling_percentage: f32,
    pub(crate) hash_seed: u32,
    pub(crate) mode: Mode,
    pub(crate) fail_closed: bool,
    pub(crate) sampling_precision: i64,
    pub(crate) attribute_source: String,
    pub(crate) from_attribute: String,
    pub(crate) sampling_priority: String,
}

/// How it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename = "unsupported sampler mode %q", rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Not chosen: as `hash_seed`.
    #[serde(rename = "")]
    Unset,
    HashSeed,
    Equalizing,
    Proportional,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sampling_percentage: 0.0,
            hash_seed: 0,
            mode: Mode::Unset,
            fail_closed: true,
            sampling_precision: 4,
            attribute_source: TRACE_ID.to_owned(),
            from_attribute: String::new(),
            sampling_priority: String::new(),
        }
    }
}

pub(crate) const TRACE_ID: &str = "traceID";
const RECORD: &str = "record";

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        let percentage = self.sampling_percentage;
        let ratio = f64::from(percentage) / 100.0;
        let rate = |words: String| (words, "give a percentage from 0 to 100");
        let wrong = match ratio {
            r if !r.is_finite() => Some(rate(format!("sampling rate is invalid: {percentage}%"))),
            r if r < 0.0 => Some(rate(format!("sampling rate is negative: {percentage:.6}%"))),
            r if r > 0.0 && r < MIN_PROBABILITY => {
                Some(rate(format!("sampling rate is too small: {percentage:e}%")))
            }
            _ => None,
        };
        if let Some((words, help)) = wrong {
            issues.at_with_help("sampling_percentage", words, help);
        }
        if !["", TRACE_ID, RECORD].contains(&self.attribute_source.as_str()) {
            let words = format!(
                "invalid attribute source: {}. Expected: {TRACE_ID} or {RECORD}",
                self.attribute_source
            );
            issues.at("attribute_source", words);
        }
        match self.sampling_precision {
            digits if digits <= 0 => {
                issues.at("sampling_precision", format!("invalid sampling precision: {digits}"));
            }
            digits if digits > i64::from(MAX_DIGITS) => {
                let words = format!("sampling precision is too great, should be <= 14: {digits}");
                issues.at("sampling_precision", words);
            }
            _ => {}
        }
    }
}

impl Config {
    /// Hex digits, checked.
    pub(crate) fn digits(&self) -> u32 {
        u32::try_from(self.sampling_precision).unwrap_or(MAX_DIGITS)
    }
}
