//! The real binary with a configuration of its own, on ports of its own.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use weir_connection::report::Report;

use super::{LONG, get, kill, wait_until};

/// A running agent; killed when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    dir: TempDir,
    pages: u16,
}

/// Checks a configuration with `weir validate` and gives the exit code and what it said.
pub(crate) fn validate(yaml: &str) -> (i32, String) {
    let dir = TempDir::new().expect("a temporary folder");
    fs::write(dir.path().join("weir.yaml"), yaml).expect("the configuration is written");
    let Output { status, stderr, .. } =
        binary(dir.path()).args(["validate", "--config", "weir.yaml"]).output().expect("the binary runs");
    (status.code().expect("an exit code"), String::from_utf8_lossy(&stderr).into_owned())
}

fn binary(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.current_dir(dir).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The same command as the user nobody; only root may.
pub(crate) fn as_nobody(agent: &Command) -> Command {
    let dir = agent.get_current_dir().expect("a folder");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("others may read the configuration");
    // The folder of the build may be closed to others.
    let copy = dir.join("weir");
    fs::copy(agent.get_program(), &copy).expect("a copy of the binary");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(copy).args(agent.get_args()).current_dir(dir).env("NO_COLOR", "1");
    command
}

impl Agent {
    /// Starts an agent and waits until it is ready. `pages` is the port on which its zpages answer, 0 for none.
    pub(crate) fn start(yaml: &str, pages: u16) -> Agent {
        let agent = Agent::spawn(yaml, pages);
        agent.wait_for_log("Everything is ready.");
        agent
    }

    /// Starts an agent and does not wait.
    pub(crate) fn spawn(yaml: &str, pages: u16) -> Agent {
        Agent::spawn_with(yaml, pages, |command| command)
    }

    /// Starts an agent by a command made from its own, such as one of `setpriv`, and does not wait.
    pub(crate) fn spawn_with(yaml: &str, pages: u16, wrap: impl FnOnce(Command) -> Command) -> Agent {
        let dir = TempDir::new().expect("a temporary folder");
        fs::write(dir.path().join("weir.yaml"), yaml).expect("the configuration is written");
        let log = File::create(dir.path().join("log")).expect("the log is made");
        let mut own = binary(dir.path());
        own.arg("--config").arg(dir.path().join("weir.yaml"));
        let mut command = wrap(own);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().expect("the agent starts");
        Agent { child, dir, pages }
    }

    /// Everything it has printed.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).expect("the log is read")).into_owned()
    }

    /// Waits until the log holds `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let found = wait_until(LONG, || Some(self.log()).filter(|log| log.contains(text)));
        found.unwrap_or_else(|| panic!("the log never said {text:?}:\n{}", self.log()))
    }

    /// The configuration file, to be changed before a SIGHUP.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("weir.yaml")
    }

    /// The document of verdicts now; none when the page does not answer.
    pub(crate) fn report(&self) -> Option<Report> {
        let answer = get(self.pages, "/leaks.json")?;
        serde_json::from_str(&answer.body).ok()
    }

    /// Follows the verdicts by `weir leaks --watch`, not on a terminal.
    pub(crate) fn watch_leaks(&self) -> WatchedLeaks {
        let path = self.dir.path().join("watched");
        let output = File::create(&path).expect("the output is made");
        let endpoint = format!("http://127.0.0.1:{}", self.pages);
        let mut command = binary(self.dir.path());
        command.args(["leaks", "--watch", "--compact", "--endpoint", &endpoint]);
        let child = command.stdout(output).stderr(Stdio::null()).spawn().expect("the binary runs");
        WatchedLeaks { child, path }
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status =
            wait_until(Duration::from_secs(60), || child.try_wait().expect("the child can be asked"));
        status.unwrap_or_else(|| panic!("it never ended:\n{}", self.log()))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }
}

/// A running `weir leaks --watch`; killed when dropped.
#[derive(Debug)]
pub(crate) struct WatchedLeaks {
    child: Child,
    path: PathBuf,
}

impl WatchedLeaks {
    /// The lines it has printed of what holds `subject`.
    pub(crate) fn lines(&self, subject: &str) -> Vec<String> {
        let text = fs::read_to_string(&self.path).expect("the output is read");
        text.lines().filter(|line| line.contains(subject)).map(str::to_owned).collect()
    }
}

impl Drop for WatchedLeaks {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
