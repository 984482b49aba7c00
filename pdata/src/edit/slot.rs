//! Where an attribute lies in its message.

use crate::schema::{KEY_TAG, VALUE_TAG};
use crate::view::{Field, Fields};

/// An attribute that came with the message. Two bytes make one, and there may be millions of them: it is kept small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Its field, tag included, in the message.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where its key begins in the message; of a key by index the index.
    pub(super) key: u32,
    pub(super) key_len: u32,
    /// Index of its value among those that the list keeps, or [`IN_PLACE`].
    pub(super) value: u32,
    pub(super) form: Form,
    pub(super) state: State,
}

const _: () = assert!(size_of::<Slot>() == 24);

/// In place of an index: the value lies in the message, in one piece.
pub(super) const IN_PLACE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As nearly all writers have it, see [`usual`].
    Usual,
    Any,
    /// In any form, with its key in the table of strings.
    KeyByIndex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Kept,
    Removed,
    /// It has another value.
    Set,
}

impl Slot {
    /// The attribute at that place of a message, when it is as nearly all writers have it.
    #[inline]
    pub(super) fn usual_at(message: &[u8], at: usize, number: u32) -> Option<Slot> {
        let (&[tag, length], rest) = message.get(at..)?.split_first_chunk()?;
        if u32::from(tag) != number << 3 | 2 || length >= 0x80 {
            return None;
        }
        let key_len = usual(rest.get(..usize::from(length))?)?;
        let start = at as u32;
        let (end, key) = (start + 2 + u32::from(length), start + 4);
        Some(Slot { start, end, key, key_len, value: IN_PLACE, form: Form::Usual, state: State::Kept })
    }

    /// An attribute in any form.
    pub(super) fn any<'a>(field: &Field<'a>, strings: &[&'a str]) -> Slot {
        let (mut key, mut index) = (0..0, 0);
        for f in Fields::new(field.bytes()) {
            match f.number {
                1 => key = f.content(),
                3 => index = f.u64(),
                _ => {}
            }
        }
        let at = field.content().start + key.start;
        let slot = Slot {
            start: field.start as u32,
            end: field.end as u32,
            key: at as u32,
            key_len: key.len() as u32,
            value: IN_PLACE,
            form: Form::Any,
            state: State::Kept,
        };
        if key.is_empty()
            && index != 0
            && let Some(text) = string_at(strings, index)
        {
            return Slot { form: Form::KeyByIndex, key: index as u32, key_len: text.len() as u32, ..slot };
        }
        slot
    }

    #[inline]
    pub(super) fn key<'a>(&self, message: &'a [u8], strings: &[&'a str]) -> &'a [u8] {
        if self.form == Form::KeyByIndex {
            return string_at(strings, self.key.into()).unwrap_or_default().as_bytes();
        }
        let start = self.key as usize;
        message.get(start..start + self.key_len as usize).unwrap_or_default()
    }

    /// The value, when it is there in one piece. Apart, so that reading a usual one stays small.
    #[inline(never)]
    pub(super) fn value_anywhere<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        Fields::new(self.pair(message)).find(|f| f.number == 2).map_or(&[], |f| f.bytes())
    }

    /// Content of the `KeyValue`.
    pub(super) fn pair<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        let mut fields = Fields::new(message);
        fields.skip_to(self.start as usize);
        fields.next().map_or(&[], |field| field.bytes())
    }
}

/// The length of the key of a pair that has key and value once each, in this order, shorter than 128 bytes, and nothing
/// else.
#[inline]
fn usual(pair: &[u8]) -> Option<u32> {
    let (&[tag, length], rest) = pair.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(length))?;
    let (&[value_tag, value_length], value) = rest.split_first_chunk()?;
    let short = length < 0x80 && value_length < 0x80 && !key.is_empty();
    (tag == KEY_TAG && value_tag == VALUE_TAG && short && value.len() == usize::from(value_length))
        .then_some(u32::from(length))
}

/// A text by index.
pub(super) fn string_at<'a>(strings: &[&'a str], index: u64) -> Option<&'a str> {
    usize::try_from(index).ok().and_then(|i| strings.get(i)).copied()
}
