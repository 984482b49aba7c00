//! From nodes to typed settings, strictly, with every error at its place.
//!
//! The rules are the Collector's: no conversion between strings, numbers and booleans; numbers convert among
//! themselves (a float for an integer is truncated); one string for a list of strings is split at commas; null is
//! the zero value of a scalar and keeps the default of everything else; a list replaces its default, a mapping adds to it; unknown options are errors.
//!
//! How it works: the component's `Default` is made a [`Tree`] and laid under what the user wrote, so that a value the
//! user did not write comes from the component's own defaults at every depth. A bad value ends the pass; it is recorded, its key
//! left out, and the next pass goes on, up to 50 errors.
//!
//! Known limits: inside the elements of a list there is no tree, so a nested section there has the defaults of its own
//! type, and null does not turn an optional section on; types that buffer their input (`#[serde(flatten)]`, `untagged`) lose positions and are not to be used.

mod access;
mod context;
mod error;
mod removed;
mod tree;
mod value;
mod word;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::tree::Tree;
use crate::{ConfigError, ErrorKind, Node, Path};
use context::Context;
pub(crate) use context::{invalid_keys, unknown_field};
pub use error::DeError;
use value::{Place, ValueReader};
pub use word::caseless_word;

/// What typed settings must be: read, printed, and complete by default.
pub trait ConfigValue: DeserializeOwned + Serialize + Default {}

impl<T: DeserializeOwned + Serialize + Default> ConfigValue for T {}

/// What came of reading a body.
pub(crate) struct Read<T> {
    /// The settings without what is wrong; none when nothing could be read.
    pub(crate) value: Option<T>,
    /// The values that are wrong.
    pub(crate) errors: Vec<ConfigError>,
    /// The unknown options.
    pub(crate) unknown: Vec<ConfigError>,
}

/// Reads settings over their defaults. A null body is `T::default()`.
///
/// # Errors
/// All that is wrong in the body, up to 50 values and all unknown options, in the order of their positions.
pub fn from_node<T: ConfigValue>(node: &Node, path: &Path) -> Result<T, Vec<ConfigError>> {
    let Read { value, mut errors, unknown } = read(node, path);
    errors.extend(unknown);
    match value {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(sorted(errors)),
    }
}

/// Settings, wrong values and unknown options of a body, each list in the order of positions.
pub(crate) fn read<T: ConfigValue>(node: &Node, path: &Path) -> Read<T> {
    if node.is_null() {
        return Read { value: Some(T::default()), errors: Vec::new(), unknown: Vec::new() };
    }
    let defaults = match Tree::of(&T::default()) {
        Ok(tree) => tree,
        Err(error) => {
            let message = format!("the defaults of {path} cannot be written as settings: {error}");
            let errors = vec![ConfigError::new(ErrorKind::Invalid, message).on(path)];
            return Read { value: None, errors, unknown: Vec::new() };
        }
    };
    let context = Context::default();
    let value = loop {
        let before = context.progress();
        let reader = ValueReader::new(&context, node, Some(&defaults), path.clone(), Place::Whole);
        match T::deserialize(reader) {
            Ok(value) => break Some(value),
            Err(error) => {
                context.report(error, node, path);
            }
        }
        if context.progress() == before || context.is_full() || context.is_absent(path) {
            break None;
        }
    };
    let (errors, unknown) = context.finish();
    Read { value, errors: sorted(errors), unknown: sorted(unknown) }
}

fn sorted(mut errors: Vec<ConfigError>) -> Vec<ConfigError> {
    errors.sort_by_key(|error| error.span);
    errors
}

#[cfg(test)]
mod tests;
