//! What strangers can take of the process, and what they cannot.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use crate::collector::sink::Sink;
use crate::support::{Agent, LONG, as_nobody, closed_port, free_port, get, get_from, post, wait_until};

/// Files that the agent may have open. The last quarter is not for senders.
const FILES: u64 = 96;
/// Listeners of senders, each of which may hold one connection that waits, and a few files that are open for a moment.
const SOME: u64 = 8;

const RECORD: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;

/// The agent, started by a shell that first does `limit`, with more arguments.
fn limited(yaml: &str, pages: u16, limit: &str, arguments: &[&str]) -> Agent {
    let agent = Agent::spawn_with(yaml, pages, |mut own| {
        own.args(arguments);
        behind(limit, &own)
    });
    agent.wait_for_log("Everything is ready.");
    agent
}

/// A shell that does `limit` and becomes that command.
fn behind(limit: &str, own: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(own.get_program()).args(own.get_args());
    command.current_dir(own.get_current_dir().expect("a folder")).env("NO_COLOR", "1");
    command
}

/// Sends a record over a connection that stays open; the first line of the answer.
fn send(stream: &mut TcpStream) -> String {
    send_to(stream, "x")
}

/// The same, under that name of the host.
fn send_to(stream: &mut TcpStream, host: &str) -> String {
    stream.set_read_timeout(Some(LONG)).expect("set");
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{RECORD}", RECORD.len());
    stream.write_all(request.as_bytes()).expect("written");
    let (mut answer, end) = (Vec::new(), b"{\"partialSuccess\":{}}");
    while !answer.ends_with(end) {
        let mut part = [0; 512];
        let read = stream.read(&mut part).expect("an answer");
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

/// Open files of the agent that count towards its limit; those that it was born with may have any number.
fn open_files(agent: &Agent) -> u64 {
    let listed = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("the agent's descriptors");
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    numbers.filter(|number| *number < FILES).count() as u64
}

#[test]
fn senders_that_take_every_descriptor_leave_pages_reloads_queues_and_their_exporters_what_they_need() {
    let queue = TempDir::new().expect("a folder");
    let [http, grpc, health, zpages, metrics] = [(); 5].map(|()| free_port());
    let yaml = |backend: u16| {
        format!(
            "extensions:\n  file_storage: {{directory: {}}}\n  health_check: {{endpoint: '127.0.0.1:{health}'}}\n\
             \x20 zpages: {{endpoint: '127.0.0.1:{zpages}'}}\n\
             receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{http}'}}, \
             grpc: {{endpoint: '127.0.0.1:{grpc}'}}}}}}}}\n\
             exporters:\n  otlp_http:\n    endpoint: http://127.0.0.1:{backend}/q\n    compression: none\n\
             \x20   sending_queue: {{storage: file_storage}}\n\
             \x20   retry_on_failure: {{initial_interval: 50ms, max_interval: 200ms, max_elapsed_time: 0}}\n\
             service:\n  extensions: [file_storage, health_check, zpages]\n\
             \x20 pipelines: {{logs: {{receivers: [otlp], exporters: [otlp_http]}}}}\n\
             \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: \
             {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}\n",
            queue.path().display()
        )
    };
    let agent = limited(&yaml(closed_port()), zpages, &format!("ulimit -n {FILES}"), &[]);
    let connect = |port: u16| TcpStream::connect(("127.0.0.1", port)).expect("in the backlog at least");
    let mut sender = connect(http);
    assert_eq!(send(&mut sender), "HTTP/1.1 200 OK");
    let silent: Vec<TcpStream> = (0..FILES).map(|n| connect(if n % 2 == 0 { http } else { grpc })).collect();
    agent.wait_for_log("the descriptors that connections may take are used up");
    let open = open_files(&agent);
    assert!(open <= FILES - FILES / 4 + SOME, "{open} are open");
    for (port, path) in [(health, "/"), (zpages, "/debug/servicez"), (metrics, "/metrics")] {
        let status = wait_until(LONG, || get(port, path)).map(|answer| answer.status);
        assert_eq!(status, Some(200), "{path}");
    }
    assert_eq!(send(&mut sender), "HTTP/1.1 200 OK");
    let sink = Sink::start();
    fs::write(agent.config(), yaml(sink.port)).expect("written");
    agent.signal("HUP");
    agent.wait_for_log("Config updated.");
    let arrived =
        || (sink.of("q", |received| received.payload.items()).into_iter().sum::<usize>() == 2).then_some(());
    wait_until(LONG, arrived).expect("what was queued is delivered");
    drop(silent);
    let recovered = wait_until(LONG, || post(http, "/v1/logs", RECORD)).map(|answer| answer.status);
    assert_eq!(recovered, Some(200), "it recovers");
}

/// A word in a secret place.
const CANARY: &str = "c4n4ry5ecret";

/// What is left of an agent with a secret that crashed: how it ended, and whether the secret is in a file beside it.
fn crashed(arguments: &[&str]) -> (ExitStatus, bool) {
    let (entry, backend) = (free_port(), closed_port());
    let yaml = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{entry}'}}}}}}}}\n\
         exporters: {{otlp_http: {{endpoint: 'http://127.0.0.1:{backend}', headers: {{authorization: '${{env:SECRET}}'}}}}}}\n\
         service:\n  pipelines: {{logs: {{receivers: [otlp], exporters: [otlp_http]}}}}\n  telemetry: {{metrics: {{level: none}}}}\n"
    );
    let limit = format!("export SECRET={CANARY}; ulimit -c $(ulimit -Hc)");
    let mut agent = limited(&yaml, 0, &limit, arguments);
    agent.signal("ABRT");
    let status = agent.wait_for_exit();
    assert_eq!(status.signal(), Some(6), "{status}");
    let dir = agent.config().parent().map(Path::to_owned).expect("a folder");
    let found = Command::new("grep").args(["-raq", CANARY]).arg(dir).status().expect("grep runs");
    (status, found.success())
}

#[test]
fn a_crash_leaves_no_core_file_unless_it_is_asked_for() {
    let (status, is_left) = crashed(&[]);
    assert_eq!((status.core_dumped(), is_left), (false, false));
    let (status, is_left) = crashed(&["--core-dumps"]);
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("it is there");
    let is_beside = !pattern.starts_with(['|', '@', '/']);
    assert_eq!(is_left, is_beside && status.core_dumped(), "core_pattern {pattern:?}, {status}");
    if !status.core_dumped() {
        // Said aloud, so that a machine that never writes any does not look like a pass.
        eprintln!("this machine writes no core files: {pattern}");
    }
}

/// A receiver whose requests are measured in detail.
fn measured(entry: u16, metrics: u16) -> String {
    format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{entry}'}}}}}}}}\nexporters: {{nop: }}\n\
         service:\n  pipelines: {{logs: {{receivers: [otlp], exporters: [nop]}}}}\n\
         \x20 telemetry: {{metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: \
         {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}\n"
    )
}

#[test]
fn where_the_limit_of_core_files_is_0_for_good_the_process_is_undumpable_and_still_knows_itself() {
    if fs::metadata("/proc/self").expect("proc").uid() != 0 {
        // Said aloud: only root can become somebody else, and who is not root could not see the difference.
        eprintln!("skipped: not root");
        return;
    }
    let (entry, metrics) = (free_port(), free_port());
    let yaml = measured(entry, metrics);
    let agent = Agent::spawn_with(&yaml, 0, |own| behind("ulimit -c 0", &as_nobody(&own)));
    agent.wait_for_log("Everything is ready.");
    // The kernel gives what belongs to an undumpable process to root (proc(5)).
    let owner = |path: &str| fs::metadata(format!("/proc/{}{path}", agent.pid())).map(|file| file.uid()).ok();
    assert_eq!((owner(""), owner("/maps")), (Some(65534), Some(0)));
    let page = get(metrics, "/metrics").expect("the metrics answer").body;
    for name in ["process_memory_rss", "process_cpu_seconds"] {
        assert!(page.contains(name), "{name} is not in:\n{page}");
    }
}

#[test]
fn the_page_of_the_agents_own_metrics_is_not_shown_under_a_foreign_name_on_loopback() {
    let (entry, metrics) = (free_port(), free_port());
    let _agent = Agent::start(&measured(entry, metrics), 0);
    let mut own =
        [format!("localhost:{metrics}"), format!("127.0.0.1:{metrics}"), "[::1]".to_owned()].into_iter();
    let status = |host: &str| wait_until(LONG, || get_from(metrics, "/metrics", host)).map(|a| a.status);
    assert!(own.all(|host| status(&host) == Some(200)));
    for foreign in ["attacker.example", &format!("attacker.example:{metrics}"), ""] {
        assert_eq!(status(foreign), Some(403), "{foreign:?}");
    }
}

#[test]
fn what_senders_call_the_host_makes_no_series_without_end() {
    let (entry, metrics) = (free_port(), free_port());
    let yaml = measured(entry, metrics);
    let _agent = Agent::start(&yaml, 0);
    let mut stream = TcpStream::connect(("127.0.0.1", entry)).expect("connected");
    for host in 0..2500 {
        assert_eq!(send_to(&mut stream, &format!("host{host}")), "HTTP/1.1 200 OK");
    }
    let page = wait_until(LONG, || get(metrics, "/metrics")).expect("the metrics answer").body;
    let series = page.lines().filter(|line| line.starts_with("http_server_request_duration_count")).count();
    assert_eq!(series, 2001, "2,000 and one for all others");
}

#[test]
fn how_much_telemetry_is_held_and_may_be_is_on_the_page() {
    let [entry, metrics] = [(); 2].map(|()| free_port());
    let yaml = measured(entry, metrics).replace(
        "exporters: {nop: }",
        &format!("exporters: {{otlp_http/nop: {{endpoint: 'http://127.0.0.1:{}'}}}}", closed_port()),
    );
    let _agent = Agent::start(&yaml.replace("[nop]", "[otlp_http/nop]"), 0);
    let value = |name: &str| {
        let page = wait_until(LONG, || get(metrics, "/metrics")).expect("the metrics answer").body;
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{page}"));
        let value = line.rsplit(' ').next().expect("a value");
        value.parse::<f64>().expect("a number")
    };
    let held = || value("otelcol_process_telemetry_held_bytes");
    assert_eq!(held(), 0.0);
    let body = RECORD.replace("\"x\"", &format!("\"{}\"", "x".repeat(100_000)));
    assert_eq!(post(entry, "/v1/logs", &body).map(|answer| answer.status), Some(200));
    assert!((100_000.0..1e6).contains(&held()), "{}", held());
    assert!(value("otelcol_process_telemetry_limit_bytes") > 1e6);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A connection of HTTP/2 with a call of which 6,500 bytes come in as many frames, and nothing more.
fn burst() -> Vec<u8> {
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    // POST, http, the path and the content type, by their numbers (RFC 7541, appendix A).
    let mut head = vec![0x83, 0x86, 4, u8::try_from(path.len()).expect("short")];
    head.extend_from_slice(path.as_bytes());
    head.extend_from_slice(&[0x0f, 0x10, 16]);
    head.extend_from_slice(b"application/grpc");
    let mut sent =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[]), &frame(1, 4, 1, &head)].concat();
    // A message of 7,000 bytes.
    let message = [0, 0, 0, 0x1b, 0x58].into_iter().chain([0; 6_495]);
    sent.extend(message.flat_map(|byte| frame(0, 0, 1, &[byte])));
    sent.extend(frame(6, 0, 0, b"all read"));
    sent
}

/// Resident bytes of a process.
fn resident(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") << 10
}

#[test]
fn a_burst_of_tiny_frames_leaves_nothing_behind_with_its_connection() {
    let entry = free_port();
    let yaml = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:{entry}\"}}}}}}}}\nexporters: {{nop: }}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines: {{logs: {{receivers: [otlp], exporters: [nop]}}}}\n"
    );
    let agent = Agent::start(&yaml, 0);
    let burst = burst();
    let send = || {
        let mut stream = TcpStream::connect(("127.0.0.1", entry)).expect("connected");
        stream.set_read_timeout(Some(LONG)).expect("set");
        stream.write_all(&burst).expect("written");
        let mut heard = Vec::new();
        while !heard.windows(8).any(|part| part == b"all read") {
            let mut part = [0; 512];
            let read = stream.read(&mut part).expect("an answer to the ping");
            assert!(read > 0, "closed after {heard:?}");
            heard.extend_from_slice(&part[..read]);
        }
        stream
    };
    // Threads have buffers of their own from then on.
    let _first: Vec<TcpStream> = (0..20).map(|_| send()).collect();
    let before = resident(&agent);
    let open: Vec<TcpStream> = (0..100).map(|_| send()).collect();
    let each = resident(&agent).saturating_sub(before) / open.len() as u64;
    assert!(each < 64 << 10, "{each} bytes for each connection");
}
