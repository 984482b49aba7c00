//! Contention of mutexes, from counts that only grow.

/// How mutexes are contended.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Contention {
    pub(crate) per_second: f64,
    /// Mean delay of one, seconds; 0 when there was none.
    pub(crate) delay: f64,
}

/// The last counts, and what became of them since the ones before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mutexes {
    last: Option<(i64, f64, f64)>,
    pub(crate) lately: Option<Contention>,
}

impl Mutexes {
    /// Takes in contentions and seconds waited, in total, as of `time` (ns); counts that fell begin anew.
    pub(crate) fn observe(&mut self, time: i64, totals: Option<(f64, f64)>) {
        let Some((contentions, seconds)) = totals.filter(|(c, s)| c.is_finite() && s.is_finite()) else {
            return;
        };
        if let Some((before, old_contentions, old_seconds)) = self.last {
            let elapsed = time.saturating_sub(before) as f64 / 1e9;
            let (grown, waited) = (contentions - old_contentions, seconds - old_seconds);
            if elapsed <= 0.0 {
                return;
            }
            let delay = if grown > 0.0 { waited / grown } else { 0.0 };
            self.lately =
                (grown >= 0.0 && waited >= 0.0).then_some(Contention { per_second: grown / elapsed, delay });
        }
        self.last = Some((time, contentions, seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contention_is_what_two_counts_differ_by() {
        let mut mutexes = Mutexes::default();
        mutexes.observe(0, Some((1000.0, 5.0)));
        assert_eq!(mutexes.lately, None, "one count says nothing of a rate");
        mutexes.observe(10_000_000_000, Some((3000.0, 6.0)));
        assert_eq!(mutexes.lately, Some(Contention { per_second: 200.0, delay: 0.0005 }));
        mutexes.observe(10_000_000_000, Some((3000.0, 6.0)));
        mutexes.observe(15_000_000_000, None);
        assert_eq!(mutexes.lately, Some(Contention { per_second: 200.0, delay: 0.0005 }));
        mutexes.observe(20_000_000_000, Some((3000.0, 6.0)));
        assert_eq!(mutexes.lately, Some(Contention::default()));
        mutexes.observe(30_000_000_000, Some((10.0, 0.1)));
        assert_eq!(mutexes.lately, None, "the process was restarted");
    }
}
