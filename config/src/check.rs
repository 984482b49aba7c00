//! What must hold for any text of a configuration; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use serde_json::{Number, Value};

use crate::{Env, GoDuration, Node, NodeKind, Request, SourceId, print, resolve, yaml};

/// A text of YAML is refused at a place that is in it, or is the same when `print-config` writes it and it is read again.
pub fn yaml(text: &str) {
    match yaml::parse(text, SourceId::default()) {
        Ok(node) => {
            let Some(value) = value(&node) else { return };
            let written = print::yaml(&value).expect("what was read can be written");
            let again = yaml::parse(&written, SourceId::default());
            let again = again.unwrap_or_else(|error| unreadable(&error, &written));
            assert_eq!(self::value(&again), Some(value), "{text:?} was written as {written:?}");
        }
        Err(error) => {
            let span = error.span.expect("an error of YAML has a place");
            let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
            assert!(span.line as usize <= lines + 1, "{span:?} of {text:?}");
        }
    }
}

#[expect(clippy::panic, reason = "a check that does not hold is a fault")]
fn unreadable(error: &crate::ConfigError, written: &str) -> Node {
    panic!("{error:?} in {written:?}")
}

/// A tree without its places; `None` when it holds a number that is not finite, for which printing has no form.
fn value(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Bool(on) => Value::Bool(*on),
        NodeKind::Int(number) => Value::Number(
            i64::try_from(*number)
                .map(Number::from)
                .or_else(|_| u64::try_from(*number).map(Number::from))
                .ok()?,
        ),
        NodeKind::Float(number) => Value::Number(Number::from_f64(*number)?),
        NodeKind::String(text) => Value::String(text.to_string()),
        NodeKind::Seq(items) => Value::Array(items.iter().map(value).collect::<Option<_>>()?),
        NodeKind::Map(map) => {
            let entry = |(key, node): (&crate::Key, &Node)| Some((key.name.to_string(), value(node)?));
            Value::Object(map.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

/// The text is a variable and a file as well as the configuration.
struct World<'a>(&'a str);

impl Env for World<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (name != "UNSET").then(|| self.0.to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "a" { Ok(self.0.into()) } else { Err("no such file or directory".to_owned()) }
    }

    fn http(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("no network".to_owned())
    }
}

/// Reading, merging and expanding end for any text, also one that refers to itself; what is refused has a reason, which can be
/// shown in all forms.
pub fn expansion(text: &str) {
    let uris = ["file:a".to_owned(), format!("yaml:{text}")];
    let sets = [text.to_owned()];
    let append_lists = text.len().is_multiple_of(2);
    let request = Request { uris: &uris, sets: &sets, env: &World(text), append_lists };
    if let Err(diagnostics) = resolve(request) {
        assert!(!diagnostics.errors().is_empty());
        // None of the forms may fail on a text that is no text for people.
        drop((diagnostics.render(false), diagnostics.to_json(), diagnostics.to_string()));
    }
}

/// A duration is printed in the form that Go gives it, which is read as the same duration.
pub fn duration(text: &str) {
    if let Ok(duration) = text.parse::<GoDuration>() {
        assert_eq!(duration.to_string().parse(), Ok(duration), "{text:?}");
    }
}

/// An answer of a server that holds a configuration is read within its bytes: its body is never longer than they are.
pub fn http_answer(answer: &[u8]) {
    if let Ok((_, body)) = crate::http_get::read_answer(answer) {
        assert!(body.len() <= answer.len());
    }
}
