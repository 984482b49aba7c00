//! Whether the parts of a configuration fit together.

use std::collections::{HashMap, HashSet};

use super::{LoadOptions, Pipeline, Reference, ServiceConfig};
use crate::catalog::Section;
use crate::{ComponentId, ConfigError, ErrorKind, Node, Path, PipelineId, PipelineSignal, Span};

/// The most configured components among which a suggestion is looked for.
const MOST_COMPARED: usize = 1000;

/// What is wrong between components and pipelines, except what follows from an error already known: a section that
/// seems missing because its name is misspelt, a component that is because its type is.
pub(super) fn validate(
    config: &ServiceConfig,
    root: &Node,
    options: LoadOptions,
    known: &[ConfigError],
) -> Vec<ConfigError> {
    let meant = known.iter().filter_map(meant).collect();
    let mut validator = Validator { config, root, meant, errors: Vec::new() };
    validator.presence(options);
    validator.connectors();
    validator.pipelines(options);
    validator.references();
    validator.errors
}

/// The path that a misspelt word was probably meant for.
fn meant(error: &ConfigError) -> Option<String> {
    let suggestion = error.suggestion.as_deref()?;
    let parent = error.path.parent()?;
    match error.kind {
        ErrorKind::UnknownField => Some(parent.field(suggestion).to_string()),
        ErrorKind::UnknownType => {
            let written = error.path.last();
            let name = written.split_once('/').map(|(_, name)| format!("/{name}")).unwrap_or_default();
            Some(parent.key(&format!("{suggestion}{name}")).to_string())
        }
        _ => None,
    }
}

struct Validator<'a> {
    config: &'a ServiceConfig,
    root: &'a Node,
    /// Paths that misspelt words were probably meant for.
    meant: HashSet<String>,
    errors: Vec<ConfigError>,
}

impl Validator<'_> {
    fn push(&mut self, path: &Path, message: &str, span: Span) {
        let text = if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        self.errors.push(ConfigError::new(ErrorKind::Invalid, text).on(path).at(span));
    }

    fn is_meant(&self, path: &Path) -> bool {
        self.meant.contains(&path.to_string())
    }

    fn is_empty(&self, section: Section) -> bool {
        !self.is_meant(&Path::new().field(section.name()))
            && self.written(section).is_none_or(crate::Map::is_empty)
    }

    /// A section as written, malformed entries included: those have errors of their own.
    fn written(&self, section: Section) -> Option<&crate::Map> {
        self.root.get(&[section.name()])?.as_map()
    }

    fn presence(&mut self, options: LoadOptions) {
        let top = Path::new();
        let span = self.root.span;
        let nothing =
            Section::ALL.iter().all(|section| self.root.get(&[section.name()]).is_none_or(is_blank));
        let nothing = nothing && self.meant.is_empty();
        if nothing {
            let error = ConfigError::new(ErrorKind::Invalid, "empty configuration file").on(&top).at(span);
            self.errors.push(error.help("it needs at least receivers, exporters and service::pipelines"));
        } else if !options.allow_no_pipelines && self.is_empty(Section::Receivers) {
            self.missing("no receiver configuration specified in config");
        } else if !options.allow_no_pipelines && self.is_empty(Section::Exporters) {
            self.missing("no exporter configuration specified in config");
        }
    }

    fn missing(&mut self, message: &str) {
        let span = self.root.span;
        self.push(&Path::new(), message, span);
    }

    fn connectors(&mut self) {
        let mut found = Vec::new();
        for (id, connector) in self.config.components(Section::Connectors) {
            for section in [Section::Exporters, Section::Receivers] {
                let Some(other) = self.config.component(section, id) else { continue };
                let kind = section.singular();
                let message = format!(
                    "ambiguous ID: Found both \"{id}\" {kind} and \"{id}\" connector. Change one of the components' IDs \
                     to eliminate ambiguity (e.g. rename \"{id}\" connector to \"{id}/connector\")"
                );
                let path = Path::component("connectors", &id.to_string());
                let error = ConfigError::new(ErrorKind::Invalid, format!("{path}: {message}"));
                found.push(
                    error.on(&path).at(connector.span).related(other.span, format!("the {kind} is here")),
                );
            }
        }
        self.errors.extend(found);
    }

    fn pipelines(&mut self, options: LoadOptions) {
        let path = Path::new().field("service").field("pipelines");
        let written = self.root.get(&["service", "pipelines"]);
        if !options.allow_no_pipelines && written.is_none_or(is_blank) && !self.is_meant(&path) {
            let span = written.or(self.root.get(&["service"])).unwrap_or(self.root).span;
            self.push(&path, "service must have at least one pipeline", span);
        }
        let config = self.config;
        for (id, pipeline) in &config.pipelines {
            if id.signal() == PipelineSignal::Profiles && !options.profiles {
                let message = format!(
                    "pipeline \"{id}\": profiling signal support is at alpha level, gated under the \
                     \"service.profilesSupport\" feature gate"
                );
                let text = format!("{path}: {message}");
                let error = ConfigError::new(ErrorKind::Invalid, text).on(&path).at(pipeline.span);
                self.errors.push(error.help("add --feature-gates=service.profilesSupport"));
            }
            self.pipeline(id, pipeline, &path.key(&id.to_string()));
        }
    }

    fn pipeline(&mut self, id: &PipelineId, pipeline: &Pipeline, path: &Path) {
        let key = id.to_string();
        let is_missing = |list: &str| {
            // A list with malformed entries has errors of its own.
            let written = self.root.get(&["service", "pipelines", &key, list]);
            written.is_none_or(is_blank) && !self.is_meant(&path.field(list))
        };
        let (no_receiver, no_exporter) = (is_missing("receivers"), is_missing("exporters"));
        if pipeline.receivers.is_empty() && no_receiver {
            self.push(path, "must have at least one receiver", pipeline.span);
        }
        if pipeline.exporters.is_empty() && no_exporter {
            self.push(path, "must have at least one exporter", pipeline.span);
        }
        let mut seen: HashMap<&ComponentId, &Reference> = HashMap::new();
        for reference in &pipeline.processors {
            let first = *seen.entry(&reference.id).or_insert(reference);
            if !std::ptr::eq(first, reference) {
                let message = format!("{path}: references processor \"{}\" multiple times", reference.id);
                let error = ConfigError::new(ErrorKind::Invalid, message).on(path).at(reference.span);
                self.errors.push(error.related(first.span, "first here"));
            }
        }
    }

    fn references(&mut self) {
        use Section::{Connectors, Exporters, Extensions, Processors, Receivers};
        let config = self.config;
        let service = Path::new().field("service");
        for reference in &config.extensions {
            self.reference(reference, &[Extensions], &service.field("extensions"));
        }
        for (id, pipeline) in &config.pipelines {
            let path = service.field("pipelines").key(&id.to_string());
            let lists: [(&[Reference], &[Section]); 3] = [
                (&pipeline.receivers, &[Receivers, Connectors]),
                (&pipeline.processors, &[Processors]),
                (&pipeline.exporters, &[Exporters, Connectors]),
            ];
            for (references, sections) in lists {
                for reference in references {
                    self.reference(reference, sections, &path);
                }
            }
        }
    }

    /// Whether a component is configured in one of the sections that it may come from.
    fn reference(&mut self, reference: &Reference, sections: &[Section], path: &Path) {
        let id = &reference.id;
        let is_there = |section: &Section| {
            let path = Path::new().field(section.name());
            self.config.component(*section, id).is_some()
                || self.is_meant(&path)
                || self.is_meant(&path.key(&id.to_string()))
        };
        if sections.iter().any(is_there) {
            return;
        }
        let kind = sections.first().map_or("component", |section| section.singular());
        let message = format!("{path}: references {kind} \"{id}\" which is not configured");
        let configured = sections.iter().flat_map(|section| self.config.components(*section));
        let names: Vec<String> = configured.take(MOST_COMPARED).map(|(id, _)| id.to_string()).collect();
        let mut error = ConfigError::new(ErrorKind::Reference, message)
            .on(path)
            .at(reference.span)
            .choose(&id.to_string(), &names);
        if let Some(elsewhere) = self.elsewhere(id, sections) {
            error.help = Some(format!("\"{id}\" is configured, but in {}", elsewhere.name()));
        } else if error.suggestion.is_none() {
            let place = sections.first().map_or("", |section| section.name());
            error.help = Some(format!("add `{id}:` to {place}"));
        }
        self.errors.push(error);
    }

    fn elsewhere(&self, id: &ComponentId, sections: &[Section]) -> Option<Section> {
        let mut others = Section::ALL.into_iter().filter(|section| !sections.contains(section));
        others.find(|section| self.config.component(*section, id).is_some())
    }
}

/// Whether nothing is written there.
fn is_blank(node: &Node) -> bool {
    match &node.kind {
        crate::NodeKind::Null => true,
        crate::NodeKind::Map(map) => map.is_empty(),
        crate::NodeKind::Seq(items) => items.is_empty(),
        _ => false,
    }
}
