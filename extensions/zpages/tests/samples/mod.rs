//! Reports as an agent would make them, for tests and for looking at the pages. Numbers are invented here and nowhere
//! in the product.

use weir_connection::report::{
    Caller, Evidence, Exemplar, Finding, Forecast, Growth, History, Process, Report, SCHEMA, Site, Source,
    Stack, State,
};

/// 2026-03-14 15:02:10 UTC.
pub(crate) const NOW: f64 = 1_773_500_530.0;

const MIB: f64 = 1_048_576.0;

/// One real leak of a client made per call, one suspect, one series that recovers, one that is fine.
pub(crate) fn leaking() -> Report {
    report(
        "1 leak, 1 suspect, 1 recovering, 1 series fine; 3 sources.",
        sources(),
        vec![client_per_call(), close_wait(), recovering(), fine("ledger", 1)],
    )
}

/// All is well.
pub(crate) fn all_fine() -> Report {
    let series = vec![fine("checkout", 0), fine("ledger", 1), fine("inventory", 2)];
    report("No leak: 3 series fine; 3 sources.", sources(), series)
}

/// Nothing is configured.
pub(crate) fn no_sources() -> Report {
    report("No source of evidence is configured.", Vec::new(), Vec::new())
}

/// Sources are configured and none has delivered.
pub(crate) fn waiting() -> Report {
    let wait = |id: &str, kind: &str, state: &str, message: &str| Source {
        id: id.into(),
        kind: kind.into(),
        state: state.into(),
        last: 0.0,
        message: message.into(),
    };
    let sources = vec![
        wait("grpc_connections", "events", "waiting", ""),
        wait(
            "socket_diag",
            "sockets",
            "waiting",
            "no process is named leaky-client; 212 processes were looked at",
        ),
        wait(
            "pprof",
            "profile",
            "failed",
            "http://127.0.0.1:6060/debug/pprof/goroutine: connection refused; import net/http/pprof and serve it there",
        ),
    ];
    report("No data yet: 3 sources, 1 failed.", sources, Vec::new())
}

/// Many series in all states.
pub(crate) fn many() -> Report {
    let mut series = Vec::new();
    for index in 0..40 {
        let mut finding = match index {
            0..3 => client_per_call(),
            3..8 => close_wait(),
            8..10 => recovering(),
            _ => fine("service", index),
        };
        finding.id = format!("series-of-{index}");
        finding.service = format!("{}-{index}", finding.service);
        series.push(finding);
    }
    report("3 leaks, 5 suspects, 2 recovering, 30 series fine; 3 sources.", sources(), series)
}

/// Every string is hostile and every number is absurd.
pub(crate) fn hostile() -> Report {
    hostile_with(
        "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' onmouseover='alert(3) <!-- \u{202e}\u{0}",
    )
}

/// A report in which every string is `text`.
pub(crate) fn hostile_with(text: &str) -> Report {
    let t = || text.to_owned();
    let caller = Caller { file: t(), line: i64::MAX, function: t(), share: f64::NAN };
    let site = Site {
        file: t(),
        line: i64::MIN,
        function: t(),
        share: f64::NAN,
        source: t(),
        uncertainty: t(),
        stack: vec![t(), t()],
        callers: vec![caller.clone(), caller],
    };
    let finding = Finding {
        id: t(),
        state: State::Leaking,
        since: f64::INFINITY,
        watched: f64::NEG_INFINITY,
        ended: None,
        verdict_in: None,
        service: t(),
        instance: t(),
        process: Process { pid: i64::MAX, executable: t(), host: t(), started: f64::NEG_INFINITY },
        side: t(),
        target: t(),
        own: t(),
        resource: t(),
        resource_label: t(),
        confidence: t(),
        class: t(),
        explanation: t(),
        site: Some(site.clone()),
        other_sites: vec![site],
        growth: Growth {
            rate: f64::NAN,
            open: f64::INFINITY,
            opened: -1.0,
            unused: Some(1e300),
            ..Growth::default()
        },
        onset: Some(NOW - 10.0),
        evidence: ["events", "sockets", text]
            .map(|source| Evidence {
                source: source.into(),
                text: t(),
                age: f64::NAN,
                agrees: Some(false),
                details: vec![t(), t()],
            })
            .to_vec(),
        missing: vec![t()],
        forecast: vec![Forecast {
            resource: t(),
            limit: f64::MAX,
            used: -1.0,
            unit: t(),
            per_item: 1e-300,
            seconds: Some(1e300),
            seconds_low: Some(-1.0),
            seconds_high: None,
            plateau: Some(f64::NAN),
            note: t(),
            unknown: t(),
        }],
        cure: t(),
        history: History {
            time: vec![NOW - 20.0, NOW - 10.0, f64::NAN, NOW],
            open: vec![1.0, f64::INFINITY, 3.0, 9e17],
            idle_old: vec![0.0],
        },
        exemplars: vec![Exemplar {
            id: t(),
            local: t(),
            peer: t(),
            tcp_state: t(),
            age: f64::NAN,
            idle: -1.0,
            rpcs: Some(i64::MIN),
            bytes_sent: Some(i64::MAX),
            bytes_received: None,
            site: t(),
            trace_id: t(),
        }],
        stacks: vec![Stack { count: -1, kind: t(), labels: vec![t()], frames: vec![t(), t()] }],
    };
    let source = Source { id: t(), kind: t(), state: t(), last: f64::NAN, message: t() };
    let twin = Finding { state: State::Ok, site: None, ..finding.clone() };
    let mut report = report(text, vec![source], vec![finding, twin]);
    report.version = t();
    report
}

fn report(summary: &str, sources: Vec<Source>, series: Vec<Finding>) -> Report {
    Report {
        schema: SCHEMA.into(),
        time: NOW,
        started: NOW - 205.0,
        version: "0.1.0".into(),
        summary: summary.into(),
        sources,
        series,
    }
}

fn sources() -> Vec<Source> {
    let well = |id: &str, kind: &str, age: f64| Source {
        id: id.into(),
        kind: kind.into(),
        state: "ok".into(),
        last: NOW - age,
        message: String::new(),
    };
    vec![
        well("grpc_connections", "events", 0.4),
        well("socket_diag", "sockets", 2.0),
        well("pprof", "profile", 7.0),
    ]
}

fn client_per_call() -> Finding {
    let span = 165;
    let onset = NOW - 140.0;
    let open_at = |time: f64| {
        2.0 + ((time - onset) * 2.0).max(0.0).floor() + f64::from((time as u64).is_multiple_of(5) as u8)
    };
    let time: Vec<f64> = (0..=span / 2).map(|index| NOW - f64::from(span) + f64::from(index) * 2.0).collect();
    let open: Vec<f64> = time.iter().map(|time| open_at(*time)).collect();
    let idle_old = time.iter().map(|time| (open_at(*time - 10.0) - 2.0).max(0.0)).collect();
    let site = Site {
        file: "examples/leaky/client/orders.go".into(),
        line: 41,
        function: "main.dialOrders".into(),
        share: 1.0,
        source: "events".into(),
        uncertainty: String::new(),
        stack: vec![
            "main.dialOrders examples/leaky/client/orders.go:41".into(),
            "main.(*shop).placeOrder examples/leaky/client/main.go:88".into(),
        ],
        callers: vec![
            Caller {
                file: "examples/leaky/client/main.go".into(),
                line: 88,
                function: "main.(*shop).placeOrder".into(),
                share: 0.75,
            },
            Caller {
                file: "examples/leaky/client/main.go".into(),
                line: 97,
                function: "main.(*shop).cancel".into(),
                share: 0.25,
            },
        ],
    };
    Finding {
        id: "checkout-4242-grpc_client".into(),
        state: State::Leaking,
        since: NOW - 118.0,
        service: "checkout".into(),
        instance: "checkout-7c9d".into(),
        process: Process { pid: 4242, executable: "leaky-client".into(), host: "node-3".into(), started: NOW - 171.0 },
        side: "client".into(),
        target: "127.0.0.1:50051".into(),
        resource: "grpc_client".into(),
        resource_label: "grpc client connections".into(),
        confidence: "high".into(),
        class: "client_per_call".into(),
        explanation: "a connection is made for each call and never closed".into(),
        site: Some(site),
        growth: Growth {
            rate: 2.0,
            rate_low: 1.94,
            rate_high: 2.05,
            open: 282.0,
            opened: 282.0,
            closed: 0.0,
            unused: Some(281.0),
            idle: Some(260.0),
        },
        onset: Some(onset),
        evidence: vec![
            evidence("events", "282 begun 0 ended", 0.4, Some(true), &["281 carried one call and none since", "0 lost"]),
            evidence("sockets", "282 ESTABLISHED, 281 without payload", 2.0, Some(true), &["oldest idle for 2 m 18 s"]),
            evidence("process", "294 of 1,048,576 descriptors, 44 MiB", 2.0, None, &[]),
            evidence("goroutines", "1,410 = 5 per connection", 7.0, Some(true), &["846 serializers, 282 readers, 282 writers"]),
            evidence("heap", "NewClient 5.5 MiB, grows 40 KB/s", 7.0, Some(true), &[]),
        ],
        missing: vec!["memory limit: no cgroup limit is set; the machine's memory is taken".into()],
        forecast: vec![
            Forecast {
                resource: "memory".into(),
                limit: 2_048.0 * MIB,
                used: 44.0 * MIB,
                unit: "By".into(),
                per_item: 56_000.0,
                seconds: Some(18_720.0),
                seconds_low: Some(18_100.0),
                seconds_high: Some(19_400.0),
                plateau: None,
                note: "memory per connection measured over the last minute".into(),
                unknown: String::new(),
            },
            level("descriptors", 1_048_576.0, 294.0, "{file_descriptor}", 3_612.0),
            level("ephemeral_ports", 28_232.0, 282.0, "{port}", 3_600.0),
        ],
        cure: "make the connection once and share it, or close it where its last call ends (not in the function that returns it)".into(),
        history: History { time, open, idle_old },
        exemplars: (0..12_i32).map(exemplar).collect(),
        stacks: vec![
            Stack {
                count: 846,
                kind: "grpc callback serializer".into(),
                labels: vec!["site=orders.go:41".into()],
                frames: [
                    "runtime.gopark runtime/proc.go:461",
                    "runtime.selectgo runtime/select.go:351",
                    "google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run grpc/internal/grpcsync/callback_serializer.go:88",
                ]
                .map(String::from)
                .to_vec(),
            },
            Stack {
                count: 282,
                kind: "grpc transport reader".into(),
                labels: vec!["site=orders.go:41".into()],
                frames: [
                    "internal/poll.runtime_pollWait runtime/netpoll.go:351",
                    "net.(*netFD).Read net/fd_posix.go:68",
                    "google.golang.org/grpc/internal/transport.(*http2Client).reader grpc/internal/transport/http2_client.go:1702",
                ]
                .map(String::from)
                .to_vec(),
            },
        ],
        ..Finding::default()
    }
}

fn level(resource: &str, limit: f64, used: f64, unit: &str, plateau: f64) -> Forecast {
    Forecast {
        resource: resource.into(),
        limit,
        used,
        unit: unit.into(),
        per_item: 1.0,
        plateau: Some(plateau),
        note: "grpc closes idle ones after 30 min by default".into(),
        ..Forecast::default()
    }
}

fn exemplar(index: i32) -> Exemplar {
    let age = 140.0 - f64::from(index) / 2.0;
    Exemplar {
        id: format!("c{}", index + 1),
        local: format!("127.0.0.1:{}", 41_200 + index * 2),
        peer: "127.0.0.1:50051".into(),
        tcp_state: "established".into(),
        age,
        idle: age - 0.4,
        rpcs: (index != 7).then_some(1),
        bytes_sent: Some(612),
        bytes_received: Some(431),
        site: "examples/leaky/client/orders.go:41".into(),
        trace_id: format!(
            "{:016x}{:016x}",
            0x5bd1_e995_9e37_79b9_u64.wrapping_mul(u64::from(index.unsigned_abs()) + 77),
            index
        ),
    }
}

fn close_wait() -> Finding {
    let time: Vec<f64> = (0..300).map(|index| NOW - 26.0 * 3_600.0 + f64::from(index) * 312.0).collect();
    let steps = |index: usize| 1_100.0 + (index as f64 * 0.45).floor() + (index as f64 * 0.7).sin() * 6.0;
    let open = (0..300).map(|index| steps(index).round()).collect();
    let idle_old = (0..300_u32).map(|index| (f64::from(index) * 0.1).floor()).collect();
    Finding {
        id: "warehouse/CLOSE_WAIT".into(),
        state: State::Suspect,
        since: NOW - 90_000.0,
        service: "warehouse-replication-gateway".into(),
        process: Process {
            pid: 977,
            executable: "replgw".into(),
            host: "node-3".into(),
            started: NOW - 400_000.0,
        },
        side: "client".into(),
        target: "inventory.warehouse.svc.cluster.local:443".into(),
        resource: "close_wait".into(),
        resource_label: "tcp sockets in CLOSE_WAIT".into(),
        confidence: "low".into(),
        class: "peer_closed_app_holds".into(),
        explanation: "the peer has closed and the program holds the socket".into(),
        site: Some(Site {
            file: "/home/build/go/src/github.com/acme/warehouse/internal/replication/transport/outbound.go"
                .into(),
            line: 1_207,
            function: "github.com/acme/warehouse/internal/replication/transport.(*Outbound).open".into(),
            share: 0.714,
            source: "heap".into(),
            uncertainty: "50 % to 90 % of the growth".into(),
            ..Site::default()
        }),
        other_sites: vec![Site {
            file: "internal/replication/probe.go".into(),
            line: 88,
            function: "replication.probe".into(),
            share: 0.12,
            source: "heap".into(),
            ..Site::default()
        }],
        growth: Growth {
            rate: 1.0 / 300.0,
            rate_low: 0.0021,
            rate_high: 0.0047,
            open: 1_234.0,
            opened: 20_000.0,
            closed: 18_766.0,
            unused: None,
            idle: Some(31.0),
        },
        onset: Some(NOW - 70_000.0),
        evidence: vec![
            evidence("sockets", "31 CLOSE_WAIT, oldest 19 h", 2.0, Some(true), &["12 have unread bytes"]),
            evidence("heap", "no growth at any dialling line", 7.0, Some(false), &[]),
        ],
        missing: vec![
            "events: the service does not use the Go module; add one line to name the site exactly".into(),
            "goroutines: 127.0.0.1:6060 answers, but raw sockets have no goroutine of their own".into(),
        ],
        forecast: vec![Forecast {
            resource: "descriptors".into(),
            limit: 4_096.0,
            used: 1_300.0,
            unit: "{file_descriptor}".into(),
            per_item: 1.0,
            seconds: Some(838_800.0),
            seconds_low: Some(595_000.0),
            seconds_high: Some(1_331_000.0),
            ..Forecast::default()
        }],
        cure: "close the connection when Read returns io.EOF".into(),
        history: History { time, open, idle_old },
        ..Finding::default()
    }
}

fn recovering() -> Finding {
    let time: Vec<f64> = (0..120).map(|index| NOW - 240.0 + f64::from(index) * 2.0).collect();
    let open = (0..120_i32).map(|i| f64::from(if i < 70 { i } else { (70 - (i - 70) * 2).max(4) })).collect();
    let idle_old = (0..120_i32)
        .map(|i| f64::from(if i < 75 { (i - 5).max(0) } else { (70 - (i - 75) * 2).max(0) }))
        .collect();
    Finding {
        id: "payments".into(),
        state: State::Recovering,
        since: NOW - 80.0,
        service: "payments".into(),
        target: "dns:///ledger:9000".into(),
        onset: Some(NOW - 230.0),
        explanation: "growth has stopped: 66 of 70 were closed since 15:00".into(),
        growth: Growth {
            rate: -0.65,
            rate_low: -0.7,
            rate_high: -0.6,
            open: 4.0,
            opened: 70.0,
            closed: 66.0,
            ..Growth::default()
        },
        forecast: Vec::new(),
        missing: Vec::new(),
        history: History { time, open, idle_old },
        exemplars: Vec::new(),
        ..client_per_call()
    }
}

fn fine(service: &str, index: usize) -> Finding {
    let time: Vec<f64> = (0..90).map(|point| NOW - 180.0 + f64::from(point) * 2.0).collect();
    let open = (0..90_usize).map(|point| ((point * (index + 3)) % 7 + 8) as f64).collect();
    Finding {
        id: format!("{service}-{index}"),
        state: State::Ok,
        since: NOW - 180.0,
        service: service.into(),
        process: Process {
            pid: 800 + index as i64,
            executable: service.into(),
            host: "node-3".into(),
            started: NOW - 9_000.0,
        },
        side: "server".into(),
        target: format!("[::1]:80{index:02}"),
        resource: "grpc_connection".into(),
        resource_label: "grpc server connections".into(),
        explanation: "connections come and go: 1,204 begun, 1,192 ended, none older than 10 s".into(),
        growth: Growth { open: 12.0, opened: 1_204.0, closed: 1_192.0, ..Growth::default() },
        evidence: vec![evidence("events", "1,204 begun 1,192 ended", 0.4, Some(true), &[])],
        history: History { time, open, idle_old: vec![0.0; 90] },
        ..Finding::default()
    }
}

fn evidence(source: &str, text: &str, age: f64, agrees: Option<bool>, details: &[&str]) -> Evidence {
    let details = details.iter().map(|line| (*line).to_owned()).collect();
    Evidence { source: source.into(), text: text.into(), age, agrees, details }
}
