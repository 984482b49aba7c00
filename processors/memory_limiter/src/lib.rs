//! Refuses data while the process uses too much memory.
//!
//! The Collector looks at its heap and forces garbage collections; here the resident set is measured, which is what a
//! cgroup kills for. It is read at most once per `check_interval`, by the first request after the interval has passed.

mod counts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_component::{
    Build, BuildError, Clock, Context, Failure, Processor, ProcessorFactory, Stability, Transform, Verdict,
};
use weir_config::{GoDuration, Options};
use weir_pdata::{Payload, Signal};

use counts::Counts;

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    check_interval: GoDuration,
    limit_mib: u32,
    spike_limit_mib: u32,
    limit_percentage: u32,
    spike_limit_percentage: u32,
    min_gc_interval_when_soft_limited: GoDuration,
    min_gc_interval_when_hard_limited: GoDuration,
    max_gc_interval_when_soft_limited: GoDuration,
    max_gc_interval_when_hard_limited: GoDuration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            check_interval: GoDuration::ZERO,
            limit_mib: 0,
            spike_limit_mib: 0,
            limit_percentage: 0,
            spike_limit_percentage: 0,
            min_gc_interval_when_soft_limited: GoDuration::from_secs(10),
            min_gc_interval_when_hard_limited: GoDuration::ZERO,
            max_gc_interval_when_soft_limited: GoDuration::from_secs(30),
            max_gc_interval_when_hard_limited: GoDuration::from_secs(30),
        }
    }
}

const MIB: u64 = 1 << 20;

impl Config {
    /// The resident size in bytes from which data is refused. `total` is the memory there is.
    fn soft_limit(&self, total: u64) -> Result<u64, String> {
        if self.check_interval.as_nanos() <= 0 {
            return Err("'check_interval' must be greater than zero".to_owned());
        }
        if self.limit_mib == 0 && self.limit_percentage == 0 {
            return Err("'limit_mib' or 'limit_percentage' must be greater than zero".to_owned());
        }
        if self.limit_percentage > 100 || self.spike_limit_percentage > 100 {
            return Err(
                "'limit_percentage' and 'spike_limit_percentage' must be greater than zero and less than or \
                        equal to hundred"
                    .to_owned(),
            );
        }
        let (limit, spike) = if self.limit_mib > 0 {
            (u64::from(self.limit_mib) * MIB, u64::from(self.spike_limit_mib) * MIB)
        } else {
            let share = |percent: u32| total / 100 * u64::from(percent);
            (share(self.limit_percentage), share(self.spike_limit_percentage))
        };
        let spike = if spike == 0 { limit / 5 } else { spike };
        if spike >= limit {
            return Err("'spike_limit_mib' must be smaller than 'limit_mib'".to_owned());
        }
        Ok(limit - spike)
    }
}

/// Makes `memory_limiter` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "memory_limiter",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Stability::Beta,
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.config()?;
    let soft_limit = config.soft_limit(memory::total()).map_err(|m| build.invalid(m))?;
    let limiter =
        Limiter::new(soft_limit, config.check_interval.as_std(), build.clock.clone(), memory::resident);
    let counts = Counts::new(build.id, build.host);
    Ok(Processor::Transform(Arc::new(MemoryLimiter { limiter, counts })))
}

struct MemoryLimiter {
    limiter: Limiter,
    counts: Counts,
}

impl Transform for MemoryLimiter {
    fn apply(&self, payload: &mut Payload, _: &Context) -> Result<Verdict, Failure> {
        let verdict = self.limiter.verdict();
        match verdict {
            Ok(_) => self.counts.accepted(payload),
            Err(_) => self.counts.refused(payload),
        }
        verdict
    }
}

struct Limiter {
    soft_limit: u64,
    interval: Duration,
    clock: Clock,
    resident: fn() -> u64,
    /// Engine time in ns from which the next request measures again.
    next_check: AtomicU64,
    refusing: AtomicBool,
}

impl Limiter {
    fn new(soft_limit: u64, interval: Duration, clock: Clock, resident: fn() -> u64) -> Limiter {
        let (next_check, refusing) = (AtomicU64::new(0), AtomicBool::new(false));
        Limiter { soft_limit, interval, clock, resident, next_check, refusing }
    }

    /// Measures when it is time; one of several tasks that come at once does it.
    fn check(&self) {
        let now = self.clock.now();
        let due = self.next_check.load(Ordering::Relaxed);
        let next = (now + self.interval).as_nanos();
        let mine = now.as_nanos() >= due
            && self.next_check.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !mine {
            return;
        }
        let resident = (self.resident)();
        let over = resident >= self.soft_limit;
        let before = self.refusing.swap(over, Ordering::Relaxed);
        let mib = |bytes: u64| bytes / MIB;
        if over && !before {
            tracing::warn!(
                cur_mem_mib = mib(resident),
                limit_mib = mib(self.soft_limit),
                "Memory usage is above soft limit. Refusing data."
            );
        } else if before && !over {
            tracing::info!(
                cur_mem_mib = mib(resident),
                "Memory usage back within limits. Resuming normal operation."
            );
        }
    }

    /// What becomes of the batch that comes now.
    fn verdict(&self) -> Result<Verdict, Failure> {
        self.check();
        if self.refusing.load(Ordering::Relaxed) {
            return Err(Failure::retry("data refused due to high memory usage"));
        }
        Ok(Verdict::Pass)
    }
}

/// How much memory there is and how much of it this process has.
mod memory {
    use std::fs;

    /// Bytes of a page; Linux on x86-64 and (by default) on arm64.
    const PAGE: u64 = 4096;

    /// Resident set of this process in bytes (proc_pid_statm(5)); 0 where it cannot be read.
    pub(super) fn resident() -> u64 {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
    }

    /// The cgroup's limit (v2, then v1), else the machine's memory, in bytes.
    pub(super) fn total() -> u64 {
        let machine = machine();
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
            .into_iter()
            .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
            .fold(machine, u64::min)
    }

    fn machine() -> u64 {
        let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(u64::MAX, |kib| kib * 1024)
    }
}

#[cfg(test)]
mod tests {
    use weir_testkit::Simulation;

    use super::*;

    #[test]
    fn data_is_refused_above_the_limit_and_taken_again_below() {
        use std::sync::atomic::AtomicU64;
        static RESIDENT: AtomicU64 = AtomicU64::new(0);
        let simulation = Simulation::new(1);
        let second = Duration::from_secs(1);
        let limiter = Limiter::new(100, second, simulation.clock(), || RESIDENT.load(Ordering::Relaxed));
        let verdict = || limiter.verdict();
        assert!(verdict().is_ok());
        RESIDENT.store(100, Ordering::Relaxed);
        assert!(verdict().is_ok(), "not measured before the interval has passed");
        let clock = simulation.clock();
        simulation.run(async move { clock.sleep(second).await });
        assert!(verdict().is_err_and(|f| f.is_retryable()));
        RESIDENT.store(99, Ordering::Relaxed);
        let clock = simulation.clock();
        simulation.run(async move { clock.sleep(second).await });
        assert!(verdict().is_ok());
    }

    #[test]
    fn limits_are_computed_as_the_collector_does() {
        let second = GoDuration::from_secs(1);
        let fixed = Config { check_interval: second, limit_mib: 100, ..Config::default() };
        assert_eq!(fixed.soft_limit(1 << 40), Ok(80 * MIB));
        let share = Config {
            check_interval: second,
            limit_percentage: 50,
            spike_limit_percentage: 10,
            ..Config::default()
        };
        assert_eq!(share.soft_limit(1000), Ok(400));
        for (wrong, text) in [
            (Config::default(), "check_interval"),
            (Config { check_interval: second, ..Config::default() }, "limit_mib"),
            (Config { spike_limit_mib: 100, ..fixed }, "spike_limit_mib"),
        ] {
            assert!(wrong.soft_limit(1000).is_err_and(|e| e.contains(text)), "{text}");
        }
    }

    #[test]
    fn this_process_has_a_resident_size_within_the_machine() {
        let (resident, total) = (memory::resident(), memory::total());
        assert!(resident > 100_000 && resident < total, "{resident} of {total}");
    }
}
