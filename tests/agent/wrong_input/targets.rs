//! Targets of the pprof receiver that are not what they should be.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use weir_connection::report::Source;

use crate::support::{Agent, LONG, closed_port, free_port, wait_until};

/// Starts an agent that scrapes `port` and gives what the page says of the source once it failed.
fn scraped(port: u16, options: &str) -> (Agent, Source) {
    let pages = free_port();
    let yaml = format!(
        "receivers:\n  pprof: {{collection_interval: 1s, initial_delay: 0s, {options}targets: [{{endpoint: \
         \"http://127.0.0.1:{port}\"}}]}}\nprocessors: {{leak_detection: }}\nexporters: {{nop: }}\nextensions: {{zpages: \
         {{endpoint: \"127.0.0.1:{pages}\"}}}}\nservice:\n  extensions: [zpages]\n  telemetry: {{metrics: {{level: none}}}}\n  \
         pipelines: {{metrics: {{receivers: [pprof], processors: [leak_detection], exporters: [nop]}}}}\n"
    );
    let agent = Agent::start(&yaml, pages);
    let wrong = |s: &Source| {
        s.id == "pprof" && !s.message.is_empty() && matches!(s.state.as_str(), "failed" | "degraded")
    };
    let source = wait_until(LONG, || agent.report()?.sources.into_iter().find(wrong));
    let source = source.unwrap_or_else(|| panic!("{:?}\n{}", agent.report().map(|r| r.sources), agent.log()));
    assert!(
        source.message.contains(&format!("127.0.0.1:{port}")),
        "the target is not named: {}",
        source.message
    );
    agent.wait_for_log(&format!("127.0.0.1:{port}"));
    (agent, source)
}

/// A server that treats each connection, after its request, so. Its thread ends with the test program.
fn server(answer: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                if stream.read(&mut [0; 4096]).is_ok() {
                    answer(stream);
                }
            });
        }
    });
    port
}

fn says(source: &Source, parts: &[&str]) {
    for part in parts {
        assert!(source.message.contains(part), "{part:?} is not said: {}", source.message);
    }
}

#[test]
fn a_target_where_nothing_listens_is_said_with_the_cure() {
    let (_agent, source) = scraped(closed_port(), "");
    says(&source, &["connection refused", "net/http/pprof", "`endpoint`"]);
}

#[test]
fn a_target_that_answers_html_is_no_profile() {
    let port = server(|mut stream| {
        let page = "<!DOCTYPE html><html><body>Welcome</body></html>";
        drop(write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ));
    });
    let (_agent, source) = scraped(port, "");
    says(&source, &["not a pprof profile", "<!DOCTYPE html>", "path"]);
}

#[test]
fn a_target_that_hangs_is_given_up_after_the_timeout() {
    let port = server(|stream| {
        // Held open until the client goes away.
        drop(stream.try_clone().map(|mut s| s.read(&mut [0; 1])));
    });
    let (_agent, source) = scraped(port, "timeout: 500ms, ");
    says(&source, &["no answer within 500ms", "`timeout`"]);
}

#[test]
fn a_target_that_sends_a_gigabyte_is_cut_and_costs_no_memory() {
    let port = server(|mut stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"));
        let chunk = vec![0x1f_u8; 1 << 20];
        for _ in 0..1024 {
            if stream.write_all(&chunk).is_err() {
                return;
            }
        }
    });
    let (agent, source) = scraped(port, "max_body_size: 8388608, ");
    says(&source, &["more than 8388608 bytes", "`max_body_size`"]);
    let peak = peak_memory(agent.pid());
    assert!(peak < 256 << 20, "{peak} bytes for answers of which 8 MiB may be read");
}

/// The most memory that a process had, bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("a peak");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib << 10
}
