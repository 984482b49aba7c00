//! What a configuration may read besides its own text.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use crate::http_get;
use crate::yaml::MAX_BYTES;

/// The world around a configuration: environment, files, HTTP. Tests replace what they need to.
pub trait Env {
    /// The value of an environment variable; `None` when it is not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a file, by a path relative to the working directory.
    ///
    /// # Errors
    /// Go's sentence: `open x.yaml: no such file or directory`.
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        read_file(path)
    }

    /// The body that `GET` of an `http://` or `https://` URL answers with status 200.
    ///
    /// # Errors
    /// The Collector's sentence.
    fn http(&self, url: &str) -> Result<Vec<u8>, String> {
        http_get::get(url)
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl Env for HashMap<String, String> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Reads a file up to one byte over the limit for texts, so that a huge or endless one is refused at once.
fn read_file(path: &str) -> Result<Vec<u8>, String> {
    let sentence = |action: &str, error: &io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            _ => error.to_string(),
        };
        format!("{action} {path}: {reason}")
    };
    let file = File::open(path).map_err(|error| sentence("open", &error))?;
    let mut content = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(|error| sentence("read", &error))?;
    Ok(content)
}
