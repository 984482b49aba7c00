//! What the disk does not give: it is waited for, counts as lost after that, and its file stays.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use weir_disk_queue::{Fs, Options, Queue, Submitted, Take};

use crate::damage::{filled, nth, segments};
use crate::model::{Crash, Disk};
use crate::world::{Harm, World};

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
            world.lose_a_segment(seed);
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

/// A queue whose file was given up, as the disk does not give one page of it, and its name.
fn given_up() -> (World, String) {
    let (mut world, name) = pages(1, 600);
    world.disk.hide(|_| Some(name.clone()), 100..200);
    world.crash(Crash::Kill);
    world.outlast();
    (world, name)
}

#[test]
fn a_file_that_was_given_up_stays_though_a_later_start_can_read_it() {
    let (mut world, name) = given_up();
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
    let (mut world, name) = given_up();
    world.close();
    world.disk.unlink(|other| other == name);
    world.crash(Crash::Kill);
    world.save();
    assert!(!world.queue.as_ref().expect("open").has_unsynced(), "{:?}", world.disk.names());
}

#[test]
fn a_file_that_is_to_be_put_aside_and_was_removed_is_not_looked_for_again_and_again() {
    let (mut world, name) = given_up();
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
