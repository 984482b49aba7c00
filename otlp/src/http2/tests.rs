//! The machine against frames that are put together by hand.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use proptest::prelude::*;
use tokio::time::Instant;

use super::check::{PREFACE, converse};
use super::frame::{
    Code, Head, flag, kind, put_block, put_goaway, put_head, put_number, put_ping, put_settings, setting,
};
use super::*;
use crate::clock::now;

const LIMITS: Limits = Limits { max_streams: 4, max_header_bytes: 1000, pings: None };

/// The head of a call, as references into the static table and literals.
const CALL: &[u8] = b"\x83\x86\x04\x02/x\x01\x01a";

struct Talk {
    machine: Machine,
    now: Instant,
    events: Vec<Event>,
}

impl Talk {
    /// After the greetings.
    fn begin() -> Talk {
        let now = now();
        let mut talk = Talk { machine: Machine::new(LIMITS, now), now, events: Vec::new() };
        let mut hello = PREFACE.to_vec();
        put_settings(&mut hello, &[]);
        talk.say(&hello);
        assert_eq!(talk.heard(), ["SETTINGS 0 24", "WINDOW_UPDATE 0 4", "SETTINGS+1 0 0"]);
        talk
    }

    fn say(&mut self, bytes: &[u8]) -> &mut Talk {
        self.machine.receive(bytes, self.now, &mut self.events);
        self
    }

    fn call(&mut self, stream: u32) -> &mut Talk {
        self.say(&headers(stream, CALL, true))
    }

    /// What was said to the peer since the last time: kind, flags, stream and length, or the code of an error.
    fn heard(&mut self) -> Vec<String> {
        let out = std::mem::take(self.machine.output());
        frames(&out).iter().map(|(head, payload)| show(*head, payload)).collect()
    }

    fn happened(&mut self) -> Vec<String> {
        let show = |event: Event| match event {
            Event::Head(stream, head) => format!("head {stream} {}", head.uri().path()),
            Event::TooLarge(stream) => format!("too large {stream}"),
            Event::Data(stream, range) => format!("data {stream} {}", range.len()),
            Event::End(stream) => format!("end {stream}"),
            Event::Reset(stream) => format!("reset {stream}"),
        };
        std::mem::take(&mut self.events).into_iter().map(show).collect()
    }
}

fn frames(mut bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let head = Head::parse(*head);
        let (payload, rest) = rest.split_at(head.length);
        frames.push((head, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

fn show(head: Head, payload: &[u8]) -> String {
    const NAMES: [&str; 10] = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    let name = NAMES[usize::from(head.kind)];
    let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
    match head.kind {
        kind::RST_STREAM => format!("RST_STREAM {} code {}", head.stream, number(0)),
        kind::GOAWAY => format!("GOAWAY {} code {}", number(0), number(4)),
        _ if head.flags == 0 => format!("{name} {} {}", head.stream, head.length),
        _ => format!("{name}+{} {} {}", head.flags, head.stream, head.length),
    }
}

fn headers(stream: u32, block: &[u8], is_last: bool) -> Vec<u8> {
    let mut out = Vec::new();
    put_block(&mut out, stream, block, is_last, 16 << 10);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out
}

fn answer(data: &'static [u8], trailers: bool) -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", "0".parse().expect("a value"));
    let trailers = trailers.then_some(&fields);
    Answer::new(StatusCode::OK, &HeaderMap::new(), Bytes::from_static(data), trailers)
}

#[test]
fn a_call_is_a_head_its_data_and_an_end_however_it_is_cut() {
    let mut whole = headers(1, CALL, false);
    whole.extend(frame(kind::DATA, flag::PADDED, 1, b"\x02abc__"));
    whole.extend(frame(kind::DATA, flag::END_STREAM, 1, b"de"));
    for at in 0..=whole.len() {
        let mut talk = Talk::begin();
        talk.say(&whole[..at]).say(&whole[at..]);
        let events = talk.happened();
        assert_eq!((events[0].as_str(), events.last().map(String::as_str)), ("head 1 /x", Some("end 1")));
        let data = events.iter().filter_map(|e| e.strip_prefix("data 1 ")?.parse::<usize>().ok());
        assert_eq!((data.sum::<usize>(), talk.heard().len()), (5, 0), "cut at {at}: {events:?}");
    }
}

#[test]
fn an_answer_is_written_whole_and_the_first_says_that_no_table_is_used() {
    let mut talk = Talk::begin();
    for stream in [1, 3] {
        talk.call(stream).machine.answer(stream, answer(&[0; 5], true));
    }
    let out = std::mem::take(talk.machine.output());
    let frames = frames(&out);
    assert_eq!((&frames[0].1[..], &frames[3].1[..]), (&[0x20, 0x88][..], &[0x88][..]));
    let shown: Vec<_> = frames[3..].iter().map(|(head, payload)| show(*head, payload)).collect();
    assert_eq!(shown, ["HEADERS+4 3 1", "DATA 3 5", "HEADERS+5 3 15"]);
    talk.machine.answer(3, answer(&[], false));
    talk.machine.answer(99, answer(&[], false));
    assert!(talk.heard().is_empty(), "what is over stays over");
}

#[test]
fn equal_blocks_are_read_once_while_the_table_stays_the_same() {
    let mut talk = Talk::begin();
    talk.call(1).call(3);
    let heads: Vec<Arc<Request<()>>> = std::mem::take(&mut talk.events)
        .into_iter()
        .filter_map(|event| if let Event::Head(_, head) = event { Some(head) } else { None })
        .collect();
    assert!(Arc::ptr_eq(&heads[0], &heads[1]));
    // The first entry of the table becomes another one; the block that refers to it stays the same.
    let with_entry = |value: u8| [CALL, &[0x40, 1, b'k', 1, value]].concat();
    let refers = [CALL, &[0xbe]].concat();
    let mut values = Vec::new();
    for (i, value) in [b'1', b'1', b'2'].into_iter().enumerate() {
        let stream = 5 + 4 * i as u32;
        talk.say(&headers(stream, &with_entry(value), true)).machine.answer(stream, answer(&[], false));
        talk.say(&headers(stream + 2, &refers, true)).machine.answer(stream + 2, answer(&[], false));
        for event in std::mem::take(&mut talk.events) {
            if let Event::Head(_, head) = event {
                values.push(head.headers()["k"].to_str().expect("text").to_owned());
            }
        }
    }
    assert_eq!(values, ["1", "1", "1", "1", "2", "2"]);
}

#[test]
fn heads_are_made_once_while_only_what_varies_is_another_one() {
    let mut talk = Talk::begin();
    // As grpc-go does it, which puts each timeout into the table, and as hyper, which puts no length there.
    let block = |timeout: &str, length: &str, user: &str| {
        let field = |first: u8, name: &str, value: &str| {
            [&[first, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
        };
        let fields = [field(0x40, "grpc-timeout", timeout), field(0, "content-length", length)];
        [CALL, &fields.concat(), &field(0, "user", user)].concat()
    };
    let (mut heads, mut stream) = (Vec::new(), 1);
    let mut ask = |timeout, length, user| {
        let block = block(timeout, length, user);
        talk.say(&headers(stream, &block, false)).say(&frame(
            kind::DATA,
            flag::END_STREAM,
            stream,
            b"0123456",
        ));
        stream += 2;
        let happened = std::mem::take(&mut talk.events);
        let head = happened.iter().find_map(|event| match event {
            Event::Head(_, head) => Some(Arc::clone(head)),
            _ => None,
        });
        talk.machine.answer(stream - 2, answer(&[], false));
        (head, happened.iter().any(|event| matches!(event, Event::Reset(_))))
    };
    for timeout in ["9999871u", "9999871u", "9u", "5S"] {
        let (head, is_reset) = ask(timeout, "7", "a");
        heads.push(head.expect("well formed"));
        assert!(!is_reset);
    }
    assert!(heads.iter().all(|head| Arc::ptr_eq(head, &heads[0])));
    assert_eq!(heads[0].headers().keys().collect::<Vec<_>>(), ["user"]);
    // The length is that of this request, not of the one before.
    assert!(matches!(ask("5S", "6", "a"), (Some(_), true)));
    assert!(matches!(ask("5S", "8", "a"), (Some(_), true)));
    for (timeout, length) in [("5S", "x"), ("5\nS", "7")] {
        assert!(matches!(ask(timeout, length, "a"), (None, true)), "{timeout:?} {length:?}");
    }
    let (other, is_reset) = ask("5S", "7", "b");
    assert!(!is_reset);
    assert_eq!(other.expect("well formed").headers()["user"], "b");
}

#[test]
fn an_answer_waits_for_the_windows_of_its_stream_and_of_the_connection() {
    let mut talk = Talk::begin();
    let mut window = Vec::new();
    put_settings(&mut window, &[(setting::INITIAL_WINDOW_SIZE, 1)]);
    talk.say(&window).call(1);
    talk.machine.answer(1, answer(b"hello", true));
    assert_eq!(talk.heard(), ["SETTINGS+1 0 0", "HEADERS+4 1 2", "DATA 1 1"]);
    let mut more = Vec::new();
    put_number(&mut more, kind::WINDOW_UPDATE, 1, 2);
    assert_eq!(talk.say(&more).heard(), ["DATA 1 2"]);
    // A smaller window takes back what was not used.
    window.clear();
    put_settings(&mut window, &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    assert_eq!(talk.say(&window).say(&more).heard(), ["SETTINGS+1 0 0", "DATA 1 1"]);
    window.clear();
    put_settings(&mut window, &[(setting::INITIAL_WINDOW_SIZE, 100)]);
    assert_eq!(talk.say(&window).heard(), ["SETTINGS+1 0 0", "DATA 1 1", "HEADERS+5 1 15"]);
    // The connection's window has 65,530 bytes left.
    static LONG: [u8; 80_000] = [7; 80_000];
    window.clear();
    put_settings(&mut window, &[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    talk.say(&window).call(3).machine.answer(3, answer(&LONG, false));
    let sent = ["DATA 3 16384", "DATA 3 16384", "DATA 3 16384", "DATA 3 16378"];
    assert_eq!(talk.heard()[2..], sent);
    more.clear();
    put_number(&mut more, kind::WINDOW_UPDATE, 0, 100_000);
    assert_eq!(talk.say(&more).heard(), ["DATA+1 3 14470"]);
}

#[test]
fn windows_open_again_in_large_steps_and_only_for_what_was_taken() {
    let mut talk = Talk::begin();
    talk.say(&headers(1, CALL, false));
    let piece = frame(kind::DATA, 0, 1, &[0; 16 << 10]);
    for _ in 0..64 {
        talk.say(&piece);
    }
    assert!(talk.heard().is_empty(), "nothing was taken");
    for i in 0..64 {
        talk.machine.release(1, 16 << 10);
        assert_eq!(talk.heard().len(), usize::from(i == 31 || i == 63), "{i}");
    }
    for _ in 0..64 {
        talk.say(&piece);
    }
    assert_eq!(talk.say(&piece).heard(), ["GOAWAY 1 code 3"], "more than a window");
}

#[test]
fn what_comes_for_a_stream_that_was_cut_is_passed_over_and_its_window_opens_again() {
    let mut talk = Talk::begin();
    for stream in [1, 3] {
        talk.say(&headers(stream, CALL, false)).machine.answer(stream, answer(&[], false));
    }
    assert_eq!(talk.heard()[2..], ["HEADERS+5 3 1", "RST_STREAM 3 code 0"]);
    talk.happened();
    for stream in [1, 3] {
        for _ in 0..4 {
            talk.say(&frame(kind::DATA, 0, stream, &[0; 256 << 10]));
        }
    }
    assert_eq!((talk.happened().len(), talk.heard()), (0, vec!["WINDOW_UPDATE 0 4".to_owned()]));
    talk.say(&headers(1, b"", true)).call(5);
    assert_eq!(talk.happened(), ["head 5 /x", "end 5"]);
    assert_eq!(talk.say(&frame(kind::DATA, 0, 3, b"x")).heard(), ["GOAWAY 5 code 3"], "more than its window");
}

#[test]
fn nothing_more_may_come_for_a_stream_that_was_cut_once_its_peer_resets_it_too() {
    let reset = frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    for more in [headers(1, b"", true), frame(kind::DATA, flag::END_STREAM, 1, b"x")] {
        let mut talk = Talk::begin();
        talk.say(&headers(1, CALL, false)).machine.answer(1, answer(&[], false));
        talk.say(&reset).say(&reset).heard();
        assert_eq!(talk.say(&more).heard(), ["GOAWAY 1 code 5"]);
    }
}

/// Calls that are refused by their first bytes while the rest of them, as much as windows allow, is on its way.
#[tokio::test(start_paused = true)]
async fn what_was_sent_within_the_window_before_the_answer_was_known_is_free() {
    let mut talk = Talk::begin();
    for stream in (1..400).step_by(2) {
        talk.say(&headers(stream, CALL, false)).say(&frame(kind::DATA, 0, stream, &[0; 16 << 10]));
        talk.machine.release(stream, 16 << 10);
        talk.machine.answer(stream, answer(&[], false));
        for _ in 1..64 {
            talk.say(&frame(kind::DATA, 0, stream, &[0; 16 << 10]));
        }
        talk.events.clear();
    }
    // Streams beyond those allowed are refused, and had a window too.
    for stream in (401..=409).step_by(2) {
        talk.say(&headers(stream, CALL, false));
    }
    for _ in 0..1024 {
        talk.say(&frame(kind::DATA, 0, 409, &[0; 1 << 10]));
    }
    assert!(talk.heard().iter().all(|said| !said.starts_with("GOAWAY")));
    assert_eq!(talk.say(&frame(kind::DATA, 0, 409, b"x")).heard(), ["GOAWAY 409 code 3"]);
}

#[test]
fn who_floods_has_its_answers_to_what_was_whole_and_may_send_the_rest_again() {
    let mut talk = Talk::begin();
    talk.call(1).say(&headers(3, CALL, false));
    while !talk.machine.is_deaf() {
        talk.say(&frame(kind::PING, flag::ACK, 0, &[0; 8]));
    }
    assert_eq!(talk.heard(), ["RST_STREAM 3 code 7", "GOAWAY 3 code 11"]);
    assert_eq!(talk.happened(), ["head 1 /x", "end 1", "head 3 /x", "reset 3"]);
    talk.call(5).machine.leave();
    talk.machine.answer(3, answer(&[], false));
    assert!(talk.heard().is_empty() && talk.happened().is_empty() && !talk.machine.is_over());
    talk.machine.answer(1, answer(&[], false));
    assert_eq!((talk.heard(), talk.machine.is_over()), (vec!["HEADERS+5 1 2".to_owned()], true));
    let mut given_up = Talk::begin();
    given_up.call(1).say(&headers(3, CALL, false));
    for _ in 0..2 {
        given_up.machine.give_up("enough", &mut given_up.events);
    }
    assert_eq!(given_up.heard(), ["RST_STREAM 3 code 7", "GOAWAY 3 code 11"]);
    assert!(!given_up.machine.is_over(), "its owner can have enough of it, too");
    given_up.machine.answer(1, answer(&[], false));
    assert!(given_up.machine.is_over());
    let mut broken = Talk::begin();
    broken.call(1).say(&frame(kind::DATA, 0, 0, b"x"));
    assert!(broken.machine.is_over(), "what is wrong with frames ends everything");
    assert_eq!(broken.happened(), ["head 1 /x", "end 1", "reset 1"]);
}

#[test]
fn who_leaves_answers_what_comes_before_the_peer_knows() {
    let mut talk = Talk::begin();
    talk.call(1).machine.leave();
    talk.machine.leave();
    assert_eq!(talk.heard(), ["GOAWAY 2147483647 code 0", "PING 0 8"]);
    talk.call(3);
    talk.say(&frame(kind::PING, flag::ACK, 0, b"farewell")).call(5);
    assert_eq!(talk.heard(), ["GOAWAY 3 code 0", "RST_STREAM 5 code 7"]);
    assert_eq!(talk.happened(), ["head 1 /x", "end 1", "head 3 /x", "end 3"]);
    for stream in [1, 3] {
        assert!(!talk.machine.is_over());
        talk.machine.answer(stream, answer(&[], false));
    }
    assert!(talk.machine.is_over());
}

#[test]
fn who_floods_on_its_way_out_is_not_told_that_more_is_answered() {
    let mut talk = Talk::begin();
    talk.call(1).machine.leave();
    talk.say(&frame(kind::PING, flag::ACK, 0, b"farewell")).call(5);
    assert_eq!(talk.heard()[2..], ["GOAWAY 1 code 0", "RST_STREAM 5 code 7"]);
    while !talk.machine.is_deaf() {
        talk.say(&frame(kind::PING, flag::ACK, 0, &[0; 8]));
    }
    assert_eq!(talk.heard(), ["GOAWAY 1 code 11"]);
}

#[test]
fn more_streams_than_allowed_are_refused_and_fields_that_are_too_large_are_told() {
    let mut talk = Talk::begin();
    for stream in [1, 3, 5, 7, 9] {
        talk.call(stream);
    }
    assert_eq!(talk.heard(), ["RST_STREAM 9 code 7"]);
    talk.machine.answer(1, answer(&[], false));
    talk.happened();
    let large = [CALL, &[0, 1, b'k', 0x7f, 0xe9, 0x06], &[b'v'; 1000]].concat();
    talk.say(&headers(11, &large, true));
    assert_eq!(talk.happened(), ["too large 11", "end 11"]);
}

#[test]
fn what_is_wrong_with_a_request_resets_its_stream() {
    let with = |rest: &[u8]| headers(1, &[CALL, rest].concat(), false);
    let dependent = frame(kind::HEADERS, 0x24, 1, &[&[0, 0, 0, 1, 9], CALL].concat());
    let cases = [
        (with(b"\x00\x01K\x01v"), 1),
        (with(b"\x82"), 1),
        (headers(1, b"\x83\x86", true), 1),
        (dependent, 1),
        ([headers(1, CALL, false), headers(1, b"\x00\x01k\x01v", false)].concat(), 1),
        ([headers(1, CALL, false), headers(1, b"\x83", true)].concat(), 1),
        ([with(b"\x0f\x0d\x017"), frame(kind::DATA, 1, 1, b"abc")].concat(), 1),
        ([headers(1, CALL, false), frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4])].concat(), 1),
        ([headers(1, CALL, false), frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255])].concat(), 3),
    ];
    for (bytes, code) in cases {
        let mut talk = Talk::begin();
        assert_eq!(talk.say(&bytes).heard(), [format!("RST_STREAM 1 code {code}")], "{bytes:x?}");
        assert_eq!(talk.happened().last().map(String::as_str), Some("reset 1"));
        talk.call(3).machine.answer(3, answer(&[], false));
        assert_eq!(talk.heard(), ["HEADERS+5 3 2"], "the connection goes on");
    }
}

#[test]
fn what_is_wrong_with_frames_ends_the_connection() {
    let call = headers(1, CALL, true);
    let open = headers(1, CALL, false);
    let part = frame(kind::HEADERS, flag::END_STREAM, 1, CALL);
    let after = |first: &[u8], second: Vec<u8>| [first, &second].concat();
    let cases = [
        (frame(kind::DATA, 0, 0, b"x"), 1),
        (frame(kind::DATA, 0, 1, b"x"), 1),
        (after(&call, frame(kind::DATA, 0, 1, b"x")), 5),
        (after(&open, frame(kind::DATA, flag::PADDED, 1, &[9, 0])), 1),
        (after(&open, frame(kind::DATA, flag::PADDED, 1, &[])), 6),
        (after(&call, call.clone()), 5),
        (after(&headers(5, CALL, true), headers(3, CALL, true)), 1),
        (headers(2, CALL, true), 1),
        (headers(0, CALL, true), 1),
        (headers(1, &[0xff, 0xff], true), 9),
        (frame(kind::HEADERS, flag::PADDED | flag::END_HEADERS, 1, &[9, 0x83]), 1),
        (frame(kind::HEADERS, flag::PADDED | flag::END_HEADERS, 1, &[]), 6),
        (frame(kind::HEADERS, flag::PRIORITY | flag::END_HEADERS, 1, &[0; 4]), 6),
        (frame(kind::CONTINUATION, flag::END_HEADERS, 1, CALL), 1),
        (after(&part, frame(kind::PING, 0, 0, &[0; 8])), 1),
        (after(&part, frame(kind::CONTINUATION, flag::END_HEADERS, 3, CALL)), 1),
        (frame(kind::PRIORITY, 0, 0, &[0; 5]), 1),
        (frame(kind::PRIORITY, 0, 1, &[0; 4]), 6),
        (frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), 1),
        (frame(kind::RST_STREAM, 0, 0, &[0; 4]), 1),
        (frame(kind::RST_STREAM, 0, 1, &[0; 4]), 1),
        (after(&open, frame(kind::RST_STREAM, 0, 1, &[0; 3])), 6),
        (frame(kind::SETTINGS, 0, 1, &[]), 1),
        (frame(kind::SETTINGS, 0, 0, &[0; 5]), 6),
        (frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]), 6),
        (frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), 1),
        (frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), 3),
        (frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 255]), 1),
        (frame(kind::SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]), 1),
        (frame(5, 0, 1, &[0; 4]), 1),
        (frame(kind::PING, 0, 1, &[0; 8]), 1),
        (frame(kind::PING, 0, 0, &[0; 7]), 6),
        (frame(kind::GOAWAY, 0, 1, &[0; 8]), 1),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), 1),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]), 3),
        (frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 1),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), 6),
        (frame(9, 0, 0, &vec![0; (256 << 10) + 1]), 6),
    ];
    for (bytes, code) in cases {
        let mut talk = Talk::begin();
        let heard = talk.say(&bytes).heard();
        let last = heard.last().expect("an answer");
        assert!(last.starts_with("GOAWAY") && last.ends_with(&format!("code {code}")), "{last}: {bytes:x?}");
        assert!(talk.machine.is_over());
        assert!(talk.call(99).heard().is_empty(), "nothing more is read");
    }
}

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], &b"PRI * HTTP/2.0\r\n\r\nXX"[..]] {
        let mut machine = Machine::new(LIMITS, now());
        machine.receive(hello, now(), &mut Vec::new());
        assert!(machine.is_over());
    }
    for first in
        [frame(kind::PING, 0, 0, &[0; 8]), frame(kind::SETTINGS, flag::ACK, 0, &[]), headers(1, CALL, true)]
    {
        let mut machine = Machine::new(LIMITS, now());
        machine.receive(&[PREFACE, &first].concat(), now(), &mut Vec::new());
        assert!(machine.is_over(), "{first:x?}");
    }
}

/// Frames that cost work and are no requests, each as often as a peer could send it in a second.
#[test]
fn floods_end_with_enhance_your_calm_and_nothing_piles_up() {
    let open = headers(1, CALL, false);
    let mut goaway = Vec::new();
    put_goaway(&mut goaway, 0, Code::NoError, "");
    let mut ping = Vec::new();
    put_ping(&mut ping, 0, &[0; 8]);
    let floods = [
        (Vec::new(), ping),
        (Vec::new(), frame(kind::PING, flag::ACK, 0, &[0; 8])),
        (Vec::new(), frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        (Vec::new(), frame(kind::SETTINGS, flag::ACK, 0, &[])),
        (open.clone(), frame(kind::DATA, 0, 1, &[])),
        (open.clone(), frame(kind::DATA, flag::PADDED, 1, &[0])),
        (open.clone(), frame(kind::DATA, flag::PADDED, 1, b"\x02__")),
        (open.clone(), frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        (open.clone(), frame(kind::PRIORITY, 0, 1, &[0; 5])),
        (Vec::new(), frame(77, 0, 0, &[])),
        (Vec::new(), goaway),
        (frame(kind::HEADERS, 0, 1, CALL), frame(kind::CONTINUATION, 0, 1, &[])),
        (frame(kind::HEADERS, 0, 1, CALL), frame(kind::CONTINUATION, 0, 1, &[0; 8 << 10])),
    ];
    for (first, frame) in floods {
        let mut talk = Talk::begin();
        talk.say(&first);
        for _ in 0..10_000 {
            talk.say(&frame);
        }
        assert!(talk.machine.output().len() < 64 << 10);
        assert_eq!(talk.heard().pop().map(|last| last.ends_with("code 11")), Some(true), "{frame:x?}");
    }
    let mut talk = Talk::begin();
    talk.say(&open).machine.answer(1, answer(&[], false));
    for _ in 0..10_000 {
        talk.say(&frame(kind::DATA, 0, 1, &[]));
    }
    assert_eq!(
        talk.heard().pop().map(|last| last.ends_with("code 11")),
        Some(true),
        "empty DATA, cut stream"
    );
    let mut talk = Talk::begin();
    for stream in (1..20_000).step_by(2) {
        talk.call(stream).say(&frame(kind::RST_STREAM, 0, stream, &[0; 4]));
        talk.events.clear();
    }
    assert!(
        talk.heard().iter().all(|said| said.ends_with("code 11")) && talk.machine.is_over(),
        "rapid reset"
    );
}

#[test]
fn a_client_that_works_may_ping_and_open_windows_as_often_as_it_likes() {
    let mut talk = Talk::begin();
    for i in 0..5000 {
        let stream = 2 * i + 1;
        talk.call(stream).say(&frame(kind::PING, 0, 0, &[0; 8]));
        for window in [0, stream] {
            talk.say(&frame(kind::WINDOW_UPDATE, 0, window, &[0, 0, 0, 5]));
        }
        talk.machine.answer(stream, answer(&[0; 5], true));
        talk.events.clear();
        talk.machine.output().clear();
    }
    assert!(!talk.machine.is_over());
}

#[test]
fn a_peer_that_pings_more_often_than_it_may_is_told_so() {
    let policy = PingPolicy { min_time: std::time::Duration::from_secs(3600), permit_without_stream: true };
    let mut talk = Talk::begin();
    talk.machine = Machine::new(Limits { pings: Some(policy), ..LIMITS }, talk.now);
    let mut hello = PREFACE.to_vec();
    put_settings(&mut hello, &[]);
    talk.say(&hello).heard();
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    for _ in 0..3 {
        assert_eq!(talk.say(&ping).heard(), ["PING+1 0 8"]);
    }
    let out = std::mem::take(talk.say(&ping).machine.output());
    assert!(out.ends_with(b"too_many_pings") && talk.machine.is_over());
}

#[test]
fn what_a_peer_may_demand_follows_from_the_times_at_which_its_bytes_came() {
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    for (apart, is_welcome) in [(100, true), (50, false)] {
        let mut talk = Talk::begin();
        for _ in 0..10_000 {
            talk.now += std::time::Duration::from_millis(apart);
            talk.say(&ping);
        }
        assert_eq!(!talk.machine.is_over(), is_welcome, "{apart} ms apart");
    }
}

#[test]
fn conversations_of_the_corpus_do_not_break_the_machine() {
    for bytes in crate::corpus::corpus("http2") {
        if let Some((seed, bytes)) = bytes.split_first_chunk() {
            converse(bytes, u64::from_le_bytes(*seed));
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_machine(bytes in proptest::collection::vec(any::<u8>(), 0..500), seed: u64) {
        converse(&bytes, seed);
    }

    /// Valid frames, a few bytes changed: what random bytes never reach.
    #[test]
    fn no_changed_conversation_breaks_it(
        frames in proptest::collection::vec((0..11u8, any::<u8>(), 0..8u32, 0..40usize, any::<bool>()), 0..60),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        seed: u64,
    ) {
        let mut bytes = Vec::new();
        put_settings(&mut bytes, &[]);
        for (kind, flags, stream, length, is_call) in frames {
            let payload = if is_call { CALL.to_vec() } else { vec![flags; length] };
            let fixed = match kind { 2 => 5, 3 | 8 => 4, 4 => 6, 6 | 7 => 8, _ => payload.len() };
            let payload = if is_call && kind == 1 { payload } else { payload.repeat(9)[..fixed.min(9 * payload.len())].to_vec() };
            bytes.extend(frame(kind, if kind == 1 { flags & 0x05 } else { flags & 0x09 }, stream, &payload));
        }
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        converse(&bytes, seed);
    }
}
