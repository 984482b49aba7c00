//! All files that the agent writes, whichever exporter is for them.
//!
//! Exporters of different ids, or the one before a reload and the one behind it, may write one file. They share its output:
//! so they take turns, a full file is set aside once, and what a failed write cuts off is its own.
//!
//! What is in a file goes when this run of the agent opens it for the first time. A reload opens it again, also one that is
//! refused then.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use crate::lock;
use crate::output::Output;
use crate::place::Place;

/// How many files are remembered as begun by this run: telemetry may name any number. Further ones are never emptied.
const MAX_BEGUN: usize = 65_536;

/// One for the whole agent.
#[derive(Debug, Default)]
pub(crate) struct Outputs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    open: Vec<Weak<Output>>,
    begun: BTreeSet<PathBuf>,
}

impl Outputs {
    /// The output of the file at a place: the one that an exporter has already, or a new one. Unless it `stays`, what is in
    /// the file goes when this run has not begun it yet. Blocks.
    ///
    /// # Errors
    /// The file cannot be opened or emptied.
    pub(crate) fn open(&self, place: Place, stays: bool, rotates: bool) -> io::Result<Arc<Output>> {
        let path = place.path().to_owned();
        let opened = Output::open(place, rotates)?;
        let identity = opened.identity();
        // No disk is touched under this lock: one that hangs must not hold up what lies on others.
        let mut known = lock(&self.0);
        if let Some(shared) =
            known.open.iter().filter_map(Weak::upgrade).find(|open| open.identity() == identity)
        {
            known.begin(path);
            return Ok(shared);
        }
        let output = Arc::new(opened);
        // Who shares it from here on waits until it is empty.
        let file = output.hold();
        known.open.retain(|open| open.strong_count() > 0);
        known.open.push(Arc::downgrade(&output));
        let empties = !stays && !known.has_begun(&path);
        drop(known);
        if empties && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        lock(&self.0).begin(path);
        drop(file);
        Ok(output)
    }
}

impl Known {
    fn has_begun(&self, path: &Path) -> bool {
        self.begun.len() >= MAX_BEGUN || self.begun.contains(path)
    }

    fn begin(&mut self, path: PathBuf) {
        if !self.has_begun(&path) {
            self.begun.insert(path);
        }
    }
}
