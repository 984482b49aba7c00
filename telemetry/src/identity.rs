//! Who speaks: the resource of the agent's own telemetry.

use std::collections::BTreeMap;

use opentelemetry::trace::TraceId;
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use serde_json::Value as Json;
use weir_config::telemetry::{ResourceAttribute, ResourceConfig};
use weir_otlp::percent_decode;

use crate::detectors;

/// The agent in its own telemetry.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name by which it is called, such as `weir`.
    pub name: String,
    /// Its version.
    pub version: String,
    attributes: BTreeMap<String, Value>,
    /// Those of the environment, which the log's lines do not have.
    environment: BTreeMap<String, Value>,
    /// What the environment says that is no attribute.
    malformed: Vec<String>,
    schema_url: Option<String>,
    /// Names in the old form of `service::telemetry::resource`.
    legacy: Vec<String>,
    started: jiff::Timestamp,
}

impl Identity {
    /// An agent of that name and version, described further by `service::telemetry::resource`. The instance has a random
    /// id unless one is given.
    ///
    /// # Errors
    /// What is wrong with an attribute.
    pub fn new(name: &str, version: &str, config: &ResourceConfig) -> Result<Identity, String> {
        let defaults = [
            ("service.name", name.to_owned()),
            ("service.version", version.to_owned()),
            ("service.instance.id", random_uuid()),
        ];
        let mut attributes: BTreeMap<String, Value> =
            defaults.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        if let Some(detection) = config.detection.as_ref().or(config.detectors.as_ref()) {
            attributes.extend(detectors::detect(detection)?);
        }
        for (name, value) in &config.legacy {
            match value {
                Some(value) => drop(attributes.insert(name.clone(), value.clone().into())),
                None => drop(attributes.remove(name)),
            }
        }
        for attribute in &config.attributes {
            attributes.insert(attribute.name.clone(), typed(attribute)?);
        }
        Ok(Identity {
            name: name.to_owned(),
            version: version.to_owned(),
            attributes,
            environment: BTreeMap::new(),
            malformed: Vec::new(),
            schema_url: config.schema_url.clone(),
            legacy: config.legacy.keys().cloned().collect(),
            started: crate::now(),
        })
    }

    /// Described by its environment as well, where nothing else describes it: by the texts of `OTEL_RESOURCE_ATTRIBUTES`,
    /// `name=value,...` with escapes of URLs in values, and of `OTEL_SERVICE_NAME`. As in the Collector the configuration goes
    /// before, default attributes included, so that the name counts only for a `service.name` that was taken away.
    #[must_use]
    pub fn in_environment(mut self, attributes: Option<&str>, service_name: Option<&str>) -> Identity {
        for entry in attributes.unwrap_or_default().split(',').filter(|entry| !entry.trim().is_empty()) {
            match entry.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some((name, value)) if !name.is_empty() => {
                    self.environment.insert(name.to_owned(), percent_decode(value.as_bytes()).into());
                }
                _ => self.malformed.push(entry.to_owned()),
            }
        }
        if let Some(name) = service_name.map(str::trim).filter(|name| !name.is_empty()) {
            self.environment.insert("service.name".to_owned(), name.to_owned().into());
        }
        self
    }

    /// The same process under another configuration: it is as old as before.
    #[must_use]
    pub fn next(&self, other: Identity) -> Identity {
        Identity { started: self.started, ..other }
    }

    /// For the SDK.
    pub(crate) fn resource(&self) -> Resource {
        let all: BTreeMap<_, _> = self.environment.iter().chain(&self.attributes).collect();
        let attributes = all.into_iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone()));
        match &self.schema_url {
            Some(url) => Resource::builder_empty().with_schema_url(attributes, url.clone()).build(),
            None => Resource::builder_empty().with_attributes(attributes).build(),
        }
    }

    /// For log lines: all as text, by name.
    pub(crate) fn fields(&self) -> serde_json::Map<String, Json> {
        self.attributes.iter().map(|(k, v)| (k.clone(), Json::String(v.to_string()))).collect()
    }

    /// Names that stand in the old form of the configuration.
    pub(crate) fn legacy(&self) -> &[String] {
        &self.legacy
    }

    /// Entries of the environment that are left out.
    pub(crate) fn malformed(&self) -> &[String] {
        &self.malformed
    }

    /// When the process began.
    pub(crate) fn started(&self) -> jiff::Timestamp {
        self.started
    }
}

/// A UUID of version 4 (RFC 9562), with the random bytes of a trace id.
fn random_uuid() -> String {
    uuid(RandomIdGenerator::default().new_trace_id())
}

fn uuid(random: TraceId) -> String {
    let mut bytes = random.to_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The value of an attribute, of the type that it says or that it is written in.
fn typed(attribute: &ResourceAttribute) -> Result<Value, String> {
    let ResourceAttribute { name, value, value_type } = attribute;
    let wrong =
        || format!("resource attribute {name:?}: {value} is no {}", value_type.as_deref().unwrap_or("value"));
    let text = |v: &Json| v.as_str().map(|s| StringValue::from(s.to_owned()));
    let typed = match (value_type.as_deref(), value) {
        (None | Some("string"), Json::String(s)) => Some(s.clone().into()),
        (None | Some("bool"), Json::Bool(b)) => Some((*b).into()),
        (None | Some("int"), Json::Number(n)) if n.is_i64() => n.as_i64().map(Value::from),
        (None | Some("double"), Json::Number(n)) => n.as_f64().map(Value::from),
        (Some("string_array"), Json::Array(list)) => array(list, text),
        (Some("bool_array"), Json::Array(list)) => array(list, Json::as_bool),
        (Some("int_array"), Json::Array(list)) => array(list, Json::as_i64),
        (Some("double_array"), Json::Array(list)) => array(list, Json::as_f64),
        (None, Json::Array(list)) => array(list, text)
            .or_else(|| array(list, Json::as_bool))
            .or_else(|| array(list, Json::as_i64))
            .or_else(|| array(list, Json::as_f64)),
        _ => None,
    };
    typed.ok_or_else(wrong)
}

fn array<T>(list: &[Json], one: impl Fn(&Json) -> Option<T>) -> Option<Value>
where
    Vec<T>: Into<Array>,
{
    let all: Option<Vec<T>> = list.iter().map(one).collect();
    all.map(|all| Value::Array(all.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(config: &ResourceConfig) -> Identity {
        Identity::new("weir", "1.2.3", config).expect("valid")
    }

    #[test]
    fn an_instance_has_a_random_uuid() {
        let ids = [identity(&ResourceConfig::default()), identity(&ResourceConfig::default())];
        let [a, b] = ids.map(|i| i.fields()["service.instance.id"].as_str().expect("text").to_owned());
        assert_ne!(a, b);
        assert_eq!((a.len(), &a[14..15]), (36, "4"));
        assert!("89ab".contains(&a[19..20]), "{a}");
    }

    #[test]
    fn the_old_form_replaces_adds_and_takes_away() {
        let legacy = [("service.name", Some("mine")), ("service.instance.id", None), ("extra", Some("v"))];
        let legacy = legacy.into_iter().map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect();
        let fields = identity(&ResourceConfig { legacy, ..ResourceConfig::default() }).fields();
        assert_eq!(
            serde_json::Value::Object(fields),
            json!({"extra": "v", "service.name": "mine", "service.version": "1.2.3"})
        );
    }

    #[test]
    fn the_environment_describes_what_nothing_else_does_and_not_the_lines_of_the_log() {
        let legacy = [("service.name", None), ("zone", Some("b"))];
        let legacy = legacy.into_iter().map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect();
        let config = ResourceConfig { legacy, ..ResourceConfig::default() };
        let own = |config, attributes| {
            let identity = identity(config).in_environment(Some(attributes), Some("of the environment"));
            let resource = identity.resource();
            let get = |name: &'static str| resource.get(&name.into()).map(|value| value.to_string());
            let names = ["service.name", "service.version", "zone", "team", "empty"].map(get);
            (names.map(Option::unwrap_or_default), identity)
        };
        let text = "zone=a, team = x%2Cy=z ,empty=,team,=7,service.version=9,service.name=q,";
        let (values, lean) = own(&config, text);
        assert_eq!(values, ["of the environment", "1.2.3", "b", "x,y=z", ""]);
        assert!(lean.fields().keys().eq(["service.instance.id", "service.version", "zone"]));
        assert_eq!(lean.malformed(), ["team", "=7"]);
        assert_eq!(own(&ResourceConfig::default(), text).0[..3], ["weir", "1.2.3", "a"]);
    }

    #[test]
    fn values_have_the_type_that_is_written_or_named() {
        let attribute = |value: Json, value_type: Option<&str>| {
            let value_type = value_type.map(str::to_owned);
            let attributes = vec![ResourceAttribute { name: "a".into(), value, value_type }];
            let config = ResourceConfig { attributes, ..ResourceConfig::default() };
            Identity::new("weir", "1", &config).map(|i| i.attributes["a"].clone())
        };
        assert_eq!(attribute(json!(7), None), Ok(Value::I64(7)));
        assert_eq!(attribute(json!(7), Some("double")), Ok(Value::F64(7.0)));
        assert_eq!(attribute(json!([1, 2]), None), Ok(Value::Array(vec![1_i64, 2].into())));
        assert_eq!(attribute(json!(true), Some("bool")), Ok(Value::Bool(true)));
        let wrong = attribute(json!("7"), Some("int")).expect_err("a text");
        assert_eq!(wrong, "resource attribute \"a\": \"7\" is no int");
    }
}
