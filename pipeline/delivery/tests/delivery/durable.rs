//! A queue on disk: when its senders hear success, and what the next owner finds in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use weir_component::{
    BatchSettings, DeliverySettings, Failure, Kind, QueueSettings, RetrySettings, Sizer, Storage,
};
use weir_pdata::otlp::kv;
use weir_pdata::{Payload, Signal};
use weir_testkit::{Reply, logged, payload};

use crate::hooked::{Hook, Hooked};
use crate::support::{Bench, SECOND, STORAGE, exact_retries, slow, with_queue};

fn stored() -> QueueSettings {
    QueueSettings { storage: Some(STORAGE.to_owned()), num_consumers: 1, ..QueueSettings::default() }
}

fn settings(queue: QueueSettings) -> DeliverySettings {
    DeliverySettings { retry: Some(exact_retries()), ..with_queue(queue) }
}

fn unavailable() -> Reply {
    Reply::Fail(Failure::retry("unavailable"))
}

/// What an agent that starts later delivers from the queue.
fn left(directory: &Path) -> Vec<i64> {
    let mut bench = Bench::on_disk(directory, settings(stored()), |_, _| Reply::Accept);
    bench.settle();
    bench.close();
    bench.run_to_end();
    let mut ids = bench.delivered();
    ids.sort_unstable();
    ids
}

#[test]
fn a_sender_hears_success_when_its_batch_is_on_disk_and_the_room_comes_back_when_it_is_delivered() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(stored()), |_, _| slow(10 * SECOND));
    let heard = [bench.send(0, 3), bench.send(10, 2)];
    bench.settle();
    assert!(heard.iter().all(|h| h.outcome().is_ok() && h.after() == Some(0.0)));
    assert_eq!(bench.queue_size(), 2);
    bench.run_to_end();
    assert_eq!((bench.queue_size(), bench.counts()), (0, [5, 0, 0, 0]));
    bench.close();
    bench.run_to_end();
    drop(bench);
    assert_eq!(left(directory.path()), [0; 0]);
}

/// A payload of one record that takes a mebibyte.
fn large(id: i64) -> Payload {
    let mut request = payload(Signal::Logs, id, 1).decode_logs();
    let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
    record.attributes.push(kv("padding", "x".repeat(1 << 20)));
    request.into()
}

#[test]
fn of_a_large_backlog_only_so_much_is_taken_as_memory_has_room_for_however_large_batches_may_become() {
    const ROOM: usize = 16 << 20;
    for (room, num_consumers) in [(ROOM, 1), (ROOM, 10), (0, 10)] {
        let directory = tempfile::tempdir().expect("a folder");
        let batch = BatchSettings { min_size: 8192, flush_timeout: 60 * SECOND, ..BatchSettings::default() };
        let queue = QueueSettings { batch: Some(batch), num_consumers, ..stored() };
        // The first answers take a minute.
        let script =
            move |n: usize, _: &Payload| if n < num_consumers { slow(60 * SECOND) } else { Reply::Accept };
        let mut bench = Bench::on_disk(directory.path(), settings(queue), script);
        bench.budget().set_limit(room);
        for id in 0..40 {
            let heard = bench.send_payload(large(id));
            bench.settle();
            heard.outcome().expect("the disk has room");
            // Half of it is for those who come in, and there is always room for a batch of the usual size.
            assert!(
                bench.budget().held() <= (room / 2).max(4 << 20) + (2 << 20),
                "{}",
                bench.budget().held()
            );
        }
        bench.pass(61 * SECOND);
        let largest = bench.tried().iter().map(Vec::len).max().expect("tried");
        assert!((4..=10).contains(&largest), "{largest} in a batch");
        bench.close();
        bench.run_to_end();
        let mut all = bench.delivered();
        drop(bench);
        all.extend(left(directory.path()));
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>(), "each once");
    }
}

#[test]
fn of_batches_that_are_merged_and_cut_an_end_keeps_only_the_requests_that_are_not_delivered() {
    let directory = tempfile::tempdir().expect("a folder");
    let batch = BatchSettings { min_size: 10, max_size: 10, ..BatchSettings::default() };
    let queue = QueueSettings { batch: Some(batch), ..stored() };
    let mut bench = Bench::on_disk(directory.path(), settings(queue), |_, _| Reply::Accept);
    for first in (0..63).step_by(7) {
        bench.send(first, 7);
        bench.settle();
    }
    bench.close();
    bench.run_to_end();
    assert_eq!(bench.delivered(), (0..60).collect::<Vec<_>>());
    drop(bench);
    assert_eq!(left(directory.path()), (56..63).collect::<Vec<_>>(), "the last request, which was cut");
}

#[test]
fn a_full_queue_refuses_at_once_and_one_that_blocks_has_its_senders_wait() {
    for block_on_overflow in [false, true] {
        let directory = tempfile::tempdir().expect("a folder");
        let queue = QueueSettings { queue_size: 2, block_on_overflow, ..stored() };
        let bench = Bench::on_disk(directory.path(), settings(queue), |_, _| slow(SECOND));
        let mut heard = Vec::new();
        let lines = logged(LevelFilter::WARN, || {
            heard.extend((0..3).map(|i| bench.send(10 * i, 1)));
            bench.run_to_end();
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        let said =
            if block_on_overflow { "Sending queue is full." } else { "Exporting failed. Rejecting data." };
        assert!(line.contains(said), "{line}");
        let refused: Vec<_> = heard.iter().filter_map(|h| h.outcome().err()).collect();
        assert_eq!(refused.len(), usize::from(!block_on_overflow));
        assert!(
            refused.iter().all(|f| f.kind() == Kind::Retry(None) && f.message() == "sending queue is full")
        );
        let waited = heard.iter().filter(|h| h.after() == Some(1.0)).count();
        assert_eq!(waited, usize::from(block_on_overflow));
    }
}

#[test]
fn a_request_whose_record_is_larger_than_the_whole_queue_is_refused_for_good_and_one_that_fills_it_fits() {
    /// Beside the request, the record of a sender of whom nothing is known.
    const HEAD: usize = 6;
    let request = payload(Signal::Logs, 0, 11);
    let size = request.encoded_len();
    for block_on_overflow in [false, true] {
        for queue_size in [size - 1, size, size + HEAD - 1, size + HEAD] {
            let directory = tempfile::tempdir().expect("a folder");
            let queue = QueueSettings { queue_size, sizer: Sizer::Bytes, block_on_overflow, ..stored() };
            let bench = Bench::on_disk(directory.path(), settings(queue), |_, _| Reply::Accept);
            let heard = bench.send_payload(request.clone());
            bench.run_to_end();
            if queue_size == size + HEAD {
                assert!(heard.outcome().is_ok());
            } else {
                let (kind, text) = heard.failure();
                assert_eq!(kind, Kind::Permanent, "{queue_size} for {size}: {text}");
                let counted = format!("11 items in {} bytes on disk", size + HEAD);
                assert!(
                    text.contains(&counted) && text.contains(&format!("queue_size {queue_size}")),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn an_end_keeps_what_is_not_delivered_without_a_wait_and_counts_nothing_as_lost() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(stored()), |_, _| unavailable());
    for first in [0, 10, 20] {
        bench.send(first, 1);
    }
    bench.pass(10 * SECOND);
    let tried = bench.attempts().len();
    bench.close();
    bench.settle();
    assert!(bench.is_stopped());
    assert_eq!((bench.attempts().len(), bench.undelivered(), bench.counts()), (tried, 0, [0; 4]));
    drop(bench);
    assert_eq!(left(directory.path()), [0, 10, 20]);
    assert_eq!(left(directory.path()), [0; 0]);
}

#[test]
fn an_attempt_that_ends_after_the_end_is_not_said_to_be_followed_by_another_one() {
    let directory = tempfile::tempdir().expect("a folder");
    let late = |_: usize, _: &Payload| Reply::After(SECOND, Box::new(unavailable()));
    let mut bench = Bench::on_disk(directory.path(), settings(stored()), late);
    let lines = logged(LevelFilter::INFO, || {
        bench.send(0, 1);
        bench.settle();
        bench.close();
        bench.run_to_end();
    });
    assert!(bench.is_stopped() && bench.attempts().len() == 1);
    assert!(!lines.iter().any(|line| line.contains("Will retry")), "{lines:?}");
    drop(bench);
    assert_eq!(left(directory.path()), [0]);
}

#[test]
fn at_the_end_a_sender_that_waits_for_room_is_refused_and_what_is_on_disk_stays() {
    let directory = tempfile::tempdir().expect("a folder");
    let queue = QueueSettings { queue_size: 1, block_on_overflow: true, ..stored() };
    let mut bench = Bench::on_disk(directory.path(), settings(queue), |_, _| unavailable());
    let first = bench.send(0, 1);
    bench.settle();
    let second = bench.send(10, 1);
    bench.pass(10 * SECOND);
    assert!(first.outcome().is_ok() && second.is_open());
    bench.close();
    bench.settle();
    assert!(second.outcome().expect_err("refused").is_retryable());
    assert!(bench.is_stopped());
    drop((bench, second));
    assert_eq!(left(directory.path()), [0]);
}

#[test]
fn what_was_under_way_when_the_dispatcher_is_dropped_comes_again() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::on_disk(directory.path(), settings(stored()), |_, _| Reply::Hang);
    bench.send(0, 2);
    bench.pass(SECOND);
    bench.close();
    bench.abort();
    bench.run_to_end();
    assert_eq!(bench.undelivered(), 0);
    drop(bench);
    assert_eq!(left(directory.path()), [0, 1]);
}

#[test]
fn what_is_given_up_does_not_come_again() {
    let directory = tempfile::tempdir().expect("a folder");
    let retry = Some(RetrySettings { max_elapsed_time: 5 * SECOND, ..exact_retries() });
    let mut bench =
        Bench::on_disk(directory.path(), DeliverySettings { retry, ..settings(stored()) }, |n, _| {
            if n == 0 { Reply::Fail(Failure::permanent("no")) } else { unavailable() }
        });
    bench.send(0, 1);
    bench.settle();
    bench.send(10, 1);
    bench.run_to_end();
    assert_eq!(bench.counts(), [0, 2, 0, 0]);
    bench.close();
    bench.run_to_end();
    drop(bench);
    assert_eq!(left(directory.path()), [0; 0]);
}

#[test]
fn a_record_that_was_split_is_done_when_its_last_part_is() {
    let directory = tempfile::tempdir().expect("a folder");
    let batch = BatchSettings { min_size: 0, max_size: 2, ..BatchSettings::default() };
    let queue = QueueSettings { batch: Some(batch), ..stored() };
    let mut bench =
        Bench::on_disk(
            directory.path(),
            settings(queue),
            |n, _| {
                if n == 0 { Reply::Accept } else { Reply::Hang }
            },
        );
    bench.send_payload(payload(Signal::Logs, 0, 5));
    bench.pass(SECOND);
    bench.close();
    bench.abort();
    bench.run_to_end();
    assert_eq!(bench.delivered(), [0, 1]);
    drop(bench);
    assert_eq!(left(directory.path()), [0, 1, 2, 3, 4]);
}

#[test]
fn records_that_were_put_together_are_all_done_when_the_batch_is() {
    let directory = tempfile::tempdir().expect("a folder");
    let batch =
        BatchSettings { min_size: 3, flush_timeout: Duration::from_secs(60), ..BatchSettings::default() };
    let queue = QueueSettings { batch: Some(batch), ..stored() };
    let mut bench = Bench::on_disk(directory.path(), settings(queue), |_, _| Reply::Accept);
    for first in 0..4 {
        bench.send(first, 1);
        bench.settle();
    }
    assert_eq!((bench.delivered(), bench.queue_size()), (vec![0, 1, 2], 1));
    bench.close();
    bench.run_to_end();
    drop(bench);
    assert_eq!(left(directory.path()), [3], "what was forming is kept");
}

#[test]
fn two_exporters_whose_ids_make_one_name_do_not_share_a_queue_whatever_storage_they_name_it_by() {
    let directory = tempfile::tempdir().expect("a folder");
    let settings = settings(stored());
    let bench = Bench::on_disk(directory.path(), settings.clone(), |_, _| Reply::Accept);
    bench.offer_storage("file_storage/other", directory.path());
    let other = QueueSettings {
        storage: Some("file_storage/other".to_owned()),
        ..settings.queue.clone().expect("one")
    };
    let other = DeliverySettings { queue: Some(other), ..settings.clone() };
    let first = bench.open_beside("otlp/http_eu", &settings).expect("opens");
    for settings in [&settings, &other] {
        let refused = bench.open_beside("otlp_http/eu", settings).err().expect("refused");
        let text = refused.to_string();
        assert!(!refused.is_retryable() && text.contains("\"otlp/http_eu\" has the queue"), "{text}");
        assert!(text.contains(&directory.path().display().to_string()), "{text}");
    }
    let successor = bench.open_beside("otlp/http_eu", &other).expect("a successor shares it");
    drop(first);
    bench.open_beside("otlp_http/eu", &settings).err().expect("the successor has it still");
    drop(successor);
    bench.open_beside("otlp_http/eu", &settings).expect("it is free");
}

/// There is room in the moment when somebody begins to wait for it, once for each record.
struct Eager(AtomicBool);

impl Hook for Eager {
    fn appended(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn has_room(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

#[test]
fn room_that_is_there_when_a_sender_begins_to_wait_is_taken_and_waited_for_again() {
    let directory = tempfile::tempdir().expect("a folder");
    let queue = QueueSettings { queue_size: 1, block_on_overflow: true, ..stored() };
    let eager = |storage, _| -> Arc<dyn Storage> {
        Arc::new(Hooked(storage, Arc::new(Eager(AtomicBool::new(true)))))
    };
    let bench = Bench::on_storage(directory.path(), eager, settings(queue), |_, _| slow(SECOND));
    let heard = [bench.send(0, 1), bench.send(10, 1)];
    bench.run_to_end();
    assert!(heard.iter().all(|h| h.outcome().is_ok()));
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert_eq!(delivered, [0, 10]);
}
