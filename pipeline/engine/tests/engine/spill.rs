//! What a stop leaves in memory, where a storage runs that the exporter does not name.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use weir_component::{DeliverySettings, Failure, QueueSettings, RetrySettings};
use weir_engine::{ComponentSpec, ServiceSpec};
use weir_pdata::Payload;
use weir_pdata::Signal::Logs;
use weir_testkit::{Event, Parcel, ReceiverScript, Reply};

use crate::random::Dice;
use crate::support::{SECOND, World, change, pipeline, service};

const PARCELS: i64 = 30;

/// A receiver and an exporter, and these storages.
fn way(storages: &[(&str, &Path)]) -> ServiceSpec {
    let mut spec = service(&[], vec![pipeline("logs", &["test/r"], &[], &["test/e"])]);
    spec.extensions = storages.iter().map(|(id, directory)| storage(id, directory)).collect();
    spec
}

fn storage(id: &str, directory: &Path) -> ComponentSpec {
    let body = format!("directory: {}", directory.display());
    ComponentSpec { id: id.to_owned(), node: weir_config::parse_body(&body).expect("YAML") }
}

fn in_memory() -> DeliverySettings {
    let queue = QueueSettings { num_consumers: 3, ..QueueSettings::default() };
    let retry = RetrySettings { max_elapsed_time: Duration::ZERO, ..RetrySettings::default() };
    DeliverySettings { retry: Some(retry), queue: Some(queue), ..DeliverySettings::default() }
}

fn down(_: usize, _: &Payload) -> Reply {
    Reply::Fail(Failure::retry("connection refused"))
}

/// A world whose client sends one item every tenth of a second.
fn world(seed: u64, spec: &ServiceSpec) -> World {
    let world = World::new(seed);
    world.script(spec);
    let parcel = |first| Parcel { after: SECOND / 10, signal: Logs, first, items: 1 };
    let clients = vec![(0..PARCELS).map(parcel).collect()];
    world.lab.receiver("test/r", ReceiverScript { clients, ..ReceiverScript::default() });
    world
}

/// The ids that were acknowledged.
fn acknowledged(world: &World) -> BTreeSet<i64> {
    (0..PARCELS).filter(|first| world.lab.outcomes(*first).iter().any(Result::is_ok)).collect()
}

/// What another start with a backend that is well delivers.
fn found(spec: &ServiceSpec) -> Vec<i64> {
    let world = World::new(1);
    world.script(spec);
    world.exporter("test/e", in_memory(), |_, _| Reply::Accept);
    let engine = world.start(spec).expect("starts");
    world.pass(SECOND);
    let delivered = world.delivered("test/e");
    assert!(world.stop(engine, SECOND).is_clean());
    delivered
}

#[test]
fn whatever_the_backend_does_and_whenever_it_is_stopped_all_that_was_acknowledged_comes() {
    let (mut moved, mut twice) = (0, 0);
    for seed in 0..100 {
        let directory = tempfile::tempdir().expect("a directory");
        let spec = way(&[("file_storage", directory.path())]);
        let world = world(seed, &spec);
        world.exporter("test/e", in_memory(), move |n, payload| {
            let mut dice = Dice::new(seed << 32 | (n as u64) << 8 | payload.items() as u64);
            match dice.below(4) {
                0 => Reply::Accept,
                1 => down(n, payload),
                2 => Reply::Hang,
                _ => Reply::After(
                    SECOND,
                    Box::new(if dice.below(2) == 0 { Reply::Accept } else { down(n, payload) }),
                ),
            }
        });
        let engine = world.start(&spec).expect("starts");
        world.pass(SECOND / 10 * Dice::new(seed).below(40) as u32);
        let stopped = world.stop(engine, 4 * SECOND);
        assert!(stopped.is_clean(), "seed {seed}: {stopped:?}");
        let (sent, before, after) = (acknowledged(&world), world.delivered("test/e"), found(&spec));
        let came: BTreeSet<i64> = before.iter().chain(&after).copied().collect();
        assert_eq!(came, sent, "seed {seed}");
        assert!(
            before.len() + after.len() <= sent.len() + 3,
            "seed {seed}: only what was under way comes twice"
        );
        moved += after.len();
        twice += before.len() + after.len() - sent.len();
        assert_eq!(found(&spec), [0; 0], "seed {seed}");
    }
    assert!(moved > 300, "{moved} were moved, {twice} came twice");
}

#[test]
fn attempts_have_three_quarters_of_the_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let spec = way(&[("file_storage", directory.path())]);
    let world = world(1, &spec);
    world.exporter("test/e", DeliverySettings { timeout: 60 * SECOND, ..in_memory() }, |_, _| Reply::Hang);
    let engine = world.start(&spec).expect("starts");
    world.pass(10 * SECOND);
    let begun = world.clock.now();
    assert!(world.stop(engine, 8 * SECOND).is_clean());
    assert_eq!(world.clock.now() - begun, 6 * SECOND);
    assert_eq!(found(&spec).len(), 30);
}

#[test]
fn of_several_storages_it_is_the_first_and_an_exporter_whose_senders_wait_needs_none() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let spec = way(&[("file_storage/b", first.path()), ("file_storage/a", second.path())]);
    for waits in [false, true] {
        let world = world(1, &spec);
        let mut delivery = in_memory();
        if let Some(queue) = &mut delivery.queue {
            queue.wait_for_result = waits;
        }
        world.exporter("test/e", delivery, down);
        let engine = world.start(&spec).expect("starts");
        world.pass(SECOND);
        assert!(world.stop(engine, 4 * SECOND).is_clean());
        let is_there = |directory: &Path| directory.join("exporter_test_e_logs").exists();
        assert_eq!((is_there(first.path()), is_there(second.path())), (!waits, false));
        std::fs::remove_dir_all(first.path().join("exporter_test_e_logs")).ok();
    }
}

#[test]
fn what_is_in_memory_goes_to_the_storage_that_runs_at_the_end_whatever_reloads_did() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let (with, other) = (way(&[("file_storage", first.path())]), way(&[("file_storage", second.path())]));
        let mut bounded = other.clone();
        bounded.extensions[0].node =
            weir_config::parse_body(&format!("directory: {}\nmax_size: 1048576", second.path().display()))
                .expect("YAML");
        let world = world(seed, &way(&[]));
        world.exporter("test/e", in_memory(), down);
        let created = || {
            let journal = world.lab.journal();
            journal.iter().filter(|e| e.who == "test/e" && matches!(e.event, Event::Created)).count()
        };
        let mut engine = world.start(&way(&[])).expect("starts");
        for spec in [&with, &way(&[]), &other, &bounded] {
            world.pass(SECOND / 2);
            let (next, outcome) = world.reload(engine, spec);
            assert_eq!(outcome, Ok(()));
            engine = next;
        }
        assert_eq!(created(), 1, "the exporter goes on");
        // And another one that a reload has taken out.
        let mut changed = bounded.clone();
        change(&mut changed.exporters, "test/e", 2);
        let (engine, outcome) = world.reload(engine, &changed);
        assert_eq!(outcome, Ok(()));
        world.pass(5 * SECOND);
        let begun = world.clock.now();
        let stopped = world.stop(engine, 4 * SECOND);
        assert!(stopped.is_clean(), "seed {seed}: {stopped:?}");
        assert_eq!(world.clock.now(), begun, "seed {seed}: none waits until the other has closed it");
        assert_eq!(found(&with), [0; 0], "seed {seed}");
        assert_eq!(found(&other), acknowledged(&world).into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}
