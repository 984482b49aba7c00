use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::report::{Caller, Evidence, Forecast, Growth, Process, Source};

/// 2026-03-14 15:02:10 UTC.
const NOW: f64 = 1_773_500_530.0;

fn leaking() -> Finding {
    let forecast = |resource: &str, limit, used, unit: &str, per_item| Forecast {
        resource: resource.into(),
        limit,
        used,
        unit: unit.into(),
        per_item,
        ..Forecast::default()
    };
    let note = "grpc closes idle ones after 30 min by default";
    Finding {
        id: "checkout-1".into(),
        state: State::Leaking,
        since: NOW - 8.0,
        service: "checkout".into(),
        side: "client".into(),
        target: "127.0.0.1:50051".into(),
        resource: "grpc_client".into(),
        resource_label: "grpc client connections".into(),
        confidence: "high".into(),
        class: "client_per_call".into(),
        explanation: "a connection is made for each call and never closed".into(),
        site: Some(Site {
            file: "examples/leaky/client/orders.go".into(),
            line: 41,
            function: "main.dialOrders".into(),
            share: 1.0,
            source: "events".into(),
            ..Site::default()
        }),
        growth: Growth {
            rate: 2.0,
            rate_low: 1.9,
            rate_high: 2.1,
            open: 58.0,
            opened: 58.0,
            closed: 0.0,
            unused: Some(57.0),
            idle: Some(50.0),
        },
        onset: Some(NOW - 29.0),
        evidence: vec![
            evidence_of("events", "58 begun 0 ended", Some(true)),
            evidence_of("sockets", "58 ESTABLISHED, 57 without payload", Some(true)),
            evidence_of("goroutines", "290 = 5 per connection", Some(true)),
        ],
        forecast: vec![
            Forecast {
                seconds: Some(18_720.0),
                ..forecast("memory", 2_147_483_648.0, 31_457_280.0, "By", 56_000.0)
            },
            Forecast {
                plateau: Some(3_612.0),
                note: note.into(),
                ..forecast("descriptors", 1_048_576.0, 70.0, "{file_descriptor}", 1.0)
            },
            Forecast {
                plateau: Some(3_600.0),
                note: note.into(),
                ..forecast("ephemeral_ports", 28_232.0, 58.0, "{port}", 1.0)
            },
        ],
        cure: "make the connection once and share it, or close it where its last call ends (not in the function that returns it)".into(),
        ..Finding::default()
    }
}

fn suspect() -> Finding {
    Finding {
        state: State::Suspect,
        since: NOW - 90_000.0,
        service: "warehouse-replication-gateway".into(),
        side: "client".into(),
        target: "dns:///inventory.warehouse.svc.cluster.local:443".into(),
        resource_label: "tcp sockets in CLOSE_WAIT".into(),
        confidence: "low".into(),
        explanation: "grows for 4 of 6 blocks, but too little to tell from a warm-up".into(),
        site: Some(Site {
            file: "/home/build/go/src/github.com/acme/warehouse/internal/replication/transport/outbound.go"
                .into(),
            line: 1_207,
            function: "github.com/acme/warehouse/internal/replication/transport.(*Outbound).open".into(),
            share: 0.714,
            source: "heap".into(),
            uncertainty: "from sampled allocations: 50 % to 90 %".into(),
            ..Site::default()
        }),
        growth: Growth {
            rate: 1.0 / 300.0,
            open: 1_234.0,
            opened: 20_000.0,
            closed: 18_766.0,
            idle: Some(31.0),
            ..Growth::default()
        },
        evidence: vec![
            evidence_of("sockets", "1,234 CLOSE_WAIT, oldest 3 h", Some(true)),
            evidence_of("heap", "no growth", Some(false)),
        ],
        missing: vec![
            "events: the service does not use the Go module; add one line (docs/instrument.md)".into(),
        ],
        forecast: vec![Forecast {
            resource: "descriptors".into(),
            limit: 4_096.0,
            used: 1_300.0,
            unit: "{file_descriptor}".into(),
            per_item: 1.0,
            seconds: Some(838_800.0),
            ..Forecast::default()
        }],
        cure: "close the connection when Read returns io.EOF".into(),
        ..Finding::default()
    }
}

fn fine(service: &str) -> Finding {
    Finding {
        state: State::Ok,
        since: NOW - 60.0,
        service: service.into(),
        side: "server".into(),
        target: "[::1]:8080".into(),
        resource_label: "grpc server connections".into(),
        explanation: "121 begun and 120 ended; none is older than 10 s".into(),
        growth: Growth { open: 1.0, opened: 121.0, closed: 120.0, ..Growth::default() },
        evidence: vec![evidence_of("events", "121 begun 120 ended", Some(true))],
        ..Finding::default()
    }
}

fn evidence_of(source: &str, text: &str, agrees: Option<bool>) -> Evidence {
    Evidence { source: source.into(), text: text.into(), agrees, ..Evidence::default() }
}

fn everything() -> Report {
    let recovering = Finding { state: State::Recovering, service: "payments".into(), ..leaking() };
    let failed = Source {
        id: "pprof".into(),
        kind: "profile".into(),
        state: "failed".into(),
        message: "http://127.0.0.1:6060: connection refused; is net/http/pprof imported?".into(),
        ..Source::default()
    };
    Report {
        time: NOW,
        summary: "1 leak, 1 suspect, 1 recovering, 1 series fine; 3 sources, 1 failed.".into(),
        sources: vec![Source { state: "ok".into(), ..Source::default() }, failed],
        series: vec![leaking(), suspect(), recovering, fine("ledger")],
        ..Report::default()
    }
}

fn options(width: usize) -> Options {
    Options {
        width,
        clock: Clock::local(7_200),
        page: "http://127.0.0.1:55679/leaks".into(),
        hint: "Ctrl-C ends".into(),
        ..Options::default()
    }
}

/// Compares with a file in `testdata/terminal`; `BLESS=1` writes it instead.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/terminal").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "{name} differs; BLESS=1 accepts the new text");
}

#[test]
fn a_single_leak_is_one_block_in_the_documented_shape() {
    let report =
        Report { time: NOW, summary: "1 leak.".into(), series: vec![leaking()], ..Report::default() };
    golden("one_leak_160.txt", &render(&report, &options(160)));
}

#[test]
fn every_state_is_readable_at_60_80_and_120_columns() {
    for width in [60, 80, 120] {
        golden(&format!("everything_{width}.txt"), &render(&everything(), &options(width)));
        golden(&format!("compact_{width}.txt"), &render_compact(&everything(), &options(width)));
    }
}

#[test]
fn a_mended_program_is_ok_with_its_reason() {
    let report = Report { time: NOW, series: vec![fine("checkout")], ..Report::default() };
    golden("ok_80.txt", &render(&report, &options(80)));
}

#[test]
fn no_series_says_what_is_waited_for() {
    let waiting = Source {
        id: "socket_diag".into(),
        state: "waiting".into(),
        message: "no process named leaky-client yet".into(),
        ..Source::default()
    };
    let report = Report {
        summary: "No data yet, 3 s since start.".into(),
        sources: vec![waiting],
        ..Report::default()
    };
    golden("waiting_80.txt", &render(&report, &options(80)));
    assert_eq!(render_compact(&report, &options(80)), "No data yet, 3 s since start.\n");
}

#[test]
fn lines_stay_within_the_width_and_numbers_stay_whole() {
    for width in 60..140 {
        let text = render(&everything(), &options(width));
        for line in text.lines() {
            assert!(text::width(line) <= width, "{width}: {line}");
        }
        for value in ["+2.0/s (7,200/h)", "in 5 h 12 m", "limit 2.0 GiB", "56 KB each", "outbound.go:1207"] {
            assert!(text.contains(value), "{width}: {value} is torn");
        }
        for line in render_compact(&everything(), &options(width)).lines() {
            assert!(text::width(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = render(&everything(), &options(100));
    let coloured = render(&everything(), &Options { color: true, ..options(100) });
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_ne!(coloured, plain);
    assert_eq!(stripped, plain);
}

#[test]
fn more_than_eight_fine_series_are_counted() {
    let report =
        Report { series: vec![fine("ledger"); 11], summary: "All fine.".into(), ..Report::default() };
    let text = render(&report, &options(80));
    assert_eq!(text.matches("OK  ledger").count(), 8);
    assert!(text.contains("and 3 more that are fine"), "{text}");
}

#[test]
fn telemetry_cannot_move_the_cursor() {
    let mut finding = leaking();
    let hostile = "\u{1b}[2J\r\u{7}\u{9b}31m\u{202e}evil";
    finding.service = hostile.into();
    finding.target = hostile.into();
    finding.cure = hostile.into();
    finding.class = hostile.into();
    finding.confidence = hostile.into();
    if let Some(site) = &mut finding.site {
        (site.file, site.function, site.uncertainty) = (hostile.into(), hostile.into(), hostile.into());
    }
    finding.forecast[0].resource = hostile.into();
    finding.forecast[1].note = hostile.into();
    finding.evidence[0].text = hostile.into();
    finding.missing = vec![hostile.into()];
    let report = Report { series: vec![finding], ..Report::default() };
    for text in [render(&report, &options(80)), render_compact(&report, &options(80))] {
        assert!(text.contains("evil"));
        assert!(!text.chars().any(|c| c != '\n' && text::is_unsafe(c)), "{text:?}");
    }
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(-0.0),
        -10.0..5_000.0,
        Just(NOW),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z/. ]{0,90}", Just(String::new())]
}

prop_compose! {
    fn any_finding()(
        texts in proptest::collection::vec(any_text(), 16),
        numbers in proptest::collection::vec(any_number(), 16),
        options in proptest::collection::vec(proptest::option::of(any_number()), 6),
        state in prop_oneof![Just(State::Ok), Just(State::Recovering), Just(State::Suspect), Just(State::Leaking)],
        line in any::<i64>(),
        site in any::<bool>(),
        agrees in any::<Option<bool>>(),
    ) -> Finding {
        let text = |index: usize| texts[index].clone();
        let made_by = Site { file: text(0), line, function: text(1), share: numbers[0], source: text(2), uncertainty: text(3), ..Site::default() };
        Finding {
            state,
            since: numbers[1],
            service: text(4),
            process: Process { pid: line, executable: text(5), ..Process::default() },
            side: text(6),
            target: text(7),
            resource: text(8),
            resource_label: text(9),
            confidence: text(10),
            class: text(11),
            explanation: text(12),
            site: site.then(|| made_by.clone()),
            other_sites: vec![made_by],
            growth: Growth { rate: numbers[2], open: numbers[3], opened: numbers[4], closed: numbers[5], unused: options[0], idle: options[1], ..Growth::default() },
            onset: options[2],
            evidence: vec![Evidence { source: text(13), text: text(14), age: numbers[6], agrees, details: vec![text(15)] }],
            missing: vec![text(3)],
            forecast: vec![Forecast {
                resource: text(0),
                limit: numbers[7],
                used: numbers[8],
                unit: if site { "By".into() } else { text(1) },
                per_item: numbers[9],
                seconds: options[3],
                plateau: options[4],
                note: text(2),
                ..Forecast::default()
            }; 2],
            cure: text(4),
            ..Finding::default()
        }
    }
}

proptest! {
    #[test]
    fn any_report_is_rendered_without_panic_and_without_control_characters(
        series in proptest::collection::vec(any_finding(), 0..4),
        summary in any_text(),
        time in any_number(),
        width in 0_usize..200,
        offset in any::<i32>(),
    ) {
        let source = Source { id: summary.clone(), state: summary.clone(), message: summary.clone(), ..Source::default() };
        let report = Report { time, summary, sources: vec![source], series, ..Report::default() };
        let options = Options { clock: Clock::local(offset), ..options(width) };
        for text in [render(&report, &options), render_compact(&report, &options)] {
            prop_assert!(text.ends_with('\n'));
            prop_assert!(!text.chars().any(|c| c != '\n' && text::is_unsafe(c)));
        }
    }
}

#[test]
fn callers_of_the_line_are_written_below_it_with_their_shares() {
    let caller = |line, share| Caller {
        file: "shop/cart.go".into(),
        line,
        function: "main.(*cart).buy".into(),
        share,
    };
    let with = |callers: Vec<Caller>| {
        let site = Site { file: "dial.go".into(), line: 7, callers, ..Site::default() };
        let finding = Finding { state: State::Leaking, site: Some(site), ..Finding::default() };
        render_finding(&finding, 0.0, &Options { width: 120, ..Options::default() })
    };
    let two = with(vec![caller(12, 0.75), caller(30, 0.25)]);
    assert!(
        two.contains(
            "\n  called by shop/cart.go:12 (*cart).buy() 75 %, shop/cart.go:30 (*cart).buy() 25 %\n"
        ),
        "{two}"
    );
    assert!(with(vec![caller(12, 1.0)]).contains("\n  called by shop/cart.go:12 (*cart).buy()\n"));
    assert!(!with(Vec::new()).contains("called by"));
}
