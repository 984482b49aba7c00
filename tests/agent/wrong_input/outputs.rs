//! Standard error that nobody reads, as with a log driver that blocks or a terminal that is paused.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::backends::log_records;
use crate::support::{Agent, LONG, free_port, get, post, wait_until};

/// An agent with a pipe for its standard error.
struct Stalled {
    agent: Agent,
    /// Both ends, so that opening waits for nobody.
    pipe: File,
    printed: u16,
    beside: u16,
    health: u16,
    _folder: TempDir,
}

impl Stalled {
    /// Prints much more than the pipe and the agent hold.
    fn start() -> Stalled {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        let pipe = OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        let [printed, beside, health] = [free_port(), free_port(), free_port()];
        let receiver = |port: u16| format!("{{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}");
        let yaml = format!(
            "receivers:\n  otlp/printed: {}\n  otlp/beside: {}\nexporters: {{debug: {{verbosity: detailed}}, nop: }}\nextensions: \
             {{health_check: {{endpoint: \"127.0.0.1:{health}\"}}}}\nservice:\n  extensions: [health_check]\n  {}\n  pipelines:\n    \
             logs/printed: {{receivers: [otlp/printed], exporters: [debug]}}\n    \
             logs/beside: {{receivers: [otlp/beside], exporters: [nop]}}\n",
            receiver(printed),
            receiver(beside),
            super::NO_METRICS
        );
        let into_pipe = |agent: Command| {
            let mut command = Command::new("sh");
            command.args(["-c", r#"pipe=$1; shift; exec "$0" "$@" 2>"$pipe""#]);
            command.arg(agent.get_program()).arg(&path).args(agent.get_args());
            command
        };
        let agent = Agent::spawn_with(&yaml, 0, into_pipe);
        let ready = || get(health, "/").filter(|answer| answer.status == 200);
        assert!(wait_until(LONG, ready).is_some(), "it is ready");
        let stalled = Stalled { agent, pipe, printed, beside, health, _folder: folder };
        let large = log_records(100, &"x".repeat(1024));
        for _ in 0..30 {
            let answer = post(stalled.printed, "/v1/logs", &large).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        stalled
    }
}

#[test]
fn nothing_waits_for_standard_error_and_what_is_missing_there_is_said() {
    let stalled = Stalled::start();
    let answer = post(stalled.beside, "/v1/logs", &log_records(1, "beside")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(get(stalled.health, "/").map(|answer| answer.status), Some(200));

    let text = Arc::new(Mutex::new(Vec::new()));
    let (read, mut pipe) = (Arc::clone(&text), stalled.pipe.try_clone().expect("a second handle"));
    // It ends with the test program.
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(length) = pipe.read(&mut buffer) {
            read.lock().expect("the lock").extend_from_slice(&buffer[..length]);
        }
    });
    let said = || {
        let text = String::from_utf8_lossy(&text.lock().expect("the lock")).into_owned();
        text.lines().find(|line| line.contains("were not written")).map(str::to_owned)
    };
    let line = wait_until(LONG, said).expect("it is said");
    assert!(line.contains("\"output\": \"stderr\"") && line.contains("\"missing\": "), "{line}");
}

#[test]
fn sigterm_ends_an_agent_whose_standard_error_nobody_reads() {
    let mut stalled = Stalled::start();
    stalled.agent.signal("TERM");
    assert_eq!(stalled.agent.wait_for_exit().code(), Some(0));
}
