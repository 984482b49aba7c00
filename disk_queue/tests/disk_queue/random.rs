//! Thousands of random lives of a queue.

use std::io::ErrorKind;

use weir_disk_queue::{Options, Queue};

use crate::model::{Crash, Dice, Fault};
use crate::world::{World, options};

const KINDS: [ErrorKind; 3] = [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::PermissionDenied];

/// Some of the next calls fail, for a moment or for long, or the process dies in one.
fn arm(world: &World, dice: &mut Dice) {
    let most = if dice.percent(20) { 60 } else { 6 };
    let fault = if dice.percent(30) { Fault::Dies } else { Fault::Fails(KINDS[dice.below(3) as usize]) };
    world.disk.arm(dice.below(30), 1 + dice.below(most), fault);
}

/// Lets a queue live through `steps`; returns how many faults fired, how many crashes happened, and 1 where nothing may count
/// as lost.
fn live(seed: u64, steps: u64, crashes: &[Crash], faults: bool) -> (u64, u64, u64) {
    let mut dice = Dice(seed);
    let fsync = dice.percent(75);
    let max_bytes = if dice.percent(25) { 6000 } else { 0 };
    let mut world = World::with(seed, Options { fsync, max_bytes, ..options() });
    let (mut fired, mut crashed) = (0, 0);
    for step in 0..steps {
        // A disk that gives nothing for a while does again before a queue gives up.
        if step % 10 == 0 {
            world.disk.show();
        }
        match dice.below(20) {
            0..7 => world.send(1 + dice.below(5)),
            7..11 => drop(world.take()),
            11..15 => world.finish(dice.below(50) as usize),
            15..17 => world.save(),
            17 if faults => {
                fired += world.disk.disarm();
                arm(&world, &mut dice);
            }
            18 if !crashes.is_empty() => {
                fired += world.disk.disarm();
                crashed += 1;
                // Also in the start that follows, and in the one after that.
                if faults && dice.percent(50) {
                    arm(&world, &mut dice);
                }
                world.crash(crashes[dice.below(crashes.len() as u64) as usize]);
            }
            19 if faults && dice.percent(20) => world.disk.hide_all(),
            _ if world.disk.is_dead() || world.queue.is_none() => {
                fired += world.disk.disarm();
                crashed += 1;
                if faults && dice.percent(50) {
                    arm(&world, &mut dice);
                }
                let crash = crashes.get(dice.below(crashes.len() as u64) as usize);
                world.crash(crash.copied().unwrap_or(Crash::Kill));
            }
            _ => {}
        }
    }
    fired += world.disk.disarm();
    if world.disk.is_dead() {
        world.crash(Crash::Kill);
    }
    world.check(seed, false);
    (fired, crashed, u64::from(world.is_exact()))
}

#[test]
fn whatever_fails_and_whenever_the_machine_crashes_every_acknowledged_record_comes_out_unchanged() {
    // Of most lives without a loss of power it is known that nothing may count as lost.
    for (crashes, seeds, least) in
        [(&[Crash::Kill, Crash::Power][..], 2000, 400), (&[Crash::Kill], 1000, 800)]
    {
        let (mut fired, mut crashed, mut exact) = (0, 0, 0);
        for seed in 0..seeds {
            let (f, c, e) = live(seed, 120, crashes, true);
            fired += f;
            crashed += c;
            exact += e;
        }
        assert!(fired > seeds && crashed > seeds, "{fired} faults and {crashed} crashes are no test");
        assert!(exact > least, "of {exact} lives only it is known that they may lose nothing");
    }
}

#[test]
fn after_a_kill_only_those_come_again_that_were_not_saved_as_done() {
    crashes_bring_back_only_what_was_not_saved(Crash::Kill, |_| {});
}

#[test]
fn after_a_power_loss_only_those_come_again_that_were_not_saved_durably() {
    crashes_bring_back_only_what_was_not_saved(Crash::Power, |queue| {
        queue.save_durably();
        assert!(!queue.has_unsynced());
    });
}

/// `then` is called after each save.
fn crashes_bring_back_only_what_was_not_saved(crash: Crash, then: impl Fn(&Queue)) {
    let mut repeats = 0;
    for seed in 0..500 {
        let mut dice = Dice(seed);
        let mut world = World::new(seed);
        world.disk.stop_clock();
        for _ in 0..6 {
            for _ in 0..20 {
                world.send(1 + dice.below(3));
                world.take();
                world.take();
                world.finish(dice.below(9) as usize);
            }
            world.save_for_sure();
            then(world.queue.as_ref().expect("open"));
            let (before, unsaved) = (world.delivered().clone(), world.unsaved().clone());
            world.crash(crash);
            while world.take() {}
            assert_eq!(world.repeated(&before, &unsaved), [0; 0], "seed {seed}");
            repeats += world.delivered().values().filter(|n| **n > 1).count();
        }
        world.check(seed, false);
    }
    assert!(repeats > 1000, "{repeats} repeats: nothing was in flight");
}
