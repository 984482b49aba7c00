//! 16: answers that are longer than any answer should be.

use std::sync::Arc;
use std::time::Duration;

use weir_otlp::encoding::Encoding;

use super::hostile::compressed;
use super::{Bench, Case, Extra, Outcome, PATIENT};
use crate::agent::{Kind, wait_until};
use crate::backend::{Mode, Pour};
use crate::http::Client;
use crate::load::{PROTOBUF, all_arrive};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 16,
    name: "backend answers with 16,000 lists in JSON, with 200 MB, with a body and with a header that never end, with a 1 GiB \
           bomb",
    settings: "timeout 2 s, retry 100 ms to 1 s without end",
    bar: "at most 4 MiB more; 0 lost",
    run: poured,
}];

/// Longer than what waits in the buffers of a connection that nobody reads.
const ENDLESS: usize = 100_000;

fn pours() -> [(&'static str, Pour); 5] {
    let of = |content_type: &str, headers: &str, piece: &[u8], times| Pour {
        head: format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{headers}"),
        piece: Arc::from(piece),
        times,
    };
    let pour = |headers: &str, piece: &[u8], times| of("application/x-protobuf", headers, piece, times);
    let lists = b"[0],".repeat(1000);
    let json = |times: usize| {
        let headers = format!("Content-Length: {}\r\n\r\n[", 1 + times * lists.len());
        of("application/json", &headers, &lists, times)
    };
    let bomb = compressed(Encoding::Gzip, 64 << 20);
    let chunk = [b"1000\r\n", &[b'x'; 4096][..], b"\r\n"].concat();
    let bomb_headers = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", 16 * bomb.len());
    [
        // First, as what it becomes is there only when all of it has been read; no more of it would be.
        ("JSON", json(16)),
        ("200 MB", pour("Content-Length: 209715200\r\n\r\n", &[b'x'; 4096], 51_200)),
        ("endless body", pour("Transfer-Encoding: chunked\r\n\r\n", &chunk, ENDLESS)),
        ("endless header", pour("", &b"X-Long: yes, it is rather long\r\n".repeat(100), ENDLESS)),
        ("bomb", pour(&bomb_headers, &bomb, 16)),
    ]
}

fn poured(kind: Kind) -> Outcome {
    let exporter = format!("{PATIENT}    timeout: 2s\n");
    let extra = Extra { exporter: &exporter, ..Extra::default() };
    let (mut outcome, mut bench) = (Outcome::default(), Bench::new(kind, true, extra));
    outcome.fired = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
    bench.agent.forget_peak();
    let before = bench.agent.memory_mib().0;
    let mut taken = Vec::new();
    for (what, pour) in pours() {
        // The one before may have begun once more before its mode was over.
        let over = || bench.backend.poured();
        let Some(poured) = wait_until(Duration::from_secs(60), over) else {
            outcome.fired = false;
            break;
        };
        bench.backend.set(Mode::Pour(pour));
        let (ids, body) = bench.oracle.request(50, 10);
        if Client::new(bench.http).post("/v1/logs", PROTOBUF, &body) == Some(200) {
            bench.oracle.acknowledge(&ids);
        }
        let over =
            wait_until(Duration::from_secs(60), || bench.backend.poured().filter(|after| *after > poured));
        bench.backend.set(Mode::Accept);
        let bytes = over.map_or(0, |after| after - poured);
        taken.push(format!("{} KiB of the {what}", bytes >> 10));
        // Whether it takes more than the head is its own affair.
        outcome.fired &= bytes > 0;
    }
    outcome.see(format!("sent until it had enough: {}", taken.join(", ")));
    outcome.grown(bench.agent.memory_mib().1.saturating_sub(before), 4);
    all_arrive(&bench.oracle, Duration::from_secs(20));
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle);
    outcome
}
