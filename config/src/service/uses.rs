//! Extensions that components name in their options.

use std::collections::HashSet;

use super::ServiceConfig;
use crate::catalog::{Catalog, Offer, Section};
use crate::{ComponentId, ConfigError, ErrorKind, Node, NodeKind, Path};

/// An option that names an extension.
struct Naming {
    /// The section that holds it.
    section: &'static str,
    option: &'static str,
    /// What the extension has to be able to do, and what one that can is called.
    offer: Offer,
    called: &'static str,
    /// The Collector's sentence when it is not there; `%q` stands for the id.
    missing: &'static str,
    /// The Collector's sentence when it can do something else.
    wrong: &'static str,
}

const OPTIONS: [Naming; 2] = [
    Naming {
        section: "sending_queue",
        option: "storage",
        offer: Offer::Storage,
        called: "a storage",
        missing: "no storage client extension found",
        wrong: "requested extension is not a storage extension",
    },
    Naming {
        section: "auth",
        option: "authenticator",
        offer: Offer::Authentication,
        called: "an authenticator",
        missing: "failed to resolve authenticator %q: authenticator not found",
        wrong: "requested extension is not an authenticator",
    },
];

/// The name of an extension in an option of a component.
struct Use<'a> {
    id: &'a str,
    node: &'a Node,
    path: Path,
    naming: &'static Naming,
    /// Whether the section that holds the option is off.
    off: bool,
}

/// What is wrong with the extensions that components name, and what is probably not meant.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) errors: Vec<ConfigError>,
    pub(super) notes: Vec<ConfigError>,
}

/// An error for each extension that a component in use names and that does not run or cannot do what is asked of it. The
/// Collector finds that out when it starts the component. A warning for each storage of a queue that is off, or of which the first
/// failure drops what it keeps.
pub(super) fn check(config: &ServiceConfig, catalog: &Catalog) -> Uses {
    let running: HashSet<String> = config.extensions.iter().map(|own| own.id.to_string()).collect();
    let unused: HashSet<Path> = config.unused().iter().map(|note| note.path.clone()).collect();
    let (mut found, mut uses) = (Vec::new(), Uses::default());
    for section in Section::ALL {
        for (id, component) in config.components(section) {
            let path = ServiceConfig::path(section, id);
            if !unused.contains(&path) {
                walk(&component.body, "", &path, &mut found);
                uses.notes.extend(given_up(&component.body, &path));
            }
        }
    }
    for used in found {
        if used.off {
            uses.notes.extend((used.naming.offer == Offer::Storage).then(|| off(&used)));
        } else if running.contains(used.id.trim()) {
            uses.errors.extend(wrong_type(catalog, &used));
        } else {
            uses.errors.push(missing(config, &used));
        }
    }
    uses
}

fn walk<'a>(node: &'a Node, name: &str, path: &Path, found: &mut Vec<Use<'a>>) {
    match &node.kind {
        NodeKind::Map(map) => {
            let off = map.get("enabled").is_some_and(|on| on.kind == NodeKind::Bool(false));
            for (key, value) in map.iter() {
                let path = path.field(&key.name);
                let naming = OPTIONS.iter().find(|own| own.section == name && own.option == &*key.name);
                match (naming, value.as_str()) {
                    (Some(naming), Some(id)) => found.push(Use { id, node: value, path, naming, off }),
                    _ if off => {}
                    _ => walk(value, &key.name, &path, found),
                }
            }
        }
        NodeKind::Seq(items) => {
            items.iter().enumerate().for_each(|(place, item)| walk(item, "", &path.index(place), found));
        }
        _ => {}
    }
}

fn off(used: &Use<'_>) -> ConfigError {
    let message = format!("{}: the queue is off, so nothing is kept in {:?}", used.path, used.id.trim());
    ConfigError::new(ErrorKind::Unused, message)
        .warning()
        .at(used.node.span)
        .on(&used.path)
        .help("leave out `enabled: false`, or the storage")
}

/// A warning of an exporter that keeps on disk what it does not try again.
fn given_up(exporter: &Node, path: &Path) -> Option<ConfigError> {
    let queue = |option| exporter.get(&["sending_queue", option]);
    let is_off = |on: &Node| on.kind == NodeKind::Bool(false);
    let storage = queue("storage")?.as_str().filter(|id| !id.trim().is_empty())?;
    let retries = exporter.get(&["retry_on_failure", "enabled"]).filter(|on| is_off(on))?;
    if queue("enabled").is_some_and(is_off) {
        return None;
    }
    let path = path.field("retry_on_failure").field("enabled");
    let message = format!("{path}: the first failure drops what {:?} keeps", storage.trim());
    let note = ConfigError::new(ErrorKind::Unused, message).warning().at(retries.span).on(&path);
    Some(note.help("leave out `enabled: false`; `max_elapsed_time: 0` tries until the backend takes it"))
}

/// An extension that runs and is of a type that cannot do what is asked of it.
fn wrong_type(catalog: &Catalog, used: &Use<'_>) -> Option<ConfigError> {
    let id = used.id.trim();
    let kind = id.split('/').next().unwrap_or_default();
    let Naming { offer, called, wrong, .. } = used.naming;
    let known = catalog.find(Section::Extensions, kind.trim())?;
    if known.can(*offer) {
        return None;
    }
    let message = format!("{}: the extension {id:?} is not {called}", used.path);
    let error =
        ConfigError::new(ErrorKind::Reference, message).core(*wrong).at(used.node.span).on(&used.path);
    Some(error.help(format!("{called} is one of the type {}", catalog.offering(*offer).join(", "))))
}

fn missing(config: &ServiceConfig, used: &Use<'_>) -> ConfigError {
    let id = used.id.trim();
    let is_configured =
        id.parse::<ComponentId>().is_ok_and(|id| config.component(Section::Extensions, &id).is_some());
    let names: Vec<String> = config.components(Section::Extensions).map(|(id, _)| id.to_string()).collect();
    let message = match is_configured {
        true => format!("{}: the extension {id:?} does not run", used.path),
        false => format!("{}: the extension {id:?} is not configured", used.path),
    };
    let error = ConfigError::new(ErrorKind::Reference, message)
        .core(used.naming.missing.replace("%q", &format!("{id:?}")))
        .at(used.node.span)
        .on(&used.path);
    if is_configured {
        return error.help(format!("add {id} to service::extensions"));
    }
    let error = error.choose(id, &names);
    match error.suggestion {
        Some(_) => error,
        None => error.help(format!("add `{id}:` to extensions, and {id} to service::extensions")),
    }
}
