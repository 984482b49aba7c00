//! The processes, and the joining of their views: which keys mean the same one.

use super::census::Census;
use super::input::{Facts, ProcessKey, Resource, Source};
use super::mutexes::{Contention, Mutexes};
use std::collections::HashMap;
use weir_connection::publish::Ending;

/// Number of a process.
pub(crate) type ProcessId = u64;

/// What is known of one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Process {
    /// Everything that any view said of its identity.
    pub(crate) key: ProcessKey,
    pub(crate) facts: Facts,
    pub(crate) census: Census,
    /// Collection time of the census, and the agent's time when it came.
    pub(crate) census_time: i64,
    pub(crate) census_seen: i64,
    /// Agent's time of the last fact.
    pub(crate) facts_seen: i64,
    /// Calls per second as the last series that knew them said.
    pub(crate) load: Option<f64>,
    /// Goroutines that the runtime proved leaked, now and when they were first counted.
    pub(crate) leaked: Census,
    leaked_base: Option<Census>,
    mutexes: Mutexes,
    pub(crate) seen: i64,
    /// Whether it tells of its clients by the module, which weir.NewClient makes it do.
    pub(crate) reports_clients: bool,
    /// Sources that have told of it.
    sources: Vec<Source>,
    /// How it ended, and the agent's time at which that came.
    end: Option<End>,
    /// Whether another source than its events is heard.
    witnessed: bool,
}

/// Whether what a source tells of a process counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Yes,
    No,
    /// It does, and what the source told before is over: it was stopped or silent in between.
    Again,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ending: Ending,
    /// Agent's time, ns.
    pub(crate) time: i64,
}

impl Process {
    /// Takes over goroutines that the runtime proved leaked.
    pub(crate) fn prove(&mut self, leaked: Census) {
        if !leaked.is_empty() {
            self.leaked_base.get_or_insert_with(|| leaked.clone());
            self.leaked = leaked;
        }
    }

    /// How many more goroutines that hold such a thing were proved leaked since they were first counted.
    pub(crate) fn proved(&self, resource: &Resource) -> f64 {
        let of = |census: &Census| match resource {
            Resource::GrpcClient => census.grpc_client_goroutines(),
            Resource::GrpcStream => census.count("grpc_stream"),
            Resource::HttpConnection => census.http_goroutines(),
            _ => 0.0,
        };
        of(&self.leaked) - self.leaked_base.as_ref().map_or(0.0, of)
    }

    /// Takes over facts that were collected at `time`.
    pub(crate) fn learn_facts(&mut self, facts: Facts, time: i64) {
        self.mutexes.observe(time, facts.mutex_contentions.zip(facts.mutex_delay));
        self.facts.update(facts);
    }

    /// Contentions of mutexes per second and their mean delay in seconds, lately.
    pub(crate) fn contention(&self) -> Option<Contention> {
        self.mutexes.lately
    }

    /// Takes over that it has ended; of two words the kernel's is the last.
    pub(crate) fn end(&mut self, ending: Ending, now: i64) {
        if self.end.is_none_or(|known| known.ending != Ending::Exited && ending == Ending::Exited) {
            self.end = Some(End { ending, time: now });
        }
    }

    /// How it ended. A module that was stopped or fell silent ends only what nobody else is heard to tell of.
    pub(crate) fn ended(&self) -> Option<End> {
        self.end.filter(|end| end.ending == Ending::Exited || !self.witnessed)
    }

    /// Says whether another source than its events is heard now.
    pub(crate) fn set_witnessed(&mut self, witnessed: bool) {
        self.witnessed = witnessed;
    }

    /// Whether what a source tells of it still counts: of one that exited it was on its way for too long, a module that
    /// was stopped may be started again, and one that fell silent may speak again.
    pub(crate) fn take(&mut self, source: Source) -> Takes {
        match self.end.map(|end| end.ending) {
            Some(Ending::Exited) => Takes::No,
            Some(Ending::Stopped | Ending::Replaced) if source == Source::Events => {
                self.end = None;
                Takes::Again
            }
            _ => Takes::Yes,
        }
    }

    /// Notes that a source tells of it.
    pub(crate) fn hear(&mut self, source: Source) {
        self.witnessed |= source != Source::Events;
        if !self.heard(source) {
            self.sources.push(source);
        }
    }

    /// Whether a source tells of it, be it of other connections.
    pub(crate) fn heard(&self, source: Source) -> bool {
        self.sources.contains(&source)
    }
}

/// All processes, found by any of their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    next: ProcessId,
    map: HashMap<ProcessId, Process>,
    by_pid: HashMap<(String, i64, u64), ProcessId>,
    by_instance: HashMap<String, ProcessId>,
    by_service: HashMap<String, Vec<ProcessId>>,
}

/// Result of looking a key up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: ProcessId,
    /// A process that turned out to be the same and was merged into it.
    pub(crate) absorbed: Option<ProcessId>,
}

impl Processes {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get(&self, id: ProcessId) -> Option<&Process> {
        self.map.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.map.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProcessId, &Process)> {
        self.map.iter().map(|(id, process)| (*id, process))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ProcessId, &mut Process)> {
        self.map.iter_mut().map(|(id, process)| (*id, process))
    }

    /// The process of a key, a new one when there is none. What the key adds to its identity is kept.
    pub(crate) fn find(&mut self, key: &ProcessKey, now: i64) -> Found {
        let by_pid = pid_key(key).and_then(|pid| self.by_pid.get(&pid).copied());
        let by_instance =
            if key.instance.is_empty() { None } else { self.by_instance.get(&key.instance).copied() };
        let known = by_pid.or(by_instance.filter(|id| self.compatible(*id, key)));
        let same_service = self.sole_of_service(key, known);
        let id = match (known, same_service) {
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => self.create(),
        };
        let other = [by_instance, same_service].into_iter().flatten().find(|other| *other != id);
        let absorbed = other.filter(|other| self.may_absorb(id, *other));
        if let Some(other) = absorbed {
            self.absorb(id, other);
        }
        self.learn(id, key);
        if let Some(process) = self.map.get_mut(&id) {
            process.seen = process.seen.max(now);
        }
        Found { id, absorbed }
    }

    /// Forgets a process.
    pub(crate) fn remove(&mut self, id: ProcessId) -> Option<Process> {
        let process = self.map.remove(&id)?;
        self.by_pid.retain(|_, other| *other != id);
        self.by_instance.retain(|_, other| *other != id);
        if let Some(ids) = self.by_service.get_mut(&process.key.service) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_service.remove(&process.key.service);
            }
        }
        Some(process)
    }

    /// Whether the process and the key do not contradict each other.
    fn compatible(&self, id: ProcessId, key: &ProcessKey) -> bool {
        self.map.get(&id).is_some_and(|process| agree(&process.key, key))
    }

    /// The one process of the key's service that may be meant; nothing when there are several.
    ///
    /// For a key that says nothing but the service, any process of the service; for others only one that itself is known
    /// by nothing but its service.
    fn sole_of_service(&self, key: &ProcessKey, known: Option<ProcessId>) -> Option<ProcessId> {
        if key.service.is_empty() {
            return None;
        }
        let ids = self.by_service.get(&key.service)?;
        if anonymous(key) {
            return match ids.as_slice() {
                [only] if self.compatible(*only, key) => Some(*only),
                // Several: the one that is known by nothing else either, if there is one.
                several => {
                    several.iter().copied().find(|id| self.map.get(id).is_some_and(|p| anonymous(&p.key)))
                }
            };
        }
        let others: Vec<ProcessId> = ids.iter().copied().filter(|id| Some(*id) != known).collect();
        match others.as_slice() {
            [only] if self.map.get(only).is_some_and(|p| anonymous(&p.key) && agree(&p.key, key)) => {
                Some(*only)
            }
            _ => None,
        }
    }

    fn may_absorb(&self, id: ProcessId, other: ProcessId) -> bool {
        match (self.map.get(&id), self.map.get(&other)) {
            (Some(a), Some(b)) => agree(&a.key, &b.key),
            _ => false,
        }
    }

    fn create(&mut self) -> ProcessId {
        self.next += 1;
        self.map.insert(self.next, Process::default());
        self.next
    }

    fn absorb(&mut self, id: ProcessId, other: ProcessId) {
        let Some(gone) = self.remove(other) else { return };
        self.learn(id, &gone.key);
        let Some(process) = self.map.get_mut(&id) else { return };
        process.facts.update(gone.facts);
        if process.census.is_empty() {
            process.census = gone.census;
            process.census_time = gone.census_time;
            process.census_seen = gone.census_seen;
        }
        process.load = process.load.or(gone.load);
        if process.leaked.is_empty() {
            process.leaked = gone.leaked;
        }
        process.leaked_base = process.leaked_base.take().or(gone.leaked_base);
        process.seen = process.seen.max(gone.seen);
        process.reports_clients |= gone.reports_clients;
        process.end = process.end.or(gone.end);
        gone.sources.into_iter().for_each(|source| process.hear(source));
    }

    fn learn(&mut self, id: ProcessId, key: &ProcessKey) {
        let Some(process) = self.map.get_mut(&id) else { return };
        let mine = &mut process.key;
        for (mine, theirs) in [
            (&mut mine.host, &key.host),
            (&mut mine.instance, &key.instance),
            (&mut mine.service, &key.service),
        ] {
            if mine.is_empty() && !theirs.is_empty() {
                mine.clone_from(theirs);
            }
        }
        if mine.pid == 0 && key.pid > 0 {
            mine.pid = key.pid;
        }
        if mine.start_ticks == 0 {
            mine.start_ticks = key.start_ticks;
        }
        let (pid, instance, service) = (pid_key(mine), mine.instance.clone(), mine.service.clone());
        if let Some(pid) = pid {
            self.by_pid.entry(pid).or_insert(id);
        }
        if !instance.is_empty() {
            self.by_instance.entry(instance).or_insert(id);
        }
        if !service.is_empty() {
            let ids = self.by_service.entry(service).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
}

fn pid_key(key: &ProcessKey) -> Option<(String, i64, u64)> {
    (key.pid > 0).then(|| (key.host.clone(), key.pid, key.start_ticks))
}

/// Known by nothing but a service name.
fn anonymous(key: &ProcessKey) -> bool {
    key.pid <= 0 && key.instance.is_empty()
}

/// Whether nothing that both know differs.
fn agree(a: &ProcessKey, b: &ProcessKey) -> bool {
    let texts = [(&a.host, &b.host), (&a.instance, &b.instance), (&a.service, &b.service)];
    let text = texts.iter().all(|(a, b)| a.is_empty() || b.is_empty() || a == b);
    let pid = a.pid <= 0 || b.pid <= 0 || a.pid == b.pid;
    let ticks = a.start_ticks == 0 || b.start_ticks == 0 || a.start_ticks == b.start_ticks;
    text && pid && ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pid: i64, instance: &str, service: &str) -> ProcessKey {
        ProcessKey {
            host: "h".into(),
            pid,
            start_ticks: if pid > 0 { 7 } else { 0 },
            instance: instance.into(),
            service: service.into(),
        }
    }

    #[test]
    fn the_three_views_of_one_process_are_joined_in_any_order() {
        let views = [key(42, "", ""), key(42, "uuid", "checkout"), key(0, "", "checkout")];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut processes = Processes::default();
            for i in order {
                processes.find(&views[i], 0);
            }
            assert_eq!(processes.len(), 1, "{order:?}");
            let ids: Vec<_> = views.iter().map(|view| processes.find(view, 0).id).collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{order:?}");
        }
    }

    #[test]
    fn a_restarted_process_is_another_one() {
        let mut processes = Processes::default();
        let old = processes.find(&key(42, "a", "checkout"), 0).id;
        let new = processes.find(&key(43, "b", "checkout"), 0).id;
        assert_ne!(old, new);
        let same_pid = ProcessKey { start_ticks: 9, instance: "c".into(), ..key(42, "", "checkout") };
        let third = processes.find(&same_pid, 0).id;
        assert!(third != old && third != new, "a reused pid with another start is another process");
    }

    #[test]
    fn a_key_of_only_a_service_is_not_guessed_among_several_processes() {
        let mut processes = Processes::default();
        let a = processes.find(&key(1, "a", "checkout"), 0).id;
        let b = processes.find(&key(2, "b", "checkout"), 0).id;
        let alone = processes.find(&key(0, "", "checkout"), 0).id;
        assert!(alone != a && alone != b);
        assert_eq!(processes.find(&key(0, "", "checkout"), 0).id, alone);
    }

    #[test]
    fn a_forgotten_process_leaves_nothing_behind() {
        let mut processes = Processes::default();
        let id = processes.find(&key(1, "a", "checkout"), 0).id;
        processes.remove(id);
        assert_eq!(processes.len(), 0);
        assert_ne!(processes.find(&key(1, "a", "checkout"), 0).id, id);
    }
}
