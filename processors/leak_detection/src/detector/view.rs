//! Everything that belongs to one finding, side by side.

use super::evaluate::MIN_BLOCKS;
use super::input::{Resource, Side, Source};
use super::process::{End, Process};
use super::restart::Masked;
use super::scale::{SECOND, Scale};
use super::series::Series;
use weir_connection::report::State;

/// Age at which a series' number is too old to contradict another one, in its own intervals.
const FRESH_INTERVALS: i64 = 3;

/// A profile is on its way for no longer than this, ns; what looks longer is a clock that is off.
const MAX_WAY: i64 = 10_000_000_000;

/// One finding's material: its process, its primary series and all series that speak of the same.
pub(crate) struct View<'a> {
    pub(crate) process: &'a Process,
    pub(crate) primary: &'a Series,
    pub(crate) members: &'a [&'a Series],
    pub(crate) scale: &'a Scale,
    /// Agent's time, ns.
    pub(crate) now: i64,
    /// How far the wall clock is ahead of it, ns.
    pub(crate) ahead: i64,
}

/// What is said of a view.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Judgement {
    pub(crate) state: State,
    pub(crate) class: Option<super::classify::Class>,
    /// Why the state is lower than growth alone would make it.
    pub(crate) gate: Option<super::gates::Gate>,
    /// The leak is hidden by restarts.
    pub(crate) masked: Option<Masked>,
    /// Fixed thresholds that are exceeded, as sentences.
    pub(crate) exceeded: Vec<String>,
    /// Its process has ended.
    pub(crate) ended: Option<End>,
}

impl<'a> View<'a> {
    /// What the wall clock says of an agent's time, Unix s.
    pub(crate) fn wall(&self, time: i64) -> f64 {
        time.saturating_add(self.ahead) as f64 / SECOND
    }

    /// The members of a source and resource.
    pub(crate) fn of(&self, source: Source, resource: &Resource) -> impl Iterator<Item = &'a Series> {
        self.members
            .iter()
            .copied()
            .filter(move |m| m.subject.source == source && m.subject.resource == *resource)
    }

    /// Whether the series is young enough to contradict.
    pub(crate) fn fresh(&self, series: &Series) -> bool {
        let limit = (3 * self.scale.block).max(series.clock.interval().saturating_mul(FRESH_INTERVALS));
        series.clock.silence(self.now) <= limit
    }

    /// Sockets of this finding: how many now, and the largest silence; nothing when the kernel was not asked.
    pub(crate) fn sockets(&self) -> Option<Sockets> {
        let mut sum: Option<Sockets> = None;
        for series in self.of(Source::Sockets, &Resource::Socket) {
            let sockets = sum.get_or_insert(Sockets { fresh: true, ..Sockets::default() });
            sockets.open += series.open_now();
            sockets.idle = sockets
                .idle
                .zip(idle(series, self.scale))
                .map(|(a, b)| a + b)
                .or_else(|| if sockets.series == 0 { idle(series, self.scale) } else { None });
            sockets.growth += series.open_growth_since(self.onset_for(series));
            sockets.believed += self.primary.open_at(self.primary_time_of(series));
            sockets.series += 1;
            sockets.silence = sockets.silence.max(series.clock.silence(self.now));
            sockets.fresh &= self.fresh(series);
        }
        if let Some(sockets) = &mut sum {
            sockets.believed /= sockets.series as f64;
        }
        sum
    }

    /// Transports of the finding's clients: by events, else by readers in the census, else by sockets.
    pub(crate) fn transports(&self) -> Option<f64> {
        let events: Vec<f64> = self
            .of(Source::Events, &Resource::GrpcConnection)
            .filter(|series| self.fresh(series))
            .map(Series::open_now)
            .collect();
        if !events.is_empty() {
            return Some(events.iter().sum());
        }
        if !self.process.census.is_empty() {
            return Some(self.process.census.count("grpc_reader"));
        }
        self.sockets().map(|sockets| sockets.open)
    }

    /// Onset of the primary on the time line of another series.
    pub(crate) fn onset_for(&self, series: &Series) -> i64 {
        let onset = self.primary.onset.unwrap_or(self.primary.basis().onset);
        let agent = self.primary.clock.to_agent(onset, self.tolerance());
        let skew = series.clock.to_agent(0, self.tolerance());
        agent.saturating_sub(skew)
    }

    /// The time of the other series' last observation, on the primary's time line.
    fn primary_time_of(&self, series: &Series) -> i64 {
        let ago = series.clock.silence(self.now);
        self.primary.clock.at(self.now).saturating_sub(ago)
    }

    /// What the primary believed open when the census was taken.
    pub(crate) fn believed_at_census(&self) -> f64 {
        self.primary.open_at(self.census_time())
    }

    /// The same by the observations around the census; nothing when they are no longer known.
    pub(crate) fn seen_at_census(&self) -> Option<f64> {
        self.primary.open_near(self.census_time())
    }

    /// When the census was taken, on the primary's time line.
    fn census_time(&self) -> i64 {
        let process = self.process;
        let ago = self.now.saturating_sub(process.census_seen).max(0);
        // On its way since it was taken, as far as the clocks can be compared.
        let way = process.census_seen.saturating_sub(process.census_time);
        let way = if (0..=MAX_WAY).contains(&way) { way } else { 0 };
        self.primary.clock.at(self.now).saturating_sub(ago).saturating_sub(way)
    }

    /// The agent's time on the time line of a series.
    pub(crate) fn now_on(&self, series: &Series) -> i64 {
        series.clock.at(self.now)
    }

    /// Seconds since the primary was first seen.
    pub(crate) fn watched(&self) -> f64 {
        (self.now_on(self.primary).saturating_sub(self.primary.first_time) as f64 / SECOND).max(0.0)
    }

    /// Seconds of watching that a verdict on the primary takes.
    pub(crate) fn verdict_takes(&self) -> f64 {
        first_verdict(self.primary.age)
    }

    /// About how many seconds pass until there is a verdict, at least a block; nothing when there are enough blocks.
    pub(crate) fn verdict_in(&self) -> Option<f64> {
        let block = self.scale.block as f64 / SECOND;
        (self.primary.evaluation.blocks < MIN_BLOCKS)
            .then(|| (self.verdict_takes() - self.watched()).max(block))
    }

    /// Clocks that differ by less than this are taken as they are.
    pub(crate) fn tolerance(&self) -> i64 {
        (self.scale.block * 2).max(60_000_000_000)
    }

    pub(crate) fn client(&self) -> bool {
        self.primary.subject.side != Side::Server
    }
}

/// Seconds of watching that a verdict takes where that age, in seconds, counts as old.
pub(crate) fn first_verdict(age: f64) -> f64 {
    age * (0.5 * (MIN_BLOCKS + 1) as f64 + 1.0)
}

/// Sockets that belong to a finding.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sockets {
    pub(crate) open: f64,
    /// Without payload for the window; absent when unknown.
    pub(crate) idle: Option<f64>,
    /// Growth since the onset.
    pub(crate) growth: f64,
    /// What the primary believed open at the time of the dump.
    pub(crate) believed: f64,
    pub(crate) silence: i64,
    pub(crate) fresh: bool,
    series: usize,
}

/// Idle for the window, whatever age the series itself is judged by.
pub(crate) fn idle(series: &Series, scale: &Scale) -> Option<f64> {
    super::input::at_bound(&series.latest.idle, scale.age)
}
