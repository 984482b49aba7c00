//! What can go wrong below the receiver, each with the cure in its message.

use std::io;
use std::path::PathBuf;

/// A dump could not be made. None of these is the fault of a single socket: those are counted in
/// [`DumpReport`](crate::DumpReport) instead.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The netlink socket could not be made at all.
    #[error("cannot open a netlink sock_diag socket: {source}; {cure}")]
    Open {
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        cure: &'static str,
    },
    /// Writing a request or reading an answer failed.
    #[error("netlink sock_diag: {doing}: {source}; the socket is opened again for the next dump")]
    Transport {
        /// `send` or `receive`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel has no code that lists these sockets (`ENOENT`).
    #[error(
        "the kernel cannot list {family} TCP sockets: the module is missing; load it: `modprobe inet_diag tcp_diag` \
         (a container cannot load modules: do it on the host)"
    )]
    ModuleMissing {
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// The kernel or a security module refused (`EPERM`, `EACCES`).
    #[error(
        "the kernel refuses to list {family} TCP sockets: {source}; listing needs no capability, so a seccomp filter \
         or a security module forbids it: allow AF_NETLINK with protocol NETLINK_SOCK_DIAG"
    )]
    NotPermitted {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The errno as an error.
        source: io::Error,
    },
    /// Any other error number in the kernel's answer.
    #[error("the kernel answered a dump of {family} TCP sockets with: {source}")]
    Refused {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The errno as an error.
        source: io::Error,
    },
    /// An answer did not fit the receive buffer, or its framing is broken; the dump is useless from there on.
    #[error("netlink sock_diag: {0}; the socket is opened again for the next dump")]
    Framing(#[from] Malformed),
}

/// Bytes that do not hold what their length fields promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: needs {needs} bytes at offset {at}, {has} are there")]
pub struct Malformed {
    /// Structure that was being read.
    pub what: &'static str,
    /// Offset in the buffer that was handed in.
    pub at: usize,
    /// Bytes that the structure needs.
    pub needs: usize,
    /// Bytes that are there.
    pub has: usize,
}

/// Something about a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    /// The process ended; nothing to worry about.
    #[error("process {pid} is gone")]
    Gone {
        /// The process.
        pid: u32,
    },
    /// The process belongs to another user.
    #[error(
        "not permitted to read {} of another user's process: run the agent as that user, or give it the capabilities \
         CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (both, and nothing else, are needed)",
        path.display()
    )]
    NotPermitted {
        /// The process.
        pid: u32,
        /// The file or directory.
        path: PathBuf,
    },
    /// A file does not look as proc(5) says.
    #[error("{} does not hold {expected}; is the proc file system mounted there?", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// Any other failure to read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ProcError {
    /// Sorts the errors of reading below `/proc/<pid>`: a process that ends half-way yields `ENOENT` or `ESRCH`.
    pub(crate) fn of_process(pid: u32, path: PathBuf, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => Self::Gone { pid },
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted { pid, path },
            _ => Self::Io { path, source },
        }
    }
}
