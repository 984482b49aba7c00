//! A profile in memory.

use std::collections::HashMap;
use std::fmt;

use crate::intern::{Sequences, Strings};
use crate::{Limits, ProfileError, pprof};

/// A profile: samples, each a stack, labels and one value per sample type. Every distinct string, frame, stack and label
/// set is held once.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(crate) strings: Strings,
    pub(crate) functions: Vec<FunctionRow>,
    pub(crate) frames: Vec<FrameRow>,
    pub(crate) stacks: Sequences,
    pub(crate) label_sets: Sequences,
    pub(crate) types: Vec<(u32, u32)>,
    pub(crate) default_type: u32,
    pub(crate) samples: Vec<SampleRow>,
    /// `types.len()` values for each sample.
    pub(crate) values: Vec<i64>,
    pub(crate) period_type: (u32, u32),
    pub(crate) period: i64,
    pub(crate) time_nanos: i64,
    pub(crate) duration_nanos: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FunctionRow {
    pub(crate) name: u32,
    pub(crate) package_len: u32,
    pub(crate) file: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FrameRow {
    pub(crate) function: u32,
    pub(crate) line: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleRow {
    pub(crate) stack: u32,
    pub(crate) labels: u32,
}

/// A label in a label set: key, then what kind, then the value.
pub(crate) const LABEL_WIDTH: usize = 5;

pub(crate) fn encode_text(key: u32, text: u32) -> [u32; LABEL_WIDTH] {
    [key, 0, text, 0, 0]
}

pub(crate) fn encode_number(key: u32, number: i64, unit: u32) -> [u32; LABEL_WIDTH] {
    [key, 1, number as u32, (number >> 32) as u32, unit]
}

/// What one of a sample's values counts, e.g. `inuse_space` in `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueType<'a> {
    /// E.g. `goroutine`, `inuse_objects`, `contentions`.
    pub kind: &'a str,
    /// E.g. `count`, `bytes`, `nanoseconds`.
    pub unit: &'a str,
}

/// A distinct stack of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub(crate) u32);

/// A function and a line in it. In what Go writes this is the line of the call, see the crate's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// Full name with unescaped package path, e.g. `github.com/nats-io/nats.go.(*Conn).readLoop`.
    pub function: &'a str,
    /// Package path, e.g. `github.com/nats-io/nats.go`; empty when the name has none.
    pub package: &'a str,
    /// Source file as compiled; empty when unknown.
    pub file: &'a str,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
}

impl<'a> Frame<'a> {
    /// The name within its package, e.g. `(*Conn).readLoop`.
    pub fn local_name(&self) -> &'a str {
        let rest = self.function.get(self.package.len()..).unwrap_or("");
        rest.strip_prefix('.').unwrap_or(rest)
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file, self.line) {
            ("", _) => f.write_str(self.function),
            (file, 0) => write!(f, "{} {file}", self.function),
            (file, line) => write!(f, "{} {file}:{line}", self.function),
        }
    }
}

/// A label of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// Its name, e.g. `weir.site`.
    pub key: &'a str,
    /// Its value.
    pub value: LabelValue<'a>,
}

/// The value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelValue<'a> {
    /// Text, as set with `pprof.Labels`.
    Text(&'a str),
    /// A number and its unit (often empty), as heap profiles have with the size of the objects.
    Number(i64, &'a str),
}

impl Profile {
    /// Reads a profile as an HTTP endpoint serves it: `profile.proto`, gzip-compressed or not.
    ///
    /// Strings that are not UTF-8 are read with question marks in place of what is not; frames without symbols appear by address.
    ///
    /// # Errors
    ///
    /// Answers that are no profile, are malformed, or exceed `limits`; see [`ProfileError`].
    pub fn parse(answer: &[u8], limits: Limits) -> Result<Self, ProfileError> {
        pprof::parse(answer, &limits)
    }

    /// What a sample's values count, in their order.
    pub fn value_types(&self) -> impl ExactSizeIterator<Item = ValueType<'_>> {
        self.types.iter().map(|&pair| self.value_type(pair))
    }

    /// The place of the value type named `kind`.
    pub fn type_index(&self, kind: &str) -> Option<usize> {
        self.value_types().position(|candidate| candidate.kind == kind)
    }

    /// The place of the value type that the profile names as its default; else of the last one, as in pprof's tool.
    pub fn default_type_index(&self) -> usize {
        let default = self.strings.get(self.default_type);
        self.type_index(default).unwrap_or(self.types.len().saturating_sub(1))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// True when there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// All samples in the order of the profile.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.view().samples()
    }

    /// The numbers of this profile, for the functions that also take those of a [`Delta`](crate::Delta).
    pub fn view(&self) -> View<'_> {
        View { profile: self, values: &self.values }
    }

    /// Number of distinct stacks.
    pub fn stack_count(&self) -> usize {
        self.stacks.len()
    }

    /// The frames of a stack, the one that ran last (the leaf) first.
    pub fn frames(&self, stack: StackId) -> impl DoubleEndedIterator<Item = Frame<'_>> + ExactSizeIterator {
        self.stacks.get(stack.0).iter().map(|&id| self.frame(id))
    }

    /// What [`Profile::period`] counts, e.g. `space` in `bytes`.
    pub fn period_type(&self) -> ValueType<'_> {
        self.value_type(self.period_type)
    }

    /// Mean distance between two samples, in the unit of [`Profile::period_type`]; 524288 bytes in a heap profile under
    /// Go's default, 1 in profiles that are not sampled.
    pub fn period(&self) -> i64 {
        self.period
    }

    /// When the profile was taken, Unix ns by the clock of the service; 0 when it does not say.
    pub fn time_nanos(&self) -> i64 {
        self.time_nanos
    }

    /// Time that the profile covers, ns; 0 for profiles of a moment.
    pub fn duration_nanos(&self) -> i64 {
        self.duration_nanos
    }

    /// Bytes on the heap that this profile holds.
    pub fn heap_bytes(&self) -> usize {
        self.strings.heap_bytes()
            + self.stacks.heap_bytes()
            + self.label_sets.heap_bytes()
            + self.functions.capacity() * size_of::<FunctionRow>()
            + self.frames.capacity() * size_of::<FrameRow>()
            + self.samples.capacity() * size_of::<SampleRow>()
            + self.values.capacity() * size_of::<i64>()
    }

    pub(crate) fn frame(&self, id: u32) -> Frame<'_> {
        let (function, line) = match self.frames.get(id as usize) {
            Some(row) => (self.functions.get(row.function as usize), row.line),
            None => (None, 0),
        };
        let row = function.copied().unwrap_or(FunctionRow { name: 0, package_len: 0, file: 0 });
        let name = self.strings.get(row.name);
        Frame {
            function: name,
            package: name.get(..row.package_len as usize).unwrap_or(""),
            file: self.strings.get(row.file),
            line,
        }
    }

    /// For each frame what `ask` says of its function's name and package. It is asked once for each name: many frames may
    /// share a long one.
    pub(crate) fn by_name<T: Copy>(&self, ask: impl Fn(Frame<'_>) -> T) -> Vec<T> {
        let (mut first, mut answers) = (HashMap::new(), Vec::with_capacity(self.frames.len()));
        for (id, row) in self.frames.iter().enumerate() {
            let function = self.functions.get(row.function as usize);
            let name = function.map(|function| (function.name, function.package_len));
            let known = answers.get(*first.entry(name).or_insert(id)).copied();
            answers.push(known.unwrap_or_else(|| ask(self.frame(id as u32))));
        }
        answers
    }

    /// The id of a frame's file.
    pub(crate) fn file(&self, frame: u32) -> u32 {
        let row = self.frames.get(frame as usize).and_then(|row| self.functions.get(row.function as usize));
        row.map_or(0, |function| function.file)
    }

    pub(crate) fn labels(&self, set: u32) -> impl ExactSizeIterator<Item = Label<'_>> {
        let (labels, _) = self.label_sets.get(set).as_chunks::<LABEL_WIDTH>();
        labels.iter().map(|&[key, kind, low, high, unit]| Label {
            key: self.strings.get(key),
            value: match kind {
                0 => LabelValue::Text(self.strings.get(low)),
                _ => LabelValue::Number(
                    (u64::from(high) << 32 | u64::from(low)) as i64,
                    self.strings.get(unit),
                ),
            },
        })
    }

    pub(crate) fn label_text(&self, set: u32, key: &str) -> Option<&str> {
        self.label_text_id(set, key).map(|id| self.strings.get(id))
    }

    /// The id of the text of a label: equal texts have equal ids.
    pub(crate) fn label_text_id(&self, set: u32, key: &str) -> Option<u32> {
        let (labels, _) = self.label_sets.get(set).as_chunks::<LABEL_WIDTH>();
        let label = labels.iter().find(|[name, ..]| self.strings.get(*name) == key);
        label.and_then(|&[_, kind, text, ..]| (kind == 0).then_some(text))
    }

    fn value_type(&self, (kind, unit): (u32, u32)) -> ValueType<'_> {
        ValueType { kind: self.strings.get(kind), unit: self.strings.get(unit) }
    }
}

/// The samples of a profile with its own values, or with how much each grew since another profile.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(crate) profile: &'a Profile,
    /// Parallel to the profile's values.
    pub(crate) values: &'a [i64],
}

impl<'a> View<'a> {
    /// The profile whose stacks and labels these are.
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// All samples in the order of the profile.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'a>> + use<'a> {
        let Self { profile, values } = *self;
        let width = profile.types.len();
        profile.samples.iter().enumerate().map(move |(at, &row)| Sample {
            profile,
            row,
            values: values.get(at * width..(at + 1) * width).unwrap_or(&[]),
        })
    }
}

/// One sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    profile: &'a Profile,
    pub(crate) row: SampleRow,
    values: &'a [i64],
}

impl<'a> Sample<'a> {
    /// Its values, one for each of [`Profile::value_types`].
    pub fn values(&self) -> &'a [i64] {
        self.values
    }

    /// The value at a place among [`Profile::value_types`]; 0 for a place that does not exist.
    pub fn value(&self, at: usize) -> i64 {
        self.values.get(at).copied().unwrap_or(0)
    }

    /// Its stack; samples of equal stacks have equal ids.
    pub fn stack(&self) -> StackId {
        StackId(self.row.stack)
    }

    /// The frames of its stack, the leaf first.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = Frame<'a>> + ExactSizeIterator + use<'a> {
        self.profile.frames(self.stack())
    }

    /// Its labels.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = Label<'a>> + use<'a> {
        self.profile.labels(self.row.labels)
    }

    /// The text of the label `key`, if it has one.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.profile.label_text(self.row.labels, key)
    }
}
