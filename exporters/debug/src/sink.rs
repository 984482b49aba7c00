//! Where the text goes.

use std::io;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_config::telemetry::OutputPath;
use weir_telemetry::Outlet;

/// Payloads that are printed at once. Each has a thread of those that queues on disk need, too, and a second of it where an
/// output takes nothing; further ones wait without.
const AT_ONCE: usize = 4;

/// Places to print to.
pub(crate) struct Sinks {
    /// Those of the process, beside what else is written there.
    streams: Vec<Arc<Outlet>>,
    files: Vec<Arc<Outlet>>,
    turns: Arc<Semaphore>,
}

impl Sinks {
    /// The terminal's stream for what is not a result.
    ///
    /// # Errors
    /// As [`Sinks::open`].
    pub(crate) fn stderr() -> Result<Sinks, String> {
        Sinks::open(&["stderr".to_owned()])
    }

    /// Opens all: `stdout`, `stderr`, and paths of files, which are made and appended to. Blocks, for a second where a file
    /// does not open.
    ///
    /// # Errors
    /// Names the file that cannot be opened.
    pub(crate) fn open(paths: &[String]) -> Result<Sinks, String> {
        let (mut streams, mut files) = (Vec::new(), Vec::new());
        for path in paths {
            match OutputPath::parse(path)? {
                OutputPath::Stdout => streams.push(stream(weir_telemetry::stdout())?),
                OutputPath::Stderr => streams.push(stream(weir_telemetry::stderr())?),
                OutputPath::File(file) => files.push(open(&file)?),
            }
        }
        Ok(Sinks { streams, files, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Waits for a turn, which whoever prints keeps until the end.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Writes to all, to each at once. What cannot be written is lost, and told once until it works again: a closed
    /// terminal must not make the senders send again. An output that stands still is waited for once, and loses text then.
    pub(crate) fn write(&self, text: &str) {
        for outlet in self.streams.iter().chain(&self.files) {
            outlet.write_patiently(text.to_owned());
        }
    }

    /// Waits until the files have all, a second for each; the process does for its streams. Whether they have. Blocks.
    pub(crate) fn flush(&self) -> bool {
        self.files.iter().filter(|file| !file.flush()).count() == 0
    }
}

fn open(file: &str) -> Result<Arc<Outlet>, String> {
    Outlet::file(file).map_err(|error| {
        format!("output_paths: cannot open {file:?} to append to it: {error}; give a path whose folder exists and is writable, stdout or stderr")
    })
}

fn stream(outlet: io::Result<Arc<Outlet>>) -> Result<Arc<Outlet>, String> {
    outlet.map_err(|error| format!("output_paths: no thread that writes: {error}"))
}
