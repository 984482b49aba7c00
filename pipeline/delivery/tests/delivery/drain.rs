//! How a delivery ends: by draining, at a deadline, by a panic.

use weir_component::{DeliverySettings, Failure, Kind, QueueSettings, RetrySettings};
use weir_testkit::Reply;

use crate::support::{Bench, SECOND, bare, exact_retries, queued, slow, with_queue};

fn unavailable() -> Reply {
    Reply::Fail(Failure::retry("unavailable"))
}

fn waiting_queue(num_consumers: usize) -> QueueSettings {
    QueueSettings { wait_for_result: true, num_consumers, ..QueueSettings::default() }
}

fn retrying_hourly(queue: QueueSettings) -> DeliverySettings {
    let hour = 3600 * SECOND;
    let retry = RetrySettings { initial_interval: hour, max_interval: hour, ..exact_retries() };
    DeliverySettings { retry: Some(retry), ..with_queue(queue) }
}

#[test]
fn the_drain_ends_a_wait_for_a_retry_and_leaves_one_more_attempt() {
    for (second_attempt_works, expected) in [(false, [0, 1, 0, 0]), (true, [1, 0, 0, 0])] {
        let mut bench = Bench::new(retrying_hourly(waiting_queue(1)), move |n, _| {
            if n == 1 && second_attempt_works { Reply::Accept } else { unavailable() }
        });
        let heard = bench.send(0, 1);
        bench.pass(10 * SECOND);
        bench.close();
        bench.run_to_end();
        assert_eq!(bench.attempts(), [0.0, 10.0]);
        assert_eq!(heard.outcome().is_ok(), second_attempt_works);
        assert_eq!(bench.counts(), expected);
        assert_eq!(bench.simulation.tasks(), 0);
    }
}

#[test]
fn an_attempt_under_way_when_the_drain_begins_is_followed_by_one_more_at_once() {
    let mut bench = Bench::new(retrying_hourly(waiting_queue(1)), |_, _| {
        Reply::After(20 * SECOND, Box::new(unavailable()))
    });
    let heard = bench.send(0, 1);
    bench.pass(10 * SECOND);
    bench.close();
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 20.0]);
    assert_eq!(
        (heard.after(), heard.failure().1),
        (Some(40.0), "no more retries left: unavailable".to_owned())
    );
}

#[test]
fn everything_that_still_waits_in_the_queue_gets_one_attempt_in_the_drain() {
    let mut bench = Bench::new(retrying_hourly(waiting_queue(1)), |_, _| unavailable());
    let heard: Vec<_> = (0..5).map(|i| bench.send(i, 1)).collect();
    bench.pass(SECOND);
    assert_eq!(bench.attempts().len(), 1, "one consumer waits for its retry");
    bench.close();
    bench.run_to_end();
    assert_eq!(bench.attempts().len(), 6, "one more for the first, one for each of the others");
    assert!(heard.iter().all(|h| h.failure().1 == "no more retries left: unavailable"));
    assert_eq!((bench.counts(), bench.queue_size()), ([0, 5, 0, 0], 0));
}

#[test]
fn a_drain_delivers_all_that_was_accepted_and_only_then_stops_the_exporter() {
    let mut bench = Bench::new(queued(100, 2), |_, _| slow(SECOND));
    for i in 0..7 {
        bench.send(i, 1);
    }
    bench.settle();
    bench.close();
    bench.pass(3 * SECOND);
    assert!(!bench.is_stopped(), "the seventh is under way");
    bench.run_to_end();
    assert!(bench.is_stopped());
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert_eq!(delivered, (0..7).collect::<Vec<_>>());
    assert_eq!((bench.queue_size(), bench.simulation.tasks()), (0, 0));
}

#[test]
fn an_exporter_without_a_queue_is_stopped_when_its_last_sender_is_gone() {
    let mut bench = Bench::new(bare(), |_, _| slow(5 * SECOND));
    let heard = bench.send(0, 1);
    bench.settle();
    bench.close();
    bench.pass(SECOND);
    assert!(!bench.is_stopped(), "a sender is still there");
    bench.run_to_end();
    assert!(heard.outcome().is_ok() && bench.is_stopped());
    assert_eq!(bench.simulation.tasks(), 0);
}

#[test]
fn what_a_memory_queue_had_accepted_and_a_deadline_drops_is_counted_as_failed() {
    let mut bench = Bench::new(queued(100, 2), |n, _| if n == 0 { Reply::Accept } else { Reply::Hang });
    let heard: Vec<_> = (0..5).map(|i| bench.send(10 * i, 3)).collect();
    bench.pass(SECOND);
    assert!(heard.iter().all(|h| h.outcome().is_ok()));
    bench.close();
    bench.abort();
    bench.run_to_end();
    assert_eq!(bench.counts(), [3, 12, 0, 0], "one delivered, two under way and two queued dropped");
    assert_eq!((bench.queue_size(), bench.simulation.tasks()), (0, 0));
}

#[test]
fn what_a_deadline_drops_is_reported_to_senders_that_wait_for_the_result() {
    let bench = Bench::new(with_queue(waiting_queue(1)), |_, _| Reply::Hang);
    let heard: Vec<_> = (0..3).map(|i| bench.send(i, 1)).collect();
    bench.pass(SECOND);
    bench.abort();
    let late = bench.send(9, 1);
    bench.run_to_end();
    assert!(heard.iter().all(|h| h.failure().0 == Kind::Abandoned));
    assert!(late.outcome().expect_err("refused").is_retryable(), "nobody takes from the queue any more");
    assert_eq!(bench.queue_size(), 0);
}

#[test]
fn when_an_export_panics_its_senders_hear_it_and_nobody_waits_for_a_queue_without_an_end() {
    let queue = QueueSettings { queue_size: 2, block_on_overflow: true, ..waiting_queue(1) };
    let bench = Bench::new(with_queue(queue), |_, _| Reply::After(SECOND, Box::new(Reply::Panic)));
    bench.simulation.contain_panics();
    let heard: Vec<_> = (0..4).map(|i| bench.send(i, 1)).collect();
    bench.run_to_end();
    assert_eq!(bench.simulation.panics(), 1);
    let abandoned = heard.iter().filter(|h| h.failure().0 == Kind::Abandoned).count();
    let refused = heard.iter().filter(|h| h.failure().1 == "the exporter is shutting down").count();
    assert_eq!((abandoned, refused), (2, 2), "those inside, and those that waited for room");
    assert_eq!((bench.queue_size(), bench.counts()), (0, [0, 2, 2, 0]));
    assert_eq!(bench.simulation.tasks(), 0);
}

#[test]
fn an_exporter_that_a_reload_removed_goes_on_retrying_until_its_queue_is_empty() {
    let settings = DeliverySettings { retry: Some(exact_retries()), ..with_queue(QueueSettings::default()) };
    let mut bench = Bench::new(settings, |n, _| if n < 4 { unavailable() } else { Reply::Accept });
    let heard = bench.send(0, 3);
    bench.pass(SECOND / 2);
    bench.retire();
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
    assert_eq!((bench.attempts(), bench.undelivered()), (vec![0.0, 1.0, 3.0, 7.0, 15.0], 0));
    assert!(bench.is_stopped() && bench.simulation.tasks() == 0);
}

#[test]
fn what_was_acknowledged_and_could_not_be_delivered_in_the_drain_is_counted() {
    let settings = DeliverySettings { retry: Some(exact_retries()), ..with_queue(QueueSettings::default()) };
    let mut bench = Bench::new(settings.clone(), |_, _| unavailable());
    let heard = [bench.send(0, 3), bench.send(10, 2)];
    bench.pass(SECOND / 2);
    bench.close();
    bench.run_to_end();
    assert!(heard.iter().all(|h| h.outcome().is_ok()), "acknowledged on acceptance");
    assert_eq!(bench.undelivered(), 5);

    let mut hanging = Bench::new(settings.clone(), |_, _| Reply::Hang);
    hanging.send(0, 3);
    hanging.pass(SECOND);
    hanging.close();
    hanging.abort();
    hanging.run_to_end();
    assert_eq!(hanging.undelivered(), 3);

    let waiting = DeliverySettings { queue: Some(waiting_queue(1)), ..settings };
    let mut told = Bench::new(waiting, |_, _| unavailable());
    let heard = told.send(0, 3);
    told.pass(SECOND / 2);
    told.close();
    told.run_to_end();
    assert!(heard.outcome().is_err());
    assert_eq!(told.undelivered(), 0, "its sender knows");
}
