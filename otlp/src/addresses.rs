//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts of connections by address. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of one connection; it is free again when this is dropped.
pub(crate) struct Place(Option<(Addresses, IpAddr)>);

impl Addresses {
    /// A place for a connection from `address`; `None` when that has `most` already. Programs on this machine are not
    /// counted: behind a proxy or sidecar all connections come from there.
    pub(crate) fn enter(&self, address: Option<SocketAddr>, most: usize) -> Option<Place> {
        let Some(ip) = address.map(|address| address.ip().to_canonical()).filter(|ip| !ip.is_loopback())
        else {
            return Some(Place(None));
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), ip))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, ip)) = self.0.take() else { return };
        let mut counts = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&ip)),
        }
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
        assert!(addresses.enter(from("10.0.0.1"), 2).is_none());
        let other = addresses.enter(from("10.0.0.2"), 2).expect("a place");
        drop(first.expect("a place"));
        assert!(addresses.enter(from("10.0.0.1"), 2).is_some());
        drop(other);
        assert_eq!(addresses.0.lock().expect("lock").len(), 1);
    }

    #[test]
    fn this_machine_is_not_counted() {
        let addresses = Addresses::default();
        assert!(addresses.enter(from("127.0.0.1"), 0).is_some());
        assert!(addresses.enter(None, 0).is_some());
    }
}
