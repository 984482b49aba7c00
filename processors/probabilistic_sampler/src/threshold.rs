//! Consistent probability sampling: thresholds and randomness of 56 bits (OpenTelemetry specification, "TraceState:
//! Probability Sampling"; encoded as `th` and `rv`).

/// Number of random values: 2^56.
const ALL: u64 = 1 << 56;
/// Hex digits of 56 bits.
pub(crate) const MAX_DIGITS: u32 = 14;
/// The least probability that a threshold can express.
pub(crate) const MIN_PROBABILITY: f64 = 1.0 / ALL as f64;

/// An item is kept when its randomness is not below the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Threshold(u64);

/// 56 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Randomness(u64);

impl Threshold {
    pub(crate) const ALWAYS: Threshold = Threshold(0);
    pub(crate) const NEVER: Threshold = Threshold(ALL);

    /// From its first bits, the others zero.
    pub(crate) fn from_high_bits(value: u64, bits: u32) -> Threshold {
        Threshold(value << (56 - bits))
    }

    /// For a probability, rounded to so many hex digits behind leading zeros or fs. `None` outside of what can be
    /// expressed.
    pub(crate) fn for_probability(probability: f64, digits: u32) -> Option<Threshold> {
        if !(MIN_PROBABILITY..=1.0).contains(&probability) {
            return None;
        }
        if probability == 1.0 {
            return Some(Threshold::ALWAYS);
        }
        // Near both ends leading digits say nothing, and more of them are needed.
        let leading = |x: f64| u32::try_from(-exponent(x) / 4).unwrap_or(0);
        let digits = MAX_DIGITS.min(digits + leading(probability).max(leading(1.0 - probability)));
        let mut threshold = ALL - (probability * ALL as f64).round() as u64;
        let shift = 4 * (MAX_DIGITS - digits);
        if shift != 0 {
            threshold = (threshold + (1 << (shift - 1))) >> shift << shift;
        }
        Some(Threshold(threshold))
    }

    /// Reads `th`: up to 14 hex digits, trailing zeros left out.
    pub(crate) fn parse(text: &str) -> Result<Threshold, String> {
        if text.len() > MAX_DIGITS as usize {
            return Err("t-value exceeds 14 hex digits".to_owned());
        }
        let missing = MAX_DIGITS - u32::try_from(text.len()).unwrap_or(MAX_DIGITS);
        Ok(Threshold(hex(text)? << (4 * missing)))
    }

    /// As `th`; empty for [`Threshold::NEVER`].
    pub(crate) fn encode(self) -> String {
        match self {
            Threshold::ALWAYS => "0".to_owned(),
            Threshold(ALL..) => String::new(),
            Threshold(value) => format!("{value:014x}").trim_end_matches('0').to_owned(),
        }
    }

    /// Which share of all random values is kept.
    pub(crate) fn probability(self) -> f64 {
        (ALL - self.0) as f64 / ALL as f64
    }

    pub(crate) fn keeps(self, randomness: Randomness) -> bool {
        self.0 <= randomness.0
    }
}

impl Randomness {
    /// Kept by every threshold but [`Threshold::NEVER`].
    pub(crate) const LARGEST: Randomness = Randomness(ALL - 1);

    /// The last 56 bits of a trace id.
    pub(crate) fn of_trace_id(id: [u8; 16]) -> Randomness {
        Randomness(u128::from_be_bytes(id) as u64 & (ALL - 1))
    }

    /// From 56 bits.
    pub(crate) fn from_bits(bits: u64) -> Randomness {
        Randomness(bits & (ALL - 1))
    }

    /// Reads `rv`: exactly 14 hex digits.
    pub(crate) fn parse(text: &str) -> Result<Randomness, String> {
        if text.len() != MAX_DIGITS as usize {
            return Err("r-value must have 14 hex digits".to_owned());
        }
        hex(text).map(Randomness)
    }

    /// As `rv`.
    pub(crate) fn encode(self) -> String {
        format!("{:014x}", self.0)
    }
}

fn hex(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("\"{text}\" is no hexadecimal number"));
    }
    u64::from_str_radix(text, 16).map_err(|error| error.to_string())
}

/// The exponent e of a positive number x = f * 2^e with f from 0.5 to below 1.
fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52 & 0x7ff) as i32 - 1022
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_become_thresholds_of_the_specification() {
        let th = |p: f64, digits| Threshold::for_probability(p, digits).map(Threshold::encode);
        for (p, digits, expected) in [
            (1.0, 4, "0"),
            (0.5, 4, "8"),
            (0.25, 4, "c"),
            (0.1, 4, "e666"),
            (0.1, 14, "e6666666666666"),
            (1.0 / 3.0, 4, "aaab"),
            (0.01, 4, "fd70a"),
            (0.001, 4, "ffbe77"),
            (0.99, 4, "028f6"),
            (0.000_01, 4, "ffff583a"),
            (MIN_PROBABILITY, 4, "ffffffffffffff"),
        ] {
            assert_eq!(th(p, digits).as_deref(), Some(expected), "{p}");
        }
        assert_eq!((th(0.0, 4), th(1.1, 4), th(f64::NAN, 4)), (None, None, None));
    }

    #[test]
    fn encoded_forms_are_read_back() {
        for text in ["0", "8", "e666", "ffffffffffffff", "00000000000001"] {
            assert_eq!(Threshold::parse(text).map(Threshold::encode).as_deref(), Ok(text));
        }
        assert!(Threshold::parse("").is_err() && Threshold::parse("+1").is_err());
        assert!(Threshold::parse("000000000000000").is_err());
        assert_eq!(
            Randomness::parse("00aabbccddeeff").map(Randomness::encode).as_deref(),
            Ok("00aabbccddeeff")
        );
        assert!(Randomness::parse("1").is_err());
    }
}
