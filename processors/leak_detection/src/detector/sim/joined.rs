//! Several views, several instances, clocks that disagree: what a leak looks like across them.

use super::super::*;
use super::world::{View, World};
use super::{Lens, STEP, Scenario, TIGHT, WIDE, real, run};
use weir_connection::report::State;

const FOR_EVER: f64 = 1e12;

fn leak(world: &mut World) {
    for _ in 0..world.events(0.05) {
        world.open(FOR_EVER, 41);
    }
}

/// Runs a world of full view for some hours; each observation passes through `alter` before the detector sees it.
fn watch(
    lens: Lens,
    hours: f64,
    mut act: impl FnMut(&mut World),
    mut alter: impl FnMut(f64, Observation, &mut dyn FnMut(Observation)),
) -> (Vec<(f64, Change)>, Detector, i64) {
    let mut world = World::new(View::Full, 7);
    let mut detector = Detector::new(Settings { window: lens.window, ..Settings::default() });
    let (mut changes, mut next, mut now) = (Vec::new(), 0.0, 0);
    while world.time < hours * 3600.0 {
        world.advance(STEP);
        act(&mut world);
        if world.time >= next {
            next += lens.interval;
            now = real(lens, world.time);
            world.processes(lens).into_iter().for_each(|observation| detector.observe_process(observation));
            for observation in world.series(lens) {
                alter(world.time, observation, &mut |altered| detector.observe(altered));
            }
            changes.extend(detector.tick(now).into_iter().map(|change| (world.time / 60.0, change)));
        }
    }
    (changes, detector, now)
}

fn leaking(changes: &[(f64, Change)]) -> Option<f64> {
    changes.iter().find(|(_, change)| change.to == State::Leaking).map(|(minutes, _)| *minutes)
}

fn as_it_is(_: f64, observation: Observation, emit: &mut dyn FnMut(Observation)) {
    emit(observation);
}

#[test]
fn three_views_agree_and_the_verdict_says_so() {
    let (_, detector, now) = watch(WIDE, 3.0, leak, as_it_is);
    let findings = detector.report(now);
    assert_eq!(findings.len(), 1, "one subject in three views: {findings:#?}");
    let finding = &findings[0];
    let text =
        |source: &str| finding.evidence.iter().find(|e| e.source == source).map(|e| e.text.clone()).unwrap();
    assert!(text("goroutines").ends_with(" = 5 per connection"), "{}", text("goroutines"));
    assert!(text("events").ends_with(" begun 0 ended"), "{}", text("events"));
    assert!(text("sockets").contains(" ESTABLISHED, "), "{}", text("sockets"));
    assert!(finding.evidence.iter().all(|e| e.agrees == Some(true)), "{:#?}", finding.evidence);
    assert_eq!((finding.confidence.as_str(), finding.missing.len()), ("high", 0));
    assert_eq!(finding.service, "checkout");
    assert_eq!(finding.process.pid, 101);
}

#[test]
fn limits_are_forecast_and_sockets_level_off_where_grpc_closes_idle_ones() {
    let (_, detector, now) = watch(WIDE, 1.5, leak, as_it_is);
    let finding = &detector.report(now)[0];
    let forecast = |name: &str| finding.forecast.iter().find(|f| f.resource == name).unwrap().clone();
    let (memory, descriptors) = (forecast("memory"), forecast("descriptors"));
    assert!((memory.per_item / 56e3 - 1.0).abs() < 0.05, "measured: {memory:?}");
    let expected = (memory.limit - memory.used) / (56e3 * finding.growth.rate);
    assert!((memory.seconds.unwrap() / expected - 1.0).abs() < 0.1, "{memory:?}");
    assert!(memory.seconds_low.unwrap() <= memory.seconds.unwrap(), "{memory:?}");
    assert_eq!(descriptors.seconds, None, "{descriptors:?}");
    assert!(descriptors.note.contains("30 min"), "{descriptors:?}");
    assert!(descriptors.plateau.is_some_and(|level| level < 1024.0), "{descriptors:?}");
    assert_eq!(finding.forecast[0].resource, "memory", "what is reached stands first");
}

#[test]
fn the_same_through_two_pipelines_and_in_parts_changes_nothing() {
    let (plain, _, _) = watch(TIGHT, 2.0, leak, as_it_is);
    let (doubled, detector, _) = watch(TIGHT, 2.0, leak, |_, observation, emit| {
        let mut first = observation.clone();
        let idle = std::mem::take(&mut first.sample.idle);
        emit(first);
        let key = observation.key.clone();
        emit(Observation { key, time_ns: observation.time_ns, sample: Sample { idle, ..Sample::default() } });
        emit(observation);
    });
    assert_eq!(leaking(&plain), leaking(&doubled));
    assert!(detector.counters().duplicates > 0);
}

#[test]
fn a_clock_an_hour_off_delays_nothing_and_times_are_told_by_the_agents_clock() {
    let (plain, _, _) = watch(WIDE, 3.0, leak, as_it_is);
    for offset in [-3600, 3600] {
        let (changes, detector, now) = watch(WIDE, 3.0, leak, |_, mut observation, emit| {
            observation.time_ns += offset * 1_000_000_000;
            emit(observation);
        });
        let delay = leaking(&changes).unwrap() - leaking(&plain).unwrap();
        assert!(delay.abs() <= 6.0, "{delay}");
        let finding = &detector.report(now)[0];
        let began = finding.onset.unwrap() - 1_700_000_000.0;
        assert!((-60.0..1500.0).contains(&began), "{began}");
    }
}

#[test]
fn a_clock_that_is_set_back_in_between_does_not_hide_a_leak() {
    let (changes, _, _) = watch(TIGHT, 3.0, leak, |time, mut observation, emit| {
        if time > 1800.0 {
            observation.time_ns -= 3_600_000_000_000;
        }
        emit(observation);
    });
    assert!(leaking(&changes).is_some_and(|minutes| minutes < 100.0), "{:?}", leaking(&changes));
}

#[test]
fn a_mass_close_of_which_the_events_tell_late_is_one_recovery() {
    let act = |world: &mut World| match world.time {
        ..7200.0 => leak(world),
        _ => world.conns.truncate(1),
    };
    let mut last = BTreeMap::new();
    let (changes, _, _) = watch(WIDE, 4.0, act, |time, observation, emit| {
        let sample = last.entry(observation.key.clone()).or_insert_with(|| observation.sample.clone());
        if observation.key.source != Source::Events || !(7200.0..7500.0).contains(&time) {
            sample.clone_from(&observation.sample);
        }
        emit(Observation { sample: sample.clone(), ..observation });
    });
    let after = changes.iter().filter(|(minutes, _)| *minutes >= 120.0);
    let told: Vec<_> = after.map(|(_, change)| (change.from, change.to)).collect();
    assert_eq!(told, [(State::Leaking, State::Recovering), (State::Recovering, State::Ok)]);
}

#[test]
fn gaps_in_the_data_delay_a_verdict_but_do_not_prevent_it() {
    let (changes, _, _) = watch(WIDE, 4.0, leak, |time, observation, emit| {
        if !(1500.0..2700.0).contains(&time) {
            emit(observation);
        }
    });
    assert!(leaking(&changes).is_some_and(|minutes| minutes < 120.0), "{:?}", leaking(&changes));
}

#[test]
fn a_leak_whose_instances_are_replaced_each_two_hours_is_found_in_each() {
    let act = |world: &mut World| {
        if world.every(7200.0) {
            world.restart();
        }
        leak(world);
    };
    let (changes, _, _) = watch(WIDE, 8.0, act, as_it_is);
    let found = changes.iter().filter(|(_, change)| change.to == State::Leaking).count();
    assert!(found >= 4, "{found}");
}

#[test]
fn a_leak_that_restarts_hide_is_found_over_several_instances() {
    let act = |world: &mut World| {
        if world.every(2700.0) {
            world.restart();
        }
        for _ in 0..world.events(0.02) {
            world.open(FOR_EVER, 41);
        }
    };
    let (changes, _, _) = watch(WIDE, 8.0, act, as_it_is);
    let (minutes, change) = changes.iter().find(|(_, change)| change.to == State::Leaking).expect("leaking");
    println!("masked leak found after {minutes} min");
    assert!(
        change.finding.explanation.starts_with("leak masked by restart: "),
        "{}",
        change.finding.explanation
    );
    assert!(*minutes < 300.0, "{minutes}");
}

#[test]
fn deployments_of_a_healthy_service_are_not_a_masked_leak() {
    for period in [2700.0, 5400.0] {
        let act = |world: &mut World| {
            if world.every(period) {
                world.restart();
            }
            while world.count(10) < 40 {
                world.open(FOR_EVER, 10);
            }
        };
        let (changes, _, _) = watch(WIDE, 10.0, act, as_it_is);
        assert!(changes.is_empty(), "{period}: {changes:#?}");
    }
}

#[test]
fn an_old_and_a_new_instance_side_by_side_are_two_subjects_and_no_leak() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let mut worlds = [World::new(View::Full, 1), World::new(View::Full, 2)];
    worlds[1].instance = 2;
    for step in 0..1000 {
        let mut now = 0;
        for (i, world) in worlds.iter_mut().enumerate() {
            world.advance(STEP * 4.0);
            // The old one drains while the new one fills, over ten minutes.
            let wanted = if i == 0 { 60 - (step - 300i64).clamp(0, 60) } else { (step - 300).clamp(0, 60) };
            while (world.conns.len() as i64) < wanted {
                world.open(FOR_EVER, 10);
            }
            let excess = world.conns.len() as i64 - wanted;
            let oldest =
                world.conns.iter().map(|conn| conn.id).nth(excess.max(0) as usize).unwrap_or(u64::MAX);
            world.close_if(|conn| excess > 0 && conn.id < oldest);
            world.use_all(10);
            now = real(TIGHT, world.time);
            world.processes(TIGHT).into_iter().for_each(|observation| detector.observe_process(observation));
            world.series(TIGHT).into_iter().for_each(|observation| detector.observe(observation));
        }
        for change in detector.tick(now) {
            assert_ne!(change.to, State::Leaking, "{change:#?}");
        }
    }
    assert_eq!(detector.counters().processes, 2);
}

#[test]
fn a_leak_that_is_mended_recovers_and_a_process_that_ends_is_told_of() {
    let scenario = |act| Scenario { name: "", view: View::Full, hours: 8.0, act };
    let closed = run(
        &scenario(|world| if world.time < 9000.0 { leak(world) } else { world.close_if(|_| true) }),
        WIDE,
        3,
    );
    let stays = run(
        &scenario(|world| {
            if world.time < 9000.0 {
                leak(world)
            }
        }),
        WIDE,
        3,
    );
    for outcome in [&closed, &stays] {
        let (recovering, ok) = (outcome.recovering.unwrap(), outcome.ok_again.unwrap());
        assert!((9000.0..12_600.0).contains(&recovering), "{recovering}");
        assert!((1700.0..2400.0).contains(&(ok - recovering)), "{recovering} {ok}");
        assert!(outcome.last.iter().all(|finding| finding.state == State::Ok), "{:?}", outcome.last[0].state);
    }

    let mut gone = false;
    let act = |world: &mut World| leak(world);
    let (mut changes, mut detector, mut now) = watch(TIGHT, 2.0, act, as_it_is);
    changes.clear();
    for second in 0..800 {
        now += 1_000_000_000;
        changes.extend(detector.tick(now).into_iter().map(|change| (f64::from(second), change)));
        gone |= detector.counters().series == 0;
    }
    let told: Vec<_> = changes.iter().map(|(_, change)| (change.from, change.to)).collect();
    assert_eq!(told, [(State::Leaking, State::Ok)], "{changes:#?}");
    assert!(changes[0].0 > 700.0, "silence does not end it: {changes:#?}");
    assert!(gone && detector.report(now).is_empty());
}

pub(super) fn feed(detector: &mut Detector, key: &SeriesKey, seconds: f64, sample: Sample) -> Vec<Change> {
    let time_ns = ((1_700_000_000.0 + seconds) * 1e9) as i64;
    let changes = detector.tick(time_ns);
    detector.observe(Observation { key: key.clone(), time_ns, sample });
    changes
}

pub(super) fn key(source: Source, resource: Resource, target: &str) -> SeriesKey {
    let process = ProcessKey { host: "h".into(), pid: 7, start_ticks: 9, ..ProcessKey::default() };
    SeriesKey { process, source, resource, side: Side::Client, target: target.into() }
}

pub(super) fn flat(open: f64) -> Sample {
    Sample {
        open: Some(open),
        idle: BOUNDS.iter().map(|bound| (*bound, open)).collect(),
        ..Sample::default()
    }
}

pub(super) fn grown(rate: f64, seconds: f64) -> Sample {
    let at = |bound: u32| (rate * (seconds - f64::from(bound))).max(0.0).floor();
    Sample {
        open: Some((rate * seconds).floor()),
        idle: BOUNDS.iter().map(|bound| (*bound, at(*bound))).collect(),
        ..Sample::default()
    }
}

#[test]
fn clients_collected_without_close_are_a_leak_although_their_number_is_flat() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let key = key(Source::Events, Resource::GrpcClient, "a:1");
    let mut found = None;
    for i in 0..30 {
        let seconds = f64::from(i) * 2.0;
        let sample = Sample { collected: Some(f64::from(i) + 40.0), ..flat(3.0) };
        let changes = feed(&mut detector, &key, seconds, sample);
        found = found.or(changes
            .into_iter()
            .find(|change| change.to == State::Leaking)
            .map(|change| (seconds, change)));
    }
    let (seconds, change) = found.expect("leaking");
    assert!(seconds <= 14.0, "{seconds}");
    assert_eq!(change.finding.class, "clientconn_unclosed_idle");
    assert!((change.finding.growth.rate - 0.5).abs() < 0.1, "{:?}", change.finding.growth);
}

#[test]
fn sockets_alive_after_their_connection_ended_are_a_duplicated_descriptor() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let key = key(Source::Sockets, Resource::Socket, "10.0.0.1:1");
    for i in 0..10 {
        feed(
            &mut detector,
            &key,
            f64::from(i) * 2.0,
            Sample { alive_after_end: vec![(1, 4.0)], ..flat(9.0) },
        );
    }
    let finding = &detector.report(1_700_000_020_000_000_000)[0];
    assert_eq!((finding.state, finding.class.as_str()), (State::Leaking, "fd_dup"));
}

#[test]
fn sockets_of_an_unmatched_target_that_grow_equally_are_evidence_of_the_same() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let clients = key(Source::Events, Resource::GrpcClient, "xds:///orders");
    let sockets = key(Source::Sockets, Resource::Socket, "10.0.0.7:7443");
    let others = key(Source::Sockets, Resource::Socket, "10.0.0.8:5432");
    for i in 0..40 {
        let seconds = f64::from(i) * 2.0;
        feed(&mut detector, &clients, seconds, grown(2.0, seconds));
        feed(&mut detector, &sockets, seconds, grown(2.0, seconds));
        feed(&mut detector, &others, seconds, flat(5.0));
    }
    let report = detector.report(1_700_000_080_000_000_000);
    assert_eq!(report.len(), 2, "{report:#?}");
    assert_eq!((report[0].state, report[0].target.as_str()), (State::Leaking, "xds:///orders"));
    assert!(
        report[0].evidence.iter().any(|e| e.source == "sockets" && e.agrees == Some(true)),
        "{:?}",
        report[0].evidence
    );
}

#[test]
fn http_sockets_are_classified_by_what_their_goroutines_wait_for() {
    for (kind, class) in
        [("http_reader_in_select", "http_body_unclosed"), ("http_reader_on_network", "transport_per_request")]
    {
        let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
        let sockets = key(Source::Sockets, Resource::Socket, "10.0.0.7:443");
        for i in 0..40 {
            let seconds = f64::from(i) * 2.0;
            let sample = grown(2.0, seconds);
            let open = sample.open.unwrap();
            feed(&mut detector, &sockets, seconds, sample);
            detector.observe_process(ProcessObservation {
                process: sockets.process.clone(),
                time_ns: ((1_700_000_000.0 + seconds) * 1e9) as i64,
                goroutines: vec![(kind.into(), open), ("http_writer".into(), open)],
                ..ProcessObservation::default()
            });
        }
        let finding = &detector.report(1_700_000_080_000_000_000)[0];
        assert_eq!((finding.state, finding.class.as_str()), (State::Leaking, class));
        let text = finding.evidence.iter().find(|e| e.source == "goroutines").map(|e| e.text.as_str());
        assert!(text.is_some_and(|text| text.ends_with("= 2 per connection")), "{text:?}");
    }
}

#[test]
fn fixed_thresholds_are_off_by_default_and_raise_no_more_than_a_suspicion() {
    for (thresholds, expected) in [
        (Thresholds::default(), State::Ok),
        (Thresholds { established: Some(3200.0), ..Thresholds::default() }, State::Suspect),
    ] {
        let mut detector = Detector::new(Settings { window: 5.0, thresholds, ..Settings::default() });
        let sockets = key(Source::Sockets, Resource::Socket, "10.0.0.7:443");
        for i in 0..20 {
            feed(&mut detector, &sockets, f64::from(i) * 2.0, flat(3300.0));
        }
        let finding = &detector.report(1_700_000_040_000_000_000)[0];
        assert_eq!(finding.state, expected);
        let told = finding
            .evidence
            .iter()
            .any(|e| e.text.contains("3,300 ESTABLISHED, over the threshold of 3,200"));
        assert_eq!(told, expected == State::Suspect, "{:?}", finding.evidence);
    }
}

#[test]
fn contended_mutexes_exceed_the_thresholds_by_their_growth_not_by_their_total() {
    for (per_second, expected) in [(10.0, State::Ok), (200.0, State::Suspect)] {
        let thresholds = Thresholds { mutex_contentions: Some(100.0), ..Thresholds::default() };
        let mut detector = Detector::new(Settings { window: 5.0, thresholds, ..Settings::default() });
        let sockets = key(Source::Sockets, Resource::Socket, "10.0.0.7:443");
        for i in 0..20 {
            let seconds = f64::from(i) * 2.0;
            feed(&mut detector, &sockets, seconds, flat(3.0));
            let total = 1e6 + per_second * seconds;
            detector.observe_process(ProcessObservation {
                process: sockets.process.clone(),
                time_ns: ((1_700_000_000.0 + seconds) * 1e9) as i64,
                facts: Facts {
                    mutex_contentions: Some(total),
                    mutex_delay: Some(total * 1e-4),
                    ..Facts::default()
                },
                ..ProcessObservation::default()
            });
        }
        let finding = &detector.report(1_700_000_040_000_000_000)[0];
        assert_eq!(finding.state, expected, "{finding:#?}");
        let told = finding.evidence.iter().any(|e| e.text.contains("200 mutex contentions per second"));
        assert_eq!(told, expected == State::Suspect, "{:?}", finding.evidence);
    }
}

#[test]
fn goroutines_that_the_runtime_proves_leaked_make_a_suspicion_a_leak() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    let mut found = None;
    for i in 0..40 {
        let seconds = f64::from(i) * 2.0;
        let changes = feed(&mut detector, &clients, seconds, grown(2.0, seconds));
        detector.observe_process(ProcessObservation {
            process: clients.process.clone(),
            time_ns: ((1_700_000_000.0 + seconds) * 1e9) as i64,
            leaked: vec![("grpc_serializer".into(), 3.0 * f64::from(i) + 3.0), ("http_writer".into(), 9.0)],
            ..ProcessObservation::default()
        });
        found = found.or(changes.iter().any(|change| change.to == State::Leaking).then_some(seconds));
    }
    assert!(found.is_some_and(|seconds| seconds <= 24.0), "{found:?}");
}

#[test]
fn sockets_and_profiles_without_events_make_one_finding_of_one_name() {
    let sockets = key(Source::Sockets, Resource::Socket, "127.0.0.1:50051");
    let profile = key(Source::Profile, Resource::GrpcClient, "");
    let idle = key(Source::Sockets, Resource::Socket, "127.0.0.1:5432");
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let (mut names, mut seen) = (Vec::new(), Vec::new());
    for i in 0..160 {
        let seconds = f64::from(i);
        let growing = seconds.min(80.0);
        let open = (2.0 * growing).floor();
        let mut sample = grown(2.0, growing);
        sample.opened = sample.open;
        sample.closed = Some(0.0);
        if i % 2 == 0 {
            feed(&mut detector, &sockets, seconds, sample);
            feed(&mut detector, &idle, seconds, flat(1.0));
        } else {
            feed(&mut detector, &profile, seconds, Sample { open: Some(open), ..Sample::default() });
            detector.observe_process(ProcessObservation {
                process: profile.process.clone(),
                time_ns: ((1_700_000_000.0 + seconds) * 1e9) as i64,
                goroutines: vec![("grpc_serializer".into(), 3.0 * open), ("grpc_reader".into(), 2.0 * open)],
                ..ProcessObservation::default()
            });
        }
        let report = detector.report(((1_700_000_000.0 + seconds) * 1e9) as i64);
        let Some(finding) = report.iter().find(|f| f.target == "127.0.0.1:50051") else { continue };
        if names.last() != Some(&finding.resource) {
            names.push(finding.resource.clone());
        }
        let confidence = ["", "low", "medium", "high"].iter().position(|c| *c == finding.confidence).unwrap();
        seen.push((finding.state, confidence, finding.growth.opened, finding.class.clone()));
    }
    assert_eq!(names, ["socket", "grpc_client"], "it is named once by what is known best: {seen:?}");
    let leaking: Vec<_> = seen.iter().filter(|(state, ..)| *state == State::Leaking).collect();
    assert!(leaking.len() > 20, "{seen:?}");
    assert!(leaking.iter().all(|(.., class)| class == "client_per_call"), "{leaking:?}");
    assert!(leaking.is_sorted_by_key(|(_, confidence, opened, _)| (*confidence, *opened)), "{leaking:?}");
    assert!(
        leaking.iter().all(|(_, confidence, opened, _)| *confidence == 3 && *opened > 0.0),
        "{leaking:?}"
    );
}
