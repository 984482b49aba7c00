//! The n-th call fails, for all n.

use std::io::ErrorKind;

use crate::model::{Crash, Fault};
use crate::world::World;

/// A life that uses every part: groups, several segments, reading from disk, done out of order, a restart.
fn life(world: &mut World) {
    for round in 0..4 {
        for n in 0..6 {
            world.send(1 + n % 3);
        }
        for _ in 0..5 {
            world.take();
        }
        world.finish(2, false);
        world.finish(0, round == 2);
        world.finish(1, false);
        world.save();
        if round == 1 {
            world.crash(Crash::Kill);
        }
    }
}

fn fail_each(fault: Fault, count: u64, crash: Crash) {
    let mut n = 0;
    loop {
        let mut world = World::new(n);
        world.disk.arm(n, count, fault);
        life(&mut world);
        let fired = world.disk.disarm();
        if fired == 0 {
            break;
        }
        world.crash(crash);
        world.check(n, false);
        n += 1;
    }
    assert!(n > 100, "only {n} calls were made");
}

#[test]
fn when_the_nth_call_fails_nothing_that_was_acknowledged_is_lost_for_all_n() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for count in [1, 2, 5, 40] {
            for crash in [Crash::Kill, Crash::Power] {
                fail_each(Fault::Fails(kind), count, crash);
            }
        }
    }
}

#[test]
fn when_the_process_dies_in_the_nth_call_nothing_that_was_acknowledged_is_lost_for_all_n() {
    for crash in [Crash::Kill, Crash::Power] {
        fail_each(Fault::Dies, 1, crash);
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let mut world = World::new(1);
    world.send(20);
    let before = world.acknowledged();
    assert_eq!(before, 20);
    world.disk.arm(0, u64::MAX / 2, Fault::Fails(ErrorKind::StorageFull));
    world.send(5);
    assert_eq!(world.acknowledged(), before, "refused");
    assert!(world.disk.disarm() > 0);
    world.send(5);
    assert_eq!(world.acknowledged(), before + 5, "without a restart");
    world.check(1, false);
}

#[test]
fn a_disk_that_stays_full_has_room_again_when_records_are_done() {
    let mut world = World::new(1);
    world.disk.limit(6000);
    let mut sent = 0;
    while world.acknowledged() == sent {
        world.send(1);
        sent += 1;
    }
    sent = world.acknowledged();
    assert!(sent > 10, "{sent} records before it was full");
    while world.take() {}
    while !world.held.is_empty() {
        world.finish(0, false);
    }
    world.save();
    let before = world.acknowledged();
    world.send(1);
    assert_eq!(world.acknowledged(), before + 1, "{:?}", world.disk.names());
    world.check(1, false);
}
