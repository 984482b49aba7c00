//! The Go programs: built once, run under names of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

/// A running Go program; killed when dropped, and with it the server that it started.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    // Holds the executable; goes away after the process.
    _dir: TempDir,
}

/// The line of JSON with which a scenario says where it can be observed.
#[derive(Debug, Clone)]
pub(crate) struct Announcement {
    /// Its process.
    pub(crate) pid: i64,
    /// `address:port` of the other end.
    pub(crate) target: String,
    /// Lines of which a verdict may name any, `file:line`.
    pub(crate) sites: Vec<String>,
}

impl Program {
    /// A process name that no other process on this machine has, so that agents of tests which run at the same time do
    /// not see each other's programs.
    pub(crate) fn unique_name(what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Starts a scenario (`scenario list` shows them) as a process called `name`.
    pub(crate) fn scenario(scenario: &str, name: &str, arguments: &[&str]) -> Program {
        // Ends by itself should this process be killed before it can clean up.
        let arguments = [&[scenario, "-duration", "5m"], arguments].concat();
        Program::start(&binary("scenario"), name, &arguments, &[])
    }

    /// The same, built so that it serves the profile `goroutineleak`.
    pub(crate) fn scenario_with_leak_profile(scenario: &str, name: &str, arguments: &[&str]) -> Program {
        let arguments = [&[scenario, "-duration", "5m"], arguments].concat();
        Program::start(&leak_profile_binary(), name, &arguments, &[])
    }

    /// Starts `leaky-client` or `leaky-server` of the example as a process called `name`.
    pub(crate) fn example(
        program: &str,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Program {
        Program::start(&binary(program), name, arguments, environment)
    }

    fn start(binary: &Path, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Program {
        // A hard link: the kernel shows its name as that of the executable. Beside the binary, because links do not
        // cross file systems.
        let dir = TempDir::new_in(binary.parent().expect("a folder")).expect("a temporary folder");
        let link = dir.path().join(name);
        fs::hard_link(binary, &link).expect("a link to the program");
        let mut command = Command::new(&link);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Program { child, output, _dir: dir }
    }

    /// Waits until a scenario has said where it is.
    pub(crate) fn announcement(&mut self) -> Announcement {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("output of the scenario");
        let v: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("announcement {line:?}: {e}"));
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let site = |s: &Value| format!("{}:{}", text(&s["file"]), s["line"]);
        Announcement {
            pid: v["pid"].as_i64().unwrap_or_default(),
            target: text(&v["target"]),
            sites: v["sites"].as_array().map(|s| s.iter().map(site).collect()).unwrap_or_default(),
        }
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Path of a Go program, built by the first who asks.
fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(name)
}

/// Path of a Go that is new enough.
fn go() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backends/go.sh");
    let go = Command::new(script).output().expect("go.sh runs");
    assert!(go.status.success(), "there is no Go: {}", String::from_utf8_lossy(&go.stderr));
    String::from_utf8_lossy(&go.stdout).trim().to_owned()
}

/// The scenarios with the profile `goroutineleak`: an experiment of Go 1.26, from 1.27 on every program has it.
fn leak_profile_binary() -> PathBuf {
    let path = binary("scenario");
    let go = go();
    let version = Command::new(&go).args(["env", "GOVERSION"]).output().expect("go runs").stdout;
    if !version.starts_with(b"go1.26") {
        return path;
    }
    let own = path.with_file_name("scenario-goroutineleak");
    let built = Command::new(&go)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/programs"))
        .env("GOEXPERIMENT", "goroutineleakprofile")
        .args(["build", "-o"])
        .arg(&own)
        .output()
        .expect("go runs");
    assert!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr));
    own
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-programs");
    fs::create_dir_all(&out).expect("a folder for the Go programs");
    // Other test programs may build the same at this moment.
    let lock = File::create(out.join(".lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let go = go();
    for (folder, package, name) in [
        ("tests/scenarios/programs", ".", "scenario"),
        ("examples/leaky", "./client", "leaky-client"),
        ("examples/leaky", "./server", "leaky-server"),
    ] {
        let built = Command::new(&go)
            .current_dir(root.join(folder))
            .args(["build", "-o"])
            .arg(out.join(name))
            .arg(package)
            .output()
            .expect("go runs");
        assert!(built.status.success(), "go build in {folder}: {}", String::from_utf8_lossy(&built.stderr));
    }
    out
}
