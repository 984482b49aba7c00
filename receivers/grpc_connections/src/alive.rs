//! Whether the processes that send events still run, as the kernel of this machine says.
//!
//! Only of a process that was once seen in `/proc` with its pid and start can it be said that it has exited: others run
//! on another machine, or know their pid in another namespace.

use std::collections::BTreeSet;

use weir_connection::process::ProcessKey;
use weir_kernel::{ProcFs, host_name};

/// The processes that were seen.
#[derive(Debug)]
pub(crate) struct Watch {
    host: String,
    proc: ProcFs,
    seen: BTreeSet<ProcessKey>,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { host: host_name(), proc: ProcFs::default(), seen: BTreeSet::new() }
    }
}

impl Watch {
    /// Those of the processes that have exited since they were seen. Reads a small file for each.
    pub(crate) fn exited(&mut self, keys: Vec<ProcessKey>) -> Vec<ProcessKey> {
        let before = std::mem::take(&mut self.seen);
        let mut exited = Vec::new();
        for key in keys.into_iter().filter(|key| key.host == self.host) {
            let (Ok(pid), Ok(start)) = (u32::try_from(key.pid), u64::try_from(key.start_ticks)) else {
                continue;
            };
            match self.proc.has_exited(pid, start) {
                Some(false) => drop(self.seen.insert(key)),
                Some(true) if before.contains(&key) => exited.push(key),
                _ => {}
            }
        }
        exited
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_has_exited_when_it_was_seen_and_is_gone() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat runs");
        let start = ProcFs::default().identity(child.id()).expect("its identity").start_ticks;
        let key = |start: u64| ProcessKey {
            host: host_name(),
            pid: i64::from(child.id()),
            start_ticks: i64::try_from(start).expect("it fits"),
            ..ProcessKey::default()
        };
        // One of another machine that has the same pid: nothing is known of it.
        let (key, other) = (key(start), key(start + 1));
        let mut watch = Watch::default();
        let all = || vec![key.clone(), other.clone()];
        assert_eq!(watch.exited(all()), []);
        child.kill().expect("killed");
        child.wait().expect("it ends");
        assert_eq!(watch.exited(all()), all()[..1]);
        assert_eq!(watch.exited(all()), []);
    }
}
