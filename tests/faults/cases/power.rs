//! 3: power that fails.

use std::time::Duration;

use super::durable::{CONSUMERS, Durable};
use super::{Case, Extra, Outcome};
use crate::agent::{Kind, Limits, wait_until};
use crate::backend::Mode;
use crate::disk::ForgetfulDisk;
use crate::load::{Load, Shape, Tally, all_arrive, until_acknowledged};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 3,
    name: "power loss: under load, with a dead backend, while the queue drains",
    settings: "fsync: true; ext4 on a loop device, of which each time remains what it had at one instant; once more with fsync: false, which must lose something",
    bar: "0 lost, duplicates only of what was under way and of the last 1,024 requests (10,340 for each loss of power)",
    run: power_lost,
}];

/// Small requests, so that more of them are delivered than may come again, and all are in one file of Weir's queue.
const SHAPE: Shape = Shape { clients: 8, records: 10, pad: 300, pause: Duration::ZERO };

/// Requests of each file that may come again besides those under way, as docs/delivery.md says.
const UNSYNCED: usize = 1024;

fn power_lost(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let forgotten = forgotten(kind);
    let (disk, mut durable) = begin(kind, true, false);
    outcome.fired = forgotten > 0
        && lose_under_load(&disk, &mut durable, 15_000)
        && durable.bench.start_again(&mut outcome)
        && all_arrive(&durable.bench.oracle, Duration::from_secs(60));
    if outcome.fired {
        durable.bench.backend.set(Mode::Answer(503, String::new()));
        outcome.fired =
            lose_under_load(&disk, &mut durable, 15_000) && durable.bench.oracle.missing() >= 15_000;
        outcome.fired &= lose_while_draining(&disk, &mut durable, &mut outcome);
    }
    all_arrive(&durable.bench.oracle, Duration::from_secs(60));
    durable.bench.check_alive(&mut outcome);
    let duplicates = durable.bench.oracle.sums().duplicates;
    let most = 3 * (UNSYNCED + CONSUMERS) * SHAPE.records;
    outcome.require(duplicates <= most, format!("{duplicates} duplicates, {most} may come again"));
    outcome.judge(&durable.bench.oracle);
    outcome.see(format!("without fsync {forgotten} lost in one loss of power"));
    outcome
}

fn begin(kind: Kind, backend_up: bool, unsynced: bool) -> (ForgetfulDisk, Durable) {
    let disk = ForgetfulDisk::new().expect("an ext4 on a loop device can be mounted: run this as root");
    let limits = Limits { mounts_of: Some(disk.pid()), ..Limits::default() };
    let extra = Extra { storage: Some(disk.path()), limits, unsynced, ..Extra::default() };
    let durable = Durable::with(kind, backend_up, extra);
    (disk, durable)
}

/// Acknowledged records that do not come back without fsync: that the disk really forgets.
fn forgotten(kind: Kind) -> usize {
    let (disk, mut durable) = begin(kind, false, true);
    if !lose_under_load(&disk, &mut durable, 5_000) {
        return 0;
    }
    durable.bench.backend.come_up();
    let mut restarted = Outcome::default();
    durable.bench.start_again(&mut restarted);
    durable.bench.check_alive(&mut restarted);
    all_arrive(&durable.bench.oracle, Duration::from_secs(5));
    durable.bench.oracle.missing()
}

/// Power fails when so many more records are acknowledged, and comes back; whether it failed under load.
fn lose_under_load(disk: &ForgetfulDisk, durable: &mut Durable, records: usize) -> bool {
    let oracle = durable.bench.oracle.clone();
    let load = Load::start(durable.bench.http, &oracle, SHAPE);
    let enough = until_acknowledged(&oracle, oracle.acknowledged() + records);
    let failed = lose(disk, durable);
    let Tally { errors, .. } = load.stop();
    enough && failed && errors > 0
}

/// Power fails while the backend gets what waits; whether it did so then.
fn lose_while_draining(disk: &ForgetfulDisk, durable: &mut Durable, outcome: &mut Outcome) -> bool {
    durable.bench.backend.set(Mode::Slow(Duration::from_millis(20)));
    let before = durable.bench.oracle.missing();
    let drained = durable.bench.start_again(outcome)
        && wait_until(Duration::from_secs(60), || {
            (durable.bench.oracle.missing() < before / 2).then_some(())
        })
        .is_some();
    // However long it takes to fail, something is left then.
    durable.bench.backend.set(Mode::Slow(Duration::from_secs(2)));
    let failed = lose(disk, durable);
    let left = durable.bench.oracle.missing();
    durable.bench.backend.set(Mode::Accept);
    durable.bench.start_again(outcome) && drained && failed && left > 0
}

/// Power fails and comes back; whether it ended the agent.
fn lose(disk: &ForgetfulDisk, durable: &mut Durable) -> bool {
    disk.lose_power(durable.bench.agent.pid());
    let killed = durable.bench.agent.kill();
    disk.come_back();
    killed
}
