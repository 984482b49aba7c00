//! From the values of a configuration to its parts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Component, LoadOptions, Pipeline, Reference, ServiceConfig};
use crate::catalog::{Catalog, KnownType, Section};
use crate::telemetry::TelemetryConfig;
use crate::{
    ComponentId, ConfigError, ErrorKind, IdError, Key, Map, Node, NodeKind, Path, PipelineId, PipelineSignal,
    de, suggest,
};

/// What could be read.
pub(super) struct Read {
    pub(super) config: ServiceConfig,
    /// What is wrong with the rest.
    pub(super) errors: Vec<ConfigError>,
    /// Warnings.
    pub(super) notes: Vec<ConfigError>,
}

/// Reads everything that can be read.
pub(super) fn read(root: &Node, catalog: &Catalog, options: LoadOptions) -> Read {
    let mut reader = Reader { catalog, options, errors: Vec::new(), notes: Vec::new() };
    let config = reader.root(root);
    Read { config, errors: reader.errors, notes: reader.notes }
}

struct Reader<'a> {
    catalog: &'a Catalog,
    options: LoadOptions,
    errors: Vec<ConfigError>,
    notes: Vec<ConfigError>,
}

impl Reader<'_> {
    fn root(&mut self, root: &Node) -> ServiceConfig {
        let mut config = ServiceConfig::default();
        let path = Path::new();
        let Some(map) = self.map(root, &path) else { return config };
        let mut known: Vec<&str> = Section::ALL.iter().map(|section| section.name()).collect();
        known.push("service");
        self.unknown(map, &known, &path, "otelcol.configSettings");
        for section in Section::ALL {
            if let Some(node) = map.get(section.name()) {
                let components = self.components(section, node);
                config.components.insert(section, components);
            }
        }
        if let Some(service) = map.get("service") {
            self.service(service, &mut config);
        }
        config
    }

    fn components(&mut self, section: Section, node: &Node) -> BTreeMap<ComponentId, Component> {
        let path = Path::new().field(section.name());
        let mut components: BTreeMap<ComponentId, Component> = BTreeMap::new();
        let Some(map) = self.map(node, &path) else { return components };
        for (key, body) in map.iter() {
            let id: ComponentId = match key.name.parse() {
                Ok(id) => id,
                Err(error) => {
                    self.wrong_id(&error, key, &path);
                    continue;
                }
            };
            if let Some(first) = components.get(&id) {
                self.same_id(&id, key, first, &path);
                continue;
            }
            let body = match self.catalog.find(section, id.kind()) {
                Some(known) => self.component(known, section, &id, key, body),
                None => {
                    self.unknown_type(section, &id, key);
                    Cow::Borrowed(body)
                }
            };
            components.insert(id, Component { body: body.into_owned(), span: key.span });
        }
        components
    }

    /// Checks the body of a component of a known type; gives it without the options that are let pass.
    fn component<'n>(
        &mut self,
        known: &KnownType,
        section: Section,
        id: &ComponentId,
        key: &Key,
        body: &'n Node,
    ) -> Cow<'n, Node> {
        let path = Path::component(section.name(), &id.to_string());
        if known.name() != id.kind() {
            let message = format!("{:?} alias is deprecated; use {:?} instead", id.kind(), known.name());
            let note = ConfigError::new(ErrorKind::Deprecated, message).warning();
            self.notes.push(note.at(key.span).on(&path));
        }
        let mut body = Cow::Borrowed(body);
        if let Some(options) = known.options().filter(|_| self.options.lenient || self.options.unchecked) {
            let read = options.read(&body, &path);
            if self.options.unchecked {
                self.errors.extend(read.settings.err().unwrap_or_default());
            }
            if self.options.lenient {
                for unknown in &read.unknown {
                    let steps: Vec<String> = unknown.path.steps().skip(path.steps().count()).collect();
                    body.to_mut().remove(&steps);
                }
                self.notes.extend(read.unknown.into_iter().map(ConfigError::warning));
            } else {
                // Without a check nobody else finds them.
                self.errors.extend(read.unknown);
            }
        }
        if !self.options.unchecked {
            self.errors.extend(self.catalog.check(section, id.kind(), &body, &path));
        }
        body
    }

    fn service(&mut self, node: &Node, config: &mut ServiceConfig) {
        let path = Path::new().field("service");
        let Some(map) = self.map(node, &path) else { return };
        self.unknown(map, &["telemetry", "extensions", "pipelines"], &path, "service");
        if let Some(node) = map.get("extensions") {
            config.extensions = self.references(node, &path.field("extensions"));
        }
        if let Some(node) = map.get("pipelines") {
            config.pipelines = self.pipelines(node, &path.field("pipelines"));
        }
        if let Some(node) = map.get("telemetry") {
            let path = path.field("telemetry");
            let read = match self.options.unchecked {
                true => crate::from_node::<TelemetryConfig>(node, &path),
                false => crate::load::<TelemetryConfig>(node, &path),
            };
            match read {
                Ok(telemetry) => config.telemetry = telemetry,
                Err(errors) => self.errors.extend(errors),
            }
        }
    }

    fn pipelines(&mut self, node: &Node, path: &Path) -> BTreeMap<PipelineId, Pipeline> {
        let mut pipelines = BTreeMap::new();
        let Some(map) = self.map(node, path) else { return pipelines };
        for (key, body) in map.iter() {
            match key.name.parse::<PipelineId>() {
                Ok(id) => {
                    let place = path.key(&id.to_string());
                    let pipeline = self.pipeline(key, body, &place);
                    pipelines.insert(id, pipeline);
                }
                Err(error) => self.wrong_id(&error, key, path),
            }
        }
        pipelines
    }

    fn pipeline(&mut self, key: &Key, body: &Node, path: &Path) -> Pipeline {
        let mut pipeline = Pipeline { span: key.span, ..Pipeline::default() };
        let Some(map) = self.map(body, path) else { return pipeline };
        self.unknown(map, &["receivers", "processors", "exporters"], path, &path.relative());
        let mut list = |name: &str| {
            map.get(name).map(|node| self.references(node, &path.field(name))).unwrap_or_default()
        };
        pipeline.receivers = without_repetitions(list("receivers"));
        pipeline.processors = list("processors");
        pipeline.exporters = without_repetitions(list("exporters"));
        pipeline
    }

    /// A list of component ids.
    fn references(&mut self, node: &Node, path: &Path) -> Vec<Reference> {
        let items = match &node.kind {
            NodeKind::Null => return Vec::new(),
            NodeKind::Seq(items) => items,
            _ => {
                let core = format!(
                    "'{}' source data must be an array or slice, got {}",
                    path.relative(),
                    kind_name(node)
                );
                let message = format!("`{path}` must be a list, found {}", node.describe());
                let mut error = ConfigError::new(ErrorKind::Type, message).core(core).at(node.span).on(path);
                error.expected = Some("a list".to_owned());
                if let Some(text) = node.as_str() {
                    let items: Vec<&str> = text.split(',').map(str::trim).collect();
                    error.help = Some(format!("write [{}]", items.join(", ")));
                }
                self.errors.push(error);
                return Vec::new();
            }
        };
        let mut references = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = path.index(index);
            let text = item.original.as_deref().or(item.as_str());
            match text.map(str::parse::<ComponentId>) {
                Some(Ok(id)) => references.push(Reference { id, span: item.span }),
                Some(Err(error)) => {
                    let core = format!("'{}' {error}", place.relative());
                    let error = ConfigError::new(ErrorKind::Id, error.to_string()).core(core);
                    self.errors.push(error.at(item.span).on(&place));
                }
                None => {
                    let core = format!(
                        "'{}' expected a map or struct, got \"{}\"",
                        place.relative(),
                        kind_name(item)
                    );
                    let message =
                        format!("`{place}` must be the id of a component, found {}", item.describe());
                    self.errors
                        .push(ConfigError::new(ErrorKind::Type, message).core(core).at(item.span).on(&place));
                }
            }
        }
        references
    }

    /// The mapping at a place, empty for null.
    fn map<'n>(&mut self, node: &'n Node, path: &Path) -> Option<&'n Map> {
        match &node.kind {
            NodeKind::Map(map) => Some(map),
            NodeKind::Null => None,
            _ => {
                let message = format!("`{path}` must be a mapping, found {}", node.describe());
                let core =
                    format!("'{}' expected a map or struct, got \"{}\"", path.relative(), kind_name(node));
                let mut error = ConfigError::new(ErrorKind::Type, message).core(core).at(node.span).on(path);
                error.expected = Some("a mapping".to_owned());
                self.errors.push(error);
                None
            }
        }
    }

    fn unknown(&mut self, map: &Map, known: &[&str], path: &Path, name: &str) {
        let mut keys: Vec<&Key> =
            map.iter().map(|(key, _)| key).filter(|key| !known.contains(&&*key.name)).collect();
        keys.sort_by(|left, right| left.name.cmp(&right.name));
        let core = de::invalid_keys(name, &keys);
        for key in keys {
            let place = if path.is_empty() { "the configuration".to_owned() } else { path.to_string() };
            let error = de::unknown_field(key, &place, known);
            self.errors.push(error.core(core.clone()).on(&path.field(&key.name)));
        }
    }

    fn unknown_type(&mut self, section: Section, id: &ComponentId, key: &Key) {
        let names = self.catalog.names(section);
        let kind = id.kind();
        let mut error =
            ConfigError::new(ErrorKind::UnknownType, format!("unknown {} type `{kind}`", section.singular()))
                .core(format!(
                    "unknown type: {kind:?} for id: {:?} (valid values: [{}])",
                    id.to_string(),
                    names.join(" ")
                ))
                .at(key.span)
                .on(&Path::new().field(section.name()).key(&key.name))
                .choose(kind, &names);
        if let Some((sentence, help)) = replaced_type(section, kind) {
            error.suggestion = None;
            error.help = Some(help.to_owned());
            if !sentence.is_empty() {
                error.core = sentence.to_owned();
            }
        } else if error.suggestion.is_none()
            && let Some(other) = Section::ALL.iter().find(|other| self.catalog.find(**other, kind).is_some())
        {
            error.help = Some(format!("`{kind}` is a type of {}", other.name()));
        }
        self.errors.push(error);
    }

    fn wrong_id(&mut self, error: &IdError, key: &Key, path: &Path) {
        let sentence = error.to_string();
        let place = path.key(&key.name);
        let error = match error {
            IdError::UnknownSignal { signal, .. } => {
                let message = format!("unknown signal `{signal}` of pipeline `{}`", key.name);
                let mut error = ConfigError::new(ErrorKind::Signal, message)
                    .core(sentence)
                    .choose(signal, &PipelineSignal::NAMES);
                error.suggestion = suggest::nearest(signal, &PipelineSignal::NAMES);
                error
            }
            IdError::Malformed(_) => ConfigError::new(ErrorKind::Id, sentence)
                .help("an id is a type, or a type and a name: otlp, otlp/second"),
        };
        self.errors.push(error.at(key.span).on(&place));
    }

    fn same_id(&mut self, id: &ComponentId, key: &Key, first: &Component, path: &Path) {
        let message = format!("the id `{id}` is given twice in {path}");
        let error = ConfigError::new(ErrorKind::Duplicate, message)
            .core(format!("duplicate name {:?} after unmarshaling {id}", &*key.name))
            .at(key.span)
            .on(&path.key(&key.name))
            .related(first.span, "first given here");
        self.errors.push(error);
    }
}

fn without_repetitions(references: Vec<Reference>) -> Vec<Reference> {
    let mut seen = std::collections::HashSet::new();
    references.into_iter().filter(|reference| seen.insert(reference.id.clone())).collect()
}

fn kind_name(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::Seq(_) => "slice",
        NodeKind::Map(_) => "map",
        _ => node.go_type(),
    }
}

/// The Collector's sentence for a type that went away, where it has one, and what to write instead.
fn replaced_type(section: Section, kind: &str) -> Option<(&'static str, &'static str)> {
    let instead = match (section, kind) {
        (Section::Exporters, "logging") => {
            return Some((
                "the logging exporter has been deprecated, use the debug exporter instead",
                "`logging` went away in 0.111: write `debug`, and `verbosity` for `loglevel`",
            ));
        }
        (Section::Exporters, "jaeger" | "jaeger_thrift") => {
            "the exporter went away in 0.86; Jaeger takes OTLP: write `otlp_grpc` with its port 4317"
        }
        (Section::Extensions, "memory_ballast") => "the memory ballast went away in 0.109; leave it out",
        (Section::Exporters | Section::Receivers, "opencensus") => "OpenCensus is at its end; use OTLP",
        (Section::Processors, "queued_retry") => {
            "queue and retries are options of exporters: `sending_queue` and `retry_on_failure`"
        }
        (Section::Processors, "spanmetrics" | "span_metrics") => "it is a connector now: `span_metrics`",
        (Section::Processors, "servicegraph") => "it is a connector now: `servicegraph`",
        (Section::Processors, "k8s_tagger") => "it is called `k8s_attributes` now",
        _ => return None,
    };
    Some(("", instead))
}
