//! An agent as a process: started fresh, watched through /proc, ended.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::scenario::Scenario;

/// A running agent; it is killed when this is dropped.
pub(crate) struct Agent {
    child: Child,
    /// From exec until it accepted a connection.
    pub(crate) ready: Duration,
}

/// Longest wait for the port.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent that is compared.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) binary: PathBuf,
    pub(crate) kind: Kind,
}

/// What an agent takes its settings from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The Collector's YAML.
    Collector,
    /// Rotel's options.
    Rotel,
}

impl Program {
    /// What it is started with for a scenario.
    fn arguments(
        &self,
        scenario: &Scenario,
        input: u16,
        output: u16,
        dir: &Path,
    ) -> Result<Vec<String>, String> {
        match self.kind {
            Kind::Collector => {
                let file = dir.join("agent.yaml");
                std::fs::write(&file, scenario.config(input, output, dir)).map_err(|e| e.to_string())?;
                let options = scenario.options().iter().map(|option| (*option).to_owned());
                Ok(["--config".to_owned(), file.display().to_string()].into_iter().chain(options).collect())
            }
            Kind::Rotel => scenario.rotel(input, output).ok_or_else(|| "it has no such setting".to_owned()),
        }
    }
}

impl Agent {
    /// Starts `program` for a scenario and waits for its port `input`.
    pub(crate) fn start(
        program: &Program,
        scenario: &Scenario,
        input: u16,
        output: u16,
        dir: &Path,
    ) -> Result<Agent, String> {
        let binary = &program.binary;
        let arguments = program.arguments(scenario, input, output, dir)?;
        let log_file = dir.join("agent.log");
        let log = std::fs::File::create(&log_file).map_err(|e| e.to_string())?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let begin = Instant::now();
        let child = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let mut agent = Agent { child, ready: Duration::ZERO };
        while TcpStream::connect(("127.0.0.1", input)).is_err() {
            let ended = agent.child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || begin.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&log_file).unwrap_or_default();
                return Err(format!("{} did not open its port:\n{log}", binary.display()));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        agent.ready = begin.elapsed();
        Ok(agent)
    }

    /// CPU time so far, of all its threads, those that ended too, in user and system mode. `/proc/PID/stat` has the same in
    /// steps of 10 ms, of which an agent at a fixed rate needs a dozen in a round.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let pid = i32::try_from(self.child.id()).map_err(|e| e.to_string())?;
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).map_err(|e| e.to_string())?;
        clock.now().map(Duration::from).map_err(|e| e.to_string())
    }

    /// Resident memory now and at most, in KiB.
    pub(crate) fn memory(&self) -> Result<(u64, u64), String> {
        let status = self.proc("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        field("VmRSS:").zip(field("VmHWM:")).ok_or_else(|| "no memory in /proc".to_owned())
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).map_err(|e| e.to_string())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map(|a| a.port()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_is_what_proc_says_and_finer() {
        let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("started");
        let agent = Agent { child, ready: Duration::ZERO };
        let ticks = || {
            let stat = agent.proc("stat").expect("read");
            // The name in brackets may hold anything; the fields after it are fixed (proc_pid_stat(5)).
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let ticks =
                fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number"));
            Duration::from_millis(10 * ticks.sum::<u64>())
        };
        while ticks() < Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (before, cpu) = (ticks(), agent.cpu().expect("a clock"));
        assert!(cpu + Duration::from_millis(20) >= before, "{before:?} {cpu:?}");
        assert!(cpu <= ticks() + Duration::from_millis(20), "{cpu:?} {:?}", ticks());
    }
}
