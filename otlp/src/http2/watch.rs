//! Connections of HTTP/2 that a library serves: it answers frames that are not requests for as long as a peer sends them.
//!
//! What comes is looked at on its way to the library, frame by frame, and paid out of the same [`Patience`] as on
//! connections of our own. Whoever uses it up is cut off.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod check;

use tokio::time::Instant;

use super::frame::{HEAD, Head, flag, kind};
use super::machine::{Fault, PREFACE};
use super::patience::Patience;
use crate::lifetime::Activity;

/// What has come.
pub(crate) struct Watch {
    reading: Reading,
    patience: Patience,
    activity: Activity,
    /// Requests whose answers have been earned by.
    answered: u64,
    /// Bytes of the frames of a block of fields that is not whole, the last of which ends it or not.
    fields: Option<(usize, bool)>,
    /// Blocks that were whole.
    blocks: u64,
}

/// What the next bytes are.
enum Reading {
    /// The rest of the preface, after so many bytes of it.
    Preface(usize),
    Head([u8; HEAD], usize),
    /// The byte of a DATA frame of that length that says how much of the rest is padding.
    Padding(usize),
    Payload(usize),
}

impl Watch {
    /// Of the connection with that `activity`, from its preface on, which came just `now`.
    pub(crate) fn new(activity: Activity, now: Instant) -> Watch {
        Watch {
            reading: Reading::Preface(0),
            patience: Patience::new(now),
            activity,
            answered: 0,
            fields: None,
            blocks: 0,
        }
    }

    /// Looks at the next bytes, which came just `now`.
    ///
    /// # Errors
    /// What the peer does too much of.
    pub(crate) fn see(&mut self, mut input: &[u8], now: Instant) -> Result<(), &'static str> {
        self.patience.rest(now);
        while !input.is_empty() {
            match &mut self.reading {
                Reading::Preface(has) => {
                    let part = split(&mut input, PREFACE.len() - *has).len();
                    *has += part;
                    if *has == PREFACE.len() {
                        self.reading = Reading::Head([0; HEAD], 0);
                    }
                }
                Reading::Head(bytes, has) => {
                    let part = split(&mut input, HEAD - *has);
                    bytes[*has..*has + part.len()].copy_from_slice(part);
                    *has += part.len();
                    if *has == HEAD {
                        let head = Head::parse(*bytes);
                        self.begin(head).map_err(|Fault(_, why)| why)?;
                    }
                }
                Reading::Padding(length) => {
                    let length = *length;
                    let is_void = usize::from(split(&mut input, 1)[0]) + 1 == length;
                    self.reading = Reading::Payload(length - 1);
                    if length == 1 {
                        self.end();
                    }
                    if is_void {
                        self.spend().map_err(|Fault(_, why)| why)?;
                    }
                }
                Reading::Payload(left) => {
                    *left -= split(&mut input, *left).len();
                    if *left == 0 {
                        self.end();
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes of a block of fields that is not whole; of its last frame all that were announced.
    pub(crate) fn fields(&self) -> usize {
        self.fields.map_or(0, |(bytes, _)| bytes)
    }

    /// The number of the block of fields that is not whole.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        self.fields.map(|_| self.blocks)
    }

    fn begin(&mut self, head: Head) -> Result<(), Fault> {
        if matches!(head.kind, kind::HEADERS | kind::CONTINUATION) {
            self.fields = Some((self.fields() + head.length, head.has(flag::END_HEADERS)));
        }
        let may_be_void = head.kind == kind::DATA && head.has(flag::PADDED) && !head.has(flag::END_STREAM);
        self.reading = match head.length {
            1.. if may_be_void => Reading::Padding(head.length),
            length => Reading::Payload(length),
        };
        if head.length == 0 {
            self.end();
        }
        self.pay(head)
    }

    /// A frame is whole.
    fn end(&mut self) {
        self.reading = Reading::Head([0; HEAD], 0);
        if self.fields.is_some_and(|(_, is_last)| is_last) {
            self.fields = None;
            self.blocks += 1;
        }
    }

    /// Everything costs but content and what ends a request; a request brings back more than its own frames cost.
    fn pay(&mut self, head: Head) -> Result<(), Fault> {
        if head.kind == kind::DATA && (head.length > 0 || head.has(flag::END_STREAM)) {
            return Ok(());
        }
        self.spend()
    }

    fn spend(&mut self) -> Result<(), Fault> {
        let answered = self.activity.answered();
        self.patience.earn(answered - self.answered);
        self.answered = answered;
        self.patience.spend(1)
    }
}

/// Takes up to `most` bytes off the front.
fn split<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (part, rest) = input.split_at(input.len().min(most));
    *input = rest;
    part
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::clock::now;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload).expect("short").to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1][..], &vec![0; payload]].concat()
    }

    #[test]
    fn frames_of_the_corpus_are_seen_as_they_are() {
        for bytes in crate::corpus::corpus("http2_watch") {
            if let Some((seed, bytes)) = bytes.split_first_chunk() {
                check::watch(bytes, u64::from_le_bytes(*seed));
            }
        }
    }

    #[test]
    fn frames_of_all_kinds_are_seen_as_they_are() {
        let mut random = 1_u64;
        let mut dice = |sides: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % sides
        };
        for seed in 0..400_u64 {
            let mut bytes = frame(kind::SETTINGS, 0, 0);
            bytes[HEAD - 1] = 0;
            for _ in 0..dice(60) {
                let kind = [kind::DATA, kind::HEADERS, kind::CONTINUATION, dice(12) as u8][dice(4)];
                let flags = [flag::END_STREAM, flag::END_HEADERS, flag::PADDED];
                let flags = flags.iter().filter(|_| dice(2) == 0).sum();
                let length = dice(20);
                let mut next = frame(kind, flags, length);
                if let Some(padding) = next.get_mut(HEAD) {
                    *padding = (length - dice(3).min(length)) as u8;
                }
                bytes.extend(next);
            }
            check::watch(&bytes, seed << 61 | seed);
        }
    }

    #[test]
    fn frames_are_counted_wherever_they_are_cut() {
        let now = now();
        let frames =
            [frame(kind::DATA, 0, 20), frame(kind::DATA, flag::END_STREAM, 0), frame(kind::PING, 0, 8)];
        let round = frames.concat();
        for piece in 1..=round.len() {
            let mut watch = Watch::new(Activity::default(), now);
            watch.see(PREFACE, now).expect("a greeting");
            let bytes = round.repeat(1000);
            assert!(
                bytes.chunks(piece).all(|part| watch.see(part, now).is_ok()),
                "a thousand, in pieces of {piece}"
            );
            assert!(watch.see(&round, now).is_err(), "one more, in pieces of {piece}");
        }
    }

    #[test]
    fn data_of_nothing_but_padding_is_counted_wherever_it_is_cut() {
        let now = now();
        let void = |padding: u8| {
            let mut frame = frame(kind::DATA, flag::PADDED, usize::from(padding) + 1);
            frame[HEAD] = padding;
            frame
        };
        let round = [void(0), void(3), frame(kind::DATA, flag::PADDED, 5)].concat();
        for piece in 1..=round.len() {
            let mut watch = Watch::new(Activity::default(), now);
            watch.see(PREFACE, now).expect("a greeting");
            let bytes = round.repeat(500);
            assert!(
                bytes.chunks(piece).all(|part| watch.see(part, now).is_ok()),
                "a thousand, in pieces of {piece}"
            );
            assert!(watch.see(&round, now).is_err(), "one more, in pieces of {piece}");
        }
    }

    #[test]
    fn who_makes_requests_may_go_on() {
        let now = now();
        let activity = Activity::default();
        let mut watch = Watch::new(activity.clone(), now);
        watch.see(PREFACE, now).expect("a greeting");
        let one =
            [frame(kind::HEADERS, 4, 50), frame(kind::WINDOW_UPDATE, 0, 4), frame(kind::PING, 0, 8)].concat();
        for _ in 0..5000 {
            watch.see(&one, now).expect("welcome");
            drop(activity.begin(Version::HTTP_2));
        }
    }

    #[test]
    fn a_block_of_fields_is_unfinished_until_its_last_frame_is_whole_and_each_has_a_number_of_its_own() {
        let now = now();
        let mut watch = Watch::new(Activity::default(), now);
        watch.see(PREFACE, now).expect("a greeting");
        let seen = |watch: &Watch| (watch.unfinished(), watch.fields());
        for block in 0..3 {
            assert_eq!(seen(&watch), (None, 0));
            let frames = [
                frame(kind::HEADERS, 0, 50),
                frame(kind::CONTINUATION, 0, 0),
                frame(kind::CONTINUATION, flag::END_HEADERS, 7),
            ];
            let bytes = frames.concat();
            let (most, last) = bytes.split_at(bytes.len() - 1);
            watch.see(&most[..HEAD + 1], now).expect("welcome");
            assert_eq!(seen(&watch), (Some(block), 50));
            watch.see(&most[HEAD + 1..], now).expect("welcome");
            assert_eq!(seen(&watch), (Some(block), 57));
            watch.see(last, now).expect("welcome");
        }
    }
}
