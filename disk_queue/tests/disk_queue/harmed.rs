//! The n-th call fails, for all n, on a disk that has lost some of what was on it.

use std::io::ErrorKind;

use rustix::io::Errno;

use crate::damage::nth;
use crate::model::{Crash, Fault};
use crate::world::World;

/// What became of one segment while no process had the queue open, or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Its bytes are other ones.
    Wiped,
    /// It is gone.
    Missing,
    /// The disk does not give it, however long it is waited for.
    Unreadable,
    /// All files are gone, from under the open queue.
    Removed,
}

/// A queue on which this harm was done, in one of its segments, and as many segments put aside as are kept.
fn harmed(harm: Harm, seed: u64) -> World {
    let mut world = World::new(seed);
    for round in 0..4 {
        world.lose_a_segment(round);
    }
    for _ in 0..10 {
        world.send(2);
    }
    for _ in 0..2 {
        world.take();
        world.finish(0);
    }
    world.save_for_sure();
    let pick = |names: &[String]| nth(seed)(names);
    match harm {
        Harm::Removed => {
            world.disk.unlink(|_| true);
            return world;
        }
        Harm::Wiped => world.disk.damage(pick, |bytes| bytes.fill(0)),
        Harm::Missing => {
            let name = pick(&world.disk.names()).expect("a segment");
            world.disk.unlink(|other| other == name);
        }
        Harm::Unreadable => drop(world.disk.refuse(pick, Some(Errno::IO.raw_os_error()))),
    }
    world.close();
    world
}

/// The next start, all that it can give, and the segment put aside.
fn life(harm: Harm, world: &mut World) {
    if harm != Harm::Removed {
        world.crash(Crash::Kill);
    }
    world.send(2);
    if harm == Harm::Unreadable {
        world.outlast();
    }
    for _ in 0..2 {
        while world.take() {}
        while !world.held.is_empty() {
            world.finish(0);
        }
        world.save();
    }
    world.send(1);
}

/// Lets each call of that life go wrong. Nothing is lost but what the harm costs without a fault, and all that is lost counts.
fn fail_each(harm: Harm, seed: u64, fault: Fault, count: u64, crash: Crash) {
    let mut undisturbed = harmed(harm, seed);
    life(harm, &mut undisturbed);
    undisturbed.check(seed, true);
    let most = undisturbed.missing();
    assert_eq!(most, undisturbed.counted().lost, "{harm:?}: counted once");
    for n in 0.. {
        let mut world = harmed(harm, seed);
        world.disk.arm(n, count, fault);
        life(harm, &mut world);
        let at = format!("{harm:?}, {fault:?} in {count} calls from {n} on, then {crash:?}");
        if world.disk.disarm() == 0 {
            assert!(n > 15, "{at}: only {n} calls were made");
            break;
        }
        // Each file is tried three times. Of two that tell what was lost one is harmed already.
        world.unheard = fault == Fault::Dies || count > 2;
        world.crash(crash);
        world.check(n, true);
        let lost = world.missing();
        assert!(lost <= most, "{at}: {lost} lost instead of {most}");
        let aside = world.disk.names().iter().filter(|name| name.ends_with(".damaged")).count();
        assert!(aside <= 5, "{at}: {aside} were put aside");
    }
}

fn fail_each_way(harm: Harm) {
    for seed in 0..3 {
        for crash in [Crash::Kill, Crash::Power] {
            fail_each(harm, seed, Fault::Dies, 1, crash);
            for count in [1, 2, 5, 20] {
                fail_each(harm, seed, Fault::Fails(ErrorKind::Other), count, crash);
            }
        }
    }
}

#[test]
fn when_the_nth_call_fails_while_a_damaged_segment_is_put_aside_only_what_was_damaged_is_lost_for_all_n() {
    fail_each_way(Harm::Wiped);
}

#[test]
fn when_the_nth_call_fails_where_a_segment_is_missing_only_what_it_held_is_lost_for_all_n() {
    fail_each_way(Harm::Missing);
}

#[test]
fn when_the_nth_call_fails_while_an_unreadable_segment_is_given_up_only_what_it_holds_is_lost_for_all_n() {
    fail_each_way(Harm::Unreadable);
}

#[test]
fn when_the_nth_call_fails_after_all_files_were_removed_only_what_they_held_is_lost_for_all_n() {
    fail_each_way(Harm::Removed);
}
