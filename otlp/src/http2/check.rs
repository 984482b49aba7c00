//! What must hold for any bytes that a peer sends; for tests and for fuzzing.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::frame::{HEAD, Head};
use super::{Answer, Event, Limits, Machine};
use crate::clock::now;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends the preface and `bytes` in pieces, answers what comes, and checks: every range is within its piece, nothing
/// happens on a stream before its head or after its end, everything that is said consists of whole frames, nothing happens
/// after the end, and a connection that fails is over when what was whole is answered.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn converse(bytes: &[u8], seed: u64) {
    let limits = Limits { max_streams: 3, max_header_bytes: 500, pings: None };
    // It stands still, and only differences count: what happens follows from the bytes and the seed.
    let now = now();
    let mut machine = Machine::new(limits, now);
    let mut random = seed | 1;
    let mut input = [PREFACE, bytes].concat();
    let mut open: Vec<(u32, bool)> = Vec::new();
    while !input.is_empty() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let rest = input.split_off(input.len().min(1 + (random >> 40) as usize % 97));
        let was_deaf = machine.is_deaf() || machine.is_over();
        let mut events = Vec::new();
        machine.receive(&input, now, &mut events);
        assert!(!was_deaf || events.is_empty());
        for event in events {
            happen(&mut machine, &mut open, event, &input, random);
        }
        if random >> 60 == 3 {
            machine.leave();
        }
        assert!(open.len() <= 3, "more streams than allowed");
        input = rest;
    }
    assert!(!machine.is_deaf() || machine.is_over(), "all that was whole is answered");
    let mut out = &std::mem::take(machine.output())[..];
    while let Some((head, rest)) = out.split_first_chunk::<HEAD>() {
        let head = Head::parse(*head);
        assert!(head.length <= rest.len(), "half a frame is said");
        out = &rest[head.length..];
    }
    assert!(out.is_empty(), "half a head is said");
}

fn happen(machine: &mut Machine, open: &mut Vec<(u32, bool)>, event: Event, input: &[u8], random: u64) {
    let place = |open: &[(u32, bool)], id: u32| open.iter().position(|(other, _)| *other == id);
    match event {
        Event::Head(id, _) | Event::TooLarge(id) => {
            assert!(place(open, id).is_none() && id % 2 == 1);
            open.push((id, false));
            if random >> 61 == 0 {
                // Early, while the request arrives.
                machine.answer(id, answer(&[]));
                open.pop();
            }
        }
        Event::Data(id, range) => {
            assert!(range.start < range.end && range.end <= input.len());
            if let Some(at) = place(open, id) {
                assert!(!open[at].1, "DATA after the end");
                machine.release(id, range.len());
            }
        }
        Event::End(id) => {
            if let Some(at) = place(open, id) {
                assert!(!std::mem::replace(&mut open[at].1, true), "two ends");
                machine.answer(id, answer(&[0; 5]));
                open.remove(at);
            }
        }
        Event::Reset(id) => {
            if let Some(at) = place(open, id) {
                open.remove(at);
            }
        }
    }
}

pub(super) fn answer(data: &'static [u8]) -> Answer {
    let trailers = HeaderMap::new();
    Answer::new(StatusCode::OK, &trailers, Bytes::from_static(data), (!data.is_empty()).then_some(&trailers))
}
