//! 44: secrets, and everywhere that they could be read.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{Bench, Case, Extra, Outcome, tls};
use crate::agent::{Kind, Limits, binary, is_released, wait_until};
use crate::http::{Client, get};
use crate::load::PROTOBUF;
use crate::ports::{closed_port, free_port};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 44,
    name: "secrets in URLs, headers, tokens, passwords and keys, of the configuration, its files and a caller",
    settings: "debug log, backend down, own metrics and traces, zpages, print-config, SIGABRT; nine mistakes on the lines of secrets, each at validate, start and reload",
    bar: "not to be read in the log, on pages, in answers, in errors or in what is printed; no core file",
    run: secrets,
}];

/// A word that stands in every secret place.
const CANARY: &str = "c4n4ry5ecret";

/// What an agent logs when it is told to reload.
const SIGNAL: &str = "Received signal from OS";

/// Pages of the Collector and of Weir.
const PAGES: [&str; 6] = [
    "/debug/pipelinez",
    "/debug/servicez",
    "/debug/extensionz",
    "/debug/featurez",
    "/debug/tracez",
    "/leaks",
];

/// What an exporter logs that reaches nobody.
const FAILED: &str = "Exporting failed";

/// Exporters with a secret each.
const EXPORTERS: [&str; 5] =
    ["otlp_http", "otlp_http/signed", "otlp_http/token", "otlp_http/set", "otlp_http/proxied"];

/// Ports of an agent.
struct Ports {
    own: u16,
    pages: u16,
    /// Of receivers that ask for a password or a token.
    guarded: [u16; 3],
    tls: u16,
}

fn secrets(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let folder = TempDir::new().expect("a temporary folder");
    let ports = Ports {
        own: free_port(),
        pages: free_port(),
        guarded: [(); 3].map(|()| free_port()),
        tls: free_port(),
    };
    let mut configuration = String::new();
    let limits = Limits { core: true, ..Limits::default() };
    let mut bench = Bench::edited(kind, false, Extra { limits, ..Extra::default() }, |yaml, backend| {
        configuration = with_secrets(&yaml, backend, &ports, folder.path());
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
    let mut heard = Vec::new();
    // A caller with the wrong password or token, and one with a scheme that does not exist.
    for (port, scheme) in
        ports.guarded.iter().flat_map(|port| ["Basic", "Bearer", "Strange"].map(|s| (*port, s)))
    {
        let headers = format!("{PROTOBUF}Authorization: {scheme} {CANARY}\r\n");
        let answer = Client::new(port).exchange("/v1/logs", &headers, &body);
        let (status, text) = answer.unwrap_or_default();
        outcome.require(status == 401, format!("{scheme}: {status}"));
        heard.push(("an answer", String::from_utf8_lossy(&text).into_owned()));
    }
    for page in PAGES {
        heard.push(("a page", get(ports.pages, page, "localhost").unwrap_or_default().1));
    }
    heard.push(("the metrics", get(ports.own, "/metrics", "localhost").unwrap_or_default().1));
    let looked = heard.iter().filter(|(_, text)| !text.is_empty()).count();
    heard.push(("what is printed", said(kind, "print-config", &configuration).1));
    let mut refused = true;
    for (what, wrong) in mistakes(&configuration) {
        for command in ["validate", ""] {
            let (accepted, text) = said(kind, command, &wrong);
            refused &= !accepted;
            heard.push((what, text));
        }
        refused &= refused_at_reload(kind, &mut bench, &wrong);
    }
    bench.agent.signal("ABRT");
    let ended = bench.agent.end();
    outcome.require(!ended.status.core_dumped(), "a core file is left");
    let core_files = may_leave_core_files();
    if !core_files {
        outcome.see("no core file is allowed here to anybody");
    }
    heard.push(("the log", bench.agent.log()));
    let key = fs::read_to_string(folder.path().join("server.key")).expect("a key");
    let words = [CANARY, key.lines().nth(1).expect("its first bytes")];
    let is_told = |text: &String| words.iter().any(|word| text.contains(word));
    let mut leaks: Vec<_> = heard.iter().filter(|(_, text)| is_told(text)).map(|(what, _)| *what).collect();
    leaks.dedup();
    outcome.fired = answered == Some(200) && failed && refused && looked > 5;
    // A machine that allows none shows nothing about them; `make faults` has to have one that does.
    outcome.fired &= core_files || !is_released();
    outcome.see(if leaks.is_empty() { "nowhere".to_owned() } else { format!("in {}", leaks.join(", ")) });
    outcome.require(leaks.is_empty(), "a secret is to be read");
    outcome
}

/// Whether the system would let a process that crashes leave a core file.
fn may_leave_core_files() -> bool {
    let out = Command::new("sh").args(["-c", "ulimit -Hc"]).output().expect("sh runs");
    out.stdout.trim_ascii() != b"0"
}

/// Writes what is secret into files, and the usual configuration with secrets wherever there may be some.
fn with_secrets(yaml: &str, backend: u16, ports: &Ports, folder: &Path) -> String {
    let closed = closed_port();
    let url = format!("http://127.0.0.1:{closed}");
    let headers = format!("    headers: {{authorization: \"Bearer {CANARY}\"}}\n    compression: none\n");
    let exporters = format!(
        "exporters:\n  otlp_http/signed: {{endpoint: \"{url}\", auth: {{authenticator: basicauth/out}}}}\n  \
         otlp_http/token: {{endpoint: \"{url}\", auth: {{authenticator: bearertokenauth/file}}}}\n  \
         otlp_http/set: {{endpoint: \"{url}\", auth: {{authenticator: headers_setter}}}}\n  \
         otlp_http/proxied: {{endpoint: \"http://elsewhere.invalid\", proxy_url: \"http://user:{CANARY}@127.0.0.1:{closed}\"}}\n"
    );
    let pushed = format!(
        "{{otlp: {{protocol: http/protobuf, endpoint: \"{url}\", headers: [{{name: authorization, value: {CANARY}}}], \
         headers_list: \"x-key={CANARY}\"}}}}"
    );
    let telemetry = format!(
        "logs: {{level: debug}}, traces: {{processors: [{{batch: {{schedule_delay: 200, exporter: {pushed}}}}}]}}, metrics: {{readers: \
         [{{periodic: {{interval: 200, exporter: {pushed}}}}}, {{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}",
        ports.own
    );
    let running = "service:\n  extensions: [zpages, bearertokenauth, bearertokenauth/list, bearertokenauth/file, basicauth/in, \
                   basicauth/file, basicauth/out, headers_setter]\n";
    yaml.replace(
        &format!("\"http://127.0.0.1:{backend}\""),
        &format!("\"http://user:{CANARY}@127.0.0.1:{closed}/?token={CANARY}\""),
    )
    .replace("    compression: none\n", &headers)
    .replace("exporters: [otlp_http]", &format!("exporters: [{}]", EXPORTERS.join(", ")))
    .replace("exporters:\n", &exporters)
    .replace("receivers: [otlp]", "receivers: [otlp, otlp/in, otlp/file, otlp/list, otlp/tls]")
    .replace("receivers:\n", &(extensions(ports.pages, folder) + &receivers(ports, folder)))
    .replace("service:\n", running)
    .replace("metrics: {level: none}", &telemetry)
}

/// The section `extensions`, and the files that it names.
fn extensions(pages: u16, folder: &Path) -> String {
    fs::write(folder.join("token"), CANARY).expect("written");
    fs::write(folder.join("htpasswd"), format!("user:{CANARY}\n")).expect("written");
    let folder = folder.display();
    format!(
        "extensions:\n  zpages: {{endpoint: \"127.0.0.1:{pages}\"}}\n  bearertokenauth: {{token: {CANARY}}}\n  \
         bearertokenauth/list: {{tokens: [\"{CANARY}-1\", \"{CANARY}-2\"]}}\n  bearertokenauth/file: {{filename: \"{folder}/token\"}}\n  \
         basicauth/in: {{htpasswd: {{inline: \"user:{CANARY}\"}}}}\n  basicauth/file: {{htpasswd: {{file: \"{folder}/htpasswd\"}}}}\n  \
         basicauth/out: {{client_auth: {{username: user, password: {CANARY}}}}}\n  \
         headers_setter: {{headers: [{{action: upsert, key: x-key, value: {CANARY}}}]}}\n"
    )
}

/// The beginning of the section `receivers`: those that ask who it is, and one with its key in the configuration.
fn receivers(ports: &Ports, folder: &Path) -> String {
    let mut section = "receivers:\n".to_owned();
    let guards = ["basicauth/in", "basicauth/file", "bearertokenauth/list"];
    for ((name, guard), port) in ["in", "file", "list"].iter().zip(guards).zip(ports.guarded) {
        let auth = format!("endpoint: \"127.0.0.1:{port}\", auth: {{authenticator: {guard}}}");
        section += &format!("  otlp/{name}: {{protocols: {{http: {{{auth}}}}}}}\n");
    }
    tls::write(folder, "server", false);
    let pem = |name: &str| fs::read_to_string(folder.join(name)).expect("written").replace('\n', "\\n");
    let (certificate, key) = (pem("server.pem"), pem("server.key"));
    // Whoever reads a key passes over what stands before it.
    section
        + &format!(
            "  otlp/tls: {{protocols: {{http: {{endpoint: \"127.0.0.1:{}\", tls: {{cert_pem: \"{certificate}\", key_pem: \
         \"{CANARY}\\n{key}\"}}}}}}}}\n",
            ports.tls
        )
}

/// Mistakes on the very lines of secrets, each with what it is.
fn mistakes(right: &str) -> [(&'static str, String); 9] {
    let beside = format!(
        "otlp_http/signed: {{compresion: gzip, logs_endpoint: \"http://user:{CANARY}@127.0.0.1:1/?token={CANARY}\", "
    );
    let headers = [
        format!("headers: {{authorization: \"Bearer {CANARY}\"}}"),
        format!("headers: \"authorization: Bearer {CANARY}\""),
    ];
    let wrong = |what, from: &str, to: &str| {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right, "{what}");
        (what, wrong)
    };
    [
        wrong("an error beside a header", "authorization:", "wrong: [1, 2], authorization:"),
        wrong("an error about a URL", "    endpoint: \"http://user:", "    endpoit: \"http://user:"),
        wrong("an error beside a URL", "otlp_http/signed: {", &beside),
        wrong(
            "an unknown key",
            "    compression: none\n",
            &format!("    compression: none\n    tokn: {CANARY}\n"),
        ),
        wrong("headers as text", &headers[0], &headers[1]),
        wrong("an error beside a key", "tls: {cert_pem:", "tls: {certpem: none, cert_pem:"),
        wrong(
            "tokens as a mapping",
            &format!("[\"{CANARY}-1\", \"{CANARY}-2\"]"),
            &format!("{{a: {CANARY}}}"),
        ),
        wrong("an error about a proxy", "proxy_url:", "proxy_ulr:"),
        wrong("an error beside what is set", "{action: upsert, key: x-key", "{action: upsert, keyy: x-key"),
    ]
}

/// Whether a mistake is refused and named while the agent runs. The Collector has ended at the first.
fn refused_at_reload(kind: Kind, bench: &mut Bench, wrong: &str) -> bool {
    if !bench.agent.is_running() {
        return kind == Kind::Collector;
    }
    bench.agent.configure(wrong);
    let named = if kind == Kind::Weir { "agent.yaml:" } else { "error" };
    let count = |what: &str| bench.agent.log().matches(what).count();
    let (signals, before) = (count(SIGNAL), count(named));
    bench.agent.signal("HUP");
    // Two signals that are not told apart would be one reload.
    bench.agent.wait_for_log(SIGNAL, signals) && bench.agent.wait_for_log(named, before)
}

/// Whether a command accepts a configuration, and what it says; none is the start. The Collector hides `print-config`
/// behind a gate.
fn said(kind: Kind, name: &str, yaml: &str) -> (bool, String) {
    let dir = TempDir::new().expect("a temporary folder");
    fs::write(dir.path().join("agent.yaml"), yaml).expect("written");
    let mut command = Command::new(binary(kind));
    command.current_dir(dir.path()).args(Some(name).filter(|name| !name.is_empty()));
    command.args(["--config", "agent.yaml"]).stdin(Stdio::null());
    if kind == Kind::Collector && name == "print-config" {
        command.arg("--feature-gates=otelcol.printInitialConfig");
    }
    let out = command.output().expect("it runs");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}
