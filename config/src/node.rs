//! A configuration value that remembers where it was written.

use std::sync::Arc;

use crate::{SourceId, secret};

/// A stretch of one line of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Span {
    /// The text it lies in.
    pub source: SourceId,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// Length in characters; ends at the end of the line at the latest, at least 1.
    pub len: u32,
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub kind: NodeKind,
    /// For a value that a whole-scalar `${...}` reference brought in: its text before it was read as YAML.
    /// A field that wants a string takes this text, every other field the parsed value (`X=0123` is the
    /// string `0123` or the integer 83).
    pub original: Option<Arc<str>>,
    /// Where it was written.
    pub span: Span,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// Nothing written, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any integer that fits 64 bits, with or without a sign.
    Int(i128),
    /// A floating point number.
    Float(f64),
    /// Text; also timestamps, which have no type of their own.
    String(Arc<str>),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping in the order it was written; keys are unique.
    Map(Map),
}

/// A key of a mapping with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key as text; keys that are not strings (`8080: x`) are written out.
    pub name: Arc<str>,
    /// Where it was written.
    pub span: Span,
}

/// A mapping in the order it was written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    /// The entries; keys are unique.
    pub entries: Vec<(Key, Node)>,
}

impl Map {
    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The key as written and its value.
    pub fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        self.entries.iter().find(|(key, _)| &*key.name == name)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Node)> {
        self.entries.iter().map(|(key, node)| (key, node))
    }
}

impl Node {
    /// A value without an original text.
    pub fn new(kind: NodeKind, span: Span) -> Self {
        Self { kind, original: None, span }
    }

    /// An absent value at a place.
    pub fn null(span: Span) -> Self {
        Self::new(NodeKind::Null, span)
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.kind {
            NodeKind::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Null)
    }

    /// The value under a chain of keys.
    pub fn get(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.as_map()?.get(key))
    }

    /// Takes out the entry that these steps, keys and places in lists, lead to.
    pub(crate) fn remove(&mut self, steps: &[String]) {
        let Some((step, rest)) = steps.split_first() else { return };
        match &mut self.kind {
            NodeKind::Map(map) if rest.is_empty() => map.entries.retain(|(key, _)| *key.name != **step),
            NodeKind::Map(map) => {
                let entry = map.entries.iter_mut().find(|(key, _)| *key.name == **step);
                if let Some((_, value)) = entry {
                    value.remove(rest);
                }
            }
            NodeKind::Seq(items) => {
                if let Some(item) = step.parse::<usize>().ok().and_then(|place| items.get_mut(place)) {
                    item.remove(rest);
                }
            }
            _ => {}
        }
    }

    /// The name that the Collector's messages give to the type of the value.
    pub fn go_type(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "nil",
            NodeKind::Bool(_) => "bool",
            NodeKind::Int(value) if i64::try_from(value).is_err() => "uint64",
            NodeKind::Int(_) => "int",
            NodeKind::Float(_) => "float64",
            NodeKind::String(_) => "string",
            NodeKind::Seq(_) => "[]interface {}",
            NodeKind::Map(_) => "map[string]interface {}",
        }
    }

    /// The value as people would say it in a sentence: `the string "x"`, `a list`.
    pub fn describe(&self) -> String {
        match &self.kind {
            NodeKind::Null => "nothing".to_owned(),
            NodeKind::Bool(value) => format!("the boolean {value}"),
            NodeKind::Int(value) => format!("the integer {value}"),
            NodeKind::Float(value) => format!("the number {value}"),
            NodeKind::String(text) => format!("the string {:?}", shorten(&secret::without_secrets(text))),
            NodeKind::Seq(_) => "a list".to_owned(),
            NodeKind::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Cuts a text so that it fits into a sentence.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}
