//! What describes this process.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Issues, Validate};

/// `service::telemetry::resource`: a list of `attributes`, or the old form `name: value`, in which null takes a default
/// attribute away. Not both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourceConfig {
    /// Attributes added to the defaults (`service.name`, `service.version`, `service.instance.id`).
    pub attributes: Vec<ResourceAttribute>,
    /// Attributes as one text; refused.
    pub attributes_list: Option<String>,
    /// Schema of the attributes.
    pub schema_url: Option<String>,
    /// What to find out about the machine; kept as written.
    pub detectors: Option<serde_json::Value>,
    /// The same in its newer form, `detection/development`.
    pub detection: Option<serde_json::Value>,
    /// The old form.
    pub legacy: BTreeMap<String, Option<String>>,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceAttribute {
    /// Its name.
    pub name: String,
    /// Its value: a string, number, boolean, or a list of these.
    pub value: serde_json::Value,
    /// The type of the value, such as `string` or `int_array`; from the value when not given.
    #[serde(rename = "type")]
    pub value_type: Option<String>,
}

impl Validate for ResourceConfig {
    fn validate(&self, issues: &mut Issues) {
        if self.attributes_list.is_some() {
            let message =
                "resource::attributes_list is not currently supported, please use resource::attributes";
            issues.at("attributes_list", message);
        }
        if !self.attributes.is_empty() && !self.legacy.is_empty() {
            let message =
                "resource::attributes cannot be used together with legacy inline resource attributes";
            issues.at("attributes", message);
        }
    }
}

impl Serialize for ResourceConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.attributes.is_empty() {
            map.serialize_entry("attributes", &self.attributes)?;
        }
        let optional = [("detectors", &self.detectors), ("detection/development", &self.detection)];
        for (name, value) in optional.into_iter().filter(|(_, value)| value.is_some()) {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in [("attributes_list", &self.attributes_list), ("schema_url", &self.schema_url)] {
            if value.is_some() {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.legacy {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ResourceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ResourceVisitor)
    }
}

struct ResourceVisitor;

impl<'de> Visitor<'de> for ResourceVisitor {
    type Value = ResourceConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ResourceConfig, A::Error> {
        let mut config = ResourceConfig::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "attributes" => config.attributes = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "attributes_list" => config.attributes_list = map.next_value()?,
                "schema_url" => config.schema_url = map.next_value()?,
                "detectors" => config.detectors = map.next_value()?,
                "detection/development" => config.detection = map.next_value()?,
                _ => {
                    let value = map.next_value()?;
                    config.legacy.insert(name, value);
                }
            }
        }
        Ok(config)
    }
}
