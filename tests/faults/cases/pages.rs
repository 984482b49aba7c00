//! 45, 47: pages that strangers ask for, and requests of those who may not send any.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::hostile::{bomb, shown};
use super::siege::Siege;
use super::{Bench, Case, Extra, Outcome, yaml};
use crate::agent::{Agent, Kind, Limits, binary, wait_until};
use crate::backend::Mode;
use crate::http::{Client, get};
use crate::listening::Listening;
use crate::load::PROTOBUF;
use crate::ports::{closed_port, free_port};

pub(crate) const CASES: [Case; 2] = [
    Case {
        number: 45,
        name: "debug pages under a foreign host name, with scripts and with paths out of them; a link in the queue directory; redirects of a backend, of a configuration over HTTP and of a profile to another server",
        settings: "zpages on 127.0.0.1; file_storage; a pprof receiver (Weir only)",
        bar: "no page for a foreign host, nothing unescaped, nothing outside is read, written or asked",
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
    let port = free_port();
    let (mut outcome, siege) = Siege::around(Bench::edited(kind, true, Extra::default(), |yaml, _| {
        let section = format!("extensions:\n  zpages: {{endpoint: \"127.0.0.1:{port}\"}}\n{yaml}");
        section.replace("service:\n", "service:\n  extensions: [zpages]\n")
    }));
    let page = "/debug/pipelinez";
    let own = get(port, page, &format!("127.0.0.1:{port}")).map(|(status, _)| status);
    let foreign = get(port, page, "attacker.example").map(|(status, _)| status);
    outcome.fired &= own == Some(200);
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
    redirected(kind, &mut outcome);
    siege.end(outcome, 16)
}

/// Servers that an agent asks send it to another one, of which nobody has told it.
fn redirected(kind: Kind, outcome: &mut Outcome) {
    let strangers = Arc::new(AtomicUsize::new(0));
    let (stranger, counted) = (free_port(), Arc::clone(&strangers));
    let _stranger = Listening::on(stranger, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let to = format!("Location: http://127.0.0.1:{stranger}/v1/logs\r\n");
    let sent_away = Arc::new(AtomicUsize::new(0));
    let (door, counted) = (free_port(), Arc::clone(&sent_away));
    let answer = format!("HTTP/1.1 302 Found\r\n{to}Content-Length: 0\r\nConnection: close\r\n\r\n");
    let _door = Listening::on(door, move |mut stream| {
        drop(stream.read(&mut [0; 4096]));
        drop(stream.write_all(answer.as_bytes()));
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let pprof = format!(
        "receivers:\n  pprof: {{initial_delay: 0s, targets: [{{endpoint: \"http://127.0.0.1:{door}\", service_name: x}}]}}\n"
    );
    let bench = Bench::edited(kind, true, Extra::default(), |yaml, _| match kind {
        Kind::Weir => yaml.replace("receivers:\n", &pprof).replace(
            "  pipelines:\n",
            "  pipelines:\n    metrics: {receivers: [pprof], exporters: [otlp_http]}\n",
        ),
        // It has no such receiver.
        Kind::Collector => yaml,
    });
    bench.backend.set(Mode::Answer(307, to));
    let (_, body) = bench.oracle.request(1, 10);
    let taken = Client::new(bench.http).post("/v1/logs", PROTOBUF, &body) == Some(200);
    outcome.fired &=
        taken && bench.agent.wait_for_log("Dropping data", 0) || strangers.load(Ordering::Relaxed) > 0;
    let mut command = Command::new(binary(kind));
    command.args(["validate", "--config", &format!("http://127.0.0.1:{door}/agent.yaml")]);
    let refused = !command.stdin(Stdio::null()).output().expect("it runs").status.success();
    // The configuration and, of Weir, a profile.
    let asked = if kind == Kind::Weir { 2 } else { 1 };
    outcome.fired &=
        wait_until(Duration::from_secs(60), || (sent_away.load(Ordering::Relaxed) >= asked).then_some(()))
            .is_some();
    let followed = strangers.load(Ordering::Relaxed);
    outcome.see(format!("redirects to another server: {followed} followed"));
    outcome.require(refused && followed == 0, "a redirect leads to another server");
}

/// A link in the place of a queue leads out of the directory.
fn linked_queue(kind: Kind, outcome: &mut Outcome) {
    const QUEUE: &str = "exporter_otlp_http__logs";
    let start = |dir: &TempDir| {
        let extra = Extra { storage: Some(dir.path()), ..Extra::default() };
        let yaml = yaml(free_port(), free_port(), closed_port(), extra);
        let mut agent = Agent::launch(kind, &yaml, Limits::default());
        let ready = agent.is_ready();
        agent.terminate();
        ready
    };
    let plain = TempDir::new().expect("a folder");
    // That is its place.
    outcome.fired &= start(&plain) && plain.path().join(QUEUE).exists();
    let (dir, outside) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    symlink(outside.path().join("target"), dir.path().join(QUEUE)).expect("linked");
    let ready = start(&dir);
    let written = outside.path().read_dir().expect("listed").next().is_some();
    outcome.see(if ready { "a link is followed" } else { "a link is refused" });
    outcome.require(!written, "something is written through a link");
}

fn without_a_token(kind: Kind) -> Outcome {
    let port = free_port();
    let (mut outcome, siege) = Siege::around(Bench::edited(kind, true, Extra::default(), |yaml, _| {
        let guarded = format!(
            "extensions:\n  bearertokenauth: {{token: right}}\nreceivers:\n  otlp/guarded: {{protocols: {{http: {{endpoint: \
             \"127.0.0.1:{port}\", auth: {{authenticator: bearertokenauth}}}}}}}}\n"
        );
        yaml.replace("receivers:\n", &guarded)
            .replace("receivers: [otlp]", "receivers: [otlp, otlp/guarded]")
            .replace("service:\n", "service:\n  extensions: [bearertokenauth]\n")
    }));
    let encoded = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    let bomb = Client::new(port).post("/v1/logs", &encoded, &bomb(weir_otlp::encoding::Encoding::Gzip));
    let head = head_only(port);
    let (ids, body) = siege.bench.oracle.request(1, 10);
    let right = format!("{PROTOBUF}Authorization: Bearer right\r\n");
    let with_token = Client::new(port).post("/v1/logs", &right, &body);
    if with_token == Some(200) {
        siege.bench.oracle.acknowledge(&ids);
    }
    outcome.see(format!("bomb: {}, head alone: {}", shown(&[bomb]), shown(&[head])));
    outcome.fired &= with_token == Some(200);
    outcome.require(bomb == Some(401) && head == Some(401), "the token is not asked for first");
    siege.end(outcome, 16)
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
