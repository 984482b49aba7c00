//! Options.

use serde::{Deserialize, Serialize};
use weir_config::{ComponentId, GoDuration, Issues, Optional, Validate};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) path: String,
    pub(crate) append: bool,
    pub(crate) rotation: Optional<RotationConfig>,
    pub(crate) format: String,
    pub(crate) encoding: Option<ComponentId>,
    pub(crate) compression: String,
    pub(crate) compression_params: CompressionConfig,
    pub(crate) flush_interval: GoDuration,
    pub(crate) group_by: GroupConfig,
    pub(crate) create_directory: bool,
    pub(crate) directory_permissions: String,
}

/// When a file is set aside, and which of those are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RotationConfig {
    pub(crate) max_megabytes: u32,
    pub(crate) max_days: u32,
    pub(crate) max_backups: u32,
    pub(crate) localtime: bool,
}

impl Default for RotationConfig {
    fn default() -> Self {
        RotationConfig { max_megabytes: 0, max_days: 0, max_backups: 100, localtime: false }
    }
}

/// Parameters of the compression.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CompressionConfig {
    pub(crate) level: i32,
}

/// A file for each value of a resource's attribute.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GroupConfig {
    pub(crate) enabled: bool,
    pub(crate) resource_attribute: String,
    pub(crate) max_open_files: u32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            enabled: false,
            resource_attribute: "fileexporter.path_segment".to_owned(),
            max_open_files: 100,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: String::new(),
            append: false,
            rotation: Optional::Default(RotationConfig::default()),
            format: "json".to_owned(),
            encoding: None,
            compression: String::new(),
            compression_params: CompressionConfig::default(),
            flush_interval: GoDuration::from_secs(1),
            group_by: GroupConfig::default(),
            create_directory: false,
            directory_permissions: String::new(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.path.is_empty() {
            issues.at_with_help("path", "path must be non-empty", "write the path of a file");
        }
        if self.append && self.rotation.is_on() {
            issues.at("append", "append and rotation enabled at the same time is not supported");
        }
        if !["json", "proto"].contains(&self.format.as_str()) {
            issues.at_with_help("format", "format type is not supported", "use json or proto");
        }
        if let Some(encoding) = &self.encoding {
            let help = "there are no encoding extensions: remove the option and use format";
            issues.at_with_help("encoding", format!("unknown encoding \"{encoding}\""), help);
        }
        if !["", "zstd"].contains(&self.compression.as_str()) {
            issues.at_with_help(
                "compression",
                "compression is not supported",
                "use zstd, or remove the option",
            );
        }
        if self.flush_interval.is_negative() {
            issues.at("flush_interval", "flush_interval must be larger than zero");
        }
        self.validate_groups(issues);
        if let Err(words) = self.directory_mode() {
            issues.at("directory_permissions", words);
        }
    }
}

impl Config {
    fn validate_groups(&self, issues: &mut Issues) {
        if !self.group_by.enabled {
            return;
        }
        match self.path.split_once('*') {
            Some((_, behind)) if behind.contains('*') => {
                issues.at("path", "path must contain exactly one * when group_by is enabled");
            }
            None => issues.at("path", "path must contain exactly one * when group_by is enabled"),
            Some(("", _)) => issues.at("path", "path must not start with * when group_by is enabled"),
            Some(_) => {}
        }
        issues.within("group_by", |issues| {
            if self.group_by.resource_attribute.is_empty() {
                issues.at(
                    "resource_attribute",
                    "resource_attribute must not be empty when group_by is enabled",
                );
            }
            if self.group_by.max_open_files == 0 {
                issues.at(
                    "max_open_files",
                    "max_open_files must be greater than zero when group_by is enabled",
                );
            }
        });
    }

    /// Whether what is in a file at the start stays.
    pub(crate) fn keeps(&self) -> bool {
        self.append || self.rotation.is_on()
    }

    /// Permissions of folders that are made.
    pub(crate) fn directory_mode(&self) -> Result<u32, &'static str> {
        let text = self.directory_permissions.as_str();
        match (self.create_directory, text) {
            (_, "") => Ok(0o755),
            (false, _) => Err("directory_permissions requires create_directory to be true"),
            (true, text) => match u32::from_str_radix(text, 8) {
                Err(_) => Err("directory_permissions value must be a valid octal representation"),
                Ok(mode) if mode > 0o777 => Err("directory_permissions contain invalid bits for file access"),
                Ok(mode) => Ok(mode),
            },
        }
    }
}
