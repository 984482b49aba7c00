//! Goes through the records of a segment, over whatever is damaged.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::fs::{self, File};
use crate::record::{ALIGN, HEAD, Head};
use crate::recover::is_curable;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Unit in which the unreadable part of a file is given up.
const PAGE: u64 = 4096;

/// Reads a segment from some offset on. Whoever has the file open gives it with each step.
pub(crate) struct Scanner {
    salt: u64,
    /// Where the next record begins.
    pub(crate) offset: u64,
    /// End of the last record.
    pub(crate) valid: u64,
    /// Places behind it where a record should be and none is.
    pub(crate) damaged: u64,
    /// While the next record begins here, what cannot be read passes for zeros, which are no record.
    pub(crate) gives_up_at: Option<u64>,
    /// So did the end of the last piece, and what follows on it may be of the same.
    ends_given_up: bool,
    piece: Bytes,
    piece_at: u64,
}

impl Scanner {
    pub(crate) fn new(salt: u64) -> Scanner {
        Scanner {
            salt,
            offset: 0,
            valid: 0,
            damaged: 0,
            gives_up_at: None,
            ends_given_up: false,
            piece: Bytes::new(),
            piece_at: 0,
        }
    }

    /// The next record in the first `size` bytes of the segment, over whatever is damaged; `None` at the end.
    ///
    /// # Errors
    /// The disk does not give what comes next, which says nothing about what is there. The next call begins at the same place.
    pub(crate) fn next(&mut self, file: &dyn File, size: u64) -> io::Result<Option<(Head, Bytes)>> {
        while self.offset < size {
            let Some(head) = self.head(file, self.offset, size)? else {
                self.offset = self.skip(file, size)?;
                self.damaged += 1;
                continue;
            };
            let record = self.bytes(file, self.offset, HEAD + head.length as usize, size)?;
            let bytes = record.slice(HEAD..);
            self.offset += head.total();
            if head.is_of(&bytes, self.salt) {
                self.valid = self.offset;
                return Ok(Some((head, bytes)));
            }
            self.damaged += 1;
        }
        Ok(None)
    }

    /// Length of the piece that the last record is a part of.
    pub(crate) fn piece(&self) -> usize {
        self.piece.len()
    }

    /// Frees the piece.
    pub(crate) fn let_go(&mut self) {
        self.piece = Bytes::new();
    }

    /// Where the next head is, behind a place where there should be one.
    fn skip(&mut self, file: &dyn File, size: u64) -> io::Result<u64> {
        let mut at = self.offset + ALIGN;
        while at < size && self.head(file, at, size)?.is_none() {
            at += ALIGN;
        }
        Ok(at.min(size))
    }

    /// The head at `at`, of a record that ends within `size`.
    fn head(&mut self, file: &dyn File, at: u64, size: u64) -> io::Result<Option<Head>> {
        if size - at < HEAD as u64 {
            return Ok(None);
        }
        let bytes = self.bytes(file, at, HEAD, size)?;
        Ok(Head::read(&bytes, self.salt).filter(|head| head.total() <= size - at))
    }

    /// `length` bytes at `at`, which lie within `size`.
    fn bytes(&mut self, file: &dyn File, at: u64, length: usize, size: u64) -> io::Result<Bytes> {
        let inside = at.checked_sub(self.piece_at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = inside
            && start + length <= self.piece.len()
        {
            return Ok(self.piece.slice(start..start + length));
        }
        let rest = usize::try_from(size - at).unwrap_or(usize::MAX);
        let mut piece = BytesMut::zeroed(length.max(PIECE).min(rest));
        let gives_up = self.ends_given_up || self.gives_up_at == Some(self.offset);
        self.ends_given_up = match fs::thrice(|| fs::read_full(file, &mut piece, at)) {
            Err(error) if gives_up && !is_curable(&error) => !read_pages(file, &mut piece, at)?,
            read => read.map(|_| false)?,
        };
        self.piece = piece.freeze();
        self.piece_at = at;
        Ok(self.piece.slice(..length))
    }
}

/// Reads the pages that can be read; whether the last of them is one.
fn read_pages(file: &dyn File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    let (mut rest, mut at) = (buffer, at);
    let mut is_read = false;
    while !rest.is_empty() {
        let left = PAGE - at % PAGE;
        let (page, behind) = rest.split_at_mut(rest.len().min(left as usize));
        is_read = match fs::thrice(|| fs::read_full(file, page, at)) {
            Err(error) if is_curable(&error) => return Err(error),
            Err(_) => {
                page.fill(0);
                false
            }
            Ok(_) => true,
        };
        (rest, at) = (behind, at + left);
    }
    Ok(is_read)
}
