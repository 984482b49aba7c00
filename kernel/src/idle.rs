//! Age and use of one socket, from the counters of successive dumps.
//!
//! **Use.** HTTP/2 PINGs and other housekeeping must not look like use, and neither does the kernel's TCP keepalive,
//! which moves no byte counter. Each direction has a leaky account: bytes go in, 64 B per minute leak out, and use is
//! when more than 64 B have gathered. Bytes that are exactly one or two PINGs' worth for each 10 s of the interval (17 B,
//! 39 B in TLS 1.3, 46 B in TLS 1.2 with AES-GCM) do not go in at all: a keepalive of 10 s, the shortest that gRPC
//! allows a client, makes 102 B per minute. The same holds at any sampling interval.
//!
//! **Age.** A socket first seen in a later dump began since the dump before; one that was there at the first dump, or
//! when its process was first watched, has an unknown age. In both cases the counters give a lower bound: what happened
//! on it that long ago (data, acknowledgements; all start at the handshake), or the time it was busy sending. It never
//! exceeds the age of the process.
//!
//! All times are nanoseconds on the clock of the caller; nothing here reads a clock.

use crate::diag::{Socket, TcpState};

const NANOSECONDS: u64 = 1_000_000_000;
/// Thousandths of a byte that count as housekeeping: 64 B at once, and again each minute.
const ALLOWANCE: u64 = 64_000;
/// 64 B per minute as nanoseconds for each thousandth of a byte.
const LEAK_NS: u64 = 60 * NANOSECONDS / ALLOWANCE;
/// Bytes of an HTTP/2 PING or its acknowledgement: plain, in a TLS 1.3 record, in a TLS 1.2 record with AES-GCM.
const PINGS: [u64; 3] = [17, 39, 46];
/// The shortest keepalive interval that gRPC lets a client have.
const PING_NS: u64 = 10 * NANOSECONDS;

/// What dumps told about one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    birth_ns: u64,
    last_payload_ns: u64,
    received: u64,
    sent: u64,
    account_in: u32,
    account_out: u32,
    /// Dumps since the first one that had it, up to 255.
    updates: u8,
    age_is_bound: bool,
    used_again: bool,
    quiet: bool,
}

/// When a dump is made and what was known before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Now.
    pub(crate) now_ns: u64,
    /// The dump before; `None` when the socket's process was not watched then.
    pub(crate) previous_ns: Option<u64>,
    /// Age of the socket's process.
    pub(crate) process_age_ns: Option<u64>,
}

impl Activity {
    /// A socket that is seen for the first time.
    pub(crate) fn first(socket: &Socket, moment: Moment) -> Self {
        let now = moment.now_ns;
        let interval = moment.previous_ns.map(|previous| now.saturating_sub(previous));
        let caps = [interval, moment.process_age_ns];
        let age = caps.into_iter().flatten().fold(elapsed_ns(socket), u64::min);
        let birth_ns = now.saturating_sub(age);
        let (received, sent) = payload(socket);
        let quiet = since_payload_ns(socket, received > 0, sent > 0);
        Self {
            birth_ns,
            last_payload_ns: quiet.map_or(birth_ns, |quiet| now.saturating_sub(quiet).max(birth_ns)),
            received,
            sent,
            account_in: 0,
            account_out: 0,
            updates: 0,
            age_is_bound: moment.previous_ns.is_none(),
            used_again: false,
            quiet: false,
        }
    }

    /// The socket again, in the next dump.
    pub(crate) fn update(&mut self, socket: &Socket, now_ns: u64, previous_ns: u64) {
        let interval = now_ns.saturating_sub(previous_ns);
        let (received, sent) = payload(socket);
        let used_in = spend(&mut self.account_in, received.saturating_sub(self.received), interval);
        let used_out = spend(&mut self.account_out, sent.saturating_sub(self.sent), interval);
        (self.received, self.sent) = (self.received.max(received), self.sent.max(sent));
        self.quiet = !(used_in || used_out);
        if !self.quiet {
            let ago = since_payload_ns(socket, used_in, used_out).unwrap_or(0).min(interval);
            self.last_payload_ns = self.last_payload_ns.max(now_ns.saturating_sub(ago));
            // The first call may straddle the dump that found the socket; anything later is a second one.
            self.used_again |= self.updates > 0;
        }
        self.updates = self.updates.saturating_add(1);
    }

    /// Age now; a lower bound if [`age_is_bound`](Self::age_is_bound).
    pub(crate) fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.birth_ns)
    }

    /// Time without payload; counted from the beginning if there was none.
    pub(crate) fn idle_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.last_payload_ns)
    }

    /// Whether it was there before anybody looked.
    pub(crate) fn age_is_bound(&self) -> bool {
        self.age_is_bound
    }

    /// Whether nothing but its first call happened: watched from its beginning, quiet in the whole last interval, idle
    /// for at least 1 s, and never used later than in the interval after the dump that found it.
    pub(crate) fn is_unused(&self, now_ns: u64) -> bool {
        !self.age_is_bound && !self.used_again && self.quiet && self.idle_ns(now_ns) >= NANOSECONDS
    }

    /// Payload bytes received and sent in its life.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.received, self.sent)
    }
}

/// Adds bytes to an account and lets it leak; true when it ran over, which empties it.
fn spend(account: &mut u32, bytes: u64, interval_ns: u64) -> bool {
    let added = if is_ping_sized(bytes, interval_ns) { 0 } else { bytes.saturating_mul(1000) };
    let level = u64::from(*account).saturating_add(added).saturating_sub(interval_ns / LEAK_NS);
    let used = level > ALLOWANCE;
    *account = if used { 0 } else { u32::try_from(level).unwrap_or(0) };
    used
}

/// A ping and an acknowledgement at most for each 10 s begun.
fn is_ping_sized(bytes: u64, interval_ns: u64) -> bool {
    let most = 2 * (1 + interval_ns / PING_NS);
    PINGS.iter().any(|ping| bytes.is_multiple_of(*ping) && bytes / ping <= most)
}

fn payload(socket: &Socket) -> (u64, u64) {
    let Some(info) = socket.info else { return (0, 0) };
    (info.bytes_received.unwrap_or(0), info.payload_sent().unwrap_or(0))
}

/// Time since the last payload in the directions that had some.
fn since_payload_ns(socket: &Socket, received: bool, sent: bool) -> Option<u64> {
    let info = socket.info?;
    let incoming = received.then_some(info.last_data_recv_ms);
    let outgoing = sent.then_some(info.last_data_sent_ms);
    [incoming, outgoing].into_iter().flatten().min().map(milliseconds)
}

/// The longest time ago that something is known to have happened on the socket.
fn elapsed_ns(socket: &Socket) -> u64 {
    // Before the handshake is done these times count from the start of the machine.
    if matches!(socket.state, TcpState::SynSent | TcpState::SynRecv | TcpState::NewSynRecv) {
        return 0;
    }
    let Some(info) = socket.info else { return 0 };
    let busy = info.busy_time_us.unwrap_or(0).saturating_mul(1000);
    [info.last_data_sent_ms, info.last_data_recv_ms, info.last_ack_recv_ms]
        .into_iter()
        .map(milliseconds)
        .fold(busy, u64::max)
}

/// At least how long ago the peer closed: after its FIN it only answers keepalives.
pub(crate) fn since_peer_closed_ns(socket: &Socket) -> u64 {
    socket.info.map_or(0, |info| milliseconds(info.last_ack_recv_ms))
}

fn milliseconds(count: u32) -> u64 {
    u64::from(count) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp_info::TcpInfo;
    use crate::test_socket::{SECOND, socket, with_info};
    use proptest::prelude::*;

    fn moment(now_ns: u64, previous_ns: Option<u64>) -> Moment {
        Moment { now_ns, previous_ns, process_age_ns: None }
    }

    fn bytes(received: u64, sent: u64) -> Socket {
        with_info(TcpInfo {
            bytes_received: Some(received),
            bytes_sent: Some(sent),
            bytes_retrans: Some(0),
            ..TcpInfo::default()
        })
    }

    /// Follows a socket that moves this many bytes each way in each interval; true when it ever looked used.
    fn looks_used(interval: u64, intervals: u64, each: u64) -> bool {
        let start = 1000 * SECOND;
        let mut activity = Activity::first(&bytes(500, 500), moment(start, Some(start - interval)));
        let before = activity.last_payload_ns;
        for at in 1..=intervals {
            let now = start + at * interval;
            activity.update(&bytes(500 + at * each, 500 + at * each), now, now - interval);
        }
        activity.last_payload_ns != before
    }

    #[test]
    fn pings_of_each_size_and_rate_are_not_use() {
        for ping in PINGS {
            assert!(!looks_used(5 * SECOND, 100, ping), "{ping} B in 5 s");
            assert!(!looks_used(10 * SECOND, 100, 2 * ping), "a ping and an answer of {ping} B in 10 s");
            assert!(!looks_used(60 * SECOND, 100, 6 * ping), "six of {ping} B in 60 s");
        }
    }

    #[test]
    fn a_trickle_below_64_bytes_per_minute_is_not_use_at_any_interval() {
        assert!(!looks_used(5 * SECOND, 1000, 5));
        assert!(!looks_used(60 * SECOND, 1000, 63));
        assert!(!looks_used(600 * SECOND, 1000, 640));
    }

    #[test]
    fn more_than_64_bytes_per_minute_is_use_at_any_interval() {
        assert!(looks_used(5 * SECOND, 1000, 6));
        assert!(looks_used(60 * SECOND, 1000, 65));
        assert!(looks_used(5 * SECOND, 1, 100));
    }

    #[test]
    fn each_direction_has_its_own_account() {
        let mut activity = Activity::first(&bytes(0, 0), moment(10 * SECOND, Some(9 * SECOND)));
        activity.update(&bytes(60, 60), 11 * SECOND, 10 * SECOND);
        assert!(activity.quiet);
        activity.update(&bytes(60, 180), 12 * SECOND, 11 * SECOND);
        assert!(!activity.quiet);
    }

    #[test]
    fn the_time_of_the_last_payload_is_taken_from_the_kernel_within_the_interval() {
        let start = 100 * SECOND;
        let mut activity = Activity::first(&bytes(0, 0), moment(start, Some(start - 5 * SECOND)));
        let info = TcpInfo {
            bytes_received: Some(900),
            bytes_sent: Some(0),
            bytes_retrans: Some(0),
            last_data_recv_ms: 1500,
            last_data_sent_ms: 3,
            ..TcpInfo::default()
        };
        activity.update(&with_info(info), start + 5 * SECOND, start);
        assert_eq!(activity.idle_ns(start + 5 * SECOND), 1_500_000_000);
    }

    #[test]
    fn a_socket_found_at_the_first_dump_has_the_age_of_its_oldest_trace_as_a_bound() {
        let info = TcpInfo {
            last_data_sent_ms: 30_000,
            last_data_recv_ms: 20_000,
            last_ack_recv_ms: 19_000,
            busy_time_us: Some(40_000_000),
            bytes_received: Some(7),
            bytes_sent: Some(7),
            bytes_retrans: Some(0),
            ..TcpInfo::default()
        };
        let activity = Activity::first(&with_info(info), moment(1000 * SECOND, None));
        assert!(activity.age_is_bound());
        assert_eq!(activity.age_ns(1000 * SECOND), 40 * SECOND);
        assert_eq!(activity.idle_ns(1000 * SECOND), 20 * SECOND);
    }

    #[test]
    fn an_age_never_exceeds_that_of_the_process_or_the_interval_since_it_was_not_there() {
        let info = TcpInfo { last_data_sent_ms: 30_000, ..TcpInfo::default() };
        let now_ns = 1000 * SECOND;
        let young = Moment { now_ns, previous_ns: None, process_age_ns: Some(8 * SECOND) };
        assert_eq!(Activity::first(&with_info(info), young).age_ns(now_ns), 8 * SECOND);
        let later = moment(now_ns, Some(now_ns - 5 * SECOND));
        let activity = Activity::first(&with_info(info), later);
        assert_eq!((activity.age_ns(now_ns), activity.age_is_bound()), (5 * SECOND, false));
    }

    #[test]
    fn a_socket_without_payload_is_idle_since_its_beginning() {
        let activity = Activity::first(&bytes(0, 0), moment(50 * SECOND, Some(45 * SECOND)));
        assert_eq!(activity.idle_ns(80 * SECOND), 30 * SECOND);
        assert_eq!(activity.age_ns(80 * SECOND), 30 * SECOND);
    }

    #[test]
    fn times_before_the_handshake_are_not_an_age() {
        let info = TcpInfo { last_data_recv_ms: 4_000_000_000, ..TcpInfo::default() };
        let dialling = Socket { state: TcpState::SynSent, ..with_info(info) };
        let activity = Activity::first(&dialling, moment(1000 * SECOND, None));
        assert_eq!(activity.age_ns(1000 * SECOND), 0);
    }

    #[test]
    fn a_connection_with_one_call_is_unused_once_a_whole_interval_was_quiet() {
        let step = 2 * SECOND;
        let mut activity = Activity::first(&bytes(200, 300), moment(10 * SECOND, Some(8 * SECOND)));
        assert!(!activity.is_unused(10 * SECOND));
        activity.update(&bytes(400, 600), 12 * SECOND, 12 * SECOND - step);
        assert!(!activity.is_unused(12 * SECOND));
        activity.update(&bytes(400, 617), 14 * SECOND, 14 * SECOND - step);
        assert!(activity.is_unused(14 * SECOND));
        activity.update(&bytes(800, 900), 16 * SECOND, 16 * SECOND - step);
        activity.update(&bytes(800, 900), 60 * SECOND, 58 * SECOND);
        assert!(!activity.is_unused(60 * SECOND), "it had a second call");
    }

    #[test]
    fn what_was_there_before_is_never_called_unused() {
        let mut activity = Activity::first(&bytes(200, 300), moment(10 * SECOND, None));
        activity.update(&bytes(200, 300), 12 * SECOND, 10 * SECOND);
        assert!(!activity.is_unused(12 * SECOND));
    }

    #[test]
    fn a_socket_without_counters_keeps_its_age_and_is_never_used() {
        let bare = socket(1, TcpState::Established);
        let mut activity = Activity::first(&bare, moment(10 * SECOND, Some(9 * SECOND)));
        activity.update(&bare, 15 * SECOND, 10 * SECOND);
        assert_eq!((activity.age_ns(15 * SECOND), activity.idle_ns(15 * SECOND)), (5 * SECOND, 5 * SECOND));
    }

    proptest! {
        #[test]
        fn idle_never_exceeds_age_whatever_the_counters_and_clocks_do(
            steps in prop::collection::vec((any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>(), 0u64..1 << 40), 1..8),
            start in 0u64..1 << 50, known in any::<bool>(),
        ) {
            let at = |(received, sent_ms, recv_ms, sent, _): (u64, u32, u32, u64, u64)| with_info(TcpInfo {
                bytes_received: Some(received), bytes_sent: Some(sent), bytes_retrans: Some(received),
                last_data_sent_ms: sent_ms, last_data_recv_ms: recv_ms, ..TcpInfo::default()
            });
            let mut now = start;
            let mut activity = Activity::first(&at(steps[0]), moment(now, known.then_some(start.saturating_sub(1))));
            for step in steps {
                let previous = now;
                now += step.4;
                activity.update(&at(step), now, previous);
                prop_assert!(activity.idle_ns(now) <= activity.age_ns(now));
            }
        }
    }
}
