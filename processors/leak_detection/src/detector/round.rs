//! One round of judging: what ended, what is gone, what every group of series amounts to now.

use super::carry::Carried;
use super::evidence;
use super::finding::{self, Bench, Judged, Standing};
use super::identity;
use super::input::{ProcessKey, Resource, Side};
use super::join::{self, Group};
use super::process::{Process, ProcessId};
use super::restart::RestartKey;
use super::series::{Series, Subject};
use super::{Change, Detector, FindingKey};
use std::collections::{BTreeMap, HashMap, HashSet};
use weir_connection::report::{Finding, Process as ReportProcess, State};

/// Why a subject is gone of which nothing came for long.
const UNHEARD: &str = "nothing is heard of it any more: the process ended, or its source stopped";

impl Detector {
    /// What the wall clock shows, Unix s.
    fn wall_now(&self) -> f64 {
        evidence::seconds(self.now.saturating_add(self.ahead))
    }

    /// Forgets all findings, and says so of those that are not ok.
    pub(super) fn forget_all(&mut self, why: &str) -> Vec<Change> {
        let standings = std::mem::take(&mut self.standings);
        let told = standings.iter().filter(|(_, standing)| standing.state != State::Ok);
        told.map(|(key, standing)| ended(self.processes.get(key.0), key, standing, why, self.wall_now()))
            .collect()
    }

    /// Remembers how processes that went silent, or have ended, had grown.
    pub(super) fn remember_ended(&mut self) {
        let mut silent: HashMap<ProcessId, bool> = HashMap::new();
        for (process, series) in self.series.values() {
            let ended = self.processes.get(*process).is_some_and(|process| process.ended().is_some());
            *silent.entry(*process).or_insert(true) &= ended || series.stale(self.now, &self.scale);
        }
        let fresh: Vec<ProcessId> = silent
            .into_iter()
            .filter(|(id, silent)| *silent && !self.ended.contains(id))
            .map(|(id, _)| id)
            .collect();
        for id in fresh {
            self.ended.insert(id);
            let Some(process) = self.processes.get(id) else { continue };
            for (_, series) in self.series.values().filter(|(process, _)| *process == id) {
                if let Some(key) = restart_key(process, series)
                    && series.machine.state != State::Recovering
                {
                    self.restarts.ended(key, series, self.now);
                }
            }
        }
    }

    /// Forgets silent series and those of processes that ended a while ago, and processes without series; findings that go
    /// with them end.
    pub(super) fn forget_gone(&mut self) -> Vec<Change> {
        let over = |id: &ProcessId| {
            let end = self.processes.get(*id).and_then(Process::ended);
            end.is_some_and(|end| self.now.saturating_sub(end.time) > self.scale.hold)
        };
        let gone: Vec<u64> = self
            .series
            .iter()
            .filter(|(_, (process, series))| series.gone(self.now, &self.scale) || over(process))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.drop_series(id);
        }
        let used: HashSet<ProcessId> = self.series.values().map(|(process, _)| *process).collect();
        let forget = self.scale.forget;
        let dead: Vec<ProcessId> = self
            .processes
            .iter()
            .filter(|(id, process)| !used.contains(id) && self.now.saturating_sub(process.seen) > forget)
            .map(|(id, _)| id)
            .collect();
        let mut changes = Vec::new();
        let standings = std::mem::take(&mut self.standings);
        for (key, standing) in standings {
            if used.contains(&key.0) {
                self.standings.insert(key, standing);
            } else if standing.state != State::Ok {
                changes.push(ended(self.processes.get(key.0), &key, &standing, UNHEARD, self.wall_now()));
            }
        }
        for id in dead {
            self.processes.remove(id);
            self.ended.remove(&id);
        }
        changes
    }

    pub(super) fn judge_all(&mut self) -> Vec<Change> {
        let mut standings = std::mem::take(&mut self.standings);
        let mut seen = HashSet::new();
        let (mut changes, mut doubted) = (Vec::new(), HashSet::new());
        let (mut carried, mut returned) = (Vec::new(), Vec::new());
        let now = self.now;
        let mut places: HashMap<(ProcessId, Subject), FindingKey> = HashMap::new();
        self.each_group(now, |key, bench, group, judged| {
            seen.insert(key.clone());
            places.extend(group.members.iter().map(|m| ((key.0, m.subject.clone()), key.clone())));
            let named = |series: &Series| (key.0, series.subject.clone());
            doubted.extend(judged.doubted.iter().map(|series| named(series)));
            carried.extend(judged.carried.iter().map(|c| (key.0, c.clone())));
            let back = judged.members.iter().filter(|m| m.carried && judged.view(bench).fresh(m));
            returned.extend(back.map(|series| (named(series), judged.primary.machine.state)));
            let moved = moved_here(&standings, &key, group);
            let standing = standings.entry(key.clone()).or_insert_with(|| Standing {
                id: finding_id(&bench.process.key, &key),
                since: now,
                ..Standing::default()
            });
            standing.resource = Some(identity::resource(&judged.view(bench), standing.resource.as_ref()));
            standing.primary = Some(judged.primary.subject.clone());
            let (from, to) = (standing.state, judged.judgement.state);
            if judged.judgement.ended.is_some() {
                // It stays known what it was until then.
                standing.leaked |= from == State::Leaking;
            } else if to != State::Recovering {
                standing.class = judged.judgement.class;
            }
            if from != to {
                standing.state = to;
                standing.since = moved.filter(|(state, _)| *state == to).map_or(now, |(_, since)| since);
                changes.push(Change { from, to, finding: finding::finding(bench, group, judged, standing) });
            }
        });
        for (subject, id) in &self.index {
            if let Some((_, series)) = self.series.get_mut(id) {
                series.doubted = doubted.contains(subject).then(|| series.doubted.unwrap_or(now));
            }
        }
        for (process, Carried { silent, heir, state }) in carried {
            self.with_series(&(process, silent), |series| series.carried = true);
            self.with_series(&(process, heir), |series| series.adopt(state, now));
        }
        for (series, state) in returned {
            self.with_series(&series, |series| {
                series.carried = false;
                series.adopt(Some(state), now);
            });
        }
        // Subjects that went into another one, or are no longer told of.
        for (key, standing) in std::mem::take(&mut standings) {
            if seen.contains(&key) {
                self.standings.insert(key, standing);
            } else if standing.state != State::Ok {
                let subject = standing.primary.clone().map(|subject| (key.0, subject));
                let place = subject.and_then(|subject| places.get(&subject));
                let why = place.map_or(UNHEARD.to_owned(), goes_on);
                changes.push(ended(self.processes.get(key.0), &key, &standing, &why, self.wall_now()));
            }
        }
        changes
    }

    fn with_series(&mut self, subject: &(ProcessId, Subject), act: impl FnOnce(&mut Series)) {
        let series = self.index.get(subject).and_then(|id| self.series.get_mut(id));
        if let Some((_, series)) = series {
            act(series);
        }
    }

    /// Calls `act` with every group of series that can be judged.
    pub(super) fn each_group(
        &self,
        now: i64,
        mut act: impl FnMut(FindingKey, Bench<'_>, &Group<'_>, &Judged<'_>),
    ) {
        let mut by_process: BTreeMap<ProcessId, Vec<&Series>> = BTreeMap::new();
        for (process, series) in self.series.values() {
            by_process.entry(*process).or_default().push(series);
        }
        for (id, series) in by_process {
            let Some(process) = self.processes.get(id) else { continue };
            let bench = Bench {
                process,
                scale: &self.scale,
                thresholds: &self.settings.thresholds,
                now,
                ahead: self.ahead,
            };
            for group in join::groups(&series) {
                let masked =
                    |series: &Series| restart_key(process, series).and_then(|key| self.restarts.masked(&key));
                if let Some(judged) = finding::judge(bench, &group, masked) {
                    let key = (id, group.side, group.target.clone());
                    act(key, bench, &group, &judged);
                }
            }
        }
    }
}

/// State, and since when, of the finding that rested on a series which is now a member of another one: a source has come that
/// says more of what it is about.
fn moved_here(
    standings: &BTreeMap<FindingKey, Standing>,
    key: &FindingKey,
    group: &Group<'_>,
) -> Option<(State, i64)> {
    if standings.get(key).is_some_and(|standing| standing.state != State::Ok) {
        return None;
    }
    let rested = |standing: &Standing| {
        group.members.iter().any(|m| standing.primary.as_ref().is_some_and(|subject| *subject == m.subject))
    };
    let others = standings.iter().filter(|(other, _)| other.0 == key.0 && *other != key);
    others.map(|(_, standing)| standing).find(|standing| rested(standing)).map(|s| (s.state, s.since))
}

/// That a subject is now told of as another one.
fn goes_on((_, side, target): &FindingKey) -> String {
    let arrow = if *side == Side::Server { "<-" } else { "->" };
    match target.as_str() {
        "" => "it goes on as a finding of the whole process".to_owned(),
        target => format!("it goes on as the finding {arrow} {target}, of which more is known now"),
    }
}

/// The change of a subject that is gone, and why.
fn ended(process: Option<&Process>, key: &FindingKey, standing: &Standing, why: &str, since: f64) -> Change {
    let identity = process.map(|process| process.key.clone()).unwrap_or_default();
    let facts = process.map(|process| process.facts.clone()).unwrap_or_default();
    let label = standing.resource.as_ref().map(|resource| evidence::label(resource, key.1));
    let finding = Finding {
        id: standing.id.clone(),
        state: State::Ok,
        since,
        service: identity.service,
        instance: identity.instance,
        process: ReportProcess {
            pid: identity.pid,
            executable: facts.executable.unwrap_or_default(),
            host: identity.host,
            started: facts.started.unwrap_or(0.0),
        },
        resource: standing.resource.as_ref().map_or("", Resource::name).to_owned(),
        resource_label: label.unwrap_or_default(),
        side: key.1.name().to_owned(),
        target: key.2.clone(),
        explanation: why.to_owned(),
        ..Finding::default()
    };
    Change { from: standing.state, to: State::Ok, finding }
}

fn restart_key(process: &Process, series: &Series) -> Option<RestartKey> {
    let service = match (&process.key.service, &process.facts.executable) {
        (service, _) if !service.is_empty() => service.clone(),
        (_, Some(executable)) => executable.clone(),
        _ => return None,
    };
    Some(RestartKey {
        service,
        side: series.subject.side,
        target: series.subject.target.clone(),
        resource: series.subject.resource.clone(),
    })
}

/// 16 hex digits from what identifies the subject (FNV-1a), the same in every run.
pub(super) fn finding_id(process: &ProcessKey, key: &FindingKey) -> String {
    let text = format!(
        "{}\0{}\0{}\0{}\0{}\0{}\0{}",
        process.host,
        process.pid,
        process.start_ticks,
        process.instance,
        process.service,
        key.1.name(),
        key.2
    );
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
