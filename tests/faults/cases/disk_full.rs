//! 5 to 7: disks without room.

use std::time::Duration;

use super::durable::{Durable, RECORDS};
use super::{Case, Extra, Outcome};
use crate::agent::{Kind, Limits, wait_until};
use crate::disk::SmallDisk;
use crate::load::{Load, Shape, Tally, all_arrive, until_acknowledged};
use crate::ports::free_port;

pub(crate) const CASES: [Case; 3] = [
    Case {
        number: 5,
        name: "disk full while the backend is down, then back",
        settings: "8 MiB of disk, fsync: true",
        bar: "503 when it is full, which its metrics count, 0 lost, which they say too (Weir only)",
        run: filled_by_the_queue,
    },
    Case {
        number: 6,
        name: "disk full, then kill -9, then SIGTERM, each with a start on the full disk",
        settings: "as 5, the last byte taken by another file",
        bar: "as 5, and starts",
        run: restarted_while_full,
    },
    Case {
        number: 7,
        name: "another program fills the disk, later it has room again",
        settings: "as 5",
        bar: "as 5, and recovers by itself",
        run: filled_by_another,
    },
];

/// An agent with its queue on a small disk, and clients at work; none where nothing can be mounted.
fn begin(kind: Kind) -> (SmallDisk, Durable, Load) {
    let disk = SmallDisk::new().expect("a file system can be mounted: run this as root");
    let limits = Limits { mounts_of: Some(disk.pid()), ..Limits::default() };
    let (path, metrics) = (disk.path(), Some(free_port()));
    let durable =
        Durable::with(kind, false, Extra { storage: Some(&path), limits, metrics, ..Extra::default() });
    let load = Load::start(durable.bench.http, &durable.bench.oracle, Shape::default());
    (disk, durable, load)
}

fn until_refused(load: &Load) -> bool {
    wait_until(Duration::from_secs(180), || (load.refused() > 20).then_some(())).is_some()
}

/// Everything arrives once the backend is back, and nothing is said to be lost or damaged.
fn end(mut outcome: Outcome, mut durable: Durable) -> Outcome {
    durable.bench.backend.come_up();
    all_arrive(&durable.bench.oracle, Duration::from_secs(60));
    durable.bench.check_alive(&mut outcome);
    outcome.judge(&durable.bench.oracle);
    let counted =
        ["lost_records", "damaged_places", "quarantined_segments"].map(|what| durable.counted(what));
    match durable.bench.kind {
        Kind::Weir => outcome.require(counted == [Some(0); 3], format!("its metrics say {counted:?}")),
        // It has none of what a disk has cost.
        Kind::Collector => {}
    }
    outcome
}

/// What clients heard, and whether the agent, which has not ended since, says of as many records that its queue refused them.
fn see(outcome: &mut Outcome, durable: &Durable, tally: Tally) {
    let counted = durable.figure("otelcol_exporter_enqueue_failed_log_records").unwrap_or(0);
    let refused = (tally.refused * RECORDS) as u64;
    outcome.see(format!("{} requests refused, {counted} records counted", tally.refused));
    outcome.require(counted == refused, format!("{refused} records were refused"));
    outcome.require(tally.other + tally.errors == 0, format!("clients heard {tally:?}"));
}

fn filled_by_the_queue(kind: Kind) -> Outcome {
    let (mut outcome, (disk, durable, load)) = (Outcome::default(), begin(kind));
    outcome.fired = until_refused(&load);
    see(&mut outcome, &durable, load.stop());
    let outcome = end(outcome, durable);
    drop(disk);
    outcome
}

fn restarted_while_full(kind: Kind) -> Outcome {
    let (mut outcome, (disk, mut durable, load)) = (Outcome::default(), begin(kind));
    outcome.fired = until_refused(&load);
    see(&mut outcome, &durable, load.stop());
    disk.fill();
    outcome.fired &= durable.bench.agent.kill();
    if durable.bench.start_again(&mut outcome) {
        let ended = durable.bench.agent.terminate();
        outcome.see(format!("SIGTERM: {}", ended.shown()));
        durable.bench.start_again(&mut outcome);
    }
    let outcome = end(outcome, durable);
    drop(disk);
    outcome
}

fn filled_by_another(kind: Kind) -> Outcome {
    let (mut outcome, (disk, durable, load)) = (Outcome::default(), begin(kind));
    let oracle = durable.bench.oracle.clone();
    until_acknowledged(&oracle, 5000);
    let taken = disk.fill();
    outcome.fired = taken > 0 && until_refused(&load);
    disk.free();
    let recovered = until_acknowledged(&oracle, oracle.acknowledged() + 5000);
    outcome.require(recovered, "it does not recover when there is room again");
    see(&mut outcome, &durable, load.stop());
    let outcome = end(outcome, durable);
    drop(disk);
    outcome
}
