//! The table of series: sums that last, populations of the current dump, and the limit of targets.
//!
//! Each watched process has at most `max_targets` targets. When a new one comes and there is no room, the target that
//! has had nothing open for longest makes room, provided that is at least ten minutes; its sums move to
//! [`Target::Other`], so that the sums of a process never go back. Else the new one's connections go there.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;

use crate::diag::TcpState;
use crate::series::{
    BOUNDS_SECONDS, BUCKETS, Exemplar, Lifetimes, NANOSECONDS, Resource, SeriesSample, Side, StateCounts,
    Target,
};
use crate::tracker::{Tracked, Tracker};

/// A target without an open connection for this long may make room.
const ROOM_AFTER_NS: u64 = 600 * NANOSECONDS;

/// Which series: the process by a number of the sampler's, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) process: u32,
    pub(crate) side: Side,
    pub(crate) target: Target,
}

/// Limits of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) targets: usize,
    pub(crate) exemplars: usize,
}

#[derive(Debug)]
pub(crate) struct SeriesTable {
    limits: Limits,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: HashMap<Key, u32>,
    /// Known targets, whoever has them: ownerless sockets by state, and how many series want to know.
    unowned: HashMap<(Side, SocketAddr), Unowned>,
    targets: HashMap<u32, usize>,
    folded: HashMap<u32, u64>,
}

#[derive(Debug, Default)]
struct Unowned {
    series: u32,
    states: StateCounts,
}

#[derive(Debug)]
struct Slot {
    key: Key,
    since_ns: u64,
    /// Last time that something was open.
    alive_ns: u64,
    socket: Population,
    close_wait: Population,
}

/// Sums and the current dump's population of one resource of one series.
#[derive(Debug, Default)]
struct Population {
    opened: u64,
    closed: u64,
    lifetimes: Lifetimes,
    open: u64,
    /// Open ones by the number of bounds that their age has reached.
    ages: [u32; BUCKETS],
    /// Likewise by idle time.
    idles: [u32; BUCKETS],
    unused: u64,
    age_is_bound: u64,
    states: StateCounts,
    /// The longest idle, shortest on top: idle time, age, cookie.
    exemplars: BinaryHeap<Reverse<(u64, u64, u64)>>,
}

impl SeriesTable {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            unowned: HashMap::new(),
            targets: HashMap::new(),
            folded: HashMap::new(),
        }
    }

    /// Forgets the populations of the dump before.
    pub(crate) fn begin(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            slot.socket.begin();
            slot.close_wait.begin();
        }
        for unowned in self.unowned.values_mut() {
            unowned.states = StateCounts::default();
        }
    }

    /// The number of the series with this key; made, folded into [`Target::Other`] or given another's room as needed.
    pub(crate) fn slot(&mut self, key: Key, now_ns: u64) -> u32 {
        if let Some(slot) = self.index.get(&key) {
            return *slot;
        }
        let full = self.targets.get(&key.process).copied().unwrap_or_default() >= self.limits.targets;
        if full && key.target != Target::Other && !self.make_room(key.process, now_ns) {
            *self.folded.entry(key.process).or_default() += 1;
            return self.slot(Key { target: Target::Other, ..key }, now_ns);
        }
        self.insert(key, now_ns)
    }

    /// A socket that is followed from now on.
    pub(crate) fn opened(&mut self, tracked: &Tracked) {
        if let Some(slot) = self.get_mut(tracked.slot) {
            slot.population(tracked.peer_closed()).opened += 1;
        }
    }

    /// The peer of a followed socket has closed: one resource ends, the other begins.
    pub(crate) fn peer_closed(&mut self, tracked: &Tracked, now_ns: u64) {
        if let Some(slot) = self.get_mut(tracked.slot) {
            let in_close_wait = tracked.age_ns(now_ns);
            slot.socket.close(tracked.activity.age_ns(now_ns).saturating_sub(in_close_wait));
            slot.close_wait.opened += 1;
        }
    }

    /// A followed socket has ended at about that time.
    pub(crate) fn closed(&mut self, tracked: &Tracked, ended_ns: u64) {
        if let Some(slot) = self.get_mut(tracked.slot) {
            slot.population(tracked.peer_closed()).close(tracked.age_ns(ended_ns));
        }
    }

    /// A followed socket is open in this dump.
    pub(crate) fn open(&mut self, cookie: u64, tracked: &Tracked, now_ns: u64) {
        let exemplars = self.limits.exemplars;
        if let Some(slot) = self.get_mut(tracked.slot) {
            slot.alive_ns = now_ns;
            slot.population(tracked.peer_closed()).add(cookie, tracked, now_ns, exemplars);
        }
    }

    /// A socket without an owner, by its side and target; counted if some series has that target.
    pub(crate) fn unowned(&mut self, side: Side, target: SocketAddr, state: TcpState) {
        if let Some(unowned) = self.unowned.get_mut(&(side, target)) {
            unowned.states.add(state);
        }
    }

    /// The numbers of all series whose process is one of these.
    pub(crate) fn slots_of(&self, process: impl Fn(u32) -> bool) -> HashSet<u32> {
        self.index.iter().filter(|(key, _)| process(key.process)).map(|(_, slot)| *slot).collect()
    }

    /// The series of a process, ordered by side and target, and how many of its connections were folded.
    pub(crate) fn samples(&self, process: u32, tracker: &Tracker, now_ns: u64) -> (Vec<SeriesSample>, u64) {
        let mut slots: Vec<&Slot> =
            self.slots.iter().flatten().filter(|slot| slot.key.process == process).collect();
        slots.sort_by_key(|slot| (slot.key.side.name(), slot.since_ns, slot.key.target.to_string()));
        let mut samples = Vec::new();
        for slot in slots {
            for (resource, population) in
                [(Resource::Socket, &slot.socket), (Resource::CloseWait, &slot.close_wait)]
            {
                if population.opened > 0 {
                    samples.push(self.sample(slot, resource, population, tracker, now_ns));
                }
            }
        }
        (samples, self.folded.get(&process).copied().unwrap_or_default())
    }

    /// Forgets the series of a process that ended.
    pub(crate) fn remove_process(&mut self, process: u32) {
        let keys: Vec<Key> = self.index.keys().filter(|key| key.process == process).copied().collect();
        for key in keys {
            self.remove(key);
        }
        self.targets.remove(&process);
        self.folded.remove(&process);
    }

    fn sample(
        &self,
        slot: &Slot,
        resource: Resource,
        population: &Population,
        tracker: &Tracker,
        now_ns: u64,
    ) -> SeriesSample {
        let unowned = match (resource, slot.key.target) {
            (Resource::Socket, Target::Address(target)) => self.unowned.get(&(slot.key.side, target)),
            _ => None,
        };
        SeriesSample {
            resource,
            side: slot.key.side,
            target: slot.key.target,
            since_ns: slot.since_ns,
            open: population.open,
            opened: population.opened,
            closed: population.closed,
            older: at_least(&population.ages),
            idle: at_least(&population.idles),
            unused: population.unused,
            age_is_bound: population.age_is_bound,
            lifetimes: population.lifetimes,
            states: population.states,
            unowned: unowned.map(|unowned| unowned.states).unwrap_or_default(),
            exemplars: population.exemplars(tracker, now_ns),
        }
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn insert(&mut self, key: Key, now_ns: u64) -> u32 {
        let slot = Slot {
            key,
            since_ns: now_ns,
            alive_ns: now_ns,
            socket: Population::default(),
            close_wait: Population::default(),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.slots.get_mut(number as usize) {
            *place = Some(slot);
        }
        self.index.insert(key, number);
        if let Target::Address(target) = key.target {
            *self.targets.entry(key.process).or_default() += 1;
            self.unowned.entry((key.side, target)).or_default().series += 1;
        }
        number
    }

    fn remove(&mut self, key: Key) -> Option<Slot> {
        let number = self.index.remove(&key)?;
        self.free.push(number);
        if let Target::Address(target) = key.target {
            if let Some(count) = self.targets.get_mut(&key.process) {
                *count = count.saturating_sub(1);
            }
            if let Some(unowned) = self.unowned.get_mut(&(key.side, target)) {
                unowned.series = unowned.series.saturating_sub(1);
                if unowned.series == 0 {
                    self.unowned.remove(&(key.side, target));
                }
            }
        }
        self.slots.get_mut(number as usize)?.take()
    }

    /// Frees the target of a process that has been empty for longest; its sums go to [`Target::Other`].
    fn make_room(&mut self, process: u32, now_ns: u64) -> bool {
        let empty = |slot: &&Slot| {
            let sums = |population: &Population| population.opened == population.closed;
            slot.key.process == process
                && slot.key.target != Target::Other
                && sums(&slot.socket)
                && sums(&slot.close_wait)
                && now_ns.saturating_sub(slot.alive_ns) >= ROOM_AFTER_NS
        };
        let Some(key) =
            self.slots.iter().flatten().filter(empty).min_by_key(|slot| slot.alive_ns).map(|slot| slot.key)
        else {
            return false;
        };
        let other = self.slot(Key { target: Target::Other, ..key }, now_ns);
        let removed = self.remove(key);
        if let (Some(removed), Some(other)) = (removed, self.get_mut(other)) {
            other.socket.merge(&removed.socket);
            other.close_wait.merge(&removed.close_wait);
        }
        true
    }
}

impl Slot {
    fn population(&mut self, peer_closed: bool) -> &mut Population {
        if peer_closed { &mut self.close_wait } else { &mut self.socket }
    }
}

impl Population {
    fn begin(&mut self) {
        let Self { opened, closed, lifetimes, mut exemplars, .. } = std::mem::take(self);
        exemplars.clear();
        *self = Self { opened, closed, lifetimes, exemplars, ..Self::default() };
    }

    fn close(&mut self, lifetime_ns: u64) {
        self.closed += 1;
        self.lifetimes.add(lifetime_ns);
    }

    fn add(&mut self, cookie: u64, tracked: &Tracked, now_ns: u64, exemplars: usize) {
        let (age, idle) = (tracked.age_ns(now_ns), tracked.activity.idle_ns(now_ns));
        self.open += 1;
        for (histogram, value) in [(&mut self.ages, age), (&mut self.idles, idle)] {
            if let Some(count) = histogram.get_mut(reached(value)) {
                *count += 1;
            }
        }
        self.unused += u64::from(!tracked.peer_closed() && tracked.activity.is_unused(now_ns));
        self.age_is_bound += u64::from(tracked.activity.age_is_bound());
        self.states.add(tracked.state);
        if idle >= NANOSECONDS {
            let candidate = (idle, age, cookie);
            let room = self.exemplars.len() < exemplars;
            if room || self.exemplars.peek().is_some_and(|Reverse(least)| candidate > *least) {
                if !room {
                    self.exemplars.pop();
                }
                self.exemplars.push(Reverse(candidate));
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.lifetimes.merge(&other.lifetimes);
    }

    fn exemplars(&self, tracker: &Tracker, now_ns: u64) -> Vec<Exemplar> {
        let mut order: Vec<_> = self.exemplars.iter().map(|Reverse(candidate)| *candidate).collect();
        order.sort_unstable_by_key(|candidate| Reverse(*candidate));
        let found = order.into_iter().filter_map(|(_, _, cookie)| Some((cookie, tracker.get(cookie)?)));
        found.map(|(cookie, tracked)| exemplar(cookie, tracked, now_ns)).collect()
    }
}

fn exemplar(cookie: u64, tracked: &Tracked, now_ns: u64) -> Exemplar {
    let (received_bytes, sent_bytes) = tracked.activity.bytes();
    Exemplar {
        cookie,
        local: tracked.local(),
        peer: tracked.peer(),
        state: tracked.state,
        age_ns: tracked.age_ns(now_ns),
        age_is_bound: tracked.activity.age_is_bound(),
        idle_ns: tracked.activity.idle_ns(now_ns),
        received_bytes,
        sent_bytes,
        unread_bytes: tracked.unread,
    }
}

/// How many bounds a time has reached.
fn reached(time_ns: u64) -> usize {
    BOUNDS_SECONDS.partition_point(|bound| bound * NANOSECONDS <= time_ns)
}

/// From counts by bounds reached to counts that reached at least each bound.
fn at_least(counts: &[u32; BUCKETS]) -> [u64; BOUNDS_SECONDS.len()] {
    let mut result = [0; BOUNDS_SECONDS.len()];
    let mut sum = 0;
    for (place, count) in result.iter_mut().zip(counts.iter().skip(1)).rev() {
        sum += u64::from(*count);
        *place = sum;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::Moment;
    use crate::test_socket::{SECOND, socket};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { targets: 3, exemplars: 20 };

    fn key(process: u32, host: u8) -> Key {
        Key { process, side: Side::Client, target: Target::Address(([10, 0, 0, host], 443).into()) }
    }

    /// Opens and, if told, closes a socket in the series.
    fn use_once(table: &mut SeriesTable, key: Key, now_ns: u64, close: bool) -> u32 {
        let slot = table.slot(key, now_ns);
        let mut tracker = Tracker::new(1);
        let moment = Moment { now_ns, previous_ns: None, process_age_ns: None };
        let tracked = tracker.follow(&socket(1, TcpState::Established), slot, moment).unwrap();
        table.opened(tracked);
        if close {
            table.closed(tracked, now_ns + SECOND);
        }
        slot
    }

    fn sums(table: &SeriesTable, process: u32) -> (u64, u64) {
        let (samples, _) = table.samples(process, &Tracker::new(1), 0);
        samples
            .iter()
            .fold((0, 0), |(opened, closed), sample| (opened + sample.opened, closed + sample.closed))
    }

    #[test]
    fn one_key_has_one_slot_and_targets_over_the_limit_share_one_that_is_counted() {
        let mut table = SeriesTable::new(LIMITS);
        let slots: Vec<u32> = (0..6).map(|host| use_once(&mut table, key(1, host), SECOND, false)).collect();
        assert_eq!(slots[3], slots[4]);
        assert_eq!(slots[4], slots[5]);
        assert_eq!(use_once(&mut table, key(1, 0), SECOND, false), slots[0]);
        let (samples, folded) = table.samples(1, &Tracker::new(1), SECOND);
        assert_eq!((samples.len(), folded), (4, 3));
        let other = samples.iter().find(|sample| sample.target == Target::Other).unwrap();
        assert_eq!((other.opened, other.target.to_string().as_str()), (3, "other"));
    }

    #[test]
    fn the_limit_is_each_processes_own() {
        let mut table = SeriesTable::new(LIMITS);
        for host in 0..4 {
            use_once(&mut table, key(1, host), SECOND, false);
        }
        use_once(&mut table, key(2, 9), SECOND, false);
        assert_eq!(table.samples(2, &Tracker::new(1), SECOND).1, 0);
    }

    #[test]
    fn the_target_that_was_empty_longest_makes_room_and_no_sum_goes_back() {
        let mut table = SeriesTable::new(LIMITS);
        use_once(&mut table, key(1, 0), SECOND, false);
        use_once(&mut table, key(1, 1), 2 * SECOND, true);
        use_once(&mut table, key(1, 2), 3 * SECOND, true);
        let before = sums(&table, 1);
        use_once(&mut table, key(1, 3), 700 * SECOND, false);
        assert_eq!(sums(&table, 1), (before.0 + 1, before.1));
        let (samples, folded) = table.samples(1, &Tracker::new(1), SECOND);
        let has = |host: u8| samples.iter().any(|sample| sample.target == key(1, host).target);
        assert_eq!(([0, 1, 2, 3].map(has), folded), ([true, false, true, true], 0));
        let other = samples.iter().find(|sample| sample.target == Target::Other).unwrap();
        assert_eq!((other.opened, other.closed, other.lifetimes.count()), (1, 1, 1));
    }

    #[test]
    fn a_target_that_was_in_use_lately_does_not_make_room() {
        let mut table = SeriesTable::new(LIMITS);
        for host in 0..3 {
            use_once(&mut table, key(1, host), SECOND, true);
        }
        use_once(&mut table, key(1, 3), 500 * SECOND, false);
        assert_eq!(table.samples(1, &Tracker::new(1), SECOND).1, 1);
    }

    #[test]
    fn ownerless_sockets_are_counted_for_known_targets_only_and_for_each_process_that_has_them() {
        let mut table = SeriesTable::new(LIMITS);
        use_once(&mut table, key(1, 0), SECOND, false);
        use_once(&mut table, key(2, 0), SECOND, false);
        let count = |table: &mut SeriesTable| {
            for host in [0, 0, 5] {
                table.unowned(Side::Client, ([10, 0, 0, host], 443).into(), TcpState::TimeWait);
            }
            [1, 2].map(|process| {
                table.samples(process, &Tracker::new(1), 0).0[0].unowned.get(TcpState::TimeWait)
            })
        };
        assert_eq!(count(&mut table), [2, 2]);
        table.begin();
        table.remove_process(1);
        assert_eq!(table.unowned.len(), 1);
        table.unowned(Side::Client, ([10, 0, 0, 0], 443).into(), TcpState::TimeWait);
        assert_eq!(table.samples(2, &Tracker::new(1), 0).0[0].unowned.get(TcpState::TimeWait), 1);
        table.remove_process(2);
        assert!(
            table.unowned.is_empty() && table.index.is_empty() && table.slots.iter().all(Option::is_none)
        );
    }

    #[test]
    fn exemplars_are_the_longest_idle_and_no_more_than_the_limit() {
        let mut table = SeriesTable::new(Limits { targets: 3, exemplars: 4 });
        let mut tracker = Tracker::new(100);
        let slot = table.slot(key(1, 0), SECOND);
        for number in 0..50_u16 {
            let now_ns = SECOND * (1 + u64::from(number) * 7 % 50);
            let moment = Moment { now_ns, previous_ns: None, process_age_ns: None };
            tracker.follow(&socket(number, TcpState::Established), slot, moment).unwrap();
        }
        let now_ns = 50 * SECOND;
        tracker.sweep(false, |_| false, |cookie, tracked, _| table.open(cookie, tracked, now_ns));
        table.get_mut(slot).unwrap().socket.opened = 50;
        let (samples, _) = table.samples(1, &tracker, now_ns);
        let idle: Vec<u64> = samples[0].exemplars.iter().map(|exemplar| exemplar.idle_ns / SECOND).collect();
        assert_eq!(idle, [49, 48, 47, 46]);
        assert_eq!((samples[0].open, samples[0].older[0], samples[0].older[3]), (50, 49, 20));
    }

    proptest! {
        #[test]
        fn counts_by_bound_never_rise_with_the_bound_and_agree_with_a_plain_count(
            times in prop::collection::vec(0u64..100_000 * SECOND, 0..60),
        ) {
            let mut counts = [0; BUCKETS];
            for time in &times {
                counts[reached(*time)] += 1;
            }
            let result = at_least(&counts);
            for (bound, count) in BOUNDS_SECONDS.iter().zip(result) {
                prop_assert_eq!(count, times.iter().filter(|time| **time >= bound * SECOND).count() as u64);
            }
        }
    }
}
