//! The streams of a connection, and which are over.

use std::collections::VecDeque;

use bytes::Bytes;

use super::STREAM_WINDOW;

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
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Past<'a> {
    Over,
    /// With what is left of the window that its peer had been given.
    Cut(&'a mut i64),
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
        let at = self.list.binary_search_by_key(&id, |stream| stream.id);
        let ended = at.ok().and_then(|at| self.list.remove(at));
        if by_peer {
            self.over.add(id, 0);
        } else {
            // One that was refused was never open, and has the window with which all begin.
            self.cut.add(id, ended.map_or(i64::from(STREAM_WINDOW), |stream| stream.window));
        }
    }

    /// Notes that the peer ended, too, what was cut on this side: nothing more may come for it.
    pub(super) fn end_cut(&mut self, id: u32) {
        if self.cut.remove(id) {
            self.over.add(id, 0);
        }
    }

    /// Ends all streams but those to be kept, and gives their numbers.
    pub(super) fn end_all_but(&mut self, keep: impl Fn(&Stream) -> bool) -> Vec<u32> {
        let ended = self.list.iter().filter(|stream| !keep(stream)).map(|stream| stream.id).collect();
        self.list.retain(keep);
        ended
    }

    pub(super) fn past(&mut self, id: u32) -> Past<'_> {
        if self.over.window(id).is_some() {
            return Past::Over;
        }
        self.cut.window(id).map_or(Past::Unknown, Past::Cut)
    }
}

/// The numbers of the last few, and what is left of their windows.
#[derive(Debug, Default)]
struct Recent(VecDeque<(u32, i64)>);

/// More than there are streams at once by default: what a peer sent before it knew that its stream is cut is known as such.
const RECENT: usize = 128;

impl Recent {
    fn add(&mut self, id: u32, window: i64) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back((id, window));
    }

    fn remove(&mut self, id: u32) -> bool {
        let at = self.0.iter().rposition(|(other, _)| *other == id);
        at.and_then(|at| self.0.remove(at)).is_some()
    }

    fn window(&mut self, id: u32) -> Option<&mut i64> {
        self.0.iter_mut().rev().find(|(other, _)| *other == id).map(|(_, window)| window)
    }
}
