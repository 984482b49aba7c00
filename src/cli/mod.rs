//! The command line.

mod components;
mod featuregate;
mod leaks;
mod print_config;
mod run;
mod signals;
mod usage;
mod validate;
mod watch;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use weir_config::{ConfigError, Diagnostics, LoadOptions, Loaded, Phase, ProcessEnv, ServiceConfig};
use weir_telemetry::eprint;

use crate::gates::{self, Gates};
use crate::program::program;
use crate::service;

/// An OpenTelemetry-Collector-compatible pipeline agent that finds leaking connections.
#[derive(Debug, Parser)]
#[command(version = concat!("version ", env!("CARGO_PKG_VERSION")), disable_version_flag = true,
    args_conflicts_with_subcommands = false)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    /// Colour of what is printed: auto (on a terminal; NO_COLOR and CLICOLOR_FORCE are honoured), always, never.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
    #[command(flatten)]
    run: run::RunArgs,
    /// Leaves it to the system whether a crash writes a core file. Without this none is written, because secrets and
    /// telemetry would be in it.
    #[arg(long, global = true)]
    core_dumps: bool,
    /// Print the version.
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
struct ConfigArgs {
    /// Configuration: a path or URI (env:, file:, yaml:, http:, https:). May be repeated; later ones are merged over
    /// earlier ones.
    #[arg(long, value_name = "URI")]
    config: Vec<String>,
    /// Sets one option, as key=value with dots between the parts of the key: --set processors.batch.timeout=1s. The
    /// value is YAML. May be repeated; applied after all --config.
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    set: Vec<String>,
    /// Feature gates to turn on, or off with `-` before them: a,-b. `featuregate` lists them. May be repeated.
    #[arg(long, value_name = "GATES", allow_hyphen_values = true)]
    feature_gates: Vec<String>,
    /// Whether an unknown option of a component is an error. With --strict=false it is left out with a warning.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", value_name = "BOOL")]
    strict: bool,
    /// Format of errors of the configuration.
    #[arg(long, value_enum, default_value_t = ErrorFormat::Text)]
    error_format: ErrorFormat,
    /// For what is printed here.
    #[arg(skip)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ErrorFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a configuration without running it. Silent when it is right.
    Validate(validate::ValidateArgs),
    /// Lists the components of this program.
    Components,
    /// Lists the feature gates, or shows one of them.
    Featuregate {
        /// Its id.
        id: Option<String>,
    },
    /// Prints the configuration as it takes effect, all defaults filled in.
    #[command(alias = "print-initial-config")]
    PrintConfig(print_config::PrintArgs),
    /// Shows the verdicts of a running agent.
    Leaks(leaks::LeaksArgs),
    /// Prints a script that completes this program's commands in a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// What was being done when something was found wrong; decides the words that scripts look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Reading the configuration.
    Load,
    /// Checking it for `validate`, which says the same without the prefix of a wrong configuration.
    Validate,
    /// Building pipelines.
    Build,
    /// Starting them.
    Start,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage::usage(&error, &program().name),
    };
    // Before anything is read that may be secret.
    if !cli.core_dumps
        && let Err(error) = weir_kernel::core_dumps::prevent()
    {
        return failed(&format!("core dumps cannot be prevented: {error}; --core-dumps allows them"));
    }
    let root = ConfigArgs { color: cli.color, ..cli.config };
    match cli.command {
        None => run::run(&root, &cli.run),
        Some(Command::Validate(mut args)) => {
            args.config = args.config.after(root);
            validate::validate(&args)
        }
        Some(Command::PrintConfig(mut args)) => {
            args.config = args.config.after(root);
            print_config::print_config(&args)
        }
        Some(Command::Components) => components::list(),
        Some(Command::Featuregate { id }) => featuregate::show(id.as_deref()),
        Some(Command::Leaks(args)) => leaks::leaks(&args, root.color.on(&io::stdout())),
        Some(Command::Completion { shell }) => complete(shell),
    }
}

/// The command line under the name that the program has.
fn command() -> clap::Command {
    let name = program().name.as_str();
    let examples = format!(
        "Examples:\n  {name} --config {name}.yaml\n  {name} validate --config {name}.yaml\n  {name} leaks --watch\n\n\
         Exit codes: 0 ended as asked, 1 an error. `{name} leaks`: 0 nothing leaks, 1 something leaks, 2 the agent did \
         not answer."
    );
    Cli::command().name(name).bin_name(name).after_help(examples)
}

fn complete(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), program().name.clone(), &mut script);
    print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
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
    /// What was given before the subcommand, then what was given behind it.
    fn after(self, root: ConfigArgs) -> ConfigArgs {
        let both = |mut first: Vec<String>, second: Vec<String>| {
            first.extend(second);
            first
        };
        let json = [self.error_format, root.error_format].contains(&ErrorFormat::Json);
        ConfigArgs {
            config: both(root.config, self.config),
            set: both(root.set, self.set),
            feature_gates: both(root.feature_gates, self.feature_gates),
            strict: root.strict && self.strict,
            error_format: if json { ErrorFormat::Json } else { ErrorFormat::Text },
            color: root.color,
        }
    }

    /// Reads the configuration, with or without checking whether it makes sense; the error has been printed.
    fn load(&self, check: bool, step: Step) -> Result<Loaded, ExitCode> {
        if self.config.is_empty() && self.set.is_empty() {
            let help = format!("\n  help: {0} --config {0}.yaml", program().name);
            return Err(failed(&format!("at least one config flag must be provided{help}")));
        }
        let gates = self.gates()?;
        self.read(&gates, check).map_err(|diagnostics| self.report(&diagnostics, step))
    }

    fn read(&self, gates: &Gates, check: bool) -> Result<Loaded, Diagnostics> {
        let options = LoadOptions {
            append_lists: gates.is_on(gates::MERGE_LISTS),
            allow_no_pipelines: gates.is_on(gates::NO_PIPELINES),
            profiles: gates.is_on(gates::PROFILES),
            lenient: !self.strict,
            unchecked: !check,
        };
        ServiceConfig::load(&self.config, &self.set, &ProcessEnv, &service::catalog(), options)
    }

    /// The feature gates; the error has been printed.
    fn gates(&self) -> Result<Gates, ExitCode> {
        let wrong = |error| {
            let given = self.feature_gates.join(",");
            failed(&format!("invalid argument {given:?} for \"--feature-gates\" flag: {error}"))
        };
        Gates::parse(&self.feature_gates).map_err(wrong)
    }

    /// Prints what is wrong with a configuration: for people the Collector's line first, then each mistake with its place.
    fn report(&self, diagnostics: &Diagnostics, step: Step) -> ExitCode {
        self.show(diagnostics, Some(step));
        ExitCode::FAILURE
    }

    /// Prints warnings.
    fn warn(&self, diagnostics: &Diagnostics) {
        self.show(diagnostics, None);
    }

    fn show(&self, diagnostics: &Diagnostics, step: Option<Step>) {
        match self.error_format {
            ErrorFormat::Json => eprint(&diagnostics.to_json()),
            ErrorFormat::Text => {
                if let Some(step) = step {
                    eprint(&format!("Error: {}\n\n", headline(diagnostics, step)));
                }
                eprint(&diagnostics.render(self.color.on(&io::stderr())));
            }
        }
    }
}

/// The words of the step, and the Collector's sentence for the first mistake of it.
fn headline(diagnostics: &Diagnostics, step: Step) -> String {
    let phase = diagnostics.phase();
    let prefix = match (step, phase) {
        (Step::Build, _) => "failed to build pipelines: ",
        (Step::Start, _) | (Step::Validate, Phase::Validate) => "",
        (Step::Load | Step::Validate, phase) => phase.prefix(),
    };
    let of_step = |error: &&ConfigError| error.kind.phase() == phase;
    let first = diagnostics.errors().iter().find(of_step);
    let line = first.map(|error| match step {
        Step::Build | Step::Start => error.core_sentence().to_owned(),
        Step::Load | Step::Validate => error.collector_line(),
    });
    let line = line.unwrap_or_default();
    // The Collector finds these while it reads its arguments.
    let of_arguments = ["invalid argument ", "unsupported scheme on URI "];
    let prefix = if of_arguments.iter().any(|words| line.starts_with(words)) { "" } else { prefix };
    format!("{prefix}{line}")
}

/// Prints the last word on a mistake.
fn failed(message: &str) -> ExitCode {
    eprint(&format!("Error: {message}\n"));
    ExitCode::FAILURE
}

/// Prints to stdout. A reader that went away (`weir leaks | head`) is no error.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}
