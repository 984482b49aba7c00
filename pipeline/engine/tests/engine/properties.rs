//! What holds for every graph, every failure and every moment of stopping.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_component::Kind;
use weir_engine::Stopped;
use weir_pdata::{Payload, Signal};
use weir_testkit::{Entry, Event, ids, with_ids};

use crate::random::{Case, Dice, Weather};
use crate::support::World;

const SEEDS: u64 = 1200;

#[test]
fn no_receipt_is_lost_and_what_was_acknowledged_arrived_or_is_counted() {
    all_hold(Weather::Any, 0);
}

#[test]
fn where_every_sender_waits_for_the_result_what_was_acknowledged_arrived() {
    all_hold(Weather::Waiting, 1_000_000);
}

#[test]
fn where_nothing_fails_everything_arrives_by_every_way_once() {
    all_hold(Weather::Fair, 2_000_000);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut different = 0;
    for seed in 3_000_000..3_000_150 {
        let run = |scheduling: u64| {
            let run = Run::new(seed, scheduling, Weather::Any);
            run.journal.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>()
        };
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        different += usize::from(first != run(seed + 1));
    }
    assert!(different > 100, "another order of the same tasks shows in the journal: {different}");
}

#[test]
fn the_random_services_reach_what_they_are_meant_to_test() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..300 {
        let run = Run::new(seed, seed, Weather::Any);
        for (what, is_so) in [
            ("all was acknowledged", run.heard.values().all(Result::is_ok)),
            ("something was acknowledged", run.heard.values().any(Result::is_ok)),
            ("a permanent failure", run.hears(|k| k == Kind::Permanent)),
            ("a retryable failure", run.hears(|k| matches!(k, Kind::Retry(_)))),
            ("an abandoned batch", run.hears(|k| k == Kind::Abandoned)),
            ("a deadline", !run.stopped.unfinished.is_empty()),
            (
                "a stop in time with failures",
                run.stopped.unfinished.is_empty() && run.total("send_failed") > 0,
            ),
            ("a full queue", run.total("enqueue_failed") > 0),
            ("a partial success", run.total("rejected") > 0),
            ("a connector", !run.case.spec.connectors.is_empty()),
            ("a shared processor", run.case.processors.contains_key("shared/x")),
            ("acknowledged and failed", run.acknowledged_and_missing() > 0),
        ] {
            *seen.entry(what).or_default() += usize::from(is_so);
        }
    }
    assert!(seen.values().all(|times| *times >= 10), "{seen:?}");
}

fn all_hold(weather: Weather, from: u64) {
    for seed in from..from + SEEDS {
        let run = Run::new(seed, seed, weather);
        let mut broken = run.broken();
        if weather == Weather::Fair {
            broken.extend(run.clouds());
        }
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}\n{:#?}\nstopped: {:?}", run.case, run.stopped);
    }
}

/// One service from start to end, and what was seen of it.
struct Run {
    world: World,
    case: Case,
    stopped: Stopped,
    took: Duration,
    journal: Vec<Entry>,
    /// What the sender of each parcel heard, by first id; it is checked apart that each heard once.
    heard: BTreeMap<i64, Result<(), (Kind, String)>>,
}

/// What is owed to an exporter and what came.
#[derive(Debug, Default)]
struct Balance {
    /// Of acknowledged items: how often each was to come, without what was dropped by intent.
    owed: usize,
    /// Of acknowledged items: how often each came, refused ones included.
    came: usize,
    /// Of all items that were sent: how many left every processor.
    arrived: usize,
}

impl Run {
    fn new(seed: u64, scheduling: u64, weather: Weather) -> Run {
        let (case, world) = (Case::new(seed, weather), World::new(scheduling));
        case.script(&world);
        let mut engine = world.build(&case.spec);
        let (clock, stop_after, grace) = (world.clock.clone(), case.stop_after, case.grace);
        let wall = Dice::new(seed).below(1 << 50) as i64 - (1 << 49);
        let simulation = world.simulation.clone();
        let ran = world.simulation.run(async move {
            engine.start().await.expect("starts");
            clock.sleep(stop_after / 2).await;
            simulation.shift_wall_clock(wall);
            clock.sleep(stop_after / 2).await;
            let stopping = clock.now();
            let stopped = engine.stop(grace).await;
            (stopped, clock.now() - stopping)
        });
        let (stopped, took) = ran.expect("the stop ends");
        let mut heard = BTreeMap::new();
        let journal = world.lab.journal();
        for entry in &journal {
            if let Event::Settled { first, outcome, .. } = &entry.event {
                heard.insert(*first, outcome.clone());
            }
        }
        Run { world, case, stopped, took, journal, heard }
    }

    /// All invariants that do not hold, in words.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |holds: bool, what: &dyn Fn() -> String| {
            if !holds {
                broken.push(what());
            }
        };
        check(self.world.simulation.tasks() == 0, &|| "tasks are left after the stop".into());
        check(self.took <= self.case.grace + Duration::from_secs(3), &|| {
            format!("the stop took {:?}", self.took)
        });
        let queued = self.gauge("otelcol_exporter_queue_size");
        check(queued == 0, &|| format!("queues show {queued} after the stop"));
        self.check_receipts(&mut check);
        self.check_payloads(&mut check);
        for exporter in self.case.exporters.keys() {
            self.check_exporter(exporter, &mut check);
        }
        broken
    }

    /// Whatever went wrong although nothing was meant to.
    fn clouds(&self) -> Vec<String> {
        let counted = ["send_failed", "enqueue_failed", "rejected"].map(|what| self.total(what));
        let unfinished = &self.stopped.unfinished;
        let all_is_well =
            counted == [0; 3] && unfinished.is_empty() && self.heard.values().all(Result::is_ok);
        let cloud = || format!("failures {counted:?}, unfinished {unfinished:?}, heard {:?}", self.heard);
        (!all_is_well).then(cloud).into_iter().collect()
    }

    fn check_receipts(&self, check: &mut dyn FnMut(bool, &dyn Fn() -> String)) {
        let mut settled: BTreeMap<i64, usize> = BTreeMap::new();
        for entry in &self.journal {
            match entry.event {
                Event::Sent { first, .. } => drop(settled.entry(first).or_default()),
                Event::Settled { first, .. } => *settled.entry(first).or_default() += 1,
                _ => {}
            }
        }
        for (first, times) in settled {
            check(times == 1, &|| format!("parcel {first} was settled {times} times"));
        }
        let in_time = self.stopped.unfinished.is_empty();
        let abandoned = self.hears(|kind| kind == Kind::Abandoned);
        check(!(abandoned && in_time), &|| "a batch was abandoned without need".into());
        let trouble = ["send_failed", "enqueue_failed"].iter().any(|what| self.total(what) > 0)
            || self.journal.iter().any(|e| matches!(e.event, Event::Failed { .. }));
        let unhappy = self.heard.values().any(Result::is_err);
        check(trouble || !in_time || !unhappy, &|| format!("failures without a cause: {:?}", self.heard));
    }

    /// What was delivered was sent, item by item, with all that belongs to it.
    fn check_payloads(&self, check: &mut dyn FnMut(bool, &dyn Fn() -> String)) {
        let sent: BTreeSet<i64> = self.sent().into_keys().collect();
        for entry in &self.journal {
            if let Event::Delivered { payload, .. } = &entry.event {
                let got = ids(payload);
                check(got.iter().all(|id| sent.contains(id)), &|| format!("{got:?} was not all sent"));
                let expected = singles(&with_ids(payload.signal(), &got));
                check(singles(payload) == expected, &|| format!("items were changed in {payload:?}"));
            }
        }
    }

    fn check_exporter(&self, exporter: &str, check: &mut dyn FnMut(bool, &dyn Fn() -> String)) {
        let balance = self.balance(exporter);
        let [sent, failed, refused, rejected] = ["sent", "send_failed", "enqueue_failed", "rejected"]
            .map(|what| self.exporter_count(what, exporter));
        let missing = balance.owed.checked_sub(balance.came);
        check(missing.is_some(), &|| format!("{exporter} got acknowledged items too often: {balance:?}"));
        let missing = missing.unwrap_or_default();
        let may_miss = if self.case.waits(exporter) { 0 } else { failed };
        check(missing <= may_miss, &|| format!("{exporter} misses {missing}, {failed} failed: {balance:?}"));
        let mut taken = [0, 0];
        for entry in self.journal.iter().filter(|e| e.who == exporter) {
            if let Event::Delivered { payload, rejected } = &entry.event {
                taken[0] += payload.items() - rejected.len();
                taken[1] += rejected.len();
            }
        }
        check(taken == [sent, rejected], &|| {
            format!("{exporter} took {taken:?}, counted {sent}, {rejected}")
        });
        if self.stopped.unfinished.is_empty() {
            let counted = sent + failed + refused + rejected;
            // What a stage that was stuck has refused did not come as far as an exporter.
            let turned_away = |(_, why): &(Kind, String)| why.starts_with("no room behind it: ");
            let exact = !self.heard.values().any(|heard| heard.as_ref().is_err_and(turned_away));
            let holds = if exact { counted == balance.arrived } else { counted <= balance.arrived };
            check(holds, &|| format!("{exporter} counted {counted}: {balance:?}"));
        }
    }

    /// Items that were sent: receiver, signal, and whether they were acknowledged.
    fn sent(&self) -> BTreeMap<i64, (&str, Signal, bool)> {
        let mut out = BTreeMap::new();
        for (receiver, script) in &self.case.receivers {
            for parcel in script.clients.iter().flatten() {
                if let Some(outcome) = self.heard.get(&parcel.first) {
                    for id in parcel.first..parcel.first + parcel.items as i64 {
                        out.insert(id, (receiver.as_str(), parcel.signal, outcome.is_ok()));
                    }
                }
            }
        }
        out
    }

    fn balance(&self, exporter: &str) -> Balance {
        let ways: Vec<usize> = (0..self.case.spec.pipelines.len()).map(|p| self.ways(p, exporter)).collect();
        let mut gone: BTreeMap<i64, usize> = BTreeMap::new();
        let mut came: BTreeMap<i64, usize> = BTreeMap::new();
        let waits = self.case.waits(exporter);
        let mut settled: BTreeSet<i64> = BTreeSet::new();
        for entry in &self.journal {
            match &entry.event {
                Event::Settled { first, items, .. } => settled.extend(*first..*first + *items as i64),
                Event::Dropped { ids } | Event::Failed { ids } => {
                    let pipelines = &self.case.spec.pipelines;
                    if let Some(p) = pipelines.iter().position(|p| p.processors.contains(&entry.who)) {
                        ids.iter().for_each(|id| *gone.entry(*id).or_default() += ways[p]);
                    }
                }
                Event::Delivered { payload, .. } if entry.who == exporter => {
                    // Where the sender waits for the result, what comes after its answer comes too late.
                    let in_time = |id: &&i64| !waits || !settled.contains(id);
                    ids(payload).iter().filter(in_time).for_each(|id| *came.entry(*id).or_default() += 1);
                }
                _ => {}
            }
        }
        let mut balance = Balance::default();
        for (id, (receiver, signal, acknowledged)) in self.sent() {
            let fed = self.case.spec.pipelines.iter().zip(&ways);
            let fed = fed.filter(|(p, _)| p.signal == signal && p.receivers.iter().any(|r| r == receiver));
            let all: usize = fed.map(|(_, ways)| ways).sum();
            let of = |map: &BTreeMap<i64, usize>| map.get(&id).copied().unwrap_or_default();
            let arrived = all.saturating_sub(of(&gone));
            balance.arrived += arrived;
            if acknowledged {
                balance.owed += arrived;
                balance.came += of(&came);
            }
        }
        balance
    }

    /// How many ways lead from the front of a pipeline to an exporter.
    fn ways(&self, pipeline: usize, exporter: &str) -> usize {
        let pipelines = &self.case.spec.pipelines;
        let through = |end: &String| -> usize {
            let behind = (0..pipelines.len()).filter(|next| pipelines[*next].receivers.contains(end));
            usize::from(end == exporter) + behind.map(|next| self.ways(next, exporter)).sum::<usize>()
        };
        pipelines[pipeline].exporters.iter().map(through).sum()
    }

    fn hears(&self, kind: impl Fn(Kind) -> bool) -> bool {
        self.heard.values().any(|outcome| outcome.as_ref().is_err_and(|(k, _)| kind(*k)))
    }

    fn acknowledged_and_missing(&self) -> usize {
        let of = |exporter: &String| {
            let balance = self.balance(exporter);
            balance.owed - balance.came
        };
        self.case.exporters.keys().map(of).sum()
    }

    fn total(&self, what: &str) -> usize {
        self.case.exporters.keys().map(|exporter| self.exporter_count(what, exporter)).sum()
    }

    fn exporter_count(&self, what: &str, exporter: &str) -> usize {
        let of = |signal: &Signal| {
            self.world.count(&format!("otelcol_exporter_{what}_{}", signal.items()), exporter) as usize
        };
        [Signal::Traces, Signal::Metrics, Signal::Logs].iter().map(of).sum()
    }

    fn gauge(&self, name: &str) -> u64 {
        self.world.host.stats().samples().iter().filter(|s| s.name == name).map(|s| s.value).sum()
    }
}

/// Each item with its resource and scope, as text.
fn singles(payload: &Payload) -> Vec<String> {
    let mut out = Vec::new();
    match payload.signal() {
        Signal::Traces => {
            for resource in payload.decode_traces().resource_spans {
                for scope in resource.scope_spans {
                    let spans = scope.spans.iter();
                    out.extend(spans.map(|s| format!("{:?} {:?} {s:?}", resource.resource, scope.scope)));
                }
            }
        }
        Signal::Metrics => {
            for resource in payload.decode_metrics().resource_metrics {
                for scope in resource.scope_metrics {
                    for metric in scope.metrics {
                        let head = format!("{:?} {:?} {}", resource.resource, scope.scope, metric.name);
                        let points = format!("{:?}", metric.data);
                        // One line for each point: the text of a gauge is its points, in order.
                        out.extend(
                            points
                                .split("NumberDataPoint")
                                .skip(1)
                                .map(|p| format!("{head} {}", p.trim_end_matches(['}', ']', ')', ',', ' ']))),
                        );
                    }
                }
            }
        }
        Signal::Logs | Signal::Profiles => {
            for resource in payload.decode_logs().resource_logs {
                for scope in resource.scope_logs {
                    let records = scope.log_records.iter();
                    out.extend(records.map(|r| format!("{:?} {:?} {r:?}", resource.resource, scope.scope)));
                }
            }
        }
    }
    out
}
