//! Time, as the engine gives it out.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

/// A point on the engine's monotonic clock: nanoseconds since the engine was made. Never goes back, whatever happens
/// to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// That many nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`, zero when it lies ahead.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

/// Where time comes from: the machine, or a simulation.
pub trait TimeSource: Send + Sync {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Wall clock, Unix nanoseconds.
    fn unix_nanos(&self) -> u64;

    /// Completes at `deadline`, at once when it has passed.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;

    /// A random number, for jitter; a simulation draws it from its seed.
    fn random(&self) -> u64;
}

/// A handle to the engine's time.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// A clock that asks `source`.
    pub fn new(source: Arc<dyn TimeSource>) -> Clock {
        Clock(source)
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// Wall clock, Unix nanoseconds.
    pub fn unix_nanos(&self) -> u64 {
        self.0.unix_nanos()
    }

    /// Completes at `deadline`.
    pub fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep_until(deadline)
    }

    /// A random number from 0 up to but not including 1.
    pub fn random(&self) -> f64 {
        (self.0.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Completes after `d`.
    pub fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep_until(self.now() + d)
    }
}

/// Unix time that goes on evenly when somebody sets the wall clock: what that showed at first, and what has passed since.
#[derive(Debug, Clone, Copy)]
pub struct SteadyTime {
    unix_nanos: u64,
    at: Instant,
}

impl SteadyTime {
    /// The time that begins as the wall clock shows it now.
    pub fn new(clock: &Clock) -> SteadyTime {
        SteadyTime { unix_nanos: clock.unix_nanos(), at: clock.now() }
    }

    /// The time now, nanoseconds.
    pub fn unix_nanos(&self, clock: &Clock) -> u64 {
        let passed = u64::try_from(clock.now().since(self.at).as_nanos()).unwrap_or(u64::MAX);
        self.unix_nanos.saturating_add(passed)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// What an engine runs on: time, tasks and threads for blocking work. The agent's is tokio, a simulation brings its
/// own. Components never see it.
pub trait Runtime: TimeSource + crate::Blocking {
    /// Runs a task to its end.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A machine whose wall clock somebody sets.
    #[derive(Default)]
    struct Machine {
        now: AtomicU64,
        wall: AtomicU64,
    }

    impl TimeSource for Machine {
        fn now(&self) -> Instant {
            Instant::from_nanos(self.now.load(Ordering::Relaxed))
        }

        fn unix_nanos(&self) -> u64 {
            self.wall.load(Ordering::Relaxed)
        }

        fn sleep_until(&self, _: Instant) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }

        fn random(&self) -> u64 {
            0
        }
    }

    #[test]
    fn steady_time_passes_as_time_does_however_the_wall_clock_is_set() {
        let machine = Arc::new(Machine::default());
        machine.wall.store(9_000, Ordering::Relaxed);
        let clock = Clock::new(Arc::clone(&machine) as Arc<dyn TimeSource>);
        let steady = SteadyTime::new(&clock);
        for wall in [1_000_000, 0] {
            machine.now.fetch_add(5, Ordering::Relaxed);
            machine.wall.store(wall, Ordering::Relaxed);
            assert_eq!(steady.unix_nanos(&clock), 9_000 + machine.now.load(Ordering::Relaxed));
        }
    }
}
