//! What a batch processor has acknowledged when the queue behind it has no room.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_component::{DeliverySettings, Failure, Kind, QueueSettings, RetrySettings, Sizer};
use weir_engine::{ComponentSpec, Engine, PipelineSpec, ServiceSpec};
use weir_pdata::Signal::Logs;
use weir_testkit::{Parcel, ReceiverScript, Reply, logged};

use crate::support::{SECOND, World, change, component, direct, pipeline, service};

const PARCELS: i64 = 40;

/// A service whose `batch` makes one batch of each request.
fn batched(pipelines: Vec<PipelineSpec>) -> ServiceSpec {
    batched_by("send_batch_size: 1", pipelines)
}

fn batched_by(settings: &str, pipelines: Vec<PipelineSpec>) -> ServiceSpec {
    let mut spec = service(&[], pipelines);
    spec.processors.retain(|processor| processor.id != "batch");
    let node = weir_config::parse_body(settings).expect("YAML");
    spec.processors.push(ComponentSpec { id: "batch".to_owned(), node });
    spec
}

fn one_way() -> ServiceSpec {
    batched(vec![pipeline("logs", &["test/r"], &["batch"], &["test/e"])])
}

/// Room for four requests, tried again each second without end.
fn small_queue() -> QueueSettings {
    QueueSettings { queue_size: 4, num_consumers: 2, ..QueueSettings::default() }
}

fn delivery(queue: QueueSettings) -> DeliverySettings {
    let retry = RetrySettings {
        initial_interval: SECOND,
        max_interval: SECOND,
        max_elapsed_time: Duration::ZERO,
        ..RetrySettings::default()
    };
    DeliverySettings { retry: Some(retry), queue: Some(queue), ..DeliverySettings::default() }
}

/// An exporter whose backend is down until the returned flag says that it is up.
fn down(world: &World, id: &str, queue: QueueSettings) -> Arc<AtomicBool> {
    down_by(world, id, delivery(queue))
}

fn down_by(world: &World, id: &str, delivery: DeliverySettings) -> Arc<AtomicBool> {
    let up = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&up);
    world.exporter(id, delivery, move |_, _| match flag.load(Ordering::Relaxed) {
        true => Reply::Accept,
        false => Reply::Fail(Failure::retry("connection refused")),
    });
    up
}

/// A client sends [`PARCELS`] requests, ten a second.
fn start(world: &World, spec: &ServiceSpec) -> Engine {
    let parcel = |first| Parcel { after: SECOND / 10, signal: Logs, first, items: 1 };
    let clients = vec![(0..PARCELS).map(parcel).collect()];
    world.lab.receiver("test/r", ReceiverScript { clients, ..ReceiverScript::default() });
    world.start(spec).expect("starts")
}

/// Those that were accepted; all others heard that they have to send again.
fn accepted(world: &World) -> Vec<i64> {
    let heard = |first: &i64| match world.heard(*first) {
        Ok(()) => true,
        Err((kind, text)) => {
            assert_eq!(kind, Kind::Retry(None));
            assert!(text.starts_with("no room behind it: "), "{text}");
            false
        }
    };
    (0..PARCELS).filter(heard).collect()
}

fn lost(world: &World) -> u64 {
    world.count("otelcol_processor_batch_lost_items", "batch")
}

#[test]
fn while_the_only_backend_is_down_senders_are_refused_and_nothing_acknowledged_is_lost() {
    for seed in 0..20 {
        let (world, spec) = (World::new(seed), one_way());
        world.script(&spec);
        let up = down(&world, "test/e", small_queue());
        let engine = start(&world, &spec);
        world.pass(10 * SECOND);
        let accepted = accepted(&world);
        assert_eq!(accepted.len(), 5, "four fill the queue and one waits for room: {accepted:?}");
        up.store(true, Ordering::Relaxed);
        world.pass(10 * SECOND);
        assert_eq!((world.delivered("test/e"), lost(&world)), (accepted, 0));
        assert!(world.stop(engine, 10 * SECOND).is_clean());
    }
}

#[test]
fn a_backend_that_is_slow_is_waited_for() {
    let (world, spec) = (World::new(1), one_way());
    world.script(&spec);
    let slow = |_: usize, _: &weir_pdata::Payload| Reply::After(SECOND / 2, Box::new(Reply::Accept));
    world.exporter("test/e", delivery(small_queue()), slow);
    let engine = start(&world, &spec);
    world.pass(60 * SECOND);
    assert_eq!(accepted(&world), (0..PARCELS).collect::<Vec<_>>(), "room comes within the patience");
    assert_eq!((world.delivered("test/e"), lost(&world)), ((0..PARCELS).collect(), 0));
    world.stop(engine, 10 * SECOND);
}

#[test]
fn pipelines_that_share_a_receiver_and_their_only_exporter_lose_nothing_either() {
    let ways =
        |n: usize| (0..n).map(|i| pipeline(&format!("logs/{i}"), &["test/r"], &["batch"], &["test/e"]));
    for seed in 0..20 {
        let (world, spec) = (World::new(seed), batched(ways(3).collect()));
        world.script(&spec);
        let up = down(&world, "test/e", small_queue());
        let engine = start(&world, &spec);
        world.pass(10 * SECOND);
        let accepted = accepted(&world);
        assert!((1..=5).contains(&accepted.len()), "{accepted:?}");
        up.store(true, Ordering::Relaxed);
        world.pass(10 * SECOND);
        let delivered = world.delivered("test/e");
        for id in &accepted {
            assert_eq!(delivered.iter().filter(|it| *it == id).count(), 3, "{id}, once by each pipeline");
        }
        assert_eq!(lost(&world), 0);
        assert!(world.stop(engine, 10 * SECOND).is_clean());
    }
    // An exporter, or an instance, that others have to do with is not held up.
    let apart = pipeline("logs", &["test/r"], &["batch"], &["test/well"]);
    let shared = pipeline("logs", &["test/r"], &["shared/x"], &["test/e"]);
    for other in [apart, shared] {
        let (world, spec) = (World::new(1), batched(ways(2).chain([other]).collect()));
        world.script(&spec);
        down(&world, "test/e", small_queue());
        let engine = start(&world, &spec);
        world.pass(20 * SECOND);
        assert!(lost(&world) > 0);
        world.stop(engine, 10 * SECOND);
    }
}

#[test]
fn a_backend_that_is_down_stops_neither_another_exporter_nor_another_pipeline() {
    let beside = || pipeline("logs", &["test/r"], &["batch"], &["test/e", "test/well"]);
    let apart = || {
        vec![
            pipeline("logs", &["test/r"], &["batch"], &["test/e"]),
            pipeline("logs/other", &["test/r"], &["batch"], &["test/well"]),
        ]
    };
    for pipelines in [vec![beside()], apart()] {
        let (world, spec) = (World::new(1), batched(pipelines));
        world.script(&spec);
        let up = down(&world, "test/e", small_queue());
        let engine = start(&world, &spec);
        world.pass(20 * SECOND);
        assert_eq!(accepted(&world).len(), 40);
        assert_eq!(world.delivered("test/well").len(), 40);
        up.store(true, Ordering::Relaxed);
        world.pass(10 * SECOND);
        let delivered = world.delivered("test/e").len();
        assert_eq!((delivered, lost(&world)), (4, 36), "what found no room is counted");
        world.stop(engine, 10 * SECOND);
    }
}

#[test]
fn with_block_on_overflow_senders_wait_and_are_not_refused() {
    let (world, spec) = (World::new(1), one_way());
    world.script(&spec);
    let up = down(&world, "test/e", QueueSettings { block_on_overflow: true, ..small_queue() });
    let engine = start(&world, &spec);
    world.pass(100 * SECOND);
    assert_eq!(world.lab.outcomes(20), [], "it waits");
    up.store(true, Ordering::Relaxed);
    world.pass(10 * SECOND);
    assert_eq!(world.delivered("test/e"), (0..PARCELS).collect::<Vec<_>>());
    world.stop(engine, 10 * SECOND);
}

#[test]
fn a_stop_tries_what_waits_for_room_once_more_and_names_what_it_cannot_deliver() {
    for (recovers, block_on_overflow) in [(true, false), (true, true), (false, false), (false, true)] {
        let (world, spec) = (World::new(1), one_way());
        world.script(&spec);
        let retry = RetrySettings { initial_interval: 25 * SECOND, ..RetrySettings::default() };
        let queue = QueueSettings { block_on_overflow, ..small_queue() };
        let up = down_by(&world, "test/e", DeliverySettings { retry: Some(retry), ..delivery(queue) });
        let engine = start(&world, &spec);
        world.pass(10 * SECOND);
        up.store(recovers, Ordering::Relaxed);
        let begun = world.clock.now();
        let stopped = world.stop(engine, 10 * SECOND);
        assert!(world.clock.now() - begun < SECOND, "no pause is waited for");
        let undelivered: usize = stopped.undelivered.iter().map(|(_, _, items)| items).sum();
        assert_eq!(world.delivered("test/e").len() + undelivered, accepted(&world).len());
        assert_eq!((lost(&world), stopped.is_clean()), (0, recovers));
    }
}

#[test]
fn a_stop_lets_in_what_would_wait_a_moment_for_room_beside_another_exporter() {
    let pipelines = vec![pipeline("logs", &["test/r"], &["batch"], &["test/e", "test/well"])];
    let (world, spec) = (World::new(1), batched_by("timeout: 2s", pipelines));
    world.script(&spec);
    let slow = |_: usize, _: &weir_pdata::Payload| Reply::After(2 * SECOND, Box::new(Reply::Accept));
    world.exporter("test/e", delivery(QueueSettings { queue_size: 1, ..small_queue() }), slow);
    let engine = start(&world, &spec);
    // The first batch is under way, and the second forms.
    world.pass(3 * SECOND);
    let stopped = world.stop(engine, 10 * SECOND);
    assert!(world.delivered("test/e").len() > 25, "both");
    assert_eq!((world.delivered("test/e"), lost(&world)), (world.delivered("test/well"), 0));
    assert!(stopped.is_clean());
}

#[test]
fn a_reload_that_adds_an_exporter_lets_the_first_lose_rather_than_stop_it() {
    let (world, spec) = (World::new(1), one_way());
    let both = batched(vec![pipeline("logs", &["test/r"], &["batch"], &["test/e", "test/well"])]);
    world.script(&both);
    let up = down(&world, "test/e", small_queue());
    let engine = start(&world, &spec);
    world.pass(2 * SECOND);
    let (engine, outcome) = world.reload(engine, &both);
    assert_eq!(outcome, Ok(()));
    up.store(true, Ordering::Relaxed);
    world.pass(2 * SECOND);
    up.store(false, Ordering::Relaxed);
    world.pass(20 * SECOND);
    assert!(world.delivered("test/well").len() > 10);
    assert_eq!(world.heard(PARCELS - 1), Ok(()), "not refused any more");
    world.stop(engine, 10 * SECOND);
}

#[test]
fn a_reload_that_cannot_start_leaves_senders_refused_as_before() {
    let (world, spec) = (World::new(1), one_way());
    let both = batched(vec![pipeline("logs", &["test/r"], &["batch"], &["test/e", "test/well"])]);
    world.script(&both);
    down(&world, "test/e", small_queue());
    world.exporter("test/well", delivery(small_queue()), |_, _| Reply::RefuseStart("no".to_owned()));
    let engine = start(&world, &spec);
    let (engine, outcome) = world.reload(engine, &both);
    assert!(outcome.is_err());
    world.pass(10 * SECOND);
    assert_eq!((accepted(&world).len(), lost(&world)), (5, 0), "four fill the queue and one waits for room");
    world.stop(engine, 10 * SECOND);
}

#[test]
fn a_reload_that_mends_the_exporter_takes_effect_although_a_batch_waits_at_the_one_before() {
    let blocks = QueueSettings { block_on_overflow: true, ..small_queue() };
    let waits = QueueSettings { wait_for_result: true, ..small_queue() };
    for queue in [Some(small_queue()), Some(blocks), Some(waits), None] {
        let (world, mut spec) = (World::new(1), one_way());
        world.script(&spec);
        let up =
            down_by(&world, "test/e", DeliverySettings { queue: queue.clone(), ..delivery(small_queue()) });
        let engine = start(&world, &spec);
        world.pass(SECOND);
        world.exporter("test/e", delivery(small_queue()), |_, _| Reply::Accept);
        change(&mut spec.exporters, "test/e", 2);
        let (engine, outcome) = world.reload(engine, &spec);
        assert_eq!(outcome, Ok(()));
        world.pass(SECOND);
        let soon = world.delivered("test/e").len();
        assert!(soon > 5, "{soon} came to the new backend, {queue:?}");
        world.pass(10 * SECOND);
        let (accepted, early) = (accepted(&world), world.delivered("test/e").len());
        assert!(accepted.len() > 30 && early < accepted.len(), "{early} of {accepted:?} for {queue:?}");
        up.store(true, Ordering::Relaxed);
        world.pass(10 * SECOND);
        assert_eq!((world.delivered("test/e"), lost(&world)), (accepted, 0), "{queue:?}");
        assert!(world.stop(engine, 10 * SECOND).is_clean());
    }
}

#[test]
fn a_batch_that_is_larger_than_the_queue_behind_it_goes_in_parts() {
    let one = weir_testkit::payload(Logs, 0, 1).encoded_len();
    let items = QueueSettings { sizer: Sizer::Items, queue_size: 10, ..QueueSettings::default() };
    let bytes = QueueSettings { max_bytes: 10 * one, ..QueueSettings::default() };
    let alone = || pipeline("logs", &["test/r"], &["batch"], &["test/e"]);
    let beside = || pipeline("logs", &["test/r"], &["batch"], &["test/e", "test/well"]);
    for (queue, pipe) in [(&items, alone()), (&bytes, alone()), (&items, beside()), (&bytes, beside())] {
        let (world, spec) = (World::new(1), batched_by("timeout: 5s", vec![pipe]));
        world.script(&spec);
        world.exporter("test/e", delivery(queue.clone()), |_, _| Reply::Accept);
        let engine = start(&world, &spec);
        world.pass(10 * SECOND);
        assert_eq!(accepted(&world).len(), 40);
        assert_eq!((world.delivered("test/e"), lost(&world)), ((0..PARCELS).collect(), 0));
        assert!(world.stop(engine, 10 * SECOND).is_clean());
    }
}

#[test]
fn what_never_came_as_far_as_a_queue_is_named_at_the_end_too() {
    let waits = QueueSettings { wait_for_result: true, ..QueueSettings::default() };
    for queue in [Some(waits), None] {
        let (world, spec) = (World::new(1), batched_by("timeout: 100s", one_way().pipelines));
        world.script(&spec);
        let settings = DeliverySettings { queue, ..delivery(small_queue()) };
        world.exporter("test/e", settings, |_, _| Reply::Fail(Failure::retry("connection refused")));
        let engine = start(&world, &spec);
        world.pass(10 * SECOND);
        assert_eq!(accepted(&world).len(), 40);
        let stopped = world.stop(engine, 10 * SECOND);
        assert_eq!(stopped.unsent, [("batch".to_owned(), Logs, 40)]);
        assert!(!stopped.is_clean() && stopped.undelivered.is_empty() && stopped.unfinished.is_empty());
    }
}

#[test]
fn what_is_lost_in_the_moment_in_which_the_end_begins_is_named_too() {
    let (world, spec) = (World::new(1), one_way());
    world.script(&spec);
    down_by(&world, "test/e", DeliverySettings { queue: None, ..delivery(small_queue()) });
    let engine = start(&world, &spec);
    world.pass(10 * SECOND);
    let acknowledged = accepted(&world).len();
    world.simulation.wake_at_once();
    let stopped = world.stop(engine, 10 * SECOND);
    assert!(acknowledged > 0);
    assert_eq!(stopped.unsent, [("batch".to_owned(), Logs, acknowledged)]);
}

/// A service of which the queue of `test/disk` is on disk in `directory`.
fn beside_a_disk(world: &World, directory: &Path, pipelines: Vec<PipelineSpec>) -> ServiceSpec {
    let mut spec = batched_by("{timeout: 1h, send_batch_size: 20}", pipelines);
    spec.connectors.push(component("same/c"));
    for list in [&mut spec.receivers, &mut spec.exporters] {
        list.retain(|spec| spec.id != "same/c");
    }
    world.script(&spec);
    let storage = format!("directory: {}", directory.display());
    let node = weir_config::parse_body(&storage).expect("YAML");
    spec.extensions.push(ComponentSpec { id: "file_storage".to_owned(), node });
    let queue = QueueSettings { storage: Some("file_storage".to_owned()), ..QueueSettings::default() };
    world.exporter("test/disk", delivery(queue), |_, _| Reply::Accept);
    spec
}

#[test]
fn where_a_durable_queue_has_the_batch_processor_left_out_the_queues_beside_it_batch_by_its_settings() {
    let beside = vec![pipeline("logs", &["test/r"], &["batch"], &["test/memory", "test/disk"])];
    let behind_connector = vec![
        pipeline("logs/in", &["test/r"], &["batch"], &["same/c", "test/disk"]),
        pipeline("logs/out", &["same/c"], &[], &["test/memory"]),
    ];
    let named_before = vec![
        pipeline("logs/other", &["test/none"], &["batch"], &["test/memory"]),
        pipeline("logs", &["test/r"], &["batch"], &["test/memory", "test/disk"]),
    ];
    for pipelines in [beside, behind_connector, named_before] {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::new(1);
        let spec = beside_a_disk(&world, directory.path(), pipelines);
        let engine = start(&world, &spec);
        world.pass(10 * SECOND);
        let halves = [(Logs, (0..20).collect()), (Logs, (20..PARCELS).collect())];
        assert_eq!(world.took("test/memory"), halves, "{:?}", spec.pipelines);
        assert_eq!(world.took("test/disk"), halves, "{:?}", spec.pipelines);
        assert!(world.stop(engine, 10 * SECOND).is_clean());
    }
}

#[test]
fn an_exporter_without_a_queue_beside_a_durable_one_is_named_and_what_has_a_batch_processor_keeps_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::new(1);
    let pipelines = vec![
        pipeline("logs", &["test/r"], &["batch"], &["test/direct", "test/disk"]),
        pipeline("logs/apart", &["test/r"], &["batch"], &["test/apart"]),
    ];
    let spec = beside_a_disk(&world, directory.path(), pipelines);
    for id in ["test/direct", "test/apart"] {
        world.exporter(id, direct(), |_, _| Reply::Accept);
    }
    let mut started = None;
    let lines = logged(tracing::level_filters::LevelFilter::WARN, || started = Some(start(&world, &spec)));
    let named: Vec<_> = lines.iter().filter(|line| line.contains("requests go to it as they come")).collect();
    assert!(matches!(named[..], [line] if line.contains("test/direct")), "{lines:?}");
    world.pass(10 * SECOND);
    assert_eq!(world.took("test/direct").len(), 40);
    assert_eq!(world.took("test/apart").len(), 2);
    assert!(world.stop(started.expect("started"), 10 * SECOND).is_clean());
}

#[test]
fn a_reload_that_takes_the_durable_queue_away_takes_the_batching_behind_the_queues_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::new(1);
    let pipelines = vec![pipeline("logs", &["test/r"], &["batch"], &["test/memory", "test/disk"])];
    let spec = beside_a_disk(&world, directory.path(), pipelines);
    let engine = start(&world, &spec);
    let mut without = spec;
    without.pipelines[0].exporters.pop();
    without.pipelines[0].processors.clear();
    let (engine, outcome) = world.reload(engine, &without);
    assert_eq!(outcome, Ok(()));
    world.pass(10 * SECOND);
    assert_eq!(world.took("test/memory").len(), 40);
    assert!(world.stop(engine, 10 * SECOND).is_clean());
}
