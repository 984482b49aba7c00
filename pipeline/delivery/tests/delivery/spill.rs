//! What a stop leaves in a queue in memory goes to disk where a storage runs, and the next start delivers it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tracing::level_filters::LevelFilter;
use weir_component::{
    Batch, BatchSettings, Clock, Consumer, DeliverySettings, Failure, QueueSettings, Runtime,
};
use weir_pdata::Signal;
use weir_testkit::{Reply, logged, payload};

use crate::hooked::{Hook, Hooked};
use crate::support::{Bench, SECOND, STORAGE, exact_retries, slow, with_queue};

/// Of the exporter's logs.
const QUEUE: &str = "exporter_test_e_logs";

fn in_memory() -> QueueSettings {
    QueueSettings { num_consumers: 2, ..QueueSettings::default() }
}

fn on_disk() -> QueueSettings {
    QueueSettings { storage: Some(STORAGE.to_owned()), ..in_memory() }
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
fn nothing_is_opened_or_written_where_the_backend_takes_everything() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| slow(SECOND));
    (0..5).for_each(|first| drop(bench.send(first, 1)));
    bench.settle();
    bench.close();
    bench.run_to_end();
    assert_eq!(bench.delivered().len(), 5);
    assert_eq!(fs::read_dir(directory.path()).expect("a folder").count(), 0);
}

/// Stops what hangs, and which only the last call ends.
fn hang_until_the_last_call(bench: &mut Bench) {
    bench.close();
    bench.pass(5 * SECOND);
    assert!(!bench.is_stopped(), "two attempts hang");
    bench.last_call();
    bench.settle();
    assert!(bench.is_stopped());
}

#[test]
fn what_is_under_way_or_waits_at_the_last_call_is_moved_without_an_attempt() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| Reply::Hang);
    (0..5).for_each(|first| drop(bench.send(first, 2)));
    bench.settle();
    hang_until_the_last_call(&mut bench);
    assert_eq!((bench.attempts().len(), bench.undelivered(), bench.counts()), (2, 0, [0; 4]));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()).len(), 10);
}

#[test]
fn what_forms_a_batch_is_moved_at_the_last_call_though_something_in_front_of_the_exporter_still_works() {
    let directory = tempfile::tempdir().expect("a folder");
    let batch = BatchSettings { min_size: 100, flush_timeout: 60 * SECOND, ..BatchSettings::default() };
    let queue = QueueSettings { batch: Some(batch), ..in_memory() };
    let bench = Bench::on_disk(directory.path(), settings(queue), |_, _| Reply::Accept);
    drop(bench.send(0, 5));
    bench.settle();
    bench.begin_end();
    bench.pass(5 * SECOND);
    assert_eq!(bench.attempts().len(), 0, "there is time for more to come");
    bench.last_call();
    bench.settle();
    bench.abort();
    bench.run_to_end();
    assert_eq!((bench.attempts().len(), bench.undelivered()), (0, 0));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0, 1, 2, 3, 4]);
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
    assert_eq!(bench.queue_size(), 3, "one is new, and two of the others are left");
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
fn a_successor_hears_when_its_predecessor_delivers_the_last_of_what_it_found() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(on_disk()), |n, _| match n {
        0 | 1 => slow(5 * SECOND),
        _ => Reply::Accept,
    });
    drop([bench.send(0, 1), bench.send(1, 1)]);
    bench.settle();
    let successor = bench.open_beside("test/e", &settings(in_memory())).expect("opens");
    bench.simulation.spawn(successor.work);
    bench.retire();
    bench.pass(SECOND);
    assert_eq!(bench.queue_size(), 2);
    bench.pass(5 * SECOND);
    assert_eq!((bench.delivered().len(), bench.queue_size()), (2, 0));
    let batch = Batch::unattended(payload(Signal::Logs, 10, 1));
    bench.simulation.run(async move { successor.consumer.consume(batch).await }).expect("taken");
    bench.settle();
    assert_eq!((bench.delivered().len(), bench.queue_size()), (3, 0));
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
fn what_the_storage_does_not_take_is_lost_counted_and_said_with_the_reason() {
    let directory = tempfile::tempdir().expect("a folder");
    fs::write(directory.path().join(QUEUE), "of a Collector").expect("a file");
    let mut bench = None;
    let lines = logged(LevelFilter::WARN, || {
        let mut made = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| unavailable());
        drop([made.send(0, 1), made.send(10, 2)]);
        made.settle();
        made.close();
        made.run_to_end();
        bench = Some(made);
    });
    let bench = bench.expect("made");
    assert!(bench.is_stopped());
    assert_eq!((bench.undelivered(), bench.counts()), (3, [0, 3, 0, 0]));
    let said = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        (said("cannot be moved to the storage"), said(&format!("{QUEUE} is a file"))),
        (1, 1),
        "{lines:?}"
    );
    assert_eq!(said("Dropping data"), 2, "{lines:?}");
}

#[test]
fn a_disk_that_fails_in_between_costs_what_it_does_not_take() {
    let directory = tempfile::tempdir().expect("a folder");
    let queue = directory.path().join(QUEUE);
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), move |n, _| {
        // The queue is open by then, and what comes to it has no place any more.
        if n == 5 {
            fs::remove_dir_all(&queue).expect("removed");
            fs::write(&queue, "in its place").expect("a file");
        }
        if n < 5 { unavailable() } else { Reply::After(SECOND, Box::new(unavailable())) }
    });
    (0..4).for_each(|first| drop(bench.send(first, 1)));
    bench.settle();
    let lines = logged(LevelFilter::ERROR, || {
        bench.close();
        bench.run_to_end();
    });
    assert!(bench.is_stopped());
    let lost = bench.undelivered();
    assert!(lost > 0 && bench.counts() == [0, lost as u64, 0, 0], "{lost} {lines:?}");
    let dropped: Vec<_> = lines.iter().filter(|line| line.contains("Dropping data")).collect();
    assert!(
        dropped.len() == lost && dropped.iter().all(|l| l.contains("cannot be kept on disk")),
        "{lines:?}"
    );
}

#[test]
fn a_storage_that_comes_by_a_reload_takes_what_is_in_memory_by_then() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(settings(in_memory()), |_, _| unavailable());
    (0..4).for_each(|first| drop(bench.send(first, 1)));
    bench.pass(SECOND / 2);
    bench.move_to(directory.path());
    bench.close();
    bench.run_to_end();
    assert_eq!((bench.undelivered(), bench.counts()), (0, [0; 4]));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0, 1, 2, 3]);
}

#[test]
fn a_storage_that_comes_by_a_reload_takes_what_has_been_under_way_since_before_at_the_last_call() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(settings(in_memory()), |_, _| Reply::Hang);
    (0..4).for_each(|first| drop(bench.send(first, 1)));
    bench.settle();
    bench.move_to(directory.path());
    hang_until_the_last_call(&mut bench);
    assert_eq!((bench.attempts().len(), bench.undelivered()), (2, 0));
    drop(bench);
    assert_eq!(found(directory.path(), in_memory()), [0, 1, 2, 3]);
}

#[test]
fn what_another_agent_still_has_is_looked_for_again_and_the_queue_is_free_once_it_is_delivered() {
    let directory = tempfile::tempdir().expect("a folder");
    left_behind(directory.path(), 3);
    let mut other = Bench::on_disk(directory.path(), settings(on_disk()), |_, _| unavailable());
    let mut bench = None;
    let lines = logged(LevelFilter::WARN, || {
        bench = Some(Bench::on_disk(directory.path(), settings(in_memory()), |_, _| Reply::Accept));
    });
    let said =
        lines.iter().any(|line| line.contains("an earlier stop has left") && line.contains("Will try again"));
    assert!(said, "{lines:?}");
    let mut bench = bench.expect("made");
    bench.pass(20 * SECOND);
    assert_eq!(bench.delivered(), [0; 0]);
    other.close();
    other.run_to_end();
    drop(other);
    bench.pass(20 * SECOND);
    assert_eq!((bench.delivered().len(), bench.queue_size()), (3, 0));
    assert_eq!(found(directory.path(), on_disk()), [0; 0], "it is nobody's any more");
    bench.close();
    bench.run_to_end();
    assert!(bench.is_stopped());
}

#[test]
fn what_was_left_and_hangs_is_broken_off_by_the_last_call_too() {
    let directory = tempfile::tempdir().expect("a folder");
    left_behind(directory.path(), 3);
    for queue in [in_memory(), on_disk()] {
        let mut bench = Bench::on_disk(directory.path(), settings(queue), |_, _| Reply::Hang);
        bench.settle();
        bench.close();
        bench.settle();
        assert!(!bench.is_stopped(), "two attempts hang");
        bench.last_call();
        bench.settle();
        assert!(bench.is_stopped() && bench.undelivered() == 0);
    }
    assert_eq!(found(directory.path(), in_memory()), [0, 1, 2]);
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

/// A disk that takes a tenth of a second for what comes together.
struct Slow(Clock);

#[async_trait]
impl Hook for Slow {
    async fn before_append(&self) {
        self.0.sleep(SECOND / 10).await;
    }
}

#[test]
fn after_the_last_call_everything_shares_the_syncs_of_the_disk_whatever_the_consumers() {
    let directory = tempfile::tempdir().expect("a folder");
    let queue = QueueSettings { num_consumers: 1, ..in_memory() };
    let mut bench = Bench::on_storage(
        directory.path(),
        |storage, clock| Arc::new(Hooked(storage, Arc::new(Slow(clock)))),
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

#[test]
fn an_exporter_whose_id_makes_the_same_name_has_no_others_leftovers_and_moves_nothing_to_its_queue() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(in_memory()), |_, _| Reply::Accept);
    let owner = bench.open_beside("otlp/http_eu", &settings(on_disk())).expect("opens");
    let give = |bench: &Bench, consumer: Arc<dyn Consumer>, first| {
        let batch = Batch::unattended(payload(Signal::Logs, first, 1));
        bench.simulation.run(async move { consumer.consume(batch).await }).expect("taken");
    };
    give(&bench, Arc::new(owner.consumer), 1);
    let mut other = None;
    let said = logged(LevelFilter::WARN, || {
        other = bench.open_beside("otlp_http/eu", &settings(in_memory())).ok();
    });
    let is_told = |said: &[String], what: &str| {
        said.iter().any(|line| line.contains(what) && line.contains("\"otlp/http_eu\" has the queue"))
    };
    assert!(is_told(&said, "an earlier stop has left"), "{said:?}");
    let other = other.expect("opens");
    give(&bench, Arc::new(other.consumer), 2);
    bench.close();
    bench.last_call();
    let said = logged(LevelFilter::WARN, || {
        bench.simulation.spawn(other.work);
        bench.run_to_end();
    });
    assert!(is_told(&said, "cannot be moved to the storage"), "{said:?}");
    assert_eq!(bench.lab.delivered("otlp_http/eu"), [2], "its own");
}
