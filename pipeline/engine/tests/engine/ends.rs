//! Deadlines and panics: what has not ended is dropped, and its senders hear it.

use std::time::Duration;

use weir_component::{DeliverySettings, Failure, Kind, QueueSettings, RetrySettings};
use weir_engine::{Engine, ServiceSpec};
use weir_pdata::Payload;
use weir_pdata::Signal::{Logs, Traces};
use weir_testkit::{ExtensionScript, ReceiverScript, Reply, Role};

use crate::support::{SECOND, World, change, component, direct, pipeline, service};

fn front_and_back() -> ServiceSpec {
    service(&[], vec![pipeline("logs", &["test/r"], &["test/p"], &["test/e"])])
}

fn waiting() -> DeliverySettings {
    let queue = QueueSettings { wait_for_result: true, ..QueueSettings::default() };
    DeliverySettings { queue: Some(queue), ..direct() }
}

#[test]
fn a_stage_that_never_ends_is_dropped_at_the_deadline_and_named() {
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    world.lab.processor("test/p", Role::Stuck);
    world.sends("test/r", &[(Logs, 0, 2)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    let before = world.clock.now();
    let stopped = world.stop(engine, 10 * SECOND);
    assert_eq!(world.clock.now() - before, 10 * SECOND, "not before the deadline and not long after");
    let mut unfinished = stopped.unfinished;
    unfinished.sort();
    assert_eq!(unfinished, ["exporter test/e (logs)", "receiver test/r", "test/p"]);
    assert_eq!(world.heard(0).expect_err("dropped").0, Kind::Abandoned);
}

#[test]
fn a_stage_that_is_stuck_with_nothing_in_it_leaves_the_receivers_finished() {
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    world.lab.processor("test/p", Role::Stuck);
    let engine = world.start(&spec).expect("starts");
    let mut unfinished = world.stop(engine, 10 * SECOND).unfinished;
    unfinished.sort();
    assert_eq!(unfinished, ["exporter test/e (logs)", "test/p"]);
}

#[test]
fn a_receiver_that_never_ends_is_dropped_at_the_deadline() {
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    world.lab.receiver("test/r", ReceiverScript { ignores_stop: true, ..ReceiverScript::default() });
    let engine = world.start(&spec).expect("starts");
    let stopped = world.stop(engine, 10 * SECOND);
    assert!(stopped.unfinished.contains(&"receiver test/r".to_owned()), "{stopped:?}");
}

#[test]
fn an_extension_that_never_ends_cannot_hold_up_the_stop() {
    let (world, mut spec) = (World::new(1), front_and_back());
    spec.extensions.push(component("test/x"));
    world.script(&spec);
    world.lab.extension("test/x", ExtensionScript { ignores_stop: true, ..ExtensionScript::default() });
    let engine = world.start(&spec).expect("starts");
    let before = world.clock.now();
    let stopped = world.stop(engine, 10 * SECOND);
    assert_eq!(stopped.unfinished, ["extension test/x"]);
    assert!(world.clock.now() - before <= 2 * SECOND);
}

#[test]
fn one_deadline_holds_for_receivers_and_pipelines_together() {
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    world.exporter("test/e", direct(), |_, _| Reply::Hang);
    world.sends("test/r", &[(Logs, 0, 2)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    let before = world.clock.now();
    world.stop(engine, 10 * SECOND);
    assert!(world.clock.now() - before <= 11 * SECOND);
    assert_eq!(world.heard(0).expect_err("dropped").0, Kind::Abandoned);
}

/// Tries again after 25 seconds, which is longer than any stop.
fn patient(queue: Option<QueueSettings>) -> DeliverySettings {
    let retry = RetrySettings { initial_interval: 25 * SECOND, ..RetrySettings::default() };
    DeliverySettings { retry: Some(retry), queue, ..direct() }
}

/// Refuses the first attempt, and takes everything after it.
fn first_refused(n: usize, _: &Payload) -> Reply {
    if n == 0 { refused(n) } else { Reply::Accept }
}

fn refused(_: usize) -> Reply {
    Reply::Fail(Failure::retry("connection refused"))
}

/// Stops, for which no time may pass and which must lose nothing.
fn stop_at_once(world: &World, engine: Engine) {
    let begun = world.clock.now();
    let stopped = world.stop(engine, 10 * SECOND);
    assert!(stopped.is_clean(), "{stopped:?}");
    assert!(world.clock.now() - begun < SECOND, "no pause is waited for");
}

#[test]
fn who_waits_for_a_result_holds_up_neither_the_stop_nor_what_others_acknowledged() {
    let direct = || vec![pipeline("logs", &["test/r"], &[], &["test/b"])];
    let far = || {
        vec![
            pipeline("logs", &["test/r"], &["test/p"], &["same/c"]),
            pipeline("logs/behind", &["same/c"], &["test/q"], &["test/b"]),
        ]
    };
    let waits = || Some(QueueSettings { wait_for_result: true, ..QueueSettings::default() });
    for (seed, queue, connectors, mut pipelines) in (0..20).flat_map(|seed| {
        [
            (seed, waits(), &[][..], direct()),
            (seed, None, &[], direct()),
            (seed, waits(), &["same/c"], far()),
            (seed, None, &["same/c"], far()),
        ]
    }) {
        let world = World::new(seed);
        pipelines.push(pipeline("traces", &["test/r"], &["test/t"], &["test/a"]));
        let spec = service(connectors, pipelines);
        world.script(&spec);
        world.exporter("test/a", patient(queue), |n, _| refused(n));
        world.exporter("test/b", patient(Some(QueueSettings::default())), first_refused);
        world.sends("test/r", &[(Logs, 0, 2), (Traces, 10, 2)]);
        let engine = world.start(&spec).expect("starts");
        world.pass(SECOND);
        assert_eq!(world.heard(0), Ok(()));
        stop_at_once(&world, engine);
        assert_eq!(world.delivered("test/b"), [0, 1]);
        assert!(matches!(world.heard(10), Err((Kind::Retry(_), _))), "{:?}", world.heard(10));
    }
}

#[test]
fn who_waits_for_room_and_has_its_data_is_refused_at_a_stop_and_holds_up_nothing() {
    let queue = QueueSettings { queue_size: 1, block_on_overflow: true, ..QueueSettings::default() };
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    let slow = |n: usize, payload: &Payload| Reply::After(SECOND / 2, Box::new(first_refused(n, payload)));
    world.exporter("test/e", patient(Some(queue)), slow);
    world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 2)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    assert_eq!(world.lab.outcomes(10), [], "it waits");
    stop_at_once(&world, engine);
    assert_eq!(world.delivered("test/e"), [0, 1]);
    assert!(matches!(world.heard(10), Err((Kind::Retry(_), _))), "{:?}", world.heard(10));
}

#[test]
fn a_stop_does_not_wait_for_who_waits_at_an_exporter_that_a_reload_has_replaced() {
    let blocks = QueueSettings { queue_size: 1, block_on_overflow: true, ..QueueSettings::default() };
    let waits = QueueSettings { wait_for_result: true, ..QueueSettings::default() };
    for queue in [blocks, waits] {
        let (world, spec) = (World::new(1), front_and_back());
        world.script(&spec);
        world.exporter("test/e", patient(Some(queue)), first_refused);
        world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 2)]);
        let engine = world.start(&spec).expect("starts");
        world.pass(SECOND);
        let mut other = spec.clone();
        change(&mut other.exporters, "test/e", 2);
        let (engine, outcome) = world.reload(engine, &other);
        assert_eq!(outcome, Ok(()));
        world.pass(SECOND);
        stop_at_once(&world, engine);
        assert!(world.delivered("test/e").starts_with(&[0, 1]));
    }
}

#[test]
fn what_is_acknowledged_has_time_left_when_a_receiver_never_ends() {
    let (world, mut spec) = (
        World::new(1),
        service(&[], vec![pipeline("logs", &["test/r", "test/held"], &["batch"], &["test/e"])]),
    );
    spec.processors[0].node = weir_config::parse_body("timeout: 100s").expect("YAML");
    world.script(&spec);
    let slow = |_: usize, _: &Payload| Reply::After(SECOND, Box::new(Reply::Accept));
    world.exporter("test/e", patient(Some(QueueSettings::default())), slow);
    world.sends("test/r", &[(Logs, 0, 2)]);
    world.lab.receiver("test/held", ReceiverScript { ignores_stop: true, ..ReceiverScript::default() });
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    assert_eq!(world.heard(0), Ok(()));
    let stopped = world.stop(engine, 10 * SECOND);
    assert_eq!(world.delivered("test/e"), [0, 1]);
    assert_eq!((stopped.unfinished, stopped.undelivered), (vec!["receiver test/held".to_owned()], vec![]));
}

#[test]
fn a_memory_queue_that_is_cut_off_at_the_deadline_counts_what_it_had_acknowledged() {
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    let delivery = DeliverySettings { queue: Some(QueueSettings::default()), ..direct() };
    world.exporter("test/e", delivery, |_, _| Reply::Hang);
    world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 3)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    let stopped = world.stop(engine, SECOND);
    assert_eq!(stopped.unfinished, ["exporter test/e (logs)"]);
    assert_eq!((world.heard(0), world.heard(10)), (Ok(()), Ok(())));
    assert_eq!(world.count("otelcol_exporter_send_failed_log_records", "test/e"), 5);
    assert_eq!(world.count("otelcol_exporter_queue_size", "test/e"), 0);
}

/// A pipeline in which something panics beside one in which nothing does.
fn beside() -> ServiceSpec {
    service(
        &[],
        vec![
            pipeline("logs", &["test/r"], &["test/p"], &["test/e"]),
            pipeline("traces", &["test/other"], &["test/q"], &["test/f"]),
        ],
    )
}

/// `culprit` is reported as fatal; until the agent ends, others go on.
fn run_with_a_panic(world: &World, spec: &ServiceSpec, culprit: &str) {
    let engine = world.start(spec).expect("starts");
    world.pass(SECOND);
    let (id, failure, engine) = world
        .simulation
        .run(async move {
            let (id, failure) = engine.failed().await;
            (id, failure, engine)
        })
        .expect("it is told");
    assert_eq!(id, culprit);
    assert!(failure.message().starts_with("panicked: a test "), "{failure}");
    let stopped = world.stop(engine, 10 * SECOND);
    assert_eq!(stopped.unfinished, Vec::<String>::new(), "the engine can stop");
    assert_eq!(world.took("test/f"), [(Traces, vec![100, 101])], "others go on");
    assert!(world.heard(100).is_ok());
}

#[test]
fn when_a_stage_panics_its_batches_are_reported_and_others_go_on() {
    for seed in 0..50 {
        let (world, spec) = (World::new(seed), beside());
        world.script(&spec);
        world.lab.processor("test/p", Role::Panic(1));
        world.exporter("test/e", waiting(), |_, _| Reply::Accept);
        world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 2), (Logs, 20, 2)]);
        world.sends("test/other", &[(Traces, 100, 2)]);
        run_with_a_panic(&world, &spec, "test/p");
        assert!(world.heard(0).is_ok(), "it was handed on before");
        for first in [10, 20] {
            assert_eq!(world.heard(first).expect_err("lost").0, Kind::Abandoned);
        }
    }
}

#[test]
fn when_an_exporter_panics_its_batches_are_reported_and_others_go_on() {
    for seed in 0..50 {
        let (world, spec) = (World::new(seed), beside());
        world.script(&spec);
        world.exporter("test/e", waiting(), |_, _| {
            Reply::After(Duration::from_millis(10), Box::new(Reply::Panic))
        });
        world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 2)]);
        world.sends("test/other", &[(Traces, 100, 2)]);
        run_with_a_panic(&world, &spec, "test/e");
        for first in [0, 10] {
            assert_eq!(world.heard(first).expect_err("lost").0, Kind::Abandoned);
        }
    }
}

#[test]
fn when_an_exporter_panics_in_the_task_of_its_sender_it_is_the_exporter_that_is_reported() {
    let (world, mut spec) = (World::new(1), beside());
    spec.pipelines.push(pipeline("logs/2", &["test/r2"], &[], &["test/e"]));
    spec.receivers.push(component("test/r2"));
    world.script(&spec);
    world.exporter("test/e", direct(), |_, _| Reply::Panic);
    world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 2)]);
    world.sends("test/r2", &[(Logs, 20, 2), (Logs, 30, 2)]);
    world.sends("test/other", &[(Traces, 100, 2)]);
    run_with_a_panic(&world, &spec, "test/e");
    for first in [0, 10, 20, 30] {
        assert_eq!(world.heard(first).expect_err("lost").0, Kind::Abandoned, "stage and receiver go on");
    }
}

#[test]
fn when_a_receiver_panics_what_it_had_sent_is_delivered_and_others_go_on() {
    let (world, spec) = (World::new(1), beside());
    world.script(&spec);
    let parcel = weir_testkit::Parcel { after: Duration::ZERO, signal: Logs, first: 0, items: 2 };
    let script = ReceiverScript { clients: vec![vec![parcel]], panics: true, ..ReceiverScript::default() };
    world.lab.receiver("test/r", script);
    world.sends("test/other", &[(Traces, 100, 2)]);
    run_with_a_panic(&world, &spec, "test/r");
    assert_eq!(world.took("test/e"), [(Logs, vec![0, 1])]);
}

#[test]
fn a_panicked_task_is_not_named_among_those_that_a_deadline_cut_off() {
    let (world, spec) = (World::new(1), beside());
    world.script(&spec);
    world.lab.processor("test/p", Role::Panic(0));
    world.lab.processor("test/q", Role::Stuck);
    world.sends("test/r", &[(Logs, 0, 2)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    let mut unfinished = world.stop(engine, SECOND).unfinished;
    unfinished.sort();
    assert_eq!(unfinished, ["exporter test/f (traces)", "test/q"]);
}

#[test]
#[expect(clippy::panic, reason = "it is about panics")]
fn a_transform_that_panics_is_reported_and_its_batch_is_refused_for_good() {
    let (world, spec) = (World::new(1), beside());
    world.script(&spec);
    world.lab.processor("test/p", Role::transform(|_| panic!("a test transform panics")));
    world.sends("test/r", &[(Logs, 0, 2)]);
    world.sends("test/other", &[(Traces, 100, 2)]);
    run_with_a_panic(&world, &spec, "test/p");
    let refused = (Kind::Permanent, "panicked: a test transform panics".to_owned());
    assert_eq!(world.heard(0), Err(refused));
}

#[test]
fn a_stop_names_how_many_acknowledged_items_of_which_exporter_were_not_delivered() {
    let (world, spec) = (World::new(1), front_and_back());
    world.script(&spec);
    let refuse = |_: usize, _: &Payload| Reply::Fail(Failure::retry("connection refused"));
    world.exporter("test/e", DeliverySettings::default(), refuse);
    world.sends("test/r", &[(Logs, 0, 2), (Logs, 10, 3)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    let stopped = world.stop(engine, 10 * SECOND);
    assert_eq!(stopped.unfinished, Vec::<String>::new());
    assert_eq!(stopped.undelivered, [("test/e".to_owned(), Logs, 5)]);
    assert!(!stopped.is_clean());
}
