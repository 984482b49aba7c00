//! When a peer counts as gone although its connection stands.

use std::sync::atomic::{AtomicU32, Ordering};

/// Attempts in a row that were given up without an answer.
#[derive(Debug, Default)]
pub(super) struct Unanswered(AtomicU32);

/// Of so many the connection is not used any more: a peer that vanished without a word keeps it "established" for a quarter of
/// an hour.
const MOST: u32 = 2;

impl Unanswered {
    /// Whether there were too many.
    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MOST
    }

    /// The peer has said something.
    pub(super) fn answered(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// An attempt was given up.
    pub(super) fn gave_up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
