//! From YAML text to [`Node`]s that know their positions.
//!
//! Reads the first document of a text with the rules of yaml.v3, resolves anchors, aliases and merge keys
//! (`<<`), and refuses duplicate keys. A text is refused at once when it is larger than [`MAX_BYTES`], nested deeper
//! than [`MAX_DEPTH`], or grows beyond [`MAX_NODES`] values through its aliases.

mod compose;
mod scalar;

pub(crate) use scalar::resolve;

use crate::{ConfigError, ErrorKind, Node, SourceId, Span};

/// The largest text that is read, in bytes (16 MiB).
pub const MAX_BYTES: usize = 16 << 20;
/// The deepest nesting, in mappings and lists.
pub const MAX_DEPTH: usize = 64;
/// The largest number of values in one text, counted after aliases are resolved.
pub const MAX_NODES: usize = 1_000_000;

/// Reads the first document of a text. An empty text is null.
///
/// # Errors
/// Syntax, duplicate keys, unknown aliases and texts over a limit; all with a position in `source`.
pub fn parse(text: &str, source: SourceId) -> Result<Node, ConfigError> {
    if text.len() > MAX_BYTES {
        let message = format!("a configuration of {} MiB is over the limit of 16 MiB", text.len() >> 20);
        let start = Span { source, line: 1, column: 1, len: 1 };
        return Err(ConfigError::new(ErrorKind::Limit, message).at(start));
    }
    compose::Composer::new(text, source).document()
}

#[cfg(test)]
mod tests;
