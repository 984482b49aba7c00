//! Mistakes on the command line, in the words of the Collector's command line library.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Help and version go to stdout, mistakes to stderr with exit code 1.
pub(super) fn usage(error: &clap::Error, name: &str) -> ExitCode {
    if !error.use_stderr() {
        super::print(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    super::failed(&message(error, name, &arguments))
}

fn message(error: &clap::Error, name: &str, arguments: &[String]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let hint = |kind| text(kind).map(|word| format!("\n  did you mean `{word}`?")).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            unknown_command(&word, name, &hint(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg).unwrap_or_default();
            match word.strip_prefix('-') {
                None if arguments.first().is_some_and(|first| first == "featuregate") => {
                    let given = arguments.iter().skip(1).filter(|a| !a.starts_with('-')).count();
                    format!("accepts at most 1 arg(s), received {given}")
                }
                None => unknown_command(&word, name, ""),
                Some(flag) if flag.starts_with('-') => {
                    let instead = removed(&word).map(|instead| format!("\n  instead: {instead}"));
                    format!(
                        "unknown flag: {word}{}",
                        instead.unwrap_or_else(|| hint(ContextKind::SuggestedArg))
                    )
                }
                Some(letter) => {
                    let given = arguments.iter().find(|a| !a.starts_with("--") && a.starts_with(&word));
                    let given = given.map_or(word.as_str(), String::as_str);
                    let double = given.len() > 2;
                    let hint =
                        if double { format!("\n  flags have two dashes: -{given}") } else { String::new() };
                    format!("unknown shorthand flag: '{letter}' in {given}{hint}")
                }
            }
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_some_and(|value| value.is_empty()) => {
            let flag = text(ContextKind::InvalidArg).unwrap_or_default();
            let flag = flag.split([' ', '=']).next().unwrap_or_default();
            format!("flag needs an argument: {flag}\n  see '{name} --help'")
        }
        _ => {
            let text = error.render().to_string();
            text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
        }
    }
}

/// What to write instead of a flag that went away.
fn removed(flag: &str) -> Option<&'static str> {
    match flag {
        "--log-level" => Some("--set=service.telemetry.logs.level=debug"),
        "--log-format" => Some("--set=service.telemetry.logs.encoding=json"),
        "--metrics-level" => Some("--set=service.telemetry.metrics.level=detailed"),
        "--metrics-addr" => Some("service::telemetry::metrics::readers in the configuration"),
        "--mem-ballast-size-mib" => Some("nothing: there is no memory ballast any more"),
        "--dry-run" => Some("the command `validate`"),
        _ => None,
    }
}

fn unknown_command(word: &str, name: &str, hint: &str) -> String {
    format!("unknown command {word:?} for {name:?}{hint}\nRun '{name} --help' for usage.")
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn said(arguments: &[&str]) -> String {
        let command = Command::new("weir")
            .arg(Arg::new("config").long("config"))
            .subcommands([Command::new("validate"), Command::new("featuregate").arg(Arg::new("id"))]);
        let all = std::iter::once(&"weir").chain(arguments);
        let error = command.try_get_matches_from(all).unwrap_err();
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        message(&error, "weir", &arguments)
    }

    #[test]
    fn mistakes_have_the_collectors_words_and_a_suggestion() {
        let cases: &[(&[&str], &str)] = &[
            (&["--confg", "x"], "unknown flag: --confg\n  did you mean `--config`?"),
            (&["--zzz"], "unknown flag: --zzz"),
            (&["--config"], "flag needs an argument: --config\n  see 'weir --help'"),
            (&["featuregate", "a", "b"], "accepts at most 1 arg(s), received 2"),
            (&["--dry-run"], "unknown flag: --dry-run\n  instead: the command `validate`"),
            (
                &["-config=c.yaml"],
                "unknown shorthand flag: 'c' in -config=c.yaml\n  flags have two dashes: --config=c.yaml",
            ),
            (
                &["vaildate"],
                "unknown command \"vaildate\" for \"weir\"\n  did you mean `validate`?\nRun 'weir --help' for usage.",
            ),
        ];
        for (arguments, expected) in cases {
            assert_eq!(said(arguments), *expected);
        }
    }
}
