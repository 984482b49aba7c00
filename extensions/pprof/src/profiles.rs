//! What can be said of this process.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use weir_config::{REDACTED, shown_reference};

use crate::encode::Builder;
use crate::threads::{self, Thread, used};

/// CPU time since `before`, of every thread by its name, in user mode and in the kernel. `now` and `duration` in ns.
pub(crate) fn cpu(before: &BTreeMap<u32, Thread>, now: u64, duration: u64) -> Vec<u8> {
    let mut by_name: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (id, thread) in threads::all() {
        // A thread that began meanwhile has everything since then.
        let (user, system) = used(before.get(&id).unwrap_or(&Thread::default()), &thread);
        let sum = by_name.entry(thread.name).or_default();
        *sum = (sum.0 + user, sum.1 + system);
    }
    let mut builder = Builder::new();
    for (name, (user, system)) in by_name {
        for (mode, time) in [("user mode", user), ("kernel mode", system)] {
            if time > 0 {
                builder.sample(&[mode, &name], time);
            }
        }
    }
    builder.finish("cpu", "nanoseconds", now.saturating_sub(duration), duration)
}

/// How many threads there are of each name.
fn threads_by_name() -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    threads::all().into_values().for_each(|thread| *by_name.entry(thread.name).or_default() += 1);
    by_name
}

pub(crate) fn threads(now: u64) -> Vec<u8> {
    let mut builder = Builder::new();
    threads_by_name().iter().for_each(|(name, count)| builder.sample(&[name], *count));
    builder.finish("thread", "count", now, 0)
}

pub(crate) fn threads_as_text() -> String {
    let by_name = threads_by_name();
    let mut text = format!("threads: total {}\n", by_name.values().sum::<u64>());
    for (name, count) in by_name {
        // Writing into a string does not fail.
        writeln!(text, "{count} {name}").unwrap_or_default();
    }
    text
}

/// Resident memory by what it is mapped to.
pub(crate) fn memory(now: u64) -> Vec<u8> {
    let mut builder = Builder::new();
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (name, bytes) in resident(&smaps) {
        builder.sample(&[&name], bytes);
    }
    builder.finish("inuse_space", "bytes", now, 0)
}

/// Resident bytes by mapping, of a text in the form of /proc/PID/smaps.
fn resident(smaps: &str) -> BTreeMap<String, u64> {
    let (mut by_name, mut name) = (BTreeMap::new(), String::new());
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "Rss:" {
            let kilobytes: u64 = words.next().and_then(|kb| kb.parse().ok()).unwrap_or(0);
            if kilobytes > 0 {
                *by_name.entry(name.clone()).or_default() += kilobytes * 1024;
            }
        } else if !first.ends_with(':') {
            name = words.skip(4).collect::<Vec<_>>().join(" ");
            if name.is_empty() {
                name.push_str("[anonymous]");
            }
        }
    }
    by_name
}

/// Arguments of this process, with a zero byte between them, without the configuration in them.
pub(crate) fn command_line() -> String {
    shown(&String::from_utf8_lossy(&fs::read("/proc/self/cmdline").unwrap_or_default()))
}

/// Arguments as a page may show them: of `--set` the key, of `--config` where the configuration is.
fn shown(arguments: &str) -> String {
    let mut before = "";
    let mut shown = Vec::new();
    for argument in arguments.trim_end_matches('\0').split('\0') {
        let inline = argument.split_once('=').filter(|(name, _)| matches!(*name, "--set" | "--config"));
        let (name, value) = inline.unwrap_or((before, argument));
        let value = match name {
            "--set" => value.split_once('=').map_or(REDACTED.into(), |(key, _)| format!("{key}={REDACTED}")),
            "--config" => shown_reference(value),
            _ => value.to_owned(),
        };
        shown.push(if inline.is_some() { format!("{name}={value}") } else { value });
        before = argument;
    }
    shown.join("\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_arguments_are_not_shown() {
        for (arguments, expected) in [
            ("/bin/weir\0--config\0a.yaml\0", "/bin/weir\0--config\0a.yaml"),
            ("weir\0--config\0yaml:a: hunter2", "weir\0--config\0yaml:[REDACTED]"),
            ("weir\0--config=env:C:-hunter2", "weir\0--config=env:C:-[REDACTED]"),
            (
                "weir\0--config=https://u:hunter2@h/c?k=hunter2",
                "weir\0--config=https://[REDACTED]@h/c?[REDACTED]",
            ),
            ("weir\0--set\0a.token=hunter2\0--config\0b", "weir\0--set\0a.token=[REDACTED]\0--config\0b"),
            ("weir\0--set=a.token=hunter2=", "weir\0--set=a.token=[REDACTED]"),
            (
                "weir\0validate\0--color\0never\0--set\0a=b",
                "weir\0validate\0--color\0never\0--set\0a=[REDACTED]",
            ),
            ("", ""),
        ] {
            assert_eq!(shown(arguments), expected);
        }
    }

    #[test]
    fn memory_is_summed_by_mapping() {
        let smaps = "55-56 r-xp 00000000 08:01 12  /bin/a b\nSize: 8 kB\nRss: 4 kB\nVmFlags: rd\n\
                     56-57 rw-p 00000000 00:00 0\nRss: 8 kB\n57-58 rw-p 00000000 08:01 12  /bin/a b\nRss: 1 kB\n";
        let expected = [("/bin/a b".to_owned(), 5 * 1024), ("[anonymous]".to_owned(), 8 * 1024)];
        assert_eq!(resident(smaps), BTreeMap::from(expected));
    }
}
