use super::*;
use crate::events::{Snapshot, Totals};
use crate::publish::Ending;

const SECOND: u64 = 1_000_000_000;
/// An hour, for a process whose clock is that far off.
const HOUR: u64 = 3600 * SECOND;

fn info() -> ProcessInfo {
    let key = ProcessKey { host: "h".into(), pid: 7, start_ticks: 1, instance: String::new() };
    ProcessInfo { key, service: "checkout".into(), ..ProcessInfo::default() }
}

fn client(id: u64, begin: u64) -> Client {
    let site = CodeSite { file: "orders.go".into(), line: 41, function: "dialOrders".into() };
    Client { id, begin, active: begin, target: "dns:///h:1".into(), site, ..Client::default() }
}

fn connection(id: u64, begin: u64) -> Connection {
    let peer = "127.0.0.1:50051".parse().ok();
    let local = format!("127.0.0.1:{}", 40_000 + id).parse().ok();
    Connection {
        id,
        side: Side::Client,
        begin,
        active: begin,
        rpcs: 1,
        open_rpcs: 0,
        client: id,
        local,
        peer,
        cookie: 0,
        setup: 0,
    }
}

fn snapshot(id: u64, time: u64, clients: Vec<Client>, connections: Vec<Connection>) -> Event {
    let totals = Totals { client_rpcs: 9, ..Totals::default() };
    let head = Snapshot { id, part: 1, parts: 1, time, interval: 2.0, totals, ..Snapshot::default() };
    Event::Snapshot(Snapshot { clients, connections, ..head })
}

fn series(table: &ConnectionTable, now: u64, resource: &str) -> SeriesPoint {
    let measured = table.measure(&info().key, now).expect("it is known");
    measured.series.into_iter().find(|s| s.resource == resource).unwrap_or_default()
}

#[test]
fn clients_and_connections_are_counted_by_age_and_site() {
    let table = ConnectionTable::default();
    let events = (1..=4).flat_map(|i| {
        let begin = i * SECOND;
        [Event::ClientCreated(client(i, begin)), Event::Begin(connection(i, begin))]
    });
    table.apply(&info(), 0, 4 * SECOND, events.collect());
    table.apply(
        &info(),
        0,
        5 * SECOND,
        vec![Event::End { id: 1, time: 5 * SECOND, reason: String::new(), rpcs: 1 }],
    );
    let clients = series(&table, 7 * SECOND, GRPC_CLIENT);
    assert_eq!((clients.open, clients.opened, clients.closed), (4, Some(4), Some(0)));
    assert_eq!(clients.target, "h:1");
    assert_eq!(clients.older.map(|o| o[..3].to_vec()), Some(vec![4, 2, 0]));
    assert_eq!(clients.by_site, vec![(client(1, 0).site, 4, "events")]);
    let connections = series(&table, 7 * SECOND, GRPC_CONNECTION);
    assert_eq!((connections.open, connections.closed), (3, Some(1)));
    assert_eq!(connections.lifetimes.map(|l| l.buckets[1]), Some(1), "it lived 4 s");
}

#[test]
fn idle_time_is_what_the_last_snapshot_shows() {
    let table = ConnectionTable::default();
    let used = Client { active: 9 * SECOND, rpcs: 50, ..client(1, SECOND) };
    let unused = Client { active: 2 * SECOND, rpcs: 1, ..client(2, SECOND) };
    table.apply(&info(), 0, 10 * SECOND, vec![snapshot(1, 10 * SECOND, vec![used, unused], vec![])]);
    let clients = series(&table, 30 * SECOND, GRPC_CLIENT);
    assert_eq!(clients.idle.map(|i| i[..3].to_vec()), Some(vec![2, 1, 0]));
    assert_eq!(clients.unused, Some(1));
}

#[test]
fn a_lost_end_is_noticed_by_the_next_snapshot() {
    let table = ConnectionTable::default();
    let begin = |i| Event::Begin(connection(i, i * SECOND));
    table.apply(
        &info(),
        0,
        3 * SECOND,
        vec![snapshot(1, SECOND / 2, vec![], vec![]), begin(1), begin(2), begin(3)],
    );
    let still = vec![connection(2, 2 * SECOND)];
    table.apply(&info(), 0, 5 * SECOND, vec![snapshot(2, 4 * SECOND, vec![], still)]);
    let connections = series(&table, 5 * SECOND, GRPC_CONNECTION);
    assert_eq!((connections.open, connections.opened, connections.closed), (1, Some(3), Some(2)));
    assert_eq!(table.measure(&info().key, 5 * SECOND).map(|m| m.process.lost), Some(Some(2)));
}

#[test]
fn a_lost_begin_is_noticed_too_but_not_what_was_open_before_the_agent() {
    let table = ConnectionTable::default();
    let open = |n: u64| (1..=n).map(|i| connection(i, i)).collect::<Vec<_>>();
    table.apply(&info(), 0, SECOND, vec![snapshot(1, SECOND, vec![], open(3))]);
    assert_eq!(table.measure(&info().key, SECOND).map(|m| m.process.lost), Some(Some(0)));
    table.apply(&info(), 0, 3 * SECOND, vec![snapshot(2, 3 * SECOND, vec![], open(4))]);
    assert_eq!(table.measure(&info().key, 3 * SECOND).map(|m| m.process.lost), Some(Some(1)));
    assert_eq!(series(&table, 3 * SECOND, GRPC_CONNECTION).open, 4);
}

#[test]
fn a_snapshot_in_parts_removes_nothing_before_it_is_complete() {
    let table = ConnectionTable::default();
    table.apply(&info(), 0, SECOND, (1..=3).map(|i| Event::Begin(connection(i, i))).collect());
    let part = |part, connections| {
        Event::Snapshot(Snapshot {
            id: 1,
            part,
            parts: 2,
            time: SECOND,
            interval: 2.0,
            connections,
            ..Snapshot::default()
        })
    };
    table.apply(&info(), 0, SECOND, vec![part(2, vec![connection(3, 3)])]);
    assert_eq!(series(&table, SECOND, GRPC_CONNECTION).open, 3);
    table.apply(&info(), 0, SECOND, vec![part(1, vec![connection(1, 1)])]);
    assert_eq!(series(&table, SECOND, GRPC_CONNECTION).open, 2);
}

#[test]
fn a_clock_that_is_an_hour_off_does_not_make_connections_old() {
    for skewed in [HOUR + HOUR, 0] {
        let table = ConnectionTable::default();
        let (now, process_now) = (HOUR, skewed.max(SECOND));
        table.apply(&info(), process_now, now, vec![Event::ClientCreated(client(1, process_now))]);
        let clients = series(&table, now + 3 * SECOND, GRPC_CLIENT);
        assert_eq!(clients.older.map(|o| o[..2].to_vec()), Some(vec![1, 0]), "clock at {skewed}");
    }
}

#[test]
fn a_process_that_is_gone_is_forgotten_and_one_that_returns_starts_anew() {
    let table = ConnectionTable::default();
    table.apply(&info(), 0, SECOND, vec![snapshot(1, SECOND, vec![client(1, 1)], vec![])]);
    assert!(table.expire(20 * SECOND).is_empty());
    assert_eq!(table.expire(40 * SECOND), vec![Gone { info: info(), first_seen: SECOND, ending: None }]);
    assert!(table.measure(&info().key, 40 * SECOND).is_none());
    let mut again = info();
    again.key.start_ticks = 99;
    table.apply(&again, 0, 41 * SECOND, vec![Event::ClientCreated(client(1, 41 * SECOND))]);
    let measured = table.measure(&again.key, 41 * SECOND).expect("it is known");
    assert_eq!(measured.series[0].opened, Some(1));
}

#[test]
fn of_a_process_that_exited_it_is_said_once_and_its_late_events_are_passed_over() {
    let table = ConnectionTable::default();
    table.apply(&info(), 0, SECOND, vec![snapshot(1, SECOND, vec![client(1, 1)], vec![])]);
    table.exited([info().key].iter());
    table.apply(&info(), 0, 2 * SECOND, vec![snapshot(2, SECOND, vec![client(1, 1)], vec![])]);
    table.put_sockets(&info(), 2 * SECOND, std::iter::empty());
    assert!(table.measure(&info().key, 2 * SECOND).is_none());
    let exited = Gone { info: info(), first_seen: SECOND, ending: Some(Ending::Exited) };
    assert_eq!(table.expire(2 * SECOND), vec![exited]);
    assert_eq!(table.expire(2 * SECOND), vec![]);
    assert_eq!(table.info(&info().key), Some(info()), "its name is still known");
    assert_eq!(table.find(&info().key.host, info().key.pid, ""), Some(info().key));
}

#[test]
fn a_module_that_was_stopped_is_let_go_of_and_one_that_is_started_again_returns() {
    let table = ConnectionTable::default();
    let mut last = snapshot(1, SECOND, vec![client(1, 1)], vec![]);
    if let Event::Snapshot(snapshot) = &mut last {
        snapshot.last = true;
    }
    table.apply(&info(), 0, SECOND, vec![last]);
    let stopped = Gone { info: info(), first_seen: SECOND, ending: Some(Ending::Stopped) };
    assert_eq!(table.expire(2 * SECOND), vec![stopped]);
    table.apply(&info(), 0, 3 * SECOND, vec![snapshot(2, 3 * SECOND, vec![client(1, 1)], vec![])]);
    assert_eq!(series(&table, 3 * SECOND, GRPC_CLIENT).open, 1);
    assert_eq!(table.expire(4 * SECOND), vec![]);
}

/// Instances of one service, started one after the other in a container.
fn instance(start_ticks: i64) -> ProcessInfo {
    let key = ProcessKey { host: "pod".into(), pid: 1, start_ticks, ..ProcessKey::default() };
    ProcessInfo { key, service: "checkout".into(), ..ProcessInfo::default() }
}

#[test]
fn a_process_that_fell_silent_is_replaced_when_its_service_runs_again_under_its_pid_however_late() {
    for restart in [2, 35, 300] {
        let table = ConnectionTable::default();
        let speak = |info: &ProcessInfo, second: u64| {
            table.apply(info, 0, second * SECOND, vec![Event::ClientCreated(client(1, SECOND))]);
        };
        speak(&instance(7), 1);
        let mut words = Vec::new();
        for second in 1..400 {
            if second >= restart && second % 10 == restart % 10 {
                speak(&instance(8), second);
            }
            words.extend(table.expire(second * SECOND).into_iter().map(|gone| (second, gone)));
        }
        let of_the_first = |ending| Gone { info: instance(7), first_seen: SECOND, ending };
        let expected = [(31, of_the_first(None)), (restart.max(31), of_the_first(Some(Ending::Replaced)))];
        assert_eq!(words, expected, "started again at {restart} s");
    }
}

#[test]
fn who_shares_pid_and_host_with_another_is_not_replaced_by_it() {
    let other_service = ProcessInfo { service: "sidecar".into(), ..instance(8) };
    let mut other_host = instance(8);
    other_host.key.host = "pod-2".into();
    // Containers that share the name of their host: this one was heard after the other one had come.
    let beside = instance(8);
    let unknown = ProcessInfo { service: String::new(), ..instance(8) };
    for (other, heard_last) in [(other_service, 1), (other_host, 1), (unknown, 1), (beside, 9)] {
        let table = ConnectionTable::default();
        let speak = |info: &ProcessInfo, second: u64| {
            table.apply(info, 0, second * SECOND, vec![Event::ClientCreated(client(1, SECOND))]);
        };
        speak(&instance(7), 1);
        speak(&other, 5);
        speak(&instance(7), heard_last);
        speak(&other, 40);
        let endings: Vec<_> = table.expire(60 * SECOND).into_iter().map(|gone| gone.ending).collect();
        assert_eq!(endings, [None], "{other:?}");
        // It only could not reach the agent.
        speak(&instance(7), 61);
        assert_eq!(table.expire(62 * SECOND), []);
        assert!(table.measure(&instance(7).key, 62 * SECOND).is_some());
    }
}

/// Instances of one service that run at the same time on a host: the containers share the name, each has its own pids.
fn replica(host: usize, start_ticks: i64) -> ProcessInfo {
    let mut info = instance(start_ticks);
    info.key.host = format!("node-{host}");
    info
}

#[test]
fn replicas_that_come_back_one_after_the_other_when_the_agent_was_unreachable_are_not_replaced() {
    // More than exit at once.
    const HOSTS: usize = 400;
    for seen_first_by in ["events", "sockets", "stacks"] {
        let table = ConnectionTable::default();
        let all_speak = |start_ticks: i64, second: u64| {
            for info in (0..HOSTS).map(|host| replica(host, start_ticks)) {
                table.apply(&info, 0, second * SECOND, vec![Event::ClientCreated(client(1, SECOND))]);
            }
        };
        all_speak(7, 1);
        all_speak(8, 2);
        all_speak(7, 3);
        assert_eq!(table.expire(90 * SECOND).len(), 2 * HOSTS);
        for info in (0..HOSTS).map(|host| replica(host, 8)) {
            match seen_first_by {
                "sockets" => table.put_sockets(&info, 99 * SECOND, std::iter::empty()),
                "stacks" => table.put_stacks(&info, 99 * SECOND, Vec::new()),
                _ => {}
            }
        }
        all_speak(8, 100);
        assert_eq!(table.expire(101 * SECOND), [], "seen first by {seen_first_by}");
        all_speak(7, 110);
        assert_eq!(table.expire(135 * SECOND).len(), HOSTS, "the others are silent again");
        all_speak(7, 136);
        assert_eq!(table.expire(137 * SECOND), [], "they were there before");
        let counted = table.measure(&replica(0, 7).key, 137 * SECOND).expect("it is known");
        assert_eq!(counted.first_seen, 110 * SECOND, "its totals began anew");
        all_speak(9, 138);
        let replaced = table.expire(138 * SECOND);
        assert!(replaced.len() == HOSTS && replaced.iter().all(|gone| gone.ending == Some(Ending::Replaced)));
        assert!(replaced.iter().all(|gone| gone.info.key.start_ticks == 8));
    }
}

#[test]
fn who_speaks_again_and_finds_no_room_is_not_replaced_by_who_came_meanwhile() {
    let table = ConnectionTable::default();
    let speak = |info: &ProcessInfo, second: u64| {
        table.apply(info, 0, second * SECOND, vec![Event::ClientCreated(client(1, SECOND))]);
    };
    speak(&instance(7), 1);
    assert_eq!(table.expire(40 * SECOND).len(), 1);
    (1..MAX_PROCESSES).for_each(|other| speak(&replica(other, 1), 41));
    speak(&instance(8), 41);
    assert_eq!(table.processes(), MAX_PROCESSES);
    speak(&instance(7), 42);
    assert_eq!((table.unwatched(), table.expire(43 * SECOND)), (1, vec![]));
}

#[test]
fn an_end_without_begin_and_a_begin_told_twice_change_nothing() {
    let table = ConnectionTable::default();
    let end = Event::End { id: 5, time: 1, reason: String::new(), rpcs: 0 };
    assert!(table.apply(&info(), 0, 1, vec![end]).is_empty());
    let begin = || Event::Begin(connection(1, 1));
    assert_eq!(table.apply(&info(), 0, 1, vec![begin(), begin()]).len(), 1);
    assert_eq!(series(&table, 1, GRPC_CONNECTION).opened, Some(1));
}

#[test]
fn exemplars_are_the_longest_idle_with_what_the_kernel_says_of_them() {
    let table = ConnectionTable::default();
    let open: Vec<_> = (1..=30).map(|i| connection(i, i * SECOND)).collect();
    table.apply(&info(), 0, 40 * SECOND, vec![snapshot(1, 40 * SECOND, vec![], open)]);
    let pair = ("127.0.0.1:40001".parse().expect("address"), "127.0.0.1:50051".parse().expect("address"));
    let fact =
        |cookie| SocketFact { cookie, state: "established".into(), idle: 38.5, sent: 300, received: 200 };
    table.put_sockets(&info(), 40 * SECOND, [(pair, fact(8))].into_iter());
    let exemplars = table.exemplars(&info().key, GRPC_CONNECTION, "127.0.0.1:50051", 40 * SECOND);
    assert_eq!(exemplars.len(), MAX_EXEMPLARS);
    assert_eq!(
        (exemplars[0].id.as_str(), exemplars[0].idle, exemplars[0].bytes_sent),
        ("1", 38.5, Some(300))
    );
    assert_eq!(exemplars[0].trace_id.len(), 32);
    assert!(table.exemplars(&info().key, GRPC_CONNECTION, "elsewhere:1", 0).is_empty());
    // Another socket has its addresses now.
    let other = ConnectionTable::default();
    let begun = Connection { cookie: 9, ..connection(1, SECOND) };
    other.apply(&info(), 0, 40 * SECOND, vec![Event::Begin(begun)]);
    for (cookie, bytes) in [(8, None), (9, Some(300)), (0, Some(300))] {
        other.put_sockets(&info(), 40 * SECOND, [(pair, fact(cookie))].into_iter());
        let exemplars = other.exemplars(&info().key, GRPC_CONNECTION, "127.0.0.1:50051", 40 * SECOND);
        assert_eq!(exemplars[0].bytes_sent, bytes, "{cookie}");
    }
}

#[test]
fn what_ended_is_remembered_for_the_kernel_once_somebody_looks_at_the_sockets() {
    let table = ConnectionTable::default();
    let live = |id: u64, time: u64| {
        let end = Event::End { id, time, reason: String::new(), rpcs: 1 };
        let events = vec![
            Event::ClientCreated(client(id, SECOND)),
            Event::Begin(connection(id, SECOND)),
            Event::ClientClosed { id, time, collected: false },
            end,
        ];
        table.apply(&info(), 0, time, events);
    };
    live(1, 2 * SECOND);
    assert_eq!(table.ended(), [], "nobody looks");
    table.put_sockets(&info(), 2 * SECOND, std::iter::empty());
    (2..=4).for_each(|id| live(id, (id + 1) * SECOND));
    let ports = |table: &ConnectionTable| table.ended().iter().map(|e| e.local.port()).collect::<Vec<_>>();
    assert_eq!(ports(&table), [40_002, 40_003, 40_004]);
    assert_eq!(table.ended()[0].site.line, 41, "although its client is gone");
    // The kernel was asked at 5 s, when the last one had not ended, and shows the second.
    table.forget_ended(5 * SECOND, |local, _| local.port() == 40_003);
    assert_eq!(ports(&table), [40_003, 40_004]);
    (5..2000).for_each(|id| live(id, 7 * SECOND));
    assert_eq!(table.ended().len(), MAX_ENDED);
}

#[test]
fn an_end_whose_begin_never_came_is_a_lost_event_and_one_that_comes_twice_is_not() {
    let table = ConnectionTable::default();
    let end = |id| Event::End { id, time: 3 * SECOND, reason: String::new(), rpcs: 1 };
    let closed = |id| Event::ClientClosed { id, time: 3 * SECOND, collected: false };
    let lost = |events| {
        table.apply(&info(), 0, 3 * SECOND, events);
        table.lost(&info().key)
    };
    assert_eq!(lost(vec![end(8), closed(8)]), 0, "it may have begun before anybody listened");
    assert_eq!(lost(vec![snapshot(1, SECOND, vec![client(1, 0)], vec![connection(1, 0)])]), 0);
    assert_eq!(lost(vec![closed(1), end(1), closed(1), end(1)]), 0);
    assert_eq!(lost(vec![closed(9), end(9)]), 2);
}

#[test]
fn the_callers_of_a_line_are_counted_by_the_clients_that_are_open() {
    let stack = |caller: i64| format!("dialOrders\n\torders.go:41\nmain.f{caller}\n\tmain.go:{caller}\n");
    let by = |id: u64, stack_id: u64, stack: String| Client { stack_id, stack, ..client(id, SECOND) };
    let is = |site: &CodeSite| site.line == 41;
    let told = ConnectionTable::default();
    let created =
        [by(1, 1, stack(80)), by(2, 2, stack(90)), by(3, 2, String::new()), by(4, 2, String::new())];
    told.apply(&info(), 0, SECOND, created.map(Event::ClientCreated).to_vec());
    // An agent that came later knows them from a snapshot.
    let late = ConnectionTable::default();
    let mut all = snapshot(1, SECOND, (1..=4).map(|id| by(id, id.min(2), String::new())).collect(), vec![]);
    if let Event::Snapshot(snapshot) = &mut all {
        snapshot.stacks = vec![(1, stack(80)), (2, stack(90))];
    }
    late.apply(&info(), 0, SECOND, vec![all]);
    for table in [&told, &late] {
        let callers = table.callers(&info().key, is).expect("callers").callers;
        let lines: Vec<_> = callers.iter().map(|(site, share)| (site.line, *share)).collect();
        assert_eq!(lines, [(90, 0.75), (80, 0.25)]);
        assert_eq!(table.callers(&info().key, |site| site.line == 1), None);
    }
}

#[test]
fn streams_are_counted_by_the_lines_that_opened_them() {
    let table = ConnectionTable::default();
    let site = |line| CodeSite { file: "watch.go".into(), line, function: "watch".into() };
    let with = |id: u64, streams: Vec<(CodeSite, u64)>| {
        let open_rpcs = streams.iter().map(|(_, open)| open).sum();
        snapshot(id, id * SECOND, vec![Client { streams, open_rpcs, ..client(1, 0) }], vec![])
    };
    table.apply(&info(), 0, SECOND, vec![with(1, vec![(site(7), 3), (site(9), 30)])]);
    let streams = series(&table, SECOND, GRPC_STREAM);
    let by_line: Vec<_> = streams.by_site.iter().map(|(site, open, how)| (site.line, *open, *how)).collect();
    assert_eq!((streams.open, by_line), (33, vec![(9, 30, "events"), (7, 3, "events")]));
    table.apply(&info(), 0, 2 * SECOND, vec![with(2, Vec::new())]);
    assert_eq!(series(&table, 2 * SECOND, GRPC_STREAM).by_site, []);
}
