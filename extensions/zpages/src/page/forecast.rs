//! How the population may go on: the lines of a forecast, in connections.

use weir_connection::report::{Finding, Forecast};
use weir_connection::terminal::sentence::{limit_name, population_at, soonest};
use weir_connection::terminal::units;

/// A corner of the forecast: time, and the population by the middle, lower and upper rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Corner {
    pub(super) time: f64,
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Where the population is going.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outlook {
    /// The level it goes to.
    pub(super) level: f64,
    /// What the level is: `memory limit 2.0 GiB = 38,400 open`.
    pub(super) label: String,
    /// Whether the level is a limit (else it levels off there).
    pub(super) is_limit: bool,
    /// When it gets there.
    pub(super) time: f64,
    /// Rates towards it per second: middle, low, high.
    rates: [f64; 3],
    /// When the forecast was made.
    pub(super) now: f64,
    open: f64,
}

/// Longest outlook that is drawn, in seconds: ten years.
const FARTHEST: f64 = 315_360_000.0;

/// The way to the limit that is reached first, else to the level where the population stays; nothing when neither is
/// known or it does not grow.
pub(super) fn outlook(finding: &Finding, now: f64) -> Option<Outlook> {
    let growth = &finding.growth;
    let usable = now > 0.0 && now.is_finite() && growth.open.is_finite();
    if !usable {
        return None;
    }
    soonest(finding)
        .and_then(|forecast| to_limit(finding, forecast, now))
        .or_else(|| to_plateau(finding, now))
}

/// The population when it goes on at its rates for so many seconds, from now.
pub(super) fn straight_on(finding: &Finding, now: f64, seconds: f64) -> Vec<Corner> {
    let growth = &finding.growth;
    if !(growth.rate.is_finite() && growth.open.is_finite() && growth.rate > 0.0) {
        return Vec::new();
    }
    let at = |seconds: f64, rate: f64| (growth.open + rate * seconds).max(0.0);
    let [middle, low, high] = rates(growth.rate, growth.rate_low, growth.rate_high);
    [0.0, seconds]
        .into_iter()
        .map(|s| Corner { time: now + s, middle: at(s, middle), low: at(s, low), high: at(s, high) })
        .collect()
}

fn to_limit(finding: &Finding, forecast: &Forecast, now: f64) -> Option<Outlook> {
    let level = population_at(finding, forecast, forecast.limit)?;
    let seconds = forecast.seconds.filter(|seconds| (1e-3..FARTHEST).contains(seconds))?;
    let open = finding.growth.open;
    let speed =
        |seconds: Option<f64>| seconds.filter(|s| *s > 0.0 && s.is_finite()).map(|s| (level - open) / s);
    let middle = (level - open) / seconds;
    let high = speed(forecast.seconds_low).unwrap_or(middle);
    let low =
        speed(forecast.seconds_high).unwrap_or(if forecast.seconds_low.is_some() { 0.0 } else { middle });
    let limit = units::quantity(forecast.limit, &forecast.unit);
    let label = format!("{} limit {limit} = {} open", limit_name(forecast), units::count(level.round()));
    (level > open).then(|| Outlook {
        level,
        label,
        is_limit: true,
        time: now + seconds,
        rates: rates(middle, low, high),
        now,
        open,
    })
}

fn to_plateau(finding: &Finding, now: f64) -> Option<Outlook> {
    let growth = &finding.growth;
    let level = finding.forecast.iter().find_map(|forecast| {
        let plateau = forecast.plateau?;
        population_at(finding, forecast, plateau).filter(|level| *level > growth.open)
    })?;
    let seconds = (level - growth.open) / growth.rate;
    (growth.rate > 0.0 && (1e-3..FARTHEST).contains(&seconds)).then(|| Outlook {
        level,
        label: format!("levels off near {} open", units::count(level.round())),
        is_limit: false,
        time: now + seconds,
        rates: rates(growth.rate, growth.rate_low, growth.rate_high),
        now,
        open: growth.open,
    })
}

/// Bounds that are missing or on the wrong side are taken as the middle.
fn rates(middle: f64, low: f64, high: f64) -> [f64; 3] {
    let low = if low.is_finite() && low <= middle { low } else { middle };
    let high = if high.is_finite() && high >= middle { high } else { middle };
    [middle, low, high]
}

impl Outlook {
    /// Last time worth drawing: a little behind the arrival by the lower rate, at most twice as far as the middle.
    pub(super) fn end(&self) -> f64 {
        let span = self.time - self.now;
        let slow = (self.level - self.open) / self.rates[1];
        let slow = if slow.is_finite() && slow > 0.0 { slow } else { span * 2.0 };
        self.now + slow.clamp(span, span * 2.0) * 1.08
    }

    /// The earliest and latest arrival, when both are known and differ.
    pub(super) fn arrivals(&self) -> Option<(f64, f64)> {
        let arrival = |rate: f64| self.now + (self.level - self.open) / rate;
        let (first, last) = (arrival(self.rates[2]), arrival(self.rates[1]));
        (last.is_finite() && last - first >= 1.0).then_some((first, last))
    }

    /// The corners of the lines until `end`: now, the three arrivals, the end.
    pub(super) fn corners(&self, end: f64) -> Vec<Corner> {
        let arrival = |rate: f64| self.now + (self.level - self.open) / rate;
        let mut times: Vec<f64> = self.rates.into_iter().map(arrival).chain([self.now, end]).collect();
        times.retain(|time| time.is_finite() && (self.now..=end).contains(time));
        times.sort_by(f64::total_cmp);
        times.dedup();
        let at = |time: f64, rate: f64| (self.open + rate * (time - self.now)).clamp(0.0, self.level);
        let [middle, low, high] = self.rates;
        times
            .into_iter()
            .map(|time| Corner { time, middle: at(time, middle), low: at(time, low), high: at(time, high) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use weir_connection::report::Growth;

    use super::*;

    fn finding(forecast: Vec<Forecast>) -> Finding {
        let growth = Growth { rate: 2.0, rate_low: 1.0, rate_high: 4.0, open: 100.0, ..Growth::default() };
        Finding { growth, forecast, ..Finding::default() }
    }

    #[test]
    fn the_band_reaches_the_limit_at_the_times_of_the_forecast() {
        let descriptors = Forecast {
            resource: "descriptors".into(),
            limit: 1_000.0,
            used: 200.0,
            unit: "{file_descriptor}".into(),
            per_item: 1.0,
            seconds: Some(400.0),
            seconds_low: Some(200.0),
            seconds_high: Some(800.0),
            ..Forecast::default()
        };
        let outlook = outlook(&finding(vec![descriptors]), 5_000.0).unwrap();
        assert_eq!((outlook.level, outlook.is_limit, outlook.time), (900.0, true, 5_400.0));
        assert_eq!(outlook.label, "descriptors limit 1,000 = 900 open");
        let corners = outlook.corners(outlook.end());
        let at = |time: f64| *corners.iter().find(|corner| corner.time == time).unwrap();
        assert_eq!(at(5_000.0), Corner { time: 5_000.0, middle: 100.0, low: 100.0, high: 100.0 });
        assert_eq!(at(5_200.0).high, 900.0);
        assert_eq!(at(5_400.0).middle, 900.0);
        assert_eq!(at(5_800.0), Corner { time: 5_800.0, middle: 900.0, low: 900.0, high: 900.0 });
    }

    #[test]
    fn a_plateau_is_shown_where_no_limit_is_reached() {
        let ports = Forecast { plateau: Some(3_600.0), used: 100.0, per_item: 1.0, ..Forecast::default() };
        let outlook = outlook(&finding(vec![ports]), 5_000.0).unwrap();
        assert_eq!((outlook.level, outlook.is_limit, outlook.time), (3_600.0, false, 6_750.0));
    }

    #[test]
    fn nothing_is_drawn_without_a_cost_a_rate_or_a_finite_number() {
        let forecast = Forecast { limit: 10.0, seconds: Some(5.0), ..Forecast::default() };
        assert_eq!(outlook(&finding(vec![forecast]), 5_000.0), None);
        assert_eq!(outlook(&finding(Vec::new()), 5_000.0), None);
        let nan = Forecast { limit: f64::NAN, per_item: 1.0, seconds: Some(f64::NAN), ..Forecast::default() };
        assert_eq!(outlook(&finding(vec![nan]), f64::NAN), None);
        assert!(straight_on(&Finding::default(), 5_000.0, 10.0).is_empty());
    }
}
