//! Attributes of one message while they are edited.

use std::ops::Range;

use super::encoded::{self, Encoded};
use super::slot::{Form, IN_PLACE, Slot, State, string_at};
use crate::schema::{Id, VALUE_TAG};
use crate::view::{self, Field, Fields};
use crate::wire::{head, head_len, message};

/// The attributes of one message: those it came with, and what is to become of them. Of equal keys the first counts.
#[derive(Debug, Default)]
pub struct AttributeList<'a> {
    message: &'a [u8],
    slots: Vec<Slot>,
    added: Vec<Added<'a>>,
    /// Values that are new or came in parts, of slots that have such a one.
    values: Vec<Source<'a>>,
    /// Keys and values that are new, and values that came in parts.
    arena: Vec<u8>,
    /// Texts by index, of profiles; empty for other signals.
    strings: &'a [&'a str],
    pub(super) changed: bool,
}

/// A range in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy)]
struct Added<'a> {
    key: Span,
    value: Source<'a>,
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

/// What is written in a place of the message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// What became of an attribute.
    Slot(usize),
    /// All new attributes.
    Added,
}

impl<'a> AttributeList<'a> {
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.added.clear();
        self.values.clear();
        self.arena.clear();
        self.changed = false;
    }

    /// Reads the attributes of a message, which are its fields of that number. Those that lie beyond 4 GiB, more than a
    /// request may have, stay as they are.
    pub(super) fn read(&mut self, message: &'a [u8], number: u32, strings: &'a [&'a str]) {
        (self.message, self.strings) = (message, strings);
        let message = &message[..message.len().min(u32::MAX as usize)];
        let mut fields = Fields::new(message);
        loop {
            // What nearly all fields are, at one glance each.
            if let Some(slot) = Slot::usual_at(message, fields.position(), number) {
                fields.skip_to(slot.end as usize);
                self.slots.push(slot);
                continue;
            }
            if let Some(end) = behind_other(message, fields.position(), number) {
                fields.skip_to(end);
                continue;
            }
            match fields.next() {
                Some(field) if field.number == number => self.read_any(&field),
                Some(_) => {}
                None => break,
            }
        }
    }

    /// Reads an attribute in any form. A value that came in parts is put together in the arena.
    #[inline(never)]
    fn read_any(&mut self, field: &Field<'a>) {
        let mut slot = Slot::any(field, self.strings);
        let mut parts = Fields::new(field.bytes()).filter(|f| f.number == 2).map(|f| f.bytes());
        if let (Some(first), Some(second)) = (parts.next(), parts.next()) {
            let ValueRef(value) = self.make(|arena| {
                [first, second].into_iter().chain(parts).for_each(|part| arena.extend_from_slice(part));
            });
            slot.value = self.keep(value);
        }
        self.slots.push(slot);
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
            At::Added(i) => self.added[i].value,
            At::Slot(i) => self.value(&self.slots[i]),
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
    pub fn replace(&mut self, key: &str, ValueRef(value): ValueRef<'a>) -> bool {
        match self.find(key) {
            None => return false,
            Some(At::Slot(i)) => self.put(i, value),
            Some(At::Added(i)) => self.added[i].value = value,
        }
        self.changed = true;
        true
    }

    /// Adds an attribute behind all others. The key must not be there: see [`AttributeList::contains`].
    pub fn push(&mut self, key: &str, ValueRef(value): ValueRef<'a>) {
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
            if !keep(text(slot.key(self.message, self.strings))) {
                slot.state = State::Removed;
                self.changed = true;
            }
        }
        let (arena, changed) = (&self.arena, &mut self.changed);
        self.added.retain(|a| {
            let kept = keep(text(&arena[a.key.start..a.key.end]));
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
            if slot.state != State::Removed && which(text(slot.key(self.message, self.strings))) {
                let made = make(self.read_value(ValueRef(self.value(slot))));
                let ValueRef(value) = self.text_value(&made);
                self.put(i, value);
                self.changed = true;
            }
        }
        for i in 0..self.added.len() {
            let Added { key, value } = self.added[i];
            if which(text(self.span(key))) {
                let made = make(self.read_value(ValueRef(value)));
                self.added[i].value = self.text_value(&made).0;
                self.changed = true;
            }
        }
    }

    fn make(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> ValueRef<'a> {
        let start = self.arena.len();
        write(&mut self.arena);
        ValueRef(Source::Arena(Span { start, end: self.arena.len() }))
    }

    /// Gives a slot another value.
    fn put(&mut self, at: usize, value: Source<'a>) {
        let place = match self.slots[at].value {
            IN_PLACE => self.keep(value),
            place => {
                self.values[place as usize] = value;
                place
            }
        };
        let slot = &mut self.slots[at];
        (slot.value, slot.state) = (place, State::Set);
    }

    /// Keeps a value for a slot that has none yet, and returns its index.
    fn keep(&mut self, value: Source<'a>) -> u32 {
        self.values.push(value);
        // There are no more of them than slots, which take two bytes of a message that has less than 4 GiB.
        (self.values.len() - 1) as u32
    }

    #[inline]
    fn value(&self, slot: &Slot) -> Source<'a> {
        match (slot.value, slot.form) {
            (IN_PLACE, Form::Usual) => {
                // Behind its tag and its length.
                let start = (slot.key + slot.key_len + 2) as usize;
                Source::Input(self.message.get(start..slot.end as usize).unwrap_or_default())
            }
            (IN_PLACE, _) => Source::Input(slot.value_anywhere(self.message)),
            (at, _) => self.values[at as usize],
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
        let length = u32::try_from(key.len()).ok()?;
        let slot = self.slots.iter().position(|s| {
            s.key_len == length && s.key(self.message, self.strings) == key && s.state != State::Removed
        });
        slot.map(At::Slot).or_else(|| self.added.iter().position(|a| self.span(a.key) == key).map(At::Added))
    }

    /// The places of the message in which something changes, in order.
    pub(super) fn changes(&self) -> impl Iterator<Item = (Range<usize>, Change)> {
        let slots = self.slots.iter().enumerate().filter(|(_, s)| s.state != State::Kept);
        let slots = slots.map(|(i, s)| (s.start as usize..s.end as usize, Change::Slot(i)));
        let end = self.slots.last().map_or(self.message.len(), |s| s.end as usize);
        slots.chain((!self.added.is_empty()).then_some((end..end, Change::Added)))
    }

    pub(super) fn write(&self, change: Change, number: u32, out: &mut Vec<u8>) {
        match change {
            Change::Slot(i) => self.write_slot(&self.slots[i], number, out),
            Change::Added => self.write_added(number, out),
        }
    }

    /// Writes what takes the place of an attribute: nothing when it was removed; else what it was with another value.
    fn write_slot(&self, slot: &Slot, number: u32, out: &mut Vec<u8>) {
        if slot.state != State::Set {
            return;
        }
        let value = self.bytes(self.value(slot));
        if slot.form == Form::Usual && value.len() < 0x80 {
            let key = &self.message[slot.key as usize - 2..(slot.key + slot.key_len) as usize];
            head(number, key.len() + 2 + value.len(), out);
            out.extend_from_slice(key);
            out.extend_from_slice(&[VALUE_TAG, value.len() as u8]);
            out.extend_from_slice(value);
            return;
        }
        let pair = slot.pair(self.message);
        let others = || Fields::new(pair).filter(|f| f.number != 2).map(|f| &pair[f.start..f.end]);
        let length = others().map(<[u8]>::len).sum::<usize>() + head_len(2, value.len()) + value.len();
        head(number, length, out);
        others().for_each(|raw| out.extend_from_slice(raw));
        message(2, value, out);
    }

    /// Writes the new attributes.
    fn write_added(&self, number: u32, out: &mut Vec<u8>) {
        for added in &self.added {
            let (key, value) = (self.span(added.key), self.bytes(added.value));
            let length = head_len(1, key.len()) + key.len() + head_len(2, value.len()) + value.len();
            head(number, length, out);
            message(1, key, out);
            message(2, value, out);
        }
    }
}

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap_or_default()
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
