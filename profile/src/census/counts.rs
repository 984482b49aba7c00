//! Goroutines by kind, and what they amount to.

use std::ops::{AddAssign, Index};

use super::{ANCHORS, Kind, Resource};

/// Goroutines by kind. In the census of a delta these are the changes, which may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts([i64; Kind::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Kind::ALL.len()])
    }
}

impl Counts {
    /// Counts stop here, 2^40, so that arithmetic on them cannot overflow whatever a profile claims.
    pub const MOST: i64 = 1 << 40;

    pub(super) fn add(&mut self, kind: Kind, count: i64) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = slot.saturating_add(count).clamp(-Self::MOST, Self::MOST);
        }
    }

    /// All kinds that occur, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, i64)> {
        Kind::ALL.into_iter().map(|kind| (kind, self[kind])).filter(|&(_, count)| count != 0)
    }

    /// Goroutines of all kinds.
    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    /// Units of a resource: the goroutines that stand for it, divided by how many one unit has, rounded.
    pub fn resource(&self, resource: Resource) -> i64 {
        let mut goroutines = 0;
        let mut per_unit = 1;
        let mut last = None;
        for anchor in ANCHORS.iter().filter(|anchor| anchor.resource == Some(resource)) {
            // Neighbours in the table may lead to one kind, which counts once.
            if last != Some(anchor.kind) {
                goroutines += self[anchor.kind];
            }
            last = Some(anchor.kind);
            per_unit = i64::from(anchor.per_unit);
        }
        (goroutines + per_unit / 2).div_euclid(per_unit)
    }

    /// ClientConns: a third of the serializers. Balancers of xDS have serializers of their own, so that with xDS this
    /// is too high.
    pub fn grpc_clients(&self) -> i64 {
        self.resource(Resource::GrpcClient)
    }

    /// Connected gRPC client transports.
    pub fn grpc_connections(&self) -> i64 {
        self.resource(Resource::GrpcConnection)
    }

    /// Open client streams, unary calls not counted.
    pub fn grpc_streams(&self) -> i64 {
        self.resource(Resource::GrpcStream)
    }

    /// HTTP/1 client connections.
    pub fn http_connections(&self) -> i64 {
        self.resource(Resource::HttpConnection)
    }

    /// HTTP/1 client connections whose response body nobody is reading, has read to the end or closed.
    ///
    /// A reader waits in `select` from the moment a response with a body is handed out; those whose body somebody is
    /// reading at this moment are taken off. A caller that is between two reads counts, so a single scrape may be too
    /// high by the calls in progress.
    pub fn http_bodies_unread(&self) -> i64 {
        (self[Kind::HttpReaderInSelect] - self[Kind::HttpBodyReading]).max(0)
    }

    /// HTTP/1 client connections that wait for their next call.
    pub fn http_connections_idle(&self) -> i64 {
        (self[Kind::HttpReaderOnNetwork] - self[Kind::HttpCallWaiting]).max(0)
    }
}

impl Index<Kind> for Counts {
    type Output = i64;

    fn index(&self, kind: Kind) -> &i64 {
        self.0.get(kind as usize).unwrap_or(&0)
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for (slot, count) in self.0.iter_mut().zip(other.0) {
            *slot = slot.saturating_add(count).clamp(-Self::MOST, Self::MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_slot_and_name() {
        let mut counts = Counts::default();
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            counts.add(kind, at as i64);
        }
        let names: std::collections::HashSet<_> = Kind::ALL.map(Kind::as_str).into_iter().collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert_eq!(counts.total(), (0..32).sum::<i64>());
        assert_eq!(counts[Kind::Other], 31);
    }

    #[test]
    fn thirds_are_rounded_also_below_zero() {
        for (serializers, clients) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (-3, -1), (-4, -1), (-1, 0)] {
            let mut counts = Counts::default();
            counts.add(Kind::GrpcSerializer, serializers);
            assert_eq!(counts.grpc_clients(), clients, "{serializers}");
        }
    }
}
