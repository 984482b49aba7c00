//! Axes: where a value lies, and which round values are marked.

use weir_connection::terminal::units;

/// A linear axis from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Steps between marked times, in seconds: round in minutes, hours and days.
const TIME_STEPS: [f64; 27] = [
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1_800.0,
    3_600.0,
    7_200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_536_000.0,
    157_680_000.0,
    315_360_000.0,
];

impl Axis {
    /// From zero to a round value at or above `highest`, at least 4.
    pub(super) fn of_counts(highest: f64) -> Self {
        let highest = if highest.is_finite() { highest.clamp(4.0, 1e18) } else { 4.0 };
        let step = count_step(highest);
        Self { low: 0.0, high: (highest / step).ceil() * step }
    }

    /// From one time to another, at least a second.
    pub(super) fn of_times(first: f64, last: f64) -> Self {
        Self { low: first, high: last.max(first + 1.0) }
    }

    /// Share of the axis at which a value lies, 0 to 1; values beyond an end lie on it.
    pub(super) fn share(self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Round counts to mark, at most six, beginning at zero.
    pub(super) fn counts(self) -> Vec<f64> {
        let step = count_step(self.high);
        (0..=5)
            .map(|index| f64::from(index) * step)
            .take_while(|value| *value <= self.high * 1.000_001)
            .collect()
    }

    /// Round times to mark, at most `most`, and the step between them in seconds.
    pub(super) fn times(self, most: usize) -> (Vec<f64>, f64) {
        let span = self.high - self.low;
        let fits = |step: &&f64| span / **step <= most as f64;
        let step = TIME_STEPS.iter().find(fits).copied().unwrap_or(span.max(1.0));
        let first = (self.low / step).ceil();
        let marks =
            (0..most).map(|index| (first + index as f64) * step).take_while(|time| *time <= self.high);
        (marks.collect(), step)
    }
}

/// A marked count in few letters: `300`, `40,000`, `500 k`, `1.2 M`, `3 G`, `2e14`.
pub(super) fn short(count: f64) -> String {
    match count.abs() {
        size if size < 1e5 => units::count(count),
        size if size < 1e6 => format!("{} k", units::count(count / 1e3)),
        size if size < 1e9 => format!("{} M", units::count(count / 1e6)),
        size if size < 1e12 => format!("{} G", units::count(count / 1e9)),
        _ => format!("{count:.0e}"),
    }
}

/// 1, 2 or 5 times a power of ten such that at most five steps reach `highest`; never below one.
fn count_step(highest: f64) -> f64 {
    let rough = (highest / 5.0).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999_999);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_end_on_a_round_value_and_have_few_marks() {
        for (highest, high) in [(0.0, 4.0), (58.0, 60.0), (60.0, 60.0), (61.0, 80.0), (38_340.0, 40_000.0)] {
            let axis = Axis::of_counts(highest);
            assert_eq!(axis.high, high, "{highest}");
            assert!(axis.counts().len() <= 6, "{:?}", axis.counts());
            assert_eq!(axis.counts().last(), Some(&high));
        }
    }

    #[test]
    fn any_axis_is_finite_and_has_marks_within_it() {
        for highest in [f64::NAN, f64::INFINITY, -1.0, 1e300, 0.3, 7.0] {
            let axis = Axis::of_counts(highest);
            assert!(axis.high.is_finite() && !axis.counts().is_empty());
        }
        for span in [0.0, 0.5, 29.0, 86_400.0, 1e9, 2e11] {
            let axis = Axis::of_times(1_773_500_530.0, 1_773_500_530.0 + span);
            let (marks, step) = axis.times(6);
            assert!(marks.len() <= 6 && step > 0.0, "{span}: {marks:?}");
            assert!(marks.iter().all(|mark| (axis.low..=axis.high).contains(mark)));
        }
    }

    #[test]
    fn large_counts_have_short_marks() {
        let marks = [300.0, 40_000.0, 500_000.0, 1.2e6, 3e9, 2e14].map(short);
        assert_eq!(marks, ["300", "40,000", "500 k", "1.2 M", "3 G", "2e14"]);
    }

    #[test]
    fn values_beyond_the_axis_lie_on_its_end() {
        let axis = Axis::of_counts(100.0);
        assert_eq!(
            (axis.share(50.0), axis.share(-3.0), axis.share(1e9), axis.share(f64::NAN)),
            (0.5, 0.0, 1.0, 0.0)
        );
    }
}
