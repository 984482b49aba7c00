//! Blocks of time: what a series did in half a window, and the rings that keep the last ones.

use std::collections::VecDeque;

/// Blocks kept per ring.
pub(crate) const RING: usize = 24;

/// What was seen in one block. Blocks without an observation do not exist; their crossings and deaths count in the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Block {
    /// Number of the block on the series' time line.
    pub(crate) index: i64,
    /// When the floor was reached, ns on the series' time line.
    pub(crate) time: i64,
    /// Smallest population of old and idle ones.
    pub(crate) floor: f32,
    /// When the last point was taken, ns on the series' time line; `open` and `last_floor` are of then.
    pub(crate) last: i64,
    /// Last number of open ones.
    pub(crate) open: f32,
    /// Last population of old and idle ones.
    pub(crate) last_floor: f32,
    /// How many crossed the age T; where deaths are not known, the sum of what the population rose by.
    pub(crate) crossed: f32,
    /// How many died older than T; else the sum of what the population fell by.
    pub(crate) died: f32,
    /// Calls per second; NaN when unknown.
    pub(crate) load: f32,
    /// Resident memory of the process, bytes; NaN when unknown.
    pub(crate) memory: f32,
    /// Open now and idle since their first call; NaN when unknown.
    pub(crate) unused: f32,
}

/// The numbers of one observation that blocks are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) time: i64,
    pub(crate) floor: f64,
    pub(crate) open: f64,
    pub(crate) crossed: f64,
    pub(crate) died: f64,
    pub(crate) load: Option<f64>,
    pub(crate) memory: Option<f64>,
    pub(crate) unused: Option<f64>,
}

/// The last blocks, oldest first, and the one that is being filled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring {
    length: i64,
    blocks: VecDeque<Block>,
    filling: Option<Block>,
}

impl Ring {
    /// A ring of blocks of `length` ns.
    pub(crate) fn new(length: i64) -> Self {
        Ring { length: length.max(1), blocks: VecDeque::new(), filling: None }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.filling = None;
    }

    /// The closed blocks, oldest first.
    pub(crate) fn blocks(&self) -> &VecDeque<Block> {
        &self.blocks
    }

    /// Adds a point to the block of its time. Close older blocks with [`Ring::advance`] first.
    pub(crate) fn add(&mut self, point: Point) {
        let number = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
        let Some(block) = &mut self.filling else {
            self.filling = Some(Block {
                index: point.time.div_euclid(self.length),
                time: point.time,
                floor: point.floor as f32,
                last: point.time,
                open: point.open as f32,
                last_floor: point.floor as f32,
                crossed: point.crossed as f32,
                died: point.died as f32,
                load: number(point.load),
                memory: number(point.memory),
                unused: number(point.unused),
            });
            return;
        };
        if (point.floor as f32) < block.floor {
            block.floor = point.floor as f32;
            block.time = point.time;
        }
        block.last = point.time;
        block.open = point.open as f32;
        block.last_floor = point.floor as f32;
        block.crossed += point.crossed as f32;
        block.died += point.died as f32;
        if let Some(load) = point.load {
            block.load = if block.load.is_nan() { load as f32 } else { (block.load + load as f32) / 2.0 };
        }
        if point.memory.is_some() {
            block.memory = number(point.memory);
        }
        if point.unused.is_some() {
            block.unused = number(point.unused);
        }
    }

    /// Closes the block that is being filled when `time` lies beyond it; true when it did.
    pub(crate) fn advance(&mut self, time: i64) -> bool {
        match self.filling {
            Some(block) if time.div_euclid(self.length) > block.index => {
                self.filling = None;
                if self.blocks.len() == RING {
                    self.blocks.pop_front();
                }
                self.blocks.push_back(block);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(time: i64, floor: f64) -> Point {
        Point { time, floor, open: floor, crossed: 1.0, died: 0.0, load: None, memory: None, unused: None }
    }

    #[test]
    fn a_block_keeps_its_lowest_point_and_sums_its_crossings() {
        let mut ring = Ring::new(10);
        for (time, floor) in [(0, 5.0), (4, 3.0), (8, 7.0)] {
            assert!(!ring.advance(time));
            ring.add(point(time, floor));
        }
        assert!(ring.advance(10));
        let block = ring.blocks()[0];
        assert_eq!((block.floor, block.time, block.crossed), (3.0, 4, 3.0));
        assert_eq!((block.open, block.last_floor, block.last), (7.0, 7.0, 8), "of its last point");
    }

    #[test]
    fn a_gap_leaves_no_blocks_and_the_ring_stays_bounded() {
        let mut ring = Ring::new(10);
        for i in 0..100 {
            let time = if i < 50 { i * 10 } else { 10_000 + i * 10 };
            ring.advance(time);
            ring.add(point(time, 1.0));
        }
        assert_eq!(ring.blocks().len(), RING);
    }
}
