//! The text behind a URI.

use std::collections::HashMap;
use std::sync::Arc;

use crate::env::Env;
use crate::uri::Uri;
use crate::yaml::MAX_BYTES;
use crate::{SourceKind, Sources, Span, secret};

/// Something a configuration refers to that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The sentence of the log line.
    pub message: String,
    /// The environment variable it is about; empty for none.
    pub name: String,
    /// Where it is used; `None` for a flag.
    pub span: Option<Span>,
    /// Whether it is worth no more than level `info`.
    pub info: bool,
}

/// Fetches texts; each file and URL once.
pub(crate) struct Provider<'a> {
    env: &'a dyn Env,
    fetched: HashMap<String, Arc<str>>,
    pub(crate) warnings: Vec<Warning>,
}

/// A text and its origin.
pub(crate) struct Retrieved {
    pub(crate) kind: SourceKind,
    pub(crate) text: Arc<str>,
}

impl<'a> Provider<'a> {
    pub(crate) fn new(env: &'a dyn Env) -> Self {
        Self { env, fetched: HashMap::new(), warnings: Vec::new() }
    }

    /// The text of a URI, or the Collector's sentence why there is none. `at` is the place that refers to it. A file that
    /// cannot be read is kept in `sources`.
    pub(crate) fn retrieve(
        &mut self,
        uri: Uri<'_>,
        at: Option<Span>,
        sources: &mut Sources,
    ) -> Result<Retrieved, String> {
        let Uri { scheme, rest } = uri;
        match scheme {
            "env" => self.variable(rest, at),
            "yaml" => Ok(Retrieved { kind: SourceKind::Inline, text: rest.into() }),
            "file" => {
                let text = self.fetch(scheme, rest, |env| {
                    env.file(rest).map_err(|error| format!("unable to read the file file:{rest}: {error}"))
                });
                let text = text.inspect_err(|_| sources.add_unread(rest))?;
                Ok(Retrieved { kind: SourceKind::File(rest.to_owned()), text })
            }
            "http" | "https" => {
                let url = format!("{scheme}:{rest}");
                let text = self.fetch(scheme, rest, |env| env.http(&url))?;
                Ok(Retrieved { kind: SourceKind::Http(url), text })
            }
            _ => {
                let uri = secret::shown_reference(&format!("{scheme}:{rest}"));
                Err(format!("scheme {scheme:?} is not supported for uri {uri:?}"))
            }
        }
    }

    fn variable(&mut self, reference: &str, at: Option<Span>) -> Result<Retrieved, String> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_variable_name(name) {
            let name = secret::shown_variable(name);
            return Err(format!(
                "environment variable {name:?} has invalid name: must match regex ^[a-zA-Z_][a-zA-Z0-9_]*$"
            ));
        }
        let text = match (self.env.variable(name), default) {
            (Some(value), _) => {
                if value.is_empty() {
                    self.warn("Configuration references empty environment variable", name, at, true);
                }
                value
            }
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                self.warn("Configuration references unset environment variable", name, at, false);
                String::new()
            }
        };
        if text.len() > MAX_BYTES {
            return Err(format!(
                "the value of the environment variable {name:?} is over the limit of 16 MiB"
            ));
        }
        Ok(Retrieved { kind: SourceKind::Env(name.to_owned()), text: text.into() })
    }

    fn warn(&mut self, message: &str, name: &str, span: Option<Span>, info: bool) {
        let warning = Warning { message: message.to_owned(), name: name.to_owned(), span, info };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn fetch(
        &mut self,
        scheme: &str,
        rest: &str,
        read: impl FnOnce(&dyn Env) -> Result<Vec<u8>, String>,
    ) -> Result<Arc<str>, String> {
        let uri = format!("{scheme}:{rest}");
        if let Some(text) = self.fetched.get(&uri) {
            return Ok(text.clone());
        }
        let bytes = read(self.env)?;
        if bytes.len() > MAX_BYTES {
            return Err(format!("{uri} is over the limit of 16 MiB"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            format!("{uri} is not UTF-8 text: yaml: invalid leading UTF-8 octet in line {}", line + 1)
        })?;
        let text: Arc<str> = text.into();
        self.fetched.insert(uri, text.clone());
        Ok(text)
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
