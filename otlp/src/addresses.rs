//! How many connections each address has, and each network of IPv6: one host may have all 2^64 addresses of its network.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http_server::ServerLimits;

/// Counts of connections by where they come from. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<Source, Count>>>);

/// Where connections come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// One address.
    Address(IpAddr),
    /// The network of an address of IPv6, 64 bits of it.
    Network(Ipv6Addr),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Address(address) => address.fmt(f),
            Source::Network(network) => write!(f, "{network}/64"),
        }
    }
}

impl Source {
    /// Those of an address.
    fn all(ip: IpAddr) -> impl Iterator<Item = Source> {
        let network = match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        };
        [Some(Source::Address(ip)), network.map(Source::Network)].into_iter().flatten()
    }

    /// How many connections it may have. A network can be a whole fleet, which takes no more than half of the places.
    fn most(self, limits: &ServerLimits) -> usize {
        let of_address = limits.max_connections_per_address;
        match self {
            Source::Address(_) => of_address,
            Source::Network(_) => of_address.max(limits.max_connections / 2),
        }
    }
}

#[derive(Default)]
struct Count {
    connections: usize,
    refused: Rarely,
}

/// The place of one connection; it is free again when this is dropped.
pub(crate) struct Place(Option<(Addresses, IpAddr)>);

/// There is no place for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Whose it is.
    pub(crate) source: Source,
    /// How many that may have.
    pub(crate) limit: usize,
    /// How many there were since that was last said, when it is to be said.
    pub(crate) say: Option<u64>,
}

impl Addresses {
    /// A place for a connection from `address`, unless that has as many as it may already. Programs on this machine are not
    /// counted: behind a proxy or sidecar all connections come from there.
    pub(crate) fn enter(&self, address: Option<SocketAddr>, limits: &ServerLimits) -> Result<Place, Full> {
        let Some(ip) = address.map(|address| address.ip().to_canonical()).filter(|ip| !ip.is_loopback())
        else {
            return Ok(Place(None));
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for source in Source::all(ip) {
            let limit = source.most(limits);
            if let Some(count) = counts.get_mut(&source).filter(|count| count.connections >= limit) {
                return Err(Full { source, limit, say: count.refused.once_more() });
            }
        }
        for source in Source::all(ip) {
            counts.entry(source).or_default().connections += 1;
        }
        Ok(Place(Some((self.clone(), ip))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, ip)) = self.0.take() else { return };
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        for source in Source::all(ip) {
            match counts.get_mut(&source) {
                Some(count) if count.connections > 1 => count.connections -= 1,
                _ => drop(counts.remove(&source)),
            }
        }
    }
}

/// What happens again and again, and is said once a minute at most.
#[derive(Debug, Default)]
pub(crate) struct Rarely {
    since: u64,
    said: Option<Instant>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Rarely {
    /// It happened. Gives how often since it was last said, when it is to be said.
    #[expect(clippy::disallowed_methods, reason = "a network adapter, which simulation replaces")]
    pub(crate) fn once_more(&mut self) -> Option<u64> {
        let now = Instant::now();
        self.since += 1;
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < MINUTE) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip.parse().expect("an address"), 1))
    }

    fn most(max_connections_per_address: usize, max_connections: usize) -> ServerLimits {
        ServerLimits { max_connections, max_connections_per_address, ..ServerLimits::default() }
    }

    #[test]
    fn one_address_cannot_take_all_places_and_leaves_nothing_behind() {
        let (addresses, two) = (Addresses::default(), most(2, 100));
        let first = addresses.enter(from("10.0.0.1"), &two);
        let _second = addresses.enter(from("::ffff:10.0.0.1"), &two).expect("a place");
        let source = Source::Address("10.0.0.1".parse().expect("an address"));
        let full = Full { source, limit: 2, say: Some(1) };
        assert_eq!(addresses.enter(from("10.0.0.1"), &two).err(), Some(full));
        let other = addresses.enter(from("10.0.0.2"), &two).expect("a place");
        drop(first.expect("a place"));
        assert!(addresses.enter(from("10.0.0.1"), &two).is_ok());
        drop(other);
        assert_eq!(addresses.0.lock().expect("lock").len(), 1);
    }

    #[test]
    fn one_host_cannot_take_all_places_by_the_addresses_of_its_network() {
        let (addresses, limits) = (Addresses::default(), most(2, 10));
        let of_network = |host: usize| from(&format!("2001:db8:0:1:{host}::1"));
        let places: Vec<_> =
            (0..5).map(|host| addresses.enter(of_network(host), &limits).expect("a place")).collect();
        let full = addresses.enter(of_network(5), &limits).err().expect("half of the places");
        assert_eq!((full.source.to_string().as_str(), full.limit), ("2001:db8:0:1::/64", 5));
        assert!(addresses.enter(from("2001:db8:0:2::1"), &limits).is_ok(), "another network");
        drop(places);
        assert!(addresses.0.lock().expect("lock").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_all_the_time_is_said_once_a_minute_and_counted() {
        let mut rarely = Rarely::default();
        assert_eq!(rarely.once_more(), Some(1));
        assert_eq!([rarely.once_more(), rarely.once_more()], [None, None]);
        tokio::time::advance(MINUTE).await;
        assert_eq!([rarely.once_more(), rarely.once_more()], [Some(3), None]);
    }

    #[test]
    fn this_machine_is_not_counted() {
        let addresses = Addresses::default();
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(addresses.enter(from("127.0.0.1"), &most(1, 2)).expect("a place"));
            places.push(addresses.enter(None, &most(1, 2)).expect("a place"));
        }
    }
}
