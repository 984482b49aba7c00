//! `struct tcp_info` of any kernel: it only ever grows at its end, so fields are read by offset if they are there.
//!
//! Source: `linux/tcp.h`. 104 bytes is the oldest layout still met (before 4.1), 280 that of 6.18.

use crate::netlink::{u32_at, u64_at};

/// Smallest `tcp_info` that is taken.
pub(crate) const MINIMUM: usize = 104;

/// What the kernel counts for one TCP socket. A field of `None` is not known to the running kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Unanswered retransmissions of the oldest segment in a row, now.
    pub retransmits: u8,
    /// Unanswered window or keepalive probes, now.
    pub probes: u8,
    /// Exponential back-off steps of the retransmission timer, now.
    pub backoff: u8,
    /// Segments sent and not yet acknowledged.
    pub unacked: u32,
    /// Milliseconds since data was sent last (since the connection was made, if never).
    pub last_data_sent_ms: u32,
    /// Milliseconds since data was received last (since the connection was made, if never).
    pub last_data_recv_ms: u32,
    /// Milliseconds since any acknowledgement came, keepalive answers included.
    pub last_ack_recv_ms: u32,
    /// Smoothed round trip time, microseconds.
    pub rtt_us: u32,
    /// Retransmitted segments in the whole life.
    pub total_retrans: u32,
    /// Bytes that the peer acknowledged; the opening SYN counts as one. Linux 4.1.
    pub bytes_acked: Option<u64>,
    /// Payload bytes received in order. Linux 4.1.
    pub bytes_received: Option<u64>,
    /// Bytes in the send queue that were never sent. Linux 4.6.
    pub notsent_bytes: Option<u32>,
    /// Smallest round trip time, microseconds. Linux 4.6.
    pub min_rtt_us: Option<u32>,
    /// Segments with payload received. Linux 4.6.
    pub data_segs_in: Option<u32>,
    /// Segments with payload sent, retransmissions included. Linux 4.6.
    pub data_segs_out: Option<u32>,
    /// Time spent with data to send, microseconds. Linux 4.10.
    pub busy_time_us: Option<u64>,
    /// Segments delivered to the peer. Linux 4.18.
    pub delivered: Option<u32>,
    /// Payload bytes sent, retransmissions included. Linux 4.19.
    pub bytes_sent: Option<u64>,
    /// Payload bytes sent again. Linux 4.19.
    pub bytes_retrans: Option<u64>,
}

impl TcpInfo {
    /// Reads the value of an `INET_DIAG_INFO` attribute; `None` when it is shorter than any kernel writes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < MINIMUM {
            return None;
        }
        Some(Self {
            retransmits: *bytes.get(2)?,
            probes: *bytes.get(3)?,
            backoff: *bytes.get(4)?,
            unacked: u32_at(bytes, 24)?,
            last_data_sent_ms: u32_at(bytes, 44)?,
            last_data_recv_ms: u32_at(bytes, 52)?,
            last_ack_recv_ms: u32_at(bytes, 56)?,
            rtt_us: u32_at(bytes, 68)?,
            total_retrans: u32_at(bytes, 100)?,
            bytes_acked: u64_at(bytes, 120),
            bytes_received: u64_at(bytes, 128),
            notsent_bytes: u32_at(bytes, 144),
            min_rtt_us: u32_at(bytes, 148),
            data_segs_in: u32_at(bytes, 152),
            data_segs_out: u32_at(bytes, 156),
            busy_time_us: u64_at(bytes, 168),
            delivered: u32_at(bytes, 192),
            bytes_sent: u64_at(bytes, 200),
            bytes_retrans: u64_at(bytes, 208),
        })
    }

    /// Payload bytes that the application sent, each counted once: sent minus sent again, or on kernels before 4.19
    /// what was acknowledged.
    pub fn payload_sent(&self) -> Option<u64> {
        match (self.bytes_sent, self.bytes_retrans) {
            (Some(sent), Some(again)) => Some(sent.saturating_sub(again)),
            _ => self.bytes_acked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for at in (0..length).step_by(4) {
            if at + 4 <= length {
                bytes[at..at + 4].copy_from_slice(&u32::try_from(at).unwrap().to_ne_bytes());
            }
        }
        bytes
    }

    #[test]
    fn the_oldest_layout_has_the_base_and_no_byte_counters() {
        let info = TcpInfo::parse(&numbered(104)).unwrap();
        assert_eq!((info.last_data_sent_ms, info.last_data_recv_ms, info.rtt_us), (44, 52, 68));
        assert_eq!((info.bytes_acked, info.bytes_received, info.payload_sent()), (None, None, None));
    }

    #[test]
    fn a_kernel_of_4_2_knows_acknowledged_bytes_only() {
        let mut bytes = numbered(144);
        bytes[120..128].copy_from_slice(&1000u64.to_ne_bytes());
        let info = TcpInfo::parse(&bytes).unwrap();
        assert_eq!(info.payload_sent(), Some(1000));
        assert_eq!((info.notsent_bytes, info.busy_time_us, info.bytes_sent), (None, None, None));
    }

    #[test]
    fn a_field_cut_in_its_middle_is_absent() {
        let info = TcpInfo::parse(&numbered(212)).unwrap();
        assert!(info.bytes_sent.is_some());
        assert_eq!(info.bytes_retrans, None);
    }

    #[test]
    fn bytes_sent_again_are_not_payload_twice() {
        let mut bytes = vec![0; 400];
        bytes[200..208].copy_from_slice(&500u64.to_ne_bytes());
        bytes[208..216].copy_from_slice(&120u64.to_ne_bytes());
        assert_eq!(TcpInfo::parse(&bytes).unwrap().payload_sent(), Some(380));
    }

    #[test]
    fn every_length_is_taken_or_refused_without_panic() {
        for length in 0..400 {
            assert_eq!(TcpInfo::parse(&numbered(length)).is_some(), length >= MINIMUM, "length {length}");
        }
    }
}
