//! The listening sockets of the machine, by port: they tell accepted connections from made ones.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::diag::Socket;
use crate::series::Side;

/// More listening sockets than this are not remembered.
const LIMIT: usize = 65_536;

/// Where somebody listens. Any process counts, not only the watched ones: a listener may be inherited or passed on.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    by_port: HashMap<u16, Vec<SocketAddr>>,
    count: usize,
}

impl Listeners {
    pub(crate) fn add(&mut self, listener: &Socket) {
        let addresses = self.by_port.entry(listener.local.port()).or_default();
        if self.count < LIMIT && !addresses.contains(&listener.local) {
            addresses.push(listener.local);
            self.count += 1;
        }
    }

    /// Side and target of a connection: a server's target is its listener, on the address itself before one on a
    /// wildcard; a client's is the peer.
    pub(crate) fn classify(&self, socket: &Socket) -> (Side, SocketAddr) {
        let candidates = self.by_port.get(&socket.local.port()).map(Vec::as_slice).unwrap_or_default();
        let exact = candidates.iter().find(|listener| listener.ip() == socket.local.ip());
        let family = |listener: &&SocketAddr| listener.is_ipv4() == socket.local.is_ipv4();
        let wildcard = || candidates.iter().filter(|listener| listener.ip().is_unspecified());
        // A dual-stack listener on [::] takes IPv4 as well.
        let taken = exact
            .or_else(|| wildcard().find(family))
            .or_else(|| wildcard().find(|listener| listener.is_ipv6()));
        match taken {
            Some(listener) => (Side::Server, *listener),
            None => (Side::Client, socket.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::TcpState;
    use crate::test_socket::socket;

    fn listeners(addresses: &[&str]) -> Listeners {
        let mut listeners = Listeners::default();
        for address in addresses {
            listeners.add(&Socket { local: address.parse().unwrap(), ..socket(1, TcpState::Listen) });
        }
        listeners
    }

    fn classify(listeners: &Listeners, local: &str) -> (Side, String) {
        let socket = Socket { local: local.parse().unwrap(), ..socket(1, TcpState::Established) };
        let (side, target) = listeners.classify(&socket);
        (side, target.to_string())
    }

    #[test]
    fn a_connection_on_a_listening_port_is_a_servers_and_named_by_the_closest_listener() {
        let listeners = listeners(&["0.0.0.0:80", "10.0.0.9:80", "[::]:443", "127.0.0.1:99"]);
        assert_eq!(classify(&listeners, "10.0.0.9:80"), (Side::Server, "10.0.0.9:80".into()));
        assert_eq!(classify(&listeners, "10.0.0.8:80"), (Side::Server, "0.0.0.0:80".into()));
        assert_eq!(classify(&listeners, "10.0.0.9:443"), (Side::Server, "[::]:443".into()));
        assert_eq!(classify(&listeners, "[2001:db8::1]:443"), (Side::Server, "[::]:443".into()));
    }

    #[test]
    fn any_other_connection_is_a_clients_and_named_by_its_peer() {
        let listeners = listeners(&["127.0.0.1:99", "0.0.0.0:80"]);
        assert_eq!(classify(&listeners, "10.0.0.9:99"), (Side::Client, "10.0.0.1:443".into()));
        assert_eq!(classify(&listeners, "[2001:db8::1]:80"), (Side::Client, "10.0.0.1:443".into()));
        assert_eq!(classify(&listeners, "10.0.0.9:40000"), (Side::Client, "10.0.0.1:443".into()));
    }
}
