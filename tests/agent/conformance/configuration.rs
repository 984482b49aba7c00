//! Configurations made from parts, and what the program says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use serde_yaml_ng::{Mapping, Value};
use tempfile::TempDir;

use super::component::{SECTIONS, components};

/// What a part of a configuration lacks to be a whole one: the components that its pipelines name and, where it has no
/// pipelines, those in which its components stand.
pub(crate) fn complement(part: &Value) -> Value {
    let mut lacking = Value::Mapping(Mapping::new());
    let ids = |section: &str| -> Vec<String> {
        let map = part.get(section).and_then(Value::as_mapping);
        map.into_iter().flat_map(Mapping::keys).filter_map(|k| k.as_str().map(ToOwned::to_owned)).collect()
    };
    let pipelines = part.get("service").and_then(|s| s.get("pipelines")).and_then(Value::as_mapping);
    if let Some(pipelines) = pipelines {
        let known: BTreeSet<String> = SECTIONS.iter().flat_map(|(s, _)| ids(s)).collect();
        for pipeline in pipelines.values() {
            for role in ["receivers", "processors", "exporters"] {
                let named = pipeline.get(role).and_then(Value::as_sequence).into_iter().flatten();
                for id in named.filter_map(Value::as_str).filter(|id| !known.contains(*id)) {
                    let otlp = "{protocols: {grpc: {endpoint: \"127.0.0.1:0\"}}}";
                    let body = if (role, id) == ("receivers", "otlp") { yaml(otlp) } else { Value::Null };
                    put(&mut lacking, &[role, id], body);
                }
            }
        }
    } else {
        let (mut receivers, mut exporters) = (ids("receivers"), ids("exporters"));
        for (role, list) in [("receivers", &mut receivers), ("exporters", &mut exporters)] {
            if list.is_empty() {
                put(&mut lacking, &[role, "nop"], Value::Null);
                list.push("nop".to_owned());
            }
        }
        let roles = [("receivers", receivers), ("processors", ids("processors")), ("exporters", exporters)];
        for signal in ["traces", "metrics", "logs"] {
            let of = |(role, list): &(&'static str, Vec<String>)| {
                let fit: Vec<Value> =
                    list.iter().filter(|id| takes(role, id, signal)).map(|id| yaml(id)).collect();
                (*role, fit)
            };
            let roles: BTreeMap<_, _> = roles.iter().map(of).collect();
            if roles["receivers"].is_empty() || roles["exporters"].is_empty() {
                continue;
            }
            for (role, list) in roles {
                put(&mut lacking, &["service", "pipelines", signal, role], Value::Sequence(list));
            }
        }
    }
    let extensions = ids("extensions").iter().map(|id| yaml(id)).collect();
    put(&mut lacking, &["service", "extensions"], Value::Sequence(extensions));
    put(&mut lacking, &["service", "telemetry", "metrics", "level"], yaml("none"));
    lacking
}

/// Whether a component id is for a signal; those of unknown type are taken to be.
fn takes(section: &str, id: &str, signal: &str) -> bool {
    let name = id.split('/').next().unwrap_or(id);
    let known = components().into_iter().find(|c| c.section == section && c.name == name);
    known.is_none_or(|c| c.signals().iter().any(|s| s == signal))
}

pub(crate) fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).expect("YAML")
}

pub(crate) fn put(into: &mut Value, path: &[&str], value: Value) {
    let [first, rest @ ..] = path else {
        *into = value;
        return;
    };
    let map = into.as_mapping_mut().expect("a mapping");
    let entry = map.entry(Value::from(*first)).or_insert_with(|| Value::Mapping(Mapping::new()));
    put(entry, rest, value);
}

pub(crate) fn merged(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Mapping(mut base), Value::Mapping(over)) => {
            for (key, value) in over {
                let old = base.remove(&key).unwrap_or(Value::Null);
                base.insert(key, merged(old, value));
            }
            Value::Mapping(base)
        }
        (_, over) => over,
    }
}

/// What `weir validate` says of configurations merged in this order: the exit code and the errors.
pub(crate) fn errors_of(parts: &[&str]) -> (Option<i32>, Vec<Json>) {
    let dir = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.current_dir(dir.path()).stdin(Stdio::null()).args(["validate", "--error-format", "json"]);
    for (i, part) in parts.iter().enumerate() {
        let file = format!("{i}.yaml");
        fs::write(dir.path().join(&file), part).expect("the configuration is written");
        command.args(["--config", &file]);
    }
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let documents = said.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    (output.status.code(), documents.filter(|d| d["severity"] == "error").collect())
}
