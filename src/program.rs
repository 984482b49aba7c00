//! What this program calls itself.

use std::path::Path;
use std::sync::OnceLock;

/// The name that the Collector's own program has.
const COLLECTOR: &str = "otelcol";

/// Name and description, where people and telemetry see them.
#[derive(Debug)]
pub(crate) struct Program {
    /// The command, `service.name` and the name on pages.
    pub(crate) name: String,
    /// One line about it.
    pub(crate) description: &'static str,
}

/// Ours, or the Collector's when the environment (`WEIR_AS`) or the name of the called file says so, for scripts and
/// dashboards that look for it.
pub(crate) fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let asked = std::env::var("WEIR_AS").ok();
        let called = std::env::args().next();
        called_as(asked.as_deref(), called.as_deref())
    })
}

fn called_as(asked: Option<&str>, called: Option<&str>) -> Program {
    let file = called.and_then(|path| Path::new(path).file_name()?.to_str());
    let name = [asked, file].into_iter().flatten().find(|name| is_collector(name));
    let description = match name {
        Some(_) => "OpenTelemetry Collector",
        None => env!("CARGO_PKG_DESCRIPTION"),
    };
    Program { name: name.unwrap_or("weir").to_owned(), description }
}

/// `otelcol` and the distributions, such as `otelcol-contrib`.
fn is_collector(name: &str) -> bool {
    name.strip_prefix(COLLECTOR).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_collectors_when_it_is_asked_for() {
        let cases = [
            (None, Some("/usr/bin/weir"), "weir"),
            (None, Some("/usr/bin/otelcol"), "otelcol"),
            (None, Some("./otelcol-contrib"), "otelcol-contrib"),
            (Some("otelcol"), Some("weir"), "otelcol"),
            (Some("nginx"), Some("weir"), "weir"),
            (None, Some("otelcolumn"), "weir"),
            (None, None, "weir"),
        ];
        for (asked, called, name) in cases {
            assert_eq!(called_as(asked, called).name, name, "{asked:?} {called:?}");
        }
    }
}
