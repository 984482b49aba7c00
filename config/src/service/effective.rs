//! A configuration with all defaults filled in.

use super::{Loaded, Pipeline, Reference, ServiceConfig};
use crate::catalog::{Catalog, Section};
use crate::tree::Tree;
use crate::{ConfigError, Diagnostics, ErrorKind, Settings};

impl Loaded {
    /// The configuration as it takes effect: every configured component with all its defaults, and the whole of
    /// `service`.
    ///
    /// # Errors
    /// Settings that cannot be read or printed; a checked configuration has none.
    pub fn effective(&self, catalog: &Catalog) -> Result<Settings, Diagnostics> {
        let mut errors = Vec::new();
        let sections = Section::ALL.map(|section| {
            let entries = self.config.components(section).filter_map(|(id, component)| {
                let options = catalog.find(section, id.kind())?.options()?;
                let path = ServiceConfig::path(section, id);
                match options.read(&component.body, &path).settings {
                    Ok(settings) => Some((id.to_string(), settings.0)),
                    Err(wrong) => {
                        errors.extend(wrong);
                        None
                    }
                }
            });
            (section.name().to_owned(), Tree::Map(entries.collect()))
        });
        let mut tree = Vec::from(sections);
        match Tree::of(&self.config.telemetry) {
            Ok(telemetry) => tree.push(("service".to_owned(), self.service(telemetry))),
            Err(error) => errors.push(ConfigError::new(ErrorKind::Invalid, error.to_string())),
        }
        if errors.is_empty() {
            Ok(Settings(Tree::Map(tree)))
        } else {
            Err(Diagnostics::new(errors, self.sources.clone()))
        }
    }

    fn service(&self, telemetry: Tree) -> Tree {
        let pipelines = self.config.pipelines.iter().map(|(id, one)| (id.to_string(), pipeline(one)));
        Tree::Map(vec![
            ("extensions".to_owned(), ids(&self.config.extensions)),
            ("pipelines".to_owned(), Tree::Map(pipelines.collect())),
            ("telemetry".to_owned(), telemetry),
        ])
    }
}

fn pipeline(pipeline: &Pipeline) -> Tree {
    Tree::Map(vec![
        ("exporters".to_owned(), ids(&pipeline.exporters)),
        ("processors".to_owned(), ids(&pipeline.processors)),
        ("receivers".to_owned(), ids(&pipeline.receivers)),
    ])
}

fn ids(list: &[Reference]) -> Tree {
    Tree::Seq(list.iter().map(|reference| Tree::String(reference.id.to_string())).collect())
}
