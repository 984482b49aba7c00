//! Builds nodes from the parser's events.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{MAX_DEPTH, MAX_NODES, scalar};
use crate::{ConfigError, ErrorKind, Key, Map, Node, NodeKind, SourceId, Span, secret};

/// A finished value and the number of values in it, kept for its aliases.
struct Anchor {
    node: Node,
    size: usize,
}

/// Reads one document.
pub(super) struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    source: SourceId,
    /// By the parser's id; `None` while the anchored value is still being read.
    anchors: HashMap<usize, Option<Anchor>>,
    nodes: usize,
    depth: usize,
}

type Result<T> = std::result::Result<T, ConfigError>;

impl<'a> Composer<'a> {
    pub(super) fn new(text: &'a str, source: SourceId) -> Self {
        let options = granit_parser::options! {
            flow_nesting_limit: 4 * MAX_DEPTH,
            block_nesting_limit: 4 * MAX_DEPTH,
            block_scalar_eof_without_line_feed: true,
        };
        let parser = Parser::new_from_str_with_options(text, options);
        Self { parser, text, source, anchors: HashMap::new(), nodes: 0, depth: 0 }
    }

    pub(super) fn document(mut self) -> Result<Node> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Node::null(self.point(at.start))),
                event => return self.node(event, at),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, granit_parser::Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, granit_parser::Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, at: granit_parser::Span) -> Result<Node> {
        self.count(1, at.start)?;
        let before = self.nodes;
        let span = self.span(at);
        let anchor = event.anchor_id();
        if let Some(id) = anchor {
            self.anchors.insert(id, None);
        }
        let node = match event {
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag.as_deref(), span)?,
            Event::SequenceStart(..) => self.nested(span, Self::sequence)?,
            Event::MappingStart(..) => self.nested(span, Self::mapping)?,
            Event::Alias(id) => self.alias(id, span)?,
            _ => return Err(self.fail(ErrorKind::Syntax, "a value is expected here", span)),
        };
        if let Some(id) = anchor {
            let size = self.nodes - before + 1;
            self.anchors.insert(id, Some(Anchor { node: node.clone(), size }));
        }
        Ok(node)
    }

    fn nested(&mut self, span: Span, read: fn(&mut Self) -> Result<NodeKind>) -> Result<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(self.fail(ErrorKind::Limit, message, span));
        }
        let kind = read(self)?;
        self.depth -= 1;
        Ok(Node::new(kind, span))
    }

    fn sequence(&mut self) -> Result<NodeKind> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(NodeKind::Seq(items)),
                (event, at) => items.push(self.node(event, at)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<NodeKind> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<Arc<str>, Span> = HashMap::new();
        let mut merged: Option<Node> = None;
        loop {
            let (event, at) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, _) => break,
                next => next,
            };
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, at)?;
            let key = self.key(key)?;
            if let Some(first) = seen.insert(key.name.clone(), key.span) {
                return Err(self.duplicate(&key, first));
            }
            let (event, at) = self.next()?;
            let value = self.node(event, at)?;
            if merges {
                merged = Some(value);
            } else {
                entries.push((key, value));
            }
        }
        if let Some(merged) = merged {
            self.merge(&mut entries, merged)?;
        }
        Ok(NodeKind::Map(Map { entries }))
    }

    /// The key as text. Keys that are no strings are written out, as the Collector does.
    fn key(&self, node: Node) -> Result<Key> {
        let name: Arc<str> = match node.kind {
            NodeKind::String(text) => text,
            NodeKind::Null => "<nil>".into(),
            NodeKind::Bool(value) => value.to_string().into(),
            NodeKind::Int(value) => value.to_string().into(),
            NodeKind::Float(value) => value.to_string().into(),
            NodeKind::Seq(_) | NodeKind::Map(_) => {
                return Err(self.wrong_key(&node));
            }
        };
        Ok(Key { name, span: node.span })
    }

    fn wrong_key(&self, node: &Node) -> ConfigError {
        let message = format!("a key must be a single word, not {}", node.describe());
        let mut error = self.fail(ErrorKind::Syntax, message, node.span).core("yaml: invalid map key");
        if self
            .text
            .lines()
            .nth(node.span.line.saturating_sub(1) as usize)
            .is_some_and(|line| line.contains("{{"))
        {
            error.help = Some("this looks like a template that was not filled in".to_owned());
        }
        error
    }

    /// Adds the entries of `<<`: those already there win, of several mappings the earlier one.
    fn merge(&mut self, entries: &mut Vec<(Key, Node)>, merged: Node) -> Result<()> {
        let wrong = |node: &Node| {
            let core = "map merge requires map or sequence of maps as the value";
            self.fail(
                ErrorKind::Syntax,
                format!("`<<` needs a mapping or a list of mappings, not {}", node.describe()),
                node.span,
            )
            .core(core)
        };
        let maps = match merged.kind {
            NodeKind::Map(map) => vec![map],
            NodeKind::Seq(items) => {
                let maps = items.into_iter().map(|item| match item.kind {
                    NodeKind::Map(map) => Ok(map),
                    _ => Err(wrong(&item)),
                });
                maps.collect::<Result<Vec<_>>>()?
            }
            _ => return Err(wrong(&merged)),
        };
        let mut seen: std::collections::HashSet<Arc<str>> =
            entries.iter().map(|(key, _)| key.name.clone()).collect();
        for (key, value) in maps.into_iter().flat_map(|map| map.entries) {
            if seen.insert(key.name.clone()) {
                entries.push((key, value));
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Node> {
        let plain = style == ScalarStyle::Plain;
        let kind = match tag {
            Some(tag) if tag.original() != "!" => self.tagged(text, plain, tag, span)?,
            _ if plain => scalar::resolve(text),
            _ => NodeKind::String(text.into()),
        };
        Ok(Node::new(kind, span))
    }

    /// A value with a tag. One that does not fit it may be a secret, and is not repeated.
    fn tagged(&self, text: &str, plain: bool, tag: &Tag, span: Span) -> Result<NodeKind> {
        let suffix = if tag.handle() == "tag:yaml.org,2002:" { tag.suffix() } else { "" };
        let (kind, core) = match suffix {
            "binary" => (
                decode_base64(text).map(|decoded| NodeKind::String(decoded.into())),
                "yaml: !!binary value contains invalid base64 data".to_owned(),
            ),
            suffix => (
                scalar::resolve_tagged(suffix, text, plain),
                format!("yaml: cannot decode !!str `{}` as a !!{suffix}", secret::REDACTED),
            ),
        };
        kind.ok_or_else(|| {
            let message = format!("the value does not fit its tag !!{suffix}");
            self.fail(ErrorKind::Syntax, message, span).core(core)
        })
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node> {
        let (size, node) = match self.anchors.get(&id) {
            Some(Some(anchor)) => (anchor.size, anchor.node.clone()),
            _ => return Err(self.fail(ErrorKind::Syntax, "an anchor's value contains itself", span)),
        };
        self.count_at(size, span)?;
        if self.depth + height(&node) > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels through an alias");
            return Err(self.fail(ErrorKind::Limit, message, span));
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, at: Marker) -> Result<()> {
        let span = self.point(at);
        self.count_at(more, span)
    }

    fn count_at(&mut self, more: usize, span: Span) -> Result<()> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values once its aliases are resolved");
        Err(self.fail(ErrorKind::Limit, message, span).core("document contains excessive aliasing"))
    }

    fn duplicate(&self, key: &Key, first: Span) -> ConfigError {
        let name = secret::shown_name(&key.name);
        self.fail(ErrorKind::Duplicate, format!("the key `{name}` is written twice in one mapping"), key.span)
            .core(format!("mapping key \"{name}\" already defined at line {}", first.line))
            .related(first, "first written here")
            .help("keep one of the two, or put the options of both under one key")
    }

    fn syntax(&self, error: &ScanError) -> ConfigError {
        let span = self.point(*error.marker());
        if *error.kind() == granit_parser::ErrorKind::RecursionLimitExceeded {
            return self.fail(ErrorKind::Limit, format!("nested deeper than {MAX_DEPTH} levels"), span);
        }
        self.fail(ErrorKind::Syntax, format!("this is not valid YAML: {}", error.info()), span).core(format!(
            "yaml: line {}: {}",
            span.line,
            error.info()
        ))
    }

    fn fail(&self, kind: ErrorKind, message: impl Into<String>, span: Span) -> ConfigError {
        ConfigError::new(kind, message).at(span)
    }

    fn point(&self, at: Marker) -> Span {
        self.span(granit_parser::Span::empty(at))
    }

    /// The part of the parser's span that lies on its first line.
    fn span(&self, at: granit_parser::Span) -> Span {
        let written = at.slice(self.text).unwrap_or_default();
        let first_line = written.lines().next().unwrap_or_default();
        Span {
            source: self.source,
            line: number(at.start.line()).max(1),
            column: number(at.start.col()).saturating_add(1),
            len: number(first_line.trim_end().chars().count()).max(1),
        }
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The levels of mappings and lists in a value.
fn height(node: &Node) -> usize {
    match &node.kind {
        NodeKind::Seq(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        NodeKind::Map(map) => 1 + map.iter().map(|(_, value)| height(value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// Text from base64 (RFC 4648, white space allowed); `None` when it is no base64 or no UTF-8.
fn decode_base64(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u8);
    for letter in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    String::from_utf8(bytes).ok()
}
