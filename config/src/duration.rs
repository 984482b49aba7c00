//! Durations as Go writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tree::{self, marker};

/// A duration of an option: `300ms`, `1.5h`, `2h45m`; units `ns`, `us` (`µs`), `ms`, `s`, `m`, `h`. There is no unit
/// for days. A bare whole number is **nanoseconds**. May be negative; an option that refuses that says so itself.
/// Prints as Go does: `1m30s`, `200ms`, `0s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration {
    nanos: i64,
}

const MICROS: i64 = 1_000;
const MILLIS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl GoDuration {
    /// No time at all; many options read it as "no limit".
    pub const ZERO: Self = Self { nanos: 0 };

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis.saturating_mul(MILLIS) }
    }

    /// From seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self { nanos: seconds.saturating_mul(SECOND) }
    }

    /// From minutes.
    pub const fn from_mins(minutes: i64) -> Self {
        Self { nanos: minutes.saturating_mul(MINUTE) }
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// For timers: a negative duration becomes zero.
    pub const fn as_std(self) -> Duration {
        if self.nanos < 0 { Duration::ZERO } else { Duration::from_nanos(self.nanos.unsigned_abs()) }
    }

    /// For options where zero (or less) means "none": `None` then.
    pub const fn non_zero(self) -> Option<Duration> {
        if self.nanos <= 0 { None } else { Some(self.as_std()) }
    }

    /// Whether it is less than zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is zero.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }
}

impl From<Duration> for GoDuration {
    /// Durations over 292 years become 292 years.
    fn from(duration: Duration) -> Self {
        Self { nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }
}

/// Why a text is no duration; the sentences of Go's `time.ParseDuration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationError(String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DurationError {}

impl FromStr for GoDuration {
    type Err = DurationError;

    /// Reads what Go's `time.ParseDuration` reads.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError(format!("time: invalid duration {text:?}"));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let (nanos, after) = part(rest, text)?;
            total = total.saturating_add(nanos);
            rest = after;
        }
        let total = i128::try_from(total).map_err(|_| invalid())?;
        let nanos = i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())?;
        Ok(Self { nanos })
    }
}

/// One number with its unit: its nanoseconds, and what follows it.
fn part<'a>(rest: &'a str, whole: &str) -> Result<(u128, &'a str), DurationError> {
    let invalid = || DurationError(format!("time: invalid duration {whole:?}"));
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (integer, after) = rest.split_at(digits(rest));
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => after.split_at(digits(after)),
        None => ("", after),
    };
    if integer.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end = after.find(|letter: char| letter == '.' || letter.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(unit_end);
    let scale: i64 = match unit {
        "" => return Err(DurationError(format!("time: missing unit in duration {whole:?}"))),
        "ns" => 1,
        "us" | "µs" | "μs" => MICROS,
        "ms" => MILLIS,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return Err(DurationError(format!("time: unknown unit {unit:?} in duration {whole:?}"))),
    };
    let scale = u128::from(scale.unsigned_abs());
    let whole_units: u128 = if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid())? };
    let mut nanos = whole_units.checked_mul(scale).ok_or_else(invalid)?;
    nanos += fraction_nanos(fraction, scale);
    Ok((nanos, after))
}

/// `0.fraction * scale`, through a 64-bit float as Go does it, so that the last digit is the same.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding is what is to be reproduced; the result is below `scale`"
)]
fn fraction_nanos(fraction: &str, scale: u128) -> u128 {
    let (mut numerator, mut denominator) = (0_u64, 1.0_f64);
    for digit in fraction.bytes() {
        // More digits would not fit 63 bits, and do not matter.
        let Some(next) = numerator.checked_mul(10).filter(|next| i64::try_from(*next).is_ok()) else { break };
        numerator = next.saturating_add(u64::from(digit - b'0'));
        denominator *= 10.0;
    }
    (numerator as f64 * (scale as f64 / denominator)) as u128
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let (second, minute, hour) = (SECOND.unsigned_abs(), MINUTE.unsigned_abs(), HOUR.unsigned_abs());
        if nanos < second {
            let (scale, unit) = match nanos {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{unit}", decimal(nanos, scale));
        }
        if nanos >= hour {
            write!(f, "{}h", nanos / hour)?;
        }
        if nanos >= minute {
            write!(f, "{}m", nanos % hour / minute)?;
        }
        write!(f, "{}s", decimal(nanos % minute, second))
    }
}

/// `value / scale` without trailing zeros; `scale` is a power of ten.
fn decimal(value: u64, scale: u64) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = usize::try_from(scale.ilog10()).unwrap_or_default();
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if tree::building() {
            return serializer.serialize_newtype_struct(marker::DURATION, &self.nanos);
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(marker::DURATION, DurationVisitor)
    }
}

struct DurationVisitor;

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = GoDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 300ms, 5s or 1h30m")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<GoDuration, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_i64<E: Error>(self, nanos: i64) -> Result<GoDuration, E> {
        Ok(GoDuration { nanos })
    }

    fn visit_u64<E: Error>(self, nanos: u64) -> Result<GoDuration, E> {
        let nanos = i64::try_from(nanos).map_err(|_| E::custom(format!("{nanos} overflows int64")))?;
        Ok(GoDuration { nanos })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float for an integer is truncated, as the Collector does"
    )]
    fn visit_f64<E: Error>(self, nanos: f64) -> Result<GoDuration, E> {
        Ok(GoDuration { nanos: nanos as i64 })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_go_reads_them() {
        let cases: &[(&str, i64)] = &[
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5 * SECOND),
            ("+5s", 5 * SECOND),
            ("-5s", -5 * SECOND),
            ("300ms", 300 * MILLIS),
            ("1.5h", 90 * MINUTE),
            (".5s", SECOND / 2),
            ("5.s", 5 * SECOND),
            ("2h45m", 2 * HOUR + 45 * MINUTE),
            ("1h0m30s", HOUR + 30 * SECOND),
            ("1us", MICROS),
            ("1µs", MICROS),
            ("1μs", MICROS),
            ("1m1s1ms1us1ns", MINUTE + SECOND + MILLIS + MICROS + 1),
            ("0.3333333333333333333h", 20 * MINUTE),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ];
        for (text, nanos) in cases {
            assert_eq!(text.parse::<GoDuration>().map(GoDuration::as_nanos), Ok(*nanos), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_duration_get_the_sentence_of_go() {
        let cases: &[(&str, &str)] = &[
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("-", "time: invalid duration \"-\""),
            (".s", "time: invalid duration \".s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1.5", "time: missing unit in duration \"1.5\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("5 s", "time: unknown unit \" s\" in duration \"5 s\""),
            ("1S", "time: unknown unit \"S\" in duration \"1S\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            (
                "99999999999999999999999999999999999999999h",
                "time: invalid duration \"99999999999999999999999999999999999999999h\"",
            ),
        ];
        for (text, sentence) in cases {
            let error = text.parse::<GoDuration>().map_err(|error| error.to_string());
            assert_eq!(error, Err((*sentence).to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        let cases: &[(i64, &str)] = &[
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (200 * MILLIS, "200ms"),
            (3_300_000_000, "3.3s"),
            (90 * SECOND, "1m30s"),
            (5 * MINUTE, "5m0s"),
            (HOUR, "1h0m0s"),
            (4 * HOUR + 5 * MINUTE + 6_001_000_000, "4h5m6.001s"),
            (-90 * SECOND, "-1m30s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(GoDuration::from_nanos(*nanos).to_string(), *text);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos: i64) {
            let duration = GoDuration::from_nanos(nanos);
            proptest::prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ignored = text.parse::<GoDuration>();
        }
    }
}
