//! Blocks of fields: the heads of requests, and trailers.

use std::sync::Arc;

use http::Request;

use super::frame::{Code, Head, flag, kind, put_number};
use super::hpack::{Field, Fields};
use super::machine::{Event, Fault, Machine};
use super::request;
use super::streams::{Past, Stream};
use super::{MAX_BLOCK, STREAM_WINDOW};

/// A block that is not complete.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    is_last: bool,
    is_wrong: bool,
    bytes: Vec<u8>,
}

impl Block {
    /// Bytes that are kept of it.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

/// What HEADERS may have beside fields: a length of padding, a priority, padding.
const BESIDE_FIELDS: usize = 1 + 5 + 255;

/// The last head, and what it was made of. Clients repeat themselves: their blocks are equal, or those of their fields that
/// make a head.
#[derive(Debug)]
pub(super) struct Seen {
    block: Vec<u8>,
    /// Of the table, when the block was read.
    changes: u64,
    fields: Vec<Field>,
    head: Arc<Request<()>>,
    length: Option<u64>,
}

/// A block that is worth remembering has no more bytes, because it consists of references, and no more fields.
const WORTH: (usize, usize) = (256, 32);

/// What a block says.
enum Content {
    Head(Arc<Request<()>>, Option<u64>),
    TooLarge,
    Malformed,
}

impl Machine {
    /// Before anything of a frame with fields is kept: whether the block is not too large with it.
    pub(super) fn check_block(&self, head: Head) -> Result<(), Fault> {
        let so_far = self.block.as_ref().map_or(0, |block| block.bytes.len());
        let has_fields = matches!(head.kind, kind::HEADERS | kind::CONTINUATION);
        if has_fields && so_far + head.length > MAX_BLOCK + BESIDE_FIELDS { Err(TOO_LARGE) } else { Ok(()) }
    }

    pub(super) fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        if head.stream.is_multiple_of(2) {
            return Err(Fault(Code::Protocol, "HEADERS on a stream that no client may begin"));
        }
        let short = Fault(Code::FrameSize, "HEADERS without what its flags announce");
        let mut fields = payload;
        let mut padding = 0;
        if head.has(flag::PADDED) {
            let (first, rest) = fields.split_first().ok_or(short)?;
            (padding, fields) = (usize::from(*first), rest);
        }
        let mut is_wrong = false;
        if head.has(flag::PRIORITY) {
            let (priority, rest) = fields.split_first_chunk::<5>().ok_or(short)?;
            let [a, b, c, d, _] = *priority;
            is_wrong = u32::from_be_bytes([a & 0x7f, b, c, d]) == head.stream;
            fields = rest;
        }
        let length = fields.len().checked_sub(padding);
        let fields = &fields[..length.ok_or(Fault(Code::Protocol, "more padding than HEADERS"))?];
        if fields.len() > MAX_BLOCK {
            return Err(TOO_LARGE);
        }
        let is_last = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.read_block(head.stream, is_last, is_wrong, fields, events);
        }
        self.block = Some(Block { stream: head.stream, is_last, is_wrong, bytes: fields.to_vec() });
        Ok(())
    }

    pub(super) fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        self.patience.spend(1)?;
        let Some(block) = &mut self.block else { return Ok(()) };
        if block.bytes.len() + payload.len() > MAX_BLOCK {
            return Err(TOO_LARGE);
        }
        block.bytes.extend_from_slice(payload);
        match self.block.take_if(|_| head.has(flag::END_HEADERS)) {
            Some(Block { stream, is_last, is_wrong, bytes }) => {
                self.read_block(stream, is_last, is_wrong, &bytes, events)
            }
            None => Ok(()),
        }
    }

    fn read_block(
        &mut self,
        id: u32,
        is_last: bool,
        is_wrong: bool,
        block: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        self.blocks += 1;
        if id <= self.last {
            return self.trailers(id, is_last, block, events);
        }
        let content = self.content(block)?;
        self.last = id;
        if self.final_stream.is_some() || self.streams.len() >= self.limits.max_streams as usize {
            self.patience.spend(1)?;
            self.streams.end(id, is_last);
            put_number(&mut self.out, kind::RST_STREAM, id, Code::RefusedStream as u32);
            return Ok(());
        }
        let announced = if let Content::Head(_, length) = &content { *length } else { None };
        self.streams.open(Stream {
            id,
            is_whole: false,
            window: i64::from(STREAM_WINDOW),
            taken: 0,
            send_window: self.peer_stream_window,
            announced,
            came: 0,
            rest: None,
        });
        match content {
            _ if is_wrong => return self.reset(id, Code::Protocol, events),
            Content::Malformed => return self.reset(id, Code::Protocol, events),
            Content::Head(head, _) => events.push(Event::Head(id, head)),
            Content::TooLarge => events.push(Event::TooLarge(id)),
        }
        if is_last { self.end_request(id, events) } else { Ok(()) }
    }

    fn content(&mut self, block: &[u8]) -> Result<Content, Fault> {
        let changes = self.decoder.changes();
        if let Some(seen) = &self.seen
            && seen.changes == changes
            && seen.block == block
        {
            return Ok(Content::Head(Arc::clone(&seen.head), seen.length));
        }
        let limit = self.limits.max_header_bytes as usize;
        let Fields { list: fields, too_large } = self.decoder.read(block, limit).map_err(|_| CORRUPT)?;
        if too_large {
            return Ok(Content::TooLarge);
        }
        let Ok(length) = request::content_length(&fields) else { return Ok(Content::Malformed) };
        let head = match &self.seen {
            Some(seen) if request::are_alike(&seen.fields, &fields) => Arc::clone(&seen.head),
            _ => match request::head(&fields) {
                Ok(head) => Arc::new(head),
                Err(request::Malformed) => return Ok(Content::Malformed),
            },
        };
        if block.len() <= WORTH.0 && fields.len() <= WORTH.1 {
            let (block, head) = (block.to_vec(), Arc::clone(&head));
            self.seen = Some(Seen { block, changes, fields, head, length });
        }
        Ok(Content::Head(head, length))
    }

    /// A block on a stream that was begun before.
    fn trailers(
        &mut self,
        id: u32,
        is_last: bool,
        block: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let fields = self.decoder.read(block, self.limits.max_header_bytes as usize).map_err(|_| CORRUPT)?;
        let closed = Err(Fault(Code::StreamClosed, "HEADERS on a stream that is closed"));
        match self.streams.get(id) {
            Some(stream) if stream.is_whole => closed,
            Some(_) if is_last && request::are_trailers(&fields.list) => self.end_request(id, events),
            Some(_) => self.reset(id, Code::Protocol, events),
            None => match self.streams.past(id) {
                Past::Over => closed,
                Past::Cut(_) => self.patience.spend(1),
                Past::Unknown => Err(Fault(Code::Protocol, "the number of a stream is smaller than before")),
            },
        }
    }

    /// Ends a stream because of what the peer sent on it.
    pub(super) fn reset(&mut self, id: u32, code: Code, events: &mut Vec<Event>) -> Result<(), Fault> {
        let by_peer = self.streams.get(id).is_some_and(|stream| stream.is_whole);
        self.streams.end(id, by_peer);
        put_number(&mut self.out, kind::RST_STREAM, id, code as u32);
        events.push(Event::Reset(id));
        self.patience.spend(2)
    }
}

const TOO_LARGE: Fault = Fault(Code::EnhanceYourCalm, "a block of fields is too large");
const CORRUPT: Fault = Fault(Code::Compression, "a block of fields cannot be read");
