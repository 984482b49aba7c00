//! Addresses that this agent itself connects to in order to watch, such as those of profiles.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Who asks where. The engine owns the one instance, so it is made by `Default`.
#[derive(Debug, Default)]
pub struct Asked(Mutex<BTreeMap<String, Vec<String>>>);

impl Asked {
    /// Says that the component `id` asks these addresses (`host:port`); replaces what it said before.
    pub fn put(&self, id: &str, addresses: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), addresses);
    }

    /// All addresses, each with the component that asks there.
    pub fn all(&self) -> Vec<(String, String)> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(id, list): (&String, &Vec<String>)| -> Vec<(String, String)> {
            list.iter().map(|address| (address.clone(), id.clone())).collect()
        };
        asked.iter().flat_map(of).collect()
    }
}
