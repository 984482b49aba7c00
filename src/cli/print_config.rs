//! `weir print-config`: the configuration as it takes effect.

use std::process::ExitCode;

use clap::{ArgAction, Args};
use weir_config::{DeError, Secrets, Settings};

use super::{ConfigArgs, Step};
use crate::service;

/// What to print.
#[derive(Debug, Args)]
pub(super) struct PrintArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Notation: yaml, or json, in which durations are nanoseconds.
    #[arg(long, default_value = "yaml")]
    format: String,
    /// Whether secrets are shown: redacted or unredacted.
    #[arg(long, default_value = "redacted")]
    mode: String,
    /// Whether to check that the configuration makes sense.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", value_name = "BOOL")]
    validate: bool,
}

/// Prints the configuration, all defaults filled in.
pub(super) fn print_config(args: &PrintArgs) -> ExitCode {
    let secrets = match args.mode.to_ascii_lowercase().as_str() {
        "redacted" => Secrets::Redacted,
        "unredacted" => Secrets::Shown,
        _ => {
            return super::failed(&format!("invalid mode {:?}: modes are: redacted, unredacted", args.mode));
        }
    };
    let loaded = match args.config.load(args.validate, Step::Load) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let settings = match loaded.effective(&service::catalog()) {
        Ok(settings) => settings,
        Err(diagnostics) => return args.config.report(&diagnostics, Step::Load),
    };
    match text(&settings, &args.format, secrets) {
        Some(Ok(text)) => {
            super::print(&(text + "\n"));
            ExitCode::SUCCESS
        }
        Some(Err(error)) => super::failed(&format!("failed to marshal config: {error}")),
        None => super::failed(&format!("unrecognized print format: {}", args.format)),
    }
}

/// None for a notation that does not exist.
fn text(settings: &Settings, format: &str, secrets: Secrets) -> Option<Result<String, DeError>> {
    match format.to_ascii_lowercase().as_str() {
        "yaml" | "" => Some(settings.to_yaml(secrets)),
        "json" => Some(settings.to_json(secrets)),
        _ => None,
    }
}
