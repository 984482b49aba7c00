//! Text from telemetry made safe to show, cut and wrapped.

use std::borrow::Cow;

/// Text without what could move the cursor, change colours or reverse the reading order: control characters and
/// bidirectional overrides become U+FFFD, line breaks and tabs become a space.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| is_unsafe(character) || character.is_whitespace() && character != ' ') {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|character| match character {
        _ if character.is_whitespace() => ' ',
        _ if is_unsafe(character) => '\u{fffd}',
        _ => character,
    });
    Cow::Owned(shown.collect())
}

/// Whether a character must not reach a terminal or a page as it is; line breaks and tabs included.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The columns a text takes, one per character.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// A path in at most `columns`, cut in the middle: the end, which names file and line, is kept before the beginning.
pub fn middle(path: &str, columns: usize) -> Cow<'_, str> {
    let length = width(path);
    if length <= columns {
        return Cow::Borrowed(path);
    }
    let name = path.rsplit('/').next().map_or(0, |name| width(name) + 1);
    let room = columns.saturating_sub(1);
    // The file name is kept whole when it fits; what is left shows the beginning, at most a third of it.
    let head = if name < room { (room - name).min(room / 3) } else { room / 3 };
    let tail = room - head;
    let mut cut: String = path.chars().take(head).collect();
    cut.push('…');
    cut.extend(path.chars().skip(length - tail));
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_overrides_are_made_visible() {
        assert_eq!(visible("plain text"), "plain text");
        assert_eq!(visible("a\u{1b}[31mred\nb\u{202e}c"), "a\u{fffd}[31mred b\u{fffd}c");
    }

    #[test]
    fn a_long_path_keeps_its_file_and_line() {
        let path = "examples/leaky/client/internal/orders/orders.go:41";
        assert_eq!(middle(path, 60), path);
        assert_eq!(middle(path, 30), "examples/…/orders/orders.go:41");
        for columns in 1..60 {
            let cut = middle(path, columns);
            assert!(width(&cut) <= columns.max(1), "{columns}: {cut}");
            if columns > 20 {
                assert!(cut.ends_with("/orders.go:41"), "{columns}: {cut}");
            }
        }
    }
}
