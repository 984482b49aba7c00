//! The processor: reads what passes, judges, and speaks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_component::{Batch, Clock, Heirloom, Host, Instant, Stage, StageContext, SteadyTime, async_trait};
use weir_connection::board::{Board, Complaints};
use weir_connection::report::{Finding, State};
use weir_connection::table::ConnectionTable;
use weir_pdata::{Payload, Signal};

use crate::config::Config;
use crate::crowd::{self, Crowd};
use crate::decode::decode;
use crate::detector::{Change, Detector, Settings, Source};
use crate::emit::Emitter;
use crate::enrich::enrich;
use crate::mirror;
use crate::own::Own;
use crate::roots::SourceRoots;
use crate::shown::Shown;

/// How often the detector's clock moves on.
const TICK: Duration = Duration::from_secs(1);

/// What passes has so many times as long as judging took: many series on a slow machine must not hold it up.
const SHARE: u32 = 4;

/// Findings in a request at most: a few thousand points.
const MAX_FINDINGS: usize = 500;

pub(crate) struct LeakDetection {
    settings: Settings,
    detector: Detector,
    /// The detector's clock.
    time: Option<SteadyTime>,
    table: Arc<ConnectionTable>,
    board: Arc<Board>,
    own: Own,
    roots: SourceRoots,
    report_interval: Duration,
    next_tick: Instant,
    next_report: Instant,
    findings: Vec<Finding>,
    /// Sources of which the log has said that they publish too rarely.
    rare: BTreeSet<Source>,
    /// Findings that are settled by others ([`mirror`]).
    settled: BTreeSet<String>,
    shown: Shown,
    /// Verdicts that a reload has ended, still to be told.
    forgotten: Vec<Change>,
    crowd: Crowd,
}

/// What one instance leaves to the next.
struct Memory {
    detector: Detector,
    time: Option<SteadyTime>,
    settled: BTreeSet<String>,
    shown: Shown,
}

impl LeakDetection {
    pub(crate) fn new(config: &Config, id: &str, host: &Host) -> LeakDetection {
        let window = config.window.as_std();
        let default = (window / 20).clamp(Duration::from_secs(1), Duration::from_secs(30));
        LeakDetection {
            detector: Detector::new(config.settings()),
            settings: config.settings(),
            time: None,
            table: host.shared(),
            board: host.shared(),
            own: Own::new(host),
            roots: SourceRoots::new(&config.source_roots),
            report_interval: config.report_interval.non_zero().unwrap_or(default),
            next_tick: Instant::default(),
            next_report: Instant::default(),
            findings: Vec::new(),
            rare: BTreeSet::new(),
            settled: BTreeSet::new(),
            shown: Shown::default(),
            forgotten: Vec::new(),
            crowd: Crowd::new(id, host),
        }
    }

    fn observe(&mut self, payload: &Payload) {
        let decoded = decode(payload);
        for process in decoded.processes {
            self.detector.observe_process(process);
        }
        for mut series in decoded.series {
            series.sample.by_site.iter_mut().for_each(|(site, _)| self.roots.shorten(&mut site.file));
            self.detector.observe(series);
        }
    }

    /// Moves the detector's clock and puts up what it says.
    fn tick(&mut self, cx: &StageContext) -> Vec<Change> {
        let nanos = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let now = nanos(self.time.get_or_insert_with(|| SteadyTime::new(&cx.clock)).unix_nanos(&cx.clock));
        self.detector.set_wall_clock(nanos(cx.clock.unix_nanos()).saturating_sub(now));
        let mut over = std::mem::take(&mut self.forgotten);
        over.extend(self.detector.tick(now));
        let emitter = Emitter { table: &self.table, clock: &cx.clock, roots: &self.roots };
        self.findings = self.detector.report(now);
        let mut complaints = BTreeMap::new();
        for (source, sentence) in self.detector.rare_sources() {
            if self.rare.insert(source) {
                tracing::warn!(otelcol.component.id = %cx.id, "{sentence}");
            }
            complaints.insert(kind(source), sentence);
        }
        let unwatched = self.detector.unwatched();
        for (source, count) in &unwatched {
            let sentence = crowd::sentence(*count, self.settings.max_series);
            let complaint: &mut String = complaints.entry(kind(*source)).or_default();
            *complaint = if complaint.is_empty() { sentence } else { format!("{complaint}; {sentence}") };
        }
        let unwatched = unwatched.values().sum();
        if self.crowd.told(&self.detector.counters(), unwatched, cx.clock.now()) {
            let sentence = crowd::sentence(unwatched, self.settings.max_series);
            tracing::warn!(otelcol.component.id = %cx.id, "{sentence}");
        }
        self.settled = mirror::settle(&mut self.findings, &self.settled, |f| emitter.peers(f));
        self.own.attribute(&mut self.findings, &mut over);
        self.findings.iter_mut().for_each(|f| emitter.detail(f));
        let changes = self.shown.changes(&self.findings, over);
        self.board.put(&cx.id, self.findings.clone(), Complaints { sources: complaints, unwatched });
        changes
    }

    /// Says what changed: a line in the agent's log, a log record, spans of open connections.
    async fn announce(&self, changes: &[Change], cx: &StageContext) {
        if changes.is_empty() {
            return;
        }
        for change in changes {
            log(&cx.id, change);
        }
        let (logs, spans) = {
            let emitter = self.emitter(&cx.clock);
            (emitter.logs(changes), emitter.open_spans(changes))
        };
        for (signal, payload) in [(Signal::Logs, logs), (Signal::Traces, spans)] {
            send(cx, signal, payload).await;
        }
    }

    async fn report(&mut self, cx: &StageContext) {
        let time = cx.clock.unix_nanos();
        let over = self.shown.sent(&self.findings);
        for some in self.findings.chunks(MAX_FINDINGS).chain(over.chunks(MAX_FINDINGS)) {
            let metrics = self.emitter(&cx.clock).metrics(some, time);
            send(cx, Signal::Metrics, metrics).await;
        }
    }

    fn emitter<'a>(&'a self, clock: &'a Clock) -> Emitter<'a> {
        Emitter { table: &self.table, clock, roots: &self.roots }
    }
}

/// The kind of source, as its status has it.
fn kind(source: Source) -> &'static str {
    match source {
        Source::Events => "events",
        Source::Sockets => "sockets",
        Source::Profile => "profile",
    }
}

async fn send(cx: &StageContext, signal: Signal, payload: Option<Payload>) {
    if let (Some(payload), Some(output)) = (payload, cx.outputs.first(signal)) {
        output.send(Batch::unattended(payload)).await;
    }
}

fn log(id: &str, change: &Change) {
    let f = &change.finding;
    let site = f.site.as_ref().map(|s| format!("{}:{}", s.file, s.line)).unwrap_or_default();
    let (state, previous) = (change.to.word(), change.from.word());
    let target = if f.target.is_empty() { "" } else { &f.target };
    if change.to == State::Leaking {
        tracing::warn!(
            otelcol.component.id = id, service = %f.service, target, class = %f.class, site = %site,
            rate = f.growth.rate, open = f.growth.open, previous, "{state}: {}", f.explanation
        );
    } else {
        tracing::info!(
            otelcol.component.id = id, service = %f.service, target, class = %f.class, site = %site,
            rate = f.growth.rate, open = f.growth.open, previous, "{state}: {}", f.explanation
        );
    }
}

#[async_trait]
impl Stage for LeakDetection {
    async fn on_batch(&mut self, port: usize, mut batch: Batch, cx: &StageContext) {
        if batch.payload.signal() == Signal::Metrics {
            self.observe(&batch.payload);
        } else {
            enrich(&mut batch.payload, &self.findings, &self.table);
        }
        cx.outputs.send(port, batch).await;
    }

    fn wake_at(&self) -> Option<Instant> {
        Some(self.next_tick)
    }

    async fn on_wake(&mut self, cx: &StageContext) {
        let now = cx.clock.now();
        let changes = self.tick(cx);
        let then = cx.clock.now();
        self.next_tick = then + TICK.max(then.since(now) * SHARE);
        self.announce(&changes, cx).await;
        if now >= self.next_report {
            self.next_report = now + self.report_interval;
            self.report(cx).await;
        }
    }

    async fn on_drain(&mut self, cx: &StageContext) {
        let changes = self.tick(cx);
        self.announce(&changes, cx).await;
        self.report(cx).await;
    }

    fn hand_over(&mut self) -> Option<Heirloom> {
        let fresh = Detector::new(self.settings.clone());
        let detector = std::mem::replace(&mut self.detector, fresh);
        let (settled, shown) = (std::mem::take(&mut self.settled), std::mem::take(&mut self.shown));
        Some(Box::new(Memory { detector, time: self.time, settled, shown }))
    }

    fn take_over(&mut self, heirloom: Heirloom) {
        let Ok(memory) = heirloom.downcast::<Memory>() else { return };
        (self.detector, self.time) = (memory.detector, memory.time);
        (self.settled, self.shown) = (memory.settled, memory.shown);
        self.crowd.counted_before(&self.detector.counters());
        if let Some((why, changes)) = self.detector.set(self.settings.clone()) {
            tracing::warn!(otelcol.component.kind = "processor", "leak_detection: {why}");
            self.forgotten = changes;
        }
    }
}
