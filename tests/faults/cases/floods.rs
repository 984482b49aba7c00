//! 37, 38: frames of HTTP/2 without end.

use std::io::Write;
use std::time::Duration;

use super::siege::begin;
use super::{Case, Outcome};
use crate::agent::{Kind, now};
use crate::h2raw::{self, frame};

pub(crate) const CASES: [Case; 2] = [
    Case {
        number: 37,
        name: "rapid reset, 2 connections at once on each port, for 8 s, each opened again as often as it is ended",
        settings: "defaults",
        bar: "GOAWAY or closed, 95 of 100 honest requests within 50 ms meanwhile, at most 32 MiB more",
        run: rapid_reset,
    },
    Case {
        number: 38,
        name: "floods of PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty and padded DATA, CONTINUATION and streams that are left open, on each port",
        settings: "defaults, 3 s each",
        bar: "GOAWAY or closed; alive, at most 32 MiB more",
        run: floods,
    },
];

/// What came of a flood.
struct Flooded {
    /// Frames that were written.
    sent: usize,
    /// Whether the peer said GOAWAY or closed.
    ended: bool,
}

/// Frames that a connection must have carried for it to be a flood, when nobody ended it.
const FLOOD: usize = 10_000;

impl Flooded {
    /// Whether it really was one: the peer has had enough of it, or it was long.
    fn happened(&self) -> bool {
        self.sent > 0 && (self.ended || self.sent >= FLOOD)
    }
}

/// How long a peer may take to end a connection whose flood is over.
const ANSWER: Duration = Duration::from_secs(1);

/// Writes until the peer has had enough or the time is over. `next` has the number of a fresh stream.
fn flood(port: u16, time: Duration, mut next: impl FnMut(u32) -> Vec<Vec<u8>>) -> Flooded {
    let mut flooded = Flooded { sent: 0, ended: false };
    let Ok(mut stream) = h2raw::connect(port) else { return flooded };
    let (begun, mut number) = (now(), 1);
    let mut reader = stream.try_clone().expect("a second handle");
    let listener = std::thread::spawn(move || {
        let begun = now();
        loop {
            let (kinds, closed) = h2raw::heard(&mut reader);
            if closed || kinds.contains(&h2raw::GOAWAY) {
                return true;
            }
            if now() - begun > time + ANSWER {
                return false;
            }
        }
    });
    while now() - begun < time && !listener.is_finished() {
        let frames: Vec<_> = (0..200).flat_map(|n| next(number + 2 * n)).collect();
        number += 400;
        if stream.write_all(&frames.concat()).is_err() {
            break;
        }
        flooded.sent += frames.len();
    }
    flooded.ended = listener.join().expect("ends");
    flooded
}

/// What came of connections, one after the other.
#[derive(Default)]
struct Floods {
    connections: usize,
    sent: usize,
    /// Whether one carried [a flood](FLOOD) and nobody ended it.
    kept: bool,
}

/// Floods until the time is over, on a new connection whenever the peer has had enough of the last.
fn flood_again(port: u16, time: Duration, next: impl Fn(u32) -> Vec<Vec<u8>>) -> Floods {
    let (begun, mut floods) = (now(), Floods::default());
    while let Some(left) = time.checked_sub(now() - begun).filter(|left| !left.is_zero()) {
        let Flooded { sent, ended } = flood(port, left, &next);
        floods.connections += usize::from(sent > 0);
        floods.sent += sent;
        floods.kept |= !ended && sent >= FLOOD;
    }
    floods
}

fn rapid_reset(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    let block = h2raw::export_headers();
    let one = |number: u32| {
        vec![
            frame(h2raw::HEADERS, h2raw::END_HEADERS, number, &block),
            frame(h2raw::RST_STREAM, 0, number, &8_u32.to_be_bytes()),
        ]
    };
    // What was before is not of interest.
    siege.load.p95();
    let cpu = siege.bench.agent.cpu();
    for (what, port) in [("gRPC", siege.bench.grpc), ("HTTP", siege.bench.http)] {
        let both = std::thread::scope(|threads| {
            let two = [(); 2].map(|()| threads.spawn(|| flood_again(port, Duration::from_secs(8), one)));
            two.map(|floods| floods.join().expect("ends"))
        });
        let resets = both.iter().map(|f| f.sent / 2).sum::<usize>();
        let connections: usize = both.iter().map(|f| f.connections).sum();
        outcome.fired &= both.iter().all(|floods| floods.sent >= FLOOD);
        outcome.see(format!("{what}: {resets} resets sent on {connections} connections"));
        outcome.require(!both.iter().any(|f| f.kept), format!("the resets are not answered over {what}"));
    }
    outcome.see(format!("{:.1} s CPU", (siege.bench.agent.cpu() - cpu).as_secs_f64()));
    let p95 = siege.load.p95();
    outcome
        .see(p95.map_or("no honest request".to_owned(), |t| format!("p95 {:.1} ms", t.as_secs_f64() * 1e3)));
    outcome.measure(p95.is_some_and(|t| t <= Duration::from_millis(50)), "honest requests are held up");
    siege.end(outcome, 32)
}

/// A kind of flood: its first frame, and what comes then.
struct Kinds {
    what: &'static str,
    first: Vec<u8>,
    next: fn(u32) -> Vec<u8>,
}

fn kinds() -> [Kinds; 8] {
    let call = |flags| frame(h2raw::HEADERS, flags, 1, &h2raw::export_headers());
    let flood = |what, first: Vec<u8>, next: fn(u32) -> Vec<u8>| Kinds { what, first, next };
    [
        flood("PING", Vec::new(), |_| frame(h2raw::PING, 0, 0, &[0; 8])),
        flood("SETTINGS", Vec::new(), |_| frame(h2raw::SETTINGS, 0, 0, &[])),
        flood("PRIORITY", Vec::new(), |number| frame(h2raw::PRIORITY, 0, number, &[0, 0, 0, 0, 16])),
        flood("WINDOW_UPDATE", Vec::new(), |_| frame(h2raw::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        flood("empty DATA", call(h2raw::END_HEADERS), |_| frame(h2raw::DATA, 0, 1, &[])),
        flood("DATA of padding", call(h2raw::END_HEADERS), |_| frame(h2raw::DATA, h2raw::PADDED, 1, &[0])),
        flood("CONTINUATION", call(0), |_| frame(h2raw::CONTINUATION, 0, 1, &[])),
        flood("open streams", Vec::new(), |number| {
            frame(h2raw::HEADERS, h2raw::END_HEADERS, number, &h2raw::export_headers())
        }),
    ]
}

fn floods(kind: Kind) -> Outcome {
    let (mut outcome, siege) = begin(kind);
    for (port_name, port) in [("gRPC", siege.bench.grpc), ("HTTP", siege.bench.http)] {
        let (mut kept, mut sent) = (Vec::new(), 0);
        for Kinds { what, first, next } in kinds() {
            let mut begun = false;
            let flooded = flood(port, Duration::from_secs(3), |number| {
                let first = (!std::mem::replace(&mut begun, true)).then(|| first.clone());
                first.into_iter().filter(|frame| !frame.is_empty()).chain([next(number)]).collect()
            });
            outcome.fired &= flooded.happened();
            sent += flooded.sent;
            if !flooded.ended {
                kept.push(what);
            }
            outcome.require(flooded.ended, format!("a flood of {what} over {port_name} is not answered"));
        }
        let kept =
            if kept.is_empty() { "all ended".to_owned() } else { format!("not ended: {}", kept.join(", ")) };
        outcome.see(format!("{port_name}: {kept}; {sent} frames"));
    }
    siege.end(outcome, 32)
}
