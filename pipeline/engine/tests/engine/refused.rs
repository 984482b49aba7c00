//! What a reload that could not start leaves behind: nothing.

use std::path::Path;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use weir_component::{Claim, DeliverySettings, Failure, QueueSettings, RetrySettings, Storage};
use weir_engine::{ComponentSpec, ServiceSpec};
use weir_pdata::Payload;
use weir_pdata::Signal::Logs;
use weir_testkit::{ExtensionScript, ReceiverScript, Reply, logged};

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
    assert_eq!(shown(&world), ["test/r"]);
    assert!(world.stop(engine, SECOND).is_clean());
}

/// Ids of the sources of evidence that are shown.
fn shown(world: &World) -> Vec<String> {
    world.host.sources().into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_source_that_a_reload_has_removed_is_not_shown_though_it_reports_when_it_ends() {
    let (world, mut spec) =
        (World::new(1), service(&[], vec![pipeline("logs", &["test/r", "test/x"], &[], &["test/e"])]));
    spec.extensions.push(component("test/x"));
    world.script(&spec);
    let engine = world.start(&spec).expect("starts");
    assert_eq!(shown(&world), ["test/r", "test/x"]);
    spec.receivers.retain(|receiver| receiver.id != "test/x");
    spec.pipelines[0].receivers.pop();
    let (engine, outcome) = world.reload(engine, &spec);
    world.pass(SECOND);
    assert!(outcome.is_ok() && world.life().contains(&"test/x ended".to_owned()));
    assert_eq!(shown(&world), ["test/r"], "although an extension of that id runs");
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn what_an_extension_has_open_is_not_handed_over_when_a_receiver_of_that_id_changes() {
    const KEY: &str = "tcp 127.0.0.1:1777";
    let (world, mut spec) =
        (World::new(1), service(&[], vec![pipeline("logs", &["test/x"], &[], &["test/e"])]));
    spec.extensions.push(component("test/x"));
    world.script(&spec);
    let port = Arc::new(7_u8);
    let opens = Some((KEY.to_owned(), Arc::clone(&port)));
    world.lab.extension("test/x", ExtensionScript { opens, ..ExtensionScript::default() });
    let engine = world.start(&spec).expect("starts");
    world.script(&spec);
    change(&mut spec.receivers, "test/x", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    let claim = || world.host.around("receiver").handover().claim::<u8>("test/y", KEY);
    assert!(matches!(claim(), Claim::Taken(owner) if owner == "test/x"));
    change(&mut spec.extensions, "test/x", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    assert!(matches!(claim(), Claim::Yours(it) if Arc::ptr_eq(&it, &port)), "it has ended");
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn a_component_that_panics_when_it_starts_is_named_and_what_ran_before_goes_on() {
    let (world, spec) = (World::new(1), service(&[], vec![pipeline("logs", &["test/r"], &[], &["test/e"])]));
    world.script(&spec);
    let mut engine = world.start(&spec).expect("starts");
    let tasks = world.simulation.tasks();
    let mut wrong = spec.clone();
    wrong.receivers.push(component("test/new"));
    wrong.pipelines[0].receivers.push("test/new".to_owned());
    wrong.exporters.push(component("test/f"));
    wrong.pipelines[0].exporters.push("test/f".to_owned());
    wrong.extensions.push(component("test/x"));
    for kind in ["receiver", "exporter", "extension"] {
        world.script(&wrong);
        let panics_at_start = true;
        let id = match kind {
            "receiver" => {
                let panics = ReceiverScript { panics_at_start, ..ReceiverScript::default() };
                world.lab.receiver("test/new", panics);
                "test/new"
            }
            "exporter" => {
                world.exporter("test/f", durable(), |_, _| Reply::PanicAtStart);
                "test/f"
            }
            _ => {
                let panics = ExtensionScript { panics_at_start, ..ExtensionScript::default() };
                world.lab.extension("test/x", panics);
                "test/x"
            }
        };
        let (same, outcome) = world.reload(engine, &wrong);
        let why = outcome.expect_err("refused");
        let expected = format!("failed to start \"{id}\" {kind}: panicked: a test {kind} panics");
        assert!(why.ends_with(&expected), "{why}");
        world.pass(SECOND);
        assert_eq!(world.simulation.tasks(), tasks, "{kind}");
        engine = same;
    }
    assert!(!world.life().contains(&"test/r ended".to_owned()));
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn a_start_that_takes_long_is_spoken_of_once_and_may_still_succeed() {
    let (world, mut spec) =
        (World::new(1), service(&[], vec![pipeline("logs", &["test/r"], &[], &["test/e"])]));
    world.script(&spec);
    let mut engine = Some(world.start(&spec).expect("starts"));
    for (seconds, lines) in [(9, 0), (60, 1)] {
        let slow = ReceiverScript { starts_for: seconds * SECOND, ..ReceiverScript::default() };
        world.lab.receiver("test/r", slow);
        change(&mut spec.receivers, "test/r", seconds.into());
        let said = logged(LevelFilter::WARN, || {
            let (next, outcome) = world.reload(engine.take().expect("runs"), &spec);
            assert_eq!(outcome, Ok(()));
            engine = Some(next);
        });
        assert_eq!(said.len(), lines, "{said:?}");
        let names = "otelcol.component.id=test/r;otelcol.component.kind=\"receiver\";";
        assert!(said.iter().all(|line| line.contains(names) && line.contains("10 s")), "{said:?}");
    }
    assert!(world.stop(engine.expect("runs"), SECOND).is_clean());
}
