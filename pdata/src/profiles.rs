//! Merging profiles: their dictionary is shared by index, so the indices of all requests but the first are moved.
//!
//! Source: opentelemetry-proto `profiles/v1development`: entry 0 of every table is the null entry.
//!
//! # Design
//! Nothing is decoded: the fields of the first request are kept as they are, those of the others are copied with other
//! numbers in the fields that are indices, which their names tell ([`Shift::of`]). So values of any depth and unknown fields
//! pass, what comes in parts stays in parts, and all is written once, however many requests there are.

use std::mem;

use crate::edit::{Part, Writer};
use crate::schema::{Field, Id, Kind};
use crate::view::{self, Fields, Value};
use crate::wire::{self, put_varint};
use crate::{Limit, Payload, Signal};

/// Number of the dictionary in a request.
const DICTIONARY: u32 = 2;

/// Entries in each table of a dictionary, by the number of the table.
type Lengths = [i32; 8];

/// All requests as one with one dictionary. Entries are appended, not deduplicated.
pub(crate) fn merge(requests: Payload) -> Payload {
    if requests.requests().count() < 2 {
        return requests;
    }
    let mut merged = Merged::with_capacity(requests.encoded_len());
    for (request, items, _) in requests.into_requests() {
        merged.add(&request, items);
    }
    merged.finish()
}

/// The same of what is within a limit before it is merged: several payloads where one would take more bytes, as indices that
/// move may.
pub(crate) fn merge_within(limit: Limit, requests: Payload) -> Vec<Payload> {
    let Limit::Bytes(max) = limit else { return vec![merge(requests)] };
    if requests.requests().count() < 2 {
        return vec![requests];
    }
    let mut done = Vec::new();
    let mut merged = Merged::with_capacity(requests.encoded_len());
    for (request, items, _) in requests.into_requests() {
        let before = merged.mark();
        merged.add(&request, items);
        if merged.encoded_len() > max && items > 0 && before.items > 0 {
            merged.back_to(before);
            done.push(mem::take(&mut merged).finish());
            merged.add(&request, items);
        }
    }
    done.push(merged.finish());
    done
}

/// Requests that became one.
#[derive(Default)]
struct Merged {
    /// All but the dictionary.
    out: Vec<u8>,
    /// The content of the dictionary.
    tables: Vec<u8>,
    lengths: Lengths,
    items: usize,
}

/// A state to go back to.
struct Mark {
    out: usize,
    tables: usize,
    lengths: Lengths,
    items: usize,
}

impl Merged {
    fn with_capacity(bytes: usize) -> Merged {
        Merged { out: Vec::with_capacity(bytes + 16), ..Merged::default() }
    }

    fn add(&mut self, request: &[u8], items: usize) {
        let lengths = lengths(request);
        let shift = Shift::between(&self.lengths, &lengths);
        let mut writer = Writer::behind(mem::take(&mut self.out), request);
        for field in Fields::new(request) {
            let part = Part::of(&field, 0);
            match field.number {
                1 if shift.moves() => {
                    let open = writer.open(part.start, part.body..part.end);
                    shift.apply(Id::ResourceProfiles, part, &mut writer);
                    writer.close(open, part.end);
                }
                DICTIONARY => {
                    let mut tables = Writer::behind(mem::take(&mut self.tables), part.bytes);
                    if shift.moves() {
                        shift.apply(Id::Dictionary, Part::whole(part.bytes), &mut tables);
                    }
                    self.tables = tables.into_output();
                    writer.remove(part.start..part.end);
                }
                _ => {}
            }
        }
        self.out = writer.into_output();
        self.lengths.iter_mut().zip(lengths).for_each(|(sum, length)| *sum = sum.saturating_add(length));
        self.items += items;
    }

    fn encoded_len(&self) -> usize {
        self.out.len() + wire::head_len(DICTIONARY, self.tables.len()) + self.tables.len()
    }

    fn mark(&self) -> Mark {
        Mark { out: self.out.len(), tables: self.tables.len(), lengths: self.lengths, items: self.items }
    }

    fn back_to(&mut self, mark: Mark) {
        self.out.truncate(mark.out);
        self.tables.truncate(mark.tables);
        (self.lengths, self.items) = (mark.lengths, mark.items);
    }

    fn finish(self) -> Payload {
        let mut out = self.out;
        wire::message(DICTIONARY, &self.tables, &mut out);
        Payload::made(Signal::Profiles, crate::fitted(out), self.items)
    }
}

/// How many entries a request brings.
fn lengths(request: &[u8]) -> Lengths {
    let mut lengths = [0; 8];
    let dictionaries = Fields::new(request).filter(|field| field.number == DICTIONARY);
    for entry in dictionaries.flat_map(|dictionary| Fields::new(dictionary.bytes())) {
        if let Some(length) = lengths.get_mut(entry.number as usize) {
            *length += 1;
        }
    }
    lengths
}

/// By how much indices into each table of a dictionary move.
struct Shift(Lengths);

const MAPPINGS: usize = 1;
const LOCATIONS: usize = 2;
const FUNCTIONS: usize = 3;
const LINKS: usize = 4;
const STRINGS: usize = 5;
const ATTRIBUTES: usize = 6;
const STACKS: usize = 7;

impl Shift {
    /// Of a request behind others. A table that it leaves out moves nothing: index 0 then keeps meaning "none".
    fn between(before: &Lengths, request: &Lengths) -> Shift {
        let mut shift = *before;
        shift.iter_mut().zip(request).filter(|(_, length)| **length == 0).for_each(|(by, _)| *by = 0);
        Shift(shift)
    }

    fn moves(&self) -> bool {
        self.0 != [0; 8]
    }

    /// By how much the index in a field moves; `None` for a field that is no index.
    fn of(&self, field: &Field) -> Option<i32> {
        let table = match field.name {
            "mappingIndex" => MAPPINGS,
            "locationIndices" => LOCATIONS,
            "functionIndex" => FUNCTIONS,
            "linkIndex" => LINKS,
            "attributeIndices" => ATTRIBUTES,
            "stackIndex" => STACKS,
            name if name.ends_with("trindex") => STRINGS,
            _ => return None,
        };
        Some(self.0[table])
    }

    /// Moves the indices in a message, which lies in the writer's input. Depth is bounded: the payload was validated.
    fn apply(&self, id: Id, message: Part<'_>, writer: &mut Writer<'_>) {
        let by_index = id != Id::KeyValue || !Fields::new(message.bytes).any(|f| is_written_out(id, &f));
        // Numbers of the messages of which a part was there.
        let mut begun = 0u32;
        for field in Fields::new(message.bytes) {
            let Some(known) = id.message().field(field.number) else { continue };
            let part = Part::of(&field, message.body);
            match (known.kind, self.of(known)) {
                (Kind::Message(child), _) => {
                    let open = writer.open(part.start, part.body..part.end);
                    self.apply(child, part, writer);
                    if known.repeated || known.explicit {
                        self.add_null_entries(child, Fields::new(part.bytes), part.end, writer);
                    } else if begun & 1 << field.number == 0 {
                        // The parts of a message that may be there once are one message.
                        begun |= 1 << field.number;
                        let parts = Fields::new(message.bytes).filter(|f| f.number == field.number);
                        let fields = parts.flat_map(|part| Fields::new(part.bytes()));
                        self.add_null_entries(child, fields, part.end, writer);
                    }
                    writer.close(open, part.end);
                }
                (_, Some(by)) if by_index => {
                    writer.replace(part.start..part.end, |out| index(&field, by, out));
                }
                _ => {}
            }
        }
    }

    /// Writes the indices that a message with those fields leaves out at `end` of the writer's input. Index 0, the null
    /// entry, moves like all others: the second dictionary brings its own.
    fn add_null_entries<'a>(
        &self,
        id: Id,
        fields: impl Iterator<Item = view::Field<'a>>,
        end: usize,
        writer: &mut Writer<'_>,
    ) {
        let known = id.message().fields.iter().filter(|f| !f.repeated && !f.explicit);
        let moves = known.filter_map(|f| Some((f.number, self.of(f).filter(|by| *by != 0)?)));
        let mut missing = moves.clone().fold(0u32, |missing, (number, _)| missing | 1 << number);
        if missing == 0 {
            return;
        }
        for field in fields {
            if is_written_out(id, &field) {
                return;
            }
            missing &= !1u32.checked_shl(field.number).unwrap_or_default();
        }
        for (number, by) in moves.filter(|(number, _)| missing & 1 << number != 0) {
            writer.replace(end..end, |out| {
                put_varint(u64::from(number) << 3, out);
                put(0, by, out);
            });
        }
    }
}

/// Whether a field of a message is a key that is written out, which then is none that is given by index.
fn is_written_out(id: Id, field: &view::Field<'_>) -> bool {
    id == Id::KeyValue && field.number == 1 && !field.bytes().is_empty()
}

/// Writes a field of one index, or of several that are packed.
fn index(field: &view::Field<'_>, by: i32, out: &mut Vec<u8>) {
    match field.value {
        Value::Bytes(mut packed) => {
            let mut moved = Vec::with_capacity(packed.len() + 8);
            while let Ok(index) = prost::encoding::decode_varint(&mut packed) {
                put(index, by, &mut moved);
            }
            wire::message(field.number, &moved, out);
        }
        _ => {
            put_varint(u64::from(field.number) << 3, out);
            put(field.u64(), by, out);
        }
    }
}

/// Writes an index, an `int32`, moved.
fn put(index: u64, by: i32, out: &mut Vec<u8>) {
    let index = index as i32;
    put_varint(i64::from(index.saturating_add(by)).cast_unsigned(), out);
}

#[cfg(test)]
mod tests {
    use crate::otlp::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
    use crate::testing;
    use crate::validate::{MAX_VALUE_DEPTH, validate};
    use crate::{Payload, Signal, wire};

    #[test]
    fn merged_profiles_resolve_to_the_same_names_as_before() {
        let (a, b) = (Payload::from(testing::profiles("a", 2)), Payload::from(testing::profiles("b", 3)));
        let mut expected = testing::flatten(&a);
        expected.extend(testing::flatten(&b));
        let mut merged = a;
        merged.append(b).expect("same signal");
        assert_eq!((merged.signal(), merged.items()), (Signal::Profiles, 5));
        assert_eq!(testing::flatten(&merged), expected);
    }

    #[test]
    fn values_that_nest_as_deep_as_they_may_are_still_there_after_a_merge() {
        let mut deep = AnyValue { value: Some(Value::StringValueStrindex(1)) };
        for _ in 0..MAX_VALUE_DEPTH {
            deep = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![deep] })) };
        }
        let mut second = testing::profiles("b", 3);
        let resource = second.resource_profiles[0].resource.as_mut().expect("a resource");
        resource.attributes.push(KeyValue { key: "deep".into(), value: Some(deep), ..KeyValue::default() });
        let mut merged = Payload::from(testing::profiles("a", 2));
        merged.append(Payload::from(second)).expect("same signal");
        assert_eq!(merged.items(), 5);
        assert_eq!(validate(Signal::Profiles, &merged.to_bytes()), Ok(5));
        let resource = crate::view::resources(&merged).nth(1).expect("the second");
        let mut value = resource.attributes().get("deep").expect("there");
        let mut depth = 0;
        while let Some(inner) = value.items().next() {
            (value, depth) = (inner, depth + 1);
        }
        assert_eq!(depth, MAX_VALUE_DEPTH);
    }

    #[test]
    fn values_that_nest_and_parts_are_copied_once() {
        // Put together or copied at every level, or for each part, it would take minutes.
        let nest = |number: u32, content: &[u8]| {
            let mut out = Vec::new();
            wire::message(number, content, &mut out);
            out
        };
        let mut value = nest(1, &vec![b'a'; 16 << 20]);
        for _ in 0..MAX_VALUE_DEPTH {
            value = nest(6, &nest(1, &[nest(1, b"k"), nest(2, &value), nest(2, b"")].concat()));
        }
        let resource = nest(1, &nest(1, &[nest(1, b"k"), nest(2, &value)].concat()));
        let parts = [0x0a, 0].repeat(1_000_000);
        let request = nest(1, &[&resource[..], &parts].concat());
        let second = Payload::from_request(Signal::Profiles, request.clone().into()).expect("well formed");
        let mut merged = Payload::from(testing::profiles("a", 1));
        merged.append(second).expect("same signal");
        let merged = merged.to_bytes();
        assert!(merged.windows(request.len()).any(|window| window == request), "as it was");
    }

    #[test]
    fn messages_in_parts_and_unknown_fields_survive_a_merge() {
        let nest = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
        // Type 1 and unit 2 in two parts of one sample type; field 15 of the profile is unknown.
        let profile = [nest(1, &[0x08, 1]), nest(1, &[0x10, 2]), nest(2, &[]), nest(15, b"new")].concat();
        let tables = [nest(5, b""), nest(5, b"cpu"), nest(5, b"ns")].concat();
        let request = [nest(1, &nest(2, &nest(2, &profile))), nest(2, &tables)].concat();
        let second = Payload::from_request(Signal::Profiles, request.into()).expect("well formed");
        let mut merged = Payload::from(testing::profiles("a", 1));
        let strings = merged.decode_profiles().dictionary.unwrap_or_default().string_table.len() as i32;
        merged.append(second).expect("same signal");
        let read = merged.decode_profiles().resource_profiles[1].scope_profiles[0].profiles[0].clone();
        let kind = read.sample_type.expect("a type");
        assert_eq!((kind.type_strindex, kind.unit_strindex), (strings + 1, strings + 2));
        assert!(merged.to_bytes().windows(3).any(|window| window == b"new"));
    }
}
