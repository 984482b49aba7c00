//! Files that were damaged while nobody looked: the queue opens, gives what is whole, and counts the rest exactly.

use std::sync::Arc;

use weir_disk_queue::{Options, Queue, Submitted, Take};

use crate::model::{Crash, Dice, Disk};
use crate::world::{Harm, World};

/// A queue of 40 records in several segments, some done, closed.
pub(crate) fn filled(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..20 {
        world.send(2);
    }
    for _ in 0..6 {
        world.take();
    }
    world.finish(1);
    world.finish(3);
    world.save_for_sure();
    world
}

pub(crate) fn segments(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| name.ends_with(".segment")).cloned().collect()
}

/// Damages a segment, opens, and checks that exactly what is missing was counted, at this start and not at the next, and that
/// the segment is put aside when the rest of it is done, also after that; what was counted.
fn damaged(seed: u64, pick: impl Fn(&[String]) -> Option<String>, change: impl FnOnce(&mut Vec<u8>)) -> Harm {
    let mut world = filled(seed);
    let due = world.due();
    world.close();
    world.disk.damage(pick, change);
    world.crash(Crash::Kill);
    assert!(world.queue.is_some(), "seed {seed}: it always opens");
    while world.take() {}
    let harm = world.counted();
    let missing: Vec<u64> = due.difference(&world.in_hand()).copied().collect();
    assert_eq!(harm.lost, missing.len() as u64, "seed {seed}: {missing:?} are missing");
    world.crash(Crash::Kill);
    assert_eq!(world.counted().lost, harm.lost, "seed {seed}: counted once");
    world.check(seed, true);
    let names = world.disk.names();
    let aside = names.iter().any(|name| name.ends_with(".damaged"));
    assert!(aside || harm.lost == 0, "seed {seed}: {harm:?}, {names:?}");
    harm
}

pub(crate) fn nth(n: u64) -> impl Fn(&[String]) -> Option<String> {
    move |names| {
        let segments = segments(names);
        segments.get(n as usize % segments.len()).cloned()
    }
}

#[test]
fn flipped_bits_cost_the_records_that_they_are_in_and_no_other() {
    let mut lost = 0;
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let flips = 1 + dice.below(3);
        let harm = damaged(seed, nth(dice.draw()), |bytes| {
            for _ in 0..flips {
                let bit = dice.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        });
        assert!(harm.lost <= flips && harm.damaged <= flips, "seed {seed}: {flips} bits cost {harm:?}");
        lost += harm.lost;
    }
    assert!(lost > 100, "{lost}");
}

#[test]
fn a_truncated_segment_costs_its_tail_also_when_it_is_the_last() {
    let mut lost = 0;
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let at = nth(dice.draw());
        lost += damaged(seed, at, |bytes| bytes.truncate(dice.below(bytes.len() as u64) as usize)).lost;
    }
    assert!(lost > 500, "{lost}");
}

#[test]
fn a_zeroed_or_random_page_costs_the_records_that_it_touches() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        damaged(seed, nth(dice.draw()), |bytes| {
            let start = dice.below(bytes.len() as u64) as usize;
            let end = (start + 512).min(bytes.len());
            let random = dice.percent(50);
            bytes[start..end].iter_mut().for_each(|b| *b = if random { dice.draw() as u8 } else { 0 });
        });
    }
}

#[test]
fn a_segment_of_garbage_or_of_nothing_costs_its_records_and_is_put_aside() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let empty = dice.percent(50);
        let harm = damaged(seed, nth(seed), |bytes| {
            if empty { bytes.clear() } else { bytes.iter_mut().for_each(|b| *b = dice.draw() as u8) }
        });
        assert!(harm.lost > 0, "seed {seed}");
    }
    let mut world = filled(1);
    world.close();
    world.disk.damage(nth(0), |bytes| bytes.fill(0));
    world.crash(Crash::Kill);
    world.check(1, true);
    assert!(world.disk.names().iter().any(|name| name.ends_with(".damaged")), "{:?}", world.disk.names());
}

#[test]
fn damaged_acks_cost_nothing() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let mut world = filled(seed);
        world.close();
        let acks = |names: &[String]| {
            let acks: Vec<_> = names.iter().filter(|name| name.ends_with(".acks")).collect();
            acks.get(seed as usize % acks.len()).map(|name| (*name).clone())
        };
        world.disk.damage(acks, |bytes| match dice.below(3) {
            0 => bytes.clear(),
            1 => bytes.fill(0xff),
            _ => bytes.truncate(dice.below(bytes.len() as u64) as usize),
        });
        world.crash(Crash::Kill);
        while world.take() {}
        assert_eq!(world.missing(), 0, "seed {seed}");
        world.check(seed, false);
    }
}

#[test]
fn what_is_lost_while_a_queue_is_open_is_counted_once_and_no_longer_in_the_backlog() {
    let mut world = World::new(1);
    for _ in 0..4 {
        world.send(2);
    }
    while world.take() {}
    let held = world.held.len() as u64;
    world.crash(Crash::Kill);
    world.wipe();
    while world.take() {}
    let queue = world.queue.as_ref().expect("open");
    let (lost, left) = (queue.counters().lost, queue.backlog().records);
    assert!(lost > 0 && lost + left == held, "{lost} of {held} lost, {left} left");
    world.crash(Crash::Kill);
    assert_eq!(world.counted().lost, lost, "counted once");
}

#[test]
fn a_tail_that_cannot_be_read_is_not_cut_off() {
    let mut world = filled(1);
    world.close();
    let last = world.disk.hide(|names| segments(names).last().cloned(), 0..usize::MAX);
    let size = world.disk.size_of(&last).expect("there");
    world.crash(Crash::Kill);
    world.outlast();
    assert!(world.counted().lost > 0, "what it holds is counted");
    let aside = last.replace(".segment", ".unreadable");
    let left = world.disk.size_of(&last).or_else(|| world.disk.size_of(&aside));
    assert_eq!(left, Some(size), "{:?}", world.disk.names());
}

#[test]
fn a_segment_that_is_missing_costs_the_records_that_its_acks_tell_and_is_counted_once() {
    for seed in 0..100 {
        let mut world = filled(seed);
        let due = world.due();
        world.close();
        let name = nth(seed)(&world.disk.names()).expect("a segment");
        world.disk.unlink(|other| other == name);
        world.crash(Crash::Kill);
        while world.take() {}
        let missing: Vec<u64> = due.difference(&world.in_hand()).copied().collect();
        let lost = world.counted().lost;
        assert!(lost > 0 && lost == missing.len() as u64, "seed {seed}: {missing:?} missing, {lost} counted");
        world.crash(Crash::Kill);
        assert_eq!(world.counted().lost, lost, "seed {seed}: counted once");
        world.check(seed, true);
    }
}

#[test]
fn what_was_counted_when_files_were_removed_under_a_queue_is_not_counted_by_the_next_start() {
    let mut world = filled(1);
    world.disk.unlink(|name| name.ends_with(".segment"));
    while world.take() {}
    let (lost, adrift) = (world.counted().lost, world.queue.as_ref().expect("open").adrift());
    assert!(lost > 0 && adrift > 0 && world.missing() == lost, "{lost} lost, {adrift} in memory only");
    world.crash(Crash::Kill);
    assert_eq!(world.counted().lost, lost + adrift);
    world.check(1, true);
}

/// The bytes of the first segment of a queue with this seed, which holds a record of these bytes.
fn bytes_of(disk: &Disk, seed: u64, record: Vec<u8>) -> Vec<u8> {
    let queue = Queue::open(Arc::new(disk.clone()), Options { seed, ..Options::default() }).expect("opens");
    assert_eq!(queue.submit(vec![record.into()], 1, |_| true, |_| {}), Submitted::Commit);
    queue.commit();
    let mut bytes = Vec::new();
    disk.damage(nth(0), |all| bytes.clone_from(all));
    bytes
}

#[test]
fn what_a_sender_makes_look_like_a_record_is_none_behind_damage() {
    let forged = bytes_of(&Disk::new(1), 1, vec![7; 100]);
    let disk = Disk::new(2);
    bytes_of(&disk, 2, forged);
    disk.damage(nth(0), |bytes| bytes[0] ^= 1);
    let queue = Queue::open(Arc::new(disk), Options::default()).expect("opens");
    queue.fill(usize::MAX).expect("read");
    assert!(matches!(queue.try_take(), Take::Empty));
    assert_eq!((queue.backlog().records, queue.counters().lost), (0, 1));
}

#[test]
fn of_the_segments_that_were_put_aside_the_newest_are_kept() {
    let mut world = World::new(1);
    let aside = |world: &World| {
        let names = world.disk.names();
        names.into_iter().filter(|name| name.ends_with(".damaged")).collect::<Vec<_>>()
    };
    let mut before = Vec::new();
    for round in 0..7 {
        world.lose_a_segment(round);
        world.crash(Crash::Kill);
        let now = aside(&world);
        let fresh: Vec<_> = now.iter().filter(|name| !before.contains(*name)).collect();
        assert!(fresh == [now.last().expect("one")], "round {round}: {now:?} after {before:?}");
        assert!(now.len() <= 4, "{now:?}");
        before = now;
    }
}

#[test]
fn files_that_are_removed_under_an_open_queue_cost_what_only_they_held_and_it_goes_on_in_new_ones() {
    let (mut lost, mut adrift) = (0, 0);
    for seed in 0..500 {
        let (mut dice, mut world) = (Dice(seed), World::new(seed));
        for _ in 0..60 {
            match dice.below(8) {
                0..4 => world.send(1 + dice.below(3)),
                4 | 5 => drop(world.take()),
                6 => world.finish(dice.below(9) as usize),
                _ => world.save(),
            }
        }
        let all = dice.percent(50);
        world.disk.unlink(|_| all || dice.percent(50));
        let before = world.acknowledged();
        world.send(2);
        world.send(2);
        assert!(world.acknowledged() >= before + 2, "seed {seed}: it goes on, in files that are there");
        if !all || dice.percent(50) {
            while world.take() {}
            let counted = world.queue.as_ref().expect("open").counters().lost;
            assert_eq!(world.missing(), counted, "seed {seed}: what was in memory came, the rest is counted");
            world.check(seed, true);
            lost += counted;
        } else {
            // What is in memory only goes with the process.
            adrift += world.queue.as_ref().expect("open").adrift();
            world.crash(Crash::Kill);
            world.check(seed, true);
            assert!(world.missing() <= world.counted().lost, "seed {seed}");
        }
    }
    assert!(lost > 100 && adrift > 100, "{lost} {adrift}");
}

#[test]
fn what_is_read_while_its_file_is_found_removed_comes_out_or_is_counted_and_not_both() {
    for seed in 0..100 {
        let disk = Disk::new(seed);
        let options = Options { read_ahead: 1 << 20, ..Options::default() };
        let open = || Queue::open(Arc::new(disk.clone()), options.clone()).expect("opens");
        let submit = |queue: &Queue| assert_ne!(queue.submit(vec![], 1, |_| true, |_| {}), Submitted::Full);
        let queue = open();
        (0..1000).for_each(|_| submit(&queue));
        queue.commit();
        drop(queue);
        let queue = open();
        let mut came = 0;
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| queue.fill(usize::MAX));
            while came == 0 && !reading.is_finished() {
                came += u64::from(matches!(queue.try_take(), Take::Record(_)));
            }
            disk.unlink(|_| true);
            submit(&queue);
            queue.commit();
        });
        while let Take::Record(_) = queue.try_take() {
            came += 1;
        }
        let lost = queue.counters().lost;
        assert_eq!(came + lost, 1001, "seed {seed}: {came} came, {lost} are lost");
    }
}

#[test]
fn on_a_disk_that_counts_no_names_files_are_there_as_long_as_they_are_found() {
    let mut world = World::new(1);
    world.disk.count_no_names();
    world.send(3);
    assert_eq!(world.acknowledged(), 3);
    world.disk.unlink(|_| true);
    world.send(2);
    assert_eq!(world.acknowledged(), 3, "nobody would find it");
    world.send(2);
    assert_eq!(world.acknowledged(), 5);
    world.check(1, true);
}
