//! Goes through the records of a segment, over whatever is damaged.

use bytes::{Bytes, BytesMut};

use crate::fs::{self, File};
use crate::record::{ALIGN, HEAD, Head};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Unit in which the unreadable part of a file is given up.
const PAGE: usize = 4096;

/// What comes next.
pub(crate) enum Step {
    /// A record.
    Record(Head, Bytes),
    /// A place where a record should be and none is.
    Damage,
    /// The end.
    End,
}

/// Reads a segment from some offset on. Whoever has the file open gives it with each step.
pub(crate) struct Scanner {
    salt: u64,
    /// Where the next record begins.
    pub(crate) offset: u64,
    /// End of the last record.
    pub(crate) valid: u64,
    /// Some of it could not be read, and passes for zeros.
    pub(crate) unreadable: bool,
    piece: Bytes,
    piece_at: u64,
}

impl Scanner {
    pub(crate) fn new(salt: u64) -> Scanner {
        Scanner { salt, offset: 0, valid: 0, unreadable: false, piece: Bytes::new(), piece_at: 0 }
    }

    /// The next record in the first `size` bytes of the segment.
    pub(crate) fn next(&mut self, file: &dyn File, size: u64) -> Step {
        if self.offset >= size {
            return Step::End;
        }
        let Some(head) = self.head(file, size) else {
            return self.skip(file, size);
        };
        if head.total() > size - self.offset {
            return self.skip(file, size);
        }
        let record = self.bytes(file, self.offset, HEAD + head.length as usize, size);
        let bytes = record.slice(HEAD..);
        self.offset += head.total();
        if head.is_of(&bytes, self.salt) {
            self.valid = self.offset;
            Step::Record(head, bytes)
        } else {
            Step::Damage
        }
    }

    /// Length of the piece that the last record is a part of.
    pub(crate) fn piece(&self) -> usize {
        self.piece.len()
    }

    /// Frees the piece.
    pub(crate) fn let_go(&mut self) {
        self.piece = Bytes::new();
    }

    /// Moves to the next head behind a place where there should be one.
    fn skip(&mut self, file: &dyn File, size: u64) -> Step {
        loop {
            self.offset += ALIGN;
            if self.offset >= size {
                self.offset = size;
                return Step::Damage;
            }
            if self.head(file, size).is_some_and(|head| head.total() <= size - self.offset) {
                return Step::Damage;
            }
        }
    }

    fn head(&mut self, file: &dyn File, size: u64) -> Option<Head> {
        if size - self.offset < HEAD as u64 {
            return None;
        }
        let bytes = self.bytes(file, self.offset, HEAD, size);
        Head::read(&bytes, self.salt)
    }

    /// `length` bytes at `at`, which lie within `size`.
    fn bytes(&mut self, file: &dyn File, at: u64, length: usize, size: u64) -> Bytes {
        let inside = at.checked_sub(self.piece_at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = inside
            && start + length <= self.piece.len()
        {
            return self.piece.slice(start..start + length);
        }
        let rest = usize::try_from(size - at).unwrap_or(usize::MAX);
        let mut piece = BytesMut::zeroed(length.max(PIECE).min(rest));
        self.unreadable |= !read(file, &mut piece, at);
        self.piece = piece.freeze();
        self.piece_at = at;
        self.piece.slice(..length)
    }
}

/// Reads what can be read. An error is tried again, then page by page; what stays unreadable is zero, which is no record.
/// True when all could be read.
fn read(file: &dyn File, buffer: &mut [u8], at: u64) -> bool {
    if fs::thrice(|| fs::read_full(file, buffer, at)).is_ok() {
        return true;
    }
    let mut whole = true;
    for (number, page) in buffer.chunks_mut(PAGE).enumerate() {
        let offset = at + (number * PAGE) as u64;
        if fs::thrice(|| fs::read_full(file, page, offset)).is_err() {
            page.fill(0);
            whole = false;
        }
    }
    whole
}
