//! Starting, reloading and ending: ports, environment, signals.

use std::fs;
use std::net::TcpListener;

use super::backends::{Backend, log_records};
use super::{NO_METRICS, batched_until_the_end};
use crate::support::{Agent, LONG, closed_port, free_port, get, post, validate, wait_until};

#[test]
fn a_port_that_is_taken_is_named_and_the_agent_ends_with_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let receiver = |text: &str| {
        format!(
            "receivers:\n  {text}\nexporters: {{nop: }}\nservice:\n  {NO_METRICS}\n  pipelines:\n    \
             logs: {{receivers: [{}], exporters: [nop]}}\n",
            text.split(':').next().expect("a type")
        )
    };
    for yaml in [
        receiver(&format!("grpc_connections: {{endpoint: \"{address}\"}}")),
        receiver(&format!("otlp: {{protocols: {{http: {{endpoint: \"{address}\"}}}}}}")),
        receiver(&format!("otlp: {{protocols: {{grpc: {{endpoint: \"{address}\"}}}}}}")),
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nextensions: {{zpages: {{endpoint: \"{address}\"}}}}\nservice:\n  \
             extensions: [zpages]\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}\n"
        ),
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nservice:\n  telemetry: {{metrics: {{readers: [{{pull: \
             {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}\n  \
             pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}\n",
            address.port()
        ),
    ] {
        let mut agent = Agent::spawn(&yaml, 0);
        assert_eq!(agent.wait_for_exit().code(), Some(1), "{}", agent.log());
        let log = agent.log();
        assert!(log.contains(&address.to_string()), "the address is not named:\n{log}");
        assert!(log.to_lowercase().contains("address already in use"), "the reason is not named:\n{log}");
        let path =
            yaml.find("readers").map_or("cannot start: ", |_| "error: failed to create meter provider");
        assert!(
            log.contains("weir.yaml:") && log.contains("  --> ") && log.contains(path),
            "no place:\n{log}"
        );
        assert!(
            log.contains("set another") || log.contains("to another port"),
            "the cure is not named:\n{log}"
        );
    }
}

#[test]
fn an_environment_variable_that_is_not_set_is_warned_of() {
    let yaml = format!(
        "receivers:\n  socket_diag: {{processes: [{{name: checkout, service_name: \"${{env:WEIR_TEST_NOT_SET}}\"}}]}}\n\
         exporters: {{nop: }}\nservice:\n  {NO_METRICS}\n  pipelines: {{metrics: {{receivers: [socket_diag], exporters: [nop]}}}}\n"
    );
    let agent = Agent::start(&yaml, 0);
    let log = agent.log();
    let warning = log.lines().find(|l| l.contains("WEIR_TEST_NOT_SET")).unwrap_or_else(|| panic!("{log}"));
    assert!(warning.contains("warn"), "{warning}");
    let (code, said) = validate(&yaml);
    let names = said.contains("WEIR_TEST_NOT_SET is not set") && said.contains("weir.yaml:2:");
    assert!(code == 0 && names, "validate: {code}\n{said}");
    assert!(said.contains("give a default: ${env:WEIR_TEST_NOT_SET:-default}"), "{said}");
}

#[test]
fn sigterm_sends_what_waits_and_ends_with_code_0() {
    let backend = Backend::answering(200);
    let port = free_port();
    let mut agent = Agent::start(&batched_until_the_end(port, backend.port), 0);
    let answer = post(port, "/v1/logs", &log_records(3, "waits for the end")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(backend.bodies().is_empty(), "it was sent before the batch was full");
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    let received = backend
        .bodies()
        .iter()
        .map(|body| String::from_utf8_lossy(body).matches("waits for the end").count())
        .sum::<usize>();
    assert_eq!(received, 3, "{}", agent.log());
}

/// A pipe that nobody writes: who reads it waits.
fn pipe(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    path
}

/// An agent that reads that file when it starts.
fn reads(path: &std::path::Path) -> String {
    format!(
        "extensions: {{bearertokenauth: {{filename: {}}}}}\nreceivers: {{nop: }}\nexporters: {{nop: }}\nservice:\n  \
         extensions: [bearertokenauth]\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}\n",
        path.display()
    )
}

#[test]
fn a_stop_takes_no_longer_than_it_may_and_says_what_is_lost() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free_port();
    let yaml = format!(
        "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}\nexporters:\n  otlp_http: {{endpoint: \
         \"http://{}\", timeout: 0}}\nservice:\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [otlp], exporters: \
         [otlp_http]}}}}\n",
        silent.local_addr().expect("an address")
    );
    let within = |mut command: std::process::Command| {
        command.arg("--shutdown-timeout=300ms");
        command
    };
    let mut agent = Agent::spawn_with(&yaml, 0, within);
    agent.wait_for_log("Everything is ready.");
    let answer = post(port, "/v1/logs", &log_records(3, "is never taken")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(1), "{}", agent.log());
    let log = agent.log();
    assert!(log.contains("\"grace\": \"300ms\"") && log.contains("\"dropped_items\": 3"), "{log}");
}

#[test]
fn sigterm_ends_an_agent_whose_start_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut agent = Agent::spawn(&reads(&pipe(&folder)), 0);
    agent.wait_for_log("Extension is starting...");
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    let log = agent.log();
    assert!(log.contains("Shutdown complete.") && !log.contains("Everything is ready."), "{log}");
}

#[test]
fn settings_of_the_log_take_over_at_a_reload() {
    let yaml = |logs: &str| {
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nservice:\n  telemetry: {{metrics: {{level: none}}, logs: {logs}}}\n  \
             pipelines: {{traces: {{receivers: [nop], exporters: [nop]}}}}\n"
        )
    };
    let agent = Agent::start(&yaml("{}"), 0);
    fs::write(agent.config(), yaml("{output_paths: [/no/such/folder/log]}")).expect("written");
    agent.signal("HUP");
    let log = agent.wait_for_log("keeping the running configuration");
    assert!(log.contains("/no/such/folder/log"), "{log}");
    fs::write(agent.config(), yaml("{encoding: json, level: debug}")).expect("written");
    agent.signal("HUP");
    agent.wait_for_log("{\"level\":\"debug\",");
}

#[test]
fn a_log_that_was_moved_away_is_followed_by_another_at_a_reload_also_at_one_that_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let [log, moved] = ["weir.log", "weir.log.1"].map(|name| folder.path().join(name));
    let yaml = |telemetry: &str| {
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nservice:\n  telemetry: {{metrics: {{level: {telemetry}}}, \
             logs: {{output_paths: [stderr, '{}']}}}}\n  pipelines: {{traces: {{receivers: [nop], exporters: [nop]}}}}\n",
            log.display()
        )
    };
    let agent = Agent::start(&yaml("none"), 0);
    for (level, line) in [("none", "Config updated."), ("nun", "keeping the running configuration")] {
        fs::rename(&log, &moved).expect("moved");
        fs::write(agent.config(), yaml(level)).expect("written");
        agent.signal("HUP");
        agent.wait_for_log(line);
        let has_line = || fs::read_to_string(&log).ok().filter(|log| log.contains(line));
        assert!(wait_until(LONG, has_line).is_some(), "{level}: nothing in a new file\n{}", agent.log());
        assert!(!fs::read_to_string(&moved).expect("readable").contains(line), "{level}");
    }
}

#[test]
fn sigterm_ends_an_agent_whose_reload_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, "a token").expect("the token is written");
    let mut agent = Agent::start(&reads(&token), 0);
    fs::write(agent.config(), reads(&pipe(&folder))).expect("the file is written");
    agent.signal("HUP");
    agent.wait_for_log("hangup");
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    let log = agent.log();
    assert!(log.contains("Shutdown complete.") && !log.contains("Config updated."), "{log}");
}

#[test]
fn sighup_with_a_broken_file_keeps_the_old_configuration_and_with_a_mended_one_takes_it() {
    let (old, new) = (free_port(), free_port());
    let yaml = |extension: &str, port: u16| {
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nextensions:\n  {extension}: {{endpoint: \"127.0.0.1:{port}\"}}\nservice:\n  \
             extensions: [{extension}]\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}\n"
        )
    };
    let mut agent = Agent::start(&yaml("zpages", old), old);
    fs::write(agent.config(), yaml("zpags", new)).expect("the file is written");
    agent.signal("HUP");
    let log = agent.wait_for_log("keeping the running configuration");
    assert!(log.contains("weir.yaml:4:3") && log.contains("did you mean `zpages`?"), "{log}");
    assert!(agent.is_running() && agent.report().is_some(), "{log}");
    fs::write(agent.config(), yaml("zpages", new)).expect("the file is written");
    agent.signal("HUP");
    let taken = wait_until(LONG, || get(new, "/leaks.json").filter(|a| a.status == 200));
    assert!(taken.is_some(), "{}", agent.log());
    let closed = wait_until(LONG, || get(old, "/leaks.json").is_none().then_some(()));
    assert!(closed.is_some(), "the old port still answers");
}

#[test]
fn what_cannot_start_at_a_reload_is_named_with_its_place() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let yaml = |receiver: &str, extension: &str, telemetry: &str| {
        format!(
            "receivers:\n  nop:\n{receiver}\nexporters: {{nop: }}\nextensions:\n  {extension}\nservice:\n  \
             extensions: [{}]\n  {telemetry}\n  pipelines: {{logs: {{receivers: [{}], exporters: [nop]}}}}\n",
            extension.split(':').next().expect("a type"),
            if receiver.is_empty() { "nop" } else { "otlp" },
        )
    };
    let zpages = "zpages: {endpoint: \"127.0.0.1:0\"}";
    let mut agent = Agent::start(&yaml("", zpages, NO_METRICS), 0);
    let readers = format!(
        "telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}",
        address.port()
    );
    let receiver = format!("  otlp: {{protocols: {{http: {{endpoint: \"{address}\"}}}}}}");
    let wrong = [
        (yaml(&receiver, zpages, NO_METRICS), "weir.yaml:3:3", "receivers::otlp cannot start: listen"),
        (
            yaml("", "file_storage: {directory: /no/such/folder}", NO_METRICS),
            "weir.yaml:6:3",
            "extensions::file_storage cannot start: directory must exist",
        ),
        (yaml("", zpages, &readers), "weir.yaml:9:34", "failed to create meter provider"),
    ];
    for (number, (yaml, place, why)) in wrong.into_iter().enumerate() {
        fs::write(agent.config(), yaml).expect("the file is written");
        agent.signal("HUP");
        let refusals = |log: &str| log.matches("keeping the running configuration").count();
        let kept = || Some(agent.log()).filter(|log| refusals(log) > number);
        let log = wait_until(LONG, kept).expect("the reload is refused");
        assert!(log.contains(&format!("{place}\n")) && log.contains(why), "{place} {why}:\n{log}");
        let line = log.lines().rfind(|line| line.contains("keeping the running")).expect("a line");
        assert!(line.contains(&format!("{place})")), "{line}");
        assert!(agent.is_running(), "{log}");
    }
}

#[test]
fn a_reload_that_names_the_same_address_in_another_way_keeps_the_port() {
    let port = free_port();
    let yaml = |host: &str| {
        format!(
            "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"{host}:{port}\"}}}}}}\nexporters: {{nop: }}\nservice:\n  \
             {NO_METRICS}\n  pipelines: {{logs: {{receivers: [otlp], exporters: [nop]}}}}\n"
        )
    };
    let agent = Agent::start(&yaml("127.0.0.1"), 0);
    for (reloads, host) in ["localhost", "127.0.0.1"].into_iter().enumerate() {
        fs::write(agent.config(), yaml(host)).expect("the file is written");
        agent.signal("HUP");
        let taken =
            wait_until(LONG, || (agent.log().matches("Config updated.").count() > reloads).then_some(()));
        assert!(taken.is_some(), "{host}:\n{}", agent.log());
        let answer = post(port, "/v1/logs", &log_records(1, "after the reload")).expect("an answer");
        assert_eq!(answer.status, 200, "{host}: {}", answer.body);
    }
}

#[test]
fn a_changed_file_is_taken_up_when_that_is_asked_for_and_a_wrong_one_reported() {
    let (old, new) = (free_port(), free_port());
    let yaml = |extension: &str, port: u16| {
        format!(
            "receivers: {{nop: }}\nexporters: {{nop: }}\nextensions:\n  {extension}: {{endpoint: \"127.0.0.1:{port}\"}}\nservice:\n  \
             extensions: [{extension}]\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}\n"
        )
    };
    let watching = |mut command: std::process::Command| {
        command.arg("--watch-config");
        command
    };
    let mut agent = Agent::spawn_with(&yaml("zpages", old), old, watching);
    agent.wait_for_log("Everything is ready.");
    // As editors do.
    let replace = |text: String| {
        let beside = agent.config().with_extension("new");
        fs::write(&beside, text).expect("the file is written");
        fs::rename(beside, agent.config()).expect("renamed");
    };
    replace(yaml("zpags", new));
    let log = agent.wait_for_log("keeping the running configuration");
    assert!(log.contains("weir.yaml:4:3") && log.contains("did you mean `zpages`?"), "{log}");
    replace(yaml("zpages", new));
    let taken = wait_until(LONG, || get(new, "/leaks.json").filter(|a| a.status == 200));
    assert!(taken.is_some(), "{}", agent.log());
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
}

#[test]
fn a_mistake_in_a_file_that_a_refused_configuration_brought_in_can_be_mended_there() {
    let yaml = |exporter: &str| {
        format!(
            "receivers: {{nop: }}\nexporters:\n  debug: {exporter}\nservice:\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: \
             [nop], exporters: [debug]}}}}\n"
        )
    };
    let watching = |mut command: std::process::Command| {
        command.arg("--watch-config");
        command
    };
    let agent = Agent::spawn_with(&yaml(""), 0, watching);
    agent.wait_for_log("Everything is ready.");
    let part = agent.config().with_file_name("part.yaml");
    let reference = format!("${{file:{}}}", part.display());
    let refused = |times: usize| {
        let said = || agent.log().matches("keeping the running configuration").count();
        let enough = wait_until(LONG, || (said() >= times).then(said));
        assert_eq!(enough, Some(times), "{}", agent.log());
    };
    fs::write(agent.config(), yaml(&reference)).expect("written");
    refused(1);
    fs::write(&part, "verbosity: nonsense\n").expect("written");
    refused(2);
    assert!(agent.log().contains("part.yaml:1:12"), "{}", agent.log());
    fs::write(&part, "verbosity: detailed\n").expect("written");
    agent.wait_for_log("Config updated.");
}

#[test]
fn as_many_files_may_be_open_as_the_system_allows() {
    let yaml = format!(
        "receivers: {{nop: }}\nexporters: {{nop: }}\nservice:\n  {NO_METRICS}\n  pipelines: {{logs: {{receivers: [nop], \
         exporters: [nop]}}}}\n"
    );
    let with_a_low_limit = |command: std::process::Command| {
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", "ulimit -Sn 64; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        shell
    };
    let agent = Agent::spawn_with(&yaml, 0, with_a_low_limit);
    agent.wait_for_log("Everything is ready.");
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).expect("its limits");
    let line = limits.lines().find(|l| l.starts_with("Max open files")).expect("a line");
    let mut numbers = line.split_whitespace().skip(3);
    assert_eq!(numbers.next(), numbers.next(), "{line}");
}

#[test]
fn weir_leaks_without_an_agent_says_what_to_start() {
    let endpoint = format!("http://127.0.0.1:{}", closed_port());
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["leaks", "--endpoint", &endpoint])
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(2), "{text}");
    assert!(
        text.contains(&endpoint)
            && text.to_lowercase().contains("connection refused")
            && text.contains("zpages"),
        "{text}"
    );
}
