//! The sockets that are followed, by cookie: at most 160 bytes each, O(1) for each in a dump, bounded in number.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::diag::{Socket, TcpState};
use crate::idle::{Activity, Moment, since_peer_closed_ns};

/// A socket that this many partial dumps in a row do not show is taken for gone.
const MISSES: u8 = 3;

/// One followed socket.
#[derive(Debug, Clone)]
pub(crate) struct Tracked {
    pub(crate) activity: Activity,
    /// When it was first in CLOSE-WAIT; 0 if it never was.
    close_wait_ns: u64,
    local: Address,
    peer: Address,
    /// Its series, as the table of series numbers them.
    pub(crate) slot: u32,
    generation: u32,
    inode: u32,
    pub(crate) unread: u32,
    pub(crate) state: TcpState,
    misses: u8,
}

impl Tracked {
    /// Whether it counts as `close_wait`; a socket never leaves CLOSE-WAIT for anything but its end.
    pub(crate) fn peer_closed(&self) -> bool {
        self.close_wait_ns != 0
    }

    /// Age of the subject: of the connection, or of its CLOSE-WAIT.
    pub(crate) fn age_ns(&self, now_ns: u64) -> u64 {
        if self.peer_closed() {
            now_ns.saturating_sub(self.close_wait_ns)
        } else {
            self.activity.age_ns(now_ns)
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local.get()
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.get()
    }

    fn enter_close_wait(&mut self, socket: &Socket, now_ns: u64, earliest_ns: u64) {
        let since = now_ns.saturating_sub(since_peer_closed_ns(socket));
        self.close_wait_ns = since.max(earliest_ns).max(1);
    }
}

/// 18 bytes instead of the 32 of a `SocketAddr`; IPv4 as a mapped address.
#[derive(Debug, Clone, Copy)]
struct Address {
    ip: [u8; 16],
    port: u16,
}

impl Address {
    fn new(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Self { ip, port: address.port() }
    }

    fn get(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }
}

/// What a dump meant for a socket that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was updated.
    Updated,
    /// It was updated, and its peer has closed since the dump before.
    PeerClosed,
    /// This dump had shown it already.
    Twice,
    /// It is not followed.
    Unknown,
}

/// What becomes of a socket at the end of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Ended,
}

/// All followed sockets.
#[derive(Debug)]
pub(crate) struct Tracker {
    sockets: HashMap<u64, Tracked>,
    limit: usize,
    generation: u32,
}

impl Tracker {
    pub(crate) fn new(limit: usize) -> Self {
        Self { sockets: HashMap::new(), limit, generation: 0 }
    }

    /// A new dump begins.
    pub(crate) fn begin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// A socket of the dump, if it is followed. Also returns its series.
    pub(crate) fn see(&mut self, socket: &Socket, now_ns: u64, previous_ns: u64) -> (Seen, Option<&Tracked>) {
        let Some(tracked) = self.sockets.get_mut(&socket.cookie) else {
            return (Seen::Unknown, None);
        };
        if tracked.generation == self.generation {
            return (Seen::Twice, Some(tracked));
        }
        tracked.generation = self.generation;
        tracked.misses = 0;
        tracked.activity.update(socket, now_ns, previous_ns);
        tracked.state = socket.state;
        tracked.unread = socket.rqueue;
        let newly_closed = socket.state == TcpState::CloseWait && !tracked.peer_closed();
        if newly_closed {
            tracked.enter_close_wait(socket, now_ns, previous_ns);
        }
        (if newly_closed { Seen::PeerClosed } else { Seen::Updated }, Some(tracked))
    }

    /// Follows a socket; `None` when there are too many, or it is followed already.
    pub(crate) fn follow(&mut self, socket: &Socket, slot: u32, moment: Moment) -> Option<&Tracked> {
        if self.is_full() {
            return None;
        }
        let Entry::Vacant(place) = self.sockets.entry(socket.cookie) else {
            return None;
        };
        let activity = Activity::first(socket, moment);
        let mut tracked = Tracked {
            activity,
            close_wait_ns: 0,
            local: Address::new(socket.local),
            peer: Address::new(socket.peer),
            slot,
            generation: self.generation,
            inode: socket.inode,
            unread: socket.rqueue,
            state: socket.state,
            misses: 0,
        };
        if socket.state == TcpState::CloseWait {
            let birth = moment.now_ns.saturating_sub(activity.age_ns(moment.now_ns));
            tracked.enter_close_wait(socket, moment.now_ns, birth);
        }
        Some(place.insert(tracked))
    }

    /// The dump is over: hands every socket and its fate to `each` and forgets those that ended. After a partial dump
    /// a socket that was not shown stays, for a few dumps. `abandoned` says which series ended with their process.
    pub(crate) fn sweep(
        &mut self,
        partial: bool,
        abandoned: impl Fn(u32) -> bool,
        mut each: impl FnMut(u64, &Tracked, Fate),
    ) {
        let generation = self.generation;
        self.sockets.retain(|cookie, tracked| {
            if tracked.generation != generation {
                tracked.misses = tracked.misses.saturating_add(if partial { 1 } else { MISSES });
            }
            let ended = tracked.misses >= MISSES || abandoned(tracked.slot);
            each(*cookie, tracked, if ended { Fate::Ended } else { Fate::Open });
            !ended
        });
    }

    pub(crate) fn get(&self, cookie: u64) -> Option<&Tracked> {
        self.sockets.get(&cookie)
    }

    /// Inodes of the followed sockets that this dump has shown.
    pub(crate) fn inodes(&self) -> HashSet<u32> {
        let shown = |tracked: &&Tracked| tracked.generation == self.generation;
        self.sockets.values().filter(shown).map(|tracked| tracked.inode).collect()
    }

    /// Sockets that this dump has shown in ESTABLISHED.
    pub(crate) fn established(&self) -> impl Iterator<Item = &Tracked> {
        let shown = |t: &&Tracked| t.generation == self.generation && t.state == TcpState::Established;
        self.sockets.values().filter(shown)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.sockets.len() >= self.limit
    }

    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp_info::TcpInfo;
    use crate::test_socket::{SECOND, socket};

    fn moment(now_ns: u64) -> Moment {
        Moment { now_ns, previous_ns: None, process_age_ns: None }
    }

    fn fates(tracker: &mut Tracker, partial: bool) -> Vec<Fate> {
        let mut fates = Vec::new();
        tracker.sweep(partial, |_| false, |_, _, fate| fates.push(fate));
        fates
    }

    #[test]
    fn a_followed_socket_costs_at_most_160_bytes() {
        let size = size_of::<(u64, Tracked)>();
        assert!(size <= 128, "{size} bytes, and a map of at most 7/8 load adds one byte each");
    }

    #[test]
    fn addresses_of_both_families_survive_their_packing() {
        for text in ["10.1.2.3:65535", "[2001:db8::1]:1", "[::1]:50051", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::new(address).get(), address);
        }
    }

    #[test]
    fn a_socket_that_a_whole_dump_does_not_show_has_ended() {
        let mut tracker = Tracker::new(10);
        tracker.begin();
        tracker.follow(&socket(1, TcpState::Established), 0, moment(SECOND)).unwrap();
        assert_eq!(fates(&mut tracker, false), [Fate::Open]);
        tracker.begin();
        assert_eq!(fates(&mut tracker, false), [Fate::Ended]);
        assert_eq!(tracker.len(), 0);
    }

    #[test]
    fn a_partial_dump_ends_nothing_until_the_third_in_a_row() {
        let mut tracker = Tracker::new(10);
        tracker.begin();
        tracker.follow(&socket(1, TcpState::Established), 0, moment(SECOND)).unwrap();
        for expected in [Fate::Open, Fate::Open, Fate::Ended] {
            tracker.begin();
            assert_eq!(fates(&mut tracker, true), [expected]);
        }
    }

    #[test]
    fn a_socket_delivered_twice_in_a_dump_is_updated_once() {
        let mut tracker = Tracker::new(10);
        tracker.begin();
        tracker.follow(&socket(1, TcpState::Established), 0, moment(SECOND)).unwrap();
        tracker.begin();
        let again = socket(1, TcpState::Established);
        assert_eq!(tracker.see(&again, 2 * SECOND, SECOND).0, Seen::Updated);
        assert_eq!(tracker.see(&again, 2 * SECOND, SECOND).0, Seen::Twice);
        assert_eq!(tracker.see(&socket(2, TcpState::Established), 2 * SECOND, SECOND).0, Seen::Unknown);
    }

    #[test]
    fn no_more_than_the_limit_are_followed() {
        let mut tracker = Tracker::new(2);
        let follow = |tracker: &mut Tracker, number| {
            tracker.follow(&socket(number, TcpState::Established), 0, moment(SECOND)).is_some()
        };
        assert_eq!([1, 2, 3].map(|number| follow(&mut tracker, number)), [true, true, false]);
        assert_eq!(tracker.len(), 2);
    }

    #[test]
    fn close_wait_is_dated_within_the_interval_by_the_last_acknowledgement() {
        let mut tracker = Tracker::new(10);
        tracker.begin();
        tracker.follow(&socket(1, TcpState::Established), 0, moment(100 * SECOND)).unwrap();
        tracker.begin();
        let info = Some(TcpInfo { last_ack_recv_ms: 2000, ..TcpInfo::default() });
        let closed = Socket { info, ..socket(1, TcpState::CloseWait) };
        let (seen, tracked) = tracker.see(&closed, 105 * SECOND, 100 * SECOND);
        assert_eq!((seen, tracked.unwrap().age_ns(105 * SECOND)), (Seen::PeerClosed, 2 * SECOND));
        tracker.begin();
        let (seen, tracked) = tracker.see(&closed, 110 * SECOND, 105 * SECOND);
        assert_eq!((seen, tracked.unwrap().age_ns(110 * SECOND)), (Seen::Updated, 7 * SECOND));
    }

    #[test]
    fn series_of_an_ended_process_end_their_sockets() {
        let mut tracker = Tracker::new(10);
        tracker.begin();
        tracker.follow(&socket(1, TcpState::Established), 7, moment(SECOND)).unwrap();
        tracker.sweep(true, |slot| slot == 7, |_, _, fate| assert_eq!(fate, Fate::Ended));
        assert_eq!(tracker.len(), 0);
    }
}
