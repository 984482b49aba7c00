//! `${scheme:rest}` in values.
//!
//! The rules, quirks included, are the Collector's:
//! - Without a colon between the braces the scheme is `env`. Keys are never expanded. `$X` is plain text.
//! - In each round the first `}` closes, and the last `${` before it opens: the innermost reference goes first. What
//!   replaced it is looked at again.
//! - A reference with an odd number of further `$` before it is escaped, and ends the search in its string, so that
//!   later references in the string stay text.
//! - A reference that is the whole scalar becomes the parsed value and keeps its text ([`Node::original`]); one within
//!   other text is replaced by its text, at every place where it occurs in the string.
//! - A value that reads as a YAML string, or is no YAML at all, is its raw text, quotes and comments included.
//! - At the end every `$$` becomes `$`.
//!
//! Limits: 1000 rounds in one chain, 64 levels, 10,000 references, two million values, 32 MiB of text.

use std::sync::Arc;

use crate::merge::split_keys;
use crate::provider::Provider;
use crate::uri::{SCHEMES, Uri};
use crate::yaml::{self, MAX_DEPTH, MAX_NODES};
use crate::{ConfigError, ErrorKind, Key, Map, Node, NodeKind, Sources, Span, secret, suggest};

const MAX_ROUNDS: usize = 1000;
const MAX_REFERENCES: usize = 10_000;
const MAX_TEXT: usize = 32 << 20;

/// Expands the values of a configuration. Errors of all references are gathered; what could not be resolved stays.
pub(crate) struct Expander<'p, 'e> {
    provider: &'p mut Provider<'e>,
    sources: &'p mut Sources,
    pub(crate) errors: Vec<ConfigError>,
    references: usize,
    nodes: usize,
    text: usize,
}

/// A limit was met: no sense in going on.
struct Stop;

/// Where a value stands in the nesting, and how many references led to it.
#[derive(Clone, Copy)]
struct At {
    depth: usize,
    round: usize,
}

/// What became of a string.
enum Expanded {
    /// A text; when it is all that one reference stands for, the place where the text itself begins.
    Text(Arc<str>, Option<Span>),
    Value(Node),
}

impl<'p, 'e> Expander<'p, 'e> {
    pub(crate) fn new(provider: &'p mut Provider<'e>, sources: &'p mut Sources) -> Self {
        Self { provider, sources, errors: Vec::new(), references: 0, nodes: 0, text: 0 }
    }

    /// Expands everything in a value and takes the escapes away.
    pub(crate) fn expand(&mut self, node: Node) -> Node {
        let mut node = match self.node(node, At { depth: 0, round: 0 }) {
            Ok(node) => node,
            Err(Stop) => return Node::null(Span::default()),
        };
        unescape(&mut node);
        node
    }

    fn node(&mut self, node: Node, at: At) -> Result<Node, Stop> {
        self.nodes += 1;
        if at.depth > MAX_DEPTH || self.nodes > 2 * MAX_NODES {
            return Err(self.stop(node.span));
        }
        let below = At { depth: at.depth + 1, ..at };
        let span = node.span;
        let kind = match node.kind {
            NodeKind::String(text) => return self.scalar(text, span, at),
            NodeKind::Seq(items) => {
                let items = items.into_iter().map(|item| self.node(item, below));
                NodeKind::Seq(items.collect::<Result<_, _>>()?)
            }
            NodeKind::Map(map) => {
                let entries = map.entries.into_iter().map(|(key, value)| Ok((key, self.node(value, below)?)));
                NodeKind::Map(Map { entries: entries.collect::<Result<Vec<(Key, Node)>, Stop>>()? })
            }
            kind => kind,
        };
        Ok(Node { kind, original: node.original, span })
    }

    fn scalar(&mut self, text: Arc<str>, span: Span, at: At) -> Result<Node, Stop> {
        let (expanded, round) = self.string(text, span, at.round)?;
        let value = match expanded {
            Expanded::Text(text, origin) => {
                return Ok(Node::new(NodeKind::String(text), origin.unwrap_or(span)));
            }
            Expanded::Value(value) => value,
        };
        let original = value.original.clone();
        let mut node = self.node(Node { original: None, ..value }, At { round, ..at })?;
        // The text beside the value is expanded too; when that fails or makes no text, it is dropped.
        let before = self.errors.len();
        node.original = match original.map(|original| self.string(original, span, round)).transpose()? {
            Some((Expanded::Text(text, _), _)) if self.errors.len() == before => Some(text),
            _ => None,
        };
        self.errors.truncate(before);
        Ok(node)
    }

    /// Replaces references in a text until there are none, or until the text is one reference to something else than
    /// a string. Returns the rounds used as well.
    fn string(
        &mut self,
        mut text: Arc<str>,
        span: Span,
        mut round: usize,
    ) -> Result<(Expanded, usize), Stop> {
        let mut origin = None;
        while let Some(found) = find_reference(&text) {
            round += 1;
            self.references += 1;
            self.text = self.text.saturating_add(text.len());
            if round > MAX_ROUNDS || self.references > MAX_REFERENCES || self.text > MAX_TEXT {
                return Err(self.stop(span));
            }
            let reference = &text[found];
            let place = self.place(reference, span);
            let Some(value) = self.resolve(reference, place)? else { break };
            if reference.len() == text.len() {
                match &value.kind {
                    NodeKind::String(raw) => (text, origin) = (raw.clone(), Some(value.span)),
                    _ => return Ok((Expanded::Value(value), round)),
                }
                continue;
            }
            let raw = match (&value.original, &value.kind) {
                (Some(raw), _) | (None, NodeKind::String(raw)) => raw.clone(),
                _ => "".into(),
            };
            let grown = text.matches(reference).count().saturating_mul(raw.len());
            if grown.saturating_add(text.len()) > MAX_TEXT {
                return Err(self.stop(span));
            }
            (text, origin) = (text.replace(reference, &raw).into(), None);
        }
        Ok((Expanded::Text(text, origin), round))
    }

    /// The value behind `${...}`; `None` after an error.
    fn resolve(&mut self, reference: &str, place: Span) -> Result<Option<Node>, Stop> {
        let inner = reference.get(2..reference.len().saturating_sub(1)).unwrap_or_default();
        let (uri, whole) = if inner.contains(':') {
            (Uri::parse(inner), inner.to_owned())
        } else {
            (Some(Uri { scheme: "env", rest: inner }), format!("env:{inner}"))
        };
        let Some(uri) = uri else {
            self.fail(format!("invalid uri: {:?}", secret::shown_reference(&whole)), reference, place);
            return Ok(None);
        };
        if uri.rest.contains('$') {
            let uri = secret::shown_reference(&whole);
            self.fail(format!("the uri {uri:?} contains unsupported characters ('$')"), reference, place);
            return Ok(None);
        }
        let retrieved = match self.provider.retrieve(uri, Some(place), self.sources) {
            Ok(retrieved) => retrieved,
            Err(sentence) => {
                self.fail(sentence, reference, place);
                return Ok(None);
            }
        };
        self.text = self.text.saturating_add(retrieved.text.len());
        if self.text > MAX_TEXT {
            return Err(self.stop(place));
        }
        let source = self.sources.add(retrieved.kind, retrieved.text.clone(), Some(place));
        let start = Span { source, line: 1, column: 1, len: 1 };
        let mut node = match yaml::parse(&retrieved.text, source) {
            Ok(node) if node.as_str().is_none() => node,
            Ok(_) => Node::new(NodeKind::String(retrieved.text.clone()), start),
            Err(error) if error.kind == ErrorKind::Limit => {
                self.errors.push(error);
                return Err(Stop);
            }
            Err(_) => Node::new(NodeKind::String(retrieved.text.clone()), start),
        };
        if let Err(error) = split_keys(&mut node) {
            self.errors.push(error);
            return Err(Stop);
        }
        if node.as_str().is_none() {
            node.original = Some(retrieved.text);
        }
        Ok(Some(node))
    }

    fn fail(&mut self, sentence: String, reference: &str, place: Span) {
        let inner = reference.trim_start_matches("${").trim_end_matches('}');
        // What may be a value is not repeated.
        let shown = secret::shown_reference(inner);
        let mut error =
            ConfigError::new(ErrorKind::Expansion, format!("cannot resolve ${{{shown}}}: {sentence}"))
                .core(sentence)
                .at(place);
        if let Some((name, _)) = inner.split_once(":-")
            && !name.contains(':')
        {
            error.help =
                Some(format!("with a default the scheme has to be written: ${{env:{name}:-default}}"));
        } else if let Some((scheme, rest)) = inner.split_once(':') {
            error.allowed = SCHEMES.iter().map(|scheme| (*scheme).to_owned()).collect();
            if !SCHEMES.contains(&scheme) {
                error.suggestion = suggest::nearest(scheme, &SCHEMES);
                error.help = Some("a literal `${` is written `$${`".to_owned());
            } else if scheme == "env" && !rest.is_empty() {
                error.help = Some("names of environment variables have letters, digits and `_`".to_owned());
            }
        }
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn stop(&mut self, span: Span) -> Stop {
        let message =
            "too many recursive expansions: a reference leads back to itself, or grows without bound";
        self.errors
            .push(ConfigError::new(ErrorKind::Limit, message).core("too many recursive expansions").at(span));
        Stop
    }

    /// The place of a reference within the scalar that holds it.
    fn place(&self, reference: &str, span: Span) -> Span {
        let Some(line) = self.sources.get(span.source).and_then(|source| source.line(span.line)) else {
            return span;
        };
        let column = usize::try_from(span.column.saturating_sub(1)).unwrap_or_default();
        // A line may hold thousands of references; that it is ASCII is seen at once, letters are counted one by one.
        let start = match line.is_ascii() {
            true => column,
            false => line.char_indices().nth(column).map_or(line.len(), |(start, _)| start),
        };
        let rest = line.get(start..).unwrap_or_default();
        let Some(offset) = rest.find(reference) else { return span };
        let before = rest.get(..offset).unwrap_or_default().chars().count();
        Span {
            column: span.column + u32::try_from(before).unwrap_or_default(),
            len: u32::try_from(reference.chars().count()).unwrap_or(1),
            ..span
        }
    }
}

/// The bytes of the first reference that is to be replaced.
fn find_reference(text: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    loop {
        let close = from + text.get(from..)?.find('}')?;
        let Some(open) = text[from..=close].rfind("${").map(|open| from + open) else {
            from = close + 1;
            continue;
        };
        // Only as far back as this part of the text reaches: an earlier `}` without `${` cuts it off.
        let dollars = text[from..open].bytes().rev().take_while(|byte| *byte == b'$').count();
        if dollars % 2 == 1 {
            return None;
        }
        return Some(open..close + 1);
    }
}

/// `$$` to `$` in every string and original text.
fn unescape(node: &mut Node) {
    let clean = |text: &mut Arc<str>| {
        if text.contains("$$") {
            *text = text.replace("$$", "$").into();
        }
    };
    if let Some(original) = &mut node.original {
        clean(original);
    }
    match &mut node.kind {
        NodeKind::String(text) => clean(text),
        NodeKind::Seq(items) => items.iter_mut().for_each(unescape),
        NodeKind::Map(map) => map.entries.iter_mut().for_each(|(_, value)| unescape(value)),
        _ => {}
    }
}
