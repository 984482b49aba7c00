//! Errors for people, in the manner of rustc.

use super::excerpt::Excerpt;
use crate::{ConfigError, Severity, SourceKind, Sources, Span};

/// The most errors that are shown, each with its line.
const MOST_ERRORS: usize = 100;
/// The most words listed as valid.
const MOST_WORDS: usize = 12;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const CYAN: &str = "\x1b[1;36m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Writes with or without colour.
struct Painter {
    colour: bool,
    text: String,
}

/// The first errors, an empty line between two, and how many more there are.
pub(super) fn render(errors: &[ConfigError], sources: &Sources, colour: bool) -> String {
    let mut painter = Painter { colour, text: String::new() };
    let mut last_core = "";
    for (number, error) in errors.iter().take(MOST_ERRORS).enumerate() {
        if number > 0 {
            painter.text.push('\n');
        }
        painter.error(error, sources, last_core);
        last_core = error.core_sentence();
    }
    if let Some(first) = errors.get(MOST_ERRORS) {
        let (more, what) = (errors.len() - MOST_ERRORS, first.severity.name());
        painter.text +=
            &format!("\n{more} more of {} {what}s; --error-format json lists all\n", errors.len());
    }
    painter.text
}

impl Painter {
    fn paint(&mut self, style: &str, text: &str) {
        if self.colour {
            self.text.push_str(style);
        }
        self.text.push_str(text);
        if self.colour {
            self.text.push_str(PLAIN);
        }
    }

    fn line(&mut self, label: &str, style: &str, text: &str) {
        self.text.push_str("  ");
        self.paint(style, label);
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn error(&mut self, error: &ConfigError, sources: &Sources, last_core: &str) {
        let colour = if error.severity == Severity::Warning { YELLOW } else { RED };
        self.paint(colour, error.severity.name());
        self.text.push_str(": ");
        self.paint(BOLD, &one_line(&error.message));
        self.text.push('\n');
        if let Some(span) = error.span {
            self.quote(span, &label(error), error, sources);
        } else if let Some(suggestion) = &error.suggestion {
            self.line("help:", CYAN, &format!(" did you mean `{suggestion}`?"));
        }
        for (span, words) in &error.related {
            self.line("note:", CYAN, &format!(" {words}: {}", sources.position(*span)));
        }
        if let Some(help) = &error.help {
            self.line("help:", CYAN, &format!(" {}", one_line(help)));
        }
        if !error.allowed.is_empty() {
            self.line("help:", CYAN, &format!(" {}", valid_words(error)));
        }
        if !error.core.is_empty() && error.core != last_core && !error.message.contains(&error.core) {
            self.line("note:", CYAN, &format!(" {}", one_line(&error.core)));
        }
    }

    /// The place, the line and a caret, and how the text came into the configuration.
    fn quote(&mut self, span: Span, label: &str, error: &ConfigError, sources: &Sources) {
        let shown = sources.visible(span);
        self.line("-->", BLUE, &format!(" {}", sources.position(span)));
        let source = sources.get(shown.source);
        if let Some((source, line)) = source.and_then(|source| Some((source, source.line(shown.line)?))) {
            let excerpt = Excerpt::new(line, shown, error, source.kind == SourceKind::Flag);
            let number = shown.line.to_string();
            let margin = " ".repeat(number.len());
            self.line(&format!("{margin} |"), BLUE, "");
            self.line(&format!("{number} |"), BLUE, &format!(" {}", excerpt.line));
            let caret = format!(" {}{}", " ".repeat(excerpt.before), "^".repeat(excerpt.length));
            self.text.push_str("  ");
            self.paint(BLUE, &format!("{margin} |"));
            self.paint(RED, &caret);
            if !label.is_empty() {
                self.text.push(' ');
                self.paint(RED, label);
            }
            self.text.push('\n');
        }
        self.origin(span, sources);
    }

    fn origin(&mut self, span: Span, sources: &Sources) {
        let mut next = Some(span);
        while let Some(source) = next.and_then(|span| sources.get(span.source)) {
            match (&source.kind, source.used_at) {
                (SourceKind::Env(name), _) => {
                    self.line(
                        "note:",
                        CYAN,
                        &format!(" the value comes from the environment variable {name}"),
                    );
                }
                (_, Some(used_at)) => {
                    self.line("note:", CYAN, &format!(" included at {}", sources.position(used_at)));
                }
                _ => {}
            }
            next = source.used_at;
        }
    }
}

/// The words beside the caret.
fn label(error: &ConfigError) -> String {
    match (&error.suggestion, &error.expected) {
        (Some(suggestion), _) => format!("did you mean `{suggestion}`?"),
        (None, Some(expected)) => format!("expected {expected}"),
        (None, None) => String::new(),
    }
}

fn valid_words(error: &ConfigError) -> String {
    let what = match error.kind {
        crate::ErrorKind::UnknownField => "fields here",
        crate::ErrorKind::UnknownType => "types here",
        crate::ErrorKind::Reference => "configured here",
        _ => "valid here",
    };
    let words: Vec<&str> = error.allowed.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    let more = if words.len() > MOST_WORDS { ", ..." } else { "" };
    let shown: Vec<&str> = words.into_iter().take(MOST_WORDS).collect();
    format!("{what}: {}{more}", shown.join(", "))
}

fn one_line(text: &str) -> String {
    text.replace('\r', "\\r").replace('\n', "\\n")
}
