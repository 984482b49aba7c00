//! The time line of one series: monotone, although the clock of whoever collected may jump or be an hour off.

/// Maps collection times to a monotone time line; remembers how it relates to the agent's clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeriesClock {
    /// Added to collection times, so that the line never runs backwards.
    base: i64,
    last: Option<i64>,
    /// Agent's time at the last observation.
    arrival: i64,
    /// Usual distance of observations, smoothed; 0 until there were two.
    interval: i64,
    late: u32,
}

/// What to do with an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is the next one, at this time on the line.
    Next(i64),
    /// It has the time of the one before: another part of it, or a duplicate.
    Same,
    /// It is from before the last one: too late to count.
    Late,
}

/// So many late ones in a row mean that the clock was set back.
const LATE_MEANS_SET_BACK: u32 = 3;

impl SeriesClock {
    /// Places an observation with collection time `time` that arrives when the agent's clock shows `now`.
    ///
    /// A step of more than `jump` that the agent's clock did not see is taken for a clock that was set.
    pub(crate) fn place(&mut self, time: i64, now: i64, jump: i64) -> Arrival {
        let Some(last) = self.last else {
            self.last = Some(time);
            self.arrival = now;
            return Arrival::Next(time);
        };
        let mut placed = time.saturating_add(self.base);
        if placed == last {
            return Arrival::Same;
        }
        let elapsed = now.saturating_sub(self.arrival).max(0);
        let step = placed.saturating_sub(last);
        let set_back = step < -jump || (step < 0 && self.late + 1 >= LATE_MEANS_SET_BACK);
        let set_forward = step > jump.saturating_add(elapsed.saturating_mul(2)) && self.interval > 0;
        if set_back || set_forward {
            let forward = elapsed.max(self.interval).max(1);
            placed = last.saturating_add(forward);
            self.base = placed.saturating_sub(time);
        } else if step < 0 {
            self.late += 1;
            return Arrival::Late;
        } else {
            self.interval =
                if self.interval == 0 { step } else { self.interval + (step - self.interval) / 4 };
        }
        self.late = 0;
        self.last = Some(placed);
        self.arrival = now;
        Arrival::Next(placed)
    }

    /// The time on the line when the agent's clock shows `now`; `i64::MIN` before the first observation.
    pub(crate) fn at(&self, now: i64) -> i64 {
        self.last.map_or(i64::MIN, |last| last.saturating_add(self.silence(now)))
    }

    /// How long nothing came.
    pub(crate) fn silence(&self, now: i64) -> i64 {
        now.saturating_sub(self.arrival).max(0)
    }

    /// Usual distance of observations, ns; 0 while unknown.
    pub(crate) fn interval(&self) -> i64 {
        self.interval
    }

    /// A time on the line, by the agent's clock; differences below `tolerance` are left alone.
    pub(crate) fn to_agent(&self, time: i64, tolerance: i64) -> i64 {
        let skew = self.arrival.saturating_sub(self.last.unwrap_or(self.arrival));
        if skew.saturating_abs() > tolerance { time.saturating_add(skew) } else { time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn an_hour_of_offset_is_only_an_offset() {
        let mut clock = SeriesClock::default();
        for i in 0..10 {
            let now = 10_000 * S + i * 2 * S;
            assert_eq!(clock.place(now - 3600 * S, now, 10 * S), Arrival::Next(now - 3600 * S));
        }
        assert_eq!(clock.interval(), 2 * S);
        assert_eq!(clock.to_agent(6_400 * S, 60 * S), 10_000 * S);
    }

    #[test]
    fn a_clock_set_back_an_hour_goes_on_from_where_it_was() {
        let mut clock = SeriesClock::default();
        clock.place(10_000 * S, 10_000 * S, 10 * S);
        clock.place(10_002 * S, 10_002 * S, 10 * S);
        assert_eq!(clock.place(6_404 * S, 10_004 * S, 10 * S), Arrival::Next(10_004 * S));
        assert_eq!(clock.place(6_406 * S, 10_006 * S, 10 * S), Arrival::Next(10_006 * S));
    }

    #[test]
    fn a_clock_set_forward_an_hour_leaves_no_gap() {
        let mut clock = SeriesClock::default();
        clock.place(100 * S, 100 * S, 10 * S);
        clock.place(102 * S, 102 * S, 10 * S);
        assert_eq!(clock.place(3_704 * S, 104 * S, 10 * S), Arrival::Next(104 * S));
    }

    #[test]
    fn a_real_gap_stays_a_gap() {
        let mut clock = SeriesClock::default();
        clock.place(100 * S, 100 * S, 10 * S);
        clock.place(102 * S, 102 * S, 10 * S);
        assert_eq!(clock.place(402 * S, 402 * S, 10 * S), Arrival::Next(402 * S));
    }

    #[test]
    fn a_straggler_is_late_and_a_row_of_them_is_a_new_time() {
        let mut clock = SeriesClock::default();
        clock.place(100 * S, 100 * S, 10 * S);
        assert_eq!(clock.place(100 * S, 100 * S, 10 * S), Arrival::Same);
        assert_eq!(clock.place(98 * S, 101 * S, 10 * S), Arrival::Late);
        assert_eq!(clock.place(97 * S, 102 * S, 10 * S), Arrival::Late);
        assert!(matches!(clock.place(99 * S, 103 * S, 10 * S), Arrival::Next(time) if time > 100 * S));
    }
}
