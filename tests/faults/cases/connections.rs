//! 33 to 38: connections that mean no good.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::hostile::{begin, end};
use super::{Bench, Case, Extra, Outcome, seconds};
use crate::agent::{Kind, Limits, now, wait_until};
use crate::h2raw::{self, frame};

pub(crate) const CASES: [Case; 5] = [
    Case {
        number: 33,
        name: "200 requests at one byte a second: 100 in the head, 100 in the body",
        settings: "defaults",
        bar: "all closed within 30 s",
        run: slow,
    },
    Case {
        number: 34,
        name: "200 HTTP/2 connections that say nothing after the preface",
        settings: "defaults",
        bar: "closed or pinged within 80 s",
        run: silent_h2,
    },
    Case {
        number: 35,
        name: "800 idle connections",
        settings: "4,096 files",
        bar: "at most 10 KiB each, alive",
        run: idle,
    },
    Case {
        number: 37,
        name: "rapid reset, 2 connections for 5 s",
        settings: "defaults",
        bar: "GOAWAY, alive",
        run: rapid_reset,
    },
    Case {
        number: 38,
        name: "floods of PING, SETTINGS, empty DATA and CONTINUATION",
        settings: "defaults, 3 s each",
        bar: "GOAWAY or closed, alive, at most 32 MiB more",
        run: floods,
    },
];

/// Counts the streams that the peer has closed.
pub(super) fn closed(streams: &mut [TcpStream]) -> usize {
    let gone = |stream: &mut TcpStream| {
        stream.set_nonblocking(true).expect("set");
        loop {
            match stream.read(&mut [0; 1024]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    };
    streams.iter_mut().filter_map(|s| gone(s).then_some(())).count()
}

fn slow(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let connect = |first: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", bench.http)).ok()?;
        stream.write_all(first).ok().map(|()| stream)
    };
    let body = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100000\r\n\r\n";
    let mut heads: Vec<_> = (0..100).filter_map(|_| connect(b"")).collect();
    let mut bodies: Vec<_> = (0..100).filter_map(|_| connect(body)).collect();
    outcome.fired = heads.len() + bodies.len() == 200;
    let begun = now();
    let head = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Long: ";
    let (mut at, mut ends) = (0, [None, None]);
    wait_until(Duration::from_secs(60), || {
        if (now() - begun).as_secs() as usize >= at {
            heads
                .iter_mut()
                .chain(&mut bodies)
                .for_each(|s| drop(s.write_all(&head[at % head.len()..][..1])));
            at += 1;
        }
        for (end, streams) in ends.iter_mut().zip([&mut heads, &mut bodies]) {
            if end.is_none() && closed(streams) == streams.len() {
                *end = Some(now() - begun);
            }
        }
        ends.iter().all(Option::is_some).then_some(())
    });
    for (end, what) in ends.into_iter().zip(["heads", "bodies"]) {
        outcome
            .see(end.map_or(format!("{what} not closed"), |t| format!("{what} closed after {}", seconds(t))));
        outcome
            .require(end.is_some_and(|t| t < Duration::from_secs(30)), format!("slow {what} are not closed"));
    }
    end(outcome, bench, before, 32)
}

fn silent_h2(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let mut streams: Vec<_> = (0..200).filter_map(|_| h2raw::connect(bench.grpc).ok()).collect();
    outcome.fired = streams.len() == 200;
    let begun = now();
    let all = wait_until(Duration::from_secs(80), || {
        (closed(&mut streams) == streams.len()).then(|| now() - begun)
    });
    outcome.see(match all {
        Some(time) => format!("all closed after {}", seconds(time)),
        None => format!("{} of 200 closed after 80 s", closed(&mut streams)),
    });
    outcome.require(all.is_some(), "silent connections are kept");
    end(outcome, bench, before, 32)
}

fn idle(kind: Kind) -> Outcome {
    let limits = Limits { files: Some(4096), ..Limits::default() };
    let (mut outcome, mut bench) =
        (Outcome::default(), Bench::new(kind, true, Extra { limits, ..Extra::default() }));
    bench.check_alive(&mut outcome);
    let before = bench.agent.memory_mib().0;
    let streams: Vec<_> =
        (0..800).filter_map(|_| TcpStream::connect(("127.0.0.1", bench.http)).ok()).collect();
    outcome.fired =
        wait_until(Duration::from_secs(10), || (bench.agent.files() > 750).then_some(())).is_some();
    let each = bench.agent.memory_mib().0.saturating_sub(before) * 1024 / 800;
    outcome.see(format!("about {each} KiB each"));
    outcome.require(each <= 10, "connections cost too much");
    bench.check_alive(&mut outcome);
    drop(streams);
    outcome.judge(&bench.oracle, 0);
    outcome
}

/// Writes until the peer has had enough or the time is over; whether it said GOAWAY or closed.
fn flood(bench: &Bench, time: Duration, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let Ok(mut stream) = h2raw::connect(bench.grpc) else { return false };
    let (begun, mut number) = (now(), 1);
    let mut reader = stream.try_clone().expect("a second handle");
    let listener = std::thread::spawn(move || {
        let begun = now();
        loop {
            let (kinds, closed) = h2raw::heard(&mut reader);
            if closed || kinds.contains(&h2raw::GOAWAY) {
                return true;
            }
            if now() - begun > time {
                return false;
            }
        }
    });
    while now() - begun < time && !listener.is_finished() {
        let mut bytes = Vec::new();
        for _ in 0..200 {
            bytes.extend(next(number));
            number += 2;
        }
        if stream.write_all(&bytes).is_err() {
            break;
        }
    }
    listener.join().expect("ends")
}

fn rapid_reset(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let block = h2raw::export_headers();
    let mut ended = 0;
    for _ in 0..2 {
        let one = |number: u32| {
            let mut frames = frame(h2raw::HEADERS, h2raw::END_HEADERS, number, &block);
            frames.extend(frame(h2raw::RST_STREAM, 0, number, &8_u32.to_be_bytes()));
            frames
        };
        ended += usize::from(flood(&bench, Duration::from_secs(5), one));
    }
    outcome.fired = true;
    outcome.see(format!("{ended} of 2 connections ended"));
    outcome.require(ended == 2, "the resets are not answered");
    end(outcome, bench, before, 32)
}

fn floods(kind: Kind) -> Outcome {
    let (mut outcome, bench, before) = begin(kind);
    let time = Duration::from_secs(3);
    let block = h2raw::export_headers();
    let ended = [
        ("PING", flood(&bench, time, |_| frame(h2raw::PING, 0, 0, &[0; 8]))),
        ("SETTINGS", flood(&bench, time, |_| frame(h2raw::SETTINGS, 0, 0, &[]))),
        ("empty DATA", {
            let mut begun = false;
            flood(&bench, time, |_| {
                let mut frames = Vec::new();
                if !std::mem::replace(&mut begun, true) {
                    frames = frame(h2raw::HEADERS, h2raw::END_HEADERS, 1, &block);
                }
                frames.extend(frame(h2raw::DATA, 0, 1, &[]));
                frames
            })
        }),
        ("CONTINUATION", {
            let mut begun = false;
            flood(&bench, time, |_| {
                if std::mem::replace(&mut begun, true) {
                    frame(h2raw::CONTINUATION, 0, 1, &[])
                } else {
                    frame(h2raw::HEADERS, 0, 1, &block)
                }
            })
        }),
    ];
    outcome.fired = true;
    outcome.require(ended.iter().all(|(_, ended)| *ended), "a flood is not answered");
    let kept: Vec<_> = ended.iter().filter(|(_, ended)| !ended).map(|(what, _)| *what).collect();
    outcome.see(if kept.is_empty() {
        "all ended".to_owned()
    } else {
        format!("not ended: {}", kept.join(", "))
    });
    end(outcome, bench, before, 32)
}
