//! 45, 47: pages that strangers ask for, and requests of those who may not send any.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;

use super::hostile::{bomb, growth};
use super::{Bench, Case, Extra, Outcome, yaml};
use crate::agent::{Agent, Kind, Limits};
use crate::http::{Client, get};
use crate::load::PROTOBUF;
use crate::ports::{closed_port, free_port};

pub(crate) const CASES: [Case; 2] = [
    Case {
        number: 45,
        name: "debug pages under a foreign host name, with scripts and with paths out of them; a link in the queue directory",
        settings: "zpages on 127.0.0.1; file_storage",
        bar: "no page for a foreign host, nothing unescaped, nothing outside is read or written",
        run: strangers,
    },
    Case {
        number: 47,
        name: "1 GiB bomb without a token; a head without its body",
        settings: "bearertokenauth",
        bar: "401 before the body is read, at most 16 MiB more",
        run: without_a_token,
    },
];

fn strangers(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let port = free_port();
    let mut bench = Bench::edited(kind, true, Extra::default(), |yaml, _| {
        let section = format!("extensions:\n  zpages: {{endpoint: \"127.0.0.1:{port}\"}}\n{yaml}");
        section.replace("service:\n", "service:\n  extensions: [zpages]\n")
    });
    bench.check_alive(&mut outcome);
    let page = "/debug/pipelinez";
    let own = get(port, page, &format!("127.0.0.1:{port}")).map(|(status, _)| status);
    let foreign = get(port, page, "attacker.example").map(|(status, _)| status);
    outcome.fired = own == Some(200);
    outcome.see(format!("foreign host: {}", foreign.map_or("closed".to_owned(), |s| s.to_string())));
    outcome.require(foreign != Some(200), "a page is shown under a foreign name");
    let script = "<script>alert(1)</script>";
    for path in [
        format!("/debug/tracez?zspanname={script}&ztype=1"),
        format!("/debug/pipelinez?pipelinenamez={script}&componentnamez={script}"),
        format!("/{script}"),
    ] {
        let shown = get(port, &path, "localhost").is_some_and(|(_, body)| body.contains(script));
        outcome.require(!shown, format!("{path} shows a script"));
    }
    for path in
        ["/../../../../etc/passwd", "/debug/../../../../etc/passwd", "/debug/%2e%2e/%2e%2e/etc/passwd"]
    {
        let read = get(port, path, "localhost").is_some_and(|(_, body)| body.contains("root:"));
        outcome.require(!read, format!("{path} reads a file"));
    }
    linked_queue(kind, &mut outcome);
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle, 0);
    outcome
}

/// A link in the place of a queue leads out of the directory.
fn linked_queue(kind: Kind, outcome: &mut Outcome) {
    let (dir, outside) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    symlink(outside.path().join("target"), dir.path().join("exporter_otlp_http__logs")).expect("linked");
    let extra = Extra { storage: Some(dir.path()), ..Extra::default() };
    let mut agent =
        Agent::launch(kind, &yaml(free_port(), free_port(), closed_port(), extra), Limits::default());
    let ready = agent.is_ready();
    agent.terminate();
    let written = outside.path().read_dir().expect("listed").next().is_some();
    outcome.see(if ready { "a link is followed" } else { "a link is refused" });
    outcome.require(!written, "something is written through a link");
}

fn without_a_token(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let port = free_port();
    let mut bench = Bench::edited(kind, true, Extra::default(), |yaml, _| {
        let guarded = format!(
            "extensions:\n  bearertokenauth: {{token: right}}\nreceivers:\n  otlp/guarded: {{protocols: {{http: {{endpoint: \
             \"127.0.0.1:{port}\", auth: {{authenticator: bearertokenauth}}}}}}}}\n"
        );
        yaml.replace("receivers:\n", &guarded)
            .replace("receivers: [otlp]", "receivers: [otlp, otlp/guarded]")
            .replace("service:\n", "service:\n  extensions: [bearertokenauth]\n")
    });
    bench.check_alive(&mut outcome);
    let before = bench.agent.memory_mib().1;
    let encoded = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    let bomb = Client::new(port).post("/v1/logs", &encoded, &bomb(weir_otlp::encoding::Encoding::Gzip));
    let head = head_only(port);
    let more = growth(&bench, before);
    let (ids, body) = bench.oracle.request(1, 10);
    let right = format!("{PROTOBUF}Authorization: Bearer right\r\n");
    let with_token = Client::new(port).post("/v1/logs", &right, &body);
    if with_token == Some(200) {
        bench.oracle.acknowledge(&ids);
    }
    let shown = |code: Option<u16>| code.map_or("no answer".to_owned(), |code| code.to_string());
    outcome.see(format!("bomb: {}, head alone: {}, +{more} MiB", shown(bomb), shown(head)));
    outcome.fired = with_token == Some(200);
    outcome.require(bomb == Some(401) && head == Some(401), "the token is not asked for first");
    outcome.require(more <= 16, format!("{more} MiB more"));
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle, 0);
    outcome
}

/// The answer to a head whose body never comes.
fn head_only(port: u16) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: 10000000\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).ok()?;
    String::from_utf8_lossy(&answer[..length]).split(' ').nth(1)?.parse().ok()
}
