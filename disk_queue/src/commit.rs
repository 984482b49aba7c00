//! Group commit.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::acks;
use crate::fs::{self, File};
use crate::names::{Holds, Name};
use crate::queue::Queue;
use crate::record::{self, HEAD};
use crate::state::{Pending, Ready, Receivable, Segment, Taken};

/// Bytes that are written at once, if it is not a single record.
pub(crate) const GROUP: usize = 8 << 20;

/// Who writes, and where.
pub(crate) struct Writer {
    active: Option<Active>,
    /// Of the last segment.
    number: u64,
}

/// A group as it is on disk.
struct Written {
    /// The segment.
    segment: Name,
    /// Of the segment, with the group.
    size: u64,
    /// The records' bytes.
    records: Vec<Bytes>,
}

/// The segment that is written.
struct Active {
    name: Name,
    file: Arc<dyn File>,
    acks: Arc<dyn File>,
    /// What is committed; the next record goes here.
    size: u64,
}

impl Writer {
    /// With `number` as the last that was given out.
    pub(crate) fn new(number: u64) -> Writer {
        Writer { active: None, number }
    }

    /// Nothing more goes to the active segment.
    pub(crate) fn seal(&mut self) -> Option<Name> {
        self.active.take().map(|active| active.name)
    }
}

impl Queue {
    /// Commits everything that was submitted, group by group, until nothing is left, and tells the submitters. Blocks.
    pub fn commit(&self) {
        if self.commit_all() {
            // A segment that was left for it may hold nothing any more: on a full disk its space is needed.
            self.save();
        }
    }

    /// Commits until nothing is left; true when a group was refused.
    fn commit_all(&self) -> bool {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = false;
        loop {
            let (group, first) = {
                let mut state = self.gather();
                if state.pending.is_empty() {
                    state.committing = false;
                    return refused;
                }
                (next_group(&mut state.pending), state.committed)
            };
            let begun = self.fs.now();
            let written = self.write_or_undo(&mut writer, &group, first);
            refused |= written.is_err();
            self.settle(group, first, written, begun);
        }
    }

    /// Writes a group; what fails, be it by a panic, leaves nothing behind.
    fn write_or_undo(&self, writer: &mut Writer, group: &[Pending], first: u64) -> io::Result<Written> {
        let written = catch_unwind(AssertUnwindSafe(|| self.write(writer, group, first)));
        let written = written.unwrap_or_else(|_| Err(io::Error::other("writing panicked")));
        written.inspect_err(|error| {
            self.undo(writer);
            if error.kind() == io::ErrorKind::NotFound {
                // What it cannot make anew is tried again with the next group, which hears why.
                drop(self.note_removed());
            }
        })
    }

    /// Writes a group behind what is committed. No reader sees it before it is settled.
    fn write(&self, writer: &mut Writer, group: &[Pending], first: u64) -> io::Result<Written> {
        let size: u64 = group.iter().map(|pending| record::total(pending.length)).sum();
        let full = |active: &Active| active.size > 0 && active.size + size > self.options.segment_bytes;
        if writer.active.as_ref().is_some_and(full) {
            self.seal(writer);
        }
        if writer.active.is_none() {
            writer.active = Some(self.create(&mut writer.number, first)?);
        }
        let Some(active) = &mut writer.active else { return Err(io::ErrorKind::Other.into()) };
        // Its own: what is left of one that other groups share would be held by a record that is taken.
        let mut buffer = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        for (pending, id) in group.iter().zip(first..) {
            record::write(&mut buffer, active.name.salt, id, pending.weight, &pending.parts);
        }
        let bytes = buffer.freeze();
        let written = fs::write_all(&*active.file, &bytes, active.size);
        written
            .and_then(|()| self.sync(|| active.file.sync()))
            .and_then(|()| self.has_name(&active.name, &*active.file))?;
        active.size += bytes.len() as u64;
        let end = first + group.len() as u64;
        // Only for exact counts after damage: when it fails, a torn tail counts as never committed.
        drop(fs::write_all(&*active.acks, &acks::first(active.name.salt, end, false), 0));
        Ok(Written { segment: active.name, size: active.size, records: cut(&bytes, group) })
    }

    /// Tells the submitters of a group, and hands its records to the reader while that one keeps up. The segment grows in
    /// the same moment as what is committed, so that a reader never finds more in it than that.
    fn settle(&self, group: Vec<Pending>, first: u64, written: io::Result<Written>, begun: Duration) {
        let mut state = self.state();
        if self.options.fsync {
            let senders = group.len() + state.pending.len();
            state.gathering.note(senders, begun, self.fs.now());
        }
        let total: u64 = group.iter().map(|pending| record::total(pending.length)).sum();
        let read_ahead = self.options.read_ahead.min(self.ready_limit.load(Ordering::Relaxed));
        state.pending_bytes -= total;
        match &written {
            Ok(Written { segment, size, records }) => {
                self.counts.commits.fetch_add(1, Ordering::Relaxed);
                state.change(segment, |segment| {
                    (segment.end, segment.size) = (first + group.len() as u64, *size);
                    group.iter().for_each(|pending| segment.live.add(pending.size()));
                });
                for ((pending, bytes), id) in group.iter().zip(records).zip(first..) {
                    if !state.is_behind() && state.ready_bytes + bytes.len() <= read_ahead {
                        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                        let receivable = Receivable { id, weight: pending.weight, length };
                        let taken = Taken { receivable, bytes: bytes.clone() };
                        state.make_ready(Ready { taken, buffer: usize::try_from(total).unwrap_or(0) });
                    }
                    state.committed = id + 1;
                }
            }
            Err(_) => group.iter().for_each(|pending| state.backlog.remove(pending.size())),
        }
        drop(state);
        for pending in group {
            let outcome = written.as_ref().map(|_| ()).map_err(|e| io::Error::new(e.kind(), e.to_string()));
            // A submitter that panics keeps neither the others from being told nor the next from being committed.
            drop(catch_unwind(AssertUnwindSafe(|| (pending.committed)(outcome))));
        }
    }

    /// A new segment for records from `first` on.
    fn create(&self, number: &mut u64, first: u64) -> io::Result<Active> {
        *number += 1;
        let salt = mixed(self.options.seed ^ mixed(*number) ^ first);
        let name = Name { number: *number, first, salt };
        // Here and not with each group, where the file that is written tells: it looks at the whole directory.
        self.note_removed()?;
        // On a disk that takes no files each group comes here: what was not made need not be kept in mind.
        let file = self.fs.create(&name.file(Holds::Records))?;
        self.state().push(Segment::new(name));
        let acks = self.fs.create(&name.file(Holds::Acks));
        let acks = acks.and_then(|acks| self.sync(|| self.fs.sync()).map(|()| acks));
        let acks = acks.inspect_err(|_| self.forget(&name))?;
        self.with(&name, |segment| segment.acks = Some(Arc::clone(&acks)));
        Ok(Active { name, file, acks, size: 0 })
    }

    /// After a failed write or sync: cuts the segment to what is committed, and leaves it.
    fn undo(&self, writer: &mut Writer) {
        let Some(active) = &writer.active else { return };
        // When it fails too, recovery sees that these records lie beyond the next segment's first.
        drop(active.file.set_size(active.size));
        if active.size > 0 {
            self.seal(writer);
            return;
        }
        let name = active.name;
        writer.active = None;
        self.forget(&name);
    }

    /// Removes the files of a segment that never held anything. One that stays behind is kept in mind until it is removed as
    /// one that is done is: for recovery it is empty only as long as the next segment is there, which begins with the same id.
    fn forget(&self, name: &Name) {
        let removed =
            [Holds::Records, Holds::Acks].map(|holds| fs::remove(&*self.fs, &name.file(holds)).is_ok());
        if removed == [true; 2] {
            self.state().forget(&BTreeSet::from([*name]));
        } else {
            self.with(name, Segment::seal);
        }
    }

    fn seal(&self, writer: &mut Writer) {
        if let Some(name) = writer.seal() {
            self.with(&name, Segment::seal);
        }
    }
}

/// Takes the next group off what waits.
fn next_group(pending: &mut Vec<Pending>) -> Vec<Pending> {
    let mut bytes = 0;
    let fits = |pending: &&Pending| {
        bytes += pending.length;
        bytes <= GROUP
    };
    let count = pending.iter().take_while(fits).count().max(1);
    let rest = pending.split_off(count);
    std::mem::replace(pending, rest)
}

/// The bytes of each record in what was written.
fn cut(written: &Bytes, group: &[Pending]) -> Vec<Bytes> {
    let mut at = 0;
    let record = |pending: &Pending| {
        let start = at + HEAD;
        at += usize::try_from(record::total(pending.length)).unwrap_or(0);
        written.slice(start..start + pending.length)
    };
    group.iter().map(record).collect()
}

/// splitmix64's finisher: spreads a number over 64 bits.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
