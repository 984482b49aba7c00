//! Numbers as words in sentences.

/// A count with thousands separated: `3,600`.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0).round());
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as `5 s`, `2.5 s`, `10 min`, `2 h`; the largest unit that leaves at most one digit behind the point.
pub(crate) fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 7200.0 => (s / 3600.0, "h"),
        s if s >= 120.0 => (s / 60.0, "min"),
        s => (s, "s"),
    };
    if (value - value.round()).abs() < 0.05 || value >= 20.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `1 connection`, `2 connections`.
pub(crate) fn plural(value: f64, one: &str) -> String {
    let ending = if value.round() == 1.0 { "" } else { "s" };
    format!("{} {one}{ending}", count(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(3600.0), "3,600");
        assert_eq!(count(1_234_567.4), "1,234,567");
        assert_eq!(count(58.0), "58");
        assert_eq!((span(5.0), span(2.5), span(600.0)), ("5 s".into(), "2.5 s".into(), "10 min".into()));
        assert_eq!((span(1800.0), span(7200.0)), ("30 min".into(), "2 h".into()));
        assert_eq!((plural(1.0, "client"), plural(0.0, "client")), ("1 client".into(), "0 clients".into()));
    }
}
