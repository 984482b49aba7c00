//! The series and processes that a detector keeps: finding, merging, dropping them, and their limits.

use super::finding;
use super::forecast;
use super::input::{ProcessKey, Resource, Side, Source};
use super::process::ProcessId;
use super::series::{Series, Subject};
use super::{Detector, Scale};
use std::collections::{HashMap, HashSet, hash_map};

/// How long a series that was turned away counts as unwatched at least, ns: sources publish that often.
const MIN_REMEMBERED: i64 = 60_000_000_000;

impl Detector {
    pub(super) fn process(&mut self, key: &ProcessKey, now: i64) -> ProcessId {
        let found = self.processes.find(key, now);
        if let Some(absorbed) = found.absorbed {
            self.merge(found.id, absorbed);
        }
        self.ended.remove(&found.id);
        if self.processes.len() > self.settings.max_series {
            self.evict_processes(found.id);
        }
        found.id
    }

    /// Moves everything of a process that turned out to be another one.
    fn merge(&mut self, id: ProcessId, absorbed: ProcessId) {
        let moved: Vec<u64> =
            self.series.iter().filter(|(_, (p, _))| *p == absorbed).map(|(id, _)| *id).collect();
        for series_id in moved {
            let Some((_, series)) = self.series.remove(&series_id) else { continue };
            self.index.remove(&(absorbed, series.subject.clone()));
            let key = (id, series.subject.clone());
            if let hash_map::Entry::Vacant(place) = self.index.entry(key) {
                place.insert(series_id);
                self.series.insert(series_id, (id, series));
            }
        }
        let standings = std::mem::take(&mut self.standings);
        for ((process, side, target), standing) in standings {
            let process = if process == absorbed { id } else { process };
            self.standings.entry((process, side, target)).or_insert(standing);
        }
        self.ended.remove(&absorbed);
    }

    /// The number of a series; none when it is new and there is no room.
    pub(super) fn series_id(&mut self, process: ProcessId, subject: Subject) -> Option<u64> {
        let key = (process, subject);
        if let Some(id) = self.index.get(&key) {
            return Some(*id);
        }
        let away = self.unwatched.entry(key.1.source).or_default();
        if self.series.len() < self.settings.max_series {
            away.remove(&key);
        } else if self.full {
            away.add(&key, self.now.max(0).cast_unsigned());
            return None;
        } else {
            self.make_room();
            return self.series_id(process, key.1);
        }
        self.next_series += 1;
        self.series.insert(self.next_series, (process, Series::new(key.1.clone(), &self.scale)));
        self.index.insert(key, self.next_series);
        Some(self.next_series)
    }

    /// Drops series that nobody has told of for so long that they are not consulted, a sixty-fourth at once: looking for
    /// them costs too much for each newcomer.
    fn make_room(&mut self) {
        let before = self.series.len();
        self.evict(self.settings.max_series / 64 + 1, |series, now, scale| series.stale(now, scale));
        self.full = self.series.len() == before;
    }

    /// Drops so many of the series that may go, the longest silent ones first.
    pub(super) fn evict(&mut self, number: usize, may_go: fn(&Series, i64, &Scale) -> bool) {
        let may_go = self.series.iter().filter(|(_, (_, series))| may_go(series, self.now, &self.scale));
        let mut ages: Vec<(i64, u64)> =
            may_go.map(|(id, (_, series))| (series.clock.silence(self.now), *id)).collect();
        ages.sort_unstable_by_key(|(silence, id)| (std::cmp::Reverse(*silence), *id));
        for (_, id) in ages.into_iter().take(number) {
            self.drop_series(id);
            self.counters.evicted += 1;
        }
    }

    /// Forgets series that were turned away and have not come again since.
    pub(super) fn forget_unwatched(&mut self) {
        let time = self.now.saturating_sub(self.scale.stale.max(MIN_REMEMBERED)).max(0).cast_unsigned();
        self.unwatched.values_mut().for_each(|away| away.forget_before(time));
    }

    /// Drops processes without series, least recently seen first; `keep` stays.
    fn evict_processes(&mut self, keep: ProcessId) {
        let used: HashSet<ProcessId> = self.series.values().map(|(process, _)| *process).collect();
        let mut idle: Vec<(i64, ProcessId)> = self
            .processes
            .iter()
            .filter(|(id, _)| *id != keep && !used.contains(id))
            .map(|(id, process)| (process.seen, id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(self.settings.max_series / 64 + 1) {
            self.processes.remove(id);
            self.ended.remove(&id);
        }
    }

    /// Forgets what a source has told of a process.
    pub(super) fn drop_source(&mut self, process: ProcessId, source: Source) {
        let of = |(id, series): &&(ProcessId, Series)| *id == process && series.subject.source == source;
        let gone: Vec<u64> =
            self.series.iter().filter(|(_, entry)| of(entry)).map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| self.drop_series(number));
    }

    pub(super) fn drop_series(&mut self, id: u64) {
        if let Some((process, series)) = self.series.remove(&id) {
            self.index.remove(&(process, series.subject));
        }
    }

    /// Sockets whose library closes idle ones, as gRPC does by default, are old only beyond that, as long as events tell of
    /// their clients. Where sockets grow or have a verdict, these must first have watched for long enough themselves.
    pub(super) fn adapt_socket_ages(&mut self) {
        let client = |series: &Series| series.subject.side != Side::Server;
        let mut clients: HashMap<ProcessId, Vec<&Series>> = HashMap::new();
        for (process, series) in self.series.values() {
            let told = series.subject.source == Source::Events && !series.stale(self.now, &self.scale);
            if told && client(series) && series.subject.resource.is_grpc() {
                clients.entry(*process).or_default().push(series);
            }
        }
        let mut ages = Vec::new();
        for (id, (process, series)) in &self.series {
            if series.subject.resource != Resource::Socket || !client(series) {
                continue;
            }
            let same = |told: &&&Series| {
                told.address
                    .as_ref()
                    .zip(series.address.as_ref())
                    .is_some_and(|(name, address)| name.matches(address))
            };
            let told: Vec<_> = clients.get(process).into_iter().flatten().filter(same).collect();
            let grpc = self.scale.socket_age(forecast::GRPC_IDLE_TIMEOUT);
            let age = match told.as_slice() {
                [] => self.scale.age,
                told if told.iter().any(|told| finding::speaks_for(told, series)) => grpc,
                _ => series.age,
            };
            ages.push((*id, age));
        }
        for (id, age) in ages {
            if let Some((_, series)) = self.series.get_mut(&id) {
                series.set_age(age);
            }
        }
    }
}
