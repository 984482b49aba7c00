//! A backend that is down, slow, or says no.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::support::{Agent, LONG, closed_port, free_port, get, post, wait_until};

/// An HTTP server that keeps what it gets. Its thread ends with the test program.
pub(super) struct Backend {
    pub(super) port: u16,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Backend {
    /// Answers every request with this status.
    pub(super) fn answering(status: u16) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                // A client that goes away in the middle is its own matter.
                thread::spawn(move || drop(serve(stream, status, &all)));
            }
        });
        Backend { port, bodies }
    }

    /// The bodies of all requests so far.
    pub(super) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().expect("the lock").clone()
    }
}

fn serve(mut stream: TcpStream, status: u16, all: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if more(&mut stream, &mut read)? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let length =
            text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let end = head + length.unwrap_or(0);
        while read.len() < end {
            more(&mut stream, &mut read)?;
        }
        all.lock().expect("the lock").push(read[head..end].to_vec());
        read.drain(..end);
        write!(stream, "HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n")?;
    }
}

fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut chunk = [0; 16_384];
    let n = stream.read(&mut chunk)?;
    read.extend_from_slice(&chunk[..n]);
    Ok(n)
}

/// A request of log records as OTLP JSON.
pub(super) fn log_records(count: usize, body: &str) -> String {
    let records: Vec<_> =
        (0..count).map(|_| json!({"timeUnixNano": "1", "body": {"stringValue": body}})).collect();
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
}

/// Sends three records to an agent whose backend is at `port`, waits for `says` in the log and for `counter` on
/// `/metrics`, and looks whether the agent still takes data and gives it up as well. Returns the log line.
fn export_to(port: u16, options: &str, says: &str, counter: &str) -> String {
    let (input, own) = (free_port(), free_port());
    let yaml = format!(
        "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{input}\"}}}}}}\nexporters:\n  \
         otlp_http: {{endpoint: \"http://127.0.0.1:{port}\", {options}}}\nservice:\n  telemetry: {{metrics: {{readers: \
         [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]}}}}\n  pipelines: {{logs: {{receivers: \
         [otlp], exporters: [otlp_http]}}}}\n"
    );
    let mut agent = Agent::start(&yaml, 0);
    let send = || post(input, "/v1/logs", &log_records(3, "lost")).expect("an answer");
    assert_eq!(send().status, 200);
    let log = agent.wait_for_log(says);
    let line = log.lines().find(|l| l.contains(says)).expect("it was there").to_owned();
    let counted = |items: usize| {
        let mut last = String::new();
        let is = |l: &&str| {
            l.starts_with(counter)
                && l.contains("exporter=\"otlp_http\"")
                && l.ends_with(&format!(" {items}"))
        };
        let found = wait_until(LONG, || {
            last = get(own, "/metrics")?.body;
            last.lines().find(is).map(drop)
        });
        assert!(found.is_some(), "{counter} never came to {items}:\n{last}\n{}", agent.log());
    };
    counted(3);
    assert_eq!(send().status, 200, "the agent no longer takes data");
    // What is not given up yet when the stop comes would be lost by the stop, and end it with 1.
    counted(6);
    agent.signal("TERM");
    assert_eq!(agent.wait_for_exit().code(), Some(0), "{}", agent.log());
    line
}

const FAILED: &str = "otelcol_exporter_send_failed_log_records";

#[test]
fn a_backend_that_is_down_is_retried_and_said() {
    let port = closed_port();
    let options = "retry_on_failure: {initial_interval: 100ms, max_interval: 200ms, max_elapsed_time: 1s}";
    let line = export_to(port, options, "Exporting failed. Will retry the request after interval.", FAILED);
    assert!(line.contains(&port.to_string()) && line.to_lowercase().contains("connection refused"), "{line}");
    assert!(line.contains("\"otlp_http\""), "{line}");
    let line = export_to(port, options, "Exporting failed. Dropping data.", FAILED);
    assert!(line.contains("retry_on_failure::max_elapsed_time is 1s: a longer one tries longer"), "{line}");
}

#[test]
fn a_backend_that_is_too_slow_is_given_up_and_counted() {
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = hangs.local_addr().expect("an address").port();
    let options = "timeout: 300ms, retry_on_failure: {enabled: false}";
    let line = export_to(port, options, "Exporting failed. Dropping data.", FAILED);
    assert!(line.contains("deadline") || line.contains("timed out") || line.contains("timeout"), "{line}");
    assert!(line.contains("\"dropped_items\": 3"), "{line}");
    let cure =
        "timeout is 300ms: a longer one waits longer; retry_on_failure::enabled is false: true tries again";
    assert!(line.contains(cure), "{line}");
}

#[test]
fn a_backend_that_rejects_is_not_retried() {
    let backend = Backend::answering(400);
    let line = export_to(backend.port, "compression: none", "Exporting failed. Dropping data.", FAILED);
    assert!(line.contains("400") && line.contains("\"dropped_items\": 3"), "{line}");
    assert!(line.contains("the destination refuses this for good, so no setting sends it again"), "{line}");
    let first = backend.bodies().len();
    assert!(first <= 2, "{first} requests for two: a rejected one was sent again");
}
