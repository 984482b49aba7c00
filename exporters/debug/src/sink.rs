//! Where the text goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_config::telemetry::OutputPath;
use weir_telemetry::Outlet;

/// Places to print to.
pub(crate) struct Sinks {
    sinks: Mutex<Vec<Sink>>,
    /// The last write failed and was reported.
    failing: AtomicBool,
}

enum Sink {
    /// One of the process's streams, beside what else is written there.
    Stream(Arc<Outlet>),
    File(File),
}

impl Sinks {
    /// The terminal's stream for what is not a result.
    ///
    /// # Errors
    /// As [`Sinks::open`].
    pub(crate) fn stderr() -> Result<Sinks, String> {
        Sinks::open(&["stderr".to_owned()])
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
    /// terminal must not make the senders send again. A stream that stands still is waited for once, and loses text then.
    pub(crate) fn write(&self, text: &str, id: &str) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failure = None;
        for sink in sinks.iter_mut() {
            match sink {
                Sink::Stream(outlet) => outlet.write_patiently(text.to_owned()),
                Sink::File(file) => failure = file.write_all(text.as_bytes()).err().or(failure),
            }
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
    match OutputPath::parse(path)? {
        OutputPath::Stdout => stream(weir_telemetry::stdout()),
        OutputPath::Stderr => stream(weir_telemetry::stderr()),
        OutputPath::File(file) => {
            let opened = OpenOptions::new().append(true).create(true).open(&file);
            opened.map(Sink::File).map_err(|error| {
                format!("output_paths: cannot open {file:?} to append to it: {error}; give a path whose folder exists and is writable, stdout or stderr")
            })
        }
    }
}

fn stream(outlet: io::Result<Arc<Outlet>>) -> Result<Sink, String> {
    outlet.map(Sink::Stream).map_err(|error| format!("output_paths: no thread that writes: {error}"))
}
