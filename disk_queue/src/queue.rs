//! The queue and what its owner calls.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::commit::Writer;
use crate::fs::Fs;
use crate::reading::Reader;
use crate::record;
use crate::recover;
use crate::saving::{Saver, WORTH_LEAVING};
use crate::state::{Backlog, Pending, Receivable, State, Taken};

/// Bytes that may wait for a commit, so that a disk which hangs cannot fill the memory.
const MAX_PENDING: u64 = 64 << 20;

/// How a queue works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size at which a segment is followed by the next. Default 16 MiB.
    pub segment_bytes: u64,
    /// Most bytes of segments on disk; 0: what the disk has. Default 0. Not counted are damaged ones that are kept for people,
    /// and acks, at most 16 bytes for each record.
    pub max_bytes: u64,
    /// Whether a commit waits until the disk has it. Without, a power loss loses what was acknowledged, and from a file that is
    /// missing nothing is concluded. Default true.
    pub fsync: bool,
    /// Bytes that are kept in memory for the reader. Default 8 MiB.
    pub read_ahead: usize,
    /// Where the salts come from; a random number.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment_bytes: 16 << 20, max_bytes: 0, fsync: true, read_ahead: 8 << 20, seed: 0 }
    }
}

/// A durable queue. Share it behind an [`Arc`]; methods that block say so.
pub struct Queue {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) options: Options,
    pub(crate) counts: Counts,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) reader: Mutex<Reader>,
    pub(crate) saver: Mutex<Saver>,
    state: Mutex<State>,
    /// Bytes that commits may keep in memory for the reader.
    pub(crate) ready_limit: AtomicUsize,
    /// Told when enough wait for the next group.
    pub(crate) came: Condvar,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) fsyncs: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) quarantined: AtomicU64,
}

/// What happened since the queue was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Syncs of files and directories.
    pub fsyncs: u64,
    /// Groups of records that were committed.
    pub commits: u64,
    /// Records that were committed and cannot be read any more.
    pub lost: u64,
    /// Places in segments that were damaged.
    pub damaged: u64,
    /// Segments that were put aside for people.
    pub quarantined: u64,
}

/// What became of a record that was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// It waits for a commit that is under way.
    Queued,
    /// It waits, and the caller has to see to it that [`Queue::commit`] runs.
    Commit,
    /// The owner's own bound is reached.
    Full,
    /// [`Options::max_bytes`] are on disk.
    DiskFull,
    /// The disk does not keep up.
    Busy,
    /// It is larger than [`Queue::largest_record`].
    TooLarge,
}

/// What can be taken.
#[derive(Debug)]
pub enum Take {
    /// The next record.
    Record(Taken),
    /// There are records, but on disk: call [`Queue::fill`].
    Behind,
    /// There is none.
    Empty,
}

impl Queue {
    /// Opens the queue in a directory, with all that can be read. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read, or a file in it belongs to another user, or no more files can be opened. What the disk
    /// does not give is no error: what is damaged is passed over and counted, what cannot be read is tried again by
    /// [`Queue::fill`].
    pub fn open(fs: Arc<dyn Fs>, mut options: Options) -> io::Result<Queue> {
        if options.max_bytes > 0 {
            // Space comes back by segments: a bound has to have several.
            options.segment_bytes = options.segment_bytes.min(options.max_bytes / 8).max(1);
        }
        let counts = Counts::default();
        let (state, number) = recover::recover(&*fs, options.fsync, &counts)?;
        let queue = Queue {
            fs,
            options,
            counts,
            writer: Mutex::new(Writer::new(number)),
            reader: Mutex::default(),
            saver: Mutex::new(Saver::new(&state)),
            state: Mutex::new(state),
            ready_limit: AtomicUsize::new(usize::MAX),
            came: Condvar::new(),
        };
        queue.sync_recovered();
        queue.save();
        Ok(queue)
    }

    /// Puts a record, given in parts, into memory for the next commit, which tells its fate to `committed`. `fits` is
    /// asked whether there is room beside the backlog.
    pub fn submit(
        &self,
        parts: Vec<Bytes>,
        weight: u32,
        fits: impl FnOnce(Backlog) -> bool,
        committed: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> Submitted {
        let length: usize = parts.iter().map(Bytes::len).sum();
        if length > self.largest_record() {
            return Submitted::TooLarge;
        }
        let (total, bound) = (record::total(length), self.options.max_bytes);
        let mut state = self.state();
        if !fits(state.backlog) {
            return Submitted::Full;
        }
        if bound > 0 && state.disk_bytes() + total > bound {
            return Submitted::DiskFull;
        }
        if state.pending_bytes > 0 && state.pending_bytes + total > MAX_PENDING {
            return Submitted::Busy;
        }
        let pending = Pending { parts, weight, length, committed: Box::new(committed) };
        state.backlog.add(pending.size());
        state.pending_bytes += total;
        state.pending.push(pending);
        if state.is_gathered() {
            self.came.notify_one();
        }
        if std::mem::replace(&mut state.committing, true) { Submitted::Queued } else { Submitted::Commit }
    }

    /// From now on commits keep at most so many bytes in memory for the reader, or [`Options::read_ahead`] if that is less.
    /// What is beyond stays on disk until [`Queue::fill`] reads it. Does not block.
    pub fn limit_ready(&self, most: usize) {
        self.ready_limit.store(most, Ordering::Relaxed);
    }

    /// Most bytes of a record: [`record::MAX_RECORD`], or what [`Options::max_bytes`] have room for in an empty queue,
    /// where a segment that is hardly used may still be.
    pub fn largest_record(&self) -> usize {
        let Options { max_bytes, segment_bytes, .. } = self.options;
        if max_bytes == 0 {
            return record::MAX_RECORD;
        }
        let room = max_bytes.saturating_sub(segment_bytes / WORTH_LEAVING + record::total(0) + record::ALIGN);
        usize::try_from(room).unwrap_or(usize::MAX).min(record::MAX_RECORD)
    }

    /// The next record that is in memory. Does not block.
    pub fn try_take(&self) -> Take {
        let mut state = self.state();
        let Some(ready) = state.ready.pop_front() else {
            return if state.is_behind() { Take::Behind } else { Take::Empty };
        };
        state.ready_bytes -= ready.taken.bytes.len();
        drop(state);
        Take::Record(ready.take())
    }

    /// Nobody needs a record that was taken any more. Does not block; [`Queue::save`] writes it down.
    pub fn done(&self, receivable: Receivable) {
        self.state().done(receivable);
    }

    /// How it works: as it was opened, the segments possibly smaller.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is in it.
    pub fn backlog(&self) -> Backlog {
        self.state().backlog()
    }

    /// Bytes that [`Queue::try_take`] finds in memory.
    pub fn ready_bytes(&self) -> usize {
        self.state().ready_bytes
    }

    /// Bytes of segments on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.state().disk_bytes()
    }

    /// What happened since it was opened.
    pub fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { fsyncs, commits, lost, damaged, quarantined } = &self.counts;
        Counters {
            fsyncs: read(fsyncs),
            commits: read(commits),
            lost: read(lost),
            damaged: read(damaged),
            quarantined: read(quarantined),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what `sync` syncs durable, and counts it.
    pub(crate) fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if !self.options.fsync {
            return Ok(());
        }
        self.counts.fsyncs.fetch_add(1, Ordering::Relaxed);
        sync()
    }
}
