//! OTLP metrics to observations.
//!
//! Read are the metrics of docs/telemetry.md, and of the semantic conventions `http.client.open_connections` and
//! `db.client.connection.count`: the detector also works on metrics of anyone's instrumentation.

use std::collections::BTreeMap;

use weir_connection::names;
use weir_connection::process::ProcessInfo;
use weir_connection::publish::Ending;
use weir_pdata::view::{self, Attributes, HistogramPoint, Metric, NumberPoint, Resource as ResourceView};
use weir_pdata::{Payload, Signal};

use crate::detector::{
    Facts, Observation, ProcessKey, ProcessObservation, Resource, Sample, SeriesKey, Side, SiteKey,
    SiteSource, Source, outlived,
};

/// What a payload of metrics says.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) series: Vec<Observation>,
    pub(crate) processes: Vec<ProcessObservation>,
}

/// Reads a payload; anything but metrics says nothing.
pub(crate) fn decode(payload: &Payload) -> Decoded {
    let mut decoded = Decoded::default();
    if payload.signal() != Signal::Metrics {
        return decoded;
    }
    for resource in view::resources(payload) {
        Reader::default().read(&resource, &mut decoded);
    }
    decoded
}

/// Which series of a process, at which time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    source: Source,
    resource: Resource,
    side: Side,
    target: String,
    time: i64,
}

#[derive(Debug, Default)]
struct Reader {
    samples: BTreeMap<Subject, Sample>,
    /// Calls and lost events of the whole process, by source and side.
    loads: Vec<(Source, Side, f64)>,
    lost: Option<f64>,
    facts: Facts,
    goroutines: Vec<(String, f64)>,
    leaked: Vec<(String, f64)>,
    time: i64,
}

impl Reader {
    fn read(mut self, resource: &ResourceView<'_>, decoded: &mut Decoded) {
        for metric in resource.scopes().flat_map(|s| s.metrics()) {
            self.metric(&metric);
        }
        if self.samples.is_empty() && self.time == 0 {
            return;
        }
        let info = ProcessInfo::read(resource.attributes());
        let process = process_key(&info);
        self.facts.executable = (!info.executable.is_empty()).then_some(info.executable);
        self.facts.started = weir_connection::process::unix_seconds(&info.creation_time);
        for (subject, mut sample) in std::mem::take(&mut self.samples) {
            let load = self
                .loads
                .iter()
                .find(|(source, side, _)| *source == subject.source && side.agrees(subject.side));
            sample.load = load.map(|(.., calls)| *calls);
            sample.lost = if subject.source == Source::Events { self.lost } else { None };
            let Subject { source, resource, side, target, time } = subject;
            let key = SeriesKey { process: process.clone(), source, resource, side, target };
            decoded.series.push(Observation { key, time_ns: time, sample });
        }
        let Reader { goroutines, leaked, facts, time: time_ns, .. } = self;
        decoded.processes.push(ProcessObservation { process, time_ns, goroutines, leaked, facts });
    }

    fn metric(&mut self, metric: &Metric<'_>) {
        match metric.name() {
            names::LIFETIME => {
                for point in metric.histogram_points() {
                    self.lifetimes(&point);
                }
            }
            "http.client.open_connections" => self.foreign(metric, "http_connection"),
            "db.client.connection.count" => self.foreign(metric, "db_connection"),
            name if name.starts_with("connection.") => {
                for point in metric.number_points() {
                    self.connection(name, &point);
                }
            }
            name if name.starts_with("process.") => {
                for point in metric.number_points() {
                    self.process(name, &point);
                }
            }
            _ => {}
        }
    }

    fn connection(&mut self, name: &str, point: &NumberPoint<'_>) {
        let attributes = point.attributes();
        let value = point.value();
        match name {
            names::LOAD => {
                let source = Source::from_name(attributes.text(names::ATTR_SOURCE).unwrap_or_default());
                let side = Side::from_name(attributes.text(names::ATTR_SIDE).unwrap_or_default());
                self.loads.push((source, side, value));
                return;
            }
            names::LOST => {
                self.lost = Some(value);
                return;
            }
            names::GOROUTINES | names::LEAKED_GOROUTINES => {
                let kind = attributes.text(names::ATTR_GOROUTINE_KIND).unwrap_or("other");
                let counts = if name == names::GOROUTINES { &mut self.goroutines } else { &mut self.leaked };
                counts.push((kind.to_owned(), value));
                self.time = self.time.max(nanos(point.time()));
                return;
            }
            names::PROCESS_ENDED => {
                self.facts.ended = attributes.text(names::ATTR_PROCESS_END).and_then(Ending::from_name);
                self.time = self.time.max(nanos(point.time()));
                return;
            }
            names::MUTEX_CONTENTIONS | names::MUTEX_DELAY => return self.process(name, point),
            // Of the agent, not of the process.
            names::SPANS_DROPPED => return,
            _ => {}
        }
        let bound = attributes.int(names::ATTR_BOUND).and_then(|b| u32::try_from(b).ok());
        let site = site(attributes);
        let sample = self.samples.entry(subject(attributes, point.time())).or_default();
        match (name, bound) {
            (names::OPEN, _) => sample.open = Some(value),
            (names::OPENED, _) => sample.opened = Some(value),
            (names::CLOSED, _) => sample.closed = Some(value),
            (names::COLLECTED, _) => sample.collected = Some(value),
            (names::UNUSED, _) => sample.unused = Some(value),
            (names::OLDER, Some(bound)) => sample.older.push((bound, value)),
            (names::IDLE, Some(bound)) => sample.idle.push((bound, value)),
            (names::ALIVE_AFTER_END, Some(bound)) => sample.alive_after_end.push((bound, value)),
            (names::BY_SITE, _) => sample.by_site.extend(site.map(|site| (site, value))),
            _ => {}
        }
    }

    fn lifetimes(&mut self, point: &HistogramPoint<'_>) {
        let (bounds, counts): (Vec<_>, Vec<_>) =
            (point.explicit_bounds().collect(), point.bucket_counts().collect());
        let sample = self.samples.entry(subject(point.attributes(), point.time())).or_default();
        sample.outlived = outlived(&bounds, &counts);
    }

    fn process(&mut self, name: &str, point: &NumberPoint<'_>) {
        let place = match name {
            names::FD_COUNT => &mut self.facts.descriptors,
            names::FD_LIMIT => &mut self.facts.descriptor_limit,
            names::MEMORY_USAGE => &mut self.facts.memory,
            names::MEMORY_LIMIT => &mut self.facts.memory_limit,
            names::EPHEMERAL_PORTS => &mut self.facts.ephemeral_ports,
            names::MUTEX_CONTENTIONS => &mut self.facts.mutex_contentions,
            names::MUTEX_DELAY => &mut self.facts.mutex_delay,
            _ => return,
        };
        *place = Some(point.value());
        self.time = self.time.max(nanos(point.time()));
    }

    /// Connections that somebody else's instrumentation counts, by state; their sum is what is open.
    fn foreign(&mut self, metric: &Metric<'_>, resource: &str) {
        for point in metric.number_points() {
            let attributes = point.attributes();
            let target = match (attributes.text("server.address"), attributes.int("server.port")) {
                (Some(address), Some(port)) => format!("{address}:{port}"),
                (Some(address), None) => address.to_owned(),
                _ => attributes.text("db.client.connection.pool.name").unwrap_or_default().to_owned(),
            };
            let subject = Subject {
                source: Source::Events,
                resource: Resource::from_name(resource),
                side: Side::Client,
                target,
                time: nanos(point.time()),
            };
            let open = &mut self.samples.entry(subject).or_default().open;
            *open = Some(open.unwrap_or(0.0) + point.value());
        }
    }
}

fn subject(attributes: Attributes<'_>, time: u64) -> Subject {
    let text = |key| attributes.text(key).unwrap_or_default();
    Subject {
        source: Source::from_name(text(names::ATTR_SOURCE)),
        resource: Resource::from_name(text(names::ATTR_RESOURCE)),
        side: Side::from_name(text(names::ATTR_SIDE)),
        target: text(names::ATTR_TARGET).to_owned(),
        time: nanos(time),
    }
}

fn site(attributes: Attributes<'_>) -> Option<SiteKey> {
    Some(SiteKey {
        source: SiteSource::from_name(attributes.text(names::ATTR_SITE_SOURCE)?)?,
        file: attributes.text(names::ATTR_FILE)?.to_owned(),
        line: attributes.int(names::ATTR_LINE).unwrap_or_default(),
        function: attributes.text(names::ATTR_FUNCTION).unwrap_or_default().to_owned(),
    })
}

fn process_key(info: &ProcessInfo) -> ProcessKey {
    ProcessKey {
        host: info.key.host.clone(),
        pid: info.key.pid,
        start_ticks: u64::try_from(info.key.start_ticks).unwrap_or(0),
        instance: info.instance.clone(),
        service: info.service.clone(),
    }
}

fn nanos(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use weir_connection::publish::{self, CodeSite, Ending, Lifetimes, Origin, ProcessPoint, SeriesPoint};
    use weir_pdata::otlp::{self, MetricsRequest, kv};

    use super::*;

    #[test]
    fn what_a_source_publishes_is_what_the_detector_reads() {
        let mut lifetimes = Lifetimes::default();
        lifetimes.record(7.0);
        let point = SeriesPoint {
            resource: "grpc_client".into(),
            side: "client".into(),
            target: "h:1".into(),
            open: 58,
            opened: Some(60),
            closed: Some(2),
            idle: Some([57; 15]),
            older: Some([58; 15]),
            unused: Some(57),
            lifetimes: Some(lifetimes),
            collected: Some(3),
            alive_after_end: Some([2; 15]),
            by_site: vec![(CodeSite { file: "a.go".into(), line: 41, function: "f".into() }, 58, "events")],
        };
        let process = ProcessPoint {
            fd_count: Some(70),
            load: vec![("client", 99), ("server", 5)],
            lost: Some(4),
            goroutines: vec![("grpc_serializer".into(), 174)],
            leaked_goroutines: vec![("grpc_serializer".into(), 3)],
            spans_dropped: Some(81),
            mutex: Some((7, 0.5)),
            ended: Some(Ending::Exited),
            ..ProcessPoint::default()
        };
        let mut info = ProcessInfo { service: "checkout".into(), ..ProcessInfo::default() };
        (info.key.host, info.key.pid, info.key.start_ticks) = ("h".into(), 7, 9);
        let resource_metrics = vec![publish::metrics(&info, Origin::Events, 5_000, 1, &[point], &process)];
        let decoded = decode(&Payload::from(MetricsRequest { resource_metrics }));
        let one = &decoded.series[0];
        assert_eq!((one.key.process.pid, one.key.process.service.as_str()), (7, "checkout"));
        assert_eq!(
            (&one.key.resource, one.key.side, one.key.target.as_str()),
            (&Resource::GrpcClient, Side::Client, "h:1")
        );
        let s = &one.sample;
        assert_eq!(
            (s.open, s.opened, s.closed, s.unused, s.collected),
            (Some(58.0), Some(60.0), Some(2.0), Some(57.0), Some(3.0))
        );
        assert_eq!((s.load, s.lost), (Some(99.0), Some(4.0)));
        assert_eq!((s.idle.len(), s.older.len()), (15, 15));
        assert_eq!(s.outlived[..3], [(1, 1.0), (5, 1.0), (10, 0.0)]);
        assert_eq!(s.by_site[0].1, 58.0);
        assert_eq!(s.alive_after_end[..2], [(1, 2.0), (5, 2.0)]);
        assert_eq!(decoded.series.len(), 1, "what is not of connections makes no series");
        let process = &decoded.processes[0];
        assert_eq!(process.facts.descriptors, Some(70.0));
        assert_eq!(process.goroutines, [("grpc_serializer".to_owned(), 174.0)]);
        assert_eq!(process.leaked, [("grpc_serializer".to_owned(), 3.0)]);
        assert_eq!(process.facts.ended, Some(Ending::Exited));
        assert_eq!((process.facts.mutex_contentions, process.facts.mutex_delay), (Some(7.0), Some(0.5)));
    }

    #[test]
    fn connections_counted_by_http_instrumentation_are_summed_over_their_states() {
        let attributes = |state: &str| {
            vec![kv("server.address", "api"), kv("server.port", 443), kv("http.connection.state", state)]
        };
        let points =
            vec![otlp::point(9, 0, 3.0, attributes("idle")), otlp::point(9, 0, 2.0, attributes("active"))];
        let metrics = vec![otlp::gauge("http.client.open_connections", "{connection}", "", points)];
        let scope_metrics = vec![otlp::metrics::v1::ScopeMetrics { metrics, ..Default::default() }];
        let resource_metrics =
            vec![otlp::metrics::v1::ResourceMetrics { scope_metrics, ..Default::default() }];
        let decoded = decode(&Payload::from(MetricsRequest { resource_metrics }));
        assert_eq!(decoded.series[0].sample.open, Some(5.0));
        assert_eq!(decoded.series[0].key.target, "api:443");
    }
}
