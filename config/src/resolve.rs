//! From the values of `--config` and `--set` to one expanded configuration.

use crate::diagnostics::Diagnostics;
use crate::env::Env;
use crate::expand::Expander;
use crate::merge::{merge, merge_appending, split_keys};
use crate::provider::{Provider, Warning};
use crate::uri::{SCHEMES, Uri};
use crate::{ConfigError, ErrorKind, Map, Node, NodeKind, Sources, Span, flag, suggest, yaml};

/// What to resolve.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The values of `--config`, in order.
    pub uris: &'a [String],
    /// The values of `--set`, in order. They are laid over all configurations.
    pub sets: &'a [String],
    /// The world around.
    pub env: &'a dyn Env,
    /// Whether lists of components are put together in merges (gate `confmap.enableMergeAppendOption`).
    pub append_lists: bool,
}

/// One configuration without references.
#[derive(Debug)]
pub struct Resolved {
    /// The whole configuration, a mapping.
    pub root: Node,
    /// The texts it was made of.
    pub sources: Sources,
    /// References to unset and to empty environment variables.
    pub warnings: Vec<Warning>,
}

/// Reads, merges and expands.
///
/// # Errors
/// Everything that is wrong with any of the texts.
pub fn resolve(request: Request<'_>) -> Result<Resolved, Diagnostics> {
    let mut sources = Sources::new();
    let mut errors = Vec::new();
    if request.uris.is_empty() && request.sets.is_empty() {
        errors.push(ConfigError::new(ErrorKind::Source, "at least one config flag must be provided"));
        return Err(Diagnostics::new(errors, sources));
    }
    let mut provider = Provider::new(request.env);
    let mut root = Node::new(NodeKind::Map(Map::default()), Span::default());
    let configs = request.uris.iter().map(|uri| read_config(uri, &mut provider, &mut sources));
    let configs: Vec<Result<Node, ConfigError>> = configs.collect();
    let sets: Vec<Result<Node, ConfigError>> =
        request.sets.iter().map(|set| flag::parse(set, &mut sources)).collect();
    for config in configs.into_iter().chain(sets) {
        match config {
            Ok(config) if request.append_lists => merge_appending(&mut root, config),
            Ok(config) => merge(&mut root, config),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(Diagnostics::new(errors, sources));
    }
    let mut expander = Expander::new(&mut provider, &mut sources);
    let root = expander.expand(root);
    let errors = expander.errors;
    if !errors.is_empty() {
        return Err(Diagnostics::new(errors, sources));
    }
    Ok(Resolved { root, sources, warnings: provider.warnings })
}

/// The mapping behind one `--config`.
fn read_config(text: &str, provider: &mut Provider<'_>, sources: &mut Sources) -> Result<Node, ConfigError> {
    let source_error = |message: String| ConfigError::new(ErrorKind::Source, message);
    // A configuration itself, where `yaml:` was forgotten, has blanks, and may have secrets behind them.
    let shown = text.split(' ').next().unwrap_or_default();
    let Some(uri) = Uri::of_flag(text) else {
        return Err(
            source_error(format!("invalid uri: {shown:?}")).help("a path with a colon is written file:path")
        );
    };
    if !SCHEMES.contains(&uri.scheme) {
        let mut error = source_error(format!("unsupported scheme on URI {shown:?}"));
        error.suggestion = suggest::nearest(uri.scheme, &SCHEMES);
        error.allowed = SCHEMES.map(str::to_owned).to_vec();
        return Err(error);
    }
    let retrieved = provider.retrieve(uri, None, sources);
    let retrieved =
        retrieved.map_err(|error| source_error(format!("cannot retrieve the configuration: {error}")))?;
    let source = sources.add(retrieved.kind, retrieved.text.clone(), None);
    let mut node = yaml::parse(&retrieved.text, source).map_err(not_yaml)?;
    match node.kind {
        NodeKind::Null => Ok(Node::new(NodeKind::Map(Map::default()), node.span)),
        NodeKind::Map(_) => {
            split_keys(&mut node)?;
            Ok(node)
        }
        _ => {
            // A text may be that of a file with a secret.
            let found = if node.as_str().is_some() { "a text".to_owned() } else { node.describe() };
            let message = format!("a configuration must be a mapping, found {found}");
            let core = format!("retrieved value (type={}) cannot be used as a Conf", node.go_type());
            Err(ConfigError::new(ErrorKind::Syntax, message).core(core).at(node.span))
        }
    }
}

/// The Collector keeps a text that is no YAML as a string, and then finds that a string is no configuration.
fn not_yaml(error: ConfigError) -> ConfigError {
    if error.kind == ErrorKind::Limit {
        return error;
    }
    let mut core = error.core_sentence().to_owned();
    if !core.starts_with("yaml: ") {
        let line = error.span.map_or(0, |span| span.line);
        core = format!("yaml: unmarshal errors: line {line}: {core}");
    }
    let intro = "retrieved value (type=string) cannot be used as a Conf: assuming string type since contents are not valid YAML";
    error.core(format!("{intro}: {core}"))
}

#[cfg(test)]
mod tests;
