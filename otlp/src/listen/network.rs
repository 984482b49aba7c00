//! Which sockets a TCP endpoint means, as Go's `net.Listen` has it.
//!
//! An unspecified address (`:4317`, `0.0.0.0:4317` or `[::]:4317`) is one socket for IPv6 and IPv4 together, or for IPv4
//! alone on a machine without IPv6. `tcp4` and `tcp6` are for their own family alone.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// IPv4 and IPv6.
    Tcp,
    /// IPv4 alone.
    Tcp4,
    /// IPv6 alone.
    Tcp6,
}

impl Network {
    /// As it is written in a configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Network::Tcp => "tcp",
            Network::Tcp4 => "tcp4",
            Network::Tcp6 => "tcp6",
        }
    }

    /// The addresses of an endpoint, of which one is to be bound; none when it has none of this family.
    pub(super) async fn addresses(self, endpoint: &str) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host(with_host(endpoint).into_owned()).await?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found.filter_map(|address| self.of_family(address)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    fn of_family(self, address: SocketAddr) -> Option<SocketAddr> {
        let address = plain(address);
        let any = |ip: IpAddr| Some(SocketAddr::new(ip, address.port()));
        match (self, address.ip()) {
            (Network::Tcp, ip) if ip.is_unspecified() => any(Ipv6Addr::UNSPECIFIED.into()),
            (Network::Tcp4, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => any(Ipv4Addr::UNSPECIFIED.into()),
            (Network::Tcp4, ip) => ip.is_ipv4().then_some(address),
            (Network::Tcp6, ip) => ip.is_ipv6().then_some(address),
            (Network::Tcp, _) => Some(address),
        }
    }

    /// Binds the first of the addresses that can be, and says which that was; without any, the error is `Unsupported`.
    pub(super) fn bind(self, addresses: &[SocketAddr]) -> io::Result<(TcpListener, SocketAddr)> {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for address in addresses {
            match self.bind_one(*address) {
                Ok(listener) => return Ok((listener, *address)),
                Err(e) => refused = e,
            }
        }
        Err(refused)
    }

    fn bind_one(self, address: SocketAddr) -> io::Result<TcpListener> {
        match listen_on(address, self == Network::Tcp6) {
            Err(e) if self == Network::Tcp && address.ip().is_unspecified() && lacks_ipv6(&e) => {
                listen_on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), false)
            }
            bound => bound,
        }
    }

    /// The key in a handover of what is bound to an address.
    pub(super) fn key(self, address: &SocketAddr) -> String {
        // The same address with and without IPv4 are two sockets.
        let network = if self == Network::Tcp6 && address.ip().is_unspecified() { "tcp6" } else { "tcp" };
        format!("{network} {address}")
    }
}

/// The address behind a key of a handover; none behind that of a Unix socket.
pub(super) fn address_of(key: &str) -> Option<SocketAddr> {
    let (network, address) = key.split_once(' ')?;
    address.parse().ok().filter(|_| network.starts_with("tcp"))
}

/// An address of IPv4 as such, also where it is written as one of IPv6 (`::ffff:10.0.0.1`).
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// An empty host means all interfaces.
pub(super) fn with_host(endpoint: &str) -> Cow<'_, str> {
    match endpoint.strip_prefix(':') {
        Some(port) => Cow::Owned(format!("[::]:{port}")),
        None => Cow::Borrowed(endpoint),
    }
}

fn listen_on(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        let socket = TcpSocket::new_v6()?;
        // Without this the machine decides (net.ipv6.bindv6only).
        set_ipv6_v6only(&socket, v6_only)?;
        socket
    } else {
        TcpSocket::new_v4()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the system said that it has no IPv6.
fn lacks_ipv6(e: &io::Error) -> bool {
    let code = e.raw_os_error();
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|errno| code == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn addresses(network: Network, endpoint: &str) -> Vec<String> {
        let found = network.addresses(endpoint).await.expect("an address");
        found.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn every_way_to_write_all_addresses_is_one_socket_and_a_family_takes_its_own_alone() {
        for endpoint in [":4317", "0.0.0.0:4317", "[::]:4317"] {
            assert_eq!(addresses(Network::Tcp, endpoint).await, ["[::]:4317"], "{endpoint}");
            assert_eq!(addresses(Network::Tcp4, endpoint).await, ["0.0.0.0:4317"], "{endpoint}");
        }
        assert_eq!(addresses(Network::Tcp6, ":4317").await, ["[::]:4317"]);
        assert!(addresses(Network::Tcp6, "0.0.0.0:4317").await.is_empty());
        assert!(addresses(Network::Tcp4, "[::1]:4317").await.is_empty());
        assert_eq!(addresses(Network::Tcp, "127.0.0.1:4317").await, ["127.0.0.1:4317"]);
    }

    #[test]
    fn a_machine_without_ipv6_is_told_from_a_port_that_is_taken() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(lacks_ipv6(&error(Errno::AFNOSUPPORT)));
        assert!(!lacks_ipv6(&error(Errno::ADDRINUSE)) && !lacks_ipv6(&error(Errno::ACCESS)));
    }
}
