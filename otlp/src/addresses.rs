//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts of connections by address. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<IpAddr, Count>>>);

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
    pub(crate) address: IpAddr,
    /// How many there were since that was last said, when it is to be said.
    pub(crate) say: Option<u64>,
}

impl Addresses {
    /// A place for a connection from `address`, unless that has `most` already. Programs on this machine are not counted:
    /// behind a proxy or sidecar all connections come from there.
    pub(crate) fn enter(&self, address: Option<SocketAddr>, most: usize) -> Result<Place, Full> {
        let Some(ip) = address.map(|address| address.ip().to_canonical()).filter(|ip| !ip.is_loopback())
        else {
            return Ok(Place(None));
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_default();
        if count.connections >= most {
            return Err(Full { address: ip, say: count.refused.once_more() });
        }
        count.connections += 1;
        Ok(Place(Some((self.clone(), ip))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, ip)) = self.0.take() else { return };
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&ip) {
            Some(count) if count.connections > 1 => count.connections -= 1,
            _ => drop(counts.remove(&ip)),
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

    #[test]
    fn one_address_cannot_take_all_places_and_leaves_nothing_behind() {
        let addresses = Addresses::default();
        let first = addresses.enter(from("10.0.0.1"), 2);
        let _second = addresses.enter(from("::ffff:10.0.0.1"), 2).expect("a place");
        let address = "10.0.0.1".parse().expect("an address");
        assert_eq!(addresses.enter(from("10.0.0.1"), 2).err(), Some(Full { address, say: Some(1) }));
        let other = addresses.enter(from("10.0.0.2"), 2).expect("a place");
        drop(first.expect("a place"));
        assert!(addresses.enter(from("10.0.0.1"), 2).is_ok());
        drop(other);
        assert_eq!(addresses.0.lock().expect("lock").len(), 1);
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
        assert!(addresses.enter(from("127.0.0.1"), 0).is_ok());
        assert!(addresses.enter(None, 0).is_ok());
    }
}
