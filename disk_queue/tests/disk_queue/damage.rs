//! Files that were damaged while nobody looked: the queue opens, gives what is whole, and counts the rest exactly.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use weir_disk_queue::{Fs, Options, Queue, Submitted, Take};

use crate::model::{Crash, Dice, Disk};
use crate::world::{Harm, World};

/// A queue of 40 records in several segments, some done, closed.
fn filled(seed: u64) -> World {
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

fn segments(names: &[String]) -> Vec<String> {
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

fn nth(n: u64) -> impl Fn(&[String]) -> Option<String> {
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

#[test]
fn a_segment_that_the_disk_does_not_give_costs_its_records_and_is_put_aside() {
    for (seed, at) in (0..40).zip([0, 1, 2, usize::MAX].into_iter().cycle()) {
        let mut world = filled(seed);
        let due = world.due();
        world.close();
        let pick = |names: &[String]| {
            let segments = segments(names);
            segments.get(at.min(segments.len() - 1)).cloned()
        };
        let name = world.disk.refuse(pick, Some(Errno::IO.raw_os_error()));
        world.crash(Crash::Kill);
        assert!(world.queue.is_some(), "seed {seed}: it opens");
        assert_eq!(world.counted(), Harm::default(), "seed {seed}: it may pass");
        world.outlast();
        let lost = world.counted().lost;
        let missing = due.difference(&world.in_hand()).count();
        assert!(lost > 0 && lost == missing as u64, "seed {seed}: {missing} missing, {lost} counted");
        let names = world.disk.names();
        assert!(
            names.contains(&name.replace(".segment", ".unreadable")) && !names.contains(&name),
            "{names:?}"
        );
        world.crash(Crash::Kill);
        assert_eq!(world.counted().lost, lost, "seed {seed}: counted once");
        world.check(seed, true);
    }
}

#[test]
fn what_the_disk_does_not_give_for_a_while_costs_nothing_whether_the_queue_is_open_or_starts() {
    for (seed, starts) in
        (0..60).zip([&[][..], &[Crash::Kill], &[Crash::Power, Crash::Kill, Crash::Power]].into_iter().cycle())
    {
        let mut world = filled(seed);
        for _ in 0..20 {
            world.send(2);
        }
        let before = world.disk.names().len();
        if seed % 2 == 0 {
            world.disk.hide_all();
        } else {
            let segments = segments(&world.disk.names());
            let refuse =
                |name| drop(world.disk.refuse(|_| Some(String::clone(name)), Some(Errno::IO.raw_os_error())));
            segments.iter().for_each(refuse);
        }
        for start in starts {
            world.crash(*start);
            assert!(world.queue.is_some(), "seed {seed}: it opens");
            world.send(2);
        }
        for _ in 0..100 {
            world.take();
            world.save();
        }
        assert!(world.disk.names().len() >= before, "seed {seed}: {:?}", world.disk.names());
        world.disk.show();
        while world.take() {}
        assert_eq!((world.missing(), world.counted()), (0, Harm::default()), "seed {seed}");
        world.crash(Crash::Power);
        world.check(seed, false);
    }
}

/// A queue of 100 records in one segment of five pages, and its name.
fn pages(seed: u64, read_ahead: usize) -> (World, String) {
    let options = Options { segment_bytes: 1 << 20, read_ahead, ..Options::default() };
    let mut world = World::with(seed, options);
    world.send(100);
    let name = segments(&world.disk.names()).remove(0);
    assert!(world.disk.size_of(&name) > Some(4 * 4096));
    (world, name)
}

#[test]
fn a_page_that_the_disk_never_gives_costs_the_records_that_it_touches_and_its_file_stays() {
    for (seed, page) in (0..12).zip([0, 1, 3].into_iter().cycle()) {
        let (mut world, name) = pages(seed, 600);
        world.disk.hide(|_| Some(name.clone()), page * 4096 + 100..page * 4096 + 200);
        if seed % 2 == 0 {
            world.crash(Crash::Kill);
        }
        while world.take() {}
        assert_eq!(world.counted(), Harm::default(), "seed {seed}: it may pass");
        world.outlast();
        let harm = world.counted();
        assert!(harm.lost > 5 && harm.lost < 50 && harm.damaged > 0, "seed {seed}: {harm:?}");
        assert_eq!(world.missing(), harm.lost, "seed {seed}");
        world.crash(Crash::Kill);
        world.outlast();
        // What came through memory before is lost only now.
        let more = world.counted().lost - harm.lost;
        assert!(if seed % 2 == 0 { more == 0 } else { more < 9 }, "seed {seed}: {more} more");
        world.check(seed, true);
        // Others that are damaged later do not push it out.
        for _ in 0..6 {
            world.send(2);
            world.close();
            world.wipe();
            world.crash(Crash::Kill);
            world.check(seed, true);
        }
        let names = world.disk.names();
        assert!(names.contains(&name.replace(".segment", ".unreadable")), "seed {seed}: {names:?}");
        assert_eq!(
            names.iter().filter(|name| name.ends_with(".damaged")).count(),
            4,
            "seed {seed}: {names:?}"
        );
    }
}

/// A queue of so many records of 1 MiB in one segment, none of them in memory.
fn megabytes(count: usize) -> (Queue, Disk) {
    let disk = Disk::new(1);
    let queue = Queue::open(Arc::new(disk.clone()), Options { read_ahead: 0, ..Options::default() });
    let queue = queue.expect("opens");
    for _ in 0..count {
        assert_eq!(queue.submit(vec![vec![7; 1 << 20].into()], 1, |_| true, |_| {}), Submitted::Commit);
        queue.commit();
    }
    drop(queue);
    (Queue::open(Arc::new(disk.clone()), Options::default()).expect("opens"), disk)
}

/// Has a queue try again until it goes on.
fn outlast(queue: &Queue, disk: &Disk) {
    for _ in 0..6 {
        queue.fill(1).expect_err("it may pass");
        disk.pass(Duration::from_secs(50));
    }
    queue.fill(1).expect("what there is");
}

#[test]
fn what_the_disk_does_not_give_is_waited_for_also_behind_what_was_given_up() {
    let (queue, disk) = megabytes(5);
    disk.hide(nth(0), 100..200);
    outlast(&queue, &disk);
    assert_eq!((queue.counters().lost, queue.backlog().records), (1, 4));
    for (megabyte, refused) in [(2, false), (3, true)] {
        let take = queue.try_take();
        assert!(matches!(take, Take::Record(_)), "{take:?}");
        match refused {
            true => drop(disk.refuse(nth(0), Some(Errno::IO.raw_os_error()))),
            false => drop(disk.hide(nth(0), (megabyte << 20) + 9000..(megabyte << 20) + 9100)),
        }
        queue.fill(1).expect_err("for a moment");
        disk.show();
        queue.fill(1).expect("again");
        assert_eq!(queue.counters().lost, 1, "{megabyte}");
    }
    // One that goes on from there is the same.
    queue.try_take();
    disk.hide(nth(0), (4 << 20) + 9000..usize::MAX);
    outlast(&queue, &disk);
    assert_eq!((queue.counters().lost, queue.backlog().records), (2, 3));
}

#[test]
fn what_the_disk_never_gives_is_passed_over_at_once_as_far_as_it_goes() {
    let (queue, disk) = megabytes(8);
    disk.hide(nth(0), (1 << 20) + 9000..(6 << 20) - 9000);
    queue.fill(1).expect("the first");
    queue.try_take();
    outlast(&queue, &disk);
    assert_eq!((queue.counters().lost, queue.backlog().records), (5, 3));
}

#[test]
fn a_disk_that_takes_long_to_fail_is_given_up_too() {
    let (queue, disk) = megabytes(3);
    disk.hide(nth(0), 100..200);
    disk.failing_reads_take(Duration::from_secs(25));
    let tries = (1..20).find(|_| queue.fill(1).is_ok()).expect("it goes on");
    assert!(tries > 3, "after {tries} tries of 75 s");
    assert_eq!((queue.counters().lost, queue.backlog().records), (1, 2));
}

#[test]
fn a_time_in_which_only_this_process_cannot_open_files_is_none_in_which_the_disk_gave_nothing() {
    let (queue, disk) = megabytes(1);
    disk.refuse(nth(0), Some(Errno::MFILE.raw_os_error()));
    for _ in 0..8 {
        queue.fill(1).expect_err("too many files");
        disk.pass(Duration::from_secs(50));
    }
    disk.refuse(nth(0), Some(Errno::IO.raw_os_error()));
    queue.fill(1).expect_err("for a moment");
    disk.show();
    queue.fill(1).expect("again");
    assert_eq!(queue.counters().lost, 0);
}

#[test]
fn what_the_disk_does_not_give_is_waited_for_as_long_as_before_when_that_before_it_was_given() {
    let (queue, disk) = megabytes(3);
    for megabyte in 0..3 {
        disk.hide(nth(0), (megabyte << 20) + 100..(megabyte << 20) + 200);
        for _ in 0..4 {
            queue.fill(usize::MAX).expect_err("a bad sector");
            disk.pass(Duration::from_secs(50));
        }
    }
    queue.fill(usize::MAX).expect_err("not for long");
    disk.pass(Duration::from_secs(3600));
    for _ in 0..6 {
        queue.fill(usize::MAX).expect_err("nobody tried meanwhile");
        assert_eq!(queue.counters().lost, 0);
        disk.pass(Duration::from_secs(50));
    }
    queue.fill(usize::MAX).expect("what there is");
    assert_eq!(queue.counters().lost, 1);
}

#[test]
fn a_file_stays_also_when_nothing_behind_the_page_that_the_disk_never_gives_has_to_be_read() {
    let (mut world, name) = pages(1, 0);
    while world.take() {}
    while world.held.len() > 60 {
        world.finish(world.held.len() - 1);
    }
    world.save_for_sure();
    world.crash(Crash::Kill);
    world.disk.hide(|_| Some(name.clone()), 0..100);
    assert!(!world.take());
    for _ in 0..6 {
        world.disk.pass(Duration::from_secs(50));
        while world.take() {
            world.finish(0);
        }
    }
    world.save();
    let names = world.disk.names();
    assert!(
        world.counted().lost > 5 && names.contains(&name.replace(".segment", ".unreadable")),
        "{names:?}"
    );
}

#[test]
fn a_file_that_was_given_up_stays_though_a_later_start_can_read_it() {
    let (mut world, name) = pages(1, 600);
    world.disk.hide(|_| Some(name.clone()), 100..200);
    world.crash(Crash::Kill);
    world.outlast();
    assert!(world.counted().lost > 0 && world.disk.names().contains(&name), "it has live records");
    world.disk.show();
    world.crash(Crash::Kill);
    while world.take() {
        world.finish(0);
    }
    world.save();
    let names = world.disk.names();
    assert!(names.contains(&name.replace(".segment", ".unreadable")) && !names.contains(&name), "{names:?}");
}

#[test]
fn a_file_that_was_given_up_and_then_removed_is_not_looked_for_again_and_again() {
    let (mut world, name) = pages(1, 600);
    world.disk.hide(|_| Some(name.clone()), 100..200);
    world.crash(Crash::Kill);
    world.outlast();
    world.close();
    world.disk.unlink(|other| other == name);
    world.crash(Crash::Kill);
    world.save();
    assert!(!world.queue.as_ref().expect("open").has_unsynced(), "{:?}", world.disk.names());
}

#[test]
fn a_file_that_is_to_be_put_aside_and_was_removed_is_not_looked_for_again_and_again() {
    let (mut world, name) = pages(1, 600);
    world.disk.hide(|_| Some(name.clone()), 100..200);
    world.crash(Crash::Kill);
    world.outlast();
    world.disk.unlink(|other| other == name);
    while !world.in_hand().is_empty() {
        world.finish(0);
    }
    world.save();
    let queue = world.queue.as_ref().expect("open");
    assert!(!queue.has_unsynced() && queue.disk_bytes() == 0, "{:?}", world.disk.names());
    world.check(1, true);
}

#[test]
fn acks_that_the_disk_does_not_give_for_a_moment_are_not_written_over() {
    let (mut world, name) = pages(1, 600);
    while world.take() {}
    for at in 0..50 {
        world.finish(at);
        world.save_for_sure();
    }
    let acks = name.replace(".segment", ".acks");
    let size = world.disk.size_of(&acks);
    world.disk.hide(|_| Some(acks.clone()), 0..usize::MAX);
    world.crash(Crash::Kill);
    while world.take() {}
    world.finish(60);
    world.disk.show();
    world.save_for_sure();
    assert!(world.disk.size_of(&acks) > size, "{size:?}");
    world.crash(Crash::Kill);
    while world.take() {}
    assert_eq!(world.in_hand().len(), 49);
}

#[test]
fn a_file_that_was_never_read_is_not_nothing() {
    let (mut world, name) = pages(1, 600);
    world.close();
    for name in [&name, &name.replace(".segment", ".acks")] {
        world.disk.hide(|_| Some(name.clone()), 0..usize::MAX);
    }
    world.crash(Crash::Kill);
    let records = |world: &World| world.queue.as_ref().expect("open").backlog().records;
    assert!(records(&world) > 0);
    world.disk.show();
    while world.take() {}
    assert_eq!((records(&world), world.in_hand().len()), (100, 100));
}

#[test]
fn a_file_that_was_put_aside_unread_is_delivered_after_it_was_named_as_before() {
    let (mut world, name) = pages(1, 600);
    world.disk.hide(|_| Some(name.clone()), 0..usize::MAX);
    world.crash(Crash::Kill);
    world.outlast();
    world.check(1, true);
    assert!(world.missing() > 50, "{} are missing", world.missing());
    let aside = name.replace(".segment", ".unreadable");
    world.disk.rename(&aside, &name).expect("there");
    world.disk.unlink(|other| other == name.replace(".segment", ".acks"));
    world.crash(Crash::Kill);
    while world.take() {}
    assert_eq!(world.missing(), 0);
}

#[test]
fn acks_that_the_disk_does_not_give_keep_no_segment_from_being_removed() {
    let mut world = filled(1);
    world.close();
    world
        .disk
        .refuse(|names| names.iter().find(|n| n.ends_with(".acks")).cloned(), Some(Errno::IO.raw_os_error()));
    world.crash(Crash::Kill);
    world.check(1, false);
    world.crash(Crash::Kill);
    assert_eq!(world.counted(), Harm::default());
}

#[test]
fn files_of_another_user_end_the_start_with_their_name_and_nothing_is_lost() {
    for what in [".segment", ".acks"] {
        let mut world = filled(1);
        world.close();
        let pick = |names: &[String]| names.iter().find(|name| name.ends_with(what)).cloned();
        let name = world.disk.refuse(pick, Some(Errno::ACCESS.raw_os_error()));
        let before = world.disk.names();
        let opened = Queue::open(Arc::new(world.disk.clone()), Options::default());
        let error = opened.err().expect("refused");
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::PermissionDenied && text.contains(&name), "{text}");
        assert!(text.contains("chown"), "the cure: {text}");
        assert_eq!(world.disk.names(), before);
        world.disk.refuse(pick, None);
        world.crash(Crash::Kill);
        while world.take() {}
        assert_eq!((world.missing(), world.counted().lost), (0, 0));
        world.check(1, false);
    }
}

#[test]
fn what_keeps_files_from_being_opened_now_ends_a_start_and_is_waited_for_later_and_nothing_is_lost() {
    for error in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ROFS, Errno::ACCESS] {
        let mut world = filled(1);
        let last = |names: &[String]| segments(names).last().cloned();
        let name = world.disk.refuse(last, Some(error.raw_os_error()));
        world.outlast();
        world.outlast();
        assert!(world.missing() > 0 && world.counted() == Harm::default(), "{error}: {:?}", world.counted());
        let before = world.disk.names();
        world.close();
        let refused = Queue::open(Arc::new(world.disk.clone()), Options::default());
        let text = refused.err().expect("refused").to_string();
        assert!(text.contains(&name), "{error}: {text}");
        assert_eq!(world.disk.names(), before, "{error}");
        world.disk.show();
        world.crash(Crash::Kill);
        world.check(1, false);
    }
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
        world.send(2);
        world.close();
        world.wipe();
        world.crash(Crash::Kill);
        world.check(round, true);
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
