//! Batching behind the queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_component::{
    Accepted, Batch, BatchSettings, Consumer, Context, DeliverySettings, Exporter, Failure, Kind,
    QueueSettings, Receipt, Runtime, Sizer, async_trait,
};
use weir_delivery::{Delivered, Ending, deliver};
use weir_pdata::otlp::{self, LogsRequest, kv};
use weir_pdata::{Payload, Signal};
use weir_testkit::{Reply, Simulation, payload};

use crate::support::{Bench, SECOND, STORAGE, slow, with_queue};

fn batching(batch: BatchSettings) -> QueueSettings {
    QueueSettings { batch: Some(batch), ..QueueSettings::default() }
}

fn items(min_size: usize, max_size: usize) -> BatchSettings {
    BatchSettings { min_size, max_size, ..BatchSettings::default() }
}

/// Sends batches of these sizes in order, with consecutive ids.
fn send_all(bench: &Bench, sizes: &[usize]) -> Vec<crate::support::Heard> {
    let mut first = 0;
    let send = |size: &usize| {
        let heard = bench.send(first, *size);
        first += *size as i64;
        bench.settle();
        heard
    };
    sizes.iter().map(send).collect()
}

#[test]
fn a_batch_leaves_as_soon_as_it_has_its_size() {
    let bench = Bench::new(with_queue(batching(items(10, 0))), |_, _| Reply::Accept);
    send_all(&bench, &[4, 4, 4, 9, 3]);
    assert_eq!(bench.tried(), [(0..12).collect::<Vec<_>>(), (12..24).collect()]);
    assert!(bench.deliveries().iter().all(|(at, _)| *at < 0.001), "long before the flush");
}

#[test]
fn what_is_too_small_leaves_after_the_flush_timeout_counted_from_its_first_part() {
    let bench = Bench::new(with_queue(batching(items(100, 0))), |_, _| Reply::Accept);
    bench.send(0, 1);
    for i in 1..4 {
        bench.pass(Duration::from_millis(60));
        bench.send(i, 1);
    }
    bench.run_to_end();
    assert_eq!(bench.deliveries(), [(0.2, vec![0, 1, 2, 3])]);
    bench.send(4, 1);
    bench.run_to_end();
    let (at, ids) = bench.deliveries().pop().expect("a second batch");
    assert_eq!((at, ids), (0.4, vec![4]), "the next one has its own time");
}

#[test]
fn nothing_larger_than_the_largest_size_leaves_and_what_is_left_over_waits_for_more() {
    let bench = Bench::new(with_queue(batching(items(10, 10))), |_, _| Reply::Accept);
    send_all(&bench, &[7, 7, 27]);
    let expected: Vec<Vec<i64>> =
        vec![(0..10).collect(), (10..20).collect(), (20..30).collect(), (30..40).collect()];
    assert_eq!(bench.tried(), expected, "the 4 left of the first 14 came before the 27");
    bench.run_to_end();
    assert_eq!(bench.tried().pop(), Some(vec![40]), "the last one is flushed");
    assert_eq!(bench.counts(), [41, 0, 0, 0]);
}

#[test]
fn a_request_above_the_largest_size_is_split_without_passing_the_bound_on_exports_under_way() {
    for consumers in [1, 3] {
        let queue = QueueSettings { num_consumers: consumers, ..batching(items(0, 5)) };
        let bench = Bench::new(with_queue(queue), |_, _| slow(SECOND));
        bench.send(0, 60);
        bench.run_to_end();
        assert_eq!(bench.peak(), consumers);
        assert_eq!(bench.tried().len(), 12);
        let mut delivered = bench.delivered();
        delivered.sort_unstable();
        assert_eq!(delivered, (0..60).collect::<Vec<_>>());
    }
}

#[test]
fn a_drain_sends_what_is_forming_at_once() {
    let batch = BatchSettings { flush_timeout: 3600 * SECOND, ..items(100, 3) };
    let mut bench = Bench::new(with_queue(batching(batch)), |_, _| Reply::Accept);
    send_all(&bench, &[2, 2, 3]);
    bench.close();
    bench.run_to_end();
    let attempts = bench.attempts();
    assert!(attempts.iter().all(|at| *at < 0.001), "{attempts:?}");
    assert_eq!(bench.tried(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert_eq!((bench.simulation.tasks(), bench.queue_size()), (0, 0));
}

#[test]
fn all_senders_of_a_merged_batch_hear_its_outcome() {
    let queue = QueueSettings { wait_for_result: true, ..batching(items(6, 0)) };
    let bench = Bench::new(with_queue(queue), |n, _| match n {
        0 => Reply::Fail(Failure::permanent("no")),
        _ => Reply::Accept,
    });
    let heard = send_all(&bench, &[2, 2, 2, 6]);
    bench.run_to_end();
    for heard in &heard[..3] {
        assert_eq!(heard.failure(), (Kind::Permanent, "no".to_owned()));
    }
    assert!(heard[3].outcome().is_ok());
    assert_eq!(bench.counts(), [6, 6, 0, 0]);
}

#[test]
fn the_sender_of_a_split_batch_hears_the_worst_outcome_when_the_last_part_is_done() {
    let (permanent, retry) = (Failure::permanent("no"), Failure::retry("later"));
    for failures in [[permanent.clone(), retry.clone()], [retry, permanent]] {
        let queue = QueueSettings { wait_for_result: true, num_consumers: 1, ..batching(items(0, 2)) };
        let bench = Bench::new(with_queue(queue), move |n, _| match failures.get(n) {
            Some(failure) => Reply::After(SECOND, Box::new(Reply::Fail(failure.clone()))),
            None => slow(SECOND),
        });
        let heard = bench.send(0, 6);
        bench.run_to_end();
        assert_eq!((heard.after(), heard.failure()), (Some(3.0), (Kind::Retry(None), "later".to_owned())));
        assert_eq!(bench.counts(), [2, 4, 0, 0]);
    }
}

#[test]
fn what_is_forming_takes_room_in_the_queue_until_it_is_delivered() {
    let queue = QueueSettings { queue_size: 3, ..batching(items(100, 0)) };
    let bench = Bench::new(with_queue(queue), |_, _| slow(2 * SECOND));
    let heard = send_all(&bench, &[1, 1, 1, 1]);
    assert_eq!(heard.iter().filter(|h| h.outcome().is_ok()).count(), 3);
    assert_eq!(bench.queue_size(), 3);
    bench.pass(SECOND);
    assert_eq!(bench.queue_size(), 3, "it is being exported");
    bench.run_to_end();
    assert_eq!((bench.queue_size(), bench.counts()), (0, [3, 0, 1, 0]));
}

#[test]
fn a_request_is_over_when_its_last_item_is_delivered_whatever_it_was_merged_with_and_however_it_was_cut() {
    for (min_size, max_size) in [(10, 10), (10, 15), (3, 20), (1, 5)] {
        let in_memory = QueueSettings { wait_for_result: true, ..batching(items(min_size, max_size)) };
        let on_disk =
            QueueSettings { wait_for_result: false, storage: Some(STORAGE.to_owned()), ..in_memory.clone() };
        for queue in [in_memory, on_disk] {
            let (waits, directory) = (queue.wait_for_result, tempfile::tempdir().expect("a folder"));
            let bench = Bench::on_disk(directory.path(), with_queue(queue), |_, _| Reply::Accept);
            let (mut ends, mut heard) = (Vec::new(), Vec::new());
            for n in 0..60 {
                let (first, size) =
                    (ends.last().copied().unwrap_or(0), [7, 1, 4, 32, 9][n % 5] + n as i64 % 3);
                heard.push(bench.send(first, size as usize));
                ends.push(first + size);
                bench.settle();
                let delivered = bench.delivered().len() as i64;
                let open: Vec<bool> = ends.iter().map(|end| *end > delivered).collect();
                assert_eq!(
                    bench.queue_size(),
                    open.iter().filter(|open| **open).count() as u64,
                    "{min_size} to {max_size}, on disk: {}, {delivered} of {ends:?}",
                    !waits
                );
                if waits {
                    assert_eq!(heard.iter().map(crate::support::Heard::is_open).collect::<Vec<_>>(), open);
                }
            }
            bench.run_to_end();
            assert_eq!(bench.delivered(), (0..*ends.last().expect("sent")).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_batches_are_cut_into_is_in_the_budget_as_long_as_it_is_there() {
    let queue = QueueSettings { num_consumers: 1, ..batching(items(0, 2)) };
    let bench = Bench::new(with_queue(queue), |_, _| Reply::Hang);
    let payload = payload(Signal::Logs, 0, 100);
    let size = payload.encoded_len();
    bench.send_payload(payload);
    bench.settle();
    assert!(bench.budget().held() > size, "{} of {size}: each part has a resource", bench.budget().held());
    bench.abort();
    bench.run_to_end();
    assert_eq!(bench.budget().held(), 0);
}

#[test]
fn a_queue_that_lacks_room_sends_what_is_forming_at_once() {
    let queue = QueueSettings { queue_size: 3, ..batching(items(100, 0)) };
    let bench = Bench::new(with_queue(queue), |_, _| Reply::Accept);
    for first in 0..3 {
        bench.send(first, 1);
    }
    bench.settle();
    let (at, mut ids) = bench.deliveries().pop().expect("delivered");
    ids.sort_unstable();
    assert!(at < 1e-6, "{at} s, long before the timeout");
    assert_eq!(ids, [0, 1, 2]);
}

#[test]
fn what_is_forming_goes_at_once_too_when_a_request_does_not_fit_beside_it() {
    let directory = tempfile::tempdir().expect("a folder");
    let forming = BatchSettings { flush_timeout: 60 * SECOND, ..items(100, 0) };
    let in_memory = QueueSettings { queue_size: 10, sizer: Sizer::Items, ..batching(forming) };
    let on_disk = QueueSettings { storage: Some(STORAGE.to_owned()), ..in_memory.clone() };
    for queue in [in_memory, on_disk] {
        let bench = Bench::on_disk(directory.path(), with_queue(queue), |_, _| Reply::Accept);
        assert!(send_all(&bench, &[8])[0].outcome().is_ok());
        bench.pass(SECOND);
        assert_eq!(bench.delivered(), [0; 0], "it forms");
        let refused = bench.send(100, 5);
        bench.settle();
        assert!(refused.failure().1.contains("sending queue is full"));
        assert_eq!((bench.delivered().len(), bench.queue_size()), (8, 0));
        let again = bench.send(100, 5);
        bench.settle();
        assert!(again.outcome().is_ok());
    }
}

#[test]
fn a_full_queue_makes_whole_batches_of_what_stands_in_it_though_its_senders_lack_room() {
    let in_memory =
        QueueSettings { queue_size: 100, num_consumers: 1, sizer: Sizer::Requests, ..batching(items(50, 0)) };
    let on_disk = QueueSettings { storage: Some(STORAGE.to_owned()), ..in_memory.clone() };
    // Without room to read ahead each record is read by itself.
    for (queue, room) in [(in_memory, usize::MAX), (on_disk.clone(), usize::MAX), (on_disk, 0)] {
        let directory = tempfile::tempdir().expect("a folder");
        let bench = Bench::on_disk(directory.path(), with_queue(queue), |_, _| slow(SECOND / 5));
        bench.budget().set_limit(room);
        for id in 0..2000 {
            bench.send(id, 1);
            bench.pass(SECOND / 1000);
        }
        let sizes: Vec<usize> = bench.tried().iter().map(Vec::len).collect();
        assert!(bench.counts()[2] > 1000, "it was overloaded: {:?}", bench.counts());
        assert!(sizes.len() >= 9 && sizes.iter().all(|size| *size >= 50), "{sizes:?}");
    }
}

#[test]
fn senders_that_wait_for_room_get_it_though_what_forms_is_small_and_of_several_partitions() {
    let batch = BatchSettings {
        flush_timeout: 3600 * SECOND,
        metadata_keys: vec!["tenant".to_owned()],
        ..items(100, 0)
    };
    let in_memory = QueueSettings { queue_size: 3, block_on_overflow: true, ..batching(batch) };
    let on_disk = QueueSettings { storage: Some(STORAGE.to_owned()), ..in_memory.clone() };
    for queue in [in_memory, on_disk] {
        let directory = tempfile::tempdir().expect("a folder");
        let bench = Bench::on_disk(directory.path(), with_queue(queue), |_, _| slow(SECOND));
        for id in 0..21 {
            let metadata = vec![("tenant".to_owned(), vec![(id % 4).to_string()])];
            bench.send_from(Context { metadata, ..Context::default() }, payload(Signal::Logs, id, 1));
        }
        bench.pass(60 * SECOND);
        assert_eq!(bench.delivered().len(), 21);
    }
}

#[test]
fn what_is_due_goes_though_there_is_always_more_of_others_to_take() {
    let batch = BatchSettings { metadata_keys: vec!["tenant".to_owned()], ..items(20, 0) };
    let in_memory = QueueSettings { queue_size: 100, num_consumers: 1, ..batching(batch) };
    let on_disk = QueueSettings { storage: Some(STORAGE.to_owned()), ..in_memory.clone() };
    for queue in [in_memory, on_disk] {
        let directory = tempfile::tempdir().expect("a folder");
        let bench = Bench::on_disk(directory.path(), with_queue(queue), |_, _| slow(SECOND / 5));
        let send = |id: i64, tenant: &str| {
            let metadata = vec![("tenant".to_owned(), vec![tenant.to_owned()])];
            bench.send_from(Context { metadata, ..Context::default() }, payload(Signal::Logs, id, 1));
            bench.pass(SECOND / 1000);
        };
        (0..30).for_each(|id| send(id, "large"));
        send(-1, "small");
        (30..2000).for_each(|id| send(id, "large"));
        assert!(bench.counts()[2] > 1000, "it was overloaded: {:?}", bench.counts());
        let came = bench.deliveries().into_iter().find(|(_, ids)| ids == &[-1]);
        assert!(came.as_ref().is_some_and(|(at, _)| *at < 1.2), "{came:?}");
    }
}

#[test]
fn only_batches_whose_metadata_agree_in_the_keys_go_together() {
    let settings = BatchSettings { metadata_keys: vec!["Tenant".to_owned()], ..items(4, 0) };
    let bench = Bench::new(with_queue(batching(settings)), |_, _| Reply::Accept);
    for (first, tenant) in [(0, "a"), (1, "b"), (2, "a"), (3, "b")] {
        let metadata = vec![("tenant".to_owned(), vec![tenant.to_owned()])];
        bench.send_from(Context { metadata, ..Context::default() }, payload(Signal::Logs, 10 * first, 2));
        bench.settle();
    }
    let sent: Vec<_> = bench.deliveries().into_iter().map(|(_, ids)| ids).collect();
    assert_eq!(sent, [[0, 1, 20, 21], [10, 11, 30, 31]]);
}

/// A request of one record for each of these sizes in bytes.
fn records(sizes: &[usize]) -> Payload {
    let record = |(id, size): (usize, &usize)| otlp::logs::v1::LogRecord {
        attributes: vec![kv("id", id as i64), kv("fill", "x".repeat(*size))],
        ..Default::default()
    };
    let log_records = sizes.iter().enumerate().map(record).collect();
    let scope_logs = vec![otlp::logs::v1::ScopeLogs { log_records, ..Default::default() }];
    let resource_logs = vec![otlp::logs::v1::ResourceLogs { scope_logs, ..Default::default() }];
    LogsRequest { resource_logs }.into()
}

#[test]
fn sizes_in_bytes_hold_for_items_of_any_size_and_only_an_item_larger_than_the_limit_goes_alone() {
    let batch =
        BatchSettings { min_size: 0, max_size: 1000, sizer: Sizer::Bytes, ..BatchSettings::default() };
    let lab_sizes: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
    let seen = Arc::clone(&lab_sizes);
    let bench = Bench::new(with_queue(batching(batch)), move |_, payload| {
        seen.lock().expect("not poisoned").push((payload.encoded_len(), payload.items()));
        Reply::Accept
    });
    // Large ones in front, so that the mean of the whole says little about the first part.
    let sizes: Vec<usize> = [400; 8].into_iter().chain([5; 100]).chain([3000]).chain([5; 20]).collect();
    let heard = bench.send_payload(records(&sizes));
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
    let parts = lab_sizes.lock().expect("not poisoned").clone();
    for (bytes, items) in &parts {
        assert!(*bytes <= 1000 || *items == 1, "{items} items in {bytes} bytes");
    }
    assert_eq!(parts.iter().filter(|(bytes, _)| *bytes > 1000).count(), 1, "{parts:?}");
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert_eq!(delivered, (0..sizes.len() as i64).collect::<Vec<_>>());
}

#[test]
fn a_smallest_size_in_bytes_counts_bytes() {
    let bytes = payload(Signal::Logs, 0, 1).encoded_len();
    let batch =
        BatchSettings { min_size: 3 * bytes, max_size: 0, sizer: Sizer::Bytes, ..BatchSettings::default() };
    let bench = Bench::new(with_queue(batching(batch)), |_, _| Reply::Accept);
    send_all(&bench, &[1, 1]);
    assert_eq!(bench.tried().len(), 0);
    send_all(&bench, &[1]);
    assert_eq!(bench.tried().len(), 1);
}

/// Notes from which transport each export says it came.
struct Transports(Mutex<Vec<&'static str>>);

#[async_trait]
impl Exporter for Transports {
    async fn export(&self, _: &Payload, context: &Context) -> Result<Accepted, Failure> {
        self.0.lock().expect("not poisoned").push(context.transport);
        Ok(Accepted::default())
    }
}

#[test]
fn what_is_known_of_the_senders_of_a_merged_batch_is_only_said_where_they_agree() {
    let simulation = Simulation::new(1);
    let exporter = Arc::new(Transports(Mutex::default()));
    let settings: DeliverySettings = with_queue(batching(items(2, 0)));
    let host = weir_testkit::host(&simulation);
    let clock = simulation.clock();
    let sending = Arc::clone(&exporter);
    let Delivered { consumer: delivery, work, opening } =
        deliver("test/e", Signal::Logs, sending, &settings, clock, &host, &Ending::default());
    simulation.run(async move { opening.open().await }).expect("opens").expect("no failure");
    simulation.spawn(work);
    simulation.run(async move {
        for transport in ["grpc", "grpc", "grpc", "http"] {
            let context = Arc::new(Context { transport, ..Context::default() });
            let payload = payload(Signal::Logs, 0, 1);
            delivery.consume(Batch { payload, receipt: Receipt::unattended(), context }).await;
        }
    });
    simulation.run_to_end();
    assert_eq!(*exporter.0.lock().expect("not poisoned"), ["grpc", ""]);
}
