//! Profiles as a profiler of a whole machine sends them: some seconds of CPU time of one service, three samples of a stack
//! and thread together, and one dictionary of everything that they name.
//!
//! The stacks are branches of a tree of calls: every four frames one becomes two, so that stacks share the frames near the
//! root and differ near the leaf. The dictionary has what they use and nothing else; entry 0 of every table is the null entry.

use std::collections::BTreeMap;

use weir_pdata::otlp::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles,
    Sample, ScopeProfiles, Stack, ValueType,
};
use weir_pdata::otlp::{ProfilesRequest, kv, scope};

use super::{BEGIN, id, service};

/// Where the frames of a stack are, four in each, from the root to the leaf.
const PACKAGES: [&str; 6] = [
    "net/http",
    "google.golang.org/grpc/internal/transport",
    "example.com/orders/internal/handlers",
    "example.com/orders/internal/store",
    "database/sql",
    "encoding/json",
];
const THREADS: usize = 8;
/// Nanoseconds of the whole profile, and of CPU time between two events.
const DURATION: u64 = 5_000_000_000;
const PERIOD: i64 = 50_000_000;

/// A request of `n` samples from `first` on: two of each stack, in different threads.
pub(super) fn profiles(first: usize, n: usize) -> ProfilesRequest {
    let begin = BEGIN + DURATION * (first / n.max(1)) as u64;
    let mut dictionary = Dictionary::new();
    let threads = (0..THREADS.min(n)).map(|i| dictionary.attribute("thread.name", &format!("worker-{i}")));
    let threads: Vec<i32> = threads.collect();
    let sample = |i: usize| {
        let event = |k: usize| begin + DURATION * (3 * i + k) as u64 / (3 * n) as u64;
        Sample {
            stack_index: dictionary.stack(i / 2),
            attribute_indices: vec![threads[i % THREADS]],
            timestamps_unix_nano: (0..3).map(event).collect(),
            ..Sample::default()
        }
    };
    let samples = (0..n).map(sample).collect();
    let [samples_of, count, cpu, nanoseconds] =
        ["samples", "count", "cpu", "nanoseconds"].map(|text| dictionary.text(text));
    let profile = Profile {
        sample_type: Some(ValueType { type_strindex: samples_of, unit_strindex: count }),
        samples,
        time_unix_nano: begin,
        duration_nano: DURATION,
        period_type: Some(ValueType { type_strindex: cpu, unit_strindex: nanoseconds }),
        period: PERIOD,
        profile_id: id(first, 16),
        ..Profile::default()
    };
    let scope_profiles = vec![ScopeProfiles {
        scope: Some(scope("bench", "1")),
        profiles: vec![profile],
        ..ScopeProfiles::default()
    }];
    ProfilesRequest {
        resource_profiles: vec![ResourceProfiles {
            resource: service(),
            scope_profiles,
            ..ResourceProfiles::default()
        }],
        dictionary: Some(dictionary.tables),
    }
}

/// The tables, and where in them is what may be asked for again.
struct Dictionary {
    tables: ProfilesDictionary,
    texts: BTreeMap<String, i32>,
    /// By place in the stack and number of the branch.
    locations: BTreeMap<(usize, usize), i32>,
    stacks: BTreeMap<usize, i32>,
}

/// Appends; returns the index.
fn put<T>(table: &mut Vec<T>, entry: T) -> i32 {
    table.push(entry);
    table.len() as i32 - 1
}

impl Dictionary {
    /// With the null entries and the one binary that all frames are in.
    fn new() -> Dictionary {
        let tables = ProfilesDictionary {
            mapping_table: vec![Mapping::default()],
            location_table: vec![Location::default()],
            function_table: vec![Function::default()],
            link_table: vec![Link::default()],
            string_table: vec![String::new()],
            attribute_table: vec![KeyValueAndUnit::default()],
            stack_table: vec![Stack::default()],
        };
        let (texts, locations, stacks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut dictionary = Dictionary { tables, texts, locations, stacks };
        let build = "process.executable.build_id.htlhash";
        let binary = Mapping {
            memory_start: 0x40_0000,
            memory_limit: 0x140_0000,
            filename_strindex: dictionary.text("/usr/local/bin/orders"),
            attribute_indices: vec![dictionary.attribute(build, "600dca7e5e1ec7ed0b1eb0a7ab1e5eed")],
            ..Mapping::default()
        };
        put(&mut dictionary.tables.mapping_table, binary);
        dictionary
    }

    fn text(&mut self, text: &str) -> i32 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let index = put(&mut self.tables.string_table, text.to_owned());
        self.texts.insert(text.to_owned(), index);
        index
    }

    fn attribute(&mut self, key: &str, value: &str) -> i32 {
        let key_strindex = self.text(key);
        let entry =
            KeyValueAndUnit { key_strindex, value: kv("", value).value, ..KeyValueAndUnit::default() };
        put(&mut self.tables.attribute_table, entry)
    }

    fn stack(&mut self, number: usize) -> i32 {
        if let Some(known) = self.stacks.get(&number) {
            return *known;
        }
        // The leaf comes first.
        let frames = (0..4 * PACKAGES.len()).rev();
        let location_indices =
            frames.map(|place| self.location(place, number % (1 << (place / 4)))).collect();
        let index = put(&mut self.tables.stack_table, Stack { location_indices });
        self.stacks.insert(number, index);
        index
    }

    fn location(&mut self, place: usize, branch: usize) -> i32 {
        if let Some(known) = self.locations.get(&(place, branch)) {
            return *known;
        }
        let (package, number) = (PACKAGES[place / 4], place * 64 + branch);
        let function = Function {
            name_strindex: self.text(&format!("{package}.(*Conn).serve{number:04}")),
            filename_strindex: self.text(&format!("/src/{package}/conn_{branch}.go")),
            start_line: 20 + number as i64,
            ..Function::default()
        };
        let function_index = put(&mut self.tables.function_table, function);
        let location = Location {
            mapping_index: 1,
            address: 0x40_0000 + number as u64 * 0x1a4,
            lines: vec![Line { function_index, line: 27 + number as i64, ..Line::default() }],
            ..Location::default()
        };
        let index = put(&mut self.tables.location_table, location);
        self.locations.insert((place, branch), index);
        index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every index of one kind, and the length of the table that they point into.
    fn indices(request: &ProfilesRequest) -> Vec<(&'static str, Vec<i32>, usize)> {
        let tables = request.dictionary.as_ref().expect("a dictionary");
        let profile = &request.resource_profiles[0].scope_profiles[0].profiles[0];
        let types = [profile.sample_type, profile.period_type].map(|t| t.expect("a type"));
        let functions = &tables.function_table[1..];
        let texts = (functions.iter().flat_map(|f| [f.name_strindex, f.filename_strindex]))
            .chain(tables.attribute_table[1..].iter().map(|a| a.key_strindex))
            .chain(tables.mapping_table[1..].iter().map(|m| m.filename_strindex))
            .chain(types.into_iter().flat_map(|t| [t.type_strindex, t.unit_strindex]));
        let attributes = profile.samples.iter().flat_map(|s| &s.attribute_indices);
        let attributes = attributes.chain(tables.mapping_table.iter().flat_map(|m| &m.attribute_indices));
        let locations = tables.stack_table.iter().flat_map(|s| &s.location_indices);
        let lines = tables.location_table.iter().flat_map(|l| &l.lines);
        vec![
            ("texts", texts.collect(), tables.string_table.len()),
            ("attributes", attributes.copied().collect(), tables.attribute_table.len()),
            ("stacks", profile.samples.iter().map(|s| s.stack_index).collect(), tables.stack_table.len()),
            ("locations", locations.copied().collect(), tables.location_table.len()),
            ("functions", lines.map(|l| l.function_index).collect(), tables.function_table.len()),
        ]
    }

    #[test]
    fn a_dictionary_has_all_that_its_samples_name_and_nothing_else() {
        for n in [1, 100, 1000] {
            for (what, indices, length) in indices(&profiles(0, n)) {
                let used: BTreeSet<_> = indices.into_iter().collect();
                let all: BTreeSet<_> = (1..length as i32).collect();
                assert_eq!(used, all, "{what} of {n} samples");
            }
        }
    }
}
