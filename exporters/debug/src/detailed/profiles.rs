//! Profiles and their dictionary.

use weir_pdata::otlp::ProfilesRequest;
use weir_pdata::otlp::profiles::v1development::{
    Function, KeyValueAndUnit, Link, Location, Mapping, Profile, Sample,
};

use super::{labelled, resource, scope};
use crate::number::{Id, List, Time};
use crate::profile::{AttributeTable, Form};
use crate::text::Text;
use crate::value::Strings;

/// All profiles.
pub(crate) fn profiles(text: &mut Text, request: &ProfilesRequest) {
    let mut table = AttributeTable::new(request.dictionary.as_ref());
    let strings = table.strings();
    if let Some(dictionary) = &request.dictionary {
        dictionary.mapping_table.iter().enumerate().for_each(|(i, m)| mapping(text, i, m));
        dictionary.location_table.iter().enumerate().for_each(|(i, l)| location(text, i, l));
        dictionary.function_table.iter().enumerate().for_each(|(i, f)| function(text, i, f));
        last_attribute(text, &dictionary.attribute_table, strings);
        last_link(text, &dictionary.link_table);
        if !dictionary.string_table.is_empty() {
            text.line(format_args!("String table:"));
        }
        dictionary.string_table.iter().for_each(|s| text.line(format_args!("    {s}")));
    }
    for (i, r) in request.resource_profiles.iter().enumerate() {
        text.line(format_args!("ResourceProfiles #{i}"));
        resource(text, &r.schema_url, r.resource.as_ref(), strings);
        for (j, s) in r.scope_profiles.iter().enumerate() {
            text.line(format_args!("ScopeProfiles #{j}"));
            scope(text, "ScopeProfiles", &s.schema_url, s.scope.as_ref(), strings);
            for (k, item) in s.profiles.iter().enumerate() {
                text.line(format_args!("Profile #{k}"));
                profile(text, item, &mut table);
            }
        }
    }
}

fn profile(text: &mut Text, profile: &Profile, table: &mut AttributeTable<'_>) {
    labelled(text, "Profile ID", Id(&profile.profile_id));
    labelled(text, "Start time", Time(profile.time_unix_nano));
    labelled(text, "DurationNano", profile.duration_nano);
    labelled(text, "Dropped attributes count", profile.dropped_attributes_count);
    for (i, item) in profile.samples.iter().enumerate() {
        if text.is_full() {
            return;
        }
        text.line(format_args!("    Sample #{i}"));
        sample(text, item, table);
    }
}

fn sample(text: &mut Text, sample: &Sample, table: &mut AttributeTable<'_>) {
    text.line(format_args!("        Values: {}", List(&sample.values)));
    if !sample.attribute_indices.is_empty() {
        text.line(format_args!("        Attributes:"));
    }
    for index in &sample.attribute_indices {
        text.part(format_args!("             -> "));
        table.write(text, *index, Form::Typed);
        text.line(format_args!(""));
    }
}

fn mapping(text: &mut Text, i: usize, mapping: &Mapping) {
    text.line(format_args!("Mapping #{i}"));
    text.line(format_args!("    Memory start: {}", mapping.memory_start));
    text.line(format_args!("    Memory limit: {}", mapping.memory_limit));
    text.line(format_args!("    File offset: {}", mapping.file_offset));
    text.line(format_args!("    File name: {}", mapping.filename_strindex));
    text.line(format_args!("    Attributes: {}", List(&mapping.attribute_indices)));
}

fn location(text: &mut Text, i: usize, location: &Location) {
    text.line(format_args!("Location #{i}"));
    text.line(format_args!("    Mapping index: {}", location.mapping_index));
    text.line(format_args!("    Address: {}", location.address));
    for (j, line) in location.lines.iter().enumerate() {
        text.line(format_args!("    Line #{j}"));
        text.line(format_args!("        Function index: {}", line.function_index));
        text.line(format_args!("        Line: {}", line.line));
        text.line(format_args!("        Column: {}", line.column));
    }
    text.line(format_args!("    Attributes: {}", List(&location.attribute_indices)));
}

fn function(text: &mut Text, i: usize, function: &Function) {
    text.line(format_args!("Function #{i}"));
    text.line(format_args!("    Name: {}", function.name_strindex));
    text.line(format_args!("    System name: {}", function.system_name_strindex));
    text.line(format_args!("    Filename: {}", function.filename_strindex));
    text.line(format_args!("    Start line: {}", function.start_line));
}

/// The Collector prints of the attributes in the dictionary, and of the links, the last one only.
fn last_attribute(text: &mut Text, table: &[KeyValueAndUnit], strings: Strings<'_>) {
    let Some(last) = table.last() else { return };
    text.line(format_args!("Attribute table:"));
    text.line(format_args!("     -> Key: Int({})", last.key_strindex));
    text.line(format_args!("     -> Value: Str({})", strings.plain(last.value.as_ref())));
    text.line(format_args!("     -> unit: Int({})", last.unit_strindex));
}

fn last_link(text: &mut Text, table: &[Link]) {
    let Some(last) = table.last() else { return };
    text.line(format_args!("Link table:"));
    text.line(format_args!("     -> Trace ID: Str({})", Id(&last.trace_id)));
    text.line(format_args!("     -> Span ID: Str({})", Id(&last.span_id)));
}
