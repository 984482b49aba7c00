//! The text that is built, bounded and safe for a terminal.

use std::fmt::{self, Write};

/// Longest dump of one payload, in bytes. A profile names attributes by index, so that a few MB of it can stand for
/// many GB of text.
const LIMIT: usize = 64 << 20;

/// Takes lines until it is full; what comes then is not even formatted.
pub(crate) struct Text {
    out: String,
    limit: usize,
    cut: bool,
}

impl Text {
    pub(crate) fn new() -> Text {
        Text::with_limit(LIMIT)
    }

    pub(crate) fn with_limit(limit: usize) -> Text {
        Text { out: String::new(), limit, cut: false }
    }

    /// Adds one line.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        self.part(line);
        self.part(format_args!("\n"));
    }

    /// Adds a part of a line.
    pub(crate) fn part(&mut self, part: fmt::Arguments<'_>) {
        if !self.cut && self.write_fmt(part).is_err() {
            self.cut = true;
        }
    }

    /// Whether nothing more goes in.
    pub(crate) fn is_full(&self) -> bool {
        self.cut
    }

    /// The text, with a last line that says so where it was cut.
    pub(crate) fn finish(mut self) -> String {
        if self.cut {
            self.out.push_str(&format!("\n... cut after {} bytes\n", self.limit));
        }
        self.out
    }
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.limit - self.out.len();
        let end = if s.len() <= room { s.len() } else { s.floor_char_boundary(room) };
        push_printable(&mut self.out, &s[..end], self.limit);
        if end < s.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Telemetry is somebody else's text: control characters could rewrite what the reader sees or make the terminal
/// answer. Line breaks and tabs stay. The replacement is up to three times as long, hence the second check of the limit.
fn push_printable(out: &mut String, s: &str, limit: usize) {
    if !s.chars().any(is_unsafe) {
        out.push_str(s);
        return;
    }
    for c in s.chars() {
        let c = if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c };
        if out.len() + c.len_utf8() <= limit {
            out.push(c);
        }
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_other_than_line_breaks_and_tabs_are_replaced() {
        let mut text = Text::new();
        text.line(format_args!("a\u{1b}[31mb\rc\u{7}\u{9b}\u{7f}\td\ne ü"));
        assert_eq!(text.finish(), "a\u{fffd}[31mb\u{fffd}c\u{fffd}\u{fffd}\u{fffd}\td\ne ü\n");
    }

    #[test]
    fn a_text_ends_at_its_limit_and_says_so() {
        let mut text = Text::with_limit(8);
        text.line(format_args!("abc"));
        text.line(format_args!("üüüü"));
        assert!(text.is_full());
        text.line(format_args!("never"));
        assert_eq!(text.finish(), "abc\nüü\n... cut after 8 bytes\n");
    }

    #[test]
    fn replacements_do_not_outgrow_the_limit() {
        let mut text = Text::with_limit(8);
        text.line(format_args!("\r\r\r\r\r\r"));
        assert!(text.finish().starts_with("\u{fffd}\u{fffd}"));
    }
}
