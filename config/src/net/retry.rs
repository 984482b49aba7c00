//! When to try again, and how long one try may take.

use serde::{Deserialize, Serialize};

use crate::{GoDuration, Issues, Validate};

/// Retry of what a backend refused for now, with growing pauses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Whether to try again at all. On by default; off drops data on the first failure.
    pub enabled: bool,
    /// Pause after the first failure. 5s.
    pub initial_interval: GoDuration,
    /// Each pause is multiplied by a random factor within 1 ± this. 0.5; from 0 to 1.
    pub randomization_factor: f64,
    /// How much longer the next pause is. 1.5.
    pub multiplier: f64,
    /// Longest pause. 30s.
    pub max_interval: GoDuration,
    /// Give up, and drop the data, after this time. 5m; 0 never gives up.
    pub max_elapsed_time: GoDuration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: GoDuration::from_secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: GoDuration::from_secs(30),
            max_elapsed_time: GoDuration::from_mins(5),
        }
    }
}

impl Validate for RetryConfig {
    fn validate(&self, issues: &mut Issues) {
        let durations = [
            ("initial_interval", self.initial_interval),
            ("max_interval", self.max_interval),
            ("max_elapsed_time", self.max_elapsed_time),
        ];
        if !self.enabled {
            return;
        }
        if self.max_elapsed_time > GoDuration::ZERO {
            if self.max_elapsed_time < self.initial_interval {
                issues.at("max_elapsed_time", "'max_elapsed_time' must not be less than 'initial_interval'");
            }
            if self.max_elapsed_time < self.max_interval {
                issues.at("max_elapsed_time", "'max_elapsed_time' must not be less than 'max_interval'");
            }
        }
        for (name, duration) in durations {
            if duration.is_negative() {
                issues.at(name, format!("'{name}' must be non-negative"));
            }
        }
        if self.multiplier < 0.0 || !self.multiplier.is_finite() {
            issues.at("multiplier", "'multiplier' must be non-negative");
        }
        if !(0.0..=1.0).contains(&self.randomization_factor) {
            issues.at("randomization_factor", "'randomization_factor' must be within [0, 1]");
        }
    }
}

/// How long one try may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutConfig {
    /// Longest time of one attempt. 5s; 0 is no limit.
    pub timeout: GoDuration,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self { timeout: GoDuration::from_secs(5) }
    }
}

impl Validate for TimeoutConfig {
    fn validate(&self, issues: &mut Issues) {
        if self.timeout.is_negative() {
            issues.at("timeout", "'timeout' must be non-negative");
        }
    }
}
