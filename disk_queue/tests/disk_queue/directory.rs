//! A real directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Barrier};
use std::thread;

use bytes::Bytes;
use weir_disk_queue::{Directory, OpenError, Options, Queue, Submitted, Take, make_directory};

fn open(parent: &std::path::Path) -> Queue {
    let directory = Directory::open(parent, "q").expect("a directory");
    Queue::open(Arc::new(directory), Options::default()).expect("a queue")
}

#[test]
fn records_of_many_threads_are_there_after_a_restart_in_the_order_of_each() {
    let parent = tempfile::tempdir().expect("a folder");
    let queue = Arc::new(open(parent.path()));
    let together = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8_u8)
        .map(|thread| {
            let (queue, together) = (Arc::clone(&queue), Arc::clone(&together));
            thread::spawn(move || {
                together.wait();
                for n in 0..50_u8 {
                    let (told, wait) = std::sync::mpsc::sync_channel(1);
                    let parts = vec![Bytes::copy_from_slice(&[thread, n]), Bytes::from(vec![n; 5000])];
                    let submitted =
                        queue.submit(parts, 1, |_| true, move |outcome| told.send(outcome).expect("waits"));
                    if submitted == Submitted::Commit {
                        queue.commit();
                    }
                    wait.recv().expect("told").expect("committed");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().expect("ends"));
    drop(queue);

    let queue = open(parent.path());
    assert_eq!((queue.backlog().records, queue.backlog().weight), (400, 400));
    let mut last = [None; 8];
    for _ in 0..400 {
        let taken = loop {
            match queue.try_take() {
                Take::Record(taken) => break taken,
                Take::Behind => queue.fill(usize::MAX).expect("read"),
                Take::Empty => panic!("records are missing"),
            }
        };
        let (thread, n) = (usize::from(taken.bytes[0]), taken.bytes[1]);
        assert!(last[thread] < Some(n), "in order");
        last[thread] = Some(n);
        queue.done(taken.receivable);
    }
    queue.save();
    assert_eq!(queue.backlog().records, 0);
    assert_eq!(queue.disk_bytes(), 0, "its space came back");
}

#[test]
fn acks_that_are_larger_than_any_memory_keep_nothing_from_being_known_as_done() {
    let parent = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let queue = open(parent.path());
        for _ in 0..9000 {
            assert_ne!(queue.submit(vec![], 1, |_| true, |_| {}), Submitted::Full);
        }
        queue.commit();
        while let Take::Record(taken) = queue.try_take() {
            // With gaps, each of which has an entry.
            if taken.receivable.id % 2 == 0 {
                queue.done(taken.receivable);
            }
        }
        queue.save();
        let left = queue.backlog().records;
        drop(queue);
        for file in fs::read_dir(parent.path().join("q")).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|of| of == "acks") {
                fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .expect("there")
                    .set_len(1 << 40)
                    .expect("sparse");
            }
        }
        assert_eq!(open(parent.path()).backlog().records, left);
    }
}

#[test]
fn a_reader_that_lags_behind_the_commits_gets_each_record_once_and_loses_none() {
    let parent = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(parent.path(), "q").expect("a directory");
    let options = Options { fsync: false, read_ahead: 15_000, ..Options::default() };
    let queue = Arc::new(Queue::open(Arc::new(directory), options).expect("a queue"));
    // A group is more than what goes to the reader through memory: it reads the rest while the next one is written.
    let (groups, size) = (600, 400);
    let sender = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            for _ in 0..groups {
                while queue.backlog().records > size {
                    thread::yield_now();
                }
                for _ in 0..size {
                    queue.submit(vec![Bytes::from_static(&[7; 50])], 1, |_| true, |_| {});
                }
                queue.commit();
            }
        })
    };
    let mut next = 1;
    while next <= groups * size {
        match queue.try_take() {
            Take::Record(taken) => {
                assert_eq!(taken.receivable.id, next, "each one once, in order");
                next += 1;
                queue.done(taken.receivable);
            }
            Take::Behind => queue.fill(usize::MAX).expect("read"),
            Take::Empty => thread::yield_now(),
        }
        assert_eq!(queue.counters().lost, 0, "after {next} records");
    }
    sender.join().expect("ends");
    assert_eq!(queue.backlog().records, 0);
}

#[test]
fn a_second_owner_is_told_which_directory_and_which_process() {
    let parent = tempfile::tempdir().expect("a folder");
    let first = Directory::open(parent.path(), "q").expect("free");
    let refused = Directory::open(parent.path(), "q").expect_err("taken");
    assert!(matches!(&refused, OpenError::InUse { owner: Some(pid), .. } if *pid == std::process::id()));
    let text = refused.to_string();
    assert!(text.contains(&parent.path().join("q").display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    Directory::open(parent.path(), "q").expect("free again");
}

#[test]
fn only_the_owner_can_read_and_links_are_never_followed() {
    let parent = tempfile::tempdir().expect("a folder");
    drop(open(parent.path()));
    let mode =
        |name: &str| fs::metadata(parent.path().join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("q"), mode("q/owner")), (0o700, 0o600));

    let elsewhere = tempfile::tempdir().expect("a folder");
    symlink(elsewhere.path(), parent.path().join("link")).expect("a link");
    let refused = Directory::open(parent.path(), "link").expect_err("a link").to_string();
    assert!(refused.contains("no link"), "{refused}");
    fs::write(parent.path().join("file"), "bbolt").expect("a file");
    let refused = Directory::open(parent.path(), "file").expect_err("a file").to_string();
    assert!(refused.contains("another program's database"), "{refused}");
    assert_eq!(fs::read_dir(elsewhere.path()).expect("a folder").count(), 0);

    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "untouched").expect("a file");
    let name = "0000000000000001-0000000000000001-0000000000000001.v1.segment";
    symlink(&victim, parent.path().join("q").join(name)).expect("a link");
    let queue = open(parent.path());
    assert_eq!((queue.backlog().records, queue.counters().lost), (0, 0), "a link is no segment");
    drop(queue);
    assert_eq!(fs::read(&victim).expect("there"), b"untouched");
}

#[test]
fn a_bound_on_the_disk_refuses_and_gives_room_when_records_are_done() {
    let parent = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(parent.path(), "q").expect("a directory");
    let options = Options { max_bytes: 64 << 10, ..Options::default() };
    let queue = Queue::open(Arc::new(directory), options).expect("a queue");
    let send = || {
        let submitted = queue.submit(vec![Bytes::from(vec![7; 1000])], 1, |_| true, |_| {});
        if submitted == Submitted::Commit {
            queue.commit();
        }
        submitted != Submitted::DiskFull
    };
    let mut sent = 0;
    while send() {
        sent += 1;
        assert!(sent < 70, "the bound holds");
    }
    assert!(sent > 50, "{sent}");
    let files = fs::read_dir(parent.path().join("q")).expect("a folder").map(|file| file.expect("a file"));
    let segments = files.filter(|file| file.file_name().to_string_lossy().ends_with(".segment"));
    let used: u64 = segments.map(|file| file.metadata().expect("there").len()).sum();
    assert!(used <= 64 << 10, "{used} bytes");
    while let Take::Record(taken) = queue.try_take() {
        queue.done(taken.receivable);
    }
    queue.save();
    assert!(send(), "room again");
    let too_large = vec![Bytes::from(vec![7; queue.largest_record() + 1])];
    assert_eq!(queue.submit(too_large, 1, |_| true, |_| {}), Submitted::TooLarge, "never");
    assert_eq!(queue.submit(vec![], 0, |backlog| backlog.records == 0, |_| {}), Submitted::Full);
}

#[test]
fn a_directory_that_is_removed_is_told_to_the_senders_and_made_anew() {
    let parent = tempfile::tempdir().expect("a folder");
    let above = parent.path().join("a");
    let folder = above.join("storage");
    make_directory(&folder, 0o750).expect("a folder");
    let modes = || [&above, &folder].map(|path| fs::metadata(path).expect("there").permissions().mode());
    let made_with = modes();
    let queue = open(&folder);
    let send = || {
        let (told, outcome) = std::sync::mpsc::sync_channel(1);
        let submitted = queue.submit(
            vec![Bytes::from_static(b"x")],
            1,
            |_| true,
            move |outcome| {
                told.send(outcome).expect("waits");
            },
        );
        assert_eq!(submitted, Submitted::Commit);
        queue.commit();
        outcome.recv().expect("told")
    };
    for removed in [folder.join("q"), folder.clone(), above.clone()] {
        send().expect("committed");
        fs::remove_dir_all(&removed).expect("removed");
        let text = send().expect_err("nothing of it would be left").to_string();
        assert!(text.contains("its files were removed"), "{text}");
        send().expect("it goes on");
        let taken = Directory::open(&folder, "q").expect_err("it has the new one too");
        assert!(matches!(taken, OpenError::InUse { .. }), "{taken}");
        assert_eq!(modes(), made_with, "whose they were may go on");
    }
    for _ in 0..6 {
        assert!(matches!(queue.try_take(), Take::Record(_)), "what was in memory comes out");
    }
    assert_eq!((queue.adrift(), queue.counters().lost), (5, 0));
    drop(queue);
    assert_eq!(open(&folder).backlog().records, 1);
}
