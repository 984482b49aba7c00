//! Everything that is open, as metrics: in parts, so that a collection needs little memory however much is open.
//!
//! A part is measured and encoded when it is asked for, and whoever asks hands it on before the next one. All parts of a
//! collection have one time. What a pipeline refuses is not kept: totals and states come again with the next collection after
//! something was heard. Only the last word on a process that has ended would not, and is given back by [`Tracker::refused`].

use std::collections::VecDeque;

use weir_pdata::Payload;
use weir_pdata::otlp::MetricsRequest;
use weir_pdata::otlp::metrics::v1::ResourceMetrics;

use crate::process::ProcessKey;
use crate::publish::{self, MAX_SERIES, Origin, ProcessPoint};
use crate::table::{Gone, Measured};
use crate::tracker::Tracker;

/// A collection of which parts are still to come.
#[derive(Debug)]
pub struct Collection {
    time: u64,
    ended: VecDeque<Gone>,
    processes: VecDeque<ProcessKey>,
    /// The process of which a part has some series, and these are the others.
    rest: Option<Measured>,
}

/// A part of a collection.
#[derive(Debug)]
pub struct Part {
    /// Its metrics.
    pub payload: Payload,
    /// What it says for the only time.
    pub once: Vec<Gone>,
}

impl Tracker {
    /// Begins to tell everything that is open at `now` (Unix ns) in processes of which something was heard since the last
    /// collection, and for the last time those processes that have ended. Also forgets processes that are gone.
    pub fn collect(&mut self, now: u64) -> Collection {
        Collection { time: now, ended: self.let_go(now).into(), processes: self.news().into(), rest: None }
    }

    /// The next part of a collection: [`MAX_SERIES`] series, and as many processes, at most.
    pub fn next_part(&self, collection: &mut Collection) -> Option<Part> {
        let (mut resource_metrics, mut once) = (Vec::new(), Vec::new());
        let mut room = MAX_SERIES;
        while room > 0 {
            if let Some(gone) = collection.ended.pop_front() {
                resource_metrics.push(last_word(&gone, collection.time));
                once.push(gone);
                room -= 1;
            } else if let Some(measured) = self.next_process(collection) {
                let (part, taken) = collection.cut(measured, room);
                resource_metrics.push(part);
                room = room.saturating_sub(taken.max(1));
            } else {
                break;
            }
        }
        let some = !resource_metrics.is_empty();
        some.then(|| Part { payload: MetricsRequest { resource_metrics }.into(), once })
    }

    /// What is left of the process at hand, else the next one that has not gone in the meantime.
    fn next_process(&self, collection: &mut Collection) -> Option<Measured> {
        if let Some(rest) = collection.rest.take() {
            return Some(rest);
        }
        while let Some(key) = collection.processes.pop_front() {
            if let Some(mut measured) = self.table().measure(&key, collection.time) {
                measured.process.spans_dropped = Some(self.spans_dropped(&key));
                return Some(measured);
            }
        }
        None
    }
}

impl Collection {
    /// A process's first series for which there is room, and how many they are; the others are kept for the next part.
    fn cut(&mut self, mut measured: Measured, room: usize) -> (ResourceMetrics, usize) {
        let others = measured.series.split_off(room.min(measured.series.len()));
        let Measured { info, first_seen, series, process } = &measured;
        let part = publish::metrics(info, Origin::Events, self.time, *first_seen, series, process);
        let taken = series.len();
        if !others.is_empty() {
            // What is known of the process as a whole is said.
            self.rest = Some(Measured { series: others, process: ProcessPoint::default(), ..measured });
        }
        (part, taken)
    }
}

fn last_word(gone: &Gone, time: u64) -> ResourceMetrics {
    let process = ProcessPoint { ended: gone.ending, ..ProcessPoint::default() };
    publish::metrics(&gone.info, Origin::Events, time, gone.first_seen, &[], &process)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use weir_pdata::otlp::metrics::v1::Metric;
    use weir_pdata::otlp::metrics::v1::metric::Data;
    use weir_pdata::view;

    use super::*;
    use crate::events::{Client, Event};
    use crate::names;
    use crate::process::ProcessInfo;
    use crate::table::ConnectionTable;

    const SECOND: u64 = 1_000_000_000;

    fn info(pid: i64) -> ProcessInfo {
        let key = ProcessKey { host: "h".into(), pid, start_ticks: 1, ..ProcessKey::default() };
        ProcessInfo { key, service: format!("s{pid}"), ..ProcessInfo::default() }
    }

    /// Of so many processes, each with a client for each of so many targets.
    fn tracker(processes: i64, targets: u64) -> Tracker {
        let table = Arc::new(ConnectionTable::default());
        for pid in 1..=processes {
            let client = |id| Client { id, target: format!("t{id}:1"), ..Client::default() };
            let events = (1..=targets).map(|id| Event::ClientCreated(client(id))).collect();
            table.apply(&info(pid), 0, SECOND, events);
        }
        Tracker::new(table, 0.0)
    }

    /// Each metric with the pid of its process.
    fn metrics(payload: &Payload) -> Vec<(i64, Metric)> {
        let pids = view::resources(payload).map(|r| ProcessInfo::read(r.attributes()).key.pid);
        let metrics = payload.decode_metrics().resource_metrics.into_iter();
        let metrics = metrics.map(|r| r.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
        pids.zip(metrics).flat_map(|(pid, metrics)| metrics.map(move |metric| (pid, metric))).collect()
    }

    fn parts(tracker: &Tracker, mut collection: Collection) -> Vec<Part> {
        std::iter::from_fn(|| tracker.next_part(&mut collection)).collect()
    }

    #[test]
    fn a_collection_comes_in_parts_of_bounded_size_that_tell_each_series_once_and_at_one_time() {
        let mut tracker = tracker(3, 250);
        let collection = tracker.collect(5 * SECOND);
        let parts = parts(&tracker, collection);
        let mut told = BTreeSet::new();
        let mut whole = 0;
        for part in &parts {
            let before = told.len();
            for (process, metric) in metrics(&part.payload) {
                whole += usize::from(metric.name == names::metric::LOST.name);
                let Some(Data::Gauge(gauge)) = metric.data else { continue };
                assert!(gauge.data_points.iter().all(|point| point.time_unix_nano == 5 * SECOND));
                for point in gauge.data_points.iter().filter(|_| metric.name == names::OPEN) {
                    let one = format!("{process} {:?}", point.attributes);
                    assert!(told.insert(one.clone()), "{one} is told twice");
                }
            }
            assert!(told.len() - before <= MAX_SERIES, "{}", told.len() - before);
        }
        // Clients and their streams.
        assert_eq!((told.len(), parts.len(), whole), (3 * 250 * 2, 15, 3));
    }

    #[test]
    fn the_last_word_on_a_process_comes_again_when_it_was_refused_and_otherwise_not() {
        let mut tracker = tracker(1, 1);
        tracker.table().exited([info(1).key].iter());
        let collection = tracker.collect(2 * SECOND);
        let mut first = parts(&tracker, collection);
        assert_eq!((first.len(), first[0].once.len()), (1, 1));
        tracker.refused(first.remove(0).once);
        let collection = tracker.collect(3 * SECOND);
        let again = parts(&tracker, collection);
        assert_eq!((again.len(), again[0].once[0].info.key.pid), (1, 1));
        let collection = tracker.collect(4 * SECOND);
        assert!(parts(&tracker, collection).is_empty());
    }
}
