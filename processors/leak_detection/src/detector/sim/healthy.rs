//! Healthy services that must never be called leaking.

use super::world::{View, World};
use super::{Lens, Scenario, TIGHT, WIDE, run};

const POOL: i64 = 10;
const FOR_EVER: f64 = 1e12;

fn open(world: &mut World, number: u32, life: f64) {
    (0..number).for_each(|_| {
        world.open(life, POOL);
    });
}

fn warm_up(world: &mut World) {
    if world.count(POOL) < 50 {
        let number = world.events(0.5);
        open(world, number, FOR_EVER);
    }
    let calls = world.events(0.05);
    world.use_some(calls, POOL);
}

fn slow_warm_up(world: &mut World) {
    // Forty minutes until 50 are there; each of them is used again before long.
    if world.count(POOL) < 50 {
        let number = world.events(50.0 / 2400.0);
        open(world, number, FOR_EVER);
    }
    let calls = world.events(0.05);
    world.use_some(calls, POOL);
}

fn more_load(world: &mut World) {
    let rate = if world.time > 7200.0 { 2.0 } else { 0.2 };
    for _ in 0..world.events(rate) {
        let life = world.exponential(60.0);
        world.open(life, POOL);
    }
}

fn burst_then_idle_timeout(world: &mut World) {
    if world.every(5400.0) {
        open(world, 60, 1800.0);
    }
}

fn one_burst_over_minutes(world: &mut World) {
    if (3600.0..4200.0).contains(&world.time) {
        let number = world.events(0.2);
        open(world, number, 1800.0);
    }
}

fn idle_pool(world: &mut World) {
    if world.at(60.0) {
        open(world, 100, FOR_EVER);
    }
}

fn day(world: &World) -> f64 {
    1.0 - (world.time / 28_800.0 * std::f64::consts::TAU).cos()
}

fn load_of_the_day(world: &mut World) {
    let rate = 0.03 * day(world) + 0.005;
    for _ in 0..world.events(rate) {
        world.open(1800.0, POOL);
    }
    world.call(20.0 * rate * world.step);
}

/// With a day of 24 hours: without ages and load, a day of 8 hours is told from a leak in 98 of 100 runs only.
fn load_of_a_whole_day(world: &mut World) {
    let rate = 0.03 * (1.0 - (world.time / 86_400.0 * std::f64::consts::TAU).cos()) + 0.005;
    for _ in 0..world.events(rate) {
        world.open(1800.0, POOL);
    }
}

fn replicas_come_in_steps(world: &mut World) {
    if world.every(2400.0) && world.conns.len() < 60 {
        open(world, 10, FOR_EVER);
    }
    world.use_all(POOL);
}

fn churn(world: &mut World) {
    let number = world.events(2.0);
    world.churn(number);
}

fn reconnect_storm(world: &mut World) {
    if world.every(7200.0) {
        world.close_if(|_| true);
        open(world, 80, FOR_EVER);
    }
}

fn connections_of_limited_age(world: &mut World) {
    while world.conns.len() < 40 {
        let life = 1800.0 * (0.9 + 0.2 * world.random());
        world.open(life, POOL);
    }
    world.use_all(POOL);
}

fn roll_out(world: &mut World) {
    if world.time < 5400.0 {
        let number = world.events(100.0 / 5400.0);
        open(world, number, FOR_EVER);
    }
    world.use_all(POOL);
}

/// Some ends are lost; the next snapshot, each 10 s at a window of 5 s, puts it right.
fn lost_ends_with_snapshots(world: &mut World) {
    for _ in 0..world.events(1.0) {
        if world.random() < 0.05 {
            world.open(FOR_EVER, POOL).phantom = true;
            world.lost += 1.0;
        } else {
            world.churn(1);
        }
    }
    if world.every(1200.0) {
        world.close_if(|conn| conn.phantom);
    }
}

/// Some ends are lost and nothing puts it right, but kernel and goroutines know better.
pub(super) fn lost_ends(world: &mut World) {
    for _ in 0..world.events(1.0) {
        if world.random() < 0.02 {
            world.open(FOR_EVER, POOL).phantom = true;
        } else {
            world.churn(1);
        }
    }
}

fn pool_resized_twice(world: &mut World) {
    if world.at(60.0) || world.at(5400.0) || world.at(7200.0) {
        open(world, 30, FOR_EVER);
    }
}

fn silent_watchers(world: &mut World) {
    if (3600.0..10_800.0).contains(&world.time) {
        for _ in 0..world.events(0.03) {
            world.open(FOR_EVER, POOL);
            world.open_stream();
        }
    }
}

/// The pool hands out the youngest; those at the bottom idle until their timeout of 30 minutes.
fn last_in_first_out(world: &mut World) {
    let wave = 20.0 + 12.0 * (world.time / 3000.0).sin() + 6.0 * world.random();
    let wanted = wave.max(1.0) as usize;
    while world.conns.len() < wanted {
        world.open(FOR_EVER, POOL);
    }
    let time = world.time;
    let busy = world.conns.len().saturating_sub(0).min(wanted);
    world.conns.iter_mut().take(busy).for_each(|conn| conn.last = time);
    world.close_if(|conn| time - conn.last > 1800.0);
}

fn daily_batch(world: &mut World) {
    if world.every(10_800.0) {
        open(world, 80, 1500.0);
    }
    if world.time % 10_800.0 < 1500.0 {
        world.use_all(POOL);
    }
}

fn reclaimed_by_finalizers(world: &mut World) {
    let number = world.events(0.2);
    open(world, number, FOR_EVER);
    if world.conns.len() > 80 {
        world.close_if(|_| true);
    }
}

fn cached_for_a_while(world: &mut World) {
    for _ in 0..world.events(0.01) {
        world.open(900.0, POOL);
    }
}

const fn scenario(name: &'static str, view: View, act: fn(&mut World)) -> Scenario {
    Scenario { name, view, hours: 8.0, act }
}

/// Each with whether it may be suspected at times.
const SCENARIOS: [(Scenario, bool); 24] = [
    (scenario("warm-up to 50", View::Full, warm_up), false),
    (scenario("slow warm-up, used again", View::Full, slow_warm_up), true),
    (scenario("warm-up, sockets only", View::SocketsOnly, warm_up), false),
    (scenario("warm-up, open only", View::OpenOnly, warm_up), false),
    (scenario("more load", View::Full, more_load), true),
    (scenario("burst, idle timeout", View::Full, burst_then_idle_timeout), false),
    (scenario("burst over minutes", View::Full, one_burst_over_minutes), false),
    (scenario("burst, open only", View::OpenOnly, burst_then_idle_timeout), false),
    (scenario("idle pool", View::Full, idle_pool), false),
    (scenario("load of the day", View::Full, load_of_the_day), true),
    (
        Scenario {
            name: "load of the day, open only",
            view: View::OpenOnly,
            hours: 16.0,
            act: load_of_a_whole_day,
        },
        true,
    ),
    (scenario("replicas in steps", View::Full, replicas_come_in_steps), false),
    (scenario("churn", View::Full, churn), false),
    (scenario("reconnect storm", View::Full, reconnect_storm), false),
    (scenario("limited age", View::Full, connections_of_limited_age), false),
    (scenario("roll-out", View::Server, roll_out), false),
    (scenario("lost ends, snapshots", View::Full, lost_ends_with_snapshots), false),
    (scenario("lost ends", View::Full, lost_ends), false),
    (scenario("pool resized", View::Full, pool_resized_twice), false),
    (scenario("silent watchers", View::Full, silent_watchers), true),
    (scenario("last in, first out", View::SocketsOnly, last_in_first_out), true),
    (scenario("daily batch", View::Full, daily_batch), false),
    (scenario("finalizers", View::SocketsOnly, reclaimed_by_finalizers), true),
    (scenario("cached for a while", View::Full, cached_for_a_while), true),
];

fn check(lens: Lens) {
    let mut failures = Vec::new();
    for (scenario, may_be_suspect) in &SCENARIOS {
        for seed in super::seeds() {
            let outcome = run(scenario, lens, seed);
            let minutes = |time: Option<f64>| time.map(|time| (time / 60.0).round());
            let (leaking, suspect) = (minutes(outcome.leaking), minutes(outcome.suspect));
            if leaking.is_some() || suspect.is_some() {
                println!(
                    "{:28} window {} seed {seed}: leaking {leaking:?} suspect {suspect:?}",
                    scenario.name, lens.window
                );
            }
            if leaking.is_some() || (suspect.is_some() && !may_be_suspect) {
                failures.push(format!("{} {seed}: leaking {leaking:?} suspect {suspect:?}", scenario.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn nothing_healthy_is_called_leaking_at_a_window_of_ten_minutes() {
    check(WIDE);
}

#[test]
fn nothing_healthy_is_called_leaking_at_a_window_of_five_seconds() {
    check(TIGHT);
}

#[test]
fn lost_ends_are_named_as_such() {
    let outcome = run(&scenario("", View::Full, lost_ends), WIDE, 1);
    let finding = &outcome.last[0];
    assert_eq!((finding.class.as_str(), finding.state), ("telemetry_loss", super::State::Ok), "{finding:?}");
}

#[test]
fn churn_is_named_and_is_no_leak() {
    let outcome = run(&scenario("", View::Full, churn), WIDE, 1);
    let finding = &outcome.last[0];
    assert_eq!(finding.class, "churn", "{finding:?}");
    assert!(finding.explanation.contains("no leak"), "{}", finding.explanation);
}

#[test]
fn a_full_pool_is_explained() {
    let outcome = run(&scenario("", View::Full, warm_up), WIDE, 1);
    let text = &outcome.last[0].explanation;
    assert!(
        text.contains("level off at 5") && text.contains("0 crossed the age of 10 min in the last"),
        "{text}"
    );
}
