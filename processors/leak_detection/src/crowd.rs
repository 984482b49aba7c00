//! How full the table of series is, and that some are not watched: in counts, and in the log.

use std::time::Duration;

use weir_component::{Count, Host, Instant};

use crate::detector::Counters;

/// The log says it again after this time, while it lasts.
const PAUSE: Duration = Duration::from_secs(600);

/// What is known of the table.
pub(crate) struct Crowd {
    watched: Count,
    unwatched: Count,
    evicted: Count,
    counted: u64,
    next_line: Instant,
}

impl Crowd {
    pub(crate) fn new(id: &str, host: &Host) -> Crowd {
        let labels = || vec![("processor", id.to_owned())];
        let gauge = |what, help| host.stats().gauge(what, help, labels());
        Crowd {
            watched: gauge(
                "otelcol_processor_leak_detection_watched_series",
                "Number of series that are watched.",
            ),
            unwatched: gauge(
                "otelcol_processor_leak_detection_unwatched_series",
                "Number of series that come and are not watched, because there are max_series others.",
            ),
            evicted: host.stats().counter(
                "otelcol_processor_leak_detection_evicted_series",
                "Number of silent series that were forgotten to make room for others.",
                labels(),
            ),
            counted: 0,
            next_line: Instant::default(),
        }
    }

    /// What the detector evicted so far was counted by its former owner.
    pub(crate) fn counted_before(&mut self, counters: &Counters) {
        self.counted = counters.evicted;
    }

    /// Takes in how it is now; whether the log should say that some are not watched.
    pub(crate) fn told(&mut self, counters: &Counters, unwatched: usize, now: Instant) -> bool {
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        self.watched.set(number(counters.series));
        self.unwatched.set(unwatched);
        self.evicted.add(number(counters.evicted.saturating_sub(self.counted)));
        self.counted = counters.evicted;
        let says = unwatched > 0 && now >= self.next_line;
        if says {
            self.next_line = now + PAUSE;
        }
        says
    }
}

/// That some are not watched, and the cure.
pub(crate) fn sentence(unwatched: usize, max_series: usize) -> String {
    format!(
        "{unwatched} series beyond max_series ({max_series}) are not watched: raise it, at about 5 KB of memory for each, or send \
         part of the services to another agent"
    )
}

#[cfg(test)]
mod tests {
    use weir_testkit::Simulation;

    use super::*;

    #[test]
    fn what_is_not_watched_is_counted_always_and_said_every_ten_minutes() {
        let host = weir_testkit::host(&Simulation::new(1));
        let mut crowd = Crowd::new("leak_detection/a", &host);
        crowd.counted_before(&Counters { evicted: 5, ..Counters::default() });
        let counters = Counters { evicted: 8, series: 100, ..Counters::default() };
        let second = |s| Instant::default() + Duration::from_secs(s);
        let said = [(0, 0), (1, 7), (2, 9), (600, 9), (601, 9), (602, 0)]
            .map(|(s, unwatched)| crowd.told(&counters, unwatched, second(s)));
        assert_eq!(said, [false, true, false, false, true, false]);
        let value = |name: &str| {
            let name = format!("otelcol_processor_leak_detection_{name}_series");
            host.stats().samples().iter().find(|s| s.name == name).map(|s| s.value)
        };
        assert_eq!(["watched", "unwatched", "evicted"].map(value), [Some(100), Some(0), Some(3)]);
    }
}
