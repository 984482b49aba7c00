//! Counting what is open: by age, idle time and site.

use std::collections::BTreeMap;

use super::{
    GRPC_CLIENT, GRPC_CONNECTION, GRPC_STREAM, MAX_SITES, Measured, NANOS, Process, SeriesId, SeriesTotals,
};
use crate::events::Side;
use crate::publish::{ProcessPoint, Reached, SeriesPoint};

impl Process {
    pub(super) fn measure(&self, now: u64) -> Measured {
        let mut open: BTreeMap<SeriesId, Population> = BTreeMap::new();
        for id in self.series.keys() {
            open.entry(*id).or_default();
        }
        for (number, client) in &self.clients {
            let id = SeriesId { resource: GRPC_CLIENT, side: Side::Client, target: client.target };
            let population = open.entry(id).or_default();
            population.add(self.age(client.begin, now), self.idle(client.active), client.rpcs);
            *population.sites.entry(client.site).or_default() += 1;
            let streams = SeriesId { resource: GRPC_STREAM, ..id };
            let streams = open.entry(streams).or_default();
            streams.open += u64::from(client.open_rpcs);
            for (site, count) in self.streams.get(number).into_iter().flatten() {
                *streams.sites.entry(*site).or_default() += count;
            }
        }
        for c in self.connections.values() {
            let id = SeriesId { resource: GRPC_CONNECTION, side: c.side, target: c.target };
            let population = open.entry(id).or_default();
            population.add(self.age(c.begin, now), self.idle(c.active), c.rpcs);
            if let Some(client) = self.clients.get(&c.client) {
                *population.sites.entry(client.site).or_default() += 1;
            }
        }
        let series = open.into_iter().map(|(id, population)| self.point(id, population)).collect();
        let process = ProcessPoint {
            load: vec![("client", self.totals.client_rpcs), ("server", self.totals.server_rpcs)],
            lost: Some(self.lost + self.totals.dropped + self.overflow),
            ..ProcessPoint::default()
        };
        Measured { info: self.info.clone(), first_seen: self.first_seen, series, process }
    }

    fn point(&self, id: SeriesId, population: Population) -> SeriesPoint {
        let base = SeriesPoint {
            resource: id.resource.to_owned(),
            side: id.side.name().to_owned(),
            target: self.targets.get(id.target).cloned().unwrap_or_else(|| "other".to_owned()),
            open: population.open,
            ..SeriesPoint::default()
        };
        let mut sites: Vec<_> = population.sites.into_iter().collect();
        sites.sort_by_key(|(site, count)| (std::cmp::Reverse(*count), *site));
        let by_site = (sites.into_iter().take(MAX_SITES))
            .filter_map(|(site, count)| self.sites.get(site).map(|s| (s.clone(), count, "events")))
            .filter(|(site, ..)| !site.file.is_empty())
            .collect();
        if id.resource == GRPC_STREAM {
            return SeriesPoint { by_site, ..base };
        }
        let none = SeriesTotals::default();
        let totals = self.series.get(&id).unwrap_or(&none);
        SeriesPoint {
            opened: Some(totals.opened),
            closed: Some(totals.closed),
            collected: Some(totals.collected),
            older: Some(population.older.0),
            idle: Some(population.idle.0),
            unused: Some(population.unused),
            lifetimes: Some(totals.lifetimes.clone()),
            by_site,
            ..base
        }
    }

    /// Seconds since `begin` (its clock) at `now` (ours).
    pub(super) fn age(&self, begin: u64, now: u64) -> f64 {
        (now.saturating_sub(begin.saturating_add_signed(self.offset))) as f64 / NANOS
    }

    /// Seconds without activity, as far as the last snapshot shows.
    pub(super) fn idle(&self, active: u64) -> f64 {
        self.snapshot_time.saturating_sub(active) as f64 / NANOS
    }
}

/// Open entries of one series while they are counted.
#[derive(Debug, Default)]
struct Population {
    open: u64,
    older: Reached,
    idle: Reached,
    unused: u64,
    sites: BTreeMap<u32, u64>,
}

impl Population {
    fn add(&mut self, age: f64, idle: f64, rpcs: u64) {
        self.open += 1;
        self.older.add(age);
        self.idle.add(idle);
        self.unused += u64::from(rpcs <= 1 && idle >= 1.0);
    }
}
