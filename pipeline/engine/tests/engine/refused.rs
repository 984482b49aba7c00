//! What a reload that could not start leaves behind: nothing.

use std::path::Path;
use std::sync::Arc;

use weir_component::{DeliverySettings, Failure, QueueSettings, RetrySettings, Storage};
use weir_engine::{ComponentSpec, ServiceSpec};
use weir_pdata::Payload;
use weir_pdata::Signal::Logs;
use weir_testkit::{ReceiverScript, Reply};

use crate::support::{SECOND, World, change, component, pipeline, service};

/// A storage in that directory.
fn storage(id: &str, directory: &Path) -> ComponentSpec {
    let body = format!("directory: {}", directory.display());
    ComponentSpec { id: id.to_owned(), node: weir_config::parse_body(&body).expect("YAML") }
}

/// A receiver and an exporter whose queue is on disk in `directory`.
fn on_disk(world: &World, directory: &Path) -> ServiceSpec {
    let mut spec = service(&[], vec![pipeline("logs", &["test/r"], &[], &["test/e"])]);
    world.script(&spec);
    spec.extensions.push(storage("file_storage", directory));
    spec
}

fn durable() -> DeliverySettings {
    let queue = QueueSettings {
        storage: Some("file_storage".to_owned()),
        num_consumers: 1,
        ..QueueSettings::default()
    };
    let retry = RetrySettings { max_elapsed_time: std::time::Duration::ZERO, ..RetrySettings::default() };
    DeliverySettings { retry: Some(retry), queue: Some(queue), ..DeliverySettings::default() }
}

/// Adds a receiver whose port is taken, which takes it a second to find out.
fn refuse(world: &World, spec: &mut ServiceSpec) {
    spec.receivers.push(component("test/taken"));
    spec.pipelines[0].receivers.push("test/taken".to_owned());
    let fails_to_start = Some("listen tcp 127.0.0.1:4317: bind: address already in use".to_owned());
    let taken = ReceiverScript { starts_for: SECOND, fails_to_start, ..ReceiverScript::default() };
    world.lab.receiver("test/taken", taken);
}

fn offered(world: &World, id: &str) -> Option<Arc<dyn Storage>> {
    world.host.extension(id).and_then(|offered| offered.storage)
}

#[test]
fn nothing_of_a_shared_queue_is_delivered_by_settings_that_were_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::new(1);
    let spec = on_disk(&world, directory.path());
    world.exporter("test/e", durable(), |_, _| Reply::Fail(Failure::retry("connection refused")));
    world.sends("test/r", &[(Logs, 0, 1), (Logs, 10, 1), (Logs, 20, 1)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    assert_eq!([0, 10, 20].map(|first| world.heard(first)), [Ok(()), Ok(()), Ok(())]);

    let mut wrong = spec.clone();
    change(&mut wrong.exporters, "test/e", 2);
    world.exporter("test/e", durable(), |_, _| Reply::Accept);
    refuse(&world, &mut wrong);
    let (engine, outcome) = world.reload(engine, &wrong);
    assert!(outcome.as_ref().is_err_and(|e| e.contains("address already in use")), "{outcome:?}");
    world.pass(SECOND);
    assert_eq!(world.lab.delivered("test/e"), [] as [i64; 0]);

    let mut right = spec;
    change(&mut right.exporters, "test/e", 2);
    let (engine, outcome) = world.reload(engine, &right);
    assert_eq!(outcome, Ok(()));
    world.pass(60 * SECOND);
    world.stop(engine, SECOND);
    assert_eq!(world.lab.delivered("test/e").len(), 3, "the queue was only lent");
}

/// What the exporter holds, as it is shown.
fn size(world: &World) -> u64 {
    world.count("otelcol_exporter_queue_size", "test/e")
}

#[test]
fn the_size_of_a_queue_is_shown_as_it_is_whether_another_configuration_is_refused_or_takes_over() {
    let in_memory = || DeliverySettings { queue: Some(QueueSettings::default()), ..durable() };
    let ways = [
        (in_memory(), in_memory()),
        (in_memory(), durable()),
        (durable(), in_memory()),
        (durable(), durable()),
    ];
    for (way, (old, new)) in ways.into_iter().enumerate() {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::new(1);
        let spec = on_disk(&world, directory.path());
        let down = |_: usize, _: &Payload| Reply::Fail(Failure::retry("connection refused"));
        world.exporter("test/e", old, down);
        world.sends("test/r", &[(Logs, 0, 1), (Logs, 10, 1), (Logs, 20, 1)]);
        let engine = world.start(&spec).expect("starts");
        world.pass(SECOND);
        assert_eq!(size(&world), 3);

        let mut wrong = spec.clone();
        change(&mut wrong.exporters, "test/e", 2);
        world.exporter("test/e", new, down);
        refuse(&world, &mut wrong);
        let (engine, outcome) = world.reload(engine, &wrong);
        world.pass(SECOND);
        assert_eq!((outcome.is_err(), size(&world)), (true, 3), "way {way}");

        let mut right = spec;
        change(&mut right.exporters, "test/e", 2);
        let (engine, outcome) = world.reload(engine, &right);
        assert_eq!(outcome, Ok(()));
        world.pass(SECOND);
        assert_eq!(size(&world), 3, "way {way}");
        assert!(world.stop(engine, SECOND).is_clean(), "way {way}: it is on disk");
    }
}

#[test]
fn extensions_offer_what_they_offered_before() {
    let directories = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let [first, second, third] = directories.each_ref().map(|directory| directory.path());
    let world = World::new(1);
    let spec = on_disk(&world, first);
    let engine = world.start(&spec).expect("starts");
    let before = offered(&world, "file_storage").expect("a storage");

    let mut wrong = spec.clone();
    wrong.extensions = vec![storage("file_storage", second), storage("file_storage/new", third)];
    refuse(&world, &mut wrong);
    let (engine, outcome) = world.reload(engine, &wrong);
    assert!(outcome.is_err());
    let after = offered(&world, "file_storage").expect("a storage");
    assert!(Arc::ptr_eq(&before, &after), "the storage of the refused configuration");
    assert!(offered(&world, "file_storage/new").is_none());
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn a_source_of_evidence_that_never_came_to_work_is_not_shown() {
    let (world, mut spec) =
        (World::new(1), service(&[], vec![pipeline("logs", &["test/r"], &[], &["test/e"])]));
    spec.receivers.push(component("test/new"));
    world.script(&spec);
    let engine = world.start(&spec).expect("starts");
    let mut wrong = spec.clone();
    wrong.pipelines[0].receivers.push("test/new".to_owned());
    refuse(&world, &mut wrong);
    let (engine, outcome) = world.reload(engine, &wrong);
    assert!(outcome.is_err() && world.life().contains(&"test/new started".to_owned()));
    let shown: Vec<_> = world.host.sources().into_iter().map(|(id, _)| id).collect();
    assert_eq!(shown, ["test/r"]);
    assert!(world.stop(engine, SECOND).is_clean());
}
