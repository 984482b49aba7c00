//! The n-th call fails, for all n.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_disk_queue::{Options, Queue, Receivable, Submitted, Take};

use crate::model::{Crash, Disk, Fault};
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
        world.finish(2);
        if round != 2 {
            world.finish(0);
        }
        world.finish(1);
        world.save();
        if round == 1 {
            world.crash(Crash::Kill);
        }
    }
}

/// A life in which one record is never done, so that many segments are removed behind one that stays.
fn life_beside_one_that_is_stuck(world: &mut World) {
    world.send(1);
    world.take();
    for round in 0..10 {
        world.send(2);
        for _ in 0..2 {
            world.take();
            world.finish(1);
        }
        world.save();
        if round == 6 {
            world.crash(Crash::Kill);
            world.take();
        }
    }
}

fn fail_each(life: fn(&mut World), fault: Fault, count: u64, crash: Crash) {
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
                fail_each(life, Fault::Fails(kind), count, crash);
            }
        }
    }
}

#[test]
fn when_the_process_dies_in_the_nth_call_nothing_that_was_acknowledged_is_lost_for_all_n() {
    for crash in [Crash::Kill, Crash::Power] {
        fail_each(life, Fault::Dies, 1, crash);
    }
}

#[test]
fn when_the_nth_call_fails_beside_a_record_that_stays_nothing_is_lost_or_counted_as_lost_for_all_n() {
    for fault in [Fault::Fails(ErrorKind::Other), Fault::Dies] {
        for crash in [Crash::Kill, Crash::Power] {
            fail_each(life_beside_one_that_is_stuck, fault, 1, crash);
        }
    }
}

#[test]
fn when_the_nth_call_of_a_start_fails_or_the_process_dies_in_it_nothing_is_lost_or_counted_as_lost_for_all_n()
{
    for (count, fault) in
        [1, 3, 40].map(|n| (n, Fault::Fails(ErrorKind::Other))).into_iter().chain([(1, Fault::Dies)])
    {
        for crashes in [[Crash::Kill; 2], [Crash::Power, Crash::Kill], [Crash::Power; 2]] {
            for n in 0.. {
                let mut world = World::new(n);
                life(&mut world);
                world.disk.arm(n, count, fault);
                world.crash(crashes[0]);
                if world.disk.disarm() == 0 {
                    assert!(n > 30, "only {n} calls were made");
                    break;
                }
                world.crash(crashes[1]);
                world.check(n, false);
            }
        }
    }
}

#[test]
fn what_is_refused_is_not_there_after_a_restart() {
    let mut refused = 0;
    for call in 0.. {
        let disk = Disk::new(call);
        let queue = Queue::open(Arc::new(disk.clone()), Options::default()).expect("opens");
        assert!(sent(&queue, 100));
        disk.arm(call, 1, Fault::Fails(ErrorKind::Other));
        let acknowledged = 1 + u64::from(sent(&queue, 100));
        if disk.disarm() == 0 {
            break;
        }
        refused += 2 - acknowledged;
        drop(queue);
        disk.restart(Crash::Kill);
        let queue = Queue::open(Arc::new(disk), Options::default()).expect("opens");
        assert_eq!(queue.backlog().records, acknowledged, "call {call}");
    }
    assert!(refused > 2, "{refused}");
}

#[test]
fn a_segment_whose_removal_was_not_synced_when_the_process_ended_does_not_come_again_after_a_power_loss() {
    for seed in 0..30 {
        for call in 0.. {
            let disk = Disk::new(seed);
            let options = Options { segment_bytes: 2000, ..Options::default() };
            let open = || Queue::open(Arc::new(disk.clone()), options.clone()).expect("opens");
            let finish = |queue: &Queue| {
                taken(queue).into_iter().for_each(|record| queue.done(record));
                queue.save_durably();
            };
            let queue = open();
            while disk.names().len() < 6 {
                assert!(sent(&queue, 400));
            }
            disk.arm(call, 1, Fault::Dies);
            finish(&queue);
            if disk.disarm() == 0 {
                assert!(call > 10, "{call} calls");
                break;
            }
            drop(queue);
            disk.restart(Crash::Kill);
            let queue = open();
            // It makes no file, which would sync the directory.
            finish(&queue);
            drop(queue);
            disk.restart(Crash::Power);
            assert_eq!(open().backlog().records, 0, "seed {seed}, call {call}");
        }
    }
}

#[test]
fn a_record_that_stays_holds_the_files_of_its_segment_and_not_those_of_all_that_follow() {
    for (seed, crash) in (0..20).zip([Crash::Kill, Crash::Power].into_iter().cycle()) {
        let mut world = World::new(seed);
        let mut stems = BTreeMap::new();
        world.send(1);
        for _ in 0..3 {
            while world.take() {}
            for _ in 0..50 {
                world.send(1);
                let names = world.disk.names();
                assert!(names.len() <= 6, "seed {seed}: {names:?}");
                for name in names {
                    let (number, stem) = (name[..16].to_owned(), name[..50].to_owned());
                    let first = stems.entry(number).or_insert_with(|| stem.clone());
                    assert_eq!(*first, stem, "seed {seed}: its number comes again");
                }
                world.take();
                world.finish(1);
                world.save_for_sure();
            }
            let before = world.delivered().clone();
            world.queue.as_ref().expect("open").save_durably();
            world.crash(crash);
            while world.take() {}
            let again = world.delivered().iter().filter(|(record, times)| before.get(record) < Some(times));
            assert_eq!(again.map(|(record, _)| *record).collect::<Vec<_>>(), [0], "seed {seed}");
        }
        world.check(seed, false);
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
        world.finish(0);
    }
    world.save();
    let before = world.acknowledged();
    world.send(1);
    assert_eq!(world.acknowledged(), before + 1, "{:?}", world.disk.names());
    world.check(1, false);
}

#[test]
fn ids_and_numbers_go_on_after_a_queue_was_empty_and_nothing_but_one_entry_is_left_of_it() {
    let disk = Disk::new(1);
    let (mut last_id, mut last_name) = (0, String::new());
    for _ in 0..3 {
        let queue =
            Queue::open(Arc::new(disk.clone()), Options { segment_bytes: 2000, ..Options::default() });
        let queue = queue.expect("opens");
        for _ in 0..3 {
            (0..4).for_each(|_| assert!(sent(&queue, 200)));
            let name = disk.names().pop().expect("a segment");
            let records = taken(&queue);
            assert!(name[..16] > last_name[..] && records[0].id == last_id + 1, "{name}, {records:?}");
            (last_id, last_name) = (records[3].id, name[..16].to_owned());
            records.into_iter().for_each(|record| queue.done(record));
            queue.save();
            let sizes: Vec<_> = disk.names().iter().map(|name| disk.size_of(name)).collect();
            assert_eq!(sizes, [Some(16)], "{:?}", disk.names());
        }
    }
}

/// Sends a record of so many bytes; whether it was committed.
fn sent(queue: &Queue, bytes: usize) -> bool {
    let before = queue.backlog().records;
    let submitted = queue.submit(vec![Bytes::from(vec![7; bytes])], 1, |_| true, |_| {});
    if submitted == Submitted::Commit {
        queue.commit();
    }
    queue.backlog().records > before
}

#[test]
fn a_full_disk_has_room_again_when_what_fills_it_is_a_segment_that_is_done_and_still_written() {
    let disk = Disk::new(1);
    disk.limit(3000);
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let queue = Queue::open(Arc::new(disk.clone()), options).expect("opens");
    for _ in 0..2 {
        assert!(sent(&queue, 1000));
        let Take::Record(taken) = queue.try_take() else { panic!("a record") };
        queue.done(taken.receivable);
        queue.save();
    }
    assert!(!sent(&queue, 1000), "it is full");
    assert!(sent(&queue, 1000), "it has room again: {:?}", disk.names());
}

#[test]
fn a_full_disk_has_room_again_when_what_fills_it_was_read_from_disk_and_is_done() {
    let disk = Disk::new(1);
    disk.limit(3000);
    // Nothing goes to the reader through memory.
    let options = Options { segment_bytes: 1 << 20, read_ahead: 0, ..Options::default() };
    let queue = Queue::open(Arc::new(disk.clone()), options).expect("opens");
    for _ in 0..4 {
        while sent(&queue, 400) {}
        taken(&queue).into_iter().for_each(|record| queue.done(record));
        assert!(!sent(&queue, 400), "it is full until what is done was saved");
        assert!(sent(&queue, 400), "it has room again: {:?}", disk.names());
    }
}

#[test]
fn what_waits_for_a_disk_that_hangs_is_bounded() {
    let queue = Queue::open(Arc::new(Disk::new(1)), Options::default()).expect("opens");
    let submit = || queue.submit(vec![Bytes::from(vec![7; 1 << 20])], 1, |_| true, |_| {});
    assert_eq!(submit(), Submitted::Commit);
    for _ in 1..63 {
        assert_eq!(submit(), Submitted::Queued);
    }
    assert_eq!(submit(), Submitted::Busy);
    queue.commit();
    assert_eq!((submit(), queue.backlog().records), (Submitted::Commit, 64));
}

#[test]
fn a_submitter_that_panics_keeps_nobody_from_being_committed() {
    let queue = Arc::new(Queue::open(Arc::new(Disk::new(1)), Options::default()).expect("opens"));
    let submitted = queue.submit(vec![], 1, |_| true, |_| panic!("a submitter that panics"));
    assert_eq!(submitted, Submitted::Commit);
    let committer = Arc::clone(&queue);
    drop(std::thread::spawn(move || committer.commit()).join());
    assert!(sent(&queue, 10));
    assert_eq!(queue.submit(vec![], 1, |_| true, |_| {}), Submitted::Commit, "somebody has to commit again");
}

#[test]
fn when_writing_panics_its_records_are_refused_and_the_next_are_committed() {
    let disk = Disk::new(1);
    let queue = Queue::open(Arc::new(disk.clone()), Options::default()).expect("opens");
    assert!(sent(&queue, 10));
    disk.arm(0, 1, Fault::Panics);
    assert!(!sent(&queue, 10));
    assert_eq!(disk.disarm(), 1);
    assert!(sent(&queue, 10));
    drop(queue);
    let queue = Queue::open(Arc::new(disk), Options::default()).expect("opens");
    assert_eq!((queue.backlog().records, queue.counters().lost), (2, 0));
}

/// Takes what is there.
fn taken(queue: &Queue) -> Vec<Receivable> {
    let mut taken = Vec::new();
    loop {
        match queue.try_take() {
            Take::Record(record) => taken.push(record.receivable),
            Take::Behind => queue.fill(usize::MAX).expect("read"),
            Take::Empty => return taken,
        }
    }
}

#[test]
fn when_the_sync_of_what_is_done_fails_it_is_written_again_and_no_more_than_1024_come_again() {
    let mut failed = 0;
    for call in 0..8 {
        let disk = Disk::new(call);
        let open = || Queue::open(Arc::new(disk.clone()), Options::default()).expect("opens");
        let queue = open();
        for _ in 0..1500 {
            assert_ne!(queue.submit(vec![], 1, |_| true, |_| {}), Submitted::Full);
        }
        queue.commit();
        let records = taken(&queue);
        records[..1400].iter().for_each(|record| queue.done(*record));
        disk.arm(call, 1, Fault::Fails(ErrorKind::Other));
        queue.save();
        failed += disk.disarm();
        queue.done(records[1400]);
        queue.save();
        drop(queue);
        disk.restart(Crash::Power);
        let again = open().backlog().records;
        assert!((99..=99 + 1024).contains(&again), "{again} records when call {call} fails");
    }
    assert!(failed > 1, "{failed} calls failed");
}

#[test]
fn what_is_done_and_could_not_be_saved_is_told_until_it_is() {
    for (fsync, count) in [(true, 1), (true, 100), (false, 1), (false, 100)] {
        for call in 0.. {
            let disk = Disk::new(call);
            disk.stop_clock();
            let options = Options { segment_bytes: 2000, fsync, ..Options::default() };
            let open = || Queue::open(Arc::new(disk.clone()), options.clone()).expect("opens");
            let queue = open();
            while disk.names().len() < 6 {
                assert!(sent(&queue, 400));
            }
            taken(&queue).into_iter().for_each(|record| queue.done(record));
            assert!(queue.has_unsynced());
            disk.arm(call, count, Fault::Fails(ErrorKind::StorageFull));
            queue.save();
            if disk.disarm() == 0 {
                assert!(call > 5, "{call} calls");
                break;
            }
            if queue.has_unsynced() {
                queue.save_durably();
            }
            assert!(!queue.has_unsynced());
            drop(queue);
            disk.restart(if fsync { Crash::Power } else { Crash::Kill });
            assert_eq!((open().backlog().records, open().disk_bytes()), (0, 0), "call {call}");
        }
    }
}

#[test]
fn what_was_done_more_than_a_second_before_the_last_does_not_come_again_after_a_power_loss() {
    for seed in 0..20 {
        let disk = Disk::new(seed);
        disk.stop_clock();
        let open = || Queue::open(Arc::new(disk.clone()), Options::default()).expect("opens");
        let queue = open();
        for _ in 0..100 {
            assert_ne!(queue.submit(vec![], 1, |_| true, |_| {}), Submitted::Full);
        }
        queue.commit();
        let records = taken(&queue);
        records[..50].iter().for_each(|record| queue.done(*record));
        queue.save();
        disk.pass(Duration::from_secs(1));
        queue.done(records[50]);
        queue.save();
        drop(queue);
        disk.restart(Crash::Power);
        assert_eq!(open().backlog().records, 49);
    }
}
