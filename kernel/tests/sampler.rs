//! Samples of this process by the running kernel. Time is made up: only its differences count.
#![expect(clippy::unwrap_used, reason = "functions that tests share")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_kernel::{
    Dumper, Notice, ProcFs, Resource, Sample, Sampler, Selector, SeriesSample, Settings, Side, Target,
    TcpState,
};

const SECOND: u64 = 1_000_000_000;

/// All watch this one process: what one test closes must not be in the sample of another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sampler() -> Sampler<Dumper> {
    let selectors = vec![Selector { pid: Some(std::process::id()), ..Selector::default() }];
    let settings = Settings { selectors, max_targets: 1000, ..Settings::default() };
    Sampler::new(settings, Dumper::open().unwrap(), ProcFs::default())
}

fn series(sample: &Sample, resource: Resource, side: Side, listener: &TcpListener) -> Option<SeriesSample> {
    let target = Target::Address(listener.local_addr().unwrap());
    let wanted = |series: &&SeriesSample| {
        series.resource == resource && series.side == side && series.target == target
    };
    sample.processes[0].series.iter().find(wanted).cloned()
}

fn connect(listener: &TcpListener, count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let address = listener.local_addr().unwrap();
    (0..count).map(|_| (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0)).unzip()
}

#[test]
fn connections_of_both_sides_are_counted_opened_used_and_closed() {
    let _alone = alone();
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(listen).unwrap();
        let mut sampler = sampler();
        let first = sampler.sample(100 * SECOND).unwrap();
        assert!(series(&first, Resource::Socket, Side::Client, &listener).is_none());

        let (mut clients, mut servers) = connect(&listener, 7);
        let sample = sampler.sample(105 * SECOND).unwrap();
        for side in [Side::Client, Side::Server] {
            let series = series(&sample, Resource::Socket, side, &listener).unwrap();
            assert_eq!((series.open, series.opened, series.closed), (7, 7, 0));
            assert_eq!((series.states.get(TcpState::Established), series.age_is_bound), (7, 0));
        }

        clients[0].write_all(&[1; 5000]).unwrap();
        servers[0].read_exact(&mut [0; 5000]).unwrap();
        clients.truncate(4);
        servers.truncate(4);
        let sample = sampler.sample(400 * SECOND).unwrap();
        let client = series(&sample, Resource::Socket, Side::Client, &listener).unwrap();
        assert_eq!((client.open, client.opened, client.closed, client.lifetimes.count()), (4, 7, 3, 3));
        // At least 295 s old; one of them was used in the last interval, the others never.
        assert_eq!((client.older[5], client.idle[5]), (4, 3));
        assert_eq!(client.exemplars.len(), 3);
        let exemplar = &client.exemplars[0];
        let matching = clients.iter().filter(|stream| stream.local_addr().unwrap() == exemplar.local);
        assert_eq!(matching.map(|stream| stream.peer_addr().unwrap()).collect::<Vec<_>>(), [exemplar.peer]);
    }
}

#[test]
fn a_socket_that_a_duplicate_holds_is_found_by_its_addresses() {
    let _alone = alone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sampler = sampler();
    sampler.sample(100 * SECOND).unwrap();
    let (mut clients, _servers) = connect(&listener, 3);
    sampler.sample(105 * SECOND).unwrap();
    let pair = |stream: &TcpStream| (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let wanted: HashSet<_> = clients.iter().take(2).map(pair).collect();
    let held = clients[1].try_clone().unwrap();
    clients.clear();
    sampler.sample(165 * SECOND).unwrap();
    let found = sampler.established(&wanted);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [pair(&held)]);
    assert!(found.values().all(|age| (60 * SECOND..=65 * SECOND).contains(age)), "{found:?}");
}

#[test]
fn connections_whose_peer_closed_pass_to_close_wait() {
    let _alone = alone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sampler = sampler();
    sampler.sample(100 * SECOND).unwrap();
    let (mut clients, servers) = connect(&listener, 3);
    sampler.sample(105 * SECOND).unwrap();
    drop(servers);
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
    let sample = sampler.sample(110 * SECOND).unwrap();
    let socket = series(&sample, Resource::Socket, Side::Client, &listener).unwrap();
    assert_eq!((socket.open, socket.opened, socket.closed), (0, 3, 3));
    let close_wait = series(&sample, Resource::CloseWait, Side::Client, &listener).unwrap();
    assert_eq!((close_wait.open, close_wait.states.get(TcpState::CloseWait)), (3, 3));
    let sample = sampler.sample(300 * SECOND).unwrap();
    let close_wait = series(&sample, Resource::CloseWait, Side::Client, &listener).unwrap();
    assert_eq!((close_wait.older[5], close_wait.exemplars.len()), (3, 3));
    drop(clients);
    let sample = sampler.sample(305 * SECOND).unwrap();
    assert_eq!(series(&sample, Resource::CloseWait, Side::Client, &listener).unwrap().closed, 3);
}

#[test]
fn connections_that_were_there_at_the_first_sample_have_a_bound_for_their_age() {
    let _alone = alone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_clients, _servers) = connect(&listener, 2);
    let sample = sampler().sample(1_000_000 * SECOND).unwrap();
    let client = series(&sample, Resource::Socket, Side::Client, &listener).unwrap();
    assert_eq!((client.open, client.age_is_bound, client.unused), (2, 2, 0));
    // Made a moment ago: nothing on them is as old as a day, whatever the made-up clock says.
    assert_eq!(client.older[14], 0);
}

#[test]
fn a_sample_has_the_limits_of_the_process_and_says_that_it_is_watched() {
    let _alone = alone();
    let sample = sampler().sample(SECOND).unwrap();
    let process = &sample.processes[0];
    assert_eq!(process.process.pid, std::process::id());
    assert!(process.metrics.descriptors.unwrap() > 2 && process.metrics.memory_limit_bytes.unwrap() > 0);
    let Notice::Matching(report) = &sample.notices[0] else {
        unreachable!("the only selector's report comes first")
    };
    assert_eq!((report.matched, report.watched, report.is_warning()), (1, 1, false));
}
