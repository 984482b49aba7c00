//! How much a cumulative count grew lately.

/// What a cumulative count was some blocks ago.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lately {
    before: Option<(i64, f64)>,
    recent: Option<(i64, f64)>,
}

impl Lately {
    /// Takes in the count at a time; what is older than once or twice `span` is forgotten.
    pub(crate) fn set(&mut self, time: i64, count: Option<f64>, span: i64) {
        let Some(count) = count else { return };
        match self.recent {
            Some((since, _)) if time.saturating_sub(since) < span => {}
            recent => {
                self.before = recent.or(Some((time, count)));
                self.recent = Some((time, count));
            }
        }
    }

    /// How much it grew by until now, and since when.
    pub(crate) fn growth(&self, count: Option<f64>) -> Option<(f64, i64)> {
        let (since, before) = self.before?;
        Some(((count? - before).max(0.0), since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_two_spans_is_no_news() {
        let mut lately = Lately::default();
        lately.set(0, Some(40.0), 10);
        assert_eq!(lately.growth(Some(40.0)), Some((0.0, 0)), "what was there when first seen is no growth");
        lately.set(5, Some(43.0), 10);
        assert_eq!(lately.growth(Some(43.0)), Some((3.0, 0)));
        for time in [10, 20, 30] {
            lately.set(time, Some(43.0), 10);
        }
        assert_eq!(lately.growth(Some(43.0)).map(|(count, _)| count), Some(0.0));
    }
}
