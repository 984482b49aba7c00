//! Numbers and times as people read them, the same in the terminal and on the page.
//!
//! Values from telemetry may be anything: what cannot be said (NaN, infinite, out of range) is written as `?`.

/// What stands for a value that cannot be said.
pub const UNKNOWN: &str = "?";

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;

/// Seconds as `0.4 s`, `12 s`, `4 m 10 s`, `42 m`, `5 h 12 m`, `3 d 4 h`, `2 y 40 d`, `over 10 y`; below zero is `0 s`.
pub fn duration(seconds: f64) -> String {
    if seconds.is_nan() {
        return UNKNOWN.to_owned();
    }
    if seconds < 0.95 {
        return if seconds < 0.05 { "0 s".to_owned() } else { format!("{seconds:.1} s") };
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..600 => two(whole, MINUTE, "m", 1, "s"),
        600..HOUR => format!("{} m", whole / MINUTE),
        HOUR..172_800 => two(whole, HOUR, "h", MINUTE, "m"),
        172_800..YEAR => two(whole, DAY, "d", HOUR, "h"),
        _ if whole < 10 * YEAR => two(whole, YEAR, "y", DAY, "d"),
        _ => "over 10 y".to_owned(),
    }
}

fn two(whole: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    match whole % large / small {
        0 => format!("{} {large_name}", whole / large),
        rest => format!("{} {large_name} {rest} {small_name}", whole / large),
    }
}

/// Bytes as `812 B`, `5.6 KB`, `56 KB` (thousands below a megabyte), `4.0 MiB`, `2.0 GiB` (powers of 1,024 above).
pub fn bytes(value: f64) -> String {
    const BINARY: [(f64, &str); 4] = [
        (1_048_576.0, "MiB"),
        (1_073_741_824.0, "GiB"),
        (1_099_511_627_776.0, "TiB"),
        (1.125_899_906_842_624e15, "PiB"),
    ];
    let size = value.abs();
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    match size {
        _ if size < 1_000.0 => format!("{value:.0} B"),
        _ if size < 9_950.0 => format!("{:.1} KB", value / 1_000.0),
        _ if size < 999_500.0 => format!("{:.0} KB", value / 1_000.0),
        _ => {
            // 1,023.96 MiB would print as 1,024.0 MiB: step up where the printed number does.
            let step = BINARY.iter().position(|(unit, _)| size < unit * 1_023.95).unwrap_or(BINARY.len() - 1);
            let (unit, name) = BINARY[step];
            format!("{} {name}", grouped(&format!("{:.1}", value / unit)))
        }
    }
}

/// A count as `58`, `3,600`, `0.4`; at most one decimal and none for whole numbers.
pub fn count(value: f64) -> String {
    if !value.is_finite() || value.abs() >= 1e18 {
        return UNKNOWN.to_owned();
    }
    let tenths = (value * 10.0).round() / 10.0;
    if tenths == tenths.trunc() || value.abs() >= 100.0 {
        let text = format!("{value:.0}");
        return if text == "-0" { "0".to_owned() } else { grouped(&text) };
    }
    grouped(&format!("{value:.1}"))
}

/// A quantity in a unit of the report: `By` as bytes, everything else as a count.
pub fn quantity(value: f64, unit: &str) -> String {
    if unit == "By" { bytes(value) } else { count(value) }
}

/// A share from 0 to 1 as `58 %`; between 99.5 and 100 it is `> 99 %`, because "100 %" is a claim.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        value if !value.is_finite() => UNKNOWN.to_owned(),
        value if value > 99.5 && value < 99.9999 => "> 99 %".to_owned(),
        value => format!("{} %", count(value.round())),
    }
}

/// A rate with both views: `+2.0/s (7,200/h)`.
pub fn rate(per_second_value: f64) -> String {
    format!("{} ({})", per_second(per_second_value), per_hour(per_second_value))
}

/// A rate as `+2.0/s`, `+0.25/s`, `+0.0033/s`, `-1.5/s`, `0/s`.
pub fn per_second(value: f64) -> String {
    if !value.is_finite() || value.abs() >= 1e15 {
        return format!("{UNKNOWN}/s");
    }
    let size = value.abs();
    let digits = match size {
        _ if size < 1e-6 => return "0/s".to_owned(),
        _ if size >= 100.0 => 0,
        _ if size >= 1.0 => 1,
        _ => (1.0 - size.log10().floor()) as usize,
    };
    let sign = if value < 0.0 { '-' } else { '+' };
    format!("{sign}{}/s", grouped(&format!("{size:.digits$}")))
}

/// A rate per second as one per hour: `7,200/h`, `1.5/h`.
pub fn per_hour(per_second: f64) -> String {
    format!("{}/h", count(per_second * 3_600.0))
}

/// `file:line`, or the file alone when the line is not known, or empty.
pub fn location(file: &str, line: i64) -> String {
    if line > 0 && !file.is_empty() { format!("{file}:{line}") } else { file.to_owned() }
}

/// A Go function without its package path: `github.com/acme/shop.(*Client).dial` is `(*Client).dial()`.
pub fn function(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name).trim_end_matches("()");
    let local = match last.split_once('.') {
        Some((_, rest)) if !rest.is_empty() => rest,
        _ => last,
    };
    if local.is_empty() { String::new() } else { format!("{local}()") }
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// In which zone times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    offset: Option<i32>,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Clock {
    /// Coordinated universal time, written as `UTC`.
    pub const UTC: Self = Self { offset: None };

    /// Local time so many seconds east of UTC (at most a day), written as `+02:00`.
    pub fn local(offset_seconds: i32) -> Self {
        Self { offset: Some(offset_seconds.clamp(-(DAY as i32), DAY as i32)) }
    }

    /// `UTC` or `+02:00`.
    pub fn zone(self) -> String {
        match self.offset {
            None => "UTC".to_owned(),
            Some(offset) => {
                let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }

    /// `17:02`.
    pub fn minutes(self, time: f64) -> String {
        self.parts(time)
            .map_or_else(unknown, |(_, second)| format!("{:02}:{:02}", second / 3600, second / 60 % 60))
    }

    /// `17:02:10`.
    pub fn seconds(self, time: f64) -> String {
        self.parts(time)
            .map_or_else(unknown, |(_, s)| format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60))
    }

    /// `14 Mar`.
    pub fn day(self, time: f64) -> String {
        self.parts(time).map_or_else(unknown, |(days, _)| {
            let (_, month, day) = civil(days);
            format!("{day} {}", MONTHS[month - 1])
        })
    }

    /// `17:02` on the day of `reference`, `14 Mar 17:02` in the same year, else `2025-03-14 17:02`.
    pub fn moment(self, time: f64, reference: f64) -> String {
        let (Some((days, _)), Some((reference, _))) = (self.parts(time), self.parts(reference)) else {
            return if self.parts(time).is_some() { self.full(time) } else { unknown() };
        };
        match (days == reference, civil(days).0 == civil(reference).0) {
            (true, _) => self.minutes(time),
            (false, true) => format!("{} {}", self.day(time), self.minutes(time)),
            (false, false) => {
                let (year, month, day) = civil(days);
                format!("{year:04}-{month:02}-{day:02} {}", self.minutes(time))
            }
        }
    }

    /// `2026-03-14 17:02:10 UTC`.
    pub fn full(self, time: f64) -> String {
        self.parts(time).map_or_else(unknown, |(days, _)| {
            let (year, month, day) = civil(days);
            format!("{year:04}-{month:02}-{day:02} {} {}", self.seconds(time), self.zone())
        })
    }

    /// RFC 3339, always in UTC: `2026-03-14T15:02:10Z`; empty when the time cannot be said.
    pub fn rfc3339(time: f64) -> String {
        Self::UTC.parts(time).map_or_else(String::new, |(days, _)| {
            let (year, month, day) = civil(days);
            format!("{year:04}-{month:02}-{day:02}T{}Z", Self::UTC.seconds(time))
        })
    }

    /// Days since 1970-01-01 and seconds of the day; nothing outside the years 1970 to 9999.
    fn parts(self, time: f64) -> Option<(i64, i64)> {
        if !(0.0..=253_402_300_799.0).contains(&time) {
            return None;
        }
        let local = (time.floor() as i64 + i64::from(self.offset.unwrap_or(0))).clamp(0, 253_402_300_799);
        Some((local / DAY as i64, local % DAY as i64))
    }
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

/// Year, month (1 to 12) and day of the proleptic Gregorian calendar for days since 1970-01-01, not negative.
///
/// Counts from 1 March of year 0, so that the leap day is the last of a year and months have a linear rule.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_the_two_largest_units() {
        let cases = [
            (-3.0, "0 s"),
            (0.42, "0.4 s"),
            (0.97, "1 s"),
            (59.6, "1 m"),
            (250.0, "4 m 10 s"),
            (2_559.0, "42 m"),
            (18_720.0, "5 h 12 m"),
            (18_000.0, "5 h"),
            (86_400.0 * 3.0 + 4.0 * 3_600.0, "3 d 4 h"),
            (86_400.0 * 770.0, "2 y 40 d"),
            (f64::INFINITY, "over 10 y"),
            (f64::NAN, "?"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn bytes_are_decimal_below_a_megabyte_and_binary_above() {
        let cases = [
            (812.0, "812 B"),
            (5_600.0, "5.6 KB"),
            (56_000.0, "56 KB"),
            (999_999.0, "1.0 MiB"),
            (1_073_741_823.0, "1.0 GiB"),
            (2_147_483_648.0, "2.0 GiB"),
            (f64::INFINITY, "?"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text, "{value}");
        }
    }

    #[test]
    fn counts_and_rates_have_separators_and_no_needless_digits() {
        assert_eq!(count(58.0), "58");
        assert_eq!(count(3_600.4), "3,600");
        assert_eq!(count(0.44), "0.4");
        assert_eq!(count(-0.01), "0");
        assert_eq!(count(-1_234_567.0), "-1,234,567");
        assert_eq!(rate(2.0), "+2.0/s (7,200/h)");
        assert_eq!(rate(1.0 / 300.0), "+0.0033/s (12/h)");
        assert_eq!(rate(-1.5), "-1.5/s (-5,400/h)");
        assert_eq!(rate(0.0), "0/s (0/h)");
        assert_eq!(rate(1_234.5), "+1,234/s (4,444,200/h)");
        assert_eq!(rate(f64::NAN), "?/s (?/h)");
    }

    #[test]
    fn a_share_is_rounded_but_never_up_to_all() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.997), "> 99 %");
        assert_eq!(percent(0.584), "58 %");
    }

    #[test]
    fn functions_lose_their_package_path() {
        assert_eq!(function("main.dialOrders"), "dialOrders()");
        assert_eq!(function("github.com/acme/shop/v2.(*Client).dial"), "(*Client).dial()");
        assert_eq!(function("dialOrders()"), "dialOrders()");
        assert_eq!(function(""), "");
    }

    #[test]
    fn times_are_written_in_their_zone_and_with_the_day_when_it_differs() {
        let time = 1_773_500_530.0; // 2026-03-14 15:02:10 UTC
        assert_eq!(Clock::UTC.full(time), "2026-03-14 15:02:10 UTC");
        assert_eq!(Clock::local(7_200).full(time), "2026-03-14 17:02:10 +02:00");
        assert_eq!(Clock::local(-12_600).zone(), "-03:30");
        assert_eq!(Clock::UTC.moment(time, time + 60.0), "15:02");
        assert_eq!(Clock::UTC.moment(time, time + 86_400.0), "14 Mar 15:02");
        assert_eq!(Clock::UTC.moment(time, time + 400.0 * 86_400.0), "2026-03-14 15:02");
        assert_eq!(Clock::rfc3339(time), "2026-03-14T15:02:10Z");
        assert_eq!(Clock::UTC.full(951_782_400.0), "2000-02-29 00:00:00 UTC");
        assert_eq!(Clock::UTC.full(f64::NAN), "?");
        assert_eq!(Clock::UTC.full(-1.0), "?");
    }
}
