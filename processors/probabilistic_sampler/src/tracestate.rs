//! The sampling part of a W3C trace state: the list member `ot` with `rv` and `th`.
//!
//! Syntax and limits: W3C Trace Context level 2, section 3.3; OpenTelemetry specification, "TraceState handling". A trace
//! state that breaks them is an error, as in the Collector.

use std::fmt::Write;

use crate::threshold::{Randomness, Threshold};

const MAX_LENGTH: usize = 1024;
/// The Collector counts so many members, empty ones included, as one too many.
const MAX_MEMBERS: usize = 32;
const MAX_OT_LENGTH: usize = 256;

const SIZE: &str = "invalid tracestate size";
const SYNTAX: &str = "invalid syntax";

/// A trace state in parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TraceState<'a> {
    pub(crate) randomness: Option<Randomness>,
    pub(crate) threshold: Option<Threshold>,
    /// Other fields of `ot`.
    ot: Vec<(&'a str, &'a str)>,
    /// Other members.
    members: Vec<(&'a str, &'a str)>,
}

impl<'a> TraceState<'a> {
    /// Reads a trace state, as far as possible: the second value says what breaks the rules. Of a trace state whose
    /// syntax or size is wrong nothing is read.
    pub(crate) fn parse(text: &'a str) -> (TraceState<'a>, Option<String>) {
        let mut state = TraceState::default();
        let result = state.read(text);
        match result {
            Ok(trouble) => (state, trouble),
            Err(why) => (TraceState::default(), Some(why.to_owned())),
        }
    }

    /// Ok with what is wrong in `ot` alone.
    fn read(&mut self, text: &'a str) -> Result<Option<String>, &'static str> {
        // A comma at the end begins no further member.
        if text.len() > MAX_LENGTH || text.strip_suffix(',').unwrap_or(text).split(',').count() >= MAX_MEMBERS
        {
            return Err(SIZE);
        }
        let mut trouble = None;
        for member in text.split(',').map(|m| m.trim_matches([' ', '\t'])).filter(|m| !m.is_empty()) {
            let (key, value) =
                member.split_once('=').filter(|(k, v)| is_key(k) && is_value(v)).ok_or(SYNTAX)?;
            if !has_key_size(key) {
                return Err(SIZE);
            }
            match key {
                "ot" => trouble = self.read_ot(value).err().or(trouble),
                _ => self.members.push((key, value)),
            }
        }
        Ok(trouble)
    }

    fn read_ot(&mut self, text: &'a str) -> Result<(), String> {
        (self.randomness, self.threshold) = (None, None);
        self.ot.clear();
        if text.len() > MAX_OT_LENGTH {
            return Err(SIZE.to_owned());
        }
        let field = |field: &'a str| field.split_once(':').filter(|(k, v)| is_ot_key(k) && is_ot_value(v));
        let fields: Vec<(&str, &str)> = text.split(';').map(field).collect::<Option<_>>().ok_or(SYNTAX)?;
        let mut trouble = None;
        for (key, value) in fields {
            match key {
                "rv" => self.randomness = Randomness::parse(value).map_err(|why| trouble = Some(why)).ok(),
                "th" => self.threshold = Threshold::parse(value).map_err(|why| trouble = Some(why)).ok(),
                _ => self.ot.push((key, value)),
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    /// The trace state as text: `ot` first.
    pub(crate) fn encode(&self) -> String {
        let mut ot = Vec::with_capacity(2 + self.ot.len());
        ot.extend(self.randomness.map(|r| format!("rv:{}", r.encode())));
        ot.extend(
            self.threshold.map(Threshold::encode).filter(|th| !th.is_empty()).map(|th| format!("th:{th}")),
        );
        ot.extend(self.ot.iter().map(|(key, value)| format!("{key}:{value}")));
        let mut out = String::new();
        if !ot.is_empty() {
            out.push_str("ot=");
            out.push_str(&ot.join(";"));
        }
        for (key, value) in &self.members {
            // Writing into a string does not fail.
            write!(out, "{}{key}={value}", if out.is_empty() { "" } else { "," }).unwrap_or_default();
        }
        out
    }
}

fn is_key_char(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/')
}

fn is_key(key: &str) -> bool {
    let begins = |part: &str, digits: bool| {
        part.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || digits && c.is_ascii_digit())
            && part.bytes().all(is_key_char)
    };
    match key.split_once('@') {
        Some((tenant, system)) => begins(tenant, true) && begins(system, false),
        None => begins(key, false),
    }
}

fn has_key_size(key: &str) -> bool {
    let parts = key.split_once('@').is_none_or(|(tenant, system)| tenant.len() <= 241 && system.len() <= 14);
    key.len() <= 256 && parts
}

fn is_value(value: &str) -> bool {
    let inner = |c: u8| matches!(c, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e);
    !value.is_empty() && value.len() <= 256 && value.bytes().all(inner) && !value.ends_with(' ')
}

fn is_ot_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

fn is_ot_value(value: &str) -> bool {
    value.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
}

/// The first line: a trace state that keeps the rules means the same when it is written and read again, and no text is read into more than
/// there is of it; for tests and for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn check(text: &str) {
    let text = text.split('\n').next().unwrap_or_default();
    let (state, trouble) = TraceState::parse(text);
    let written = state.encode();
    assert!(written.len() <= text.len() || state.threshold.is_some(), "{text:?} became {written:?}");
    let (again, more) = TraceState::parse(&written);
    if trouble.is_none() {
        assert_eq!((again, more), (state, None), "{text:?} became {written:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_with_ot_in_front() {
        let cases = [
            ("", ""),
            ("a=1,b=2", "a=1,b=2"),
            ("a=1 , ot=th:8;rv:00aabbccddeeff;x:y,\tb=2", "ot=rv:00aabbccddeeff;th:8;x:y,a=1,b=2"),
            ("1t@sys=v v,,", "1t@sys=v v"),
        ];
        for (text, expected) in cases {
            let (state, trouble) = TraceState::parse(text);
            assert_eq!((state.encode().as_str(), trouble), (expected, None));
        }
    }

    #[test]
    fn trace_states_of_the_corpus_mean_the_same_when_they_are_written_again() {
        crate::corpus::corpus("trace_context").iter().for_each(|text| check(&String::from_utf8_lossy(text)));
    }

    #[test]
    fn what_breaks_the_rules_is_an_error() {
        let long = "x".repeat(1025);
        let many = vec!["a=1"; 32].join(",");
        for text in [
            "=", "A=1", "a", "a=", "a=b=c", "@x=1", "ot=", "ot=th", "ot=th:;", "ot=th:zz", "ot=rv:1",
            "ot=T:1", &long, &many,
        ] {
            assert!(TraceState::parse(text).1.is_some(), "{text}");
        }
        assert_eq!(TraceState::parse(&vec!["a=1"; 31].join(",")).1, None);
        assert_eq!(
            TraceState::parse("a=1,ot=th:zz;rv:00aabbccddeeff").0.encode(),
            "ot=rv:00aabbccddeeff,a=1"
        );
    }
}
