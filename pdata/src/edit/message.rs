//! One message while it is edited.

use std::ops::Range;

use super::attributes::AttributeList;
use super::writer::Writer;
use crate::schema::{Id, Kind, MESSAGES};
use crate::view::{self, Fields};
use crate::wire;

/// A message and what is to become of it.
#[derive(Debug)]
pub struct Message<'m, 'a> {
    id: Id,
    bytes: &'a [u8],
    changes: &'m mut Changes<'a>,
}

/// What is to change in a message.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    attributes: AttributeList<'a>,
    /// Whether the attributes were read.
    read: bool,
    fields: Vec<(u32, Vec<u8>)>,
    strings: &'a [&'a str],
    edits: Vec<Edit>,
}

/// A range of a message, and the field that takes its place.
#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    /// Index in `fields`; `None` where nothing is written.
    field: Option<usize>,
}

impl<'m, 'a> Message<'m, 'a> {
    pub(super) fn new(id: Id, bytes: &'a [u8], changes: &'m mut Changes<'a>) -> Message<'m, 'a> {
        changes.clear();
        Message { id, bytes, changes }
    }

    /// The message as it came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which message it is.
    pub fn id(&self) -> Id {
        self.id
    }

    /// It as a span, when it is one.
    pub fn as_span(&self) -> Option<view::Span<'a>> {
        (self.id == Id::Span).then(|| view::Span::new(self.bytes))
    }

    /// It as a log record, when it is one.
    pub fn as_log_record(&self) -> Option<view::LogRecord<'a>> {
        (self.id == Id::LogRecord).then(|| view::LogRecord::new(self.bytes))
    }

    /// Its attributes; `None` for a message that has none of its own (a sample of a profile).
    pub fn attributes(&mut self) -> Option<&mut AttributeList<'a>> {
        let number = attributes_of(self.id)?;
        if !self.changes.read {
            self.changes.read = true;
            self.changes.attributes.read(self.bytes, number, self.changes.strings);
        }
        Some(&mut self.changes.attributes)
    }

    /// Gives a field of texts, bytes or one message another content.
    pub fn set(&mut self, number: u32, content: &[u8]) {
        self.changes.fields.retain(|(n, _)| *n != number);
        self.changes.fields.push((number, content.to_vec()));
    }
}

/// Number of the field that holds a message's own attributes.
fn attributes_of(id: Id) -> Option<u32> {
    const fn number(id: Id) -> u8 {
        match id {
            Id::Resource | Id::ExponentialPoint => 1,
            Id::Scope => 3,
            Id::LogRecord => 6,
            Id::NumberPoint | Id::SummaryPoint => 7,
            Id::Span | Id::HistogramPoint => 9,
            _ => 0,
        }
    }
    let number = number(id);
    debug_assert!(
        number == 0
            || MESSAGES[id as usize]
                .fields
                .iter()
                .any(|f| f.number == number && f.repeated && f.kind == Kind::Message(Id::KeyValue))
    );
    (number != 0).then_some(u32::from(number))
}

impl<'a> Changes<'a> {
    pub(super) fn new(strings: &'a [&'a str]) -> Changes<'a> {
        Changes { strings, ..Changes::default() }
    }

    fn clear(&mut self) {
        if self.read {
            self.attributes.clear();
            self.read = false;
        }
        self.fields.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        !(self.read && self.attributes.changed) && self.fields.is_empty()
    }

    /// Writes a message of type `id` that stands at `base` of the writer's input, with its changes.
    pub(super) fn write(&mut self, id: Id, message: &[u8], base: usize, writer: &mut Writer<'_>) {
        self.plan(message);
        let number = attributes_of(id).unwrap_or_default();
        let mut edits = self.edits.iter().peekable();
        if self.read && self.attributes.changed {
            for (range, change) in self.attributes.changes() {
                while let Some(edit) = edits.next_if(|edit| edit.range.start < range.start) {
                    self.write_field(edit, base, writer);
                }
                writer.replace(base + range.start..base + range.end, |out| {
                    self.attributes.write(change, number, out)
                });
            }
        }
        edits.for_each(|edit| self.write_field(edit, base, writer));
    }

    fn write_field(&self, edit: &Edit, base: usize, writer: &mut Writer<'_>) {
        writer.replace(base + edit.range.start..base + edit.range.end, |out| {
            if let Some((number, content)) = edit.field.and_then(|field| self.fields.get(field)) {
                wire::message(*number, content, out);
            }
        });
    }

    /// The content that a message of type `id` has with its changes, for one that stands nowhere in the input as a
    /// whole.
    pub(super) fn applied(&mut self, id: Id, message: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(message);
        self.write(id, message, 0, &mut writer);
        writer.finish().unwrap_or_else(|| message.to_vec())
    }

    /// Finds the places of all fields that change and puts them in order.
    fn plan(&mut self, message: &[u8]) {
        self.edits.clear();
        for (i, (number, _)) in self.fields.iter().enumerate() {
            let mut field = Some(i);
            for old in Fields::new(message).filter(|f| f.number == *number) {
                match self.edits.last_mut() {
                    // There may be millions of them, one behind the other.
                    Some(last) if field.is_none() && last.range.end == old.start => last.range.end = old.end,
                    _ => self.edits.push(Edit { range: old.start..old.end, field: field.take() }),
                }
            }
            if field.is_some() {
                self.edits.push(Edit { range: message.len()..message.len(), field });
            }
        }
        self.edits.sort_by_key(|e| (e.range.start, e.range.end));
    }
}
