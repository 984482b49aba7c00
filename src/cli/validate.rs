//! `weir validate`: checks configurations without running them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{fs, io};

use clap::Args;
use weir_config::{ConfigError, Diagnostics, ErrorKind, Loaded, Warning};

use super::{ConfigArgs, Step};
use crate::service;

/// The most files of one call.
const MAX_FILES: usize = 10_000;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Files, each a configuration of its own, and folders, of which all files that end in .yaml or .yml are taken. What
    /// --config names is merged below each of them.
    paths: Vec<PathBuf>,
}

/// Reads, checks and builds; nothing is opened or started.
pub(super) fn validate(args: &ValidateArgs) -> ExitCode {
    let runtime = match service::tokio_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::failed(&error.to_string()),
    };
    let _inside = runtime.enter();
    if args.paths.is_empty() {
        return one(&args.config).err().unwrap_or(ExitCode::SUCCESS);
    }
    let files = match files(&args.paths) {
        Ok(files) => files,
        Err(error) => return super::failed(&error),
    };
    let with = |file: &PathBuf| {
        let mut config = args.config.clone();
        config.config.push(format!("file:{}", file.display()));
        config
    };
    let wrong = files.iter().filter(|file| one(&with(file)).is_err()).count();
    if wrong == 0 {
        return ExitCode::SUCCESS;
    }
    if args.config.error_format == super::ErrorFormat::Text && files.len() > 1 {
        super::eprint(&format!("{wrong} of {} configurations are wrong\n", files.len()));
    }
    ExitCode::FAILURE
}

fn one(config: &ConfigArgs) -> Result<(), ExitCode> {
    let loaded = config.load(true, Step::Validate)?;
    let tokio = Arc::new(weir_engine::TokioRuntime::current());
    let host = service::host(&tokio, opentelemetry::global::meter("weir"));
    match service::build(&loaded, tokio, &host) {
        Ok(_) => {
            warn(config, loaded);
            Ok(())
        }
        Err(errors) => Err(config.report(&Diagnostics::new(errors, loaded.sources), Step::Build)),
    }
}

/// What is left out, what nothing uses, and variables that are not set.
fn warn(config: &ConfigArgs, loaded: Loaded) {
    let left_out = loaded
        .notes
        .into_iter()
        .filter(|note| matches!(note.kind, ErrorKind::UnknownField | ErrorKind::Unused));
    let unset = loaded.warnings.into_iter().filter(|warning| !warning.info).map(not_set);
    let notes: Vec<ConfigError> = left_out.chain(loaded.config.unused()).chain(unset).collect();
    if !notes.is_empty() {
        config.warn(&Diagnostics::new(notes, loaded.sources));
    }
}

/// A reference to a variable that is not set, which is the empty text.
fn not_set(warning: Warning) -> ConfigError {
    let message = format!("the environment variable {} is not set", warning.name);
    let note = ConfigError::new(ErrorKind::Expansion, message).warning();
    let note = note.help(format!("set it, or give a default: ${{env:{}:-default}}", warning.name));
    match warning.span {
        Some(span) => note.at(span),
        None => note,
    }
}

/// The files that the paths stand for, those of a folder sorted.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        walk(path, &mut found).map_err(|error| format!("{}: {error}", path.display()))?;
        if found.len() == before {
            return Err(format!("{}: no file in it ends in .yaml or .yml", path.display()));
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        // Links to folders are not followed: they may lead back.
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_yaml {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            return Err(io::Error::other(format!("more than {MAX_FILES} files")));
        }
    }
    Ok(())
}
