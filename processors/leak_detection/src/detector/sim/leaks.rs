//! Leaks that must be found.

use super::world::{View, World};
use super::{Scenario, TIGHT, WIDE, run};

const LEAK: i64 = 41;
const POOL: i64 = 10;
const FOR_EVER: f64 = 1e12;

fn leak(world: &mut World, rate: f64) {
    for _ in 0..world.events(rate) {
        world.open(FOR_EVER, LEAK);
    }
}

/// Keeps a pool at about this size, with lives and pauses of random length.
fn noisy_pool(world: &mut World, size: f64, life: f64) {
    for _ in 0..world.events(size / life) {
        let life = world.exponential(life);
        world.open(life, POOL);
    }
    let calls = world.events(size / 300.0);
    world.use_some(calls, POOL);
}

fn per_call(world: &mut World) {
    leak(world, 0.05);
}

fn slow(world: &mut World) {
    leak(world, 1.0 / 300.0);
}

fn sockets_close_when_idle(world: &mut World) {
    leak(world, 0.05);
    let time = world.time;
    world.conns.iter_mut().filter(|conn| time - conn.last > 120.0).for_each(|conn| conn.cold = true);
}

fn never_used(world: &mut World) {
    leak(world, 0.05);
    world.conns.iter_mut().for_each(|conn| (conn.cold, conn.calls) = (true, 0));
}

fn error_path(world: &mut World) {
    let calls = world.events(2.0);
    for _ in 0..calls {
        if world.random() < 0.005 {
            world.open(FOR_EVER, LEAK);
        } else {
            world.churn(1);
        }
    }
}

fn cache_without_bound(world: &mut World) {
    // New tenants come ever more rarely, and each comes back now and then.
    let rate = 0.08 / (1.0 + world.time / 20_000.0);
    leak(world, rate);
    let calls = world.events(0.02);
    world.use_some(calls, LEAK);
}

fn reload_without_close(world: &mut World) {
    if world.every(1200.0) {
        (0..10).for_each(|_| {
            world.open(FOR_EVER, LEAK);
        });
    }
}

fn under_a_noisy_pool(world: &mut World) {
    noisy_pool(world, 200.0, 1500.0);
    leak(world, 1.0 / 40.0);
}

fn after_a_warm_up(world: &mut World) {
    if world.at(60.0) {
        (0..50).for_each(|_| {
            world.open(FOR_EVER, POOL);
        });
    }
    world.use_all(POOL);
    leak(world, 1.0 / 120.0);
}

fn with_the_load_of_the_day(world: &mut World) {
    let day = 1.0 + (world.time / 28_800.0 * std::f64::consts::TAU).sin();
    leak(world, 0.03 * day + 0.01);
    world.call(20.0 * day * world.step);
}

fn peer_closes(world: &mut World) {
    leak(world, 0.02);
    let time = world.time;
    world.conns.iter_mut().filter(|conn| time - conn.begin > 60.0).for_each(|conn| conn.close_wait = true);
}

fn streams(world: &mut World) {
    if world.conns.is_empty() {
        world.open(FOR_EVER, POOL);
    }
    for _ in 0..world.events(0.05) {
        world.open_stream();
    }
}

fn clients_vanish(world: &mut World) {
    leak(world, 0.03);
    noisy_pool(world, 30.0, 900.0);
}

const SCENARIOS: [(Scenario, &str, f64); 16] = [
    (Scenario { name: "per call", view: View::Full, hours: 4.0, act: per_call }, "client_per_call", 1.5),
    (
        Scenario { name: "per call, events only", view: View::EventsOnly, hours: 4.0, act: per_call },
        "client_per_call",
        1.5,
    ),
    (
        Scenario { name: "one in five minutes", view: View::Full, hours: 6.0, act: slow },
        "client_per_call",
        3.5,
    ),
    (
        Scenario { name: "idle sockets closed", view: View::Full, hours: 4.0, act: sockets_close_when_idle },
        "clientconn_unclosed_idle",
        1.5,
    ),
    (
        Scenario { name: "never used", view: View::Full, hours: 4.0, act: never_used },
        "clientconn_unclosed_idle",
        1.5,
    ),
    (Scenario { name: "error path", view: View::Full, hours: 5.0, act: error_path }, "client_per_call", 3.0),
    (
        Scenario { name: "cache without bound", view: View::Full, hours: 5.0, act: cache_without_bound },
        "client_per_call",
        3.0,
    ),
    (
        Scenario { name: "reload without close", view: View::Full, hours: 8.0, act: reload_without_close },
        "client_per_call",
        5.0,
    ),
    (
        Scenario { name: "under a noisy pool", view: View::Full, hours: 8.0, act: under_a_noisy_pool },
        "client_per_call",
        5.0,
    ),
    (
        Scenario { name: "after a warm-up", view: View::Full, hours: 8.0, act: after_a_warm_up },
        "client_per_call",
        5.0,
    ),
    (
        Scenario {
            name: "with the load of the day",
            view: View::Full,
            hours: 8.0,
            act: with_the_load_of_the_day,
        },
        "client_per_call",
        3.0,
    ),
    (
        Scenario { name: "peer closes", view: View::SocketsOnly, hours: 3.0, act: peer_closes },
        "peer_closed_app_holds",
        1.0,
    ),
    (
        Scenario { name: "sockets of unknown make", view: View::SocketsOnly, hours: 4.0, act: per_call },
        "",
        1.5,
    ),
    (Scenario { name: "a number of open ones", view: View::OpenOnly, hours: 4.0, act: per_call }, "", 2.5),
    (Scenario { name: "streams", view: View::Full, hours: 4.0, act: streams }, "stream_not_cancelled", 2.0),
    (
        Scenario { name: "clients vanish", view: View::Server, hours: 6.0, act: clients_vanish },
        "server_half_open",
        3.5,
    ),
];

#[test]
fn every_leak_is_found_in_time_with_its_class_at_both_windows() {
    let mut failures = Vec::new();
    for (scenario, class, hours) in &SCENARIOS {
        for lens in [WIDE, TIGHT] {
            for seed in super::seeds() {
                let outcome = run(scenario, lens, seed);
                let found = outcome.leaking.map_or(f64::INFINITY, |time| time / 60.0);
                println!(
                    "{:28} window {:>3} seed {seed}: {found:.0} min, {}",
                    scenario.name, lens.window, outcome.class
                );
                if found > hours * 60.0 || outcome.class != *class {
                    failures
                        .push(format!("{} {} {seed}: {found} {}", scenario.name, lens.window, outcome.class));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_site_of_the_leak_is_named_not_that_of_the_large_pool() {
    let scenario = Scenario { name: "", view: View::Full, hours: 6.0, act: under_a_noisy_pool };
    for seed in 1..=3 {
        let outcome = run(&scenario, WIDE, seed);
        let finding =
            outcome.last.iter().find(|finding| finding.state == super::State::Leaking).expect("leaking");
        let site = finding.site.as_ref().expect("site");
        assert_eq!(site.line, LEAK, "{:?} {:?}", finding.site, finding.other_sites);
        assert!(
            !finding.cure.contains("line 41"),
            "a defer there may close what the function returns: {}",
            finding.cure
        );
    }
}
