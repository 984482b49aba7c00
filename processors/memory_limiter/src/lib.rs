//! Refuses data while the process holds too much of it.
//!
//! The Collector looks at its heap and forces garbage collections, after a request has been read and decoded. Here the
//! limiter is a [`Gate`] of the agent's [`Budget`]: it is asked before a piece of a request is kept, and for what the
//! request decompresses to: before that is made where a large one announces its size, at the latest before it goes on,
//! by few large ones at once. So large requests cannot pass it, and it knows the bytes that are really held, also those
//! that nobody asks it for, such as what comes back from a disk. The resident set, which is what a cgroup kills for, is
//! measured too: every `check_interval`, and whenever an eighth of the spike limit has come in since. When that is what
//! refuses, memory that the allocator keeps is given back to the kernel, as the Collector collects its garbage: else it
//! would refuse for ever what a burst has left behind.

mod counts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use weir_component::{
    Budget, Build, BuildError, Clock, Context, Count, Failure, Gate, Host, Maturity, Processor,
    ProcessorFactory, Stability, Transform, Verdict,
};
use weir_config::{GoDuration, Issues, Options};
use weir_kernel::memory;
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
    /// Bytes that may be used. `total` is the memory there is.
    fn limits(&self, total: u64) -> Result<Limits, String> {
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
        Ok(Limits { soft: limit - spike, hard: limit })
    }

    /// Whether the limit is one at all where the process may use `total` bytes.
    fn fits(&self, total: u64, issues: &mut Issues) {
        if u64::from(self.limit_mib) * MIB > total {
            let (limit, most) = (self.limit_mib, total / MIB);
            issues.at_with_help(
                "limit_mib",
                format!(
                    "'limit_mib' ({limit} MiB) is above the memory that this process may use ({most} MiB): the kernel would end it \
                     before"
                ),
                format!("set at most {most}, better less, or use limit_percentage, which follows the machine"),
            );
        }
    }
}

/// Makes `memory_limiter` processors.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "memory_limiter",
    aliases: &[],
    signals: &Signal::ALL,
    stability: Maturity::but(Stability::Beta, &[(Signal::Profiles, Stability::Alpha)]),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    shared: false,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.config()?;
    let total = memory::total();
    let limits = config.limits(total).map_err(|m| build.invalid(m))?;
    let mut issues = Issues::default();
    config.fits(total, &mut issues);
    let errors = issues.into_errors(build.node, &build.path);
    if !errors.is_empty() {
        return Err(BuildError(errors));
    }
    let budget = build.host.budget().clone();
    let process = Process { resident: memory::resident, give_back: weir_sys::give_back_free_memory };
    let limiter =
        Arc::new(Limiter::new(limits, Pauses::of(&config), process, build.clock.clone(), build.host.clone()));
    let counts = Counts::new(build.id, build.host);
    let door: Arc<dyn Gate> = Arc::new(Door { limiter: Arc::clone(&limiter), refused: counts.at_the_door() });
    Ok(Processor::Transform(Arc::new(MemoryLimiter { limiter, door, budget, counts })))
}

/// The limiter where requests come in. Nobody has counted their items there.
struct Door {
    limiter: Arc<Limiter>,
    refused: Count,
}

impl Gate for Door {
    fn admit(&self, held: usize, more: usize) -> Result<(), Failure> {
        self.limiter.admit(held, more).inspect_err(|_| self.refused.add(1))
    }

    fn would_admit(&self, held: usize, more: usize) -> bool {
        self.limiter.would_admit(held, more)
    }

    fn limit(&self) -> usize {
        let Limiter { limits, base, .. } = &*self.limiter;
        usize::try_from(limits.soft.saturating_sub(*base)).unwrap_or(usize::MAX)
    }
}

struct MemoryLimiter {
    limiter: Arc<Limiter>,
    door: Arc<dyn Gate>,
    budget: Budget,
    counts: Counts,
}

impl Transform for MemoryLimiter {
    fn take_effect(&self) {
        // It is asked for as long as the processor lives and no other configuration has taken over.
        self.budget.add_gate(Arc::downgrade(&self.door));
    }

    fn apply(&self, payload: &mut Payload, _: &Context) -> Result<Verdict, Failure> {
        // What came through the door was admitted there; this is for receivers that make their data themselves.
        let verdict = self.limiter.admit(self.budget.held(), 0);
        match verdict {
            Ok(()) => self.counts.accepted(payload),
            Err(_) => self.counts.refused(payload),
        }
        verdict.map(|()| Verdict::Pass)
    }
}

/// Bytes from which data is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Telemetry that is held and what the process needs without any.
    soft: u64,
    /// The resident set, whatever it consists of.
    hard: u64,
}

/// What the limiter knows of the process, and can do about it.
#[derive(Clone, Copy)]
struct Process {
    resident: fn() -> u64,
    give_back: fn(),
}

/// Least times between two of a kind.
#[derive(Clone, Copy)]
struct Pauses {
    /// Measurements.
    check: Duration,
    /// Memory that is free is given back, while the resident set is above the soft limit.
    soft: Duration,
    /// The same, above the hard limit.
    hard: Duration,
}

impl Pauses {
    fn of(config: &Config) -> Pauses {
        Pauses {
            check: config.check_interval.as_std(),
            soft: config.min_gc_interval_when_soft_limited.as_std(),
            hard: config.min_gc_interval_when_hard_limited.as_std(),
        }
    }
}

struct Limiter {
    limits: Limits,
    /// What the process needs without telemetry, as it was at its start. Later the allocator may hold on to what a burst took,
    /// which is used again and must not lower the limit of one that a reload brings.
    base: u64,
    pauses: Pauses,
    process: Process,
    clock: Clock,
    host: Host,
    /// Engine time in ns from which the next request measures again.
    next_check: AtomicU64,
    /// The same of the last time that memory was given back; 0 for never.
    gave_back: AtomicU64,
    /// Bytes admitted since the last measurement.
    unmeasured: AtomicU64,
    /// Whether the last measurement was too high.
    swollen: AtomicBool,
    /// Whether requests are refused, so that changes are logged once.
    refusing: AtomicBool,
    /// Engine time in ns of the last one.
    refused: AtomicU64,
}

impl Limiter {
    fn new(limits: Limits, pauses: Pauses, process: Process, clock: Clock, host: Host) -> Limiter {
        Limiter {
            limits,
            base: host.resident_at_start().min(limits.soft / 2),
            pauses,
            process,
            clock,
            host,
            next_check: AtomicU64::new(0),
            gave_back: AtomicU64::new(0),
            unmeasured: AtomicU64::new(0),
            swollen: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// Says to the sender of `more` whether it may come in.
    fn admit(&self, held: usize, more: usize) -> Result<(), Failure> {
        let (held, more) = (held as u64, more as u64);
        self.measure(held, more);
        let admitted = self.allows(held, more);
        self.log(!admitted, held);
        if admitted { Ok(()) } else { Err(Failure::retry("data refused due to high memory usage")) }
    }

    /// For who only looks: nothing comes in, but a measurement that is due is made, as perhaps nobody else comes.
    fn would_admit(&self, held: usize, more: usize) -> bool {
        self.measure(held as u64, 0);
        self.allows(held as u64, more as u64)
    }

    fn allows(&self, held: u64, more: u64) -> bool {
        let full = self.base.saturating_add(held).saturating_add(more) > self.limits.soft;
        !full && !self.swollen.load(Ordering::Relaxed)
    }

    /// Measures when it is time; one of several tasks that come at once does it.
    fn measure(&self, held: u64, more: u64) {
        let now = self.clock.now();
        let due = self.next_check.load(Ordering::Relaxed);
        let next = (now + self.pauses.check).as_nanos();
        let enough = (self.limits.hard - self.limits.soft) / 8;
        let is_due =
            now.as_nanos() >= due || self.unmeasured.fetch_add(more, Ordering::Relaxed) + more >= enough;
        if !is_due
            || self.next_check.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        self.unmeasured.store(0, Ordering::Relaxed);
        let Limits { soft, hard } = self.limits;
        let resident = (self.process.resident)();
        // Above the soft limit, what is resident counts only when telemetry is a good part of it: memory that the
        // allocator has not given back is used again by what comes next.
        let swollen = resident >= hard || (resident >= soft && held >= soft / 4);
        self.swollen.store(swollen, Ordering::Relaxed);
        if swollen {
            self.give_back(
                now.as_nanos(),
                if resident >= hard { self.pauses.hard } else { self.pauses.soft },
            );
        }
    }

    /// Has memory that is free given back beside, unless that was done less than `pause` ago: the next measurement sees it.
    fn give_back(&self, now: u64, pause: Duration) {
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let last = self.gave_back.load(Ordering::Relaxed);
        if last > 0 && now.saturating_sub(last) < pause {
            return;
        }
        self.gave_back.store(now.max(1), Ordering::Relaxed);
        // It has begun with the first look, and nobody waits for it.
        self.host.blocking(self.process.give_back).now_or_never();
    }

    /// Logs that requests are refused from now on, and that they are not any more: small ones that fit between larger ones do
    /// not show that. It shows when none was refused for as long as what is resident may be unmeasured.
    fn log(&self, refuse: bool, held: u64) {
        let refuses = self.refusing.load(Ordering::Relaxed);
        if !refuse && !refuses {
            return;
        }
        let now = self.clock.now();
        if refuse {
            self.refused.store(now.as_nanos(), Ordering::Relaxed);
        }
        let quiet = Duration::from_nanos(now.as_nanos().saturating_sub(self.refused.load(Ordering::Relaxed)));
        if refuse == refuses
            || !refuse && quiet < self.pauses.check
            || self.refusing.swap(refuse, Ordering::Relaxed) == refuse
        {
            return;
        }
        let (held, resident, limit) = (held / MIB, (self.process.resident)() / MIB, self.limits.soft / MIB);
        if refuse {
            tracing::warn!(
                otelcol.component.kind = "processor",
                cur_mem_mib = resident,
                held_mib = held,
                limit_mib = limit,
                "Memory usage is above soft limit. Refusing data."
            );
        } else {
            tracing::info!(
                otelcol.component.kind = "processor",
                cur_mem_mib = resident,
                held_mib = held,
                "Memory usage back within limits. Resuming normal operation."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;
    use weir_testkit::{Simulation, logged};

    use super::*;

    fn limiter(simulation: &Simulation, resident: fn() -> u64) -> Limiter {
        limiter_of(simulation, Process { resident, give_back: || () })
    }

    fn limiter_of(simulation: &Simulation, process: Process) -> Limiter {
        limiter_on(weir_testkit::host(simulation).with_resident_at_start(100), simulation, process)
    }

    fn limiter_on(host: Host, simulation: &Simulation, process: Process) -> Limiter {
        let limits = Limits { soft: 800, hard: 1000 };
        let pauses = Pauses { check: SECOND, soft: 10 * SECOND, hard: Duration::ZERO };
        Limiter::new(limits, pauses, process, simulation.clock(), host)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_held_and_what_comes_count_before_anything_is_measured() {
        let simulation = Simulation::new(1);
        let limiter = limiter(&simulation, || 100);
        assert!(limiter.admit(0, 700).is_ok());
        assert!(limiter.admit(0, 701).is_err_and(|f| f.is_retryable()), "one large request");
        assert!(limiter.admit(699, 1).is_ok() && limiter.admit(700, 1).is_err(), "many small ones");
        assert!(limiter.admit(10, 1).is_ok(), "when they are gone");
    }

    #[test]
    fn a_resident_set_above_the_limit_refuses_until_it_is_measured_below() {
        static RESIDENT: AtomicU64 = AtomicU64::new(0);
        let simulation = Simulation::new(1);
        let limiter = limiter(&simulation, || RESIDENT.load(Ordering::Relaxed));
        let clock = simulation.clock();
        assert!(limiter.admit(0, 1).is_ok());
        RESIDENT.store(1000, Ordering::Relaxed);
        assert!(limiter.admit(0, 1).is_ok(), "not measured before the interval has passed");
        assert!(limiter.admit(0, 30).is_err(), "an eighth of the spike limit came in");
        RESIDENT.store(999, Ordering::Relaxed);
        let later = clock.clone();
        simulation.run(async move { later.sleep(SECOND).await });
        assert!(limiter.admit(100, 1).is_ok(), "memory that was not given back");
        simulation.run(async move { clock.sleep(SECOND).await });
        assert!(limiter.admit(200, 1).is_err(), "a quarter of the soft limit is telemetry");
    }

    #[test]
    fn what_the_allocator_keeps_is_given_back_when_it_refuses_and_no_more_often_than_the_options_say() {
        static RESIDENT: AtomicU64 = AtomicU64::new(100);
        static KEPT: AtomicU64 = AtomicU64::new(0);
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let process = Process {
            resident: || RESIDENT.load(Ordering::Relaxed),
            give_back: || {
                TIMES.fetch_add(1, Ordering::Relaxed);
                RESIDENT.fetch_sub(KEPT.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            },
        };
        let simulation = Simulation::new(1);
        let limiter = limiter_of(&simulation, process);
        let admits_a_second_later = |held: usize| {
            let clock = simulation.clock();
            simulation.run(async move { clock.sleep(SECOND).await });
            let admits = limiter.admit(held, 1).is_ok();
            simulation.run_to_end();
            admits
        };
        assert!(admits_a_second_later(0));
        RESIDENT.store(1000, Ordering::Relaxed);
        KEPT.store(500, Ordering::Relaxed);
        assert!(
            !admits_a_second_later(0) && admits_a_second_later(0),
            "nothing is held, and it is given back"
        );
        assert_eq!(TIMES.load(Ordering::Relaxed), 1, "it is not asked for without need");
        RESIDENT.store(1000, Ordering::Relaxed);
        let refused = [0; 3].map(admits_a_second_later);
        assert_eq!((refused, TIMES.load(Ordering::Relaxed)), ([false; 3], 4), "with each measurement");
        RESIDENT.store(900, Ordering::Relaxed);
        let refused = [300; 25].map(admits_a_second_later);
        assert_eq!((refused, TIMES.load(Ordering::Relaxed)), ([false; 25], 6), "every ten seconds");
    }

    #[test]
    fn who_only_looks_is_no_refusal_and_brings_in_nothing_but_a_measurement_that_is_due() {
        static RESIDENT: AtomicU64 = AtomicU64::new(100);
        let simulation = Simulation::new(1);
        let host = weir_testkit::host(&simulation);
        let limiter = Arc::new(limiter(&simulation, || RESIDENT.load(Ordering::Relaxed)));
        let refused = Counts::new("memory_limiter", &host).at_the_door();
        let door = Door { limiter: Arc::clone(&limiter), refused };
        let consequences = || {
            let samples = host.stats().samples();
            let refused = samples.iter().find(|s| s.name.ends_with("_refused_requests")).expect("a count");
            (refused.value, limiter.refusing.load(Ordering::Relaxed))
        };
        assert!(door.would_admit(0, 700) && !door.would_admit(0, 701));
        assert_eq!(door.limit(), 700);
        RESIDENT.store(1000, Ordering::Relaxed);
        assert!(door.would_admit(0, 30), "an eighth of the spike limit was looked at and did not come in");
        simulation.run({
            let clock = simulation.clock();
            async move { clock.sleep(SECOND).await }
        });
        assert!(!door.would_admit(0, 1), "the interval has passed");
        assert_eq!(consequences(), (0, false));
        assert!(door.admit(0, 1).is_err());
        assert_eq!(consequences(), (1, true));
    }

    #[test]
    fn what_comes_in_is_refused_from_when_the_configuration_takes_over_and_as_long_as_the_limiter_lives() {
        let simulation = Simulation::new(1);
        let host = weir_testkit::host(&simulation);
        let node = weir_config::parse_body("{check_interval: 1s, limit_mib: 1}").expect("YAML");
        let path = weir_config::Path::component("processors", "memory_limiter");
        let build = Build { id: "memory_limiter", node: &node, path, host: &host, clock: simulation.clock() };
        let Ok(Processor::Transform(limiter)) = create(&build) else { unreachable!("it is a transform") };
        let fits = || host.budget().reserve(2 << 20).is_ok();
        assert!(fits(), "its configuration may be refused");
        limiter.take_effect();
        assert!(!fits());
        drop(limiter);
        assert!(fits());
    }

    #[test]
    fn what_the_process_needs_is_what_it_had_at_its_start_and_not_after_a_burst() {
        let simulation = Simulation::new(1);
        let host = weir_testkit::host(&simulation).with_resident_at_start(100);
        let host = host.with_telemetry(weir_component::Telemetry::default());
        let process = Process { resident: || 790, give_back: || () };
        let limiter = limiter_on(host, &simulation, process);
        assert!(limiter.admit(0, 700).is_ok() && limiter.admit(0, 701).is_err());
    }

    #[test]
    fn small_requests_that_fit_between_large_ones_that_do_not_are_no_return_to_normal_operation() {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        let simulation = Simulation::new(1);
        let process = Process {
            resident: || {
                LOOKS.fetch_add(1, Ordering::Relaxed);
                100
            },
            give_back: || (),
        };
        let limiter = limiter_of(&simulation, process);
        let alternately = || {
            logged(LevelFilter::INFO, || {
                for _ in 0..10 {
                    assert!(limiter.admit(690, 20).is_err() && limiter.admit(690, 1).is_ok());
                }
            })
        };
        let after = |pause: Duration| {
            let clock = simulation.clock();
            simulation.run(async move { clock.sleep(pause).await });
        };
        let said = alternately();
        assert!(matches!(&said[..], [line] if line.contains("Refusing data")), "{said:?}");
        assert!(LOOKS.load(Ordering::Relaxed) <= 20, "{LOOKS:?}");
        after(SECOND / 2);
        assert_eq!(alternately(), [""; 0]);
        after(SECOND);
        let said = logged(LevelFilter::INFO, || assert!(limiter.admit(690, 1).is_ok()));
        assert!(matches!(&said[..], [line] if line.contains("Resuming normal operation")), "{said:?}");
        assert_eq!(alternately().len(), 1);
    }

    #[test]
    fn a_limit_above_the_memory_there_is_is_refused_at_its_place_with_both_figures() {
        let said = |limit_mib, total| {
            let config = Config { check_interval: GoDuration::from_secs(1), limit_mib, ..Config::default() };
            let mut issues = Issues::default();
            config.fits(total, &mut issues);
            let body = weir_config::parse_body("check_interval: 1s\nlimit_mib: 0").expect("YAML");
            let path = weir_config::Path::component("processors", "memory_limiter");
            let errors = issues.into_errors(&body, &path);
            let shown = errors.iter().map(|e| format!("{}: {e}", e.span.map_or(0, |span| span.line)));
            shown.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(100, 100 * MIB), "");
        assert_eq!(said(u32::MAX, u64::MAX), "", "nobody knows how much there is");
        let text = said(4_000_000, 100 * MIB + 1);
        assert!(
            text.starts_with("2: ") && text.contains("(4000000 MiB)") && text.contains("(100 MiB)"),
            "{text}"
        );
    }

    #[test]
    fn limits_are_computed_as_the_collector_does() {
        let second = GoDuration::from_secs(1);
        let fixed = Config { check_interval: second, limit_mib: 100, ..Config::default() };
        assert_eq!(fixed.limits(1 << 40), Ok(Limits { soft: 80 * MIB, hard: 100 * MIB }));
        let share = Config {
            check_interval: second,
            limit_percentage: 50,
            spike_limit_percentage: 10,
            ..Config::default()
        };
        assert_eq!(share.limits(1000), Ok(Limits { soft: 400, hard: 500 }));
        for (wrong, text) in [
            (Config::default(), "check_interval"),
            (Config { check_interval: second, ..Config::default() }, "limit_mib"),
            (Config { spike_limit_mib: 100, ..fixed }, "spike_limit_mib"),
        ] {
            assert!(wrong.limits(1000).is_err_and(|e| e.contains(text)), "{text}");
        }
    }
}
