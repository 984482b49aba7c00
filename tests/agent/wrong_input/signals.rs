//! Signals that come at any time, those without a meaning too, and a limit of the size of files, which comes as one.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::backends::{Backend, log_records};
use super::{NO_METRICS, batched_until_the_end};
use crate::support::{Agent, LONG, closed_port, free_port, post, wait_until};

#[test]
fn a_signal_without_a_meaning_ends_nothing_and_loses_nothing() {
    let backend = Backend::answering(200);
    let port = free_port();
    let mut agent = Agent::start(&batched_until_the_end(port, backend.port), 0);
    let answer = post(port, "/v1/logs", &log_records(3, "waits for the end")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let signals =
        ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "XCPU", "XFSZ", "PIPE", "34", "40", "64"];
    for signal in signals {
        agent.signal(signal);
        let answer = post(port, "/v1/logs", &log_records(1, "comes later"));
        assert!(answer.is_some_and(|a| a.status == 200), "{signal} ended it:\n{}", agent.log());
    }
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    let text =
        backend.bodies().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect::<String>();
    assert_eq!(text.matches("waits for the end").count(), 3, "{}", agent.log());
    assert_eq!(text.matches("comes later").count(), signals.len(), "{}", agent.log());
}

#[test]
fn a_file_that_may_not_grow_refuses_telemetry_and_the_agent_lives() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().display();
    let queue = format!(
        "otlp_http: {{endpoint: 'http://127.0.0.1:{}', sending_queue: {{storage: file_storage}}}}",
        closed_port()
    );
    for exporter in [format!("file: {{path: {path}/out.json}}"), queue] {
        let port = free_port();
        let id = exporter.split(':').next().expect("a type");
        let yaml = format!(
            "extensions: {{file_storage: {{directory: {path}}}}}\n\
             receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\nexporters: {{{exporter}}}\nservice:\n  \
             extensions: [file_storage]\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [otlp], exporters: [{id}]}}}}\n"
        );
        let mut agent = Agent::spawn_with(&yaml, 0, limited);
        agent.wait_for_log("Everything is ready.");
        let large = log_records(1, &"x".repeat(20_000));
        let answers: Vec<_> = (0..10).map(|_| post(port, "/v1/logs", &large).map(|a| a.status)).collect();
        assert_eq!(answers.first(), Some(&Some(200)), "{id}: {}", agent.log());
        assert!(answers.contains(&Some(503)), "{id}: {answers:?}\n{}", agent.log());
        assert!(agent.is_running(), "{id}: {}", agent.log());
    }
}

#[test]
fn a_reload_that_hangs_while_it_reads_holds_up_neither_the_next_one_nor_the_end() {
    let folder = TempDir::new().expect("a folder");
    let pipe = folder.path().join("pipe");
    // Who reads it waits, as nobody writes it.
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let yaml = |id: &str| {
        format!(
            "receivers: {{nop: }}\nexporters: {{{id}: }}\nservice:\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: \
             [nop], exporters: [{id}]}}}}\n"
        )
    };
    let mut agent = Agent::start(&yaml("nop"), 0);
    let hang = |number: usize| {
        fs::write(agent.config(), format!("${{file:{}}}", pipe.display())).expect("the file is written");
        agent.signal("HUP");
        let heard = || (agent.log().matches("\"signal\": \"hangup\"").count() == number).then_some(());
        wait_until(LONG, heard).expect("the signal is heard");
    };
    hang(1);
    fs::write(agent.config(), yaml("nop/changed")).expect("the file is written");
    agent.signal("HUP");
    agent.wait_for_log("Config updated.");
    hang(3);
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
}

/// The same command with files of 64 KiB at most.
fn limited(agent: Command) -> Command {
    let mut command = Command::new("sh");
    // Blocks of 512 bytes.
    command.args(["-c", r#"ulimit -f 128; exec "$0" "$@""#]).arg(agent.get_program()).args(agent.get_args());
    command.current_dir(agent.get_current_dir().expect("a folder")).env("NO_COLOR", "1");
    command
}
