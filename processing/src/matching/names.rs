//! A list of texts of which one must match.

use regex::RegexSet;

use crate::regex::compile_all;

/// Texts or patterns.
#[derive(Debug, Clone)]
pub(super) enum Names {
    Strict(Vec<String>),
    Regexp(RegexSet),
}

impl Names {
    /// # Errors
    /// The Collector's sentence about a pattern or the match type.
    pub(super) fn new(match_type: &str, names: &[String]) -> Result<Names, String> {
        match match_type {
            "strict" => Ok(Names::Strict(names.to_vec())),
            "regexp" => compile_all(names).map(Names::Regexp),
            other => Err(unknown_type(other)),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Names::Strict(names) => names.iter().any(|name| name == text),
            Names::Regexp(patterns) => patterns.is_match(text),
        }
    }
}

pub(super) fn unknown_type(match_type: &str) -> String {
    format!("unrecognized match_type: '{match_type}', valid types are: [regexp strict]")
}
