//! What a stop leaves in a queue in memory goes to disk where a storage runs, and the next start delivers it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tracing::level_filters::LevelFilter;
use weir_component::{
    Backlog, Capacity, Clock, DeliverySettings, DurableQueue, Failure, QueueSettings, Receivable, Record,
    Refused, Runtime, Storage, Taken,
};
use weir_testkit::{Reply, logged};

use crate::support::{Bench, SECOND, STORAGE, exact_retries, slow, with_queue};

/// Of the exporter's logs.
const QUEUE: &str = "exporter_test_e_logs";

fn in_memory() -> QueueSettings {
    QueueSettings { spill: Some(STORAGE.to_owned()), num_consumers: 2, ..QueueSettings::default() }
}

fn on_disk() -> QueueSettings {
    QueueSettings { storage: Some(STORAGE.to_owned()), spill: None, ..in_memory() }
}

fn settings(queue: QueueSettings) -> DeliverySettings {
    DeliverySettings { retry: Some(exact_retries()), ..with_queue(queue) }
}

fn unavailable() -> Reply {
    Reply::Fail(Failure::retry("unavailable"))
}

/// An agent whose backend is down got that many items, one by one, and ends.
fn left_behind(directory: &Path, items: i64) {
    let mut bench = Bench::on_disk(directory, settings(in_memory()), |_, _| unavailable());
    (0..items).for_each(|first| drop(bench.send(first, 1)));
    bench.settle();
    bench.close();
    bench.run_to_end();
    assert!(bench.is_stopped());
}

/// What an agent that starts later delivers within a second.
fn found(directory: &Path, queue: QueueSettings) -> Vec<i64> {
    let mut bench = Bench::on_disk(directory, settings(queue), |_, _| Reply::Accept);
    bench.pass(SECOND);
    let mut ids = bench.delivered();
    bench.close();
    bench.run_to_end();
    assert!(bench.is_stopped());
    ids.sort_unstable();
    ids
}

#[test]
fn what_a_stop_cannot_deliver_gets_one_more_attempt_is_moved_to_disk_and_comes_with_the_next_start() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| unavailable());
    let heard: Vec<_> = (0..5).map(|first| bench.send(first, 1)).collect();
    bench.pass(SECOND / 2);
    assert!(heard.iter().all(|heard| heard.outcome().is_ok()));
    assert_eq!(bench.attempts().len(), 2, "two consumers wait for their retries");
    bench.close();
    bench.settle();
    assert!(bench.is_stopped());
    assert_eq!(bench.attempts().len(), 7, "one more for those, one for each of the others");
    assert_eq!((bench.undelivered(), bench.counts(), bench.queue_size()), (0, [0; 4], 0));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0, 1, 2, 3, 4]);
    assert_eq!(found(directory.path(), in_memory()), [0; 0], "once");
}

#[test]
fn nothing_is_written_while_the_agent_runs_and_nothing_where_the_backend_takes_everything() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| slow(SECOND));
    (0..5).for_each(|first| drop(bench.send(first, 1)));
    bench.settle();
    let files = || fs::read_dir(directory.path().join(QUEUE)).expect("a queue").count();
    let before = files();
    bench.pass(SECOND);
    bench.close();
    bench.run_to_end();
    assert_eq!((bench.delivered().len(), files()), (5, before));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0; 0]);
}

#[test]
fn what_is_under_way_or_waits_at_the_last_call_is_moved_without_an_attempt() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| Reply::Hang);
    (0..5).for_each(|first| drop(bench.send(first, 2)));
    bench.settle();
    bench.close();
    bench.pass(5 * SECOND);
    assert!(!bench.is_stopped(), "two attempts hang");
    bench.last_call();
    bench.settle();
    assert!(bench.is_stopped());
    assert_eq!((bench.attempts().len(), bench.undelivered(), bench.counts()), (2, 0, [0; 4]));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()).len(), 10);
}

#[test]
fn it_is_the_queue_that_the_exporter_has_when_it_names_the_storage() {
    let directory = tempfile::tempdir().expect("a folder");
    left_behind(directory.path(), 3);
    assert_eq!(found(directory.path(), on_disk()), [0, 1, 2]);

    let mut bench = Bench::on_disk(directory.path(), settings(on_disk()), |_, _| unavailable());
    drop(bench.send(7, 1));
    bench.settle();
    bench.close();
    bench.run_to_end();
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [7]);
}

#[test]
fn what_was_left_is_tried_beside_what_is_new_and_stays_when_this_agent_ends_too() {
    let directory = tempfile::tempdir().expect("a folder");
    left_behind(directory.path(), 3);
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, payload| {
        if weir_testkit::ids(payload) == [1] { Reply::Accept } else { unavailable() }
    });
    drop(bench.send(10, 1));
    bench.pass(10 * SECOND);
    let tried = bench.tried();
    assert!([0, 1, 2, 10].iter().all(|id| tried.contains(&vec![*id])), "{tried:?}");
    assert_eq!(bench.queue_size(), 1, "of what is in memory");
    bench.close();
    bench.settle();
    assert!(bench.is_stopped());
    assert_eq!((bench.undelivered(), bench.counts()), (0, [1, 0, 0, 0]));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0, 2, 10]);
}

#[test]
fn a_successor_after_a_reload_has_what_was_left() {
    let directory = tempfile::tempdir().expect("a folder");
    left_behind(directory.path(), 3);
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| unavailable());
    bench.pass(SECOND / 2);
    let successor = bench.open_beside("test/e", &settings(in_memory())).expect("opens");
    bench.simulation.spawn(successor.work);
    bench.retire();
    bench.pass(10 * SECOND);
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert_eq!(delivered, [0, 1, 2]);
}

#[test]
fn what_the_destination_refuses_for_good_is_not_moved() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| {
        Reply::After(SECOND, Box::new(Reply::Fail(Failure::permanent("no"))))
    });
    drop(bench.send(0, 1));
    bench.settle();
    bench.close();
    bench.run_to_end();
    assert_eq!((bench.undelivered(), bench.counts()), (0, [0, 1, 0, 0]));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0; 0]);
}

#[test]
fn what_the_disk_does_not_take_is_lost_counted_and_said_with_both_reasons() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| unavailable());
    drop(bench.send(0, 3));
    bench.settle();
    let queue = directory.path().join(QUEUE);
    fs::remove_dir_all(&queue).expect("removed");
    fs::write(&queue, "in its place").expect("a file");
    let lines = logged(LevelFilter::ERROR, || {
        bench.close();
        bench.run_to_end();
    });
    assert!(bench.is_stopped());
    assert_eq!((bench.undelivered(), bench.counts()), (3, [0, 3, 0, 0]));
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert!(line.contains("unavailable") && line.contains("Dropping data"), "{line}");
    assert!(line.contains("cannot be kept on disk") && line.contains(QUEUE), "{line}");
}

#[test]
fn a_storage_that_cannot_be_used_is_said_at_the_start_and_the_exporter_works_without() {
    let directory = tempfile::tempdir().expect("a folder");
    fs::write(directory.path().join(QUEUE), "of a Collector").expect("a file");
    let mut bench = None;
    let lines = logged(LevelFilter::WARN, || {
        bench = Some(Bench::on_disk(directory.path(), settings(in_memory()), |_, payload| {
            if weir_testkit::ids(payload) == [0] { Reply::Accept } else { unavailable() }
        }));
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert!(line.contains("What a stop cannot deliver will be lost") && line.contains(QUEUE), "{line}");
    let mut bench = bench.expect("opened");
    drop([bench.send(0, 1), bench.send(10, 2)]);
    bench.settle();
    bench.close();
    bench.run_to_end();
    assert!(bench.is_stopped());
    assert_eq!((bench.delivered(), bench.undelivered()), (vec![0], 2));
}

#[test]
fn what_was_left_and_what_is_new_go_out_by_as_many_consumers_as_the_queue_has() {
    let directory = tempfile::tempdir().expect("a folder");
    left_behind(directory.path(), 4);
    let queue = QueueSettings { num_consumers: 1, ..in_memory() };
    let bench = Bench::on_disk(directory.path(), settings(queue), |_, _| slow(SECOND));
    (10..14).for_each(|first| drop(bench.send(first, 1)));
    bench.pass(20 * SECOND);
    assert_eq!((bench.delivered().len(), bench.peak()), (8, 1));
}

#[test]
fn attempts_are_not_broken_off_where_nothing_can_be_moved() {
    let directory = tempfile::tempdir().expect("a folder");
    fs::write(directory.path().join(QUEUE), "of a Collector").expect("a file");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| slow(5 * SECOND));
    drop(bench.send(0, 1));
    bench.settle();
    bench.close();
    bench.last_call();
    bench.run_to_end();
    assert_eq!((bench.delivered(), bench.undelivered()), (vec![0], 0));
}

/// A storage on a disk that takes that long for each record, and for those that come together once.
struct Slow(Arc<dyn Storage>, Clock);

struct SlowQueue(Arc<dyn DurableQueue>, Clock);

#[async_trait]
impl Storage for Slow {
    async fn open_queue(&self, name: &str) -> Result<Arc<dyn DurableQueue>, Failure> {
        Ok(Arc::new(SlowQueue(self.0.open_queue(name).await?, self.1.clone())))
    }
}

#[async_trait]
impl DurableQueue for SlowQueue {
    async fn append(&self, record: Record, capacity: Capacity) -> Result<(), Refused> {
        self.1.sleep(SECOND / 10).await;
        self.0.append(record, capacity).await
    }

    async fn room(&self) {
        self.0.room().await;
    }

    async fn take(&self) -> Option<Taken> {
        self.0.take().await
    }

    fn done(&self, receivable: Receivable) {
        self.0.done(receivable);
    }

    fn keep(&self, taken: Taken) {
        self.0.keep(taken);
    }

    async fn save(&self) {
        self.0.save().await;
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn backlog(&self) -> Backlog {
        self.0.backlog()
    }

    fn close(&self) {
        self.0.close();
    }
}

#[test]
fn after_the_last_call_everything_shares_the_syncs_of_the_disk_whatever_the_consumers() {
    let directory = tempfile::tempdir().expect("a folder");
    let queue = QueueSettings { num_consumers: 1, ..in_memory() };
    let mut bench = Bench::on_storage(
        directory.path(),
        |storage, clock| Arc::new(Slow(storage, clock)),
        settings(queue),
        |_, _| Reply::Hang,
    );
    (0..300).for_each(|first| drop(bench.send(first, 1)));
    bench.settle();
    bench.close();
    bench.last_call();
    let begun = bench.clock.now();
    bench.run_to_end();
    assert!(bench.is_stopped() && bench.undelivered() == 0);
    assert!(bench.clock.now() - begun < SECOND / 2, "{:?}", bench.clock.now() - begun);
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()).len(), 300);
}
