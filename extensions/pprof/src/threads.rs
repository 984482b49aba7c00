//! CPU time and names of this process's threads, as the kernel accounts them (proc(5)).

use std::collections::BTreeMap;
use std::fs;

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Thread {
    pub(crate) name: String,
    /// Time on a CPU, ns.
    pub(crate) cpu: u64,
    /// Clock ticks in user mode and in the kernel: how the time divides.
    pub(crate) user: u64,
    pub(crate) system: u64,
}

/// All threads by id. Those that end meanwhile are left out.
pub(crate) fn all() -> BTreeMap<u32, Thread> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let id = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse().ok());
    tasks.filter_map(|task| Some((id(task.file_name())?, thread(&task.path())?))).collect()
}

fn thread(folder: &std::path::Path) -> Option<Thread> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name is in parentheses and may contain some itself.
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_ascii_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
    let (user, system) = (fields.next()?, fields.next()?);
    let schedstat = fs::read_to_string(folder.join("schedstat")).unwrap_or_default();
    let on_cpu = schedstat.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok());
    // A kernel without schedstat counts ticks of 10 ms.
    let cpu = on_cpu.unwrap_or((user + system) * 10_000_000);
    Some(Thread { name: name.to_owned(), cpu, user, system })
}

/// What a thread used since `before`, in user mode and in the kernel, ns.
pub(crate) fn used(before: &Thread, now: &Thread) -> (u64, u64) {
    let total = now.cpu.saturating_sub(before.cpu);
    let (user, system) = (now.user.saturating_sub(before.user), now.system.saturating_sub(before.system));
    let in_kernel = match user + system {
        0 => 0,
        all => u64::try_from(u128::from(total) * u128::from(system) / u128::from(all)).unwrap_or(0),
    };
    (total - in_kernel, in_kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_is_among_them_with_its_name() {
        let name = std::thread::Builder::new().name("a (b) c".to_owned());
        let found = name.spawn(|| all().into_values().any(|t| t.name == "a (b) c")).expect("a thread").join();
        assert!(found.expect("it ended"));
    }

    #[test]
    fn time_divides_as_the_ticks_do() {
        let before = Thread { cpu: 1000, user: 1, system: 1, ..Thread::default() };
        let now = Thread { cpu: 5000, user: 4, system: 2, ..Thread::default() };
        assert_eq!(used(&before, &now), (3000, 1000));
        assert_eq!(used(&now, &now), (0, 0));
    }
}
