//! Profiles in the pprof format: github.com/google/pprof, proto/profile.proto.

use std::collections::BTreeMap;

use prost::Message;

/// The parts of `perftools.profiles.Profile` that are written.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// A profile while it is made: one kind of value, stacks of names.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    strings: Vec<String>,
    index: BTreeMap<String, i64>,
    frames: BTreeMap<String, u64>,
    functions: Vec<Function>,
    samples: Vec<Sample>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let mut builder = Builder::default();
        // Entry 0 is the empty text.
        builder.string("");
        builder
    }

    /// Adds a value of a stack, innermost frame first.
    pub(crate) fn sample(&mut self, stack: &[&str], value: u64) {
        let location_id = stack.iter().map(|name| self.frame(name)).collect();
        self.samples.push(Sample { location_id, value: vec![i64::try_from(value).unwrap_or(i64::MAX)] });
    }

    /// The profile; times in Unix ns and ns.
    pub(crate) fn finish(mut self, kind: &str, unit: &str, time: u64, duration: u64) -> Vec<u8> {
        let value_type = ValueType { kind: self.string(kind), unit: self.string(unit) };
        let location = |f: &Function| Location { id: f.id, line: vec![Line { function_id: f.id }] };
        let profile = Profile {
            sample_type: vec![value_type.clone()],
            sample: self.samples,
            location: self.functions.iter().map(location).collect(),
            function: self.functions,
            string_table: self.strings,
            time_nanos: i64::try_from(time).unwrap_or(i64::MAX),
            duration_nanos: i64::try_from(duration).unwrap_or(i64::MAX),
            period_type: Some(value_type),
            period: 1,
        };
        profile.encode_to_vec()
    }

    fn frame(&mut self, name: &str) -> u64 {
        if let Some(id) = self.frames.get(name) {
            return *id;
        }
        let id = self.functions.len() as u64 + 1;
        let name_index = self.string(name);
        self.functions.push(Function { id, name: name_index });
        self.frames.insert(name.to_owned(), id);
        id
    }

    fn string(&mut self, text: &str) -> i64 {
        let next = self.strings.len() as i64;
        *self.index.entry(text.to_owned()).or_insert_with(|| {
            self.strings.push(text.to_owned());
            next
        })
    }
}
