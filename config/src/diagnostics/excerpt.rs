//! A line of a configuration as an error may quote it: without what may be secret.
//!
//! What is shown is chosen, not what is hidden: keys, brackets, values that are numbers, booleans, durations or `${...}`
//! references, and the value that the error is about, as far as the error lets it be seen. Every other value is `...`, and
//! `[REDACTED]` where its key or the error says that it is a secret. The line is read by itself, so one in the middle of a
//! block of text is taken for a value, and what is not understood is hidden.

use crate::secret::{self, REDACTED};
use crate::{ConfigError, ErrorKind, GoDuration, Span};

/// The longest line that is quoted whole, in characters.
const WIDEST: usize = 160;
/// A value that is not shown, and of which nothing says that it is a secret.
const LEFT_OUT: &str = "...";
/// The longest value that is taken for a number or a duration, in characters.
const LONGEST_PLAIN: usize = 24;

/// A line that fits the terminal, and where its caret goes.
pub(super) struct Excerpt {
    pub(super) line: String,
    /// Characters before the caret.
    pub(super) before: usize,
    /// Characters of the caret.
    pub(super) length: usize,
}

/// What an error lets be seen of the line that it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shows {
    /// The value that it is about.
    Value,
    /// The word that it is about; not the value of a key, which may stand at a wrong place.
    Word,
    /// Not the value of its key: nobody knows what that is.
    Others,
    /// No value at all, as the line may be something else than it looks like.
    #[default]
    Keys,
    /// No value at all, and nothing from its mark on but the key there.
    ToKey,
    /// No value at all, and nothing from its mark on.
    ToMark,
}

impl Shows {
    fn of(error: &ConfigError) -> Self {
        // Which extension authenticates is not secret.
        let secret = error.secret || error.kind != ErrorKind::Reference && secret::is_place(&error.path);
        match error.kind {
            // These are marked at the value, in which a mapping would begin with what is secret.
            ErrorKind::Type | ErrorKind::Value if secret => Self::ToMark,
            _ if secret => Self::ToKey,
            ErrorKind::Syntax | ErrorKind::Duplicate | ErrorKind::Limit => Self::Keys,
            ErrorKind::Id | ErrorKind::Signal => Self::Word,
            ErrorKind::UnknownField | ErrorKind::UnknownType => Self::Others,
            _ => Self::Value,
        }
    }

    fn hides_all(self) -> bool {
        matches!(self, Self::Keys | Self::ToKey | Self::ToMark)
    }
}

impl Excerpt {
    /// The `line` at which the `span` of an error points. In a `flag`, a key ends at its `=`.
    pub(super) fn new(line: &str, span: Span, error: &ConfigError, flag: bool) -> Self {
        let letters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mark = usize::try_from(span.column.saturating_sub(1)).unwrap_or_default().min(letters.len());
        let mut writer =
            Writer { letters: &letters, mark, shows: Shows::of(error), flag, ..Writer::default() };
        writer.line();
        let Writer { written, before, whole, .. } = writer;
        let before = before.unwrap_or(written.len());
        let wanted = usize::try_from(span.len).unwrap_or(1).max(1);
        let wanted = if whole { wanted } else { wanted.min(REDACTED.len()) };
        let cut = if before > WIDEST / 2 && written.len() > WIDEST { before - WIDEST / 2 } else { 0 };
        let shown: String = written.iter().skip(cut).take(WIDEST).collect();
        let line = shown.trim_end().to_owned();
        let room = written.len().saturating_sub(before).clamp(1, WIDEST / 2);
        Self { before: (before - cut).min(line.chars().count()), line, length: wanted.min(room) }
    }
}

/// What the key before a value says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Key {
    /// There is none.
    #[default]
    None,
    /// Nothing.
    Ordinary,
    /// It is what the error is about.
    Marked,
    /// It is not shown but as this.
    Hides(&'static str),
}

/// A stretch of a line, by its letters.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
    /// The place of the sign that makes it a key.
    key: Option<usize>,
    quoted: bool,
}

/// Reads a line and writes what may be seen of it.
#[derive(Default)]
struct Writer<'a> {
    letters: &'a [char],
    /// The place that the error speaks of.
    mark: usize,
    shows: Shows,
    flag: bool,
    /// Brackets that are open.
    depth: usize,
    written: Vec<char>,
    /// Where the mark is in what was written.
    before: Option<usize>,
    /// Whether what is marked was written as it is.
    whole: bool,
}

impl Writer<'_> {
    fn line(&mut self) {
        let (mut at, mut key) = (0, Key::None);
        while let Some(letter) = self.letters.get(at).copied() {
            let is_mark = at == self.mark;
            let spaced = self.letters.get(at + 1).is_none_or(|next| next.is_whitespace());
            if is_mark && matches!(self.shows, Shows::ToKey | Shows::ToMark) {
                return self.end_at(at);
            }
            match letter {
                // A comment.
                '#' if at.checked_sub(1).is_none_or(|before| self.letters[before].is_whitespace()) => return,
                '{' | '[' => {
                    let end = self.group_end(at);
                    match key {
                        Key::Hides(word) if !(at + 1..end).contains(&self.mark) => {
                            self.replace(at, end, word);
                            at = end;
                        }
                        _ => {
                            self.depth += 1;
                            at = self.copy(at, at + 1);
                        }
                    }
                    key = Key::None;
                }
                '}' | ']' | ',' if self.depth > 0 => {
                    self.depth -= usize::from(letter != ',');
                    key = Key::None;
                    at = self.copy(at, at + 1);
                }
                '-' | '?' if spaced => at = self.copy(at, at + 1),
                _ if letter.is_whitespace() => at = self.copy(at, at + 1),
                _ => {
                    let mut token = self.token(at);
                    // Directly behind a key stands a value, also one that looks like a key.
                    if key != Key::None && token.key.take().is_some() {
                        token.end = self.value_end(at);
                    }
                    (at, key) = match token.key {
                        Some(sign) => (self.name(token, sign), self.key(token)),
                        None => (self.value(token, key), Key::None),
                    };
                }
            }
        }
    }

    /// Writes the key at the mark, where it may be seen, and that the rest may not.
    fn end_at(&mut self, at: usize) {
        let is_open = matches!(self.letters.get(at), Some('{' | '['));
        let sign = if self.shows == Shows::ToKey && !is_open { self.token(at).key } else { None };
        match sign {
            Some(sign) => {
                self.name(self.token(at), sign);
                self.written.push(' ');
                self.written.extend(REDACTED.chars());
            }
            None => self.replace(at, self.letters.len(), REDACTED),
        }
    }

    /// The word or the text in quotes that begins here.
    fn token(&self, start: usize) -> Token {
        let is_key_sign = |at: usize| {
            let next = self.letters.get(at + 1);
            let ends = next.is_none_or(|c| c.is_whitespace() || self.depth > 0 && is_flow(*c));
            self.letters.get(at) == Some(&':') && ends
        };
        if let Some(quote @ ('"' | '\'')) = self.letters.get(start).copied() {
            let end = quoted_end(self.letters, start, quote);
            let sign = (end..self.letters.len()).find(|at| !self.letters[*at].is_whitespace());
            return Token { start, end, key: sign.filter(|at| is_key_sign(*at)), quoted: true };
        }
        let mut at = start;
        let mut key = None;
        while let Some(letter) = self.letters.get(at).copied() {
            let after_space = at > start && self.letters[at - 1].is_whitespace();
            let after_break = after_space || at > start && is_flow(self.letters[at - 1]);
            if is_key_sign(at) || self.flag && letter == '=' && self.written.is_empty() {
                key = Some(at);
                break;
            }
            if after_space && letter == '#' || at == self.mark && after_break {
                break;
            }
            if letter == '$' && self.letters.get(at + 1) == Some(&'{') {
                let close = (at..self.letters.len()).find(|at| self.letters[*at] == '}');
                at = close.unwrap_or(self.letters.len() - 1);
            } else if self.depth > 0 && is_flow(letter) {
                break;
            }
            at += 1;
        }
        let mut end = at;
        while end > start + 1 && self.letters[end - 1].is_whitespace() {
            end -= 1;
        }
        // A sentence is no key.
        let key = key.filter(|_| start == self.mark || !self.letters[start..end].contains(&' '));
        Token { start, end: if key.is_none() { at } else { end }, key, quoted: false }
    }

    /// Writes a key and its sign, without what is glued to it; gives their end.
    fn name(&mut self, token: Token, sign: usize) -> usize {
        let text: String = self.letters[token.start..sign].iter().collect();
        let bare = text.trim().trim_matches(['"', '\'']);
        match secret::shown_name(bare) {
            shown if shown == bare => _ = self.copy(token.start, sign),
            shown => self.replace(token.start, sign, &text.replacen(bare, &shown, 1)),
        }
        self.copy(sign, sign + 1)
    }

    /// Where the brackets that are open, or else the line, let a value end.
    fn value_end(&self, start: usize) -> usize {
        let ends = |at: &usize| self.depth > 0 && is_flow(self.letters[*at]);
        (start..self.letters.len()).find(ends).unwrap_or(self.letters.len())
    }

    /// What a key says about its value.
    fn key(&self, token: Token) -> Key {
        let name: String = self.letters[token.start..token.end].iter().collect();
        let is_secret = name.trim_matches(['"', '\'']).split(['.', ':']).any(secret::is_place_name);
        match self.shows {
            _ if is_secret => Key::Hides(REDACTED),
            Shows::Others | Shows::Word if token.start == self.mark => Key::Hides(LEFT_OUT),
            Shows::Value if token.start == self.mark => Key::Marked,
            _ => Key::Ordinary,
        }
    }

    /// Writes a value, or what stands for it; gives its end.
    fn value(&mut self, token: Token, key: Key) -> usize {
        let Token { start, mut end, quoted, .. } = token;
        // What closes brackets of other lines is no part of it.
        while !quoted && self.depth == 0 && end > start + 1 && closes_others(&self.letters[start..end]) {
            end -= 1;
        }
        let text: String = self.letters[start..end].iter().collect();
        let bare = if quoted { text.trim_matches(['"', '\'']) } else { text.as_str() };
        let is_marked = (start..end.max(start + 1)).contains(&self.mark);
        let is_alias = text.starts_with('*') && is_marked;
        match key {
            _ if secret::is_reference(bare) => _ = self.copy(start, end),
            Key::Hides(word) => self.replace(start, end, word),
            _ if is_alias || !self.shows.hides_all() && is_plain(bare) => _ = self.copy(start, end),
            _ if matches!(self.shows, Shows::Value | Shows::Word) && (is_marked || key == Key::Marked) => {
                match secret::without_secrets(bare) {
                    hidden if hidden == bare => _ = self.copy(start, end),
                    hidden => self.replace(start, end, &text.replacen(bare, &hidden, 1)),
                }
            }
            _ if matches!(self.shows, Shows::ToKey | Shows::ToMark) => self.replace(start, end, REDACTED),
            _ => self.replace(start, end, LEFT_OUT),
        }
        self.copy(end, token.end)
    }

    /// Where the bracket that opens here is closed, else the end of the line.
    fn group_end(&self, start: usize) -> usize {
        let (mut at, mut depth) = (start, 0_usize);
        while let Some(letter) = self.letters.get(at).copied() {
            match letter {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                '"' | '\'' if !self.letters[at - 1].is_alphanumeric() => {
                    at = quoted_end(self.letters, at, letter);
                    continue;
                }
                _ => {}
            }
            at += 1;
            if depth == 0 {
                return at;
            }
        }
        self.letters.len()
    }

    /// Writes letters as they are; gives their end.
    fn copy(&mut self, start: usize, end: usize) -> usize {
        if (start..end).contains(&self.mark) {
            self.before = Some(self.written.len() + self.mark - start);
            self.whole = true;
        }
        self.written.extend(self.letters.get(start..end).unwrap_or_default());
        end
    }

    /// Writes something else for letters.
    fn replace(&mut self, start: usize, end: usize, by: &str) {
        if (start..end).contains(&self.mark) {
            self.before = Some(self.written.len());
        }
        // What is left out is left out once.
        let goes_on = by == LEFT_OUT && self.written.ends_with(&['.', '.', '.']);
        self.written.extend(by.chars().filter(|_| !goes_on));
    }
}

/// Where a text in quotes ends, behind the quote.
fn quoted_end(letters: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while let Some(letter) = letters.get(at).copied() {
        at += 1;
        if letter == '\\' && quote == '"' {
            at += 1;
        } else if letter == quote {
            if quote == '"' || letters.get(at) != Some(&quote) {
                return at;
            }
            at += 1;
        }
    }
    letters.len()
}

fn is_flow(letter: char) -> bool {
    matches!(letter, ',' | '{' | '}' | '[' | ']')
}

/// Whether a text ends with a comma, or with a bracket that does not open in it.
fn closes_others(text: &[char]) -> bool {
    let opens = match text.last() {
        Some(',') => return true,
        Some('}') => '{',
        Some(']') => '[',
        _ => return false,
    };
    let count = |bracket| text.iter().filter(|letter| **letter == bracket).count();
    text.last().is_some_and(|last| count(*last) > count(opens))
}

/// Whether a value is of a kind that is no secret where no name says so.
fn is_plain(text: &str) -> bool {
    let is_word = matches!(text, "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off");
    let is_block = text.starts_with(['|', '>']) && text.len() <= 3;
    let is_number = || text.parse::<f64>().is_ok() || text.parse::<GoDuration>().is_ok();
    is_word
        || is_block
        || text.len() <= LONGEST_PLAIN && text.contains(|c: char| c.is_ascii_digit()) && is_number()
}

#[cfg(test)]
mod tests;
