//! Where the text goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Places to print to.
pub(crate) struct Sinks {
    sinks: Mutex<Vec<Sink>>,
    /// The last write failed and was reported.
    failing: AtomicBool,
}

enum Sink {
    Stdout,
    Stderr,
    File(File),
}

impl Sinks {
    /// The terminal's stream for what is not a result.
    pub(crate) fn stderr() -> Sinks {
        Sinks { sinks: Mutex::new(vec![Sink::Stderr]), failing: AtomicBool::new(false) }
    }

    /// Opens all: `stdout`, `stderr`, and paths of files, which are made and appended to.
    ///
    /// # Errors
    /// Names the file that cannot be opened.
    pub(crate) fn open(paths: &[String]) -> Result<Sinks, String> {
        let sinks = paths.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Sinks { sinks: Mutex::new(sinks), failing: AtomicBool::new(false) })
    }

    /// Writes to all, to each at once, for the exporter `id`. What cannot be written is lost, and told once until it works again: a closed
    /// terminal must not make the senders send again.
    pub(crate) fn write(&self, text: &str, id: &str) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failure = None;
        for sink in sinks.iter_mut() {
            failure = sink.write(text.as_bytes()).err().or(failure);
        }
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        if let (Some(error), false) = (failure, failed_before) {
            tracing::warn!(
                otelcol.component.id = id,
                otelcol.component.kind = "exporter",
                %error,
                "The debug exporter cannot print; its text is lost until it can."
            );
        }
    }
}

fn open(path: &str) -> Result<Sink, String> {
    match path {
        "stdout" => Ok(Sink::Stdout),
        "stderr" => Ok(Sink::Stderr),
        _ => {
            let file = file_of(path).ok_or_else(|| no_sink(path))?;
            let opened = OpenOptions::new().append(true).create(true).open(file);
            opened.map(Sink::File).map_err(|error| {
                format!("output_paths: cannot open {file:?} to append to it: {error}; give a path whose folder exists and is writable, stdout or stderr")
            })
        }
    }
}

/// The file that an entry of `output_paths` names, as a path or a URL; `None` for URLs of other schemes.
pub(crate) fn file_of(path: &str) -> Option<&str> {
    match path.split_once("://") {
        None => Some(path),
        Some(("file", rest)) => {
            Some(rest.strip_prefix("localhost").unwrap_or(rest)).filter(|p| p.starts_with('/'))
        }
        Some(_) => None,
    }
}

/// What is wrong with an entry that [`file_of`] refuses.
pub(crate) fn no_sink(path: &str) -> String {
    let scheme = path.split_once("://").map_or("", |(scheme, _)| scheme);
    format!("open sink {path:?}: no sink found for scheme {scheme:?}")
}

impl Sink {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stdout => write_and_flush(&mut io::stdout().lock(), text),
            Sink::Stderr => write_and_flush(&mut io::stderr().lock(), text),
            Sink::File(file) => write_and_flush(file, text),
        }
    }
}

fn write_and_flush(to: &mut impl Write, text: &[u8]) -> io::Result<()> {
    to.write_all(text)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_paths_and_file_urls_only() {
        assert_eq!(file_of("a/b.txt"), Some("a/b.txt"));
        assert_eq!(file_of("file:///tmp/x"), Some("/tmp/x"));
        assert_eq!(file_of("file://localhost/tmp/x"), Some("/tmp/x"));
        assert_eq!(file_of("file://host/tmp/x"), None);
        assert_eq!(file_of("http://host/x"), None);
        assert_eq!(no_sink("http://host/x"), r#"open sink "http://host/x": no sink found for scheme "http""#);
    }
}
