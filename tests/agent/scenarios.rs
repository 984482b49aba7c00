//! Proof with real Go programs (tests/scenarios/programs): one mistake each, or none, and what the agent says of it.
//!
//! A verdict takes 20 to 40 s at the window of 5 s, and nearly all of that is waiting. Therefore programs run several
//! at a time inside of one test; what is wrong is collected and told by name.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do"
)]

mod lines;
mod unheard;

use std::fmt::Write;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use weir_connection::report::{Finding, Report, State};

use lines::{leak_in_a_wrapper, leak_with_line, leak_with_sampled_line, leak_without_line};
use unheard::ends_are_never_told;

use crate::support::{Agent, LONG, Program, WatchedLeaks, free_port, kill, now, wait_until};

/// How long a healthy program is watched.
const WATCHED: Duration = Duration::from_secs(45);
/// Agents that run at a time; each has a program, and that a server.
const AT_A_TIME: usize = 10;

type Outcome = Result<(), String>;

/// An agent that watches processes of one name with all sources.
struct Watch {
    name: String,
    events: u16,
    pprof: u16,
    pages: u16,
    yaml: String,
}

impl Watch {
    fn new(what: &str) -> Watch {
        let (name, events, pprof, pages) =
            (Program::unique_name(what), free_port(), free_port(), free_port());
        let yaml = format!(
            "
receivers:
  grpc_connections: {{endpoint: 127.0.0.1:{events}, collection_interval: 2s}}
  socket_diag: {{collection_interval: 2s, processes: [{{name: {name}}}]}}
  pprof: {{collection_interval: 2s, targets: [{{endpoint: \"http://127.0.0.1:{pprof}\"}}]}}
processors:
  leak_detection: {{window: 5s}}
  batch:
exporters:
  nop:
extensions:
  zpages: {{endpoint: 127.0.0.1:{pages}}}
service:
  extensions: [zpages]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [grpc_connections, socket_diag, pprof], processors: [leak_detection, batch], exporters: [nop]}}
    traces: {{receivers: [grpc_connections], processors: [leak_detection, batch], exporters: [nop]}}
    logs: {{receivers: [grpc_connections], processors: [leak_detection, batch], exporters: [nop]}}
"
        );
        Watch { name, events, pprof, pages, yaml }
    }

    fn agent(&self) -> Agent {
        Agent::start(&self.yaml, self.pages)
    }

    fn scenario(&self, scenario: &str, more: &[&str]) -> Program {
        let (endpoint, pprof) =
            (format!("http://127.0.0.1:{}", self.events), format!("127.0.0.1:{}", self.pprof));
        Program::scenario(scenario, &self.name, &[&["-endpoint", &endpoint, "-pprof", &pprof], more].concat())
    }

    /// The example's client towards a server on `port`.
    fn leaky_client(&self, port: u16, more: &[&str]) -> Program {
        let (target, pprof) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", self.pprof));
        let arguments = [&["-target", target.as_str(), "-pprof", pprof.as_str()], more].concat();
        let endpoint = format!("http://127.0.0.1:{}", self.events);
        Program::example("leaky-client", &self.name, &arguments, &[("WEIR_ENDPOINT", &endpoint)])
    }

    /// The example's server on `port`; it is not watched.
    fn leaky_server(port: u16) -> Program {
        let listen = format!("127.0.0.1:{port}");
        Program::example("leaky-server", "leaky-server", &["-listen", &listen], &[("WEIR_DISABLED", "true")])
    }
}

/// What one needs to see of a report to know what went wrong.
fn shown(report: Option<&Report>) -> String {
    let Some(report) = report else { return "no report at all".to_owned() };
    let mut text = report.summary.clone();
    for s in &report.sources {
        write!(text, "\n    source {}: {} {}", s.id, s.state, s.message).expect("a string takes it");
    }
    for f in &report.series {
        let site =
            f.site.as_ref().map(|s| format!("{}:{} by {} ({})", s.file, s.line, s.source, s.uncertainty));
        let evidence: Vec<_> =
            f.evidence.iter().map(|e| format!("{} {} {:?}", e.source, e.text, e.agrees)).collect();
        write!(
            text,
            "\n    {} {} {} pid {} {} {} {}: class {:?} confidence {:?} site {site:?} open {} rate {:.2}\n      \
             explanation: {}\n      evidence: {}\n      missing: {:?}\n      open {:?} floor {:?}",
            f.state.word(), f.service, f.instance, f.process.pid, f.side, f.target, f.resource, f.class, f.confidence,
            f.growth.open, f.growth.rate, f.explanation, evidence.join(" | "), f.missing, f.history.open,
            f.history.idle_old
        )
        .expect("a string takes it");
    }
    text
}

/// Waits until the report has a finding that `is` accepts.
fn wait_for(agent: &Agent, what: &str, is: impl Fn(&Finding) -> bool) -> Result<Finding, String> {
    let found = wait_until(LONG, || agent.report()?.series.into_iter().find(|f| is(f)));
    found.ok_or_else(|| format!("never came: {what}; at the end: {}", shown(agent.report().as_ref())))
}

/// Watches until the time is over; an error when anything was called leaking.
fn never_leaking(agent: &Agent) -> Result<Report, String> {
    let end = now() + WATCHED;
    let leaking = wait_until(WATCHED, || {
        agent.report().filter(|r| r.series.iter().any(|f| f.state == State::Leaking)).map(Err).or_else(|| {
            // The last look belongs to the observation.
            (now() + Duration::from_millis(300) >= end).then(|| agent.report().map(Ok)).flatten()
        })
    });
    match leaking {
        None => Err("the page stopped answering".to_owned()),
        Some(Ok(report)) => Ok(report),
        Some(Err(report)) => Err(format!("called leaking: {}", shown(Some(&report)))),
    }
}

fn site_of(finding: &Finding) -> Option<String> {
    finding.site.as_ref().map(|s| format!("{}:{}", s.file, s.line))
}

fn ensure(right: bool, wrong: impl FnOnce() -> String) -> Outcome {
    if right { Ok(()) } else { Err(wrong()) }
}

/// Runs the cases, some at a time, and fails with all that went wrong.
fn all(cases: &[(&str, &(dyn Fn() -> Outcome + Sync))]) {
    static RUNNING: Mutex<usize> = Mutex::new(0);
    static ENDED: Condvar = Condvar::new();
    let run = |case: &(dyn Fn() -> Outcome + Sync)| {
        let running = RUNNING.lock().expect("the lock");
        *ENDED.wait_while(running, |n| *n >= AT_A_TIME).expect("the lock") += 1;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(case))
            .unwrap_or_else(|_| Err("panicked, see above".to_owned()));
        *RUNNING.lock().expect("the lock") -= 1;
        ENDED.notify_all();
        outcome
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let timed = |case| {
            let begun = now();
            (run(case), begun.elapsed())
        };
        let started: Vec<_> =
            cases.iter().map(|(name, case)| (name, scope.spawn(move || timed(*case)))).collect();
        let ended = started.into_iter().filter_map(|(name, thread)| {
            let (outcome, took) = thread.join().expect("panics are caught");
            println!(
                "{name}: {} after {:.0} s",
                if outcome.is_ok() { "right" } else { "WRONG" },
                took.as_secs_f64()
            );
            outcome.err().map(|e| format!("{name}: {e}"))
        });
        ended.collect()
    });
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

/// Watches a healthy scenario; at the end `right` must accept the state of its client.
fn healthy(scenario: &str, right: impl Fn(&Finding) -> bool) -> Outcome {
    let watch = Watch::new(scenario);
    let agent = watch.agent();
    let mut program = watch.scenario(scenario, &[]);
    let said = program.announcement();
    let report = never_leaking(&agent)?;
    ensure(
        report.series.iter().any(|f| f.process.pid == said.pid && f.target == said.target && right(f)),
        || format!("not as documented: {}", shown(Some(&report))),
    )
}

#[test]
fn every_leak_is_found_with_its_class_and_its_line() {
    all(&[
        ("client_per_call", &|| leak_with_line("client_per_call", &[])),
        ("client_per_call through a dial helper", &|| leak_with_line("client_per_call", &["-helper"])),
        ("client_per_call in a wrapper", &leak_in_a_wrapper),
        ("clientconn_unclosed_idle", &|| leak_with_line("clientconn_unclosed_idle", &["-keep"])),
        ("client_per_call without the module", &|| leak_with_sampled_line("client_per_call", &["-plain"])),
        ("stream_not_cancelled", &|| leak_with_line("stream_not_cancelled", &[])),
        ("stream_not_cancelled without the module", &|| {
            leak_without_line(
                "stream_not_cancelled",
                &["-plain"],
                "the line that opens them: the companion Go module reports it",
            )
        }),
        ("peer_closed_app_holds", &|| {
            leak_without_line(
                "peer_closed_app_holds",
                &[],
                "the line that opens them: no source tells it of plain sockets",
            )
        }),
        ("transport_per_request", &|| leak_with_sampled_line("transport_per_request", &[])),
        ("http_body_unclosed", &|| leak_with_sampled_line("http_body_unclosed", &[])),
        ("fd_dup", &|| leak_with_line("fd_dup", &[])),
    ]);
}

/// Clients that nobody can reach any more: the runtime itself proves their goroutines leaked, no statistics are needed.
#[test]
fn what_the_runtime_proves_leaked_is_evidence() {
    let watch = Watch::new("goroutineleak");
    let endpoint = format!("endpoint: \"http://127.0.0.1:{}\"", watch.pprof);
    let yaml = watch
        .yaml
        .replace(&endpoint, &format!("{endpoint}, profiles: [goroutine, goroutineleak]"))
        .replace("[grpc_connections, socket_diag, pprof]", "[pprof]");
    let agent = Agent::start(&yaml, watch.pages);
    let pprof = format!("127.0.0.1:{}", watch.pprof);
    let arguments = ["-plain", "-pprof", pprof.as_str()];
    let mut program =
        Program::scenario_with_leak_profile("clientconn_unclosed_idle", &watch.name, &arguments);
    let said = program.announcement();
    let proved = "goroutines that the runtime proved leaked";
    let found = wait_for(&agent, "a leak that the runtime proves", |f| {
        let details = f.evidence.iter().flat_map(|e| &e.details);
        f.process.pid == said.pid
            && f.state == State::Leaking
            && details.into_iter().any(|d| d.contains(proved))
    })
    .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found.class, "clientconn_unclosed_idle", "{}", shown(agent.report().as_ref()));
}

#[test]
fn a_process_whose_sockets_are_seen_before_its_events_has_the_name_that_its_events_give() {
    let watch = Watch::new("sockets-first");
    let agent = Agent::start(
        &watch
            .yaml
            .replace("socket_diag: {collection_interval: 2s", "socket_diag: {collection_interval: 100ms"),
        watch.pages,
    );
    let port = free_port();
    let _server = Watch::leaky_server(port);
    // Its first client comes after five seconds, and no snapshot before it.
    let client = watch.leaky_client(port, &["-rate", "0.2", "-snapshot-interval", "1m"]);
    let of = |f: &Finding| f.process.pid == i64::from(client.pid()) && f.resource == "grpc_client";
    let found = wait_for(&agent, "its client", of).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found.service, "checkout", "{}", shown(agent.report().as_ref()));
}

#[test]
fn healthy_services_are_never_called_leaking_and_the_reason_is_given() {
    all(&[
        ("pool_warmup", &|| healthy("pool_warmup", |f| f.state == State::Ok && !f.explanation.is_empty())),
        ("connect_close_churn", &|| {
            healthy("connect_close_churn", |f| f.state == State::Ok && f.class == "churn")
        }),
        ("burst_idle", &|| healthy("burst_idle", |f| f.state == State::Ok && !f.explanation.is_empty())),
        ("deploy_overlap", &|| {
            // While the old generation and the new one are open, growth is all that is seen.
            let may_be = |f: &Finding| matches!(f.state, State::Ok | State::Suspect);
            healthy("deploy_overlap", |f| may_be(f) && !f.explanation.is_empty())
        }),
        // Snapshots put right what is lost, so that nothing is left but what the program does.
        ("events_lost", &|| healthy("events_lost", |f| f.state == State::Ok && f.class == "churn")),
        ("events_lost with the snapshots", &events_and_snapshots_lost),
        ("ends that are never told", &ends_are_never_told),
        ("the agent's own connections", &own_connections),
        ("its server comes back on the same port", &server_comes_back),
    ]);
}

/// Without snapshots nothing puts the numbers right: begins without ends pile up in the agent. But nothing says either
/// that what seems open is idle, so it is not called a leak.
fn events_and_snapshots_lost() -> Outcome {
    let watch = Watch::new("events_lost");
    let agent = watch.agent();
    let mut program = watch.scenario("events_lost", &["-drop-snapshots"]);
    let said = program.announcement();
    let report = never_leaking(&agent)?;
    let piled =
        |f: &Finding| f.process.pid == said.pid && f.resource == "grpc_client" && f.growth.open > 10.0;
    ensure(report.series.iter().any(|f| piled(f) && f.state == State::Ok), || {
        format!("the begins did not pile up, so nothing was proved: {}", shown(Some(&report)))
    })
}

/// What the service sends to the agent and what the agent asks of it is shown as such.
fn own_connections() -> Outcome {
    let watch = Watch::new("own");
    let agent = watch.agent();
    let mut program = watch.scenario("pool_warmup", &[]);
    let said = program.announcement();
    for (side, port, own) in [("client", watch.events, "grpc_connections"), ("server", watch.pprof, "pprof")]
    {
        let is = |f: &Finding| {
            f.process.pid == said.pid && f.side == side && f.target == format!("127.0.0.1:{port}")
        };
        let marked = wait_for(&agent, "the agent's own connections", |f| is(f) && !f.own.is_empty())?;
        ensure(marked.own == own && marked.explanation.contains("this agent"), || {
            format!("{side}: {:?} {}", marked.own, marked.explanation)
        })?;
    }
    let pool = wait_for(&agent, "the pool", |f| f.process.pid == said.pid && f.target == said.target)?;
    ensure(pool.own.is_empty(), || format!("the pool leads to {:?}", pool.own))
}

/// One shared client whose server dies and returns: it connects again, and that is no leak.
fn server_comes_back() -> Outcome {
    let watch = Watch::new("restarts");
    let agent = watch.agent();
    let port = free_port();
    let mut server = Watch::leaky_server(port);
    let client = watch.leaky_client(port, &["-fixed", "-rate", "4"]);
    let pid = i64::from(client.pid());
    wait_for(&agent, "the client", |f| f.process.pid == pid && f.growth.open >= 1.0)?;
    for _ in 0..3 {
        drop(server);
        thread::sleep(Duration::from_secs(2));
        server = Watch::leaky_server(port);
        thread::sleep(Duration::from_secs(2));
    }
    let report = never_leaking(&agent)?;
    ensure(report.series.iter().any(|f| f.process.pid == pid && f.state == State::Ok), || {
        shown(Some(&report))
    })
}

#[test]
fn a_leak_that_is_mended_recovers_and_one_that_is_not_survives_restarts() {
    all(&[
        ("mended", &mended),
        ("the agent is restarted", &agent_restart),
        ("the service is restarted", &service_restart),
        ("the process exits, events only", &exits_events_only),
    ]);
}

fn mended() -> Outcome {
    let watch = Watch::new("mended");
    let agent = watch.agent();
    let port = free_port();
    let _server = Watch::leaky_server(port);
    let client = watch.leaky_client(port, &["-rate", "4"]);
    let of = |f: &Finding, state| {
        f.process.pid == i64::from(client.pid()) && f.side == "client" && f.state == state
    };
    let watched = agent.watch_leaks();
    let leaking = wait_for(&agent, "leaking", |f| of(f, State::Leaking))?;
    let site = site_of(&leaking).unwrap_or_default();
    let (file, line) = dial_line();
    ensure(site.ends_with(&format!("{file}:{line}")), || format!("the site is {site:?}, not {file}:{line}"))?;
    kill("USR1", client.pid());
    let id = leaking.id.clone();
    wait_for(&agent, "recovering", |f| f.id == id && f.state == State::Recovering)?;
    let ok = wait_for(&agent, "ok again", |f| f.id == id && f.state == State::Ok)?;
    ensure(ok.growth.open <= 2.0, || format!("{} open after all but one were closed", ok.growth.open))?;
    told_in_order(&watched, &format!("-> 127.0.0.1:{port}"))
}

/// What `weir leaks --watch` tells of a target: each change once, not each second what it counts.
fn told_in_order(watched: &WatchedLeaks, subject: &str) -> Outcome {
    let ok_again = |lines: Vec<String>| lines.last().is_some_and(|l| l.starts_with("OK")).then_some(lines);
    let lines = wait_until(LONG, || ok_again(watched.lines(subject)));
    let lines = lines.ok_or_else(|| format!("it ends otherwise: {:?}", watched.lines(subject)))?;
    let mut states = lines.iter().filter_map(|line| line.split("  ").next());
    // While the ends are on their way it may be in doubt for a moment.
    let in_order = ["LEAKING", "RECOVERING", "OK"].iter().all(|state| states.any(|told| told == *state));
    ensure(in_order && lines.len() < 20, || format!("it told: {lines:#?}"))
}

/// Where the example makes its connections.
fn dial_line() -> (&'static str, usize) {
    let source = include_str!("../../examples/leaky/client/orders.go");
    let line = source.lines().position(|l| l.contains("weir.NewClient(")).expect("the example dials");
    ("examples/leaky/client/orders.go", line + 1)
}

/// The second agent never saw the beginnings: snapshots tell it what is open.
fn agent_restart() -> Outcome {
    let watch = Watch::new("agent-restart");
    let agent = watch.agent();
    let mut program = watch.scenario("client_per_call", &[]);
    let said = program.announcement();
    let leaking = |f: &Finding| f.process.pid == said.pid && f.side == "client" && f.state == State::Leaking;
    let first = wait_for(&agent, "leaking", leaking)?;
    drop(agent);
    let agent = watch.agent();
    let again = wait_for(&agent, "leaking again", leaking)?;
    ensure(site_of(&again) == site_of(&first), || {
        format!("the site was {:?}, is {:?}", first.site, again.site)
    })?;
    ensure(again.growth.open > first.growth.open, || {
        format!("{} open after {}: what was open before is missing", again.growth.open, first.growth.open)
    })
}

/// A new process on the same ports is a new instance with a verdict of its own; that of the dead one ends with it.
fn service_restart() -> Outcome {
    let watch = Watch::new("service-restart");
    let agent = watch.agent();
    let mut program = watch.scenario("client_per_call", &[]);
    let said = program.announcement();
    let of = |f: &Finding, pid: i64| f.process.pid == pid && f.side == "client" && f.state == State::Leaking;
    let first = wait_for(&agent, "leaking", |f| of(f, said.pid))?;
    drop(program);
    let mut program = watch.scenario("client_per_call", &[]);
    let again = program.announcement();
    ends(&agent, said.pid)?;
    let second = wait_for(&agent, "the new one leaking", |f| of(f, again.pid))?;
    ensure(second.instance != first.instance && second.id != first.id, || "the same instance".to_owned())
}

/// The finding of a process that exited says so, and that what it held is gone.
fn ends(agent: &Agent, pid: i64) -> Outcome {
    let ended = wait_for(agent, "the end of the process", |f| f.process.pid == pid && f.ended.is_some())?;
    let text = format!("process {pid} exited at ");
    ensure(
        ended.state == State::Ok
            && ended.explanation.starts_with(&text)
            && ended.explanation.contains("connections are gone with it")
            && ended.growth.open == 0.0,
        || format!("said of its end: {} {}", ended.state.word(), ended.explanation),
    )
}

/// Only its events are known; on the same machine the kernel still says when it is gone.
fn exits_events_only() -> Outcome {
    let watch = Watch::new("exits");
    let yaml = watch.yaml.replace("[grpc_connections, socket_diag, pprof]", "[grpc_connections]");
    let agent = Agent::start(&yaml, watch.pages);
    let mut program = watch.scenario("client_per_call", &[]);
    let said = program.announcement();
    let leaks = |f: &Finding| f.process.pid == said.pid && f.state == State::Leaking;
    wait_for(&agent, "leaking", leaks)?;
    drop(program);
    ends(&agent, said.pid)
}
