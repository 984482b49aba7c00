//! A dump over a netlink socket: ask, then read datagrams until the kernel says that it is done.
//!
//! The kernel writes the table in portions of at most 32 KiB while others change it. It may say so
//! (`NLM_F_DUMP_INTR`), and then the dump is made again, up to three times; without saying so it may deliver a socket
//! twice or leave one out at the border of two portions. Whoever listens therefore goes by the cookie, and takes one
//! absence of a socket for its end only when the report is not partial.

use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket as NetlinkSocket, SocketAddr as NetlinkAddr};

use crate::diag::{Family, Socket};
use crate::error::{DiagError, Malformed};
use crate::netlink::{self, messages, u32_at};
use crate::query::{BY_FAMILY, Query};

/// Bytes for one datagram. The kernel fills at most 32 KiB of it.
const BUFFER: usize = 64 * 1024;
/// How often an interrupted dump is made again before it is called partial.
const RETRIES: u32 = 3;

/// What one dump came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpReport {
    /// Sockets handed to the callback, in all attempts together.
    pub sockets: u64,
    /// Answers that could not be read, left out.
    pub malformed: u64,
    /// How often it was made again because the table changed under it.
    pub retries: u32,
    /// Some sockets may be missing: each attempt was interrupted, or data was lost on the way.
    pub partial: bool,
}

/// Where sockets come from: the kernel, or a recording in a test.
pub trait SocketSource {
    /// Hands every socket that matches to `each`. A socket may come more than once: go by the cookie.
    ///
    /// # Errors
    /// When the dump could not be made or broke off; what was handed over before is then incomplete.
    fn dump(&mut self, query: &Query, each: &mut dyn FnMut(&Socket)) -> Result<DumpReport, DiagError>;
}

/// The kernel as a source. One descriptor, kept between dumps; it stays in the network namespace in which it was made.
/// Calls block for the time of a dump (about 1 µs for each socket), so they belong on a thread that may block.
#[derive(Debug, Default)]
pub struct Dumper {
    transport: Option<Netlink>,
    sequence: u32,
}

impl Dumper {
    /// Opens the netlink socket. No capability is needed.
    ///
    /// # Errors
    /// When the system has no such socket or forbids it; the message says what to allow.
    pub fn open() -> Result<Self, DiagError> {
        Ok(Self { transport: Some(Netlink::open()?), sequence: 0 })
    }
}

impl SocketSource for Dumper {
    fn dump(&mut self, query: &Query, each: &mut dyn FnMut(&Socket)) -> Result<DumpReport, DiagError> {
        let mut transport = match self.transport.take() {
            Some(transport) => transport,
            None => Netlink::open()?,
        };
        let report = dump(&mut transport, &mut self.sequence, query, each)?;
        // After an error the rest of the broken answer would be taken for the next one: a new socket has none.
        self.transport = Some(transport);
        Ok(report)
    }
}

/// Datagrams to and from the kernel.
pub(crate) trait Transport {
    fn send(&mut self, request: &[u8]) -> io::Result<()>;
    /// One datagram and its true length, which is greater when it did not fit.
    fn receive(&mut self) -> io::Result<(&[u8], usize)>;
}

#[derive(Debug)]
struct Netlink {
    socket: NetlinkSocket,
    buffer: Vec<u8>,
}

impl Netlink {
    fn open() -> Result<Self, DiagError> {
        let connected = || {
            let mut socket = NetlinkSocket::new(NETLINK_SOCK_DIAG)?;
            socket.bind_auto()?;
            // Connected to port 0, only the kernel can send to it.
            socket.connect(&NetlinkAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket =
            connected().map_err(|source: io::Error| DiagError::Open { cure: cure(&source), source })?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }
}

fn cure(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => "allow AF_NETLINK (systemd: RestrictAddressFamilies=AF_NETLINK)",
        Some(libc::EPROTONOSUPPORT) => "the kernel lacks NETLINK_SOCK_DIAG: load the module inet_diag",
        Some(libc::EPERM | libc::EACCES) => {
            "a seccomp filter or security module forbids it: allow AF_NETLINK sockets"
        }
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files",
        _ => "no cure is known for this error",
    }
}

impl Transport for Netlink {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.socket.send(request, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<(&[u8], usize)> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) => return Ok((&self.buffer, length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

pub(crate) fn dump(
    transport: &mut impl Transport,
    sequence: &mut u32,
    query: &Query,
    each: &mut dyn FnMut(&Socket),
) -> Result<DumpReport, DiagError> {
    let mut report = DumpReport::default();
    loop {
        *sequence = sequence.wrapping_add(1);
        let interrupted = attempt(transport, *sequence, query, each, &mut report)?;
        if !interrupted {
            return Ok(report);
        }
        if report.retries == RETRIES {
            report.partial = true;
            return Ok(report);
        }
        report.retries += 1;
    }
}

/// One request and its whole answer; true when the answer is incomplete.
fn attempt(
    transport: &mut impl Transport,
    sequence: u32,
    query: &Query,
    each: &mut dyn FnMut(&Socket),
    report: &mut DumpReport,
) -> Result<bool, DiagError> {
    let request = query.encode(sequence);
    transport.send(&request).map_err(|source| DiagError::Transport { doing: "send", source })?;
    let mut interrupted = false;
    loop {
        let (datagram, length) =
            transport.receive().map_err(|source| DiagError::Transport { doing: "receive", source })?;
        if length > datagram.len() || length == 0 {
            return Err(Malformed {
                what: "netlink datagram",
                at: 0,
                needs: length.max(1),
                has: datagram.len(),
            }
            .into());
        }
        for message in messages(datagram) {
            let message = message?;
            if message.sequence != sequence {
                continue;
            }
            interrupted |= message.flags & netlink::FLAG_INTERRUPTED != 0;
            match message.kind {
                BY_FAMILY => match Socket::parse(message.payload) {
                    Ok(socket) => {
                        report.sockets += 1;
                        each(&socket);
                    }
                    Err(_) => report.malformed += 1,
                },
                netlink::OVERRUN => interrupted = true,
                netlink::DONE | netlink::ERROR => {
                    return match error_number(message.payload) {
                        0 => Ok(interrupted),
                        number => Err(refused(query.family, number)),
                    };
                }
                netlink::NOOP => {}
                _ => report.malformed += 1,
            }
        }
    }
}

/// The error number as a positive errno; 0 for success and for a `DONE` without one.
fn error_number(payload: &[u8]) -> i32 {
    u32_at(payload, 0).map_or(0, |number| number.cast_signed().saturating_neg().max(0))
}

fn refused(family: Family, number: i32) -> DiagError {
    let source = io::Error::from_raw_os_error(number);
    let family = family.name();
    match number {
        libc::ENOENT => DiagError::ModuleMissing { family },
        libc::EPERM | libc::EACCES => DiagError::NotPermitted { family, source },
        _ => DiagError::Refused { family, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::write_message;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Answers from a list; an empty datagram stands for one that did not fit.
    struct Recorded {
        datagrams: VecDeque<Vec<u8>>,
        current: Vec<u8>,
        requests: usize,
    }

    impl Recorded {
        fn new(datagrams: impl IntoIterator<Item = Vec<u8>>) -> Self {
            Self { datagrams: datagrams.into_iter().collect(), current: Vec::new(), requests: 0 }
        }

        fn run(&mut self) -> (Vec<Socket>, Result<DumpReport, DiagError>) {
            let mut sockets = Vec::new();
            let mut each = |socket: &Socket| sockets.push(*socket);
            let report = dump(self, &mut 0, &Query::all(Family::V4), &mut each);
            (sockets, report)
        }
    }

    impl Transport for Recorded {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            self.requests += 1;
            Ok(())
        }

        fn receive(&mut self) -> io::Result<(&[u8], usize)> {
            self.current = self.datagrams.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
            Ok((&self.current, self.current.len()))
        }
    }

    fn socket(sequence: u32, flags: u16, inode: u32) -> Vec<u8> {
        let mut payload = vec![0; 72];
        payload[0] = 2;
        payload[1] = 1;
        payload[68..72].copy_from_slice(&inode.to_ne_bytes());
        let mut datagram = Vec::new();
        write_message(&mut datagram, BY_FAMILY, flags, sequence, &payload);
        datagram
    }

    fn ending(kind: u16, sequence: u32, number: i32) -> Vec<u8> {
        let mut datagram = Vec::new();
        write_message(&mut datagram, kind, 2, sequence, &number.to_ne_bytes());
        datagram
    }

    #[test]
    fn a_dump_is_read_to_its_end_over_several_datagrams() {
        let two = [socket(1, 2, 10), socket(1, 2, 11)].concat();
        let mut kernel = Recorded::new([two, socket(1, 2, 12), ending(netlink::DONE, 1, 0)]);
        let (sockets, report) = kernel.run();
        assert_eq!(sockets.iter().map(|socket| socket.inode).collect::<Vec<_>>(), [10, 11, 12]);
        assert_eq!(report.unwrap(), DumpReport { sockets: 3, ..DumpReport::default() });
    }

    #[test]
    fn messages_of_an_older_request_are_passed_over() {
        let mut kernel = Recorded::new([
            socket(0, 2, 10),
            ending(netlink::DONE, 0, 0),
            socket(1, 2, 11),
            ending(netlink::DONE, 1, 0),
        ]);
        let (sockets, report) = kernel.run();
        assert_eq!(sockets.len(), 1);
        assert_eq!(report.unwrap().sockets, 1);
    }

    #[test]
    fn an_interrupted_dump_is_made_again() {
        let interrupted = 2 | netlink::FLAG_INTERRUPTED;
        let mut kernel = Recorded::new([
            socket(1, interrupted, 10),
            ending(netlink::DONE, 1, 0),
            socket(2, 2, 10),
            ending(netlink::DONE, 2, 0),
        ]);
        let report = kernel.run().1.unwrap();
        assert_eq!(report, DumpReport { sockets: 2, retries: 1, ..DumpReport::default() });
    }

    #[test]
    fn a_dump_interrupted_four_times_is_partial() {
        let interrupted = |sequence| socket(sequence, netlink::FLAG_INTERRUPTED, 10);
        let mut kernel =
            Recorded::new((1..=4).flat_map(|at| [interrupted(at), ending(netlink::DONE, at, 0)]));
        let report = kernel.run().1.unwrap();
        assert_eq!((report.retries, report.partial), (RETRIES, true));
        assert_eq!(kernel.requests, 4);
    }

    #[test]
    fn a_missing_module_is_named_with_the_command_that_loads_it() {
        let error = Recorded::new([ending(netlink::ERROR, 1, -libc::ENOENT)]).run().1.unwrap_err();
        assert!(matches!(error, DiagError::ModuleMissing { family: "IPv4" }));
        assert!(error.to_string().contains("modprobe inet_diag tcp_diag"), "{error}");
    }

    #[test]
    fn a_refusal_says_that_no_capability_is_missing() {
        let error = Recorded::new([ending(netlink::ERROR, 1, -libc::EPERM)]).run().1.unwrap_err();
        assert!(matches!(error, DiagError::NotPermitted { .. }));
        assert!(error.to_string().contains("seccomp"), "{error}");
    }

    #[test]
    fn an_error_number_at_the_end_of_a_dump_is_an_error() {
        let error = Recorded::new([ending(netlink::DONE, 1, -libc::EINVAL)]).run().1.unwrap_err();
        assert!(matches!(error, DiagError::Refused { .. }), "{error}");
    }

    #[test]
    fn a_socket_that_cannot_be_read_is_counted_and_the_rest_kept() {
        let mut short = Vec::new();
        write_message(&mut short, BY_FAMILY, 2, 1, &[2; 71]);
        let mut kernel = Recorded::new([short, socket(1, 2, 10), ending(netlink::DONE, 1, 0)]);
        let report = kernel.run().1.unwrap();
        assert_eq!((report.sockets, report.malformed), (1, 1));
    }

    #[test]
    fn a_datagram_that_did_not_fit_is_an_error() {
        struct Truncated;
        impl Transport for Truncated {
            fn send(&mut self, _: &[u8]) -> io::Result<()> {
                Ok(())
            }
            fn receive(&mut self) -> io::Result<(&[u8], usize)> {
                Ok((&[0; 16], 70_000))
            }
        }
        let error = dump(&mut Truncated, &mut 0, &Query::all(Family::V6), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("needs 70000 bytes"), "{error}");
    }

    proptest! {
        #[test]
        fn any_answer_ends_without_panic(datagrams in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..400), 0..4)) {
            let mut kernel = Recorded::new(datagrams);
            let (sockets, report) = kernel.run();
            if let Ok(report) = report {
                prop_assert_eq!(sockets.len() as u64, report.sockets);
            }
        }
    }
}
