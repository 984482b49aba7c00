//! How many share a sync.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::commit::GROUP;
use crate::queue::Queue;
use crate::state::State;

/// Senders that are a crowd. Fewer could not share a sync so well that it were worth a wait.
const CROWD: usize = 8;

/// A group of so many does not wait for more.
const ENOUGH: usize = 16;

/// The longest wait, from the end of the last sync, and what it is in times of what that group took: where syncs cost next
/// to nothing, waiting would cost more than it saves.
const LONGEST: Duration = Duration::from_millis(5);
const WORTH: u32 = 16;

/// A crowd is expected back for so long at least, and twice that at most: its senders may be busy with something else for
/// a moment.
const REMEMBERED: Duration = Duration::from_millis(200);

/// Whom the next group waits for. Times are those of the directory.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The most senders around one sync since `began`, and in the same time before that.
    most: usize,
    before: usize,
    began: Duration,
    /// When the wait ends.
    until: Duration,
}

impl Gathering {
    /// Notes how many were around a group that was written and synced from `begun` to `now`: those whom it served and those
    /// who came meanwhile.
    pub(crate) fn note(&mut self, senders: usize, begun: Duration, now: Duration) {
        let passed = now.saturating_sub(self.began);
        if passed > REMEMBERED {
            self.before = if passed > 2 * REMEMBERED { 0 } else { self.most };
            (self.most, self.began) = (0, now);
        }
        self.most = self.most.max(senders);
        self.until = now + LONGEST.min(WORTH * now.saturating_sub(begun));
    }

    /// How many the next group should be.
    fn wanted(&self) -> usize {
        let crowd = self.most.max(self.before);
        if crowd < CROWD { 0 } else { crowd.min(ENOUGH) }
    }
}

impl State {
    /// Whether what waits is worth a sync.
    pub(crate) fn is_gathered(&self) -> bool {
        self.pending.len() >= self.gathering.wanted() || self.pending_bytes >= GROUP as u64
    }
}

impl Queue {
    /// Waits until enough of a crowd have come again for the next group, or have not.
    pub(crate) fn gather(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while !state.pending.is_empty() && !state.is_gathered() {
            let left = state.gathering.until.saturating_sub(self.fs.now());
            if left.is_zero() {
                break;
            }
            (state, _) = self.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}
