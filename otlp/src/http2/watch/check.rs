//! What must hold for any frames of a peer, however they arrive; for tests and for fuzzing.
#![expect(clippy::expect_used, reason = "a check that does not hold is a fault")]

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::time::Duration;

use http::Version;

use super::*;
use crate::clock::now;
use crate::http2::check::answer;
use crate::http2::{Event, Limits, Machine};

/// Shows the preface and `bytes` to three of a kind, in bursts, which one sees whole, one byte by byte and one in pieces,
/// and checks: all say what somebody says who has everything before him, whatever time passes and is answered between
/// the bursts, and of blocks of fields the same as our own server.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn watch(bytes: &[u8], seed: u64) {
    let input = [PREFACE, bytes].concat();
    let mut random = seed | 1;
    let mut dice = |sides: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % sides
    };
    let mut now = now();
    let activity = Activity::default();
    // Few inputs are long enough to use up all of it.
    let spent = [0, 990, 999, 1000][(seed >> 62) as usize];
    let mut patience = Patience::new(now);
    patience.spend(spent).expect("patient");
    let mut watches = [(); 3].map(|()| Watch::new(activity.clone(), now));
    watches.iter_mut().for_each(|watch| watch.patience.spend(spent).expect("patient"));
    let (mut at, mut paid) = (0, 0);
    while at < input.len() {
        let end = input.len().min(at + 1 + dice(97));
        let burst = &input[at..end];
        match dice(8) {
            0 => now += Duration::from_millis(70) * dice(20) as u32,
            1 => {
                drop(activity.begin(Version::HTTP_2));
                patience.earn(1);
            }
            _ => {}
        }
        patience.rest(now);
        let (due, block) = plainly(&input[..end]);
        let expected = (paid..due).try_for_each(|_| patience.spend(1)).map_err(|Fault(_, why)| why);
        let pieces = [burst.len(), 1, 1 + dice(burst.len())];
        for (watch, piece) in watches.iter_mut().zip(pieces) {
            let said = burst.chunks(piece).try_for_each(|part| watch.see(part, now));
            assert_eq!(said, expected, "in pieces of {piece} up to {end}");
            let seen = watch.unfinished().map(|number| (number, watch.fields()));
            assert!(
                said.is_err() || seen == block,
                "{seen:?} for {block:?}, in pieces of {piece} up to {end}"
            );
        }
        if expected.is_err() {
            break;
        }
        (at, paid) = (end, due);
    }
    beside_a_machine(&input);
}

/// How many frames are to be paid for, and the number and the bytes of the block of fields that is not whole.
fn plainly(input: &[u8]) -> (u32, Option<(u64, usize)>) {
    let mut rest = input.get(PREFACE.len()..).unwrap_or_default();
    let (mut costs, mut whole, mut block) = (0, 0, None);
    while let Some((head, payload)) = rest.split_first_chunk() {
        let head = Head::parse(*head);
        let padding = payload.first().filter(|_| head.has(flag::PADDED)).map(|padding| usize::from(*padding));
        let is_void = head.length == 0 || padding.is_some_and(|padding| head.length == 1 + padding);
        costs += u32::from(head.kind != kind::DATA || is_void && !head.has(flag::END_STREAM));
        let has_fields = matches!(head.kind, kind::HEADERS | kind::CONTINUATION);
        if has_fields {
            block = Some(block.unwrap_or(0) + head.length);
        }
        let Some(after) = payload.get(head.length..) else { break };
        if has_fields && head.has(flag::END_HEADERS) {
            (block, whole) = (None, whole + 1);
        }
        rest = after;
    }
    (costs, block.map(|bytes| (whole, bytes)))
}

/// For as long as both go on, the same block of fields is not whole after each byte.
fn beside_a_machine(input: &[u8]) {
    let now = now();
    let activity = Activity::default();
    let limits = Limits { max_streams: 3, max_header_bytes: 500, pings: None };
    let (mut machine, mut watch) = (Machine::new(limits, now), Watch::new(activity.clone(), now));
    let mut open = BTreeMap::new();
    for (at, byte) in input.iter().enumerate() {
        let mut events = Vec::new();
        machine.receive(from_ref(byte), now, &mut events);
        let said = watch.see(from_ref(byte), now);
        for event in events {
            match event {
                Event::Head(id, _) | Event::TooLarge(id) => {
                    open.insert(id, activity.begin(Version::HTTP_2));
                }
                Event::Data(id, range) => machine.release(id, range.len()),
                Event::End(id) => {
                    machine.answer(id, answer(&[0; 5]));
                    open.remove(&id);
                }
                Event::Reset(id) => drop(open.remove(&id)),
            }
        }
        machine.output().clear();
        if machine.is_deaf() || said.is_err() {
            return;
        }
        assert_eq!(watch.unfinished(), machine.unfinished(), "after byte {at}");
    }
}
