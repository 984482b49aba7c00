//! Storage that keeps each distinct value once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Distinct strings in one allocation.
#[derive(Debug, Default, Clone)]
pub(crate) struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    /// The string with this id; empty for an id that was never given out.
    pub(crate) fn get(&self, id: u32) -> &str {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends.get(id - 1).copied().unwrap_or(0) };
        let end = self.ends.get(id).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or("")
    }

    /// All strings, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|id| self.get(id))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4
    }
}

/// Gives out ids for strings while a profile is built. The strings themselves are only in the result.
#[derive(Default)]
pub(crate) struct StringBuilder {
    strings: Strings,
    hasher: RandomState,
    newest: HashMap<u64, u32>,
    /// For each string the one before it with the same hash.
    older: Vec<Option<u32>>,
}

impl StringBuilder {
    pub(crate) fn id(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let newest = self.newest.get(&hash).copied();
        let mut candidate = newest;
        while let Some(id) = candidate {
            if self.strings.get(id) == text {
                return id;
            }
            candidate = self.older.get(id as usize).copied().flatten();
        }
        let id = self.strings.ends.len() as u32;
        self.strings.text.push_str(text);
        self.strings.ends.push(self.strings.text.len() as u32);
        self.older.push(newest);
        self.newest.insert(hash, id);
        id
    }

    /// Bytes of all distinct strings together.
    pub(crate) fn bytes(&self) -> usize {
        self.strings.text.len()
    }

    pub(crate) fn finish(mut self) -> Strings {
        self.strings.text.shrink_to_fit();
        self.strings.ends.shrink_to_fit();
        self.strings
    }
}

/// Distinct sequences of numbers in one allocation.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sequences {
    items: Vec<u32>,
    ends: Vec<u32>,
}

impl Sequences {
    /// The sequence with this id; empty for an id that was never given out.
    pub(crate) fn get(&self, id: u32) -> &[u32] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends.get(id - 1).copied().unwrap_or(0) };
        let end = self.ends.get(id).copied().unwrap_or(start);
        self.items.get(start as usize..end as usize).unwrap_or(&[])
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Numbers in all of them together.
    pub(crate) fn items(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        (self.items.capacity() + self.ends.capacity()) * 4
    }
}

/// Gives out ids for sequences while a profile is built.
#[derive(Default)]
pub(crate) struct SequenceBuilder {
    sequences: Sequences,
    hasher: RandomState,
    newest: HashMap<u64, u32>,
    /// For each sequence the one before it with the same hash.
    older: Vec<Option<u32>>,
}

impl SequenceBuilder {
    pub(crate) fn id(&mut self, items: &[u32]) -> u32 {
        let hash = self.hasher.hash_one(items);
        let newest = self.newest.get(&hash).copied();
        let mut candidate = newest;
        while let Some(id) = candidate {
            if self.sequences.get(id) == items {
                return id;
            }
            candidate = self.older.get(id as usize).copied().flatten();
        }
        let id = self.sequences.ends.len() as u32;
        self.sequences.items.extend_from_slice(items);
        self.sequences.ends.push(self.sequences.items.len() as u32);
        self.older.push(newest);
        self.newest.insert(hash, id);
        id
    }

    /// Numbers in all distinct sequences together.
    pub(crate) fn items(&self) -> usize {
        self.sequences.items()
    }

    pub(crate) fn finish(mut self) -> Sequences {
        self.sequences.items.shrink_to_fit();
        self.sequences.ends.shrink_to_fit();
        self.sequences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_an_id_and_read_back() {
        let mut strings = StringBuilder::default();
        let ids = ["", "a", "", "bc", "a"].map(|text| strings.id(text));
        assert_eq!(ids, [0, 1, 0, 2, 1]);
        let strings = strings.finish();
        assert_eq!([0, 1, 2, 3].map(|id| strings.get(id).to_owned()), ["", "a", "bc", ""]);

        let mut sequences = SequenceBuilder::default();
        let ids = [&[1, 2][..], &[], &[1], &[1, 2]].map(|items| sequences.id(items));
        assert_eq!(ids, [0, 1, 2, 0]);
        assert_eq!(sequences.items(), 3);
        let sequences = sequences.finish();
        assert_eq!(sequences.get(0), [1, 2]);
        assert_eq!(sequences.get(2), [1]);
        assert!(sequences.get(1).is_empty() && sequences.get(9).is_empty());
    }
}
