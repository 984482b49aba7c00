//! Answers.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::frame::{Code, flag, kind, put_block, put_head, put_number};
use super::hpack;
use super::machine::Machine;
use super::streams::{Rest, Stream};

/// An answer as it is written: the same bytes on every stream. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    head: Bytes,
    rest: Option<Rest>,
}

impl Answer {
    /// With that head, content and trailers.
    pub(crate) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        data: Bytes,
        trailers: Option<&HeaderMap>,
    ) -> Answer {
        let block = |status, headers| {
            let mut block = Vec::new();
            hpack::write(status, headers, &mut block);
            Bytes::from(block)
        };
        let trailers = trailers.map(|trailers| block(None, trailers));
        let rest = (!data.is_empty() || trailers.is_some()).then_some(Rest { data, trailers });
        Answer { head: block(Some(status), headers), rest }
    }
}

impl Machine {
    /// Answers a request. One that is over is passed over.
    pub(crate) fn answer(&mut self, id: u32, answer: Answer) {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.rest.is_none()) else { return };
        let is_all = answer.rest.is_none();
        stream.rest = answer.rest;
        self.patience.earn(1);
        self.pings.answer();
        if std::mem::replace(&mut self.wrote_block, true) {
            put_block(&mut self.out, id, &answer.head, is_all, self.peer_max_frame);
        } else {
            let first = [&[hpack::NO_TABLE], &answer.head[..]].concat();
            put_block(&mut self.out, id, &first, is_all, self.peer_max_frame);
        }
        if is_all { self.finish(id) } else { self.send_rest_of(id) }
    }

    /// Sends what the windows have kept back.
    pub(super) fn send_rest(&mut self) {
        let waits = |stream: &Stream| stream.rest.is_some().then_some(stream.id);
        let waiting: Vec<u32> = self.streams.iter().filter_map(waits).collect();
        for id in waiting {
            self.send_rest_of(id);
        }
    }

    fn send_rest_of(&mut self, id: u32) {
        let Some(Stream { send_window, rest: Some(rest), .. }) = self.streams.get(id) else { return };
        while !rest.data.is_empty() {
            let room = usize::try_from(self.send_window.min(*send_window)).unwrap_or(0);
            let part = rest.data.split_to(room.min(self.peer_max_frame).min(rest.data.len()));
            if part.is_empty() {
                return;
            }
            let sent = i64::try_from(part.len()).unwrap_or(i64::MAX);
            self.send_window -= sent;
            *send_window -= sent;
            let is_last = rest.data.is_empty() && rest.trailers.is_none();
            let flags = if is_last { flag::END_STREAM } else { 0 };
            put_head(&mut self.out, part.len(), kind::DATA, flags, id);
            self.out.extend_from_slice(&part);
        }
        if let Some(trailers) = &rest.trailers {
            put_block(&mut self.out, id, trailers, true, self.peer_max_frame);
        }
        self.finish(id);
    }

    /// The answer is sent.
    fn finish(&mut self, id: u32) {
        let is_whole = self.streams.get(id).is_some_and(|stream| stream.is_whole);
        if !is_whole {
            // So that the peer does not send what nobody wants (RFC 9113, 8.1).
            put_number(&mut self.out, kind::RST_STREAM, id, Code::NoError as u32);
        }
        self.streams.end(id, is_whole);
    }
}
