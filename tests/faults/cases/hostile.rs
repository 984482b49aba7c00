//! 29 to 32, 39 to 41: requests that mean no good.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use weir_otlp::encoding::Encoding;
use weir_pdata::Payload;
use weir_pdata::otlp::{self, LogsRequest, kv};

use super::{Bench, Case, Extra, Outcome};
use crate::agent::Kind;
use crate::http::Client;
use crate::load::PROTOBUF;

pub(crate) const CASES: [Case; 7] = [
    Case {
        number: 29,
        name: "nested values, 100 to 1,000,000 levels, protobuf and JSON",
        settings: "defaults",
        bar: "400, at most 16 MiB more",
        run: nesting,
    },
    Case {
        number: 30,
        name: "1 GiB bombs, gzip and zstd",
        settings: "defaults",
        bar: "413, at most 64 MiB more",
        run: bombs,
    },
    Case {
        number: 31,
        name: "50 stalled zstd bodies that expand to 18 MiB",
        settings: "defaults",
        bar: "at most 64 MiB more",
        run: stalled_bombs,
    },
    Case {
        number: 32,
        name: "zstd windows of 2^24 to 2^31 bytes",
        settings: "defaults",
        bar: "refused, at most 16 MiB more",
        run: windows,
    },
    Case { number: 39, name: "headers of 64 KiB and 1 MiB", settings: "defaults", bar: "431", run: headers },
    Case {
        number: 40,
        name: "random bytes, 300 times for each port; 2,000 mutated requests",
        settings: "defaults",
        bar: "alive, nothing but 400 and 200",
        run: noise,
    },
    Case {
        number: 41,
        name: "a million attributes, a name of 1 MB, a name 10,000 times, NaN, invalid UTF-8",
        settings: "defaults",
        bar: "invalid UTF-8 gets 400, the others pass unchanged; at most 128 MiB more",
        run: attributes,
    },
];

fn post(bench: &Bench, headers: &str, body: &[u8]) -> Option<u16> {
    Client::new(bench.http).post("/v1/logs", headers, body)
}

/// How much more memory was used at most than before.
pub(super) fn growth(bench: &Bench, before: u64) -> u64 {
    bench.agent.memory_mib().1.saturating_sub(before)
}

pub(super) fn begin(kind: Kind) -> (Outcome, Bench, u64) {
    let (mut outcome, mut bench) = (Outcome::default(), Bench::new(kind, true, Extra::default()));
    bench.check_alive(&mut outcome);
    let before = bench.agent.memory_mib().1;
    (outcome, bench, before)
}

pub(super) fn end(mut outcome: Outcome, mut bench: Bench, before: u64, most: u64) -> Outcome {
    let more = growth(&bench, before);
    outcome.see(format!("+{more} MiB"));
    outcome.require(more <= most, format!("{more} MiB more"));
    if !bench.agent.is_running() {
        outcome.see(bench.agent.end().shown());
    }
    bench.check_alive(&mut outcome);
    outcome.judge(&bench.oracle, 0);
    outcome
}

fn codes(outcome: &mut Outcome, heard: &[Option<u16>], good: impl Fn(u16) -> bool) {
    let text: Vec<_> = heard.iter().map(|c| c.map_or("closed".to_owned(), |c| c.to_string())).collect();
    outcome.see(text.join(" "));
    outcome.require(heard.iter().all(|c| c.is_some_and(&good)), format!("answers {text:?}"));
    outcome.fired = !heard.is_empty();
}

/// Nested array values below the body of a log record: lengths are written from the inside out.
fn nested(levels: usize) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    let mut wrap = |tag: u8| {
        let mut length = reversed.len();
        let mut varint = Vec::new();
        loop {
            let low = (length & 0x7f) as u8;
            length >>= 7;
            varint.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        reversed.extend(varint.iter().rev());
        reversed.push(tag);
    };
    for _ in 0..levels {
        // ArrayValue.values = 1 around AnyValue.array_value = 5.
        wrap(0x2a);
        wrap(0x0a);
    }
    // LogRecord.body = 5, ScopeLogs.log_records = 2, ResourceLogs.scope_logs = 2, resource_logs = 1.
    [0x2a, 0x2a, 0x12, 0x12, 0x0a].into_iter().for_each(&mut wrap);
    reversed.reverse();
    reversed
}

fn nesting(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let mut heard: Vec<_> =
        [100, 10_000, 1_000_000].iter().map(|levels| post(&bench, PROTOBUF, &nested(*levels))).collect();
    let json = |levels: usize| {
        let (open, close) = ("{\"arrayValue\":{\"values\":[".repeat(levels), "]}}".repeat(levels));
        format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{open}{close}}}]}}]}}]}}")
    };
    let json = json(200_000);
    heard.push(post(&bench, "Content-Type: application/json\r\n", json.as_bytes()));
    codes(&mut outcome, &heard, |code| code == 400);
    end(outcome, bench, before, 16)
}

/// So many zero bytes, compressed.
fn compressed(encoding: Encoding, size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    encoding.compress(&vec![0; size], None, &mut out).expect("compressed");
    out
}

/// 1 GiB of zero bytes. Both formats allow several members: 16 of 64 MiB.
pub(super) fn bomb(encoding: Encoding) -> Vec<u8> {
    compressed(encoding, 64 << 20).repeat(16)
}

fn bombs(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let heard = [Encoding::Gzip, Encoding::Zstd].map(|encoding| {
        let headers = format!("{PROTOBUF}Content-Encoding: {}\r\n", encoding.name());
        post(&bench, &headers, &bomb(encoding))
    });
    codes(&mut outcome, &heard, |code| code == 413);
    end(outcome, bench, before, 64)
}

fn stalled_bombs(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let body = compressed(Encoding::Zstd, 18 << 20);
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", bench.http)).ok()?;
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
            body.len() + 1
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body).ok()?;
        Some(stream)
    };
    let streams: Vec<_> = (0..50).filter_map(open).collect();
    std::thread::sleep(Duration::from_secs(3));
    outcome.fired = streams.len() == 50;
    outcome.see(format!("{} bodies of {} bytes", streams.len(), body.len()));
    let outcome = end(outcome, bench, before, 64);
    drop(streams);
    outcome
}

fn windows(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let frame = |log: u32| {
        // Magic number, no flags, the window, one empty last block (RFC 8878, 3.1.1).
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, ((log - 10) << 3) as u8];
        frame.extend([1, 0, 0]);
        frame
    };
    let headers = format!("{PROTOBUF}Content-Encoding: zstd\r\n");
    let heard: Vec<_> = [24, 27, 29, 31].iter().map(|log| post(&bench, &headers, &frame(*log))).collect();
    codes(&mut outcome, &heard, |code| code == 400);
    end(outcome, bench, before, 16)
}

fn headers(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let heard: Vec<_> = [64 << 10, 1 << 20]
        .iter()
        .map(|size| post(&bench, &format!("{PROTOBUF}X-Long: {}\r\n", "a".repeat(*size)), b""))
        .collect();
    codes(&mut outcome, &heard, |code| code == 431);
    end(outcome, bench, before, 16)
}

fn noise(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for port in [bench.http, bench.grpc] {
        for _ in 0..300 {
            let bytes: Vec<u8> = (0..random() % 400).map(|_| random() as u8).collect();
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                drop(stream.write_all(&bytes));
            }
        }
    }
    let (mut strange, mut client) = (0, Client::new(bench.http));
    for _ in 0..2000 {
        let mut body = nested(random() % 60);
        for _ in 0..=random() % 4 {
            let at = random() % body.len();
            body[at] = random() as u8;
        }
        strange += usize::from(!matches!(client.post("/v1/logs", PROTOBUF, &body), Some(200 | 400)));
    }
    outcome.fired = true;
    outcome.see(format!("{strange} of 2,000 answers are neither 200 nor 400"));
    outcome.require(strange == 0, "strange answers");
    let more = growth(&bench, before);
    outcome.see(format!("+{more} MiB"));
    let mut bench = bench;
    bench.check_alive(&mut outcome);
    outcome.require(bench.oracle.sums().lost == 0, "lost");
    outcome
}

/// A request with one record with these attributes.
fn with_attributes(attributes: Vec<otlp::common::v1::KeyValue>) -> Vec<u8> {
    let record = otlp::logs::v1::LogRecord { attributes, ..Default::default() };
    let scope_logs = vec![otlp::logs::v1::ScopeLogs { log_records: vec![record], ..Default::default() }];
    let logs = otlp::logs::v1::ResourceLogs { scope_logs, ..Default::default() };
    let payload: Payload = LogsRequest { resource_logs: vec![logs] }.into();
    payload.to_bytes().to_vec()
}

fn attributes(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    bench.oracle.tolerate();
    let many = (0..1_000_000_i64).map(|n| kv(&format!("a{n}"), n)).collect();
    let valid = [
        with_attributes(many),
        with_attributes(vec![kv(&"a".repeat(1_000_000), 1_i64)]),
        with_attributes((0..10_000_i64).map(|n| kv("same", n)).collect()),
        with_attributes(vec![kv("nan", f64::NAN), kv("infinite", f64::INFINITY)]),
    ];
    let heard: Vec<_> = valid.iter().map(|body| post(&bench, PROTOBUF, body)).collect();
    // A text of the same length that is none.
    let mut broken = with_attributes(vec![kv("a", "text")]);
    let at = broken.windows(4).position(|w| w == b"text").expect("it is in there");
    broken[at..at + 4].copy_from_slice(&[0xff, 0xfe, 0x80, 0xc0]);
    let refused = post(&bench, PROTOBUF, &broken);
    codes(&mut outcome, &heard, |code| code == 200);
    outcome.see(format!("invalid UTF-8: {}", refused.map_or("closed".to_owned(), |c| c.to_string())));
    outcome.require(refused == Some(400), "invalid UTF-8 is taken");
    end(outcome, bench, before, 128)
}
