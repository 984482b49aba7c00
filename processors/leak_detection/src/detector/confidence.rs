//! How sure: a sum of log-odds, said as low, medium or high.
//!
//! The weights are set by hand and not calibrated; the words are deliberately coarse.

use super::evidence;
use super::view::{Judgement, View};
use weir_connection::report::{Evidence, State};

/// Log-odds before any evidence: most growth is no leak.
const PRIOR: f64 = -2.0;
/// Probabilities from which it is medium and high.
const MEDIUM: f64 = 0.8;
const HIGH: f64 = 0.97;

/// `low`, `medium` or `high`; empty for state ok.
pub(crate) fn word(
    view: &View<'_>,
    judgement: &Judgement,
    evidence: &[Evidence],
    sited: bool,
) -> &'static str {
    if judgement.state == State::Ok {
        return "";
    }
    let probability = 1.0 / (1.0 + (-log_odds(view, evidence, sited)).exp());
    match probability {
        p if p >= HIGH && judgement.state != State::Suspect && view.fresh(view.primary) => "high",
        p if p >= MEDIUM => "medium",
        _ => "low",
    }
}

fn log_odds(view: &View<'_>, evidence: &[Evidence], sited: bool) -> f64 {
    let basis = view.primary.basis();
    let mut sum = PRIOR;
    sum += (basis.z - 1.64).clamp(0.0, 2.0);
    sum += (-basis.balance.max(1e-12).log10() / 3.0).clamp(0.0, 2.0);
    sum += if view.primary.quality().idle { 1.0 } else { -1.0 };
    sum += basis.unused_share.map_or(0.0, |share| 2.0 * (share - 0.5));
    let own = evidence::word_of(view.primary);
    for other in evidence.iter().filter(|e| e.source != own) {
        sum += match other.agrees {
            Some(true) => 1.0,
            Some(false) => -1.5,
            None => 0.0,
        };
    }
    if view.primary.certain.is_some() {
        sum += 2.0;
    }
    if sited {
        sum += 0.5;
    }
    if view.primary.lost_lately() > 0.0 {
        sum -= 0.5;
    }
    sum
}
