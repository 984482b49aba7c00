//! Metrics of the process itself, under the names of the Collector. Where its words are about Go's runtime, what comes
//! nearest is measured, and the help says what that is.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::metrics::{AsyncInstrument, Meter};

/// Measures when somebody reads; nothing otherwise.
pub(crate) fn register(meter: &Meter, started: Timestamp) {
    // The provider keeps what is registered.
    let _uptime = (meter.f64_observable_counter("otelcol_process_uptime").with_unit("s"))
        .with_description("Uptime of the process [Alpha]")
        .with_callback(move |i| i.observe(uptime(started).as_secs_f64(), &[]))
        .build();
    let _cpu = (meter.f64_observable_counter("otelcol_process_cpu_seconds").with_unit("s"))
        .with_description("Total CPU user and system time in seconds [Alpha]")
        .with_callback(|i| {
            if let Some(stat) = Stat::read() {
                i.observe(stat.cpu_ticks as f64 / TICKS_PER_SECOND, &[]);
            }
        })
        .build();
    let _given = (meter.u64_observable_counter("otelcol_process_runtime_total_alloc_bytes").with_unit("By"))
        .with_description(
            "Cumulative bytes of memory that the process was given, by its page faults without I/O [Alpha]",
        )
        .with_callback(|i| {
            if let Some(stat) = Stat::read() {
                i.observe(stat.minor_faults * PAGE, &[]);
            }
        })
        .build();
    gauge(meter, "otelcol_process_memory_rss", "Total physical memory (resident set size) [Alpha]", "VmRSS:");
    gauge(
        meter,
        "otelcol_process_runtime_heap_alloc_bytes",
        "Bytes of resident memory without a file behind it: heap and stacks [Alpha]",
        "RssAnon:",
    );
    gauge(
        meter,
        "otelcol_process_runtime_total_sys_memory_bytes",
        "Total bytes of address space for data that the process obtained from the OS [Alpha]",
        "VmData:",
    );
}

/// A line of /proc/self/status in kB as a gauge in bytes.
fn gauge(meter: &Meter, name: &'static str, help: &'static str, line: &'static str) {
    let gauge = meter.u64_observable_gauge(name).with_unit("By").with_description(help);
    let callback = move |i: &dyn AsyncInstrument<u64>| {
        if let Some(kib) = status(line) {
            i.observe(kib * 1024, &[]);
        }
    };
    let _gauge = gauge.with_callback(callback).build();
}

fn uptime(started: Timestamp) -> Duration {
    Duration::try_from(crate::now().duration_since(started)).unwrap_or_default()
}

fn status(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|l| l.strip_prefix(line))?.split_whitespace().next()?.parse().ok()
}

/// USER_HZ, which is 100 on every architecture that Linux has today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of a page; Linux on x86-64 and (by default) on arm64.
const PAGE: u64 = 4096;

/// What is read of /proc/self/stat (proc_pid_stat(5)).
struct Stat {
    minor_faults: u64,
    cpu_ticks: u64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program may hold anything, but its end is the last parenthesis. Fields count from 3 there.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat { minor_faults: field(10)?, cpu_ticks: field(14)? + field(15)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_page_faults() {
        let stat = Stat::read().expect("procfs");
        let (rss, anonymous) = (status("VmRSS:").expect("a size"), status("RssAnon:").expect("a size"));
        assert!(anonymous > 0 && anonymous <= rss);
        assert!(stat.minor_faults * PAGE / 1024 >= anonymous / 2, "{} faults", stat.minor_faults);
        assert!(status("VmData:").expect("a size") > 0);
    }
}
