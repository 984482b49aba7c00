//! Values by small numbers.

use std::collections::HashMap;

use super::MAX_INTERNED;

/// Values by small numbers; beyond [`MAX_INTERNED`] all share the last number.
#[derive(Debug)]
pub(super) struct Interned<T> {
    ids: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Interned { ids: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    pub(super) fn id(&mut self, value: T) -> u32 {
        if let Some(id) = self.ids.get(&value) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        if self.values.len() < MAX_INTERNED {
            self.values.push(value.clone());
            self.ids.insert(value, id);
        }
        id
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        self.values.get(usize::try_from(id).ok()?)
    }
}
