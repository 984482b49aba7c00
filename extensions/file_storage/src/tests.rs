use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use weir_component::{
    Blocking, Capacity, DurableQueue, ExtensionContext, Host, Record, Refused, Runtime, Sizer, Stop, Stopper,
    Storage, Telemetry,
};
use weir_disk_queue::{Directory, OpenError};
use weir_testkit::Simulation;

use super::*;

const PLENTY: Capacity = Capacity { size: 1000, sizer: Sizer::Requests };

/// A storage in `directory` of an agent with this host.
async fn storage(
    directory: &Path,
    host: &Host,
    simulation: &Simulation,
    more: &str,
) -> Result<Arc<dyn Storage>, Failure> {
    started(directory, host, simulation, more).await.map(|(extension, _, _)| {
        let capabilities = extension.capabilities();
        capabilities.storage.expect("a storage")
    })
}

/// An extension that has started, what it runs in, and what stops it.
async fn started(
    directory: &Path,
    host: &Host,
    simulation: &Simulation,
    more: &str,
) -> Result<(Box<dyn Extension>, ExtensionContext, Stopper), Failure> {
    let yaml = format!("{{directory: {}, timeout: 0s{more}}}", directory.display());
    let node = weir_config::parse_body(&yaml).expect("YAML");
    let build = Build {
        id: "file_storage",
        node: &node,
        path: weir_config::Path::component("extensions", "file_storage"),
        host,
        clock: simulation.clock(),
    };
    let mut extension = create(&build).expect("built");
    let (stopper, stop) = Stop::new();
    let cx = ExtensionContext {
        id: "file_storage".to_owned(),
        stop,
        clock: simulation.clock(),
        host: host.clone(),
    };
    extension.start(&cx).await?;
    Ok((extension, cx, stopper))
}

/// Runs a test on simulated time, with an agent of its own.
fn run<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    test: impl FnOnce(Host, Simulation) -> F,
) -> T {
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    simulation.run(test(host, simulation.clone())).expect("it ends")
}

async fn append(
    queue: &Arc<dyn DurableQueue>,
    text: &'static str,
    capacity: Capacity,
) -> Result<(), Refused> {
    let parts = vec![Bytes::from_static(text.as_bytes())];
    queue.append(Record { parts, items: 2 }, capacity).await
}

#[test]
fn a_record_is_there_after_a_restart_until_it_is_done() {
    let directory = tempfile::tempdir().expect("a folder");
    for (round, expected) in [(0, None), (1, Some("first")), (2, Some("first")), (3, Some("second"))] {
        let path = directory.path().to_owned();
        run(|host, simulation| async move {
            let storage = storage(&path, &host, &simulation, "").await.expect("started");
            let queue = storage.open_queue("exporter_x__logs").await.expect("opened");
            if round == 0 {
                append(&queue, "first", PLENTY).await.expect("durable");
                append(&queue, "second", PLENTY).await.expect("durable");
            }
            if let Some(expected) = expected {
                let taken = queue.take().await.expect("a record");
                assert_eq!((&taken.bytes[..], taken.receivable.items), (expected.as_bytes(), 2));
                if round == 2 {
                    queue.done(taken.receivable);
                    queue.save().await;
                }
            }
        });
    }
}

#[test]
fn a_bound_counts_what_it_says_and_a_refused_record_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, "").await.expect("started");
        let queue = storage.open_queue("q").await.expect("opened");
        let bound = |size, sizer| Capacity { size, sizer };
        append(&queue, "0123456789", bound(10, Sizer::Bytes)).await.expect("fits exactly");
        for capacity in [bound(19, Sizer::Bytes), bound(3, Sizer::Items), bound(1, Sizer::Requests)] {
            assert!(
                matches!(append(&queue, "0123456789", capacity).await, Err(Refused::Full)),
                "{capacity:?}"
            );
        }
        assert_eq!((queue.backlog().requests, queue.backlog().items, queue.backlog().bytes), (1, 2, 10));
        append(&queue, "0123456789", bound(4, Sizer::Items)).await.expect("fits exactly");
    });
}

#[test]
fn a_record_that_never_fits_is_refused_for_good_with_both_bounds() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, ", max_size: 1048576").await.expect("started");
        let queue = storage.open_queue("q").await.expect("opened");
        let record = Record { parts: vec![Bytes::from(vec![0; 1 << 20])], items: 1 };
        let refused = match queue.append(record, PLENTY).await {
            Err(Refused::Failed(failure)) => Some(failure),
            _ => None,
        };
        let refused = refused.expect("refused");
        assert!(!refused.is_retryable(), "{refused}");
        let text = refused.message();
        assert!(text.contains("max_size of 1048576 bytes") && text.contains("never more than"), "{text}");
        let largest = (1 << 20) - 8192 - 32;
        assert!(text.contains(&format!("up to {largest} bytes")), "{text}");
        let record = Record { parts: vec![Bytes::from(vec![0; largest])], items: 1 };
        queue.append(record, PLENTY).await.expect("fits");
    });
}

#[test]
fn who_waits_for_room_hears_of_it_when_a_commit_fails() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, "").await.expect("started");
        let queue = storage.open_queue("q").await.expect("opened");
        let files = path.join("q");
        std::fs::remove_dir_all(&files).expect("removed");
        std::fs::write(&files, "in its place").expect("a file");
        let mut room = queue.room();
        assert!(futures_util::poll!(&mut room).is_pending());
        append(&queue, "a", PLENTY).await.expect_err("there can be no directory");
        room.await;
    });
}

#[test]
fn a_successor_shares_the_queue_and_gets_what_the_former_owner_gives_back() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let first = storage(&path, &host, &simulation, "").await.expect("started");
        let old = first.open_queue("q").await.expect("opened");
        append(&old, "a", PLENTY).await.expect("durable");
        append(&old, "b", PLENTY).await.expect("durable");
        let taken = old.take().await.expect("a record");
        for other in [", fsync: false", ", max_size: 1048576"] {
            let changed = storage(&path, &host, &simulation, other).await.expect("started");
            let refused = changed.open_queue("q").await.err().expect("refused");
            let text = refused.message();
            assert!(text.contains("fsync or max_size") && text.contains("next start"), "{text}");
            assert!(!refused.is_retryable(), "{text}");
        }
        // Another instance of the extension, as after a reload that changed it, also how the directory is spelled.
        let again = path.join("..").join(path.file_name().expect("a name"));
        let second = storage(&again, &host, &simulation, ", create_directory: true").await.expect("started");
        let new = second.open_queue("q").await.expect("shared");
        old.close();
        assert!(old.take().await.is_none());
        assert!(append(&old, "c", PLENTY).await.is_err(), "closed");
        old.keep(taken);
        drop(old);
        assert_eq!(new.take().await.expect("given back").bytes, "a");
        assert_eq!(new.take().await.expect("the next").bytes, "b");
        append(&new, "c", PLENTY).await.expect("durable");
        assert_eq!(new.take().await.expect("the last").bytes, "c");
    });
}

/// Threads for blocking work, which takes a moment before and after it, and ends also when nobody waits for it any more.
struct Slow(Simulation);

impl Blocking for Slow {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let (clock, (done, ended)) = (self.0.clock(), oneshot::channel::<()>());
        self.0.spawn(Box::pin(async move {
            clock.sleep(Duration::from_millis(1)).await;
            work();
            clock.sleep(Duration::from_millis(1)).await;
            drop(done);
        }));
        Box::pin(async move { drop(ended.await) })
    }
}

#[test]
fn who_opens_a_queue_that_another_is_opening_waits_for_that_one_and_shares_it() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    let simulation = Simulation::new(1);
    let host = Host::new("", 0, Telemetry::default(), Arc::new(Slow(simulation.clone())));
    let inner = simulation.clone();
    let ended = simulation.run(async move {
        let storage = storage(&path, &host, &inner, "").await.expect("started");
        let mut given_up = storage.open_queue("q");
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        let (one, other) = join(storage.open_queue("q"), storage.open_queue("q")).await;
        let (one, other) = (one.expect("opened"), other.expect("shared"));
        append(&one, "a", PLENTY).await.expect("durable");
        assert_eq!(other.take().await.expect("a record").bytes, "a");
    });
    ended.expect("it ends");
}

#[test]
fn another_agent_is_told_the_directory_and_the_process_and_a_missing_directory_the_cure() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    let other = path.clone();
    let held = run(|host, simulation| async move {
        storage(&path, &host, &simulation, "").await.expect("started").open_queue("q").await.expect("opened")
    });
    let refused = run(|host, simulation| async move {
        let storage = storage(&other, &host, &simulation, "").await.expect("started");
        storage.open_queue("q").await.err().expect("refused")
    });
    let text = refused.message();
    assert!(text.contains(&directory.path().join("q").display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(held);

    let missing = directory.path().join("a").join("b");
    let text = run(|host, simulation| async move {
        let refused = storage(&missing, &host, &simulation, "").await.err().expect("refused");
        storage(&missing, &host, &simulation, ", create_directory: true").await.expect("made");
        refused.message().to_owned()
    });
    assert!(text.contains("create_directory"), "{text}");
}

#[test]
fn the_queue_of_a_collector_is_kept_and_the_error_says_what_to_do_with_it() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    std::fs::write(path.join("q"), "bbolt").expect("a file");
    let text = run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, "").await.expect("started");
        storage.open_queue("q").await.err().expect("refused").message().to_owned()
    });
    assert!(text.contains("let the Collector deliver what is in it"), "{text}");
    assert_eq!(std::fs::read_to_string(directory.path().join("q")).expect("kept"), "bbolt");
}

#[test]
fn what_happens_in_a_queue_is_measured() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, "").await.expect("started");
        let queue = storage.open_queue("q").await.expect("opened");
        append(&queue, "a", PLENTY).await.expect("durable");
        let value = |name: &str| {
            let samples = host.stats().samples();
            let found = samples.iter().find(|s| s.name == format!("otelcol_file_storage_{name}"));
            let found = found.expect("it is measured");
            assert!(found.labels.contains(&("queue".to_owned(), "q".to_owned())));
            found.value
        };
        assert_eq!((value("commits"), value("lost_records"), value("damaged_places")), (1, 0, 0));
        assert_eq!(value("fsyncs"), 2, "the new segment and the record");
        assert!(value("disk_size") > 0 && value("quarantined_segments") == 0);
    });
}

#[test]
fn a_bound_that_the_disk_cannot_meet_is_refused_with_its_size() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(move |host, simulation| async move {
        let size = weir_kernel::disks::size_of(&path).expect("a file system");
        let started = storage(&path, &host, &simulation, &format!(", max_size: {}", i64::MAX)).await;
        let text = started.err().expect("refused").to_string();
        assert!(
            text.contains(&i64::MAX.to_string()) && text.contains(&format!("the {size} bytes")),
            "{text}"
        );
        let half = format!(", max_size: {}", size / 2);
        assert!(storage(&path, &host, &simulation, &half).await.is_ok());
    });
}

#[test]
fn options_are_checked() {
    let simulation = Simulation::new(1);
    let host = weir_testkit::host(&simulation);
    let refused = |body: &str| {
        let node = weir_config::parse_body(body).expect("YAML");
        let path = weir_config::Path::component("extensions", "file_storage");
        let build = Build { id: "file_storage", node: &node, path, host: &host, clock: simulation.clock() };
        create(&build).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(refused("{max_size: 1048576, compaction: {on_start: true}, recreate: true}"), "");
    assert!(refused("directory: ''").contains("directory"));
    assert!(refused("max_size: 10").contains("at least 1048576"));
    assert!(refused("directory_permissions: '0999'").contains("octal"));
    assert!(refused("directory_permissions: '1777'").contains("octal"));
    assert!(refused("compactoin: {}").contains("compactoin"));
}

#[test]
fn only_an_explicit_false_turns_syncs_off() {
    let path = || weir_config::Path::component("extensions", "file_storage");
    for (body, fsync) in [("{}", true), ("fsync:", true), ("fsync: true", true), ("fsync: false", false)] {
        let node = weir_config::parse_body(body).expect("YAML");
        let config: Config = weir_config::load(&node, &path()).expect("accepted");
        assert_eq!(config.fsync, fsync, "{body}");
    }
}

#[test]
fn what_is_read_back_is_in_the_budget_and_without_room_it_comes_one_by_one() {
    const SIZE: usize = 100_000;
    let directory = tempfile::tempdir().expect("a folder");
    for round in 0..2 {
        let path = directory.path().to_owned();
        run(move |host, simulation| async move {
            let storage = storage(&path, &host, &simulation, "").await.expect("started");
            let queue = storage.open_queue("exporter_x__logs").await.expect("opened");
            let budget = host.budget().clone();
            for _ in 0..20 * usize::from(round == 0) {
                let parts = vec![Bytes::from(vec![7; SIZE])];
                queue.append(Record { parts, items: 1 }, PLENTY).await.expect("durable");
            }
            if round == 0 {
                return;
            }
            budget.set_limit(3 * SIZE);
            let first = queue.take().await.expect("a record");
            assert_eq!(budget.held(), SIZE, "nothing is read ahead");
            assert!(budget.reserve(3 * SIZE).is_err(), "others find less");
            let second = queue.take().await.expect("not held up by its own kind");
            assert_eq!(budget.held(), 2 * SIZE);
            drop((first, second));
            assert_eq!(budget.held(), 0);
            budget.set_limit(usize::MAX);
            let third = queue.take().await.expect("a record");
            assert_eq!(budget.held(), 18 * SIZE, "with room the rest is read ahead");
            drop((third, queue, storage));
            assert_eq!(budget.held(), 0);
        });
    }
}

#[test]
fn a_record_that_is_given_back_is_in_the_budget_once() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, "").await.expect("started");
        let queue = storage.open_queue("q").await.expect("opened");
        append(&queue, "0123456789", PLENTY).await.expect("durable");
        for _ in 0..3 {
            let taken = queue.take().await.expect("a record");
            assert_eq!((&taken.bytes[..], host.budget().held()), (&b"0123456789"[..], 10));
            queue.keep(taken);
            assert_eq!(host.budget().held(), 10);
        }
        queue.done(queue.take().await.expect("a record").receivable);
        assert_eq!(host.budget().held(), 0);
    });
}

#[test]
fn what_is_committed_and_not_taken_is_in_the_budget_and_leaves_room_for_what_comes() {
    const SIZE: usize = 1 << 20;
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let storage = storage(&path, &host, &simulation, "").await.expect("started");
        let budget = host.budget().clone();
        budget.set_limit(24 * SIZE);
        let mut queues = Vec::new();
        for name in ["q", "r", "s"] {
            queues.push(storage.open_queue(name).await.expect("opened"));
        }
        for n in 0..20 {
            for queue in &queues {
                let parts = vec![Bytes::from(vec![n; SIZE])];
                queue.append(Record { parts, items: 1 }, PLENTY).await.expect("durable");
            }
        }
        let held = budget.held();
        assert!(
            (8 * SIZE..=9 * SIZE).contains(&held),
            "{held}: as much again and what is read ahead would fit"
        );
        for queue in &queues {
            for n in 0..20 {
                let taken = queue.take().await.expect("a record");
                assert_eq!(taken.bytes, vec![n; SIZE]);
                queue.done(taken.receivable);
            }
        }
        assert_eq!(budget.held(), 0);
    });
}

#[test]
fn what_is_done_is_synced_a_second_later_while_nothing_else_comes() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        let (extension, cx, stopper) = started(&path, &host, &simulation, "").await.expect("started");
        let storage = extension.capabilities().storage.expect("a storage");
        let queue = storage.open_queue("q").await.expect("opened");
        host.set_health(Health::Ready);
        simulation.spawn(Box::pin(async move { extension.run(cx).await.expect("no failure") }));
        let syncs = || {
            let samples = host.stats().samples();
            samples.iter().find(|s| s.name == "otelcol_file_storage_fsyncs").expect("measured").value
        };
        for _ in 0..2 {
            append(&queue, "a", PLENTY).await.expect("durable");
            let taken = queue.take().await.expect("a record");
            queue.done(taken.receivable);
            queue.save().await;
            let before = syncs();
            simulation.clock().sleep(Duration::from_secs(2)).await;
            assert_eq!(syncs(), before + 1);
            simulation.clock().sleep(Duration::from_secs(20)).await;
            assert_eq!(syncs(), before + 1, "once");
        }
        drop(stopper);
    });
}

/// The files of a queue, if nobody has it open.
fn free(parent: &Path) -> Option<Directory> {
    match Directory::open(parent, "q") {
        Err(OpenError::InUse { .. }) => None,
        opened => Some(opened.expect("opened")),
    }
}

#[test]
fn a_queue_stays_open_until_what_is_done_is_synced_and_a_stop_does_it_at_once() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().to_owned();
    run(|host, simulation| async move {
        for is_stopped in [false, true] {
            let (extension, cx, stopper) = started(&path, &host, &simulation, "").await.expect("started");
            let storage = extension.capabilities().storage.expect("a storage");
            simulation.spawn(Box::pin(async move { extension.run(cx).await.expect("no failure") }));
            let clock = simulation.clock();
            clock.sleep(Duration::from_secs(2)).await;
            let queue = storage.open_queue("q").await.expect("opened");
            append(&queue, "a", PLENTY).await.expect("durable");
            queue.done(queue.take().await.expect("a record").receivable);
            queue.save().await;
            drop(queue);
            assert!(free(&path).is_none(), "it is not synced");
            drop(storage.open_queue("q").await.expect("a successor shares it"));
            if is_stopped {
                drop(stopper);
                clock.sleep(Duration::from_millis(1)).await;
            } else {
                clock.sleep(Duration::from_secs(2)).await;
            }
            assert!(free(&path).is_some(), "synced");
        }
    });
}

#[test]
fn what_is_found_lost_at_the_start_is_synced_too() {
    let directory = tempfile::tempdir().expect("a folder");
    for round in 0..2 {
        let path = directory.path().to_owned();
        run(move |host, simulation| async move {
            let (extension, cx, _stopper) = started(&path, &host, &simulation, "").await.expect("started");
            let storage = extension.capabilities().storage.expect("a storage");
            simulation.spawn(Box::pin(async move { extension.run(cx).await.expect("no failure") }));
            let clock = simulation.clock();
            clock.sleep(Duration::from_secs(2)).await;
            let queue = storage.open_queue("q").await.expect("opened");
            if round == 0 {
                for _ in 0..3 {
                    append(&queue, "a", PLENTY).await.expect("durable");
                }
                return;
            }
            drop(queue);
            assert!(free(&path).is_none(), "it is not synced");
            clock.sleep(Duration::from_secs(2)).await;
            assert!(free(&path).is_some(), "synced");
        });
        let files = directory.path().join("q").read_dir().expect("a folder");
        let mut files = files.map(|entry| entry.expect("an entry").path());
        let records =
            files.find(|path| path.extension().is_some_and(|of| of == "segment")).expect("a segment");
        let mut bytes = std::fs::read(&records).expect("read");
        bytes[40] ^= 1;
        std::fs::write(&records, bytes).expect("damaged");
    }
}
