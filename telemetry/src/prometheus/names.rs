//! Names of metrics and labels.

use std::borrow::Cow;

/// How names are written that Prometheus did not always allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escaping {
    /// Everything but letters, digits and `_` (in names of metrics also `:`) becomes `_`.
    Underscores,
    /// As they are, in quotation marks.
    AllowUtf8,
}

impl Escaping {
    /// What a client asks for by its `Accept` header: `escaping=allow-utf-8`.
    pub(crate) fn of(accept: &str) -> Escaping {
        let asked = accept.split([',', ';']).any(|part| part.trim() == "escaping=allow-utf-8");
        if asked { Escaping::AllowUtf8 } else { Escaping::Underscores }
    }

    /// The content type of a page written so.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Escaping::Underscores => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Escaping::AllowUtf8 => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
        }
    }

    /// The name of a metric.
    pub(crate) fn metric(self, name: &str) -> Cow<'_, str> {
        self.apply(name, |c| c == ':')
    }

    /// The name of a label.
    pub(crate) fn label(self, name: &str) -> Cow<'_, str> {
        self.apply(name, |_| false)
    }

    fn apply(self, name: &str, also: impl Fn(char) -> bool) -> Cow<'_, str> {
        if self == Escaping::AllowUtf8 || is_plain(name, &also) {
            return Cow::Borrowed(name);
        }
        let digit = name.starts_with(|c: char| c.is_ascii_digit()).then_some('_');
        let escaped = name.chars().map(|c| if is_plain_char(c, &also) { c } else { '_' });
        Cow::Owned(digit.into_iter().chain(escaped).collect())
    }
}

/// Whether a name needs no quotation marks.
pub(crate) fn is_plain(name: &str, also: impl Fn(char) -> bool) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| is_plain_char(c, &also))
}

fn is_plain_char(c: char, also: &impl Fn(char) -> bool) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || also(c)
}

/// The name with the unit and `_total` behind it, each unless it is there.
pub(crate) fn with_suffixes(name: &str, unit: &str, counter: bool, gauge: bool) -> String {
    let mut name = name.to_owned();
    let unit = match unit {
        "1" if gauge => "ratio",
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        "%" => "percent",
        // A unit in braces is a note.
        _ => "",
    };
    for suffix in [unit, if counter { "total" } else { "" }] {
        if !suffix.is_empty() && !name.ends_with(&format!("_{suffix}")) {
            name = format!("{name}_{suffix}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_added_unless_they_are_there_as_the_collector_does() {
        for (name, unit, counter, gauge, expected) in [
            ("otelcol_process_uptime", "s", true, false, "otelcol_process_uptime_seconds_total"),
            ("otelcol_process_cpu_seconds", "s", true, false, "otelcol_process_cpu_seconds_total"),
            (
                "otelcol_process_runtime_total_alloc_bytes",
                "By",
                true,
                false,
                "otelcol_process_runtime_total_alloc_bytes_total",
            ),
            ("otelcol_process_memory_rss", "By", false, true, "otelcol_process_memory_rss_bytes"),
            ("otelcol_exporter_queue_size", "{batch}", false, true, "otelcol_exporter_queue_size"),
            ("share", "1", false, true, "share_ratio"),
        ] {
            assert_eq!(with_suffixes(name, unit, counter, gauge), expected);
        }
    }

    #[test]
    fn a_client_that_takes_utf_8_gets_names_as_they_are() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1";
        assert_eq!(Escaping::of(accept), Escaping::AllowUtf8);
        assert_eq!(Escaping::of("text/plain;version=0.0.4"), Escaping::Underscores);
        assert_eq!(Escaping::Underscores.metric("http.server:x"), "http_server:x");
        assert_eq!(Escaping::Underscores.label("9.a:b"), "_9_a_b");
        assert_eq!(Escaping::AllowUtf8.label("9.a:b"), "9.a:b");
    }
}
