//! One configuration after the other: what changed is restarted, what did not goes on, nothing is lost.

use std::time::Duration;

use tracing::level_filters::LevelFilter;
use weir_component::{DeliverySettings, Failure, Health, QueueSettings, RetrySettings, Verdict};
use weir_config::{Node, NodeKind, Span};
use weir_engine::ServiceSpec;
use weir_pdata::Signal::{Logs, Traces};
use weir_testkit::{Event, Parcel, ReceiverScript, Reply, Role, logged};

use crate::support::{COMPONENTS, SECOND, World, change, component, direct, pipeline, service};

/// A receiver, a stage, a queued exporter.
fn spec() -> ServiceSpec {
    service(&[], vec![pipeline("logs", &["test/r"], &["test/p"], &["test/e"])])
}

/// A client of a receiver that sends one item each second, with the ids from `first` up.
fn steady(world: &World, receiver: &str, first: i64, items: i64) {
    let parcel = |id| Parcel { after: SECOND, signal: Logs, first: id, items: 1 };
    let clients = vec![(first..first + items).map(parcel).collect()];
    world.lab.receiver(receiver, ReceiverScript { clients, ..ReceiverScript::default() });
}

/// Tries again every second, for ever, with a queue in memory.
fn persistent() -> DeliverySettings {
    let retry = RetrySettings {
        initial_interval: SECOND,
        max_interval: SECOND,
        max_elapsed_time: Duration::ZERO,
        ..RetrySettings::default()
    };
    DeliverySettings { retry: Some(retry), ..DeliverySettings::default() }
}

fn down(_: usize, _: &weir_pdata::Payload) -> Reply {
    Reply::Fail(Failure::retry("connection refused"))
}

/// Settings that name an extension.
fn uses(extension: &str) -> Node {
    Node::new(NodeKind::String(extension.into()), Span::default())
}

fn times(world: &World, line: &str) -> usize {
    world.life().iter().filter(|l| *l == line).count()
}

#[test]
fn nothing_is_restarted_when_nothing_has_changed() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    steady(&world, "test/r", 0, 10);
    let engine = world.start(&spec).expect("starts");
    world.pass(5 * SECOND);
    let before = world.life();
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    assert_eq!(world.life(), before);
    world.pass(10 * SECOND);
    assert!(world.stop(engine, SECOND).is_clean());
    assert_eq!(world.delivered("test/e"), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_follows_a_stage_can_change_under_it_and_everything_arrives() {
    for seed in 0..50 {
        let (world, mut spec) = (World::new(seed), spec());
        world.script(&spec);
        world.lab.processor("test/p", Role::Hold(Duration::from_millis(2500)));
        steady(&world, "test/r", 0, 10);
        let engine = world.start(&spec).expect("starts");
        world.pass(5 * SECOND);
        change(&mut spec.exporters, "test/e", 2);
        let (engine, outcome) = world.reload(engine, &spec);
        assert_eq!(outcome, Ok(()));
        world.pass(10 * SECOND);
        assert_eq!((times(&world, "test/e started"), times(&world, "test/e ended")), (2, 1));
        assert_eq!((times(&world, "test/p ended"), times(&world, "test/r started")), (0, 1));
        assert!(world.stop(engine, 10 * SECOND).is_clean());
        assert_eq!(world.delivered("test/e"), (0..10).collect::<Vec<_>>(), "each once");
    }
}

#[test]
fn an_unchanged_exporter_keeps_its_queue_while_everything_around_it_changes() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    world.exporter("test/e", persistent(), |n, p| if n < 20 { down(n, p) } else { Reply::Accept });
    steady(&world, "test/r", 0, 5);
    let mut engine = world.start(&spec).expect("starts");
    for version in 1..4 {
        world.pass(5 * SECOND / 3);
        steady(&world, "test/r", 100 * version, 2);
        change(&mut spec.receivers, "test/r", version.into());
        change(&mut spec.processors, "test/p", version.into());
        let reloaded = world.reload(engine, &spec);
        assert_eq!(reloaded.1, Ok(()));
        engine = reloaded.0;
    }
    world.pass(120 * SECOND);
    assert_eq!(times(&world, "test/e started"), 1);
    assert_eq!((times(&world, "test/r ended"), times(&world, "test/p ended")), (3, 3));
    let settled: Vec<i64> = (world.lab.journal().into_iter())
        .filter_map(|e| if let Event::Settled { first, .. } = e.event { Some(first) } else { None })
        .collect();
    assert!(settled.len() >= 5, "{settled:?}");
    assert!(world.stop(engine, SECOND).is_clean());
    let mut expected = settled;
    expected.sort_unstable();
    assert_eq!(world.delivered("test/e"), expected);
}

#[test]
fn the_queue_of_an_exporter_that_was_removed_is_worked_off_behind_the_new_graph() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    world.exporter("test/e", persistent(), |n, p| if n < 10 { down(n, p) } else { Reply::Accept });
    steady(&world, "test/r", 0, 3);
    let engine = world.start(&spec).expect("starts");
    world.pass(4 * SECOND);
    spec.exporters = vec![component("test/other")];
    spec.pipelines[0].exporters = vec!["test/other".to_owned()];
    world.exporter("test/other", direct(), |_, _| Reply::Accept);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "test/e ended")), (Ok(()), 0));
    world.pass(60 * SECOND);
    assert_eq!((times(&world, "test/e ended"), world.delivered("test/e")), (1, vec![0, 1, 2]));
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn what_a_removed_exporter_still_held_when_the_agent_ends_is_named() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    world.exporter("test/e", persistent(), down);
    world.sends("test/r", &[(Logs, 0, 3)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(4 * SECOND);
    change(&mut spec.exporters, "test/e", 2);
    world.exporter("test/e", direct(), |_, _| Reply::Accept);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    world.pass(30 * SECOND);
    assert_eq!(world.stop(engine, SECOND).undelivered, [("test/e".to_owned(), Logs, 3)]);
}

#[test]
fn a_changed_receiver_starts_before_its_predecessor_finishes_what_it_has_begun() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    let slow = DeliverySettings {
        queue: Some(QueueSettings { wait_for_result: true, ..QueueSettings::default() }),
        ..direct()
    };
    world.exporter("test/e", slow, |_, _| Reply::After(3 * SECOND, Box::new(Reply::Accept)));
    world.sends("test/r", &[(Logs, 0, 2)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    change(&mut spec.receivers, "test/r", 2);
    world.sends("test/r", &[(Logs, 10, 2)]);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    assert_eq!((times(&world, "test/r started"), times(&world, "test/r ended")), (2, 0));
    world.pass(10 * SECOND);
    assert_eq!((world.heard(0), world.heard(10)), (Ok(()), Ok(())));
    assert_eq!(times(&world, "test/r ended"), 1);
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn a_receiver_that_never_ends_is_cut_off_some_time_after_the_reload() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    world.lab.receiver("test/r", ReceiverScript { ignores_stop: true, ..ReceiverScript::default() });
    let engine = world.start(&spec).expect("starts");
    change(&mut spec.receivers, "test/r", 2);
    world.lab.receiver("test/r", ReceiverScript::default());
    let tasks = world.simulation.tasks();
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, world.simulation.tasks()), (Ok(()), tasks + 2), "the old one and who waits for it");
    world.pass(20 * SECOND);
    assert_eq!(world.simulation.tasks(), tasks);
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn the_capacity_of_a_queue_is_shown_as_it_is_and_not_as_a_reload_that_fails_would_have_made_it() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    let sized = |queue_size, reply: Reply| {
        let queue = QueueSettings { queue_size, ..QueueSettings::default() };
        world.exporter("test/e", DeliverySettings { queue: Some(queue), ..persistent() }, move |_, _| {
            reply.clone()
        });
    };
    let shown = || world.count("otelcol_exporter_queue_capacity", "test/e");
    sized(7, Reply::Accept);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    assert_eq!(shown(), 7);
    sized(9, Reply::RefuseStart("no".to_owned()));
    change(&mut spec.exporters, "test/e", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert!(outcome.is_err());
    world.pass(SECOND);
    assert_eq!(shown(), 7);
    sized(9, Reply::Accept);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    world.pass(SECOND);
    assert_eq!(shown(), 9);
    world.stop(engine, SECOND);
}

#[test]
fn what_a_replaced_exporter_gives_up_leaves_what_its_successor_holds_in_the_size_of_the_queue() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    let patient = |max_elapsed_time| DeliverySettings {
        retry: Some(RetrySettings { max_elapsed_time, ..RetrySettings::default() }),
        ..DeliverySettings::default()
    };
    let shown = || world.count("otelcol_exporter_queue_size", "test/e");
    world.exporter("test/e", patient(30 * SECOND), down);
    world.sends("test/r", &[(Logs, 0, 1), (Logs, 10, 1), (Logs, 20, 1)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    assert_eq!(shown(), 3);
    change(&mut spec.exporters, "test/e", 2);
    change(&mut spec.receivers, "test/r", 2);
    world.exporter("test/e", persistent(), down);
    world.sends("test/r", &[(Logs, 30, 1), (Logs, 40, 1)]);
    let (engine, outcome) = world.reload(engine, &spec);
    world.pass(SECOND);
    assert_eq!((outcome, shown()), (Ok(()), 5), "what the old one still works off, and what is new");
    world.pass(120 * SECOND);
    assert_eq!((times(&world, "test/e ended"), shown()), (1, 2));
    assert_eq!(world.stop(engine, SECOND).undelivered, [("test/e".to_owned(), Logs, 2)]);
}

#[test]
fn a_configuration_that_cannot_be_built_or_started_leaves_everything_as_it_is() {
    let (world, spec) = (World::new(1), spec());
    world.script(&spec);
    steady(&world, "test/r", 0, 10);
    let mut engine = world.start(&spec).expect("starts");
    let tasks = world.simulation.tasks();

    let mut unknown = spec.clone();
    unknown.exporters.push(component("test/no_script"));
    unknown.pipelines[0].exporters.push("test/no_script".to_owned());
    let mut taken = spec.clone();
    taken.receivers.push(component("test/r2"));
    taken.pipelines[0].receivers.push("test/r2".to_owned());
    change(&mut taken.exporters, "test/e", 2);
    change(&mut taken.receivers, "test/r", 2);
    change(&mut taken.processors, "test/p", 2);
    let fails_to_start = Some("listen tcp 127.0.0.1:4317: bind: address already in use".to_owned());
    world.lab.receiver("test/r2", ReceiverScript { fails_to_start, ..ReceiverScript::default() });
    for (wrong, text) in [(unknown, "no script"), (taken, "failed to start \"test/r2\" receiver")] {
        world.pass(3 * SECOND);
        let (same, outcome) = world.reload(engine, &wrong);
        assert!(outcome.as_ref().is_err_and(|e| e.contains(text)), "{outcome:?}");
        assert_eq!((same_tasks(&world, tasks), world.host.health()), (true, Health::Ready));
        engine = same;
    }
    world.pass(20 * SECOND);
    assert!(world.stop(engine, SECOND).is_clean());
    assert_eq!(world.delivered("test/e"), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_processor_in_its_senders_task_takes_effect_with_its_configuration_and_never_in_one_that_is_refused() {
    let (world, mut spec) = (World::new(1), spec());
    spec.pipelines[0].processors = vec!["test/t".to_owned()];
    spec.processors = vec![component("test/t")];
    world.script(&spec);
    world.lab.processor("test/t", Role::transform(|_| Ok(Verdict::Pass)));
    let seen = || ["created", "started"].map(|what| times(&world, &format!("test/t {what}")));
    let mut engine = world.start(&spec).expect("starts");
    assert_eq!(seen(), [1, 1]);
    for (refused, expected) in [(true, [2, 1]), (false, [3, 2])] {
        let fails_to_start = refused.then(|| "no".to_owned());
        world.lab.receiver("test/r", ReceiverScript { fails_to_start, ..ReceiverScript::default() });
        change(&mut spec.receivers, "test/r", 2);
        let (same, outcome) = world.reload(engine, &spec);
        assert_eq!((outcome.is_err(), seen()), (refused, expected));
        engine = same;
    }
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn who_admits_is_the_configuration_that_runs_though_somebody_waits_in_the_one_before() {
    let (world, mut spec) = (World::new(1), spec());
    spec.pipelines[0].processors = vec!["limits".to_owned()];
    spec.processors = vec![component("limits")];
    world.script(&spec);
    world.exporter("test/e", direct(), |_, _| Reply::Hang);
    world.sends("test/r", &[(Logs, 0, 1)]);
    change(&mut spec.processors, "limits", 100);
    let mut engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    let admitted = || world.host.budget().limit();
    assert_eq!(admitted(), 100);
    // The second one is refused, with another reason than its limit.
    for (refused, limit, expected) in [(true, 7, 100), (false, 1000, 1000), (false, 500, 500)] {
        let fails_to_start = refused.then(|| "no".to_owned());
        world.lab.receiver("test/r2", ReceiverScript { fails_to_start, ..ReceiverScript::default() });
        spec.receivers = vec![component("test/r"), component("test/r2")];
        spec.pipelines[0].receivers = vec!["test/r".to_owned(), "test/r2".to_owned()];
        change(&mut spec.processors, "limits", limit);
        let (same, outcome) = world.reload(engine, &spec);
        assert_eq!((outcome.is_err(), admitted()), (refused, expected));
        engine = same;
    }
    assert_eq!(world.lab.outcomes(0), [], "it still waits");
    spec.pipelines[0].processors.clear();
    spec.processors.clear();
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, admitted()), (Ok(()), usize::MAX));
    world.stop(engine, SECOND);
}

fn same_tasks(world: &World, tasks: usize) -> bool {
    world.pass(Duration::from_millis(1));
    world.simulation.tasks() == tasks
}

#[test]
fn a_shared_processor_stays_itself_and_one_that_stands_elsewhere_leaves_its_state() {
    let (world, mut spec) = (World::new(1), spec());
    let shared = |id: &str, signal: &str| pipeline(id, &["test/r"], &["shared/x"], &[signal]);
    spec.pipelines = vec![shared("logs", "test/e")];
    spec.processors = vec![component("shared/x")];
    world.script(&spec);
    steady(&world, "test/r", 0, 30);
    let engine = world.start(&spec).expect("starts");
    world.pass(5 * SECOND + SECOND / 2);
    spec.exporters.push(component("test/f"));
    world.exporter("test/f", direct(), |_, _| Reply::Accept);
    spec.pipelines[0].exporters.push("test/f".to_owned());
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "shared/x created")), (Ok(()), 1), "another exporter behind it");
    spec.pipelines.push(shared("traces", "test/e"));
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "shared/x created")), (Ok(()), 2), "another pipeline");
    world.pass(5 * SECOND);
    change(&mut spec.processors, "shared/x", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "shared/x created")), (Ok(()), 3), "other options");
    world.pass(10 * SECOND);
    let took_over = |e: weir_testkit::Entry| {
        if let Event::TookOver { came } = e.event { Some(came) } else { None }
    };
    let inherited: Vec<_> = world.lab.journal().into_iter().filter_map(took_over).collect();
    assert_eq!(inherited, [5, 9]);
    assert!(world.stop(engine, SECOND).is_clean());
    let mut sent: Vec<_> = (0..5).chain(0..15).collect();
    sent.sort_unstable();
    assert_eq!(world.delivered("test/e"), sent, "the receiver began anew with the second pipeline");
}

#[test]
fn a_state_is_taken_over_at_once_though_something_is_still_on_its_way_to_an_exporter_that_was_replaced() {
    let (world, mut spec) = (World::new(1), spec());
    spec.pipelines = vec![pipeline("logs", &["test/r"], &["shared/x"], &["test/e"])];
    spec.processors = vec![component("shared/x")];
    world.script(&spec);
    let parcel = |seconds, first| Parcel { after: seconds * SECOND, signal: Logs, first, items: 1 };
    let clients = vec![vec![parcel(0, 0)], vec![parcel(3, 1)]];
    world.lab.receiver("test/r", ReceiverScript { clients, ..ReceiverScript::default() });
    world.exporter("test/e", direct(), |_, _| Reply::Hang);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    world.exporter("test/e", direct(), |_, _| Reply::Accept);
    change(&mut spec.exporters, "test/e", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "test/e started")), (Ok(()), 2));
    change(&mut spec.processors, "shared/x", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "shared/x created")), (Ok(()), 2));
    world.pass(3 * SECOND);
    assert_eq!(world.heard(1), Ok(()));
    let took_over = |e: &weir_testkit::Entry| matches!(e.event, Event::TookOver { came: 1 });
    assert!(world.lab.journal().iter().any(took_over));
    assert!(!world.stop(engine, SECOND).is_clean(), "what hangs is named");
}

#[test]
fn a_state_is_taken_over_even_from_behind_a_receiver_that_has_to_be_cut_off() {
    let (world, mut spec) = (World::new(1), spec());
    spec.pipelines = vec![pipeline("logs", &["test/r"], &["shared/x"], &["test/e"])];
    spec.processors = vec![component("shared/x")];
    world.script(&spec);
    let parcel = Parcel { after: Duration::ZERO, signal: Logs, first: 0, items: 1 };
    let stubborn =
        ReceiverScript { clients: vec![vec![parcel]], ignores_stop: true, ..ReceiverScript::default() };
    world.lab.receiver("test/r", stubborn);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    world.lab.receiver("test/r", ReceiverScript::default());
    change(&mut spec.receivers, "test/r", 2);
    spec.pipelines.push(pipeline("traces", &["test/r"], &["shared/x"], &["test/e"]));
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!((outcome, times(&world, "shared/x created")), (Ok(()), 2));
    world.pass(30 * SECOND);
    let took_over = |e: &weir_testkit::Entry| matches!(e.event, Event::TookOver { came: 1 });
    assert!(world.lab.journal().iter().any(took_over));
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn a_stage_whose_predecessor_cannot_end_begins_with_nothing_which_the_log_says() {
    let (world, mut spec) = (World::new(1), spec());
    spec.pipelines = vec![pipeline("logs", &["test/r"], &["shared/x"], &["test/e"])];
    spec.processors = vec![component("shared/x")];
    world.script(&spec);
    let parcel = |seconds, first| Parcel { after: seconds * SECOND, signal: Logs, first, items: 1 };
    let clients = vec![vec![parcel(0, 0)], vec![parcel(5, 1)]];
    world.lab.receiver("test/r", ReceiverScript { clients, ..ReceiverScript::default() });
    world.exporter("test/e", direct(), |_, _| Reply::Hang);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    change(&mut spec.processors, "shared/x", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    let said = logged(LevelFilter::WARN, || world.pass(30 * SECOND));
    assert!(
        matches!(&said[..], [line] if line.contains("id=shared/x;") && line.contains("15 s")),
        "{said:?}"
    );
    assert_eq!(world.came("shared/x"), [(0, vec![0]), (0, vec![1])], "it works");
    assert!(!world.stop(engine, SECOND).is_clean(), "what hangs is named");
}

#[test]
fn who_uses_an_extension_is_restarted_with_it_and_the_old_extension_ends_last() {
    let (world, mut spec) = (World::new(1), spec());
    spec.extensions = vec![component("offers/x"), component("test/y")];
    world.script(&spec);
    spec.exporters[0].node = uses("offers/x");
    let engine = world.start(&spec).expect("starts");
    change(&mut spec.extensions, "offers/x", 2);
    let (engine, outcome) = world.reload(engine, &spec);
    world.pass(SECOND);
    assert_eq!(outcome, Ok(()));
    assert_eq!((times(&world, "offers/x started"), times(&world, "test/y started")), (2, 1));
    assert_eq!((times(&world, "test/e started"), times(&world, "test/r started")), (2, 1));
    let life = world.life();
    let place = |line: &str| life.iter().position(|l| l == line).expect("in the journal");
    assert!(place("test/e ended") < place("offers/x ended"), "{life:?}");
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn an_extension_that_offers_nothing_ends_with_the_reload_however_long_an_old_exporter_goes_on() {
    let (world, mut spec) = (World::new(1), spec());
    spec.extensions = ["test/changed", "test/removed", "offers/x"].map(component).to_vec();
    world.script(&spec);
    world.exporter("test/e", persistent(), down);
    world.sends("test/r", &[(Logs, 0, 3)]);
    let engine = world.start(&spec).expect("starts");
    world.pass(SECOND);
    change(&mut spec.exporters, "test/e", 2);
    change(&mut spec.extensions, "test/changed", 2);
    change(&mut spec.extensions, "offers/x", 2);
    spec.extensions.remove(1);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    world.pass(SECOND);
    let ended = |id| times(&world, &format!("{id} ended"));
    assert_eq!(["test/changed", "test/removed", "offers/x", "test/e"].map(ended), [1, 1, 0, 0]);
    assert_eq!(world.stop(engine, SECOND).undelivered, [("test/e".to_owned(), Logs, 3)]);
}

#[test]
fn what_an_extension_uses_ends_after_it() {
    for seed in 0..20 {
        let (world, mut spec) = (World::new(seed), spec());
        spec.extensions = ["test/pages", "offers/x"].map(component).to_vec();
        spec.extensions[0].node = uses("offers/x");
        world.script(&spec);
        let engine = world.start(&spec).expect("starts");
        change(&mut spec.extensions, "offers/x", 2);
        let (engine, outcome) = world.reload(engine, &spec);
        assert_eq!(outcome, Ok(()));
        world.pass(SECOND);
        let life = world.life();
        let ended: Vec<_> = life.iter().filter(|line| line.ends_with(" ended")).collect();
        assert_eq!(ended, ["test/pages ended", "offers/x ended"]);
        assert!(world.stop(engine, SECOND).is_clean());
    }
}

#[test]
fn pipelines_come_and_go() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    steady(&world, "test/r", 0, 12);
    let engine = world.start(&spec).expect("starts");
    world.pass(3 * SECOND + SECOND / 2);
    spec.pipelines.push(pipeline("logs/2", &["test/r"], &[], &["test/f"]));
    spec.exporters.push(component("test/f"));
    world.exporter("test/f", direct(), |_, _| Reply::Accept);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    world.pass(3 * SECOND);
    spec.pipelines.remove(0);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    world.pass(20 * SECOND);
    assert_eq!(times(&world, "test/r started"), 1, "it only sees that logs are taken");
    assert_eq!((times(&world, "test/p ended"), times(&world, "test/e ended")), (1, 1));
    assert_eq!(world.delivered("test/e"), (0..6).collect::<Vec<_>>());
    assert_eq!(world.delivered("test/f"), (3..12).collect::<Vec<_>>());
    let pipelines: Vec<_> = world.host.topology().pipelines.into_iter().map(|p| p.id).collect();
    assert_eq!(pipelines, ["logs/2"]);
    assert!(world.stop(engine, SECOND).is_clean());
}

#[test]
fn a_signal_that_is_taken_for_the_first_time_restarts_the_receiver() {
    let (world, mut spec) = (World::new(1), spec());
    world.script(&spec);
    let engine = world.start(&spec).expect("starts");
    spec.pipelines.push(pipeline("traces", &["test/r"], &[], &["test/e"]));
    world.sends("test/r", &[(Traces, 0, 1), (Logs, 10, 1)]);
    let (engine, outcome) = world.reload(engine, &spec);
    assert_eq!(outcome, Ok(()));
    world.pass(SECOND);
    assert_eq!(times(&world, "test/r started"), 2);
    assert!(world.stop(engine, SECOND).is_clean());
    let mut took = world.took("test/e");
    took.sort();
    assert_eq!(took, [(Traces, vec![0]), (Logs, vec![10])]);
}

#[test]
#[expect(clippy::panic, reason = "a test that cannot go on fails")]
fn with_another_telemetry_of_the_agent_everything_is_made_anew_and_nothing_is_lost() {
    let (world, mut spec) = (World::new(1), spec());
    spec.processors = vec![component("shared/x")];
    spec.pipelines[0].processors = vec!["shared/x".to_owned()];
    world.script(&spec);
    world.exporter("test/e", persistent(), |n, p| if n < 3 { down(n, p) } else { Reply::Accept });
    steady(&world, "test/r", 0, 5);
    let mut engine = world.start(&spec).expect("starts");
    world.pass(3 * SECOND + SECOND / 2);
    steady(&world, "test/r", 10, 5);
    let host = world.host.with_telemetry(opentelemetry::global::meter("another"));
    let next = engine.prepare_anew(&spec, &COMPONENTS, &host).unwrap_or_else(|p| panic!("{p:?}"));
    let engine = world.simulation.run(async move { engine.reload(next).await.map(|()| engine) });
    let engine = engine.expect("ends").expect("takes over");
    world.pass(60 * SECOND);
    let restarted = ["test/r", "test/e"].map(|id| times(&world, &format!("{id} started")));
    assert_eq!((restarted, times(&world, "shared/x created")), ([2, 2], 2));
    assert!(world.stop(engine, SECOND).is_clean());
    assert_eq!(world.delivered("test/e"), [0, 1, 2, 10, 11, 12, 13, 14]);
    let sent = |host: &weir_component::Host| -> u64 {
        let samples = host.stats().samples();
        samples.iter().filter(|s| s.name == "otelcol_exporter_sent_log_records").map(|s| s.value).sum()
    };
    assert_eq!((sent(&world.host), sent(&host)), (3, 5));
    let took_over = |e: &weir_testkit::Entry| matches!(e.event, Event::TookOver { came: 3 });
    assert!(world.lab.journal().iter().any(took_over));
}

#[test]
fn what_a_reload_stops_is_named_also_when_it_only_leaves_a_pipeline_or_has_no_task_of_its_own() {
    let (world, mut spec) = (
        World::new(1),
        service(
            &["same/c"],
            vec![
                pipeline("logs", &["test/r"], &["test/p", "shared/s"], &["test/e", "same/c"]),
                pipeline("logs/behind", &["same/c"], &[], &["test/e"]),
                pipeline("logs/beside", &["test/r"], &["shared/s"], &["test/e"]),
            ],
        ),
    );
    world.script(&spec);
    let engine = world.start(&spec).expect("starts");
    spec.pipelines[0].processors = Vec::new();
    spec.processors.retain(|p| p.id != "test/p");
    let ends = |spec: &ServiceSpec| engine.ends(&engine.prepare(spec, &COMPONENTS).expect("it can be built"));
    assert_eq!(ends(&spec), ["processor shared/s (logs)", "processor test/p"]);
    spec.pipelines.truncate(1);
    spec.pipelines[0].exporters.pop();
    spec.processors.clear();
    spec.connectors.clear();
    let exporter = ["logs/behind", "logs/beside"].map(|pipeline| format!("exporter test/e ({pipeline})"));
    let processors = ["processor shared/s", "processor test/p", "receiver test/r (logs/beside)"];
    let gone = ["connector same/c"].into_iter().chain(exporter.iter().map(String::as_str)).chain(processors);
    assert_eq!(ends(&spec), gone.collect::<Vec<_>>());
    assert!(world.stop(engine, SECOND).is_clean());
}
