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
use std::time::Duration;

use crate::UNSAMPLED;
use crate::fs::{self, File, Fs};
use crate::names::{Holds, Name};
use crate::queue::Queue;
use crate::recover::is_curable;
use crate::scan::Scanner;
use crate::state::{Ready, Receivable, Segment, State, Taken};

/// How long the disk may not give a part of a segment until that counts as lost.
const PATIENCE: Duration = Duration::from_secs(300);
/// Tries that are further apart say nothing about the time between them.
const AGAIN: Duration = Duration::from_secs(60);

/// Where reading stands.
#[derive(Default)]
pub(crate) struct Reader(Option<Reading>);

/// A segment, and how far it was scanned. Its file is open only while it is read: the space of one that is removed meanwhile
/// would not come back.
struct Reading {
    name: Name,
    scanner: Scanner,
    failing: Option<Failing>,
}

/// Where the disk did not give what comes next.
struct Failing {
    at: u64,
    since: Duration,
    /// When the last try ended.
    last: Duration,
}

/// The part of a segment that is to be read.
struct Part {
    name: Name,
    /// Bytes that are committed, unless only the file tells.
    size: Option<u64>,
    /// Ids from where reading goes on to the end, as far as that is known.
    ids: Range<u64>,
    /// All ids of the segment are below.
    limit: u64,
    /// Somebody removed it.
    removed: bool,
}

impl Reader {
    fn segment(&mut self, name: &Name) -> &mut Reading {
        let new = || Reading { name: *name, scanner: Scanner::new(name.salt), failing: None };
        let reading = self.0.get_or_insert_with(new);
        if reading.name != *name {
            *reading = new();
        }
        reading
    }

    /// Frees what was read and is no record yet.
    fn let_go(&mut self) {
        if let Some(reading) = &mut self.0 {
            reading.scanner.let_go();
        }
    }
}

impl Reading {
    /// Whether it may still pass that the disk does not give what comes next, which was tried at that time.
    fn may_pass(&mut self, error: &io::Error, tried: Range<Duration>) -> bool {
        let at = self.scanner.offset;
        let failing = self.failing.take();
        // It says nothing about the disk.
        if is_curable(error) {
            return true;
        }
        let again = |it: &Failing| it.at == at && tried.start.saturating_sub(it.last) <= AGAIN;
        let since = failing.filter(again).map_or(tried.start, |before| before.since);
        self.failing = Some(Failing { at, since, last: tried.end });
        tried.end.saturating_sub(since) < PATIENCE
    }
}

impl Queue {
    /// Reads the next records from disk, until `most` bytes of them are in memory, or
    /// [`Options::read_ahead`](crate::Options::read_ahead) if that is less, or all are; one at least. Blocks.
    ///
    /// # Errors
    /// A segment cannot be opened or read, which may pass: nothing is lost by it before it has lasted for 5 minutes.
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
                self.pass(&part);
                continue;
            }
            let reading = reader.segment(&part.name);
            let begun = self.fs.now();
            let enough = match self.read(&mut reading.scanner, &part, most) {
                Ok(enough) => enough,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.note_removed()?;
                    if !self.has_no_file(&part.name) {
                        return Err(error);
                    }
                    false
                }
                Err(error) if reading.may_pass(&error, begun..self.fs.now()) => {
                    let file = part.name.file(Holds::Records);
                    return Err(io::Error::new(error.kind(), format!("{file}: {error}")));
                }
                Err(error) => {
                    self.give_up(&mut reading.scanner, &part, &error);
                    false
                }
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
        let is_next = |s: &Segment| !s.gone && (s.unread || s.end > read_to && s.live.records > 0);
        let Some(at) = state.segments().iter().position(is_next) else {
            state.read_to = state.committed;
            return None;
        };
        let segment = &state.segments()[at];
        // What is behind the end of one that was never read is not known.
        let next = state.segments().get(at + 1).map_or(state.committed, |next| next.name.first);
        Some(Part {
            name: segment.name,
            size: (!segment.unread).then_some(segment.size),
            ids: read_to.max(segment.name.first)..segment.end,
            limit: if segment.unread { next } else { segment.end },
            removed: segment.removed,
        })
    }

    /// Whether nobody looks for the records of a segment any more: they are done, or were removed.
    fn has_no_file(&self, name: &Name) -> bool {
        self.state().segment(name).is_none_or(|segment| segment.gone || segment.removed)
    }

    /// Reads a part into memory; true when enough is there.
    fn read(&self, scanner: &mut Scanner, part: &Part, most: usize) -> io::Result<bool> {
        let file = fs::thrice(|| self.fs.open(&part.name.file(Holds::Records)))?;
        let size = match part.size {
            Some(size) => size,
            None => self.size_of(&part.name, &*file)?,
        };
        let mut next = part.ids.start;
        while next < part.limit {
            let Some((head, bytes)) = scanner.next(&*file, size)? else { break };
            // Others were read before, or are of a failed commit.
            if !(next..part.limit).contains(&head.id) {
                continue;
            }
            if head.id >= part.ids.end {
                self.state().grow(&part.name, head.id + 1);
            }
            self.lose(&part.name, next..head.id, scanner);
            next = head.id + 1;
            let receivable = Receivable { id: head.id, weight: head.weight, length: head.length };
            let ready = Ready { taken: Taken { receivable, bytes }, buffer: scanner.piece() };
            if self.offer(&part.name, ready) >= most && next < part.limit {
                return Ok(true);
            }
        }
        self.lose(&part.name, next..part.ids.end, scanner);
        Ok(self.pass(part) >= most)
    }

    /// What the disk did not give for long counts as lost: of a file that can be opened, the pages at this place that cannot be read.
    fn give_up(&self, scanner: &mut Scanner, part: &Part, error: &io::Error) {
        if scanner.gives_up_at.replace(scanner.offset) == Some(scanner.offset) {
            self.lose(&part.name, part.ids.clone(), scanner);
            self.pass(part);
            return;
        }
        tracing::error!(
            target: UNSAMPLED,
            queue = %self.fs.place(),
            file = %part.name.file(Holds::Records),
            %error,
            "A file of a queue on disk could not be read for {} minutes: what cannot be read of it counts as lost now, and it will \
             be put aside",
            PATIENCE.as_secs() / 60
        );
        // A name beside it, which takes that of the file when it is put aside, tells later starts not to remove it. A disk that
        // takes no name has it removed by one of these.
        drop(self.fs.create(&part.name.file(Holds::Unreadable)).and_then(|_| self.fs.sync()));
        self.with(&part.name, |segment| segment.given_up = true);
    }

    /// The size of a segment that could not be read when the queue was opened.
    fn size_of(&self, name: &Name, file: &dyn File) -> io::Result<u64> {
        let size = fs::thrice(|| file.size())?;
        self.with(name, |segment| segment.size = size);
        Ok(size)
    }

    /// Reading goes on behind a part; the bytes that are in memory.
    fn pass(&self, part: &Part) -> usize {
        let mut state = self.state();
        state.read_to = state.read_to.max(part.ids.end);
        state.change(&part.name, |segment| segment.unread = false);
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

    /// Records that should be there and are not. Those that were found when the queue was opened are counted.
    fn lose(&self, name: &Name, range: Range<u64>, scanner: &mut Scanner) {
        let damaged = std::mem::take(&mut scanner.damaged);
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
