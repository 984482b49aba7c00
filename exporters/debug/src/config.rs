//! Options.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_config::net::{QueueConfig, validate_queue};
use weir_config::telemetry::OutputPath;
use weir_config::{Issues, Optional, Validate, caseless_word};
use weir_kernel::memory;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// One line per payload.
    Basic,
    /// And one line per item.
    Normal,
    /// And everything that is in it.
    Detailed,
    /// Known to the Collector as a level, and refused by this exporter as there.
    None,
}

/// In the order of the variants.
const NAMES: &[&str] = &["Basic", "Normal", "Detailed"];

impl fmt::Display for Verbosity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.get(*self as usize).copied().unwrap_or("None"))
    }
}

impl<'de> Deserialize<'de> for Verbosity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match caseless_word(deserializer, "unknown metrics level %q", NAMES, &["None"])? {
            0 => Verbosity::Basic,
            1 => Verbosity::Normal,
            2 => Verbosity::Detailed,
            _ => Verbosity::None,
        })
    }
}

impl Serialize for Verbosity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) verbosity: Verbosity,
    pub(crate) sampling_initial: i64,
    pub(crate) sampling_thereafter: i64,
    pub(crate) use_internal_logger: bool,
    pub(crate) output_paths: Option<Vec<String>>,
    pub(crate) sending_queue: Optional<QueueConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            verbosity: Verbosity::Basic,
            sampling_initial: 2,
            sampling_thereafter: 1,
            use_internal_logger: true,
            output_paths: None,
            sending_queue: Optional::Default(QueueConfig::default()),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.verbosity == Verbosity::None {
            let message = format!("verbosity level \"{}\" is not supported", self.verbosity);
            issues.at_with_help("verbosity", message, "use basic, normal or detailed");
        }
        match &self.output_paths {
            Some(_) if self.use_internal_logger => issues.at_with_help(
                "output_paths",
                "output_paths is not supported when use_internal_logger is true",
                "set use_internal_logger: false, or remove output_paths",
            ),
            Some(paths) if paths.is_empty() => {
                issues.at("output_paths", "output_paths must not be empty when use_internal_logger is false");
            }
            paths => {
                for wrong in paths.iter().flatten().filter_map(|path| OutputPath::parse(path).err()) {
                    let help = "give stdout, stderr or the path of a file";
                    issues.at_with_help("output_paths", wrong, help);
                }
            }
        }
        validate_queue(&self.sending_queue, memory::total, issues);
    }
}

impl Config {
    /// Where to print without the agent's log.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.output_paths.clone().unwrap_or_else(|| vec!["stdout".to_owned()])
    }
}
