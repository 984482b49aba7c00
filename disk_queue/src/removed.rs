//! Files that somebody removes while the queue is open.
//!
//! What is written to a file to which no name leads is gone with the process, and no call fails for it. So a commit looks at
//! the name before it says `Ok`, and refuses its group otherwise. Segments of which the file is gone are then passed over:
//! what only they held is lost and counted, what is in memory still comes out, and what is new goes to a new segment, in
//! a directory that is made anew where it is gone too.

use std::collections::BTreeSet;
use std::io;

use crate::UNSAMPLED;
use crate::acks;
use crate::fs::{self, File};
use crate::names::{Holds, Name};
use crate::queue::Queue;
use crate::state::Segment;

impl Queue {
    /// Records in memory whose file was removed: they come out, but not after a restart.
    pub fn adrift(&self) -> u64 {
        let state = self.state();
        state.segments().iter().filter(|segment| segment.removed).map(|segment| segment.live.records).sum()
    }

    /// After something was not found: passes over all segments whose files were removed, and sees to it that there is a
    /// directory.
    pub(crate) fn note_removed(&self) -> io::Result<()> {
        // Those before the look at the directory: what is made meanwhile is there.
        let known: Vec<Name> = {
            let state = self.state();
            state.segments().iter().filter(|s| !s.gone && !s.removed).map(|s| s.name).collect()
        };
        let there: BTreeSet<String> = match self.fs.list() {
            Ok(names) => names.into_iter().collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        let is_missing = |name: &Name| {
            let file = name.file(Holds::Records);
            !there.contains(&file) && self.fs.open(&file).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        };
        let removed: Vec<Name> = known.into_iter().filter(is_missing).collect();
        for name in &removed {
            let mut state = self.state();
            let read_to = state.read_to;
            let remove = |segment: &mut Segment| {
                (segment.removed, segment.unread) = (true, false);
                segment.end
            };
            let Some(end) = state.change(name, remove) else { continue };
            let left = read_to.max(name.first)..end;
            // With the same look at how far reading is: what comes into memory from now on is not of these.
            let taken_off = self.take_off(&mut state, name, left);
            drop(state);
            self.log_removed(name, taken_off);
            // The next start need not count them again. The acks may have been removed too.
            if let Ok(acks) = self.fs.open(&name.file(Holds::Acks)) {
                drop(fs::write_all(&*acks, &acks::first(name.salt, end, true), 0));
            }
        }
        self.fs.restore()
    }

    /// Says how many records a removed segment held that are not in memory, and which, if any.
    pub(crate) fn log_removed(&self, name: &Name, taken_off: Option<(u64, String)>) {
        let Some((lost, ids)) = taken_off else { return };
        tracing::error!(
            target: UNSAMPLED,
            queue = %self.fs.place(),
            segment = name.number,
            lost_records = lost,
            %ids,
            "A file of a queue on disk was removed while it is open, and its records are lost"
        );
    }

    /// Refuses the file of a segment to which no name leads. File systems that count no names are asked by the name.
    pub(crate) fn has_name(&self, name: &Name, file: &dyn File) -> io::Result<()> {
        if !file.is_removed()? {
            return Ok(());
        }
        match self.fs.open(&name.file(Holds::Records)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text =
                    "its files were removed while the agent has it open; it goes on in new ones: try again";
                Err(io::Error::new(io::ErrorKind::NotFound, text))
            }
            Err(error) => Err(error),
        }
    }
}
