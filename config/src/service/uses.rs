//! Extensions that components name in their options.

use std::collections::HashSet;

use super::ServiceConfig;
use crate::catalog::Section;
use crate::{ComponentId, ConfigError, ErrorKind, Node, NodeKind, Path};

/// Options that name an extension: the section that holds them, their name, and the Collector's sentence when the
/// extension is not there, in which `%q` stands for the id.
const OPTIONS: [(&str, &str, &str); 2] = [
    ("sending_queue", "storage", "no storage client extension found"),
    ("auth", "authenticator", "failed to resolve authenticator %q: authenticator not found"),
];

/// An option of a component that names an extension.
struct Use<'a> {
    id: &'a str,
    node: &'a Node,
    path: Path,
    sentence: &'static str,
}

/// An error for each extension that a component in use names and that does not run. The Collector finds that out when it
/// starts the component.
pub(super) fn validate(config: &ServiceConfig) -> Vec<ConfigError> {
    let running: HashSet<String> = config.extensions.iter().map(|own| own.id.to_string()).collect();
    let unused: HashSet<Path> = config.unused().iter().map(|note| note.path.clone()).collect();
    let mut found = Vec::new();
    for section in Section::ALL {
        for (id, component) in config.components(section) {
            let path = ServiceConfig::path(section, id);
            if !unused.contains(&path) {
                walk(&component.body, "", &path, &mut found);
            }
        }
    }
    let missing = found.into_iter().filter(|used| !running.contains(used.id.trim()));
    missing.map(|used| error(config, &used)).collect()
}

fn walk<'a>(node: &'a Node, name: &str, path: &Path, found: &mut Vec<Use<'a>>) {
    match &node.kind {
        NodeKind::Map(map) => {
            let is_off = map.get("enabled").is_some_and(|on| on.kind == NodeKind::Bool(false));
            for (key, value) in map.iter().filter(|_| !is_off) {
                let path = path.field(&key.name);
                let option =
                    OPTIONS.iter().find(|(section, option, _)| *section == name && *option == &*key.name);
                match (option, value.as_str()) {
                    (Some((.., sentence)), Some(id)) => {
                        found.push(Use { id, node: value, path, sentence });
                    }
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

fn error(config: &ServiceConfig, used: &Use<'_>) -> ConfigError {
    let id = used.id.trim();
    let is_configured =
        id.parse::<ComponentId>().is_ok_and(|id| config.component(Section::Extensions, &id).is_some());
    let names: Vec<String> = config.components(Section::Extensions).map(|(id, _)| id.to_string()).collect();
    let message = match is_configured {
        true => format!("{}: the extension {id:?} does not run", used.path),
        false => format!("{}: the extension {id:?} is not configured", used.path),
    };
    let error = ConfigError::new(ErrorKind::Reference, message)
        .core(used.sentence.replace("%q", &format!("{id:?}")))
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
