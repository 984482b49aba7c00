//! The simulated world: one process (at times two) with connections to one target.

use super::super::*;
use super::{Lens, real};

/// Which sources watch, and what they can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Companion module, sockets and goroutines of a gRPC client.
    Full,
    /// Only the companion module.
    EventsOnly,
    /// Only kernel sockets of a client that is not gRPC's.
    SocketsOnly,
    /// Only a number of open connections, as anyone's instrumentation has it.
    OpenOnly,
    /// Events and sockets of a gRPC server.
    Server,
}

/// One connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conn {
    pub(super) id: u64,
    pub(super) begin: f64,
    pub(super) last: f64,
    pub(super) calls: u32,
    pub(super) ends: f64,
    pub(super) site: i64,
    /// Has no socket any more, though its client lives.
    pub(super) cold: bool,
    pub(super) close_wait: bool,
    /// Kept in the belief of the events although it is gone.
    pub(super) phantom: bool,
}

/// The world. Times are nominal seconds.
pub(super) struct World {
    pub(super) time: f64,
    pub(super) step: f64,
    pub(super) conns: Vec<Conn>,
    /// Open streams, told of as if they were connections.
    pub(super) streams: Vec<Conn>,
    pub(super) lost: f64,
    pub(super) instance: u32,
    view: View,
    seed: u64,
    next: u64,
    opened: f64,
    closed: f64,
    load: f64,
    lives: Vec<f64>,
    started: f64,
}

impl World {
    pub(super) fn new(view: View, seed: u64) -> Self {
        World {
            time: 0.0,
            step: 0.0,
            conns: Vec::new(),
            streams: Vec::new(),
            lost: 0.0,
            instance: 1,
            view,
            // Far apart in the sequence, unlike multiples of its increment.
            seed: seed.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29) ^ 0x5851_f42d_4c95_7f2d,
            next: 0,
            opened: 0.0,
            closed: 0.0,
            load: 0.0,
            lives: Vec::new(),
            started: 0.0,
        }
    }

    /// Uniform in 0..1 (splitmix64).
    pub(super) fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponential with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random()).ln()
    }

    /// How many events of a Poisson process with this rate per second happen in the step.
    pub(super) fn events(&mut self, rate: f64) -> u32 {
        let (mut number, mut at) = (0, self.exponential(1.0));
        while at < rate * self.step {
            number += 1;
            at += self.exponential(1.0);
        }
        number
    }

    /// Time goes on; connections whose time has come are closed.
    pub(super) fn advance(&mut self, step: f64) {
        self.step = step;
        self.time += step;
        let time = self.time;
        self.close_if(|conn| conn.ends <= time && !conn.phantom);
    }

    /// True once, in the step that contains this time.
    pub(super) fn at(&self, time: f64) -> bool {
        self.time - self.step < time && time <= self.time
    }

    /// True in every step that contains a multiple of this period.
    pub(super) fn every(&self, period: f64) -> bool {
        (self.time / period).floor() > ((self.time - self.step) / period).floor()
    }

    /// Opens one, with its first call; it ends after `life`.
    pub(super) fn open(&mut self, life: f64, site: i64) -> &mut Conn {
        let offset = self.random() * self.step;
        let begin = self.time - offset;
        self.next += 1;
        self.opened += 1.0;
        self.load += 1.0;
        self.conns.push(Conn {
            id: self.next,
            begin,
            last: begin,
            calls: 1,
            ends: begin + life,
            site,
            cold: false,
            close_wait: false,
            phantom: false,
        });
        let last = self.conns.len() - 1;
        &mut self.conns[last]
    }

    /// Opens a stream that nobody ends, on a connection that is there.
    pub(super) fn open_stream(&mut self) {
        let begin = self.time - self.random() * self.step;
        if let Some(conn) = self.conns.last() {
            self.streams.push(Conn { begin, last: begin, ..*conn });
        }
    }

    /// `calls` calls on connections chosen at random among those of a site.
    pub(super) fn use_some(&mut self, calls: u32, site: i64) {
        let pool: Vec<usize> = (0..self.conns.len()).filter(|&i| self.conns[i].site == site).collect();
        self.load += f64::from(calls);
        for _ in 0..calls {
            if pool.is_empty() {
                return;
            }
            let chosen = pool[(self.random() * pool.len() as f64) as usize % pool.len()];
            self.conns[chosen].last = self.time;
            self.conns[chosen].calls += 1;
        }
    }

    /// Every connection of a site carries traffic now.
    pub(super) fn use_all(&mut self, site: i64) {
        let time = self.time;
        for conn in self.conns.iter_mut().filter(|conn| conn.site == site) {
            conn.last = time;
            conn.calls += 1;
        }
        self.load += self.conns.len() as f64;
    }

    /// Calls that open nothing.
    pub(super) fn call(&mut self, calls: f64) {
        self.load += calls;
    }

    /// Opens and closes this many within the step.
    pub(super) fn churn(&mut self, number: u32) {
        self.opened += f64::from(number);
        self.closed += f64::from(number);
        self.load += f64::from(number);
    }

    pub(super) fn close_if(&mut self, mut which: impl FnMut(&Conn) -> bool) {
        let time = self.time;
        let (gone, stay): (Vec<Conn>, Vec<Conn>) = self.conns.iter().partition(|conn| which(conn));
        self.conns = stay;
        for conn in gone {
            self.closed += 1.0;
            self.lives.push((conn.ends.min(time) - conn.begin).max(0.0));
        }
    }

    pub(super) fn count(&self, site: i64) -> usize {
        self.conns.iter().filter(|conn| conn.site == site).count()
    }

    /// The process ends and a new one starts.
    pub(super) fn restart(&mut self) {
        self.instance += 1;
        self.conns.clear();
        self.lives.clear();
        (self.opened, self.closed, self.load, self.lost) = (0.0, 0.0, 0.0, 0.0);
        self.started = self.time;
    }

    pub(super) fn process_key(&self, source: Source) -> ProcessKey {
        let instance =
            if source == Source::Events { format!("uuid-{}", self.instance) } else { String::new() };
        ProcessKey {
            host: "node".into(),
            pid: 100 + i64::from(self.instance),
            start_ticks: 1000 + u64::from(self.instance),
            instance,
            service: if source == Source::Sockets { String::new() } else { "checkout".into() },
        }
    }

    /// What the sources publish of the process.
    pub(super) fn processes(&self, lens: Lens) -> Vec<ProcessObservation> {
        let sockets = self.conns.iter().filter(|conn| !conn.cold && !conn.phantom).count() as f64;
        let facts = Facts {
            executable: Some("checkout".into()),
            descriptors: Some(12.0 + sockets),
            descriptor_limit: Some(1024.0),
            memory: Some(30e6 + 56e3 * self.conns.len() as f64),
            memory_limit: Some(2e9),
            ephemeral_ports: Some(28_232.0),
            ..Facts::default()
        };
        let clients = self.conns.iter().filter(|conn| !conn.phantom).count() as f64;
        let goroutines = match self.view {
            View::Full => vec![
                ("grpc_serializer".into(), 3.0 * clients),
                ("grpc_reader".into(), sockets),
                ("grpc_writer".into(), sockets),
                ("grpc_stream".into(), self.streams.len() as f64),
                ("other".into(), 9.0),
            ],
            _ => Vec::new(),
        };
        vec![ProcessObservation {
            process: self.process_key(Source::Profile),
            time_ns: real(lens, self.time),
            goroutines,
            facts,
            ..ProcessObservation::default()
        }]
    }

    /// What the sources publish of the connections.
    pub(super) fn series(&self, lens: Lens) -> Vec<Observation> {
        use {Resource::*, Side::*, Source::*};
        let all: Vec<&Conn> = self.conns.iter().collect();
        let warm: Vec<&Conn> = self.conns.iter().filter(|conn| !conn.cold).collect();
        let sockets: Vec<&Conn> = warm.iter().copied().filter(|conn| !conn.phantom).collect();
        let waiting: Vec<&Conn> = sockets.iter().copied().filter(|conn| conn.close_wait).collect();
        let streams: Vec<&Conn> = self.streams.iter().collect();
        let mut list = Vec::new();
        let mut add = |source: Source, resource: Resource, side: Side, target: &str, sample: Sample| {
            let process = self.process_key(source);
            let key = SeriesKey { process, source, resource, side, target: target.into() };
            list.push(Observation { key, time_ns: real(lens, self.time), sample });
        };
        let (client, peer) = ("dns:///localhost:50051", "127.0.0.1:50051");
        match self.view {
            View::Full | View::EventsOnly => {
                add(Events, GrpcClient, Client, client, self.events_sample(&all, lens));
                add(Events, GrpcConnection, Client, client, self.events_sample(&warm, lens));
                if !streams.is_empty() {
                    add(Events, GrpcStream, Client, client, self.sample(&streams, lens));
                }
                if self.view == View::Full {
                    add(Sockets, Socket, Client, peer, self.sample(&sockets, lens));
                    let real = self.conns.iter().filter(|conn| !conn.phantom).count() as f64;
                    add(Profile, GrpcClient, Client, "", Sample { open: Some(real), ..Sample::default() });
                }
            }
            View::SocketsOnly => {
                add(Sockets, Socket, Client, "10.0.0.9:5432", self.sample(&sockets, lens));
                if !waiting.is_empty() {
                    add(Sockets, CloseWait, Client, "10.0.0.9:5432", self.sample(&waiting, lens));
                }
            }
            View::OpenOnly => {
                let sample = Sample { open: Some(all.len() as f64), ..Sample::default() };
                add(Events, Other("http.client.open_connections".into()), Client, "api:443", sample);
            }
            View::Server => {
                let mut sample = self.sample(&all, lens);
                (sample.opened, sample.closed) = (Some(self.opened), Some(self.closed));
                add(Events, GrpcConnection, Server, "0.0.0.0:50051", sample);
                add(Sockets, Socket, Server, "0.0.0.0:50051", self.sample(&sockets, lens));
            }
        }
        list
    }

    fn events_sample(&self, conns: &[&Conn], lens: Lens) -> Sample {
        let mut sample = self.sample(conns, lens);
        let unused =
            conns.iter().filter(|c| c.calls <= 1 && (self.time - c.last) * lens.factor() >= 1.0).count();
        sample.unused = Some(unused as f64);
        sample.opened = Some(self.opened);
        sample.closed = Some(self.opened - conns.len() as f64);
        sample.load = Some(self.load);
        sample.lost = Some(self.lost);
        let mut sites: BTreeMap<i64, f64> = BTreeMap::new();
        for conn in conns {
            *sites.entry(conn.site).or_default() += 1.0;
        }
        sample.by_site = sites
            .into_iter()
            .map(|(line, count)| {
                let file = "client/orders.go".into();
                (SiteKey { source: SiteSource::Events, file, line, function: "dialOrders".into() }, count)
            })
            .collect();
        sample
    }

    fn sample(&self, conns: &[&Conn], lens: Lens) -> Sample {
        let factor = lens.factor();
        let at = |since: fn(&Conn) -> f64, bound: u32| {
            conns.iter().filter(|conn| (self.time - since(conn)) * factor >= f64::from(bound)).count() as f64
        };
        Sample {
            open: Some(conns.len() as f64),
            older: BOUNDS.iter().map(|bound| (*bound, at(|conn| conn.begin, *bound))).collect(),
            idle: BOUNDS.iter().map(|bound| (*bound, at(|conn| conn.last, *bound))).collect(),
            outlived: BOUNDS
                .iter()
                .map(|bound| {
                    (
                        *bound,
                        self.lives.iter().filter(|life| **life * factor >= f64::from(*bound)).count() as f64,
                    )
                })
                .collect(),
            ..Sample::default()
        }
    }
}
