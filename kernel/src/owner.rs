//! Which process owns the listening socket of an address.

use std::net::{IpAddr, SocketAddr};

use crate::diag::{Family, Socket, TcpState};
use crate::dump::SocketSource;
use crate::error::{DiagError, ProcError};
use crate::process::{ProcFs, ProcessIdentity};
use crate::query::{End, Query, States};

/// The process behind a listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOwner {
    /// The process; of several that share the socket by inheritance the one with the lowest pid.
    pub process: ProcessIdentity,
    /// Listening sockets on the address. More than one (`SO_REUSEPORT`): another process may answer the next
    /// connection.
    pub listeners: usize,
}

/// Why the owner of an address could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Listening sockets could not be listed.
    #[error(transparent)]
    Diag(#[from] DiagError),
    /// `/proc` could not be read, or the owner is a process of another user.
    #[error(transparent)]
    Proc(#[from] ProcError),
}

/// Finds the process that answers connections to `endpoint`, an address of this machine in the agent's network
/// namespace. `None`: nobody listens there, or the owner is in a pid namespace that the agent does not see.
///
/// Reads the descriptors of processes until it has found the socket (about 5 µs each), those of the socket's user first,
/// so a caller should keep the answer and ask again when the target was gone.
///
/// # Errors
/// When sockets cannot be listed; when nobody among the readable processes owns the socket and some are not readable.
pub fn listener_owner(
    source: &mut dyn SocketSource,
    proc: &ProcFs,
    endpoint: SocketAddr,
) -> Result<Option<ListenerOwner>, OwnerError> {
    let listeners = best_listeners(source, endpoint)?;
    let Some(first) = listeners.first() else {
        return Ok(None);
    };
    let inodes: Vec<u32> = listeners.iter().map(|socket| socket.inode).collect();
    let mut pids = proc.pids()?;
    pids.sort_by_key(|pid| (proc.uid(*pid) != Some(first.uid), *pid));
    let mut refused = None;
    for pid in pids {
        let mut owns = false;
        match proc.socket_inodes(pid, &mut |inode| owns |= inodes.contains(&inode)) {
            Ok(()) if owns => match proc.identity(pid) {
                Ok(process) => {
                    return Ok(Some(ListenerOwner { process, listeners: listeners.len() }));
                }
                Err(ProcError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            Ok(()) | Err(ProcError::Gone { .. }) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), |error| Err(error.into()))
}

/// The listeners that the kernel prefers for this address: on the address itself before those on the wildcard.
fn best_listeners(source: &mut dyn SocketSource, endpoint: SocketAddr) -> Result<Vec<Socket>, DiagError> {
    let mut best: Vec<Socket> = Vec::new();
    let mut best_score = 1;
    for family in Family::ALL {
        let query = Query {
            states: States::of(&[TcpState::Listen]),
            info: false,
            local: End { ip: None, port: Some(endpoint.port()) },
            ..Query::all(family)
        };
        source.dump(&query, &mut |socket| {
            let score = score(socket, endpoint);
            if score > best_score {
                best.clear();
                best_score = score;
            }
            let known = best.iter().any(|other| other.cookie == socket.cookie);
            if score == best_score && !known && socket.inode != 0 {
                best.push(*socket);
            }
        })?;
    }
    Ok(best)
}

/// 0: does not take the connection; else the greater the more specific.
fn score(socket: &Socket, endpoint: SocketAddr) -> u8 {
    if socket.state != TcpState::Listen || socket.local.port() != endpoint.port() {
        return 0;
    }
    let ip = endpoint.ip().to_canonical();
    match socket.local.ip() {
        local if local == ip => 3,
        IpAddr::V4(local) if local.is_unspecified() && ip.is_ipv4() => 2,
        IpAddr::V6(local) if local.is_unspecified() && ip.is_ipv6() => 2,
        IpAddr::V6(local) if local.is_unspecified() && !socket.v6_only => 1,
        _ => 0,
    }
}
