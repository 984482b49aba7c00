//! Errors for people, in the manner of rustc.

use crate::secret::{REDACTED, is_sensitive};
use crate::{ConfigError, Severity, SourceKind, Sources, Span};

/// The longest line that is quoted whole, in characters.
const WIDEST: usize = 160;
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

/// All errors, an empty line between two.
pub(super) fn render(errors: &[ConfigError], sources: &Sources, colour: bool) -> String {
    let mut painter = Painter { colour, text: String::new() };
    let mut last_core = "";
    for (number, error) in errors.iter().enumerate() {
        if number > 0 {
            painter.text.push('\n');
        }
        painter.error(error, sources, last_core);
        last_core = error.core_sentence();
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
        if let Some(line) = sources.get(shown.source).and_then(|source| source.line(shown.line)) {
            let hides = error.secret || error.path.steps().any(|step| is_sensitive(&step));
            let excerpt = Excerpt::new(line, shown, hides);
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

/// A line that fits the terminal, and where its caret goes.
struct Excerpt {
    line: String,
    before: usize,
    length: usize,
}

impl Excerpt {
    fn new(line: &str, span: Span, hides: bool) -> Self {
        let (line, changed) = mask(line, hides, span);
        let letters: Vec<char> =
            line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let start = usize::try_from(span.column.saturating_sub(1)).unwrap_or_default().min(letters.len());
        let wanted = usize::try_from(span.len).unwrap_or(1).max(1);
        let length = if changed { wanted.min(REDACTED.len()) } else { wanted };
        let cut = if start > WIDEST / 2 && letters.len() > WIDEST { start - WIDEST / 2 } else { 0 };
        let shown: String = letters.iter().skip(cut).take(WIDEST).collect();
        let room = letters.len().saturating_sub(start).clamp(1, WIDEST / 2);
        Self { line: shown.trim_end().to_owned(), before: start - cut, length: length.min(room) }
    }
}

/// Hides what may be a secret in a line of YAML: all from the marked value on when the error is about a secret, and the
/// value of each key whose name says that it is one.
fn mask(line: &str, hides: bool, span: Span) -> (String, bool) {
    if hides {
        let start = usize::try_from(span.column.saturating_sub(1)).unwrap_or_default();
        let kept: String = line.chars().take(start).collect();
        // The mark may be on the key, which is no secret; what stands behind its colon is.
        let rest: String = line.chars().skip(start).collect();
        let name: String = rest.chars().take_while(|letter| !matches!(letter, ':' | '=')).collect();
        let marked_key = name.chars().count() < rest.chars().count() && is_sensitive(&name);
        let text = if marked_key { format!("{kept}{name}: {REDACTED}") } else { format!("{kept}{REDACTED}") };
        let (text, _) = mask_keys(&text);
        return (text, true);
    }
    mask_keys(line)
}

fn mask_keys(line: &str) -> (String, bool) {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    for (position, letter) in line.char_indices().filter(|(_, letter)| matches!(letter, ':' | '=')) {
        let name: String = line[..position]
            .trim_end_matches(['"', '\'', ' '])
            .chars()
            .rev()
            .take_while(|c| is_word(*c))
            .collect();
        let name: String = name.chars().rev().collect();
        let rest = &line[position + letter.len_utf8()..];
        let value = rest.trim_start();
        let is_reference = value.starts_with("${") && value.ends_with('}') && !value.contains(":-");
        if is_sensitive(&name) && !value.is_empty() && !is_reference && !value.starts_with(REDACTED) {
            let gap = &rest[..rest.len() - value.len()];
            return (format!("{}{letter}{gap}{REDACTED}", &line[..position]), true);
        }
    }
    (line.to_owned(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_keys_that_hold_secrets_are_hidden() {
        let cases: &[(&str, &str)] = &[
            ("password: hunter2", "password: [REDACTED]"),
            ("  \"api_key\" : hunter2", "  \"api_key\" : [REDACTED]"),
            ("headers: {Authorization: Bearer hunter2, x: y}", "headers: {Authorization: [REDACTED]"),
            ("a.token=hunter2", "a.token=[REDACTED]"),
            ("token: ${env:TOKEN}", "token: ${env:TOKEN}"),
            ("token: ${env:TOKEN:-hunter2}", "token: [REDACTED]"),
            ("token_url: https://x", "token_url: https://x"),
            ("token:", "token:"),
            ("endpoint: a:1", "endpoint: a:1"),
        ];
        for (line, expected) in cases {
            assert_eq!(mask_keys(line).0, *expected);
        }
    }
}
