//! What holds for every graph and every change of it while it works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_component::DeliverySettings;
use weir_config::{Node, NodeKind, Span};
use weir_engine::{ServiceSpec, Stopped};
use weir_testkit::{Entry, Event, Parcel, ReceiverScript, Reply, ids};

use crate::random::{Case, Dice, Weather};
use crate::support::{World, component};

const SEEDS: u64 = 300;

/// The exporter that stands in every pipeline at all times.
const ALWAYS: &str = "test/always";

#[test]
fn where_nothing_fails_reloads_lose_nothing_and_no_sender_notices_them() {
    let mut reloads = 0;
    for seed in 0..SEEDS {
        let run = Run::new(seed, Weather::Fair);
        let mut broken = run.broken();
        broken.extend(run.noticed());
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}\n{:#?}", run.specs);
        reloads += run.reloads;
    }
    assert!(reloads as u64 > SEEDS, "{reloads} reloads succeeded");
}

#[test]
fn whatever_fails_each_receipt_settles_once_and_what_was_acknowledged_is_delivered_or_counted() {
    let (mut reloads, mut refused) = (0, 0);
    for seed in 1_000_000..1_000_000 + SEEDS {
        let run = Run::new(seed, Weather::Any);
        let broken = run.broken();
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}\n{:#?}\n{:?}", run.specs, run.stopped);
        reloads += run.reloads;
        refused += run.refused;
    }
    assert!(reloads as u64 > SEEDS && refused > 20, "{reloads} reloads, {refused} refused");
}

/// A service with several configurations, one after the other.
struct Run {
    world: World,
    specs: Vec<ServiceSpec>,
    stopped: Stopped,
    reloads: usize,
    refused: usize,
    journal: Vec<Entry>,
}

impl Run {
    fn new(seed: u64, weather: Weather) -> Run {
        let (mut case, world) = (Case::new(seed, weather), World::new(seed));
        let mut dice = Dice::new(seed ^ 0x5eed);
        world.exporter(ALWAYS, DeliverySettings::default(), |_, _| Reply::Accept);
        case.spec.exporters.push(component(ALWAYS));
        case.spec.pipelines.iter_mut().for_each(|p| p.exporters.push(ALWAYS.to_owned()));
        case.script(&world);
        let mut engine = world.build(&case.spec);
        let mut specs = vec![case.spec.clone()];
        engine = world
            .simulation
            .run(async move { engine.start().await.map(|()| engine) })
            .expect("the start ends")
            .expect("starts");
        let (mut reloads, mut refused) = (0, 0);
        for number in 1..=dice.below(6) as i64 {
            world.pass(Duration::from_millis(dice.below(400)));
            let running = specs.last().expect("one");
            let next = edit(&mut dice, running, number);
            scripts(&mut dice, &world, &next, number, weather);
            let fails =
                if weather == Weather::Any && dice.below(8) == 0 { spoil(&world, &next) } else { None };
            let (same, outcome) = world.reload(engine, &next);
            engine = same;
            match outcome {
                Ok(()) => {
                    reloads += 1;
                    specs.push(next);
                }
                Err(_) => refused += 1,
            }
            if let Some(id) = fails {
                world.lab.receiver(&id, ReceiverScript::default());
            }
        }
        world.pass(Duration::from_millis(dice.below(1500)));
        let stopped = world.stop(engine, case.grace);
        world.simulation.run_to_end();
        let journal = world.lab.journal();
        Run { world, specs, stopped, reloads, refused, journal }
    }

    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut sent: BTreeMap<i64, (usize, usize, bool)> = BTreeMap::new();
        let mut gone: BTreeSet<i64> = BTreeSet::new();
        let mut came: BTreeSet<i64> = BTreeSet::new();
        for entry in &self.journal {
            match &entry.event {
                Event::Sent { first, items } => drop(sent.insert(*first, (*items, 0, false))),
                Event::Settled { first, outcome, .. } => {
                    let parcel = sent.entry(*first).or_default();
                    *parcel = (parcel.0, parcel.1 + 1, outcome.is_ok());
                }
                Event::Dropped { ids } => gone.extend(ids),
                Event::Delivered { payload, .. } if entry.who == ALWAYS => came.extend(ids(payload)),
                _ => {}
            }
        }
        let mut missing = 0;
        for (first, (items, settled, acknowledged)) in &sent {
            if *settled != 1 {
                broken.push(format!("parcel {first} was settled {settled} times"));
            }
            let all = *first..*first + *items as i64;
            missing += all.filter(|id| *acknowledged && !came.contains(id) && !gone.contains(id)).count();
        }
        let counted = self.count("otelcol_exporter_send_failed_", ALWAYS);
        if missing > counted {
            broken.push(format!("{missing} acknowledged items never came and {counted} are counted"));
        }
        let strangers =
            came.iter().filter(|id| !sent.iter().any(|(f, p)| (*f..*f + p.0 as i64).contains(id)));
        broken.extend(strangers.map(|id| format!("{id} was never sent")));
        if self.world.simulation.tasks() > 0 {
            broken.push("tasks are left".to_owned());
        }
        broken
    }

    /// Whatever a sender heard but success, and whatever did not end by itself.
    fn noticed(&self) -> Vec<String> {
        let bad = |entry: &Entry| match &entry.event {
            Event::Settled { first, outcome: Err((kind, text)), .. } => {
                Some(format!("{first}: {kind:?} {text}"))
            }
            _ => None,
        };
        let mut noticed: Vec<_> = self.journal.iter().filter_map(bad).collect();
        if !self.stopped.is_clean() {
            noticed.push(format!("{:?}", self.stopped));
        }
        let failed = self.count("otelcol_exporter_send_failed_", "");
        noticed.extend((failed > 0).then(|| format!("{failed} items failed")));
        noticed
    }

    fn count(&self, prefix: &str, exporter: &str) -> usize {
        let samples = self.world.host.stats().samples();
        let of = |s: &&weir_component::Sample| {
            s.name.starts_with(prefix) && (exporter.is_empty() || s.labels.iter().any(|(_, v)| v == exporter))
        };
        samples.iter().filter(of).map(|s| s.value as usize).sum()
    }
}

/// The same service with some changes.
fn edit(dice: &mut Dice, spec: &ServiceSpec, number: i64) -> ServiceSpec {
    let mut next = spec.clone();
    for _ in 0..=dice.below(3) {
        let pipelines = next.pipelines.len() as u64;
        let at = dice.below(pipelines) as usize;
        match dice.below(8) {
            0..3 => {
                let lists =
                    [&mut next.receivers, &mut next.processors, &mut next.exporters, &mut next.connectors];
                let list = lists.into_iter().nth(dice.below(4) as usize).expect("four");
                if let Some(spec) = list.get_mut(dice.below(4) as usize) {
                    spec.node = Node::new(NodeKind::Int(number.into()), Span::default());
                }
            }
            3 => drop(next.pipelines[at].processors.pop()),
            4 => next.pipelines[at].processors.reverse(),
            5 => {
                let id = format!("test/e{}", dice.below(3));
                if !next.exporters.iter().any(|e| e.id == id) {
                    next.exporters.push(component(&id));
                }
                let exporters = &mut next.pipelines[at].exporters;
                match exporters.iter().position(|e| *e == id) {
                    Some(place) => drop(exporters.remove(place)),
                    None => exporters.push(id),
                }
            }
            6 => {
                let id = format!("test/r{}", dice.below(3));
                if !next.receivers.iter().any(|r| r.id == id) {
                    next.receivers.push(component(&id));
                }
                if !next.pipelines[at].receivers.contains(&id) {
                    next.pipelines[at].receivers.push(id);
                }
            }
            _ if pipelines > 1 => drop(next.pipelines.remove(at)),
            _ => {}
        }
    }
    next
}

/// Scripts for what may be made anew: receivers with parcels that nobody sent before.
fn scripts(dice: &mut Dice, world: &World, spec: &ServiceSpec, number: i64, weather: Weather) {
    for (place, receiver) in spec.receivers.iter().enumerate() {
        let signals: Vec<_> = (spec.pipelines.iter())
            .filter(|p| p.receivers.contains(&receiver.id))
            .map(|p| p.signal)
            .collect();
        let first = 1_000_000 * number + 10_000 * place as i64;
        let parcel = |(at, signal): (usize, &weir_pdata::Signal)| Parcel {
            after: Duration::from_millis(dice.below(300)),
            signal: *signal,
            first: first + 10 * at as i64,
            items: dice.below(7) as usize,
        };
        let clients = vec![signals.iter().enumerate().map(parcel).collect()];
        world.lab.receiver(&receiver.id, ReceiverScript { clients, ..ReceiverScript::default() });
    }
    if weather == Weather::Fair {
        for exporter in spec.exporters.iter().filter(|e| e.id != ALWAYS) {
            let late = Duration::from_millis(dice.below(80));
            let reply = move || Reply::After(late, Box::new(Reply::Accept));
            world.exporter(&exporter.id, DeliverySettings::default(), move |_, _| reply());
        }
    }
}

/// Lets a receiver that will be made anew fail to start; its id.
fn spoil(world: &World, spec: &ServiceSpec) -> Option<String> {
    let id = spec.receivers.first()?.id.clone();
    let fails_to_start = Some("address already in use".to_owned());
    world.lab.receiver(&id, ReceiverScript { fails_to_start, ..ReceiverScript::default() });
    Some(id)
}
