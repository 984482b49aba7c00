//! Regular expressions of Go (RE2) with the meaning they have there.
//!
//! The `regex` crate follows RE2 but for a few points, which are rewritten: `\d`, `\w`, `\s` and `\b` mean ASCII in Go;
//! `\Q...\E` quotes; a `{` that begins no repetition, `\<`, and `&`, `~` and `[` in a class stand for themselves.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Error, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Most bytes of a compiled pattern, or of all patterns of a list together: a few letters can stand for gigabytes.
const SIZE_LIMIT: usize = 10 << 20;

/// Most bytes that each thread keeps of a pattern's states while it searches; what does not fit is worked out again.
const CACHE_LIMIT: usize = 2 << 20;

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it, on one line.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(&translate(pattern));
    let built = builder.size_limit(SIZE_LIMIT).dfa_size_limit(CACHE_LIMIT).build();
    built.map_err(|error| format!("error parsing regexp: {}: `{pattern}`", reason(&error)))
}

/// Compiles patterns of which one has to match.
///
/// # Errors
/// What is wrong with one of them, or that all together are too large, on one line.
pub(crate) fn compile_all(patterns: &[String]) -> Result<RegexSet, String> {
    for pattern in patterns {
        compile(pattern)?;
    }
    let mut builder = RegexSetBuilder::new(patterns.iter().map(|pattern| translate(pattern)));
    let built = builder.size_limit(SIZE_LIMIT).dfa_size_limit(CACHE_LIMIT).build();
    built.map_err(|error| format!("error parsing regexp: {} patterns: {}", patterns.len(), reason(&error)))
}

fn reason(error: &Error) -> String {
    if let Error::CompiledTooBig(limit) = error {
        return format!(
            "compiled it would take more than {} MiB: repetitions such as {{1000}} cost most, above all within each other",
            limit >> 20
        );
    }
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut out),
            '[' => class(&mut rest, &mut out),
            '{' if !begins_repetition(rest.clone()) => out.push_str("\\{"),
            c => out.push(c),
        }
    }
    out
}

fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    match rest.next() {
        Some('d') => out.push_str("[0-9]"),
        Some('D') => out.push_str("[^0-9]"),
        Some('w') => out.push_str("[0-9A-Za-z_]"),
        Some('W') => out.push_str("[^0-9A-Za-z_]"),
        Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
        Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
        Some('b') => out.push_str("(?-u:\\b)"),
        Some('B') => out.push_str("(?-u:\\B)"),
        Some('C') => out.push_str("(?s:.)"),
        Some('Q') => {
            let text: String = rest.collect();
            let (quoted, behind) = text.split_once("\\E").unwrap_or((&text, ""));
            out.push_str(&regex::escape(quoted));
            out.push_str(&translate(behind));
        }
        Some(c @ ('<' | '>')) => out.push(c),
        Some(c) => out.extend(['\\', c]),
        None => out.push('\\'),
    }
}

fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    // A bracket in the first place stands for itself.
    if rest.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(c) = rest.next() {
        match c {
            ']' => {
                out.push(']');
                return;
            }
            '[' => match named_class(rest.clone()) {
                Some(name) => {
                    rest.nth(name.len() - 1);
                    out.push('[');
                    out.push_str(&name);
                }
                None => out.push_str("\\["),
            },
            '\\' => match rest.next() {
                Some('d') => out.push_str("0-9"),
                Some('w') => out.push_str("0-9A-Za-z_"),
                Some('s') => out.push_str("\\t\\n\\f\\r "),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some(c @ ('<' | '>')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            '&' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
}

/// What follows the `[` of `[:alpha:]`, to its end.
fn named_class(rest: Peekable<Chars<'_>>) -> Option<String> {
    let text: String = rest.take(12).collect();
    let end = text.find(":]")?;
    let name = text.strip_prefix(':')?.get(..end.checked_sub(1)?)?;
    name.trim_start_matches('^').chars().all(|c| c.is_ascii_lowercase()).then(|| text[..end + 2].to_owned())
}

/// Whether what follows a `{` makes it a repetition: `2}`, `2,}`, `2,3}`.
fn begins_repetition(mut rest: Peekable<Chars<'_>>) -> bool {
    let digits = |rest: &mut Peekable<Chars<'_>>| {
        let mut some = false;
        while rest.next_if(char::is_ascii_digit).is_some() {
            some = true;
        }
        some
    };
    if !digits(&mut rest) {
        return false;
    }
    if rest.next_if_eq(&',').is_some() {
        digits(&mut rest);
    }
    rest.next() == Some('}')
}

/// A pattern without any of what is rewritten means the same as before, text that is quoted matches itself, and what is wrong
/// with a pattern is said on one line; for tests and for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::expect_used, reason = "a check that does not hold is a fault")]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn check(pattern: &str, text: &str) {
    match compile(pattern) {
        Ok(compiled) => {
            let found = compiled.find(text).map(|found| found.range());
            if !pattern.contains(['\\', '[', '{']) {
                let plain = Regex::new(pattern).expect("nothing was rewritten");
                assert_eq!(plain.find(text).map(|found| found.range()), found);
            }
        }
        Err(why) => {
            let lines = |text: &str| text.lines().count();
            assert!(lines(&why) <= lines(pattern).max(1) && why.contains(pattern), "{why}");
        }
    }
    if !text.contains("\\E") {
        let quoted = compile(&format!("^\\Q{text}\\E$")).expect("quoted text is a pattern");
        assert!(quoted.is_match(text), "{text:?} does not match itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text)
    }

    #[test]
    fn classes_mean_ascii_as_in_go() {
        assert!(matches(r"^\d+$", "42") && !matches(r"^\d+$", "٤٢"));
        assert!(matches(r"^\w\s\w$", "a b") && !matches(r"^\w$", "é") && !matches(r"^\s$", "\u{a0}"));
        assert!(matches(r"^\W\D\S$", "ééé"));
        assert!(matches(r"^[\d.]+$", "1.5") && !matches(r"^[^\d]$", "1") && matches(r"^[\W]$", "é"));
        assert!(matches(r"é\b", "éa") && !matches(r"\bé", "é"));
    }

    #[test]
    fn what_is_special_only_here_stands_for_itself() {
        assert!(matches(r"^/api/{id}/x$", "/api/{id}/x"));
        assert!(matches(r"^a{2}b{1,}c{0,3}$", "aabbc") && matches("^a{,2}$", "a{,2}"));
        assert!(matches(r"^[a&&b~~[]+$", "a&~["));
        assert!(matches(r"^[]x]+$", "]x") && matches(r"^[^]]$", "a"));
        assert!(matches(r"^\Qa.b[\E.$", "a.b[c") && matches(r"^\<a\>$", "<a>"));
        assert!(matches("^[[:alpha:][:digit:]]+$", "a1"));
    }

    #[test]
    fn groups_have_names_in_both_notations() {
        let names = |pattern| -> Vec<String> {
            let regex = compile(pattern).unwrap();
            regex.capture_names().flatten().map(ToOwned::to_owned).collect()
        };
        assert_eq!(names(r"(?P<a>\d)(?<b>x)"), ["a", "b"]);
    }

    #[test]
    fn patterns_of_the_corpus_are_rewritten_without_a_change_of_meaning() {
        for input in crate::corpus::corpus("regex") {
            let input = String::from_utf8_lossy(&input);
            let (pattern, text) = input.split_once('\n').unwrap_or((&input, ""));
            check(pattern, text);
        }
    }

    #[test]
    fn patterns_that_would_take_much_memory_are_refused() {
        let refused = compile(r"(\w{500}){500}").expect_err("refused");
        assert!(refused.contains("more than 10 MiB") && refused.contains("{500}"), "{refused}");
        let large: Vec<String> = (0..200).map(|n| format!(r"^{n}\pL{{40}}")).collect();
        assert!(large.iter().all(|pattern| compile(pattern).is_ok()), "each by itself");
        let refused = compile_all(&large).expect_err("refused");
        assert!(refused.contains("200 patterns") && refused.contains("more than 10 MiB"), "{refused}");
        assert!(
            compile_all(&large[..2])
                .is_ok_and(|two| two.is_match("1éééééééééééééééééééééééééééééééééééééééé"))
        );
    }

    #[test]
    fn what_is_wrong_is_said_on_one_line_with_the_pattern() {
        let error = compile("(a|b))").unwrap_err();
        assert_eq!(error, "error parsing regexp: unopened group: `(a|b))`");
    }
}
