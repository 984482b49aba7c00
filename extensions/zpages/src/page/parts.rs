//! Small pieces of markup that several parts of the pages use.

use weir_connection::report::{Finding, Site, State};
use weir_connection::terminal::sentence;
use weir_connection::terminal::units::{self, Clock};

use super::html::{Element, el};

/// Who it is about, with arrows as people draw them.
pub(super) fn who(finding: &Finding) -> String {
    sentence::who(finding).replace(" -> ", " \u{2192} ").replace(" <- ", " \u{2190} ")
}

/// Class name of a state.
pub(super) fn state_class(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Recovering => "recovering",
        State::Suspect => "suspect",
        State::Leaking => "leaking",
    }
}

/// The state as a word in its colour.
pub(super) fn badge(finding: &Finding) -> Element {
    el("span").class(format!("badge {}", state_class(finding.state))).text(finding.word())
}

/// A time in UTC, which the script turns into local time: the hour on the day of `now`, else with its day.
pub(super) fn moment(time: f64, now: f64) -> Element {
    let shown = Clock::UTC.moment(time, now);
    let element = el("time").attr("datetime", Clock::rfc3339(time)).attr("title", Clock::UTC.full(time));
    if shown == units::UNKNOWN {
        return el("span").text("unknown");
    }
    element.attr("data-t", time.to_string()).attr("data-f", "moment").text(shown)
}

/// How long ago: `29 s ago`, `now`; `unknown` for a time that is not known or lies ahead by more than a minute.
pub(super) fn ago(time: f64, now: f64) -> String {
    match now - time {
        _ if time <= 0.0 => "never".to_owned(),
        age if age.is_nan() || age < -60.0 => "unknown".to_owned(),
        age if age < 1.0 => "now".to_owned(),
        age => format!("{} ago", units::duration(age)),
    }
}

/// A button that copies a text; the script shows it, without the script it is not there.
pub(super) fn copy(text: &str, what: &str) -> Element {
    el("button")
        .class("copy")
        .attr("type", "button")
        .attr("data-copy", text)
        .attr("aria-label", format!("Copy {what}"))
        .attr("title", format!("Copy {what}"))
        .flag("hidden")
        .text("copy")
}

/// File and line with a button to copy them. The folder gives way when room is short, name and line never.
pub(super) fn site(site: &Site) -> Element {
    let location = units::location(&site.file, site.line);
    site_text(&location)
}

/// The same for a site given as `file:line`.
pub(super) fn site_text(location: &str) -> Element {
    let split = location.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, name) = location.split_at(split);
    el("span")
        .class("site")
        .attr("title", location)
        .child(
            el("code")
                .child(el("span").class("folder").text(folder))
                .child(el("span").class("name").text(name)),
        )
        .child(copy(location, "file and line"))
}

/// Secondary text on a line of its own.
pub(super) fn minor(text: impl AsRef<str>) -> Element {
    el("small").text(text)
}

/// A table in a region that scrolls sideways where it does not fit.
pub(super) fn wide_table(label: &str, heads: &[(&str, &str)], rows: Vec<Vec<Element>>) -> Element {
    let head = heads.iter().map(|(class, name)| el("th").attr("scope", "col").class(class).text(name));
    let rows = rows.into_iter().map(|cells| el("tr").children(cells));
    let table = el("table")
        .attr("aria-label", label)
        .child(el("thead").child(el("tr").children(head)))
        .child(el("tbody").children(rows));
    el("div")
        .class("scroll")
        .attr("tabindex", "0")
        .attr("role", "region")
        .attr("aria-label", label)
        .child(table)
}

/// A cell.
pub(super) fn cell(text: impl AsRef<str>) -> Element {
    el("td").text(text)
}

/// A cell with a number.
pub(super) fn number(text: impl AsRef<str>) -> Element {
    el("td").class("num").text(text)
}

/// How a line is known, and what is uncertain about it.
pub(super) fn source_of(site: &Site) -> String {
    let how = match site.source.as_str() {
        "events" => "reported by the service itself",
        "label" => "from goroutine labels",
        "custom_profile" => "from the profile grpc.clientconn",
        "heap" => "estimated from the heap profile",
        "allocs" => "estimated from the allocation profile",
        "created_by" => "from the creator of the goroutines",
        _ => "",
    };
    match (how.is_empty(), site.uncertainty.is_empty()) {
        (_, true) => how.to_owned(),
        (true, false) => site.uncertainty.clone(),
        (false, false) => format!("{how}; {}", site.uncertainty),
    }
}
