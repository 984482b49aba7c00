//! What processors have acknowledged and lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use weir_pdata::Signal;

/// Items that a processor had acknowledged and that failed downstream in a way that another attempt could have mended, by
/// processor and signal: [`Host::shared`](crate::Host::shared). What is lost while the agent stops is named when it ends.
#[derive(Debug, Default)]
pub struct Losses(Mutex<BTreeMap<(String, Signal), usize>>);

impl Losses {
    /// Notes a loss.
    pub fn add(&self, id: &str, signal: Signal, items: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((id.to_owned(), signal)).or_default() += items;
    }

    /// What was lost so far, by processor and signal.
    pub fn so_far(&self) -> BTreeMap<(String, Signal), usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was lost since it was `before`.
    pub fn since(&self, before: &BTreeMap<(String, Signal), usize>) -> Vec<(String, Signal, usize)> {
        let added = self.so_far().into_iter().map(|((id, signal), items)| {
            let earlier = before.get(&(id.clone(), signal)).copied().unwrap_or(0);
            (id, signal, items.saturating_sub(earlier))
        });
        added.filter(|(_, _, items)| *items > 0).collect()
    }
}
