//! 44: secrets, and everywhere that they could be read.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::{Bench, Case, Extra, Outcome};
use crate::agent::{Kind, binary};
use crate::http::{Client, get};
use crate::load::PROTOBUF;
use crate::ports::{closed_port, free_port};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 44,
    name: "secrets in URL, headers, tokens and passwords, of the configuration and of a caller",
    settings: "debug log, backend down, own metrics, zpages, print-config, SIGABRT; five mistakes on the lines of secrets, each at validate, start and reload",
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

fn secrets(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let (own, pages, guarded) = (free_port(), free_port(), free_port());
    let mut configuration = String::new();
    let mut bench = Bench::edited(kind, false, Extra::default(), |yaml, backend| {
        configuration = with_secrets(&yaml, backend, own, pages, guarded);
        configuration.clone()
    });
    let (_, body) = bench.oracle.request(5, 5);
    let answered = Client::new(bench.http).post("/v1/logs", PROTOBUF, &body);
    let failed = bench.agent.wait_for_log("Exporting failed", 0);
    let mut heard = Vec::new();
    // A caller with the wrong password, and one with a scheme that does not exist.
    for scheme in ["Basic", "Bearer", "Strange"] {
        let headers = format!("{PROTOBUF}Authorization: {scheme} {CANARY}\r\n");
        let answer = Client::new(guarded).exchange("/v1/logs", &headers, &body);
        let (status, text) = answer.unwrap_or_default();
        outcome.require(status == 401, format!("{scheme}: {status}"));
        heard.push(("an answer", String::from_utf8_lossy(&text).into_owned()));
    }
    for page in PAGES {
        heard.push(("a page", get(pages, page, "localhost").unwrap_or_default().1));
    }
    heard.push(("the metrics", get(own, "/metrics", "localhost").unwrap_or_default().1));
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
    heard.push(("the log", bench.agent.log()));
    let mut leaks: Vec<_> =
        heard.iter().filter(|(_, text)| text.contains(CANARY)).map(|(what, _)| *what).collect();
    leaks.dedup();
    outcome.fired = answered == Some(200) && failed && refused && looked > 5;
    outcome.see(if leaks.is_empty() { "nowhere".to_owned() } else { format!("in {}", leaks.join(", ")) });
    outcome.require(leaks.is_empty(), "a secret is to be read");
    outcome
}

fn with_secrets(yaml: &str, backend: u16, own: u16, pages: u16, guarded: u16) -> String {
    let extensions = format!(
        "extensions:\n  zpages: {{endpoint: \"127.0.0.1:{pages}\"}}\n  bearertokenauth: {{token: {CANARY}}}\n  \
         basicauth/in: {{htpasswd: {{inline: \"user:{CANARY}\"}}}}\n  basicauth/out: {{client_auth: {{username: user, \
         password: {CANARY}}}}}\n"
    );
    let receiver = format!(
        "receivers:\n  otlp/guarded: {{protocols: {{http: {{endpoint: \"127.0.0.1:{guarded}\", auth: {{authenticator: \
         basicauth/in}}}}}}}}\n"
    );
    let endpoint = format!("\"http://user:{CANARY}@127.0.0.1:{}/?token={CANARY}\"", closed_port());
    let headers = format!("    headers: {{authorization: \"Bearer {CANARY}\"}}\n    compression: none\n");
    let second = format!(
        "exporters:\n  otlp_http/signed: {{endpoint: \"http://127.0.0.1:{}\", auth: {{authenticator: basicauth/out}}}}\n",
        closed_port()
    );
    let telemetry = format!(
        "logs: {{level: debug}}, metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]}}"
    );
    yaml.replace(&format!("\"http://127.0.0.1:{backend}\""), &endpoint)
        .replace("    compression: none\n", &headers)
        .replace("exporters: [otlp_http]", "exporters: [otlp_http, otlp_http/signed]")
        .replace("exporters:\n", &second)
        .replace("receivers: [otlp]", "receivers: [otlp, otlp/guarded]")
        .replace("receivers:\n", &(extensions + &receiver))
        .replace(
            "service:\n",
            "service:\n  extensions: [zpages, bearertokenauth, basicauth/in, basicauth/out]\n",
        )
        .replace("metrics: {level: none}", &telemetry)
}

/// Mistakes on the very lines of secrets, each with what it is.
fn mistakes(right: &str) -> [(&'static str, String); 5] {
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
    let dir = tempfile::TempDir::new().expect("a temporary folder");
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
