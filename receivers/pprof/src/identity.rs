//! Which process answers.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_connection::process::{ProcessInfo, ProcessKey, rfc3339};
use weir_kernel::{Dumper, ProcFs, host_name, listener_owner};

use crate::config::TargetSettings;

/// Finds the process that owns the listening socket of an address of this machine; none when there is none, or it may
/// not be seen. Blocks for as long as the kernel and `/proc` take.
pub(crate) type OwnerLookup = Arc<dyn Fn(SocketAddr) -> Option<ProcessInfo> + Send + Sync>;

/// Asks the kernel.
pub(crate) fn kernel() -> OwnerLookup {
    Arc::new(|address| {
        let mut dumper = Dumper::open().ok()?;
        let owner = listener_owner(&mut dumper, &ProcFs::default(), address).ok()??.process;
        Some(ProcessInfo {
            key: ProcessKey {
                host: host_name(),
                pid: i64::from(owner.pid),
                start_ticks: i64::try_from(owner.start_ticks).unwrap_or(0),
                instance: String::new(),
            },
            executable: owner.executable_name,
            creation_time: owner.creation_unix_ns.map(rfc3339).unwrap_or_default(),
            ..ProcessInfo::default()
        })
    })
}

/// The process under the name that the target has in the configuration.
///
/// One that is not known by its pid goes by its service alone, so that it joins what else is known of that service;
/// where that is ambiguous, by its address.
pub(crate) fn named(owner: Option<ProcessInfo>, target: &TargetSettings) -> ProcessInfo {
    let mut info = owner.unwrap_or_default();
    info.service.clone_from(&target.service);
    if info.key.pid == 0 {
        if target.shares_service || target.service.is_empty() {
            info.instance = target.endpoint.authority();
        }
        let name = if info.instance.is_empty() { &info.service } else { &info.instance };
        info.key.instance.clone_from(name);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_who_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("address");
        let owner = kernel()(address).expect("found");
        assert_eq!(owner.key.pid, i64::from(std::process::id()));
        assert!(
            owner.key.start_ticks > 0 && !owner.key.host.is_empty() && owner.creation_time.ends_with('Z')
        );
        drop(listener);
        assert_eq!(kernel()(address), None);
    }
}
