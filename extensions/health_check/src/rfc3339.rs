//! Times for people (RFC 3339), in UTC.

/// The time that many nanoseconds after 1970, without trailing zeros in the fraction: `2024-02-29T12:00:00.5Z`;
/// empty when it is out of range.
pub(crate) fn format(unix_nanos: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_nanos)).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let at = |seconds: u64, nanos: u64| format(seconds * 1_000_000_000 + nanos);
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399, 0), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_868_799, 0), "2000-02-29T23:59:59Z");
        assert_eq!(at(951_868_800, 500_000_000), "2000-03-01T00:00:00.5Z");
        assert_eq!(at(4_102_444_799, 1), "2099-12-31T23:59:59.000000001Z");
    }
}
