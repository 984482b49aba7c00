//! The memory limit that a process runs into first: the lowest of its cgroups, version 1 or 2, and of all their
//! parents, else the memory of the machine. Source: cgroups(7), `Documentation/admin-guide/cgroup-v2.rst`.

use std::path::{Component, Path, PathBuf};

use crate::process::{parse_kilobytes, read_text};

/// Version 1 writes "no limit" as the greatest multiple of the page size; nothing real is near it.
const UNLIMITED: u64 = 1 << 60;
/// Deeper hierarchies than this are not climbed to their root.
const DEPTH_LIMIT: usize = 64;

/// Limit in bytes; `None` when not even the memory of the machine can be read.
pub(crate) fn memory_limit(proc_root: &Path, pid: u32) -> Option<u64> {
    let machine =
        read_text(&proc_root.join("meminfo")).ok().and_then(|text| parse_kilobytes(&text, "MemTotal:"));
    let cgroups = read_text(&proc_root.join(pid.to_string()).join("cgroup")).unwrap_or_default();
    let mounts = read_text(&proc_root.join("self/mountinfo")).unwrap_or_default();
    let limits = mounts.lines().filter_map(parse_mount).filter_map(|mount| {
        let path = cgroups.lines().find_map(|line| mount.hierarchy.path_in(line))?;
        lowest(&mount, path)
    });
    limits.chain(machine).min()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    V1Memory,
    V2,
}

impl Hierarchy {
    fn limit_file(self) -> &'static str {
        match self {
            Self::V1Memory => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }

    /// The path in a line `id:controllers:path` of `/proc/<pid>/cgroup`, if the line is of this hierarchy.
    fn path_in(self, line: &str) -> Option<&str> {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = match self {
            Self::V1Memory => controllers.split(',').any(|controller| controller == "memory"),
            Self::V2 => id == "0" && controllers.is_empty(),
        };
        ours.then_some(path)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    hierarchy: Hierarchy,
    /// Directory of the hierarchy that is mounted; not `/` in a container without a cgroup namespace.
    root: PathBuf,
    point: PathBuf,
}

/// A line of `/proc/self/mountinfo` that mounts a hierarchy with memory limits.
pub(crate) fn parse_mount(line: &str) -> Option<Mount> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let hierarchy = match kind.next()? {
        "cgroup2" => Hierarchy::V2,
        "cgroup" if kind.nth(1)?.split(',').any(|option| option == "memory") => Hierarchy::V1Memory,
        _ => return None,
    };
    let mut fields = mount.split(' ').skip(3);
    Some(Mount { hierarchy, root: unescape(fields.next()?), point: unescape(fields.next()?) })
}

/// Blanks, tabs, newlines and backslashes in paths are written as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let path =
        field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    PathBuf::from(path)
}

fn lowest(mount: &Mount, path: &str) -> Option<u64> {
    let inside = Path::new(path).strip_prefix(&mount.root).ok()?;
    // A process outside of the agent's cgroup namespace is shown with "..": its directory cannot be reached.
    if inside.components().any(|part| matches!(part, Component::ParentDir)) {
        return None;
    }
    let relative = inside.strip_prefix("/").unwrap_or(inside);
    let directory = mount.point.join(relative);
    let parents =
        directory.ancestors().take_while(|parent| parent.starts_with(&mount.point)).take(DEPTH_LIMIT);
    parents.filter_map(|parent| limit_in(&parent.join(mount.hierarchy.limit_file()))).min()
}

fn limit_in(file: &Path) -> Option<u64> {
    let limit = read_text(file).ok()?.trim().parse::<u64>().ok()?;
    (limit < UNLIMITED).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_proc::FakeProc;
    use proptest::prelude::*;

    fn machine(fake: &FakeProc, cgroup: &str, mounts: &str) {
        fake.process(7, "x", 1);
        fake.file("meminfo", "MemTotal:       16000 kB\nMemFree: 1 kB\n");
        fake.file("7/cgroup", cgroup);
        fake.file("self/mountinfo", mounts);
    }

    #[test]
    fn the_lowest_limit_of_a_v2_cgroup_and_its_parents_holds() {
        let fake = FakeProc::new();
        let point = fake.root().join("cg");
        machine(
            &fake,
            "0::/pod/app\n",
            &format!("31 23 0:28 / {} rw - cgroup2 cgroup2 rw\n", point.display()),
        );
        fake.file("cg/pod/app/memory.max", "max\n");
        fake.file("cg/pod/memory.max", "4096000\n");
        fake.file("cg/memory.max", "9000000\n");
        assert_eq!(memory_limit(fake.root(), 7), Some(4_096_000));
    }

    #[test]
    fn without_a_cgroup_limit_the_memory_of_the_machine_holds() {
        let fake = FakeProc::new();
        let point = fake.root().join("cg");
        machine(
            &fake,
            "4:memory:/app\n0::/\n",
            &format!("1 2 0:3 / {} rw - cgroup cgroup rw,memory\n", point.display()),
        );
        fake.file("cg/app/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_limit(fake.root(), 7), Some(16_000 * 1024));
    }

    #[test]
    fn a_v1_limit_counts_beside_an_empty_v2_hierarchy() {
        let fake = FakeProc::new();
        let root = fake.root().display().to_string();
        let mounts = format!(
            "1 2 0:3 / {root}/cpu rw - cgroup cgroup rw,cpu\n\
             1 2 0:4 / {root}/mem\\040ory rw shared:3 - cgroup cgroup rw,memory\n\
             1 2 0:5 / {root}/unified rw - cgroup2 cgroup2 rw\n"
        );
        machine(&fake, "5:cpu:/app\n4:memory:/app/x:y\n0::/\n", &mounts);
        fake.file("mem ory/app/x:y/memory.limit_in_bytes", "7000\n");
        fake.file("cpu/app/memory.limit_in_bytes", "1\n");
        assert_eq!(memory_limit(fake.root(), 7), Some(7000));
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_followed_from_that_part() {
        let fake = FakeProc::new();
        let mounts = format!("1 2 0:3 /docker/abc {}/cg rw - cgroup2 cgroup rw\n", fake.root().display());
        machine(&fake, "0::/docker/abc/app\n", &mounts);
        fake.file("cg/app/memory.max", "5000\n");
        assert_eq!(memory_limit(fake.root(), 7), Some(5000));
    }

    #[test]
    fn a_cgroup_outside_of_the_mount_leaves_the_memory_of_the_machine() {
        let fake = FakeProc::new();
        let mounts = format!("1 2 0:3 / {}/cg/inner rw - cgroup2 cgroup rw\n", fake.root().display());
        machine(&fake, "0::/../outer\n", &mounts);
        fake.file("cg/outer/memory.max", "5000\n");
        fake.file("cg/inner/memory.max", "max\n");
        assert_eq!(memory_limit(fake.root(), 7), Some(16_000 * 1024));
    }

    proptest! {
        #[test]
        fn any_line_is_a_mount_or_not(line in "\\PC*", tail in "(cgroup2|cgroup) [a-z]* [a-z,]*") {
            let _unused = parse_mount(&line);
            let mount = parse_mount(&format!("1 2 3 / {line} - {tail}"));
            prop_assert!(mount.is_none() || tail.starts_with("cgroup"));
        }
    }
}
