//! The tests on a ring: does the floor grow, does it go on growing, do its members never die, is it not merely load?

use super::block::{Block, RING};
use super::stats::{self, Slopes};
use std::collections::VecDeque;

/// Blocks that the tests need at the least.
pub(crate) const MIN_BLOCKS: usize = 6;
/// Blocks that growth must span before it may be called a leak, when each of the growing ones is idle and was used once.
const PERSISTENCE: usize = 8;
/// The same where they are used again, or where it is not known whether they are used: a pool fills that way, too.
const PERSISTENCE_IN_USE: usize = 14;
/// The same where only the number of open ones is known: load that rises looks the same for long.
const PERSISTENCE_OPEN: usize = 20;
/// Blocks of a leak that go by before its members are old and it is seen to grow.
const FIRST_BLOCKS: usize = 4;
/// Smallest growth that counts.
const MIN_GROWTH: f64 = 5.0;
/// Blocks in which the floor must have reached a new maximum: one or two steps are a resize, not a leak.
const MIN_RISES: usize = 4;
/// The growth of the last third, as a share of a third of the growth, below which it has levelled off.
const PLATEAU: f64 = 0.35;
/// Suspect and leaking levels of the trend (one-sided 5 % and 1 %).
const Z_SUSPECT: f64 = 1.64;
const Z_LEAKING: f64 = 2.33;
/// Level of the survivor balance.
const BALANCE: f64 = 1e-3;
const BALANCE_SUSPECT: f64 = 0.05;
/// Where deaths are not known, net changes between observations stand in for crossings and deaths, which hides most of
/// both. Falls of more than these parts of the rises then say that members do die: for leaking and for suspect.
const NET_FALLS: f64 = 0.02;
const NET_FALLS_SUSPECT: f64 = 0.3;
/// Correlation of load and floor that vetoes; and the one that does where at least half as many die as come.
const LOAD: f64 = 0.9;
const LOAD_TURNOVER: f64 = 0.75;
/// The last blocks that must still show growth, where their share of it should be at least this.
const FRESH_BLOCKS: usize = 3;
const FRESH_EXPECTED: f64 = 4.0;
/// Growth that must have been expected by the rate before its absence says that it stopped: P(0 | 8) = 0.0003.
const EXPECTED: f64 = 8.0;

/// How much is known of the population, which decides how long growth has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quality {
    /// The floor is of idle ones.
    pub(crate) idle: bool,
    /// Crossings and deaths are counted, not inferred from net changes.
    pub(crate) deaths: bool,
}

/// What the tests say.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Evaluation {
    /// Blocks it is made from; below [`MIN_BLOCKS`] nothing is said.
    pub(crate) blocks: usize,
    /// Mann-Kendall z.
    pub(crate) z: f64,
    /// Slopes per second since the onset.
    pub(crate) slopes: Slopes,
    /// Growth of the floor since the onset.
    pub(crate) growth: f64,
    /// Probability of this balance of crossings and deaths in a population that does not grow.
    pub(crate) balance: f64,
    /// Crossings and deaths since the onset.
    pub(crate) crossed: f64,
    pub(crate) died: f64,
    /// Growth in the last third relative to its share.
    pub(crate) late_share: f64,
    /// The same for crossings less deaths: old members that merely fall idle are no growth.
    pub(crate) late_net: f64,
    /// The last blocks still show growth, or are too few to tell.
    pub(crate) fresh: bool,
    /// The growth follows the load.
    pub(crate) load_follows: bool,
    /// Share of the growth that is idle since its first call; absent when unknown.
    pub(crate) unused_share: Option<f64>,
    /// Onset, ns on the series' time line, and the blocks since.
    pub(crate) onset: i64,
    pub(crate) since_onset: usize,
    /// New maxima since, and the blocks from the first of them to the last.
    pub(crate) rises: usize,
    pub(crate) rising: usize,
    /// Growth that may become a leak.
    pub(crate) suspect: bool,
    /// All tests for a leak hold, save that they held for long enough.
    pub(crate) passes: bool,
    /// Growth has lasted long enough to be called a leak.
    pub(crate) lasting: bool,
    /// What was growing has not clearly stopped.
    pub(crate) keeps: bool,
    /// Most of what had grown is gone.
    pub(crate) dropped: bool,
}

/// Evaluates a ring, oldest block first.
///
/// Looks at the whole ring and, where one jump makes up much of it, also at what comes after that jump, so that a warm-up
/// does not hide the leak that follows it.
pub(crate) fn evaluate(ring: &VecDeque<Block>, quality: Quality) -> Evaluation {
    let blocks: Vec<Block> = ring.iter().copied().collect();
    let whole = stretch(&blocks, quality);
    let jump = (1..blocks.len()).max_by(|a, b| {
        let size = |i: usize| (blocks[i].floor - blocks[i - 1].floor).abs();
        size(*a).total_cmp(&size(*b))
    });
    match jump {
        Some(start) if !whole.passes && blocks.len() - start >= MIN_BLOCKS => {
            let rest = stretch(&blocks[start..], quality);
            if (rest.passes, rest.suspect) > (whole.passes, whole.suspect) { rest } else { whole }
        }
        _ => whole,
    }
}

fn stretch(blocks: &[Block], quality: Quality) -> Evaluation {
    let n = blocks.len();
    let floors: Vec<f64> = blocks.iter().map(|block| f64::from(block.floor)).collect();
    let mut result = Evaluation { blocks: n, balance: 1.0, ..Evaluation::default() };
    if n < 2 {
        return result;
    }
    let onset = stats::onset(&points(blocks));
    let since = &blocks[onset..];
    let base = f64::from(since[0].floor);
    result.z = stats::mann_kendall(&floors);
    result.slopes = slopes(if since.len() >= MIN_BLOCKS { since } else { blocks });
    result.onset = since[0].time;
    result.since_onset = since.len() - 1;
    result.growth = floors[n - 1] - base;
    (result.rises, result.rising) = rises(since);
    result.late_share = late_share(&floors[onset..]);
    result.fresh = fresh(blocks, result.slopes.median);
    result.dropped = dropped(&floors);
    balance(&mut result, since);
    result.late_net = late_net(since);
    result.unused_share = share_of_growth(since, |block| block.unused);
    result.load_follows = load_follows(&result, blocks, quality);
    conclude(&mut result, quality);
    result
}

fn conclude(result: &mut Evaluation, quality: Quality) {
    if result.blocks < MIN_BLOCKS {
        return;
    }
    let grows = result.slopes.low >= 0.0
        && result.growth >= MIN_GROWTH
        && result.late_share >= PLATEAU
        && result.late_net >= PLATEAU;
    let survive = |level: f64, falls: f64| {
        result.balance < level && (quality.deaths || result.died <= falls * result.crossed)
    };
    let surviving = survive(BALANCE, NET_FALLS);
    let barely = survive(BALANCE_SUSPECT, NET_FALLS_SUSPECT);
    result.suspect = grows
        && result.z > Z_SUSPECT
        && barely
        && !result.load_follows
        && result.since_onset >= MIN_RISES
        && result.rises >= MIN_RISES - 1;
    result.passes = grows && result.fresh && result.z > Z_LEAKING && surviving && !result.load_follows;
    let reused = result.unused_share.is_some_and(|share| share < 0.5);
    result.lasting = result.rising >= persistence(quality, reused) && result.rises >= MIN_RISES;
    result.keeps = grows && result.z > Z_SUSPECT && barely && !result.load_follows;
}

/// Blocks that growth must span before it may be called a leak.
fn persistence(quality: Quality, reused: bool) -> usize {
    match quality {
        Quality { idle: true, .. } if !reused => PERSISTENCE,
        Quality { idle: false, deaths: false } => PERSISTENCE_OPEN,
        _ => PERSISTENCE_IN_USE,
    }
}

/// Blocks after which a leak of such a population would have been found: that none was then says that there is none.
pub(crate) fn enough(quality: Quality) -> usize {
    (persistence(quality, false) + FIRST_BLOCKS).min(RING)
}

fn slopes(blocks: &[Block]) -> Slopes {
    stats::theil_sen(&points(blocks)).unwrap_or_default()
}

/// (Seconds since the first block, floor).
fn points(blocks: &[Block]) -> Vec<(f64, f64)> {
    let start = blocks.first().map_or(0, |block| block.time);
    blocks
        .iter()
        .map(|block| (block.time.saturating_sub(start) as f64 / 1e9, f64::from(block.floor)))
        .collect()
}

/// In how many blocks the floor reached a new maximum, by at least one, and how many blocks lie from the first of them to
/// the last.
fn rises(since: &[Block]) -> (usize, usize) {
    let mut highest = since[0].floor;
    let (mut rises, mut first, mut last) = (0, 0, 0);
    for (i, block) in since.iter().enumerate().skip(1) {
        if block.floor >= highest + 1.0 {
            rises += 1;
            last = i;
            if rises == 1 {
                first = i;
            }
        }
        highest = highest.max(block.floor);
    }
    (rises, if rises == 0 { 0 } else { last - first + 1 })
}

fn late_share(floors: &[f64]) -> f64 {
    let n = floors.len();
    let (first, last) = (floors[0], floors[n - 1]);
    let growth = last - first;
    if growth <= 0.0 {
        return 0.0;
    }
    // Rounded up, so that a short stretch has a last third at all.
    let third = n.saturating_sub(1).div_ceil(3).max(1);
    let expected = growth * third as f64 / (n - 1) as f64;
    (last - floors[n - 1 - third]) / expected
}

fn late_net(since: &[Block]) -> f64 {
    let mut old = 0.0;
    let sums: Vec<f64> = since
        .iter()
        .enumerate()
        .map(|(i, block)| {
            old += if i == 0 { 0.0 } else { f64::from(block.crossed - block.died) };
            old
        })
        .collect();
    if sums.len() < 2 { 0.0 } else { late_share(&sums) }
}

/// Whether the last blocks show their part of growth at `rate`, where that part is large enough to tell.
fn fresh(blocks: &[Block], rate: f64) -> bool {
    let (Some(last), Some(before)) = (blocks.last(), blocks.len().checked_sub(1 + FRESH_BLOCKS)) else {
        return true;
    };
    let before = &blocks[before];
    let expected = rate * (last.time - before.time) as f64 / 1e9;
    expected < FRESH_EXPECTED || f64::from(last.floor - before.floor) >= PLATEAU * expected
}

/// Whether more than half of the highest growth in this stretch is gone again.
fn dropped(floors: &[f64]) -> bool {
    let last = floors[floors.len() - 1];
    let highest = floors.iter().copied().fold(0.0, f64::max);
    let lowest = floors.iter().copied().fold(f64::INFINITY, f64::min);
    highest - lowest >= MIN_GROWTH && highest - last > (highest - lowest) / 2.0
}

fn balance(result: &mut Evaluation, since: &[Block]) {
    result.crossed = since[1..].iter().map(|block| f64::from(block.crossed)).sum();
    result.died = since[1..].iter().map(|block| f64::from(block.died)).sum();
    result.balance = stats::fair_coin_tail(result.crossed, result.died);
}

/// How much of the growth of the open ones is growth of this part of them; absent when unknown or when nothing grew.
fn share_of_growth(since: &[Block], part: impl Fn(&Block) -> f32) -> Option<f64> {
    let (first, last) = (since.first()?, since.last()?);
    let growth = f64::from(last.open - first.open);
    let part = f64::from(part(last) - part(first));
    (growth >= 1.0 && part.is_finite()).then(|| (part / growth).clamp(0.0, 1.0))
}

fn load_follows(result: &Evaluation, blocks: &[Block], quality: Quality) -> bool {
    let pairs: Vec<(f64, f64)> = blocks
        .iter()
        .filter(|block| !block.load.is_nan())
        .map(|block| (f64::from(block.load), f64::from(block.floor)))
        .collect();
    let turns_over = result.died >= 0.5 * result.crossed;
    let level = if turns_over { LOAD_TURNOVER } else { LOAD };
    if pairs.len() < MIN_BLOCKS || stats::correlation(&pairs) <= level {
        return false;
    }
    let since = &blocks[blocks.len() - 1 - result.since_onset..];
    let idle = if quality.idle { share_of_growth(since, |block| block.floor).unwrap_or(0.0) } else { 0.0 };
    !(idle > 0.5 && result.died < 0.1 * result.crossed)
}

/// Whether growth at `rate` per second has clearly stopped: enough was expected lately, and hardly any came.
pub(crate) fn stalled(ring: &VecDeque<Block>, rate: f64) -> bool {
    let Some(last) = ring.back() else { return false };
    for block in ring.iter().rev() {
        let expected = rate * (last.time - block.time) as f64 / 1e9;
        if expected >= EXPECTED && last.index - block.index >= 3 {
            return f64::from(last.floor - block.floor) < 0.1 * expected;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Quality = Quality { idle: true, deaths: true };

    fn ring(rows: &[(f64, f64, f64)]) -> VecDeque<Block> {
        let skip = rows.len().saturating_sub(RING);
        rows.iter()
            .enumerate()
            .skip(skip)
            .map(|(i, (floor, crossed, died))| Block {
                index: i as i64,
                time: i as i64 * 10_000_000_000,
                last: i as i64 * 10_000_000_000,
                last_floor: *floor as f32,
                floor: *floor as f32,
                open: *floor as f32,
                crossed: *crossed as f32,
                died: *died as f32,
                load: f32::NAN,
                memory: f32::NAN,
                unused: f32::NAN,
            })
            .collect()
    }

    #[test]
    fn steady_growth_without_deaths_passes() {
        let rows: Vec<_> = (0..12).map(|i| (f64::from(i) * 2.0, 2.0, 0.0)).collect();
        let result = evaluate(&ring(&rows), FULL);
        assert!(result.passes && result.lasting && result.suspect, "{result:?}");
        assert!((result.slopes.median - 0.2).abs() < 1e-6);
    }

    #[test]
    fn growth_that_levelled_off_does_not_pass() {
        let rows: Vec<_> =
            (0..20).map(|i| (f64::from(i.min(8)) * 5.0, if i < 9 { 5.0 } else { 0.0 }, 0.0)).collect();
        let result = evaluate(&ring(&rows), FULL);
        assert!(!result.passes && !result.suspect && !result.keeps, "{result:?}");
    }

    #[test]
    fn growth_with_as_many_deaths_as_births_does_not_pass() {
        let rows: Vec<_> = (0..20).map(|i| (f64::from(i), 40.0, 39.0)).collect();
        assert!(!evaluate(&ring(&rows), FULL).passes);
    }

    #[test]
    fn a_single_step_is_no_lasting_growth_at_any_time_after_it() {
        for after in 1..23 {
            let rows: Vec<_> =
                (0..24).map(|i| if i + after < 24 { (0.0, 0.0, 0.0) } else { (50.0, 50.0, 0.0) }).collect();
            let result = evaluate(&ring(&rows), FULL);
            assert!(!(result.suspect || result.passes && result.lasting), "{after}: {result:?}");
        }
    }

    #[test]
    fn two_steps_are_no_lasting_growth() {
        for between in 2..12 {
            for after in 1..10 {
                let level = |i: i32| {
                    f64::from(u8::from(i >= 24 - after) + u8::from(i >= 24 - after - between)) * 20.0
                };
                let rows: Vec<_> = (0..24).map(|i| (level(i), level(i) - level(i - 1), 0.0)).collect();
                let result = evaluate(&ring(&rows), FULL);
                assert!(
                    !(result.suspect || result.passes && result.lasting),
                    "{between} {after}: {result:?}"
                );
            }
        }
    }

    #[test]
    fn a_leak_after_a_warm_up_is_not_hidden_by_it() {
        let rows: Vec<_> = (0..20)
            .map(|i| {
                if i == 0 {
                    (0.0, 0.0, 0.0)
                } else {
                    (50.0 + f64::from(i), if i == 1 { 51.0 } else { 1.0 }, 0.0)
                }
            })
            .collect();
        let result = evaluate(&ring(&rows), FULL);
        assert!(result.passes && result.lasting, "{result:?}");
    }

    #[test]
    fn growth_that_follows_the_load_is_vetoed_unless_idle_and_undying() {
        let mut blocks = ring(&(0..20).map(|i| (f64::from(i) * 3.0, 9.0, 2.0)).collect::<Vec<_>>());
        for (i, block) in blocks.iter_mut().enumerate() {
            block.load = 10.0 + i as f32;
        }
        assert!(evaluate(&blocks, FULL).load_follows);
        for block in &mut blocks {
            block.died = 0.0;
        }
        assert!(!evaluate(&blocks, FULL).load_follows);
        assert!(evaluate(&blocks, Quality { idle: false, deaths: true }).load_follows);
    }

    #[test]
    fn stopped_growth_is_noticed_once_enough_was_expected() {
        let rows: Vec<_> = (0..10).map(|i| (f64::from(i) * 4.0, 4.0, 0.0)).collect();
        assert!(!stalled(&ring(&rows), 0.4));
        let mut flat = rows;
        flat.extend([(36.0, 0.0, 0.0); 3]);
        assert!(stalled(&ring(&flat), 0.4));
    }
}
