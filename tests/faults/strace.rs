//! Sees the system calls of an agent, and lets some of them fail.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::agent::wait_until;

/// Whether system calls can be traced here.
pub(crate) fn can_trace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-e", "trace=fsync", "true"]).stdin(Stdio::null());
    command.output().is_ok_and(|out| out.status.success())
}

/// A running strace.
pub(crate) struct Strace {
    child: Child,
    dir: TempDir,
}

impl Strace {
    /// Attaches to a process and all its threads, with these arguments.
    pub(crate) fn attach(pid: u32, arguments: &[&str]) -> Strace {
        let dir = TempDir::new().expect("a temporary folder");
        let said = File::create(dir.path().join("said")).expect("made");
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(dir.path().join("out")).args(arguments);
        command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(said);
        let child = command.spawn().expect("strace starts");
        let attached =
            || fs::read_to_string(dir.path().join("said")).ok()?.contains("attached").then_some(());
        assert!(
            wait_until(Duration::from_secs(60), attached).is_some(),
            "strace cannot attach: run this as root"
        );
        Strace { child, dir }
    }

    /// Lets go of the process; what it has written.
    pub(crate) fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()), "strace is gone");
        self.child.wait().expect("strace ends");
        fs::read_to_string(self.dir.path().join("out")).expect("its output is read")
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // One that has ended cannot be killed; that is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
