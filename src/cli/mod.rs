//! The command line.

mod components;
mod leaks;
mod run;
mod validate;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use weir_config::{Diagnostics, LoadOptions, Loaded, ProcessEnv, ServiceConfig};

use crate::service;

/// An OpenTelemetry-Collector-compatible pipeline agent that finds leaking connections.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  weir --config weir.yaml
  weir leaks --watch

Exit codes: 0 ended as asked, 1 an error. `weir leaks`: 0 nothing leaks, 1 something leaks, 2 the agent did not answer.";

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration: a path or URI (env:, file:, yaml:, http:, https:). May be repeated; later ones are merged over
    /// earlier ones.
    #[arg(long, global = true, value_name = "URI")]
    config: Vec<String>,
    /// Sets one option, as key=value with dots between the parts of the key: --set processors.batch.timeout=1s. The
    /// value is YAML. May be repeated; applied after all --config.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Format of errors of the configuration.
    #[arg(long, global = true, value_enum, default_value_t = ErrorFormat::Text)]
    error_format: ErrorFormat,
    /// Colour of what is printed: auto (on a terminal; NO_COLOR and CLICOLOR_FORCE are honoured), always, never.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ErrorFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a configuration without running it. Silent when it is right.
    Validate,
    /// Lists the components of this program.
    Components,
    /// Shows the verdicts of a running agent.
    Leaks(leaks::LeaksArgs),
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match &cli.command {
        None => run::run(&cli.config),
        Some(Command::Validate) => validate::validate(&cli.config),
        Some(Command::Components) => components::list(),
        Some(Command::Leaks(args)) => leaks::leaks(args, cli.config.color.on(&io::stdout())),
    }
}

/// Help and version go to stdout, mistakes to stderr with exit code 1 as the Collector's.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stream leaves nobody to tell.
    drop(error.print());
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Color {
    /// Whether to colour what goes to `stream`.
    fn on(self, stream: &impl IsTerminal) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !set("NO_COLOR") && (set("CLICOLOR_FORCE") || stream.is_terminal()),
        }
    }
}

impl ConfigArgs {
    /// Reads the configuration; the error has been printed.
    fn load(&self) -> Result<Loaded, ExitCode> {
        if self.config.is_empty() && self.set.is_empty() {
            eprint("Error: at least one config flag must be provided\n  help: weir --config weir.yaml\n");
            return Err(ExitCode::FAILURE);
        }
        let options = LoadOptions { profiles: true, ..LoadOptions::default() };
        ServiceConfig::load(&self.config, &self.set, &ProcessEnv, &service::catalog(), options)
            .map_err(|diagnostics| self.report(&diagnostics))
    }

    /// Prints what is wrong with a configuration.
    fn report(&self, diagnostics: &Diagnostics) -> ExitCode {
        match self.error_format {
            ErrorFormat::Json => eprint(&(diagnostics.to_json() + "\n")),
            ErrorFormat::Text => eprint(&diagnostics.render(self.color.on(&io::stderr()))),
        }
        ExitCode::FAILURE
    }
}

/// Prints to stderr; a closed stream leaves nobody to tell.
fn eprint(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Prints to stdout. A reader that went away (`weir leaks | head`) is no error.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}
