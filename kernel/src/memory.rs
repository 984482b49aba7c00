//! How much memory there is and how much of it this process has.

use std::fs;
use std::path::{Path, PathBuf};

/// Resident set of this process in bytes (proc_pid_statm(5)); 0 where it cannot be read.
pub fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    // 4 KiB, on some arm64 systems 64 KiB.
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// What this process may use: the lowest limit of its cgroups (v1 and v2, cgroups(7)), else the machine's memory, in
/// bytes.
pub fn total() -> u64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits(&own, Path::new("/sys/fs/cgroup")).fold(machine(), u64::min)
}

/// The limits of the cgroups that `own` (/proc/self/cgroup) names and of all that they are in. In a container the names
/// are those of the host and only the top of the tree is to be seen, which is then the container's own.
fn limits(own: &str, root: &Path) -> impl Iterator<Item = u64> {
    let files = own.lines().flat_map(move |line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|c| c == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let below = Path::new(path.trim_start_matches('/'));
        below.ancestors().map(|group| base.join(group).join(file)).collect::<Vec<PathBuf>>()
    });
    files
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .collect::<Vec<u64>>()
        .into_iter()
}

fn machine() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_resident_size_within_the_machine() {
        let (resident, total) = (resident(), total());
        assert!(resident > 100_000 && resident < total, "{resident} of {total}");
    }

    #[test]
    fn the_resident_size_is_that_of_which_the_kernel_says_how_many_kib_it_is() {
        let status = fs::read_to_string("/proc/self/status").expect("readable");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        let resident = resident();
        assert!((kib * 512..kib * 2048).contains(&resident), "{resident} and {kib} KiB");
    }

    #[test]
    fn the_lowest_limit_on_the_way_to_the_own_cgroup_counts() {
        let root = std::env::temp_dir().join(format!("weir-kernel-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        };
        write("system.slice/memory.max", "300\n");
        write("system.slice/weir.service/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/pod/memory.limit_in_bytes", "200\n");
        let all = |own: &str| limits(own, &root).collect::<Vec<_>>();
        assert_eq!(all("0::/system.slice/weir.service\n"), [300]);
        assert_eq!(all("12:pids:/pod\n3:cpu,memory:/pod\n"), [200, 9_223_372_036_854_771_712]);
        assert_eq!(all("0::/not/to/be/seen\n"), Vec::<u64>::new());
        fs::remove_dir_all(&root).expect("removed");
    }
}
