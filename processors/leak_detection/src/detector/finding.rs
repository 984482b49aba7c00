//! From a judged group of series to the finding of the report.

use super::carry::{self, Carried};
use super::classify::{self, Class};
use super::confidence;
use super::evidence;
use super::explain;
use super::forecast::{self, Rate};
use super::gates;
use super::identity;
use super::input::{Resource, Source};
use super::join::Group;
use super::missing;
use super::process::Process;
use super::restart::Masked;
use super::scale::Scale;
use super::series::{Certain, Series, Subject};
use super::sites;
use super::thresholds::{self, Thresholds};
use super::view::{Judgement, View};
use weir_connection::report::{Evidence, Finding, Growth, History, Process as ReportProcess, State};

/// Goroutines of the goroutine-leak profile from which a leak is certain.
const LEAKED_GOROUTINES: f64 = 3.0;

/// A series may show this much more than the one that covers it, since they are not taken at the same time.
pub(crate) const COVERED: f64 = 1.25;

/// Blocks by which a series is younger than one that it cannot speak for yet.
const YOUNGER: usize = 4;

/// How urgent a state is for the choice of the primary series.
fn rank(state: State) -> u8 {
    match state {
        State::Leaking => 3,
        State::Suspect => 2,
        State::Recovering => 1,
        State::Ok => 0,
    }
}

/// A group with its primary series chosen and judged.
pub(crate) struct Judged<'a> {
    pub(crate) primary: &'a Series,
    pub(crate) members: Vec<&'a Series>,
    pub(crate) judgement: Judgement,
    /// Series that the other views contradict now.
    pub(crate) doubted: Vec<&'a Series>,
    /// Series that went silent, each with one that is heard and goes on with its verdict.
    pub(crate) carried: Vec<Carried>,
}

impl Judged<'_> {
    /// Its material.
    pub(crate) fn view<'b>(&'b self, bench: Bench<'b>) -> View<'b> {
        bench.view(self.primary, &self.members)
    }
}

/// What a judgement needs besides the group.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) process: &'a Process,
    pub(crate) scale: &'a Scale,
    pub(crate) thresholds: &'a Thresholds,
    pub(crate) now: i64,
    /// How far the wall clock is ahead of `now`, ns.
    pub(crate) ahead: i64,
}

impl<'a> Bench<'a> {
    fn view(self, primary: &'a Series, members: &'a [&'a Series]) -> View<'a> {
        let Bench { process, scale, now, ahead, .. } = self;
        View { process, primary, members, scale, now, ahead }
    }
}

/// Chooses the primary series and judges it.
///
/// The primary is the most urgent one after the gates; among equals one that is heard, then the most telling resource, so
/// that a ClientConn goes before its sockets. Series that are covered by a more telling one are evidence only, and those
/// whose verdict another one goes on with. `masked` tells of restarts that hid the growth of such a resource.
pub(crate) fn judge<'a>(
    bench: Bench<'a>,
    group: &Group<'a>,
    masked: impl Fn(&Series) -> Option<Masked>,
) -> Option<Judged<'a>> {
    let mut best: Option<(&'a Series, Judgement)> = None;
    let mut lost: Option<(&'a Series, Judgement)> = None;
    let mut members = group.members.clone();
    members.sort_by(|a, b| {
        let order = |s: &Series| (s.subject.resource.clone(), s.subject.source);
        order(a).cmp(&order(b))
    });
    let (mut telling, mut doubted): (Vec<&Series>, Vec<&Series>) = (Vec::new(), Vec::new());
    let mut carried = Vec::new();
    for primary in members.iter().copied() {
        let view = bench.view(primary, &members);
        let shown = members.iter().any(|sockets| view.fresh(sockets) && shows(sockets, primary));
        if shown || telling.iter().any(|other| covers(other, primary)) {
            continue;
        }
        if let Some(by) = carry::heir(&view) {
            carried.push(by);
        }
        if primary.carried && members.len() > 1 {
            continue;
        }
        if gates::contradicted(&view) {
            doubted.push(primary);
        }
        let judgement = of_series(&view, masked(primary));
        if judgement.gate == Some(gates::Gate::TelemetryLoss) && lost.is_none() {
            lost = Some((primary, judgement));
            continue;
        }
        if judgement.gate != Some(gates::Gate::TelemetryLoss) && view.fresh(primary) {
            telling.push(primary);
        }
        let urgency = |series: &Series, judgement: &Judgement| (rank(judgement.state), view.fresh(series));
        let more = |(best, known): &(&Series, Judgement)| urgency(primary, &judgement) > urgency(best, known);
        if best.as_ref().is_none_or(more) {
            best = Some((primary, judgement));
        }
    }
    let (primary, mut judgement) = match (best, lost) {
        // Lost events are worth saying when nothing else is.
        (Some((_, best)), Some(lost)) if best.state == State::Ok => lost,
        (Some(best), _) => best,
        (None, lost) => lost?,
    };
    if let Some(end) = bench.process.ended() {
        let judgement = Judgement { ended: Some(end), ..Judgement::default() };
        return Some(Judged { primary, members, judgement, doubted, carried });
    }
    let view = bench.view(primary, &members);
    judgement.class = match judgement.state {
        State::Ok if judgement.gate == Some(gates::Gate::TelemetryLoss) => Some(Class::TelemetryLoss),
        State::Ok => classify::churns(&view).then_some(Class::Churn),
        _ => classify::growing(&view, judgement.gate),
    };
    judgement.exceeded = thresholds::exceeded(&view, bench.thresholds);
    if judgement.state == State::Ok && !judgement.exceeded.is_empty() {
        judgement.state = State::Suspect;
    }
    Some(Judged { primary, members, judgement, doubted, carried })
}

/// Whether what a series counts is counted as well, and better, by an earlier one from inside the process: sockets and
/// goroutines of known clients follow them late.
fn covers(events: &Series, other: &Series) -> bool {
    let chain = |series: &Series| {
        matches!(series.subject.resource, Resource::GrpcClient | Resource::GrpcConnection | Resource::Socket)
    };
    events.subject.source == Source::Events
        && chain(events)
        && chain(other)
        && other.certain.is_none()
        && speaks_for(events, other)
        && other.open_now() <= COVERED * events.open_now() + 2.0
}

/// Whether sockets show what a profile counts, and also which of them are idle: its goroutines then only say what they are.
fn shows(sockets: &Series, other: &Series) -> bool {
    let known = |series: &Series| series.subject.source == Source::Profile && identity::is_connection(series);
    sockets.subject.source == Source::Sockets
        && sockets.subject.resource == Resource::Socket
        && sockets.quality().idle
        && known(other)
        && speaks_for(sockets, other)
        && other.open_now() <= COVERED * sockets.open_now() + 2.0
}

/// Whether a series may speak for another one: it was watched about as long, or for long enough. A verdict does not go with
/// the coming of a source that knows nothing of it yet.
pub(crate) fn speaks_for(series: &Series, other: &Series) -> bool {
    let blocks = |series: &Series| series.evaluation.blocks;
    other.machine.state == State::Ok
        || series.machine.state == State::Leaking
        || series.is_settled()
        || blocks(series) + YOUNGER > blocks(other)
}

fn of_series(view: &View<'_>, masked: Option<Masked>) -> Judgement {
    let primary = view.primary;
    let mut state = primary.machine.state;
    let proven = view.process.proved(&primary.subject.resource);
    if proven >= LEAKED_GOROUTINES && primary.grows() {
        state = State::Leaking;
    }
    let evaluation = &primary.evaluation;
    // Three quarters of a ring without growth: this instance is mended.
    let applies = evaluation.growth >= 1.0 && evaluation.late_share >= 0.35 && evaluation.slopes.low >= 0.0;
    let masked = masked.filter(|_| applies && matches!(state, State::Ok | State::Suspect));
    if let Some(masked) = masked {
        state = if masked.certain { State::Leaking } else { State::Suspect };
    }
    let grows = matches!(state, State::Suspect | State::Leaking);
    let gate = if grows { gates::gate(view) } else { None };
    let state = gate.map_or(state, |gate| gate.cap(state));
    Judgement { state, gate, masked, ..Judgement::default() }
}

/// What outlives a single judgement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Id in the report.
    pub(crate) id: String,
    pub(crate) state: State,
    /// Agent's time, ns.
    pub(crate) since: i64,
    /// Last class of a leak, kept while it recovers and when its process has ended.
    pub(crate) class: Option<Class>,
    /// It was leaking when its process ended.
    pub(crate) leaked: bool,
    /// What it goes by.
    pub(crate) resource: Option<Resource>,
    /// The series that it rests on.
    pub(crate) primary: Option<Subject>,
}

/// The finding of a judged group.
pub(crate) fn finding(
    bench: Bench<'_>,
    group: &Group<'_>,
    judged: &Judged<'_>,
    standing: &Standing,
) -> Finding {
    let mut judgement = judged.judgement.clone();
    if judgement.state == State::Recovering {
        judgement.class = standing.class.or(judgement.class);
    }
    let view = judged.view(bench);
    let grows = matches!(judgement.state, State::Suspect | State::Leaking);
    let mut sites = if judgement.state == State::Ok { Vec::new() } else { ranked_sites(&view) };
    let site = if sites.is_empty() { None } else { Some(sites.remove(0)) };
    let evidence = evidence::gather(&view, &judgement);
    let rate = if grows { rate(&view, &judgement) } else { Rate::default() };
    let sample = &judged.primary.latest;
    let resource = identity::resource(&view, standing.resource.as_ref());
    let ended = judgement.ended;
    let open = if ended.is_some() { 0.0 } else { judged.primary.open_now() };
    let leaked = if standing.leaked { standing.class } else { None };
    let explanation = match ended {
        Some(end) => explain::ended(&view, end, standing.leaked, leaked),
        None => explain::explanation(&view, &judgement),
    };
    let agent = |time: i64| view.wall(judged.primary.clock.to_agent(time, view.tolerance()));
    let key = &bench.process.key;
    Finding {
        id: standing.id.clone(),
        state: judgement.state,
        since: view.wall(standing.since),
        watched: view.watched(),
        ended: ended.map(|end| view.wall(end.time)),
        verdict_in: (judgement.state == State::Ok && judgement.class.is_none() && ended.is_none())
            .then(|| view.verdict_in())
            .flatten(),
        service: key.service.clone(),
        instance: key.instance.clone(),
        process: ReportProcess {
            pid: key.pid,
            executable: bench.process.facts.executable.clone().unwrap_or_default(),
            host: key.host.clone(),
            started: bench.process.facts.started.unwrap_or(0.0),
        },
        side: group.side.name().to_owned(),
        target: group.target.clone(),
        own: String::new(),
        resource: resource.name().to_owned(),
        resource_label: evidence::label(&resource, group.side),
        confidence: confidence::word(&view, &judgement, &evidence, site.is_some()).to_owned(),
        class: judgement.class.map_or("", Class::name).to_owned(),
        explanation,
        growth: Growth {
            rate: rate.median,
            rate_low: rate.low,
            rate_high: rate.high,
            open,
            opened: sample.opened.unwrap_or(0.0),
            closed: sample.closed.unwrap_or(0.0),
            unused: sample.unused.filter(|_| ended.is_none()),
            idle: evidence::idle(&view).filter(|_| ended.is_none()),
        },
        onset: judged.primary.onset.filter(|_| judgement.state != State::Ok).map(agent),
        missing: if ended.is_some() {
            Vec::new()
        } else {
            missing::missing(&view, &judgement, site.is_some())
        },
        forecast: forecast::forecasts(&view, &judgement, rate),
        cure: explain::cure(&view, &judgement),
        history: history(judged.primary, agent),
        evidence: evidence_or_none(evidence),
        site,
        other_sites: sites,
        exemplars: Vec::new(),
        stacks: Vec::new(),
    }
}

fn evidence_or_none(evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.into_iter().filter(|e| !e.text.is_empty()).collect()
}

/// Share of the open ones that the lines of another series must have made to speak for the primary.
const EXPLAINS: f64 = 0.3;

/// Sites of the primary and of what corroborates it, the primary's first.
fn ranked_sites(view: &View<'_>) -> Vec<weir_connection::report::Site> {
    let others = view.members.iter().filter(|m| !std::ptr::eq::<Series>(**m, view.primary));
    let related = others.filter(|m| m.grows() || m.subject.source != view.primary.subject.source);
    // A line that made one connection does not explain ninety streams: what corroborates must be about as many.
    let enough = EXPLAINS * view.primary.open_now();
    let books =
        related.map(|m| &m.sites).filter(|book| book.growth().map(|(_, grown)| grown).sum::<f64>() >= enough);
    let books: Vec<&sites::SiteBook> = std::iter::once(&view.primary.sites).chain(books).collect();
    sites::ranked(books.into_iter())
}

fn rate(view: &View<'_>, judgement: &Judgement) -> Rate {
    if view.primary.certain == Some(Certain::Collected)
        && let Some((_, per_second)) = view.primary.collected()
    {
        return Rate { median: per_second, low: per_second, high: per_second };
    }
    let slopes = view.primary.basis().slopes;
    let hidden = judgement.masked.map_or(0.0, |masked| masked.rate);
    let median = slopes.median.max(hidden).max(0.0);
    Rate { median, low: slopes.low.clamp(0.0, median), high: slopes.high.max(median) }
}

/// The population over time: at the end of the coarse blocks, then of the fine ones, then now.
fn history(series: &Series, agent: impl Fn(i64) -> f64) -> History {
    let fine = series.fine.blocks();
    let start = fine.front().map_or(i64::MAX, |block| block.last);
    let older = series.coarse.blocks().iter().filter(|block| block.last < start);
    let mut history = History::default();
    let mut push = |time: i64, open: f64, floor: f64| {
        history.time.push(agent(time));
        history.open.push(open);
        history.idle_old.push(floor);
    };
    for block in older.chain(fine) {
        push(block.last, f64::from(block.open), f64::from(block.last_floor));
    }
    let past = fine.back().map_or(i64::MIN, |block| block.last);
    if let Some(floor) = series.floor_now().filter(|_| series.latest_time > past) {
        push(series.latest_time, series.open_now(), floor);
    }
    history
}
