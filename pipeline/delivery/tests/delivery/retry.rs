//! Attempts, their timeout and the waits between them.

use std::time::Duration;

use weir_component::{DeliverySettings, Failure, Kind, QueueSettings, RetrySettings, Status};
use weir_testkit::Reply;

use crate::support::{Bench, SECOND, STORAGE, bare, exact_retries, queued, slow, with_queue};

fn unavailable() -> Reply {
    Reply::Fail(Failure::retry("unavailable").with_status(Status::Unavailable))
}

fn told_to_wait(time: Duration) -> Reply {
    Reply::Fail(Failure::retry_after("busy", time))
}

fn retrying(retry: RetrySettings) -> DeliverySettings {
    DeliverySettings { retry: Some(retry), ..bare() }
}

fn gaps(attempts: &[f64]) -> Vec<f64> {
    attempts.windows(2).map(|w| w[1] - w[0]).collect()
}

#[test]
fn the_waits_of_the_default_settings_grow_to_the_longest_and_each_is_drawn_from_its_half_to_its_one_and_a_half()
 {
    let mut ratios = Vec::new();
    for seed in 0..60 {
        let bench = Bench::seeded(seed, retrying(RetrySettings::default()), |_, _| unavailable());
        let heard = bench.send(0, 1);
        bench.run_to_end();
        assert_eq!(heard.failure().1, "no more retries left: unavailable");
        let attempts = bench.attempts();
        assert!(attempts.last().is_some_and(|last| *last <= 300.0), "{attempts:?}");
        let mut interval = 5.0_f64;
        for gap in gaps(&attempts) {
            assert!((0.5 * interval..=1.5 * interval).contains(&gap), "{gap} for {interval}");
            ratios.push(gap / interval);
            interval = (interval * 1.5).min(30.0);
        }
        // 300 s cannot pass in fewer waits of at most 45 s, nor hold more of at least 15 s than this.
        assert!((8..=26).contains(&attempts.len()), "{} attempts", attempts.len());
    }
    let below = ratios.iter().filter(|r| **r < 0.75).count();
    let above = ratios.iter().filter(|r| **r > 1.25).count();
    let quarter = ratios.len() / 4;
    assert!(below > quarter / 2 && above > quarter / 2, "the jitter uses its whole range: {below}, {above}");
}

#[test]
fn without_jitter_the_schedule_is_exact() {
    let bench =
        Bench::new(retrying(exact_retries()), |n, _| if n < 6 { unavailable() } else { Reply::Accept });
    let heard = bench.send(0, 3);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 1.0, 3.0, 7.0, 15.0, 23.0, 31.0]);
    assert!(heard.outcome().is_ok());
    assert_eq!(heard.after(), Some(31.0));
    assert_eq!(bench.counts(), [3, 0, 0, 0], "retries that lead to success count nothing as failed");
}

#[test]
fn a_batch_is_given_up_as_soon_as_the_next_wait_would_pass_the_longest_time() {
    for (limit, attempts) in [(7, vec![0.0, 1.0, 3.0, 7.0]), (6, vec![0.0, 1.0, 3.0])] {
        let retry = RetrySettings { max_elapsed_time: limit * SECOND, ..exact_retries() };
        let bench = Bench::new(retrying(retry), |_, _| unavailable());
        let heard = bench.send(0, 2);
        bench.run_to_end();
        assert_eq!(bench.attempts(), attempts);
        assert_eq!(heard.failure(), (Kind::Retry(None), "no more retries left: unavailable".to_owned()));
        assert_eq!(heard.after(), attempts.last().copied(), "it does not wait for nothing");
        assert_eq!(bench.counts(), [0, 2, 0, 0]);
    }
}

#[test]
fn with_a_longest_time_of_zero_nothing_is_given_up() {
    let bench = Bench::new(retrying(exact_retries()), |_, _| unavailable());
    let heard = bench.send(0, 1);
    bench.pass(24 * 3600 * SECOND);
    assert!(heard.is_open());
    assert!(bench.attempts().len() > 10_000, "one each 8 s");
}

#[test]
fn a_permanent_failure_is_not_tried_again() {
    let bench = Bench::new(retrying(exact_retries()), |_, _| Reply::Fail(Failure::permanent("bad data")));
    let heard = bench.send(0, 4);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0]);
    assert_eq!(heard.failure(), (Kind::Permanent, "not retryable error: bad data".to_owned()));
    assert_eq!(heard.outcome().expect_err("failed").component(), "test/e");
    assert_eq!(bench.counts(), [0, 4, 0, 0]);
}

#[test]
fn a_failure_that_turns_permanent_ends_the_retries() {
    let bench = Bench::new(retrying(exact_retries()), |n, _| match n {
        0 | 1 => unavailable(),
        _ => Reply::Fail(Failure::permanent("bad data")),
    });
    let heard = bench.send(0, 1);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 1.0, 3.0]);
    assert_eq!(heard.failure().0, Kind::Permanent);
}

#[test]
fn without_retries_a_failed_attempt_is_final_and_stays_what_it_was() {
    let bench = Bench::new(bare(), |_, _| unavailable());
    let heard = bench.send(0, 1);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0]);
    assert_eq!(heard.failure(), (Kind::Retry(None), "unavailable".to_owned()));
    assert_eq!(heard.outcome().expect_err("failed").status(), Some(Status::Unavailable));
}

#[test]
fn a_longer_wait_that_the_backend_asks_for_is_kept_and_spread_by_at_most_a_twentieth() {
    let mut waits = Vec::new();
    for seed in 0..60 {
        let bench = Bench::seeded(seed, retrying(RetrySettings::default()), |n, _| match n {
            0 => told_to_wait(60 * SECOND),
            _ => Reply::Accept,
        });
        bench.send(0, 1);
        bench.run_to_end();
        waits.extend(gaps(&bench.attempts()));
    }
    assert_eq!(waits.len(), 60);
    assert!(waits.iter().all(|wait| (60.0..=63.0).contains(wait)), "{waits:?}");
    let (early, late) = (waits.iter().any(|w| *w < 61.0), waits.iter().any(|w| *w > 62.0));
    assert!(early && late, "not all come back at the same moment: {waits:?}");
}

#[test]
fn a_shorter_wait_that_the_backend_asks_for_does_not_shorten_the_interval() {
    let bench = Bench::new(retrying(exact_retries()), |n, _| match n {
        0..3 => told_to_wait(Duration::from_millis(1500)),
        _ => Reply::Accept,
    });
    bench.send(0, 1);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 1.5, 3.5, 7.5], "1.5 s instead of 1 s, then 2 s and 4 s as planned");
}

#[test]
fn a_backend_cannot_stop_an_exporter_for_more_than_an_hour() {
    let bench = Bench::new(retrying(exact_retries()), |n, _| match n {
        0 => told_to_wait(7 * 24 * 3600 * SECOND),
        _ => Reply::Accept,
    });
    bench.send(0, 1);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 3600.0]);
}

#[test]
fn a_sender_that_has_its_data_hears_at_once_of_a_wait_beyond_the_longest_time() {
    for settings in waiting_for_results() {
        let bench = Bench::new(settings, |_, _| told_to_wait(301 * SECOND));
        let heard = bench.send_and_wait(0, 1, 600 * SECOND);
        bench.run_to_end();
        assert_eq!(bench.attempts(), [0.0]);
        assert_eq!(heard.after(), Some(0.0));
        assert_eq!(heard.outcome().expect_err("failed").retry_delay(), Some(301 * SECOND), "he hears it");
    }
}

#[test]
fn what_was_acknowledged_before_has_its_whole_time_where_results_are_waited_for_too() {
    for settings in waiting_for_results() {
        let bench = Bench::new(settings, |_, _| told_to_wait(600 * SECOND));
        let heard = bench.send(0, 1);
        bench.run_to_end();
        assert_eq!((bench.attempts(), heard.after()), (vec![0.0, 300.0], Some(300.0)));
    }
}

/// Without a queue, and with one whose senders wait for what comes of it.
fn waiting_for_results() -> [DeliverySettings; 2] {
    let queue = QueueSettings { wait_for_result: true, ..QueueSettings::default() };
    let retry = Some(RetrySettings::default());
    [retrying(RetrySettings::default()), DeliverySettings { retry, ..with_queue(queue) }]
}

#[test]
fn a_pause_that_is_longer_than_the_time_left_is_cut_where_the_backend_asks_for_one() {
    let retry = RetrySettings {
        initial_interval: 30 * SECOND,
        max_interval: 30 * SECOND,
        max_elapsed_time: 30 * SECOND,
        ..RetrySettings::default()
    };
    // Each has its own random number.
    let queue = QueueSettings { num_consumers: 20, ..QueueSettings::default() };
    let settings = DeliverySettings { retry: Some(retry), ..with_queue(queue) };
    let bench = Bench::new(settings, |_, _| told_to_wait(60 * SECOND));
    (0..20).for_each(|id| drop(bench.send(id, 1)));
    bench.run_to_end();
    assert_eq!(bench.attempts(), [[0.0; 20], [30.0; 20]].concat());
}

#[test]
fn a_pause_ends_when_nobody_waits_for_it_any_more() {
    let queue = QueueSettings { wait_for_result: true, num_consumers: 1, ..QueueSettings::default() };
    let retry = Some(RetrySettings { max_elapsed_time: Duration::ZERO, ..RetrySettings::default() });
    let settings = DeliverySettings { retry, ..with_queue(queue) };
    let bench = Bench::new(settings, |n, _| if n == 0 { told_to_wait(3600 * SECOND) } else { Reply::Accept });
    let gone = bench.send_and_wait(0, 1, 10 * SECOND);
    bench.pass(SECOND);
    let other = bench.send_and_wait(1, 1, 30 * SECOND);
    bench.run_to_end();
    assert!(gone.failure().1.contains("its sender has gone away"));
    assert!(
        other.outcome().is_ok() && other.after().is_some_and(|after| after <= 12.0),
        "{:?}",
        other.after()
    );
    assert_eq!(bench.attempts().len(), 2);
}

#[test]
fn what_was_acknowledged_is_not_given_up_for_a_wait_beyond_the_longest_time_and_what_is_behind_it_stays() {
    let on_disk = QueueSettings { storage: Some(STORAGE.to_owned()), ..QueueSettings::default() };
    for queue in [QueueSettings::default(), on_disk] {
        let directory = tempfile::tempdir().expect("a folder");
        let queue = QueueSettings { num_consumers: 2, ..queue };
        let settings = DeliverySettings { retry: Some(RetrySettings::default()), ..with_queue(queue) };
        let bench = Bench::on_disk(directory.path(), settings, |_, _| told_to_wait(600 * SECOND));
        (0..10).for_each(|id| drop(bench.send(id, 1)));
        bench.pass(299 * SECOND);
        assert_eq!((bench.attempts().len(), bench.queue_size(), bench.counts()), (2, 10, [0; 4]));
        bench.pass(2 * SECOND);
        assert_eq!(bench.attempts(), [0.0, 0.0, 300.0, 300.0, 300.0, 300.0], "once more, then the next two");
        assert_eq!((bench.queue_size(), bench.counts()), (8, [0, 2, 0, 0]));
    }
}

#[test]
fn without_pauses_of_its_own_a_batch_is_given_up_too_once_its_time_is_over() {
    let retry = RetrySettings {
        initial_interval: Duration::ZERO,
        max_interval: Duration::ZERO,
        max_elapsed_time: 5 * SECOND,
        ..exact_retries()
    };
    let settings = DeliverySettings { retry: Some(retry), ..queued(10, 1) };
    let bench = Bench::new(settings, |_, _| Reply::After(SECOND, Box::new(told_to_wait(600 * SECOND))));
    bench.send(0, 1);
    bench.run_to_end();
    assert_eq!((bench.attempts(), bench.counts()), (vec![0.0, 5.0], [0, 1, 0, 0]));
}

#[test]
fn a_wait_beyond_the_longest_time_ends_with_the_agent_as_any_other() {
    let settings = DeliverySettings { retry: Some(RetrySettings::default()), ..queued(10, 1) };
    let mut bench = Bench::new(settings, |n, _| match n {
        0 => told_to_wait(600 * SECOND),
        _ => Reply::Accept,
    });
    bench.send(0, 1);
    bench.pass(SECOND);
    bench.close();
    bench.run_to_end();
    assert_eq!((bench.attempts(), bench.counts()), (vec![0.0, 1.0], [1, 0, 0, 0]));
}

#[test]
fn an_attempt_without_an_answer_ends_at_its_timeout_as_a_retryable_exceeded_deadline() {
    let settings = DeliverySettings { timeout: 5 * SECOND, ..bare() };
    let bench = Bench::new(settings, |_, _| Reply::Hang);
    let heard = bench.send(0, 2);
    bench.run_to_end();
    let failure = heard.outcome().expect_err("failed");
    assert_eq!(heard.after(), Some(5.0));
    assert_eq!(failure.status(), Some(Status::DeadlineExceeded));
    assert!(failure.is_retryable());
    assert_eq!(failure.message(), "no answer within the timeout of 5s");
    assert_eq!(bench.counts(), [0, 2, 0, 0]);
}

#[test]
fn each_attempt_has_its_own_timeout_and_is_retried_after_it() {
    let settings = DeliverySettings { timeout: 5 * SECOND, ..retrying(exact_retries()) };
    let bench = Bench::new(settings, |n, _| if n < 2 { Reply::Hang } else { Reply::Accept });
    let heard = bench.send(0, 1);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 6.0, 13.0]);
    assert!(heard.outcome().is_ok());
}

#[test]
fn an_answer_just_before_the_timeout_counts() {
    let settings = DeliverySettings { timeout: 5 * SECOND, ..bare() };
    let bench = Bench::new(settings, |_, _| slow(Duration::from_millis(4999)));
    let heard = bench.send(0, 1);
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
}

#[test]
fn a_timeout_of_zero_is_none() {
    let bench = Bench::new(bare(), |_, _| slow(24 * 3600 * SECOND));
    let heard = bench.send(0, 1);
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
    assert_eq!(heard.after(), Some(86_400.0));
}

#[test]
fn a_multiplier_beyond_all_durations_means_the_longest_wait() {
    let retry = RetrySettings { multiplier: f64::MAX, ..exact_retries() };
    let bench = Bench::new(retrying(retry), |n, _| if n < 3 { unavailable() } else { Reply::Accept });
    bench.send(0, 1);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 1.0, 9.0, 17.0]);
}

#[test]
fn a_jump_of_the_wall_clock_changes_no_wait() {
    let bench =
        Bench::new(retrying(exact_retries()), |n, _| if n < 3 { unavailable() } else { Reply::Accept });
    bench.send(0, 1);
    bench.pass(SECOND / 2);
    bench.simulation.shift_wall_clock(-3_600_000_000_000);
    bench.pass(SECOND);
    bench.simulation.shift_wall_clock(7_200_000_000_000);
    bench.run_to_end();
    assert_eq!(bench.attempts(), [0.0, 1.0, 3.0, 7.0]);
}

#[test]
fn items_that_the_backend_refused_while_it_took_the_others_are_not_sent_again_nor_counted_as_sent() {
    let bench = Bench::new(retrying(exact_retries()), |_, _| Reply::Partial(3));
    let heard = bench.send(0, 10);
    bench.run_to_end();
    assert!(heard.outcome().is_ok());
    assert_eq!(bench.attempts().len(), 1);
    assert_eq!(bench.counts(), [7, 0, 0, 3]);
}
