//! A first-in first-out queue of records that survives a crash of process and machine.
//!
//! # What it promises
//! A record whose commit said `Ok` comes out again, unchanged, until it is [done](Queue::done): after `kill -9`, after a
//! power loss (with [`Options::fsync`]), and whatever system call fails. What cannot come out any more, because the disk
//! damaged it, is counted exactly and logged with its ids, as far as the segment or its acks tell what was there; opening
//! never fails for it. After a crash come again at most those records that were not done, and those whose being done was
//! not yet [saved](Queue::save); after a power loss also those of each segment that were done since its acks were last
//! synced, which is with every 1024 of them, with the first that is saved a second or more after the first of them, and when the
//! owner [says so](Queue::save_durably).
//!
//! # Layout
//! A queue is one directory with mode 0700, locked by its owner (file `owner`, with its process id). Records get ids that
//! grow by one, and are appended to *segments* of about [`Options::segment_bytes`]. A segment is two files with one stem,
//! `<number>-<first id>-<salt>`, each 16 hexadecimal digits:
//!
//! - `.v1.segment` holds records, each at a multiple of 8 bytes, little endian:
//!   `crc of the head: u32 | crc of the bytes: u32 | length: u32 | weight: u32 | id: u64 | bytes | padding`.
//! - `.v1.acks` holds 16-byte entries `crc: u32 | count: u32 | first id: u64`. The first says up to which id (exclusive)
//!   records were committed, and with a count that nobody needs them any more; the others say which are done.
//!
//! Checksums are CRC32C and begin with the salt of the segment, which no sender knows: bytes that came from outside can
//! never pass for a record, so that a reader may look for the next record behind a damaged one. A segment has no header
//! that could be damaged: its name says all.
//!
//! # Writing: group commit
//! [`Queue::submit`] puts a record into memory, and says to one of the callers that it has to [commit](Queue::commit).
//! The commit writes all that was submitted meanwhile with one call, syncs once, and only then tells the submitters; it
//! goes on until nothing is left. So under load a sync is shared by all who came during the one before. Where syncs are
//! faster than senders come again, these are few: when 8 or more were around one sync of the last 0.2 s, a group is only
//! written when as many have come, or 16, and at the latest 5 ms after the last sync, or 16 times what that group took where
//! that is less. Fewer never wait. When writing or syncing fails, the group is refused, cut off again and its ids are given
//! out anew; after a failed sync nothing is appended to that segment any more, because the kernel may have dropped the pages
//! that it could not write.
//!
//! # Reading: ahead, in order
//! While the reader keeps up, records go from the commit to [`Queue::try_take`] through memory. Beyond
//! [`Options::read_ahead`] bytes, or what the owner [has room for](Queue::limit_ready), they stay on disk until [`Queue::fill`] reads
//! them in order, in pieces of 1 MiB.
//!
//! What the disk does not give is not damaged: a path to it, a network and a full table of files come back. So `fill` fails, reading
//! stays where it is, and the owner tries again. Only when that has lasted for 5 minutes, the pages in that place of the
//! segment that cannot be read count as lost, so that one bad sector does not hold up for ever what lies behind it. What keeps
//! this process alone from a file, as permissions do, is waited for without end.
//!
//! # Threads and locks
//! The queue has no thread of its own: its owner lets a thread that may block run [`commit`](Queue::commit),
//! [`fill`](Queue::fill) and [`save`](Queue::save), several of them at the same time. What does not block (`submit`,
//! `try_take`, `done`, the figures) takes the lock of the state only.
//!
//! | lock | held by | for |
//! |---|---|---|
//! | saver | who saves | writing acks and removing segments, calls of the disk included |
//! | writer | who commits | writing groups, calls of the disk and telling the submitters included |
//! | reader | who fills | reading ahead, calls of the disk included |
//! | state | all | what is known in memory; over no call of the disk but the closing of a file |
//!
//! They are taken in this order: saver, writer, state; reader, state. So writer and reader know nothing of each other but what
//! the state says (`reading.rs` has what that is), and who saves waits for neither: when somebody commits, the segment that is
//! written stays for the next save. `commit` and `fill` save only after they have let go of their lock. A commit that waits
//! for more senders waits at the condition `came`, which lets go of the state meanwhile. A submitter is told under the lock of
//! the writer: it may submit, and must not commit or save.
//!
//! # Giving space back
//! A segment whose records are all done is removed as a whole: its acks say that its records may be missing and are synced,
//! the file with the records is removed, the directory synced, and its acks go when no recovery needs them. A recovery needs
//! to know where the ids of a segment that is there end, which the next one tells, and where ids and numbers go on. So of each
//! row of removed segments the first entry of the acks of the first stays while an older segment does, and that of the last
//! segment of all. One that was damaged is renamed to `.v1.damaged` instead; the newest four of these are kept.
//! One that could not be read is renamed to `.v1.unreadable`, and stays: it may be whole; an empty file has that name from when
//! it is given up, for later starts. So the space in use is at most that of the segments that hold a record which is not done, of
//! their acks, of a file with one entry for each of them and for the last, and of what was put aside.
//!
//! # Recovery
//! Opening reads every segment once. A record is valid when its checksums are right, its id is the next or a later one,
//! and below the first id of the next segment (what lies beyond was never acknowledged: it is of a failed commit). Ids
//! that are missing between valid records, up to the next segment or to what the acks say was committed, are lost and
//! counted, once. What follows the last valid record of the last segment is a torn tail and is cut off, unless the acks say
//! that more was committed; what is before it is synced, as the process that wrote it may have ended before it did. Recovery
//! writes nothing that it needs, so that it works on a full disk; new records go to a new segment.
//!
//! A segment that cannot be read now is left to the reader, with the records that its acks and the next segment tell; their
//! weights are not known. Nobody knows where the last segment ends then, as its acks may be older than it: the next one begins
//! 2^32 ids behind what is known, which no segment can hold. Such a gap tells later starts that a segment ends where its own
//! records and its acks say.
//!
//! Acks without records are of a segment that was removed, when they say so. Otherwise its file is missing, and what they do
//! not say is done is lost: up to the next segment, or to what they say was committed. That is not concluded without
//! [`Options::fsync`], where a power loss may take any file, nor from acks whose first entry cannot be read. Where the acks are
//! missing too, nothing tells what was there, but for an older segment with records: it ends where the next one begins.
//!
//! Nothing counts as lost that is not, but for one case: where a power loss leaves the group that was written with holes, their
//! records cannot be told from committed ones, although nobody was told that they are safe.
//!
//! # Files that are removed
//! A commit says `Ok` only when the name of its segment is still there. Where somebody removed files or the directory of an
//! open queue, the group is refused, what only they held is lost and counted, and the next group finds new files, in a directory
//! that is made durable before, with those above it.
//!
//! # Limits
//! A record has at most [`MAX_RECORD`] bytes, a group at most 8 MiB or one record. Records are in an open file only while they
//! are written or read, so that the space of a file comes back when it is removed; acks while their segment is worked off.
//!
//! # Memory
//! Read-ahead and one record, with the groups or pieces that the first and the last of it are parts of; what waits for a
//! commit (64 MiB or one record); the group that is written; one piece or record that is read, until there is nothing more
//! to read; of each segment some 400 bytes, and some 20 for every gap in what is done. What was taken and is not done is the
//! owner's: a record that is less than a quarter of its group or piece is copied when it is taken, so that it holds nothing
//! but itself, and any other at most four times its bytes.

mod acks;
mod commit;
mod dir;
mod fs;
mod gather;
mod names;
mod queue;
mod ranges;
mod reading;
mod record;
mod recover;
mod removed;
mod saving;
mod scan;
mod state;

/// Target of log lines that say what is lost, stays behind or is put aside: agents leave none of them out by sampling.
pub const UNSAMPLED: &str = "weir::lost";

pub use dir::{Directory, OpenError, make_directory};
pub use fs::{File, Fs};
pub use queue::{Counters, Options, Queue, Submitted, Take};
pub use record::MAX_RECORD;
pub use state::{Backlog, Receivable, Taken};
