//! Components as their folders describe them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

/// Folders of components, which are the sections of a configuration, with the kind in `metadata.yaml`.
pub(crate) const SECTIONS: [(&str, &str); 5] = [
    ("receivers", "receiver"),
    ("processors", "processor"),
    ("exporters", "exporter"),
    ("connectors", "connector"),
    ("extensions", "extension"),
];

/// A component as its folder describes it.
pub(crate) struct Component {
    pub(crate) section: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) readme: String,
    pub(crate) metadata: Value,
}

/// An option as `metadata.yaml` describes it; names of parts are joined by dots, `[]` marks a list.
pub(crate) struct OptionOf {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) default: String,
    pub(crate) effect: String,
    pub(crate) edge: String,
    /// Of a section without rows of its own for its parts: `none`, since they have no effect or are refused as a whole, or the
    /// component and the section that describe the same ones, `exporters/otlp_grpc tls`.
    pub(crate) parts: Option<String>,
    /// How it compares with the option of that name in the Collector: `same`, `differs: HOW` or `not applicable`. Nothing for
    /// components that the Collector does not have.
    pub(crate) collector: Option<String>,
}

impl Component {
    pub(crate) fn text(&self, key: &str) -> String {
        text(&self.metadata, key, &self.label())
    }

    /// How mature it is for a signal, or as an extension.
    pub(crate) fn stability(&self, signal: &str) -> String {
        match self.metadata.get("stability") {
            Some(levels @ Value::Mapping(_)) => text(levels, signal, &self.label()),
            _ => self.text("stability"),
        }
    }

    /// The same in words: what holds in general, and the signals for which something else does.
    pub(crate) fn stability_in_words(&self) -> String {
        let signals = self.signals();
        let general = self.stability(signals.first().map_or("", String::as_str));
        let other = signals.iter().map(|s| (s, self.stability(s))).filter(|(_, level)| *level != general);
        let other: Vec<String> = other.map(|(signal, level)| format!("{signal}: {level}")).collect();
        if other.is_empty() { general } else { format!("{general} ({})", other.join(", ")) }
    }

    pub(crate) fn signals(&self) -> Vec<String> {
        let signals = self.metadata.get("signals").and_then(Value::as_sequence).cloned().unwrap_or_default();
        signals.iter().filter_map(|s| s.as_str().map(ToOwned::to_owned)).collect()
    }

    pub(crate) fn options(&self) -> Vec<OptionOf> {
        let options = self.metadata.get("options").and_then(Value::as_sequence);
        let options = options.unwrap_or_else(|| panic!("{}: options is a list", self.label()));
        let option = |o: &Value| {
            let of = format!("{}: {o:?}", self.label());
            OptionOf {
                name: text(o, "name", &of),
                kind: text(o, "type", &of),
                default: text(o, "default", &of),
                effect: text(o, "effect", &of),
                edge: text(o, "edge", &of),
                parts: o.get("parts").map(scalar),
                collector: self.has_counterpart().then(|| text(o, "collector", &of)),
            }
        };
        options.iter().map(option).collect()
    }

    /// Whether the Collector has a component of that name and kind that does the same.
    pub(crate) fn has_counterpart(&self) -> bool {
        self.metadata.get("collector").is_none_or(|c| c.as_str() != Some("none"))
    }

    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.section, self.name)
    }

    /// The first ```` ```yaml ```` block of the README.
    pub(crate) fn example(&self) -> String {
        let blocks = yaml_blocks(&self.readme);
        blocks.into_iter().next().unwrap_or_else(|| panic!("{}: README.md has no yaml example", self.label()))
    }
}

pub(crate) fn text(map: &Value, key: &str, of: &str) -> String {
    match map.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Sequence(s)) => format!("[{}]", s.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        Some(Value::Mapping(m)) if m.is_empty() => "{}".to_owned(),
        Some(v @ (Value::Bool(_) | Value::Number(_))) => scalar(v),
        other => panic!("{of}: {key} is missing or no text: {other:?}"),
    }
}

pub(crate) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(
        || serde_yaml_ng::to_string(value).expect("a scalar prints").trim_end().to_owned(),
        ToOwned::to_owned,
    )
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All components, in the order of sections, then by name.
pub(crate) fn components() -> Vec<Component> {
    let mut found = Vec::new();
    for (section, kind) in SECTIONS {
        let mut folders: Vec<PathBuf> =
            fs::read_dir(root().join(section)).expect(section).map(|e| e.expect("an entry").path()).collect();
        folders.retain(|f| f.join("Cargo.toml").exists());
        folders.sort();
        for folder in folders {
            let read = |file: &str| {
                let path = folder.join(file);
                fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            };
            let metadata = serde_yaml_ng::from_str(&read("metadata.yaml"))
                .unwrap_or_else(|e| panic!("{}: metadata.yaml: {e}", folder.display()));
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            found.push(Component { section, kind, name, readme: read("README.md"), metadata });
        }
    }
    assert!(!found.is_empty());
    found
}

/// The fenced blocks of a page that are marked as YAML.
pub(crate) fn yaml_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.any(|line| line.trim_start() == "```yaml") {
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim_start() != "```").collect();
        blocks.push(block.join("\n") + "\n");
    }
    blocks
}
