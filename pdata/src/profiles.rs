//! Merging profiles: their dictionary is shared by index, so the second payload's indices are moved.
//!
//! Source: opentelemetry-proto `profiles/v1development`: entry 0 of every table is the null entry.

use crate::Payload;
use crate::otlp::ProfilesRequest;
use crate::otlp::common::v1::{AnyValue, KeyValue, any_value::Value};
use crate::otlp::profiles::v1development::{Profile, ProfilesDictionary, ValueType};

/// Both payloads as one request with one dictionary. Entries are appended, not deduplicated.
pub(crate) fn merge(first: &Payload, second: &Payload) -> Payload {
    let mut whole = first.decode_profiles();
    let other = second.decode_profiles();
    let table = whole.dictionary.get_or_insert_default();
    let dictionary = other.dictionary.unwrap_or_default();
    let shift = Shift::between(table, &dictionary);
    shift.append(table, dictionary);
    for mut resource in other.resource_profiles {
        shift.key_values(resource.resource.iter_mut().flat_map(|r| &mut r.attributes));
        for scope in &mut resource.scope_profiles {
            shift.key_values(scope.scope.iter_mut().flat_map(|s| &mut s.attributes));
            scope.profiles.iter_mut().for_each(|p| shift.profile(p));
        }
        whole.resource_profiles.push(resource);
    }
    Payload::from(ProfilesRequest { ..whole })
}

/// By how much indices into each table move.
struct Shift {
    mapping: i32,
    location: i32,
    function: i32,
    link: i32,
    string: i32,
    attribute: i32,
    stack: i32,
}

impl Shift {
    /// A table that the second dictionary leaves out moves nothing: index 0 then keeps meaning "none".
    fn between(first: &ProfilesDictionary, second: &ProfilesDictionary) -> Shift {
        let by = |first: usize, second: usize| {
            if second == 0 { 0 } else { i32::try_from(first).unwrap_or(i32::MAX) }
        };
        Shift {
            mapping: by(first.mapping_table.len(), second.mapping_table.len()),
            location: by(first.location_table.len(), second.location_table.len()),
            function: by(first.function_table.len(), second.function_table.len()),
            link: by(first.link_table.len(), second.link_table.len()),
            string: by(first.string_table.len(), second.string_table.len()),
            attribute: by(first.attribute_table.len(), second.attribute_table.len()),
            stack: by(first.stack_table.len(), second.stack_table.len()),
        }
    }

    fn append(&self, to: &mut ProfilesDictionary, mut from: ProfilesDictionary) {
        for m in &mut from.mapping_table {
            add(&mut m.filename_strindex, self.string);
            self.attributes(&mut m.attribute_indices);
        }
        for l in &mut from.location_table {
            add(&mut l.mapping_index, self.mapping);
            self.attributes(&mut l.attribute_indices);
            l.lines.iter_mut().for_each(|line| add(&mut line.function_index, self.function));
        }
        for f in &mut from.function_table {
            add(&mut f.name_strindex, self.string);
            add(&mut f.system_name_strindex, self.string);
            add(&mut f.filename_strindex, self.string);
        }
        for a in &mut from.attribute_table {
            add(&mut a.key_strindex, self.string);
            add(&mut a.unit_strindex, self.string);
            self.value(a.value.as_mut());
        }
        for s in &mut from.stack_table {
            s.location_indices.iter_mut().for_each(|i| add(i, self.location));
        }
        to.mapping_table.append(&mut from.mapping_table);
        to.location_table.append(&mut from.location_table);
        to.function_table.append(&mut from.function_table);
        to.link_table.append(&mut from.link_table);
        to.string_table.append(&mut from.string_table);
        to.attribute_table.append(&mut from.attribute_table);
        to.stack_table.append(&mut from.stack_table);
    }

    fn profile(&self, p: &mut Profile) {
        self.value_type(p.sample_type.as_mut());
        self.value_type(p.period_type.as_mut());
        self.attributes(&mut p.attribute_indices);
        for sample in &mut p.samples {
            add(&mut sample.stack_index, self.stack);
            add(&mut sample.link_index, self.link);
            self.attributes(&mut sample.attribute_indices);
        }
    }

    fn value_type(&self, v: Option<&mut ValueType>) {
        if let Some(v) = v {
            add(&mut v.type_strindex, self.string);
            add(&mut v.unit_strindex, self.string);
        }
    }

    fn attributes(&self, indices: &mut [i32]) {
        indices.iter_mut().for_each(|i| add(i, self.attribute));
    }

    fn key_values<'a>(&self, pairs: impl Iterator<Item = &'a mut KeyValue>) {
        for pair in pairs {
            if pair.key.is_empty() {
                add(&mut pair.key_strindex, self.string);
            }
            self.value(pair.value.as_mut());
        }
    }

    /// Depth is bounded: the payload was validated.
    fn value(&self, value: Option<&mut AnyValue>) {
        match value.and_then(|v| v.value.as_mut()) {
            Some(Value::ArrayValue(list)) => list.values.iter_mut().for_each(|v| self.value(Some(v))),
            Some(Value::KvlistValue(map)) => self.key_values(map.values.iter_mut()),
            Some(Value::StringValueStrindex(i)) => add(i, self.string),
            _ => {}
        }
    }
}

/// Index 0, the null entry, moves like all others: the second dictionary brings its own.
fn add(index: &mut i32, by: i32) {
    *index = index.saturating_add(by);
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use crate::{Payload, Signal};

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
}
