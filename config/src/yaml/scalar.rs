//! Which type an unquoted scalar has, by the rules of yaml.v3, the YAML reader of the Collector.
//!
//! They differ from YAML 1.2: `yes`, `no`, `on` and `off` are strings, integers may be written `0x1F`, `0o17`, `0b11`,
//! `0123` (octal) and with `_` between digits, and a number that is no valid octal (`08`) is a float.
//! Dates have a type of their own there; no option wants it, so here they stay text.

use crate::NodeKind;

/// The value of an unquoted scalar without a tag.
pub(crate) fn resolve(text: &str) -> NodeKind {
    if let Some(kind) = named(text) {
        return kind;
    }
    match text.as_bytes().first() {
        Some(b'.') => go_float(text).map_or_else(|| string(text), NodeKind::Float),
        Some(b'+' | b'-' | b'0'..=b'9') => number(text).unwrap_or_else(|| string(text)),
        _ => string(text),
    }
}

/// The value of a scalar with one of the standard tags (`int` of `!!int`); `None` when it does not fit the tag. With any
/// other tag it is text.
pub(crate) fn resolve_tagged(tag: &str, text: &str, plain: bool) -> Option<NodeKind> {
    let found = resolve(text);
    match (tag, found) {
        ("int", found @ NodeKind::Int(_)) => Some(found),
        ("float", found @ NodeKind::Float(_)) => Some(found),
        #[expect(clippy::cast_precision_loss, reason = "a float tag on an integer asks for exactly this")]
        ("float", NodeKind::Int(value)) => Some(NodeKind::Float(value as f64)),
        ("bool", found @ NodeKind::Bool(_)) => Some(found),
        ("null", found @ NodeKind::Null) if plain || text.is_empty() => Some(found),
        ("int" | "float" | "bool" | "null", _) => None,
        _ => Some(string(text)),
    }
}

fn string(text: &str) -> NodeKind {
    NodeKind::String(text.into())
}

fn named(text: &str) -> Option<NodeKind> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
        "true" | "True" | "TRUE" => NodeKind::Bool(true),
        "false" | "False" | "FALSE" => NodeKind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => NodeKind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => NodeKind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => NodeKind::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn number(text: &str) -> Option<NodeKind> {
    if is_timestamp(text) {
        return None;
    }
    let digits: String = text.chars().filter(|letter| *letter != '_').collect();
    if let Some(value) = integer(&digits) {
        return Some(NodeKind::Int(value));
    }
    if is_yaml_float(&digits) {
        return go_float(&digits).map(NodeKind::Float);
    }
    None
}

/// An integer of Go's `strconv.ParseInt` with base 0, within the range of int64 and uint64.
fn integer(text: &str) -> Option<i128> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -magnitude } else { magnitude };
    let highest = if signed { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=highest).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_fits && exponent_fits
}

/// A decimal float; a value too large for 64 bits is refused, as Go does, and so stays text.
fn go_float(text: &str) -> Option<f64> {
    if !is_yaml_float(text) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Whether yaml.v3 would read a date: `2006-1-2`, optionally with a time.
fn is_timestamp(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digits = |part: &str, longest: usize| {
        !part.is_empty() && part.len() <= longest && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let day: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let after = &rest[day.len()..];
    year.len() == 4
        && digits(year, 4)
        && digits(month, 2)
        && digits(&day, 2)
        && (after.is_empty() || after.starts_with(['T', 't', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use NodeKind::{Bool, Float, Int, Null};

    fn text(value: &str) -> NodeKind {
        NodeKind::String(value.into())
    }

    #[test]
    fn unquoted_scalars_get_the_type_yaml_v3_gives_them() {
        let cases: &[(&str, NodeKind)] = &[
            ("", Null),
            ("~", Null),
            ("null", Null),
            ("Null", Null),
            ("nULL", text("nULL")),
            ("true", Bool(true)),
            ("True", Bool(true)),
            ("TRUE", Bool(true)),
            ("tRUE", text("tRUE")),
            ("false", Bool(false)),
            ("yes", text("yes")),
            ("no", text("no")),
            ("on", text("on")),
            ("off", text("off")),
            ("y", text("y")),
            ("N", text("N")),
            ("0", Int(0)),
            ("-0", Int(0)),
            ("42", Int(42)),
            ("+42", Int(42)),
            ("-42", Int(-42)),
            ("1_000", Int(1000)),
            ("0x1F", Int(31)),
            ("0X1f", Int(31)),
            ("-0x1F", Int(-31)),
            ("0o17", Int(15)),
            ("0b101", Int(5)),
            ("-0b101", Int(-5)),
            ("0123", Int(83)),
            ("0_123", Int(83)),
            ("08", Float(8.0)),
            ("0129", Float(129.0)),
            ("0x", text("0x")),
            ("0b2", text("0b2")),
            ("18446744073709551615", Int(i128::from(u64::MAX))),
            ("18446744073709551616", Float(18_446_744_073_709_551_616.0)),
            ("-9223372036854775808", Int(i128::from(i64::MIN))),
            ("1.5", Float(1.5)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            ("-.5", Float(-0.5)),
            ("1e3", Float(1000.0)),
            ("1E-3", Float(0.001)),
            ("1e", text("1e")),
            ("1e400", text("1e400")),
            (".", text(".")),
            ("..", text("..")),
            (".inf", Float(f64::INFINITY)),
            ("-.INF", Float(f64::NEG_INFINITY)),
            ("inf", text("inf")),
            ("nan", text("nan")),
            ("+", text("+")),
            ("-", text("-")),
            ("--1", text("--1")),
            ("1.2.3", text("1.2.3")),
            ("10s", text("10s")),
            ("127.0.0.1", text("127.0.0.1")),
            ("12:30:45", text("12:30:45")),
            ("2006-01-02", text("2006-01-02")),
            ("2006-1-2T15:04:05Z", text("2006-1-2T15:04:05Z")),
            ("2006-01-02 15:04:05", text("2006-01-02 15:04:05")),
            ("<<", text("<<")),
            ("=", text("=")),
        ];
        for (input, expected) in cases {
            assert_eq!(resolve(input), *expected, "{input:?}");
        }
        assert!(matches!(resolve(".nan"), Float(value) if value.is_nan()));
    }

    #[test]
    fn a_tag_decides_the_type_or_refuses_the_value() {
        assert_eq!(resolve_tagged("str", "0123", true), Some(text("0123")));
        assert_eq!(resolve_tagged("int", "0123", false), Some(Int(83)));
        assert_eq!(resolve_tagged("float", "3", true), Some(Float(3.0)));
        assert_eq!(resolve_tagged("bool", "true", true), Some(Bool(true)));
        assert_eq!(resolve_tagged("int", "x", true), None);
        assert_eq!(resolve_tagged("bool", "yes", true), None);
        assert_eq!(resolve_tagged("null", "x", true), None);
        assert_eq!(resolve_tagged("set", "5", true), Some(text("5")));
    }
}
