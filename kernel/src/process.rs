//! Processes as `/proc` shows them: identity, names, limits, sockets by descriptor. Source: proc(5).
//!
//! A process may end between any two reads: that is [`ProcError::Gone`], and normal. Files of a process of another user
//! that need more rights are [`ProcError::NotPermitted`]; everything else works without any right.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cgroup;
use crate::error::ProcError;

/// `USER_HZ`, the unit of times in `/proc`: 100 in every Linux of today, whatever the kernel's own tick is.
pub(crate) const TICKS_PER_SECOND: u64 = 100;
const NANOSECONDS: u64 = 1_000_000_000;
/// More of a file than this is not read: each of those read here is far smaller.
const FILE_LIMIT: u64 = 256 * 1024;
/// More descriptors of one process than this are not looked at in one walk.
const DESCRIPTOR_LIMIT: usize = 4 << 20;

/// Name of this host as every process on it sees it (`host.name`); empty when it cannot be read.
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What identifies a process: a pid is used again, a pid with its start time is not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Pid in the namespace of the agent.
    pub pid: u32,
    /// Start, in ticks of 10 ms since the machine started: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
    /// Base name of the executable; of its first argument, or the command name, when the link may not be read.
    pub executable_name: String,
    /// Start, Unix nanoseconds, rounded to 10 ms; `None` when the start of the machine is unknown.
    pub creation_unix_ns: Option<u64>,
    /// Inode of the network namespace; `None` when it may not be read.
    pub network_namespace: Option<u64>,
}

/// Use and limits of a process. `None` where the system or missing rights keep it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessMetrics {
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Soft limit of open descriptors, `RLIMIT_NOFILE`; `None` also when unlimited.
    pub descriptor_limit: Option<u64>,
    /// Resident memory, bytes.
    pub resident_bytes: Option<u64>,
    /// Lowest memory limit of its cgroups, at most the memory of the machine, bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Size of `ip_local_port_range`: connections that one local address can have to one target.
    pub ephemeral_ports: Option<u64>,
}

/// The names that a process goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Command name, cut at 15 bytes by the kernel.
    pub command: String,
    /// Base name of the executable, if it may be read.
    pub executable: Option<String>,
    /// Base name of the first argument, if there is one.
    pub argument: Option<String>,
}

/// A `/proc` file system; another root than `/proc` for a container that has the host's elsewhere.
#[derive(Debug, Clone)]
pub struct ProcFs {
    root: PathBuf,
}

impl Default for ProcFs {
    fn default() -> Self {
        Self::new("/proc")
    }
}

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) command: String,
    pub(crate) ended: bool,
    pub(crate) start_ticks: u64,
}

impl ProcFs {
    /// A tree with this root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// All pids, ascending.
    ///
    /// # Errors
    /// When the root cannot be listed.
    pub fn pids(&self) -> Result<Vec<u32>, ProcError> {
        let failed = |source| ProcError::Io { path: self.root.clone(), source };
        let mut pids = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        pids.sort_unstable();
        Ok(pids)
    }

    /// Who this is.
    ///
    /// # Errors
    /// When it is gone, or `/proc` is not what proc(5) says.
    pub fn identity(&self, pid: u32) -> Result<ProcessIdentity, ProcError> {
        let stat = self.stat(pid)?;
        let names = self.names(pid)?;
        let boot = self.boot_seconds();
        let since_boot = stat.start_ticks.saturating_mul(NANOSECONDS / TICKS_PER_SECOND);
        Ok(ProcessIdentity {
            pid,
            start_ticks: stat.start_ticks,
            executable_name: names.executable.or(names.argument).unwrap_or(names.command),
            creation_unix_ns: boot.map(|boot| boot.saturating_mul(NANOSECONDS).saturating_add(since_boot)),
            network_namespace: self.network_namespace(Some(pid)),
        })
    }

    /// Use and limits; what cannot be read is `None`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn metrics(&self, pid: u32) -> Result<ProcessMetrics, ProcError> {
        let status = self.read_of(pid, "status")?;
        let limits = self.read_of(pid, "limits").ok();
        Ok(ProcessMetrics {
            descriptors: self.descriptor_count(pid),
            descriptor_limit: limits.as_deref().and_then(parse_descriptor_limit),
            resident_bytes: parse_kilobytes(&status, "VmRSS:"),
            memory_limit_bytes: cgroup::memory_limit(&self.root, pid),
            ephemeral_ports: self
                .read("sys/net/ipv4/ip_local_port_range")
                .as_deref()
                .and_then(parse_port_range),
        })
    }

    /// Whether the process with that pid and start has exited: it is gone, only its parent still has to hear of it, or
    /// the pid is another one's. `None` when that cannot be read.
    pub fn has_exited(&self, pid: u32, start_ticks: u64) -> Option<bool> {
        match self.stat(pid) {
            Ok(stat) => Some(stat.ended || stat.start_ticks != start_ticks),
            Err(ProcError::Gone { .. }) => Some(true),
            Err(_) => None,
        }
    }

    /// Names that a configuration may mean.
    ///
    /// # Errors
    /// When it is gone.
    pub fn names(&self, pid: u32) -> Result<Names, ProcError> {
        let executable = fs::read_link(self.path(pid, "exe")).ok().and_then(|path| base_name(&path));
        let arguments = self.read_of(pid, "cmdline").unwrap_or_default();
        let argument = arguments.split('\0').next().filter(|first| !first.is_empty());
        Ok(Names {
            command: self.stat(pid)?.command,
            executable: executable.map(|name| name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()),
            argument: argument.and_then(|first| base_name(Path::new(first))),
        })
    }

    /// Inode of a process's network namespace; of the agent's own with `None`.
    pub fn network_namespace(&self, pid: Option<u32>) -> Option<u64> {
        let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let link = fs::read_link(self.root.join(process).join("ns/net")).ok()?;
        bracketed(link.to_str()?, "net:[")
    }

    /// Calls `each` with the inode of every socket that the process has a descriptor of; one inode may come twice.
    /// Costs about 5 µs for each descriptor.
    ///
    /// # Errors
    /// When it is gone, or belongs to another user.
    pub fn socket_inodes(&self, pid: u32, each: &mut dyn FnMut(u32)) -> Result<(), ProcError> {
        self.socket_descriptors(pid, |_| None, |_, inode| each(inode))
    }

    /// Calls `each` with the number and inode of every descriptor of a socket. One whose inode `known` tells is not
    /// read, which is most of the cost.
    pub(crate) fn socket_descriptors(
        &self,
        pid: u32,
        known: impl Fn(u32) -> Option<u32>,
        mut each: impl FnMut(u32, u32),
    ) -> Result<(), ProcError> {
        let directory = self.path(pid, "fd");
        let failed = |source| ProcError::of_process(pid, directory.clone(), source);
        let entries = fs::read_dir(&directory).map_err(failed)?;
        for entry in entries.take(DESCRIPTOR_LIMIT) {
            let entry = entry.map_err(failed)?;
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(inode) = known(number) {
                each(number, inode);
                continue;
            }
            if let Some(inode) = self.socket_inode(pid, number)? {
                each(number, inode);
            }
        }
        Ok(())
    }

    /// Inode of the socket that a descriptor stands for; `None` when it is another file or was closed meanwhile.
    pub(crate) fn socket_inode(&self, pid: u32, number: u32) -> Result<Option<u32>, ProcError> {
        let path = self.path(pid, &format!("fd/{number}"));
        match fs::read_link(&path) {
            Ok(link) => Ok(link.to_str().and_then(|link| bracketed(link, "socket:["))),
            Err(error) => match ProcError::of_process(pid, path, error) {
                ProcError::Gone { .. } => Ok(None),
                other => Err(other),
            },
        }
    }

    /// User that owns the process, as the owner of its directory.
    pub(crate) fn uid(&self, pid: u32) -> Option<u32> {
        fs::metadata(self.root.join(pid.to_string())).ok().map(|data| data.uid())
    }

    pub(crate) fn stat(&self, pid: u32) -> Result<Stat, ProcError> {
        let text = self.read_of(pid, "stat")?;
        let malformed =
            || ProcError::Malformed { path: self.path(pid, "stat"), expected: "the 22 first fields of stat" };
        parse_stat(&text).ok_or_else(malformed)
    }

    /// Cgroup file of a process, as text.
    pub(crate) fn cgroup(&self, pid: u32) -> Result<String, ProcError> {
        self.read_of(pid, "cgroup")
    }

    /// Nanoseconds that the process has lived.
    pub(crate) fn age_ns(&self, start_ticks: u64) -> Option<u64> {
        let uptime = parse_uptime_ns(&self.read("uptime")?)?;
        Some(uptime.saturating_sub(start_ticks.saturating_mul(NANOSECONDS / TICKS_PER_SECOND)))
    }

    fn boot_seconds(&self) -> Option<u64> {
        self.read("stat")?.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    }

    fn descriptor_count(&self, pid: u32) -> Option<u64> {
        let directory = self.path(pid, "fd");
        // Since Linux 6.2 the size of this directory (`dr-x------`) is the number of descriptors, shown to all users;
        // before that it is 0. On another file system it means something else.
        let data = fs::metadata(&directory).ok()?;
        if data.mode() & 0o777 == 0o500 && data.blocks() == 0 && data.size() > 0 {
            return Some(data.size());
        }
        Some(fs::read_dir(directory).ok()?.take(DESCRIPTOR_LIMIT).count() as u64)
    }

    fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }

    fn read(&self, file: &str) -> Option<String> {
        read_text(&self.root.join(file)).ok()
    }

    fn read_of(&self, pid: u32, file: &str) -> Result<String, ProcError> {
        let path = self.path(pid, file);
        read_text(&path).map_err(|source| ProcError::of_process(pid, path, source))
    }
}

/// A small text file; bytes that are not UTF-8 (command names may hold any) are replaced.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn base_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// `socket:[123]` with the prefix `socket:[` is 123.
fn bracketed<N: std::str::FromStr>(link: &str, prefix: &str) -> Option<N> {
    link.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// The command name stands in parentheses and may hold some itself, so fields are counted from the last one.
pub(crate) fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let command = text.get(open + 1..close)?;
    let mut fields = text.get(close + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { command: command.to_owned(), ended: matches!(state, "Z" | "X" | "x"), start_ticks })
}

pub(crate) fn parse_descriptor_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `VmRSS:     1234 kB` as bytes.
pub(crate) fn parse_kilobytes(text: &str, label: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(label))?;
    value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

pub(crate) fn parse_port_range(text: &str) -> Option<u64> {
    let mut bounds = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    high.checked_sub(low)?.checked_add(1)
}

/// `12.34 5.6` is 12.34 s.
pub(crate) fn parse_uptime_ns(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let whole = seconds.parse::<u64>().ok()?.checked_mul(NANOSECONDS)?;
    let part = hundredths.get(..2)?.parse::<u64>().ok()?;
    whole.checked_add(part * (NANOSECONDS / 100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_proc::FakeProc;
    use proptest::prelude::*;

    #[test]
    fn a_command_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = parse_stat(&FakeProc::stat(7, "a) S (b", 'R', 4711)).unwrap();
        assert_eq!(stat, Stat { command: "a) S (b".to_owned(), ended: false, start_ticks: 4711 });
    }

    #[test]
    fn a_stat_that_is_too_short_is_malformed_and_says_where() {
        let fake = FakeProc::new();
        fake.process(7, "x", 1);
        fake.file("7/stat", "7 (x) S 1 2 3\n");
        let error = fake.proc().identity(7).unwrap_err();
        assert!(matches!(error, ProcError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("7/stat"), "{error}");
    }

    #[test]
    fn identity_joins_pid_start_name_and_wall_clock() {
        let fake = FakeProc::new();
        fake.process(7, "checkout", 12_345);
        fake.executable(7, "/opt/checkout (deleted)");
        fake.file("stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 5\n");
        fake.file("uptime", "200.45 1.00\n");
        let proc = fake.proc();
        let identity = proc.identity(7).unwrap();
        assert_eq!((identity.pid, identity.start_ticks), (7, 12_345));
        assert_eq!(identity.executable_name, "checkout");
        assert_eq!(identity.creation_unix_ns, Some(1_700_000_123_450_000_000));
        assert_eq!(identity.network_namespace, None);
        assert_eq!(proc.age_ns(12_345), Some(77_000_000_000));
    }

    #[test]
    fn metrics_are_read_from_status_limits_and_the_port_range() {
        let fake = FakeProc::new();
        fake.process(7, "x", 1);
        fake.descriptor(7, 0, "/dev/null");
        fake.descriptor(7, 1, "socket:[9]");
        fake.file(
            "7/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   524288  files\n",
        );
        fake.file("sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        fake.file("meminfo", "MemTotal:  1000 kB\n");
        let metrics = fake.proc().metrics(7).unwrap();
        let expected = ProcessMetrics {
            descriptors: Some(2),
            descriptor_limit: Some(1024),
            resident_bytes: Some(2048 * 1024),
            memory_limit_bytes: Some(1000 * 1024),
            ephemeral_ports: Some(28_232),
        };
        assert_eq!(metrics, expected);
    }

    #[test]
    fn an_unlimited_or_absent_value_is_none() {
        assert_eq!(parse_descriptor_limit("Max open files  unlimited unlimited files\n"), None);
        assert_eq!(parse_port_range("60999 32768"), None);
        let fake = FakeProc::new();
        fake.process(7, "x", 1);
        let metrics = fake.proc().metrics(7).unwrap();
        assert_eq!((metrics.descriptor_limit, metrics.memory_limit_bytes), (None, None));
    }

    #[test]
    fn a_process_that_is_gone_is_gone_and_not_an_error_of_the_system() {
        let proc = FakeProc::new().proc();
        assert!(matches!(proc.identity(7), Err(ProcError::Gone { pid: 7 })));
        assert!(matches!(proc.metrics(7), Err(ProcError::Gone { pid: 7 })));
        assert!(matches!(proc.socket_inodes(7, &mut |_| {}), Err(ProcError::Gone { pid: 7 })));
    }

    #[test]
    fn only_sockets_are_taken_from_the_descriptors() {
        let fake = FakeProc::new();
        fake.process(7, "x", 1);
        for (number, target) in
            ["/dev/null", "socket:[42]", "pipe:[43]", "socket:[x]", "socket:[44]"].iter().enumerate()
        {
            fake.descriptor(7, u32::try_from(number).unwrap(), target);
        }
        let mut inodes = Vec::new();
        fake.proc().socket_inodes(7, &mut |inode| inodes.push(inode)).unwrap();
        inodes.sort_unstable();
        assert_eq!(inodes, [42, 44]);
    }

    #[test]
    fn a_descriptor_whose_inode_is_known_is_not_read() {
        let fake = FakeProc::new();
        fake.process(7, "x", 1);
        fake.descriptor(7, 3, "/dev/null");
        fake.descriptor(7, 4, "socket:[44]");
        let mut found = Vec::new();
        let known = |number| (number == 3).then_some(33);
        fake.proc().socket_descriptors(7, known, |number, inode| found.push((number, inode))).unwrap();
        found.sort_unstable();
        assert_eq!(found, [(3, 33), (4, 44)]);
    }

    #[test]
    fn a_refused_file_names_the_two_capabilities() {
        let error = ProcError::of_process(7, "/proc/7/fd".into(), io::Error::from_raw_os_error(libc::EACCES));
        assert!(matches!(error, ProcError::NotPermitted { pid: 7, .. }));
        assert!(error.to_string().contains("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*", number in any::<u64>()) {
            prop_assert!(parse_stat(&text).is_none() || text.contains('('));
            let hostile = format!("Max open files {number} {text}\nVmRSS: {number} kB");
            prop_assert_eq!(parse_descriptor_limit(&hostile), Some(number));
            prop_assert_eq!(parse_kilobytes(&hostile, "VmRSS:"), number.checked_mul(1024));
            let _unused = (parse_port_range(&text), parse_uptime_ns(&format!("{number}.{text}")));
        }
    }
}
