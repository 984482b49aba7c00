//! 30 to 32, 39, 40: requests that mean no good.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use weir_otlp::encoding::Encoding;
use weir_pdata::otlp::kv;

use super::siege::begin;
use super::values::{nested, nested_json, with_attributes};
use super::{Bench, Case, Outcome};
use crate::agent::Kind;
use crate::http::Client;
use crate::load::PROTOBUF;
use crate::rpc;

pub(crate) const CASES: [Case; 5] = [
    Case {
        number: 30,
        name: "1 GiB bombs, gzip and zstd, over HTTP and gRPC",
        settings: "defaults",
        bar: "413, over gRPC RESOURCE_EXHAUSTED (8), at most 64 MiB more",
        run: bombs,
    },
    Case {
        number: 31,
        name: "50 zstd bodies that expand to 18 MiB, stalled; 50 more that come whole at once",
        settings: "defaults",
        bar: "at most 64 MiB more",
        run: crowds_of_bombs,
    },
    Case {
        number: 32,
        name: "zstd windows of 2^24 to 2^31 bytes, and one of 2^23",
        settings: "defaults",
        bar: "refused, but for 2^23, which RFC 9659 asks for; at most 16 MiB more",
        run: windows,
    },
    Case {
        number: 39,
        name: "headers of 64 KiB, 1 MiB and 16 MiB, over HTTP and gRPC",
        settings: "defaults",
        bar: "431, over gRPC too or the connection closed; at most 16 MiB more",
        run: headers,
    },
    Case {
        number: 40,
        name: "random bytes, 300 times for each port; 4,000 random and mutated requests, protobuf and JSON",
        settings: "defaults",
        bar: "alive, nothing but 400 and 200, what goes out is OTLP; at most 16 MiB more",
        run: noise,
    },
];

pub(super) fn post(bench: &Bench, headers: &str, body: &[u8]) -> Option<u16> {
    Client::new(bench.http).post("/v1/logs", headers, body)
}

pub(super) fn codes(outcome: &mut Outcome, heard: &[Option<u16>], good: impl Fn(u16) -> bool) {
    let text = shown(heard);
    outcome.require(heard.iter().all(|c| c.is_some_and(&good)), format!("answers {text}"));
    outcome.see(text);
}

/// Codes as a text.
pub(super) fn shown<T: ToString>(codes: &[Option<T>]) -> String {
    let text = codes.iter().map(|c| c.as_ref().map_or("closed".to_owned(), ToString::to_string));
    text.collect::<Vec<_>>().join(" ")
}

/// The gRPC status of what is too large.
const RESOURCE_EXHAUSTED: u16 = 8;

/// So many zero bytes, compressed.
pub(super) fn compressed(encoding: Encoding, size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    encoding.compress(&vec![0; size], None, &mut out).expect("compressed");
    out
}

/// 1 GiB of zero bytes. Both formats allow several members: 16 of 64 MiB.
pub(super) fn bomb(encoding: Encoding) -> Vec<u8> {
    compressed(encoding, 64 << 20).repeat(16)
}

fn bombs(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    let encodings = [Encoding::Gzip, Encoding::Zstd];
    let heard = encodings.map(|encoding| {
        let headers = format!("{PROTOBUF}Content-Encoding: {}\r\n", encoding.name());
        post(&siege.bench, &headers, &bomb(encoding))
    });
    let called = encodings.map(|encoding| {
        // Within the 4 MiB that a message may have before it is decompressed.
        rpc::export(siege.bench.grpc, &[("grpc-encoding", encoding.name())], &bomb(encoding))
    });
    codes(&mut outcome, &heard, |code| code == 413);
    outcome.see(format!("gRPC {}", shown(&called)));
    outcome.require(called == [Some(RESOURCE_EXHAUSTED); 2], "gRPC says something else");
    siege.end(outcome, 64)
}

fn crowds_of_bombs(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    let body = compressed(Encoding::Zstd, 18 << 20);
    let encoded = format!("{PROTOBUF}Content-Encoding: zstd\r\n");
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", siege.bench.http)).ok()?;
        let length = body.len() + 1;
        let head = format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{encoded}Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body).ok()?;
        Some(stream)
    };
    let streams: Vec<_> = (0..50).filter_map(open).collect();
    std::thread::sleep(Duration::from_secs(3));
    outcome.fired &= streams.len() == 50;
    outcome.see(format!("{} bodies of {} bytes", streams.len(), body.len()));
    let heard: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..50).map(|_| scope.spawn(|| post(&siege.bench, &encoded, &body))).collect();
        senders.into_iter().map(|sender| sender.join().expect("sent")).collect()
    });
    // Zeros are no protobuf, which only shows when they are there.
    let refused = heard.iter().filter(|code| **code == Some(400)).count();
    outcome.see(format!("{refused} of 50 whole ones refused with 400"));
    outcome.require(refused == 50, "some were not read");
    let outcome = siege.end(outcome, 64);
    drop(streams);
    outcome
}

fn windows(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    let frame = |log: u32| {
        // Magic number, no flags, the window, one empty last block (RFC 8878, 3.1.1).
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, ((log - 10) << 3) as u8];
        frame.extend([1, 0, 0]);
        frame
    };
    let headers = format!("{PROTOBUF}Content-Encoding: zstd\r\n");
    let heard: Vec<_> =
        [24, 27, 29, 31].iter().map(|log| post(&siege.bench, &headers, &frame(*log))).collect();
    codes(&mut outcome, &heard, |code| code == 400);
    // It is the window for which they are refused.
    let smaller = post(&siege.bench, &headers, &frame(23));
    outcome.see(format!("2^23: {}", shown(&[smaller])));
    outcome.require(smaller == Some(200), "a window of 2^23 bytes is refused");
    siege.end(outcome, 16)
}

fn headers(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    // What is taken comes without an id.
    siege.bench.oracle.tolerate();
    let sizes = [64 << 10, 1 << 20, 16 << 20];
    let heard =
        sizes.map(|size| post(&siege.bench, &format!("{PROTOBUF}X-Long: {}\r\n", "a".repeat(size)), b""));
    let called =
        sizes.map(|size| rpc::export(siege.bench.grpc, &[("x-long", &"a".repeat(size))], &nested(1)));
    codes(&mut outcome, &heard, |code| code == 431);
    outcome.see(format!("gRPC {}", shown(&called)));
    let refused = |code: &Option<u16>| matches!(code, None | Some(431 | RESOURCE_EXHAUSTED));
    outcome.require(called.iter().all(refused), "gRPC takes them");
    siege.end(outcome, 16)
}

/// Numbers without a pattern, the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.next() % most).map(|_| self.next() as u8).collect()
    }

    fn mutate(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.next() % 4 {
            let at = self.next() % body.len();
            body[at] = self.next() as u8;
        }
        body
    }
}

/// Requests of each of the four kinds of noise.
const NOISY: usize = 1000;

fn noise(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    let bench = &siege.bench;
    // What still is OTLP comes without an id.
    bench.oracle.tolerate();
    let mut noise = Noise(7);
    let mut written = 0;
    for port in [bench.http, bench.grpc] {
        for _ in 0..300 {
            let bytes = noise.bytes(400);
            let connected = TcpStream::connect(("127.0.0.1", port));
            written += usize::from(connected.is_ok_and(|mut stream| stream.write_all(&bytes).is_ok()));
        }
    }
    let json = "Content-Type: application/json\r\n";
    // Three attributes, so that no mutation makes a record of the oracle of it.
    let record = with_attributes(vec![kv("text", "a".repeat(40)), kv("number", 7_i64), kv("flag", true)]);
    let (mut heard, mut client) = ([0; 3], Client::new(bench.http));
    for _ in 0..NOISY {
        let (values, random) = (nested(1 + noise.next() % 60), noise.bytes(400));
        let text = nested_json(1 + noise.next() % 20).into_bytes();
        for (headers, body) in [
            (PROTOBUF, noise.mutate(record.clone())),
            (PROTOBUF, noise.mutate(values)),
            (PROTOBUF, random),
            (json, noise.mutate(text)),
        ] {
            let answer = client.post("/v1/logs", headers, &body);
            heard[match answer {
                Some(200) => 0,
                Some(400) => 1,
                _ => 2,
            }] += 1;
        }
    }
    let [taken, refused, strange] = heard;
    outcome.fired &= written == 600 && refused > NOISY;
    outcome.see(format!("{written} times random bytes; 200: {taken}, 400: {refused}, others: {strange}"));
    outcome.require(strange == 0, "strange answers");
    siege.end(outcome, 16)
}
