//! Writing down what is done, and giving space back.
//!
//! What is done goes behind the entries that the acks of its segment have, and is synced now and then. When a sync fails all of it
//! is written anew, as the kernel may have dropped what it could not write. A segment that nobody needs any more is then
//! retired, in this order, so that wherever a process ends or the power is lost nothing counts as lost or comes again:
//!
//! 1. Its acks say that its records may be missing, and are synced. From here on it is no loss that these are not there.
//! 2. The file with the records is removed, or renamed where some of them were lost.
//! 3. The directory is synced, once for all that were removed. From here on no loss of power brings the records back.
//! 4. Acks that no recovery needs are removed, and others cut to their first entry. Not before 3, as records that come back have to
//!    find acks that say they are done; and the oldest first, as ids and numbers go on behind the last that are there.
//!
//! Each step can be repeated: what fails is tried again with the next save. Acks without records may be from between 2 and 3, so the
//! first save of a process syncs the directory where there are any. On a disk that does not even take what 1 writes, the oldest
//! segment goes all the same: its acks are removed and the directory is synced, then its records are removed. There is no older
//! segment that would need those acks, and when the process ends in between its records come again.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use crate::UNSAMPLED;
use crate::acks::{self, ENTRY};
use crate::fs::{self, File};
use crate::names::{Holds, Name};
use crate::queue::Queue;
use crate::ranges::Ranges;
use crate::state::{Segment, State};

/// Records of a segment that are done until its acks are synced, and the time from the first of them with the next save: what
/// may come again after a power loss.
const SYNC_EVERY: u64 = 1024;
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// An active segment of that size is left when all its records are done, so that its space comes back. A share of
/// `segment_bytes`.
pub(crate) const WORTH_LEAVING: u64 = 16;

/// Damaged segments that are kept for people.
const KEEP_DAMAGED: usize = 4;

/// What who saves has to remember.
pub(crate) struct Saver {
    /// Records were removed, which a power loss would bring back.
    unsynced: bool,
    /// Of those that were removed there may be acks that no recovery needs, now or once there are newer records.
    has_acks_left: bool,
}

impl Saver {
    /// Of a queue that was just opened: an earlier process may have ended before it synced what it removed.
    pub(crate) fn new(state: &State) -> Saver {
        let unsynced = state.segments().iter().any(|segment| segment.gone);
        Saver { unsynced, has_acks_left: unsynced }
    }
}

impl Queue {
    /// Writes down what is done, and removes segments of which nothing is needed any more. What fails is tried again
    /// with the next call; until then it may come again after a crash. Blocks.
    pub fn save(&self) {
        self.save_and_sync(false);
    }

    /// The same, and makes all of it durable at once. Blocks.
    pub fn save_durably(&self) {
        self.save_and_sync(true);
    }

    /// Whether the next start, or with [`Options::fsync`](crate::Options::fsync) that after a power loss, would find again what is
    /// done: it was not saved yet, or saving failed.
    pub fn has_unsynced(&self) -> bool {
        let fsync = self.options.fsync;
        let is_due = |s: &Segment| s.is_unsaved() || s.is_finished() || fsync && s.is_unsynced();
        self.state().due().any(is_due)
    }

    fn save_and_sync(&self, at_once: bool) {
        let mut saver = self.saver.lock().unwrap_or_else(PoisonError::into_inner);
        self.leave_active();
        let (unsaved, finished): (Vec<_>, Vec<_>) = {
            let state = self.state();
            let unsaved = |s: &&Segment| s.is_unsaved() || at_once && s.is_unsynced();
            let finished = |s: &&Segment| s.is_finished();
            let name = |s: &Segment| s.name;
            (
                state.due().filter(unsaved).map(name).collect(),
                state.due().filter(finished).map(name).collect(),
            )
        };
        for name in unsaved {
            self.save_acks(&name, at_once);
        }
        for name in finished {
            match self.retire(&name) {
                Ok(()) => (saver.unsynced, saver.has_acks_left) = (true, true),
                Err(error) => {
                    tracing::debug!(queue = %self.fs.place(), segment = name.number, %error, "a segment could not be removed yet");
                }
            }
        }
        // Records that come back have to find their acks.
        if saver.unsynced {
            saver.unsynced = self.sync(|| self.fs.sync()).is_err();
        }
        if !saver.unsynced && saver.has_acks_left {
            saver.has_acks_left = !self.drop_acks();
        }
        self.state().look_again();
    }

    /// Seals the active segment when all its records are done and it is large enough.
    fn leave_active(&self) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // It is being written: then it is not finished.
            Err(TryLockError::WouldBlock) => return,
        };
        let mut state = self.state();
        let least = self.options.segment_bytes / WORTH_LEAVING;
        let is_left = |s: &&Segment| !s.sealed && s.live.records == 0 && s.size > least;
        if let Some(name) = state.segments().back().filter(is_left).map(|s| s.name) {
            state.change(&name, |active| active.sealed = true);
            writer.seal();
        }
    }

    fn save_acks(&self, name: &Name, at_once: bool) {
        let Some((ranges, at)) = self.with(name, |s| (std::mem::take(&mut s.unsaved), s.acks_size)) else {
            return;
        };
        let bytes = acks::entries(name.salt, &ranges);
        let written = self.acks(name).and_then(|file| fs::write_all(&*file, &bytes, at));
        let now = self.fs.now();
        let due = self.with(name, |segment| {
            if written.is_err() {
                put_back(segment, &ranges);
                return false;
            }
            segment.acks_size = at + bytes.len() as u64;
            if segment.unsynced == 0 {
                segment.unsynced_since = now;
            }
            segment.unsynced += ranges.iter().map(|r| r.end - r.start).sum::<u64>();
            at_once
                || segment.unsynced >= SYNC_EVERY
                || now.saturating_sub(segment.unsynced_since) >= SYNC_AFTER
        });
        if due == Some(true) {
            let synced = self.acks(name).and_then(|file| self.sync(|| file.sync()));
            self.with(name, |segment| match synced {
                Ok(()) => segment.unsynced = 0,
                // The kernel may have dropped what it could not write.
                Err(_) => segment.save_anew(),
            });
        }
    }

    /// The file of acks, opened or made.
    fn acks(&self, name: &Name) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.with(name, |segment| segment.acks.clone()).flatten() {
            return Ok(file);
        }
        let file = name.file(Holds::Acks);
        let file = self.fs.open(&file).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => self.fs.create(&file),
            _ => Err(error),
        })?;
        self.with(name, |segment| segment.acks = Some(Arc::clone(&file)));
        Ok(file)
    }

    /// Removes the records of a segment, or puts them aside when some were lost.
    fn retire(&self, name: &Name) -> io::Result<()> {
        let found = self.with(name, |segment| (segment.end, segment.set_aside(), segment.removed));
        let Some((end, aside, removed)) = found else { return Ok(()) };
        if removed {
            self.is_gone(name);
            return Ok(());
        }
        let oldest = self.state().segments().iter().take_while(|s| s.name != *name).all(|s| s.gone);
        match self.release(name, end) {
            // Nothing older is there that would need its acks.
            Err(_) if oldest => {
                self.with(name, |segment| {
                    segment.acks = None;
                    segment.save_anew();
                });
                fs::remove(&*self.fs, &name.file(Holds::Acks))?;
                self.sync(|| self.fs.sync())?;
            }
            released => released?,
        }
        let records = name.file(Holds::Records);
        if let Some(aside) = aside {
            match self.fs.rename(&records, &name.file(aside)) {
                // Somebody took it away, to look at it or to be rid of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.is_gone(name);
                    return Ok(());
                }
                renamed => renamed?,
            }
            self.counts.quarantined.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                target: UNSAMPLED,
                queue = %self.fs.place(),
                file = %name.file(aside),
                "A segment of a queue on disk that is damaged or could not be read was put aside"
            );
            self.thin_out();
        } else {
            fs::remove(&*self.fs, &records)?;
        }
        self.is_gone(name);
        Ok(())
    }

    /// Lets the acks say that the records may be missing: it is no loss then. A disk that does not take that may still let them
    /// say nothing any more, which comes to the same.
    fn release(&self, name: &Name, end: u64) -> io::Result<()> {
        let acks = self.acks(name)?;
        let released = fs::write_all(&*acks, &acks::first(name.salt, end, true), 0);
        released.and_then(|()| self.sync(|| acks.sync())).or_else(|_| {
            self.with(name, Segment::save_anew);
            acks.set_size(0).and_then(|()| self.sync(|| acks.sync()))
        })
    }

    fn is_gone(&self, name: &Name) {
        self.with(name, |segment| {
            segment.gone = true;
            segment.acks = None;
            segment.unsaved = Ranges::default();
        });
    }

    /// Removes the oldest damaged segments beyond those that are kept. Those that were not read may be whole, and stay.
    fn thin_out(&self) {
        let Ok(names) = self.fs.list() else { return };
        let damaged = |name: &String| matches!(Name::parse(name), Some(Ok((_, Holds::Damaged))));
        let mut names: Vec<String> = names.into_iter().filter(damaged).collect();
        names.sort_unstable();
        names.truncate(names.len().saturating_sub(KEEP_DAMAGED));
        for name in names {
            drop(self.fs.remove(&name));
        }
    }

    /// Removes the acks of segments whose records are gone, where no recovery needs them, and leaves the first entry of the
    /// others; true when there are none that will have to go while nothing more is removed.
    fn drop_acks(&self) -> bool {
        let needless = self.state().needless();
        let is_removed = |name: &&Name| fs::remove(&*self.fs, &name.file(Holds::Acks)).is_ok();
        // Oldest first: ids and numbers go on behind the last that is there.
        let dropped: BTreeSet<Name> = needless.iter().take_while(is_removed).copied().collect();
        if !dropped.is_empty() {
            self.state().forget(&dropped);
        }
        let wordy = self.state().wordy();
        for name in wordy {
            self.with(&name, |segment| segment.acks_size = ENTRY as u64);
            // Once: it is only for the space.
            drop(self.fs.open(&name.file(Holds::Acks)).and_then(|acks| acks.set_size(ENTRY as u64)));
        }
        dropped.len() == needless.len() && !self.state().ends_gone()
    }

    pub(crate) fn with<T>(&self, name: &Name, change: impl FnOnce(&mut Segment) -> T) -> Option<T> {
        self.state().change(name, change)
    }
}

fn put_back(segment: &mut Segment, ranges: &Ranges) {
    for range in ranges.iter() {
        segment.unsaved.insert(range);
    }
}
