//! One socket of a dump: `inet_diag_msg` (72 bytes) and its attributes. Source: `linux/inet_diag.h`, sock_diag(7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::Malformed;
use crate::netlink::{attributes, u32_at, u64_at};
use crate::tcp_info::TcpInfo;

/// Bytes of `inet_diag_msg`.
pub(crate) const MESSAGE: usize = 72;

const ATTRIBUTE_INFO: u16 = 2;
const ATTRIBUTE_SHUTDOWN: u16 = 8;
const ATTRIBUTE_V6_ONLY: u16 = 11;
const ATTRIBUTE_MARK: u16 = 15;
const ATTRIBUTE_CGROUP_ID: u16 = 21;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Address family of a socket, as it was made. A dual-stack server's IPv4 connections are `V6` sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

impl Family {
    /// Both families; a dump lists one at a time.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// `IPv4` or `IPv6`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }
}

/// TCP states of RFC 9293, with the two that Linux splits SYN-RECEIVED and CLOSED into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of RFC 9293")]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
    /// A connection request without a socket yet.
    NewSynRecv = 12,
    /// A number that this code does not know.
    Unknown = 0,
}

impl TcpState {
    /// Number of states, `Unknown` included: the size of a table indexed by `state as usize`.
    pub const COUNT: usize = 13;

    /// All states, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Unknown,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
    ];

    /// Lower-case name as semantic conventions write `network.connection.state`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv | Self::NewSynRecv => "syn_received",
            Self::FinWait1 => "fin_wait_1",
            Self::FinWait2 => "fin_wait_2",
            Self::TimeWait => "time_wait",
            Self::Close => "closed",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::Unknown => "unknown",
        }
    }

    fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Unknown)
    }
}

/// The timer that runs on a socket, `idiag_timer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// None.
    Off,
    /// Retransmission, early retransmission or tail loss probe.
    Retransmit,
    /// TCP keepalive (also the SYN-ACK timer).
    Keepalive,
    /// TIME-WAIT.
    TimeWait,
    /// Zero window probe.
    Probe,
    /// A number that this code does not know.
    Unknown,
}

impl Timer {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Off,
            1 => Self::Retransmit,
            2 => Self::Keepalive,
            3 => Self::TimeWait,
            4 => Self::Probe,
            _ => Self::Unknown,
        }
    }
}

/// One TCP socket as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Family of the socket itself.
    pub family: Family,
    /// State.
    pub state: TcpState,
    /// Timer that runs now.
    pub timer: Timer,
    /// Local address; an IPv4-mapped IPv6 address is written as IPv4.
    pub local: SocketAddr,
    /// Peer's address; unspecified and port 0 in LISTEN.
    pub peer: SocketAddr,
    /// Whether an address was IPv4-mapped, that is, IPv4 traffic on an IPv6 socket.
    pub mapped: bool,
    /// `SO_COOKIE`: unique until the machine restarts. A socket in TIME-WAIT has another one than it had before.
    pub cookie: u64,
    /// Inode that `/proc/<pid>/fd` shows as `socket:[inode]`. 0: no descriptor refers to it (closed by the process, not
    /// accepted yet, or TIME-WAIT).
    pub inode: u32,
    /// User that made it.
    pub uid: u32,
    /// Bytes received and not read; in LISTEN connections that wait for `accept`.
    pub rqueue: u32,
    /// Bytes sent and not acknowledged; in LISTEN the limit of the accept queue.
    pub wqueue: u32,
    /// `IPV6_V6ONLY`; a listener on `::` without it takes IPv4 too.
    pub v6_only: bool,
    /// Bit 0: receiving, bit 1: sending was shut down.
    pub shutdown: u8,
    /// `SO_MARK`; the kernel shows it to `CAP_NET_ADMIN` only.
    pub mark: Option<u32>,
    /// Id of its cgroup v2 (the inode of its directory). Linux 5.9.
    pub cgroup_id: Option<u64>,
    /// Counters; absent when they were not asked for, in TIME-WAIT, or too short to be read.
    pub info: Option<TcpInfo>,
}

impl Socket {
    /// Reads the payload of a `SOCK_DIAG_BY_FAMILY` answer.
    ///
    /// # Errors
    /// When it is shorter than `inet_diag_msg` or of a family other than IPv4 and IPv6. Attributes that do not fit are
    /// left out.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let short = Malformed { what: "inet_diag_msg", at: 0, needs: MESSAGE, has: payload.len() };
        let (head, rest) = payload.split_first_chunk::<MESSAGE>().ok_or(short)?;
        let family = match head[0] {
            AF_INET => Family::V4,
            AF_INET6 => Family::V6,
            _ => {
                return Err(Malformed { what: "address family of inet_diag_msg", at: 0, needs: 1, has: 0 });
            }
        };
        let (local, local_mapped) = address(family, head, 8, 4).ok_or(short)?;
        let (peer, peer_mapped) = address(family, head, 24, 6).ok_or(short)?;
        let word = |at| u32_at(head, at).ok_or(short);
        let mut socket = Self {
            family,
            state: TcpState::from_number(head[1]),
            timer: Timer::from_number(head[2]),
            local,
            peer,
            mapped: local_mapped || peer_mapped,
            cookie: u64::from(word(44)?) | u64::from(word(48)?) << 32,
            rqueue: word(56)?,
            wqueue: word(60)?,
            uid: word(64)?,
            inode: word(68)?,
            v6_only: false,
            shutdown: 0,
            mark: None,
            cgroup_id: None,
            info: None,
        };
        for (kind, value) in attributes(rest) {
            socket.take_attribute(kind, value);
        }
        Ok(socket)
    }

    /// Whether a process can still hold it: it has a descriptor and a state in which one can.
    pub fn is_held(&self) -> bool {
        self.inode != 0 && !matches!(self.state, TcpState::TimeWait | TcpState::NewSynRecv | TcpState::Listen)
    }

    fn take_attribute(&mut self, kind: u16, value: &[u8]) {
        match kind {
            ATTRIBUTE_INFO => self.info = TcpInfo::parse(value),
            ATTRIBUTE_SHUTDOWN => self.shutdown = value.first().copied().unwrap_or_default(),
            ATTRIBUTE_V6_ONLY => self.v6_only = value.first().is_some_and(|on| *on != 0),
            ATTRIBUTE_MARK => self.mark = u32_at(value, 0),
            ATTRIBUTE_CGROUP_ID => self.cgroup_id = u64_at(value, 0),
            _ => {}
        }
    }
}

/// Address and port, network byte order; the flag says that the address was IPv4-mapped.
fn address(family: Family, head: &[u8], at: usize, port_at: usize) -> Option<(SocketAddr, bool)> {
    let port = u16::from_be_bytes(*head.get(port_at..)?.first_chunk()?);
    let bytes = head.get(at..)?;
    let (ip, mapped) = match family {
        Family::V4 => (IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)), false),
        Family::V6 => {
            let ip = Ipv6Addr::from(*bytes.first_chunk::<16>()?);
            match ip.to_ipv4_mapped() {
                Some(v4) => (IpAddr::V4(v4), true),
                None => (IpAddr::V6(ip), false),
            }
        }
    };
    Some((SocketAddr::new(ip, port), mapped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::netlink::messages;
    use proptest::prelude::*;

    fn sockets(hex: &str) -> Vec<Socket> {
        messages(&golden::bytes(hex))
            .map(|message| Socket::parse(message.unwrap().payload).unwrap())
            .collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_recorded_close_wait_socket_is_read_in_all_fields() {
        let all = sockets(golden::CLIENT_CLOSE_WAIT);
        assert_eq!(all.len(), 1);
        let socket = all[0];
        assert_eq!((socket.family, socket.state, socket.mapped), (Family::V4, TcpState::CloseWait, false));
        assert_eq!((socket.local.ip(), socket.peer.ip()), ([127, 0, 0, 1].into(), [127, 0, 0, 1].into()));
        // 10 bytes were not read; the peer's FIN counts as one more.
        assert_eq!((socket.rqueue, socket.wqueue, socket.uid), (11, 0, 0));
        assert!(socket.inode != 0 && socket.is_held());
        assert_eq!((socket.shutdown, socket.cgroup_id, socket.mark), (1, Some(1), Some(0)));
        let info = socket.info.unwrap();
        assert_eq!((info.payload_sent(), info.bytes_received), (Some(100), Some(41)));
        assert_eq!((info.bytes_acked, info.notsent_bytes, info.retransmits), (Some(101), Some(0), 0));
        assert_eq!((info.data_segs_in, info.data_segs_out), (Some(1), Some(1)));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_recorded_dual_stack_server_socket_is_ipv4_traffic_on_an_ipv6_socket() {
        let all = sockets(golden::LISTENER_AND_SERVER);
        assert_eq!(all.len(), 2);
        let (listener, server) = (all[0], all[1]);
        assert_eq!((listener.state, listener.v6_only, listener.is_held()), (TcpState::Listen, false, false));
        assert_eq!(listener.local.ip(), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!((listener.wqueue, listener.mapped), (128, false));
        assert_eq!((server.family, server.state, server.mapped), (Family::V6, TcpState::FinWait1, true));
        assert_eq!(server.local, SocketAddr::new([127, 0, 0, 1].into(), listener.local.port()));
        assert_eq!((server.timer, server.shutdown), (Timer::Retransmit, 2));
        let client = sockets(golden::CLIENT_CLOSE_WAIT)[0];
        assert_eq!((server.local, server.peer), (client.peer, client.local));
        assert_ne!(server.cookie, client.cookie);
    }

    #[test]
    fn a_short_answer_says_how_much_is_missing() {
        let error = Socket::parse(&[2; 71]).unwrap_err();
        assert_eq!((error.needs, error.has), (72, 71));
    }

    #[test]
    fn a_state_or_timer_from_the_future_is_unknown_and_not_an_error() {
        let mut payload = [0; 72];
        payload[..3].copy_from_slice(&[AF_INET, 200, 200]);
        let socket = Socket::parse(&payload).unwrap();
        assert_eq!((socket.state, socket.timer), (TcpState::Unknown, Timer::Unknown));
    }

    #[test]
    fn each_state_stands_at_the_index_of_its_number() {
        for (number, state) in TcpState::ALL.iter().enumerate() {
            assert_eq!(*state as usize, number);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_socket_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..600), known in any::<bool>()) {
            if let (true, Some(family)) = (known, bytes.first_mut()) {
                *family = AF_INET6;
            }
            let long = bytes.len() >= MESSAGE;
            let parsed = Socket::parse(&bytes);
            prop_assert!(!known || parsed.is_ok() == long);
        }

        #[test]
        fn a_recorded_answer_with_any_byte_changed_does_not_panic(at in 0usize..408, value in any::<u8>()) {
            let mut bytes = golden::bytes(golden::CLIENT_CLOSE_WAIT);
            bytes[at] = value;
            for message in messages(&bytes).flatten() {
                let parsed = Socket::parse(message.payload);
                prop_assert!(parsed.is_ok() || at < 17);
            }
        }
    }
}
