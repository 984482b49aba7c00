//! The tables below a finding: further lines, limits, connections, stacks. Each is nothing when there is nothing.

use weir_connection::report::{Exemplar, Finding, Forecast, Site, Stack};
use weir_connection::terminal::sentence::limit_name;
use weir_connection::terminal::units;

use super::html::{Element, el};
use super::parts::{cell, copy, moment, number, site, site_text, source_of, wide_table};

/// Stacks that are shown; the rest is counted.
const MAX_STACKS: usize = 20;

/// The stack by which the line made most of them.
pub(super) fn call_stack(finding: &Finding) -> Option<Element> {
    let frames = finding.site.as_ref().map(|found| found.stack.as_slice()).unwrap_or_default();
    let text = el("pre").text(frames.join("\n"));
    (frames.len() > 1).then(|| el("div").child(el("h3").text("How the line is reached")).child(text))
}

pub(super) fn sites(sites: &[Site]) -> Option<Element> {
    let rows: Vec<Vec<Element>> = sites
        .iter()
        .map(|found| {
            let place = el("td").child(site(found));
            let share = number(units::percent(found.share));
            vec![place, cell(units::function(&found.function)), share, cell(source_of(found))]
        })
        .collect();
    let heads = [("", "Where"), ("", "Function"), ("num", "Share"), ("", "How it is known")];
    (!rows.is_empty())
        .then(|| el("div").child(el("h3").text("Other lines")).child(wide_table("Other lines", &heads, rows)))
}

pub(super) fn forecasts(finding: &Finding, made: f64, now: f64) -> Option<Element> {
    let rows: Vec<Vec<Element>> =
        finding.forecast.iter().map(|forecast| forecast_row(forecast, made, now)).collect();
    let heads = [
        ("", "Limit of"),
        ("num", "Used"),
        ("num", "Limit"),
        ("num", "Each costs"),
        ("num", "Reached in"),
        ("num", "At"),
        ("", "Why"),
    ];
    (!rows.is_empty()).then(|| {
        el("div").child(el("h3").text("When limits are reached")).child(wide_table("Limits", &heads, rows))
    })
}

fn forecast_row(forecast: &Forecast, made: f64, now: f64) -> Vec<Element> {
    let quantity = |value: f64| number(units::quantity(value, &forecast.unit));
    let passed = if (now - made).is_finite() { (now - made).max(0.0) } else { 0.0 };
    let (reached, at) = match (forecast.seconds, forecast.plateau) {
        (Some(seconds), _) => {
            let range = match (forecast.seconds_low, forecast.seconds_high) {
                (Some(low), Some(high)) => {
                    format!("{} to {}", units::duration(low - passed), units::duration(high - passed))
                }
                (Some(low), None) => format!("{} or later", units::duration(low - passed)),
                _ => String::new(),
            };
            let reached = number(units::duration(seconds - passed)).child(el("small").text(range));
            (reached, el("td").class("num").child(moment(made + seconds, now)))
        }
        _ if !forecast.unknown.is_empty() => {
            (number("not known yet").child(el("small").text(&forecast.unknown)), number("–"))
        }
        (None, Some(level)) => {
            let levels = format!("levels off near {}", units::quantity(level, &forecast.unit));
            (number("never").child(el("small").text(levels)), number("–"))
        }
        (None, None) => (number("never"), number("–")),
    };
    let each = if forecast.per_item > 0.0 { quantity(forecast.per_item) } else { number("not known") };
    vec![
        el("th").attr("scope", "row").text(limit_name(forecast)),
        quantity(forecast.used),
        quantity(forecast.limit),
        each,
        reached,
        at,
        el("td").class("prose").text(&forecast.note),
    ]
}

pub(super) fn exemplars(exemplars: &[Exemplar]) -> Option<Element> {
    let rows: Vec<Vec<Element>> = exemplars.iter().map(exemplar_row).collect();
    let heads = [
        ("", "Id"),
        ("", "Local"),
        ("", "Peer"),
        ("", "TCP state"),
        ("num", "Age"),
        ("num", "Idle"),
        ("num", "RPCs"),
        ("num", "Sent"),
        ("num", "Received"),
        ("", "Made at"),
        ("", "Trace"),
    ];
    let title = format!("Connections behind it ({} oldest)", rows.len());
    (!rows.is_empty())
        .then(|| el("div").child(el("h3").text(title)).child(wide_table("Connections", &heads, rows)))
}

fn exemplar_row(exemplar: &Exemplar) -> Vec<Element> {
    let known = |text: &str| if text.is_empty() { quiet() } else { cell(text) };
    let size =
        |value: Option<i64>| value.map_or_else(|| quiet().class("num"), |v| number(units::bytes(v as f64)));
    let trace = match exemplar.trace_id.get(..8) {
        Some(head) if exemplar.trace_id.len() > 8 => el("td")
            .child(el("code").attr("title", &exemplar.trace_id).text(format!("{head}…")))
            .child(copy(&exemplar.trace_id, "trace id")),
        _ => known(&exemplar.trace_id),
    };
    vec![
        known(&exemplar.id),
        known(&exemplar.local),
        known(&exemplar.peer),
        known(&exemplar.tcp_state),
        number(units::duration(exemplar.age)),
        number(units::duration(exemplar.idle)),
        exemplar.rpcs.map_or_else(|| quiet().class("num"), |rpcs| number(units::count(rpcs as f64))),
        size(exemplar.bytes_sent),
        size(exemplar.bytes_received),
        if exemplar.site.is_empty() { quiet() } else { el("td").child(site_text(&exemplar.site)) },
        trace,
    ]
}

fn quiet() -> Element {
    el("td").child(el("span").class("quiet").attr("role", "img").attr("aria-label", "not known").text("–"))
}

pub(super) fn stacks(stacks: &[Stack]) -> Option<Element> {
    let shown = stacks.iter().take(MAX_STACKS).enumerate().map(|(index, stack)| {
        let kind = if stack.kind.is_empty() { "goroutine" } else { &stack.kind };
        let summary = el("summary")
            .child(el("b").class("num").text(units::count(stack.count as f64)))
            .child(el("span").text(kind))
            .children(stack.labels.iter().map(|label| el("code").class("label").text(label)));
        let frames = stack.frames.iter().map(|frame| el("li").child(frame_line(frame)));
        let details = el("details").class("stack").attr("data-key", format!("stack {index}"));
        let details = if index == 0 { details.flag("open") } else { details };
        details.child(summary).child(el("ol").children(frames))
    });
    let section =
        el("div").class("stacks").child(el("h3").text("Goroutine stacks behind the line")).children(shown);
    let rest = stacks.len().saturating_sub(MAX_STACKS);
    let more = (rest > 0).then(|| el("p").class("quiet").text(format!("and {rest} more in /leaks.json")));
    (!stacks.is_empty()).then(|| section.children(more))
}

/// `function file:line`, the place in the colour of secondary text.
fn frame_line(frame: &str) -> Element {
    match frame.rsplit_once(' ') {
        Some((function, place)) => {
            el("code").text(function).text(" ").child(el("span").class("quiet").text(place))
        }
        None => el("code").text(frame),
    }
}
