//! Takes out of a configuration what one of two programs does not have.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml_ng::{Mapping, Value};

use crate::oracle::{Call, Program};

const SECTIONS: [&str; 5] = ["receivers", "processors", "exporters", "connectors", "extensions"];

/// Types by section.
pub(super) struct Known(BTreeMap<String, BTreeSet<String>>);

impl Known {
    /// The types that both programs list, and the old names of some.
    pub(super) fn to_both(one: &Program, other: &Program) -> Known {
        let (one, other) = (types(one), types(other));
        let both = |section: &str| {
            let mut both: BTreeSet<String> = one[section].intersection(&other[section]).cloned().collect();
            if section == "exporters" {
                both.extend(["otlp".to_owned(), "otlphttp".to_owned()]);
            }
            (section.to_owned(), both)
        };
        Known(SECTIONS.map(both).into())
    }

    fn has(&self, section: &str, id: &str) -> bool {
        let kind = id.split('/').next().unwrap_or_default().trim();
        self.0.get(section).is_some_and(|types| types.contains(kind))
    }
}

fn types(program: &Program) -> BTreeMap<String, BTreeSet<String>> {
    let (_, listed, _) = Call::default().run(program, &["components"]);
    let listed: Value = serde_yaml_ng::from_str(&listed).expect("components prints YAML");
    let names = |section: &str| {
        let list = listed.get(section).and_then(Value::as_sequence).cloned().unwrap_or_default();
        list.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
    };
    SECTIONS.iter().map(|section| ((*section).to_owned(), names(section))).collect()
}

/// The configuration without components of other types and without references to them; a pipeline that is left without
/// receivers or exporters gets `nop`. None for a text that is no mapping.
pub(super) fn prune(text: &str, known: &Known) -> Option<String> {
    let mut root: Value = serde_yaml_ng::from_str(text).ok()?;
    root.apply_merge().ok()?;
    let root = root.as_mapping_mut()?;
    let mut gone = BTreeSet::new();
    for section in SECTIONS {
        let Some(components) = root.get_mut(section).and_then(Value::as_mapping_mut) else { continue };
        components.retain(|id, _| {
            let keeps = id.as_str().is_none_or(|id| known.has(section, id));
            if !keeps {
                gone.extend(id.as_str().map(|id| (section, id.to_owned())));
            }
            keeps
        });
    }
    let is_gone = |id: &Value, sections: &[&'static str]| {
        let id = id.as_str().unwrap_or_default();
        sections.iter().any(|section| gone.contains(&(*section, id.to_owned())))
    };
    let mut needs_nop = BTreeSet::new();
    if let Some(service) = root.get_mut("service").and_then(Value::as_mapping_mut) {
        if let Some(list) = service.get_mut("extensions").and_then(Value::as_sequence_mut) {
            list.retain(|id| !is_gone(id, &["extensions"]));
        }
        let pipelines = service.get_mut("pipelines").and_then(Value::as_mapping_mut);
        for pipeline in pipelines.into_iter().flat_map(Mapping::values_mut) {
            for (list, sections) in [
                ("receivers", &["receivers", "connectors"][..]),
                ("processors", &["processors"]),
                ("exporters", &["exporters", "connectors"]),
            ] {
                let Some(ids) = pipeline.get_mut(list).and_then(Value::as_sequence_mut) else { continue };
                let before = ids.len();
                ids.retain(|id| !is_gone(id, sections));
                if ids.is_empty() && before > 0 && list != "processors" {
                    ids.push("nop".into());
                    needs_nop.insert(list);
                }
            }
        }
    }
    for section in needs_nop {
        let components = root.entry(section.into()).or_insert_with(|| Mapping::new().into());
        if let Some(components) = components.as_mapping_mut() {
            components.entry("nop".into()).or_insert(Value::Null);
        }
    }
    serde_yaml_ng::to_string(root).ok()
}
