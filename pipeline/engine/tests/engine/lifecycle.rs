//! The order of starting and stopping, and components that cannot start.

use std::time::Duration;

use weir_component::Health;
use weir_engine::{Engine, ServiceSpec, StartError};
use weir_pdata::Signal::Logs;
use weir_testkit::{ExtensionScript, ReceiverScript, Reply, Role};

use crate::support::{SECOND, World, component, direct, pipeline, service};

/// Two receivers, a stage, a connector, two exporters, two extensions.
fn spec() -> ServiceSpec {
    let mut spec = service(
        &["test/c"],
        vec![
            pipeline("logs/front", &["test/r1", "test/r2"], &["test/p"], &["test/c", "test/e1"]),
            pipeline("logs/back", &["test/c"], &[], &["test/e2"]),
        ],
    );
    spec.extensions = vec![component("test/x1"), component("test/x2")];
    spec
}

fn place(life: &[String], line: &str) -> usize {
    let at: Vec<_> = life.iter().enumerate().filter(|(_, l)| *l == line).map(|(i, _)| i).collect();
    assert_eq!(at.len(), 1, "{line} once in {life:?}");
    at[0]
}

fn assert_order(life: &[String], lines: &[&str]) {
    let places: Vec<_> = lines.iter().map(|line| place(life, line)).collect();
    assert!(places.is_sorted(), "{lines:?} in {life:?}");
}

fn start_error(world: &World, spec: &ServiceSpec) -> StartError {
    let mut engine: Engine = world.build(spec);
    let error = world.simulation.run(async move { engine.start().await }).expect("the start ends");
    assert_eq!(world.simulation.tasks(), 0, "what had started is stopped");
    error.expect_err("cannot start")
}

#[test]
fn extensions_start_first_then_exporters_and_receivers_last_and_the_stop_goes_the_other_way() {
    for seed in 0..50 {
        let (world, spec) = (World::new(seed), spec());
        world.script(&spec);
        assert_eq!(world.host.health(), Health::NotReady);
        let engine = world.start(&spec).expect("starts");
        assert_eq!(world.host.health(), Health::Ready);
        world.pass(SECOND);
        assert!(!world.life().iter().any(|line| line.ends_with("ended")), "nothing ends by itself");
        let stopped = world.stop(engine, 10 * SECOND);
        assert_eq!(world.host.health(), Health::NotReady);
        assert_eq!(stopped.unfinished, Vec::<String>::new());
        let life = world.life();
        assert_order(&life, &["test/x1 started", "test/x2 started", "test/e1 started", "test/r1 started"]);
        assert_order(&life, &["test/x2 started", "test/e2 started", "test/r1 started", "test/r2 started"]);
        for receiver in ["test/r1 ended", "test/r2 ended"] {
            assert_order(
                &life,
                &[receiver, "test/p ended", "test/c ended", "test/e2 ended", "test/x1 ended"],
            );
            assert_order(&life, &[receiver, "test/p ended", "test/e1 ended", "test/x2 ended"]);
        }
    }
}

#[test]
fn an_extension_starts_after_those_it_needs() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    let needs = |id: &str| ExtensionScript { needs: vec![id.to_owned()], ..ExtensionScript::default() };
    world.lab.extension("test/x1", needs("test/x2"));
    let engine = world.start(&spec).expect("starts");
    assert_order(&world.life(), &["test/x2 started", "test/x1 started", "test/e1 started"]);
    world.stop(engine, SECOND);
}

#[test]
fn extensions_that_need_each_other_start_as_configured() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    let needs = |id: &str| ExtensionScript { needs: vec![id.to_owned()], ..ExtensionScript::default() };
    world.lab.extension("test/x1", needs("test/x2"));
    world.lab.extension("test/x2", needs("test/x1"));
    let engine = world.start(&spec).expect("starts");
    assert_order(&world.life(), &["test/x1 started", "test/x2 started"]);
    world.stop(engine, SECOND);
}

#[test]
fn a_service_can_be_stopped_twice_or_without_having_been_started() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    let mut engine = world.build(&spec);
    world.simulation.run(async move {
        assert!(engine.stop(SECOND).await.unfinished.is_empty());
        assert!(engine.stop(SECOND).await.unfinished.is_empty());
    });
    assert_eq!(world.simulation.tasks(), 0);
}

#[test]
fn an_engine_that_is_dropped_ends_all_its_tasks() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    drop(world.start(&spec).expect("starts"));
    world.simulation.run_to_end();
    assert_eq!(world.simulation.tasks(), 0);
}

#[test]
fn a_receiver_that_cannot_start_is_named_and_everything_before_it_is_stopped() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    let text = Some("listen tcp 127.0.0.1:4317: bind: address already in use".to_owned());
    world.lab.receiver("test/r2", ReceiverScript { fails_to_start: text, ..ReceiverScript::default() });
    let error = start_error(&world, &spec);
    assert_eq!(
        error.to_string(),
        "cannot start pipelines: failed to start \"test/r2\" receiver: listen tcp 127.0.0.1:4317: bind: address \
         already in use"
    );
    let life = world.life();
    for component in ["test/r1", "test/e1", "test/e2", "test/x1", "test/x2"] {
        place(&life, &format!("{component} ended"));
    }
    assert!(
        !life.iter().any(|line| line == "test/p ended" || line == "test/c ended"),
        "stages had not begun"
    );
    assert_eq!(world.host.health(), Health::NotReady);
}

#[test]
fn an_exporter_that_cannot_start_is_named_and_those_before_it_are_stopped() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    world.exporter("test/e1", direct(), |_, _| Reply::RefuseStart("no such certificate".to_owned()));
    let error = start_error(&world, &spec);
    assert_eq!(
        error.to_string(),
        "cannot start pipelines: failed to start \"test/e1\" exporter: no such certificate"
    );
    let life = world.life();
    assert_order(&life, &["test/e2 started", "test/e1 started", "test/e2 ended", "test/x1 ended"]);
    assert!(!life.contains(&"test/r1 started".to_owned()));
}

#[test]
fn an_extension_that_cannot_start_is_named_and_no_pipeline_starts() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    let text = Some("port taken".to_owned());
    world.lab.extension("test/x2", ExtensionScript { fails_to_start: text, ..ExtensionScript::default() });
    let error = start_error(&world, &spec);
    assert_eq!(
        error.to_string(),
        "failed to start extensions: failed to start \"test/x2\" extension: port taken"
    );
    let life = world.life();
    place(&life, "test/x1 ended");
    assert!(!life.iter().any(|line| line.starts_with("test/e") && line.ends_with("started")), "{life:?}");
}

#[test]
fn a_receiver_that_fails_while_it_runs_is_told_to_the_agent_and_one_that_fails_in_the_stop_is_not() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    let fails = Some("accept: too many open files".to_owned());
    world.lab.receiver("test/r1", ReceiverScript { fails, ..ReceiverScript::default() });
    let engine = world.start(&spec).expect("starts");
    let (id, failure, mut engine) = world
        .simulation
        .run(async move {
            let (id, failure) = engine.failed().await;
            (id, failure, engine)
        })
        .expect("it is told");
    assert_eq!((id.as_str(), failure.message()), ("test/r1", "accept: too many open files"));
    world.simulation.run(async move {
        engine.stop(SECOND).await;
        let silent = engine.failed();
        futures_util::future::select(Box::pin(silent), Box::pin(async {})).await;
    });
}

#[test]
fn jumps_of_the_wall_clock_disturb_neither_wakes_nor_stops() {
    let times = |jumps: &[i64]| {
        let (world, spec) = (World::new(3), spec());
        world.script(&spec);
        world.lab.processor("test/p", Role::Hold(Duration::from_millis(700)));
        world.sends("test/r1", &[(Logs, 0, 2), (Logs, 10, 2)]);
        let engine = world.start(&spec).expect("starts");
        for jump in jumps {
            world.pass(Duration::from_millis(300));
            world.simulation.shift_wall_clock(*jump);
        }
        world.pass(SECOND);
        assert_eq!(world.stop(engine, SECOND).unfinished, Vec::<String>::new());
        assert_eq!((world.heard(0), world.heard(10)), (Ok(()), Ok(())));
        world.lab.journal().into_iter().map(|e| format!("{e:?}")).collect::<Vec<_>>()
    };
    let hour = 3_600_000_000_000;
    assert_eq!(times(&[0, 0, 0]), times(&[hour, -24 * hour, 48 * hour]));
}
