//! What processors share: attribute actions, include and exclude, Go's regular expressions.
//!
//! The options, their messages and what they do are those of the Go Collector's processors `attributes`, `resource` and
//! `span`, so that a configuration means the same here.

mod actions;
mod any;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
mod matching;
mod regex;

pub use actions::{ActionConfig, Actions, Prepared, check as check_actions};
pub use any::Any;
pub use matching::{MatchConfig, MatchProperties, Selection, Selections, Selector};
#[cfg(feature = "fuzzing")]
pub use regex::check as check_regex;
pub use regex::compile as compile_regex;

/// A wrong option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The option whose line is to be quoted.
    pub option: &'static str,
    /// The Collector's sentence.
    pub message: String,
}

impl Problem {
    fn new(option: &'static str, message: impl Into<String>) -> Problem {
        Problem { option, message: message.into() }
    }
}
