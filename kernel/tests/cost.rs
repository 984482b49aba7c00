//! What dumps, walks and samples cost. Ignored: it measures, it does not judge. Run with
//! `cargo test --release -p weir-kernel --test cost -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "functions that tests share")]
#![expect(clippy::disallowed_methods, reason = "measures the machine, not a pipeline")]

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use weir_kernel::{
    Dumper, Family, ProcFs, Query, Sampler, Selector, Settings, SocketSource, States, TcpState,
};

/// Connections, each two sockets of this process; 20 000 descriptors are a common limit.
const CONNECTIONS: usize = 9_500;
const ROUNDS: u32 = 20;

fn best<T>(mut work: impl FnMut() -> T) -> Duration {
    let timed = || {
        let start = Instant::now();
        let done = work();
        let elapsed = start.elapsed();
        drop(done);
        elapsed
    };
    std::iter::repeat_with(timed).take(ROUNDS as usize).min().unwrap()
}

#[test]
#[ignore = "measures"]
fn cost_of_each_part_with_19_000_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held: Vec<(TcpStream, TcpStream)> = (0..CONNECTIONS)
        .map(|_| (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0))
        .collect();
    let sockets = 2 * held.len();
    let say = |what: &str, time: Duration| {
        println!("{what:<44} {time:>12.2?} {:>8.0} ns/socket", time.as_nanos() as f64 / sockets as f64);
    };

    let mut dumper = Dumper::open().unwrap();
    let mut dump = |query: Query| {
        let mut count = 0_usize;
        dumper.dump(&query, &mut |_| count += 1).unwrap();
        count
    };
    assert!(dump(Query::all(Family::V4)) >= sockets);
    say("dump with counters", best(|| dump(Query::all(Family::V4))));
    say("dump without counters", best(|| dump(Query { info: false, ..Query::all(Family::V4) })));
    let close_wait = Query { states: States::of(&[TcpState::CloseWait]), ..Query::all(Family::V4) };
    say("dump of CLOSE-WAIT only (none)", best(|| dump(close_wait)));

    let proc = ProcFs::default();
    say("walk of the descriptors", best(|| proc.socket_inodes(std::process::id(), &mut |_| {}).unwrap()));

    let selectors = vec![Selector { pid: Some(std::process::id()), ..Selector::default() }];
    let mut sampler =
        Sampler::new(Settings { selectors, ..Settings::default() }, Dumper::open().unwrap(), proc);
    let start = Instant::now();
    let first = sampler.sample(1_000_000_000).unwrap();
    say("first sample (walks)", start.elapsed());
    assert!(first.report.followed as usize >= sockets);
    let mut now_ns = 1_000_000_000;
    let sample = best(|| {
        now_ns += 5_000_000_000;
        sampler.sample(now_ns).unwrap()
    });
    say("later sample", sample);

    let mut more = Vec::new();
    let sample = best(|| {
        more.push((TcpStream::connect(address).unwrap(), listener.accept().unwrap().0));
        now_ns += 5_000_000_000;
        let sample = sampler.sample(now_ns).unwrap();
        assert_eq!(sample.report.walks, 1);
        sample
    });
    say("later sample with a new connection (walks)", sample);
}
