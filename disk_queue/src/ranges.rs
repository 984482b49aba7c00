//! A set of ids as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ids, kept as ranges that do not touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range; returns how many of its ids were not there yet.
    pub(crate) fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut start, mut end) = (range.start, range.end);
        let before = self.count(&range);
        while let Some((&s, &e)) = self.0.range(..=end).next_back().filter(|(_, e)| **e >= start) {
            self.0.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.0.insert(start, end);
        (range.end - range.start) - before
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, end)| *end > id)
    }

    /// How many ids of `range` are there.
    pub(crate) fn count(&self, range: &Range<u64>) -> u64 {
        let overlap = |r: Range<u64>| r.end.min(range.end).saturating_sub(r.start.max(range.start));
        self.touching(range).map(overlap).sum()
    }

    /// The ranges that share an id with `range`, and possibly the one before them: those far below are not walked.
    fn touching(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.0.range(..=range.start).next_back().map_or(range.start, |(s, _)| *s);
        self.0.range(first..range.end.max(first)).map(|(s, e)| *s..*e)
    }

    /// The parts of `range` that are not there.
    pub(crate) fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut at, mut missing) = (range.start, Vec::new());
        for Range { start, end } in self.touching(&range) {
            if start > at {
                missing.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(s, e)| *s..*e)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_are_the_set_of_their_ids() {
        let mut random = 7_u64;
        let mut draw = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for _ in 0..200 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..20 {
                let start = draw(40);
                let range = start..start + draw(6);
                let new = range.clone().filter(|id| set.insert(*id)).count();
                assert_eq!(ranges.insert(range), new as u64);
                assert!((0..50).all(|id| ranges.contains(id) == set.contains(&id)));
                let (a, b) = (draw(40), draw(40));
                assert_eq!(ranges.count(&(a..b)), (a..b).filter(|id| set.contains(id)).count() as u64);
                let missing: Vec<u64> = ranges.missing(a..b).into_iter().flatten().collect();
                assert_eq!(missing, (a..b).filter(|id| !set.contains(id)).collect::<Vec<_>>());
            }
            let ends: Vec<_> = ranges.iter().collect();
            assert!(ends.windows(2).all(|w| w[0].end < w[1].start), "{ends:?}");
        }
    }
}
