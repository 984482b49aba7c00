//! Which process a piece of evidence belongs to.

use weir_pdata::otlp::common::v1::KeyValue;
use weir_pdata::otlp::{self, kv};
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
            let named = if info.instance.is_empty() { &info.service } else { &info.instance };
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
        let ints = [(names::PROCESS_PID, self.key.pid), (names::PROCESS_START_TICKS, self.key.start_ticks)];
        let texts = texts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| kv(k, v.as_str()));
        texts.chain(ints.into_iter().filter(|(_, v)| *v != 0).map(|(k, v)| kv(k, v))).collect()
    }

    /// As an OTLP resource.
    pub fn resource(&self) -> otlp::resource::v1::Resource {
        otlp::resource(self.attributes())
    }
}

/// An RFC 3339 timestamp as Unix seconds; `None` for anything else.
pub fn unix_seconds(text: &str) -> Option<f64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_millisecond() as f64 / 1e3)
}

/// Unix nanoseconds as RFC 3339 in UTC with milliseconds; empty when they are out of range.
pub fn rfc3339(unix_nanos: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(unix_nanos));
    time.map(|t| format!("{t:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, unix_seconds};

    #[test]
    fn creation_times_are_read_in_any_zone() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(unix_seconds("2026-08-21T10:40:44.559Z"), Some(1_787_308_844.559));
        assert_eq!(unix_seconds("2026-08-21T12:40:44.559+02:00"), Some(1_787_308_844.559));
        assert_eq!(unix_seconds("2000-02-29T00:00:00Z"), Some(951_782_400.0));
        assert_eq!(rfc3339(1_787_308_844_559_000_000), "2026-08-21T10:40:44.559Z");
        for wrong in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-08-21T10:40:44", "2026-08-21"] {
            assert_eq!(unix_seconds(wrong), None, "{wrong}");
        }
    }
}
