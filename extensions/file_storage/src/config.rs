//! Options.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use weir_config::{GoDuration, Issues, Validate};

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) directory: String,
    pub(crate) timeout: GoDuration,
    #[serde(deserialize_with = "unless_false")]
    pub(crate) fsync: bool,
    pub(crate) max_size: i64,
    create_directory: bool,
    directory_permissions: String,
    compaction: Compaction,
    recreate: bool,
}

/// Only who writes `false` gives up a guarantee: a variable that is not set does not.
fn unless_false<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Option::deserialize(value).map(|written| written.unwrap_or(true))
}

/// Accepted for compatibility: there is nothing to compact.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Compaction {
    on_start: bool,
    on_rebound: bool,
    directory: String,
    max_transaction_size: i64,
    rebound_needed_threshold_mib: i64,
    rebound_trigger_threshold_mib: i64,
    check_interval: GoDuration,
    cleanup_on_start: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            directory: "/var/lib/otelcol/file_storage".to_owned(),
            timeout: GoDuration::from_secs(1),
            fsync: true,
            max_size: 0,
            create_directory: false,
            directory_permissions: "0750".to_owned(),
            compaction: Compaction::default(),
            recreate: false,
        }
    }
}

impl Default for Compaction {
    fn default() -> Self {
        Compaction {
            on_start: false,
            on_rebound: false,
            directory: String::new(),
            max_transaction_size: 65_536,
            rebound_needed_threshold_mib: 100,
            rebound_trigger_threshold_mib: 10,
            check_interval: GoDuration::from_secs(5),
            cleanup_on_start: false,
        }
    }
}

/// Smallest bound on the disk: several segments with requests of some size.
const LEAST_SIZE: i64 = 1 << 20;

impl Validate for Config {
    fn validate(&self, issues: &mut Issues) {
        if self.directory.is_empty() {
            issues.at("directory", "`directory` must not be empty");
        }
        if self.timeout.is_negative() {
            issues.at("timeout", "`timeout` must not be negative");
        }
        if self.max_size != 0 && self.max_size < LEAST_SIZE {
            let message = format!("`max_size` must be 0 (no bound) or at least {LEAST_SIZE} bytes");
            issues.at("max_size", message);
        }
        if self.mode().is_none() {
            let message = format!(
                "`directory_permissions` must be an octal number of at most 0777, such as \"0750\", found {:?}",
                self.directory_permissions
            );
            issues.at("directory_permissions", message);
        }
    }
}

impl Config {
    fn mode(&self) -> Option<u32> {
        let digits = &self.directory_permissions;
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        u32::from_str_radix(digits, 8).ok().filter(|mode| valid && *mode <= 0o777)
    }

    /// Looks for the directory, and makes it where that is asked for; its path without links and dots, by which all who
    /// name it find its queues. Blocks.
    pub(crate) fn directory_is_there(&self) -> Result<PathBuf, String> {
        let directory = Path::new(&self.directory);
        if self.create_directory && !directory.exists() {
            let mode = self.mode().unwrap_or(0o750);
            weir_disk_queue::make_directory(directory, mode)
                .map_err(|e| format!("cannot make the directory {}: {e}", self.directory))?;
        }
        let found = std::fs::canonicalize(directory).and_then(|path| Ok((path.metadata()?.is_dir(), path)));
        match found {
            Ok((true, path)) => Ok(path),
            Ok(_) => Err(format!("{} is not a directory", self.directory)),
            Err(e) => Err(format!(
                "directory must exist: stat {}: {e}. You can enable the create_directory option to automatically create it",
                self.directory
            )),
        }
    }

    /// Whether the disk is larger than `max_size`. Blocks.
    pub(crate) fn bound_fits(&self) -> Result<(), String> {
        let size = weir_kernel::disks::size_of(Path::new(&self.directory)).unwrap_or(0);
        let wanted = u64::try_from(self.max_size).unwrap_or(0);
        if size == 0 || wanted <= size {
            return Ok(());
        }
        Err(format!(
            "`max_size` ({wanted}) is above the {size} bytes that the file system of {} could hold: it bounds nothing; set at most \
             that, or 0 for no bound but the disk",
            self.directory
        ))
    }

    /// Options that were given and do nothing.
    pub(crate) fn without_effect(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        if self.compaction != Compaction::default() {
            options.push("compaction");
        }
        if self.recreate {
            options.push("recreate");
        }
        options
    }
}
