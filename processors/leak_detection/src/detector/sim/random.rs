//! Arbitrary input: nothing panics, states stay valid, memory stays bounded.

use super::super::*;
use super::assert_report_is_sound;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use weir_connection::publish::Ending;
use weir_connection::report::State;

fn number() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        3 => Just(None),
        6 => (0u32..300).prop_map(|n| Some(f64::from(n))),
        1 => prop_oneof![
            Just(f64::NAN), Just(f64::INFINITY), Just(-5.0), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(1e18)
        ].prop_map(Some),
    ]
}

fn list() -> impl Strategy<Value = Vec<(u32, f64)>> {
    vec((prop_oneof![Just(1u32), Just(5), Just(10), Just(u32::MAX), 0u32..100], number()), 0..20).prop_map(
        |list| list.into_iter().filter_map(|(bound, value)| value.map(|value| (bound, value))).collect(),
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        Just("grpc_client"),
        Just("grpc_connection"),
        Just("grpc_stream"),
        Just("socket"),
        Just("close_wait"),
        Just("http_connection"),
        Just("http_transport"),
        Just("goroutine"),
        Just("http.client.open_connections"),
        Just("")
    ]
    .prop_map(Resource::from_name)
}

fn process() -> impl Strategy<Value = ProcessKey> {
    (0i64..3, 0u64..2, 0u32..3, 0u32..3).prop_map(|(pid, start_ticks, instance, service)| ProcessKey {
        host: "h".into(),
        pid,
        start_ticks,
        instance: if instance == 0 { String::new() } else { format!("i{instance}") },
        service: if service == 0 { String::new() } else { format!("s{service}") },
    })
}

prop_compose! {
    fn sample()(
        numbers in vec(number(), 7), older in list(), idle in list(), outlived in list(), alive_after_end in list(),
        sites in vec((0i64..40, number()), 0..30),
    ) -> Sample {
        let site = |line| SiteKey { source: SiteSource::Heap, file: "f.go".into(), line, function: "f".into() };
        Sample {
            open: numbers[0], opened: numbers[1], closed: numbers[2], unused: numbers[3], load: numbers[4],
            lost: numbers[5], collected: numbers[6],
            older, idle, outlived, alive_after_end,
            by_site: sites.into_iter().filter_map(|(line, n)| n.map(|n| (site(line), n))).collect(),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Series(SeriesKey, Sample),
    Process(ProcessObservation),
    /// Time goes on, or back.
    Wait(i64),
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(""),
        Just("127.0.0.1:1"),
        Just("dns:///localhost:1"),
        Just("name:1"),
        Just("[::"),
        Just("ü:ü")
    ]
    .prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Unknown), Just(Side::Client), Just(Side::Server)];
    let source = prop_oneof![Just(Source::Events), Just(Source::Sockets), Just(Source::Profile)];
    let key = (process(), source, resource(), side, target()).prop_map(
        |(process, source, resource, side, target)| SeriesKey { process, source, resource, side, target },
    );
    let ending = weighted(0.05, prop_oneof![Just(Ending::Exited), Just(Ending::Stopped)]);
    let facts = (vec(number(), 8), ending).prop_map(|(n, ended)| Facts {
        executable: Some("x".into()),
        started: n[0],
        descriptors: n[1],
        descriptor_limit: n[2],
        memory: n[3],
        memory_limit: n[4],
        ephemeral_ports: n[5],
        mutex_contentions: n[6],
        mutex_delay: n[7],
        ended,
    });
    let kind = || prop_oneof![Just("grpc_serializer"), Just("http_reader_on_network"), Just("x")];
    let census = || vec((kind(), number()), 0..4);
    let counts = |census: Vec<(&str, Option<f64>)>| -> Vec<(String, f64)> {
        census.into_iter().filter_map(|(kind, n)| n.map(|n| (kind.to_owned(), n))).collect()
    };
    let observation =
        (process(), facts, census(), census()).prop_map(move |(process, facts, goroutines, leaked)| {
            ProcessObservation {
                process,
                time_ns: 0,
                facts,
                goroutines: counts(goroutines),
                leaked: counts(leaked),
            }
        });
    let wait = prop_oneof![
        8 => 0i64..5_000_000_000,
        1 => -4_000_000_000_000i64..4_000_000_000_000,
        1 => prop_oneof![Just(i64::MAX), Just(i64::MIN), Just(0)],
    ];
    prop_oneof![
        6 => (key, sample()).prop_map(|(key, sample)| Step::Series(key, sample)),
        1 => observation.prop_map(Step::Process),
        4 => wait.prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_observations_never_panic_and_stay_within_the_limits(steps in vec(step(), 1..200), window in 0.5f64..20.0) {
        let mut detector = Detector::new(Settings { window, max_series: 16, thresholds: Thresholds { goroutines: Some(5.0), ..Thresholds::default() } });
        let mut now = 1_700_000_000_000_000_000i64;
        for step in steps {
            match step {
                Step::Series(key, sample) => detector.observe(Observation { key, time_ns: now, sample }),
                Step::Process(observation) => detector.observe_process(ProcessObservation { time_ns: now, ..observation }),
                Step::Wait(by) => {
                    now = now.saturating_add(by);
                    for change in detector.tick(now) {
                        prop_assert_ne!(change.from, change.to);
                    }
                    assert_report_is_sound(&detector.report(now));
                }
            }
            prop_assert!(detector.series.len() <= 16 && detector.index.len() == detector.series.len());
        }
    }

    /// Each step follows the drawing of the states: a leak ends only through recovering.
    #[test]
    fn a_leak_ends_only_through_recovering(floors in vec(0u32..60, 30..200), rising in 0u32..4) {
        let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
        let key = SeriesKey {
            process: ProcessKey { pid: 1, ..ProcessKey::default() },
            source: Source::Events, resource: Resource::GrpcClient, side: Side::Client, target: "a:1".into(),
        };
        let mut state = State::Ok;
        for (i, floor) in floors.iter().enumerate() {
            let now = 1_700_000_000_000_000_000 + i as i64 * 2_000_000_000;
            let value = f64::from(rising) * i as f64 * 4.0 + if i > 60 { f64::from(*floor) } else { 0.0 };
            let sample = Sample { open: Some(value), idle: vec![(5, value)], ..Sample::default() };
            detector.observe(Observation { key: key.clone(), time_ns: now, sample });
            for change in detector.tick(now) {
                prop_assert_eq!(change.from, state);
                let legal = match (change.from, change.to) {
                    (State::Leaking, to) => to == State::Recovering,
                    (from, State::Recovering) => from == State::Leaking,
                    _ => true,
                };
                prop_assert!(legal, "{:?} -> {:?}", change.from, change.to);
                state = change.to;
            }
        }
    }
}

#[test]
fn a_full_table_keeps_whom_it_watches_and_counts_whom_it_turns_away() {
    let mut detector = Detector::new(Settings { window: 5.0, max_series: 100, ..Settings::default() });
    let mut round = |second: i64, targets: std::ops::Range<usize>| {
        let time_ns = second * 1_000_000_000;
        detector.tick(time_ns);
        for i in targets {
            let key = SeriesKey {
                process: ProcessKey { pid: i as i64 % 40 + 1, ..ProcessKey::default() },
                source: Source::Sockets,
                resource: Resource::Socket,
                side: Side::Client,
                target: format!("10.0.0.1:{i}"),
            };
            let sample = Sample { open: Some(1.0), ..Sample::default() };
            detector.observe(Observation { key, time_ns, sample });
        }
        let targets = detector.report(time_ns).into_iter().map(|finding| finding.target).collect::<Vec<_>>();
        (
            targets,
            detector.unwatched().get(&Source::Sockets).copied().unwrap_or_default(),
            detector.counters(),
        )
    };
    // More than there is room for, again and again: the first ones are watched, always the same.
    for second in 1..=30 {
        let (targets, unwatched, counters) = round(second, 0..300);
        assert_eq!((targets.len(), unwatched, counters.evicted), (100, 200, 0), "in second {second}");
        assert!(targets.contains(&"10.0.0.1:0".to_owned()) && targets.contains(&"10.0.0.1:99".to_owned()));
    }
    // Some of them fall silent: others take their places, and nobody who is heard.
    (31..=44).for_each(|second| drop(round(second, 50..300)));
    let (targets, unwatched, counters) = round(45, 50..300);
    assert_eq!((targets.len(), unwatched, counters.evicted), (100, 150, 50));
    assert!(!targets.contains(&"10.0.0.1:0".to_owned()) && targets.contains(&"10.0.0.1:50".to_owned()));
    // What comes no more is not missed for ever.
    (46..=110).for_each(|second| drop(round(second, 50..150)));
    assert_eq!(round(111, 50..150).1, 0);
}

#[test]
fn processes_without_series_are_bounded_too() {
    let mut detector = Detector::new(Settings { window: 5.0, max_series: 50, ..Settings::default() });
    for pid in 1..1000 {
        let process = ProcessKey { pid, ..ProcessKey::default() };
        detector.observe_process(ProcessObservation {
            process,
            time_ns: pid,
            ..ProcessObservation::default()
        });
    }
    detector.tick(2000);
    assert!(detector.counters().processes <= 51, "{:?}", detector.counters());
}
