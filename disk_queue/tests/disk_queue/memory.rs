//! What of the memory of a queue a record holds that was taken. Bytes that nothing else holds are in a buffer of their own.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_disk_queue::{Directory, Options, Queue, Submitted, Take};

/// Lengths of the records of a group. Only the large one is a quarter of it.
const GROUP: [usize; 7] = [1000, 1000, 8000, 1000, 0, 1000, 1000];

fn open(parent: &Path, read_ahead: usize) -> Queue {
    let directory = Directory::open(parent, "q").expect("a directory");
    Queue::open(Arc::new(directory), Options { read_ahead, ..Options::default() }).expect("a queue")
}

/// Sends records of these lengths as one group.
fn send(queue: &Queue, group: &[usize]) {
    for (n, length) in group.iter().enumerate() {
        let outcome = |outcome: std::io::Result<()>| outcome.expect("nothing fails");
        let submitted = queue.submit(vec![Bytes::from(vec![n as u8; *length])], 1, |_| true, outcome);
        assert_eq!(submitted, if n == 0 { Submitted::Commit } else { Submitted::Queued });
    }
    queue.commit();
}

fn take(queue: &Queue) -> Bytes {
    loop {
        match queue.try_take() {
            Take::Record(taken) => return taken.bytes,
            Take::Behind => queue.fill(usize::MAX).expect("read"),
            Take::Empty => panic!("a record is missing"),
        }
    }
}

#[test]
fn a_small_record_that_is_taken_holds_nothing_of_those_that_came_with_it() {
    let parent = tempfile::tempdir().expect("a folder");
    // From the commit through memory, then from disk.
    for restarted in [false, true] {
        let queue = open(parent.path(), 1 << 20);
        if !restarted {
            send(&queue, &GROUP);
        }
        for (n, length) in GROUP.into_iter().enumerate() {
            let bytes = take(&queue);
            assert_eq!(bytes, vec![n as u8; length]);
            let is_small = length < 8000;
            assert_eq!(bytes.is_unique() || bytes.is_empty(), is_small, "{length} bytes, {restarted}");
        }
    }
}

#[test]
fn a_record_holds_nothing_of_the_groups_before_its_own() {
    let parent = tempfile::tempdir().expect("a folder");
    let queue = open(parent.path(), 4 << 20);
    send(&queue, &[2 << 20]);
    drop(take(&queue));
    send(&queue, &[100]);
    assert!(take(&queue).is_unique());
}

#[test]
fn once_nothing_is_left_on_disk_nothing_is_held_of_what_was_read() {
    let parent = tempfile::tempdir().expect("a folder");
    send(&open(parent.path(), 1 << 20), &[100_000]);
    let queue = open(parent.path(), 1 << 20);
    let bytes = take(&queue);
    assert!(bytes.is_unique(), "while the queue is open");
    drop(queue);
}

#[test]
fn what_the_owner_has_no_room_for_stays_on_disk_until_it_is_read() {
    let parent = tempfile::tempdir().expect("a folder");
    let queue = open(parent.path(), 1 << 20);
    for (limit, ready) in [(usize::MAX, 100), (150, 100), (0, 100)] {
        queue.limit_ready(limit);
        send(&queue, &[100]);
        assert_eq!(queue.ready_bytes(), ready, "{limit}");
    }
    for _ in 0..3 {
        assert_eq!(take(&queue).len(), 100);
    }
    queue.limit_ready(usize::MAX);
    send(&queue, &[100]);
    assert_eq!(queue.ready_bytes(), 100, "it goes through memory again");
}
