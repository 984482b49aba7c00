//! Sockets that are ESTABLISHED although their connection has ended: a duplicated descriptor holds them.
//!
//! The connection table knows what ended, as its process said; the kernel knows what is open.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use weir_connection::publish::{CodeSite, Reached};
use weir_connection::table::Ended;

/// Addresses of a socket: local, peer.
type Pair = (SocketAddr, SocketAddr);

/// A socket that outlives its connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alive {
    pub(crate) ended: Ended,
    /// Seconds since the end.
    pub(crate) seconds: f64,
}

/// Those of `ended` whose sockets were open at `now` (Unix ns): `open` has the sockets in ESTABLISHED with their ages in ns.
///
/// A socket that is younger than the end is another one with the same addresses.
pub(crate) fn still(ended: Vec<Ended>, open: &HashMap<Pair, u64>, now: u64) -> Vec<Alive> {
    let alive = |ended: Ended| {
        let since = now.checked_sub(ended.time)?;
        let age = open.get(&(ended.local, ended.peer))?;
        (*age >= since).then_some(Alive { ended, seconds: since as f64 / 1e9 })
    };
    ended.into_iter().filter_map(alive).collect()
}

/// Sockets towards one target that outlive their connections.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outliving {
    /// How many connections ended at least each bound ago.
    pub(crate) reached: Reached,
    /// How many each line made, and how the line is known.
    pub(crate) by_site: Vec<(CodeSite, u64, &'static str)>,
}

/// Those towards a target; nothing where there are none.
pub(crate) fn towards(alive: &[&Alive], target: SocketAddr) -> Option<Outliving> {
    let mut reached = Reached::default();
    let mut sites: BTreeMap<&CodeSite, u64> = BTreeMap::new();
    for a in alive.iter().filter(|a| a.ended.peer == target) {
        reached.add(a.seconds);
        if !a.ended.site.file.is_empty() {
            *sites.entry(&a.ended.site).or_default() += 1;
        }
    }
    let by_site = sites.into_iter().map(|(site, count)| (site.clone(), count, "events")).collect();
    (reached != Reached::default()).then_some(Outliving { reached, by_site })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ended(port: u16, time: u64) -> Ended {
        let local = SocketAddr::from(([127, 0, 0, 1], port));
        let peer = SocketAddr::from(([127, 0, 0, 1], 50051));
        let site = CodeSite { file: "dial.go".into(), line: 7, function: "dial".into() };
        Ended { process: Default::default(), local, peer, time, site }
    }

    #[test]
    fn a_socket_that_is_older_than_the_end_of_its_connection_outlives_it() {
        let list =
            vec![ended(1, 10 * SECOND), ended(2, 10 * SECOND), ended(3, 10 * SECOND), ended(4, 80 * SECOND)];
        let pair = |e: &Ended| (e.local, e.peer);
        // The first is held, the second's port was used again, the third is gone, the fourth ended after the dump.
        let open = HashMap::from([
            (pair(&list[0]), 65 * SECOND),
            (pair(&list[1]), 5 * SECOND),
            (pair(&list[3]), 70 * SECOND),
        ]);
        let alive = still(list, &open, 70 * SECOND);
        assert_eq!(alive.iter().map(|a| (a.ended.local.port(), a.seconds)).collect::<Vec<_>>(), [(1, 60.0)]);
        let alive: Vec<&Alive> = alive.iter().collect();
        let found = towards(&alive, "127.0.0.1:50051".parse().unwrap()).unwrap();
        // 1, 5, 10, 30 and 60 s ago.
        assert_eq!((found.reached.0[4], found.reached.0[5]), (1, 0));
        assert_eq!((found.by_site[0].0.line, found.by_site[0].1), (7, 1));
        assert_eq!(towards(&alive, "127.0.0.1:1".parse().unwrap()), None);
    }
}
