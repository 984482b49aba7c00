//! Output of a rewrite.

use std::ops::Range;

use crate::wire::varint;

/// Copies an input with changes made in the order of their places. What lies between two changes is copied in one
/// piece, when the second one comes.
pub(crate) struct Writer<'a> {
    input: &'a [u8],
    out: Vec<u8>,
    /// Input before this offset is in `out`, or was left out.
    copied: usize,
}

/// A message whose content may change. Its offsets count in the output.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    length: usize,
    body: usize,
    old: usize,
}

/// A state to go back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    out: usize,
    copied: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(input: &'a [u8]) -> Writer<'a> {
        Writer::behind(Vec::new(), input)
    }

    /// Copies the input behind what is in `out`.
    pub(crate) fn behind(out: Vec<u8>, input: &'a [u8]) -> Writer<'a> {
        Writer { input, out, copied: 0 }
    }

    /// Puts what `write` writes in the place of a range of the input that lies behind all earlier ones.
    pub(crate) fn replace(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.out.capacity() == 0 {
            self.out.reserve(self.input.len() + self.input.len() / 4 + 64);
        }
        self.out.extend_from_slice(&self.input[self.copied..range.start]);
        write(&mut self.out);
        self.copied = range.end;
    }

    pub(crate) fn remove(&mut self, range: Range<usize>) {
        self.replace(range, |_| ());
    }

    /// A length-delimited field of the input, before anything in it is changed: from its tag, from its content.
    pub(crate) fn open(&self, start: usize, body: Range<usize>) -> Open {
        let tag = self.input[start..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        Open { length: self.position(start + tag), body: self.position(body.start), old: body.len() }
    }

    /// Corrects the length of a message whose content ends at `end` of the input.
    pub(crate) fn close(&mut self, open: Open, end: usize) {
        let new = self.position(end) - open.body;
        if new == open.old {
            return;
        }
        let mut header = [0; 10];
        let width = varint(new as u64, &mut header);
        if width == open.body - open.length {
            self.out[open.length..open.body].copy_from_slice(&header[..width]);
        } else {
            self.out.splice(open.length..open.body, header[..width].iter().copied());
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { out: self.out.len(), copied: self.copied }
    }

    /// Forgets all changes since the mark.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.out.truncate(mark.out);
        self.copied = mark.copied;
    }

    /// The output; `None` when nothing was changed.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.copied == 0 && self.out.is_empty() {
            return None;
        }
        self.out.extend_from_slice(&self.input[self.copied..]);
        // It may lie in a queue for long.
        self.out.shrink_to_fit();
        Some(self.out)
    }

    /// The output, whether something was changed or not, with the room that it has.
    pub(crate) fn into_output(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&self.input[self.copied..]);
        self.out
    }

    /// Where that offset of the input comes to lie in the output as it is so far.
    fn position(&self, at: usize) -> usize {
        self.out.len() + (at - self.copied)
    }
}
