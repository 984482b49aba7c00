//! The whole configuration: components, pipelines, telemetry.

mod effective;
mod read;
mod uses;
mod validate;

use std::collections::{BTreeMap, HashSet};

use crate::catalog::{Catalog, Section};
use crate::telemetry::TelemetryConfig;
use crate::{
    ComponentId, ConfigError, Diagnostics, Env, ErrorKind, Node, Path, PipelineId, Request, Resolved,
    Sources, Span, Warning, resolve,
};

/// A checked configuration. The bodies of components are still nodes; whoever knows their types reads them with
/// [`crate::from_node`].
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Components of each section by id.
    components: BTreeMap<Section, BTreeMap<ComponentId, Component>>,
    /// The extensions to start, in the order given.
    pub extensions: Vec<Reference>,
    /// The pipelines by id.
    pub pipelines: BTreeMap<PipelineId, Pipeline>,
    /// What the program says about itself.
    pub telemetry: TelemetryConfig,
}

/// A configured component.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Its settings as written.
    pub body: Node,
    /// Where its id is written.
    pub span: Span,
}

/// The name of a component at the place where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The component.
    pub id: ComponentId,
    /// Where it is used.
    pub span: Span,
}

/// What flows from where to where. Receivers and exporters may be connectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Where it is written.
    pub span: Span,
    /// Where data comes from; each once.
    pub receivers: Vec<Reference>,
    /// What happens to it, in this order.
    pub processors: Vec<Reference>,
    /// Where it goes; each once.
    pub exporters: Vec<Reference>,
}

/// How strictly to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// Lists of components are put together in merges (gate `confmap.enableMergeAppendOption`).
    pub append_lists: bool,
    /// Neither pipelines nor receivers nor exporters are required (gate `service.AllowNoPipelines`).
    pub allow_no_pipelines: bool,
    /// Pipelines for profiles are allowed (gate `service.profilesSupport`).
    pub profiles: bool,
    /// Unknown options of known components are left out with a warning (`--strict=false`).
    pub lenient: bool,
    /// The settings are read, but not whether they make sense (`print-config --validate=false`).
    pub unchecked: bool,
}

/// A configuration and what it was made of.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: ServiceConfig,
    /// The same as values.
    pub root: Node,
    /// The texts, for errors that are found later.
    pub sources: Sources,
    /// References to unset and to empty environment variables.
    pub warnings: Vec<Warning>,
    /// What is probably not meant: old names, options left out by a lenient reading, a storage for a queue that is off.
    pub notes: Vec<ConfigError>,
}

impl ServiceConfig {
    /// Reads, merges, expands and checks a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, including the bodies of the components whose type says how to check them.
    pub fn load(
        uris: &[String],
        sets: &[String],
        env: &dyn Env,
        catalog: &Catalog,
        options: LoadOptions,
    ) -> Result<Loaded, Diagnostics> {
        let request = Request { uris, sets, env, append_lists: options.append_lists };
        let Resolved { root, sources, warnings } = resolve(request)?;
        let read::Read { config, mut errors, mut notes } = read::read(&root, catalog, options);
        if !options.unchecked {
            let found = validate::validate(&config, &root, options, &errors);
            errors.extend(found);
            let uses = uses::check(&config, catalog);
            errors.extend(uses.errors);
            notes.extend(uses.notes);
        }
        if !errors.is_empty() {
            return Err(Diagnostics::new(errors, sources));
        }
        Ok(Loaded { config, root, sources, warnings, notes })
    }

    /// The components of a section, by id.
    pub fn components(&self, section: Section) -> impl Iterator<Item = (&ComponentId, &Component)> {
        self.components.get(&section).into_iter().flatten()
    }

    /// A component.
    pub fn component(&self, section: Section, id: &ComponentId) -> Option<&Component> {
        self.components.get(&section)?.get(id)
    }

    /// A warning for each component that no pipeline and no `service::extensions` uses. They are checked but not built.
    pub fn unused<'a>(&'a self) -> Vec<ConfigError> {
        let mut used: HashSet<(Section, &ComponentId)> = HashSet::new();
        let mut mark = |list: &'a [Reference], sections: &[Section]| {
            used.extend(sections.iter().flat_map(|s| list.iter().map(move |reference| (*s, &reference.id))));
        };
        for pipeline in self.pipelines.values() {
            mark(&pipeline.receivers, &[Section::Receivers, Section::Connectors]);
            mark(&pipeline.processors, &[Section::Processors]);
            mark(&pipeline.exporters, &[Section::Exporters, Section::Connectors]);
        }
        mark(&self.extensions, &[Section::Extensions]);
        let all = self
            .components
            .iter()
            .flat_map(|(section, all)| all.iter().map(|(id, own)| (*section, id, own.span)));
        let unused = all.filter(|(section, id, _)| !used.contains(&(*section, *id)));
        unused.map(|(section, id, span)| unused_warning(section, id, span)).collect()
    }

    /// The path of a component, for [`crate::from_node`] and for errors.
    pub fn path(section: Section, id: &ComponentId) -> Path {
        Path::component(section.name(), &id.to_string())
    }
}

fn unused_warning(section: Section, id: &ComponentId, span: Span) -> ConfigError {
    let place = match section {
        Section::Extensions => "service::extensions",
        _ => "a pipeline",
    };
    let kind = section.singular();
    ConfigError::new(ErrorKind::Unused, format!("{kind} \"{id}\" is configured but not used"))
        .warning()
        .at(span)
        .on(&ServiceConfig::path(section, id))
        .help(format!("name it in {place}, or leave it out"))
}

#[cfg(test)]
mod tests;
