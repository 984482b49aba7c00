//! Second pass: resolves references and keeps what is distinct.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::index::Index;
use super::wire::{Cursor, Field, Span};
use crate::intern::{SequenceBuilder, StringBuilder};
use crate::profile::{FrameRow, FunctionRow, LABEL_WIDTH, Profile, SampleRow, encode_number, encode_text};
use crate::{Limits, ProfileError, symbol};

/// Builds the profile that `index` describes.
pub(super) fn build(bytes: &[u8], index: &Index, limits: &Limits) -> Result<Profile, ProfileError> {
    let mut builder = Builder::new(bytes, index, limits);
    builder.read_functions()?;
    builder.read_locations()?;
    let types =
        index.sample_types.iter().map(|&span| builder.value_type(span)).collect::<Result<Vec<_>, _>>()?;
    let period_type = index.period_type.map(|span| builder.value_type(span)).transpose()?.unwrap_or((0, 0));
    let default_type = builder.string(index.default_sample_type, bytes.len())?;
    let mut samples = Vec::with_capacity(index.samples.len());
    let mut values = Vec::with_capacity(index.samples.len() * types.len());
    for &span in &index.samples {
        samples.push(builder.sample(span, types.len(), &mut values)?);
    }
    Ok(Profile {
        strings: builder.strings.finish(),
        functions: builder.functions,
        frames: builder.frames,
        stacks: builder.stacks.finish(),
        label_sets: builder.label_sets.finish(),
        types,
        default_type,
        samples,
        values,
        period_type,
        period: index.period,
        time_nanos: index.time_nanos,
        duration_nanos: index.duration_nanos,
    })
}

/// In place of the id of a string that nobody asked for yet.
const UNREAD: u32 = u32::MAX;

struct Builder<'a> {
    bytes: &'a [u8],
    index: &'a Index,
    limits: &'a Limits,
    strings: StringBuilder,
    /// By place in the string table: the id of the string, once it was asked for.
    string_ids: Vec<u32>,
    /// The same for its form as a name, with the length of the package path.
    names: Vec<(u32, u32)>,
    functions: Vec<FunctionRow>,
    function_rows: HashMap<FunctionRow, u32>,
    function_ids: HashMap<u64, u32>,
    frames: Vec<FrameRow>,
    frame_rows: HashMap<FrameRow, u32>,
    location_frames: Vec<u32>,
    location_ids: HashMap<u64, (u32, u32)>,
    stacks: SequenceBuilder,
    label_sets: SequenceBuilder,
    /// Reused for the frames and the labels of one sample.
    scratch: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(bytes: &'a [u8], index: &'a Index, limits: &'a Limits) -> Self {
        let mut builder = Self {
            bytes,
            index,
            limits,
            strings: StringBuilder::default(),
            string_ids: vec![UNREAD; index.strings.len()],
            names: vec![(UNREAD, 0); index.strings.len()],
            functions: Vec::new(),
            function_rows: HashMap::new(),
            function_ids: HashMap::new(),
            frames: Vec::new(),
            frame_rows: HashMap::new(),
            location_frames: Vec::new(),
            location_ids: HashMap::new(),
            stacks: SequenceBuilder::default(),
            label_sets: SequenceBuilder::default(),
            scratch: Vec::new(),
        };
        builder.strings.id("");
        builder
    }

    fn read_functions(&mut self) -> Result<(), ProfileError> {
        for &span in &self.index.functions {
            let (mut id, mut name, mut file) = (0, 0, 0);
            let mut cursor = Cursor::new(self.bytes, span);
            while let Some(field) = cursor.next()? {
                match field.number {
                    1 => id = field.number("function.id")?,
                    2 => name = field.number("function.name")?,
                    4 => file = field.number("function.filename")?,
                    _ => {}
                }
            }
            let row = self.function(name, file, span.offset())?;
            match self.function_ids.entry(id) {
                Entry::Vacant(entry) => entry.insert(row),
                Entry::Occupied(_) => return Err(twice(span, "function", id)),
            };
        }
        Ok(())
    }

    fn read_locations(&mut self) -> Result<(), ProfileError> {
        for &span in &self.index.locations {
            let (mut id, mut address) = (0, 0);
            let first = self.location_frames.len();
            let mut cursor = Cursor::new(self.bytes, span);
            while let Some(field) = cursor.next()? {
                match field.number {
                    1 => id = field.number("location.id")?,
                    3 => address = field.number("location.address")?,
                    4 => {
                        let frame = self.line(field.bytes("location.line")?)?;
                        self.location_frames.push(frame);
                    }
                    _ => {}
                }
            }
            if self.location_frames.len() == first {
                let frame = self.nameless(&format!("0x{address:x}"))?;
                self.location_frames.push(frame);
            }
            if self.location_frames.len() > self.limits.locations {
                return Err(ProfileError::TooMany {
                    what: "source lines in locations",
                    limit: self.limits.locations,
                });
            }
            let range = (first as u32, self.location_frames.len() as u32);
            match self.location_ids.entry(id) {
                Entry::Vacant(entry) => entry.insert(range),
                Entry::Occupied(_) => return Err(twice(span, "location", id)),
            };
        }
        Ok(())
    }

    fn line(&mut self, span: Span) -> Result<u32, ProfileError> {
        let (mut function, mut line) = (0, 0);
        let mut cursor = Cursor::new(self.bytes, span);
        while let Some(field) = cursor.next()? {
            match field.number {
                1 => function = field.number("line.function_id")?,
                2 => line = field.number("line.line")? as i64,
                _ => {}
            }
        }
        let Some(&function) = self.function_ids.get(&function) else {
            return Err(ProfileError::malformed(
                span.offset(),
                format!("a line refers to unknown function {function}"),
            ));
        };
        Ok(self.frame(FrameRow { function, line: u32::try_from(line).unwrap_or(0) }))
    }

    fn sample(&mut self, span: Span, types: usize, values: &mut Vec<i64>) -> Result<SampleRow, ProfileError> {
        let first_value = values.len();
        let mut depth_left = self.limits.stack_depth;
        let mut labels = Vec::new();
        let mut frames = std::mem::take(&mut self.scratch);
        frames.clear();
        let mut cursor = Cursor::new(self.bytes, span);
        while let Some(field) = cursor.next()? {
            match field.number {
                1 => self.append_frames(field, &mut frames, &mut depth_left)?,
                2 => field.numbers(self.bytes, "sample.value", |value| {
                    if values.len() - first_value < types {
                        values.push(value as i64);
                        Ok(())
                    } else {
                        Err(ProfileError::malformed(
                            field.offset,
                            format!("a sample has more than {types} values"),
                        ))
                    }
                })?,
                3 if labels.len() >= self.limits.labels => {
                    return Err(ProfileError::TooMany {
                        what: "labels on one sample",
                        limit: self.limits.labels,
                    });
                }
                3 => labels.push(self.label(field.bytes("sample.label")?)?),
                _ => {}
            }
        }
        let got = values.len() - first_value;
        if got != types {
            let what = format!("a sample has {got} values and there are {types} sample types");
            return Err(ProfileError::malformed(span.offset(), what));
        }
        let stack = self.stacks.id(&frames);
        self.scratch = frames;
        if self.stacks.items() > self.limits.frames {
            return Err(ProfileError::TooMany {
                what: "frames in distinct stacks",
                limit: self.limits.frames,
            });
        }
        labels.sort_unstable();
        let labels = self.label_sets.id(labels.as_flattened());
        if self.label_sets.items() / LABEL_WIDTH > self.limits.all_labels {
            return Err(ProfileError::TooMany {
                what: "labels in distinct label sets",
                limit: self.limits.all_labels,
            });
        }
        Ok(SampleRow { stack, labels })
    }

    /// Appends the frames of the locations in `field`, up to the depth that is left.
    fn append_frames(
        &mut self,
        field: Field,
        frames: &mut Vec<u32>,
        left: &mut usize,
    ) -> Result<(), ProfileError> {
        let mut cut = false;
        field.numbers(self.bytes, "sample.location_id", |id| {
            let Some(&(start, end)) = self.location_ids.get(&id) else {
                let what = format!("a sample refers to unknown location {id}");
                return Err(ProfileError::malformed(field.offset, what));
            };
            let lines = self.location_frames.get(start as usize..end as usize).unwrap_or(&[]);
            let taken = lines.len().min(*left);
            frames.extend_from_slice(lines.get(..taken).unwrap_or(&[]));
            cut |= taken < lines.len();
            *left -= taken;
            Ok(())
        })?;
        if cut {
            let mark = self.nameless("...")?;
            if frames.last() != Some(&mark) {
                frames.push(mark);
            }
        }
        Ok(())
    }

    fn label(&mut self, span: Span) -> Result<[u32; LABEL_WIDTH], ProfileError> {
        let (mut key, mut text, mut number, mut unit) = (0, 0, 0, 0);
        let mut cursor = Cursor::new(self.bytes, span);
        while let Some(field) = cursor.next()? {
            match field.number {
                1 => key = field.number("label.key")?,
                2 => text = field.number("label.str")?,
                3 => number = field.number("label.num")? as i64,
                4 => unit = field.number("label.num_unit")?,
                _ => {}
            }
        }
        let key = self.string(key, span.offset())?;
        if text != 0 {
            return Ok(encode_text(key, self.string(text, span.offset())?));
        }
        let unit = self.string(unit, span.offset())?;
        Ok(encode_number(key, number, unit))
    }

    fn value_type(&mut self, span: Span) -> Result<(u32, u32), ProfileError> {
        let (mut kind, mut unit) = (0, 0);
        let mut cursor = Cursor::new(self.bytes, span);
        while let Some(field) = cursor.next()? {
            match field.number {
                1 => kind = field.number("value_type.type")?,
                2 => unit = field.number("value_type.unit")?,
                _ => {}
            }
        }
        Ok((self.string(kind, span.offset())?, self.string(unit, span.offset())?))
    }

    fn function(&mut self, name: u64, file: u64, offset: usize) -> Result<u32, ProfileError> {
        let (name, package_len) = self.name(name, offset)?;
        let file = self.string(file, offset)?;
        Ok(self.function_row(FunctionRow { name, package_len, file }))
    }

    fn function_row(&mut self, row: FunctionRow) -> u32 {
        *self.function_rows.entry(row).or_insert_with(|| {
            self.functions.push(row);
            self.functions.len() as u32 - 1
        })
    }

    fn frame(&mut self, row: FrameRow) -> u32 {
        *self.frame_rows.entry(row).or_insert_with(|| {
            self.frames.push(row);
            self.frames.len() as u32 - 1
        })
    }

    /// A frame that has no source line.
    fn nameless(&mut self, name: &str) -> Result<u32, ProfileError> {
        let name = self.keep(name)?;
        let function = self.function_row(FunctionRow { name, package_len: 0, file: 0 });
        Ok(self.frame(FrameRow { function, line: 0 }))
    }

    /// The id of the string at place `at` of the string table; `offset` is where it is referred to.
    fn string(&mut self, at: u64, offset: usize) -> Result<u32, ProfileError> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(&id) = self.string_ids.get(at).filter(|id| **id != UNREAD) {
            return Ok(id);
        }
        let text = self.text(at, offset)?;
        let id = self.keep(&text)?;
        self.string_ids[at] = id;
        Ok(id)
    }

    /// The id of the string there without the escapes of a symbol's name, and the length of its package path.
    fn name(&mut self, at: u64, offset: usize) -> Result<(u32, u32), ProfileError> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(&name) = self.names.get(at).filter(|(id, _)| *id != UNREAD) {
            return Ok(name);
        }
        let symbol = self.text(at, offset)?;
        let (text, package_len) = symbol::unescape(&symbol);
        let name = (self.keep(&text)?, package_len as u32);
        self.names[at] = name;
        Ok(name)
    }

    fn text(&self, at: usize, offset: usize) -> Result<Cow<'a, str>, ProfileError> {
        let Some(span) = self.index.strings.get(at) else {
            let count = self.index.strings.len();
            return Err(ProfileError::malformed(offset, format!("string {at} of {count} is referred to")));
        };
        let (bytes, limit) = (span.of(self.bytes), self.limits.string);
        if bytes.len() > limit {
            return Err(ProfileError::TooMany { what: "bytes in one string", limit });
        }
        Ok(readable(bytes))
    }

    fn keep(&mut self, text: &str) -> Result<u32, ProfileError> {
        let id = self.strings.id(text);
        if self.strings.bytes() > self.limits.text {
            return Err(ProfileError::TooMany { what: "bytes in distinct strings", limit: self.limits.text });
        }
        Ok(id)
    }
}

/// The bytes as text, never longer than they are: a question mark for what is not UTF-8.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push('?');
        }
    }
    Cow::Owned(text)
}

fn twice(span: Span, what: &str, id: u64) -> ProfileError {
    ProfileError::malformed(span.offset(), format!("{what} {id} occurs twice"))
}
