//! What is told of times: numbers of the same time, when a verdict is due, since when nothing is heard.

use super::super::*;
use super::joined::{feed, flat, grown, key};
use weir_connection::publish::Ending;
use weir_connection::report::State;

/// Clients of which eleven are made at first and, from the fifth minute on, two per second; six goroutines each.
fn ramp(profile_until: f64) -> (Detector, i64) {
    let mut detector = Detector::new(Settings::default());
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    let open = |seconds: f64| 11.0 + 2.0 * (seconds - 290.0).max(0.0);
    let mut seconds = 0.0;
    while seconds <= 460.0 {
        feed(&mut detector, &clients, seconds, flat(open(seconds)));
        if seconds % 15.0 == 0.0 && seconds <= profile_until {
            detector.observe_process(ProcessObservation {
                process: clients.process.clone(),
                time_ns: ((1_700_000_000.0 + seconds) * 1e9) as i64,
                goroutines: vec![
                    ("grpc_serializer".into(), 3.0 * open(seconds)),
                    ("grpc_reader".into(), 3.0 * open(seconds)),
                ],
                ..ProcessObservation::default()
            });
        }
        seconds += 5.0;
    }
    (detector, 1_700_000_460_000_000_000)
}

#[test]
fn goroutines_are_divided_by_what_was_open_when_they_were_counted() {
    let text = |profile_until: f64| {
        let (detector, now) = ramp(profile_until);
        let findings = detector.report(now);
        findings[0].evidence.iter().find(|e| e.source == "goroutines").unwrap().text.clone()
    };
    assert_eq!(text(460.0), "1,986 = 6 per connection");
    assert_eq!(text(300.0), "186 for 351 connections", "what was open then is forgotten");
}

#[test]
fn the_history_says_what_was_open_at_each_time() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    for i in 0..100 {
        let seconds = f64::from(i);
        feed(&mut detector, &clients, seconds, grown(2.0, seconds));
    }
    let history = &detector.report(1_700_000_099_000_000_000)[0].history;
    assert!(history.time.len() > 20, "{history:?}");
    for ((time, open), idle) in history.time.iter().zip(&history.open).zip(&history.idle_old) {
        let seconds = time - 1_700_000_000.0;
        assert_eq!(*open, 2.0 * seconds, "{history:?}");
        assert_eq!(*idle, (2.0 * (seconds - 5.0)).max(0.0), "{history:?}");
    }
    assert!(history.time.is_sorted_by(|a, b| a < b), "{history:?}");
}

#[test]
fn a_series_says_when_a_first_verdict_is_due() {
    let mut detector = Detector::new(Settings::default());
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    let mut due = Vec::new();
    for i in 0..=300 {
        let seconds = f64::from(i) * 10.0;
        feed(&mut detector, &clients, seconds, flat(3.0));
        let report = detector.report(((1_700_000_000.0 + seconds) * 1e9) as i64);
        due.push((report[0].watched, report[0].verdict_in));
    }
    assert_eq!(due[42], (420.0, Some(2280.0)));
    assert_eq!(due[300], (3000.0, None));
}

#[test]
fn of_a_process_that_is_gone_it_is_said_since_when_nothing_is_heard() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    for i in 0..40 {
        let seconds = f64::from(i) * 2.0;
        feed(&mut detector, &clients, seconds, grown(2.0, seconds));
    }
    assert_eq!(detector.report(at(78))[0].state, State::Leaking);
    for seconds in 79..99 {
        detector.tick(at(seconds));
    }
    let finding = &detector.report(at(99))[0];
    assert_eq!(finding.state, State::Leaking, "silence is no sign that it stopped");
    let text =
        "; nothing is heard of it since 2023-11-14 22:14:38 UTC, which does not say that it has stopped";
    assert!(finding.explanation.ends_with(text), "{}", finding.explanation);
    let missing = "events since 2023-11-14 22:14:38 UTC, when they ceased: look at the service";
    assert!(finding.missing[0].starts_with(missing), "{:?}", finding.missing);
    assert!(finding.forecast.is_empty() && finding.confidence != "high", "{finding:#?}");
}

/// Clients that leak until 78 s; what is told then of their process, and what becomes of the finding.
fn ended(rows: &[(Source, Resource)], ending: Ending) -> (Vec<Change>, Detector) {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let keys: Vec<_> =
        rows.iter().map(|(source, resource)| key(*source, resource.clone(), "10.0.0.1:1")).collect();
    for i in 0..40 {
        let seconds = f64::from(i) * 2.0;
        for key in &keys {
            feed(&mut detector, key, seconds, grown(2.0, seconds));
        }
    }
    assert_eq!(detector.report(at(78))[0].state, State::Leaking);
    detector.tick(at(79));
    detector.observe_process(ProcessObservation {
        process: keys[0].process.clone(),
        time_ns: at(79),
        facts: Facts { ended: Some(ending), ..Facts::default() },
        ..ProcessObservation::default()
    });
    let changes = detector.tick(at(79));
    // What was on its way.
    for key in keys.iter().filter(|_| ending == Ending::Exited) {
        feed(&mut detector, key, 80.0, grown(2.0, 80.0));
    }
    (changes, detector)
}

fn at(seconds: i64) -> i64 {
    (1_700_000_000 + seconds) * 1_000_000_000
}

#[test]
fn a_finding_ends_when_the_kernel_says_that_its_process_has_exited() {
    let rows = [(Source::Events, Resource::GrpcClient), (Source::Sockets, Resource::Socket)];
    let (changes, mut detector) = ended(&rows, Ending::Exited);
    assert_eq!(changes.iter().map(|c| (c.from, c.to)).collect::<Vec<_>>(), [(State::Leaking, State::Ok)]);
    for finding in [&changes[0].finding, &detector.report(at(80))[0]] {
        assert_eq!((finding.state, finding.word()), (State::Ok, "ENDED"));
        assert_eq!(
            (finding.growth.open, finding.growth.rate, finding.ended),
            (0.0, 0.0, Some(1_700_000_079.0))
        );
        assert_eq!(
            finding.explanation,
            "process 7 exited at 2023-11-14 22:14:39 UTC; its 156 connections are gone with it; it was leaking until \
             then (client_per_call)"
        );
        assert!(finding.missing.is_empty() && finding.forecast.is_empty() && finding.verdict_in.is_none());
    }
    assert_eq!(detector.tick(at(94)), []);
    assert_eq!(detector.report(at(94)).len(), 1);
    assert_eq!(detector.tick(at(95)), []);
    assert!(detector.report(at(95)).is_empty(), "three windows later it is forgotten");
}

#[test]
fn a_module_that_was_stopped_ends_the_finding_unless_somebody_else_still_sees_the_process() {
    let events = (Source::Events, Resource::GrpcClient);
    let (changes, detector) = ended(std::slice::from_ref(&events), Ending::Stopped);
    assert_eq!(changes.last().map(|c| c.to), Some(State::Ok));
    let text = "the module in process 7 was stopped at 2023-11-14 22:14:39 UTC: the process ended, or it called weir.Stop";
    assert!(detector.report(at(80))[0].explanation.starts_with(text));
    let (changes, _) = ended(&[events, (Source::Sockets, Resource::Socket)], Ending::Stopped);
    assert_eq!(changes, [], "its sockets say more");
}

#[test]
fn who_fell_silent_with_the_module_does_not_keep_its_finding() {
    for ending in [Ending::Stopped, Ending::Replaced] {
        let beside = [(Source::Events, Resource::GrpcClient), (Source::Profile, Resource::GrpcClient)];
        let (changes, mut detector) = ended(&beside, ending);
        assert_eq!(changes, [], "the profile was heard a second ago");
        let changes: Vec<_> = (80..200).flat_map(|second| detector.tick(at(second))).collect();
        assert_eq!(changes.iter().map(|c| (c.from, c.to)).collect::<Vec<_>>(), [(State::Leaking, State::Ok)]);
        assert_eq!(changes[0].finding.word(), "ENDED");
    }
}

#[test]
fn a_process_that_was_killed_and_started_again_ends_the_finding_and_counts_again_when_it_speaks_after_all() {
    let events = (Source::Events, Resource::GrpcClient);
    let (changes, mut detector) = ended(std::slice::from_ref(&events), Ending::Replaced);
    assert_eq!(changes.last().map(|c| c.to), Some(State::Ok));
    let finding = &detector.report(at(80))[0];
    assert_eq!((finding.word(), finding.growth.open), ("ENDED", 0.0));
    assert_eq!(
        finding.explanation,
        "process 7 ended without a word: at 2023-11-14 22:14:39 UTC its service ran again under the same pid; its 156 \
         connections are gone with it; it was leaking until then (client_per_call)"
    );
    let (source, resource) = events;
    let again = key(source, resource.clone(), "10.0.0.1:1");
    for i in 0..40 {
        let seconds = f64::from(i) * 2.0;
        feed(&mut detector, &again, 100.0 + seconds, grown(2.0, 100.0 + seconds));
    }
    assert_eq!(detector.report(at(178))[0].state, State::Leaking);
    let beside = [(source, resource), (Source::Sockets, Resource::Socket)];
    let (changes, _) = ended(&beside, Ending::Replaced);
    assert_eq!(changes, [], "its sockets say more");
}

#[test]
fn other_settings_keep_the_memory_and_another_window_says_what_it_forgets() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    for i in 0..40 {
        let seconds = f64::from(i) * 2.0;
        feed(&mut detector, &clients, seconds, grown(2.0, seconds));
    }
    let thresholds = Thresholds { established: Some(9.0), ..Thresholds::default() };
    assert_eq!(detector.set(Settings { window: 4.0, max_series: 7, thresholds }), None);
    assert_eq!(detector.report(at(78))[0].state, State::Leaking);
    let (why, changes) = detector.set(Settings { window: 10.0, ..Settings::default() }).expect("forgets");
    assert_eq!(
        why,
        "the window was changed from 5 s to 10 s, by which all is counted: what was known is forgotten, and a first verdict \
         takes about 45 s"
    );
    assert_eq!(changes.iter().map(|c| (c.from, c.to)).collect::<Vec<_>>(), [(State::Leaking, State::Ok)]);
    assert_eq!(changes[0].finding.explanation, why);
    assert!(detector.report(at(79)).is_empty());
}

#[test]
fn times_are_told_as_the_wall_clock_shows_them_after_it_was_set() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let clients = key(Source::Events, Resource::GrpcClient, "a:1");
    let hour = 3_600_000_000_000;
    let mut states = Vec::new();
    for i in 0..80 {
        let seconds = f64::from(i) * 2.0;
        let set = i >= 40;
        detector.set_wall_clock(if set { hour } else { i64::from(i) * 1000 });
        let time_ns = at(2 * i64::from(i));
        states.extend(detector.tick(time_ns).into_iter().map(|change| change.to));
        // Whoever collects has the same clock.
        let time_ns = if set { time_ns + hour } else { time_ns };
        detector.observe(Observation { key: clients.clone(), time_ns, sample: grown(2.0, seconds) });
    }
    assert_eq!(states, [State::Suspect, State::Leaking]);
    let finding = &detector.report(at(158))[0];
    assert_eq!(finding.state, State::Leaking);
    assert!((finding.growth.rate - 2.0).abs() < 0.2, "{:?}", finding.growth);
    let began = finding.onset.unwrap() - 1_700_003_600.0;
    assert!((-5.0..20.0).contains(&began), "{began}");
    let last = finding.history.time.last().unwrap() - 1_700_003_758.0;
    assert!(last.abs() < 5.0, "{last}");
}
