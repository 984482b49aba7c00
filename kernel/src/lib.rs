//! Sockets and processes as the kernel shows them: sock_diag dumps, owners, ages and idle times of sockets.
//!
//! From the bottom: `netlink` and `diag` are a codec for `inet_diag` dumps, pure functions over bytes; [`Dumper`] asks
//! the kernel; [`ProcFs`] reads processes, and `matching` selects those to watch; `idle` and `tracker` follow each socket
//! from dump to dump; `table` counts them into series; [`Sampler`] puts it together. Nothing here reads a clock, spawns
//! or waits: calls take the time as an argument and block only for the kernel's answers. Linux only.

mod book;
mod cgroup;
#[cfg(any(test, feature = "fuzzing"))]
pub mod check;
pub mod core_dumps;
#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;
pub mod descriptors;
mod diag;
pub mod disks;
mod dump;
mod error;
#[cfg(test)]
mod fake_proc;
#[cfg(test)]
mod golden;
mod idle;
mod listeners;
mod matching;
pub mod memory;
mod netlink;
mod owner;
mod process;
mod query;
mod sampler;
mod series;
mod table;
mod tcp_info;
#[cfg(test)]
mod test_socket;
mod tracker;

pub use diag::{Family, Socket, TcpState, Timer};
pub use dump::{DumpReport, Dumper, SocketSource};
pub use error::{DiagError, Malformed, ProcError};
pub use matching::{MatchReport, Selector, Watchlist};
pub use owner::{ListenerOwner, OwnerError, listener_owner};
pub use process::{Names, ProcFs, ProcessIdentity, ProcessMetrics, host_name};
pub use query::{End, Query, States};
pub use sampler::{Sampler, Settings};
pub use series::{
    BOUNDS_SECONDS, Exemplar, Lifetimes, Notice, ProcessSample, Resource, Sample, SampleReport, SeriesSample,
    Side, StateCounts, Target,
};
pub use tcp_info::TcpInfo;
