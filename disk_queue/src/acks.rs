//! The file that says which records of a segment are done.

use std::ops::Range;

use bytes::{Buf, BufMut};

use crate::fs::{self, File};
use crate::ranges::Ranges;
use crate::record::checksum;

/// Length of an entry.
pub(crate) const ENTRY: usize = 16;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// A larger file of acks is damaged.
const LARGEST: u64 = 64 << 20;

/// What such a file says.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// All records below were committed; `None` when it is not known.
    pub(crate) committed: Option<u64>,
    /// Nobody needs its records: that they are not there is no loss.
    pub(crate) released: bool,
    /// Records that are done.
    pub(crate) done: Ranges,
    /// Where the next entry goes: behind the last.
    pub(crate) size: u64,
    /// The disk did not give all of it: there may be more entries.
    pub(crate) unread: bool,
}

impl Acks {
    /// The id behind those that are known to be committed, in a segment that begins with `first`.
    pub(crate) fn committed_from(&self, first: u64) -> u64 {
        self.committed.unwrap_or(first).max(first)
    }
}

/// The first entry of a file: the empty range before `committed`, or once the records are released the id there.
pub(crate) fn first(salt: u64, committed: u64, released: bool) -> [u8; ENTRY] {
    entry(salt, &(committed..committed + u64::from(released)))
}

fn entry(salt: u64, range: &Range<u64>) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let mut rest = &mut entry[4..];
    rest.put_u32_le(u32::try_from(range.end - range.start).unwrap_or(u32::MAX));
    rest.put_u64_le(range.start);
    let crc = checksum(salt, &entry[4..]);
    entry[..4].copy_from_slice(&crc.to_le_bytes());
    entry
}

/// The entries of ranges, cut where a count does not fit.
pub(crate) fn entries(salt: u64, ranges: &Ranges) -> Vec<u8> {
    let longest = u64::from(u32::MAX);
    let mut out = Vec::new();
    for range in ranges.iter() {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + longest);
            out.extend_from_slice(&entry(salt, &(start..end)));
            start = end;
        }
    }
    out
}

/// Reads a file of acks. Entries that are damaged are left out: their records come again. It ends with a piece that has no entry:
/// its size may be anything. Where the disk does not give it, its size says where entries end, as far as that may be.
pub(crate) fn read(file: &dyn File, salt: u64) -> Acks {
    let mut acks = Acks { size: ENTRY as u64, ..Acks::default() };
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        let read = fs::thrice(|| fs::read_full(file, &mut piece, at));
        acks.unread = read.is_err();
        let read = read.unwrap_or(0);
        let entries = piece[..read].chunks_exact(ENTRY).zip((at..).step_by(ENTRY));
        let entries = entries.filter_map(|(entry, at)| Some((range_of(salt, entry)?, at)));
        let before = acks.size;
        for (range, at) in entries {
            acks.size = at + ENTRY as u64;
            if at == 0 {
                (acks.committed, acks.released) = (Some(range.start), !range.is_empty());
            } else {
                acks.done.insert(range);
            }
        }
        if acks.unread {
            let size = file.size().unwrap_or(0).next_multiple_of(ENTRY as u64);
            acks.size = acks.size.max(if size <= LARGEST { size } else { 0 });
        }
        if read < PIECE || acks.size == before {
            return acks;
        }
        at += PIECE as u64;
    }
}

fn range_of(salt: u64, mut entry: &[u8]) -> Option<Range<u64>> {
    let expected = checksum(salt, &entry[4..]);
    if entry.get_u32_le() != expected {
        return None;
    }
    let (count, start) = (entry.get_u32_le(), entry.get_u64_le());
    Some(start..start.checked_add(u64::from(count))?)
}
