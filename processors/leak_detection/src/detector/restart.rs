//! Leaks that restarts hide: each instance grows until it is replaced, none lives long enough for a verdict.

use super::input::{Resource, Side};
use super::series::Series;
use super::stats;
use std::collections::{HashMap, VecDeque};

/// Instances remembered per service and target.
const INSTANCES: usize = 8;
/// How many of them must have grown.
const POSITIVE: usize = 3;
/// Services and targets remembered; beyond, the one that was quiet for longest is forgotten.
const MAX_SERVICES: usize = 1000;

/// What restarts are remembered by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RestartKey {
    /// Service, or executable where there is no service.
    pub(crate) service: String,
    pub(crate) side: Side,
    pub(crate) target: String,
    pub(crate) resource: Resource,
}

/// How an ended instance grew.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    positive: bool,
    rate: f64,
    crossed: f64,
    died: f64,
}

/// A leak hidden by restarts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Masked {
    /// Instances that grew until their end, of how many.
    pub(crate) positive: usize,
    pub(crate) instances: usize,
    /// Median of their growth per second.
    pub(crate) rate: f64,
    /// Together they leave no doubt.
    pub(crate) certain: bool,
}

/// The last instances of each service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restarts {
    rings: HashMap<RestartKey, (i64, VecDeque<Outcome>)>,
}

impl Restarts {
    /// Remembers how a series of an ended instance grew.
    pub(crate) fn ended(&mut self, key: RestartKey, series: &Series, now: i64) {
        let evaluation = &series.evaluation;
        let positive = evaluation.blocks >= 4
            && evaluation.growth >= 3.0
            && evaluation.z >= 1.64
            && evaluation.late_share >= 0.35
            && evaluation.slopes.low >= 0.0;
        let outcome = Outcome {
            positive,
            rate: evaluation.slopes.median,
            crossed: evaluation.crossed,
            died: evaluation.died,
        };
        if self.rings.len() >= MAX_SERVICES && !self.rings.contains_key(&key) {
            let quiet = self.rings.iter().min_by_key(|(_, (seen, _))| *seen).map(|(key, _)| key.clone());
            if let Some(quiet) = quiet {
                self.rings.remove(&quiet);
            }
        }
        let (seen, ring) = self.rings.entry(key).or_default();
        *seen = now;
        if ring.len() == INSTANCES {
            ring.pop_front();
        }
        ring.push_back(outcome);
    }

    /// Whether the instances before this one grew until they were replaced.
    pub(crate) fn masked(&self, key: &RestartKey) -> Option<Masked> {
        let (_, ring) = self.rings.get(key)?;
        let positive: Vec<&Outcome> = ring.iter().filter(|outcome| outcome.positive).collect();
        if positive.len() < POSITIVE {
            return None;
        }
        let mut rates: Vec<f64> = positive.iter().map(|outcome| outcome.rate).collect();
        rates.sort_by(f64::total_cmp);
        let crossed = ring.iter().map(|outcome| outcome.crossed).sum();
        let died = ring.iter().map(|outcome| outcome.died).sum();
        Some(Masked {
            positive: positive.len(),
            instances: ring.len(),
            rate: rates[rates.len() / 2],
            certain: stats::fair_coin_tail(crossed, died) < 1e-3 && positive.len() * 2 > ring.len(),
        })
    }
}
