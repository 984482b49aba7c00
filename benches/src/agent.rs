//! An agent as a process: started fresh, watched through /proc, ended.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

    /// CPU time so far, of all its threads, in user and system mode.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let stat = self.proc("stat")?;
        // The name in brackets may hold anything; the fields after it are fixed (proc_pid_stat(5)).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = |n: usize| fields.split_whitespace().nth(n).and_then(|t| t.parse::<u64>().ok());
        let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
            return Err(format!("cannot read {stat:?}"));
        };
        Ok(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
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

/// `USER_HZ`, which is part of the kernel's interface on the platforms of this project.
const TICKS_PER_SECOND: u64 = 100;

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
