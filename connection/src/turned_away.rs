//! Who found no room in a table that is full: how many different ones there were lately.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Of so many it is remembered that they were turned away; of further ones nothing, so that the count is then a least one.
const MAX: usize = 1 << 16;

/// Those that were turned away, each counted once however often it comes.
#[derive(Debug, Clone, Default)]
pub struct TurnedAway {
    hasher: RandomState,
    last: HashMap<u64, u64>,
}

impl TurnedAway {
    /// `who` found no room at `now` (ns).
    pub fn add(&mut self, who: &impl Hash, now: u64) {
        let who = self.hasher.hash_one(who);
        if self.last.len() < MAX || self.last.contains_key(&who) {
            self.last.insert(who, now);
        }
    }

    /// Forgets `who`: there is room now.
    pub fn remove(&mut self, who: &impl Hash) {
        if !self.last.is_empty() {
            self.last.remove(&self.hasher.hash_one(who));
        }
    }

    /// Forgets those that have not come since `time` (ns).
    pub fn forget_before(&mut self, time: u64) {
        self.last.retain(|_, last| *last >= time);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once_until_it_finds_room_or_comes_no_more() {
        let mut away = TurnedAway::default();
        for (who, now) in [("a", 1), ("b", 1), ("a", 5), ("c", 5)] {
            away.add(&who, now);
        }
        assert_eq!(away.count(), 3);
        away.forget_before(2);
        assert_eq!(away.count(), 2, "b has not come again");
        away.remove(&"c");
        assert_eq!(away.count(), 1);
    }

    #[test]
    fn however_many_come_it_stays_small() {
        let mut away = TurnedAway::default();
        (0..2 * MAX).for_each(|who| away.add(&who, 1));
        assert_eq!(away.count(), MAX);
    }
}
