//! Who waits for whom before a sync. The clock stands still but for syncs, so that whoever waits for it waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use weir_disk_queue::{Options, Queue, Submitted};

use crate::model::Disk;

struct Senders {
    disk: Disk,
    queue: Queue,
    acknowledged: Arc<AtomicUsize>,
}

impl Senders {
    fn new() -> Senders {
        let disk = Disk::new(1);
        disk.stop_clock();
        let queue = Queue::open(Arc::new(disk.clone()), Options::default()).expect("it opens");
        Senders { disk, queue, acknowledged: Arc::default() }
    }

    fn submit(&self) -> Submitted {
        let acknowledged = Arc::clone(&self.acknowledged);
        self.queue.submit(
            vec![Bytes::from_static(b"record")],
            1,
            |_| true,
            move |outcome| {
                outcome.expect("nothing fails");
                acknowledged.fetch_add(1, Ordering::SeqCst);
            },
        )
    }

    /// So many come at the same time.
    fn send(&self, count: usize) {
        let submitted: Vec<_> = (0..count).map(|_| self.submit()).collect();
        assert_eq!(submitted.iter().filter(|s| **s == Submitted::Commit).count(), 1);
        self.queue.commit();
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn commits(&self) -> u64 {
        self.queue.counters().commits
    }
}

#[test]
fn a_crowd_shares_a_sync_although_its_senders_come_one_by_one() {
    let senders = Senders::new();
    senders.send(8);
    let asked = senders.disk.asked();
    thread::scope(|scope| {
        assert_eq!(senders.submit(), Submitted::Commit);
        let commit = scope.spawn(|| senders.queue.commit());
        while senders.disk.asked() == asked && !commit.is_finished() {
            thread::yield_now();
        }
        (0..6).for_each(|_| assert_eq!(senders.submit(), Submitted::Queued));
        assert_eq!(senders.acknowledged(), 8, "seven are not all of them");
        senders.submit();
    });
    assert_eq!((senders.acknowledged(), senders.commits()), (16, 2));
}

#[test]
fn sixteen_of_a_large_crowd_are_enough() {
    let senders = Senders::new();
    senders.send(100);
    senders.send(16);
    assert_eq!((senders.acknowledged(), senders.commits()), (116, 2));
}

#[test]
fn a_sender_that_has_few_beside_it_never_waits() {
    let senders = Senders::new();
    senders.send(1);
    senders.send(7);
    senders.send(1);
    assert_eq!((senders.acknowledged(), senders.commits()), (9, 3));
}

#[test]
fn nobody_waits_longer_than_5_ms_or_for_a_crowd_that_was_not_seen_for_long() {
    let senders = Senders::new();
    senders.send(8);
    senders.disk.pass(Duration::from_millis(5));
    senders.send(1);
    senders.disk.pass(Duration::from_millis(396));
    senders.send(1);
    senders.send(1);
    assert_eq!((senders.acknowledged(), senders.commits()), (11, 4));
}

#[test]
fn where_syncs_cost_little_nobody_waits_for_long() {
    let senders = Senders::new();
    senders.disk.syncs_take(Duration::from_micros(50));
    senders.send(8);
    senders.disk.pass(Duration::from_micros(800));
    senders.send(1);
    assert_eq!((senders.acknowledged(), senders.commits()), (9, 2));
}
