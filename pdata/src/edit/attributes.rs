//! Attributes of one message while they are edited.

use std::ops::Range;

use super::encoded::{self, Encoded};
use crate::schema::{Id, KEY_TAG, VALUE_TAG};
use crate::view::{self, Field, Fields};
use crate::wire::{head, head_len, message};

/// The attributes of one message: those it came with, and what is to become of them. Of equal keys the first counts.
#[derive(Debug, Default)]
pub struct AttributeList<'a> {
    slots: Vec<Slot<'a>>,
    added: Vec<Added>,
    /// Keys and values that are new, and values that came in parts.
    arena: Vec<u8>,
    /// Texts by index, of profiles; empty for other signals.
    strings: &'a [&'a str],
    pub(super) changed: bool,
}

/// An attribute that came with the message.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    key: &'a [u8],
    /// Content of the `KeyValue`.
    pair: &'a [u8],
    /// Its field, tag included, in the message.
    pub(super) field: Range<usize>,
    /// Its encoded value.
    value: Source<'a>,
    /// Whether the pair is as nearly all writers have it, see [`usual`].
    usual: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    Removed,
    /// The value is in the arena.
    Set(Span),
}

/// A range in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy)]
struct Added {
    key: Span,
    value: Span,
}

/// A value of an [`AttributeList`] or made by one; good for that list until the next message.
#[derive(Debug, Clone, Copy)]
pub struct ValueRef<'a>(Source<'a>);

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Input(&'a [u8]),
    Arena(Span),
}

/// Where an attribute is.
enum At {
    Slot(usize),
    Added(usize),
}

impl<'a> AttributeList<'a> {
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.added.clear();
        self.arena.clear();
        self.changed = false;
    }

    /// Reads the attributes of a message, which are its fields of that number.
    pub(super) fn read(&mut self, message: &'a [u8], number: u32, strings: &'a [&'a str]) {
        self.strings = strings;
        let mut fields = Fields::new(message);
        loop {
            // What nearly all fields are, at one glance each.
            if let Some(slot) = Slot::usual_at(message, fields.position(), number) {
                fields.skip_to(slot.field.end);
                self.slots.push(slot);
                continue;
            }
            if let Some(end) = behind_other(message, fields.position(), number) {
                fields.skip_to(end);
                continue;
            }
            match fields.next() {
                Some(field) if field.number == number => {
                    let slot = Slot::any(&field, strings, &mut self.arena);
                    self.slots.push(slot);
                }
                Some(_) => {}
                None => break,
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.slots.iter().all(|s| s.state == State::Removed)
    }

    /// Whether a key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<ValueRef<'a>> {
        Some(ValueRef(match self.find(key)? {
            At::Added(i) => Source::Arena(self.added[i].value),
            At::Slot(i) => match self.slots[i].state {
                State::Set(span) => Source::Arena(span),
                _ => self.slots[i].value,
            },
        }))
    }

    /// What is in a value.
    pub fn read_value<'s>(&'s self, value: ValueRef<'s>) -> view::AnyValue<'s> {
        let bytes = self.bytes(value.0);
        let chosen = Fields::new(bytes).filter(|f| Id::AnyValue.oneof().contains(&f.number)).last();
        let by_index = chosen.filter(|f| f.number == 8 && !self.strings.is_empty());
        match by_index {
            Some(field) => {
                string_at(self.strings, field.u64()).map_or(view::AnyValue::Empty, view::AnyValue::Str)
            }
            None => view::AnyValue::read(bytes),
        }
    }

    /// The text of a key, if it has one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|value| self.read_value(value).as_str())
    }

    /// A ready value, for this list.
    pub fn encoded(&mut self, value: &Encoded) -> ValueRef<'a> {
        self.make(|arena| arena.extend_from_slice(value.as_bytes()))
    }

    /// A text as a value, for this list.
    pub fn text_value(&mut self, value: &str) -> ValueRef<'a> {
        self.make(|arena| encoded::text(value, arena))
    }

    /// An integer as a value, for this list.
    pub fn int_value(&mut self, value: i64) -> ValueRef<'a> {
        self.make(|arena| encoded::int(value, arena))
    }

    /// A double as a value, for this list.
    pub fn double_value(&mut self, value: f64) -> ValueRef<'a> {
        self.make(|arena| encoded::double(value, arena))
    }

    /// Gives a key a value, whether it was there or not.
    pub fn set(&mut self, key: &str, value: ValueRef<'a>) {
        if !self.replace(key, value) {
            self.push(key, value);
        }
    }

    /// Gives a key that is there another value; `false` when it is not there.
    pub fn replace(&mut self, key: &str, value: ValueRef<'a>) -> bool {
        let Some(at) = self.find(key) else {
            return false;
        };
        let value = self.stored(value);
        match at {
            At::Slot(i) => self.slots[i].state = State::Set(value),
            At::Added(i) => self.added[i].value = value,
        }
        self.changed = true;
        true
    }

    /// Adds an attribute behind all others. The key must not be there: see [`AttributeList::contains`].
    pub fn push(&mut self, key: &str, value: ValueRef<'a>) {
        let value = self.stored(value);
        let start = self.arena.len();
        self.arena.extend_from_slice(key.as_bytes());
        self.added.push(Added { key: Span { start, end: self.arena.len() }, value });
        self.changed = true;
    }

    /// Removes a key; `false` when it was not there.
    pub fn remove(&mut self, key: &str) -> bool {
        match self.find(key) {
            None => return false,
            Some(At::Slot(i)) => self.slots[i].state = State::Removed,
            Some(At::Added(i)) => drop(self.added.remove(i)),
        }
        self.changed = true;
        true
    }

    /// Removes all keys for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        for slot in self.slots.iter_mut().filter(|s| s.state != State::Removed) {
            if !keep(std::str::from_utf8(slot.key).unwrap_or_default()) {
                slot.state = State::Removed;
                self.changed = true;
            }
        }
        let (arena, changed) = (&self.arena, &mut self.changed);
        self.added.retain(|a| {
            let kept = keep(std::str::from_utf8(&arena[a.key.start..a.key.end]).unwrap_or_default());
            *changed |= !kept;
            kept
        });
    }

    /// Gives all keys for which `which` says yes the text that `make` makes of their value. Each attribute is changed once,
    /// equal keys too.
    pub fn rewrite(
        &mut self,
        mut which: impl FnMut(&str) -> bool,
        mut make: impl FnMut(view::AnyValue<'_>) -> String,
    ) {
        for i in 0..self.slots.len() {
            let slot = &self.slots[i];
            let old = match slot.state {
                State::Removed => continue,
                State::Kept => slot.value,
                State::Set(span) => Source::Arena(span),
            };
            if which(std::str::from_utf8(slot.key).unwrap_or_default()) {
                self.slots[i].state = State::Set(self.made_of(old, &mut make));
                self.changed = true;
            }
        }
        for i in 0..self.added.len() {
            let Added { key, value } = self.added[i];
            if which(std::str::from_utf8(self.span(key)).unwrap_or_default()) {
                self.added[i].value = self.made_of(Source::Arena(value), &mut make);
                self.changed = true;
            }
        }
    }

    fn make(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> ValueRef<'a> {
        let start = self.arena.len();
        write(&mut self.arena);
        ValueRef(Source::Arena(Span { start, end: self.arena.len() }))
    }

    /// The text that `make` makes of a value, in the arena.
    fn made_of(&mut self, old: Source<'a>, make: &mut impl FnMut(view::AnyValue<'_>) -> String) -> Span {
        let text = make(self.read_value(ValueRef(old)));
        let value = self.text_value(&text);
        self.stored(value)
    }

    /// The value in the arena.
    fn stored(&mut self, value: ValueRef<'a>) -> Span {
        match value.0 {
            Source::Arena(span) => span,
            Source::Input(bytes) => {
                let start = self.arena.len();
                self.arena.extend_from_slice(bytes);
                Span { start, end: self.arena.len() }
            }
        }
    }

    fn bytes<'s>(&'s self, source: Source<'s>) -> &'s [u8] {
        match source {
            Source::Input(bytes) => bytes,
            Source::Arena(span) => self.span(span),
        }
    }

    fn span(&self, span: Span) -> &[u8] {
        self.arena.get(span.start..span.end).unwrap_or_default()
    }

    fn find(&self, key: &str) -> Option<At> {
        let key = key.as_bytes();
        let slot = self.slots.iter().position(|s| s.key == key && s.state != State::Removed);
        slot.map(At::Slot).or_else(|| self.added.iter().position(|a| self.span(a.key) == key).map(At::Added))
    }

    /// The attributes whose fields change: each with whether something is to be written in their place.
    pub(super) fn changed_slots(&self) -> impl Iterator<Item = (usize, &Slot<'a>)> {
        self.slots.iter().enumerate().filter(|(_, s)| s.state != State::Kept)
    }

    /// Offset in the message behind the last attribute.
    pub(super) fn end(&self) -> Option<usize> {
        self.slots.last().map(|s| s.field.end)
    }

    pub(super) fn has_added(&self) -> bool {
        !self.added.is_empty()
    }

    /// Writes what takes the place of an attribute: nothing when it was removed; else what it was with another value.
    pub(super) fn write_slot(&self, at: usize, number: u32, out: &mut Vec<u8>) {
        let slot = &self.slots[at];
        let State::Set(value) = slot.state else {
            return;
        };
        let value = self.span(value);
        if slot.usual && value.len() < 0x80 {
            let key = &slot.pair[..2 + slot.key.len()];
            head(number, key.len() + 2 + value.len(), out);
            out.extend_from_slice(key);
            out.extend_from_slice(&[VALUE_TAG, value.len() as u8]);
            out.extend_from_slice(value);
            return;
        }
        let others = || Fields::new(slot.pair).filter(|f| f.number != 2).map(|f| &slot.pair[f.start..f.end]);
        let length = others().map(<[u8]>::len).sum::<usize>() + head_len(2, value.len()) + value.len();
        head(number, length, out);
        others().for_each(|raw| out.extend_from_slice(raw));
        message(2, value, out);
    }

    /// Writes the new attributes.
    pub(super) fn write_added(&self, number: u32, out: &mut Vec<u8>) {
        for added in &self.added {
            let (key, value) = (self.span(added.key), self.span(added.value));
            let length = head_len(1, key.len()) + key.len() + head_len(2, value.len()) + value.len();
            head(number, length, out);
            message(1, key, out);
            message(2, value, out);
        }
    }
}

impl<'a> Slot<'a> {
    /// The attribute at that place of a message, when it is as nearly all writers have it.
    #[inline]
    fn usual_at(message: &'a [u8], at: usize, number: u32) -> Option<Slot<'a>> {
        let (&[tag, length], rest) = message.get(at..)?.split_first_chunk()?;
        if u32::from(tag) != number << 3 | 2 || length >= 0x80 {
            return None;
        }
        let pair = rest.get(..usize::from(length))?;
        let (key, value) = usual(pair)?;
        let field = at..at + 2 + pair.len();
        Some(Slot { key, pair, field, value: Source::Input(value), usual: true, state: State::Kept })
    }

    /// An attribute in any form. A value that came in parts is put together in the arena.
    fn any(field: &Field<'a>, strings: &[&'a str], arena: &mut Vec<u8>) -> Slot<'a> {
        let (pair, mut key, mut index) = (field.bytes(), &[][..], 0);
        for f in Fields::new(pair) {
            match f.number {
                1 => key = f.bytes(),
                3 => index = f.u64(),
                _ => {}
            }
        }
        if key.is_empty() && index != 0 {
            key = string_at(strings, index).unwrap_or_default().as_bytes();
        }
        let value = value(pair, arena);
        Slot { key, pair, field: field.start..field.end, value, usual: false, state: State::Kept }
    }
}

/// The value of a pair.
fn value<'a>(pair: &'a [u8], arena: &mut Vec<u8>) -> Source<'a> {
    let mut parts = Fields::new(pair).filter(|f| f.number == 2).map(|f| f.bytes());
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let Some(second) = second else {
        return Source::Input(first);
    };
    let start = arena.len();
    [first, second].into_iter().chain(parts).for_each(|part| arena.extend_from_slice(part));
    Source::Arena(Span { start, end: arena.len() })
}

/// The end of the field at that place of a message, when it is of another number, its tag and its length have one byte each,
/// and it is whole.
#[inline]
fn behind_other(message: &[u8], at: usize, number: u32) -> Option<usize> {
    let (&tag, rest) = message.get(at..)?.split_first()?;
    if tag >= 0x80 || u32::from(tag >> 3) == number {
        return None;
    }
    let size = match tag & 7 {
        0 => 1 + rest.iter().position(|byte| *byte < 0x80)?,
        1 => 8,
        2 => 1 + usize::from(*rest.first().filter(|length| **length < 0x80)?),
        5 => 4,
        _ => return None,
    };
    (size <= rest.len()).then_some(at + 1 + size)
}

/// Key and value of a pair that has each of them once, in this order, shorter than 128 bytes, and nothing else.
#[inline]
fn usual(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[tag, length], rest) = pair.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(length))?;
    let (&[value_tag, value_length], value) = rest.split_first_chunk()?;
    let short = length < 0x80 && value_length < 0x80 && !key.is_empty();
    (tag == KEY_TAG && value_tag == VALUE_TAG && short && value.len() == usize::from(value_length))
        .then_some((key, value))
}

fn string_at<'a>(strings: &[&'a str], index: u64) -> Option<&'a str> {
    usize::try_from(index).ok().and_then(|i| strings.get(i)).copied()
}
