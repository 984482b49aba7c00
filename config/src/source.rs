//! The texts a configuration is made of, kept so that an error can quote the line it speaks of.

use std::sync::Arc;

use crate::{Span, secret};

/// Names one text in [`Sources`]. Cheap to copy; only valid for the `Sources` that issued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SourceId(u32);

/// Where a text came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A file, by the path the user wrote.
    File(String),
    /// The value (or the default) of the environment variable of this name.
    Env(String),
    /// A `--set` flag; the text is the `key=value` the user typed.
    Flag,
    /// Inline YAML of a `yaml:` URI.
    Inline,
    /// A document fetched over HTTP, by its URL.
    Http(String),
}

/// One text and its origin.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where the text came from.
    pub kind: SourceKind,
    /// The whole text.
    pub text: Arc<str>,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
    /// For a text that a `${...}` reference brought in: the place of the reference.
    pub used_at: Option<Span>,
}

impl Source {
    /// How the source is called in front of `:line:column`.
    pub fn name(&self) -> String {
        match &self.kind {
            SourceKind::File(path) => path.clone(),
            SourceKind::Env(name) => format!("env:{name}"),
            SourceKind::Flag => "--set".to_owned(),
            SourceKind::Inline => "yaml:".to_owned(),
            SourceKind::Http(url) => secret::without_secrets(url),
        }
    }

    /// The line with this 1-based number, without its line break.
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).map(|line| line.trim_end_matches(['\r', '\n']))
    }
}

/// All texts of one load, in the order they were read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    all: Vec<Source>,
    /// Files that could not be read.
    unread: Vec<String>,
}

impl Sources {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a text and returns its name.
    pub fn add(&mut self, kind: SourceKind, text: impl Into<Arc<str>>, used_at: Option<Span>) -> SourceId {
        let id = SourceId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let text = text.into();
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(place, _)| place + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        self.all.push(Source { kind, text, starts, used_at });
        id
    }

    /// The text behind a name; `None` for a name of other `Sources`.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.all.get(usize::try_from(id.0).ok()?)
    }

    /// Keeps the path of a file that could not be read.
    pub fn add_unread(&mut self, path: &str) {
        self.unread.push(path.to_owned());
    }

    /// The files among them, by the path the user wrote, each with its text; none for those that could not be read.
    pub fn files(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let read = self.all.iter().filter_map(|source| match &source.kind {
            SourceKind::File(path) => Some((path.as_str(), Some(&*source.text))),
            _ => None,
        });
        read.chain(self.unread.iter().map(|path| (path.as_str(), None)))
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// `name:line:column` of a span, the name alone for a text as a whole; for a value of an environment variable the place that used it.
    pub fn position(&self, span: Span) -> String {
        let span = self.visible(span);
        match self.get(span.source) {
            Some(source) if span.line == 0 => source.name(),
            Some(source) => format!("{}:{}:{}", source.name(), span.line, span.column),
            None => format!("?:{}:{}", span.line, span.column),
        }
    }

    /// The span in a text that the user can open: a value of an environment variable is shown where it was used.
    pub fn visible(&self, mut span: Span) -> Span {
        while let Some(source) = self.get(span.source) {
            match (&source.kind, source.used_at) {
                (SourceKind::Env(_), Some(used_at)) => span = used_at,
                _ => break,
            }
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_variable_is_shown_where_it_was_used() {
        let mut sources = Sources::new();
        let file = sources.add(SourceKind::File("weir.yaml".into()), "a: ${env:X}\n", None);
        let used_at = Span { source: file, line: 1, column: 4, len: 8 };
        let env = sources.add(SourceKind::Env("X".into()), "value", Some(used_at));
        let value = Span { source: env, line: 1, column: 1, len: 5 };
        assert_eq!(sources.position(value), "weir.yaml:1:4");
        assert_eq!(sources.get(file).and_then(|source| source.line(1)), Some("a: ${env:X}"));
        assert_eq!(sources.get(file).and_then(|source| source.line(0)), None);
    }
}
