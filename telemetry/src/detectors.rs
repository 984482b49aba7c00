//! `service::telemetry::resource::detection/development`: what can be found out about process and machine.

use std::{env, fs};

use opentelemetry::Value;
use serde::Deserialize;
use serde_json::Value as Json;
use weir_config::telemetry::{Empty, IncludeExclude};

use crate::wildcard;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Detection {
    attributes: IncludeExclude,
    detectors: Vec<Detector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Detector {
    container: Option<Empty>,
    host: Option<Empty>,
    process: Option<Empty>,
    /// Name and instance are known already.
    #[serde(rename = "service")]
    _service: Option<Empty>,
}

/// The attributes that `config` asks for, as far as they can be found out.
///
/// # Errors
/// An option that is not known.
pub(crate) fn detect(config: &Json) -> Result<Vec<(String, Value)>, String> {
    // `host:` without a body is as good as `host: {}`.
    let config = filled(config.clone());
    let Detection { attributes, detectors } =
        serde_json::from_value(config).map_err(|e| format!("resource detection: {e}"))?;
    let mut found = Vec::new();
    for detector in detectors {
        if detector.host.is_some() {
            found.extend(named("host.name", fs::read_to_string("/proc/sys/kernel/hostname").ok()));
            found.extend(named("host.id", fs::read_to_string("/etc/machine-id").ok()));
        }
        if detector.container.is_some() {
            let groups = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            found.extend(named("container.id", container_id(&groups)));
        }
        if detector.process.is_some() {
            found.extend(process());
        }
    }
    found.retain(|(name, _)| wildcard::selects(&attributes, name));
    Ok(found)
}

fn filled(config: Json) -> Json {
    match config {
        Json::Object(map) => Json::Object(
            map.into_iter()
                .map(|(k, v)| (k, if v.is_null() { Json::Object(serde_json::Map::new()) } else { filled(v) }))
                .collect(),
        ),
        Json::Array(list) => Json::Array(list.into_iter().map(filled).collect()),
        other => other,
    }
}

fn named(name: &str, value: Option<String>) -> Option<(String, Value)> {
    let value = value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())?;
    Some((name.to_owned(), value.into()))
}

fn process() -> Vec<(String, Value)> {
    let path = env::current_exe().ok();
    let name = path.as_deref().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    let arguments: Vec<_> =
        env::args_os().map(|a| opentelemetry::StringValue::from(a.to_string_lossy().into_owned())).collect();
    let mut found = vec![
        ("process.pid".to_owned(), Value::I64(i64::from(std::process::id()))),
        ("process.command_args".to_owned(), Value::Array(arguments.into())),
    ];
    found.extend(named("process.executable.name", name));
    found.extend(named("process.executable.path", path.map(|p| p.to_string_lossy().into_owned())));
    found
}

/// The id in the path of a mount that a container's runtime made for this container: 64 hex digits.
fn container_id(mounts: &str) -> Option<String> {
    let own = mounts.lines().filter(|line| line.contains("/etc/hostname") || line.contains("/etc/hosts"));
    let mut parts = own.flat_map(|line| line.split(['/', ' ']));
    parts.find(|p| p.len() == 64 && p.bytes().all(|b| b.is_ascii_hexdigit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn process_and_host_are_found_out_and_some_left_out() {
        let config = json!({
            "detectors": [{"host": null}, {"process": {}}, {"service": null}],
            "attributes": {"excluded": ["process.command_*", "host.id"]},
        });
        let found = detect(&config).expect("valid");
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["host.name", "process.pid", "process.executable.name", "process.executable.path"]);
        assert_eq!(found[1].1, Value::I64(i64::from(std::process::id())));
    }

    #[test]
    fn an_unknown_detector_is_an_error_that_names_the_known_ones() {
        let error = detect(&json!({"detectors": [{"moon": {}}]})).expect_err("unknown");
        assert!(error.contains("moon") && error.contains("container"), "{error}");
    }

    #[test]
    fn a_container_is_known_by_its_mounts() {
        let id = "4a".repeat(32);
        let mounts =
            format!("1 2 0:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/x rw\n");
        assert_eq!(container_id(&mounts), Some(id));
        assert_eq!(container_id("1 2 0:1 / / rw - ext4 /dev/x rw\n"), None);
    }
}
