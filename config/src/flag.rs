//! `--set key=value`.

use crate::merge::split_keys;
use crate::yaml;
use crate::{ConfigError, ErrorKind, Map, Node, NodeKind, SourceKind, Sources, Span};

/// The configuration that one `--set` stands for. Dots in the key become levels, the value is YAML.
///
/// # Errors
/// No `=`, or a value that is no YAML; positions count in the text of the flag.
pub(crate) fn parse(flag: &str, sources: &mut Sources) -> Result<Node, ConfigError> {
    let source = sources.add(SourceKind::Flag, flag, None);
    let whole = Span { source, line: 1, column: 1, len: count(flag).max(1) };
    let Some((key, value)) = flag.split_once('=') else {
        // Behind a colon or a blank stands the value, where the equal sign was forgotten.
        let key = flag.split([':', ' ']).next().unwrap_or_default();
        let message = format!("--set {key}: missing equal sign");
        let mut error = ConfigError::new(ErrorKind::Source, message)
            .core(format!("invalid argument {key:?} for \"--set\" flag: missing equal sign"))
            .at(whole)
            .help("write --set key=value");
        error.secret = key != flag;
        return Err(error);
    };
    let path = key.trim().replace('.', "::");
    let document = format!("{path}: {}", value.trim());
    let shift =
        Shift { from: count(&path) + 3, to: count(key) + 1 + count(value) - count(value.trim_start()) + 1 };
    let mut node = yaml::parse(&document, source).map_err(|mut error| {
        error.span = error.span.map(|span| shift.apply(span));
        error.related.iter_mut().for_each(|(span, _)| *span = shift.apply(*span));
        error
    })?;
    shift.node(&mut node);
    split_keys(&mut node)?;
    Ok(node)
}

/// From columns of the document that is read to columns of the text that was typed.
#[derive(Clone, Copy)]
struct Shift {
    /// Column of the value in the document.
    from: u32,
    /// Column of the value in the flag.
    to: u32,
}

impl Shift {
    fn apply(self, mut span: Span) -> Span {
        if span.line == 1 {
            span.column = if span.column >= self.from { span.column - self.from + self.to } else { 1 };
        }
        span
    }

    fn node(self, node: &mut Node) {
        node.span = self.apply(node.span);
        match &mut node.kind {
            NodeKind::Seq(items) => items.iter_mut().for_each(|item| self.node(item)),
            NodeKind::Map(Map { entries }) => {
                for (key, value) in entries {
                    key.span = self.apply(key.span);
                    self.node(value);
                }
            }
            _ => {}
        }
    }
}

fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_sets_one_value_at_its_place() {
        let mut sources = Sources::new();
        let node = parse("a.b=[x, {c: 5}]", &mut sources).unwrap();
        let list = node.get(&["a", "b"]).unwrap();
        let number = match &list.kind {
            NodeKind::Seq(items) => items[1].get(&["c"]).unwrap(),
            _ => list,
        };
        assert_eq!(number.kind, NodeKind::Int(5));
        assert_eq!(sources.position(number.span), "--set:1:13");
        let node = parse(" a = b=c ", &mut sources).unwrap();
        assert_eq!(node.get(&["a"]).and_then(Node::as_str), Some("b=c"));
        assert!(parse("a.b=", &mut sources).unwrap().get(&["a", "b"]).unwrap().is_null());
    }

    #[test]
    fn a_flag_without_an_equal_sign_or_without_yaml_is_refused() {
        let mut sources = Sources::new();
        let core = "invalid argument \"a.b\" for \"--set\" flag: missing equal sign";
        assert_eq!(parse("a.b", &mut sources).unwrap_err().core_sentence(), core);
        let error = parse("a.token: hunter2", &mut sources).unwrap_err();
        assert!(!error.to_string().contains("hunter2") && error.secret, "{error}");
        let error = parse("a.b={x", &mut sources).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Syntax);
    }
}
