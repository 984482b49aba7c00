//! 33 to 35: connections that are slow, silent and idle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::siege::begin;
use super::{Bench, Case, Extra, Outcome, seconds};
use crate::agent::{Kind, Limits, now, wait_until};
use crate::h2raw::{self, frame};
use crate::load::{PROTOBUF, all_arrive};

pub(crate) const CASES: [Case; 3] = [
    Case {
        number: 33,
        name: "requests at one byte a second: 500 in the head and 500 in the body over HTTP, 100 each in a head after a request and, over gRPC, in a first head, in one after a request and in a message",
        settings: "defaults",
        bar: "heads closed within 10 s, bodies closed and messages answered or closed within 60 s, each give or take a second; at most 32 MiB more",
        run: slow,
    },
    Case {
        number: 34,
        name: "500 HTTP/2 connections that say nothing after the preface",
        settings: "defaults",
        bar: "closed within 80 s, at most 32 MiB more",
        run: silent_h2,
    },
    Case {
        number: 35,
        name: "10,000 idle connections, over HTTP and over gRPC, silent and after a request",
        settings: "12,000 files, max_connections 12,000 over HTTP (Weir only: beyond its default of 10,000 one more waits until one is \
                   closed), queue_size 100,000",
        bar: "at most 6 KiB each over HTTP while silent and 10 KiB over gRPC, alive",
        run: idle,
    },
];

/// Counts the streams that the peer has closed.
pub(super) fn closed(streams: &mut [TcpStream]) -> usize {
    streams.iter_mut().filter_map(|s| is_closed(s).then_some(())).count()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Whether a call was answered, or its connection closed.
fn is_answered(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    let (kinds, closed) = h2raw::heard(stream);
    closed || kinds.contains(&h2raw::HEADERS)
}

/// Requests that come byte by byte.
struct Slow {
    what: &'static str,
    count: usize,
    begin: fn(&Bench) -> Option<TcpStream>,
    /// What comes over and over, one byte each second.
    drip: &'static [u8],
    /// When they are to be over, and when they are.
    limit: Duration,
    is_over: fn(&mut TcpStream) -> bool,
}

const HEAD: &[u8] = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Long: ";
const BODY: &[u8] = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100000\r\n\r\n";

const SLOW: [Slow; 6] = [
    Slow {
        what: "heads",
        count: 500,
        begin: |bench| connect(bench.http, b""),
        drip: HEAD,
        limit: Duration::from_secs(11),
        is_over: is_closed,
    },
    Slow {
        what: "bodies",
        count: 500,
        begin: |bench| connect(bench.http, BODY),
        drip: b"x",
        limit: Duration::from_secs(61),
        is_over: is_closed,
    },
    Slow {
        what: "heads after a request",
        count: 100,
        begin: idle_http,
        drip: HEAD,
        limit: Duration::from_secs(11),
        is_over: is_closed,
    },
    Slow {
        what: "heads over gRPC",
        count: 100,
        begin: |bench| begun(h2raw::connect(bench.grpc).ok()?, &[], h2raw::HEADERS),
        drip: &[0],
        limit: Duration::from_secs(11),
        is_over: is_closed,
    },
    Slow {
        what: "heads over gRPC after a request",
        count: 100,
        begin: |bench| begun(idle_grpc(bench)?, &[], h2raw::HEADERS),
        drip: &[0],
        limit: Duration::from_secs(11),
        is_over: is_closed,
    },
    Slow {
        what: "messages over gRPC",
        count: 100,
        begin: |bench| begun(h2raw::connect(bench.grpc).ok()?, &h2raw::call(STREAM), h2raw::DATA),
        drip: &[0],
        limit: Duration::from_secs(61),
        is_over: is_answered,
    },
];

/// A stream that is new on each of these connections.
const STREAM: u32 = 3;

/// A connection on which frames were sent and the head of one more, whose 16,000 bytes are to come.
fn begun(mut stream: TcpStream, frames: &[u8], kind: u8) -> Option<TcpStream> {
    let announced = frame(kind, h2raw::END_HEADERS, STREAM, &[0; 16_000]);
    stream.write_all(&[frames, &announced[..9]].concat()).ok().map(|()| stream)
}

/// A connection on which this was said.
fn connect(port: u16, first: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(first).ok().map(|()| stream)
}

fn slow(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    let open = |slow: &Slow| (0..slow.count).filter_map(|_| (slow.begin)(&siege.bench)).collect();
    let mut streams: [Vec<TcpStream>; SLOW.len()] = SLOW.each_ref().map(open);
    outcome.fired &= streams.iter().zip(&SLOW).all(|(streams, slow)| streams.len() == slow.count);
    let (begun, mut at, mut ends) = (now(), 0, [None; SLOW.len()]);
    wait_until(Duration::from_secs(80), || {
        let drip = (now() - begun).as_secs() as usize >= at;
        for ((slow, streams), end) in
            SLOW.iter().zip(&mut streams).zip(&mut ends).filter(|(_, end)| end.is_none())
        {
            if drip {
                let byte = &slow.drip[at % slow.drip.len()..][..1];
                streams.iter_mut().for_each(|s| drop(s.write_all(byte)));
            }
            streams.retain_mut(|s| !(slow.is_over)(s));
            *end = streams.is_empty().then(|| now() - begun);
        }
        at += usize::from(drip);
        ends.iter().all(Option::is_some).then_some(())
    });
    for ((Slow { what, limit, .. }, end), left) in SLOW.iter().zip(ends).zip(&streams) {
        outcome.see(
            end.map_or(format!("{} {what} not", left.len()), |t| format!("{what} after {}", seconds(t))),
        );
        outcome.require(end.is_some(), format!("slow {what} are not ended"));
        outcome.measure(end.is_none_or(|t| t <= *limit), format!("slow {what} are ended too late"));
    }
    siege.end(outcome, 32)
}

fn silent_h2(kind: Kind) -> Outcome {
    const COUNT: usize = 500;
    let (mut outcome, siege) = begin(kind);
    let mut streams: Vec<_> = (0..COUNT).filter_map(|_| h2raw::connect(siege.bench.grpc).ok()).collect();
    outcome.fired &= streams.len() == COUNT;
    let begun = now();
    let all = wait_until(Duration::from_secs(80), || (closed(&mut streams) == COUNT).then(|| now() - begun));
    outcome.see(match all {
        Some(time) => format!("all closed after {}", seconds(time)),
        None => format!("{} of {COUNT} closed after 80 s", closed(&mut streams)),
    });
    outcome.require(all.is_some(), "silent connections are kept");
    siege.end(outcome, 32)
}

/// Idle connections, and the files that the agent may have open for them.
const IDLE: usize = 10_000;
pub(super) const FILES: u32 = 12_000;

/// Connections of a kind, and what each may cost in KiB.
struct Idle {
    what: &'static str,
    most: Option<u8>,
    open: fn(&Bench) -> Option<TcpStream>,
}

const IDLES: [Idle; 4] = [
    Idle { what: "HTTP", most: Some(6), open: |bench| connect(bench.http, b"") },
    Idle { what: "HTTP after a request", most: None, open: idle_http },
    Idle { what: "gRPC", most: Some(10), open: |bench| h2raw::connect(bench.grpc).ok() },
    Idle { what: "gRPC after a request", most: Some(10), open: idle_grpc },
];

fn idle(kind: Kind) -> Outcome {
    let mut outcome = Outcome { fired: true, ..Outcome::default() };
    may_open(FILES);
    for Idle { what, most, open } in IDLES {
        let limits = Limits { files: Some(FILES), ..Limits::default() };
        // No request is to be refused because the backend of the test is slow.
        let queue = "    sending_queue: {queue_size: 100000}\n";
        let receiver = match kind {
            Kind::Weir => format!("        max_connections: {FILES}\n"),
            Kind::Collector => String::new(),
        };
        let extra = Extra { exporter: queue, receiver: &receiver, limits, ..Extra::default() };
        let mut bench = Bench::new(kind, true, extra);
        let warm = bench.fill() && all_arrive(&bench.oracle, Duration::from_secs(60));
        let before = bench.agent.memory_kib();
        let mut streams = Vec::new();
        let mut accepted = true;
        while accepted && streams.len() < IDLE {
            // No more at once than wait to be accepted anywhere.
            streams.extend((0..100).filter_map(|_| open(&bench)));
            accepted =
                wait_until(Duration::from_secs(60), || (bench.agent.files() > streams.len()).then_some(()))
                    .is_some();
        }
        let each = bench.agent.memory_kib().saturating_sub(before) as f64 / IDLE as f64;
        let held = streams.len() - closed(&mut streams);
        outcome.fired &= warm && accepted && held == IDLE;
        outcome.see(format!("{what}: {held} connections, {each:.1} KiB each"));
        outcome
            .measure(most.is_none_or(|most| each <= f64::from(most)), format!("{what}: they cost too much"));
        bench.check_alive(&mut outcome);
        drop(streams);
        all_arrive(&bench.oracle, Duration::from_secs(60));
        outcome.judge(&bench.oracle);
    }
    outcome
}

/// Lets this process open so many files.
pub(super) fn may_open(files: u32) {
    let limit = format!("--nofile={}:", files + 1000);
    let mut command = Command::new("prlimit");
    let raised = command.args(["--pid", &std::process::id().to_string(), &limit]).status();
    assert!(raised.is_ok_and(|s| s.success()), "{files} files cannot be open here: see ulimit -Hn");
}

/// A connection that has carried a request, and nothing since.
fn idle_http(bench: &Bench) -> Option<TcpStream> {
    let (ids, body) = bench.oracle.request(1, 10);
    let head =
        format!("POST /v1/logs HTTP/1.1\r\nHost: x\r\n{PROTOBUF}Content-Length: {}\r\n\r\n", body.len());
    let mut stream = connect(bench.http, &[head.as_bytes(), &body].concat())?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).ok()?;
    answer[..length].starts_with(b"HTTP/1.1 200").then(|| bench.oracle.acknowledge(&ids))?;
    Some(stream)
}

/// The same over gRPC.
fn idle_grpc(bench: &Bench) -> Option<TcpStream> {
    let (ids, body) = bench.oracle.request(1, 10);
    let mut stream = h2raw::connect(bench.grpc).ok()?;
    h2raw::export(&mut stream, 1, &body).ok()?.then(|| bench.oracle.acknowledge(&ids))?;
    Some(stream)
}
