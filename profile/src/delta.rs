//! What grew between two scrapes of one profile.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::profile::{FrameRow, LABEL_WIDTH, Profile, View};

/// Value types that only ever grow in one process: when their sum falls, the process is another one.
const CUMULATIVE: [&str; 4] = ["alloc_objects", "alloc_space", "contentions", "delay"];

/// The numbers of a profile by stack and labels, without the names: two hashes and the values for each row. Stacks are
/// compared by functions, files and lines, so that a service that starts again at other addresses still compares.
#[derive(Debug, Clone)]
pub struct Snapshot {
    hasher: RandomState,
    types: Vec<String>,
    rows: HashMap<Key, usize>,
    /// `types.len()` values for each row.
    values: Vec<i64>,
    totals: Vec<i64>,
    /// For each type the largest value of a row that was not kept.
    largest_dropped: Vec<i64>,
}

/// Hashes of the stack and of the labels.
type Key = (u64, u64);

/// How much each sample of a profile grew since a snapshot.
#[derive(Debug, Clone)]
pub struct Delta<'a> {
    profile: &'a Profile,
    values: Vec<i64>,
    totals: Vec<i64>,
    gone: Vec<i64>,
    restarted: bool,
}

impl Snapshot {
    /// Takes the numbers of `profile`. Of more than `max_rows` distinct pairs of stack and labels the largest are kept;
    /// what then looks new in [`Snapshot::growth`] is lessened by the largest value not kept, so that a cut never looks
    /// like growth.
    pub fn of(profile: &Profile, max_rows: usize) -> Self {
        let hasher = RandomState::new();
        let width = profile.types.len();
        let mut rows: HashMap<Key, usize> = HashMap::new();
        let mut values: Vec<i64> = Vec::new();
        let mut totals = vec![0_i64; width];
        for (key, sample) in keys(profile, &hasher).zip(profile.samples()) {
            let row = *rows.entry(key).or_insert_with(|| {
                values.resize(values.len() + width, 0);
                values.len() / width - 1
            });
            let sums = values.iter_mut().skip(row * width).zip(totals.iter_mut());
            for ((sum, total), &value) in sums.zip(sample.values()) {
                *sum = sum.saturating_add(value);
                *total = total.saturating_add(value);
            }
        }
        let types = profile.value_types().map(|value_type| value_type.kind.to_owned()).collect();
        let mut snapshot = Self { hasher, types, rows, values, totals, largest_dropped: vec![0; width] };
        if snapshot.rows.len() > max_rows {
            snapshot.keep_largest(max_rows, profile.default_type_index());
        }
        snapshot
    }

    fn keep_largest(&mut self, max_rows: usize, by: usize) {
        let width = self.types.len();
        let mut rows: Vec<(Key, usize)> = self.rows.drain().collect();
        rows.sort_by_key(|&(key, row)| (Reverse(self.values.get(row * width + by).copied()), key));
        let mut values = Vec::with_capacity(max_rows * width);
        for (at, (key, row)) in rows.into_iter().enumerate() {
            let row = self.values.get(row * width..(row + 1) * width).unwrap_or(&[]);
            if at < max_rows {
                values.extend_from_slice(row);
                self.rows.insert(key, at);
            } else {
                self.largest_dropped
                    .iter_mut()
                    .zip(row)
                    .for_each(|(most, &value)| *most = (*most).max(value));
            }
        }
        self.rows.shrink_to_fit();
        self.values = values;
    }

    /// How much `current` grew since this snapshot; none when its value types are others.
    pub fn growth<'a>(&self, current: &'a Profile) -> Option<Delta<'a>> {
        if !current.value_types().map(|value_type| value_type.kind).eq(self.types.iter().map(String::as_str))
        {
            return None;
        }
        let mut totals = vec![0_i64; self.types.len()];
        for sample in current.samples() {
            totals.iter_mut().zip(sample.values()).for_each(|(sum, &value)| *sum = sum.saturating_add(value));
        }
        let (mut values, mut gone) = (current.values.clone(), self.totals.clone());
        let restarted = self.has_fallen(&totals);
        if !restarted {
            self.subtract(current, &mut values, &mut gone);
            totals.iter_mut().zip(&self.totals).for_each(|(sum, &before)| *sum = sum.saturating_sub(before));
        }
        Some(Delta { profile: current, values, totals, gone, restarted })
    }

    fn has_fallen(&self, totals: &[i64]) -> bool {
        let sums = totals.iter().zip(&self.totals);
        self.types
            .iter()
            .zip(sums)
            .any(|(kind, (now, before))| CUMULATIVE.contains(&kind.as_str()) && now < before)
    }

    /// Takes the kept rows off `values`, which are those of `current`, and off `gone`. Of several samples with one key
    /// the first is lessened.
    fn subtract(&self, current: &Profile, values: &mut [i64], gone: &mut [i64]) {
        let width = self.types.len();
        let mut matched = vec![false; self.rows.len()];
        for (key, grown) in keys(current, &self.hasher).zip(values.chunks_exact_mut(width.max(1))) {
            let Some(&row) = self.rows.get(&key) else {
                for (value, &dropped) in grown.iter_mut().zip(&self.largest_dropped) {
                    *value = if dropped > 0 { value.saturating_sub(dropped).max(0) } else { *value };
                }
                continue;
            };
            if matched.get_mut(row).is_some_and(|seen| !std::mem::replace(seen, true)) {
                let before = self.values.get(row * width..(row + 1) * width).unwrap_or(&[]);
                for ((value, &before), gone) in grown.iter_mut().zip(before).zip(gone.iter_mut()) {
                    *value = value.saturating_sub(before);
                    *gone = gone.saturating_sub(before);
                }
            }
        }
    }

    /// Bytes on the heap that this snapshot holds, about.
    pub fn heap_bytes(&self) -> usize {
        // The table holds one control byte and one entry for each slot.
        self.rows.capacity() * (size_of::<(Key, usize)>() + 1) * 8 / 7
            + self.values.capacity() * size_of::<i64>()
    }
}

impl<'a> Delta<'a> {
    /// The growth of each sample, for the functions that take a profile's numbers.
    pub fn view(&self) -> View<'_> {
        View { profile: self.profile, values: &self.values }
    }

    /// The profile that grew.
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// By how much the whole profile grew, for each value type; negative when it shrank.
    pub fn totals(&self) -> &[i64] {
        &self.totals
    }

    /// What belonged to stacks that are not in the profile any more, for each value type. It is part of
    /// [`Delta::totals`] and of no sample. Of a full [`Keeper`] rows that were not kept count as gone too.
    pub fn gone(&self) -> &[i64] {
        &self.gone
    }

    /// True when values that only grow in one process fell: the profile is of another process, and its growth is all
    /// that it has. Goroutine profiles have no such values; there the caller has to know.
    pub fn restarted(&self) -> bool {
        self.restarted
    }
}

/// Keeps the snapshot of the previous scrape.
#[derive(Debug, Clone)]
pub struct Keeper {
    previous: Option<Snapshot>,
    max_rows: usize,
}

impl Keeper {
    /// Rows kept by default: 100,000, about 5 MB in a heap profile. Real profiles have hundreds to some thousands.
    pub const DEFAULT_ROWS: usize = 100_000;

    /// A keeper that holds at most `max_rows` pairs of stack and labels.
    pub fn new(max_rows: usize) -> Self {
        Self { previous: None, max_rows }
    }

    /// The growth since the previous scrape, and remembers this one. None for the first, and for one with other value
    /// types than the last.
    pub fn next<'a>(&mut self, current: &'a Profile) -> Option<Delta<'a>> {
        let delta = self.previous.as_ref().and_then(|previous| previous.growth(current));
        self.previous = Some(Snapshot::of(current, self.max_rows));
        delta
    }

    /// Forgets the previous scrape, as when the process was replaced.
    pub fn forget(&mut self) {
        self.previous = None;
    }

    /// Bytes on the heap that this keeper holds, about.
    pub fn heap_bytes(&self) -> usize {
        self.previous.as_ref().map_or(0, Snapshot::heap_bytes)
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new(Self::DEFAULT_ROWS)
    }
}

/// The key of each sample. Each text is hashed once, however many frames and labels have it.
fn keys<'a>(profile: &'a Profile, hasher: &'a RandomState) -> impl Iterator<Item = Key> + 'a {
    let texts: Vec<u64> = profile.strings.iter().map(|text| hasher.hash_one(text)).collect();
    let text = |id: u32| texts.get(id as usize).copied().unwrap_or(0);
    let functions: Vec<(u64, u64)> =
        profile.functions.iter().map(|function| (text(function.name), text(function.file))).collect();
    let frame = |row: &FrameRow| hasher.hash_one((functions.get(row.function as usize), row.line));
    let frames: Vec<u64> = profile.frames.iter().map(frame).collect();
    let stacks: Vec<u64> = (0..profile.stack_count() as u32)
        .map(|id| {
            let mut state = hasher.build_hasher();
            for &frame in profile.stacks.get(id) {
                state.write_u64(frames.get(frame as usize).copied().unwrap_or(0));
            }
            state.finish()
        })
        .collect();
    // The order of labels differs from one profile to the next and does not count.
    let label_set = |id: u32| {
        let (labels, _) = profile.label_sets.get(id).as_chunks::<LABEL_WIDTH>();
        labels.iter().fold(0, |sum: u64, &[key, kind, low, high, unit]| {
            sum.wrapping_add(match kind {
                0 => hasher.hash_one((text(key), text(low))),
                _ => hasher.hash_one((text(key), low, high, text(unit))),
            })
        })
    };
    let label_sets: Vec<u64> = (0..profile.label_sets.len() as u32).map(label_set).collect();
    profile.samples.iter().map(move |row| {
        let stack = stacks.get(row.stack as usize).copied().unwrap_or(0);
        (stack, label_sets.get(row.labels as usize).copied().unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::{Writer, recorded};

    fn goroutines(rows: &[(&str, i64)]) -> Profile {
        let mut writer = Writer::new(&[("goroutine", "count")]);
        for &(name, count) in rows {
            let id = writer.function(name, "main.go", 1);
            writer.sample(&[id], &[count], &[]);
        }
        writer.profile()
    }

    fn growth(delta: &Delta<'_>) -> Vec<(String, i64)> {
        let name = |sample: crate::Sample<'_>| sample.frames().next().unwrap().function.to_owned();
        delta.view().samples().map(|sample| (name(sample), sample.value(0))).collect()
    }

    #[test]
    fn stacks_grow_shrink_appear_and_go() {
        let mut keeper = Keeper::default();
        assert!(keeper.next(&goroutines(&[("a", 5), ("b", 3), ("c", 2)])).is_none());
        let now = goroutines(&[("d", 4), ("b", 1), ("a", 9)]);
        let delta = keeper.next(&now).unwrap();
        assert_eq!(growth(&delta), [("d".into(), 4), ("b".into(), -2), ("a".into(), 4)]);
        assert_eq!((delta.totals(), delta.gone(), delta.restarted()), (&[4][..], &[2][..], false));
        let same = keeper.next(&now).unwrap();
        assert_eq!(growth(&same), [("d".into(), 0), ("b".into(), 0), ("a".into(), 0)]);
        keeper.forget();
        assert!(keeper.next(&now).is_none() && keeper.heap_bytes() > 0);
    }

    #[test]
    fn a_full_keeper_never_invents_growth() {
        let rows: Vec<(String, i64)> = (1..=100).map(|count| (format!("f{count}"), count)).collect();
        let rows: Vec<(&str, i64)> = rows.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let before = goroutines(&rows);
        let small = Snapshot::of(&before, 10);
        assert!(small.rows.len() == 10 && small.heap_bytes() < Snapshot::of(&before, 1000).heap_bytes());
        assert!(growth(&small.growth(&before).unwrap()).iter().all(|&(_, grown)| grown == 0));
        let now = goroutines(&[("f100", 130), ("new", 120), ("f1", 2)]);
        let delta = small.growth(&now).unwrap();
        assert_eq!(growth(&delta), [("f100".into(), 30), ("new".into(), 30), ("f1".into(), 0)]);
    }

    #[test]
    fn other_value_types_have_no_growth() {
        let mut keeper = Keeper::default();
        keeper.next(&goroutines(&[("a", 1)]));
        let heap = Writer::new(&[("inuse_space", "bytes")]).profile();
        assert!(keeper.next(&heap).is_none());
        assert!(keeper.next(&heap).is_some());
    }

    #[test]
    fn a_cumulative_value_that_falls_is_another_process() {
        let (first, second) = (recorded("mutex-1.mutex"), recorded("mutex-2.mutex"));
        let delta = Snapshot::of(&second, 100).growth(&first).unwrap();
        assert!(delta.restarted());
        assert_eq!(delta.view().samples().next().unwrap().values(), first.samples().next().unwrap().values());
        assert!(!Snapshot::of(&first, 100).growth(&second).unwrap().restarted());
    }

    #[test]
    fn growth_of_recorded_goroutines_is_that_of_the_program() {
        let (first, second) = (recorded("grpc-1.goroutine"), recorded("grpc-2.goroutine"));
        let delta = Snapshot::of(&first, 1000).growth(&second).unwrap();
        // 30 more connections, each 3 + 2 on the client and 3 on the server, and 7 streams with both their ends.
        assert_eq!(delta.totals(), [30 * 8 + 7 * 2]);
        let census = crate::Census::take(delta.view(), 100);
        let grown = census.total;
        assert_eq!((grown.grpc_clients(), grown.grpc_connections(), grown.grpc_streams()), (30, 30, 7));
        let site = crate::testdata::site("orders");
        let (first_site, counts) = census.by_site().remove(0);
        assert_eq!((first_site, counts.grpc_clients()), (site.as_str(), 20));
    }
}
