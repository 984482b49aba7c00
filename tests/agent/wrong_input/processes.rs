//! Processes that are not there, too many, or of somebody else.

use std::fs;
use std::os::unix::fs::MetadataExt;

use weir_connection::report::Source;

use crate::support::{Agent, LONG, Program, as_nobody, free_port, wait_until};

fn yaml(process: &str, pages: u16) -> String {
    format!(
        "receivers:\n  socket_diag: {{collection_interval: 500ms, processes: [{process}]}}\nprocessors: {{leak_detection: }}\n\
         exporters: {{nop: }}\nextensions: {{zpages: {{endpoint: \"127.0.0.1:{pages}\"}}}}\nservice:\n  extensions: [zpages]\n  \
         telemetry: {{metrics: {{level: none}}}}\n  pipelines: {{metrics: {{receivers: [socket_diag], processors: \
         [leak_detection], exporters: [nop]}}}}\n"
    )
}

/// The source on the page once it has one of these states.
fn source(agent: &Agent, state: &str) -> Source {
    let found = wait_until(LONG, || {
        agent.report()?.sources.into_iter().find(|s| s.id == "socket_diag" && s.state == state)
    });
    found.unwrap_or_else(|| panic!("never {state}: {:?}\n{}", agent.report().map(|r| r.sources), agent.log()))
}

#[test]
fn a_name_that_matches_nothing_is_said_on_the_page_and_in_the_log_and_looked_for_again() {
    let (name, pages) = (Program::unique_name("later"), free_port());
    let agent = Agent::start(&yaml(&format!("{{name: {name}}}"), pages), pages);
    let waiting = source(&agent, "waiting");
    assert!(
        waiting.message.contains(&name) && waiting.message.contains("ps -eo pid,comm,args"),
        "{}",
        waiting.message
    );
    agent.wait_for_log("no process matches name");
    let _program = Program::scenario("pool_warmup", &name, &["-plain"]);
    source(&agent, "ok");
}

#[test]
fn a_name_that_is_nearly_that_of_a_process_is_told_the_process() {
    let (name, pages) = (Program::unique_name("near_miss"), free_port());
    let mut program = Program::scenario("pool_warmup", &name, &["-plain"]);
    program.announcement();
    let agent = Agent::start(
        &yaml(&format!("{{name: {}}}", name.replacen("near_miss", "NearMiss", 1)), pages),
        pages,
    );
    let waiting = source(&agent, "waiting");
    assert!(waiting.message.contains(&format!("{name:?} runs: was that meant?")), "{}", waiting.message);
}

#[test]
fn ten_processes_of_one_name_are_all_watched_or_the_limit_is_named() {
    let (name, pages) = (Program::unique_name("ten"), free_port());
    // Each has a server, which has its name too.
    let _programs: Vec<_> = (0..5)
        .map(|_| {
            let mut program = Program::scenario("pool_warmup", &name, &["-plain"]);
            program.announcement();
            program
        })
        .collect();
    let agent = Agent::start(&yaml(&format!("{{name: {name}}}"), pages), pages);
    source(&agent, "ok");
    agent.wait_for_log(&format!("10 processes match name \\\"{name}\\\": all are watched").replace('\\', ""));
    let pages = free_port();
    let limited =
        yaml(&format!("{{name: {name}}}"), pages).replace("collection_interval: 500ms", "max_processes: 4");
    let agent = Agent::start(&limited, pages);
    let degraded = source(&agent, "degraded");
    assert!(
        degraded.message.contains("10 processes match") && degraded.message.contains("max_processes"),
        "{}",
        degraded.message
    );
}

#[test]
fn processes_of_another_user_are_named_with_the_capability_that_is_missing() {
    let pages = free_port();
    let own = fs::metadata("/proc/self").expect("proc").uid() == 0;
    let (name, mut program) = (Program::unique_name("others"), None);
    // The process with pid 1 belongs to another user than these tests, unless they run as root: then the agent does not.
    let yaml = if own {
        program.insert(Program::scenario("pool_warmup", &name, &["-plain"])).announcement();
        yaml(&format!("{{name: {name}}}"), pages)
    } else {
        yaml("{pid: 1}", pages)
    };
    let agent = Agent::spawn_with(&yaml, pages, |agent| if own { as_nobody(&agent) } else { agent });
    agent.wait_for_log("Everything is ready.");
    let degraded = source(&agent, "degraded");
    assert!(degraded.message.contains("CAP_SYS_PTRACE"), "{}", degraded.message);
    agent.wait_for_log("CAP_SYS_PTRACE");
}

#[test]
fn a_source_that_publishes_too_rarely_for_the_window_is_degraded_and_told_the_interval_it_needs() {
    let (name, pages) = (Program::unique_name("rare"), free_port());
    let yaml = yaml(&format!("{{name: {name}}}"), pages)
        .replace("collection_interval: 500ms", "collection_interval: 4s")
        .replace("{leak_detection: }", "{leak_detection: {window: 5s}}");
    let agent = Agent::start(&yaml, pages);
    let mut program = Program::scenario("pool_warmup", &name, &["-plain"]);
    program.announcement();
    let degraded = source(&agent, "degraded");
    let (interval, needed) = (
        "socket_diag publishes every 4",
        "the window of 5 s needs 2.5 s or less: shorten its collection_interval",
    );
    assert!(degraded.message.contains(interval) && degraded.message.contains(needed), "{}", degraded.message);
}
