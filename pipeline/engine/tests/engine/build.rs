//! What keeps a graph from being built, in the Collector's words, and how its parts are put together.

use weir_component::{Failure, PipelineInfo, Verdict};
use weir_pdata::Signal::{Logs, Metrics, Traces};
use weir_testkit::Role;

use crate::support::{SECOND, World, component, pipeline, service};

fn problems(connectors: &[&str], pipelines: Vec<weir_engine::PipelineSpec>) -> Vec<String> {
    let (world, spec) = (World::new(1), service(connectors, pipelines));
    world.script(&spec);
    world.problems(&spec)
}

#[test]
fn a_cycle_is_named_from_connector_to_connector() {
    let alone = vec![pipeline("traces", &["test/r", "same/c"], &["test/p"], &["same/c"])];
    assert_eq!(
        problems(&["same/c"], alone),
        [
            "cycle detected: connector \"same/c\" (traces to traces) -> processor \"test/p\" in pipeline \"traces\" -> \
             connector \"same/c\" (traces to traces)"
        ]
    );
    let through_three = vec![
        pipeline("traces/a", &["test/r", "test/ca"], &["test/1", "test/2"], &["test/ab"]),
        pipeline("metrics/b", &["test/ab"], &[], &["test/bc", "test/e"]),
        pipeline("logs/c", &["test/bc"], &["test/1"], &["test/ca"]),
    ];
    assert_eq!(
        problems(&["test/ab", "test/bc", "test/ca"], through_three),
        [
            "cycle detected: connector \"test/ab\" (traces to metrics) -> connector \"test/bc\" (metrics to logs) -> \
             processor \"test/1\" in pipeline \"logs/c\" -> connector \"test/ca\" (logs to traces) -> processor \
             \"test/1\" in pipeline \"traces/a\" -> processor \"test/2\" in pipeline \"traces/a\" -> connector \
             \"test/ab\" (traces to metrics)"
        ]
    );
}

#[test]
fn a_pipeline_before_a_cycle_is_no_part_of_it() {
    let pipelines = vec![
        pipeline("traces/before", &["test/r"], &["test/0"], &["same/in"]),
        pipeline("traces/a", &["same/in", "same/c"], &[], &["same/c"]),
    ];
    assert_eq!(
        problems(&["same/in", "same/c"], pipelines),
        [
            "cycle detected: connector \"same/c\" (traces to traces) -> connector \"same/c\" (traces to traces)"
        ]
    );
}

#[test]
fn a_connector_must_lead_somewhere() {
    let unused = vec![pipeline("traces/in", &["test/r"], &[], &["same/c"])];
    assert_eq!(
        problems(&["same/c"], unused),
        [
            "connector \"same/c\" used as exporter in [traces/in] pipeline but not used in any supported receiver \
             pipeline"
        ]
    );
    let wrong_pair = vec![
        pipeline("logs/in", &["test/r"], &[], &["count/c"]),
        pipeline("logs/too", &["test/r"], &[], &["count/c", "test/e"]),
        pipeline("metrics/out", &["count/c"], &[], &["test/e"]),
    ];
    assert_eq!(
        problems(&["count/c"], wrong_pair),
        [
            "connector \"count/c\" used as exporter in [logs/in logs/too] pipeline but not used in any supported \
             receiver pipeline"
        ]
    );
}

#[test]
fn a_connector_must_come_from_somewhere() {
    let unused = vec![pipeline("traces/out", &["same/c"], &[], &["test/e"])];
    assert_eq!(
        problems(&["same/c"], unused),
        [
            "connector \"same/c\" used as receiver in [traces/out] pipeline but not used in any supported exporter \
             pipeline"
        ]
    );
    let one_of_two = vec![
        pipeline("traces/in", &["test/r"], &[], &["count/c"]),
        pipeline("metrics/out", &["count/c"], &[], &["test/e"]),
        pipeline("logs/out", &["count/c"], &[], &["test/e"]),
    ];
    assert_eq!(
        problems(&["count/c"], one_of_two),
        [
            "connector \"count/c\" used as receiver in [logs/out] pipeline but not used in any supported exporter \
             pipeline"
        ]
    );
}

#[test]
fn a_signal_that_a_component_does_not_know_is_refused_and_all_such_problems_are_told_at_once() {
    let pipelines = vec![pipeline("logs", &["traces/r"], &["traces/p"], &["test/e"])];
    assert_eq!(
        problems(&[], pipelines),
        [
            "failed to create \"traces/p\" processor, in pipeline \"logs\": telemetry type is not supported",
            "failed to create \"traces/r\" receiver for data type \"logs\": telemetry type is not supported",
        ]
    );
    let pipelines = vec![pipeline("metrics", &["test/r"], &[], &["traces/e", "traces/f"])];
    assert_eq!(
        problems(&[], pipelines),
        ["e", "f"].map(|name| format!(
            "failed to create \"traces/{name}\" exporter for data type \"metrics\": telemetry type is not supported"
        ))
    );
}

#[test]
fn problems_of_components_are_all_told_with_the_place_of_each() {
    let world = World::new(1);
    let mut spec = service(&[], vec![pipeline("logs", &["test/r"], &["test/p"], &["test/e"])]);
    spec.extensions.push(component("test/x"));
    let built = weir_engine::build(
        &spec,
        &crate::support::COMPONENTS,
        std::sync::Arc::new(world.simulation.clone()),
        &world.host,
    );
    let problems = built.map(|_| ()).expect_err("nothing has a script");
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    for place in ["exporters::test/e", "processors::test/p", "receivers::test/r", "extensions::test/x"] {
        assert!(lines.iter().any(|l| l.contains(place)), "{place}: {lines:?}");
    }
}

#[test]
fn a_shared_processor_before_and_behind_a_connector_is_refused() {
    let pipelines = vec![
        pipeline("traces/a", &["test/r"], &["shared/x"], &["same/c"]),
        pipeline("traces/b", &["same/c"], &[], &["same/d"]),
        pipeline("traces/c", &["same/d"], &["shared/x"], &["test/e"]),
    ];
    assert_eq!(
        problems(&["same/c", "same/d"], pipelines),
        [
            "cycle detected: processor \"shared/x\" is one instance for all its pipelines, but pipeline \"traces/b\" \
             feeds pipeline \"traces/c\" through connector \"same/d\" and it stands in both; remove it from \
             \"traces/a\""
        ]
    );
}

#[test]
fn two_shared_processors_that_feed_each_other_are_refused() {
    let in_two_orders = vec![
        pipeline("traces", &["test/r"], &["shared/x", "test/p", "shared/y"], &["test/e"]),
        pipeline("logs", &["test/r"], &["shared/y", "shared/x"], &["test/e"]),
    ];
    let text = "cycle detected: processor \"shared/x\" -> processor \"shared/y\" -> processor \"shared/x\": each is one \
                instance for all its pipelines; let them stand in the same order in all of them";
    assert_eq!(problems(&[], in_two_orders), [text]);
    let through_connectors = vec![
        pipeline("traces/a", &["test/r"], &["shared/x"], &["same/c"]),
        pipeline("traces/b", &["same/c"], &["shared/y"], &["test/e"]),
        pipeline("logs/a", &["test/r"], &["shared/y"], &["same/c"]),
        pipeline("logs/b", &["same/c"], &["shared/x"], &["test/e"]),
    ];
    assert_eq!(problems(&["same/c"], through_connectors), [text]);
    let in_one_order = vec![
        pipeline("traces", &["test/r"], &["shared/x", "shared/y"], &["test/e"]),
        pipeline("logs", &["test/r"], &["shared/x", "shared/y"], &["test/e"]),
    ];
    assert_eq!(problems(&[], in_one_order), Vec::<String>::new());
}

#[test]
fn a_receiver_and_a_shared_processor_are_one_instance_each_and_other_processors_one_for_each_pipeline() {
    let spec = service(
        &[],
        vec![
            pipeline("traces/a", &["test/r"], &["shared/x", "test/p"], &["test/e"]),
            pipeline("traces/b", &["test/r"], &["shared/x", "test/p"], &["test/e"]),
            pipeline("logs", &["test/r"], &["shared/x", "test/p"], &["test/e"]),
        ],
    );
    let world = World::new(1);
    world.script(&spec);
    world.build(&spec);
    let created = |id: &str| world.life().iter().filter(|line| **line == format!("{id} created")).count();
    assert_eq!(
        ["test/r", "shared/x", "test/p", "test/e"].map(created),
        [1, 1, 3, 2],
        "exporters: one per signal"
    );
}

#[test]
fn what_came_in_by_a_port_of_a_shared_processor_leaves_by_the_same() {
    let spec = service(
        &[],
        vec![
            pipeline("traces/a", &["test/ra"], &["shared/x"], &["test/a"]),
            pipeline("traces/b", &["test/rb"], &["test/p", "shared/x"], &["test/b"]),
            pipeline("logs", &["test/ra"], &["shared/x"], &["test/a"]),
        ],
    );
    let world = World::new(1);
    world.script(&spec);
    world.sends("test/ra", &[(Traces, 0, 2), (Logs, 10, 2)]);
    world.sends("test/rb", &[(Traces, 20, 2)]);
    world.run(&spec);
    let mut came = world.came("shared/x");
    came.sort();
    assert_eq!(came, [(0, vec![0, 1]), (1, vec![20, 21]), (2, vec![10, 11])]);
    let mut took = world.took("test/a");
    took.sort();
    assert_eq!(took, [(Traces, vec![0, 1]), (Logs, vec![10, 11])]);
    assert_eq!(world.took("test/b"), [(Traces, vec![20, 21])]);
}

#[test]
fn one_receiver_instance_serves_all_its_signals_and_every_pipeline_of_a_signal_gets_all_of_it() {
    let spec = service(
        &[],
        vec![
            pipeline("traces/a", &["test/r"], &[], &["test/a"]),
            pipeline("traces/b", &["test/r"], &[], &["test/b"]),
            pipeline("metrics", &["test/r"], &[], &["test/a"]),
        ],
    );
    let world = World::new(1);
    world.script(&spec);
    world.sends("test/r", &[(Traces, 0, 1), (Metrics, 10, 1), (Logs, 20, 3)]);
    world.run(&spec);
    let mut took = world.took("test/a");
    took.sort();
    assert_eq!(took, [(Traces, vec![0]), (Metrics, vec![10])]);
    assert_eq!(world.took("test/b"), [(Traces, vec![0])]);
    assert!(world.heard(20).is_err(), "nothing takes logs");
    assert_eq!(world.count("otelcol_receiver_accepted_spans", "test/r"), 1);
    assert_eq!(world.count("otelcol_receiver_accepted_metric_points", "test/r"), 1);
}

#[test]
fn a_connector_is_one_instance_for_each_signal_that_comes_in_and_feeds_all_pipelines_behind_it() {
    let spec = service(
        &["test/c"],
        vec![
            pipeline("traces/a", &["test/r"], &[], &["test/c", "test/near"]),
            pipeline("traces/b", &["test/r"], &[], &["test/c"]),
            pipeline("logs/in", &["test/r"], &[], &["test/c"]),
            pipeline("metrics/x", &["test/c"], &[], &["test/x"]),
            pipeline("metrics/y", &["test/c"], &[], &["test/y"]),
        ],
    );
    let world = World::new(1);
    world.script(&spec);
    world.sends("test/r", &[(Traces, 0, 2), (Logs, 10, 1)]);
    world.run(&spec);
    assert_eq!(world.life().iter().filter(|l| *l == "test/c created").count(), 2);
    for exporter in ["test/x", "test/y"] {
        let mut took = world.took(exporter);
        took.sort();
        assert_eq!(took, [(Metrics, vec![0, 1]), (Metrics, vec![0, 1]), (Metrics, vec![10])]);
    }
    assert_eq!(world.took("test/near"), [(Traces, vec![0, 1])]);
}

#[test]
fn a_branch_that_fails_is_heard_and_the_others_are_served_all_the_same() {
    let spec = service(
        &[],
        vec![
            pipeline("logs/a", &["test/r"], &["test/fail"], &["test/a"]),
            pipeline("logs/b", &["test/r"], &[], &["test/b"]),
            pipeline("logs/c", &["test/r"], &["test/drop"], &["test/c"]),
        ],
    );
    let world = World::new(1);
    world.script(&spec);
    world.lab.processor("test/fail", Role::transform(|_| Err(Failure::permanent("not this"))));
    world.lab.processor("test/drop", Role::transform(|_| Ok(Verdict::Drop)));
    world.sends("test/r", &[(Logs, 0, 2)]);
    world.run(&spec);
    assert_eq!(world.heard(0).expect_err("one branch failed").1, "not this");
    assert_eq!(world.took("test/a").len() + world.took("test/c").len(), 0);
    assert_eq!(world.took("test/b"), [(Logs, vec![0, 1])]);
    assert_eq!(world.count("otelcol_receiver_refused_log_records", "test/r"), 2);
    assert_eq!(world.count("otelcol_receiver_accepted_log_records", "test/r"), 0);
    assert_eq!(world.count("otelcol_processor_incoming_items", "test/drop"), 2);
    assert_eq!(world.count("otelcol_processor_outgoing_items", "test/drop"), 0);
}

#[test]
fn the_topology_tells_the_pages_what_runs() {
    let mut spec = service(&[], vec![pipeline("logs/a", &["test/r"], &["test/p"], &["test/e"])]);
    spec.extensions.push(component("test/x"));
    let world = World::new(1);
    world.script(&spec);
    let engine = world.start(&spec).expect("starts");
    let topology = world.host.topology();
    assert_eq!(topology.extensions, ["test/x"]);
    let expected = PipelineInfo {
        id: "logs/a".into(),
        signal: "logs".into(),
        receivers: vec!["test/r".into()],
        processors: vec!["test/p".into()],
        exporters: vec!["test/e".into()],
    };
    assert_eq!(topology.pipelines, [expected]);
    world.stop(engine, SECOND);
}
