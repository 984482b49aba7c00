//! An agent under test: Weir or the Go Collector, with limits of its own.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Which agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Weir,
    Collector,
}

/// What the system allows the agent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Memory of its cgroup, in MiB.
    pub(crate) memory_mib: Option<u64>,
    /// Open files.
    pub(crate) files: Option<u32>,
    /// The process whose file systems it sees: [`disk`](crate::disk).
    pub(crate) mounts_of: Option<u32>,
    /// Whether strace counts its syncs. It stops the agent at those, and where threads begin: one whose clone strace does not
    /// follow it would stop at each system call from then on.
    pub(crate) counts_syncs: bool,
    /// Whether its wall clock is what [`Agent::set_clock`] says; libfaketime does that.
    pub(crate) clock: bool,
    /// Whether a crash leaves a core file as far as the system allows one, if the agent does not see to it that none is left.
    pub(crate) core: bool,
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    dir: TempDir,
    cgroup: Option<Cgroup>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) took: Duration,
}

impl Ended {
    /// `exit 0`, or the signal that ended it.
    pub(crate) fn shown(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(9)) => "killed".to_owned(),
            (None, signal) => format!("signal {signal:?}"),
        }
    }
}

impl Agent {
    /// Starts an agent and waits until it is ready.
    pub(crate) fn start_within(kind: Kind, yaml: &str, limits: Limits) -> Agent {
        let mut agent = Agent::launch(kind, yaml, limits);
        assert!(agent.is_ready(), "{kind:?} is not ready:\n{}", agent.log());
        agent
    }

    /// Starts an agent.
    pub(crate) fn launch(kind: Kind, yaml: &str, limits: Limits) -> Agent {
        let dir = TempDir::new().expect("a temporary folder");
        let config = dir.path().join("agent.yaml");
        fs::write(&config, yaml).expect("the configuration is written");
        let log = File::create(dir.path().join("log")).expect("the log is made");
        let cgroup = limits.memory_mib.map(Cgroup::new);
        // The shell enters the cgroup and sets the limits before it becomes the agent, which it does only if it could.
        let mut command = Command::new("sh");
        let script = r#"set -e; [ -z "$1" ] || echo $$ >"$1"; [ -z "$2" ] || ulimit -n "$2"
            [ -z "$3" ] || ulimit -c "$(ulimit -Hc)"
            mounts=$4 syncs=$5; shift 5
            exec ${mounts:+nsenter "--mount=$mounts"} \
                ${syncs:+strace -D -f --seccomp-bpf -c -o "$syncs" -e trace=fsync,fdatasync,clone,clone3} "$@""#;
        let group = cgroup.as_ref().map(|g| g.path.join("cgroup.procs")).unwrap_or_default();
        let files = limits.files.map(|n| n.to_string()).unwrap_or_default();
        let mounts = limits.mounts_of.map(|pid| format!("/proc/{pid}/ns/mnt")).unwrap_or_default();
        let core = if limits.core { "core" } else { "" };
        // Core files are left in the folder in which it works.
        command.current_dir(dir.path());
        command.args(["-c", script, "sh"]).arg(group).arg(files).arg(core).arg(mounts);
        let syncs = if limits.counts_syncs { dir.path().join("syncs") } else { PathBuf::new() };
        command.arg(syncs).arg(binary(kind));
        command.arg("--config").arg(&config).env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        if limits.clock {
            let library =
                libfaketime().expect("libfaketime is missing. Debian: apt-get install -y libfaketime");
            command.env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("FAKETIME_TIMESTAMP_FILE", dir.path().join("clock")).env("FAKETIME_NO_CACHE", "1");
            set_clock(dir.path(), 0);
        }
        let child = command.spawn().expect("the agent starts");
        Agent { child, dir, cgroup }
    }

    /// Sets its wall clock to so many seconds from the true time.
    pub(crate) fn set_clock(&self, offset: i64) {
        set_clock(self.dir.path(), offset);
    }

    /// Waits until it is ready; false when it has ended instead, or takes too long.
    pub(crate) fn is_ready(&mut self) -> bool {
        let ready = wait_until(Duration::from_secs(60), || {
            (self.log().contains("Everything is ready.") || !self.is_running()).then_some(())
        });
        ready.is_some() && self.is_running()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many [syncs](Limits::counts_syncs) it made, once it has ended; none where strace cannot count.
    pub(crate) fn syncs(&self) -> Option<usize> {
        let count = || {
            let table = fs::read_to_string(self.dir.path().join("syncs")).ok()?;
            table.lines().find(|line| line.ends_with(" total"))?;
            let rows = table.lines().filter(|line| line.ends_with("sync"));
            Some(rows.filter_map(|row| row.split_whitespace().nth(3)?.parse::<usize>().ok()).sum())
        };
        wait_until(Duration::from_secs(60), count)
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).expect("the log is read")).into_owned()
    }

    /// Waits until the log has `text` more than `times` times.
    pub(crate) fn wait_for_log(&self, text: &str, times: usize) -> bool {
        let seen = || (self.log().matches(text).count() > times).then_some(());
        wait_until(Duration::from_secs(60), seen).is_some()
    }

    /// Writes another configuration, which a SIGHUP makes it read.
    pub(crate) fn configure(&self, yaml: &str) {
        fs::write(self.dir.path().join("agent.yaml"), yaml).expect("the configuration is written");
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        // One that has ended cannot be told, which its state shows.
        drop(Command::new("sh").args(["-c", r#"kill -s "$0" "$1" 2>/dev/null"#, signal, &pid]).status());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    /// Waits until it has ended by itself; after a minute it is killed.
    pub(crate) fn end(&mut self) -> Ended {
        let begun = now();
        let child = &mut self.child;
        let ended = wait_until(Duration::from_secs(60), || child.try_wait().expect("the child can be asked"));
        let status = ended.unwrap_or_else(|| {
            child.kill().expect("killed");
            child.wait().expect("waited for")
        });
        Ended { status, took: now() - begun }
    }

    /// SIGKILL and the wait for the end; whether it was that which ended it.
    pub(crate) fn kill(&mut self) -> bool {
        self.signal("KILL");
        self.end().status.signal() == Some(9)
    }

    /// SIGTERM and the wait for the end.
    pub(crate) fn terminate(&mut self) -> Ended {
        self.signal("TERM");
        self.end()
    }

    /// A value of /proc/PID/status, in KiB; 0 once it has ended.
    fn status_kib(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// Resident memory in MiB, now and at most.
    pub(crate) fn memory_mib(&self) -> (u64, u64) {
        (self.status_kib("VmRSS") / 1024, self.status_kib("VmHWM") / 1024)
    }

    /// Resident memory in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.status_kib("VmRSS")
    }

    /// Forgets how much memory it has had at most: that is what it has now.
    pub(crate) fn forget_peak(&self) {
        // proc(5): 5 resets the peak resident set size.
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the peak can be forgotten");
    }

    /// Open files.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Threads.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).map_or(0, Iterator::count)
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after = text.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

/// The clock of libfaketime, exchanged at once for all threads.
fn set_clock(dir: &Path, offset: i64) {
    let next = dir.join("clock.next");
    fs::write(&next, format!("{offset:+}"))
        .and_then(|()| fs::rename(&next, dir.join("clock")))
        .expect("the clock is set");
}

/// That of Debian for programs with threads.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.cgroup.take());
    }
}

/// A memory cgroup (v1 or v2) of its own.
struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    fn new(mib: u64) -> Cgroup {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-faults-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (v1, v2) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let (path, file) = if v1.is_dir() {
            (v1.join(name), "memory.limit_in_bytes")
        } else {
            (v2.join(name), "memory.max")
        };
        let write = |file: &str, text: String| fs::write(path.join(file), text);
        fs::create_dir(&path).unwrap_or_else(|e| {
            panic!(
                "{}: {e}; cases with a memory limit need to make cgroups: run them as root",
                path.display()
            )
        });
        write(file, (mib << 20).to_string()).expect("the limit is set");
        Cgroup { path }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It can be removed once the kernel has let go of the process.
        wait_until(Duration::from_secs(5), || fs::remove_dir(&self.path).ok());
    }
}

/// Whether memory limits can be set here.
pub(crate) fn can_limit_memory() -> bool {
    let probe = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].iter().map(Path::new).find(|p| p.is_dir());
    let Some(probe) = probe.map(|p| p.join(format!("weir-faults-probe-{}", std::process::id()))) else {
        return false;
    };
    let limit = || {
        let file =
            ["memory.limit_in_bytes", "memory.max"].map(|f| probe.join(f)).into_iter().find(|f| f.exists());
        file.is_some_and(|f| {
            fs::OpenOptions::new().write(true).open(f).and_then(|mut f| f.write(b"")).is_ok()
        })
    };
    fs::create_dir(&probe).is_ok() && (limit(), fs::remove_dir(&probe)).0
}

/// The program.
pub(crate) fn binary(kind: Kind) -> PathBuf {
    match kind {
        Kind::Weir => released().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_weir"))),
        Kind::Collector => {
            let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backends/install.sh");
            let out = Command::new(install).arg("otelcol").output().expect("install.sh runs");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            Path::new(String::from_utf8_lossy(&out.stdout).trim()).join("otelcol")
        }
    }
}

/// The optimised program that `make faults` measures.
fn released() -> Option<PathBuf> {
    std::env::var_os("WEIR_BINARY").map(PathBuf::from)
}

/// Whether this is `make faults`, which has the time for whole cases.
pub(crate) fn is_released() -> bool {
    released().is_some()
}

/// Polls until `condition` gives something, or gives up after `limit`, which bounds failures only.
pub(crate) fn wait_until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + limit;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The time of tests with real processes.
#[expect(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
