//! Whole samples of a made-up kernel and `/proc`, on made-up time.

use super::*;
use crate::fake_proc::FakeProc;
use crate::series::{Resource, SeriesSample, Side, Target};
use crate::tcp_info::TcpInfo;
use crate::test_socket::{SECOND, socket};
use std::cell::RefCell;
use std::rc::Rc;

/// Lists what it holds; clones share it.
#[derive(Clone, Default)]
struct Kernel {
    sockets: Rc<RefCell<Vec<Socket>>>,
    next: Rc<RefCell<DumpReport>>,
    without_v6: bool,
}

impl Kernel {
    fn set(&self, sockets: impl IntoIterator<Item = Socket>) {
        *self.sockets.borrow_mut() = sockets.into_iter().collect();
    }

    fn partial(&self, partial: bool) {
        *self.next.borrow_mut() = DumpReport { partial, ..DumpReport::default() };
    }
}

impl SocketSource for Kernel {
    fn dump(&mut self, query: &Query, each: &mut dyn FnMut(&Socket)) -> Result<DumpReport, DiagError> {
        if self.without_v6 && query.family == Family::V6 {
            return Err(DiagError::ModuleMissing { family: "IPv6" });
        }
        let listening = query.states == States::of(&[TcpState::Listen]);
        let mut report = *self.next.borrow();
        for socket in self.sockets.borrow().iter() {
            if socket.family == query.family && (socket.state == TcpState::Listen) == listening {
                report.sockets += 1;
                each(socket);
            }
        }
        Ok(report)
    }
}

struct World {
    fake: FakeProc,
    kernel: Kernel,
    sampler: Sampler<Kernel>,
}

const PID: u32 = 10;
/// Uptime of the made-up machine; its processes start at 1 s.
const UPTIME: u64 = 10_000;

/// A process "checkout" whose descriptors refer to the sockets 100 to 199.
fn world(settings: Settings) -> World {
    let fake = FakeProc::new();
    fake.file("uptime", &format!("{UPTIME}.00 0.00\n"));
    fake.process(PID, "checkout", 100);
    (100..200).for_each(|inode| fake.descriptor(PID, inode, &format!("socket:[{inode}]")));
    let selectors = vec![Selector { name: Some("checkout".into()), ..Selector::default() }];
    let kernel = Kernel::default();
    let sampler = Sampler::new(Settings { selectors, ..settings }, kernel.clone(), fake.proc());
    World { fake, kernel, sampler }
}

fn established(number: u16) -> Socket {
    let info = TcpInfo {
        bytes_received: Some(100),
        bytes_sent: Some(100),
        bytes_retrans: Some(0),
        ..TcpInfo::default()
    };
    Socket { info: Some(info), ..socket(number, TcpState::Established) }
}

fn series(sample: &Sample, resource: Resource) -> SeriesSample {
    let process = sample.processes.iter().find(|process| process.process.pid == PID).unwrap();
    process.series.iter().find(|series| series.resource == resource).unwrap().clone()
}

#[test]
fn a_leak_grows_by_what_is_opened_and_its_sockets_age_unused() {
    let mut world = world(Settings::default());
    world.sampler.sample(100 * SECOND).unwrap();
    let mut last = None;
    for round in 1..=10_u16 {
        world.kernel.set((100..100 + round).map(established));
        last = Some(world.sampler.sample((100 + 5 * u64::from(round)) * SECOND).unwrap());
    }
    let series = series(&last.unwrap(), Resource::Socket);
    assert_eq!((series.side, series.target.to_string().as_str()), (Side::Client, "10.0.0.1:443"));
    assert_eq!((series.open, series.opened, series.closed), (10, 10, 0));
    // The ages are 0, 5, ... 45 s.
    assert_eq!(
        (series.older[0], series.older[1], series.older[2], series.older[3], series.older[4]),
        (9, 9, 8, 4, 0)
    );
    assert_eq!(series.idle, series.older);
    assert_eq!(series.unused, 9);
    assert_eq!((series.age_is_bound, series.states.get(TcpState::Established)), (0, 10));
    assert_eq!(series.exemplars.len(), 9);
    assert_eq!((series.exemplars[0].cookie, series.exemplars[0].age_ns), (100, 45 * SECOND));
    assert_eq!((series.exemplars[0].sent_bytes, series.exemplars[0].received_bytes), (100, 100));
}

#[test]
fn what_is_closed_is_counted_with_its_lifetime() {
    let mut world = world(Settings::default());
    world.sampler.sample(100 * SECOND).unwrap();
    world.kernel.set([100, 101].map(established));
    world.sampler.sample(110 * SECOND).unwrap();
    world.kernel.set([established(100)]);
    let series = series(&world.sampler.sample(120 * SECOND).unwrap(), Resource::Socket);
    assert_eq!((series.open, series.opened, series.closed), (1, 2, 1));
    assert_eq!((series.lifetimes.count(), series.lifetimes.sum_seconds), (1, 5.0));
}

#[test]
fn sockets_of_other_processes_are_not_counted_and_cost_two_walks() {
    let mut world = world(Settings::default());
    world.kernel.set((190..210).map(established));
    let first = world.sampler.sample(SECOND).unwrap();
    assert_eq!((series(&first, Resource::Socket).open, first.report.walks), (10, 2));
    assert_eq!((first.report.followed, first.report.sockets), (10, 20));
    let second = world.sampler.sample(2 * SECOND).unwrap();
    assert_eq!((series(&second, Resource::Socket).open, second.report.walks), (10, 1));
    assert_eq!(world.sampler.sample(3 * SECOND).unwrap().report.walks, 0);
    world.kernel.set((190..211).map(established));
    let walks = [4, 5, 6].map(|at| world.sampler.sample(at * SECOND).unwrap().report.walks);
    assert_eq!(walks, [1, 1, 0]);
}

#[test]
fn a_descriptor_that_is_used_again_for_another_socket_is_read_again() {
    let mut world = world(Settings::default());
    world.kernel.set([100, 101].map(established));
    world.sampler.sample(SECOND).unwrap();
    world.fake.remove_descriptor(PID, 100);
    world.fake.descriptor(PID, 100, "socket:[300]");
    world.kernel.set([101, 300].map(established));
    let sample = world.sampler.sample(2 * SECOND).unwrap();
    let series = series(&sample, Resource::Socket);
    assert_eq!((sample.report.walks, series.open, series.opened, series.closed), (1, 2, 3, 1));
}

#[test]
fn a_descriptor_used_again_is_read_again_though_a_duplicate_keeps_its_first_socket_alive() {
    let mut world = world(Settings::default());
    world.kernel.set([100].map(established));
    world.sampler.sample(SECOND).unwrap();
    world.fake.remove_descriptor(PID, 100);
    world.fake.descriptor(PID, 100, "socket:[300]");
    world.fake.descriptor(PID, 200, "socket:[100]");
    world.kernel.set([100, 300].map(established));
    let series = series(&world.sampler.sample(2 * SECOND).unwrap(), Resource::Socket);
    assert_eq!((series.open, series.opened, series.closed), (2, 2, 0));
}

#[test]
fn a_descriptor_used_again_while_the_kernel_still_closes_its_first_socket_is_found_by_the_next_sample() {
    let mut world = world(Settings::default());
    world.kernel.set([100].map(established));
    world.sampler.sample(SECOND).unwrap();
    world.fake.remove_descriptor(PID, 100);
    world.fake.descriptor(PID, 100, "socket:[300]");
    world.kernel.set([100, 300].map(established));
    world.sampler.sample(2 * SECOND).unwrap();
    world.kernel.set([300].map(established));
    let series = series(&world.sampler.sample(3 * SECOND).unwrap(), Resource::Socket);
    assert_eq!((series.open, series.opened, series.closed), (1, 2, 1));
}

#[test]
fn foreign_sockets_are_looked_at_again_after_a_while() {
    let mut world = world(Settings::default());
    world.kernel.set([established(300)]);
    world.sampler.sample(SECOND).unwrap();
    let open = |sample: &Sample| sample.report.followed;
    assert_eq!(open(&world.sampler.sample(2 * SECOND).unwrap()), 0);
    world.fake.descriptor(PID, 300, "socket:[300]");
    assert_eq!(open(&world.sampler.sample(3 * SECOND).unwrap()), 0);
    let last =
        (4..=u64::from(FORGET_FOREIGN_EVERY)).map(|at| world.sampler.sample(at * SECOND).unwrap()).last();
    assert_eq!(open(&last.unwrap()), 1);
}

#[test]
fn a_connection_whose_peer_closes_passes_from_one_resource_to_the_other() {
    let mut world = world(Settings::default());
    world.sampler.sample(100 * SECOND).unwrap();
    world.kernel.set([established(100)]);
    world.sampler.sample(105 * SECOND).unwrap();
    let info = Some(TcpInfo { last_ack_recv_ms: 1000, ..TcpInfo::default() });
    let closed = Socket { state: TcpState::CloseWait, info, rqueue: 9, ..established(100) };
    world.kernel.set([closed]);
    let sample = world.sampler.sample(110 * SECOND).unwrap();
    let (socket, close_wait) = (series(&sample, Resource::Socket), series(&sample, Resource::CloseWait));
    assert_eq!((socket.open, socket.opened, socket.closed, socket.lifetimes.sum_seconds), (0, 1, 1, 4.0));
    assert_eq!((close_wait.open, close_wait.opened, close_wait.closed), (1, 1, 0));
    assert_eq!((close_wait.older[0], close_wait.older[1], close_wait.unused), (1, 0, 0));
    assert_eq!((close_wait.exemplars[0].unread_bytes, close_wait.exemplars[0].age_ns), (9, SECOND));
    world.kernel.set([]);
    let sample = world.sampler.sample(120 * SECOND).unwrap();
    let close_wait = series(&sample, Resource::CloseWait);
    assert_eq!((close_wait.open, close_wait.closed, close_wait.lifetimes.sum_seconds), (0, 1, 6.0));
}

#[test]
fn accepted_connections_are_a_servers_and_ownerless_ones_are_counted_beside_them() {
    let mut world = world(Settings::default());
    let listener = Socket {
        local: ([0, 0, 0, 0], 8080).into(),
        inode: 150,
        cookie: 9150,
        ..socket(150, TcpState::Listen)
    };
    let accepted = |number: u16, state, inode| Socket {
        local: ([10, 0, 0, 9], 8080).into(),
        peer: ([10, 0, 0, 7], number).into(),
        state,
        inode,
        ..established(number)
    };
    world.kernel.set([
        listener,
        accepted(151, TcpState::Established, 151),
        accepted(152, TcpState::TimeWait, 0),
        accepted(153, TcpState::Established, 0),
    ]);
    let series = series(&world.sampler.sample(SECOND).unwrap(), Resource::Socket);
    assert_eq!(
        (series.side, series.target.to_string().as_str(), series.open),
        (Side::Server, "0.0.0.0:8080", 1)
    );
    // They are listed before their series is known in the first sample, but not in the next.
    let series = self::series(&world.sampler.sample(2 * SECOND).unwrap(), Resource::Socket);
    assert_eq!(series.states.get(TcpState::Established), 1);
    assert_eq!((series.unowned.get(TcpState::TimeWait), series.unowned.get(TcpState::Established)), (1, 1));
}

#[test]
fn what_the_process_closed_is_not_open_while_the_kernel_still_sends() {
    let mut world = world(Settings::default());
    world.kernel.set([established(100)]);
    world.sampler.sample(SECOND).unwrap();
    world.kernel.set([Socket { state: TcpState::FinWait2, inode: 0, ..established(100) }]);
    let series = series(&world.sampler.sample(2 * SECOND).unwrap(), Resource::Socket);
    assert_eq!((series.open, series.closed, series.unowned.get(TcpState::FinWait2)), (0, 1, 1));
}

#[test]
fn sockets_that_were_there_before_have_an_age_that_is_a_bound_up_to_that_of_the_process() {
    let mut world = world(Settings::default());
    let info = TcpInfo { last_data_sent_ms: 700_000, ..TcpInfo::default() };
    let old = Socket { info: Some(info), ..socket(100, TcpState::Established) };
    let info = TcpInfo { last_data_sent_ms: u32::MAX, ..TcpInfo::default() };
    let absurd = Socket { info: Some(info), ..socket(101, TcpState::Established) };
    world.kernel.set([old, absurd]);
    let series = series(&world.sampler.sample(1_000_000 * SECOND).unwrap(), Resource::Socket);
    assert_eq!((series.open, series.age_is_bound, series.unused), (2, 2, 0));
    let ages: Vec<u64> = series.exemplars.iter().map(|exemplar| exemplar.age_ns / SECOND).collect();
    assert_eq!(ages, [UPTIME - 1, 700]);
}

#[test]
fn a_process_that_ends_says_so_once_with_everything_closed_and_its_successor_starts_anew() {
    let mut world = world(Settings::default());
    world.kernel.set([100, 101].map(established));
    world.sampler.sample(SECOND).unwrap();
    world.fake.process(PID, "checkout", 999_000);
    world.kernel.set([102].map(established));
    let sample = world.sampler.sample(2 * SECOND).unwrap();
    assert_eq!(sample.processes.len(), 2);
    let (old, new) = (&sample.processes[0], &sample.processes[1]);
    assert!(old.ended && !new.ended);
    assert_eq!((old.series[0].open, old.series[0].opened, old.series[0].closed), (0, 2, 2));
    assert_eq!((new.series[0].open, new.series[0].opened, new.series[0].closed), (1, 1, 0));
    assert_eq!((old.process.start_ticks, new.process.start_ticks), (100, 999_000));
    let sample = world.sampler.sample(3 * SECOND).unwrap();
    assert_eq!(sample.processes.len(), 1);
}

#[test]
fn a_partial_dump_closes_nothing() {
    let mut world = world(Settings::default());
    world.kernel.set([100, 101].map(established));
    world.sampler.sample(SECOND).unwrap();
    world.kernel.set([established(100)]);
    world.kernel.partial(true);
    let sample = world.sampler.sample(2 * SECOND).unwrap();
    assert!(sample.report.partial);
    assert_eq!(series(&sample, Resource::Socket).open, 2);
    world.kernel.partial(false);
    assert_eq!(series(&world.sampler.sample(3 * SECOND).unwrap(), Resource::Socket).open, 1);
}

#[test]
fn sockets_over_the_limit_are_counted_and_said_and_cost_no_walk_each_time() {
    let mut world = world(Settings { max_sockets: 30, ..Settings::default() });
    world.kernel.set((100..200).map(established));
    world.sampler.sample(SECOND).unwrap();
    let sample = world.sampler.sample(2 * SECOND).unwrap();
    assert_eq!((sample.report.followed, sample.report.walks), (30, 0));
    let notice = sample.notices.iter().find(|notice| matches!(notice, Notice::Limit { .. })).unwrap();
    assert!(
        notice.is_warning() && notice.to_string().starts_with("70 sockets are not followed because 30 are")
    );
}

#[test]
fn more_new_sockets_than_one_walk_takes_are_found_in_the_next_sample() {
    let mut world = world(Settings::default());
    world.sampler.sample(SECOND).unwrap();
    let foreign = (1000..1000 + PENDING_LIMIT).map(|number| established(u16::try_from(number).unwrap()));
    world.kernel.set(foreign.chain([established(100)]));
    let sample = world.sampler.sample(2 * SECOND).unwrap();
    assert_eq!((sample.report.deferred, sample.report.followed), (1, 0));
    let sample = world.sampler.sample(3 * SECOND).unwrap();
    assert_eq!((sample.report.deferred, sample.report.followed), (0, 1));
}

#[test]
fn a_kernel_without_ipv6_is_sampled_and_said_once() {
    let mut world = world(Settings::default());
    world.kernel.set([established(100)]);
    let kernel = Kernel { without_v6: true, ..world.kernel.clone() };
    let selectors = vec![Selector { pid: Some(PID), ..Selector::default() }];
    world.sampler = Sampler::new(Settings { selectors, ..Settings::default() }, kernel, world.fake.proc());
    let sample = world.sampler.sample(SECOND).unwrap();
    assert_eq!(series(&sample, Resource::Socket).open, 1);
    assert_eq!(sample.notices.iter().filter(|notice| matches!(notice, Notice::Family { .. })).count(), 1);
}

#[test]
fn a_process_in_another_network_namespace_is_named_with_the_way_to_watch_it() {
    let world = world(Settings::default());
    let link = |path: &str, target: &str| {
        let path = world.fake.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    link("self/ns/net", "net:[1]");
    link("10/ns/net", "net:[2]");
    world.kernel.set([established(100)]);
    let selectors = vec![Selector { pid: Some(PID), ..Selector::default() }];
    let settings = Settings { selectors, ..Settings::default() };
    let sample = Sampler::new(settings, world.kernel.clone(), world.fake.proc()).sample(SECOND).unwrap();
    assert_eq!(sample.report.followed, 0);
    let notice =
        sample.notices.iter().find(|notice| matches!(notice, Notice::OtherNamespace { .. })).unwrap();
    assert!(notice.to_string().contains("nsenter --net=/proc/10/ns/net"), "{notice}");
}

#[test]
fn without_a_process_to_watch_nothing_is_listed_and_the_report_says_why() {
    let world = world(Settings::default());
    let selectors = vec![Selector { name: Some("basket".into()), ..Selector::default() }];
    let settings = Settings { selectors, ..Settings::default() };
    world.kernel.set([established(100)]);
    let sample = Sampler::new(settings, world.kernel.clone(), world.fake.proc()).sample(SECOND).unwrap();
    assert_eq!((sample.processes.len(), sample.report), (0, SampleReport::default()));
    assert!(sample.notices[0].is_warning());
    assert!(sample.notices[0].to_string().starts_with("no process matches name \"basket\""));
}

#[test]
fn a_failed_dump_leaves_everything_for_the_next_sample() {
    struct Failing(Kernel, bool);
    impl SocketSource for Failing {
        fn dump(&mut self, query: &Query, each: &mut dyn FnMut(&Socket)) -> Result<DumpReport, DiagError> {
            match std::mem::take(&mut self.1) {
                true => Err(DiagError::ModuleMissing { family: "IPv4" }),
                false => self.0.dump(query, each),
            }
        }
    }
    let world = world(Settings::default());
    world.kernel.set([established(100)]);
    let selectors = vec![Selector { pid: Some(PID), ..Selector::default() }];
    let source = Failing(world.kernel.clone(), true);
    let mut sampler = Sampler::new(Settings { selectors, ..Settings::default() }, source, world.fake.proc());
    assert!(sampler.sample(SECOND).is_err());
    let sample = sampler.sample(2 * SECOND).unwrap();
    assert_eq!((series(&sample, Resource::Socket).open, sample.report.walks), (1, 1));
    assert_eq!(series(&sample, Resource::Socket).target, Target::Address(([10, 0, 0, 1], 443).into()));
}
