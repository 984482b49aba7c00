//! Numbers, times and ids in the forms that Go prints.

use std::fmt;

/// `%f`: six decimals.
pub(crate) struct Fixed(pub(crate) f64);

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() { write!(f, "{:.6}", self.0) } else { f.write_str(endless(self.0)) }
    }
}

/// `%v`: the shortest digits that mean the number, with an exponent below 1e-4 and from 1e6 on.
pub(crate) struct Shortest(pub(crate) f64);

impl fmt::Display for Shortest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_finite() {
            return f.write_str(endless(self.0));
        }
        if self.0 == 0.0 || (1e-4..1e6).contains(&self.0.abs()) {
            return write!(f, "{}", self.0);
        }
        let (digits, exponent) = scientific(self.0);
        write!(f, "{digits}e{exponent:+03}")
    }
}

fn endless(x: f64) -> &'static str {
    match x {
        x if x.is_nan() => "NaN",
        x if x > 0.0 => "+Inf",
        _ => "-Inf",
    }
}

fn scientific(x: f64) -> (String, i32) {
    let text = format!("{x:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

/// Unix nanoseconds as a date and time in UTC. Values from 2^63 on are before 1970, as in the Collector.
pub(crate) struct Time(pub(crate) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.cast_signed();
        let seconds = nanos.div_euclid(1_000_000_000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        let fraction = nanos.rem_euclid(1_000_000_000);
        if fraction != 0 {
            write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        f.write_str(" +0000 UTC")
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01. Counted in years that begin in March, so
/// that the leap day is a year's last, and in cycles of 400 years, which all have 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let since_march_of_0 = days + 719_468;
    let cycle = since_march_of_0.div_euclid(146_097);
    let day = since_march_of_0.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, day)
}

/// A trace, span or profile id in hex; nothing when it is all zeros.
pub(crate) struct Id<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A list of numbers: `[1 2]`.
pub(crate) struct List<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, number) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{number}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_know_leap_years_and_both_ends_of_the_range() {
        let cases = [
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (951_782_399_000_000_000, "2000-02-28 23:59:59 +0000 UTC"),
            (951_782_400_000_000_010, "2000-02-29 00:00:00.00000001 +0000 UTC"),
            (951_868_800_000_000_000, "2000-03-01 00:00:00 +0000 UTC"),
            (4_107_542_400_500_000_000, "2100-03-01 00:00:00.5 +0000 UTC"),
            (i64::MAX as u64, "2262-04-11 23:47:16.854775807 +0000 UTC"),
            (i64::MIN as u64, "1677-09-21 00:12:43.145224192 +0000 UTC"),
            (u64::MAX, "1969-12-31 23:59:59.999999999 +0000 UTC"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(Time(nanos).to_string(), expected, "{nanos}");
        }
    }

    #[test]
    fn numbers_have_the_exponents_of_their_form() {
        let cases = [
            (0.0, "0.000000", "0"),
            (-0.0, "-0.000000", "-0"),
            (1e20, "100000000000000000000.000000", "1e+20"),
            (999_999.5, "999999.500000", "999999.5"),
            (1_234_567.5, "1234567.500000", "1.2345675e+06"),
            (-1.5e21, "-1500000000000000000000.000000", "-1.5e+21"),
            (0.0001, "0.000100", "0.0001"),
            (0.00002, "0.000020", "2e-05"),
            (3e-7, "0.000000", "3e-07"),
            (1e-10, "0.000000", "1e-10"),
            (f64::NAN, "NaN", "NaN"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ];
        for (x, fixed, shortest) in cases {
            let got = (Fixed(x).to_string(), Shortest(x).to_string());
            assert_eq!(got, (fixed.to_owned(), shortest.to_owned()), "{x}");
        }
    }
}
