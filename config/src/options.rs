//! What a component can be configured with.

use std::fmt;

use serde::Serialize;

use crate::print::{self, Notation};
use crate::tree::Tree;
use crate::{ConfigError, ConfigValue, DeError, ErrorKind, Node, Path, Secrets, de};

/// The options of a component, described once by its settings type: `Options::of::<Config>()`.
///
/// What is printed as the effective configuration, and which options are unknown where unknown ones are only warnings,
/// comes from here, without building the component.
#[derive(Clone, Copy)]
pub struct Options {
    read: fn(&Node, &Path) -> Reading,
}

/// A body as it was read.
#[derive(Debug)]
pub struct Reading {
    /// The settings, all defaults filled in, without the unknown options; or all values that are wrong.
    pub settings: Result<Settings, Vec<ConfigError>>,
    /// Options that do not exist, in the order of their positions.
    pub unknown: Vec<ConfigError>,
}

/// Settings without their types, all defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings(pub(crate) Tree);

impl Options {
    /// The options that this type has.
    pub const fn of<T: ConfigValue>() -> Self {
        Self { read: reading::<T> }
    }

    /// No option at all.
    pub const fn none() -> Self {
        Self::of::<crate::telemetry::Empty>()
    }

    /// A body with its defaults filled in. A null body gives the defaults.
    pub fn read(&self, body: &Node, path: &Path) -> Reading {
        (self.read)(body, path)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Options")
    }
}

fn reading<T: ConfigValue>(body: &Node, path: &Path) -> Reading {
    let de::Read { value, errors, unknown } = de::read::<T>(body, path);
    let settings = match value {
        Some(value) if errors.is_empty() => Settings::of(&value).map_err(|error| {
            let message = format!("the settings of {path} cannot be printed: {error}");
            vec![ConfigError::new(ErrorKind::Invalid, message).on(path)]
        }),
        _ => Err(errors),
    };
    Reading { settings, unknown }
}

impl Settings {
    /// The settings of a value, secrets included.
    ///
    /// # Errors
    /// A type that cannot be written as settings, such as a mapping whose keys are no words.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, DeError> {
        Tree::of(value).map(Self)
    }

    /// As YAML, keys sorted, durations as `1m30s`. Texts that would read as something else are quoted, except digits
    /// with underscores (`1_000`), which the printer takes for text.
    ///
    /// # Errors
    /// A value that YAML cannot express.
    pub fn to_yaml(&self, secrets: Secrets) -> Result<String, DeError> {
        print::yaml(&print::value(&self.0, Notation::Yaml, secrets))
    }

    /// As JSON with an indentation of two, keys sorted, durations in nanoseconds.
    ///
    /// # Errors
    /// A value that JSON cannot express.
    pub fn to_json(&self, secrets: Secrets) -> Result<String, DeError> {
        let value = print::value(&self.0, Notation::Json, secrets);
        serde_json::to_string_pretty(&value).map_err(|error| DeError::Custom(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net, parse_body};

    #[test]
    fn options_give_the_settings_with_defaults_and_what_is_unknown() {
        let options = Options::of::<net::RetryConfig>();
        let path = Path::component("exporters", "x");
        let body = parse_body("initial_interval: 1s\nmultiplyer: 2\n").unwrap();
        let read = options.read(&body, &path);
        let yaml = read.settings.unwrap().to_yaml(Secrets::Redacted).unwrap();
        assert!(yaml.contains("initial_interval: 1s\nmax_elapsed_time: 5m0s\n"), "{yaml}");
        assert_eq!(read.unknown.len(), 1);
        assert_eq!(read.unknown[0].suggestion.as_deref(), Some("multiplier"));
        let wrong =
            options.read(&parse_body("initial_interval: never").unwrap(), &path).settings.unwrap_err();
        assert!(wrong[0].to_string().contains("initial_interval"), "{}", wrong[0]);
    }
}
