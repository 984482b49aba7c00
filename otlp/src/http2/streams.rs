//! The streams of a connection, and which are over.

use std::collections::VecDeque;

use bytes::Bytes;

/// A request that arrives or waits for its answer, or an answer that waits for its window.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Whether the peer has sent all of it.
    pub(super) is_whole: bool,
    /// What the peer may still send.
    pub(super) window: i64,
    /// What was taken since the window was last opened.
    pub(super) taken: u32,
    /// What may be sent to the peer.
    pub(super) send_window: i64,
    /// Bytes of the body that were announced, and that came.
    pub(super) announced: Option<u64>,
    pub(super) came: u64,
    /// What is left of the answer.
    pub(super) rest: Option<Rest>,
}

/// The part of an answer behind its head.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) data: Bytes,
    /// A block of fields.
    pub(super) trailers: Option<Bytes>,
}

impl Stream {
    /// Whether what came is as long as was announced.
    pub(super) fn has_its_length(&self) -> bool {
        self.announced.is_none_or(|announced| announced == self.came)
    }
}

/// All that are open, and the last that are over. There are few of them at once and their numbers grow: a sorted list.
#[derive(Debug, Default)]
pub(super) struct Streams {
    list: VecDeque<Stream>,
    /// Ended by the peer too: nothing more may come for them.
    over: Recent,
    /// Ended on this side only: what the peer had sent by then may still come.
    cut: Recent,
}

/// What is known of a stream that is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    Over,
    Cut,
    Unknown,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds a stream whose number is larger than all before.
    pub(super) fn open(&mut self, stream: Stream) {
        self.list.push_back(stream);
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.list.binary_search_by_key(&id, |stream| stream.id).ok()?;
        self.list.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.list.iter_mut()
    }

    /// Ends a stream; `by_peer` when the peer sends nothing more for it.
    pub(super) fn end(&mut self, id: u32, by_peer: bool) {
        if let Ok(at) = self.list.binary_search_by_key(&id, |stream| stream.id) {
            drop(self.list.remove(at));
        }
        if by_peer { self.over.add(id) } else { self.cut.add(id) }
    }

    pub(super) fn past(&self, id: u32) -> Past {
        if self.over.has(id) {
            Past::Over
        } else if self.cut.has(id) {
            Past::Cut
        } else {
            Past::Unknown
        }
    }
}

/// The last few numbers.
#[derive(Debug, Default)]
struct Recent(VecDeque<u32>);

const RECENT: usize = 128;

impl Recent {
    fn add(&mut self, id: u32) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    fn has(&self, id: u32) -> bool {
        self.0.iter().rev().any(|other| *other == id)
    }
}
