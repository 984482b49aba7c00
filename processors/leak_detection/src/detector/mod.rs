//! The leak detector: observations in, verdicts out. No I/O, no clock, no threads: time comes with the data.
//!
//! Every series is cut into blocks of half a window `T`. Per block the detector keeps the *floor*: the smallest number of
//! connections that were older than T and idle for T. A leak is a floor that
//!
//! 1. rises (Mann-Kendall trend, Theil-Sen slope, growth of at least 5),
//! 2. whose members do not die (of those that reach the age T, clearly more than die beyond it: exact binomial test),
//! 3. goes on rising (the last third of the growth is not much slower than the rest, in at least four new maxima),
//! 4. and does not merely follow the load,
//!
//! in three consecutive blocks, and for at least eight blocks since its onset: fourteen where the growing ones are used
//! again, or where idleness is not known, since pools fill that way, too. Two rings of 24 blocks are kept, fine (T/2) and
//! coarse (2 T), the second for slow leaks. Some signs need no statistics: old sockets in CLOSE_WAIT that grow, clients
//! that were garbage collected without Close, sockets alive after their connection ended.
//!
//! Series of one process that speak of the same side and target make one finding. Its primary series is the most urgent
//! one, among equals the most telling resource: a ClientConn outlives its socket, which gRPC closes after 30 minutes of
//! idleness. It goes by the name of its most telling series. The other series are evidence: they agree, contradict (events were lost), or show use.
//!
//! Limits: [`Settings::max_series`] series and as many processes, 20 sites and 48 blocks per series, 1,000 services whose
//! restarts are remembered. Whoever is watched stays: in a full table a new series takes the place of one that has been silent for
//! so long that it is no longer consulted, and is turned away when there is none. Both are counted.

mod address;
mod block;
mod carry;
pub mod census;
mod classify;
mod clock;
mod confidence;
mod evaluate;
mod evidence;
mod explain;
mod finding;
mod forecast;
mod gates;
mod identity;
mod input;
mod join;
mod lately;
mod machine;
mod missing;
mod mutexes;
mod pace;
mod process;
mod restart;
mod round;
mod scale;
mod series;
mod sites;
mod stats;
mod store;
mod thresholds;
mod view;
mod words;

#[cfg(test)]
mod sim;

pub(crate) use address::Address;
pub use input::{
    BOUNDS, Facts, MAX_SITES, Observation, ProcessKey, ProcessObservation, Resource, Sample, SeriesKey, Side,
    SiteKey, SiteSource, Source, outlived,
};
pub use scale::{DEFAULT_WINDOW, Scale};
pub use thresholds::Thresholds;

use census::Census;
use finding::Standing;
use process::{Process, ProcessId, Processes, Takes};
use restart::Restarts;
use series::{Company, Series, Subject, Taken};
use std::collections::{BTreeMap, HashMap, HashSet};
use weir_connection::report::{Finding, State};
use weir_connection::turned_away::TurnedAway;
use words::span;

/// Settings of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The window T in seconds: what is older and idle for longer is suspicious. Default 600; raised to the next published
    /// bound ([`BOUNDS`]). All other time constants follow from it.
    pub window: f64,
    /// Series kept; default 10,000, at least 1.
    pub max_series: usize,
    /// Fixed thresholds; default none.
    pub thresholds: Thresholds,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { window: DEFAULT_WINDOW, max_series: 10_000, thresholds: Thresholds::default() }
    }
}

/// What the detector did, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Observations of series taken in.
    pub observations: u64,
    /// Observations that brought nothing new: the same series and time, from another pipeline.
    pub duplicates: u64,
    /// Observations that came after a later one of their series.
    pub late: u64,
    /// Silent series dropped to make room for others.
    pub evicted: u64,
    /// Series kept now.
    pub series: u64,
    /// Processes kept now.
    pub processes: u64,
}

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// State before.
    pub from: State,
    /// State now.
    pub to: State,
    /// The finding as it is now. When its subject is gone, as it was last judged, with state ok and the reason.
    pub finding: Finding,
}

/// A clock that is off by more was set, ns.
const SET_CLOCK: u64 = 1_000_000_000;

/// `connection.resource` of all goroutines of a process.
pub(crate) const GOROUTINE: &str = "goroutine";

/// Stable identity of a finding.
type FindingKey = (ProcessId, Side, String);

/// The detector.
#[derive(Debug, Clone)]
pub struct Detector {
    settings: Settings,
    scale: Scale,
    now: i64,
    ahead: i64,
    processes: Processes,
    next_series: u64,
    series: BTreeMap<u64, (ProcessId, Series)>,
    index: HashMap<(ProcessId, Subject), u64>,
    standings: BTreeMap<FindingKey, Standing>,
    restarts: Restarts,
    ended: HashSet<ProcessId>,
    unwatched: BTreeMap<Source, TurnedAway>,
    /// There is no room, and none can be made before the next tick.
    full: bool,
    counters: Counters,
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { max_series: settings.max_series.max(1), ..settings };
        Detector {
            scale: Scale::new(settings.window),
            settings,
            now: 0,
            ahead: 0,
            processes: Processes::default(),
            next_series: 0,
            series: BTreeMap::new(),
            index: HashMap::new(),
            standings: BTreeMap::new(),
            restarts: Restarts::default(),
            ended: HashSet::new(),
            unwatched: BTreeMap::new(),
            full: false,
            counters: Counters::default(),
        }
    }

    /// Goes on by other settings. A window that means other time constants begins everything anew, since what is known is
    /// counted in it; then that sentence is returned, and the verdicts that end by it.
    pub fn set(&mut self, settings: Settings) -> Option<(String, Vec<Change>)> {
        let fresh = Detector::new(settings);
        if fresh.scale != self.scale {
            let why = format!(
                "the window was changed from {} to {}, by which all is counted: what was known is forgotten, and a first \
                 verdict takes about {}",
                span(self.scale.age),
                span(fresh.scale.age),
                span(view::first_verdict(fresh.scale.age))
            );
            let changes = self.forget_all(&why);
            *self = Detector { now: self.now, ahead: self.ahead, ..fresh };
            return Some((why, changes));
        }
        self.settings = fresh.settings;
        self.full = false;
        self.evict(self.series.len().saturating_sub(self.settings.max_series), |_, _, _| true);
        None
    }

    /// The time constants in use.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Takes in the numbers of a series. The time of its arrival is that of the last [`Detector::tick`].
    ///
    /// A second observation of the same series and time may fill in numbers that the first one did not have; what it
    /// repeats is ignored.
    pub fn observe(&mut self, observation: Observation) {
        let Observation { key, time_ns, sample } = observation;
        let now = if self.now == 0 { time_ns } else { self.now };
        let process = self.process(&key.process, now);
        let (source, (resource, side)) = (key.source, key.resource.canonical(key.side));
        let by_module = source == Source::Events && resource == Resource::GrpcClient;
        match self.processes.get_mut(process).map(|known| known.take(source)) {
            Some(Takes::Again) => self.drop_source(process, source),
            Some(Takes::Yes) => {}
            Some(Takes::No) | None => {
                self.counters.late += 1;
                return;
            }
        }
        let subject = Subject { source, resource, side, target: key.target };
        let Some(id) = self.series_id(process, subject) else { return };
        let company = self.company(process);
        let Some((_, series)) = self.series.get_mut(&id) else { return };
        let before = (series.latest.load, series.latest_time);
        let taken = series.observe(sample, time_ns, now, &self.scale, company);
        let load = load(before, series);
        match taken {
            Taken::Duplicate => self.counters.duplicates += 1,
            Taken::Late => self.counters.late += 1,
            Taken::New | Taken::Restarted => self.counters.observations += 1,
        }
        if let Some(process) = self.processes.get_mut(process) {
            process.load = load.or(process.load);
            process.hear(source);
            process.reports_clients |= by_module;
        }
    }

    /// Takes in facts of a process.
    pub fn observe_process(&mut self, observation: ProcessObservation) {
        let now = if self.now == 0 { observation.time_ns } else { self.now };
        let id = self.process(&observation.process, now);
        let Some(process) = self.processes.get_mut(id) else { return };
        let census = Census::new(observation.goroutines);
        if !census.is_empty() && (process.census.is_empty() || observation.time_ns != process.census_time) {
            process.census = census;
            process.census_time = observation.time_ns;
            process.census_seen = now;
        }
        process.prove(Census::new(observation.leaked));
        if let Some(ending) = observation.facts.ended {
            process.end(ending, now);
        }
        process.learn_facts(observation.facts, observation.time_ns);
        process.facts_seen = now;
    }

    /// Says how far the wall clock is ahead of the agent's clock, ns, so that times are told as it shows them. The agent's
    /// clock is not to be set: what it passes is how long nothing was heard.
    pub fn set_wall_clock(&mut self, ahead_ns: i64) {
        // What a clock gains or loses in its course is not worth other times each second.
        if ahead_ns.abs_diff(self.ahead) > SET_CLOCK {
            self.ahead = ahead_ns;
        }
    }

    /// Lets the agent's clock show `now_ns`: closes blocks, forgets what is gone, judges, and returns what changed.
    ///
    /// To be called at least once per block (half a window), better every second; cheap when nothing came.
    pub fn tick(&mut self, now_ns: i64) -> Vec<Change> {
        self.now = now_ns;
        let companies: HashMap<ProcessId, Company> =
            self.processes.iter().map(|(id, process)| (id, company_of(process))).collect();
        for (process, series) in self.series.values_mut() {
            series.tick(now_ns, &self.scale, companies.get(process).copied().unwrap_or_default());
        }
        self.look_for_witnesses();
        self.adapt_socket_ages();
        self.forget_unwatched();
        self.remember_ended();
        let mut changes = self.forget_gone();
        changes.extend(self.judge_all());
        self.full = false;
        self.counters.series = self.series.len() as u64;
        self.counters.processes = self.processes.len() as u64;
        changes
    }

    /// Which processes are told of by more than their events.
    fn look_for_witnesses(&mut self) {
        let told =
            |series: &Series| series.subject.source != Source::Events && !series.stale(self.now, &self.scale);
        let heard: HashSet<ProcessId> =
            self.series.values().filter(|(_, series)| told(series)).map(|(process, _)| *process).collect();
        self.processes.iter_mut().for_each(|(id, process)| process.set_witnessed(heard.contains(&id)));
    }

    /// How many series of each source come and are not watched, as the table is full.
    pub fn unwatched(&self) -> BTreeMap<Source, usize> {
        let counts = self.unwatched.iter().map(|(source, away)| (*source, away.count()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Sources that publish too rarely for the window, each with a sentence for the log.
    pub fn rare_sources(&self) -> BTreeMap<Source, String> {
        pace::rare(self.series.values().map(|(process, series)| (*process, series)), &self.scale)
    }

    /// All findings, most urgent first. `now_ns` is the agent's clock.
    pub fn report(&self, now_ns: i64) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.each_group(now_ns, |key, bench, group, judged| {
            let unknown = Standing {
                id: round::finding_id(&bench.process.key, &key),
                since: now_ns,
                ..Standing::default()
            };
            let standing = self.standings.get(&key).unwrap_or(&unknown);
            findings.push(finding::finding(bench, group, judged, standing));
        });
        let urgency = |finding: &Finding| match finding.state {
            State::Leaking => 0,
            State::Suspect => 1,
            State::Recovering => 2,
            State::Ok => 3,
        };
        findings.sort_by(|a, b| {
            urgency(a)
                .cmp(&urgency(b))
                .then(b.growth.rate.total_cmp(&a.growth.rate))
                // Among equals connections go before what they consist of, and many before few.
                .then((a.resource == GOROUTINE).cmp(&(b.resource == GOROUTINE)))
                .then(b.growth.open.total_cmp(&a.growth.open))
                .then_with(|| Resource::from_name(&a.resource).cmp(&Resource::from_name(&b.resource)))
                .then_with(|| (&a.service, &a.target, &a.id).cmp(&(&b.service, &b.target, &b.id)))
        });
        findings
    }

    /// What the detector did so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn company(&self, process: ProcessId) -> Company {
        self.processes.get(process).map_or_else(Company::default, company_of)
    }
}

fn company_of(process: &Process) -> Company {
    let identified = process.key.pid > 0 && process.key.start_ticks > 0;
    Company { memory: process.facts.memory, load: process.load, identified }
}

/// Calls per second between the last two observations of a series that counts calls.
fn load((before, time): (Option<f64>, i64), series: &Series) -> Option<f64> {
    let calls = series.latest.load? - before?;
    let seconds = series.latest_time.saturating_sub(time) as f64 / 1e9;
    (calls >= 0.0 && seconds > 0.0).then(|| calls / seconds)
}
