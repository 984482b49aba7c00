//! 44: secrets, and everywhere that they could be read.

mod planted;

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use self::planted::{CANARY, EXPORTERS, Mistake, PLACE, Ports, base64, mistakes, with_secrets, words};
use super::{Bench, Case, Extra, Outcome};
use crate::agent::{Kind, Limits, binary, is_released, wait_until};
use crate::backend::head;
use crate::http::{Client, get};
use crate::listening::{Listening, lock};
use crate::load::PROTOBUF;
use crate::ports::free_port;
use crate::rpc;

pub(crate) const CASES: [Case; 1] = [Case {
    number: 44,
    name: "secrets in URLs, headers, tokens, passwords and keys, of the configuration, its files and a caller",
    settings: "debug log that is not sampled, backend down, own metrics and traces pushed with passwords, zpages, print-config, SIGABRT; a pprof receiver (Weir only); nine mistakes on the lines of secrets, each at validate, start and reload; two more and eight of service::telemetry at start and reload; print-config of each",
    bar: "not to be read in the log, on pages, in answers, in errors, in own telemetry or in what is printed, nor what a header makes of user and password; the errors of service::telemetry name the option; no core file",
    run: secrets,
}];

/// What an agent logs when it is told to reload.
const SIGNAL: &str = "Received signal from OS";

/// Pages that each agent has.
fn pages(kind: Kind) -> [&'static str; 5] {
    let own = match kind {
        Kind::Weir => "/leaks",
        Kind::Collector => "/debug/tracez",
    };
    ["/debug/pipelinez", "/debug/servicez", "/debug/extensionz", "/debug/featurez", own]
}

/// What an exporter logs that reaches nobody.
const FAILED: &str = "Exporting failed";

/// Requests that are secret themselves: own telemetry with its headers, and scrapes.
fn asked(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Weir => &["POST /v1/traces ", "POST /v1/metrics ", "GET /debug/pprof/goroutine"],
        Kind::Collector => &["POST /v1/traces ", "POST /v1/metrics "],
    }
}

fn secrets(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let folder = TempDir::new().expect("a temporary folder");
    let (ports, receiver) = (Ports::free(), Receiver::new());
    let mut configuration = String::new();
    let limits = Limits { core: true, ..Limits::default() };
    let mut bench = Bench::edited(kind, false, Extra { limits, ..Extra::default() }, |yaml, backend| {
        configuration = with_secrets(&yaml, kind, backend, receiver.port, &ports, folder.path());
        configuration.clone()
    });
    let (_, body) = bench.oracle.request(5, 5);
    let answered = Client::new(bench.http).post("/v1/logs", PROTOBUF, &body);
    let has_failed = |log: &str, id: &str| {
        let id = format!("\"{id}\"");
        log.lines().any(|line| line.contains(FAILED) && line.contains(&id))
    };
    let all_failed = || EXPORTERS.iter().all(|id| has_failed(&bench.agent.log(), id)).then_some(());
    let failed = wait_until(Duration::from_secs(60), all_failed).is_some();
    for request in asked(kind) {
        let is_it = |(head, body): &Request| {
            // What is told has to be there to be looked at; a scrape tells nothing.
            head.starts_with(request)
                && head.contains(CANARY)
                && (head.starts_with("GET ") || !body.is_empty())
        };
        let came = || receiver.heard().iter().any(is_it).then_some(());
        let came = wait_until(Duration::from_secs(20), came).is_some();
        outcome.require(came, format!("not looked: no {} with a secret came", request.trim()));
    }
    let mut heard = strangers(&mut outcome, &ports, &body);
    let metrics = ("the metrics", ports.own, "/metrics");
    let pages = pages(kind).map(|page| ("a page", ports.pages, page));
    for (what, port, page) in pages.into_iter().chain([metrics]) {
        let (status, text) = get(port, page, "localhost").unwrap_or_default();
        outcome.require(status == 200 && !text.is_empty(), format!("not looked: {page}: {status}"));
        heard.push((what, text));
    }
    let printed = said(kind, "print-config", &configuration);
    outcome.require(
        printed.code == Some(0),
        format!("not looked: print-config: {}", printed.text.lines().next().unwrap_or_default()),
    );
    outcome.require(printed.text.contains("[REDACTED]"), "print-config marks nothing as left out");
    heard.push(("what is printed", printed.text));
    let elsewhere = ports.elsewhere(&bench);
    let (mut refused, mut unnamed) = (true, Vec::new());
    for Mistake { what, wrong, names, refused_by } in mistakes(&configuration, folder.path()) {
        for command in ["validate", "print-config", ""] {
            let Said { code, text } = said(kind, command, &elsewhere(&wrong));
            if refused_by.contains(&command) {
                refused &= code.is_some_and(|code| code != 0);
                unnamed.extend((!is_named(kind, &text, names)).then_some(what));
            }
            heard.push((if command == "print-config" { "what is printed of a mistake" } else { what }, text));
        }
        // The Collector has ended at the first.
        if bench.agent.is_running() {
            refused &= refused_at_reload(kind, &bench, &wrong);
            let log = bench.agent.log();
            let said = log.rsplit(SIGNAL).next().unwrap_or_default();
            unnamed.extend((!is_named(kind, said, names)).then_some(what));
        }
    }
    unnamed.dedup();
    outcome.require(unnamed.is_empty(), format!("errors do not name what is wrong: {}", unnamed.join(", ")));
    bench.agent.signal("ABRT");
    let ended = bench.agent.end();
    outcome.require(!ended.status.core_dumped(), "a core file is left");
    let core_files = may_leave_core_files();
    if !core_files {
        outcome.see("no core file is allowed here to anybody");
    }
    heard.push(("the log", bench.agent.log()));
    // The heads are secret, and what is told in the bodies is not.
    heard.extend(receiver.heard().into_iter().map(|(_, body)| ("own telemetry", body)));
    let words = words(folder.path());
    let is_told = |text: &String| words.iter().any(|word| text.contains(word));
    let mut leaks: Vec<_> = heard.iter().filter(|(_, text)| is_told(text)).map(|(what, _)| *what).collect();
    leaks.sort_unstable();
    leaks.dedup();
    outcome.fired = answered == Some(200) && failed && refused;
    // A machine that allows none shows nothing about them; `make faults` has to have one that does.
    outcome.fired &= core_files || !is_released();
    outcome.see(if leaks.is_empty() { "nowhere".to_owned() } else { format!("in {}", leaks.join(", ")) });
    outcome.require(leaks.is_empty(), "a secret is to be read");
    outcome
}

/// What callers hear that have the wrong password or token, or a scheme that does not exist.
fn strangers(outcome: &mut Outcome, ports: &Ports, body: &[u8]) -> Vec<(&'static str, String)> {
    let mut heard = Vec::new();
    let encoded = format!("Basic {}", base64(&format!("stranger:{CANARY}")));
    let shown = ["Basic", "Bearer", "Strange"].map(|scheme| format!("{scheme} {CANARY}"));
    for shown in shown.iter().chain([&encoded]) {
        for port in ports.guarded {
            let headers = format!("{PROTOBUF}Authorization: {shown}\r\n");
            let (status, text) = Client::new(port).exchange("/v1/logs", &headers, body).unwrap_or_default();
            outcome.require(status == 401, format!("{shown}: {status}"));
            heard.push(("an answer", String::from_utf8_lossy(&text).into_owned()));
        }
        for port in ports.guarded_grpc {
            let (status, text) = rpc::exchange(port, &[("authorization", shown)], body).unwrap_or_default();
            outcome.require(status == UNAUTHENTICATED, format!("{shown} over gRPC: {status}"));
            heard.push(("an answer over gRPC", text));
        }
    }
    heard
}

/// A status of gRPC.
const UNAUTHENTICATED: u16 = 16;

/// Head and body.
type Request = (String, String);

/// A server that notes what it is asked, and is not well.
struct Receiver {
    port: u16,
    heard: Arc<Mutex<Vec<Request>>>,
    _listening: Listening,
}

impl Receiver {
    fn new() -> Receiver {
        let (port, heard) = (free_port(), Arc::new(Mutex::default()));
        let noted = Arc::clone(&heard);
        Receiver { port, heard, _listening: Listening::on(port, move |stream| drop(note(stream, &noted))) }
    }

    fn heard(&self) -> Vec<Request> {
        lock(&self.heard).clone()
    }
}

/// Serves a connection until it ends.
fn note(mut stream: TcpStream, heard: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some((head, length)) = head(&mut reader) {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        lock(heard).push((head, String::from_utf8_lossy(&body).into_owned()));
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// Whether the system would let a process that crashes leave a core file.
fn may_leave_core_files() -> bool {
    let out = Command::new("sh").args(["-c", "ulimit -Hc"]).output().expect("sh runs");
    out.stdout.trim_ascii() != b"0"
}

/// Whether the errors of a text name that. The Collector knows no places, which is another case.
fn is_named(kind: Kind, text: &str, names: &str) -> bool {
    let is_other = |line: &&str| ["\tdebug\t", "\tinfo\t"].iter().any(|level| line.contains(level));
    let place = kind == Kind::Collector && names == PLACE;
    place || text.lines().filter(|line| !is_other(line)).any(|line| line.contains(names))
}

/// Whether a mistake is refused while the agent runs.
fn refused_at_reload(kind: Kind, bench: &Bench, wrong: &str) -> bool {
    bench.agent.configure(wrong);
    let refused = if kind == Kind::Weir { "keeping the running configuration" } else { "error" };
    let count = |what: &str| bench.agent.log().matches(what).count();
    let (signals, before) = (count(SIGNAL), count(refused));
    bench.agent.signal("HUP");
    // Two signals that are not told apart would be one reload.
    bench.agent.wait_for_log(SIGNAL, signals) && bench.agent.wait_for_log(refused, before)
}

/// What came of a command: its exit code, none where it had to be ended, and what it said.
struct Said {
    code: Option<i32>,
    text: String,
}

/// What a command says of a configuration; none is the start.
fn said(kind: Kind, name: &str, yaml: &str) -> Said {
    let dir = TempDir::new().expect("a temporary folder");
    fs::write(dir.path().join("agent.yaml"), yaml).expect("written");
    let path = dir.path().join("said");
    let file = File::create(&path).expect("made");
    let mut command = Command::new(binary(kind));
    command.current_dir(dir.path()).args(Some(name).filter(|name| !name.is_empty()));
    command.args(["--config", "agent.yaml"]).stdin(Stdio::null());
    command.stdout(file.try_clone().expect("a second handle")).stderr(file);
    let mut child = command.spawn().expect("it runs");
    // One that takes what is wrong runs for ever.
    let ended = wait_until(Duration::from_secs(10), || child.try_wait().expect("the child can be asked"));
    if ended.is_none() {
        child.kill().expect("killed");
        child.wait().expect("waited for");
    }
    let text = String::from_utf8_lossy(&fs::read(path).expect("read")).into_owned();
    Said { code: ended.and_then(|status| status.code()), text }
}
