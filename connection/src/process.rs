//! Which process a piece of evidence belongs to.

use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::{kv, resource};
use weir_pdata::view::Attributes;

use crate::names;

/// Identity of a process across all views of it.
///
/// On one host, pid and start time (in clock ticks since boot, field 22 of proc_pid_stat(5)) name a process exactly.
/// Where they are unknown the instance id of the service stands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProcessKey {
    /// Host name.
    pub host: String,
    /// Pid, 0 when unknown.
    pub pid: i64,
    /// Start time in clock ticks since boot, 0 when unknown.
    pub start_ticks: i64,
    /// `service.instance.id` where pid and start time are unknown, else empty.
    pub instance: String,
}

/// A process and how it is called.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessInfo {
    /// Identity.
    pub key: ProcessKey,
    /// `service.name`, empty when unknown.
    pub service: String,
    /// `service.instance.id`, empty when unknown.
    pub instance: String,
    /// Base name of the executable.
    pub executable: String,
    /// Creation time (RFC 3339), empty when unknown.
    pub creation_time: String,
}

impl ProcessInfo {
    /// Reads it from resource attributes.
    pub fn read(attributes: Attributes<'_>) -> ProcessInfo {
        let mut info = ProcessInfo::default();
        for (key, value) in attributes {
            let text = || value.as_str().unwrap_or_default().to_owned();
            let int = || value.as_i64().unwrap_or_default();
            match key {
                names::SERVICE_NAME => info.service = text(),
                names::SERVICE_INSTANCE_ID => info.instance = text(),
                names::PROCESS_PID => info.key.pid = int(),
                names::PROCESS_START_TICKS => info.key.start_ticks = int(),
                names::PROCESS_CREATION_TIME => info.creation_time = text(),
                names::PROCESS_EXECUTABLE_NAME => info.executable = text(),
                names::HOST_NAME => info.key.host = text(),
                _ => {}
            }
        }
        if info.key.pid == 0 || info.key.start_ticks == 0 {
            let named = if info.instance.is_empty() {
                &info.service
            } else {
                &info.instance
            };
            info.key.instance.clone_from(named);
        }
        info
    }

    /// As resource attributes; what is unknown is left out.
    pub fn attributes(&self) -> Vec<KeyValue> {
        let texts = [
            (names::SERVICE_NAME, &self.service),
            (names::SERVICE_INSTANCE_ID, &self.instance),
            (names::PROCESS_CREATION_TIME, &self.creation_time),
            (names::PROCESS_EXECUTABLE_NAME, &self.executable),
            (names::HOST_NAME, &self.key.host),
        ];
        let ints = [
            (names::PROCESS_PID, self.key.pid),
            (names::PROCESS_START_TICKS, self.key.start_ticks),
        ];
        let texts = texts
            .into_iter()
            .filter(|(_, v)| !v.is_empty())
            .map(|(k, v)| kv(k, v.as_str()));
        texts
            .chain(ints.into_iter().filter(|(_, v)| *v != 0).map(|(k, v)| kv(k, v)))
            .collect()
    }

    /// As an OTLP resource.
    pub fn resource(&self) -> weir_pdata::otlp::resource::v1::Resource {
        resource(self.attributes())
    }
}
