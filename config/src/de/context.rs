//! What is known across the passes over one body, and how an error gets its place and its words.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::DeError;
use crate::secret;
use crate::{ConfigError, ErrorKind, Key, Node, Path};

/// The most errors reported of one body.
const MAX_ERRORS: usize = 50;

/// State of one [`super::from_node`]. A pass ends at the first bad value; its key is then left out and the next pass
/// goes on behind it, so that all errors are found.
#[derive(Default)]
pub(super) struct Context {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    errors: Vec<ConfigError>,
    unknown: Vec<ConfigError>,
    /// Entries that later passes leave out.
    absent: BTreeSet<Path>,
    /// Values of a secret type.
    secrets: BTreeSet<Path>,
    /// Defaults that collide with an old name the user wrote.
    hidden_defaults: BTreeSet<Path>,
    /// Places of which an error is recorded already.
    seen: BTreeSet<(Path, &'static str)>,
    /// Grows with everything that makes another pass worth while.
    progress: usize,
}

impl Context {
    pub(super) fn progress(&self) -> usize {
        self.inner.borrow().progress
    }

    pub(super) fn is_full(&self) -> bool {
        self.inner.borrow().errors.len() >= MAX_ERRORS
    }

    pub(super) fn is_absent(&self, path: &Path) -> bool {
        self.inner.borrow().absent.contains(path)
    }

    pub(super) fn is_hidden_default(&self, path: &Path) -> bool {
        self.inner.borrow().hidden_defaults.contains(path)
    }

    pub(super) fn hide_default(&self, path: Path) {
        let mut inner = self.inner.borrow_mut();
        if inner.hidden_defaults.insert(path) {
            inner.progress += 1;
        }
    }

    pub(super) fn mark_secret(&self, path: &Path) {
        self.inner.borrow_mut().secrets.insert(path.clone());
    }

    /// All errors, unknown options last: `(errors, unknown options)`.
    pub(super) fn finish(self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        let inner = self.inner.into_inner();
        (inner.errors, inner.unknown)
    }

    /// Records an error with its place, leaves the place out of the next pass, and returns what unwinds this pass.
    pub(super) fn report(&self, error: DeError, node: &Node, path: &Path) -> DeError {
        if matches!(error, DeError::Reported) {
            return error;
        }
        let mut inner = self.inner.borrow_mut();
        if inner.absent.insert(path.clone()) {
            inner.progress += 1;
        }
        if inner.seen.insert((path.clone(), "value")) {
            let secret = inner.secrets.contains(path) || secret::is_place(path);
            let shown = if secret { path.clone().shown() } else { path.clone() };
            inner.errors.push(describe(error, node, &shown, secret));
        }
        DeError::Reported
    }

    /// Records an error that does not end the pass.
    pub(super) fn note(&self, error: ConfigError) {
        let mut inner = self.inner.borrow_mut();
        if inner.seen.insert((error.path.clone(), "note")) {
            inner.errors.push(error);
        }
    }

    /// Records the options of a mapping that do not exist.
    pub(super) fn unknown(&self, keys: &[&Key], known: &[&str], path: &Path) {
        let core = invalid_keys(&path.relative(), keys);
        let mut inner = self.inner.borrow_mut();
        for key in keys {
            let place = path.field(&key.name);
            if inner.unknown.len() >= MAX_ERRORS || !inner.seen.insert((place.clone(), "unknown")) {
                continue;
            }
            let mut error = unknown_field(key, &path.to_string(), known).on(&place).core(core.clone());
            error.help = super::removed::advice(&place).or(error.help.take());
            inner.unknown.push(error);
        }
    }
}

/// The Collector's sentence for options that do not exist; of very many, for the first.
pub(crate) fn invalid_keys(place: &str, keys: &[&Key]) -> String {
    let mut names: Vec<&str> = keys.iter().map(|key| &*key.name).collect();
    names.sort_unstable();
    let names: Vec<String> = names.into_iter().take(MAX_ERRORS).map(secret::shown_name).collect();
    format!("'{place}' has invalid keys: {}", names.join(", "))
}

/// An option that does not exist at a place, which has the `known` ones.
pub(crate) fn unknown_field(key: &Key, place: &str, known: &[&str]) -> ConfigError {
    let name = secret::shown_name(&key.name);
    let error = ConfigError::new(ErrorKind::UnknownField, format!("unknown field `{name}` in {place}"));
    let error = error.at(key.span);
    match key.name.split_once(':') {
        Some((name, _)) if known.contains(&name) => {
            let mut error = error.choose("", known);
            error.help = Some(format!("a blank is missing behind `{name}:`"));
            error
        }
        Some((name, _)) => error.choose(name, known),
        None => error.choose(&key.name, known),
    }
}

/// The words for one error.
fn describe(error: DeError, node: &Node, path: &Path, secret: bool) -> ConfigError {
    let found = if secret { secret::NOT_SHOWN.to_owned() } else { node.describe() };
    let name = path.relative();
    let found_type = node.go_type();
    let mut result = match error {
        DeError::Type { go, words } => {
            let core = format!("'{name}' expected type '{go}', got unconvertible type '{found_type}'");
            expected(path, words, &found).core(core)
        }
        // The Collector says the one of the body of a component, the other of what is in it.
        DeError::NotAMap if path.is_body() => {
            let core = format!(
                "'{name}' expected type 'map[string]interface {{}}', got unconvertible type '{found_type}'"
            );
            expected(path, "a mapping", &found).core(core)
        }
        DeError::NotAMap => {
            let core = format!("'{name}' expected a map or struct, got \"{}\"", go_kind(node));
            expected(path, "a mapping", &found).core(core)
        }
        DeError::NotAList => {
            let core = format!("'{name}' source data must be an array or slice, got {}", go_kind(node));
            expected(path, "a list", &found).core(core)
        }
        DeError::Unexpected(words) => {
            let core = format!("'{name}' expected type '{words}', got unconvertible type '{found_type}'");
            expected(path, &words, &found).core(core)
        }
        DeError::Custom(_) | DeError::Range(_) | DeError::Duration(_) if secret => {
            ConfigError::new(ErrorKind::Value, format!("invalid value for `{path}`"))
        }
        DeError::Range(core) => {
            let message = format!("`{path}` is out of range: {core}");
            ConfigError::new(ErrorKind::Value, message).core(format!("'{name}' {core}"))
        }
        DeError::Variant(allowed) => unknown_word(node, path, &found, allowed),
        DeError::Word(sentence, allowed) => {
            let word = if secret { secret::REDACTED } else { node.as_str().unwrap_or_default() };
            let sentence = sentence.replace("%q", &format!("{word:?}")).replace("%s", word);
            unknown_word(node, path, &found, allowed).core(format!("'{name}' {sentence}"))
        }
        DeError::MissingField(field) => {
            ConfigError::new(ErrorKind::Invalid, format!("`{path}` needs the option `{field}`"))
        }
        DeError::DuplicateField(field) => ConfigError::new(
            ErrorKind::Duplicate,
            format!("`{path}::{field}` is given twice, once under an old name"),
        ),
        DeError::Duration(core) => {
            let error = ConfigError::new(ErrorKind::Value, format!("invalid value for `{path}`: {core}"));
            error
                .core(format!("'{name}' {core}"))
                .help("a duration is a number with a unit: ns, us, ms, s, m or h, such as 300ms, 5s, 1h30m")
        }
        DeError::Id(core) => ConfigError::new(ErrorKind::Id, core),
        other => {
            let core = other.to_string();
            ConfigError::new(ErrorKind::Value, format!("invalid value for `{path}`: {core}"))
                .core(format!("'{name}' {core}"))
        }
    };
    if result.expected.as_deref() == Some("a string") && is_plain_scalar(node) {
        result.help = Some("put the value in quotes to make it a string".to_owned());
    }
    if result.got.is_none() && !secret {
        result.got = Some(node.describe());
    }
    result.secret = secret;
    result.at(node.span).on(path)
}

fn unknown_word(node: &Node, path: &Path, found: &str, allowed: &[&str]) -> ConfigError {
    let allowed: Vec<&str> = allowed.iter().copied().filter(|word| !word.is_empty()).collect();
    let word = node.as_str().unwrap_or_default();
    let mut error =
        ConfigError::new(ErrorKind::Value, format!("`{path}` does not know {found}")).choose(word, &allowed);
    error.expected = Some(format!("one of {}", allowed.join(", ")));
    error
}

fn expected(path: &Path, words: &str, found: &str) -> ConfigError {
    let mut error = ConfigError::new(ErrorKind::Type, format!("`{path}` must be {words}, found {found}"));
    error.expected = Some(words.to_owned());
    error.got = Some(found.to_owned());
    error
}

fn is_plain_scalar(node: &Node) -> bool {
    matches!(node.go_type(), "bool" | "int" | "uint64" | "float64")
}

fn go_kind(node: &Node) -> &'static str {
    match node.go_type() {
        "map[string]interface {}" => "map",
        "[]interface {}" => "slice",
        other => other,
    }
}
