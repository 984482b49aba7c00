//! What to dump: `inet_diag_req_v2`, and a filter that the kernel applies, as bytecode.
//!
//! The filter's bytecode is a row of operations, each `{code u8, yes u8, no u16, arguments}`: jump `yes` bytes ahead
//! when it holds, `no` bytes when not. A jump to the end accepts, one 4 bytes past the end rejects. One condition on
//! an address and port is `INET_DIAG_BC_S_COND` or `_D_COND` with `inet_diag_hostcond {family u8, prefix u8, pad u16,
//! port i32, address}`. Source: `linux/inet_diag.h`, `inet_diag_bc_audit` in the kernel.

use std::net::IpAddr;

use crate::diag::{Family, TcpState};
use crate::netlink::{FLAGS_DUMP, write_attribute, write_message};

/// `SOCK_DIAG_BY_FAMILY`.
pub(crate) const BY_FAMILY: u16 = 20;

const IPPROTO_TCP: u8 = 6;
/// Bit of `INET_DIAG_INFO` (2) in the extension mask.
const EXTENSION_INFO: u8 = 1 << 1;
const ATTRIBUTE_BYTECODE: u16 = 1;
const CODE_LOCAL: u8 = 7;
const CODE_PEER: u8 = 8;
const OPERATION: usize = 4;
const CONDITION: usize = 8;

/// A set of TCP states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state.
    pub const ALL: Self = Self(0x1fff);

    /// Exactly these.
    pub fn of(states: &[TcpState]) -> Self {
        Self(states.iter().fold(0, |mask, state| mask | 1 << (*state as u32)))
    }

    /// All but these.
    #[must_use]
    pub fn without(self, states: &[TcpState]) -> Self {
        Self(self.0 & !Self::of(states).0)
    }
}

/// A condition on one end of a connection; what is `None` matches all. With an IPv4 address, IPv4-mapped sockets match
/// too when IPv6 is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Exact address.
    pub ip: Option<IpAddr>,
    /// Exact port.
    pub port: Option<u16>,
}

/// One dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Which family's sockets.
    pub family: Family,
    /// Which states.
    pub states: States,
    /// Whether to have [`TcpInfo`](crate::TcpInfo) with each socket: about 300 bytes and 0.4 µs more.
    pub info: bool,
    /// Condition on the local end.
    pub local: End,
    /// Condition on the peer's end.
    pub peer: End,
}

impl Query {
    /// All sockets of a family, with counters.
    pub fn all(family: Family) -> Self {
        Self { family, states: States::ALL, info: true, local: End::default(), peer: End::default() }
    }

    /// The request as bytes that a netlink socket takes.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        let extensions = if self.info { EXTENSION_INFO } else { 0 };
        let mut payload = Vec::with_capacity(120);
        payload.extend_from_slice(&[self.family.number(), IPPROTO_TCP, extensions, 0]);
        payload.extend_from_slice(&self.states.0.to_ne_bytes());
        payload.resize(8 + 40, 0);
        // INET_DIAG_NOCOOKIE: the request names no single socket.
        payload.resize(8 + 48, 0xff);
        let code = self.bytecode();
        if !code.is_empty() {
            write_attribute(&mut payload, ATTRIBUTE_BYTECODE, &code);
        }
        let mut message = Vec::with_capacity(payload.len() + 16);
        write_message(&mut message, BY_FAMILY, FLAGS_DUMP, sequence, &payload);
        message
    }

    fn bytecode(&self) -> Vec<u8> {
        let conditions = [(CODE_LOCAL, self.local), (CODE_PEER, self.peer)];
        let set = |end: &End| end.ip.is_some() || end.port.is_some();
        let mut remaining: usize =
            conditions.iter().filter(|(_, end)| set(end)).map(|(_, end)| operation_length(end)).sum();
        let mut code = Vec::with_capacity(remaining);
        for (operation, end) in conditions.iter().filter(|(_, end)| set(end)) {
            write_operation(&mut code, *operation, end, remaining);
            remaining -= operation_length(end);
        }
        code
    }
}

fn operation_length(end: &End) -> usize {
    OPERATION + CONDITION + address_length(end)
}

fn address_length(end: &End) -> usize {
    match end.ip {
        None => 0,
        Some(IpAddr::V4(_)) => 4,
        Some(IpAddr::V6(_)) => 16,
    }
}

/// `remaining` counts from this operation to the end; the lengths are under 60, so the narrow fields hold them.
fn write_operation(code: &mut Vec<u8>, operation: u8, end: &End, remaining: usize) {
    let yes = u8::try_from(operation_length(end)).unwrap_or(u8::MAX);
    let no = u16::try_from(remaining + 4).unwrap_or(u16::MAX);
    code.extend_from_slice(&[operation, yes]);
    code.extend_from_slice(&no.to_ne_bytes());
    let (family, address) = match end.ip {
        None => (0, Vec::new()),
        Some(IpAddr::V4(ip)) => (Family::V4.number(), ip.octets().to_vec()),
        Some(IpAddr::V6(ip)) => (Family::V6.number(), ip.octets().to_vec()),
    };
    let prefix = u8::try_from(address.len() * 8).unwrap_or(u8::MAX);
    code.extend_from_slice(&[family, prefix, 0, 0]);
    code.extend_from_slice(&end.port.map_or(-1, i32::from).to_ne_bytes());
    code.extend_from_slice(&address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_conditions_is_72_bytes_with_no_attribute() {
        let bytes = Query::all(Family::V6).encode(9);
        assert_eq!(bytes.len(), 72);
        assert_eq!(bytes[16..20], [10, 6, 2, 0]);
        assert_eq!(bytes[20..24], 0x1fff_u32.to_ne_bytes());
        assert_eq!(bytes[64..72], [0xff; 8]);
    }

    #[test]
    fn states_are_a_mask_of_one_bit_per_number() {
        assert_eq!(States::of(&[TcpState::Listen, TcpState::Established]).0, 1 << 10 | 1 << 1);
        assert_eq!(States::ALL.without(&[TcpState::Listen]).0, 0x1fff & !(1 << 10));
    }

    #[test]
    fn two_conditions_reject_four_bytes_past_the_common_end() {
        let mut query = Query::all(Family::V4);
        query.local.port = Some(50_051);
        query.peer = End { ip: Some("127.0.0.1".parse().unwrap()), port: None };
        let code = query.bytecode();
        assert_eq!(code.len(), 12 + 16);
        assert_eq!((code[0], code[1], u16::from_ne_bytes([code[2], code[3]])), (CODE_LOCAL, 12, 32));
        assert_eq!(code[4..8], [0, 0, 0, 0]);
        assert_eq!(code[8..12], 50_051_i32.to_ne_bytes());
        assert_eq!((code[12], code[13], u16::from_ne_bytes([code[14], code[15]])), (CODE_PEER, 16, 20));
        assert_eq!(code[16..20], [2, 32, 0, 0]);
        assert_eq!(code[20..24], (-1_i32).to_ne_bytes());
        assert_eq!(code[24..28], [127, 0, 0, 1]);
    }
}
