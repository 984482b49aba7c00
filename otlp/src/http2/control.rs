//! Frames that are about the connection or end a stream.

use super::frame::{Code, Head, flag, kind, put_goaway, put_head, put_ping, setting};
use super::machine::{Event, Fault, Machine};
use super::{MAX_SETTINGS, MAX_WINDOW};

/// Content of our pings: one that asks whether the peer is there, and one behind the first GOAWAY.
const PRESENCE: &[u8; 8] = b"presence";
const FAREWELL: &[u8; 8] = b"farewell";

/// The largest stream that there can be.
const ANY: u32 = 0x7fff_ffff;

impl Machine {
    /// Lengths that are fixed, and streams that a frame must or must not name.
    pub(super) fn check_length(head: Head) -> Result<(), Fault> {
        let fits = match head.kind {
            kind::PRIORITY => head.length == 5,
            kind::RST_STREAM | kind::WINDOW_UPDATE => head.length == 4,
            kind::PING => head.length == 8,
            kind::SETTINGS if head.has(flag::ACK) => head.length == 0,
            kind::SETTINGS => head.length.is_multiple_of(6) && head.length <= MAX_SETTINGS,
            kind::GOAWAY => head.length >= 8,
            _ => true,
        };
        if !fits {
            return Err(Fault(Code::FrameSize, "a frame has not the length of its kind"));
        }
        if head.kind == kind::PUSH_PROMISE {
            return Err(Fault(Code::Protocol, "clients do not push"));
        }
        let of_stream = match head.kind {
            kind::PRIORITY | kind::RST_STREAM | kind::HEADERS | kind::CONTINUATION => Some(true),
            kind::SETTINGS | kind::PING | kind::GOAWAY => Some(false),
            _ => None,
        };
        if of_stream.is_some_and(|of_stream| of_stream != (head.stream != 0)) {
            return Err(Fault(Code::Protocol, "a frame is about another stream than its kind may be"));
        }
        Ok(())
    }

    pub(super) fn control(
        &mut self,
        head: Head,
        payload: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        match head.kind {
            kind::SETTINGS => self.settings(head, payload),
            kind::PING => self.ping(head, payload),
            kind::WINDOW_UPDATE => self.window_update(head.stream, number(payload), events),
            kind::RST_STREAM => self.reset_by_peer(head.stream, events),
            kind::PRIORITY => {
                self.patience.spend(1)?;
                if number(payload) & ANY != head.stream {
                    return Ok(());
                }
                Err(Fault(Code::Protocol, "a stream depends on itself"))
            }
            _ => Ok(()),
        }
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        self.patience.spend(1)?;
        if head.has(flag::ACK) {
            return Ok(());
        }
        self.greeted = true;
        for entry in payload.chunks_exact(6) {
            let name = u16::from_be_bytes([entry[0], entry[1]]);
            let value = number(&entry[2..]);
            match name {
                setting::ENABLE_PUSH if value > 1 => {
                    return Err(Fault(Code::Protocol, "ENABLE_PUSH is neither 0 nor 1"));
                }
                setting::MAX_FRAME_SIZE if !(16 << 10..1 << 24).contains(&value) => {
                    return Err(Fault(Code::Protocol, "MAX_FRAME_SIZE is out of its range"));
                }
                setting::MAX_FRAME_SIZE => self.peer_max_frame = value as usize,
                setting::INITIAL_WINDOW_SIZE => self.set_stream_window(i64::from(value))?,
                // Of the table for fields nothing is used, and other limits are met by what is ever sent.
                _ => {}
            }
        }
        put_head(&mut self.out, 0, kind::SETTINGS, flag::ACK, 0);
        self.send_rest();
        Ok(())
    }

    fn set_stream_window(&mut self, value: i64) -> Result<(), Fault> {
        let more = value - self.peer_stream_window;
        self.peer_stream_window = value;
        let mut largest = value;
        for stream in self.streams.iter_mut() {
            stream.send_window += more;
            largest = largest.max(stream.send_window);
        }
        if largest > MAX_WINDOW {
            return Err(Fault(Code::FlowControl, "a window is larger than windows can be"));
        }
        Ok(())
    }

    fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if !head.has(flag::ACK) {
            self.patience.spend(1)?;
            self.pings.ping(self.streams.len() > 0, self.now)?;
            put_ping(&mut self.out, flag::ACK, payload);
            return Ok(());
        }
        if payload == FAREWELL && self.leaving && self.final_stream.is_none() {
            // Everything that the peer sent before it knew has come by now.
            self.final_stream = Some(self.last);
            put_goaway(&mut self.out, self.last, Code::NoError, "");
        }
        self.patience.spend(1)
    }

    fn window_update(&mut self, id: u32, by: u32, events: &mut Vec<Event>) -> Result<(), Fault> {
        self.patience.spend(1)?;
        let by = i64::from(by & ANY);
        if id == 0 {
            self.send_window += by;
            if by == 0 {
                return Err(Fault(Code::Protocol, "WINDOW_UPDATE by nothing"));
            }
            if self.send_window > MAX_WINDOW {
                return Err(Fault(Code::FlowControl, "a window is larger than windows can be"));
            }
            self.send_rest();
            return Ok(());
        }
        if id > self.last {
            return Err(Fault(Code::Protocol, "WINDOW_UPDATE of a stream that was not begun"));
        }
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        stream.send_window += by;
        if by == 0 {
            return self.reset(id, Code::Protocol, events);
        }
        if stream.send_window > MAX_WINDOW {
            return self.reset(id, Code::FlowControl, events);
        }
        self.send_rest();
        Ok(())
    }

    fn reset_by_peer(&mut self, id: u32, events: &mut Vec<Event>) -> Result<(), Fault> {
        if id > self.last {
            return Err(Fault(Code::Protocol, "RST_STREAM of a stream that was not begun"));
        }
        if self.streams.get(id).is_some() {
            self.streams.end(id, true);
            events.push(Event::Reset(id));
        } else {
            self.streams.end_cut(id);
        }
        self.patience.spend(1)
    }

    /// Asks whether the peer is there.
    pub(crate) fn ask_for_presence(&mut self) {
        put_ping(&mut self.out, 0, PRESENCE);
    }

    /// Tells the peer to go when its requests are answered. Those that it sends before it knows are answered too.
    pub(crate) fn leave(&mut self) {
        if !self.leaving && !self.is_deaf() {
            self.leaving = true;
            put_goaway(&mut self.out, ANY, Code::NoError, "");
            put_ping(&mut self.out, 0, FAREWELL);
        }
    }
}

/// The number that a payload begins with.
fn number(payload: &[u8]) -> u32 {
    payload.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
