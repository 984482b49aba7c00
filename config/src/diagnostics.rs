//! All that is wrong with a configuration, as people and as machines read it.

mod excerpt;
mod json;
mod render;

use std::collections::HashSet;
use std::fmt;

use crate::{ConfigError, ErrorKind, Phase, Sources, secret};

/// Errors together with the texts they speak of.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    errors: Vec<ConfigError>,
    sources: Sources,
}

impl Diagnostics {
    /// Sorts errors by the place one would look at; those without a place come first. What is secret in URLs that they
    /// quote, and what looks like a value in the place of a name, is hidden.
    pub fn new(mut errors: Vec<ConfigError>, sources: Sources) -> Self {
        errors.iter_mut().for_each(hide_secrets);
        errors.sort_by_key(|error| error.span.map(|span| sources.visible(span)));
        Self { errors, sources }
    }

    /// The errors in order.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// The texts.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// For people: each error with the line it speaks of, a caret, and the cure. Of more than 100, how many there are.
    pub fn render(&self, colour: bool) -> String {
        render::render(&self.errors, &self.sources, colour)
    }

    /// For machines (`--error-format json`): one JSON object per error and line.
    pub fn to_json(&self) -> String {
        json::to_json(&self.errors, &self.sources)
    }

    /// The earliest step of loading that failed; decides the Collector's prefix.
    pub fn phase(&self) -> Phase {
        self.errors.iter().map(|error| error.kind.phase()).min().unwrap_or(Phase::Validate)
    }
}

fn hide_secrets(error: &mut ConfigError) {
    let details = &mut **error;
    if details.kind == ErrorKind::UnknownField || secret::is_place(&details.path) {
        details.path = std::mem::take(&mut details.path).shown();
    }
    let texts =
        [Some(&mut details.message), Some(&mut details.core), details.got.as_mut(), details.help.as_mut()];
    for text in texts.into_iter().flatten() {
        *text = secret::text_without_secrets(text);
    }
}

impl fmt::Display for Diagnostics {
    /// The Collector's message: the prefix of the step, then its sentences, one per line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase();
        f.write_str(phase.prefix())?;
        let mut seen: HashSet<String> = HashSet::new();
        for error in self.errors.iter().filter(|error| error.kind.phase() == phase) {
            let sentence = error.collector_line();
            if seen.contains(&sentence) {
                continue;
            }
            if !seen.is_empty() {
                f.write_str("\n")?;
            }
            f.write_str(&sentence)?;
            seen.insert(sentence);
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests;
