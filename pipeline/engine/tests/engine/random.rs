//! Random services with random failures, from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_component::{
    BatchSettings, DeliverySettings, Failure, QueueSettings, RetrySettings, Sizer, Verdict,
};
use weir_engine::{PipelineSpec, ServiceSpec};
use weir_pdata::Signal::{self, Logs, Metrics, Traces};
use weir_testkit::{Parcel, ReceiverScript, Reply, Role, ids};

use crate::support::{World, service};

/// What may go wrong in a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything at once, and memory queues that acknowledge early.
    Any,
    /// The same, but every sender waits for the real result.
    Waiting,
    /// Nothing fails, all queues are large, and the stop has time.
    Fair,
}

/// A service, its scripts and when it is stopped.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) spec: ServiceSpec,
    pub(crate) receivers: BTreeMap<String, ReceiverScript>,
    pub(crate) processors: BTreeMap<String, What>,
    pub(crate) exporters: BTreeMap<String, (DeliverySettings, Mood)>,
    pub(crate) stop_after: Duration,
    pub(crate) grace: Duration,
    seed: u64,
}

/// What a processor does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Rule { pass: u64, drop: u64 },
    Pass,
    Split,
    Hold(Duration),
    Merge(Duration),
}

/// How an exporter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Flaky,
    Down,
    Hanging,
}

/// splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn size(&mut self, from: usize, to: usize) -> usize {
        from + self.below((to - from + 1) as u64) as usize
    }

    /// Each of `of` with that chance, at least one.
    fn some(&mut self, of: &[String], chance: u64) -> Vec<String> {
        let mut out: Vec<_> = of.iter().filter(|_| self.percent(chance)).cloned().collect();
        if out.is_empty() {
            out.push(of[self.below(of.len() as u64) as usize].clone());
        }
        out
    }
}

impl Case {
    pub(crate) fn new(seed: u64, weather: Weather) -> Case {
        let mut dice = Dice::new(seed);
        let mut processors = BTreeMap::new();
        let spec = graph(&mut dice, weather, &mut processors);
        let mut first = 0;
        let receivers =
            spec.receivers.iter().map(|c| (c.id.clone(), receiver(&mut dice, &spec, &c.id, &mut first)));
        let receivers = receivers.collect();
        let exporters = spec.exporters.iter().map(|c| (c.id.clone(), exporter(&mut dice, weather)));
        let exporters = exporters.collect();
        let stop_after = dice.millis(1500);
        let grace = match weather {
            Weather::Fair => Duration::from_secs(3600),
            _ => dice.one(&[
                Duration::ZERO,
                Duration::from_millis(60),
                Duration::from_secs(2),
                Duration::from_secs(600),
            ]),
        };
        Case { spec, receivers, processors, exporters, stop_after, grace, seed }
    }

    /// Writes the scripts into the lab of a world.
    pub(crate) fn script(&self, world: &World) {
        for (id, script) in &self.receivers {
            world.lab.receiver(id, script.clone());
        }
        for (id, what) in &self.processors {
            world.lab.processor(id, what.role(id.len() as u64 ^ self.seed));
        }
        for connector in &self.spec.connectors {
            world.lab.processor(&connector.id, Role::Pass);
        }
        for (place, (id, (delivery, mood))) in self.exporters.iter().enumerate() {
            let (mood, seed) = (*mood, self.seed ^ (place as u64) << 32);
            world.exporter(id, delivery.clone(), move |n, payload| {
                mood.answer(&mut Dice::new(seed ^ (n as u64) << 8), payload.items())
            });
        }
    }

    /// Whether the senders hear what became of the data at that exporter.
    pub(crate) fn waits(&self, exporter: &str) -> bool {
        self.exporters[exporter].0.queue.as_ref().is_none_or(|q| q.wait_for_result)
    }
}

/// Up to four pipelines; connectors lead from earlier ones to later ones.
fn graph(dice: &mut Dice, weather: Weather, processors: &mut BTreeMap<String, What>) -> ServiceSpec {
    let number = dice.size(1, 4);
    let names = |kind: &str, n: usize| (0..n).map(|i| format!("test/{kind}{i}")).collect::<Vec<_>>();
    let (receivers, exporters) = (names("r", dice.size(1, 3)), names("e", dice.size(1, 3)));
    let mut pipelines: Vec<PipelineSpec> = (0..number)
        .map(|i| {
            let signal = dice.one(&[Traces, Metrics, Logs]);
            let ids: Vec<_> = (0..dice.size(0, 3)).map(|k| format!("test/p{i}{k}")).collect();
            processors.extend(ids.iter().map(|id| (id.clone(), What::new(dice, weather))));
            PipelineSpec {
                signal,
                id: format!("{signal}/{i}"),
                receivers: dice.some(&receivers, 40),
                processors: ids,
                exporters: dice.some(&exporters, 40),
            }
        })
        .collect();
    let mut connectors = Vec::new();
    for split in 1..number {
        if dice.percent(45) {
            let id = format!("test/c{split}");
            connect(dice, &mut pipelines, split, &id);
            connectors.push(id);
        }
    }
    if connectors.is_empty() && dice.percent(40) {
        let id = "shared/x".to_owned();
        let what = [What::Pass, What::Split, What::Hold(dice.millis(100)), What::Merge(dice.millis(100))];
        processors.insert(id.clone(), dice.one(&what));
        for pipeline in &mut pipelines {
            let at = dice.size(0, pipeline.processors.len());
            pipeline.processors.insert(at, id.clone());
        }
    }
    let ids: Vec<_> = connectors.iter().map(String::as_str).collect();
    service(&ids, pipelines)
}

/// From one or two pipelines before `split` to one or two from there on; sometimes nothing else feeds those.
fn connect(dice: &mut Dice, pipelines: &mut [PipelineSpec], split: usize, id: &str) {
    let (before, behind) = pipelines.split_at_mut(split);
    for _ in 0..dice.size(1, 2) {
        let from = &mut before[dice.below(split as u64) as usize].exporters;
        if !from.contains(&id.to_owned()) {
            from.push(id.to_owned());
        }
    }
    for _ in 0..dice.size(1, 2) {
        let to = &mut behind[dice.below(behind.len() as u64) as usize].receivers;
        if !to.contains(&id.to_owned()) {
            if dice.percent(30) && to.iter().all(|r| r.starts_with("test/r")) {
                to.clear();
            }
            to.push(id.to_owned());
        }
    }
}

/// Clients that send what the receiver's pipelines take, with ids that nobody else uses.
fn receiver(dice: &mut Dice, spec: &ServiceSpec, id: &str, first: &mut i64) -> ReceiverScript {
    let taking = spec.pipelines.iter().filter(|p| p.receivers.contains(&id.to_owned()));
    let signals: Vec<Signal> = taking.map(|p| p.signal).collect();
    let mut client = || {
        let mut parcel = || {
            let items = dice.size(0, 6);
            let parcel = Parcel { after: dice.millis(250), signal: dice.one(&signals), first: *first, items };
            *first += 10;
            parcel
        };
        let parcels = [(); 4].map(|()| parcel());
        parcels[..dice.size(1, 4)].to_vec()
    };
    let clients = [(); 2].map(|()| client());
    let clients = clients[..dice.size(1, 2)].to_vec();
    ReceiverScript { clients, leaves: dice.percent(50), ..ReceiverScript::default() }
}

fn exporter(dice: &mut Dice, weather: Weather) -> (DeliverySettings, Mood) {
    let fair = weather == Weather::Fair;
    let mood = match dice.below(100) {
        _ if fair => Mood::Good,
        0..40 => Mood::Good,
        40..80 => Mood::Flaky,
        80..92 => Mood::Down,
        _ => Mood::Hanging,
    };
    let timeout = if fair || dice.percent(15) { Duration::ZERO } else { Duration::from_millis(80) };
    let retry = dice.percent(70).then(|| RetrySettings {
        initial_interval: Duration::from_millis(1) + dice.millis(100),
        max_interval: Duration::from_millis(400),
        max_elapsed_time: dice.one(&[Duration::ZERO, Duration::from_millis(700)]),
        ..RetrySettings::default()
    });
    let queue = dice.percent(75).then(|| queue(dice, weather));
    (DeliverySettings { timeout, retry, queue }, mood)
}

fn queue(dice: &mut Dice, weather: Weather) -> QueueSettings {
    let sizer = dice.one(&[Sizer::Requests, Sizer::Items, Sizer::Bytes]);
    let queue_size = match sizer {
        _ if weather == Weather::Fair => 1 << 20,
        Sizer::Requests => dice.size(1, 4),
        Sizer::Items => dice.size(1, 20),
        Sizer::Bytes => dice.size(60, 800),
    };
    let batch = dice.percent(50).then(|| {
        let sizer = dice.one(&[Sizer::Items, Sizer::Bytes]);
        let scale = if sizer == Sizer::Bytes { 50 } else { 1 };
        BatchSettings {
            flush_timeout: dice.millis(200),
            min_size: scale * dice.size(0, 8),
            max_size: scale * dice.size(0, 8),
            sizer,
            ..BatchSettings::default()
        }
    });
    QueueSettings {
        num_consumers: dice.size(1, 3),
        queue_size,
        sizer,
        max_bytes: if weather == Weather::Fair { 1 << 20 } else { dice.one(&[200, 1 << 20]) },
        block_on_overflow: dice.percent(30),
        wait_for_result: weather == Weather::Waiting || dice.percent(30),
        batch,
        ..QueueSettings::default()
    }
}

impl What {
    fn new(dice: &mut Dice, weather: Weather) -> What {
        match dice.below(if weather == Weather::Fair { 5 } else { 6 }) {
            0 => What::Pass,
            1 => What::Split,
            2 => What::Hold(dice.millis(300)),
            3 => What::Merge(dice.millis(300)),
            4 => What::Rule { pass: dice.below(101), drop: 100 },
            _ => What::Rule { pass: 70, drop: 15 },
        }
    }

    fn role(self, seed: u64) -> Role {
        match self {
            What::Pass => Role::Pass,
            What::Split => Role::Split,
            What::Hold(time) => Role::Hold(time),
            What::Merge(time) => Role::Merge(time),
            What::Rule { pass, drop } => Role::transform(move |payload| {
                let first = ids(payload).first().copied().unwrap_or_default();
                match Dice::new(seed ^ first as u64).below(100) {
                    n if n < pass => Ok(Verdict::Pass),
                    n if n < pass + drop => Ok(Verdict::Drop),
                    n if n % 2 == 0 => Err(Failure::permanent("refused by rule")),
                    _ => Err(Failure::retry("refused by rule for now")),
                }
            }),
        }
    }
}

impl Mood {
    fn answer(self, dice: &mut Dice, items: usize) -> Reply {
        let later = |dice: &mut Dice, reply| Reply::After(dice.millis(60), Box::new(reply));
        match self {
            Mood::Good if dice.percent(50) => Reply::Accept,
            Mood::Good => later(dice, Reply::Accept),
            Mood::Down => Reply::Fail(Failure::retry("down")),
            Mood::Hanging => Reply::Hang,
            Mood::Flaky => match dice.below(10) {
                0..4 => Reply::Accept,
                4 => later(dice, Reply::Accept),
                5 => Reply::Partial(dice.size(0, items)),
                6 => Reply::Fail(Failure::permanent("broken")),
                7 => Reply::Hang,
                8 => Reply::Fail(Failure::retry_after("busy", dice.millis(300))),
                _ => later(dice, Reply::Fail(Failure::retry("unavailable"))),
            },
        }
    }
}
