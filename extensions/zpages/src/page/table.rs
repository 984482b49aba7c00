//! The table of all findings.

use weir_connection::report::{Finding, HELD_BY_CLIENT, Report, State};
use weir_connection::terminal::sentence::{self, began, label, limit_name, soonest};
use weir_connection::terminal::units;

use super::html::{Element, el, fragment};
use super::parts::{ago, badge, minor, moment, site, state_class, who};

/// The findings in the order of the report, which is that of urgency. `anchors` are the ids of the details.
///
/// Roles are written out because small screens lay the rows out as cards, which takes the roles away otherwise.
pub(super) fn findings(report: &Report, anchors: &[String], now: f64) -> Element {
    let heads = [
        ("state", "State"),
        ("who", "Who"),
        ("where", "Where"),
        ("class", "Class"),
        ("num rate", "Rate"),
        ("num open", "Open"),
        ("num left", "Time left"),
        ("num since", "Since"),
    ];
    let head = heads.map(|(class, name)| {
        el("th").class(class).attr("scope", "col").attr("role", "columnheader").text(name)
    });
    let rows = report.series.iter().zip(anchors).map(|(finding, anchor)| row(report, finding, anchor, now));
    el("table")
        .class("findings")
        .attr("role", "table")
        .attr("aria-label", "Series, most urgent first")
        .child(el("thead").attr("role", "rowgroup").child(el("tr").attr("role", "row").children(head)))
        .child(el("tbody").attr("role", "rowgroup").children(rows))
}

fn row(report: &Report, finding: &Finding, anchor: &str, now: f64) -> Element {
    let data = |class: &str| el("td").attr("role", "cell").class(class);
    let link = breakable(el("a").attr("href", fragment(anchor)), &who(finding), &['.', '/']);
    let name = el("th").class("who").attr("scope", "row").attr("role", "rowheader");
    el("tr")
        .attr("role", "row")
        .class(state_class(finding.state))
        .attr("data-key", format!("row {anchor}"))
        .child(data("state").child(badge(finding)))
        .child(name.child(link).child(minor(label(finding))))
        .children(reason(finding))
        .child(rate(finding, data("num rate").attr("data-name", "rate")))
        .child(data("num open").attr("data-name", "open").text(units::count(finding.growth.open)))
        .child(left(finding, data("num left").attr("data-name", "left"), now - report.time))
        .child(since(finding, data("num since"), now))
}

/// Where and class; one cell with the reason for a series that is fine and has neither.
fn reason(finding: &Finding) -> Vec<Element> {
    let data = |class: &str| el("td").attr("role", "cell").class(class);
    if finding.state == State::Ok && finding.site.is_none() {
        return vec![class(finding, data("class").attr("colspan", "2").attr("aria-colspan", "2"))];
    }
    vec![place(finding, data("where")), class(finding, data("class"))]
}

fn place(finding: &Finding, cell: Element) -> Element {
    match &finding.site {
        Some(found) => {
            let share =
                format!("{} {} of growth", units::function(&found.function), units::percent(found.share));
            cell.child(site(found)).child(minor(share.trim()))
        }
        None if finding.class == HELD_BY_CLIENT => {
            cell.child(el("span").class("quiet").text("see its client"))
        }
        None => cell.child(el("span").class("quiet").text("line not known yet")),
    }
}

fn class(finding: &Finding, cell: Element) -> Element {
    let confidence = if finding.confidence.is_empty() {
        String::new()
    } else {
        format!("{} confidence", finding.confidence)
    };
    match finding.class.is_empty() {
        true => cell.child(el("span").class("quiet why").text(&finding.explanation)),
        false => cell.child(breakable(el("span"), &finding.class, &['_'])).child(minor(confidence)),
    }
}

/// A word that may be broken after each of these characters.
fn breakable(element: Element, word: &str, after: &[char]) -> Element {
    word.split_inclusive(after).fold(element, |element, part| element.text(part).child(el("wbr")))
}

fn rate(finding: &Finding, cell: Element) -> Element {
    match finding.growth.rate {
        _ if finding.verdict_in.is_some() => cell.child(nothing("rate not known yet")),
        0.0 => cell.child(nothing("does not grow")),
        rate => cell.text(units::per_second(rate)).child(minor(units::per_hour(rate))),
    }
}

fn left(finding: &Finding, cell: Element, passed: f64) -> Element {
    let passed = if passed.is_finite() { passed.max(0.0) } else { 0.0 };
    match soonest(finding) {
        Some(forecast) => {
            let seconds = forecast.seconds.unwrap_or(0.0) - passed;
            cell.text(units::duration(seconds)).child(minor(limit_name(forecast)))
        }
        None if finding.forecast.is_empty() => cell.child(nothing("no forecast")),
        None if finding.forecast.iter().any(|f| !f.unknown.is_empty()) => {
            cell.child(nothing("not known yet"))
        }
        None => cell.text("never"),
    }
}

fn since(finding: &Finding, cell: Element, now: f64) -> Element {
    match began(finding) {
        time if time > 0.0 => {
            let what = if sentence::since(finding) == "since" { "" } else { "growing, " };
            cell.child(moment(time, now)).child(minor(format!("{what}{}", ago(time, now))))
        }
        _ => cell.child(nothing("not known")),
    }
}

/// A dash for the eye, words for a screen reader.
fn nothing(words: &str) -> Element {
    el("span").class("quiet").attr("aria-label", words).attr("role", "img").text("–")
}
