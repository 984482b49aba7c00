use super::*;
use crate::Path;

/// The line and the caret below it, of an error at the first place of `marked`.
fn quote(line: &str, marked: &str, error: &ConfigError) -> (String, String) {
    let column = line.rfind(marked).map(|at| line[..at].chars().count() + 1).unwrap();
    let len = marked.chars().count();
    let span = Span {
        column: u32::try_from(column).unwrap(),
        len: u32::try_from(len).unwrap(),
        line: 1,
        ..Span::default()
    };
    let Excerpt { line, before, length } = Excerpt::new(line, span, error, false);
    let under: String = line.chars().skip(before).take(length).collect();
    (line, under)
}

fn error(kind: ErrorKind, path: &str) -> ConfigError {
    ConfigError::new(kind, "x").on(&Path::parse(path))
}

#[test]
fn only_the_value_that_is_spoken_of_and_plain_ones_are_shown() {
    let cases = [
        ("transport: tpc", "tpc", "transport: tpc", "tpc"),
        ("a: b, c: 5}", "b, c: 5", "a: b, c: 5}", "b, c: 5"),
        (
            "{a: word, n: 5, d: 1m30s, on: true, x: tpc, y: other}",
            "tpc",
            "{a: ..., n: 5, d: 1m30s, on: true, x: tpc, y: ...}",
            "tpc",
        ),
        ("a: \"${env:X}\" # hunter2", "${env:X}", "a: \"${env:X}\"", "${env:X}"),
        ("a: [one, two, three]", "two", "a: [..., two, ...]", "two"),
        ("- hunter2: {b: c}", "c", "- hunter2: {b: c}", "c"),
        ("{password: {b: hunter2}, c: d}", "d", "{password: [REDACTED], c: d}", "d"),
        ("{pass_token: hun,ter2, c: d}", "d", "{pass_token: [REDACTED],..., c: d}", "d"),
        (
            "  'token' : \"a} ''b\", endpoint: x",
            "endpoint",
            "  'token' : [REDACTED]...endpoint: x",
            "endpoint",
        ),
        ("{a: \"x\", headers: {k: [a, b]}, t: tpc}", "tpc", "{a: ..., headers: [REDACTED], t: tpc}", "tpc"),
        ("a.token: hunter2", "a.token", "a.token: [REDACTED]", "a.token"),
        ("token: ${env:TOKEN}", "token", "token: ${env:TOKEN}", "token"),
        ("token: ${env:TOKEN:-hunter2}", "token", "token: [REDACTED]", "token"),
        ("token: ${A}hunter2${B}", "token", "token: [REDACTED]", "token"),
        ("token_url: https://x", "token_url", "token_url: https://x", "token_url"),
        (
            "endpoint: \"ht!tp://u:hunter2@h:1/?k=hunter2\"",
            "endpoint",
            "endpoint: \"ht!tp://[REDACTED]@h:1/?[REDACTED]\"",
            "endpoint",
        ),
        ("endpoint: \"u:hunter2@h:1\"", "\"u:hunter2@h:1\"", "endpoint: \"[REDACTED]@h:1\"", "\"[REDACTED"),
        ("    hunter2hunter2==", "", "    ...", ""),
    ];
    for (line, marked, shown, under) in cases {
        let quoted = quote(line, marked, &error(ErrorKind::Invalid, "a"));
        assert_eq!(quoted, (shown.to_owned(), under.to_owned()), "{line}");
    }
}

#[test]
fn of_an_option_that_does_not_exist_only_the_key_is_shown() {
    let cases = [
        ("pasword: hunter2", "pasword", "pasword: ..."),
        ("  headrs: {a: hunter2, b: 1}", "headrs", "  headrs: ..."),
        ("  {n: 1, pin: 1234, c: 5}", "pin", "  {n: 1, pin: ..., c: 5}"),
        ("e: \"http://u:hunter2@h\", timeuot: 3s}}", "timeuot", "e: ...timeuot: ...}}"),
        ("timeuot: ${env:T}", "timeuot", "timeuot: ${env:T}"),
        ("{timeuot:hunter2}", "timeuot", "{...}"),
        ("\"timeuot: hunter2\": 1", "\"timeuot", "\"timeuot:[REDACTED]\": ..."),
    ];
    for (line, marked, shown) in cases {
        let quoted = quote(line, marked, &error(ErrorKind::UnknownField, "a"));
        assert_eq!(quoted.0, shown, "{line}");
    }
    let quoted = quote("e: \"http://u:p@h\", timeuot: 3s", "timeuot", &error(ErrorKind::UnknownField, "a"));
    assert_eq!(quoted.1, "timeuot");
}

#[test]
fn a_line_that_is_no_yaml_shows_its_keys_alone() {
    let cases = [
        ("x-key: \"hunter2", "\"", "x-key: ..."),
        ("{a: 5, b: 'hunter2}", "b", "{a: ..., b: ..."),
        ("  hunter2: hunter2 hunter2", "", "  hunter2: ..."),
        ("pass word hunter2: x", "x", "...: ..."),
        ("token: *hunter2", "*", "token: [REDACTED]"),
        ("  - *x", "*", "  - *x"),
        ("token: hunter2:", ":", "token: [REDACTED]"),
        ("url: http://u:hunter2@h: 3", ":", "url: ..."),
        ("{url: hunter2: 3, b: 4}", "3", "{url: ..., b: ...}"),
        ("a: ${X:hunter2}", "X", "a: ..."),
    ];
    for (line, marked, shown) in cases {
        assert_eq!(quote(line, marked, &error(ErrorKind::Syntax, "")).0, shown, "{line}");
    }
}

#[test]
fn a_wrong_id_is_shown_without_what_it_holds() {
    for (line, marked, shown) in [
        ("  x-team: hunter2", "x-team", "  x-team: ..."),
        ("exporters: [otlp, a b]", "a b", "exporters: [..., a b]"),
    ] {
        assert_eq!(quote(line, marked, &error(ErrorKind::Id, "exporters")).0, shown, "{line}");
    }
}

#[test]
fn from_a_secret_on_nothing_is_shown() {
    let cases = [
        (ErrorKind::Type, "headers: {b: 5, c: hunter2}", "5", "headers: {b: [REDACTED]", "[REDACTED]"),
        (ErrorKind::Type, "  hunter2: [1]", "hunter2", "  [REDACTED]", "[REDACTE"),
        (ErrorKind::Type, "headers: \"hunter2\"", "\"hunter2\"", "headers: [REDACTED]", "[REDACTED"),
        (
            ErrorKind::UnknownField,
            "headers: [{nam: a, b: hunter2}]",
            "nam",
            "headers: [{nam: [REDACTED]",
            "nam",
        ),
        (ErrorKind::Invalid, "headers: {a: hunter2}", "headers", "headers: [REDACTED]", "headers"),
        (
            ErrorKind::Invalid,
            "{a: hunter2, pin: 1234, tls: x}",
            "tls",
            "{a: [REDACTED], pin: [REDACTED], tls: [REDACTED]",
            "tls",
        ),
    ];
    for (kind, line, marked, shown, under) in cases {
        let quoted = quote(line, marked, &error(kind, "exporters::x::headers"));
        assert_eq!(quoted.0, shown, "{line}");
        assert!(quoted.1.starts_with(under) || under.starts_with(&quoted.1), "{quoted:?}");
    }
}

#[test]
fn a_flag_ends_its_key_at_the_equal_sign() {
    let span = Span { line: 1, column: 1, len: 3, ..Span::default() };
    for (flag, shown) in [("a.token=hunter2", "a.token=[REDACTED]"), ("a.b=5", "a.b=5"), ("a.b=x", "a.b=x")] {
        let quoted = Excerpt::new(flag, span, &error(ErrorKind::Invalid, "a"), true);
        assert_eq!(quoted.line, shown);
    }
}

#[test]
fn a_caret_stands_within_the_line_whatever_it_is() {
    let pieces =
        ["{", "}", "[", "]", ",", ": ", "a", "\"", "'", " #", "${", "}", "- ", "token", "*x", "é", "=", " "];
    let kinds = [ErrorKind::Invalid, ErrorKind::Syntax, ErrorKind::UnknownField, ErrorKind::Type];
    let mut seed = 7_usize;
    for round in 0..20_000 {
        let line: String = (0..round % 12)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                pieces[(seed >> 33) % pieces.len()]
            })
            .collect();
        let span = Span { line: 1, column: u32::try_from(round % 14).unwrap(), len: 5, ..Span::default() };
        let path = if round % 2 == 0 { "a" } else { "headers" };
        let quoted = Excerpt::new(&line, span, &error(kinds[round % 4], path), round % 3 == 0);
        assert!(quoted.before <= quoted.line.chars().count(), "{line:?}");
    }
}
