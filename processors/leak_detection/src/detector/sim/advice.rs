//! What is advised to those who lack a source.

use super::super::*;
use weir_connection::report::State;

/// Series of a process: where from, what, towards whom, and how many open ones come each second.
type Row = (Source, Resource, &'static str, f64);

/// Findings after a minute at a window of 5 s, with goroutines of these kinds, so many per second.
fn watch(rows: &[Row], goroutines: &[(&str, f64)]) -> Vec<Finding> {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    let at = |seconds: f64| ((1_000_000.0 + seconds) * 1e9) as i64;
    let process = ProcessKey { host: "h".into(), pid: 7, start_ticks: 9, ..ProcessKey::default() };
    for step in 0..30 {
        let seconds = 2.0 * f64::from(step);
        let time_ns = at(seconds);
        for (source, resource, target, rate) in rows {
            let (source, resource) = (*source, resource.clone());
            let key = SeriesKey {
                process: process.clone(),
                source,
                resource,
                side: Side::Client,
                target: (*target).into(),
            };
            let sample = Sample { open: Some(1.0 + rate * seconds), ..Sample::default() };
            detector.observe(Observation { key, time_ns, sample });
        }
        if !goroutines.is_empty() {
            let goroutines = goroutines.iter().map(|(kind, rate)| ((*kind).into(), rate * seconds)).collect();
            detector.observe_process(ProcessObservation {
                process: process.clone(),
                time_ns,
                goroutines,
                ..ProcessObservation::default()
            });
        }
        detector.tick(time_ns);
    }
    detector.report(at(59.0))
}

fn missing(findings: &[Finding], resource: &str) -> String {
    let finding = findings.iter().find(|f| f.resource == resource).expect(resource);
    assert_ne!(finding.state, State::Ok, "{finding:#?}");
    finding.missing.join("; ")
}

#[test]
fn an_http_leak_is_advised_neither_the_grpc_module_nor_what_watches_already() {
    let rows = [
        (Source::Profile, Resource::HttpConnection, "", 2.0),
        (Source::Sockets, Resource::Socket, "10.0.0.1:443", 0.0),
        (Source::Sockets, Resource::Socket, "10.0.0.2:443", 0.0),
    ];
    let text = missing(&watch(&rows, &[("http_reader_on_network", 2.0)]), "http_connection");
    assert_eq!(
        text,
        "the line that makes them: the heap profile shows it approximately once some hundreds are open"
    );
}

#[test]
fn sockets_that_may_be_grpcs_are_advised_the_module_and_profiles() {
    let rows = [(Source::Sockets, Resource::Socket, "10.0.0.1:50051", 2.0)];
    let text = missing(&watch(&rows, &[]), "socket");
    for advice in ["the receiver grpc_connections", "the receiver pprof", "the line that makes them"] {
        assert!(text.contains(advice), "{text}");
    }
    let text = missing(&watch(&rows, &[("other", 2.0)]), "socket");
    assert!(
        !text.contains("module") && !text.contains("receiver pprof"),
        "its goroutines are none of grpc's: {text}"
    );
}

#[test]
fn of_plain_sockets_it_is_said_that_no_source_tells_their_line() {
    let rows = [(Source::Sockets, Resource::Socket, "10.0.0.1:25", 2.0)];
    let text = missing(&watch(&rows, &[("other", 1.0)]), "socket");
    assert_eq!(
        text,
        "the line that opens them: no source tells it of plain sockets; look for the code that dials this target"
    );
}

#[test]
fn clients_made_beside_the_module_are_said_to_be() {
    let rows = [
        (Source::Profile, Resource::GrpcClient, "", 2.0),
        (Source::Events, Resource::GrpcConnection, "10.0.0.1:50051", 0.0),
        (Source::Events, Resource::GrpcConnection, "10.0.0.2:50051", 0.0),
    ];
    let text = missing(&watch(&rows, &[("grpc_serializer", 6.0)]), "grpc_client");
    assert!(text.contains("without weir.NewClient"), "{text}");
}

#[test]
fn a_service_that_reports_its_clients_is_not_said_to_make_them_without_the_module() {
    let rows = [
        (Source::Sockets, Resource::Socket, "10.0.0.9:50051", 2.0),
        (Source::Events, Resource::GrpcClient, "10.0.0.1:50051", 0.0),
    ];
    let text = missing(&watch(&rows, &[("grpc_serializer", 6.0)]), "socket");
    assert!(!text.contains("without weir.NewClient"), "{text}");
}

#[test]
fn a_source_that_publishes_more_rarely_than_twice_a_window_is_named() {
    for (interval, said) in [(2, false), (10, true)] {
        let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
        let process = ProcessKey { host: "h".into(), pid: 7, ..ProcessKey::default() };
        let key = SeriesKey {
            process,
            source: Source::Events,
            resource: Resource::GrpcClient,
            side: Side::Client,
            target: "a:1".into(),
        };
        for step in 0..10 {
            let time_ns = (1_000_000 + i64::from(step) * interval) * 1_000_000_000;
            detector.tick(time_ns);
            let sample = Sample { open: Some(1.0), ..Sample::default() };
            detector.observe(Observation { key: key.clone(), time_ns, sample });
        }
        let text =
            "the source of connection events publishes every 10 s; the window of 5 s needs 2.5 s or less";
        let sources = detector.rare_sources();
        assert_eq!(sources.get(&Source::Events).is_some_and(|s| s.starts_with(text)), said, "{sources:?}");
        let findings = detector.report((1_000_000 + 9 * interval) * 1_000_000_000);
        assert_eq!(findings[0].missing.iter().any(|m| m.starts_with(text)), said, "{findings:#?}");
    }
}

#[test]
fn a_source_is_as_fast_as_the_series_that_come_most_often() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    for step in 0..30 {
        let time_ns = (1_000_000 + 2 * step) * 1_000_000_000;
        detector.tick(time_ns);
        // One target is always there, another one every now and then.
        for (target, every) in [("a:1", 1), ("b:1", 7)] {
            if step % every == 0 {
                let key = SeriesKey {
                    process: ProcessKey { host: "h".into(), pid: 7, ..ProcessKey::default() },
                    source: Source::Events,
                    resource: Resource::GrpcClient,
                    side: Side::Client,
                    target: target.into(),
                };
                let sample = Sample { open: Some(1.0), ..Sample::default() };
                detector.observe(Observation { key, time_ns, sample });
            }
        }
    }
    assert_eq!(detector.rare_sources().len(), 0, "{:?}", detector.rare_sources());
}

#[test]
fn a_server_is_not_advised_to_name_the_line_that_makes_its_connections() {
    let mut detector = Detector::new(Settings { window: 5.0, ..Settings::default() });
    for step in 0..30 {
        let time_ns = (1_000_000 + 2 * step) * 1_000_000_000;
        detector.tick(time_ns);
        let key = SeriesKey {
            process: ProcessKey { host: "h".into(), pid: 7, ..ProcessKey::default() },
            source: Source::Events,
            resource: Resource::GrpcConnection,
            side: Side::Server,
            target: "10.0.0.1:50051".into(),
        };
        let sample = Sample { open: Some(4.0 * step as f64), ..Sample::default() };
        detector.observe(Observation { key, time_ns, sample });
    }
    let text = missing(&detector.report(1_000_058 * 1_000_000_000), "grpc_connection");
    assert!(!text.contains("the line"), "{text}");
}
