//! What is reported: populations of sockets by process, side and target.
//!
//! The numbers are those of `docs/telemetry.md` with `connection.source` = `sockets`. A series holds two resources:
//! `socket`, connections that the process holds and whose peer has not closed, and `close_wait`, those whose peer has.
//! A connection that passes from one to the other is closed in the first and opened in the second, so for each of the
//! two `open` = `opened` - `closed`.
//!
//! Connections that lived entirely between two dumps are not seen; TIME-WAIT sockets of the target tell of them.

use std::net::SocketAddr;

use crate::diag::TcpState;
use crate::matching::MatchReport;
use crate::process::{ProcessIdentity, ProcessMetrics};

/// Bounds of age, idle time and lifetime, seconds.
pub const BOUNDS_SECONDS: [u64; 15] =
    [1, 5, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 21_600, 43_200, 86_400];

pub(crate) const NANOSECONDS: u64 = 1_000_000_000;
pub(crate) const BUCKETS: usize = BOUNDS_SECONDS.len() + 1;

/// `connection.resource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Held by the process and not closed by the peer.
    Socket,
    /// Held by the process and closed by the peer (CLOSE-WAIT).
    CloseWait,
}

impl Resource {
    /// Value of `connection.resource`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::CloseWait => "close_wait",
        }
    }
}

/// `connection.side`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The process connected.
    Client,
    /// The local port is one on which somebody listens: the process accepted.
    Server,
}

impl Side {
    /// Value of `connection.side`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// `connection.target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The peer's address of a client, the listener's address of a server.
    Address(SocketAddr),
    /// All targets beyond the limit together.
    Other,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// Sockets by TCP state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateCounts([u32; TcpState::COUNT]);

impl StateCounts {
    /// Sockets in this state.
    pub fn get(&self, state: TcpState) -> u32 {
        self.0.get(state as usize).copied().unwrap_or_default()
    }

    /// The states that some socket is in, with how many are.
    pub fn iter(&self) -> impl Iterator<Item = (TcpState, u32)> + '_ {
        TcpState::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn add(&mut self, state: TcpState) {
        if let Some(count) = self.0.get_mut(state as usize) {
            *count = count.saturating_add(1);
        }
    }
}

/// Histogram of lifetimes by [`BOUNDS_SECONDS`], each bound the inclusive end of its bucket, as OTLP has it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lifetimes {
    /// Ended connections by bucket; the last one is above all bounds.
    pub counts: [u64; BUCKETS],
    /// Sum of all lifetimes, seconds.
    pub sum_seconds: f64,
}

impl Lifetimes {
    /// Connections that ended.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn add(&mut self, lifetime_ns: u64) {
        let bucket = BOUNDS_SECONDS.partition_point(|bound| bound * NANOSECONDS < lifetime_ns);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_seconds += lifetime_ns as f64 / NANOSECONDS as f64;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_seconds += other.sum_seconds;
    }
}

/// One open socket that exemplifies its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    /// `SO_COOKIE`.
    pub cookie: u64,
    /// Local address.
    pub local: SocketAddr,
    /// Peer's address.
    pub peer: SocketAddr,
    /// State.
    pub state: TcpState,
    /// Age of the connection, nanoseconds; for `close_wait` time since the peer closed.
    pub age_ns: u64,
    /// The age is only a lower bound: it was there before anybody looked.
    pub age_is_bound: bool,
    /// Time without payload, nanoseconds.
    pub idle_ns: u64,
    /// Payload bytes received in its life.
    pub received_bytes: u64,
    /// Payload bytes sent in its life.
    pub sent_bytes: u64,
    /// Bytes received that the process has not read.
    pub unread_bytes: u32,
}

/// One series: the population of one resource of one process towards one target.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSample {
    /// What is counted.
    pub resource: Resource,
    /// Who began.
    pub side: Side,
    /// Towards whom.
    pub target: Target,
    /// When the series was first seen: the start time of its sums, on the caller's clock.
    pub since_ns: u64,
    /// Open now.
    pub open: u64,
    /// Opened since `since_ns`; those that were there then count.
    pub opened: u64,
    /// Closed since `since_ns`.
    pub closed: u64,
    /// Open now and at least as old as each bound.
    pub older: [u64; BOUNDS_SECONDS.len()],
    /// Open now and without payload for at least each bound.
    pub idle: [u64; BOUNDS_SECONDS.len()],
    /// Open now and idle since their first call; always 0 for `close_wait`.
    pub unused: u64,
    /// How many of those open now have an age that is only a lower bound.
    pub age_is_bound: u64,
    /// Lifetimes of those that ended; for `close_wait` the time in it.
    pub lifetimes: Lifetimes,
    /// Open now by TCP state.
    pub states: StateCounts,
    /// Sockets of the target that no descriptor refers to: TIME-WAIT, orphans that are still closing, connections that
    /// wait to be accepted. The kernel names no owner for them, so they are all of the machine's towards this target.
    /// Counted with `socket` only.
    pub unowned: StateCounts,
    /// Open sockets that have been idle longest and for at least 1 s, longest first.
    pub exemplars: Vec<Exemplar>,
}

/// One watched process.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSample {
    /// Who it is.
    pub process: ProcessIdentity,
    /// When it was first watched, on the caller's clock.
    pub since_ns: u64,
    /// It is watched no longer; this is its last sample, and nothing of it is open.
    pub ended: bool,
    /// It is watched no longer because it has exited; another name by `exec`, for example, is no exit.
    pub exited: bool,
    /// Use and limits; empty when it ended.
    pub metrics: ProcessMetrics,
    /// Its series. One of each pair of resources is left out while nothing was ever counted in it.
    pub series: Vec<SeriesSample>,
    /// Connections that went into [`Target::Other`] because there were too many targets.
    pub folded: u64,
}

/// Something that the user should know; what it says is a message with its cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// How a selector fared.
    Matching(MatchReport),
    /// The descriptors of a process may not be read, so its sockets are unknown.
    NotPermitted {
        /// The process.
        process: ProcessIdentity,
        /// What is needed.
        message: String,
    },
    /// A process is in another network namespace, so its sockets are not among those listed.
    OtherNamespace {
        /// The process.
        process: ProcessIdentity,
    },
    /// Processes could not be looked for.
    Processes {
        /// Why.
        message: String,
    },
    /// One family is not listed.
    Family {
        /// Why.
        message: String,
    },
    /// More sockets than are followed.
    Limit {
        /// Sockets of watched processes, or of processes not known, that are not followed.
        sockets: u64,
        /// How many are at most.
        limit: usize,
    },
}

impl Notice {
    /// Whether it is worth a warning rather than a plain message.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Matching(report) => report.is_warning(),
            _ => true,
        }
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Matching(report) => report.fmt(f),
            Self::NotPermitted { process, message } => {
                write!(f, "sockets of {} ({}) are unknown: {message}", process.executable_name, process.pid)
            }
            Self::OtherNamespace { process } => write!(
                f,
                "sockets of {} ({}) are unknown: it is in another network namespace; run an agent there, for example \
                 in the same pod, or with `nsenter --net=/proc/{}/ns/net`",
                process.executable_name, process.pid, process.pid
            ),
            Self::Processes { message } | Self::Family { message } => f.write_str(message),
            Self::Limit { sockets, limit } => write!(
                f,
                "{sockets} sockets are not followed because {limit} are: raise max_sockets (about 160 bytes each), or \
                 select fewer processes"
            ),
        }
    }
}

/// What the dumps of one sample came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SampleReport {
    /// Sockets that the kernel listed.
    pub sockets: u64,
    /// Sockets of watched processes, followed.
    pub followed: u64,
    /// New sockets whose owner is looked for in the next sample, because there were too many for one.
    pub deferred: u64,
    /// Answers that could not be read.
    pub malformed: u64,
    /// Dumps made again because the table changed meanwhile.
    pub retries: u32,
    /// Sockets may be missing; none was taken for closed unless it was missing three times.
    pub partial: bool,
    /// Walks through the descriptors of the watched processes.
    pub walks: u32,
}

/// All that one sample found.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When, on the caller's clock.
    pub at_ns: u64,
    /// Watched processes.
    pub processes: Vec<ProcessSample>,
    /// What holds now; whoever logs keeps the last ones and says what is new.
    pub notices: Vec<Notice>,
    /// Figures of the dumps.
    pub report: SampleReport,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_exactly_a_bound_is_in_the_bucket_that_ends_there() {
        let mut lifetimes = Lifetimes::default();
        for lifetime in [1, NANOSECONDS, NANOSECONDS + 1, 86_400 * NANOSECONDS, 86_401 * NANOSECONDS] {
            lifetimes.add(lifetime);
        }
        assert_eq!((lifetimes.counts[0], lifetimes.counts[1]), (2, 1));
        assert_eq!((lifetimes.counts[14], lifetimes.counts[15]), (1, 1));
        assert_eq!(lifetimes.count(), 5);
        assert!((lifetimes.sum_seconds - 172_803.0).abs() < 1e-3);
    }

    #[test]
    fn states_are_counted_each_by_itself() {
        let mut states = StateCounts::default();
        for state in [TcpState::TimeWait, TcpState::TimeWait, TcpState::Unknown] {
            states.add(state);
        }
        assert_eq!((states.get(TcpState::TimeWait), states.get(TcpState::Established)), (2, 0));
        assert_eq!(states.iter().collect::<Vec<_>>(), [(TcpState::Unknown, 1), (TcpState::TimeWait, 2)]);
    }
}
