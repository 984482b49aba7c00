//! What all pages share: the shell around the content, the inline assets and the policy that allows only these.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::html::{Element, el};

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");

/// The pages and where the server puts them.
pub(super) const PAGES: [(&str, &str, &str); 5] = [
    ("/leaks", "Leaks", "which service leaks which connection, from which line, since when"),
    ("/debug/pipelinez", "Pipelines", "the components of every pipeline with live counts"),
    ("/debug/servicez", "Service", "version, start, configuration"),
    ("/debug/extensionz", "Extensions", "the extensions that run"),
    ("/debug/featurez", "Features", "feature gates and what they change"),
];

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

static HEADER: LazyLock<String> = LazyLock::new(|| format!("{}; frame-ancestors 'none'", *POLICY));

/// Value of the header `Content-Security-Policy` (CSP 3) for every page of this module.
///
/// It allows the inline script and style by their SHA-256, data images (the icon), and requests to the same origin
/// (the refresh); nothing else.
pub fn content_security_policy() -> &'static str {
    &HEADER
}

/// A whole document.
pub(super) struct Document {
    /// Title of the window.
    pub(super) title: String,
    /// Colour of the icon: `leaking`, `suspect`, `recovering`, `ok`.
    pub(super) icon: &'static str,
    /// Path of the page, to mark it in the navigation.
    pub(super) path: &'static str,
    /// What stands at the right of the navigation.
    pub(super) meta: Element,
    /// The content; a `main` element.
    pub(super) main: Element,
    /// JSON to embed, safe for a script element.
    pub(super) json: String,
}

impl Document {
    pub(super) fn render(self) -> String {
        let head = el("head")
            .child(el("meta").attr("charset", "utf-8"))
            .child(el("meta").attr("http-equiv", "Content-Security-Policy").attr("content", POLICY.as_str()))
            .child(el("meta").attr("name", "viewport").attr("content", "width=device-width, initial-scale=1"))
            .child(el("meta").attr("name", "color-scheme").attr("content", "light dark"))
            .child(el("meta").attr("name", "referrer").attr("content", "no-referrer"))
            .child(el("title").text(&self.title))
            .child(el("link").attr("rel", "icon").attr("href", icon(self.icon)))
            .child(el("style").trusted(STYLE));
        let body = el("body")
            .child(el("a").class("skip").attr("href", "#main").text("Skip to content"))
            .child(navigation(self.path, self.meta))
            .child(self.main)
            .child(el("script").attr("type", "application/json").trusted(&self.json))
            .child(el("script").trusted(SCRIPT));
        format!("<!doctype html>\n{}\n", el("html").attr("lang", "en").child(head).child(body).render())
    }
}

fn navigation(path: &str, meta: Element) -> Element {
    let links = PAGES.iter().map(|&(href, name, _)| {
        let link = el("a").attr("href", href).text(name);
        if href == path { link.attr("aria-current", "page") } else { link }
    });
    el("header")
        .class("top")
        .child(el("a").class("brand").attr("href", "/debug").text("weir"))
        .child(el("nav").attr("aria-label", "Pages").children(links))
        .child(meta)
}

/// A dot in the colour of the worst state, so that a tab in the background says it too.
fn icon(state: &str) -> String {
    let (colour, shape) = match state {
        "leaking" => ("%23d92d20", "<circle cx='8' cy='8' r='7'/>"),
        "suspect" => ("%23d98c00", "<path d='M8 1 15 15H1z'/>"),
        "recovering" => ("%231570cd", "<path d='M1 8 8 1l7 7-7 7z'/>"),
        _ => ("%232e9e5b", "<path d='M2 2h12v12H2z'/>"),
    };
    format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='{colour}'>{shape}</svg>"
    )
}

fn hash(content: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, content.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_assets_that_are_in_the_page_and_nothing_unsafe() {
        let policy = content_security_policy();
        assert!(policy.starts_with("default-src 'none';"));
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
        let main = el("main").attr("id", "main");
        let document = Document {
            title: "t".into(),
            icon: "ok",
            path: "/leaks",
            meta: el("p"),
            main,
            json: "{}".into(),
        };
        let page = document.render();
        for (open, close, kind) in
            [("<style>", "</style>", "style-src"), ("<script>", "</script>", "script-src")]
        {
            let inline = page.split(open).nth(1).unwrap().split(close).next().unwrap();
            let expected = format!("{kind} '{}'", hash(inline));
            assert!(policy.contains(&expected), "{policy} lacks {expected}");
        }
    }

    #[test]
    fn a_known_text_has_its_known_hash() {
        assert_eq!(hash("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn assets_cannot_end_their_element_and_name_no_other_place() {
        for asset in [STYLE, SCRIPT] {
            assert!(!asset.contains("</") && !asset.contains("<!--") && !asset.contains('\r'));
            assert!(["://", "url(", "@import", "eval"].iter().all(|elsewhere| !asset.contains(elsewhere)));
            assert!(asset.len() < 24_000);
        }
    }
}
