//! The queue: its bounds, and what its senders hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use weir_component::{BatchSettings, DeliverySettings, Failure, Kind, Patience, QueueSettings, Sizer};
use weir_pdata::Signal;
use weir_testkit::{Reply, logged, payload};

use crate::support::{Bench, Heard, SECOND, bare, exact_retries, queued, slow, with_queue};

fn full() -> (Kind, String) {
    (Kind::Retry(None), "sending queue is full".to_owned())
}

#[test]
fn a_full_queue_answers_at_once_and_what_is_being_exported_takes_room_in_it() {
    let bench = Bench::new(queued(3, 1), |_, _| slow(10 * SECOND));
    let heard: Vec<_> = (0..5).map(|i| bench.send(10 * i, 2)).collect();
    bench.settle();
    let refused: Vec<_> = heard.iter().filter(|h| h.outcome().is_err()).collect();
    assert_eq!(refused.len(), 2);
    for heard in &refused {
        assert_eq!((heard.after(), heard.failure()), (Some(0.0), full()));
        assert_eq!(heard.outcome().expect_err("refused").component(), "test/e");
    }
    assert_eq!(bench.counts(), [0, 0, 4, 0]);
    assert_eq!((bench.queue_size(), bench.queue_capacity()), (3, 3));
    bench.pass(10 * SECOND);
    assert_eq!(bench.queue_size(), 2, "delivered batches give their room back");
    assert!(bench.send(90, 1).is_open());
    bench.run_to_end();
    assert_eq!((bench.queue_size(), bench.counts()), (0, [7, 0, 4, 0]));
}

#[test]
fn with_block_on_overflow_senders_wait_for_room_instead() {
    let queue = QueueSettings { block_on_overflow: true, ..queued(2, 1).queue.expect("a queue") };
    let bench = Bench::new(with_queue(queue), |_, _| slow(10 * SECOND));
    let heard: Vec<_> = (0..5).map(|i| bench.send(i, 1)).collect();
    bench.run_to_end();
    let mut after: Vec<_> = heard.iter().filter_map(|h| h.outcome().ok().and_then(|()| h.after())).collect();
    after.sort_by(f64::total_cmp);
    assert_eq!(after, [0.0, 0.0, 10.0, 20.0, 30.0]);
    assert_eq!(bench.counts(), [5, 0, 0, 0]);
}

#[test]
fn a_sender_that_leaves_while_it_waits_for_room_takes_its_batch_along() {
    let queue = QueueSettings { block_on_overflow: true, ..queued(1, 1).queue.expect("a queue") };
    let bench = Bench::new(with_queue(queue), |_, _| slow(10 * SECOND));
    bench.send(0, 1);
    bench.settle();
    let gone = bench.send_impatiently(1, 1, 5 * SECOND);
    let patient = bench.send(2, 1);
    bench.run_to_end();
    assert_eq!(gone.failure().0, Kind::Abandoned);
    assert!(patient.outcome().is_ok());
    assert_eq!(bench.delivered(), [0, 2]);
}

#[test]
fn a_batch_larger_than_the_whole_queue_is_refused_for_good_even_with_block_on_overflow() {
    let large = payload(Signal::Logs, 0, 11);
    let bytes = large.encoded_len();
    for queue in [
        QueueSettings { queue_size: 10, sizer: Sizer::Items, ..QueueSettings::default() },
        QueueSettings { queue_size: bytes - 1, sizer: Sizer::Bytes, ..QueueSettings::default() },
        QueueSettings { max_bytes: bytes - 1, ..QueueSettings::default() },
    ] {
        let queue = QueueSettings { block_on_overflow: true, ..queue };
        let bench = Bench::new(with_queue(queue.clone()), |_, _| Reply::Accept);
        let heard = bench.send_payload(large.clone());
        let fits = bench.send(100, 1);
        bench.run_to_end();
        let (kind, text) = heard.failure();
        assert_eq!(kind, Kind::Permanent);
        assert!(text.starts_with("element size too large: 11 items in "), "{text}");
        assert!(text.contains("raise queue_size"), "{text}");
        assert!(fits.outcome().is_ok());
        assert_eq!(bench.counts(), [1, 0, 11, 0], "{queue:?}");
    }
}

#[test]
fn a_batch_as_large_as_the_whole_queue_fits() {
    let exact = payload(Signal::Logs, 0, 10);
    let size = exact.encoded_len();
    let queue =
        QueueSettings { queue_size: size, sizer: Sizer::Bytes, max_bytes: size, ..Default::default() };
    let bench = Bench::new(with_queue(queue), |_, _| Reply::Accept);
    let heard = bench.send_payload(exact);
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
}

#[test]
fn a_queue_counted_in_items_is_full_by_items() {
    let queue = QueueSettings { queue_size: 10, sizer: Sizer::Items, ..QueueSettings::default() };
    let bench = Bench::new(with_queue(queue), |_, _| slow(SECOND));
    let first = bench.send(0, 6);
    bench.settle();
    let second = bench.send(10, 5);
    bench.settle();
    let third = bench.send(20, 4);
    bench.settle();
    assert!(first.outcome().is_ok());
    assert_eq!(second.failure(), full());
    assert!(third.outcome().is_ok());
    assert_eq!(bench.queue_size(), 10);
}

#[test]
fn large_requests_cannot_fill_the_memory_of_a_queue_counted_in_requests() {
    let bytes = payload(Signal::Logs, 0, 100).encoded_len();
    let queue = QueueSettings { max_bytes: 2 * bytes + bytes / 2, ..QueueSettings::default() };
    let bench = Bench::new(with_queue(queue), |_, _| slow(SECOND));
    let heard: Vec<_> = (0..4).map(|_| bench.send(0, 100)).collect();
    bench.settle();
    assert_eq!(heard.iter().filter(|h| h.outcome().is_ok()).count(), 2);
    assert!(heard.iter().filter(|h| h.outcome().is_err()).all(|h| h.failure() == full()));
    bench.run_to_end();
    assert!(bench.send(0, 100).is_open());
    bench.run_to_end();
    assert_eq!(bench.counts(), [300, 0, 200, 0], "room in bytes is given back");
}

#[test]
fn no_more_exports_are_under_way_than_there_are_consumers_and_no_fewer_when_there_is_work() {
    for consumers in [1, 3, 10] {
        let bench = Bench::new(queued(1000, consumers), |_, _| slow(SECOND));
        for i in 0..30 {
            bench.send(i, 1);
        }
        bench.run_to_end();
        assert_eq!(bench.peak(), consumers);
        let last = bench.deliveries().last().map(|(at, _)| *at);
        assert_eq!(last, Some(30_f64 / consumers as f64), "{consumers} at a time take that long");
    }
}

#[test]
fn a_queue_keeps_the_order_of_its_batches() {
    let bench = Bench::new(queued(1000, 1), |_, _| slow(SECOND));
    for i in 0..20 {
        bench.send(i, 1);
        bench.settle();
    }
    bench.run_to_end();
    assert_eq!(bench.delivered(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_memory_queue_answers_when_it_has_the_batch_whatever_becomes_of_it() {
    let bench = Bench::new(queued(10, 1), |_, _| {
        Reply::After(SECOND, Box::new(Reply::Fail(Failure::permanent("no"))))
    });
    let heard = bench.send(0, 2);
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
    assert_eq!(heard.after(), Some(0.0));
    assert_eq!(bench.counts(), [0, 2, 0, 0], "what the sender does not hear is counted");
}

#[test]
fn with_wait_for_result_the_sender_hears_the_real_outcome_when_it_is_known() {
    let queue = QueueSettings { wait_for_result: true, ..queued(10, 1).queue.expect("a queue") };
    let bench = Bench::new(with_queue(queue), |n, _| match n {
        0 => slow(SECOND),
        _ => Reply::After(SECOND, Box::new(Reply::Fail(Failure::permanent("no")))),
    });
    let good = bench.send(0, 2);
    bench.settle();
    let bad = bench.send(10, 2);
    bench.run_to_end();
    assert!(good.outcome().is_ok());
    assert_eq!(good.after(), Some(1.0));
    assert_eq!((bad.after(), bad.failure()), (Some(2.0), (Kind::Permanent, "no".to_owned())));
    assert_eq!(bench.counts(), [2, 2, 0, 0]);
}

#[test]
fn what_a_sender_has_left_with_is_not_sent_any_more_whether_it_waits_for_a_consumer_a_retry_or_more_items() {
    let waiting = QueueSettings { wait_for_result: true, ..QueueSettings::default() };
    let batch = BatchSettings { min_size: 3, flush_timeout: SECOND / 5, ..BatchSettings::default() };
    for queue in [
        QueueSettings { num_consumers: 1, ..waiting.clone() },
        waiting.clone(),
        QueueSettings { batch: Some(batch), num_consumers: 1, ..waiting },
    ] {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let settings = DeliverySettings { retry: Some(exact_retries()), ..with_queue(queue.clone()) };
        let bench = Bench::new(settings, move |_, _| match is_up.load(Ordering::SeqCst) {
            true => Reply::Accept,
            false => Reply::Fail(Failure::retry("unavailable")),
        });
        // The same request, again and again.
        let gone: Vec<Heard> = (0..5)
            .map(|_| {
                let heard = bench.send_and_wait(0, 1, SECOND);
                bench.pass(2 * SECOND);
                heard
            })
            .collect();
        up.store(true, Ordering::SeqCst);
        let stays = bench.send_and_wait(0, 1, 60 * SECOND);
        bench.run_to_end();
        assert!(stays.outcome().is_ok());
        assert!(gone.iter().all(|heard| heard.failure().1.contains("its sender has gone away")));
        assert_eq!((bench.delivered(), bench.counts()), (vec![0], [1, 5, 0, 0]), "{queue:?}");
    }
}

#[test]
fn what_was_acknowledged_or_is_nowhere_else_is_sent_though_nobody_waits_for_it() {
    let waiting = QueueSettings { wait_for_result: true, ..QueueSettings::default() };
    let acknowledged = |bench: &Bench| drop(bench.send_and_wait(0, 1, Duration::ZERO));
    // An observer alone, as the processor has for what it acknowledged.
    let of_batch = |bench: &Bench| drop(bench.send(0, 1));
    let own = |bench: &Bench| bench.hand(0, 1);
    let sends: [&dyn Fn(&Bench); 3] = [&acknowledged, &of_batch, &own];
    for (queue, send) in [QueueSettings::default(), waiting.clone(), waiting].into_iter().zip(sends) {
        let settings = DeliverySettings { retry: Some(exact_retries()), ..with_queue(queue) };
        let bench = Bench::new(settings, |n, _| match n {
            0 => Reply::Fail(Failure::retry("unavailable")),
            _ => Reply::Accept,
        });
        send(&bench);
        bench.run_to_end();
        assert_eq!((bench.delivered(), bench.counts()), (vec![0], [1, 0, 0, 0]));
    }
}

#[test]
fn a_full_queue_with_wait_for_result_answers_at_once_too() {
    let queue = QueueSettings { wait_for_result: true, ..queued(1, 1).queue.expect("a queue") };
    let bench = Bench::new(with_queue(queue), |_, _| slow(SECOND));
    let first = bench.send(0, 1);
    bench.settle();
    let second = bench.send(1, 1);
    bench.settle();
    assert!(first.is_open());
    assert_eq!(second.failure(), full());
}

#[test]
fn without_a_queue_the_sender_waits_for_the_delivery_itself() {
    let bench = Bench::new(bare(), |_, _| slow(3 * SECOND));
    let heard: Vec<_> = (0..3).map(|i| bench.send(i, 1)).collect();
    bench.run_to_end();
    assert!(heard.iter().all(|h| h.outcome().is_ok() && h.after() == Some(3.0)));
    assert_eq!(bench.peak(), 3, "senders do not wait for each other");
}

#[test]
fn an_empty_payload_is_accepted_and_sent_nowhere() {
    for settings in [bare(), queued(1, 1)] {
        let bench = Bench::new(settings, |_, _| Reply::Accept);
        let heard = bench.send(0, 0);
        bench.run_to_end();
        assert!(heard.outcome().is_ok());
        assert_eq!((bench.attempts().len(), bench.counts()), (0, [0, 0, 0, 0]));
    }
}

#[test]
fn every_item_that_was_given_is_counted_once() {
    let queue = QueueSettings { queue_size: 4, num_consumers: 2, ..QueueSettings::default() };
    let bench = Bench::new(with_queue(queue), |n, _| {
        let reply = match n {
            0 => Reply::Partial(1),
            1 => Reply::Fail(Failure::retry("unavailable")),
            2 => Reply::Fail(Failure::permanent("no")),
            _ => Reply::Accept,
        };
        Reply::After(Duration::from_millis(10), Box::new(reply))
    });
    for i in 0..6 {
        bench.send(10 * i, 5);
    }
    bench.run_to_end();
    assert_eq!(bench.counts(), [9, 10, 10, 1], "4 + 5 sent, 5 + 5 failed, 5 + 5 refused, 1 rejected");
}

/// A queue with room for so many batches of `bytes`, whose exporter takes a second for each.
fn room_for(batches: usize, bytes: usize) -> Bench {
    let queue = QueueSettings { max_bytes: batches * bytes, num_consumers: 1, ..QueueSettings::default() };
    Bench::new(with_queue(queue), |_, _| slow(SECOND))
}

/// Hundredths of a second until a sender was told.
fn hundredths(heard: &Heard) -> u64 {
    (heard.after().expect("told") * 100.0).round() as u64
}

#[test]
fn what_was_acknowledged_waits_for_room_as_long_as_its_patience_allows() {
    let large = payload(Signal::Logs, 0, 1000);
    let bench = room_for(2, large.encoded_len());
    let first = [bench.send_payload(large.clone()), bench.send_payload(large.clone())];
    bench.settle();
    let none = bench.send_patiently(Patience::None, large.clone());
    let short = bench.send_patiently(Patience::Short, large.clone());
    let long = [Patience::Long; 3].map(|patience| bench.send_patiently(patience, large.clone()));
    bench.run_to_end();
    assert!(first.iter().chain(&long).all(|heard| heard.outcome().is_ok()));
    assert_eq!([none.failure(), short.failure()], [full(), full()]);
    assert_eq!([none, short].map(|heard| hundredths(&heard)), [0, 5]);
    let mut after = long.map(|heard| hundredths(&heard));
    after.sort_unstable();
    assert_eq!(after, [100, 200, 300]);
}

#[test]
fn what_was_made_in_the_agent_is_in_the_budget_as_long_as_it_is_there() {
    for settings in [DeliverySettings { timeout: SECOND, ..bare() }, queued(10, 1)] {
        let bench = Bench::new(settings, |_, _| Reply::Hang);
        // As a processor that edits makes it.
        let made = payload(Signal::Logs, 0, 10);
        let size = made.encoded_len();
        drop([bench.send_payload(made.clone()), bench.send_payload(made)]);
        bench.settle();
        assert_eq!(bench.budget().held(), 2 * size);
        bench.abort();
        bench.run_to_end();
        assert_eq!(bench.budget().held(), 0);
    }
}

#[test]
fn of_what_is_larger_than_the_queue_and_goes_in_in_parts_the_sender_hears_how_much_was_taken() {
    let queue = QueueSettings { queue_size: 10, sizer: Sizer::Items, ..QueueSettings::default() };
    let bench = Bench::new(with_queue(queue), |_, _| slow(SECOND));
    let heard = bench.send_patiently(Patience::Short, payload(Signal::Logs, 0, 12));
    bench.run_to_end();
    assert_eq!(bench.counts(), [10, 0, 2, 0]);
    let (kind, text) = heard.failure();
    assert_eq!(kind, Kind::Retry(None));
    assert_eq!(text, "10 of 12 items were taken: sending queue is full");
}

#[test]
fn at_the_end_what_waits_for_room_is_let_in_and_what_a_sender_still_has_is_refused() {
    let large = payload(Signal::Logs, 0, 1000);
    let mut bench = room_for(1, large.encoded_len());
    bench.send_payload(large.clone());
    bench.settle();
    let waits = bench.send_patiently(Patience::Long, large.clone());
    bench.settle();
    assert!(waits.is_open());
    bench.close();
    bench.settle();
    assert!(waits.outcome().is_ok());
    bench.run_to_end();
    assert_eq!(bench.counts(), [2000, 0, 0, 0]);
}

#[test]
fn much_in_the_queue_holds_up_what_was_acknowledged_only_while_the_destination_keeps_going() {
    let large = payload(Signal::Logs, 0, 50_000);
    let batches = (8 << 20) / large.encoded_len();
    for keeps_going in [true, false] {
        let reply = move |n: usize, _: &_| if n == 0 || keeps_going { slow(SECOND / 2) } else { Reply::Hang };
        let queue = QueueSettings { num_consumers: 1, ..QueueSettings::default() };
        let bench = Bench::new(with_queue(queue), reply);
        bench.send(0, 1);
        for _ in 0..batches {
            bench.send_patiently(Patience::Short, large.clone());
        }
        bench.pass(if keeps_going { 6 * SECOND / 10 } else { 16 * SECOND / 10 });
        let sent = [Patience::None, Patience::Short].map(|p| bench.send_patiently(p, large.clone()));
        bench.pass(SECOND);
        let expected = if keeps_going { [60, 65] } else { [160, 160] };
        assert_eq!(sent.map(|heard| hundredths(&heard)), expected);
    }
}

#[test]
fn what_the_queue_refuses_is_logged_with_exporter_signal_and_items() {
    let line = |error: &str, items| {
        format!(
            "ERROR message=Exporting failed. Rejecting data.;otelcol.component.id=test/e;\
             otelcol.component.kind=\"exporter\";otelcol.signal=\"logs\";error={error};rejected_items={items};"
        )
    };
    let lines = logged(LevelFilter::WARN, || {
        let bench = Bench::new(queued(1, 1), |_, _| slow(10 * SECOND));
        bench.send(0, 1);
        bench.send(1, 2);
        bench.run_to_end();
    });
    assert_eq!(lines, [line("sending queue is full", 2)]);
    let small = QueueSettings { queue_size: 2, sizer: Sizer::Items, ..QueueSettings::default() };
    let lines = logged(LevelFilter::WARN, || {
        let bench = Bench::new(with_queue(small), |_, _| Reply::Accept);
        bench.send(0, 3);
        bench.run_to_end();
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let only = &lines[0];
    assert!(
        only.contains("error=element size too large: 3 items") && only.ends_with("rejected_items=3;"),
        "{only}"
    );
}

#[test]
fn a_full_queue_before_which_batches_wait_is_logged_once_until_most_of_it_is_free() {
    let blocks = QueueSettings { block_on_overflow: true, ..queued(4, 1).queue.expect("a queue") };
    let full = "WARN message=Sending queue is full. Batches wait for room, and senders behind them wait or are \
                refused.;otelcol.component.id=test/e;otelcol.component.kind=\"exporter\";otelcol.signal=\"logs\";";
    for (queue, patience) in
        [(blocks, Patience::None), (queued(4, 1).queue.expect("a queue"), Patience::Long)]
    {
        let lines = logged(LevelFilter::WARN, || {
            let bench = Bench::new(with_queue(queue), |_, _| slow(10 * SECOND));
            let send = |i| bench.send_patiently(patience, payload(Signal::Logs, i, 1));
            (0..6).for_each(|i| drop(send(i)));
            bench.pass(15 * SECOND);
            // One has left, one of those that waited came in, and another waits behind it.
            send(6);
            bench.run_to_end();
            assert_eq!(bench.counts(), [7, 0, 0, 0]);
            (10..20).for_each(|i| drop(send(i)));
            bench.run_to_end();
        });
        assert_eq!(lines, [full, full], "{patience:?}");
    }
}
