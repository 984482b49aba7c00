//! The page `/leaks`.

use std::borrow::Cow;
use std::collections::HashSet;

use weir_connection::report::{Report, State};
use weir_connection::terminal::units::{self, Clock};

use super::document::Document;
use super::html::{Element, el, json};
use super::parts::{ago, state_class};
use super::{detail, empty, table};

/// Seconds after which a report is shown as old rather than as the state of things.
pub const STALE_AFTER: f64 = 30.0;

/// Findings that are shown, the most urgent ones; the rest is counted and stands in `/leaks.json`.
pub const MAX_SHOWN: usize = 200;

/// The page `/leaks` of a report, as of `now` (Unix seconds): one HTML document that needs nothing else.
///
/// Serve it with [`content_security_policy`](super::content_security_policy). Its script fetches the page's own
/// address every two seconds, so it has to be served without a cache.
pub fn leaks_html(report: &Report, now: f64) -> String {
    let left_out = report.series.len().saturating_sub(MAX_SHOWN);
    let report = &*cut(report);
    let anchors = anchors(report);
    let worst = report.series.iter().map(|finding| finding.state).max().unwrap_or_default();
    let mut main = el("main")
        .attr("id", "main")
        .attr("data-now", now.to_string())
        .attr("data-made", report.time.to_string())
        .class(if is_stale(report, now) { "stale" } else { "" })
        .child(el("h1").class("hidden").text("Leaks"))
        .child(summary(report, worst))
        .child(freshness(report, now))
        .children(empty::sources(report, now))
        .children(empty::panel(report, now));
    if !report.series.is_empty() {
        let details = report.series.iter().zip(&anchors).enumerate();
        let details =
            details.map(|(index, (finding, anchor))| detail::finding(report, finding, index, anchor, now));
        main = main
            .child(table::findings(report, &anchors, now))
            .children((left_out > 0).then(|| {
                el("p").class("quiet").text(format!("and {left_out} less urgent series, all in /leaks.json"))
            }))
            .child(el("div").class("details").children(details));
    }
    let version = if report.version.is_empty() { String::new() } else { format!("weir {}", report.version) };
    let up = if report.started > 0.0 {
        format!("up {}", units::duration(now - report.started))
    } else {
        String::new()
    };
    let json_link = el("a").attr("href", "/leaks.json").text("JSON");
    Document {
        title: title(report),
        icon: state_class(worst),
        path: "/leaks",
        meta: el("p")
            .class("meta")
            .child(el("span").text(version))
            .child(el("span").text(up))
            .child(json_link),
        main,
        json: json(report),
    }
    .render()
}

/// The report with at most [`MAX_SHOWN`] findings.
fn cut(report: &Report) -> Cow<'_, Report> {
    if report.series.len() <= MAX_SHOWN {
        return Cow::Borrowed(report);
    }
    let mut shown = report.clone();
    shown.series.truncate(MAX_SHOWN);
    Cow::Owned(shown)
}

fn is_stale(report: &Report, now: f64) -> bool {
    report.time > 0.0 && now - report.time > STALE_AFTER
}

fn title(report: &Report) -> String {
    let count = |state: State| report.series.iter().filter(|finding| finding.state == state).count();
    let words = [(State::Leaking, "leaking"), (State::Suspect, "suspect"), (State::Recovering, "recovering")];
    let parts: Vec<String> = words
        .into_iter()
        .map(|(state, word)| (count(state), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match (parts.is_empty(), report.series.is_empty()) {
        (false, _) => format!("{} · weir", parts.join(", ")),
        (true, false) => "all fine · weir".to_owned(),
        (true, true) => "no data yet · weir".to_owned(),
    }
}

fn summary(report: &Report, worst: State) -> Element {
    let text = match (report.summary.is_empty(), report.series.is_empty()) {
        (false, _) => report.summary.as_str(),
        (true, true) => "No series yet.",
        (true, false) => "The state of each series is in the table.",
    };
    let class = if report.series.is_empty() { "waiting" } else { state_class(worst) };
    el("p")
        .class(format!("summary {class}"))
        .attr("role", "status")
        .attr("aria-live", "polite")
        .child(el("span").class("last-known").text("Last known: "))
        .text(text)
}

/// Of when the page is. The script goes on counting and says so when the agent no longer answers.
fn freshness(report: &Report, now: f64) -> Element {
    let age = if report.time > 0.0 { ago(report.time, now) } else { "at an unknown time".to_owned() };
    let mut line = el("p").class("freshness");
    if is_stale(report, now) {
        let text = format!(
            "These verdicts were made {age} and none has come since: do not take them for the present state."
        );
        line = line.child(el("strong").class("warn").text(text)).text(" ");
    }
    let live = el("span").class("live").text(format!("verdicts made {age}"));
    let made =
        el("time").attr("datetime", Clock::rfc3339(report.time)).attr("data-t", report.time.to_string());
    let made = made.attr("data-f", "hms").text(Clock::UTC.seconds(report.time));
    line = line.child(live).text(", as of ").child(made).text(" ");
    line.child(el("span").class("zone").text("UTC"))
}

/// One id per finding: its own, unless that is empty, taken, or the page's.
fn anchors(report: &Report) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::from(["main".to_owned()]);
    let mut anchors = Vec::with_capacity(report.series.len());
    for (index, finding) in report.series.iter().enumerate() {
        let own: String = weir_connection::terminal::text::visible(&finding.id).into_owned();
        let mut anchor =
            if own.trim().is_empty() || taken.contains(&own) { format!("series-{index}") } else { own };
        while !taken.insert(anchor.clone()) {
            anchor.push('-');
        }
        anchors.push(anchor);
    }
    anchors
}
