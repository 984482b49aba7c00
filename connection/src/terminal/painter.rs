//! Words into lines.

use super::sentence::{GLUE, glued};
use super::text::{middle, visible, width};
use super::{INDENT, MIN_WIDTH, Options};
use crate::report::State;

/// What a word is, for colour.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    State(State),
}

impl Style {
    /// ANSI "select graphic rendition" parameters (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Dim => "2",
            Style::State(State::Leaking) => "1;31",
            Style::State(State::Suspect) => "1;33",
            Style::State(State::Recovering) => "1;36",
            Style::State(State::Ok) => "1;32",
        }
    }
}

/// Writes words into lines of a width.
pub(super) struct Painter<'a> {
    pub(super) options: &'a Options,
    pub(super) width: usize,
    pub(super) out: String,
    pub(super) column: usize,
    pub(super) indent: usize,
    pub(super) first_line: bool,
}

impl<'a> Painter<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let width = options.width.max(MIN_WIDTH);
        Self { options, width, out: String::new(), column: 0, indent: 0, first_line: true }
    }

    /// A labelled line of prose; nothing when the text is empty.
    pub(super) fn field(&mut self, label: &str, text: &str) {
        if !text.trim().is_empty() {
            self.label(label);
            self.prose(0, text, Style::Plain);
            self.end();
        }
    }

    pub(super) fn sentence(&mut self, text: &str) {
        self.prose(0, text, Style::Plain);
        self.end();
    }

    pub(super) fn label(&mut self, label: &str) {
        self.indent = INDENT;
        self.pad_to(2);
        self.put(label, Style::Dim);
        self.pad_to(INDENT);
    }

    /// A path, cut in the middle to what a line holds.
    pub(super) fn path(&mut self, path: &str) {
        let room = self.width.saturating_sub(self.indent);
        self.word(0, &glued(middle(path, room).into_owned()), Style::Bold);
    }

    pub(super) fn prose(&mut self, gap: usize, text: &str, style: Style) {
        let mut gap = gap;
        for word in visible_glued(text).split(' ').filter(|word| !word.is_empty()) {
            self.word(gap, word, style);
            gap = 1;
        }
    }

    /// A word `gap` columns behind the last one, or on a new line when it does not fit.
    pub(super) fn word(&mut self, gap: usize, word: &str, style: Style) {
        if word.is_empty() {
            return;
        }
        if self.column > self.indent && self.column + gap + width(word) > self.width {
            self.out.push('\n');
            (self.column, self.first_line) = (0, false);
            self.pad_to(self.indent);
        } else {
            self.pad_to(self.column + gap);
        }
        self.put(word, style);
    }

    pub(super) fn pad_to(&mut self, column: usize) {
        while self.column < column {
            self.out.push(' ');
            self.column += 1;
        }
    }

    pub(super) fn put(&mut self, text: &str, style: Style) {
        let coloured = self.options.color && !style.code().is_empty();
        if coloured {
            self.out.push_str("\u{1b}[");
            self.out.push_str(style.code());
            self.out.push('m');
        }
        self.out.extend(text.chars().map(|character| if character == GLUE { ' ' } else { character }));
        if coloured {
            self.out.push_str("\u{1b}[0m");
        }
        self.column += width(text);
    }

    pub(super) fn end(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        (self.column, self.indent, self.first_line) = (0, 0, true);
    }

    pub(super) fn gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }
}

/// [`visible`] text in which glue, which is white space, survives.
fn visible_glued(text: &str) -> String {
    text.split(GLUE).map(visible).collect::<Vec<_>>().join("\u{a0}")
}
