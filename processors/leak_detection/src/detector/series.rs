//! One series: its time line, its blocks, its sites and its state.

use super::address::Address;
use super::block::{Point, Ring};
use super::clock::{Arrival, SeriesClock};
use super::evaluate::{self, Evaluation, Quality};
use super::input::{Resource, Sample, Side, Source, at_bound};
use super::lately::Lately;
use super::machine::{Machine, Signal};
use super::scale::Scale;
use super::sites::SiteBook;
use std::collections::VecDeque;
use weir_connection::report::State;

/// Observations without the floor's kind of number after which another kind is used.
const DOWNGRADE: u32 = 3;
/// Blocks after which what was counted is no longer news.
const LATELY: i64 = 12;
/// Certain signs that make a leak; fewer may be an accident.
const CERTAIN: f64 = 3.0;

/// Observations before the last one whose number of open ones is remembered.
const RECENT: usize = 16;

/// What one series is about, apart from its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Subject {
    pub(crate) source: Source,
    pub(crate) resource: Resource,
    pub(crate) side: Side,
    pub(crate) target: String,
}

/// Which number the floor is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Open,
    Older,
    Idle,
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was new.
    New,
    /// Everything in it was known.
    Duplicate,
    /// It came after a later one.
    Late,
    /// Its counters began anew: the process was restarted, what went before is over.
    Restarted,
}

/// State of one series. About 2 KB of blocks, and its sites.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) subject: Subject,
    /// The target, taken apart; nothing for the whole process.
    pub(crate) address: Option<Address>,
    pub(crate) clock: SeriesClock,
    /// The last observation.
    pub(crate) latest: Sample,
    pub(crate) latest_time: i64,
    /// Times and open ones of the observations before the last one, oldest first.
    recent: VecDeque<(i64, f32)>,
    pub(crate) first_time: i64,
    /// Opened in total when it was first seen, which may be long after the process started.
    pub(crate) first_opened: f64,
    pending: Option<i64>,
    committed: Committed,
    floor: Option<Floor>,
    floor_missing: u32,
    /// The age that counts as old, seconds.
    pub(crate) age: f64,
    pub(crate) fine: Ring,
    pub(crate) coarse: Ring,
    pub(crate) evaluation: Evaluation,
    coarse_evaluation: Evaluation,
    by_coarse: bool,
    pub(crate) machine: Machine,
    pub(crate) sites: SiteBook,
    /// When the growth began, on the series' time line; kept while the state is not ok.
    pub(crate) onset: Option<i64>,
    /// Old sockets in CLOSE_WAIT, collected clients or live descriptors that make a leak certain.
    pub(crate) certain: Option<Certain>,
    /// Since when the other views show much less, agent's time in ns.
    pub(crate) doubted: Option<i64>,
    /// It went silent, and a series that is heard goes on with its verdict.
    pub(crate) carried: bool,
}

/// Why a leak is certain without statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certain {
    /// Sockets in CLOSE_WAIT grow old and more.
    CloseWait,
    /// Clients were garbage collected without Close.
    Collected,
    /// Sockets stay ESTABLISHED although their connection ended.
    AliveAfterEnd,
}

/// Last committed values that differences are taken from.
#[derive(Debug, Clone, Copy, Default)]
struct Committed {
    time: Option<i64>,
    /// Older than T, or open where ages are not known.
    level: Option<f64>,
    outlived: Option<f64>,
    load: Option<f64>,
    collected: Lately,
    lost: Lately,
}

impl Series {
    /// A series that has seen nothing.
    pub(crate) fn new(subject: Subject, scale: &Scale) -> Self {
        let age = if subject.resource == Resource::CloseWait { scale.close_wait } else { scale.age };
        Series {
            address: (!subject.target.is_empty()).then(|| Address::parse(&subject.target)),
            subject,
            clock: SeriesClock::default(),
            latest: Sample::default(),
            latest_time: 0,
            recent: VecDeque::new(),
            first_time: 0,
            first_opened: 0.0,
            pending: None,
            committed: Committed::default(),
            floor: None,
            floor_missing: 0,
            age,
            fine: Ring::new(scale.block),
            coarse: Ring::new(scale.block * scale.coarse),
            evaluation: Evaluation::default(),
            coarse_evaluation: Evaluation::default(),
            by_coarse: false,
            machine: Machine::default(),
            sites: SiteBook::default(),
            onset: None,
            certain: None,
            doubted: None,
            carried: false,
        }
    }

    /// Takes in an observation that arrives when the agent's clock shows `now`.
    pub(crate) fn observe(
        &mut self,
        mut sample: Sample,
        time: i64,
        now: i64,
        scale: &Scale,
        facts: Company,
    ) -> Taken {
        sample.sanitise();
        match self.clock.place(time, now, 2 * scale.block * scale.coarse) {
            Arrival::Late => Taken::Late,
            Arrival::Same if self.pending.is_none() => Taken::Duplicate,
            Arrival::Same => {
                let filled = self.latest.fill(sample);
                if filled { Taken::New } else { Taken::Duplicate }
            }
            Arrival::Next(placed) => {
                self.commit(scale, facts);
                let anew = matches!((self.latest.opened, sample.opened), (Some(old), Some(new)) if new < old);
                let restarted = anew && !facts.identified;
                if restarted {
                    self.reset();
                } else if anew {
                    self.count_anew(&sample);
                }
                if self.first_time == 0 || restarted {
                    self.first_time = placed;
                    self.first_opened = if restarted { 0.0 } else { sample.opened.unwrap_or(0.0) };
                }
                if self.first_time != placed {
                    self.remember();
                }
                self.latest = sample;
                self.latest_time = placed;
                self.pending = Some(placed);
                self.close_blocks(placed, scale);
                if restarted { Taken::Restarted } else { Taken::New }
            }
        }
    }

    /// Closes blocks that lie behind by the agent's clock; true when one was closed since the last call.
    pub(crate) fn tick(&mut self, now: i64, scale: &Scale, facts: Company) {
        let grace = self.clock.interval().max(scale.block) / 2;
        if self.clock.silence(now) > grace {
            self.commit(scale, facts);
            let time = self.clock.at(now).saturating_sub(grace);
            self.close_blocks(time, scale);
        }
    }

    /// Whether nothing came for so long that the numbers say nothing of the present.
    pub(crate) fn stale(&self, now: i64, scale: &Scale) -> bool {
        self.clock.silence(now) > scale.stale.max(self.clock.interval().saturating_mul(3))
    }

    /// Whether nothing came for so long that it may be forgotten. Silence is no sign that a leak has ended.
    pub(crate) fn gone(&self, now: i64, scale: &Scale) -> bool {
        let limit = if self.machine.state == State::Leaking { scale.keep } else { scale.forget };
        self.clock.silence(now) > limit.max(self.clock.interval().saturating_mul(6))
    }

    /// Whether it was watched for so long that a leak would have been found, and does not grow.
    pub(crate) fn is_settled(&self) -> bool {
        self.evaluation.blocks >= evaluate::enough(self.quality()) && !self.grows()
    }

    /// Uses another age from now on; blocks made with the former one are dropped.
    pub(crate) fn set_age(&mut self, age: f64) {
        if age != self.age {
            self.age = age;
            // How many were open does not depend on it.
            let recent = std::mem::take(&mut self.recent);
            self.reset();
            self.recent = recent;
        }
    }

    /// Old and idle ones now, by the number the floor is made from.
    pub(crate) fn floor_now(&self) -> Option<f64> {
        match self.floor? {
            Floor::Idle => at_bound(&self.latest.idle, self.age),
            Floor::Older => at_bound(&self.latest.older, self.age),
            Floor::Open => self.latest.open,
        }
    }

    /// Open now; 0 when unknown.
    pub(crate) fn open_now(&self) -> f64 {
        self.latest.open.or_else(|| self.latest.older.first().map(|(_, value)| *value)).unwrap_or(0.0)
    }

    /// Open at `time` on the series' time line, as far as the blocks know; now for times after the last block.
    pub(crate) fn open_at(&self, time: i64) -> f64 {
        if let Some(open) = self.open_near(time) {
            return open;
        }
        let before = self.fine.blocks().iter().rev().find(|block| block.last <= time);
        match before {
            Some(block) => f64::from(block.open),
            None => self.fine.blocks().front().map_or_else(|| self.open_now(), |block| f64::from(block.open)),
        }
    }

    /// Open at `time` by the observations around it; nothing when they are forgotten.
    pub(crate) fn open_near(&self, time: i64) -> Option<f64> {
        if time >= self.latest_time {
            return Some(self.open_now());
        }
        let mut after = (self.latest_time, self.open_now());
        for (at, open) in self.recent.iter().rev().map(|(at, open)| (*at, f64::from(*open))) {
            if at <= time {
                let share = (time - at) as f64 / (after.0 - at).max(1) as f64;
                return Some(open + share * (after.1 - open));
            }
            after = (at, open);
        }
        None
    }

    fn remember(&mut self) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((self.latest_time, self.open_now() as f32));
    }

    /// Growth of the open ones over the blocks since `time` on the series' own time line.
    pub(crate) fn open_growth_since(&self, time: i64) -> f64 {
        self.open_now() - self.open_at(time)
    }

    /// The evaluation that the state rests on.
    pub(crate) fn basis(&self) -> &Evaluation {
        if self.by_coarse { &self.coarse_evaluation } else { &self.evaluation }
    }

    /// What the floor counts, and whether deaths are known.
    pub(crate) fn quality(&self) -> Quality {
        Quality {
            idle: self.floor == Some(Floor::Idle),
            deaths: !self.latest.older.is_empty() && !self.latest.outlived.is_empty(),
        }
    }

    /// Whether the age T is known at all, or the floor is only of what is open.
    pub(crate) fn knows_age(&self) -> bool {
        self.floor.is_some_and(|floor| floor > Floor::Open)
    }

    /// Grows, by its state or by its last evaluation.
    pub(crate) fn grows(&self) -> bool {
        matches!(self.machine.state, State::Suspect | State::Leaking) || self.evaluation.suspect
    }

    /// Goes on with the verdict of another series, unless it has that one itself.
    pub(crate) fn adopt(&mut self, state: Option<State>, now: i64) {
        if let Some(state) = state.filter(|state| *state != self.machine.state) {
            self.machine.adopt(state, self.clock.at(now));
        }
    }

    fn reset(&mut self) {
        self.fine.clear();
        self.coarse.clear();
        self.recent.clear();
        self.pending = None;
        self.committed = Committed::default();
        self.evaluation = Evaluation::default();
        self.coarse_evaluation = Evaluation::default();
        self.machine = Machine::default();
        self.by_coarse = false;
        self.onset = None;
        self.certain = None;
    }

    /// Its source has lost its totals; what it counts of this process goes on.
    fn count_anew(&mut self, sample: &Sample) {
        self.first_opened = sample.opened.unwrap_or(0.0);
        let Committed { time, level, .. } = self.committed;
        self.committed = Committed { time, level, ..Committed::default() };
    }

    /// Puts the pending observation into the blocks.
    fn commit(&mut self, scale: &Scale, facts: Company) {
        let Some(time) = self.pending.take() else { return };
        self.sites.set(&self.latest.by_site);
        let Some(floor) = self.choose_floor() else { return };
        let (older, outlived) =
            (at_bound(&self.latest.older, self.age), at_bound(&self.latest.outlived, self.age));
        let difference =
            |now: Option<f64>, before: Option<f64>| now.zip(before).map(|(now, before)| now - before);
        let level = older.or(self.latest.open);
        let change = difference(level, self.committed.level).unwrap_or(0.0);
        let died = match outlived {
            Some(_) if older.is_some() => {
                difference(outlived, self.committed.outlived).unwrap_or(0.0).max(0.0)
            }
            _ => (-change).max(0.0),
        };
        let crossed = (change + died).max(0.0);
        let seconds = self.committed.time.map_or(0.0, |before| time.saturating_sub(before) as f64 / 1e9);
        let own_load = match difference(self.latest.load, self.committed.load) {
            Some(calls) if calls >= 0.0 && seconds > 0.0 => Some(calls / seconds),
            _ => None,
        };
        let point = Point {
            time,
            floor,
            open: self.open_now(),
            crossed,
            died,
            load: own_load.or(facts.load),
            memory: facts.memory,
            unused: self.latest.unused,
        };
        let (mut collected, mut lost) = (self.committed.collected, self.committed.lost);
        collected.set(time, self.latest.collected, LATELY * scale.block);
        lost.set(time, self.latest.lost, LATELY * scale.block);
        self.committed = Committed {
            time: Some(time),
            level: level.or(self.committed.level),
            outlived: outlived.or(self.committed.outlived),
            load: self.latest.load.or(self.committed.load),
            collected,
            lost,
        };
        // A point that comes late for its block, after a tick closed it, counts in the block that is open now.
        self.close_blocks(time, scale);
        self.fine.add(point);
        self.coarse.add(point);
    }

    /// The floor of the pending observation, by the best number known; changing the number starts the blocks anew.
    fn choose_floor(&mut self) -> Option<f64> {
        let candidates = [
            (Floor::Idle, at_bound(&self.latest.idle, self.age)),
            (Floor::Older, at_bound(&self.latest.older, self.age)),
            (Floor::Open, self.latest.open),
        ];
        let (kind, value) =
            candidates.into_iter().find_map(|(kind, value)| value.map(|value| (kind, value)))?;
        match self.floor {
            Some(used) if kind == used => self.floor_missing = 0,
            Some(used) if kind < used => {
                self.floor_missing += 1;
                if self.floor_missing < DOWNGRADE {
                    return None;
                }
                self.change_floor(kind);
            }
            Some(_) => self.change_floor(kind),
            None => self.floor = Some(kind),
        }
        Some(value)
    }

    fn change_floor(&mut self, kind: Floor) {
        self.floor = Some(kind);
        self.floor_missing = 0;
        self.reset();
    }

    fn close_blocks(&mut self, time: i64, scale: &Scale) {
        let quality = self.quality();
        if self.coarse.advance(time) {
            self.coarse_evaluation = evaluate::evaluate(self.coarse.blocks(), quality);
        }
        if !self.fine.advance(time) {
            return;
        }
        self.evaluation = evaluate::evaluate(self.fine.blocks(), quality);
        let end =
            self.fine.blocks().back().map_or(time, |block| (block.index + 1).saturating_mul(scale.block));
        self.step(end, scale);
    }

    /// Moves the state by the evaluations of the rings.
    fn step(&mut self, time: i64, scale: &Scale) {
        let stalled = |rate: f64| evaluate::stalled(self.fine.blocks(), rate);
        let fine = Signal::of(&self.evaluation, stalled(self.evaluation.slopes.median));
        let coarse = Signal::of(&self.coarse_evaluation, stalled(self.coarse_evaluation.slopes.median));
        self.certain = self.certainty(scale);
        // The lows of long blocks hide that members die, so net changes of those prove nothing.
        let telling = self.quality().deaths && coarse.passes && coarse.lasting;
        let leaking_by_coarse = telling && !(fine.passes && fine.lasting);
        if self.machine.state != State::Leaking {
            self.by_coarse = leaking_by_coarse;
        }
        let mut signal = if self.by_coarse { coarse } else { fine };
        signal.suspect = fine.suspect || coarse.suspect;
        signal.ended |= fine.ended && self.evaluation.dropped;
        signal.certain = self.certain.is_some() && !self.evaluation.dropped;
        self.machine.step(signal, time, scale.hold);
        let basis = if self.by_coarse { &self.coarse_evaluation } else { &self.evaluation };
        match self.machine.state {
            State::Ok => self.onset = None,
            State::Suspect | State::Leaking if basis.blocks >= 2 => {
                // Old ones were young when the growth began.
                let began = basis.onset.saturating_sub((self.age * 1e9) as i64).max(self.first_time);
                self.onset = Some(self.onset.map_or(began, |known| known.min(began)));
            }
            _ => {}
        }
        self.sites.block_closed(self.machine.state != State::Ok || self.evaluation.suspect);
    }

    fn certainty(&self, scale: &Scale) -> Option<Certain> {
        let evaluation = &self.evaluation;
        let stalled = evaluate::stalled(self.fine.blocks(), evaluation.slopes.median);
        let grows =
            evaluation.growth >= CERTAIN && evaluation.rises >= 3 && evaluation.late_share > 0.0 && !stalled;
        if self.subject.resource == Resource::CloseWait && self.knows_age() && grows && evaluation.died == 0.0
        {
            return Some(Certain::CloseWait);
        }
        if self.collected().is_some_and(|(count, _)| count >= CERTAIN) {
            return Some(Certain::Collected);
        }
        let alive = at_bound(&self.latest.alive_after_end, scale.alive);
        alive.filter(|alive| *alive >= CERTAIN).map(|_| Certain::AliveAfterEnd)
    }

    /// Clients collected without Close lately: how many, and per second.
    pub(crate) fn collected(&self) -> Option<(f64, f64)> {
        let (count, since) = self.committed.collected.growth(self.latest.collected)?;
        let seconds = self.latest_time.saturating_sub(since) as f64 / 1e9;
        (count > 0.0 && seconds > 0.0).then(|| (count, count / seconds))
    }

    /// Events known to be lost lately; what was lost before it was first seen does not count.
    pub(crate) fn lost_lately(&self) -> f64 {
        self.committed.lost.growth(self.latest.lost).map_or(0.0, |(lost, _)| lost)
    }
}

/// What the process contributes to the blocks of its series.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Company {
    /// Resident memory, bytes.
    pub(crate) memory: Option<f64>,
    /// Calls per second, as another series of the process knows them.
    pub(crate) load: Option<f64>,
    /// No other process is meant by its key: totals that begin anew are those of a source, not of a new process.
    pub(crate) identified: bool,
}
