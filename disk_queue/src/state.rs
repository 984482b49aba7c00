//! What a queue knows in memory.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::acks::{Acks, ENTRY};
use crate::fs::File;
use crate::gather::Gathering;
use crate::names::{Holds, Name};
use crate::ranges::Ranges;

/// How much is in a queue, records that were taken and are not done included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records.
    pub records: u64,
    /// Sum of their weights.
    pub weight: u64,
    /// Sum of their lengths.
    pub bytes: u64,
}

impl Backlog {
    pub(crate) fn add(&mut self, other: Backlog) {
        self.records += other.records;
        self.weight += other.weight;
        self.bytes += other.bytes;
    }

    pub(crate) fn remove(&mut self, other: Backlog) {
        self.records = self.records.saturating_sub(other.records);
        self.weight = self.weight.saturating_sub(other.weight);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// The claim on a record that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receivable {
    /// Its id.
    pub id: u64,
    /// Its weight.
    pub weight: u32,
    /// Its length.
    pub length: u32,
}

impl Receivable {
    pub(crate) fn size(&self) -> Backlog {
        Backlog { records: 1, weight: u64::from(self.weight), bytes: u64::from(self.length) }
    }
}

/// A record that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What identifies it.
    pub receivable: Receivable,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A record that can be taken. Its bytes are a part of a group that was written, or of a piece that was read.
pub(crate) struct Ready {
    pub(crate) taken: Taken,
    /// Length of the whole.
    pub(crate) buffer: usize,
}

/// Records that are a smaller share of their buffer are copied out of it when they are taken: one that its owner holds for
/// long must not hold all those that came with it.
const WORTH_SHARING: usize = 4;

impl Ready {
    /// The record, which holds at most four times its bytes.
    pub(crate) fn take(self) -> Taken {
        let Taken { receivable, bytes } = self.taken;
        let is_small = bytes.len() < self.buffer / WORTH_SHARING;
        Taken { receivable, bytes: if is_small { Bytes::copy_from_slice(&bytes) } else { bytes } }
    }
}

/// A record that waits for its commit.
pub(crate) struct Pending {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) weight: u32,
    pub(crate) length: usize,
    pub(crate) committed: Box<dyn FnOnce(io::Result<()>) + Send>,
}

impl Pending {
    pub(crate) fn size(&self) -> Backlog {
        Backlog { records: 1, weight: u64::from(self.weight), bytes: self.length as u64 }
    }
}

#[derive(Default)]
pub(crate) struct State {
    /// Oldest first; the last may be written. There may be many: what happens with each record looks at none but its own.
    segments: VecDeque<Segment>,
    /// Bytes of their records on disk.
    held_bytes: u64,
    /// Those that a save has to look at, and others.
    due: BTreeSet<Name>,
    /// All ids below are durable.
    pub(crate) committed: u64,
    pub(crate) pending: Vec<Pending>,
    pub(crate) pending_bytes: u64,
    /// Somebody is committing.
    pub(crate) committing: bool,
    pub(crate) gathering: Gathering,
    /// What can be taken at once.
    pub(crate) ready: VecDeque<Ready>,
    pub(crate) ready_bytes: usize,
    /// The id behind those that are ready or taken: where reading goes on.
    pub(crate) read_to: u64,
    pub(crate) backlog: Backlog,
}

/// A segment as far as it was committed.
pub(crate) struct Segment {
    pub(crate) name: Name,
    /// The id behind its last record.
    pub(crate) end: u64,
    /// Bytes of its records.
    pub(crate) size: u64,
    /// Records that are not done.
    pub(crate) live: Backlog,
    /// Records that are done or lost.
    pub(crate) done: Ranges,
    /// Those of them that the file of acks does not say yet.
    pub(crate) unsaved: Ranges,
    /// The file of acks, when it is open, and where its next entry goes.
    pub(crate) acks: Option<Arc<dyn File>>,
    pub(crate) acks_size: u64,
    /// Done since the acks were last synced, and since when there are some.
    pub(crate) unsynced: u64,
    pub(crate) unsynced_since: Duration,
    /// Nothing is written to it any more.
    pub(crate) sealed: bool,
    /// Some of its records were lost.
    pub(crate) damaged: bool,
    /// The disk did not give some of it for so long that this counts as lost.
    pub(crate) given_up: bool,
    /// It could not be read when the queue was opened: until it is, nobody knows what it holds beyond what its acks and the next
    /// segment tell. The weights and lengths of these records are not in what is live.
    pub(crate) unread: bool,
    /// Its records are removed; only the acks are there.
    pub(crate) gone: bool,
    /// Somebody removed its records: what is live is in memory only.
    pub(crate) removed: bool,
}

impl Segment {
    pub(crate) fn new(name: Name) -> Segment {
        Segment {
            name,
            end: name.first,
            size: 0,
            live: Backlog::default(),
            done: Ranges::default(),
            unsaved: Ranges::default(),
            acks: None,
            acks_size: ENTRY as u64,
            unsynced: 0,
            unsynced_since: Duration::ZERO,
            sealed: false,
            damaged: false,
            given_up: false,
            unread: false,
            gone: false,
            removed: false,
        }
    }

    /// One that an earlier process left.
    pub(crate) fn found(name: &Name, acks: &Acks) -> Segment {
        Segment { sealed: true, acks_size: acks.size, ..Segment::new(*name) }
    }

    /// Nothing is written to it any more.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
        // Opened again when one of its records is done: a long backlog must not hold a file for each segment.
        self.acks = None;
    }

    /// Notes that records are done or lost; returns how many were neither yet.
    pub(crate) fn finish(&mut self, range: Range<u64>) -> u64 {
        let new = self.done.insert(range.clone());
        self.unsaved.insert(range);
        new
    }

    /// The next save writes all that is done: what is in the file of acks is not certain.
    pub(crate) fn save_anew(&mut self) {
        self.acks_size = ENTRY as u64;
        self.unsaved = self.done.clone();
    }

    /// Bytes of its records on disk.
    fn on_disk(&self) -> u64 {
        if self.gone || self.removed { 0 } else { self.size }
    }

    /// Whether there is something to save.
    fn is_due(&self) -> bool {
        self.is_unsaved() || self.is_unsynced() || self.is_finished()
    }

    /// Whether its file of acks says less than is done.
    pub(crate) fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty() && !self.removed
    }

    /// Whether its file of acks says more than a power loss would leave.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced > 0 && !self.gone && !self.removed
    }

    /// Whether nobody needs its records any more.
    pub(crate) fn is_finished(&self) -> bool {
        self.sealed && !self.gone && !self.unread && self.live.records == 0
    }

    /// As what its records are put aside, if they are.
    pub(crate) fn set_aside(&self) -> Option<Holds> {
        let damaged = self.damaged.then_some(Holds::Damaged);
        if self.given_up { Some(Holds::Unreadable) } else { damaged }
    }

    /// Takes records off what is live; what that is, with the weights of lost ones when nothing else is left, and without those
    /// that are not known.
    fn take_off(&mut self, off: Backlog) -> Backlog {
        let mut left = self.live;
        left.remove(off);
        if left.records == 0 {
            left = Backlog::default();
        }
        let mut off = std::mem::replace(&mut self.live, left);
        off.remove(left);
        off
    }
}

impl State {
    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    /// Adds the newest segment.
    pub(crate) fn push(&mut self, segment: Segment) {
        self.held_bytes += segment.on_disk();
        if segment.is_due() {
            self.due.insert(segment.name);
        }
        self.segments.push_back(segment);
    }

    /// Forgets segments that have nothing on disk.
    pub(crate) fn forget(&mut self, names: &BTreeSet<Name>) {
        self.segments.retain(|segment| !names.contains(&segment.name));
    }

    /// The segment of that name.
    pub(crate) fn segment(&self, name: &Name) -> Option<&Segment> {
        self.position(name).map(|at| &self.segments[at])
    }

    /// Changes the segment of that name.
    pub(crate) fn change<T>(&mut self, name: &Name, change: impl FnOnce(&mut Segment) -> T) -> Option<T> {
        let at = self.position(name)?;
        let segment = &mut self.segments[at];
        let before = segment.on_disk();
        let changed = change(segment);
        self.held_bytes = self.held_bytes + segment.on_disk() - before;
        if segment.is_due() {
            self.due.insert(*name);
        }
        Some(changed)
    }

    fn position(&self, name: &Name) -> Option<usize> {
        self.segments.binary_search_by(|segment| segment.name.cmp(name)).ok()
    }

    /// The segment that holds an id.
    fn name_of(&self, id: u64) -> Option<Name> {
        let behind = self.segments.partition_point(|segment| segment.name.first <= id);
        let segment = self.segments.get(behind.checked_sub(1)?)?;
        (id < segment.end).then_some(segment.name)
    }

    /// Segments with something to save, oldest first.
    pub(crate) fn due(&self) -> impl Iterator<Item = &Segment> {
        self.due.iter().filter_map(|name| self.segment(name)).filter(|segment| segment.is_due())
    }

    /// After a save: leaves out those with nothing more to save.
    pub(crate) fn look_again(&mut self) {
        self.due = self.due().map(|segment| segment.name).collect();
    }

    /// Segments whose records are gone and whose acks no recovery needs. It needs those of the first that is gone behind one
    /// that is not, whose ids end where the ids of the first begin, and those of the last, behind which ids and numbers go on.
    pub(crate) fn needless(&self) -> Vec<Name> {
        let last = self.last().unwrap_or(0);
        let mut needless = Vec::new();
        let mut bounds_none = true;
        for segment in self.segments.range(..last) {
            if segment.gone && bounds_none {
                needless.push(segment.name);
            }
            // Where somebody removed files, the acks may be among them.
            bounds_none = segment.gone && (bounds_none || !segment.removed);
        }
        needless
    }

    /// The last segment, behind which ids and numbers go on. One of which nothing was committed may still be given up.
    fn last(&self) -> Option<usize> {
        self.segments.iter().rposition(|segment| segment.gone || segment.size > 0)
    }

    /// Whether the records of the last segment are gone, so that its acks stay as long as it is the last.
    pub(crate) fn ends_gone(&self) -> bool {
        self.last().is_some_and(|at| self.segments[at].gone)
    }

    /// Segments whose records are gone and whose acks still say which were done.
    pub(crate) fn wordy(&self) -> Vec<Name> {
        let wordy = |segment: &&Segment| segment.gone && segment.acks_size > ENTRY as u64;
        self.segments.iter().filter(wordy).map(|segment| segment.name).collect()
    }

    /// A record is done.
    pub(crate) fn done(&mut self, record: Receivable) {
        let Some(name) = self.name_of(record.id) else { return };
        let finish = |segment: &mut Segment| match segment.finish(record.id..record.id + 1) {
            0 => Backlog::default(),
            _ => segment.take_off(record.size()),
        };
        let off = self.change(&name, finish).unwrap_or_default();
        self.backlog.remove(off);
    }

    /// Records of a segment cannot be read; returns how many of them were not done. Their weights are not known: the rest
    /// of the segment's is taken off when nothing else is left of it.
    pub(crate) fn lost(&mut self, name: &Name, range: Range<u64>) -> u64 {
        let lose = |segment: &mut Segment| {
            let lost = segment.finish(range);
            segment.damaged |= lost > 0;
            (lost, segment.take_off(Backlog { records: lost, ..Backlog::default() }))
        };
        let (lost, off) = self.change(name, lose).unwrap_or_default();
        self.backlog.remove(off);
        lost
    }

    /// A segment that could not be read when the queue was opened turns out to hold records up to `end` (exclusive).
    pub(crate) fn grow(&mut self, name: &Name, end: u64) {
        let grow = |segment: &mut Segment| {
            let found = segment.end..end.max(segment.end);
            let records = found.end - found.start - segment.done.count(&found);
            let more = Backlog { records, ..Backlog::default() };
            segment.end = found.end;
            segment.live.add(more);
            more
        };
        let more = self.change(name, grow).unwrap_or_default();
        self.backlog.add(more);
    }

    /// Bytes on disk and on their way there.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.held_bytes + self.pending_bytes
    }

    /// Puts a record where it can be taken.
    pub(crate) fn make_ready(&mut self, record: Ready) {
        self.read_to = record.taken.receivable.id + 1;
        self.ready_bytes += record.taken.bytes.len();
        self.ready.push_back(record);
    }

    /// How much is there. A segment that was never read may hold records of which nothing tells: they count as one.
    pub(crate) fn backlog(&self) -> Backlog {
        let mut backlog = self.backlog;
        if backlog.records == 0 && self.is_behind() && self.segments.iter().any(|segment| segment.unread) {
            backlog.records = 1;
        }
        backlog
    }

    /// Whether records are committed that are not in memory, or may be.
    pub(crate) fn is_behind(&self) -> bool {
        self.read_to < self.committed
    }
}
