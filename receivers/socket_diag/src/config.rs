//! Options of the receiver.

use serde::{Deserialize, Serialize};
use weir_component::{Build, BuildError, Maturity, Receiver, ReceiverFactory, Stability};
use weir_config::{GoDuration, Issues, Options, Validate};
use weir_kernel::{Selector, Settings};
use weir_pdata::Signal;

use crate::receiver::SocketDiag;

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) collection_interval: GoDuration,
    pub(crate) processes: Vec<ProcessConfig>,
    max_processes: u32,
    max_sockets: u32,
    max_targets: u32,
}

/// One selector.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProcessConfig {
    name: Option<String>,
    pid: Option<u32>,
    cgroup: Option<String>,
    pub(crate) service_name: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            collection_interval: GoDuration::from_secs(10),
            processes: Vec::new(),
            max_processes: 64,
            max_sockets: 100_000,
            max_targets: 256,
        }
    }
}

impl Config {
    pub(crate) fn settings(&self) -> Settings {
        let selector =
            |p: &ProcessConfig| Selector { name: p.name.clone(), pid: p.pid, cgroup: p.cgroup.clone() };
        Settings {
            selectors: self.processes.iter().map(selector).collect(),
            max_processes: self.max_processes as usize,
            max_sockets: self.max_sockets as usize,
            max_targets: self.max_targets as usize,
            ..Settings::default()
        }
    }

    /// `service.name` for a process of that executable, where a selector gives one.
    pub(crate) fn service_name(&self, executable: &str, pid: u32) -> String {
        let of = |p: &&ProcessConfig| p.pid == Some(pid) || p.name.as_deref() == Some(executable);
        let only = if self.processes.len() == 1 { self.processes.first() } else { None };
        let found = self.processes.iter().find(of).or(only);
        found.and_then(|p| p.service_name.clone()).unwrap_or_default()
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.collection_interval <= GoDuration::ZERO {
            issues.at("collection_interval", "'collection_interval' must be greater than zero");
        }
        if self.processes.is_empty() {
            issues.at_with_help(
                "processes",
                "no process is selected",
                "name the processes to watch: processes: [{name: my-service}]",
            );
        }
        for (i, p) in self.processes.iter().enumerate() {
            if p.name.is_none() && p.pid.is_none() && p.cgroup.is_none() {
                issues.at("processes", format!("processes[{i}] needs one of name, pid and cgroup"));
            }
        }
    }
}

/// Makes `socket_diag` receivers.
pub const FACTORY: ReceiverFactory = ReceiverFactory {
    kind: "socket_diag",
    aliases: &[],
    signals: &[Signal::Metrics],
    stability: Maturity::all(Stability::Development),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    create,
};

fn create(build: &Build<'_>) -> Result<Box<dyn Receiver>, BuildError> {
    let config: Config = build.checked()?;
    Ok(Box::new(SocketDiag::new(config, build.host)))
}
