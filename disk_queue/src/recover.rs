//! Opening what an earlier process left.
//!
//! The names of all files tell which segments there are, their order, and where the ids of each end: where those of the next
//! begin. Then each is looked at, the oldest first; what is found of it decides:
//!
//! | there are | the segment |
//! |---|---|
//! | records | is read. What is valid and not done is live; what is missing in between, and up to its end, is lost |
//! | records that the disk does not give now | is `unread`: what its acks and its end tell is live, and the reader reads it |
//! | acks alone, which say that the records may be missing | is gone |
//! | acks alone that do not say so | has lost what they do not say is done |
//!
//! What only keeps this process from a file, or only now, ends the start with nothing changed but a torn tail. Else it goes on, and
//! the first save of the queue writes down what was lost, once, and removes what nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;

use crate::UNSAMPLED;
use crate::acks::{self, Acks};
use crate::fs::{self, File, Fs};
use crate::names::{Holds, Name};
use crate::queue::{Counts, Queue};
use crate::reading::{listed, log_lost};
use crate::scan::Scanner;
use crate::state::{Backlog, Segment, State};

/// Ids that are left out behind a last segment that cannot be read, as nobody knows where it ends. More than a segment has, so
/// that such a gap tells as much to later starts.
const JUMP: u64 = 1 << 32;

/// How often somebody who waits for a queue to be opened hears how far that is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The state of a directory, and the last number of a segment in it. `fsync`: a power loss changes nothing about the order in
/// which its files were written and removed.
pub(crate) fn recover(fs: &dyn Fs, fsync: bool, counts: &Counts) -> io::Result<(State, u64)> {
    let Found { segments: found, given_up, number } = segments(fs)?;
    let mut state = State::default();
    let firsts: Vec<u64> = found.keys().map(|name| name.first).collect();
    let mut progress = Progress { told: fs.now(), read: 0, all: None };
    for (at, (name, has_records)) in found.iter().enumerate() {
        let limit = firsts.get(at + 1).copied();
        let acks = acks_of(fs, name)?;
        let mut segment = if *has_records {
            open(fs, name, limit, acks, counts)?
        } else {
            without_records(fs, name, limit, acks, fsync, counts)
        };
        segment.given_up = *has_records && given_up.contains(name);
        progress.read += segment.size;
        progress.tell(fs, &found);
        state.backlog.add(segment.live);
        state.push(segment);
    }
    let end = |last: &Segment| if last.unread { last.end.saturating_add(JUMP) } else { last.end };
    state.committed = state.segments().back().map_or(1, end);
    state.read_to = state.segments().iter().find(|s| !s.gone).map_or(state.committed, |s| s.name.first);
    Ok((state, number))
}

/// How far opening is, which reads all there is, for who waits for it.
struct Progress {
    told: Duration,
    read: u64,
    /// Bytes of all segments, once somebody has to wait.
    all: Option<u64>,
}

impl Progress {
    fn tell(&mut self, fs: &dyn Fs, found: &BTreeMap<Name, bool>) {
        if fs.now().saturating_sub(self.told) < TELL_EVERY {
            return;
        }
        let records = || found.iter().filter(|(_, has_records)| **has_records).map(|(name, _)| name);
        let size =
            |name: &Name| fs.open(&name.file(Holds::Records)).and_then(|file| file.size()).unwrap_or(0);
        let all = *self.all.get_or_insert_with(|| records().map(size).sum());
        tracing::info!(
            queue = %fs.place(),
            read_bytes = self.read,
            left_bytes = all.saturating_sub(self.read),
            "Reading a queue on disk, before it is opened"
        );
        self.told = fs.now();
    }
}

impl Queue {
    /// Makes what was found in the last segment durable: an earlier process may have written it and ended before it was synced.
    /// Were it gone after a loss of power, when the next segment begins behind it, it would count as lost. Blocks.
    pub(crate) fn sync_recovered(&self) {
        let name = self.state().segments().back().filter(|last| last.size > 0).map(|last| last.name);
        let Some(name) = name else { return };
        let synced = fs::thrice(|| self.fs.open(&name.file(Holds::Records)))
            .and_then(|file| self.sync(|| file.sync()));
        if let Err(error) = synced {
            // Nobody was told that it is safe, so it is no reason not to start.
            tracing::debug!(queue = %self.fs.place(), segment = name.number, %error, "what was found could not be synced");
        }
    }
}

/// Records that a directory holds and that are not done, as far as the files of acks tell: no records are read.
pub(crate) fn records_left(fs: &dyn Fs) -> io::Result<u64> {
    let found = segments(fs)?.segments;
    let firsts: Vec<u64> = found.keys().map(|name| name.first).collect();
    let mut left = 0;
    for (at, (name, _)) in found.iter().enumerate().filter(|(_, (_, has_records))| **has_records) {
        let acks =
            fs.open(&name.file(Holds::Acks)).map(|file| acks::read(&*file, name.salt)).unwrap_or_default();
        let end = end(firsts.get(at + 1).copied(), acks.committed_from(name.first));
        let ranges = acks.done.missing(name.first..end);
        left += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    }
    Ok(left)
}

/// What is in a directory.
#[derive(Default)]
struct Found {
    /// In their order, and whether their records are there.
    segments: BTreeMap<Name, bool>,
    /// Those that were put aside because they could not be read, or are to be.
    given_up: BTreeSet<Name>,
    /// The last number of all, those that were put aside included, so that numbers tell which of them is the newest.
    number: u64,
}

fn segments(fs: &dyn Fs) -> io::Result<Found> {
    let mut found = Found::default();
    for file in fs::thrice(|| fs.list())? {
        match Name::parse(&file) {
            None => {}
            Some(Ok((name, holds))) => {
                found.number = found.number.max(name.number);
                match holds {
                    Holds::Records => drop(found.segments.insert(name, true)),
                    Holds::Acks => drop(found.segments.entry(name).or_insert(false)),
                    Holds::Unreadable => drop(found.given_up.insert(name)),
                    Holds::Damaged => {}
                }
            }
            Some(Err(version)) => {
                return Err(io::Error::other(format!(
                    "{file} has the format {version}, this program reads v1: use the program that wrote it"
                )));
            }
        }
    }
    Ok(found)
}

fn acks_of(fs: &dyn Fs, name: &Name) -> io::Result<Acks> {
    match fs::thrice(|| fs.open(&name.file(Holds::Acks))) {
        Ok(file) => Ok(acks::read(&*file, name.salt)),
        // They could not be written either, and would let everything come again at each start.
        Err(error) if is_curable(&error) => Err(cannot_open(&name.file(Holds::Acks), &error)),
        // Without it the records come again.
        Err(_) => Ok(Acks { size: acks::ENTRY as u64, ..Acks::default() }),
    }
}

/// A segment of which nothing but the acks is there. `limit`: the first id of the next one.
fn without_records(
    fs: &dyn Fs,
    name: &Name,
    limit: Option<u64>,
    acks: Acks,
    fsync: bool,
    counts: &Counts,
) -> Segment {
    let mut segment = Segment::found(name, &acks);
    let committed = acks.committed_from(name.first);
    segment.gone = acks.released || acks.committed.is_none();
    segment.end = end(limit, committed);
    if segment.gone || !fsync {
        segment.end = segment.end.min(committed);
        segment.done.insert(name.first..segment.end);
        return segment;
    }
    let missing = acks.done.missing(name.first..segment.end);
    segment.done = acks.done;
    if !missing.is_empty() {
        counts.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            target: UNSAMPLED,
            queue = %fs.place(),
            segment = %name.file(Holds::Records),
            "A segment of a queue on disk is missing: what it held counts as lost"
        );
        count_lost(fs, &mut segment, missing, counts);
    }
    segment
}

/// Where the ids of a segment end: where the next begins, unless that left ids out; else as far as is known.
fn end(limit: Option<u64>, known: u64) -> u64 {
    limit.filter(|limit| limit.saturating_sub(known) < JUMP / 2).unwrap_or(known)
}

/// Counts records as lost that are not done.
fn count_lost(fs: &dyn Fs, segment: &mut Segment, missing: Vec<Range<u64>>, counts: &Counts) {
    let lost = missing.iter().map(|range| range.end - range.start).sum();
    counts.lost.fetch_add(lost, Ordering::Relaxed);
    log_lost(fs, &segment.name, lost, &listed(&missing));
    for range in missing {
        segment.finish(range);
    }
}

/// Reads a segment. `limit`: the first id of the next one.
fn open(fs: &dyn Fs, name: &Name, limit: Option<u64>, acks: Acks, counts: &Counts) -> io::Result<Segment> {
    let mut segment = Segment::found(name, &acks);
    let mut seen = Seen { next: name.first, live: Backlog::default(), missing: Vec::new() };
    let scanned = records(fs, name)?.and_then(|(file, size)| {
        segment.size = size;
        scan(fs, &*file, &mut segment, limit, &acks, &mut seen, counts)
    });
    // Behind what was cut off there may be records that were committed, which only the acks know.
    segment.end = end(limit, seen.next.max(acks.committed_from(name.first)));
    match scanned {
        Ok(()) => seen.skip_to(segment.end),
        Err(error) => {
            tracing::warn!(
                target: UNSAMPLED,
                queue = %fs.place(),
                file = %name.file(Holds::Records),
                %error,
                "A file of a queue on disk cannot be read now. It will be tried again when its records are to be sent."
            );
            let unseen = acks.done.missing(seen.next..segment.end);
            seen.live.records += unseen.iter().map(|range| range.end - range.start).sum::<u64>();
            // Also where all of it is done, before it is removed: but of a failed commit, which nobody looks for.
            segment.unread = limit != Some(name.first);
        }
    }
    segment.live = seen.live;
    // Also where an earlier start has counted them.
    segment.damaged |= !seen.missing.is_empty();
    let lost: Vec<_> = seen.missing.into_iter().flat_map(|missing| acks.done.missing(missing)).collect();
    segment.done = acks.done;
    if !lost.is_empty() {
        count_lost(fs, &mut segment, lost, counts);
    }
    Ok(segment)
}

/// What was found in a segment.
struct Seen {
    /// The id behind the last record.
    next: u64,
    /// Records that are not done.
    live: Backlog,
    /// Ids between those that were found.
    missing: Vec<Range<u64>>,
}

impl Seen {
    fn skip_to(&mut self, id: u64) {
        if self.next < id {
            self.missing.push(self.next..id);
            self.next = id;
        }
    }
}

/// The records of a segment and their size; inside, why the disk does not give them.
///
/// # Errors
/// What an operator has to put right: opened by another user, or when files can be opened again, they are all there.
fn records(fs: &dyn Fs, name: &Name) -> io::Result<io::Result<(Arc<dyn File>, u64)>> {
    let opened = fs::thrice(|| fs.open(&name.file(Holds::Records)))
        .and_then(|file| fs::thrice(|| file.size()).map(|size| (file, size)));
    match opened {
        Err(error) if is_curable(&error) => Err(cannot_open(&name.file(Holds::Records), &error)),
        opened => Ok(opened),
    }
}

/// Whether the file is whole and only this process, or only at this time, cannot open it.
pub(crate) fn is_curable(error: &io::Error) -> bool {
    let of_process = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
        || of_process.contains(&error.raw_os_error())
}

fn cannot_open(file: &str, error: &io::Error) -> io::Error {
    let cure = if error.kind() == io::ErrorKind::PermissionDenied { fs::OF_ANOTHER_USER } else { "" };
    io::Error::new(error.kind(), format!("cannot open {file}: {error}{cure}"))
}

/// Goes through the records of a segment, and cuts off a torn tail.
///
/// # Errors
/// Some of it cannot be read.
fn scan(
    fs: &dyn Fs,
    file: &dyn File,
    segment: &mut Segment,
    limit: Option<u64>,
    acks: &Acks,
    seen: &mut Seen,
    counts: &Counts,
) -> io::Result<()> {
    let mut scanner = Scanner::new(segment.name.salt);
    while let Some((head, bytes)) = scanner.next(file, segment.size)? {
        let before = limit.is_none_or(|limit| head.id < limit);
        if head.id < seen.next || !before {
            continue;
        }
        counts.damaged.fetch_add(std::mem::take(&mut scanner.damaged), Ordering::Relaxed);
        seen.skip_to(head.id);
        seen.next = head.id + 1;
        if !acks.done.contains(head.id) {
            let (weight, bytes) = (u64::from(head.weight), bytes.len() as u64);
            seen.live.add(Backlog { records: 1, weight, bytes });
        }
    }
    // A tail that may hold what was committed stays, for people: there are fewer records than the acks know of.
    let whole = !acks.unread && acks.committed.is_none_or(|committed| committed <= seen.next);
    let torn = segment.size - scanner.valid;
    if torn > 0 && limit.is_none() && whole {
        tracing::info!(
            queue = %fs.place(),
            segment = segment.name.number,
            bytes = torn,
            "A torn tail was cut off a queue on disk"
        );
        // When it fails the tail is found again next time.
        drop(file.set_size(scanner.valid));
        segment.size = scanner.valid;
    }
    Ok(())
}
