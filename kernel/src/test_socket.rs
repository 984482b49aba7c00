//! Sockets made up for tests.

use crate::diag::{Family, Socket, TcpState, Timer};
use crate::tcp_info::TcpInfo;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// A client's socket with this number as inode and cookie, from a port of that number to 10.0.0.1:443.
pub(crate) fn socket(number: u16, state: TcpState) -> Socket {
    Socket {
        family: Family::V4,
        state,
        timer: Timer::Off,
        local: ([10, 0, 0, 9], number).into(),
        peer: ([10, 0, 0, 1], 443).into(),
        mapped: false,
        cookie: u64::from(number),
        inode: u32::from(number),
        uid: 1000,
        rqueue: 0,
        wqueue: 0,
        v6_only: false,
        shutdown: 0,
        mark: None,
        cgroup_id: None,
        info: None,
    }
}

pub(crate) fn with_info(info: TcpInfo) -> Socket {
    Socket { info: Some(info), ..socket(1, TcpState::Established) }
}
