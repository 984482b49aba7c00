//! From bytes to frames, and DATA from frames to events.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use http::Request;
use tokio::time::Instant;

use super::frame::{self, Code, HEAD, Head, flag, kind, setting};
use super::headers::{Block, Seen};
use super::hpack::Decoder;
use super::patience::Patience;
use super::pings::Pings;
use super::streams::{Past, Streams};
use super::{CONNECTION_WINDOW, DEFAULT_WINDOW, Limits, MAX_FRAME, STREAM_WINDOW};

/// What clients send first (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What happened on a stream. Events of streams that the owner has answered meanwhile are to be passed over.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request begins.
    Head(u32, Arc<Request<()>>),
    /// A request begins whose fields are larger than allowed.
    TooLarge(u32),
    /// These bytes of the input belong to its body; to be [released](Machine::release) when they were taken.
    Data(u32, Range<usize>),
    /// It is complete.
    End(u32),
    /// It is over, nobody waits for an answer.
    Reset(u32),
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(pub(super) Code, pub(super) &'static str);

/// What the next bytes are.
#[derive(Debug)]
enum Reading {
    Preface,
    Head,
    /// All of a frame but DATA.
    Payload(Head),
    /// How much of a DATA frame is still to come, first its content.
    Data(Data),
    /// Nothing that matters.
    Skip(usize),
}

#[derive(Debug)]
struct Data {
    stream: u32,
    /// Whether the stream was open.
    is_wanted: bool,
    /// The first byte says how much padding there is.
    is_padded: bool,
    content: usize,
    padding: usize,
    is_last: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) limits: Limits,
    reading: Reading,
    /// The beginning of what is being read, where it came in several inputs.
    partial: Vec<u8>,
    pub(super) greeted: bool,
    pub(super) block: Option<Block>,
    /// Header blocks that were whole.
    pub(super) blocks: u64,
    pub(super) seen: Option<Seen>,
    pub(super) decoder: Decoder,
    pub(super) streams: Streams,
    /// The last stream that the peer began.
    pub(super) last: u32,
    /// The last stream that is answered, once that is settled.
    pub(super) final_stream: Option<u32>,
    pub(super) leaving: bool,
    window: i64,
    taken: u32,
    pub(super) send_window: i64,
    pub(super) peer_stream_window: i64,
    pub(super) peer_max_frame: usize,
    pub(super) wrote_block: bool,
    /// When the input came that is read.
    pub(super) now: Instant,
    pub(super) patience: Patience,
    pub(super) pings: Pings,
    pub(super) out: Vec<u8>,
    failed: bool,
}

impl Machine {
    /// A connection that begins at that time; the output has the server's greeting.
    pub(crate) fn new(limits: Limits, now: Instant) -> Machine {
        let mut out = Vec::with_capacity(128);
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.max_streams),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (setting::MAX_FRAME_SIZE, MAX_FRAME as u32),
            (setting::MAX_HEADER_LIST_SIZE, limits.max_header_bytes),
        ];
        frame::put_settings(&mut out, &settings);
        frame::put_number(&mut out, kind::WINDOW_UPDATE, 0, CONNECTION_WINDOW - DEFAULT_WINDOW);
        Machine {
            limits,
            reading: Reading::Preface,
            partial: Vec::new(),
            greeted: false,
            block: None,
            blocks: 0,
            seen: None,
            decoder: Decoder::default(),
            streams: Streams::default(),
            last: 0,
            final_stream: None,
            leaving: false,
            window: i64::from(CONNECTION_WINDOW),
            taken: 0,
            send_window: i64::from(DEFAULT_WINDOW),
            peer_stream_window: i64::from(DEFAULT_WINDOW),
            peer_max_frame: 16 << 10,
            wrote_block: false,
            now,
            patience: Patience::new(now),
            pings: Pings::new(limits.pings),
            out,
            failed: false,
        }
    }

    /// What is to be sent; the owner takes it away from the front.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether nothing more will be taken or answered: the output is the last that the peer shall hear.
    pub(crate) fn is_over(&self) -> bool {
        (self.failed || self.final_stream.is_some()) && self.streams.len() == 0
    }

    /// Whether nothing more will be taken. What is to be answered may be left.
    pub(crate) fn is_deaf(&self) -> bool {
        self.failed
    }

    /// Bytes that are kept of frames that are not whole, and of a header block.
    pub(crate) fn held(&self) -> usize {
        self.partial.capacity() + self.block.as_ref().map_or(0, Block::held)
    }

    /// The number of the header block that has begun and is not whole.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        let is_head = matches!(self.reading, Reading::Payload(head) if head.kind == kind::HEADERS);
        (is_head || self.block.is_some()).then_some(self.blocks)
    }

    /// Ends the connection because its owner has had enough of it.
    pub(crate) fn give_up(&mut self, why: &'static str, events: &mut Vec<Event>) {
        if !self.failed && !self.is_over() {
            self.fail(Fault(Code::EnhanceYourCalm, why), events);
        }
    }

    /// Nothing more is taken. A peer that sent too much has its answers to what it sent whole, and may send the rest again.
    fn fail(&mut self, Fault(code, why): Fault, events: &mut Vec<Event>) {
        self.failed = true;
        let is_calm = code == Code::EnhanceYourCalm;
        for id in self.streams.end_all_but(|stream| is_calm && stream.is_whole) {
            if is_calm {
                frame::put_number(&mut self.out, kind::RST_STREAM, id, Code::RefusedStream as u32);
            }
            events.push(Event::Reset(id));
        }
        // What the peer was told to send elsewhere stays elsewhere (RFC 9113, 6.8).
        frame::put_goaway(&mut self.out, self.final_stream.unwrap_or(self.last), code, why);
    }

    /// Takes bytes of the peer that came at that time, which is never before the last, and appends what they say to `events`.
    pub(crate) fn receive(&mut self, input: &[u8], now: Instant, events: &mut Vec<Event>) {
        self.now = now;
        self.patience.rest(now);
        let mut at = 0;
        while at < input.len() && !self.failed {
            if let Err(fault) = self.step(input, &mut at, events) {
                self.fail(fault, events);
            }
        }
    }

    fn step(&mut self, input: &[u8], at: &mut usize, events: &mut Vec<Event>) -> Result<(), Fault> {
        match self.reading {
            Reading::Preface => {
                let expected = &PREFACE[self.partial.len()..];
                let part = expected.len().min(input.len() - *at);
                if input[*at..*at + part] != expected[..part] {
                    return Err(Fault(Code::Protocol, "this port speaks HTTP/2 only"));
                }
                if self.take(PREFACE.len(), input, at).is_some() {
                    self.reading = Reading::Head;
                }
                Ok(())
            }
            Reading::Head => {
                let Some(bytes) = self.take(HEAD, input, at) else { return Ok(()) };
                let mut head = [0; HEAD];
                head.copy_from_slice(&bytes);
                self.begin(Head::parse(head), events)
            }
            Reading::Payload(head) => {
                let Some(payload) = self.take(head.length, input, at) else { return Ok(()) };
                self.reading = Reading::Head;
                self.frame(head, &payload, events)
            }
            Reading::Data(ref mut data) => {
                let passed = data.pass(input, at, events)?;
                let ended = (data.content + data.padding == 0 && !data.is_padded)
                    .then_some((data.stream, data.is_wanted && data.is_last));
                if passed.is_void {
                    self.patience.spend(1)?;
                }
                self.pass_over(passed);
                match ended {
                    Some((stream, is_last)) => self.end_data(stream, is_last, events),
                    None => Ok(()),
                }
            }
            Reading::Skip(left) => {
                let part = left.min(input.len() - *at);
                *at += part;
                self.reading = if part == left { Reading::Head } else { Reading::Skip(left - part) };
                Ok(())
            }
        }
    }

    /// The next `length` bytes, once they are all there.
    fn take<'a>(&mut self, length: usize, input: &'a [u8], at: &mut usize) -> Option<Cow<'a, [u8]>> {
        let rest = &input[*at..];
        if self.partial.is_empty() && rest.len() >= length {
            *at += length;
            return Some(Cow::Borrowed(&rest[..length]));
        }
        let part = (length - self.partial.len()).min(rest.len());
        self.partial.extend_from_slice(&rest[..part]);
        *at += part;
        (self.partial.len() == length).then(|| Cow::Owned(std::mem::take(&mut self.partial)))
    }

    fn begin(&mut self, head: Head, events: &mut Vec<Event>) -> Result<(), Fault> {
        if head.length > MAX_FRAME {
            return Err(Fault(Code::FrameSize, "a frame is larger than was allowed"));
        }
        if !self.greeted && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Fault(Code::Protocol, "the first frame is not SETTINGS"));
        }
        match &self.block {
            Some(block) if head.kind != kind::CONTINUATION || head.stream != block.stream => {
                return Err(Fault(Code::Protocol, "a frame within a block of fields"));
            }
            None if head.kind == kind::CONTINUATION => {
                return Err(Fault(Code::Protocol, "CONTINUATION of nothing"));
            }
            _ => {}
        }
        if head.kind == kind::DATA {
            return self.begin_data(head, events);
        }
        Machine::check_length(head)?;
        // GOAWAY concerns streams that a server begins. When the peer is through it closes the connection.
        if head.kind > kind::CONTINUATION || head.kind == kind::GOAWAY {
            self.patience.spend(1)?;
            self.reading = if head.length == 0 { Reading::Head } else { Reading::Skip(head.length) };
            return Ok(());
        }
        self.check_block(head)?;
        if head.length == 0 {
            self.reading = Reading::Head;
            return self.frame(head, &[], events);
        }
        self.reading = Reading::Payload(head);
        Ok(())
    }

    fn frame(&mut self, head: Head, payload: &[u8], events: &mut Vec<Event>) -> Result<(), Fault> {
        match head.kind {
            kind::HEADERS => self.headers(head, payload, events),
            kind::CONTINUATION => self.continuation(head, payload, events),
            _ => self.control(head, payload, events),
        }
    }

    fn begin_data(&mut self, head: Head, events: &mut Vec<Event>) -> Result<(), Fault> {
        if head.stream > self.last || head.stream.is_multiple_of(2) {
            return Err(Fault(Code::Protocol, "DATA on a stream that was not begun"));
        }
        let length = i64::try_from(head.length).unwrap_or(i64::MAX);
        self.window -= length;
        let is_last = head.has(flag::END_STREAM);
        let is_wanted = if let Some(stream) = self.streams.get(head.stream) {
            if stream.is_whole {
                return Err(Fault(Code::StreamClosed, "DATA after the end of its stream"));
            }
            stream.window -= length;
            if stream.window < 0 {
                return Err(Fault(Code::FlowControl, "more DATA than the window of the stream allows"));
            }
            if length == 0 && !is_last {
                self.patience.spend(1)?;
            }
            true
        } else {
            match self.streams.past(head.stream) {
                Past::Over => return Err(Fault(Code::StreamClosed, "DATA on a stream that is closed")),
                // The peer may have sent it before it knew, as much as it had been allowed.
                Past::Cut(window) if length > 0 => {
                    *window -= length;
                    if *window < 0 {
                        return Err(Fault(
                            Code::FlowControl,
                            "more DATA than the window of a stream allowed",
                        ));
                    }
                }
                Past::Cut(_) | Past::Unknown => self.patience.spend(1)?,
            }
            false
        };
        if self.window < 0 {
            return Err(Fault(Code::FlowControl, "more DATA than the window of the connection allows"));
        }
        let is_padded = head.has(flag::PADDED);
        if is_padded && head.length == 0 {
            return Err(Fault(Code::FrameSize, "DATA without its length of padding"));
        }
        if head.length == 0 {
            self.reading = Reading::Head;
            return self.end_data(head.stream, is_wanted && is_last, events);
        }
        let data =
            Data { stream: head.stream, is_wanted, is_padded, content: head.length, padding: 0, is_last };
        self.reading = Reading::Data(data);
        Ok(())
    }

    /// Opens the windows again for bytes that nobody gets: padding, and content of streams that are over.
    fn pass_over(&mut self, Passed { stream, content, padding, .. }: Passed) {
        if content > 0
            && let Some(stream) = self.streams.get(stream)
        {
            stream.came += content as u64;
        }
        if padding > 0 {
            self.release(stream, padding);
        }
    }

    fn end_data(&mut self, stream: u32, is_last: bool, events: &mut Vec<Event>) -> Result<(), Fault> {
        self.reading = Reading::Head;
        if is_last { self.end_request(stream, events) } else { Ok(()) }
    }

    /// The peer has sent all of a request.
    pub(super) fn end_request(&mut self, id: u32, events: &mut Vec<Event>) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        stream.is_whole = true;
        if !stream.has_its_length() {
            return self.reset(id, Code::Protocol, events);
        }
        events.push(Event::End(id));
        Ok(())
    }

    /// The owner has taken that many bytes of a stream: the peer may send as many more.
    pub(crate) fn release(&mut self, stream: u32, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.taken += bytes;
        if self.taken >= CONNECTION_WINDOW / 2 {
            self.window += i64::from(self.taken);
            frame::put_number(&mut self.out, kind::WINDOW_UPDATE, 0, self.taken);
            self.taken = 0;
        }
        let Some(stream) = self.streams.get(stream).filter(|stream| !stream.is_whole) else { return };
        stream.taken += bytes;
        if stream.taken >= STREAM_WINDOW / 2 {
            stream.window += i64::from(stream.taken);
            frame::put_number(&mut self.out, kind::WINDOW_UPDATE, stream.id, stream.taken);
            stream.taken = 0;
        }
    }
}

/// Bytes of a DATA frame that went by.
struct Passed {
    stream: u32,
    /// For the owner.
    content: usize,
    /// For nobody.
    padding: usize,
    /// Whether the frame turned out to have nothing but padding, and to end nothing.
    is_void: bool,
}

impl Data {
    /// Passes what the input has of it.
    fn pass(&mut self, input: &[u8], at: &mut usize, events: &mut Vec<Event>) -> Result<Passed, Fault> {
        let mut passed = Passed { stream: self.stream, content: 0, padding: 0, is_void: false };
        if std::mem::take(&mut self.is_padded) {
            let padding = usize::from(input[*at]);
            *at += 1;
            passed.padding += 1;
            self.content = (self.content - 1)
                .checked_sub(padding)
                .ok_or(Fault(Code::Protocol, "more padding than DATA"))?;
            self.padding = padding;
            passed.is_void = self.content == 0 && !self.is_last;
        }
        let content = self.content.min(input.len() - *at);
        self.content -= content;
        match (content, self.is_wanted) {
            (0, _) => {}
            (_, true) => {
                events.push(Event::Data(self.stream, *at..*at + content));
                passed.content = content;
            }
            (_, false) => passed.padding += content,
        }
        *at += content;
        let padding = self.padding.min(input.len() - *at);
        if self.content == 0 {
            self.padding -= padding;
            passed.padding += padding;
            *at += padding;
        }
        Ok(passed)
    }
}
