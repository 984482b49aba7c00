//! 14, 15: what a backend says about a request.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, Case, ENOUGH, Extra, Outcome, PATIENT, unsampled};
use crate::agent::{Kind, wait_until};
use crate::backend::Mode;
use crate::grpc::{Answer, GrpcBackend};
use crate::http::{Client, get};
use crate::load::{Load, PROTOBUF, Shape, all_arrive, until_acknowledged};
use crate::oracle::Oracle;
use crate::ports::free_port;

pub(crate) const CASES: [Case; 2] = [
    Case {
        number: 14,
        name: "each gRPC code, without and with RetryInfo",
        settings: "otlp_grpc, retry 100 ms to 1 s without end",
        bar: "tried again as OTLP says, everything else dropped and logged",
        run: codes,
    },
    Case {
        number: 15,
        name: "backend rejects 20 of 50 records of each request",
        settings: "defaults",
        bar: "30 of each counted as sent, 20 as rejected",
        run: partly,
    },
];

/// Codes that OTLP calls retryable; 8 only with RetryInfo.
const RETRYABLE: [u8; 6] = [1, 4, 10, 11, 14, 15];
const RESOURCE_EXHAUSTED: u8 = 8;

fn codes(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let mut backend = None;
    // The oracle of the bench is made with it, so the gRPC backend has its own.
    let oracle = Arc::new(Oracle::default());
    let extra = Extra { exporter: PATIENT, ..Extra::default() };
    let mut bench = Bench::edited(kind, true, extra, |yaml, port| {
        let stub = backend.insert(GrpcBackend::up(&oracle));
        unsampled(&yaml)
            .replace("otlp_http", "otlp_grpc")
            .replace(&format!("\"http://127.0.0.1:{port}\""), &format!("\"127.0.0.1:{}\"", stub.port))
            .replace("    compression: none\n", "    compression: none\n    tls: {insecure: true}\n")
    });
    bench.oracle = oracle;
    let backend = backend.expect("it is made with the configuration");
    let enough = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
    let mut wrong = Vec::new();
    for code in 1..=16 {
        for retry_info in [false, true] {
            let retried = is_retried(&bench, &backend, Answer { code, retry_info });
            let expected = RETRYABLE.contains(&code) || (code == RESOURCE_EXHAUSTED && retry_info);
            if retried != Some(expected) {
                wrong.push(format!("{code}{}", if retry_info { " with RetryInfo" } else { "" }));
            }
        }
    }
    outcome.fired = enough && backend.calls() >= 32;
    outcome.see(if wrong.is_empty() {
        "as OTLP says".to_owned()
    } else {
        format!("not: {}", wrong.join(", "))
    });
    outcome.require(wrong.is_empty(), "a code is not treated as OTLP says");
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

/// Whether a request that was answered so is sent again; none when neither that nor a line about its end is seen.
fn is_retried(bench: &Bench, backend: &GrpcBackend, answer: Answer) -> Option<bool> {
    backend.set(answer);
    let (ids, body) = bench.oracle.request(1, 10);
    let dropped = || bench.agent.log().matches("Dropping data").count();
    let (calls, before) = (backend.calls(), dropped());
    if Client::new(bench.http).post("/v1/logs", PROTOBUF, &body) != Some(200) {
        return None;
    }
    wait_until(Duration::from_secs(60), || (backend.calls() > calls).then_some(()))?;
    backend.set(Answer::default());
    wait_until(Duration::from_secs(60), || {
        let arrived = bench.oracle.has(ids[0]).then_some(true);
        arrived.or_else(|| (dropped() > before).then_some(false))
    })
}

fn partly(kind: Kind) -> Outcome {
    let mut outcome = Outcome::default();
    let own = free_port();
    let reader = format!(
        "metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {own}}}}}}}}}]}}"
    );
    let mut bench = Bench::edited(kind, true, Extra::default(), |yaml, _| {
        yaml.replace("metrics: {level: none}", &reader)
    });
    bench.backend.set(Mode::Partly(20));
    let load = Load::start(bench.http, &bench.oracle, Shape::default());
    let enough = until_acknowledged(&bench.oracle, ENOUGH);
    let requests = load.stop().accepted as u64;
    let all = requests * 50;
    let figures = || {
        let (_, page) = get(own, "/metrics", "localhost")?;
        let sent = figure(&page, "otelcol_exporter_sent_log_records")?;
        Some((sent, figure(&page, "otelcol_exporter_rejected_log_records").unwrap_or(0)))
    };
    // Until all of them are counted one way or the other.
    wait_until(Duration::from_secs(60), || figures().filter(|(sent, rejected)| sent + rejected >= all));
    outcome.fired = enough && bench.backend.requests() as u64 == requests;
    let (sent, rejected) = figures().unwrap_or_default();
    outcome.see(format!("of {all}: {sent} counted as sent, {rejected} as rejected"));
    outcome.require((sent, rejected) == (requests * 30, requests * 20), "what was rejected counts as sent");
    bench.backend.set(Mode::Accept);
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}

/// The sum of a metric on a page for Prometheus.
pub(super) fn figure(page: &str, name: &str) -> Option<u64> {
    let values = page
        .lines()
        .filter(|l| l.starts_with(name))
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
    values.map(|v| v as u64).reduce(|a, b| a + b)
}
