//! What tests of the whole agent share: the real binary, real Go programs, free ports and patience.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod agent;
mod http;
mod ports;
mod programs;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use agent::{Agent, WatchedLeaks, as_nobody, validate};
pub(crate) use http::{get, get_from, post};
pub(crate) use ports::{closed_port, free_port};
pub(crate) use programs::{Announcement, Program};

/// Bound of a failure: nothing that is waited for takes this long unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Polls until `condition` gives something, or gives up after `limit`. The limit bounds failures; it asserts nothing
/// about speed.
pub(crate) fn wait_until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + limit;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Sends a signal, such as `USR1`, to a process.
pub(crate) fn kill(signal: &str, pid: u32) {
    // The shell's own: a program of that name is not everywhere.
    let mut command = Command::new("sh");
    command.args(["-c", r#"kill -s "$0" "$1""#, signal]).arg(pid.to_string());
    let status = command.status().expect("sh runs");
    assert!(status.success(), "kill -{signal} {pid} failed");
}

/// The time of tests with real processes.
#[expect(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
