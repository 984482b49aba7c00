//! The window of 5 s with observations each 2 s, in real seconds: how long does a verdict take?

use super::super::*;
use weir_connection::report::State;

fn bounds(ages: impl Fn(f64) -> f64) -> Vec<(u32, f64)> {
    BOUNDS.iter().map(|bound| (*bound, ages(f64::from(*bound)))).collect()
}

fn key(source: Source, resource: Resource) -> SeriesKey {
    let process = ProcessKey {
        host: "h".into(),
        pid: 7,
        start_ticks: 9,
        instance: String::new(),
        service: "checkout".into(),
    };
    SeriesKey { process, source, resource, side: Side::Client, target: "127.0.0.1:50051".into() }
}

/// Clients begun at these times, at `now`; closed ones are given by their end.
fn sample(begun: &[f64], ended: Option<f64>, now: f64) -> Sample {
    let opened = begun.iter().filter(|begin| **begin <= now).count() as f64;
    let site = SiteKey {
        source: SiteSource::Events,
        file: "orders.go".into(),
        line: 41,
        function: "dialOrders".into(),
    };
    let sample = |older: Vec<(u32, f64)>, outlived: Vec<(u32, f64)>, open: f64| Sample {
        open: Some(open),
        opened: Some(opened),
        closed: Some(opened - open),
        idle: older.clone(),
        unused: older.first().map(|(_, number)| *number),
        older,
        outlived,
        load: Some(opened),
        by_site: vec![(site.clone(), open)],
        ..Sample::default()
    };
    let born_before = |limit: f64| begun.iter().filter(|begin| **begin <= limit).count() as f64;
    match ended.filter(|end| *end <= now) {
        Some(end) => sample(bounds(|_| 0.0), bounds(|bound| born_before(end - bound)), 0.0),
        None => sample(bounds(|bound| born_before(now - bound)), bounds(|_| 0.0), opened),
    }
}

/// States with their times when clients are begun at these times; observed each 2 s with this phase, ticked each second.
fn watch(begun: &[f64], ended: Option<f64>, phase: f64, until: f64) -> (Vec<(f64, State)>, Vec<Finding>) {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let at = |seconds: f64| ((1_000_000.0 + seconds) * 1e9) as i64;
    let mut states = Vec::new();
    let mut due = phase;
    let mut now = 0.0;
    while now < until {
        if now >= due {
            due += 2.0;
            let time_ns = at(now);
            for (source, resource) in
                [(Source::Events, Resource::GrpcClient), (Source::Sockets, Resource::Socket)]
            {
                let mut sample = sample(begun, ended, now);
                if source == Source::Sockets {
                    sample = Sample {
                        open: sample.open,
                        idle: sample.idle,
                        older: sample.older,
                        ..Sample::default()
                    };
                }
                detector.observe(Observation { key: key(source, resource), time_ns, sample });
            }
        }
        states.extend(detector.tick(at(now)).into_iter().map(|change| (now, change.to)));
        now += 0.5;
    }
    (states, detector.report(at(now)))
}

fn first(states: &[(f64, State)], wanted: State) -> Option<f64> {
    states.iter().find(|(_, state)| *state == wanted).map(|(time, _)| *time)
}

fn every(period: f64, from: f64, to: f64) -> Vec<f64> {
    let mut times = Vec::new();
    let mut at = from;
    while at < to {
        times.push(at);
        at += period;
    }
    times
}

#[test]
fn two_clients_a_second_are_leaking_after_about_half_a_minute() {
    let mut latest: f64 = 0.0;
    for start in [0.0, 0.7, 1.9, 60.0, 61.3, 63.1] {
        for phase in [0.0, 0.5, 1.0, 1.5] {
            let (states, _) = watch(&every(0.5, start, 300.0), None, phase, start + 60.0);
            let found = first(&states, State::Leaking).expect("leaking") - start;
            println!("start {start} phase {phase}: leaking after {found:.1} s; {states:?}");
            assert!(found > 15.0, "too hasty: {found}");
            latest = latest.max(found);
        }
    }
    assert!(latest <= 32.0, "{latest}");
}

#[test]
fn a_pool_that_fills_within_fifteen_seconds_is_never_leaking_or_suspect() {
    for number in [10.0, 50.0, 200.0] {
        for seconds in [0.5, 3.0, 8.0, 15.0] {
            for start in [0.0, 40.0] {
                for phase in [0.0, 1.0] {
                    let begun = every(seconds / number, start, start + seconds);
                    let (states, _) = watch(&begun, None, phase, start + 180.0);
                    assert_eq!(first(&states, State::Leaking), None, "{number} in {seconds} s: {states:?}");
                }
            }
        }
    }
}

#[test]
fn a_mended_leak_whose_clients_are_closed_recovers_and_is_ok() {
    let (states, report) = watch(&every(0.5, 0.0, 60.0), Some(60.0), 0.0, 200.0);
    let (leaking, recovering) =
        (first(&states, State::Leaking).unwrap(), first(&states, State::Recovering).unwrap());
    let ok = states.iter().find(|(time, state)| *time > recovering && *state == State::Ok).unwrap().0;
    println!("leaking {leaking} recovering {recovering} ok {ok}");
    assert!((60.0..70.0).contains(&recovering), "{states:?}");
    assert!((recovering + 14.0..recovering + 22.0).contains(&ok), "{states:?}");
    assert_eq!(states.iter().filter(|(_, state)| *state == State::Leaking).count(), 1, "{states:?}");
    // That all were closed at once at last does not make it churn.
    assert_eq!((report[0].class.as_str(), report[0].explanation.as_str()), ("", "no connection is open"));
}

#[test]
fn a_mended_leak_whose_clients_remain_recovers_and_is_ok() {
    let (states, report) = watch(&every(0.5, 0.0, 60.0), None, 0.0, 300.0);
    let recovering = first(&states, State::Recovering).unwrap();
    println!("{states:?}");
    assert!((65.0..85.0).contains(&recovering), "{states:?}");
    assert_eq!(states.last().map(|(_, state)| *state), Some(State::Ok), "{states:?}");
    assert_eq!(states.iter().filter(|(_, state)| *state == State::Leaking).count(), 1, "{states:?}");
    assert!(
        report[0].explanation.contains("level off at 120: 0 crossed the age of 5 s"),
        "{}",
        report[0].explanation
    );
}

#[test]
fn the_verdict_carries_numbers_site_evidence_and_cure() {
    let (_, report) = watch(&every(0.5, 0.0, 300.0), None, 0.0, 45.0);
    let finding = &report[0];
    println!("{finding:#?}");
    assert_eq!((finding.state, finding.class.as_str()), (State::Leaking, "client_per_call"));
    assert!((finding.growth.rate - 2.0).abs() < 0.2, "{:?}", finding.growth);
    assert!((finding.onset.unwrap() - 1_000_000.0).abs() < 6.0, "{:?}", finding.onset);
    assert_eq!(finding.site.as_ref().map(|site| (site.line, site.share)), Some((41, 1.0)));
    assert_eq!(
        finding.cure,
        "make the connection once and share it, or close it where its last call ends (not in the function that returns it)"
    );
    assert_eq!(finding.confidence, "high");
    let texts: Vec<String> = finding.evidence.iter().map(|e| format!("{} {}", e.source, e.text)).collect();
    assert!(texts[0].starts_with("events ") && texts[0].ends_with(" begun 0 ended"), "{texts:?}");
    assert!(texts[1].contains("ESTABLISHED") && texts[1].contains("without payload"), "{texts:?}");
    assert!(finding.evidence.iter().all(|e| e.agrees == Some(true)), "{:?}", finding.evidence);
    assert!(finding.missing.iter().any(|missing| missing.contains("pprof")), "{:?}", finding.missing);
}

/// A service as the three receivers see it, each at its own pace; `reused` says whether each client is used again.
fn three_views(
    begun: &[f64],
    reused: bool,
    paces: [f64; 3],
    until: f64,
) -> (Vec<(f64, State)>, Vec<Finding>) {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let at = |seconds: f64| ((1_000_000.0 + seconds) * 1e9) as i64;
    let (mut states, mut due, mut now) = (Vec::new(), [0.3, 1.1, 1.7], 0.0);
    while now < until {
        states.extend(detector.tick(at(now)).into_iter().map(|change| (now, change.to)));
        let mut full = sample(begun, None, now);
        if reused {
            full.unused = Some(0.0);
        }
        let open = full.open.unwrap_or(0.0);
        for (i, pace) in paces.into_iter().enumerate() {
            if now < due[i] {
                continue;
            }
            due[i] += pace;
            let time_ns = at(now);
            if i == 0 {
                for resource in [Resource::GrpcClient, Resource::GrpcConnection] {
                    detector.observe(Observation {
                        key: key(Source::Events, resource),
                        time_ns,
                        sample: full.clone(),
                    });
                }
            } else if i == 1 {
                let sample = Sample {
                    opened: None,
                    closed: None,
                    unused: None,
                    load: None,
                    by_site: Vec::new(),
                    ..full.clone()
                };
                detector.observe(Observation {
                    key: key(Source::Sockets, Resource::Socket),
                    time_ns,
                    sample,
                });
            } else {
                let clients =
                    SeriesKey { target: String::new(), ..key(Source::Profile, Resource::GrpcClient) };
                detector.observe(Observation {
                    key: clients,
                    time_ns,
                    sample: Sample { open: Some(open), ..Sample::default() },
                });
                detector.observe_process(ProcessObservation {
                    process: key(Source::Profile, Resource::GrpcClient).process,
                    time_ns,
                    goroutines: vec![
                        ("grpc_serializer".into(), 3.0 * open),
                        ("grpc_reader".into(), open),
                        ("grpc_writer".into(), open),
                        ("other".into(), 12.0),
                    ],
                    ..ProcessObservation::default()
                });
            }
        }
        now += 0.25;
    }
    (states, detector.report(at(now)))
}

#[test]
fn sources_of_different_pace_agree_within_the_time() {
    for paces in [
        [2.0, 2.0, 2.0],
        [2.0, 5.0, 5.0],
        [2.0, 5.0, 15.0],
        [1.0, 2.0, 2.0],
        [2.5, 2.5, 2.5],
        [5.0, 5.0, 5.0],
    ] {
        let (states, report) = three_views(&every(0.5, 0.4, 300.0), false, paces, 50.0);
        let found = first(&states, State::Leaking).expect("leaking");
        println!("paces {paces:?}: leaking after {:.1} s", found - 0.4);
        assert!(found <= if paces[0] > 2.5 { 55.0 } else { 32.0 }, "{paces:?}: {states:?}");
        assert_eq!(report.len(), 1, "{report:#?}");
        assert_eq!(report[0].class, "client_per_call");
        let goroutines = report[0].evidence.iter().find(|e| e.source == "goroutines").unwrap();
        assert!(goroutines.text.ends_with(" = 5 per connection"), "{goroutines:?}");
        assert!(
            report[0].evidence.iter().all(|e| e.agrees == Some(true)),
            "{paces:?} {:#?}",
            report[0].evidence
        );
    }
}

#[test]
fn one_client_that_is_shared_stays_ok_and_says_why() {
    let (states, report) = three_views(&[0.4], false, [2.0, 5.0, 5.0], 90.0);
    assert!(states.is_empty(), "{states:?}");
    assert_eq!(report.len(), 1);
    assert_eq!(
        report[0].explanation,
        "open connections level off at 1: 0 crossed the age of 5 s in the last 30 s"
    );
    assert!(report[0].cure.is_empty() && report[0].confidence.is_empty());
}

#[test]
fn a_pool_of_fifty_that_is_used_again_is_never_leaking_however_it_fills() {
    for seconds in [1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0] {
        let begun: Vec<f64> = (0..50).map(|i| 1.0 + seconds * f64::from(i) / 50.0).collect();
        let (states, report) = three_views(&begun, true, [2.0, 5.0, 5.0], 150.0);
        assert_eq!(first(&states, State::Leaking), None, "{seconds}: {states:?}");
        assert_eq!(report[0].state, State::Ok);
        assert!(
            report[0].explanation.starts_with("open connections level off at 50: 0 crossed"),
            "{}",
            report[0].explanation
        );
    }
}
