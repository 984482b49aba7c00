//! The statistics: trend, slope, balance, correlation, onset. Plain functions over at most a few dozen points.

/// Mann-Kendall statistic of a trend, normalised, with the correction for ties and for continuity.
///
/// Positive means rising; 1.64 and 2.33 are the one-sided 5 % and 1 % levels. 0 for fewer than three values.
/// Source: Kendall, Rank Correlation Methods, 1975.
pub(crate) fn mann_kendall(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 3 {
        return 0.0;
    }
    let mut s = 0i64;
    for (i, early) in values.iter().enumerate() {
        for late in &values[i + 1..] {
            s += i64::from(late > early) - i64::from(late < early);
        }
    }
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tied| spread(tied.len() as f64)).sum();
    let variance = (spread(n as f64) - ties) / 18.0;
    if variance <= 0.0 {
        return 0.0;
    }
    (s - s.signum()) as f64 / variance.sqrt()
}

/// Standard error of a slope through (x, y) points, by what the points lie off the line with that slope through their
/// median; infinite for fewer than three points, or when no two differ in x.
pub(crate) fn slope_error(points: &[(f64, f64)], slope: f64) -> f64 {
    let n = points.len() as f64;
    let mean = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean).powi(2)).sum();
    if points.len() < 3 || spread <= 0.0 {
        return f64::INFINITY;
    }
    let mut off: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    off.sort_unstable_by(f64::total_cmp);
    let middle = (off[(off.len() - 1) / 2] + off[off.len() / 2]) / 2.0;
    let squares: f64 = off.iter().map(|y| (y - middle).powi(2)).sum();
    (squares / (n - 2.0) / spread).sqrt()
}

/// Slopes between all pairs of points: their median and the 15 % and 85 % quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Slopes {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Theil-Sen slope of (x, y) points with its band; nothing when no two points differ in x.
///
/// Source: Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
pub(crate) fn theil_sen(points: &[(f64, f64)]) -> Option<Slopes> {
    let mut slopes = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
    for (i, (x, y)) in points.iter().enumerate() {
        for (later_x, later_y) in &points[i + 1..] {
            if later_x != x {
                slopes.push((later_y - y) / (later_x - x));
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let position = share * (slopes.len() - 1) as f64;
        let (below, above) = (slopes[position.floor() as usize], slopes[position.ceil() as usize]);
        below + (above - below) * position.fract()
    };
    Some(Slopes { median: quantile(0.5), low: quantile(0.15), high: quantile(0.85) })
}

/// Probability that a fair coin shows heads at least `heads` times in `heads + tails` throws.
///
/// Exact up to 2,000 throws, normal with continuity correction beyond.
pub(crate) fn fair_coin_tail(heads: f64, tails: f64) -> f64 {
    let (heads, n) = (heads.max(0.0).round(), (heads.max(0.0) + tails.max(0.0)).round());
    if n < 1.0 {
        return 1.0;
    }
    if n > 2000.0 {
        let z = (heads - 0.5 - n / 2.0) / (n / 4.0).sqrt();
        return normal_tail(z);
    }
    let mut log_term = -n * std::f64::consts::LN_2;
    let mut total = 0.0;
    // log C(n, k) grows by log((n - k + 1) / k); summed from the far end so that small terms come first.
    for k in 0..=(n - heads) as u32 {
        if k > 0 {
            log_term += ((n - f64::from(k) + 1.0) / f64::from(k)).ln();
        }
        total += log_term.exp();
    }
    total.min(1.0)
}

/// P(Z >= z) for a standard normal, by the bound of Chernoff type that is exact to a few per cent where it matters.
fn normal_tail(z: f64) -> f64 {
    if z <= 0.0 {
        return 1.0 - if z == 0.0 { 0.5 } else { normal_tail(-z) };
    }
    // Abramowitz and Stegun 26.2.17, absolute error below 7.5e-8.
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly
}

/// Pearson correlation; 0 when either side hardly varies (relative deviation below 5 %).
pub(crate) fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    if n < 3.0 {
        return 0.0;
    }
    let mean_a = pairs.iter().map(|(a, _)| a).sum::<f64>() / n;
    let mean_b = pairs.iter().map(|(_, b)| b).sum::<f64>() / n;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        ab += (a - mean_a) * (b - mean_b);
        aa += (a - mean_a) * (a - mean_a);
        bb += (b - mean_b) * (b - mean_b);
    }
    let flat = |mean: f64, squares: f64| (squares / n).sqrt() <= 0.05 * mean.abs();
    if aa <= 0.0 || bb <= 0.0 || flat(mean_a, aa) || flat(mean_b, bb) { 0.0 } else { ab / (aa * bb).sqrt() }
}

/// Index of the (x, y) point at which growth began: the minimum of the cumulative sum of the increments' deviations.
///
/// The sum at a point is how far it lies below the straight line from the first to the last. Steady arrivals wander from
/// that line by chance, beyond 1.36 roots of their number in one case of twenty (Kolmogorov); where no point lies below by
/// that and by a tenth of the growth, it began with the first point. Taken over x, so that uneven spacing is no bend.
pub(crate) fn onset(points: &[(f64, f64)]) -> usize {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0 };
    let growth = last.1 - first.1;
    let slope = if last.0 > first.0 { growth / (last.0 - first.0) } else { 0.0 };
    let chance = 1.36 * growth.abs().sqrt();
    let mut lowest = (0, -(growth.abs() / 10.0).max(chance).max(2.0));
    for (k, (x, y)) in points.iter().enumerate() {
        let deviation = y - first.1 - slope * (x - first.0);
        // The last of equal minima: a flat stretch before the growth belongs to the time before.
        if deviation <= lowest.1 {
            lowest = (k, deviation);
        }
    }
    lowest.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_slope_is_that_of_the_points_beside_the_line() {
        let line: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(i), 3.0 * f64::from(i))).collect();
        assert_eq!(slope_error(&line, 3.0), 0.0);
        let noisy: Vec<(f64, f64)> = (0..10)
            .map(|i| (f64::from(i), 3.0 * f64::from(i) + if i % 2 == 0 { 4.0 } else { -4.0 }))
            .collect();
        // 160 / 8 squares over a spread of 82.5.
        assert!((slope_error(&noisy, 3.0) - 0.4924).abs() < 1e-3, "{}", slope_error(&noisy, 3.0));
        assert_eq!(slope_error(&line[..2], 3.0), f64::INFINITY);
        assert_eq!(slope_error(&[(1.0, 1.0); 5], 3.0), f64::INFINITY);
    }

    #[test]
    fn a_rising_row_has_the_z_of_the_tables() {
        // n = 6, S = 15, variance 28.33.
        assert!((mann_kendall(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) - 14.0 / 28.333_f64.sqrt()).abs() < 1e-3);
        assert_eq!(mann_kendall(&[3.0; 9]), 0.0);
        assert!(mann_kendall(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) < -2.3);
    }

    #[test]
    fn ties_lower_the_variance() {
        // S = 14 with one tied pair: variance 27.33.
        let z = mann_kendall(&[0.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
        assert!((z - 13.0 / 27.333_f64.sqrt()).abs() < 1e-3, "{z}");
    }

    #[test]
    fn one_outlier_does_not_move_the_slope() {
        let mut points: Vec<(f64, f64)> = (0..12).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        points[5].1 = 500.0;
        let slopes = theil_sen(&points).unwrap();
        assert!((slopes.median - 2.0).abs() < 1e-9, "{slopes:?}");
        assert!(theil_sen(&[(1.0, 1.0), (1.0, 2.0)]).is_none());
    }

    #[test]
    fn coin_tails_are_exact_and_continue_into_the_normal() {
        assert!((fair_coin_tail(10.0, 0.0) - 1.0 / 1024.0).abs() < 1e-12);
        assert!((fair_coin_tail(3.0, 1.0) - 5.0 / 16.0).abs() < 1e-12);
        assert_eq!(fair_coin_tail(0.0, 0.0), 1.0);
        assert_eq!(fair_coin_tail(0.0, 12.0), 1.0);
        let (exact, normal) = (fair_coin_tail(1050.0, 950.0), fair_coin_tail(1051.0, 951.0));
        assert!((exact / normal - 1.0).abs() < 0.05, "{exact} {normal}");
    }

    #[test]
    fn a_constant_load_correlates_with_nothing() {
        let pairs: Vec<(f64, f64)> = (0..9).map(|i| (100.0 + f64::from(i % 2), f64::from(i))).collect();
        assert_eq!(correlation(&pairs), 0.0);
        let pairs: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), f64::from(3 * i))).collect();
        assert!(correlation(&pairs) > 0.99);
    }

    #[test]
    fn growth_begins_at_the_knee() {
        let even = |values: &[f64]| {
            onset(&values.iter().enumerate().map(|(i, y)| (i as f64, *y)).collect::<Vec<_>>())
        };
        assert_eq!(even(&[0.0, 0.0, 0.0, 0.0, 5.0, 10.0, 15.0]), 3);
        assert_eq!(even(&[0.0, 5.0, 10.0, 15.0, 20.0]), 0);
        assert_eq!(even(&[0.0, 0.0, 0.0, 50.0, 50.0, 50.0]), 2);
        assert_eq!(even(&[]), 0);
    }

    #[test]
    fn uneven_spacing_is_no_bend() {
        let times = [0.0, 4.0, 6.0, 8.0, 10.0, 14.0, 16.0, 18.0, 20.0, 24.0];
        assert_eq!(onset(&times.map(|time| (time, 2.0 * time))), 0);
    }
}
