//! Cutting a payload into parts.
//!
//! # Design
//! One walk makes all parts. What fits into a part as a whole goes there as a whole: requests and top-level resources as
//! slices of the buffer in which they lie, what is below them copied. A message that does not fit is walked through, and each
//! part that gets something of it gets its frame too ([`Level::frame`]): resource, scope, name and unit of a metric, and in
//! profiles the dictionary.
//!
//! Of the messages that hold items only the data of a metric is there once, so that all fields of it are one message, and of
//! several kinds of data the last counts. Where it comes in parts, what is around the points of all of them is in the frame of
//! the metric; a metric of several kinds of data is not cut.
//!
//! Cost: each field on the way to the items is looked at once for each message around it, however many parts there are; then
//! what is written, which is bounded ([`MAX_AGAIN`]).

use std::mem;
use std::ops::Range;

use bytes::Bytes;

use crate::schema::{Id, Kind};
use crate::view::{Field, Fields};
use crate::{Payload, Signal, wire};

/// Bytes of frames that may be written again for further parts of a payload: 64 MiB. A small request that is half resource, half
/// empty records would take gigabytes otherwise; what is left of the message then stays in one part.
const MAX_AGAIN: usize = 64 << 20;

/// How large a part may be. In each is at least one item; messages without items come with what is in front of them,
/// whatever they take. A metric with several kinds of data, of which the last counts, is not cut: where it takes more it goes
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// That many items.
    Items(usize),
    /// That many bytes, encoded. An item that takes more goes alone.
    Bytes(usize),
}

/// Cuts a payload into parts within a limit.
pub(crate) fn split(payload: Payload, limit: Limit) -> Vec<Payload> {
    let signal = payload.signal();
    let last = Payload::empty(signal);
    let mut parts = Parts { limit, done: Vec::new(), last, items: 0, used: 0, again: 0 };
    for (request, items, made) in payload.into_requests() {
        if items > 0 && parts.is_full() {
            parts.next();
        }
        let size = parts.size(items, request.len());
        if parts.fits(size) {
            parts.count(items, size);
            parts.last.push(request, items, made);
        } else {
            Cutter::new(&mut parts, &request, made).cut(signal);
        }
    }
    parts.done.push(parts.last);
    parts.done
}

/// The parts so far, of which the last is being filled.
struct Parts {
    limit: Limit,
    done: Vec<Payload>,
    last: Payload,
    /// Items of the last one, with those that are still to be added to it.
    items: usize,
    /// How much of the limit they take, with all that is around them.
    used: usize,
    /// Bytes of frames that were written again.
    again: usize,
}

impl Parts {
    /// How much of the limit something takes.
    fn size(&self, items: usize, bytes: usize) -> usize {
        match self.limit {
            Limit::Items(_) => items,
            Limit::Bytes(_) => bytes,
        }
    }

    fn max(&self) -> usize {
        let (Limit::Items(max) | Limit::Bytes(max)) = self.limit;
        max
    }

    fn fits(&self, size: usize) -> bool {
        self.used.saturating_add(size) <= self.max()
    }

    fn is_full(&self) -> bool {
        self.items > 0 && self.used >= self.max()
    }

    fn count(&mut self, items: usize, size: usize) {
        self.items += items;
        self.used += size;
    }

    /// How much of the limit the frame of a message takes, with its tag and its length.
    fn frame(&self, frame: &[u8]) -> usize {
        match self.limit {
            Limit::Items(_) => 0,
            Limit::Bytes(max) => wire::head_len(1, max) + frame.len(),
        }
    }

    fn next(&mut self) {
        let empty = Payload::empty(self.last.signal());
        self.done.push(mem::replace(&mut self.last, empty));
        (self.items, self.used) = (0, 0);
    }
}

/// A message that is cut.
struct Level {
    /// Number of its field; 0 for a request.
    number: u32,
    /// What every part has of it: its fields that hold no items.
    frame: Vec<u8>,
    /// Whether the frame has what is around the items of the message below, which comes in parts.
    frames_below: bool,
    /// Where its content begins in the output.
    start: usize,
}

impl Level {
    fn new(number: u32, frame: Vec<u8>) -> Level {
        Level { number, frame, frames_below: false, start: 0 }
    }
}

/// One request while it is cut.
struct Cutter<'a> {
    parts: &'a mut Parts,
    request: &'a Bytes,
    /// Whether it was made in this program and is in nobody's account, as its slices then.
    made: bool,
    /// Top-level fields that go into the part as they lie there.
    run: Range<usize>,
    /// The messages around the field that the walk is at.
    levels: Vec<Level>,
    /// How many of them, from the outermost, the part has something of, which is in `out`.
    open: usize,
    out: Vec<u8>,
    /// Items of the run and of the output.
    items: usize,
}

impl<'a> Cutter<'a> {
    fn new(parts: &'a mut Parts, request: &'a Bytes, made: bool) -> Cutter<'a> {
        Cutter { parts, request, made, run: 0..0, levels: Vec::new(), open: 0, out: Vec::new(), items: 0 }
    }

    fn cut(mut self, signal: Signal) {
        let (root, request) = (Id::request(signal), self.request);
        if signal == Signal::Profiles {
            // All resources need the dictionary, so the request is cut as the messages below it are.
            self.enter(root, 0, request);
        } else {
            self.walk(root, request);
            self.run.end = request.len();
            self.close_run();
        }
    }

    /// Goes through the fields of the innermost level, or of the request.
    fn walk(&mut self, id: Id, message: &[u8]) {
        let is_framed = self.levels.last().is_some_and(|level| level.frames_below);
        for field in Fields::new(message) {
            let Some(child) = item_bearer(id, field.number) else { continue };
            if is_framed {
                // None of them goes as a whole, so that none contradicts the frame.
                self.cut_level(Level::new(field.number, Vec::new()), child, field.bytes());
                continue;
            }
            let items = items_in(child, &field);
            if items > 0 && self.parts.is_full() {
                self.next_part();
            }
            let size = self.parts.size(items, field.end - field.start);
            let fits = items == 0 || self.parts.fits(size + self.frames());
            if !fits && can_be_cut(child, field.bytes()) {
                if self.levels.is_empty() {
                    self.run.end = field.start;
                    self.close_run();
                    self.run = field.end..field.end;
                }
                self.enter(child, field.number, field.bytes());
                continue;
            }
            if !fits && self.parts.items > 0 {
                self.next_part();
            }
            self.parts.count(items, size);
            self.items += items;
            if self.levels.is_empty() {
                self.run.end = field.end;
            } else {
                self.put(&message[field.start..field.end]);
            }
        }
    }

    /// Cuts a message.
    fn enter(&mut self, id: Id, number: u32, message: &[u8]) {
        let mut level = Level::new(number, Vec::new());
        put_frame(id, message, &mut level.frame);
        if let Some((data, child)) = data_in_parts(id, message) {
            let mut around = Vec::new();
            let parts = Fields::new(message).filter(|field| field.number == data);
            parts.for_each(|part| put_frame(child, part.bytes(), &mut around));
            wire::message(data, &around, &mut level.frame);
            level.frames_below = true;
        }
        self.cut_level(level, id, message);
    }

    fn cut_level(&mut self, level: Level, id: Id, message: &[u8]) {
        self.levels.push(level);
        self.walk(id, message);
        if self.open == self.levels.len() {
            self.close();
        }
        self.levels.pop();
    }

    /// How much of the limit the frames take that come with the next field.
    fn frames(&self) -> usize {
        self.levels[self.open..].iter().map(|level| self.parts.frame(&level.frame)).sum()
    }

    /// Adds a field of the innermost level to the part.
    fn put(&mut self, field: &[u8]) {
        self.parts.used += self.frames();
        for level in &mut self.levels[self.open..] {
            level.start = self.out.len();
            self.out.extend_from_slice(&level.frame);
        }
        self.open = self.levels.len();
        self.out.extend_from_slice(field);
    }

    /// Ends what the part has of the innermost open level.
    fn close(&mut self) {
        self.open -= 1;
        let Level { number, start, .. } = self.levels[self.open];
        if number != 0 {
            let mut head = Vec::with_capacity(8);
            wire::head(number, self.out.len() - start, &mut head);
            self.out.splice(start..start, head);
        }
        if self.open == 0 {
            self.parts.last.push(crate::fitted(mem::take(&mut self.out)), mem::take(&mut self.items), true);
        }
    }

    fn close_run(&mut self) {
        if !self.run.is_empty() {
            let slice = self.request.slice(self.run.clone());
            self.parts.last.push(slice, mem::take(&mut self.items), self.made);
            self.run.start = self.run.end;
        }
    }

    /// Begins another part, unless too much would have to be written again.
    fn next_part(&mut self) {
        let again = self.levels[..self.open].iter().map(|level| level.frame.len()).sum::<usize>();
        if self.parts.again + again > MAX_AGAIN {
            return;
        }
        self.parts.again += again;
        while self.open > 0 {
            self.close();
        }
        self.close_run();
        self.parts.next();
    }
}

/// Adds the fields of a message that hold no items.
fn put_frame(id: Id, message: &[u8], frame: &mut Vec<u8>) {
    for field in Fields::new(message).filter(|field| item_bearer(id, field.number).is_none()) {
        frame.extend_from_slice(&message[field.start..field.end]);
    }
}

/// Whether parts of a message hold together what it holds: it is no item, and no metric of several kinds of data.
pub(crate) fn can_be_cut(id: Id, message: &[u8]) -> bool {
    let mut data = Fields::new(message).map(|field| field.number).filter(|n| Id::Metric.oneof().contains(n));
    !id.message().item && (id != Id::Metric || data.next().is_none_or(|first| data.all(|n| n == first)))
}

/// The field with the data of a metric, which is of one kind, when there is more than one.
fn data_in_parts(id: Id, message: &[u8]) -> Option<(u32, Id)> {
    if id != Id::Metric {
        return None;
    }
    let mut data =
        Fields::new(message).filter_map(|field| Some((field.number, item_bearer(id, field.number)?)));
    data.nth(1)
}

/// Number of items in a message that was validated before.
pub(crate) fn count(id: Id, message: &[u8]) -> usize {
    let bearers = |field: Field<'_>| item_bearer(id, field.number).map(|child| items_in(child, &field));
    Fields::new(message).filter_map(bearers).sum()
}

/// Items in a field that holds some.
fn items_in(child: Id, field: &Field<'_>) -> usize {
    if child.message().item { 1 } else { count(child, field.bytes()) }
}

/// The message type of a field when it is an item or leads to items.
pub(crate) fn item_bearer(id: Id, number: u32) -> Option<Id> {
    let Kind::Message(child) = id.message().field(number)?.kind else {
        return None;
    };
    child.bears_items().then_some(child)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::otlp::metrics::v1::metric::Data;
    use crate::testing::{self, flatten};
    use crate::validate::validate;
    use crate::view::resources;

    /// A request of `n` empty records in one scope.
    fn empty_records(n: usize) -> Payload {
        let records = [0x12, 0].repeat(n);
        let (mut scope, mut request) = (Vec::new(), Vec::new());
        wire::message(2, &records, &mut scope);
        wire::message(1, &scope, &mut request);
        Payload::from_request(Signal::Logs, request.into()).expect("well formed")
    }

    #[test]
    fn a_request_is_walked_once_however_many_parts_it_makes() {
        // Walked once for each part, half of them on average, it would take hours.
        const N: usize = 400_000;
        let parts = empty_records(N).split(Limit::Items(2));
        assert_eq!(parts.len(), N / 2);
        assert!(parts.iter().all(|part| (part.items(), part.encoded_len()) == (2, 8)));
        let parts = empty_records(N).split(Limit::Bytes(12));
        assert_eq!(parts.len(), N / 4);
        assert!(parts.iter().all(|part| (part.items(), part.encoded_len()) == (4, 12)));
    }

    #[test]
    fn whole_resources_are_not_copied_and_a_cut_one_is_in_both_parts() {
        let mut request = testing::logs(4);
        for n in [6, 4, 7, 3] {
            request.resource_logs.extend(testing::logs(n).resource_logs);
        }
        let request = Bytes::from(request.encode_to_vec());
        let inside = request.as_ptr_range();
        let parts =
            Payload::from_request(Signal::Logs, request.clone()).expect("good").split(Limit::Items(7));
        let lies_inside = |part: &Payload| {
            part.requests().map(|chunk| inside.contains(&chunk.as_ptr())).collect::<Vec<_>>()
        };
        let found: Vec<_> = parts.iter().map(lies_inside).collect();
        assert_eq!(found, [vec![true, false], vec![false, true], vec![true], vec![true]]);
        let services = parts.iter().flat_map(resources).map(|r| r.attributes().text("service.name"));
        assert_eq!(services.collect::<Vec<_>>(), [Some("logs"); 6]);
    }

    #[test]
    fn what_is_written_for_a_part_keeps_no_room_that_nothing_counts() {
        let parts = Payload::from(testing::logs(100)).split(Limit::Items(7));
        let mut made = 0;
        for (bytes, _, _) in parts.into_iter().flat_map(Payload::into_requests).filter(|(.., made)| *made) {
            let bytes = bytes.try_into_mut().expect("alone");
            assert!(
                bytes.capacity() - bytes.len() <= bytes.len() / 8,
                "{} of {}",
                bytes.len(),
                bytes.capacity()
            );
            made += 1;
        }
        assert!(made > 10, "{made}");
    }

    #[test]
    fn an_item_that_is_larger_than_the_limit_goes_alone() {
        let mut request = testing::logs(9);
        request.resource_logs[0].scope_logs[0].log_records[4].event_name = "x".repeat(1000);
        let parts = Payload::from(request).split(Limit::Bytes(900));
        let sizes: Vec<_> = parts.iter().map(|part| (part.items(), part.encoded_len() > 900)).collect();
        assert_eq!(sizes, [(4, false), (1, true), (4, false)]);
    }

    #[test]
    fn a_large_resource_is_written_again_within_bounds_and_the_next_one_is_cut_as_before() {
        let mut request = testing::logs(100);
        request.resource_logs[0].schema_url = "x".repeat(1 << 20);
        request.resource_logs.extend(testing::logs(2).resource_logs);
        let parts = Payload::from(request).split(Limit::Items(1));
        let items: Vec<_> = parts.iter().map(Payload::items).collect();
        let large = MAX_AGAIN >> 20;
        assert_eq!(items[..large - 1], vec![1; large - 1]);
        assert_eq!(items[large - 1..], [100 - (large - 1), 1, 1]);
    }

    fn nest(number: u32, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::message(number, &parts.concat(), &mut out);
        out
    }

    /// A request of one metric, whose data is given.
    fn of_metric(data: &[&[u8]]) -> Vec<u8> {
        nest(1, &[&nest(2, &[&nest(2, &[&nest(1, &[b"m"]), &data.concat()])])])
    }

    #[test]
    fn data_of_a_metric_in_parts_is_the_same_data_in_all_parts() {
        const CUMULATIVE: &[u8] = &[0x10, 2];
        const DELTA: &[u8] = &[0x10, 1];
        const MONOTONIC: &[u8] = &[0x18, 1];
        let point = |time: u8| nest(1, &[&[0x19, time, 0, 0, 0, 0, 0, 0, 0]]);
        let in_front = [nest(7, &[CUMULATIVE, MONOTONIC]), nest(7, &[&point(1), &point(2)])];
        let behind =
            [nest(7, &[&point(1), DELTA]), nest(7, &[]), nest(7, &[&point(2), CUMULATIVE, MONOTONIC])];
        let json = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m",
            "sum":{"aggregationTemporality":2,"isMonotonic":true},
            "sum":{"dataPoints":[{"timeUnixNano":"1"},{"timeUnixNano":"2"}]}}]}]}]}"#;
        let requests = [
            of_metric(&[&in_front.concat()]),
            of_metric(&[&behind.concat()]),
            crate::json::to_protobuf(Signal::Metrics, json).expect("well formed").to_vec(),
        ];
        for request in requests {
            crate::check::protobuf(&request);
            let payload = Payload::from_request(Signal::Metrics, request.into()).expect("well formed");
            let read = |part: &Payload| {
                let metric = part.decode_metrics().resource_metrics[0].scope_metrics[0].metrics[0].clone();
                let sum =
                    metric.data.and_then(|data| if let Data::Sum(sum) = data { Some(sum) } else { None });
                let sum = sum.expect("a sum");
                let times = sum.data_points.iter().map(|point| point.time_unix_nano).collect::<Vec<_>>();
                (metric.name, sum.aggregation_temporality, sum.is_monotonic, times)
            };
            let parts: Vec<_> = payload.split(Limit::Items(1)).iter().map(read).collect();
            assert_eq!(parts, [1, 2].map(|time| ("m".to_owned(), 2, true, vec![time])));
        }
    }

    #[test]
    fn a_metric_of_several_kinds_of_data_of_which_the_last_counts_is_not_cut() {
        let points = |n: usize| [0x0a, 0].repeat(n);
        let mixed = of_metric(&[&nest(5, &[&points(2)]), &nest(7, &[&points(3)]), &nest(7, &[&points(1)])]);
        let request =
            [of_metric(&[&nest(5, &[&points(2)])]), mixed, of_metric(&[&nest(7, &[&points(2)])])].concat();
        crate::check::protobuf(&request);
        let payload = Payload::from_request(Signal::Metrics, request.into()).expect("well formed");
        let parts = payload.split(Limit::Items(1));
        assert_eq!(parts.iter().map(Payload::items).collect::<Vec<_>>(), [1, 1, 6, 1, 1]);
    }

    #[test]
    fn data_in_many_parts_is_walked_once() {
        // With what is around each of them in every part, or looked for in all for each, it would take hours.
        const N: usize = 200_000;
        let part = nest(7, &[&[0x0a, 0, 0x10, 2]]);
        let request = of_metric(&[&part.repeat(N)]);
        let parts =
            Payload::from_request(Signal::Metrics, request.into()).expect("good").split(Limit::Items(2));
        assert_eq!(parts.iter().map(Payload::items).sum::<usize>(), N);
        let bytes: usize = parts.iter().map(Payload::encoded_len).sum();
        assert!(bytes < 2 * MAX_AGAIN, "{bytes}");
    }

    #[test]
    fn a_limit_of_nothing_lets_each_item_through() {
        for limit in [Limit::Items(0), Limit::Bytes(0)] {
            let parts = Payload::from(testing::traces(3)).split(limit);
            assert_eq!(parts.iter().map(Payload::items).collect::<Vec<_>>(), [1; 3]);
            assert_eq!(Payload::empty(Signal::Traces).split(limit).len(), 1);
        }
    }

    proptest! {
        #[test]
        fn parts_keep_each_item_with_its_resource_and_scope_in_order_and_are_within_the_limit(
            sizes in proptest::collection::vec(0usize..9, 1..5),
            max in 1usize..8,
            in_bytes in any::<bool>(),
            merged in any::<bool>(),
            which in 0usize..4,
        ) {
            let signal = Signal::ALL[which];
            let mut whole = Payload::empty(signal);
            for (i, n) in sizes.iter().enumerate() {
                whole.append(testing::payload(signal, &format!("r{i}"), *n)).expect("same signal");
            }
            if merged {
                whole = Payload::from_request(signal, whole.to_bytes()).expect("good");
            }
            let limit = if in_bytes { Limit::Bytes(max * whole.encoded_len() / 8) } else { Limit::Items(max) };
            let parts = whole.clone().split(limit);
            for (at, part) in parts.iter().enumerate() {
                prop_assert_eq!(validate(signal, &part.to_bytes()), Ok(part.items()));
                match limit {
                    Limit::Bytes(bytes) => {
                        prop_assert!(part.encoded_len() <= bytes || part.items() <= 1 || sizes.contains(&0));
                    }
                    Limit::Items(_) if at + 1 < parts.len() => prop_assert_eq!(part.items(), max),
                    Limit::Items(_) => prop_assert!(part.items() <= max),
                }
            }
            prop_assert_eq!(parts.iter().flat_map(flatten).collect::<Vec<_>>(), flatten(&whole));
        }
    }
}
