//! Reading ahead.
//!
//! Records come to `ready` from two sides, in the order of their ids: a commit hands on what it has just written, and who
//! fills reads what lies on disk. The state has two ids for it. Below `committed` everything is durable. Below `read_to`
//! everything is out of the reader's way: ready, taken, done or lost. What lies between is on disk only, and then:
//!
//! - While `read_to < committed` only who holds the reader's lock moves `read_to` and adds to `ready`; commits move `committed`
//!   alone, however much room there is.
//! - While both are equal only a commit moves them: both, or `committed` alone where there is no room for the record.
//!
//! Both happen under the state's lock, so that the hand changes without a gap and without a record that comes twice. A segment
//! grows in the same moment as `committed`, and a part is taken off it with its size and its ids at once: what is not found in
//! those bytes is lost, and never merely not written yet. What is found lost meanwhile, as its file was removed, is passed
//! over as what is done is.

use std::io;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::UNSAMPLED;
use crate::fs::{self, File, Fs};
use crate::names::{Holds, Name};
use crate::queue::Queue;
use crate::scan::{Scanner, Step};
use crate::state::{Ready, Receivable, State, Taken};

/// Where reading stands: the segment and how far it was scanned. Its file is open only while it is read: the space of one
/// that is removed meanwhile would not come back.
#[derive(Default)]
pub(crate) struct Reader(Option<(Name, Scanner)>);

/// The part of a segment that is to be read.
struct Part {
    name: Name,
    /// Bytes that are committed.
    size: u64,
    /// Ids from where reading goes on to the end.
    ids: Range<u64>,
    /// Somebody removed it.
    removed: bool,
}

impl Reader {
    fn scanner(&mut self, name: &Name) -> &mut Scanner {
        let new = || (*name, Scanner::new(name.salt));
        let (read, scanner) = self.0.get_or_insert_with(new);
        if *read != *name {
            (*read, *scanner) = new();
        }
        scanner
    }

    /// Frees what was read and is no record yet.
    fn let_go(&mut self) {
        if let Some((_, scanner)) = &mut self.0 {
            scanner.let_go();
        }
    }
}

impl Queue {
    /// Reads the next records from disk, until `most` bytes of them are in memory, or
    /// [`Options::read_ahead`](crate::Options::read_ahead) if that is less, or all are; one at least. Blocks.
    ///
    /// # Errors
    /// A segment cannot be opened, which may pass; nothing is lost by it.
    pub fn fill(&self, most: usize) -> io::Result<()> {
        let lost = self.counts.lost.load(Ordering::Relaxed);
        let filled = self.read_ahead(most.clamp(1, self.options.read_ahead.max(1)));
        if self.counts.lost.load(Ordering::Relaxed) > lost {
            // So that they are counted once, and what held only them is put aside.
            self.save();
        }
        filled
    }

    fn read_ahead(&self, most: usize) -> io::Result<()> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(part) = self.next_part(most) {
            if part.removed {
                let taken_off = self.take_off(&mut self.state(), &part.name, part.ids.clone());
                self.log_removed(&part.name, taken_off);
                self.read_to(part.ids.end);
                continue;
            }
            let enough = match fs::thrice(|| self.fs.open(&part.name.file(Holds::Records))) {
                Ok(file) => self.read(&*file, reader.scanner(&part.name), &part, most),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.note_removed()?;
                    if !self.has_no_file(&part.name) {
                        return Err(error);
                    }
                    false
                }
                Err(error) => return Err(error),
            };
            if enough {
                break;
            }
        }
        if !self.state().is_behind() {
            reader.let_go();
        }
        Ok(())
    }

    /// What comes next, unless enough is in memory. Segments that hold nothing any more are passed over.
    fn next_part(&self, most: usize) -> Option<Part> {
        let mut state = self.state();
        if state.ready_bytes >= most || !state.is_behind() {
            return None;
        }
        let read_to = state.read_to;
        let next = state.segments.iter().find(|s| s.end > read_to && !s.gone && s.live.records > 0);
        let part = next.map(|segment| Part {
            name: segment.name,
            size: segment.size,
            ids: read_to.max(segment.name.first)..segment.end,
            removed: segment.removed,
        });
        if part.is_none() {
            state.read_to = state.committed;
        }
        part
    }

    /// Whether nobody looks for the records of a segment any more: they are done, or were removed.
    fn has_no_file(&self, name: &Name) -> bool {
        self.state().segment(name).is_none_or(|segment| segment.gone || segment.removed)
    }

    /// Reads a part into memory; true when enough is there.
    fn read(&self, file: &dyn File, scanner: &mut Scanner, part: &Part, most: usize) -> bool {
        let (mut next, mut damaged) = (part.ids.start, 0);
        while next < part.ids.end {
            match scanner.next(file, part.size) {
                Step::Record(head, bytes) if (next..part.ids.end).contains(&head.id) => {
                    self.lose(&part.name, next..head.id, std::mem::take(&mut damaged));
                    next = head.id + 1;
                    let receivable = Receivable { id: head.id, weight: head.weight, length: head.length };
                    let ready = Ready { taken: Taken { receivable, bytes }, buffer: scanner.piece() };
                    if self.offer(&part.name, ready) >= most {
                        return true;
                    }
                }
                // Read before, or of a failed commit.
                Step::Record(..) => {}
                Step::Damage => damaged += 1,
                Step::End => break,
            }
        }
        self.lose(&part.name, next..part.ids.end, damaged);
        self.read_to(part.ids.end) >= most
    }

    /// Reading goes on there; the bytes that are in memory.
    fn read_to(&self, id: u64) -> usize {
        let mut state = self.state();
        state.read_to = state.read_to.max(id);
        state.ready_bytes
    }

    /// Puts a record that was read where it can be taken; the bytes that are there now.
    fn offer(&self, name: &Name, record: Ready) -> usize {
        let mut state = self.state();
        let id = record.taken.receivable.id;
        // One that is not known any more was done as a whole.
        if state.segment(name).is_none_or(|segment| segment.done.contains(id)) {
            state.read_to = id + 1;
        } else {
            state.make_ready(record);
        }
        state.ready_bytes
    }

    /// Records that should be there and are not, but for so many damaged places. Those that were found when the queue was opened
    /// are counted.
    fn lose(&self, name: &Name, range: Range<u64>, damaged: u64) {
        let taken_off = self.take_off(&mut self.state(), name, range);
        if let Some((lost, ids)) = taken_off {
            self.counts.damaged.fetch_add(damaged, Ordering::Relaxed);
            log_lost(&*self.fs, name, lost, &ids);
        }
    }

    /// Counts those of a segment's records as lost that are not done: how many these are and which, if any.
    pub(crate) fn take_off(
        &self,
        state: &mut State,
        name: &Name,
        range: Range<u64>,
    ) -> Option<(u64, String)> {
        if range.is_empty() {
            return None;
        }
        let ids = state.segment(name).map(|segment| listed(&segment.done.missing(range.clone())))?;
        let lost = state.lost(name, range);
        self.counts.lost.fetch_add(lost, Ordering::Relaxed);
        (lost > 0).then_some((lost, ids))
    }
}

/// Ids as they are logged.
pub(crate) fn listed(ids: &[Range<u64>]) -> String {
    let text: Vec<String> = ids.iter().map(|r| format!("{}-{}", r.start, r.end - 1)).collect();
    text.join(",")
}

/// Says which records of which queue are lost.
pub(crate) fn log_lost(fs: &dyn Fs, name: &Name, lost: u64, ids: &str) {
    tracing::error!(
        target: UNSAMPLED,
        queue = %fs.place(),
        segment = name.number,
        lost_records = lost,
        ids,
        "Records of a queue on disk are damaged and lost"
    );
}
