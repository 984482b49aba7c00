//! Markup that cannot be broken by what is put into it.

use std::borrow::Cow;

use serde::Serialize;
use weir_connection::terminal::text::is_unsafe;

/// An HTML or SVG element under construction. Names are literals of this crate; texts and values are escaped.
#[derive(Debug, Clone)]
pub(super) struct Element {
    tag: &'static str,
    attributes: String,
    body: String,
}

/// An element without attributes and content.
pub(super) fn el(tag: &'static str) -> Element {
    Element { tag, attributes: String::new(), body: String::new() }
}

impl Element {
    /// Adds an attribute.
    pub(super) fn attr(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.attributes.push(' ');
        self.attributes.push_str(name);
        self.attributes.push_str("=\"");
        self.attributes.push_str(&escape(value.as_ref()));
        self.attributes.push('"');
        self
    }

    /// Adds an attribute without a value.
    pub(super) fn flag(mut self, name: &'static str) -> Self {
        self.attributes.push(' ');
        self.attributes.push_str(name);
        self
    }

    /// Adds the attribute `class`.
    pub(super) fn class(self, value: impl AsRef<str>) -> Self {
        self.attr("class", value)
    }

    /// Adds text.
    pub(super) fn text(mut self, text: impl AsRef<str>) -> Self {
        self.body.push_str(&escape(text.as_ref()));
        self
    }

    /// Adds an element.
    pub(super) fn child(mut self, child: Element) -> Self {
        child.write(&mut self.body);
        self
    }

    /// Adds elements.
    pub(super) fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        for child in children {
            child.write(&mut self.body);
        }
        self
    }

    /// Adds content that is markup, style or script already: only for this crate's own assets and [`json`].
    pub(super) fn trusted(mut self, content: &str) -> Self {
        self.body.push_str(content);
        self
    }

    /// The finished markup.
    pub(super) fn render(self) -> String {
        let mut out = String::with_capacity(self.body.len() + self.attributes.len() + 16);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.tag);
        out.push_str(&self.attributes);
        out.push('>');
        if !matches!(self.tag, "meta" | "link" | "wbr") {
            out.push_str(&self.body);
            out.push_str("</");
            out.push_str(self.tag);
            out.push('>');
        }
    }
}

/// Text for content and for quoted attributes. Line breaks stay; what could disturb reading becomes U+FFFD.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !matches!(c, '&' | '<' | '>' | '"' | '\'' | '\t') && (c == '\n' || !is_unsafe(c));
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' => safe.push(' '),
            '\n' => safe.push('\n'),
            unsafe_one if is_unsafe(unsafe_one) => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    Cow::Owned(safe)
}

/// JSON for a `script` element of type `application/json`: no `<`, `>` or `&` in it, so that nothing can close the
/// element or open a comment in it.
pub(super) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(character)))
            }
            other => safe.push(other),
        }
    }
    safe
}

/// A fragment that leads to an id: `#` and the id with everything but unreserved characters percent-encoded (RFC 3986).
pub(super) fn fragment(id: &str) -> String {
    let mut text = String::from("#");
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_cannot_leave_their_place() {
        let hostile = "</p><script>alert(1)</script>\" onload='x' \u{0}\u{1b}\u{202e}&";
        let markup = el("p").attr("title", hostile).text(hostile).render();
        assert_eq!(markup.matches('<').count(), 2);
        assert_eq!(markup.matches('"').count(), 2);
        assert!(!markup.contains(['\u{0}', '\u{1b}', '\u{202e}']), "{markup:?}");
        assert!(markup.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"));
    }

    #[test]
    fn embedded_json_cannot_close_its_script_and_reads_back_the_same() {
        let value = vec!["</script><!--<script>", "a&b\u{2028}c"];
        let text = json(&value);
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), value);
    }

    #[test]
    fn fragments_are_percent_encoded() {
        assert_eq!(fragment("a/b c\"é"), "#a%2Fb%20c%22%C3%A9");
    }
}
